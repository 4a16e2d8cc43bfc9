"""What becomes of the rows of media files that cannot be embedded."""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from skchallenge._table import Cells, is_missing
from skchallenge._warn import warn
from skchallenge.exceptions import MediaError, MediaWarning
from skchallenge.media._file import absolute

FILLERS = {"raise": None, "nan": np.nan, "zero": 0.0}  # by `on_error`
_NAMED = 3


def paths_of(table: Cells, on_error: str) -> Cells:
    """Return absolute paths; None where one is missing and may be.

    Raises
    ------
    TypeError
        If a cell is no path.
    """
    paths = np.empty(table.shape, dtype=object)
    for place, cell in np.ndenumerate(table):
        if isinstance(cell, str | os.PathLike):
            paths[place] = absolute(os.fsdecode(cell))
        elif not is_missing(cell) or on_error == "raise":
            kind = "missing" if is_missing(cell) else f"a {type(cell).__name__}"
            raise TypeError(
                f"X must hold paths of files (str or os.PathLike), but row "
                f"{place[0]}, column {place[1]} is {kind}: {cell!r}. Drop the row"
                ", or set on_error='nan' or 'zero', which fill rows without a path."
            )
    return paths


class BadFiles:
    """Answers bad files by the policy of one call, and sums them up at its end.

    Parameters
    ----------
    on_error : {"raise", "nan", "zero"}
    places : mapping of str to sequence of int
        Where each path stands in the flattened table.
    n_columns : int
        Of the table.
    """

    def __init__(
        self, on_error: str, places: Mapping[str, Sequence[int]], n_columns: int
    ) -> None:
        self.on_error = on_error
        self.places = places
        self.n_columns = n_columns
        self._reasons: dict[int, str] = {}  # by place

    def filler(self, path: str, error: MediaError) -> float:
        """Return what fills the row of a bad file, or raise its error."""
        first = self.places[path][0]
        value = FILLERS[self.on_error]
        if value is None:
            raise MediaError(
                f"Row {first // self.n_columns}: {error} Repair or drop it, or set "
                "on_error='nan' or 'zero' to fill its row."
            ) from error
        self._reasons |= dict.fromkeys(self.places[path], str(error))
        return value

    def missing(self, place: int) -> float:
        """Return what fills the row of a missing path."""
        self._reasons[place] = "there is no path."
        return FILLERS[self.on_error] or 0.0

    def warn(self, n_cells: int) -> None:
        """Warn once if there were bad files; name the first."""
        if not self._reasons:
            return
        named = [
            f"row {place // self.n_columns}: {reason}"
            for place, reason in sorted(self._reasons.items())[:_NAMED]
        ]
        more = len(self._reasons) - len(named)
        warn(
            f"{len(self._reasons)} of {n_cells} files could not be embedded and are "
            f"filled as on_error={self.on_error!r} says: {' '.join(named)}"
            + (f" And {more} more; probe_media tells the reasons." if more else ""),
            MediaWarning,
        )
