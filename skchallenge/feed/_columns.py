"""Find the columns of a table that holds ids."""

from numbers import Integral
from typing import Any

import pandas as pd
from sklearn.utils import check_scalar

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
        If it holds something else, such as lists.
    """
    values = column_of(table, column, parameter)
    if values.isna().any():
        raise ValueError(
            f"The column of {parameter} must have no missing values, got "
            f"{values.isna().sum()}. Drop the rows, or name them, such as 'unknown'."
        )
    if not values.map(pd.api.types.is_hashable).all():
        raise TypeError(
            f"{parameter}: argument must be a string or a number, got a column of type "
            f"{pd.api.types.infer_dtype(values)}."
        )
    return values
