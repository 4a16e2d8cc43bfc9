"""The desk where tables, columns, ids, times and numbers are read and checked."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from numbers import Number, Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.validation import check_scalar, validate_data

# Numbers above this are Unix times: seconds from 1973 on, or a finer unit. Those of one
# unit, today's and 1973's, differ by less than the factor; two units differ by 1000.
_UNIX_SECONDS = 1e8
_TWO_UNITS = 100
_ROUNDED = 2**53  # from here on, floats are not exact

Cells = NDArray[Any]  # of objects or strings


def is_missing(value: Any) -> bool:
    """Tell whether `value` is None, NaN, NaT or pandas.NA."""
    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))


def text_or_none(cell: Any) -> str | None:
    """Return a caption as text, None if it is missing; bytes may be of any encoding."""
    if isinstance(cell, bytes):
        raise TypeError(
            f"X must hold texts, got bytes: {cell!r}. Decode them first, for instance "
            "with pandas.Series.str.decode('utf-8')."
        )
    return None if is_missing(cell) else str(cell)


def read_columns(
    estimator: Any, X: Any, *, reset: bool, numbers: bool = False
) -> Cells:
    """Return X as an (n, columns) array and record its width and names.

    A 1-D sequence of strings is one column. `numbers` takes 1-D numbers as a column
    too, for callers that refuse numbers cell by cell; otherwise scikit-learn asks for
    a 2-D array as it always does.
    """
    if _is_one_column(X, numbers):
        values = X.to_numpy() if hasattr(X, "to_numpy") else X
        X = np.empty((len(values), 1), dtype=object)
        X[:, 0] = list(values)
    if getattr(getattr(X, "dtype", None), "kind", "") == "c":
        raise ValueError("Complex data not supported")
    # NumPy would make texts of numbers, and "nan" of NaN, that share a list with texts.
    is_mixed = hasattr(X, "columns") or isinstance(X, list | tuple)
    dtype = object if is_mixed else None
    return validate_data(
        estimator, X, dtype=dtype, ensure_all_finite=False, reset=reset
    )


def _is_one_column(X: Any, numbers: bool) -> bool:
    if sparse.issparse(X) or hasattr(X, "columns"):
        return False
    if isinstance(X, list | tuple):
        cells = (str, os.PathLike, Number) if numbers else (str, os.PathLike)
        return bool(X) and all(isinstance(v, cells) or is_missing(v) for v in X)
    if len(getattr(X, "shape", ())) != 1:
        return False
    return numbers or hasattr(X, "to_numpy") or X.dtype.kind in "OUT"


def places_of(cells: Iterable[str | None]) -> dict[str, list[int]]:
    """Map each distinct string to the places where it stands; skip None."""
    places: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        if cell is not None:
            places.setdefault(cell, []).append(place)
    return places


def check_count(name: str, value: object, *, auto: bool = False) -> None:
    """Raise unless `value` is an integer of at least 1 (or "auto", if allowed)."""
    if auto and isinstance(value, str):
        if value != "auto":
            raise ValueError(f"{name} must be 'auto' or an integer, got {value!r}.")
        return
    check_scalar(value, name, (int, np.integer), min_val=1)


def as_frame(table: Any, name: str) -> pd.DataFrame:
    """Return a pandas or polars table as pandas, rows numbered from 0.

    Raises
    ------
    TypeError
        If `table` has no named columns.
    ValueError
        If two of them have one name.
    """
    if isinstance(table, pd.DataFrame):
        _check_names_differ(table.columns, name)
        return table.reset_index(drop=True)
    kind = type(table)
    if kind.__module__.partition(".")[0] == "polars" and kind.__name__ == "DataFrame":
        # Lists stay Python lists: to_pandas() would make them arrays.
        return pd.DataFrame({c: _polars_values(table[c]) for c in table.columns})
    raise TypeError(
        f"{name} must be a pandas or polars DataFrame with named columns, got "
        f"{kind.__name__}. Wrap an array in pandas.DataFrame(..., columns=...); "
        "collect a LazyFrame."
    )


def _polars_values(column: Any) -> Any:
    if column.dtype.is_integer() and column.null_count():
        largest = max(abs(column.min() or 0), abs(column.max() or 0))
        if largest >= _ROUNDED:  # to_pandas() would make floats of them
            kind = "Int64" if column.dtype.is_signed_integer() else "UInt64"
            return pd.array(column.to_list(), dtype=kind)
    is_plain = column.dtype.is_numeric() or column.dtype.is_temporal()
    if is_plain:
        return column.to_pandas()
    return column.to_list() or np.empty(0, dtype=object)  # no rows are no floats


def check_columns(
    found: Iterable[str], needed: Iterable[str], name: str, remedy: str = ""
) -> None:
    """Raise a ValueError unless each needed column is there once."""
    found, needed = list(found), list(needed)
    missing = [c for c in needed if c not in found]
    if missing:
        raise ValueError(f"{name} lacks the columns {missing}; it has {found}.{remedy}")
    _check_names_differ([c for c in found if c in needed], name)


def _check_names_differ(columns: Iterable[Any], name: str) -> None:
    twice = [c for c, n in Counter(columns).items() if n > 1]
    if twice:
        raise ValueError(
            f"{name} has several columns named {twice}. Rename or drop all but one."
        )


def check_option(name: str, value: object, options: Collection[object]) -> None:
    """Raise a ValueError unless `value` is one of `options`."""
    if value not in options:
        raise ValueError(f"{name} must be one of {list(options)}, got {value!r}.")


def check_flag(name: str, value: object) -> None:
    """Raise a TypeError unless `value` is True or False: the text "False" is true."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}.")


def check_real(
    name: str,
    value: float,
    boundaries: str = "both",
    *,
    min_val: float = 0,
    max_val: float | None = None,
) -> None:
    """Raise unless `value` is a number within limits, and a finite one.

    The limits are those of check_scalar, which lets NaN pass.
    """
    limits = {"min_val": min_val, "max_val": max_val}
    check_scalar(value, name, Real, **limits, include_boundaries=boundaries)
    check_finite(name, value)


def check_finite(name: str, value: float) -> None:
    """Raise a ValueError if a number is NaN or infinite."""
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {value}.")


def check_ids(
    values: pd.Series[Any], name: str, like: pd.Series[Any] | None = None
) -> None:
    """Raise unless `values` are strings or integers, none missing.

    With `like`, they must also be of the same kind as those.
    """
    _check_no_missing(values, name)
    kind = id_kind(values)
    if kind not in {"strings", "integers"}:
        raise TypeError(
            f"{name} must hold strings or integers, got {kind}. Make ids strings with "
            f".astype(str) before missing values turn them into floats."
        )
    _check_same_kind(kind, id_kind, name, like)


def check_times(
    values: pd.Series[Any], name: str, like: pd.Series[Any] | None = None
) -> None:
    """Raise unless `values` are numbers or datetimes, none missing.

    With `like`, they must also be of the same kind as those, and Unix times of the
    same unit.
    """
    _check_no_missing(values, name)
    kind = time_kind(values)
    if kind not in {"numbers", "datetimes", "datetimes with a time zone"}:
        raise TypeError(
            f"{name} must hold numbers or datetimes, got {kind}. Parse text with "
            f"pandas.to_datetime."
        )
    _check_same_kind(kind, time_kind, name, like)
    if kind == "numbers":
        _check_one_unit([values] if like is None else [values, like], name)


def read_duration(
    value: str | float | pd.Timedelta, name: str, times: pd.Series[Any]
) -> Any:
    """Read a duration in the kind of the times; units are never guessed.

    Returns
    -------
    duration : pandas.Timedelta or number
        Where the times are datetimes, or numbers.
    """
    numeric = pd.api.types.is_numeric_dtype(plain_times(times))
    if numeric and (isinstance(value, bool) or not isinstance(value, Real)):
        raise TypeError(
            f"{times.name} holds numbers of unknown unit, so {name} must be a number "
            f"in that unit, got {value!r}. Or convert the column, for example with "
            f"pandas.to_datetime({times.name}, unit='s')."
        )
    if not numeric and not isinstance(value, str | pd.Timedelta):
        raise TypeError(
            f"{times.name} holds datetimes, so {name} must be a duration such as "
            f"'30D', got {value!r}."
        )
    if isinstance(value, str) and not any(c.isalpha() for c in value):
        raise ValueError(f"{name} needs a unit, such as '30D', got {value!r}.")
    try:
        duration = value if numeric else pd.Timedelta(value)
    except ValueError as error:
        raise ValueError(f"{name} is no duration: {value!r}.") from error
    if pd.isna(duration):
        raise ValueError(f"{name} is no duration: {value!r}.")
    return duration


def _check_no_missing(values: pd.Series[Any], name: str) -> None:
    missing = values.isna()
    if missing.any():
        raise ValueError(
            f"{name} has {missing.sum()} missing values, first in row "
            f"{int(missing.to_numpy().argmax())}. Drop those rows."
        )


def _check_one_unit(columns: list[pd.Series[Any]], name: str) -> None:
    """Raise where Unix times are seconds beside milliseconds.

    Beside a catalog in seconds, milliseconds would put all videos into the past.
    """
    numbers = np.concatenate([c.to_numpy(dtype=np.float64) for c in columns])
    times = numbers[np.isfinite(numbers) & (numbers > _UNIX_SECONDS)]
    if len(times) and times.max() >= _TWO_UNITS * times.min():
        raise ValueError(
            f"{name} must hold times of one unit, the catalog's, but they go from "
            f"{times.min():.0f} to {times.max():.0f}: seconds beside milliseconds. "
            "Bring them to one unit, or make datetimes of them."
        )


def _check_same_kind(
    kind: str,
    kind_of: Callable[[pd.Series[Any]], str],
    name: str,
    like: pd.Series[Any] | None,
) -> None:
    if like is not None and len(like) and kind_of(like) != kind:
        raise TypeError(
            f"{name} holds {kind}, but the catalog's {like.name} holds "
            f"{kind_of(like)}. Convert one of them: units and types are never guessed."
        )


def id_kind(values: pd.Series[Any]) -> str:
    """Name what ids are: strings, integers, or something that ids may not be."""
    inferred = pd.api.types.infer_dtype(values, skipna=True)
    names = {"string": "strings", "integer": "integers", "empty": "strings"}
    if inferred == "categorical":
        return id_kind(pd.Series(values.cat.categories))
    return names.get(inferred, f"values of type {inferred}")


def plain_ids(values: pd.Series[Any]) -> pd.Series[Any]:
    """Turn nullable, Arrow, categorical and unsigned ids into NumPy's usual types.

    pandas compares int64 with UInt64 as floats, which takes one long id for another,
    and cannot compare an Arrow type with a category at all.
    """
    if values.dtype in (np.dtype(object), np.dtype(np.int64)):
        return values
    return pd.Series(values.to_list(), index=values.index, name=values.name)


def plain_integers(values: pd.Series[Any]) -> pd.Series[Any]:
    """Turn integers of any type into NumPy's usual one, and leave other ids alone."""
    is_integer = pd.api.types.is_integer_dtype(values.dtype)
    return plain_ids(values) if is_integer else values


def plain_times(values: pd.Series[Any]) -> pd.Series[Any]:
    """Turn nullable, Arrow and object times into NumPy's types; zones stay.

    A comparison with a missing value is False there, and missing elsewhere.
    """
    is_extension = pd.api.types.is_extension_array_dtype(values.dtype)
    is_zoned = isinstance(values.dtype, pd.DatetimeTZDtype)
    if values.dtype == object or (is_extension and not is_zoned):
        return pd.Series(values.to_list(), index=values.index, name=values.name)
    return values


def time_kind(values: pd.Series[Any]) -> str:
    """Name what times are: numbers, datetimes with a zone or without, or neither."""
    values = plain_times(values)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return "datetimes with a time zone"
    if pd.api.types.is_datetime64_dtype(values):
        return "datetimes"
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return "numbers"
    return f"values of type {pd.api.types.infer_dtype(values, skipna=True)}"
