"""Scores of a virality model under its own labels, beside floors and a baseline."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    roc_auc_score,
)
from sklearn.model_selection import check_cv
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import (
    _safe_indexing,
    check_consistent_length,
)
from sklearn.utils.validation import column_or_1d

from skchallenge._parse import read_counts
from skchallenge._schema import find_columns
from skchallenge._table import as_frame
from skchallenge.exceptions import LeakageWarning
from skchallenge.metrics._bootstrap import resampled_means
from skchallenge.metrics._participation_report import (
    _check_binary,
    _check_bootstrap,
    _check_groups,
    random_average_precision,
)

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

_METRICS: dict[str, Callable[[Labels, Floats], float]] = {
    "accuracy": lambda y, p: accuracy_score(y, p >= 0.5),
    "balanced_accuracy": lambda y, p: balanced_accuracy_score(y, p >= 0.5),
    "roc_auc": roc_auc_score,
    "average_precision": average_precision_score,
    "brier": brier_score_loss,
}


def virality_report(
    estimator: Any,
    X: Any,
    videos: Any,
    labeler: Any,
    cv: Any,
    *,
    groups: ArrayLike | None = None,
    confidence_level: float = 0.95,
    n_resamples: int = 200,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Cross-validate a virality model, its labels learnt anew in each fold.

    A cut-off such as the median of views per follower is part of what is learnt. So in
    each fold a clone of `labeler` is fitted on the videos of the training rows and
    labels both sides; then a clone of `estimator` is fitted and scored.

    Parameters
    ----------
    estimator : classifier
        With `predict_proba`; its input is X.
    X : table, array or sparse matrix of shape (n_samples, n_features)
        Features.
    videos : pandas or polars DataFrame of shape (n_samples, n_columns)
        The rows' videos, with what the labels are made of.
    labeler : ViralityLabeler
        Or any estimator with ``fit(videos)`` and ``transform(videos)`` that gives 0
        and 1.
    cv : int, splitter or iterable of (train, test)
        The folds. Splitters that need y get the labels of a labeler that saw all rows;
        these are used for nothing else.
    groups : array-like of shape (n_samples,) or None, default=None
        Whose video each is. Given to `cv`, and drawn as a whole for the intervals. A
        splitter that takes no groups warns of them; ``list(cv.split(X))`` does not.
        None says that each video is somebody else's: rows are drawn.
    confidence_level : float, default=0.95
        Coverage of the percentile bootstrap intervals, in (0, 1).
    n_resamples : int, default=200
        Bootstrap samples of the folds' test rows. A group, or row, that is in several
        folds is drawn once for all of them, so repeated folds narrow no interval.
    random_state : int, RandomState instance or None, default=None
        Seed of the bootstrap.

    Returns
    -------
    report : pandas.DataFrame
        Rows `accuracy`, `balanced_accuracy`, `roc_auc`, `average_precision` and
        `brier`; columns

        - `score`, the mean over the folds, and `low` and `high`, its interval. The
          models are held fixed, so the interval is about the test rows alone;
        - `chance`, the best that guessing reaches without features, but with the
          classes' shares in the training rows for the accuracy, and in the test rows
          for the others; for the average precision that of a random order;
        - `followers`, the score of a logistic regression on log(1 + followers) alone.
          Followers are half of the ratio label: what does not beat them has learnt
          nothing of the video. The column may have its name in any known export; NaN
          where there is none.

    Raises
    ------
    ValueError
        If a video has no label, a fold holds one class only, or a group is missing.

    Warns
    -----
    LeakageWarning
        If there are no `groups`, but `videos` names users of several videos.

    See Also
    --------
    skchallenge.tabular.ViralityLabeler : Makes the labels.
    participation_report : Scores probabilities that are there already.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skchallenge.metrics import virality_report
    >>> from skchallenge.tabular import ViralityLabeler
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"tempo": rng.normal(size=200)})
    >>> plays = np.exp(5 + X["tempo"] + 0.5 * rng.normal(size=200)).round()
    >>> videos = pd.DataFrame({"n_plays": plays, "n_followers": 100})
    >>> report = virality_report(
    ...     LogisticRegression(), X, videos, ViralityLabeler(), 3, random_state=0
    ... )
    >>> bool(report.loc["roc_auc", "score"] > 0.9)
    True
    >>> report.loc["roc_auc", ["chance", "followers"]].tolist()
    [0.5, 0.5]
    """
    frame = as_frame(videos, "videos")
    check_consistent_length(X, frame)
    _check_bootstrap(confidence_level, n_resamples)
    rows = np.arange(len(frame))
    if groups is None:
        _warn_of_users(frame)
    else:
        rows = _check_groups(column_or_1d(groups), frame)
    rough = clone(labeler).fit(frame).transform(frame)
    tables, folds = [], []
    for train, test in check_cv(cv, rough, classifier=True).split(X, rough, groups):
        y_train, y_test = _label(labeler, frame.iloc[train], frame.iloc[test])
        model = clone(estimator).fit(_safe_indexing(X, train), y_train)
        proba = model.predict_proba(_safe_indexing(X, test))[:, 1]
        y, p = _check_binary(y_test, proba)
        baseline = _by_followers(frame.iloc[train], y_train, frame.iloc[test])
        tables.append(_table(y, p, baseline, y_train))
        folds.append((y, p, rows[test]))
    drawn = resampled_means(folds, n_resamples, random_state)
    # With both classes in each sample, the one is the other:
    drawn = drawn.rename(columns={"macro_recall": "balanced_accuracy"})
    return _summary(tables, drawn[list(_METRICS)], confidence_level)


def _warn_of_users(videos: pd.DataFrame) -> None:
    """Warn of rows that resemble each other, if nobody has said so."""
    column = find_columns(videos).get("user_id")
    if column is None or not videos[column].dropna().duplicated().any():
        return
    warnings.warn(
        f"groups=None, but videos[{column!r}] names users with several videos. On both "
        "sides of a split they flatter a model that recognises its users, and the "
        f"intervals are too narrow. Pass groups=videos[{column!r}] and a splitter that "
        "heeds them, such as GroupKFold.",
        LeakageWarning,
        stacklevel=3,
    )


def _label(
    labeler: Any, train: pd.DataFrame, test: pd.DataFrame
) -> tuple[Labels, Labels]:
    """Label both sides by a cut-off learnt on one."""
    fitted = clone(labeler)
    fitted._has_warned = True  # of all rows, before the first fold
    fitted.fit(train)
    labels = fitted.transform(train), fitted.transform(test)
    for y, side in zip(labels, ("training", "test"), strict=True):
        if set(np.unique(y)) != {0, 1}:
            raise ValueError(
                f"Each fold must hold both classes, but the {side} rows of one have "
                f"labels {np.unique(y).tolist()} only. Use fewer folds, stratify them, "
                "or move the labeler's quantile."
            )
    return labels


def _by_followers(train: pd.DataFrame, y: Labels, test: pd.DataFrame) -> Floats | None:
    """Predict by followers alone, if they are known."""
    column = find_columns(train).get("n_followers")
    if column is None:
        return None
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    model.fit(_followers(train, column), y)
    return model.predict_proba(_followers(test, column))[:, 1]


def _followers(videos: pd.DataFrame, column: str) -> Floats:
    return np.log1p(read_counts(videos[column], column))[:, None]


def _table(y: Labels, p: Floats, baseline: Floats | None, y_train: Labels) -> Floats:
    """Return score, chance and baseline of each metric, one row a metric."""
    rate = y.mean()
    chance = {
        "accuracy": (y == (y_train.mean() > 0.5)).mean(),
        "balanced_accuracy": 0.5,
        "roc_auc": 0.5,
        "average_precision": random_average_precision(y),
        "brier": rate * (1 - rate),
    }
    nothing = dict.fromkeys(chance, np.nan)
    columns = (
        _scores(y, p),
        chance,
        nothing if baseline is None else _scores(y, baseline),
    )
    return np.array([[column[name] for column in columns] for name in _METRICS])


def _scores(y: Labels, p: Floats) -> dict[str, float]:
    return {name: metric(y, p) for name, metric in _METRICS.items()}


def _summary(
    tables: list[Floats], drawn: pd.DataFrame, confidence_level: float
) -> pd.DataFrame:
    """Average over the folds, beside the interval of drawn averages."""
    columns = ["score", "chance", "followers"]
    report = pd.DataFrame(np.mean(tables, axis=0), list(_METRICS), columns)
    tail = (1 - confidence_level) / 2
    report["low"], report["high"] = drawn.quantile(tail), drawn.quantile(1 - tail)
    return report[["score", "low", "high", "chance", "followers"]]
