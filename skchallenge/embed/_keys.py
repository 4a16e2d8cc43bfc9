"""What is in the key of a record: the item's content and a fingerprint of the model."""

import contextlib
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skchallenge.embed._backbone import Weights, is_weights_path, weights_member
from skchallenge.embed._store import Session, content_half
from skchallenge.media._file import FileStat, file_stat, hash_file

_FRAMEWORKS = {
    "abc",
    "builtins",
    "torch",
    "torchvision",
}  # their code is known by its names
_WEIGHTS = {".bin", ".safetensors"}
_PRETRAINED = _WEIGHTS | {".json", ".model", ".txt"}
_PLAIN = bool | int | float | str | torch.dtype | None
_INTERNALS = {*vars(nn.Module()), "training"}


def item_key(fingerprint: bytes, content: bytes) -> bytes:
    """Return the key of a record: of a file by its SHA-256, of a text by itself.

    Its first half tells the item, whatever the model.
    """
    return content_half(content) + hashlib.sha256(fingerprint + content).digest()[:16]


def fingerprint_of(*parts: object) -> bytes:
    """Return the digest of everything that shapes a vector beside the item itself.

    A number or a string of NumPy, as a search has them, counts as Python's own.
    """
    plain = tuple(p.item() if isinstance(p, np.generic) else p for p in parts)
    return hashlib.sha256(repr(plain).encode("utf-8", "surrogatepass")).digest()


def weights_fingerprint(
    session: Session | None, backbone: str, weights: Weights
) -> str | None:
    """Tell which weights a torchvision name has, without loading them.

    None if only the network itself can tell. Torchvision's files bear the start of
    their SHA-256 in their names, and a downloaded one is checked against it; so a
    genuine file has the identity of its address, and any other that of its content.
    """
    if is_weights_path(weights):
        path, genuine = str(weights), None
    elif weights is None:
        return None
    else:
        genuine = os.path.basename(weights_member(backbone, weights).url)
        path = os.path.join(torch.hub.get_dir(), "checkpoints", genuine)
        if not os.path.exists(path):  # it will be downloaded, and checked, if needed
            return genuine
    digest = _digest_of(session, path)
    if digest is None:
        return None
    start = Path(genuine or "").stem.rpartition("-")[2]
    is_genuine = len(start) >= 8 and digest.hex().startswith(start)
    return genuine if is_genuine else digest.hex()


def pretrained_stats(model: str | os.PathLike[str]) -> tuple[FileStat | None, ...]:
    """Return the stats of a model's files, of which others make another model.

    There are none of a name that is not in the Hub's cache.
    """
    folder = None
    with contextlib.suppress(ValueError):  # no name that the Hub has
        folder = _pretrained_folder(os.fspath(model))
    return tuple(file_stat(path) for path in pretrained_files(folder or ""))


def pretrained_fingerprint(
    session: Session | None, model: str | os.PathLike[str], only: str | None = None
) -> tuple[str, ...] | None:
    """Tell which weights, tokenizer and settings a model of transformers has.

    None if its weights are not on this machine. Of files that hold no weights, those
    count whose name `only` describes; None takes all.
    """
    folder = _pretrained_folder(os.fspath(model))
    paths = [] if folder is None else pretrained_files(folder)
    if not any(Path(path).suffix in _WEIGHTS for path in paths):
        return None
    if only is not None:
        paths = [
            path
            for path in paths
            if Path(path).suffix in _WEIGHTS or re.fullmatch(only, Path(path).name)
        ]
    digests = ((path, _digest_of(session, path)) for path in paths)
    names = ((os.path.relpath(path, folder), digest) for path, digest in digests)
    return tuple(f"{Path(n).as_posix()} {d.hex()}" for n, d in names if d)


def pretrained_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return the files of a folder that make up a model; none if it is none.

    Models of sentence-transformers have parts in folders of their own.
    """
    if not os.path.isdir(folder):
        return []
    folder = str(folder)  # of a text of NumPy, `listdir` would list bytes
    parts = {folder, *(os.path.join(folder, part) for part in _parts_of(folder))}
    found = [
        os.path.join(p, n) for p in parts if os.path.isdir(p) for n in os.listdir(p)
    ]
    return sorted(path for path in found if Path(path).suffix in _PRETRAINED)


def _parts_of(folder: str) -> list[str]:
    """Return the folders that a model of sentence-transformers names as its parts."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        text = Path(folder, "modules.json").read_text("utf-8")
        return [str(part["path"]) for part in json.loads(text) if part["path"]]
    return []


def _pretrained_folder(name: str) -> str | None:
    """Return the folder that transformers reads, in the Hub's cache if need be."""
    from huggingface_hub import try_to_load_from_cache

    if os.path.isdir(name):
        return name
    config = try_to_load_from_cache(name, "config.json")
    return os.path.dirname(config) if isinstance(config, str) else None


def _digest_of(session: Session | None, path: str) -> bytes | None:
    """Return the SHA-256 of a model's file, which the store or this process keeps."""
    if session is None:
        return _hash_once(path, file_stat(path))
    ((_, digest),) = session.digests([path], None)
    return digest if isinstance(digest, bytes) else None


@functools.lru_cache(maxsize=64)
def _hash_once(path: str, stat: FileStat | None) -> bytes | None:
    return hash_file(path, None)[1]


def network_digest(net: nn.Module) -> str:
    """Return a digest of what a network computes with.

    That is every parameter and buffer, the network's `repr`, the plain attributes of
    its modules (numbers, texts, tensors, arrays, and lists of them), and the code of
    their classes and hooks from outside torch. What that code calls elsewhere, or has
    captured, is not followed.
    """
    digest = hashlib.sha256()
    for part in (repr(net), *_foreign_code(net), *_values(net)):
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))  # tells ab, c from a, bc
        digest.update(data)
    return digest.hexdigest()


def _foreign_code(net: nn.Module) -> Iterator[str]:
    """Yield the code of classes and hooks that torch does not bring along."""
    kinds = {kind for module in net.modules() for kind in type(module).__mro__}
    foreign = [k for k in kinds if k.__module__.partition(".")[0] not in _FRAMEWORKS]
    yield from sorted(f"{k.__module__}.{k.__qualname__} {_code(k)}" for k in foreign)
    for module in net.modules():
        yield getattr(module, "code", "")  # of a traced module
        hooks = (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
        yield from map(_code, hooks)


def _code(value: Any) -> str:
    """Return the code of a function, or of the functions of a class.

    It is the compiled code: of a function that was pickled by value, or typed at a
    prompt, a process has no source.
    """
    value = getattr(value, "__func__", getattr(value, "fget", value))  # of a method
    if isinstance(value, CodeType):
        constants = [_code(constant) for constant in value.co_consts]
        return f"{value.co_code!r} {value.co_names} {constants}"
    if isinstance(value, FunctionType):
        return _code(value.__code__)
    if isinstance(value, type):
        own = {k: v for k, v in vars(value).items() if not _is_internal(k, v)}
        return " ".join(f"{name} {_code(own[name])}" for name in sorted(own))
    if isinstance(value, frozenset):
        return str(sorted(map(_code, value)))
    return repr(value) if isinstance(value, _PLAIN | tuple) else ""


def _is_internal(name: str, value: object) -> bool:
    """Tell what Python or pickle have added to a class from what was written."""
    is_dunder = name.startswith("__") and name.endswith("__")
    return name.startswith("_cloudpickle") or (
        is_dunder and not isinstance(value, FunctionType)
    )


def _values(net: nn.Module) -> Iterator[str | memoryview]:
    """Yield the plain attributes of all modules, and their tensors, with names."""
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    for path, module in net.named_modules():
        own = {k: v for k, v in vars(module).items() if k not in _INTERNALS}
        for name, value in sorted(own.items()):
            yield f"{path} {name}"
            for item in value if isinstance(value, list | tuple) else [value]:
                if isinstance(item, Tensor | np.ndarray):
                    tensors[f"{path} {name} {len(tensors)}"] = torch.as_tensor(item)
                elif isinstance(item, _PLAIN):
                    yield repr(item)
    for name, tensor in tensors.items():
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)}"
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        yield flat.view(torch.uint8).numpy().data
