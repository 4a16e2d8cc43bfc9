"""What transformers of texts and paths take: one column, or a table of columns."""

import os
from collections.abc import Iterable
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.validation import check_scalar, validate_data

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
