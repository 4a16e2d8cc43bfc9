"""Turn what users did with a video into signals, points and tables."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import _safe_indexing, check_array, check_scalar
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data

from skchallenge._table import as_frame, check_columns, check_real
from skchallenge.feed._columns import kind_of

SIGNALS = ("rewatch", "completion", "share", "comment", "like")
POINTS = {"rewatch": 10, "completion": 8, "share": 6, "comment": 4, "like": 2}
_CLICKS = {
    "share": "is_forward",
    "comment": "is_comment",
    "like": "is_like",
    "hate": "is_hate",
}
_TIMES = ("play_time_ms", "duration_ms")


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
        One row an impression. It needs the columns `play_time_ms` and `duration_ms`,
        milliseconds, and `is_forward`, `is_comment`, `is_like` and `is_hate`, 0 or 1.
        Further columns only tell duplicate rows from others.
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
        `rewatch` and `completion` are NaN.

    Raises
    ------
    ValueError
        If a column is missing, a time is negative or infinite, or a parameter is out
        of range.
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
    check_columns(
        log.columns, ["play_time_ms", "duration_ms", *_CLICKS.values()], "log"
    )
    check_real("completion_at", completion_at, "neither")
    check_real("rewatch_at", rewatch_at, min_val=completion_at)
    check_scalar(max_rewatches, "max_rewatches", Integral, min_val=0)
    log = log[~_repeats(log)]
    ratio = _times(log, "play_time_ms") / _times(log, "duration_ms", zero=np.nan)
    known = ~np.isnan(ratio)
    again = np.where(ratio >= rewatch_at, np.floor(ratio) - 1, 0.0)
    signals = {
        "rewatch": np.where(known, np.clip(again, 0, max_rewatches), np.nan),
        "completion": np.where(known, ratio >= completion_at, np.nan),
    }
    clicks = {name: _clicks(log, column) for name, column in _CLICKS.items()}
    return pd.DataFrame(signals | clicks, index=log.index)


def _repeats(log: pd.DataFrame) -> "pd.Series[bool]":
    try:
        return log.duplicated()
    except TypeError as error:  # lists and the like cannot be hashed
        raise TypeError(
            f"log must hold plain values, to tell duplicate rows from others: {error}. "
            "Drop such columns, or convert them with .astype(str)."
        ) from error


def _times(log: pd.DataFrame, column: str, zero: float = 0.0) -> NDArray[np.float64]:
    """Return milliseconds as floats, missing ones as NaN and zeros as `zero`."""
    times = floats_of(log, column, "log")
    bad = (times < 0) | np.isinf(times)
    if bad.any():
        raise ValueError(
            f"log[{column!r}] must hold milliseconds of at least 0, got "
            f"{_first(log, times, bad)}. Drop such rows, or set them to missing."
        )
    return np.where(times == 0, zero, times)


def _clicks(log: pd.DataFrame, column: str) -> NDArray[np.float64]:
    clicks = floats_of(log, column, "log")
    bad = ~np.isin(clicks, [0, 1])
    if bad.any():
        raise ValueError(
            f"log[{column!r}] must hold 0 and 1, got {_first(log, clicks, bad)}. Drop "
            "such rows, or fill missing ones with 0."
        )
    return clicks


def floats_of(table: pd.DataFrame, column: str, name: str) -> NDArray[np.float64]:
    """Return a column as floats, missing values as NaN.

    Raises
    ------
    TypeError
        If it does not hold numbers. The error names the table.
    """
    return floats(table[column], f"{name}[{column!r}]")


def floats(values: "pd.Series[Any]", name: str) -> NDArray[np.float64]:
    """Return numbers as floats, missing values as NaN.

    Raises
    ------
    TypeError
        If they are no numbers, but text of numbers, say. The error begins with the
        name.
    """
    kind = kind_of(values)
    may_be_text = kind in {"string", "mixed", "mixed-integer"}
    try:
        if may_be_text and any(isinstance(value, str) for value in values):
            # pandas would read some of it, by version.
            raise TypeError("text is not read; pandas.to_numeric does it")
        numbers = values.astype("Float64")
    except (TypeError, ValueError) as error:  # of pandas or of Arrow
        raise TypeError(
            f"{name} must hold numbers, got {kind} values: {error}. Convert them."
        ) from error
    return np.asarray(numbers.to_numpy(np.float64, na_value=np.nan), dtype=np.float64)


def _first(
    log: pd.DataFrame, values: NDArray[np.float64], bad: NDArray[np.bool_]
) -> str:
    place = int(bad.argmax())
    return f"{values[place]} in row {log.index.to_numpy()[place]}"


class EngagementScorer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
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
