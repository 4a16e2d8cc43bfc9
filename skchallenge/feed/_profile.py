"""Learn from a feed log which genres each user engages with."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, diags_array
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import assert_all_finite, check_consistent_length, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    column_or_1d,
)

from skchallenge._schema import log_columns
from skchallenge._state import FramesAsBytes
from skchallenge._table import (
    Column,
    as_frame,
    check_columns,
    check_count,
    check_ids,
    check_real,
    check_times,
    find_column,
    read_duration,
    read_table,
    time_kind,
    time_values,
)
from skchallenge.feed._counts import (
    FORGOTTEN,
    NO_GROUP,
    Counts,
    Rates,
    Rows,
    count,
    mean_points,
    rates_of,
    read_genres,
    read_groups,
)

_KNOWN = "the log of fit"
_MICROSECOND = pd.Timedelta(1, "us")


class GenreProfiler(FramesAsBytes, ClassifierMixin, BaseEstimator):
    """Score each user's taste for each genre, and predict what they engage with.

    Rows are impressions: a user was shown a video of a genre, and `y` says whether
    they engaged. Each score of a user and a genre is shrunk towards the genre's mean,
    and that towards the overall mean, so that few impressions say little.

    Probabilities add log odds: the rate of the video (of the genre, where the video is
    new or none is named), how far the user is from that, and how far the user is from
    both in this genre. All three are shrunk. All that is kept are sums, so
    `partial_fit` in batches gives what `fit` gives.

    With `attributes`, users who have all of them in common are a group. A user's score
    is shrunk towards that of the others in the group, and theirs towards the genre's
    mean; a user without impressions starts where the group is [2]_. How strongly groups
    may differ is learned from the log: if they differ by chance alone, they count for
    nothing. A user belongs to the group that most of their impressions name (of equals
    the first by name; with `half_life` the faded ones count), whatever a single row
    says; one of whom none is known, to that of the row. A row that lacks an attribute
    names no group, and an unknown group is like none: there, all is as without
    `attributes`.

    Parameters
    ----------
    user : int or str, default=0
        Column of user ids, by position, from the end if negative, or by name. The names
        ``"user_id"``, ``"video_id"`` and ``"genre"`` also find what public logs call
        these columns, such as ``"tag"``.
    genre : int or str, default=1
        Column of genres. Several genres of one video stand in one string with commas,
        ``"39,68"``, or in a list, and have equal parts of its weight. A missing genre
        is one of its own: ``"unknown"`` among strings, as in KuaiRand, -1 among
        numbers.
    time : int, str or None, default=None
        Column of times, numbers or datetimes; `half_life` needs it.
    video : int, str or None, default=None
        Column of video ids; `recommend` needs it. If a video comes with several genres
        in turn, it belongs to each of them, in proportion to its impressions.
    half_life : float, str, pandas.Timedelta or None, default=None
        Age at which an impression counts half, counted back from the latest time seen;
        at 40 half-lives it is forgotten. Above 0: a number in the unit of `time`, or
        for datetimes a duration that `pandas.Timedelta` reads, such as ``"7D"``. None:
        never.
    attributes : sequence of int or str, default=()
        Columns of what is known of the users, such as ``("country", "age_band")``, by
        position or by name: strings or numbers of few different values, or missing.
        These are personal data, see the user guide for what they need and must not be
        used for.
    shrinkage : float, default=5.0
        How many impressions each prior mean is worth, above 0.
    exploration : float, default=0.1
        Fraction of the recommended videos that are drawn at random, in [0, 1].
    random_state : int, RandomState instance or None, default=None
        Seed of `recommend`.

    Attributes
    ----------
    classes_ : ndarray of shape (1,) or (2,)
        Labels seen during `fit`; the second, or 1 if it is alone, means engaged.
    profile_ : pandas.DataFrame
        One row for each user and genre seen together: `user`, `genre`, `score` (mean
        points, shrunk) and `weight` (impressions, faded and divided).
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
    .. [2] Wang, C. "Why TikTok made its user so obsessive? The AI algorithm that got
       you hooked", 7 June 2020. So is this.

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
        half_life: float | str | pd.Timedelta | None = None,
        attributes: Sequence[Column] = (),
        shrinkage: float = 5.0,
        exploration: float = 0.1,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.user = user
        self.genre = genre
        self.time = time
        self.video = video
        self.half_life = half_life
        self.attributes = attributes
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
            Impressions, one a row. Ids and genres are strings or numbers, ids never
            missing. A float that is whole is that integer; one of 2 ** 53 or more,
            where they begin to be rounded, is refused.
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
            If a column holds ids of several kinds, or times that are neither numbers
            nor datetimes, or `half_life` is of another kind than the times.
        """
        for name in ("_counts", "_rates", "_now", "_time_kind", "_told", "classes_"):
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
            call had not, or if `half_life` was None until now, or `attributes` were
            others. What was learned stays.
        TypeError
            As `fit` does, or if ids are of another kind than at the first call.
        """
        first = not hasattr(self, "_counts")
        return self._learn(X, y, classes, sample_weight, points, reset=first)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Predict the probability of engagement.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Impressions. Unknown users, groups, genres and videos have the prior's
            value.

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

    def recommend(
        self, users: Any, k: int = 10, *, attributes: Any = None
    ) -> pd.DataFrame:
        """List videos for users, best first.

        A known user gets the videos with the highest probability among those never
        shown to them, and, at random ranks, some drawn at random. A cold user, of whom
        no row was seen, gets the videos with the highest lower bound of their rate of
        engagement, ties by how many different users engaged. For a cold user of a known
        group, the bound is raised or lowered as the group likes the video's genres.

        Parameters
        ----------
        users : array-like of shape (n_users,)
            User ids, of the kind of those in `fit`, known or new.
        k : int, default=10
            Most videos for each user; fewer if fewer are left.
        attributes : array-like of shape (n_users, n_attributes) or None, default=None
            What is known of the users, one column for each of the parameter
            `attributes`, in a table by name if these are names. None: nothing but what
            `fit` has seen. A user who has a group keeps it.

        Returns
        -------
        recommendations : pandas.DataFrame
            Columns `user`, `rank` (from 1), `video`, `score` (probability; its lower
            bound if cold), `reason`: ``"profile"``, ``"exploration"``, ``"cold"`` or,
            for cold users of a known group, ``"group"``.

        Raises
        ------
        ValueError
            If `fit` saw no `video` column, `k` is below 1, a user is missing, or
            `attributes` are not one row a user and one column an attribute.
        TypeError
            If `users` is a single id or a table, or holds ids of another kind than in
            `fit`, such as strings for numbers.
        """
        check_is_fitted(self)
        check_count("k", k)
        if self._counts.pairs.empty:
            raise ValueError(
                "recommend needs video, the column of video ids, None in fit. Set it, "
                "and fit again."
            )
        rng = check_random_state(self.random_state)
        asked = _users(users, self._rates.user.index)
        told = _told_groups(attributes, self.attributes, len(asked))
        groups = self._rates.groups(asked, told)
        return _recommend(
            self._counts, self._rates, asked, groups, k, self.exploration, rng
        )

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
        labels = _labels(y, classes, getattr(self, "classes_", None))
        weight = _check_sample_weight(
            sample_weight, table, dtype=np.float64, ensure_non_negative=True
        )
        yes = labels[-1] if len(labels) == 2 else 1  # a lone label is 0 or 1
        engaged = (y == yes).astype(np.float64)
        gained = engaged if points is None else _check_points(points, len(table))
        counts = getattr(self, "_counts", None)
        told = getattr(self, "_told", tuple(self.attributes))
        if told != tuple(self.attributes):
            raise ValueError(
                f"attributes must be those of the first call, {told}, got "
                f"{self.attributes!r}: what was learned names no others. Call fit to "
                "start anew."
            )
        now, kind, fade = -np.inf, "", np.ones(len(table))
        if self.half_life is not None and self.time is not None:
            time, half_life, kind = self._read_times(table, self.time, self.half_life)
            before = getattr(self, "_now", -np.inf)
            now = max(time[weight > 0].max(), before)
            # A row of no weight may be later than now; it is not counted.
            fade = 0.5 ** (np.maximum(now - time, 0) / half_life)
            if counts is not None:
                counts = counts.fade(now - before, half_life)
        kept = np.flatnonzero((weight > 0) & (fade > FORGOTTEN))
        if len(kept) or counts is None:
            rows = self._rows(table.iloc[kept])
            new = count(rows, *(v[kept] for v in (weight, fade, engaged, gained)))
            counts = new if counts is None else counts + new
        rates = rates_of(counts, self.shrinkage)
        # All checks are passed: nothing is half learned.
        self.classes_, self._now, self._time_kind = labels, now, kind
        self._counts, self._rates, self._told = counts, rates, told
        self.profile_ = mean_points(counts.cells, self.shrinkage, rates.member)
        return self

    def _check_parameters(self) -> None:
        check_real("shrinkage", self.shrinkage, "neither")
        check_real("exploration", self.exploration, max_val=1)
        if self.half_life is not None:
            if isinstance(self.half_life, Real):  # else `read_duration` checks it
                check_real("half_life", self.half_life, "neither")
            if self.time is None:
                raise ValueError(
                    f"half_life={self.half_life} needs time, the column of times, got "
                    "None. Name it, or set half_life=None."
                )

    def _table(self, X: Any, *, reset: bool) -> pd.DataFrame:
        """Return X column by column; an array, all of one type, must be finite."""
        table = read_table(self, X, reset=reset)
        if not hasattr(X, "columns"):
            assert_all_finite(table.to_numpy(), input_name="X")
        return table

    def _rows(self, table: pd.DataFrame) -> Rows:
        """Read the columns of ids, which must be of the kind of those learned."""
        columns: dict[str, Any] = {}
        for name in ("user", "genre", "video"):
            column = getattr(self, name)
            if column is None:
                columns[name] = None
                continue
            like = None
            if hasattr(self, "_counts"):  # ids of another kind would all be unknown
                known = self._counts.genres if name == "video" else self._counts.cells
                like = known.index.unique(name)
            values = find_column(name, _in_log(column, table), table)
            read = read_genres if name == "genre" else check_ids
            columns[name] = read(values, f"The column of {name}", like, _KNOWN)
        return Rows(**columns, group=read_groups(table, self.attributes))

    def _read_times(
        self, table: pd.DataFrame, column: Column, half_life: Any
    ) -> tuple[NDArray[np.float64], float, str]:
        """Return times and half-life as floats, of datetimes in microseconds.

        Beside them, the kind of the times.
        """
        name, like = "The column of time", getattr(self, "_time_kind", None)
        times = check_times(find_column("time", column, table), name, like, _KNOWN)
        duration = read_duration(half_life, "half_life", times)
        values = time_values(times)
        if isinstance(duration, pd.Timedelta):
            # Exact: 53 bits hold the microseconds from 1684 to 2255.
            values, duration = values.astype("datetime64[us]"), duration / _MICROSECOND
        values = values.astype(np.float64)
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must hold finite numbers. Drop the other rows.")
        if duration <= 0:
            raise ValueError(f"half_life must be above 0, got {half_life!r}.")
        return values, duration, time_kind(times)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_rates")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.categorical = True
        return tags


def _in_log(column: Column, table: pd.DataFrame) -> Column:
    """Return what a public log calls a column, if it has none of the name."""
    names = [str(name).rpartition("__")[2] for name in table.columns]
    if column in names or not isinstance(column, str):
        return column
    found: Column = log_columns(table.columns).get(column, column)
    return found


def _check_points(points: ArrayLike, n: int) -> NDArray[np.float64]:
    """Return points as floats, one a row of X.

    Raises
    ------
    ValueError
        If there are more or fewer, or one is not finite.
    """
    values = column_or_1d(points, dtype=np.float64)
    if len(values) != n or not np.isfinite(values).all():
        raise ValueError(
            f"points must hold {n} finite numbers, one a row of X, got {len(values)}, "
            f"{np.isfinite(values).sum()} of them finite. Drop impressions without "
            "points: those of no known duration."
        )
    return values


def _labels(
    y: NDArray[Any], classes: ArrayLike | None, first: NDArray[Any] | None
) -> NDArray[Any]:
    """Return all labels, of which the last says that a user engaged.

    Parameters
    ----------
    y : labels of the rows
    classes : all labels, if they were passed
    first : the labels of the first call, if there was one

    Raises
    ------
    ValueError
        If there are more than two, one alone that is neither 0 nor 1, others in y, or
        others than at the first call.
    """
    assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    labels = np.unique(y if classes is None else classes)
    if first is not None:
        if classes is not None and not np.array_equal(labels, first):
            raise ValueError(
                f"classes must be those of the first call, {first.tolist()}, got "
                f"{labels.tolist()}. Call fit to start anew."
            )
        labels = first
    if len(labels) > 2:
        raise ValueError(
            f"Only binary classification is supported, got {len(labels)} labels. Say "
            "which mean that a user engaged."
        )
    if len(labels) == 1 and labels[0] not in (0, 1):
        raise ValueError(
            f"y must hold both classes, or be 0 or 1, got {labels[0]!r} alone. Use 0 "
            "and 1, or name both by partial_fit(classes=...)."
        )
    unknown = np.setdiff1d(y, labels)
    if len(unknown):
        raise ValueError(
            f"y must hold labels among {labels.tolist()}, got {unknown.tolist()}. Pass "
            "all labels as classes at the first call."
        )
    return labels


def _users(users: Any, known: "pd.Index[Any]") -> "pd.Series[Any]":
    """Return user ids as a column.

    Raises
    ------
    TypeError
        If they are a single id or a table, or of another kind than the known ones.
    ValueError
        If one is missing, or is a float that may have been rounded.
    """
    if isinstance(users, str) or np.ndim(users) != 1:
        raise TypeError(
            "users must be a list or another 1-D array-like of user ids, got "
            f"{type(users).__name__}. Put a single id into a list; select a table's "
            "column."
        )
    ids = pd.Series(list(users))
    return check_ids(ids, "users", known, _KNOWN) if len(ids) else ids


def _told_groups(
    told: Any, attributes: Sequence[Column], n: int
) -> "pd.Series[Any] | None":
    """Return the groups that users of `recommend` name; None if nothing is told.

    Raises
    ------
    ValueError
        If the table has not `n` rows, or not one column an attribute.
    """
    if told is None:
        return None
    table = as_frame(told, "attributes") if hasattr(told, "columns") else told
    table = pd.DataFrame(table).infer_objects()
    by_name = hasattr(told, "columns") and all(isinstance(a, str) for a in attributes)
    if by_name:
        check_columns(table.columns, map(str, attributes), "attributes")
        table = table[list(attributes)]
    if table.shape != (n, len(attributes)):
        raise ValueError(
            f"attributes must have one row for each of {n} users and one column for "
            f"each of {list(attributes)}, got shape {table.shape}."
        )
    return read_groups(table, range(len(attributes)))


def _recommend(
    counts: Counts,
    rates: Rates,
    users: "pd.Series[Any]",
    groups: NDArray[Any],
    k: int,
    exploration: float,
    rng: np.random.RandomState,
) -> pd.DataFrame:
    """List up to `k` videos for each user, as `GenreProfiler.recommend` says."""
    if users.empty:
        return pd.DataFrame(columns=["user", "rank", "video", "score", "reason"])
    known = rates.group.index.unique("group")
    groups = np.where(np.isin(groups, known), groups, NO_GROUP)
    parts = _genre_parts(counts, rates)
    tastes = {group: parts @ _taste_of(group, rates) for group in set(groups.tolist())}
    popular = popularity(counts.pairs)["score"]
    cold = {
        group: _start(popular, taste - rates.viewers, group, k)
        for group, taste in tastes.items()
    }
    score_new = _scorer(counts, rates, parts)
    indices = rates.user.index.get_indexer(pd.Index(users))
    lists = []
    for index, group in zip(indices.tolist(), groups.tolist(), strict=True):
        if index < 0:
            lists.append(cold[group])
            continue
        best = score_new(index, tastes[group])
        lists.append(_mix(best, min(k, len(best)), exploration, rng))
    lengths = [len(one) for one in lists]
    ranks = [np.arange(n) + 1 for n in lengths]
    user = users.repeat(lengths).reset_index(drop=True)
    columns = {"user": user, "rank": np.concatenate(ranks)}
    return pd.concat(
        [pd.DataFrame(columns), pd.concat(lists, ignore_index=True)], axis=1
    )


def _genre_parts(counts: Counts, rates: Rates) -> csr_array:
    """Return the part of each genre (column) in each video (row); rows add up to 1."""
    videos, genres = rates.video.index, rates.genre.index
    of = counts.genres.index
    index = _indices(of, "video", videos), _indices(of, "genre", genres)
    weights = csr_array((counts.genres["weight"], index), (len(videos), len(genres)))
    return diags_array(1 / weights.sum(axis=1)) @ weights


def _taste_of(group: str, rates: Rates) -> NDArray[np.float64]:
    """Return how far a group is from each genre; 0 for none."""
    found = rates.group[rates.group.index.get_level_values("group") == group]
    found = found.droplevel("group").reindex(rates.genre.index)
    return found.fillna(0.0).to_numpy()


def _start(
    popular: "pd.Series[float]", lift: "pd.Series[float]", group: str, k: int
) -> pd.DataFrame:
    """List the first videos for cold users of a group, with a lift in log odds each."""
    if group == NO_GROUP:
        return popular.head(k).reset_index().assign(reason="cold")
    with np.errstate(divide="ignore"):  # a bound of 0 stays 0
        odds = logit(popular) + lift.reindex(popular.index)
    score = expit(odds).rename("score").sort_values(ascending=False, kind="stable")
    return score.head(k).reset_index().assign(reason="group")


def _scorer(
    counts: Counts, rates: Rates, parts: csr_array
) -> Callable[[int, NDArray[np.float64]], "pd.Series[float]"]:
    """Return what predicts the videos never shown to a known user, best first.

    Ties are by id. It takes the user's index in ``rates.user``, and how much their
    group likes each video.
    """
    videos, users = rates.video.index, rates.user.index
    genres = rates.genre.index
    pairs, cells = counts.pairs.index, rates.cell.index
    shown, liked = _indices(pairs, "video", videos), _indices(cells, "genre", genres)
    # Tables are sorted by user, so each one's rows are a slice.
    ends = np.arange(len(users) + 1)
    shown_to = np.searchsorted(_indices(pairs, "user", users), ends)
    liked_by = np.searchsorted(_indices(cells, "user", users), ends)
    odds, shift, liking = (t.to_numpy() for t in (rates.video, rates.user, rates.cell))

    def score_new(user: int, of_group: NDArray[np.float64]) -> "pd.Series[float]":
        rows = slice(*liked_by[user : user + 2])
        taste = np.zeros(len(genres))
        taste[liked[rows]] = liking[rows]
        is_new = np.ones(len(videos), dtype=bool)
        is_new[shown[slice(*shown_to[user : user + 2])]] = False
        score = expit(odds + of_group + parts @ taste + shift[user])
        best = np.argsort(-score, kind="stable")
        best = best[is_new[best]]
        return pd.Series(score[best], videos[best])

    return score_new


def _indices(
    index: "pd.Index[Any]", level: str, known: "pd.Index[Any]"
) -> NDArray[np.intp]:
    """Return the index of each value of a level among the known ones."""
    return np.asarray(known.get_indexer(index.get_level_values(level)))


def _mix(
    best: "pd.Series[float]", n: int, exploration: float, rng: np.random.RandomState
) -> pd.DataFrame:
    """Take the first `n`, but some, at random ranks, from all the others."""
    # Rounded up or down at random, so that the fraction is right on average.
    n_random = int(exploration * n + rng.uniform())
    order = np.arange(n)
    spots = rng.choice(n, n_random, replace=False)
    is_random = np.isin(order, spots)
    others = np.arange(n - n_random, len(best))
    order[~is_random] = np.arange(n - n_random)
    order[is_random] = rng.choice(others, n_random, replace=False)
    return pd.DataFrame(
        {
            "video": best.index[order],
            "score": best.to_numpy()[order],
            "reason": np.where(is_random, "exploration", "profile"),
        }
    )


def popularity(pairs: pd.DataFrame, alpha: float = 0.05) -> pd.DataFrame:
    """Order videos by what a stranger may like.

    Returns
    -------
    videos : DataFrame with index video
        Column `score`, the lower Wilson bound of the rate of engagement at one-sided
        level `alpha`, and `engaged_users`. Best first: by score, then by users.
    """
    sums = pairs.groupby(level="video").sum()
    n, rate = sums["weight"], sums["engaged"] / sums["weight"]
    z = norm.isf(alpha)
    middle = rate + z**2 / (2 * n)
    spread = z * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    users = (pairs["engaged"] > 0).groupby(level="video").sum()
    score = (middle - spread) / (1 + z**2 / n)
    table = pd.DataFrame({"score": score.clip(lower=0), "engaged_users": users})
    by = ["score", "engaged_users"]
    return table.sort_values(by, ascending=False, kind="stable")
