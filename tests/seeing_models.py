"""Tiny models that see, saved to folders: mechanics only, their weights are random."""

import torch
from transformers import (
    BertTokenizerFast,
    BitImageProcessor,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    ConvNextConfig,
    ConvNextImageProcessor,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    GitConfig,
    GitForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    TimesformerConfig,
    TimesformerModel,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VideoMAEImageProcessor,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
    VJEPA2Config,
    VJEPA2Model,
    VJEPA2VideoProcessor,
    XCLIPConfig,
    XCLIPModel,
)

SIZE = 32
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
SHORT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL = {**SHORT, "intermediate_size": 32}
DRAWN = {"initializer_range": 0.3}
VIEW = {"image_size": SIZE, "patch_size": 8}
TEXT = {
    **SMALL,
    "vocab_size": len(WORDS),
    "max_position_embeddings": 20,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": 0,
}
SQUARE = {"height": SIZE, "width": SIZE}
CROP = {"size": {"shortest_edge": 36}, "crop_size": SQUARE}
LABELS = ["cat", "dog", "bird"]
NAMED = {
    "id2label": dict(enumerate(LABELS)),
    "label2id": {label: i for i, label in enumerate(LABELS)},
}


def tokenizer():
    pieces = [*WORDS, *("##" + letter for letter in WORDS[5:])]
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(pieces)})


def vit():
    config = ViTConfig(**SMALL, **VIEW, **DRAWN, **NAMED)
    return ViTForImageClassification(config), ViTImageProcessor(size=SQUARE)


def vit_with_pooler():
    return ViTModel(ViTConfig(**SMALL, **VIEW, **DRAWN)), ViTImageProcessor(size=SQUARE)


def dinov2():
    return Dinov2Model(Dinov2Config(**SHORT, **VIEW, **DRAWN)), BitImageProcessor(
        **CROP
    )


def clip():
    text = {**TEXT, "vocab_size": 2 * len(WORDS)}
    config = CLIPConfig(
        text_config=text, vision_config={**SMALL, **VIEW}, projection_dim=12
    )
    return CLIPModel(config), CLIPImageProcessor(**CROP), tokenizer()


def siglip():
    text = {**TEXT, "vocab_size": 2 * len(WORDS)}
    config = SiglipConfig(text_config=text, vision_config={**SMALL, **VIEW})
    return SiglipModel(config), SiglipImageProcessor(size=SQUARE), tokenizer()


def convnext():
    config = ConvNextConfig(hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1], **DRAWN)
    return ConvNextModel(config), ConvNextImageProcessor(size={"shortest_edge": SIZE})


def videomae():
    config = VideoMAEConfig(
        **SMALL, **VIEW, **DRAWN, **NAMED, num_frames=4, tubelet_size=2
    )
    return VideoMAEForVideoClassification(config), VideoMAEImageProcessor(**CROP)


def timesformer():
    config = TimesformerConfig(**SMALL, **VIEW, **DRAWN, num_frames=4)
    return TimesformerModel(config), VideoMAEImageProcessor(**CROP)


def xclip():
    vision = {
        **SMALL,
        **VIEW,
        "num_frames": 4,
        "mit_hidden_size": 16,
        "mit_intermediate_size": 32,
        "mit_num_hidden_layers": 1,
        "mit_num_attention_heads": 2,
    }
    text = {**TEXT, "vocab_size": 2 * len(WORDS)}
    config = XCLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    return XCLIPModel(config), VideoMAEImageProcessor(**CROP), tokenizer()


def vjepa2():
    config = VJEPA2Config(
        **SHORT,
        **DRAWN,
        crop_size=SIZE,
        patch_size=8,
        frames_per_clip=4,
        pred_hidden_size=16,
        pred_num_hidden_layers=1,
        pred_num_attention_heads=2,
    )
    return VJEPA2Model(config), VJEPA2VideoProcessor(**CROP)


IMAGES = [vit, vit_with_pooler, dinov2, clip, siglip, convnext]
VIDEOS = [videomae, timesformer, xclip, vjepa2]


def blip():
    text = {**TEXT, "vocab_size": 2 * len(WORDS), "encoder_hidden_size": 16}
    config = BlipConfig(text_config=text, vision_config={**SMALL, **VIEW})
    config.text_config.sep_token_id = 3
    return (
        BlipForConditionalGeneration(config),
        BlipImageProcessor(size=SQUARE),
        tokenizer(),
    )


def git():
    config = GitConfig(
        vision_config={**SMALL, **VIEW},
        **{**TEXT, "vocab_size": 2 * len(WORDS), "max_position_embeddings": 60},
    )
    return GitForCausalLM(config), CLIPImageProcessor(**CROP), tokenizer()


def vit_gpt2():
    ids = {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    writer = GPT2Config(
        n_embd=16,
        n_layer=1,
        n_head=2,
        vocab_size=2 * len(WORDS),
        n_positions=60,
        add_cross_attention=True,
        is_decoder=True,
        initializer_range=0.5,
        **ids,
    )
    eye = ViTModel(ViTConfig(**SMALL, **VIEW, **DRAWN), add_pooling_layer=False)
    net = VisionEncoderDecoderModel(encoder=eye, decoder=GPT2LMHeadModel(writer))
    for config in (net.config, net.generation_config):
        config.decoder_start_token_id, config.pad_token_id = 2, 0
        config.eos_token_id = 3
    return net, ViTImageProcessor(size=SQUARE), tokenizer()


WRITERS = [blip, git, vit_gpt2]


def save(make, folder):
    """Save a model with what prepares its input; return the folder as text."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for part in make():
            part.save_pretrained(folder)
    return str(folder)
