"""How well a creator's first videos did."""

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

from skchallenge._state import Versioned
from skchallenge._table import (
    as_frame,
    check_columns,
    check_count,
    check_ids,
    check_real,
    check_times,
    creator_column,
    id_kind,
    read_numbers,
    time_kind,
    time_values,
)
from skchallenge._time_index import TimeIndex

_KNOWN = "the table of fit"
_NAMES = ("authority", "n_videos", "is_known")


class CreatorAuthority(Versioned, TransformerMixin, BaseEstimator):
    """Score creators by their first videos, as far as a row may know them.

    Articles claim that a creator's fate "depends upon the first few videos" [1]_. The
    feature is the mean score of a creator's first videos, shrunk to the prior, the mean
    over the first videos of all creators. A row sees only those strictly before its own
    time, in the prior too. Most exports hold the *latest* videos of a creator; if the
    first ones are not in the table, nothing is known, whatever the later ones did.

    Parameters
    ----------
    creator : str, default="creator_id"
        Column of creator ids. Where there is no `creator_id`, the default takes the
        `author_id` of a log, and else the `user_id` of an export.
    time : str, default="create_time"
        Column of times, numbers or datetimes.
    score : str, default="score"
        Column of scores in the table that is fitted, finite numbers. For several
        statistics, such as the mean of likes and the fraction above a threshold, put
        one estimator each into `sklearn.pipeline.make_union`.
    total : str or None, default=None
        Column of how many videos a creator has made in all. Whoever has fewer rows in
        the fitted table, or no number there, is not known. None says that the table
        holds all videos.
    n_first : int, default=3
        How many first videos count. Among those of one time, the first rows.
    shrinkage : float, default=5.0
        How many videos the prior is worth, above 0.

    Attributes
    ----------
    prior_ : float
        The latest prior: mean score of the first videos of known creators; of all
        videos if no creator is known.
    known_share_ : float
        Fraction of the creators whose first videos are in the table.
    n_features_in_ : int
        Number of columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns.

    See Also
    --------
    BatchRollout : Takes a fitted one as `authority`.
    skchallenge.tabular.PastCreatorStats : Counts of all earlier videos.

    Notes
    -----
    **Scores are as of the export.** Whether an earlier video counts is decided by its
    time, but its likes or plays, if they are the score, go on after the row's time. Use
    scores that were taken at one age of the videos, such as their first batch, or read
    the result as optimistic.

    **Who is known is seen from the end.** `total` counts what came after the row, too.
    In an export of latest videos, creators whom success made post more are not known.
    So `is_known`, and an `authority` that is the prior for that reason, may tell of
    success that came later.

    References
    ----------
    .. [1] Trehan, D. "The inescapable AI algorithm: TikTok", 12 June 2020.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.feed import CreatorAuthority
    >>> videos = pd.DataFrame({
    ...     "creator_id": ["ann", "ann", "bob"], "create_time": [1, 2, 1],
    ...     "score": [6.0, 9.0, 0.0],
    ... })
    >>> authority = CreatorAuthority(shrinkage=1.0).fit(videos)
    >>> rows = pd.DataFrame({"creator_id": ["ann"] * 3, "create_time": [1, 2, 3]})
    >>> authority.transform(rows)  # the prior is missing, then 3, then 5
    array([[       nan, 0.        , 1.        ],
           [4.5       , 1.        , 1.        ],
           [6.66666667, 2.        , 1.        ]])
    """

    def __init__(
        self,
        creator: str = "creator_id",
        *,
        time: str = "create_time",
        score: str = "score",
        total: str | None = None,
        n_first: int = 3,
        shrinkage: float = 5.0,
    ) -> None:
        self.creator = creator
        self.time = time
        self.score = score
        self.total = total
        self.n_first = n_first
        self.shrinkage = shrinkage

    def fit(self, X: Any, y: object = None) -> Self:
        """Remember the first videos of each creator.

        Parameters
        ----------
        X : pandas or polars DataFrame
            One row a video, with the columns that the parameters name.
        y : None
            Ignored.

        Returns
        -------
        self : CreatorAuthority
            This object.

        Raises
        ------
        ValueError
            If a column is missing, a score is not finite, or a creator has more rows
            than `total` says.
        TypeError
            If ids, times or scores are of no usable type.
        """
        check_count("n_first", self.n_first)
        check_real("shrinkage", self.shrinkage, "neither")
        table = as_frame(X, "X")
        needed = [self.time, self.score] + [c for c in [self.total] if c]
        check_columns(table.columns, needed, "X")
        validate_data(self, table, skip_check_array=True)
        score = read_numbers(table[self.score], f"X[{self.score!r}]")
        if not len(score) or not np.isfinite(score).all():
            raise ValueError(
                f"X[{self.score!r}] must hold finite numbers, at least one, got "
                f"{len(score)}, {np.isfinite(score).sum()} of them finite. Drop the "
                "other rows."
            )
        creator, time = self._read(table, reset=True)
        is_known = self._is_complete(table, creator)
        known_creators = pd.Series(is_known).groupby(creator, sort=False).first()
        self.known_share_ = float(known_creators.mean())
        # By creator, oldest first; of one time, the first rows.
        order = np.lexsort([time, pd.factorize(creator)[0]])
        rank = pd.Series(order).groupby(creator[order]).cumcount().to_numpy()
        first = order[rank < self.n_first]
        # Arrays, which skops can save.
        self._creators, self._times = creator[first].to_numpy(), time[first]
        self._known = is_known[first]
        self._totals = _running(score[first], creator[first])
        # The prior after each first video of a known creator, or of all if none is.
        counted = first[self._known] if self._known.any() else order
        counted = counted[np.argsort(time[counted], kind="stable")]
        self._prior_times = time[counted]
        means = score[counted].cumsum() / (np.arange(len(counted)) + 1)
        self._priors = np.append(np.nan, means)
        self.prior_: float = float(means[-1])
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Look up what was known of each row's creator at the row's time.

        Parameters
        ----------
        X : pandas or polars DataFrame
            Rows with the creator and the time; other columns are ignored.

        Returns
        -------
        features : ndarray of shape (n_samples, 3)
            `authority`, `n_videos` (how many first videos it rests on) and `is_known`
            (1 if the creator's first videos are in the fitted table). Unknown creators
            have the prior, 0 and 0. Before the first video of all there is no prior,
            and `authority` is NaN.

        Raises
        ------
        ValueError
            If a column, an id or a time is missing.
        TypeError
            If ids or times are of another kind than in `fit`, such as datetimes
            without a time zone for datetimes with one.
        """
        check_is_fitted(self)
        return self._look_up(X)[0]

    def get_feature_names_out(self, input_features: object = None) -> NDArray[Any]:
        """Name the output columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen during `fit`.

        Returns
        -------
        names : ndarray of shape (3,)
            ``["authority", "n_videos", "is_known"]``.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features, generate_names=False)
        return np.array(_NAMES, dtype=object)

    def _look_up(self, X: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the features of each row, and the prior of its time."""
        table = as_frame(X, "X")
        check_columns(table.columns, [self.time], "X")
        creator, time = self._read(table, reset=False)
        # Mean of the first videos strictly before each time.
        prior = self._priors[np.searchsorted(self._prior_times, time, side="left")]
        rows = np.arange(len(self._times))
        # The kept rows are in the order of the index, so that spans are slices of them.
        index = TimeIndex(pd.Index(self._creators), self._times, -rows, rows)
        start, stop = index.spans(creator, time)
        known = creator.isin(self._creators[self._known])
        count = np.where(known, stop - start, 0)
        total = np.where(count > 0, self._totals[start + count - 1], 0.0)
        authority = prior + (total - count * prior) / (count + self.shrinkage)
        features = np.column_stack([authority, count, known])
        return features.astype(np.float64), np.asarray(prior, dtype=np.float64)

    def _read(
        self, table: pd.DataFrame, *, reset: bool
    ) -> tuple[pd.Index, NDArray[Any]]:
        """Return creators and times, of the kinds seen in `fit`."""
        column = creator_column(table.columns, "X", self.creator)
        creator, time = table[column], table[self.time]
        if reset:
            self._kinds = id_kind(creator), time_kind(time)
        of_creator, of_time = self._kinds
        creator = check_ids(creator, f"X[{column!r}]", of_creator, _KNOWN)
        time = check_times(time, f"X[{self.time!r}]", of_time, _KNOWN)
        return pd.Index(creator), time_values(time)

    def _is_complete(self, table: pd.DataFrame, creator: pd.Index) -> NDArray[np.bool_]:
        """Tell of each row whether all videos of its creator are in the table."""
        if self.total is None:
            return np.ones(len(table), dtype=bool)
        totals = pd.Series(read_numbers(table[self.total], f"X[{self.total!r}]"))
        by = totals.groupby(creator, sort=False)
        n_rows, total = by.transform("size"), by.transform("max")
        more = (n_rows > total).to_numpy()
        if more.any():
            row = int(more.argmax())
            raise ValueError(
                f"X[{self.total!r}] must be at least the number of a creator's rows, "
                f"got {total[row]:g} for {n_rows[row]} rows of {creator[row]}. Drop "
                "repeated rows, or correct the total."
            )
        return (n_rows >= total).to_numpy()


def _running(score: NDArray[np.float64], creator: pd.Index) -> NDArray[np.float64]:
    """Return the total of each creator's scores so far."""
    totals = pd.Series(score).groupby(creator).cumsum()
    return np.asarray(totals, dtype=np.float64)


def with_prior(
    authority: CreatorAuthority, X: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the authority of each row, and the prior of its time."""
    features, prior = authority._look_up(X)
    return features[:, 0], prior
