"""Find the newest videos of an entity before a time."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Rows = NDArray[np.intp]


class TimeIndex:
    """Rows of each entity sorted by time, for many look-ups at once.

    Parameters
    ----------
    entity : pandas.Index of length n
        Whose each row is; a MultiIndex for combined entities.
    time : ndarray of shape (n,)
        Time of each row.
    tie : ndarray of shape (n,)
        Sorts rows of one time: of two, the smaller counts as newer.
    row : ndarray of shape (n,)
        What a look-up returns.
    """

    def __init__(
        self, entity: pd.Index, time: NDArray[np.generic], tie: Rows, row: Rows
    ) -> None:
        self._entities = entity.unique()
        self._times = np.unique(time)
        code = self._entities.get_indexer(entity)
        order = np.lexsort((-tie, time, code))
        self._row = np.asarray(row)[order]
        # One sorted key for (entity, time), so that one searchsorted serves all rows.
        self._base = len(self._times) + 1
        rank = np.searchsorted(self._times, time[order])
        self._key = code[order] * self._base + rank

    def spans(
        self, entity: pd.Index, before: NDArray[np.generic] | None
    ) -> tuple[Rows, Rows]:
        """Return start and stop of each entity's rows strictly before a time.

        ``before=None`` sets no limit; an unknown entity has an empty span.
        """
        code = self._entities.get_indexer(entity)
        rank: Rows | int = self._base
        if before is not None:
            rank = np.searchsorted(self._times, before, side="left")
        start = np.searchsorted(self._key, code * self._base)
        stop = np.searchsorted(self._key, code * self._base + rank)
        return start, np.where(code < 0, start, stop)

    def newest(
        self, entity: pd.Index, before: NDArray[np.generic] | None, k: int
    ) -> Rows:
        """Return the newest `k` rows of each entity, -1 where there are fewer."""
        start, stop = self.spans(entity, before)
        index = stop[:, None] - 1 - np.arange(k)
        if not len(self._row):
            return np.full(index.shape, -1)
        return np.where(index >= start[:, None], self._row[index.clip(0)], -1)

    def rows(self, start: int, stop: int) -> Rows:
        """Return the rows of one span, newest first."""
        return self._row[start:stop][::-1]
