"""Which floating-point type the models run in."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Turn ``"auto"`` into bfloat16 where the hardware multiplies it natively."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    return torch.bfloat16 if _gains_from_bfloat16(device) else torch.float32


def _gains_from_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # oneDNN emulates bfloat16 elsewhere, which is slower than float32.
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    native = known.get("avx512_bf16", False) or known.get("amx_bf16", False)
    return device.type == "cpu" and bool(native)


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
