"""What is known of a creator's earlier videos."""

import warnings
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_is_fitted,
    validate_data,
)

from skchallenge._parse import read_counts
from skchallenge._state import Versioned
from skchallenge._table import (
    as_frame,
    check_columns,
    check_ids,
    check_times,
    read_duration,
    time_values,
)
from skchallenge._time_index import Rows, TimeIndex
from skchallenge.exceptions import EmptyHistoryWarning

_COUNTS = ("n_plays", "n_likes", "n_comments", "n_shares")
_STATISTICS = ("mean", "max", "recent", "last")
_RECENT = 5  # videos

Floats = NDArray[np.float64]


class PastCreatorStats(Versioned, TransformerMixin, BaseEstimator):
    """Sum up how a creator's earlier videos did.

    Earlier videos are looked up in a side table, never among the rows of X: resampling
    and folds must not alter anybody's past.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos, with any of the columns `n_plays`, `n_likes`,
        `n_comments` and `n_shares`. It is shared by clones and never copied.
    min_age : str, pandas.Timedelta or number, default="7D"
        Only videos that were older than this when the row's video was posted count: a
        duration that pandas.Timedelta reads where the catalog's times are datetimes,
        and a number of the same unit where they are numbers. ``"0D"`` takes all
        strictly earlier videos, see Notes.

    Attributes
    ----------
    columns_ : list of str
        The counts that are summed up: those of which the catalog knows any.
    n_features_in_ : int
        Columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`.

    See Also
    --------
    MetadataFeaturizer : What is known of the video itself.
    skchallenge.HistoryEncoder : What the earlier videos look like.

    Notes
    -----
    Each count c makes four features, of log(1 + c) over the creator's past videos:
    ``past_{c}_mean``, ``past_{c}_max``, ``past_{c}_recent`` (mean of the newest five)
    and ``past_{c}_last`` (the newest). Of videos of one time, that with the
    smaller id counts as newer. A creator without a past has NaN in all of them.

    **Past counts are as of the scrape.** An export tells what an earlier video has
    reached by now, not what it had reached when the next one was posted. A video of
    the day before looks as successful as it became later, perhaps together with the
    very video that is asked about. So ``min_age="0D"`` is optimistic. With ``"7D"``
    each past video had at least a week to earn its counts before the row's time.

    **There is no count of past videos.** Exports hold each creator's latest videos,
    some 25: how many are earlier tells how old the row's video is, and so how long it
    has been seen. That is not kept out altogether: NaN says that no video is earlier,
    ``mean == last`` that one is, and ``mean == recent`` that at most five are.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge import VideoCatalog
    >>> from skchallenge.tabular import PastCreatorStats
    >>> videos = pd.DataFrame({
    ...     "video_id": [1, 2, 3], "user_id": "ann", "challenge": None,
    ...     "create_time": pd.to_datetime(["2020-01-01", "2020-01-05", "2020-01-20"]),
    ...     "n_plays": [0, 99, 5000],
    ... })
    >>> past = PastCreatorStats(VideoCatalog(videos)).set_output(transform="pandas")
    >>> table = past.fit_transform(videos[["user_id", "create_time"]])
    >>> table[["past_plays_mean", "past_plays_max"]].round(2)
       past_plays_mean  past_plays_max
    0              NaN             NaN
    1              NaN             NaN
    2              2.3            4.61
    """

    def __init__(
        self, catalog: Any, *, min_age: str | pd.Timedelta | float = "7D"
    ) -> None:
        self.catalog = catalog
        self.min_age = min_age

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check that X and the catalog fit together.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            Has the catalog's user and time columns, with the time of posting; others
            are ignored.
        y : None
            Ignored.

        Returns
        -------
        self : PastCreatorStats
            The fitted transformer.

        Raises
        ------
        TypeError
            If X is no table with named columns, the catalog is none, or ids, times or
            `min_age` are of another type than the catalog's.
        ValueError
            If a column is missing, `min_age` is negative, or no row has a past.
        """
        self._check_catalog()
        frame = self._check(X, reset=True)
        found = [c for c in _COUNTS if c in self.catalog.videos]
        self.columns_ = [c for c in found if self.catalog.videos[c].notna().any()]
        if not self.columns_:
            raise ValueError(
                f"catalog must hold values in one of {list(_COUNTS)}, but it has "
                f"{found} and none of them is filled."
            )
        if np.isnan(self._statistics(frame)).all():
            raise ValueError(
                "No row of X has a past: the catalog holds no video of these users "
                f"that is older than their time by more than min_age={self.min_age!r}. "
                "Check ids and times, or lower min_age."
            )
        return self

    def transform(self, X: Any) -> Floats:
        """Sum up each row's past.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            The columns seen in `fit`. A user whom the catalog does not know has no
            past.

        Returns
        -------
        statistics : ndarray of shape (n_samples, 4 * n_counts)
            float64, NaN where there is no past.

        Warns
        -----
        EmptyHistoryWarning
            If no row has a past.
        """
        check_is_fitted(self)
        check_columns(self.catalog.videos.columns, self.columns_, "catalog")
        statistics = self._statistics(self._check(X, reset=False))
        if len(statistics) and np.isnan(statistics).all():
            warnings.warn(
                "No row of X has a past: the catalog holds no older video of these "
                "users.",
                EmptyHistoryWarning,
                stacklevel=2,
            )
        return statistics

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the output columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against `feature_names_in_`.

        Returns
        -------
        names : ndarray of shape (n_features_out,)
            ``past_{count}_{statistic}``.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features)
        counts = [column.removeprefix("n_") for column in self.columns_]
        names = [f"past_{count}_{s}" for count in counts for s in _STATISTICS]
        return np.array(names, dtype=object)

    def _check_catalog(self) -> None:
        names = ("videos", "video", "user", "time")
        if not all(hasattr(self.catalog, name) for name in names):
            raise TypeError(
                f"catalog must be a VideoCatalog, got {type(self.catalog).__name__}. "
                "Wrap a table of videos: VideoCatalog(videos, challenge=None)."
            )
        age = self._min_age()
        if age < type(age)(0):
            raise ValueError(f"min_age must not be negative, got {self.min_age!r}.")

    def _min_age(self) -> Any:
        times = self.catalog.videos[self.catalog.time]
        return read_duration(self.min_age, "min_age", times)

    def _check(self, X: Any, *, reset: bool) -> pd.DataFrame:
        frame, catalog = as_frame(X, "X"), self.catalog
        validate_data(self, X, reset=reset, skip_check_array=True)
        check_columns(frame.columns, [catalog.user, catalog.time], "X")
        checks = {catalog.user: check_ids, catalog.time: check_times}
        for column, check in checks.items():
            frame[column] = check(frame[column], column, catalog.videos[column])
        return frame

    def _statistics(self, frame: pd.DataFrame) -> Floats:
        catalog, age = self.catalog, self._min_age()
        videos = catalog.videos
        users = pd.Index(videos[catalog.user])
        times, rows = time_values(videos[catalog.time]), np.arange(len(videos))
        tie = pd.factorize(videos[catalog.video], sort=True)[0]
        index = TimeIndex(users, times, tie, rows)
        before = time_values(frame[catalog.time]) - age
        start, stop = index.spans(pd.Index(frame[catalog.user]), before)
        order = index.rows(0, len(videos))[::-1]  # by user, oldest first
        user = users.take(order)
        features = [
            _spans(np.log1p(read_counts(videos[c], c))[order], user, start, stop)
            for c in self.columns_
        ]
        return np.hstack(features)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # ids and times in named columns
        tags.input_tags.string = True
        return tags


def _spans(values: Floats, user: pd.Index, start: Rows, stop: Rows) -> Floats:
    """Return mean, max, recent mean and last of each span; NaN where it is empty.

    `values` are sorted by user and time, and each span is within one user.
    """
    running = pd.Series(values).groupby(user.to_numpy())
    last = running.ffill().to_numpy()
    largest = running.cummax().groupby(user.to_numpy()).ffill().to_numpy()
    known = np.r_[0, np.cumsum(~np.isnan(values))]
    total = np.r_[0.0, np.cumsum(np.nan_to_num(values))]

    def mean(first: Rows) -> Floats:
        n = known[stop] - known[first]
        return np.where(n > 0, (total[stop] - total[first]) / np.maximum(n, 1), np.nan)

    empty, end = stop <= start, np.maximum(stop - 1, 0)
    recent = np.maximum(start, stop - _RECENT)
    at_the_end = [np.where(empty, np.nan, v[end]) for v in (largest, last)]
    return np.column_stack([mean(start), at_the_end[0], mean(recent), at_the_end[1]])
