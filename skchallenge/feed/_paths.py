"""The column of X that holds the paths of files."""

import os
from typing import Any

from skchallenge.embed._columns import Cells, is_missing, read_columns


def read_paths(estimator: Any, X: Any, *, reset: bool) -> list[str | None]:
    """Return the one column of X as paths; None where a value is missing."""
    table = read_columns(estimator, X, reset=reset, numbers=True)
    if table.shape[1] != 1:
        raise ValueError(
            f"X must have one column, the paths of the files, got {table.shape[1]}. "
            "Select it, for example with X[['path']]."
        )
    return as_paths(table[:, 0])


def as_paths(column: Cells) -> list[str | None]:
    """Check a column of paths and return them as strings, None where missing."""
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
