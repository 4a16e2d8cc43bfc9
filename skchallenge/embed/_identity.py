"""Which model is it: digests of weights, of tokenizers and of whole networks."""

import copyreg
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skchallenge.embed._backbone import Weights, is_weights_path, weights_member
from skchallenge.embed._database import Session
from skchallenge.embed._keys import digest_files

_FRAMEWORKS = {"torch", "torchvision"}  # their code is known by its names
_INTERNALS = {*vars(nn.Module()), "training"}
_WEIGHTS = {".bin", ".safetensors"}
_TEXT_MODEL = _WEIGHTS | {".json", ".model", ".txt"}


def weights_identity(
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
    _, _, digest = next(digest_files(session, [path]))
    if digest is None:
        return None
    start = Path(genuine or "").stem.rpartition("-")[2]
    is_genuine = len(start) >= 8 and digest.hex().startswith(start)
    return genuine if is_genuine else digest.hex()


def text_model_identity(
    session: Session | None, model: str | os.PathLike[str]
) -> tuple[str, ...] | None:
    """Tell which weights, tokenizer and settings a text encoder has.

    None if its weights are not on this machine.
    """
    folder = _text_model_folder(os.fspath(model))
    paths = [] if folder is None else text_model_files(folder)
    if not any(Path(path).suffix in _WEIGHTS for path in paths):
        return None
    return tuple(
        f"{os.path.basename(path)} {digest.hex()}"
        for path, _, digest in digest_files(session, paths)
        if digest is not None
    )


def text_model_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return the files of a folder that make up a text encoder; none if it is none."""
    if not os.path.isdir(folder):
        return []
    found = os.listdir(str(folder))  # of a text of NumPy it would list bytes
    names = sorted(n for n in found if Path(n).suffix in _TEXT_MODEL)
    return [os.path.join(folder, name) for name in names]


def _text_model_folder(name: str) -> str | None:
    """Return the folder that transformers reads, in the Hub's cache if need be."""
    from huggingface_hub import try_to_load_from_cache

    if os.path.isdir(name):
        return name
    config = try_to_load_from_cache(name, "config.json")
    return os.path.dirname(config) if isinstance(config, str) else None


def network_digest(net: nn.Module) -> str:
    """Return a digest of all that a network computes with.

    That is every parameter, buffer and attribute of every module, with its name, and
    the code of classes and hooks from outside torch and torchvision, with what
    functions have captured. What their code calls elsewhere is not followed.
    """
    digest = _Digest()
    _describe(net, digest)
    return digest.sha256.hexdigest()


def tensors_digest(net: nn.Module) -> str:
    """Return a digest of the parameters and buffers alone."""
    digest = _Digest()
    _describe(dict(net.named_parameters()) | dict(net.named_buffers()), digest)
    return digest.sha256.hexdigest()


class _Digest:
    """A running SHA-256, and the objects that are in it."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self._seen: dict[int, tuple[int, Any]] = {}  # with the object: its id is taken

    def add(self, data: bytes | str | memoryview) -> None:
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        self.sha256.update(len(data).to_bytes(8, "little"))  # tells ab, c from a, bc
        self.sha256.update(data)

    def has_seen(self, value: object) -> bool:
        """Tell whether an object is there already; if so, add which one it is."""
        if id(value) in self._seen:
            self.add(f"object {self._seen[id(value)][0]}")
            return True
        self._seen[id(value)] = len(self._seen), value
        return False


@functools.singledispatch
def _describe(value: Any, digest: _Digest) -> None:
    """Add what is stable about a value from process to process."""
    _describe(type(value), digest)
    if hasattr(value, "to_dict"):  # a configuration of transformers
        _describe(value.to_dict(), digest)
    elif not (_is_known(type(value)) or digest.has_seen(value)):
        _describe(_what_pickle_keeps(value), digest)


def _what_pickle_keeps(value: Any) -> Any:
    """Return of what an object is made; None of one that cannot be pickled."""
    reduce = copyreg.dispatch_table.get(type(value))
    try:
        parts = reduce(value) if reduce else value.__reduce_ex__(4)
    except Exception:  # a lock, say
        return None
    if isinstance(parts, str):  # the name of something global
        return parts
    return [list(part) if isinstance(part, Iterator) else part for part in parts]


def _is_known(kind: type) -> bool:
    """Tell whether the code of a class is known by its name."""
    return kind.__module__.partition(".")[0] in _FRAMEWORKS


@_describe.register
def _(value: nn.Module, digest: _Digest) -> None:
    if digest.has_seen(value):
        return
    for kind in type(value).__mro__:
        _describe(kind, digest)
        if not _is_known(kind):
            _describe(dict(_contents(kind)), digest)
    # Traced modules are all of one class; their code tells them apart.
    _describe(getattr(value, "code", None), digest)
    _describe({n: v for n, v in vars(value).items() if n not in _INTERNALS}, digest)
    _describe(dict(value.named_parameters(recurse=False)), digest)
    _describe(dict(value.named_buffers(recurse=False)), digest)
    _describe(list(value._forward_pre_hooks.values()), digest)
    _describe(list(value._forward_hooks.values()), digest)
    for name, child in value.named_children():
        digest.add(name)
        _describe(child, digest)


def _contents(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the functions and the other attributes of a class, but not Python's own."""
    for name, value in vars(kind).items():
        is_own = name.startswith("__") and name.endswith("__")
        if isinstance(value, FunctionType) or not is_own:
            yield name, value


@_describe.register(int | float | complex | str | bytes | None)
@_describe.register(torch.dtype | torch.device | torch.memory_format)
def _(value: object, digest: _Digest) -> None:
    digest.add(repr(value))


@_describe.register
def _(value: Tensor, digest: _Digest) -> None:
    digest.add(f"{value.dtype} {tuple(value.shape)}")
    flat = value.detach().cpu().contiguous().reshape(-1)
    digest.add(flat.view(torch.uint8).numpy().data)


@_describe.register
def _(value: np.ndarray, digest: _Digest) -> None:
    digest.add(f"{value.dtype} {value.shape}")
    digest.add(value.tobytes())


@_describe.register(list | tuple)
def _(value: list[Any] | tuple[Any, ...], digest: _Digest) -> None:
    digest.add(f"{len(value)} values")
    for item in value:
        _describe(item, digest)


@_describe.register(set | frozenset)
def _(value: set[Any] | frozenset[Any], digest: _Digest) -> None:
    _describe(sorted(map(repr, value)), digest)


@_describe.register(dict)
def _(value: dict[Any, Any], digest: _Digest) -> None:
    digest.add(f"{len(value)} pairs")
    for key in sorted(value, key=repr):
        _describe(key, digest)
        _describe(value[key], digest)


@_describe.register
def _(value: type, digest: _Digest) -> None:
    digest.add(f"{value.__module__}.{value.__qualname__}")


@_describe.register
def _(value: CodeType, digest: _Digest) -> None:
    digest.add(value.co_code)
    _describe(value.co_names, digest)
    _describe(value.co_consts, digest)


@_describe.register
def _(value: FunctionType, digest: _Digest) -> None:
    if not digest.has_seen(value):
        _describe(value.__code__, digest)
        _describe(value.__defaults__, digest)
        _describe(value.__kwdefaults__, digest)
        _describe([_content(cell) for cell in value.__closure__ or ()], digest)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing yet
        return None


@_describe.register
def _(value: MethodType, digest: _Digest) -> None:
    _describe((value.__func__, value.__self__), digest)


@_describe.register
def _(value: property, digest: _Digest) -> None:
    _describe(value.fget, digest)


@_describe.register(staticmethod | classmethod)
def _(value: Any, digest: _Digest) -> None:
    _describe(type(value), digest)
    _describe(value.__func__, digest)


@_describe.register(functools.partial)
def _(value: functools.partial[Any], digest: _Digest) -> None:
    _describe((value.func, value.args, value.keywords), digest)
