"""Learn from a feed log which genres each user engages with."""

from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_consistent_length, check_random_state, check_scalar
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from skchallenge._state import FramesAsBytes
from skchallenge._table import as_frame, check_real
from skchallenge.feed._columns import (
    Column,
    check_kind,
    check_points,
    ids_of,
    labels_of,
    times_of,
    users_of,
)
from skchallenge.feed._recommend import recommend
from skchallenge.feed._tallies import (
    FORGOTTEN,
    Rows,
    Tallies,
    mean_points,
    rates_of,
    tally,
)


class GenreProfiler(FramesAsBytes, ClassifierMixin, BaseEstimator):
    """Score each user's taste for each genre, and predict what they engage with.

    Rows are impressions: a user was shown a video of a genre, and `y` says whether
    they engaged. Each score of a user and a genre is shrunk towards the genre's mean,
    and that towards the overall mean, so that few impressions say little.

    Probabilities add log odds: the rate of the video (of the genre, where the video is
    new or none is named), how far the user is from the usual, and how far the user is
    from that in this genre. All three are shrunk. All that is kept are sums, so
    `partial_fit` in batches gives what `fit` gives.

    Parameters
    ----------
    user : int or str, default=0
        Column of user ids, by position or name.
    genre : int or str, default=1
        Column of genres. Several genres of one video stand in one string with commas,
        ``"39,68"``, and share its weight equally.
    time : int, str or None, default=None
        Column of times, numbers; `half_life` needs it.
    video : int, str or None, default=None
        Column of video ids; `recommend` needs it. If a video comes with several genres
        in turn, it belongs to each of them, in proportion to its impressions.
    half_life : float or None, default=None
        Age at which an impression counts half, in the unit of `time`, above 0, counted
        back from the latest time seen; at 40 half-lives it is forgotten. None: never.
    shrinkage : float, default=5.0
        How many impressions each prior mean is worth, above 0.
    exploration : float, default=0.1
        Share of the recommended videos that are drawn at random, in [0, 1].
    random_state : int, RandomState instance or None, default=None
        Seed of `recommend`.

    Attributes
    ----------
    classes_ : ndarray of shape (1,) or (2,)
        Labels seen during `fit`; the second, or 1 if it is alone, means engaged.
    profile_ : pandas.DataFrame
        One row for each user and genre seen together: `user`, `genre`, `score` (mean
        points, shrunk) and `weight` (impressions, faded and shared).
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, when all are strings.

    See Also
    --------
    engagement_signals : Makes labels and points from a raw log.
    BatchRollout : What happens to a video that is shown to such users.

    References
    ----------
    .. [1] Trehan, D. "The inescapable AI algorithm: TikTok", 12 June 2020. That a
       platform keeps such a score is a claim of this article.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.feed import GenreProfiler
    >>> X = pd.DataFrame({
    ...     "user": ["ann"] * 4 + ["bob"] * 4,
    ...     "genre": ["dance", "dance", "cats", "cats"] * 2,
    ... })
    >>> y = [1, 1, 0, 0, 0, 0, 1, 1]
    >>> profiler = GenreProfiler("user", "genre").fit(X, y)
    >>> profiler.profile_.round(2)
      user  genre  score  weight
    0  ann   cats   0.36     2.0
    1  ann  dance   0.64     2.0
    2  bob   cats   0.64     2.0
    3  bob  dance   0.36     2.0
    >>> profiler.predict(X.iloc[[0, 2, 4, 6]])
    array([1, 0, 0, 1])
    """

    def __init__(
        self,
        user: Column = 0,
        genre: Column = 1,
        *,
        time: Column | None = None,
        video: Column | None = None,
        half_life: float | None = None,
        shrinkage: float = 5.0,
        exploration: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.user = user
        self.genre = genre
        self.time = time
        self.video = video
        self.half_life = half_life
        self.shrinkage = shrinkage
        self.exploration = exploration
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        points: ArrayLike | None = None,
    ) -> Self:
        """Learn profiles from a log.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Impressions, one a row. Ids and genres are strings or numbers, none
            missing; floats must be below 2 ** 53, where they begin to be rounded.
        y : array-like of shape (n_samples,)
            Whether the user engaged: two labels, the greater one means yes. If there is
            but one, it must be 0, no, or 1, yes.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Non-negative weights; None weighs all alike.
        points : array-like of shape (n_samples,) or None, default=None
            What `profile_` averages, such as the points of `EngagementScorer`. None is
            `y` as 0 and 1. It is metadata: ask for it by ``set_fit_request``.

        Returns
        -------
        self : GenreProfiler
            This object.

        Raises
        ------
        ValueError
            If a parameter is out of range, a column is not there, an id is missing, or
            there are more than two labels, or one that is neither 0 nor 1.
        TypeError
            If a column holds ids of several kinds, or times that are no numbers.
        """
        for name in ("_tallies", "_rates", "_now", "classes_"):
            self.__dict__.pop(name, None)
        return self._learn(X, y, None, sample_weight, points, reset=True)

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        points: ArrayLike | None = None,
    ) -> Self:
        """Learn from some more of a log; each call works through all that is known.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Further impressions.
        y : array-like of shape (n_samples,)
            Whether the user engaged.
        classes : array-like of shape (n_classes,) or None, default=None
            All labels; needed at first if `y` lacks one, and the same later.
        sample_weight : array-like of shape (n_samples,) or None, default=None
            Non-negative weights.
        points : array-like of shape (n_samples,) or None, default=None
            What `profile_` averages; None is `y` as 0 and 1.

        Returns
        -------
        self : GenreProfiler
            This object.

        Raises
        ------
        ValueError
            As `fit` does, if `y` has a label, or `classes` have one, that the first
            call had not, or if `half_life` was None until now. What was learned stays.
        TypeError
            As `fit` does, or if ids are of another kind than at the first call.
        """
        first = not hasattr(self, "_tallies")
        return self._learn(X, y, classes, sample_weight, points, reset=first)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Predict the probability of engagement.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Impressions. Unknown users, genres and videos have the prior's value.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.

        Raises
        ------
        TypeError
            If ids are of another kind than in `fit`, such as strings for numbers.
        """
        check_is_fitted(self)
        rows = self._rows(self._table(X, reset=False))
        if len(self.classes_) == 1:
            return np.ones((len(rows.user), 1))
        proba = expit(self._rates.log_odds(rows))
        return np.column_stack([1 - proba, proba])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict whether the user engages.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Impressions.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            The more probable label of each row.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def recommend(self, users: Any, k: int = 10) -> pd.DataFrame:
        """List videos for users, best first.

        A known user gets the videos with the highest probability among those never
        shown to them, and, at random places, some drawn at random. A cold user, of whom
        no row was seen, gets the videos with the highest lower bound of their rate of
        engagement, ties by how many different users engaged.

        Parameters
        ----------
        users : array-like of shape (n_users,)
            User ids, of the kind of those in `fit`, known or new.
        k : int, default=10
            Most videos for each user; fewer if fewer are left.

        Returns
        -------
        recommendations : pandas.DataFrame
            Columns `user`, `rank` (from 1), `video`, `score` (probability; its lower
            bound if cold), `reason`: ``"profile"``, ``"exploration"`` or ``"cold"``.

        Raises
        ------
        ValueError
            If `fit` saw no `video` column, `k` is below 1, or a user is missing.
        TypeError
            If `users` is a single id or a table, or holds ids of another kind than in
            `fit`, such as strings for numbers.
        """
        check_is_fitted(self)
        check_scalar(k, "k", Integral, min_val=1)
        if self._tallies.pairs.empty:
            raise ValueError(
                "recommend needs video, the column of video ids, None in fit. Set it, "
                "and fit again."
            )
        rng = check_random_state(self.random_state)
        asked = users_of(users, self._rates.user.index)
        return recommend(self._tallies, self._rates, asked, k, self.exploration, rng)

    def _learn(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None,
        sample_weight: ArrayLike | None,
        points: ArrayLike | None,
        *,
        reset: bool,
    ) -> Self:
        self._check_parameters()
        table = self._table(X, reset=reset)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is "
                "None. Pass one label a row."
            )
        y = column_or_1d(y, warn=True)
        check_consistent_length(table, y)
        labels = labels_of(y, classes, getattr(self, "classes_", None))
        weight = _check_sample_weight(
            sample_weight, table, dtype=np.float64, ensure_non_negative=True
        )
        yes = labels[-1] if len(labels) == 2 else 1  # a lone label is 0 or 1
        engaged = (y == yes).astype(np.float64)
        gained = engaged if points is None else check_points(points, len(table))
        now, fade = self._fade(table, weight)
        kept = np.flatnonzero((weight > 0) & (fade > FORGOTTEN))
        rows = self._rows(table.iloc[kept])
        values = (v[kept] for v in (weight, fade, engaged, gained))
        tallies = tally(rows, *values) if reset else self._faded(now)
        if len(kept) and not reset:
            tallies += tally(rows, *values)
        rates = rates_of(tallies, self.shrinkage)
        # All checks are passed: nothing is half learned.
        self.classes_, self._now, self._tallies = labels, now, tallies
        self._rates = rates
        self.profile_ = mean_points(self._tallies.cells, self.shrinkage)
        return self

    def _check_parameters(self) -> None:
        check_real("shrinkage", self.shrinkage, "neither")
        check_real("exploration", self.exploration, max_val=1)
        if self.half_life is not None:
            check_real("half_life", self.half_life, "neither")
            if self.time is None:
                raise ValueError(
                    f"half_life={self.half_life} needs time, the column of times, got "
                    "None. Name it, or set half_life=None."
                )

    def _table(self, X: Any, *, reset: bool) -> pd.DataFrame:
        """Check the shape and the names; keep each column's own type."""
        if not hasattr(X, "columns"):
            X = validate_data(self, X, reset=reset, dtype=None)
            return pd.DataFrame(X).infer_objects()
        # No array is made: one float column would round the ids of all the others.
        validate_data(self, X, reset=reset, skip_check_array=True)
        table = as_frame(X, "X")
        if table.empty:
            raise ValueError(f"X must have at least 1 row, got shape {table.shape}.")
        return table

    def _rows(self, table: pd.DataFrame) -> Rows:
        user = ids_of(table, self.user, "user")
        genre = ids_of(table, self.genre, "genre")
        video = None if self.video is None else ids_of(table, self.video, "video")
        if hasattr(self, "_tallies"):  # ids of another kind would all be unknown
            known = self._tallies.cells.index
            check_kind(user, known.unique("user"), "The column of user")
            check_kind(genre, known.unique("genre"), "The column of genre")
            if video is not None:
                known = self._tallies.genres.index.unique("video")
                check_kind(video, known, "The column of video")
        return Rows(user, genre, video)

    def _fade(
        self, table: pd.DataFrame, weight: NDArray[np.float64]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the latest time and each row's weight by its age."""
        if self.half_life is None or self.time is None:
            return -np.inf, np.ones(len(table))
        time = times_of(table, self.time)
        now = max(time[weight > 0].max(), getattr(self, "_now", -np.inf))
        # A row of no weight may be later than now; it is not counted.
        return now, 0.5 ** (np.maximum(now - time, 0) / self.half_life)

    def _faded(self, now: float) -> Tallies:
        """Weigh what was learned before by the time since then."""
        if self.half_life is None:
            return self._tallies
        return self._tallies.fade(now - self._now, self.half_life)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_rates")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.categorical = True
        return tags
