"""Find the columns of a table that holds ids, and what goes with its rows."""

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import assert_all_finite, check_scalar
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from skchallenge._table import plain_integers

Column = int | str

_FLOATS = ("floating", "mixed-integer-float")
_MIXED = ("mixed", "mixed-integer")


def column_of(table: pd.DataFrame, column: Column, parameter: str) -> "pd.Series[Any]":
    """Return a column by name or position.

    Raises
    ------
    ValueError
        If it is not there. The error names the parameter that asked for it.
    TypeError
        If `column` is neither a name nor a position.
    """
    if isinstance(column, str):
        if column not in table.columns:
            raise ValueError(
                f"{parameter} must be a column of X, got {column!r}; X has "
                f"{list(table.columns)}."
            )
        return table[column]
    if isinstance(column, bool) or not isinstance(column, Integral):
        raise TypeError(
            f"{parameter} must be the name or the position of a column of X, got "
            f"{column!r}."
        )
    check_scalar(column, parameter, Integral, min_val=0)
    if column >= table.shape[1]:
        raise ValueError(
            f"{parameter} must be the position of a column of X, got {column}, but X "
            f"has {table.shape[1]} feature(s)."
        )
    return table.iloc[:, column]


def ids_of(table: pd.DataFrame, column: Column, parameter: str) -> "pd.Series[Any]":
    """Return a column of strings or numbers.

    Raises
    ------
    ValueError
        If it is not there, lacks values, or holds floats that may have been rounded.
    TypeError
        If it holds something else, such as lists, or strings beside numbers.
    """
    values = column_of(table, column, parameter)
    if values.isna().any():
        raise ValueError(
            f"The column of {parameter} must have no missing values, got "
            f"{values.isna().sum()}. Drop the rows, or name them, such as 'unknown'."
        )
    kind = kind_of(values)
    if kind in _MIXED:
        raise TypeError(
            f"{parameter}: argument must be a string or a number, all of one kind, got "
            f"{kind} values. Convert the column with .astype(str); turn a list of "
            'several into one string, "39,68", by .str.join(",").'
        )
    _check_exact(values, f"The column of {parameter}")
    return plain_integers(values)


def kind_of(values: Any) -> str:
    """Return ``"numbers"``, ``"string"`` or pandas' name of what values are."""
    kind = pd.api.types.infer_dtype(values)
    if kind == "categorical":
        return kind_of(values.cat.remove_unused_categories().cat.categories)
    return "numbers" if kind in {"integer", "decimal", *_FLOATS} else kind


def _check_exact(values: "pd.Series[Any]", name: str) -> None:
    """Refuse floats so large that whole numbers next to them are rounded to them."""
    if pd.api.types.infer_dtype(values) not in _FLOATS:
        return
    is_single = str(values.dtype).lower() in {"float32", "float[pyarrow]"}
    least = 2 ** (24 if is_single else 53)
    if (np.abs(values.to_numpy(dtype=np.float64)) >= least).any():
        raise ValueError(
            f"{name} must not hold floats of {least} or more: long ids are rounded to "
            "them, and several become one. Read the column as integers or strings."
        )


def check_kind(values: "pd.Series[Any]", known: "pd.Index[Any]", name: str) -> None:
    """Refuse ids that cannot be among the known ones: 7 is not ``"7"``.

    Raises
    ------
    TypeError
        If one are strings and the others numbers, for example. The error begins with
        the name.
    """
    kind, kind_known = kind_of(values), kind_of(known)
    if kind != kind_known and len(values):
        raise TypeError(
            f"{name} must hold the kind of values seen in fit, {kind_known}, got "
            f"{kind}. Convert with .astype."
        )


def users_of(users: Any, known: "pd.Index[Any]") -> "pd.Series[Any]":
    """Return user ids as a column.

    Raises
    ------
    TypeError
        If they are a single id or a table, or of another kind than the known ones.
    ValueError
        If one is missing, or is a float that may have been rounded.
    """
    if isinstance(users, str) or np.ndim(users) != 1:
        raise TypeError(
            "users must be a list or another 1-D array-like of user ids, got "
            f"{type(users).__name__}. Put a single id into a list; select a table's "
            "column."
        )
    ids = pd.Series(list(users))
    if ids.isna().any():
        raise ValueError(
            f"users must have no missing ids, got {ids.isna().sum()}. Drop them, or "
            "ask for a new user by any id that was not in fit."
        )
    _check_exact(ids, "users")
    check_kind(ids, known, "users")
    return ids


def times_of(table: pd.DataFrame, column: Column) -> NDArray[np.float64]:
    """Return a column of times as floats.

    Raises
    ------
    ValueError
        If it is not there, or a time is not finite.
    TypeError
        If it holds dates, durations or texts, of which the unit would be guessed.
    """
    values = column_of(table, column, "time")
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind.startswith(("date", "time", "period", "string")):
        raise TypeError(
            "The column of time must hold numbers, in the unit of half_life, got "
            f"{kind} values. Convert it, for example to days by (time - "
            "time.min()).dt.total_seconds() / 86400."
        )
    time = values.to_numpy(dtype=np.float64)
    if not np.isfinite(time).all():
        raise ValueError(
            "The column of time must hold finite numbers, got missing or infinite "
            "ones. Drop those rows."
        )
    return time


def check_points(points: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return points as floats, one a row of X.

    Raises
    ------
    ValueError
        If there are more or fewer, or one is not finite.
    """
    values = column_or_1d(points, dtype=np.float64)
    if len(values) != n or not np.isfinite(values).all():
        raise ValueError(
            f"points must hold {n} finite numbers, one a row of X, got {len(values)}, "
            f"{np.isfinite(values).sum()} of them finite. Drop impressions without "
            "points: those of no known duration."
        )
    return values


def labels_of(
    y: NDArray[Any], classes: ArrayLike | None, first: NDArray[Any] | None
) -> NDArray[Any]:
    """Return all labels, of which the last says that a user engaged.

    Parameters
    ----------
    y : labels of the rows
    classes : all labels, if they were passed
    first : the labels of the first call, if there was one

    Raises
    ------
    ValueError
        If there are more than two, one alone that is neither 0 nor 1, others in y, or
        others than at the first call.
    """
    assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    labels = np.unique(y if classes is None else classes)
    if first is not None:
        if classes is not None and not np.array_equal(labels, first):
            raise ValueError(
                f"classes must be those of the first call, {first.tolist()}, got "
                f"{labels.tolist()}. Call fit to start anew."
            )
        labels = first
    _check_labels(y, labels)
    return labels


def _check_labels(y: NDArray[Any], labels: NDArray[Any]) -> None:
    if len(labels) > 2:
        raise ValueError(
            f"Only binary classification is supported, got {len(labels)} labels. Say "
            "which mean that a user engaged."
        )
    if len(labels) == 1 and labels[0] not in (0, 1):
        raise ValueError(
            f"y must hold both classes, or be 0 or 1, got {labels[0]!r} alone. Use 0 "
            "and 1, or name both by partial_fit(classes=...)."
        )
    unknown = np.setdiff1d(y, labels)
    if len(unknown):
        raise ValueError(
            f"y must hold labels among {labels.tolist()}, got {unknown.tolist()}. Pass "
            "all labels as classes at the first call."
        )
