"""Frozen networks of this process: in which precision they run, and the last few."""

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch

_KEPT = 4  # networks; a search has one for frames and one for captions

_Network = TypeVar("_Network")

# Threads of one process share both: joblib's, in a search with the backend "threading".
_mutex = threading.RLock()
_networks: OrderedDict[Hashable, Any] = OrderedDict()  # the last used is the last
_tokens: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()


def get_network(key: Hashable, build: Callable[[], _Network]) -> _Network:
    """Return the network of `key`, built if it is not among the last few.

    Estimators hold no network: clones and pickles need no care, and all clones of a
    search share one.
    """
    with _mutex:
        if key not in _networks:
            while len(_networks) >= _KEPT:
                _networks.popitem(last=False)
            _networks[key] = build()
        _networks.move_to_end(key)
        return _networks[key]


def token_of(function: Callable[..., Any]) -> str:
    """Return a name of a function that means the same in a worker process.

    A function that was pickled by value is equal to no other, and the worker would
    build its network anew for each chunk.
    """
    with _mutex:
        return _tokens.setdefault(function, uuid.uuid4().hex)


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Turn ``"auto"`` into bfloat16 where the hardware multiplies it natively."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if is_native else torch.float32
    # oneDNN emulates bfloat16 elsewhere, which is slower than float32.
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    is_native = known.get("avx512_bf16", False) or known.get("amx_bf16", False)
    return torch.bfloat16 if device.type == "cpu" and is_native else torch.float32


def check_width(width: int, fitted: int, network: str) -> None:
    """Raise unless the network of now has the width of the network of `fit`."""
    if width != fitted:
        raise ValueError(
            f"{network} gives {width} features with what was set after fit, but the "
            f"network of fit gave {fitted}. Call fit again."
        )
