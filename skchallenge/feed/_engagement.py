"""Turn what users did with a video into signals, points and tables."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from skchallenge._schema import log_columns, milliseconds_of
from skchallenge._state import Versioned
from skchallenge._table import (
    as_frame,
    check_columns,
    check_count,
    check_ids,
    check_option,
    check_real,
    read_numbers,
)

SIGNALS = ("rewatch", "completion", "share", "comment", "like")
POINTS = {"rewatch": 10, "completion": 8, "share": 6, "comment": 4, "like": 2}
_CLICKS = {
    "share": "is_forward",
    "comment": "is_comment",
    "like": "is_like",
    "hate": "is_hate",
}
_TIMES = ("play_time_ms", "duration_ms")
_N_BINS = 10  # deciles of the duration
# Where times are of two units: in a real log, 1 % are re-watches, the median ratio .06.
_MANY = 10  # impressions
_NEARLY_ALL = 0.9
_FAR, _NOTHING = 20.0, 0.002


def engagement_signals(
    log: Any,
    *,
    completion_at: float = 0.9,
    rewatch_at: float = 2.0,
    max_rewatches: int = 1,
) -> pd.DataFrame:
    """Read the signals of each impression from a raw feed log.

    Exact duplicate rows are dropped: they are one impression that was logged twice.
    With ``ratio = play / duration``, a video is completed if the ratio is at least
    `completion_at`. It is watched again ``floor(ratio) - 1`` times if the ratio is at
    least `rewatch_at`, and never more than `max_rewatches` times: looping a video over
    and over is one person's doing.

    Parameters
    ----------
    log : pandas or polars DataFrame of shape (n_impressions, n_columns)
        One row an impression. It has `play_time_ms` and `duration_ms`, milliseconds,
        or their quotient `watch_ratio`; and `is_forward`, `is_comment`, `is_like` and
        `is_hate`, 0 or 1, as far as they were logged. They may have the names of public
        logs, such as `play_duration`: the user guide has the list. Further columns only
        tell duplicate rows from others.
    completion_at : float, default=0.9
        Least share of the duration that counts as completion, above 0.
    rewatch_at : float, default=2.0
        Least ratio that counts as a re-watch, at least `completion_at`, so that a
        re-watch is a completion too.
    max_rewatches : int, default=1
        Most re-watches that one impression counts for, at least 0.

    Returns
    -------
    signals : pandas.DataFrame
        Columns `rewatch`, `completion`, `share`, `comment`, `like` and `hate`, floats.
        The index holds row numbers of `log`, so ``log.iloc[signals.index]`` are the
        rows. Where the duration is zero or missing, or the play time is missing,
        `rewatch` and `completion` are NaN. A signal that the log has no column for is
        NaN throughout.

    Raises
    ------
    ValueError
        If there is no signal at all, one of the two times is missing, one is negative
        or infinite, seconds stand beside milliseconds, or a parameter is out of range.
    TypeError
        If a column holds lists, so that rows cannot be compared, or texts or dates for
        numbers.

    See Also
    --------
    EngagementScorer : Turns signals into points.
    engagement_table : Points by video or by user.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.feed import engagement_signals
    >>> log = pd.DataFrame({
    ...     "play_time_ms": [2000, 9000, 470_000], "duration_ms": 10_000,
    ...     "is_forward": 0, "is_comment": 0, "is_like": [0, 1, 0], "is_hate": 0,
    ... })
    >>> engagement_signals(log)
       rewatch  completion  share  comment  like  hate
    0      0.0         0.0    0.0      0.0   0.0   0.0
    1      0.0         1.0    0.0      0.0   1.0   0.0
    2      1.0         1.0    0.0      0.0   0.0   0.0
    """
    log = as_frame(log, "log")
    columns = log_columns(log.columns)
    _check_some_signal(log, columns)
    check_real("completion_at", completion_at, "neither")
    check_real("rewatch_at", rewatch_at, min_val=completion_at)
    check_count("max_rewatches", max_rewatches, min_val=0)
    log = log[~_repeats(log)]
    ratio = _watch_ratio(log, columns, rewatch_at)
    known = ~np.isnan(ratio)
    again = np.where(ratio >= rewatch_at, np.floor(ratio) - 1, 0.0)
    signals = {
        "rewatch": np.where(known, np.clip(again, 0, max_rewatches), np.nan),
        "completion": np.where(known, ratio >= completion_at, np.nan),
    }
    for name, column in _CLICKS.items():
        signals[name] = np.full(len(log), np.nan)
        if column in columns:
            signals[name] = _clicks(log, columns[column])
    return pd.DataFrame(signals, index=log.index)


def signals_of(columns: Mapping[str, Any]) -> list[str]:
    """Name the signals that a log with these columns of `log_columns` tells."""
    has_ratio = "watch_ratio" in columns or {*_TIMES} <= {*columns}
    clicks = [name for name, column in _CLICKS.items() if column in columns]
    return [*(("rewatch", "completion") if has_ratio else ()), *clicks]


def with_names(log: pd.DataFrame) -> pd.DataFrame:
    """Return a log whose ids and genre have the names of this library."""
    found = log_columns(log.columns)
    names = [name for name in ("user_id", "video_id", "genre") if name in found]
    return log.rename(columns={found[name]: name for name in names})


def _check_some_signal(log: pd.DataFrame, columns: Mapping[str, Any]) -> None:
    if "watch_ratio" not in columns and {*_TIMES} & {*columns}:
        check_columns(columns, _TIMES, "log", f" Its columns are {list(log.columns)}.")
    if not signals_of(columns):
        raise ValueError(
            "log must have signals: play_time_ms and duration_ms, or at least one of "
            f"{list(_CLICKS.values())}, got {list(log.columns)}. Pairs of user and "
            "video do not say what was done; if each of them is a comment, say, add a "
            "column is_comment of 1."
        )


def _watch_ratio(
    log: pd.DataFrame, columns: Mapping[str, Any], rewatch_at: float
) -> NDArray[np.float64]:
    """Return play through duration, NaN where it is unknown."""
    if not {*_TIMES} <= {*columns}:
        if "watch_ratio" not in columns:
            return np.full(len(log), np.nan)
        return _times(log, columns["watch_ratio"], "ratios")
    play, duration = (_times(log, columns[name]) for name in _TIMES)
    ratio = play / np.where(duration == 0, np.nan, duration)
    _check_units(columns, ratio, play, duration, rewatch_at)
    return ratio


def _check_units(
    columns: Mapping[str, Any],
    ratio: NDArray[np.float64],
    play: NDArray[np.float64],
    duration: NDArray[np.float64],
    rewatch_at: float,
) -> None:
    """Raise where seconds stand beside milliseconds.

    Then nearly every impression is a re-watch, or none is even a hundredth of one. Few
    impressions may be so by chance, unless the times are none of milliseconds: no video
    lasts less than a second.
    """
    known = ratio > 0
    if known.sum() < 2:
        return
    names = [columns[name] for name in _TIMES]
    ratio, times = ratio[known], {names[0]: play[known], names[1]: duration[known]}
    is_many = len(ratio) >= _MANY
    usual = float(np.median(ratio))
    below_a_second = {name: np.median(time) < 1000 for name, time in times.items()}
    again = np.mean(ratio >= rewatch_at)
    if again >= _NEARLY_ALL and (
        below_a_second[names[1]] or (is_many and usual >= _FAR)
    ):
        short = names[1]
        what = f"{again:.0%} of the impressions would be re-watches"
    elif is_many and below_a_second[names[0]] and usual <= _NOTHING:
        short = names[0]
        what = (
            f"hardly any impression would last for a {1 / _NOTHING:.0f}th of its video"
        )
    else:
        return
    raise ValueError(
        f"log[{names[0]!r}] and log[{names[1]!r}] must be in the same unit, but the "
        f"median of their ratio is {usual:.3g}: {what}. If {short!r} is in seconds, "
        "multiply it by 1000."
    )


def _repeats(log: pd.DataFrame) -> "pd.Series[bool]":
    try:
        return log.duplicated()
    except TypeError as error:  # lists and the like cannot be hashed
        raise TypeError(
            f"log must hold plain values, to tell duplicate rows from others: {error}. "
            "Drop such columns, or convert them with .astype(str)."
        ) from error


def _times(log: pd.DataFrame, column: Any, what: str = "times") -> NDArray[np.float64]:
    """Return milliseconds, or ratios, as floats, missing ones as NaN."""
    times = read_numbers(log[column], f"log[{column!r}]")
    bad = (times < 0) | np.isinf(times)
    if bad.any():
        raise ValueError(
            f"log[{column!r}] must hold {what} of at least 0, got "
            f"{_first(log, times, bad)}. Drop such rows, or set them to missing."
        )
    return times * milliseconds_of(column)


def _clicks(log: pd.DataFrame, column: Any) -> NDArray[np.float64]:
    clicks = read_numbers(log[column], f"log[{column!r}]")
    bad = ~np.isin(clicks, [0, 1])
    if bad.any():
        raise ValueError(
            f"log[{column!r}] must hold 0 and 1, got {_first(log, clicks, bad)}. Drop "
            "such rows, or fill missing ones with 0."
        )
    return clicks


def _first(
    log: pd.DataFrame, values: NDArray[np.float64], bad: NDArray[np.bool_]
) -> str:
    i = int(bad.argmax())
    return f"{values[i]} in row {log.index.to_numpy()[i]}"


class EngagementScorer(
    Versioned, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Turn engagement signals into points, row by row.

    The score is the weighted sum of re-watches, completions, shares, comments and
    likes. They may be counts of one impression, rates of a video, or probabilities that
    a model predicts. Nothing is learned.

    The default weights are folklore: articles repeat them [1]_ and no platform has
    confirmed them. Treat them as a switch to try, not as a fact.

    Parameters
    ----------
    points : dict of str to float or None, default=None
        Points by signal, in order. None is re-watch 10, completion 8, share 6,
        comment 4, like 2. They may be negative, such as ``{"like": 2, "hate": -5}``.

    Attributes
    ----------
    points_ : dict of str to float
        The points in use.
    n_features_in_ : int
        Number of columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, when all are strings.

    See Also
    --------
    engagement_signals : Reads the signals from a raw log.
    engagement_table : Points by video or by user.

    References
    ----------
    .. [1] Trehan, D. "The inescapable AI algorithm: TikTok", 12 June 2020.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.feed import EngagementScorer
    >>> rates = pd.DataFrame({
    ...     "rewatch": [0.0, 0.1], "completion": [0.5, 0.4], "share": [0.0, 0.0],
    ...     "comment": [0.0, 0.25], "like": [0.5, 0.0],
    ... })
    >>> EngagementScorer().fit_transform(rates)
    array([[5. ],
           [5.2]])
    >>> EngagementScorer({"like": 1, "completion": 1}).fit_transform(rates)
    array([[1. ],
           [0.4]])
    """

    def __init__(self, points: Mapping[str, float] | None = None) -> None:
        self.points = points

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Check the points and the columns.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Non-negative signals. Named columns are matched with the points by name,
            and others are ignored, whatever they hold. Nameless ones take the points in
            order; those beyond count for nothing. A missing value makes the score NaN.
        y : None
            Ignored.

        Returns
        -------
        self : EngagementScorer
            This object.

        Raises
        ------
        ValueError
            If there are no points, one is not finite, a named column is missing, there
            are fewer nameless columns than points, or a signal is negative.
        """
        points = points_by_signal(self.points)
        self._signals(X, points, reset=True)
        self.points_ = points
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Compute the score of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The columns seen during `fit`.

        Returns
        -------
        score : ndarray of shape (n_samples, 1)
            Points, in the dtype of X.
        """
        check_is_fitted(self)
        signals = self._signals(X, self.points_, reset=False)
        weights = np.fromiter(self.points_.values(), signals.dtype)
        # A sum of columns, not a matrix product: a row's bits depend on that row alone.
        return (signals * weights).sum(axis=1, keepdims=True)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[Any]:
        """Name the output column.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen during `fit`.

        Returns
        -------
        names : ndarray of shape (1,)
            ``["score"]``.
        """
        super().get_feature_names_out(input_features)
        return np.array(["score"], dtype=object)

    def _signals(
        self, X: ArrayLike, points: dict[str, float], *, reset: bool
    ) -> NDArray[Any]:
        """Return the columns that earn points, in the order of the points."""
        options = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
        is_table = hasattr(X, "columns")
        # A table's other columns are not looked at: they may be texts or dates.
        X = validate_data(self, X, reset=reset, skip_check_array=is_table, **options)
        names = getattr(self, "feature_names_in_", None)
        columns = _columns_of(points, names, self.n_features_in_)
        if is_table:
            X = _safe_indexing(X, columns, axis=1)
            X = check_array(X, estimator=self, input_name="X", **options)
        # The least of values of which one is missing is missing, not negative.
        check_non_negative(np.nan_to_num(X), type(self).__name__)
        return X if is_table else X[:, columns]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def points_by_signal(points: Mapping[str, float] | None) -> dict[str, float]:
    """Return the points of each signal.

    Raises
    ------
    TypeError
        If they have no names.
    ValueError
        If there are none, or one is not a finite number.
    """
    if not isinstance(points, Mapping | None):
        raise TypeError(
            f"points must be a dict of points by signal, got {points!r}. Name the "
            "signals, as in {'like': 2}."
        )
    points = dict(POINTS if points is None else points)
    if not points:
        raise ValueError(
            "points must name at least one signal, got none. None has the defaults."
        )
    for name, value in points.items():
        if not (isinstance(value, Real) and np.isfinite(value)):
            raise ValueError(
                f"points[{name!r}] must be a finite number, got {value!r}."
            )
    return points


def _columns_of(points: dict[str, float], names: Any, n_features: int) -> list[int]:
    """Return the positions of the columns that earn points."""
    if names is not None:
        remedy = " engagement_signals makes the signals of a raw log."
        check_columns(names, points, "X", remedy)
        return [list(names).index(name) for name in points]
    if n_features < len(points):
        raise ValueError(
            f"X has {n_features} feature(s), but points has {len(points)} signals, "
            f"{list(points)}. Pass one column each in this order, or name the columns."
        )
    return list(range(len(points)))


def engagement_table(
    log: Any,
    *,
    by: str,
    adjust_duration: bool = False,
    max_rewatches: int = 1,
    points: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Add up the engagement points of a feed log by video or by user.

    Re-watches count at most `max_rewatches` times for each user and video, however
    many impressions they are spread over.

    Parameters
    ----------
    log : pandas or polars DataFrame of shape (n_impressions, n_columns)
        A raw log as `engagement_signals` takes it, with `video_id` and `user_id`, or
        what public logs call them.
    by : {"video_id", "user_id"}
        Whose table to make.
    adjust_duration : bool, default=False
        Whether to subtract, from the points of each impression, the mean points of
        videos of about that duration (the same tenth of all impressions). Short videos
        are completed more often, so they lead any table of points.
    max_rewatches : int, default=1
        Most re-watches that count for one user and video, at least 0.
    points : dict of str to float or None, default=None
        What an impression earns by signal, as for `EngagementScorer`. None has its
        points of the signals that the log has columns for.

    Returns
    -------
    table : pandas.DataFrame
        One row a video or user, sorted by id; the index is named `by`. Columns
        `impressions`, `others` (different users of the video, or videos of the user),
        the mean of each signal, and `score`, the mean points. Impressions without a
        duration, where the log has durations, are in none of the means; whoever has no
        others has missing means.

    Raises
    ------
    ValueError
        If an id is missing, there are no rows, `points` names a signal that the log
        has no column for, or as `engagement_signals` does.
    TypeError
        If ids are neither strings nor integers, or as `engagement_signals` does.

    See Also
    --------
    engagement_signals : The signals of each impression.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.feed import engagement_table
    >>> log = pd.DataFrame({
    ...     "video_id": ["a", "a", "b"], "user_id": ["ann", "bob", "ann"],
    ...     "play_time_ms": [20_000, 9000, 1000], "duration_ms": 10_000,
    ...     "is_forward": 0, "is_comment": 0, "is_like": [1, 0, 0], "is_hate": 0,
    ... })
    >>> engagement_table(log, by="video_id")[["impressions", "others", "score"]]
              impressions  others  score
    video_id
    a                   2       2   14.0
    b                   1       1    0.0
    """
    check_option("by", by, ["video_id", "user_id"])
    log = with_names(as_frame(log, "log"))
    check_columns(log.columns, ["video_id", "user_id"], "log")
    names = ("video_id", "user_id")
    log = log.assign(**{c: check_ids(log[c], f"log[{c!r}]") for c in names})
    if log.empty:
        raise ValueError(
            "log must hold at least one impression, got none. Was it filtered?"
        )
    signals = engagement_signals(log, max_rewatches=max_rewatches)
    columns = log_columns(log.columns)
    held = signals_of(columns)
    known = signals[held].notna().all(axis=1)
    log = log.loc[signals.index]
    signals["rewatch"] = _cap_repeats(signals["rewatch"], log, max_rewatches)
    points = points_of_log(points, held)
    score = EngagementScorer(points).fit_transform(signals)[:, 0]
    signals["score"] = np.where(known, score, np.nan)
    if adjust_duration:
        check_columns(
            columns, ["duration_ms"], "log", " adjust_duration=True needs it."
        )
        duration = read_numbers(log[columns["duration_ms"]], "log")
        signals["score"] -= _mean_of_duration(signals["score"], duration)
    key = log[by]
    other = log["user_id" if by == "video_id" else "video_id"].groupby(key).nunique()
    means = signals[known].groupby(key[known]).mean()
    counts = {"impressions": key.groupby(key).size(), "others": other}
    return pd.DataFrame(counts).join(means).sort_index().rename_axis(by)


def points_of_log(
    points: Mapping[str, float] | None, held: Sequence[str]
) -> dict[str, float]:
    """Return the points of the signals that a log holds.

    Raises
    ------
    ValueError
        If `points` names another one.
    """
    if points is None:
        return {name: POINTS[name] for name in SIGNALS if name in held} or {"hate": 0}
    points = points_by_signal(points)
    lacking = [
        name for name in points if name in (*SIGNALS, "hate") and name not in held
    ]
    if lacking:
        raise ValueError(
            f"points must name signals of the log, but it has no column for {lacking}. "
            f"Leave them out; it has {list(held)}."
        )
    return points


def _cap_repeats(
    rewatch: "pd.Series[float]", log: pd.DataFrame, most: int
) -> "pd.Series[float]":
    """Count re-watches of the same video by the same user up to `most`, early first."""
    pair = [log["user_id"], log["video_id"]]
    total = rewatch.fillna(0).groupby(pair).cumsum()
    before = total - rewatch
    return total.clip(upper=most) - before.clip(upper=most)


def _mean_of_duration(
    score: "pd.Series[float]", duration: NDArray[np.float64]
) -> "pd.Series[float]":
    """Average the points over impressions of about the same duration."""
    rank = pd.Series(duration, score.index).where(score.notna()).rank()
    # Equal durations have one rank, their mean one, and so stay in one bin.
    tenth = np.ceil(rank * _N_BINS / rank.count())
    return score.groupby(tenth).transform("mean")
