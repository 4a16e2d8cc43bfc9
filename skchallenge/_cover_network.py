"""The networks of covers, built from plain options."""

from numbers import Integral
from typing import Any

import torch
from sklearn.utils import check_scalar
from torch import nn

from skchallenge.embed._backbone import FrameEncoder
from skchallenge.nn import MLP, CoverCNN, CoverFusion

_RESNET_WIDTH = 2048


def cover_network(
    encoder: str,
    image_size: int,
    n_metadata: int,
    dropout: float,
    dtype: torch.dtype,
    **options: Any,
) -> tuple[CoverFusion, MLP | None]:
    """Return the network, and the layers that are linear without hidden ones."""
    width, reader = CoverCNN.width, None
    if encoder == "cnn":
        reader = CoverCNN(image_size, dropout)
    elif n_metadata:
        squeeze = nn.Linear(_RESNET_WIDTH, width)
        reader = nn.Sequential(_resnet50(), squeeze, nn.ReLU())
    else:
        width, reader = _RESNET_WIDTH, _resnet50()
    module = CoverFusion(
        reader, width, image_size, n_metadata, dropout=dropout, **options
    )
    is_linear = n_metadata and options["fusion"] == "concat"
    return module, module.classify if is_linear else None


def _resnet50() -> FrameEncoder:
    """Return a ResNet-50 of random weights without its last layer."""
    from torchvision.models import resnet50

    net = resnet50(weights=None)
    net.fc = nn.Identity()
    return FrameEncoder(net, torch.float32)


def check_layers(layers: Any) -> None:
    """Raise unless `metadata_layers` is None or a sequence of widths."""
    if layers is None:
        return
    if isinstance(layers, Integral | str):
        raise TypeError(
            "metadata_layers must be a sequence of widths such as (512, 64) or None, "
            f"got {layers!r}."
        )
    for width in layers:
        check_scalar(width, "metadata_layers", Integral, min_val=1)
