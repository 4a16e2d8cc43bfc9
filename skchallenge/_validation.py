"""Checks of input that several layers share."""

from collections.abc import Collection, Iterable
from typing import Any

import pandas as pd


def as_frame(table: Any, name: str) -> pd.DataFrame:
    """Return a pandas or polars table as pandas, rows numbered from 0.

    Raises
    ------
    TypeError
        If `table` has no named columns.
    """
    if isinstance(table, pd.DataFrame):
        return table.reset_index(drop=True)
    if type(table).__module__.partition(".")[0] == "polars":
        # Lists stay Python lists: to_pandas() would make them arrays.
        return pd.DataFrame({c: _polars_values(table[c]) for c in table.columns})
    raise TypeError(
        f"{name} must be a pandas or polars DataFrame with named columns, got "
        f"{type(table).__name__}. Wrap an array in pandas.DataFrame(..., columns=...)."
    )


def _polars_values(column: Any) -> Any:
    is_plain = column.dtype.is_numeric() or column.dtype.is_temporal()
    return column.to_pandas() if is_plain else column.to_list()


def check_columns(found: Iterable[str], needed: Iterable[str], name: str) -> None:
    """Raise a ValueError that lists the missing and the present columns."""
    found = list(found)
    missing = [c for c in needed if c not in found]
    if missing:
        raise ValueError(f"{name} lacks the columns {missing}; it has {found}.")


def check_option(name: str, value: object, options: Collection[object]) -> None:
    """Raise a ValueError unless `value` is one of `options`."""
    if value not in options:
        raise ValueError(f"{name} must be one of {list(options)}, got {value!r}.")
