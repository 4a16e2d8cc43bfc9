"""Networks that see: what they are given of a file's frames, and what they make of it.

A network of torchvision or of a function is given squares, which the decoder makes; one
of transformers is given what its own processor makes of whole frames.
"""

import functools
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from skchallenge._torch import isolated_rng, no_autocast
from skchallenge.embed._backbone import (
    Backbone,
    FrameEncoder,
    Weights,
    build_backbone,
    probe_width,
)
from skchallenge.embed._engine import (
    Compile,
    Engine,
    encode_clips,
    make_engine,
    repays_compiling,
)
from skchallenge.embed._keys import network_digest
from skchallenge.embed._pretrained import (
    from_pretrained,
    load_config,
    load_net,
    load_sentence_model,
    quiet_transformers,
)
from skchallenge.exceptions import MediaError
from skchallenge.media._read import Clip

Matrix = NDArray[np.float32]
Model = str | os.PathLike[str]

_CPU = torch.device("cpu")
_KIND = "a model of pictures (ViT, DINOv2, CLIP, SigLIP, VideoMAE)"
_REMEDY = f"Pass {_KIND}, or a function that returns a module."
_making_engines = threading.RLock()  # threads of one process share networks


class Sight:
    """A network of squares on its device, and the engines that were made of it.

    Parameters
    ----------
    encoder : nn.Module
        Maps items, (B, ...), to features, (B, D).
    name : str
        In messages.
    item : ndarray
        What the encoder is given of one frame, or of one window of frames; zeros.
    device : torch.device
    """

    decoded_size: int | None
    n_at_once = 1  # frames an item

    def __init__(
        self, encoder: nn.Module, name: str, item: NDArray[Any], device: torch.device
    ) -> None:
        self.encoder = encoder.to(device)
        self.name = name
        self.item = item
        self.device = device
        self.decoded_size = item.shape[1]
        self._engines: dict[object, Engine] = {}

    @cached_property
    def width(self) -> int:
        """Features of an item."""
        black = torch.from_numpy(self.item)[None].to(self.device)
        return probe_width(self.encoder, black, self.name)

    @cached_property
    def digest(self) -> str:
        """A digest of all that the network computes with."""
        return network_digest(self.encoder)

    def prepare(self, clip: Clip) -> Clip:
        """Return the items of a clip in place of its frames."""
        return clip

    def encode(
        self,
        clips: Iterable[Clip | MediaError],
        dtype: torch.dtype,
        compile: Compile,
        *,
        batch_size: int,
        n_frames: int,
    ) -> Iterator[Matrix | MediaError]:
        """Yield one (n_items, D) matrix a clip, in order; errors pass through.

        `n_frames` is how many there may be in all, for which an engine is chosen.
        """
        n_items = max(1, batch_size // self.n_at_once)
        engine = self.engine(dtype, compile, batch_size=n_items, n_frames=n_frames)
        items = (
            clip if isinstance(clip, MediaError) else self.prepare(clip)
            for clip in clips
        )
        return encode_clips(items, engine, n_items)

    def engine(
        self, dtype: torch.dtype, compile: Compile, *, batch_size: int, n_frames: int
    ) -> Engine:
        """Return the engine for batches of a size, which is made once."""
        is_free = compile == "auto"
        if compile == "auto":
            side = max(self.item.shape)
            compile = repays_compiling(self.device, n_frames, side)
        key = (dtype, compile, batch_size, torch.get_num_threads())
        with _making_engines:
            if key not in self._engines:
                self._engines[key] = make_engine(
                    self.encoder,
                    self.device,
                    dtype,
                    compile=compile,
                    black=np.repeat(self.item[None], batch_size, axis=0),
                    fall_back=is_free,
                )
            return self._engines[key]


def square_sight(
    backbone: Backbone,
    weights: Weights,
    image_size: int,
    dtype: torch.dtype,
    device: torch.device,
    *,
    headless: bool = True,
) -> Sight:
    """Build a network of torchvision or of a function; with a head, it classifies."""
    net = build_backbone(backbone, weights, image_size, headless=headless)
    if not headless:
        net = nn.Sequential(net, nn.Softmax(dim=1))
    with isolated_rng(_CPU):  # for the defaults
        encoder = FrameEncoder(net, dtype)
    black = np.zeros((image_size, image_size, 3), np.uint8)
    return Sight(encoder, repr(backbone), black, device)


# Models of transformers


class SightFormat(NamedTuple):
    """What a model of transformers is given.

    Attributes
    ----------
    processor : object
        Its own, of images or of videos.
    item : ndarray of float32
        What the processor makes of a black frame, (3, H, W), or of a window of them,
        (T, 3, H, W).
    """

    processor: Any
    item: NDArray[np.float32]


class PretrainedSight(Sight):
    """A model of transformers with its own processor; sees frames or windows of them.

    Parameters
    ----------
    encoder : nn.Module
    name : str
    format : SightFormat
    device : torch.device
    """

    def __init__(
        self, encoder: nn.Module, name: str, format: SightFormat, device: torch.device
    ) -> None:
        super().__init__(encoder, name, format.item, device)
        self.decoded_size = None
        self.processor = format.processor
        self.n_at_once = 1 if format.item.ndim == 3 else len(format.item)

    def prepare(self, clip: Clip) -> Clip:
        """Have the processor make pixels of each frame; put them into windows."""
        with isolated_rng(_CPU), no_autocast(_CPU):
            pixels = [process(self.processor, frame) for frame in clip.frames]
        if self.n_at_once == 1:
            return Clip(np.stack(pixels), clip.frame_index, clip.digest)
        windows = clip.frame_index.reshape(-1, self.n_at_once)  # (W, T)
        items = np.stack([[pixels[i] for i in window] for window in windows])
        return Clip(items, np.arange(len(items)), clip.digest)


def process(processor: Any, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return what a model's own processor makes of one frame, (3, H, W)."""
    from transformers.video_processing_utils import BaseVideoProcessor

    if isinstance(processor, BaseVideoProcessor):
        made = processor(videos=[frame[None]], return_tensors="pt")
    else:
        made = processor(images=Image.fromarray(frame), return_tensors="pt")
    pixels = made.get("pixel_values", made.get("pixel_values_videos"))
    if pixels is None or pixels.ndim < 4 or len(pixels) != 1 or len(made) != 1:
        found = {name: tuple(value.shape) for name, value in made.items()}
        raise ValueError(
            f"its processor makes {found} of a frame, not pixels of one size. {_REMEDY}"
        )
    # (1, 3, H, W), or (1, 1, 3, H, W) from one that is made for videos
    return pixels.reshape(pixels.shape[-3:]).float().numpy()


class _Eye(nn.Module):
    """What is shared by encoders around a model of transformers."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        name = net.main_input_name
        self.input = name if name.startswith("pixel") else "pixel_values"

    def pixels(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return the input, (B, 3, H, W) or (B, T, 3, H, W), in the net's own type."""
        return {self.input: pixels.to(self.net.dtype)}


class Features(_Eye):
    """A model of transformers -> its own vector of an image or a window of frames.

    That is, of what is trained: of CLIP and SigLIP the vector in the space of their
    texts; else what the model pools, unless its checkpoint lacks the weights for that,
    as those of ViT do; else the state of the class token, or the mean of all states.
    """

    def __init__(self, net: Any, untrained: Sequence[str] = ()) -> None:
        super().__init__(net)
        self.is_pooled = not any("pooler" in name for name in untrained)
        names = (name.rpartition(".")[2] for name, _ in net.named_parameters())
        self.has_class_token = not {"cls_token", "class_embedding"}.isdisjoint(names)
        own = ("get_image_features", "get_video_features", "get_vision_features")
        self.method = next((name for name in own if hasattr(net, name)), None)

    def forward(self, pixels: Tensor) -> Tensor:
        call = self.net if self.method is None else getattr(self.net, self.method)
        found = call(**self.pixels(pixels))
        if isinstance(found, Tensor):
            states = found
        elif self.is_pooled and found.get("pooler_output") is not None:
            states = found["pooler_output"]
        else:
            states = found["last_hidden_state"]
        if states.ndim == 4:  # (B, D, H, W) of a convolutional network
            states = states.mean(dim=(2, 3))
        elif states.ndim == 3:  # (B, N, D)
            states = states[:, 0] if self.has_class_token else states.mean(dim=1)
        return states.float()


class ClassProbabilities(_Eye):
    """A classifier of transformers -> the probabilities of its classes, (B, C)."""

    def forward(self, pixels: Tensor) -> Tensor:
        logits = self.net(**self.pixels(pixels)).logits.float()
        if self.net.config.problem_type == "multi_label_classification":
            return logits.sigmoid()
        return logits.softmax(dim=1)


class LabelProbabilities(_Eye):
    """A model of images and texts -> the probability of each label, (B, C).

    Parameters
    ----------
    net : PreTrainedModel
        As CLIP, whose softmax is over the labels, or SigLIP, which judges each alone.
    texts : Tensor of shape (C, D)
        Vectors of the labels, of length 1.
    """

    texts: Tensor

    def __init__(self, net: Any, texts: Tensor) -> None:
        super().__init__(net)
        self.register_buffer("texts", texts)
        self.see = Features(net)

    def forward(self, pixels: Tensor) -> Tensor:
        seen = nn.functional.normalize(self.see(pixels), dim=1)  # (B, D)
        logits = seen @ self.texts.T * self.net.logit_scale.float().exp()  # (B, C)
        bias = getattr(self.net, "logit_bias", None)
        if bias is not None:  # SigLIP
            return (logits + bias.float()).sigmoid()
        return logits.softmax(dim=1)


@functools.lru_cache(maxsize=64)  # the clones of a search ask again and again
def sight_format(model: str, stats: object) -> tuple[Any, SightFormat]:
    """Return the configuration of a model and what it is given; no weights are loaded.

    `stats` are those of its files: changed in place, it is another model.

    Raises
    ------
    ValueError
        If there is no such model, it sees nothing, or its processor is missing.
    """
    from transformers import AutoImageProcessor, AutoVideoProcessor
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
    from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING

    kind, cause = {"kind": _KIND, "parameter": "backbone"}, None
    with quiet_transformers():
        config = load_config(model, **kind)
        known = IMAGE_PROCESSOR_MAPPING, VIDEO_PROCESSOR_MAPPING
        if not any(type(config) in mapping for mapping in known):
            raise ValueError(
                f"backbone must be {_KIND}, got {model!r}, a model of type "
                f"{config.model_type!r}, which sees nothing. Texts are for "
                "CaptionEmbedder, sound for AudioEmbedder."
            )
        for loader in (AutoImageProcessor, AutoVideoProcessor):
            try:
                processor = from_pretrained(loader, model, **kind)
                break
            except ValueError as error:
                cause = cause or error
        else:
            raise ValueError(
                f"backbone={model!r} comes without its processor "
                "(preprocessor_config.json), which tells how to prepare frames. Save "
                "the one it was trained with beside it, by "
                "processor.save_pretrained(folder)."
            ) from cause
    if hasattr(config, "mask_ratio"):
        raise ValueError(
            f"backbone={model!r}, a model of type {config.model_type!r}, hides most of "
            f"each picture, at random. {_REMEDY}"
        )
    with isolated_rng(_CPU), no_autocast(_CPU):
        try:
            square, wide = (
                process(processor, np.zeros((256, width, 3), np.uint8))
                for width in (256, 384)
            )
            if square.shape != wide.shape:
                raise ValueError(
                    f"its processor makes {square.shape} of a square and {wide.shape} "
                    "of a wide frame, not pixels of one size. Save one beside it that "
                    "crops or resizes to one size."
                )
        except ValueError as error:
            raise ValueError(f"backbone={model!r} cannot be used: {error}") from error
    item = np.zeros_like(square)
    n_frames = frames_of(config)
    if n_frames is not None:
        item = np.repeat(item[None], n_frames, axis=0)
    return config, SightFormat(processor, item)


def frames_of(config: Any) -> int | None:
    """Return how many frames a model sees at once; None if it sees images."""
    vision = getattr(config, "vision_config", config)
    for name in ("num_frames", "frames_per_clip"):
        n_frames = getattr(vision, name, None)
        if n_frames is not None:
            return int(n_frames)
    return None


def pretrained_width(model: str, stats: object) -> int:
    """Return the number of features of a frame or a window; no weights are loaded."""
    from transformers import AutoModel

    config, format = sight_format(model, stats)
    with quiet_transformers(), isolated_rng(_CPU):
        try:
            with torch.device("meta"):
                encoder = Features(AutoModel.from_config(config)).eval()
            item = torch.from_numpy(format.item)[None].to("meta")
            return probe_width(encoder, item, repr(model))
        except (ValueError, RuntimeError, NotImplementedError):
            # Some read values while they are built, or compute with NumPy.
            encoder = Features(AutoModel.from_config(config)).eval()
            return probe_width(
                encoder, torch.from_numpy(format.item)[None], repr(model)
            )


def pretrained_sight(
    model: str, stats: object, dtype: torch.dtype, device: torch.device
) -> PretrainedSight:
    """Load a model of transformers that gives features."""
    from transformers import AutoModel

    _, format = sight_format(model, stats)
    encoder = Features(*load_seeing(AutoModel, model, dtype))
    return PretrainedSight(encoder, repr(model), format, device)


def load_seeing(loader: Any, model: str, dtype: torch.dtype) -> tuple[Any, list[str]]:
    """Load a model of pictures, and the names of the weights that its file lacks."""
    return load_net(loader, model, dtype, kind=_KIND, parameter="backbone")


# Models of sentence-transformers


class SentenceSight:
    """A model of sentence-transformers that embeds images.

    Parameters
    ----------
    model : str
        Folder or name.
    dtype : torch.dtype
    device : torch.device
    """

    decoded_size = None

    def __init__(self, model: str, dtype: torch.dtype, device: torch.device) -> None:
        self.net = load_sentence_model(model, dtype, device, parameter="backbone")
        if not self.net.supports("image"):
            raise ValueError(
                f"backbone={model!r} embeds no images. Texts are for CaptionEmbedder; "
                f"for frames, pass {_KIND}."
            )
        self.width = len(self._vectors([np.zeros((64, 64, 3), np.uint8)], 1)[0])

    @cached_property
    def digest(self) -> str:
        """A digest of all that the network computes with."""
        return network_digest(self.net)

    def encode(
        self,
        clips: Iterable[Clip | MediaError],
        dtype: torch.dtype,
        compile: Compile,
        *,
        batch_size: int,
        n_frames: int,
    ) -> Iterator[Matrix | MediaError]:
        """Yield one (n_frames, D) matrix a clip, in order; errors pass through."""
        for clip in clips:
            if isinstance(clip, MediaError):
                yield clip
            else:
                yield self._vectors(clip.frames, batch_size)[clip.frame_index]

    def _vectors(self, frames: Iterable[NDArray[np.uint8]], batch_size: int) -> Matrix:
        images = [Image.fromarray(frame) for frame in frames]
        with isolated_rng(_CPU), no_autocast(self.net.device):
            return (
                self.net.encode(
                    images,
                    batch_size=batch_size,
                    show_progress_bar=False,
                    convert_to_tensor=True,
                )
                .float()
                .cpu()
                .numpy()
            )
