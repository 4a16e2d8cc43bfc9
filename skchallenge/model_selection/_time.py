"""Train on the past, and only on labels that were known by then."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator

from skchallenge._table import (
    as_frame,
    check_columns,
    check_count,
    check_times,
    read_duration,
    time_values,
)
from skchallenge._time_index import Rows


class TimeSplit(BaseCrossValidator):
    """Score later cut-offs by a model of earlier ones whose labels were known by then.

    A label is known when its window is over, which is `horizon` after the cut-off. So
    the rows of a block of cut-offs are scored by a model that is trained on rows with
    ``time + horizon`` before the first time of the block; rows between are left out.
    Without that gap a model learns from answers that nobody had yet.

    Parameters
    ----------
    horizon : str, pandas.Timedelta or number, default="30D"
        Length of the windows in which taking part counted, as given to
        `make_participation`: a duration that pandas.Timedelta reads where times are
        datetimes, and a number of the same unit where they are numbers.
    n_splits : int, default=1
        Number of test blocks, in order of time. Each has about as many distinct times
        as the others.
    start : datetime, number or None, default=None
        First time of the first block, of the type of the times. None cuts the distinct
        times into ``n_splits + 1`` blocks, as `sklearn.model_selection.TimeSeriesSplit`
        does with rows, of which the first is for training only.
    time : str, default="time"
        Column of X with the cut-offs.

    See Also
    --------
    audit_split : Says what the two sides of a split share.
    sklearn.model_selection.TimeSeriesSplit : Splits rows that have one time each.

    Notes
    -----
    Users are on both sides, as they are in service. A pair of later cut-offs may be the
    same user in a sibling challenge, see `ChallengeClusterKFold`.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.model_selection import TimeSplit
    >>> pairs = pd.DataFrame({"time": [0, 10, 20, 30, 40, 50]})
    >>> for train, test in TimeSplit(horizon=15, n_splits=2).split(pairs):
    ...     print(train, test)
    [0] [2 3]
    [0 1 2] [4 5]
    """

    def __init__(
        self,
        horizon: str | pd.Timedelta | float = "30D",
        *,
        n_splits: int = 1,
        start: Any = None,
        time: str = "time",
    ) -> None:
        self.horizon = horizon
        self.n_splits = n_splits
        self.start = start
        self.time = time

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[Rows, Rows]]:
        """Generate the row numbers of training and test sets.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            Has the column of cut-offs.
        y : None
            Ignored.
        groups : None
            Ignored.

        Yields
        ------
        train : ndarray of int
            Rows whose windows were over before the first test row's time, ascending.
        test : ndarray of int
            Rows of one block of times, ascending.

        Raises
        ------
        TypeError
            If X has no named columns, or `horizon` or `start` do not fit its times.
        ValueError
            If there are too few times, or no label was known by the start of a block.
        """
        check_count("n_splits", self.n_splits)
        frame = as_frame(X, "X")
        check_columns(frame.columns, [self.time], "X")
        column = check_times(frame[self.time], self.time)
        horizon = read_duration(self.horizon, "horizon", column)
        if horizon < type(horizon)(0):
            raise ValueError(f"horizon must not be negative, got {self.horizon!r}.")
        times = time_values(column)
        splits = []
        for block in self._blocks(column):
            train = times + horizon < block[0]
            if not train.any():
                raise ValueError(
                    f"No label of X was known by {block[0]}, when the first rows of a "
                    f"block are asked: no window of horizon={self.horizon!r} was over. "
                    "Take fewer splits or a later start, or make the pairs with a "
                    "shorter horizon."
                )
            test = (times >= block[0]) & (times <= block[-1])
            splits.append((np.flatnonzero(train), np.flatnonzero(test)))
        yield from splits

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : None
            Ignored.

        Returns
        -------
        n_splits : int
            The parameter.
        """
        return self.n_splits

    def _blocks(self, column: "pd.Series[Any]") -> list[NDArray[Any]]:
        """Cut the distinct times into the blocks that are scored."""
        distinct = np.unique(time_values(column))
        if self.start is None:
            size = len(distinct) // (self.n_splits + 1)
            tested = distinct[len(distinct) - size * self.n_splits :]
            needed = self.n_splits + 1
        else:
            start = check_times(pd.Series([self.start]), "start", like=column)
            tested = distinct[distinct >= time_values(start)[0]]
            size, needed = len(tested) // self.n_splits, self.n_splits
        if not size:
            found = len(distinct) if self.start is None else len(tested)
            since = "" if self.start is None else f" from start={self.start!r} on"
            raise ValueError(
                f"n_splits={self.n_splits} needs at least {needed} distinct times"
                f"{since}, but X has {found}. Take fewer splits, or name another start."
            )
        return np.array_split(tested, self.n_splits)
