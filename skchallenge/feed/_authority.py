"""How well a creator's first videos did."""

from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_scalar
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_is_fitted,
    validate_data,
)

from skchallenge._table import (
    as_frame,
    check_columns,
    check_ids,
    check_real,
    check_times,
    id_kind,
    plain_ids,
    plain_times,
    time_kind,
)
from skchallenge.feed._engagement import floats_of

_NAMES = ("authority", "n_videos", "is_known")


class CreatorAuthority(TransformerMixin, BaseEstimator):
    """Score creators by their first videos, as far as a row may know them.

    Articles claim that a creator's fate "depends upon the first few videos" [1]_. The
    feature is the mean score of a creator's first videos, shrunk to the prior, the mean
    over the first videos of all creators. A row sees only those strictly before its own
    time, in the prior too. Most exports hold the *latest* videos of a creator; if the
    first ones are not in the table, nothing is known, whatever the later ones did.

    Parameters
    ----------
    creator : str, default="creator_id"
        Column of creator ids.
    time : str, default="create_time"
        Column of times, numbers or datetimes.
    score : str, default="score"
        Column of scores in the table that is fitted, finite numbers. For several
        statistics, such as the mean of likes and the share above a threshold, put one
        estimator each into `sklearn.pipeline.make_union`.
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
        Share of the creators whose first videos are in the table.
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
        check_scalar(self.n_first, "n_first", Integral, min_val=1)
        check_real("shrinkage", self.shrinkage, "neither")
        table = as_frame(X, "X")
        needed = [self.creator, self.time, self.score]
        check_columns(table.columns, needed + [c for c in [self.total] if c], "X")
        validate_data(self, table, skip_check_array=True)
        score = floats_of(table, self.score, "X")
        if not len(score) or not np.isfinite(score).all():
            raise ValueError(
                f"X[{self.score!r}] must hold finite numbers, at least one, got "
                f"{len(score)}, {np.isfinite(score).sum()} of them finite. Drop the "
                "other rows."
            )
        # Moments by their rank: exact where floats would round large integers.
        self._moments, clock = np.unique(
            self._read_times(table, reset=True), return_inverse=True
        )
        table[self.creator] = plain_ids(table[self.creator])
        order = np.lexsort([clock, pd.factorize(table[self.creator])[0]])
        table, clock, score = table.iloc[order], clock[order], score[order]
        # An array, which skops can save.
        self._creators = pd.Index(table[self.creator].unique()).to_numpy()
        self._known = self._is_complete(table)
        self.known_share_ = float(self._known.mean())
        self._remember(self._codes(table), clock, score)
        self.prior_: float = float(self._priors[-1])
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
        table = as_frame(X, "X")
        check_columns(table.columns, [self.creator, self.time], "X")
        clock = self._clock(table)
        code = self._codes(table)
        known = np.append(self._known, False)[code]
        count = (self._times[code] < clock[:, None]).sum(axis=1) * known
        total = self._sum[code, count]
        prior = self._prior_at(clock)
        authority = prior + (total - count * prior) / (count + self.shrinkage)
        return np.column_stack([authority, count, known]).astype(np.float64)

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

    def _clock(self, table: pd.DataFrame) -> NDArray[np.intp]:
        """Return how many of the moments seen in `fit` are before each row's time."""
        return np.searchsorted(self._moments, self._read_times(table, reset=False))

    def _read_times(self, table: pd.DataFrame, *, reset: bool) -> NDArray[Any]:
        """Return times as numbers; all must be of one kind."""
        creator, time = table[self.creator], table[self.time]
        check_ids(creator, self.creator)
        check_times(time, self.time)
        kinds = id_kind(creator), time_kind(time)
        if reset:
            self._kinds = kinds
        names = self.creator, self.time
        for name, kind, fitted in zip(names, kinds, self._kinds, strict=True):
            if kind != fitted and len(table):
                raise TypeError(
                    f"X[{name!r}] must hold {fitted}, as in fit, got "
                    f"{kind}. Convert one of them: units and types are never guessed."
                )
        values = plain_times(time)
        if pd.api.types.is_datetime64_any_dtype(values):
            values = pd.to_datetime(values, utc=True).dt.as_unit("us").astype("int64")
        # One type for all integers: NumPy compares signed with unsigned as floats.
        return np.asarray(values.to_list())

    def _codes(self, table: pd.DataFrame) -> NDArray[np.intp]:
        """Return the place of each row's creator, -1 for strangers."""
        return pd.Index(self._creators).get_indexer(plain_ids(table[self.creator]))

    def _remember(
        self,
        code: NDArray[np.intp],
        clock: NDArray[np.intp],
        score: NDArray[np.float64],
    ) -> None:
        """Keep times and cumulative scores, one row a creator and one for strangers.

        Keep the prior after each first video too.
        """
        n = len(self._creators)
        total = np.bincount(code, minlength=n)
        m = min(int(self.n_first), int(total.max()))
        place = np.arange(len(code)) - (np.cumsum(total) - total)[code]
        kept = place < m
        self._times = np.full((n + 1, m), len(self._moments))
        self._times[code[kept], place[kept]] = clock[kept]
        scores = np.zeros((n + 1, m + 1))
        scores[code[kept], place[kept] + 1] = score[kept]
        self._sum = scores.cumsum(axis=1)
        counts = kept & self._known[code]
        if not counts.any():
            counts[:] = True
        order = np.flatnonzero(counts)
        order = order[np.argsort(clock[order], kind="stable")]
        self._prior_times = clock[order]
        means = score[order].cumsum() / (np.arange(len(order)) + 1)
        self._priors = np.append(np.nan, means)

    def _prior_at(self, clock: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the mean of the first videos strictly before each time."""
        place = np.searchsorted(self._prior_times, clock, side="left")
        return np.asarray(self._priors[place])

    def _is_complete(self, table: pd.DataFrame) -> NDArray[np.bool_]:
        if self.total is None:
            return np.ones(len(self._creators), dtype=bool)
        total = pd.Series(floats_of(table, self.total, "X"), index=table.index)
        by = total.groupby(table[self.creator], sort=False, observed=True)
        rows, total = by.size(), by.max()
        more = rows > total
        if more.any():
            row = int(more.to_numpy().argmax())
            raise ValueError(
                f"X[{self.total!r}] must be at least the number of a creator's rows, "
                f"got {total.iloc[row]:g} for {rows.iloc[row]} rows of "
                f"{rows.index[row]}. Drop repeated rows, or correct the total."
            )
        return (rows >= total).reindex(self._creators).to_numpy(dtype=bool)


def with_prior(
    authority: CreatorAuthority, X: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the authority of each row, and the prior of its time."""
    table = as_frame(X, "X")
    found = np.asarray(authority.transform(table))[:, 0]
    return found, authority._prior_at(authority._clock(table))
