"""The desk where tables, columns, ids, times, numbers and options are read and checked.

Every part of the library that takes a user's table asks here, so that one column means
the same to all of them:

- a **column** is found by name, with or without the prefixes of a ColumnTransformer, or
  by position, also from the end (`column_position`);
- **ids** are strings or numbers, all of one kind, none missing (`check_ids`). A float
  is the integer that it equals; floats so large that integers were rounded to them are
  refused;
- **times** are datetimes, with a time zone or without, or numbers such as Unix times,
  none missing (`check_times`). The unit of a number is never guessed, nor is text read;
- **numbers** are numbers of any type, and no text of them (`read_numbers`);
- **names** that look the same are the same, whatever code points a device spelt them
  with (`same_text`), tags also without case and hash sign (`tag_name`).

What is returned has NumPy's usual types: pandas compares int64 with UInt64 as floats,
which takes one long id for another, and cannot compare an Arrow type with a category.
"""

from __future__ import annotations

import math
import os
import re
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby
from numbers import Integral, Number, Real
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import (
    infer_dtype,
    is_bool_dtype,
    is_integer_dtype,
)
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils.validation import check_scalar, validate_data

# Numbers above this are Unix times: seconds from 1973 on, or a finer unit. Those of one
# unit, today's and 1973's, differ by less than the factor; two units differ by 1000.
_UNIX_SECONDS = 1e8
_TWO_UNITS = 100
# From here on, integers are rounded to floats: 2**53 for the usual float64.
_ROUNDED = 2**53
_ROUNDED_SINGLE = 2**24
_LONG = 40  # letters, or bytes, of a cell that a message quotes
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_NUMBERS = {"integer", "floating", "mixed-integer-float", "decimal"}

# What changes no picture: the selectors of plain and coloured emoji, and characters
# without width. Joiners stay, they make one emoji, or one syllable, of several.
_INVISIBLE = re.compile(
    "[\xad\u034f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufe00-\ufe0f\ufeff"
    "\U000e0100-\U000e01ef]"
)
HASH_SIGNS = "#\uff03"  # plain and full width
_LONG_TEXT = 1000  # letters

Cells = NDArray[Any]  # of objects or strings
Column = int | str
_X = TypeVar("_X")


# Tables


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


def read_table(estimator: Any, X: Any, *, reset: bool) -> pd.DataFrame:
    """Return X column by column, and record its width and names.

    Each column of a table keeps its own type: one array of all would round ids beside
    floats, and as objects numbers take eight times the memory. A nameless X takes the
    names seen in `fit`, by position.
    """
    if hasattr(X, "columns"):
        frame = as_frame(X, "X")
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        if 0 in frame.shape:
            check_array(np.empty(frame.shape), estimator=estimator)  # says so
        return frame
    frame = pd.DataFrame(read_columns(estimator, X, reset=reset)).infer_objects()
    names = None if reset else getattr(estimator, "feature_names_in_", None)
    return frame if names is None else frame.set_axis(names, axis=1)


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
        for row, value in enumerate(values):  # NumPy would look into arrays and lists
            X[row, 0] = value
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


# Columns


def column_position(
    parameter: str, column: Column, n_columns: int, names: Sequence[Any] | None
) -> int:
    """Return the position, from 0, of the column that a parameter asks for.

    Parameters
    ----------
    parameter : str
        Name of the parameter, for error messages.
    column : int or str
        A position, from the end if negative; or a name. A name that no column has
        stands for the one that has it behind a prefix, as a ColumnTransformer makes
        them: ``"cover"`` finds ``"remainder__cover"``.
    n_columns : int
        Number of columns of X.
    names : sequence of length n_columns or None
        Names of the columns of X, or those seen in `fit` if X has none.

    Raises
    ------
    TypeError
        If `column` is neither a name nor a position.
    ValueError
        If X has no such column, or several.
    """
    if isinstance(column, Integral) and not isinstance(column, bool):
        if not -n_columns <= column < n_columns:
            raise ValueError(
                f"{parameter} must be the position of a column of X, got {column}, but "
                f"X has {n_columns} feature(s)."
            )
        return int(column) % n_columns
    if not isinstance(column, str):
        raise TypeError(
            f"{parameter} must be the name or the position of a column of X, got "
            f"{column!r}."
        )
    names = [] if names is None else list(names)
    if not any(isinstance(name, str) for name in names):
        raise ValueError(
            f"{parameter}={column!r} needs an X whose columns have names. Give the "
            "position of the column, or call set_output(transform='pandas') on the "
            "step before."
        )
    exact = [i for i, name in enumerate(names) if name == column]
    prefixed = [i for i, name in enumerate(names) if str(name).endswith(f"__{column}")]
    found = exact or prefixed
    if not found:
        raise ValueError(
            f"{parameter} must be a column of X, got {column!r}; X has {names}."
        )
    if len(found) > 1:
        raise ValueError(
            f"{parameter} must be one column of X, got {column!r}, which may be any of "
            f"{[names[i] for i in found]}. Give the whole name, or the position."
        )
    return found[0]


def find_column(parameter: str, column: Column, table: pd.DataFrame) -> pd.Series[Any]:
    """Return the column of a table from `read_table` that a parameter asks for.

    Raises as `column_position` does.
    """
    names = table.columns.to_list()
    return table.iloc[:, column_position(parameter, column, table.shape[1], names)]


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


def creator_column(
    columns: Iterable[str], name: str, wanted: str = "creator_id"
) -> str:
    """Return the column of a video's creator.

    It is `creator_id`, or a log's `author_id`, or an export's `user_id`.

    A column that was asked for by another name is taken by that name only.

    Raises
    ------
    ValueError
        If the table called `name` has none of them.
    """
    found = list(columns)
    others = ("author_id", "user_id") if wanted == "creator_id" else ()
    remedy = " A column 'author_id' or 'user_id' is taken as well." if others else ""
    wanted = next((c for c in (wanted, *others) if c in found), wanted)
    check_columns(found, [wanted], name, remedy)
    return wanted


# Cells


def is_missing(value: Any) -> bool:
    """Tell whether `value` is None, NaN, NaT or pandas.NA."""
    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))


def describe(cell: Any) -> str:
    """Say in one line what a cell is, as in "a float: 3.5"; a long one is cut."""
    if is_missing(cell):
        return f"missing: {cell!r}"
    kind = f"a {type(cell).__name__}"
    shape = tuple(getattr(cell, "shape", ()))
    if shape:  # an array, a tensor or a table
        dtype = getattr(cell, "dtype", None)
        return f"{kind} of shape {shape}" + (f" and type {dtype}" if dtype else "")
    if isinstance(cell, str | bytes | bytearray) and len(cell) > _LONG:
        return f"{kind} of length {len(cell):,}: {cell[:_LONG]!r}..."
    return f"{kind}: {' '.join(_SHORT.repr(cell).split())}"


def printable(name: object) -> str:
    """Return a name, or other text of strangers, for a message: on one line.

    A name may hold whatever would write lines of its own into a log, or escape codes.
    """
    text = str(name)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def text_or_none(cell: Any) -> str | None:
    """Return a caption as text, None if it is missing; bytes may be of any encoding."""
    if isinstance(cell, bytes):
        raise TypeError(
            f"X must hold texts, got {describe(cell)}. Decode them first, for instance "
            "with pandas.Series.str.decode('utf-8')."
        )
    return None if is_missing(cell) else str(cell)


def same_text(text: str) -> str:
    """Return the one form of all texts that look like this one.

    Devices spell "é" as one code point or as two, and put a selector behind an emoji
    or leave it out.
    """
    if text.isascii():
        return text
    text = _INVISIBLE.sub("", text)
    if len(text) > _LONG_TEXT:
        text = _in_canonical_order(text)
    return unicodedata.normalize("NFC", text)


def _in_canonical_order(text: str) -> str:
    """Take characters apart and sort their marks, which is what Unicode asks for.

    Python sorts the marks of one letter in quadratic time, and a text may consist of
    them: sorted before, they take it no time.
    """
    apart = "".join(unicodedata.normalize("NFD", letter) for letter in text)
    runs = groupby(apart, lambda c: unicodedata.combining(c) > 0)
    return "".join(
        "".join(sorted(run, key=unicodedata.combining) if is_mark else run)
        for is_mark, run in runs
    )


def tag_name(tag: object) -> str:
    """Return what makes two tags the same: no hash sign, no case, one form."""
    return fold_text(same_text(str(tag)).strip().lstrip(HASH_SIGNS))


def fold_text(text: str) -> str:
    """Return the one form of a text, without case."""
    return same_text(same_text(text).casefold())  # folding may take "\u01f0" apart


def same_texts(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return cells with each string in the form of `same_text`."""
    forms = {v: same_text(v) for v in values.unique() if isinstance(v, str)}
    changed = {value: form for value, form in forms.items() if value != form}
    if not changed:
        return values
    cells = [changed.get(v, v) if isinstance(v, str) else v for v in values]
    return pd.Series(cells, index=values.index, name=values.name, dtype=values.dtype)


def read_paths(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    column: Column | None = None,
    parameter: str = "path",
) -> list[str | None]:
    """Return a column of X as paths of files; None where a value is missing.

    Without `column`, X must have one column only; with it, it is found as by
    `column_position`.
    """
    table = read_columns(estimator, X, reset=reset, numbers=True)
    n_columns = table.shape[1]
    if column is None:
        if n_columns != 1:
            raise ValueError(
                f"X must have one column, the paths of the files, got {n_columns}. "
                "Select it, for example with X[['path']]."
            )
        return path_cells(table[:, 0], "X")
    names = getattr(estimator, "feature_names_in_", None)
    return path_cells(
        table[:, column_position(parameter, column, n_columns, names)], "X"
    )


def path_cells(cells: Iterable[Any], name: str) -> list[str | None]:
    """Return the cells of a column as paths of files; None where one is missing.

    Raises
    ------
    TypeError
        If a cell is no path. The error begins with the name.
    """
    paths: list[str | None] = []
    for row, cell in enumerate(cells):
        if is_missing(cell):
            paths.append(None)
        elif isinstance(cell, str | os.PathLike):
            paths.append(os.fsdecode(cell))
        else:
            raise TypeError(
                f"{name} must hold paths of files (str or os.PathLike), but row {row} "
                f"is {describe(cell)}."
            )
    return paths


def indices_of(cells: Iterable[_X | None]) -> dict[_X, list[int]]:
    """Map each distinct cell to the indices where it stands; skip None."""
    indices: dict[_X, list[int]] = {}
    for index, cell in enumerate(cells):
        if cell is not None:
            indices.setdefault(cell, []).append(index)
    return indices


# Ids


def check_ids(
    values: pd.Series[Any],
    name: str,
    like: pd.Series[Any] | pd.Index[Any] | str | None = None,
    known: str = "",
) -> pd.Series[Any]:
    """Return ids in NumPy's usual types; raise unless they are strings or numbers.

    Parameters
    ----------
    values : Series
        None missing, and all of one kind. Whole floats become integers.
    name : str
        What error messages call them.
    like : Series, Index, str or None
        Ids that they are compared with, or what `id_kind` says of these: strings are
        never among numbers.
    known : str
        What error messages call `like`; by default the catalog's column.

    Raises
    ------
    TypeError
        If they are of no usable kind, or of another one than `like`.
    ValueError
        If one is missing, or is a float that may have been rounded.
    """
    _check_no_missing(values, name)
    kind = id_kind(values)
    if kind not in {"strings", "integers", "floats"}:
        raise TypeError(
            f"{name} must hold strings or integers, all of one kind, got {kind}: an "
            "argument must be a string or a number. Make ids strings with "
            ".astype(str); make one string of a list of several, '39,68', with "
            ".str.join(',')."
        )
    if kind == "floats":
        _check_exact(values, name)
    _check_same_kind(kind, like, id_kind, name, known)
    return plain_ids(values)


def id_kind(values: pd.Series[Any] | pd.Index[Any]) -> str:
    """Name what ids are: strings, integers, floats, or what ids may not be."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = pd.Series(values)
        return id_kind(values.cat.remove_unused_categories().cat.categories)
    inferred = infer_dtype(values, skipna=True)
    if inferred in _NUMBERS:
        return "integers" if inferred == "integer" else "floats"
    names = {"string": "strings", "empty": "strings"}
    return names.get(inferred, f"values of type {inferred}")


def plain_ids(values: pd.Series[Any]) -> pd.Series[Any]:
    """Turn nullable, Arrow, categorical, unsigned and float ids into NumPy's types.

    Strings that look the same become the same.
    """
    if values.dtype == np.int64:
        return values
    if values.dtype != object or infer_dtype(values, skipna=False) in _NUMBERS:
        values = pd.Series(values.to_list(), index=values.index, name=values.name)
    if infer_dtype(values, skipna=False) not in _NUMBERS - {"integer"}:
        return values if values.dtype.kind in "iuf" else same_texts(values)
    numbers = values.astype(np.float64)
    is_whole = ((numbers == np.floor(numbers)) & (numbers.abs() < _ROUNDED)).all()
    return numbers.astype(np.int64) if is_whole else numbers


def _check_exact(values: pd.Series[Any], name: str) -> None:
    """Refuse floats so large that whole numbers next to them are rounded to them."""
    is_single = str(values.dtype).lower() in {"float32", "float[pyarrow]"}
    least = _ROUNDED_SINGLE if is_single else _ROUNDED
    numbers = pd.Series(values.to_list(), dtype=np.float64)
    if (numbers.abs() >= least).any():
        raise ValueError(
            f"{name} must not hold floats of {least} or more: long ids are rounded to "
            "them, and several become one. Read the column as integers or strings, "
            "before missing values turn it into floats."
        )


# Times


def check_times(
    values: pd.Series[Any],
    name: str,
    like: pd.Series[Any] | str | None = None,
    known: str = "",
) -> pd.Series[Any]:
    """Return times in NumPy's types; raise unless they are numbers or datetimes.

    Parameters
    ----------
    values : Series
        None missing: all datetimes with a time zone, all without, or all numbers.
    name : str
        What error messages call them.
    like : Series, str or None
        Times that they are compared with, or what `time_kind` says of these. Unix times
        must also be of the same unit as the numbers among them.
    known : str
        What error messages call `like`; by default the catalog's column.

    Raises
    ------
    TypeError
        If they are of no usable kind, such as text, or of another one than `like`.
    ValueError
        If one is missing, or seconds stand beside milliseconds.
    """
    _check_no_missing(values, name)
    kind = time_kind(values)
    if kind not in {"numbers", "datetimes", "datetimes with a time zone"}:
        raise TypeError(
            f"{name} must hold numbers or datetimes, got {kind}. Parse text with "
            f"pandas.to_datetime."
        )
    _check_same_kind(kind, like, time_kind, name, known)
    if kind == "numbers":
        others = [] if like is None or isinstance(like, str) else [like]
        _check_one_unit([values, *others], name)
    return plain_times(values)


def time_kind(values: pd.Series[Any]) -> str:
    """Name what times are: numbers, datetimes with a zone or without, or neither."""
    values = plain_times(values)
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return "datetimes with a time zone"
    if pd.api.types.is_datetime64_dtype(values):
        return "datetimes"
    if pd.api.types.is_numeric_dtype(values) and not is_bool_dtype(values):
        return "numbers"
    return f"values of type {infer_dtype(values, skipna=True)}"


def plain_times(values: pd.Series[Any]) -> pd.Series[Any]:
    """Turn nullable, Arrow and object times into NumPy's types; zones stay.

    A comparison with a missing value is False there, and missing elsewhere.
    """
    is_extension = pd.api.types.is_extension_array_dtype(values.dtype)
    is_zoned = isinstance(values.dtype, pd.DatetimeTZDtype)
    if values.dtype == object or (is_extension and not is_zoned):
        return pd.Series(values.to_list(), index=values.index, name=values.name)
    return values


def time_values(times: pd.Series[Any]) -> NDArray[Any]:
    """Return times as a sortable array: datetime64 in UTC, int64 or float64.

    Differences are of the kind of the duration that `read_duration` reads.
    """
    times = plain_times(times)
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    if is_integer_dtype(times.dtype):
        return times.to_numpy(dtype=np.int64)
    if pd.api.types.is_datetime64_dtype(times.dtype):
        return times.to_numpy()
    return times.to_numpy(dtype=np.float64)


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
        # As Python's text: pandas 2 takes no text of NumPy.
        value = str(value) if isinstance(value, str) else value
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
    like: Any,
    kind_of: Callable[[Any], str],
    name: str,
    known: str,
) -> None:
    if like is None or not len(like):
        return
    other = like if isinstance(like, str) else kind_of(like)
    numbers = {"integers", "floats"}  # ids that may be equal
    if kind != other and not {kind, other} <= numbers:
        known = known or f"the catalog's {like.name}"
        raise TypeError(
            f"{name} holds {kind}, but {known} holds {other}. Convert one of them: "
            "units and types are never guessed."
        )


# Numbers


def read_numbers(values: pd.Series[Any], name: str) -> NDArray[np.float64]:
    """Return numbers of any type as floats, missing values as NaN.

    Raises
    ------
    TypeError
        If they are no numbers, but text of numbers, say. The error begins with the
        name.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    kind = infer_dtype(values, skipna=True)
    may_be_text = kind in {"string", "mixed", "mixed-integer"}
    try:
        if may_be_text and any(isinstance(value, str) for value in values):
            # pandas would read some of it, by version.
            raise TypeError("text is not read; pandas.to_numeric does it")
        numbers = values.astype("Float64")
    except (OverflowError, TypeError, ValueError) as error:  # of pandas or of Arrow
        raise TypeError(
            f"{name} must hold numbers, got {kind} values: {error}. Convert them."
        ) from error
    return np.asarray(numbers.to_numpy(np.float64, na_value=np.nan), dtype=np.float64)


# Parameters


def check_count(
    name: str, value: object, *, auto: bool = False, min_val: int = 1
) -> None:
    """Raise unless `value` is an integer of at least `min_val` (or "auto")."""
    if auto and isinstance(value, str):
        if value != "auto":
            raise ValueError(f"{name} must be 'auto' or an integer, got {value!r}.")
        return
    check_scalar(value, name, Integral, min_val=min_val)


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
