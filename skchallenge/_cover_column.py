"""Which column of a table holds the covers, and whether the others hold numbers."""

from collections.abc import Sequence
from numbers import Integral, Number
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def place_of(image: str | int, n_columns: int, names: list[str] | None) -> int:
    """Return the position of the column of covers."""
    if isinstance(image, Integral) and not isinstance(image, bool):
        if not -n_columns <= image < n_columns:
            raise ValueError(
                f"image={image} is no position in X, which has {n_columns} columns."
            )
        return int(image) % n_columns
    if not isinstance(image, str):
        raise TypeError(
            f"image must be a column's name, its position or None, got {image!r}."
        )
    if names is None:
        raise ValueError(
            f"image={image!r} needs an X whose columns have names. Give the position "
            "of the cover, or call set_output(transform='pandas') on the step before."
        )
    exact = [i for i, name in enumerate(names) if name == image]
    prefixed = [i for i, name in enumerate(names) if name.endswith(f"__{image}")]
    found = exact or prefixed
    if len(found) != 1:
        raise ValueError(
            f"image={image!r} must be one column of X, which has {names}: "
            f"{len(found)} of them are."
        )
    return found[0]


def check_numbers(cells: NDArray[Any], names: Sequence[str]) -> None:
    """Raise unless all cells are numbers: text of a number is none."""
    bad = ~_is_number(cells).astype(bool) | pd.isna(cells)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"X must hold numbers beside the cover, but {names[column]} is "
            f"{cells[row, column]!r} in row {row}. Convert or impute the column in an "
            "earlier step of the pipeline, or leave it out."
        )


_is_number = np.frompyfunc(lambda cell: isinstance(cell, Number | np.bool_), 1, 1)
