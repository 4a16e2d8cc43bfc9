"""Find the columns of a table that holds ids, and what goes with its rows."""

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_scalar
from sklearn.utils.validation import column_or_1d

Column = int | str


def column_of(table: pd.DataFrame, column: Column, parameter: str) -> "pd.Series[Any]":
    """Return a column by name or position.

    Raises
    ------
    ValueError
        If it is not there. The error names the parameter that asked for it.
    """
    if isinstance(column, str):
        if column not in table.columns:
            raise ValueError(
                f"{parameter} must be a column of X, got {column!r}; X has "
                f"{list(table.columns)}."
            )
        return table[column]
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
        If it is not there or lacks values.
    TypeError
        If it holds something else, such as lists, or strings beside numbers.
    """
    values = column_of(table, column, parameter)
    if values.isna().any():
        raise ValueError(
            f"The column of {parameter} must have no missing values, got "
            f"{values.isna().sum()}. Drop the rows, or name them, such as 'unknown'."
        )
    kind = pd.api.types.infer_dtype(values)
    if kind in {"mixed", "mixed-integer"}:
        raise TypeError(
            f"{parameter}: argument must be a string or a number, all of one kind, got "
            f"{kind} values. Convert the column with .astype(str)."
        )
    return values


def times_of(table: pd.DataFrame, column: Column) -> NDArray[np.float64]:
    """Return a column of times as floats.

    Raises
    ------
    ValueError
        If it is not there, or a time is not finite.
    """
    time = column_of(table, column, "time").to_numpy(dtype=np.float64)
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
            f"{np.isfinite(values).sum()} of them finite."
        )
    return values


def check_labels(y: NDArray[Any], labels: NDArray[Any]) -> None:
    """Refuse labels that do not say who engaged.

    Raises
    ------
    ValueError
        If there are more than two, one alone that is neither 0 nor 1, or others in y.
    """
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
