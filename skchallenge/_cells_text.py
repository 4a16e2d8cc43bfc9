"""Cells of object columns as text: None, NaN, texts and lists come back as such."""

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

_SCALARS = {type(None), bool, int, float, str}
_NUMPY_KINDS = "biufUOmM"  # of values that NumPy turns into Python's and back
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
    if kind in _WRITERS:
        return {kind.__name__: _WRITERS[kind](cell)}
    if cell is pd.NA:
        return {"NA": None}
    if kind is np.ndarray or isinstance(cell, np.generic):
        return {"numpy": _numpy_parts(cell)}
    raise TypeError(f"A cell of type {kind.__name__} has no exact text.")


def _zone_parts(zone: dt.tzinfo | None) -> list[Any]:
    if zone is None or zone is dt.UTC:
        return [zone and "UTC"]
    if type(zone) is ZoneInfo and zone.key:
        return ["zone", zone.key]
    if type(zone) is dt.timezone:
        offset = zone.utcoffset(None)
        if repr(zone) == repr(dt.timezone(offset)):  # it has no name of its own
            return ["offset", offset // dt.timedelta(microseconds=1)]
    raise TypeError(f"A time zone of type {type(zone).__name__} has no exact text.")


def _from_zone_parts(parts: list[Any]) -> dt.tzinfo | None:
    if len(parts) == 1:
        return parts[0] and dt.UTC
    kind, value = parts
    if kind == "offset":
        return dt.timezone(dt.timedelta(microseconds=value))
    return ZoneInfo(value)


def _stamp_parts(cell: pd.Timestamp) -> list[Any]:
    return [int(cell.asm8.astype(np.int64)), cell.unit, _zone_parts(cell.tzinfo)]


def _from_stamp_parts(parts: list[Any]) -> pd.Timestamp:
    number, unit, zone = parts
    stamp = pd.Timestamp(np.datetime64(number, unit))
    zone = _from_zone_parts(zone)
    return stamp if zone is None else stamp.tz_localize(dt.UTC).tz_convert(zone)


def _datetime_parts(cell: dt.datetime) -> list[Any]:
    plain = cell.replace(tzinfo=None)
    return [plain.isoformat(), cell.fold, _zone_parts(cell.tzinfo)]


def _from_datetime_parts(parts: list[Any]) -> dt.datetime:
    text, fold, zone = parts
    plain = dt.datetime.fromisoformat(text)
    return plain.replace(fold=fold, tzinfo=_from_zone_parts(zone))


def _delta_parts(cell: pd.Timedelta) -> list[Any]:
    return [int(cell.asm8.astype(np.int64)), cell.unit]


_WRITERS: dict[type, Callable[[Any], Any]] = {
    pd.Timestamp: _stamp_parts,
    pd.Timedelta: _delta_parts,
    type(pd.NaT): lambda cell: None,
    dt.datetime: _datetime_parts,
    dt.date: dt.date.isoformat,
    bytes: bytes.hex,
    Decimal: str,
}


def _numpy_parts(cell: Any) -> list[Any]:
    dtype = cell.dtype
    is_long = dtype.kind in "iuf" and dtype.itemsize > _MOST_BYTES
    if dtype.kind not in _NUMPY_KINDS or is_long:
        raise TypeError(f"A cell of dtype {dtype} has no exact text.")
    shape = list(cell.shape) if type(cell) is np.ndarray else None
    plain = cell.astype(np.int64) if dtype.kind in "mM" else cell
    return [dtype.str, shape, _tag(plain.ravel().tolist())]


def _from_numpy_parts(parts: list[Any]) -> Any:
    dtype, shape, items = parts
    is_time = np.dtype(dtype).kind in "mM"
    values: Any = np.fromiter(items, np.int64 if is_time else dtype, len(items))
    values = values.astype(dtype, copy=False)
    return values[0] if shape is None else values.reshape(shape)


_READERS: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "dict": dict,
    "NA": lambda nothing: pd.NA,
    "Timestamp": _from_stamp_parts,
    "Timedelta": lambda parts: pd.Timedelta(np.timedelta64(*parts)),
    "NaTType": lambda nothing: pd.NaT,
    "datetime": _from_datetime_parts,
    "date": dt.date.fromisoformat,
    "bytes": bytes.fromhex,
    "Decimal": Decimal,
    "numpy": _from_numpy_parts,
}


def _untag(tagged: dict[str, Any]) -> Any:
    ((kind, value),) = tagged.items()
    return _READERS[kind](value)


def _constant(word: str) -> float:
    return np.nan if word == "NaN" else float(word)
