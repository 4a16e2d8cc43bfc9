"""A table of covers and numbers: which column holds what."""

from collections.abc import Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_complex_dtype, is_numeric_dtype
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from skchallenge._table import as_frame, read_columns
from skchallenge._warn import warn
from skchallenge.exceptions import MediaWarning


def place_of(image: str | int, table: pd.DataFrame, names: list[str] | None) -> int:
    """Return the position of the column of covers; warn if it holds none."""
    place = _find(image, table.shape[1], names)
    if table.iloc[:, place].isna().all():
        warn(
            f"No row of X has a cover: all cells of image={image!r} are missing, so it "
            "tells nothing. Fill the column, or set image=None.",
            MediaWarning,
        )
    return place


def _find(image: str | int, n_columns: int, names: list[str] | None) -> int:
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


def read_table(estimator: Any, X: Any, *, reset: bool) -> pd.DataFrame:
    """Return X column by column, and record its width and names.

    Columns of numbers stay what they are: as objects they would take eight times the
    memory.
    """
    if not hasattr(X, "columns"):
        return pd.DataFrame(read_columns(estimator, X, reset=reset))
    frame = as_frame(X, "X")
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    if 0 in frame.shape:
        check_array(np.empty(frame.shape), estimator=estimator)  # says so
    return frame


def numbers_of(
    table: pd.DataFrame, places: Sequence[int], names: Sequence[str] | None
) -> NDArray[np.float32]:
    """Return columns as numbers; raise unless all cells are: text of a number is none.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_samples, n_columns)
        The columns, and the cover.
    places : sequence of int
        Positions of the columns.
    names : sequence of str of length n_columns or None
        What error messages call them.
    """
    if not places:
        raise ValueError(
            "X has no column beside the cover. Set metadata_layers=None to use the "
            "cover alone."
        )
    numbers = np.empty((len(table), len(places)), dtype=np.float32)
    for i, place in enumerate(places):
        column = table.iloc[:, place]
        if _may_hold_others(column):
            name = names[place] if names else f"column {place}"
            _check_cells(column.to_numpy(dtype=object), name)
        with np.errstate(over="ignore"):  # it becomes infinite, and is refused
            numbers[:, i] = column.to_numpy(dtype=np.float32)
    return check_array(numbers, dtype=np.float32, copy=False, input_name="X")


def _may_hold_others(column: "pd.Series[Any]") -> bool:
    """Tell whether a column may hold a missing value, or anything but real numbers."""
    dtype = column.dtype
    is_real = is_numeric_dtype(dtype) and not is_complex_dtype(dtype)
    return not is_real or bool(column.isna().any())


def _check_cells(cells: NDArray[Any], name: str) -> None:
    bad = ~_is_number(cells).astype(bool) | pd.isna(cells)
    if bad.any():
        row = bad.argmax()
        raise ValueError(
            f"X must hold numbers beside the cover, but {name} is {cells[row]!r} in "
            f"row {row}. Convert or impute the column in an earlier step of the "
            "pipeline, or leave it out."
        )


_REAL = (Real, Decimal, np.bool_)
_is_number = np.frompyfunc(lambda cell: isinstance(cell, _REAL), 1, 1)
