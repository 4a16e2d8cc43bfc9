"""How far a user's tags were spreading when the user took them up."""

import warnings
from dataclasses import dataclass
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

from skchallenge._rules import ParticipationRules, challenge_column, check_catalog
from skchallenge._state import Versioned
from skchallenge._table import (
    as_frame,
    check_columns,
    check_count,
    is_missing,
    read_duration,
    tag_name,
    time_values,
)
from skchallenge._time_index import Rows, TimeIndex
from skchallenge.datasets._catalog import VideoCatalog, snapshot
from skchallenge.exceptions import EmptyHistoryWarning, LeakageWarning

# Of fewer others in the window nobody can say that a tag spreads; and it spreads while
# the window holds at least half of all its adopters so far.
_FEWEST_ADOPTERS = 3
_SPREADING = 0.5
# What is known of one video, in this order; each is averaged, and its largest taken.
_OF_VIDEOS = ("adopters", "burst", "bursts", "spreading", "tags")

Floats = NDArray[np.float64]


class AdoptionHistory(Versioned, TransformerMixin, BaseEstimator):
    """Sum up how far tags were spreading when a user (or a challenge) took them up.

    For each tag of the newest videos before a row's time: how many *other* users had
    first used it within the window before the video, and which fraction is that of all
    who had used it by then? Beside this stand how recent these videos are, and in how
    many studied challenges they took part. No label is read and nothing is trained.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos, with a column of tags. It is shared by clones and
        never copied.
    before : str
        Column of X with the time before which videos count.
    by : str, default="user_id"
        The catalog's user or challenge column, which X has too: whose videos to take.
    window : str, pandas.Timedelta or number, default="14D"
        Length of the window before each video: a duration that pandas.Timedelta reads
        where the catalog's times are datetimes, and a number of the same unit where
        they are numbers.
    max_videos : int, default=8
        Number of newest videos that are taken.

    Attributes
    ----------
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X.

    See Also
    --------
    HistoryEncoder : What the videos look like, under rules of its own.
    skchallenge.baselines.AdoptionBaseline : A classifier on one of these columns.

    Notes
    -----
    **Columns.** Of each tag of a video, `recent` counts the other users whose first use
    of it lies in the window before the video, and `earlier` those whose first use lies
    anywhere before the video. The tag's burst is ``recent / earlier``, or 0 if `recent`
    is less than 3; it is spreading if its burst is at least one half. A video has

    ===============  ==================================================================
    ``adopters``     log(1 + `recent`), the largest among its spreading tags
    ``burst``        the largest burst of its tags
    ``bursts``       log(1 + the sum of the bursts of its tags)
    ``spreading``    log(1 + number of its spreading tags)
    ``tags``         log(1 + number of its tags)
    ``takes_part``   1 if it takes part in a studied challenge, else 0 (users only)
    ===============  ==================================================================

    and each of these makes two columns, ``{by}_{name}_mean`` and ``{by}_{name}_max``,
    over the row's videos. ``{by}_recency_newest`` and ``{by}_recency_oldest`` are
    ``window / (window + age)`` of the newest and the oldest of these videos at the
    row's time: 1 is just now. A row without videos has 0 everywhere.

    **Videos of a row.** Those with the row's `by` value, strictly before the row's
    time, newest first, ties by video id, the first `max_videos`; challenge videos, too:
    what a user did before the cut-off is known. No encoder may see a challenge video,
    because it shows the challenge; here it is only counted.

    **Others.** All users of the catalog but the one who made the video, and only what
    they did strictly before that video, so strictly before the row's time. A user's own
    earlier uses never count: repeating oneself is not taking something up.

    **The edge of an export.** Nothing else is counted. A number of all earlier videos
    would tell who posts much later, where an export holds the latest videos of each
    user. With ``max_videos`` up to the `min_history` of `make_participation`, each row
    has the same number of videos, and there is nothing to tell. `fit` warns otherwise.

    **Users who have taken part.** A pair whose user took part in the row's challenge
    before the row's time is no question, and its ``takes_part`` would be the answer.
    `make_participation` makes no such pair. `fit` raises where it finds one, if X has
    the columns of the user and of the challenge.

    **Hindsight that remains.** Which tags are studied challenges is up to who made the
    catalog. `make_participation` finds them with all dates in view, so ``takes_part``
    knows which of a user's tags were to become large. Name the challenges, or leave
    these two columns out, where that matters.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge import AdoptionHistory, VideoCatalog
    >>> videos = pd.DataFrame({
    ...     "video_id": [1, 2, 3, 4, 5],
    ...     "user_id": ["ann", "bob", "cy", "dee", "eve"],
    ...     "create_time": pd.to_datetime(
    ...         ["2021-01-01", "2021-03-01", "2021-03-02", "2021-03-03", "2021-03-04"]
    ...     ),
    ...     "hashtags": [["wave"], ["wave"], ["wave"], ["Wave"], ["cats"]],
    ...     "challenge": None,
    ... })
    >>> catalog = VideoCatalog(videos)
    >>> adoption = AdoptionHistory(catalog, before="time", window="70D")
    >>> adoption = adoption.set_output(transform="pandas")
    >>> pairs = pd.DataFrame({
    ...     "user_id": ["cy", "dee", "eve"], "time": pd.Timestamp("2021-03-05")
    ... })
    >>> columns = adoption.fit_transform(pairs).round(2)
    >>> columns[["user_id_burst_max", "user_id_adopters_max"]]
       user_id_burst_max  user_id_adopters_max
    0                0.0                  0.00
    1                1.0                  1.39
    2                0.0                  0.00

    Before dee, three others had used the tag, all within 70 days; before cy, only two.
    """

    def __init__(
        self,
        catalog: VideoCatalog,
        *,
        before: str,
        by: str = "user_id",
        window: str | pd.Timedelta | float = "14D",
        max_videos: int = 8,
    ) -> None:
        self.catalog = catalog
        self.before = before
        self.by = by
        self.window = window
        self.max_videos = max_videos

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check that X and the catalog fit together.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            Has the columns named by `by` and `before`; the catalog's other column, of
            the challenge or the user, is checked if it is there; others are ignored.
        y : None
            Ignored.

        Returns
        -------
        self : AdoptionHistory
            The fitted transformer.

        Raises
        ------
        TypeError
            If X is no table with named columns, the catalog is none, ids, times or
            `window` are of another type than the catalog's, or tags are no lists.
        ValueError
            If a column is missing, a parameter is out of range, every history is empty,
            or a row's user took part before the row's time.

        Warns
        -----
        LeakageWarning
            If histories are not full and the catalog seems to hold users' latest videos
            only.
        """
        rules = self._rules()
        frame = self._read(X, rules, reset=True)
        n_own = rules.n_own(frame)
        if n_own.any():
            raise ValueError(rules.side.early_birds(frame, n_own))
        history = rules.history(frame)
        if (history < 0).all():
            raise ValueError(
                f"No row of X has any video in the catalog: every history by "
                f"{self.by!r} is empty. Check the ids and times of X and the catalog."
            )
        rules.side.warn_of_cut_histories(frame, history, "what is summed up")
        return self

    def transform(self, X: Any) -> Floats:
        """Sum up each row's videos.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            The columns seen in `fit`. An unknown user has no videos.

        Returns
        -------
        columns : ndarray of shape (n_samples, n_features_out)
            float64, finite, see Notes.

        Raises
        ------
        TypeError, ValueError
            If X or the catalog are not as `fit` needs them.

        Warns
        -----
        EmptyHistoryWarning
            If every row's history is empty.
        LeakageWarning
            If X holds users who took part in the row's challenge before its time.
        """
        check_is_fitted(self, "n_features_in_")
        rules = self._rules()
        frame = self._read(X, rules, reset=False)
        n_own = rules.n_own(frame)
        if n_own.any():
            message = rules.side.early_birds(frame, n_own)
            warnings.warn(message, LeakageWarning, stacklevel=3)
        history = rules.history(frame)
        if len(frame) and (history < 0).all():
            warnings.warn(
                f"Every history by {self.by!r} is empty: no row of X has a video in "
                "the catalog before its time.",
                EmptyHistoryWarning,
                stacklevel=3,  # scikit-learn wraps `transform`
            )
        return rules.columns(frame, history)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the output columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against `feature_names_in_`.

        Returns
        -------
        names : ndarray of shape (n_features_out,)
            ``{by}_{name}_mean`` and ``{by}_{name}_max``, then the two of recency.
        """
        check_is_fitted(self, "n_features_in_")
        _check_feature_names_in(self, input_features)
        names = self._rules().names
        summed = [f"{self.by}_{n}_{how}" for how in ("mean", "max") for n in names]
        recency = [f"{self.by}_recency_{which}" for which in ("newest", "oldest")]
        return np.array([*summed, *recency], dtype=object)

    def _rules(self) -> "AdoptionRules":
        """Return the rules, for one call: videos may be appended meanwhile."""
        check_catalog(self.catalog)
        catalog = snapshot(self.catalog)
        if self.before is None:
            raise ValueError(
                "before=None has no meaning here: without a time, what a user took up "
                "after the cut-off would count. Name the column of cut-off times."
            )
        side = ParticipationRules(catalog, self.by, self.before, exclude=None)
        side.check()
        check_count("max_videos", self.max_videos)
        window = read_duration(self.window, "window", catalog.videos[catalog.time])
        if not window > type(window)(0):
            raise ValueError(f"window must be positive, got {self.window!r}.")
        return AdoptionRules(side, window, self.max_videos)

    def _read(self, X: Any, rules: "AdoptionRules", *, reset: bool) -> pd.DataFrame:
        frame = as_frame(X, "X")
        validate_data(self, X, reset=reset, skip_check_array=True)
        frame = rules.side.read(frame)
        other = rules.other_side
        return other.read(frame) if other.by in frame else frame

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # ids and times in named columns
        tags.input_tags.string = True
        tags.requires_fit = True
        return tags


@dataclass(frozen=True)
class AdoptionRules:
    """What a row may know of who took up which tag before whom.

    `side` has the rules that users and challenges share with `HistoryEncoder`: how X
    is read, and whose each video is. X is a table that it has read.
    """

    side: ParticipationRules
    window: Any
    max_videos: int

    @property
    def catalog(self) -> VideoCatalog:
        """The side table of all videos."""
        return self.side.catalog

    @property
    def other_side(self) -> ParticipationRules:
        """The same rules of challenges where `side` is of users, and vice versa."""
        catalog = self.catalog
        by = challenge_column(catalog) if self.side.of_users else catalog.user
        return ParticipationRules(catalog, by, self.side.before, exclude=None)

    @property
    def names(self) -> tuple[str, ...]:
        """What is known of each video; all videos of a challenge take part in it."""
        return (*_OF_VIDEOS, "takes_part") if self.side.of_users else _OF_VIDEOS

    def n_own(self, X: pd.DataFrame) -> Rows:
        """Count each row's videos of its challenge by its user, before its time."""
        if {self.catalog.user, self.catalog.challenge} - set(X.columns):
            return np.zeros(len(X), dtype=np.intp)
        rules = self.other_side if self.side.of_users else self.side
        return rules.n_own(X)

    def history(self, X: pd.DataFrame) -> Rows:
        """Find the catalog rows of each row's videos, (n, max_videos), -1 if none.

        Strictly before the row's time; of users challenge videos, too.
        """
        members, catalog = self.side.memberships(), self.catalog
        row = members["row"].to_numpy()
        tie = pd.factorize(catalog.videos[catalog.video], sort=True)[0][row]
        index = TimeIndex(pd.Index(members["entity"]), self._times()[row], tie, row)
        before = time_values(X[self.side.before])
        return index.newest(pd.Index(X[self.side.by]), before, self.max_videos)

    def columns(self, X: pd.DataFrame, history: Rows) -> Floats:
        """Sum up the videos of each row."""
        filled = history >= 0  # (n, max_videos)
        rows, index = np.unique(history[filled], return_inverse=True)
        videos = np.zeros((*history.shape, len(self.names)))
        videos[filled] = self.of_videos(rows)[index]  # (n, max_videos, n_names)
        mean = videos.sum(axis=1) / filled.sum(axis=1, keepdims=True).clip(1)
        recency = np.zeros(history.shape)
        before = time_values(X[self.side.before])[:, None]
        age = (before - self._times()[history]) / self._window_like(before)
        recency[filled] = 1 / (1 + age[filled])
        oldest = np.where(filled, recency, np.inf).min(axis=1)
        oldest[~filled.any(axis=1)] = 0.0
        return np.column_stack([mean, videos.max(axis=1), recency[:, 0], oldest])

    def of_videos(self, rows: Rows) -> Floats:
        """Return what is known of each of these videos, (n, n_names)."""
        n_videos = len(self.catalog.videos)
        wanted = np.zeros(n_videos, dtype=bool)
        wanted[rows] = True
        uses = self.uses()
        recent, earlier = self.adopters(uses, wanted[uses["row"]])
        row = uses["row"].to_numpy()[wanted[uses["row"]]]
        burst = np.zeros(len(row))
        enough = recent >= _FEWEST_ADOPTERS
        burst[enough] = recent[enough] / earlier[enough]
        spreading = burst >= _SPREADING
        values = np.zeros((n_videos, len(self.names)))
        np.maximum.at(values[:, 0], row, np.log1p(recent * spreading))
        np.maximum.at(values[:, 1], row, burst)
        np.add.at(values[:, 2], row, burst)
        np.add.at(values[:, 3], row, spreading)
        values[:, 4] = np.bincount(row, minlength=n_videos)
        values[:, 2:5] = np.log1p(values[:, 2:5])
        if self.side.of_users:
            values[:, 5] = self.catalog.is_challenge_video
        return values[rows]

    def uses(self) -> pd.DataFrame:
        """List (row, tag, user, time): each tag of each video once, as numbers."""
        catalog = self.catalog
        check_columns(
            catalog.videos.columns,
            [catalog.tags],
            "catalog",
            " Adoption is read from tags: name their column in VideoCatalog(tags=...).",
        )
        tags = [_tags(cell, catalog.tags) for cell in catalog.videos[catalog.tags]]
        row = np.repeat(np.arange(len(tags)), [len(names) for names in tags])
        flat = np.array([name for names in tags for name in names], dtype=object)
        user = pd.factorize(catalog.videos[catalog.user])[0]
        return pd.DataFrame(
            {
                "row": row,
                "tag": pd.factorize(flat)[0],
                "user": user[row],
                "time": self._times()[row],
            }
        )

    def adopters(
        self, uses: pd.DataFrame, of: NDArray[np.bool_]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Count the other users who first used a tag before each of some uses.

        Returns those within the window before, and all.
        """
        tag, time = uses["tag"].to_numpy(), uses["time"].to_numpy()
        order = np.argsort(time, kind="stable")
        pair = tag * (uses["user"].max() + 1) + uses["user"].to_numpy()
        # The first of each (tag, user) in order of time, and each use's place there.
        _, first, place = np.unique(pair[order], return_index=True, return_inverse=True)
        first = order[first]
        own = np.empty(len(uses), dtype=np.intp)
        own[order] = first[place]
        no_tie = np.zeros(len(first), dtype=np.intp)  # spans need none
        index = TimeIndex(pd.Index(tag[first]), time[first], no_tie, first)
        when, begin = time[of], time[of] - self._window_like(time)
        start, stop = index.spans(pd.Index(tag[of]), when)
        _, old = index.spans(pd.Index(tag[of]), begin)
        own_time = time[own[of]]
        is_earlier = own_time < when
        is_recent = is_earlier & (own_time >= begin)
        return stop - old - is_recent, stop - start - is_earlier

    def _times(self) -> NDArray[Any]:
        return time_values(self.catalog.videos[self.catalog.time])

    def _window_like(self, times: NDArray[Any]) -> Any:
        """Return the window as NumPy subtracts it from times."""
        is_datetime = times.dtype.kind == "M"
        return (
            pd.Timedelta(self.window).to_timedelta64() if is_datetime else self.window
        )


def _tags(cell: Any, column: str) -> list[str]:
    """Read a cell of tags: missing, or an iterable of tags, some of them blank."""
    if is_missing(cell):
        return []
    if isinstance(cell, str) or not hasattr(cell, "__iter__"):
        raise TypeError(
            f"{column} of the catalog must hold lists of tags, got {cell!r:.80}. Split "
            "texts into lists before you make the catalog."
        )
    names = (tag_name(tag) for tag in cell if not is_missing(tag))
    return list(dict.fromkeys(filter(None, names)))
