"""The column of X that holds the paths of files."""

import os
from numbers import Integral
from typing import Any

from skchallenge._table import Cells, is_missing, read_columns


def read_paths(estimator: Any, X: Any, *, reset: bool) -> list[str | None]:
    """Return the one column of X as paths; None where a value is missing."""
    table = read_columns(estimator, X, reset=reset, numbers=True)
    if table.shape[1] != 1:
        raise ValueError(
            f"X must have one column, the paths of the files, got {table.shape[1]}. "
            "Select it, for example with X[['path']]."
        )
    return _as_paths(table[:, 0])


def read_path_column(estimator: Any, X: Any, *, reset: bool) -> list[str | None]:
    """Return the column of X that the parameter `path` names, as `read_paths`."""
    table = read_columns(estimator, X, reset=reset, numbers=True)
    place = estimator.path
    names = list(getattr(estimator, "feature_names_in_", []))
    if isinstance(place, str):
        if place not in names:
            raise ValueError(
                f"path must name a column of X, got {place!r}; X has {names}."
            )
        place = names.index(place)
    elif isinstance(place, bool) or not isinstance(place, Integral):
        raise TypeError(f"path must be an integer or a string, got {place!r}.")
    if not -table.shape[1] <= place < table.shape[1]:
        raise ValueError(
            f"path must be a column of X, which has {table.shape[1]}, got {place}."
        )
    return _as_paths(table[:, place])


def _as_paths(column: Cells) -> list[str | None]:
    paths: list[str | None] = []
    for row, cell in enumerate(column):
        if is_missing(cell):
            paths.append(None)
        elif isinstance(cell, str | os.PathLike):
            paths.append(os.fspath(cell))
        else:
            raise TypeError(
                f"X must hold paths of files (str or os.PathLike), but row {row} is a "
                f"{type(cell).__name__}: {cell!r}."
            )
    return paths
