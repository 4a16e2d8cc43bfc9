"""Scores of a virality model under its own labels, beside floors and a baseline."""

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
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

from skchallenge._guard import (
    check_nowcast,
    check_roles,
    check_table,
    name_once,
    warn_if_leaking,
)
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

_NOT_TESTED = (
    "Renamed likes without followers in X, and renamed comments and shares, score like "
    "honest columns: look at the unrecognised ones yourself."
)
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
    nowcast: str | Sequence[str] = (),
    confidence_level: float = 0.95,
    n_resamples: int = 200,
    random_state: int | np.random.RandomState | None = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Cross-validate a virality model, its labels learnt anew in each fold.

    A cut-off such as the median of views per follower is part of what is learnt. So in
    each fold a clone of `labeler` is fitted on the videos of the training rows and
    labels both sides; then a clone of `estimator` is fitted and scored.

    The columns of X are guarded, whatever the estimator is; see Notes.

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
    nowcast : str or sequence of str, default=()
        Columns of X that are let through although they are not known when a video is
        posted, to describe videos that are online. What a `nowcast` parameter within
        `estimator` lists is let through too.
    confidence_level : float, default=0.95
        Coverage of the percentile bootstrap intervals, in (0, 1).
    n_resamples : int, default=200
        Bootstrap samples of the folds' test rows. A group, or row, that is in several
        folds is drawn once for all of them, so repeated folds narrow no interval.
    random_state : int, RandomState instance or None, default=None
        Seed of the bootstrap.
    verbose : int, default=0
        Whether to print one line per fold.

    Returns
    -------
    report : pandas.DataFrame
        Its ``attrs`` tell what is known of X: ``"column_roles"``, the role of each
        named column; ``"unrecognised"``, those whose name says nothing, of which only
        you know whether they leak; ``"not_tested"``, what no test sees; and
        `confidence_level`.

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
    LeakageError
        If X has a column that is only known after posting, such as views or likes; or
        if the last step of `estimator` reads a time of posting or an id as a number.
    TypeError
        If `estimator` is no classifier with `predict_proba`, or `labeler` no labeler.
    ValueError
        If a video has no label, a fold holds one class only, a group is missing, or X
        has no column that `nowcast` lists.

    Warns
    -----
    LeakageWarning
        If columns of X give the label away by what they hold, each named once; or if
        there are no `groups`, but `videos` names users of several videos.

    See Also
    --------
    skchallenge.tabular.LeakageGuard : The guard alone, for the head of a pipeline.
    skchallenge.tabular.ViralityLabeler : Makes the labels.
    participation_report : Scores probabilities that are there already.

    Notes
    -----
    Columns of X are known by their names, see `skchallenge.tabular.column_roles`. Each
    that holds numbers is also compared with the views, and with the score that the
    labeler cuts, by rank: the covariance of the ranks over the largest that such ranks
    can have is 1 for any function of the views that never falls. From .99 on a column
    is named. Rank cannot tell more: on real videos likes have .85 to .98, and what is
    known of a creator's earlier videos .90. Beside followers in X, columns of unknown
    names are tried as `skchallenge.tabular.LeakageGuard` does, which finds likes too.
    Sparse matrices are not looked at.

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
    >>> report.attrs["unrecognised"]
    ['tempo']
    """
    frame = as_frame(videos, "videos")
    _check_estimators(estimator, labeler)
    check_consistent_length(X, frame)
    _check_bootstrap(confidence_level, n_resamples)
    rows = np.arange(len(frame))
    if groups is None:
        warn_of_users(frame, "videos")
    else:
        rows = _check_groups(column_or_1d(groups), frame)
    guard = _Guard(X, estimator, nowcast)
    whole = clone(labeler).fit(frame)
    rough = whole.transform(frame)
    splits = list(check_cv(cv, rough, classifier=True).split(X, rough, groups))
    tables, folds = [], []
    with name_once():
        guard.warn(rough, _label_parts(whole, frame))
        for number, (train, test) in enumerate(splits, start=1):
            y_train, y_test = _label(labeler, frame.iloc[train], frame.iloc[test])
            began = time.perf_counter()
            model = clone(estimator).fit(_safe_indexing(X, train), y_train)
            guard.check_features(model)
            proba = model.predict_proba(_safe_indexing(X, test))[:, 1]
            y, p = _check_binary(y_test, proba)
            baseline = _by_followers(frame.iloc[train], y_train, frame.iloc[test])
            tables.append(_table(y, p, baseline, y_train))
            folds.append((y, p, rows[test]))
            if verbose:
                seconds = time.perf_counter() - began
                sys.stdout.write(
                    f"[virality_report] fold {number} of {len(splits)}, "
                    f"{type(estimator).__name__} on {len(train)} rows: roc_auc "
                    f"{roc_auc_score(y, p):.3f}, {seconds:.1f} s\n"
                )
    drawn = resampled_means(folds, n_resamples, random_state)
    # With both classes in each sample, the one is the other:
    drawn = drawn.rename(columns={"macro_recall": "balanced_accuracy"})
    report = _summary(tables, drawn[list(_METRICS)], confidence_level)
    report.attrs.update(guard.findings(), confidence_level=confidence_level)
    return report


def _check_estimators(estimator: Any, labeler: Any) -> None:
    """Raise unless both can be cloned and do what they are asked to do."""
    for name, given, methods, example in (
        ("estimator", estimator, ("fit", "predict_proba"), "a classifier"),
        ("labeler", labeler, ("fit", "transform"), "ViralityLabeler()"),
    ):
        lacking = [m for m in (*methods, "get_params") if not hasattr(given, m)]
        if not lacking and not isinstance(given, type):
            continue
        kind = given.__name__ if isinstance(given, type) else type(given).__name__
        what = f"the class {kind}" if isinstance(given, type) else kind
        remedy = f"Pass {example}"
        if isinstance(given, type):
            remedy = f"Pass an object, such as {kind}()"
        elif name == "estimator" and lacking == ["predict_proba"]:
            remedy = "Wrap it in sklearn.calibration.CalibratedClassifierCV"
        raise TypeError(
            f"{name} must be an estimator with {' and '.join(methods)}, got {what}. "
            f"{remedy}."
        )


def _label_parts(labeler: Any, videos: pd.DataFrame) -> dict[str, Floats]:
    """Return the views, and what the labeler compares with its cut-off."""
    parts = {}
    views = find_columns(videos).get("n_plays")
    if views is not None:
        parts[f"videos[{views!r}]"] = read_counts(videos[views], str(views))
    if hasattr(labeler, "score_values"):
        parts["the score that the label cuts"] = labeler.score_values(videos)
    return parts


class _Guard:
    """What is known of the columns of X before, while and after models are fitted."""

    def __init__(self, X: Any, estimator: Any, nowcast: str | Sequence[str]) -> None:
        is_table = hasattr(X, "columns")
        self.frame = as_frame(X, "X") if is_table else None
        names = [] if self.frame is None else list(self.frame.columns)
        inner = [
            name
            for parameter, value in estimator.get_params().items()
            if parameter.rpartition("__")[2] == "nowcast"
            for name in ([value] if isinstance(value, str) else value)
        ]
        self.nowcast = [*check_nowcast(nowcast, names), *inner]
        self.roles: dict[str, Any] = {}
        if self.frame is not None:
            # Times and ids are refused where a model reads them as numbers. A step may
            # make something else of them before: see `check_features`.
            times = _reads_as_is(estimator)
            self.roles = check_table(self.frame, self.nowcast, times=times)
        elif np.ndim(X) == 2 and not sparse.issparse(X):
            self.frame = pd.DataFrame(np.asarray(X))

    def warn(self, y: Labels, parts: Mapping[str, Floats]) -> None:
        """Warn of columns that give the label away by what they hold."""
        if self.frame is not None:
            roles = self.roles or dict.fromkeys(self.frame.columns, "unknown")
            warn_if_leaking(self.frame, y, roles, 4, parts=parts, nowcast=self.nowcast)

    def check_features(self, model: Any) -> None:
        """Refuse features of a fitted pipeline's last step that come too soon."""
        model = getattr(model, "best_estimator_", model)
        if not hasattr(model, "steps") or not _reads_as_is(model[-1]):
            return
        before = model[:-1]
        try:
            names = list(before.get_feature_names_out() if len(before) else self.roles)
        except (AttributeError, ValueError):  # a step that names nothing
            return
        check_roles(names, self.nowcast)

    def findings(self) -> dict[str, Any]:
        """Return what the report says of X."""
        unknown = [c for c, role in self.roles.items() if role == "unknown"]
        return {
            "column_roles": dict(self.roles),
            "unrecognised": unknown,
            "not_tested": _NOT_TESTED,
        }


def _reads_as_is(estimator: Any) -> bool:
    """Tell whether an estimator reads X itself: it holds no other, and no guard."""
    parameters = estimator.get_params()
    holds = any(
        hasattr(value, "get_params") and not isinstance(value, type)
        for value in parameters.values()
    )
    return not holds and "nowcast" not in parameters


def warn_of_users(videos: pd.DataFrame, name: str) -> None:
    """Warn of rows that resemble each other, if nobody has said so."""
    column = find_columns(videos).get("user_id")
    if column is None or not videos[column].dropna().duplicated().any():
        return
    warnings.warn(
        f"groups=None, but {name}[{column!r}] names users with several videos. On both "
        "sides of a split they flatter a model that recognises its users, and the "
        f"intervals are too narrow. Pass groups={name}[{column!r}] and a splitter that "
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
