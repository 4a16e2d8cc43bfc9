"""Image networks that end before their classification layer, in a chosen precision."""

import copy
import difflib
import os
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from skchallenge._torch import isolated_rng

Backbone = str | Callable[[], nn.Module]
Weights = str | os.PathLike[str] | None

_CPU = torch.device("cpu")
_N_CLASSES = 1000  # ImageNet's, in every torchvision classification model
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


class FrameEncoder(nn.Module):
    """Frames as they are decoded -> features; normalises in float32, then casts."""

    scale: Tensor
    shift: Tensor

    def __init__(self, backbone: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = cast_network(backbone, dtype)
        self.backbone = backbone.to(memory_format=torch.channels_last)
        std = torch.tensor(_STD).view(1, 3, 1, 1)
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -torch.tensor(_MEAN).view(1, 3, 1, 1) / std)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.permute(0, 3, 1, 2)  # (B, H, W, 3) -> (B, 3, H, W), channels last
        x = x.float() * self.scale + self.shift
        return self.backbone(x.to(self.dtype)).float()  # (B, D)


def check_backbone(backbone: object, weights: object) -> None:
    """Raise unless `backbone` and `weights` are of a kind that can be built."""
    if isinstance(backbone, nn.Module):  # first: a module is callable
        raise TypeError(
            f"backbone must be a name or a function that returns an nn.Module, got an "
            f"instance of {type(backbone).__name__}. Pass a function that returns it, "
            "so that clone and pickle copy no weights."
        )
    if not (isinstance(backbone, str | os.PathLike) or callable(backbone)):
        raise TypeError(
            "backbone must be a torchvision name, the name or folder of a Hugging Face "
            f"model, or a function that returns an nn.Module, got {backbone!r}."
        )
    if not (weights is None or isinstance(weights, str | os.PathLike)):
        raise TypeError(
            f"weights must be a torchvision weights name, None or a path to a state "
            f"dict, got {weights!r}."
        )
    if is_pretrained(backbone):
        if weights != "DEFAULT":
            raise ValueError(
                f"weights must be 'DEFAULT' for backbone={str(backbone)!r}, whose "
                f"folder holds its own, got {weights!r}."
            )
    elif isinstance(backbone, str):
        _check_name(backbone)
        weights_member(backbone, weights)
    elif not (weights == "DEFAULT" or is_weights_path(weights)):
        raise ValueError(
            f"weights must be 'DEFAULT' (as returned) or a path to a state dict when "
            f"backbone is a function, got {weights!r}."
        )


def is_pretrained(backbone: object) -> bool:
    """Tell the folder or the name of a model of transformers from other backbones.

    Names on the Hugging Face Hub hold a slash, and those of torchvision none.
    """
    if isinstance(backbone, os.PathLike):
        return True
    if not isinstance(backbone, str) or backbone in _torchvision_names():
        return False
    return "/" in backbone or os.sep in backbone or os.path.isdir(backbone)


@lru_cache(maxsize=1)
def _torchvision_names() -> list[str]:
    from torchvision import models

    return models.list_models(module=models)


def is_weights_path(weights: object) -> bool:
    """Tell a path to a state dict from the name of torchvision weights."""
    endings = (".pt", ".pth", ".safetensors")
    return isinstance(weights, os.PathLike) or (
        isinstance(weights, str) and weights.endswith(endings)
    )


def build_backbone(
    backbone: Backbone, weights: Weights, image_size: int, *, headless: bool = True
) -> nn.Module:
    """Build the network with its weights, on the CPU, in float32, for evaluation.

    A headless one of torchvision ends before the layer that makes the class scores.

    Whatever is drawn at random is drawn from a fixed seed; the caller's generator is
    left as found.
    """
    with isolated_rng(_CPU, seed=0):
        if isinstance(backbone, str):
            net = _build_named(backbone, weights, image_size)
        else:
            net = build_called(backbone, "backbone")
    if is_weights_path(weights):
        _load_state_dict(net, Path(str(weights)))
    if isinstance(backbone, str) and headless:
        _drop_head(net)
    return net.eval().requires_grad_(False)


@lru_cache(maxsize=64)  # the clones of a search ask for the same again and again
def named_width(backbone: str, weights: Weights, image_size: int) -> int:
    """Return the number of features of a torchvision name, without its weights."""
    _check_trained_size(weights_member(backbone, weights), backbone, image_size)
    with isolated_rng(_CPU):
        try:
            with torch.device("meta"):
                net = _build_named(backbone, None, image_size)
        except NotImplementedError:  # RegNet reads values while it is built
            net = _build_named(backbone, None, image_size)
        _drop_head(net)
        device = next(net.parameters()).device
        images = torch.zeros(1, 3, image_size, image_size, device=device)
        return probe_width(net.eval(), images, repr(backbone))


def probe_width(net: nn.Module, images: Tensor, name: str) -> int:
    """Pass `images` through `net` and return how many features come out."""
    try:
        with torch.inference_mode():
            output = net(images)
    except Exception as error:
        raise ValueError(
            f"backbone={name} failed on a black image of shape {tuple(images.shape)}: "
            f"{error} Check image_size, or set precision='float32'."
        ) from error
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if not isinstance(output, Tensor) or output.ndim != 2 or len(output) != 1:
        raise ValueError(
            f"backbone={name} must map images (B, 3, H, W) to features (B, d), "
            f"got {shape} for one image."
        )
    return output.shape[1]


def _check_name(name: str) -> None:
    known = _torchvision_names()
    if name not in known:
        close = difflib.get_close_matches(name, known) or known
        raise ValueError(
            "backbone must be the name of a torchvision classification model, the name "
            "(with a slash) or the folder of a Hugging Face model, or a function that "
            f"returns an nn.Module, got {name!r}. Names of torchvision include "
            f"{', '.join(close[:5])}."
        )


def weights_member(name: str, weights: Any) -> Any:
    """Return torchvision's entry for the named weights; None if there is none."""
    from torchvision.models import get_model_weights

    if weights is None or is_weights_path(weights):
        return None
    known = get_model_weights(name).__members__
    if weights not in known:
        raise ValueError(
            f"weights must be one of {list(known)} for backbone={name!r}, None, or a "
            f"path to a state dict (.pt, .pth, .safetensors), got {weights!r}."
        )
    return known[weights]


def _check_trained_size(member: Any, name: str, image_size: int) -> None:
    trained = member.meta["min_size"][0] if member is not None else image_size
    if name.startswith("vit_") and trained != image_size:
        raise ValueError(
            f"image_size must be {trained} for backbone={name!r} with "
            f"weights={member.name!r}, got {image_size}."
        )


def _build_named(name: str, weights: Weights, image_size: int) -> nn.Module:
    from torchvision import models

    options: dict[str, object] = {}
    if name in ("googlenet", "inception_v3"):
        # As with torchvision's own weights, also when they come from a path.
        options = {"transform_input": True, "init_weights": False}
    elif name.startswith("vit_"):
        options = {"image_size": image_size}
    elif name.startswith("maxvit"):
        options = {"input_size": (image_size, image_size)}
    member = weights_member(name, weights)
    try:
        return models.get_model(name, weights=member, progress=False, **options)
    except ValueError as error:
        raise ValueError(
            f"backbone={name!r} cannot be built for image_size={image_size}: {error}"
        ) from error
    except (OSError, RuntimeError) as error:
        if member is None:
            raise
        raise OSError(
            f"weights={weights!r} of backbone={name!r} are not in torchvision's cache "
            f"and could not be downloaded ({error}). Pass weights=<path to a state "
            f"dict>, or put {member.url} into {torch.hub.get_dir()}/checkpoints."
        ) from error


def build_called(function: Callable[[], nn.Module], parameter: str) -> nn.Module:
    """Return a copy of the module that a user's function returns."""
    net = function()
    if not isinstance(net, nn.Module):
        raise TypeError(
            f"{parameter} must return an nn.Module, got {type(net).__name__} from "
            f"{function!r}."
        )
    if isinstance(net, torch.jit.ScriptModule):  # its copies cannot be frozen or cast
        raise TypeError(
            f"{parameter} must return a module of Python, got TorchScript from "
            f"{function!r}. Return the module that was scripted or traced."
        )
    return copy.deepcopy(net)  # it may be the caller's own: leave that one alone


def _load_state_dict(net: nn.Module, path: Path) -> None:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        net.load_state_dict(state)
    except Exception as error:
        raise ValueError(
            f"weights={str(path)!r} is no state dict that fits the backbone: {error} "
            "Save one with torch.save(model.state_dict(), path), model being the "
            "backbone with its classification layer."
        ) from error


def _drop_head(net: nn.Module) -> None:
    """Replace the layer that makes the class scores: the last of that width."""
    heads = [
        name
        for name, layer in net.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == _N_CLASSES)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == _N_CLASSES)
    ]
    net.set_submodule(heads[-1], nn.Identity())


def cast_network(net: nn.Module, dtype: torch.dtype) -> torch.dtype:
    """Cast in place, and return the type that its input should have.

    Batch normalisation stays in float32: it rounds badly and computes little. Where
    there are depthwise convolutions, only what multiplies most is cast, dense
    convolutions and linear layers: a plain patch of a picture rounds in one direction,
    and a depthwise convolution has no other channels to average that out.
    """
    layers = list(net.modules())
    is_mixed = dtype != torch.float32 and any(map(_is_depthwise, layers))
    for layer in layers:
        if is_mixed and _is_dense(layer):
            _cast_own_tensors(layer, dtype)
            layer.register_forward_pre_hook(partial(_cast_inputs, dtype))
            layer.register_forward_hook(_output_to_float32)
        elif is_mixed or isinstance(layer, _BatchNorm):
            _cast_own_tensors(layer, torch.float32)
        else:
            _cast_own_tensors(layer, dtype)
    return torch.float32 if is_mixed else dtype


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and 1 < layer.groups == layer.in_channels


def _is_dense(layer: nn.Module) -> bool:
    if isinstance(layer, NonDynamicallyQuantizableLinear):  # attention reads its weight
        return False
    is_convolution = isinstance(layer, nn.Conv2d) and not _is_depthwise(layer)
    return is_convolution or isinstance(layer, nn.Linear)


def _cast_inputs(
    dtype: torch.dtype, layer: nn.Module, inputs: tuple[Any, ...]
) -> tuple[Any, ...]:
    return tuple(x.to(dtype) for x in inputs)


def _output_to_float32(
    layer: nn.Module, inputs: tuple[Any, ...], output: Tensor
) -> Tensor:
    return output.float()


def _cast_own_tensors(layer: nn.Module, dtype: torch.dtype) -> None:
    for parameter in layer.parameters(recurse=False):
        parameter.data = parameter.data.to(dtype)
    for name, buffer in layer.named_buffers(recurse=False):
        if buffer.is_floating_point():
            setattr(layer, name, buffer.to(dtype))
