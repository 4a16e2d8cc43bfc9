"""Cells of object columns as text: None, NaN, texts and lists come back as such."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

_SCALARS = {type(None), bool, int, float, str}
_NUMPY_KINDS = "biufUO"  # of values that NumPy turns into Python's and back
_MOST_BYTES = 8  # of a number: there are no longer ones in Python


def to_text(value: Any) -> bytes:
    """Write nested lists of cells as JSON.

    What JSON has no word for is an object with one key, its kind.

    Raises
    ------
    TypeError
        If a cell would not come back as it is, such as one of a class of its own.
    ValueError
        If a number has too many digits for text.
    """
    text = json.dumps(_tag(value), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")  # half a pair, as JSON exports have


def from_text(text: bytes) -> Any:
    """Read what `to_text` wrote."""
    decoded = text.decode("utf-8", "surrogatepass")
    return json.loads(decoded, object_hook=_untag, parse_constant=_constant)


def _tag(cell: Any) -> Any:
    kind = type(cell)
    if kind in _SCALARS:
        return cell
    if kind is list:
        is_plain = _SCALARS.issuperset(map(type, cell))
        return cell if is_plain else [_tag(item) for item in cell]
    if kind is tuple:
        return {"tuple": _tag(list(cell))}
    if kind is dict:
        return {"dict": [_tag(list(item)) for item in cell.items()]}
    if cell is pd.NA:
        return {"NA": None}
    if kind is np.ndarray or isinstance(cell, np.generic):
        return {"numpy": _numpy_parts(cell)}
    raise TypeError(f"A cell of type {kind.__name__} has no exact text.")


def _numpy_parts(cell: Any) -> list[Any]:
    dtype = cell.dtype
    is_long = dtype.kind in "iuf" and dtype.itemsize > _MOST_BYTES
    if dtype.kind not in _NUMPY_KINDS or is_long:
        raise TypeError(f"A cell of dtype {dtype} has no exact text.")
    shape = list(cell.shape) if type(cell) is np.ndarray else None
    return [dtype.str, shape, _tag(cell.ravel().tolist())]


def _from_numpy_parts(parts: list[Any]) -> Any:
    dtype, shape, items = parts
    values: Any = np.fromiter(items, dtype, len(items))
    return values[0] if shape is None else values.reshape(shape)


_READERS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "dict": dict,
    "NA": lambda nothing: pd.NA,
    "numpy": _from_numpy_parts,
}


def _untag(tagged: dict[str, Any]) -> Any:
    ((kind, value),) = tagged.items()
    return _READERS[kind](value)


def _constant(word: str) -> float:
    return np.nan if word == "NaN" else float(word)
