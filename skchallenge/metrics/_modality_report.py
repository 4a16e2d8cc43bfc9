"""Which modality of a stack tells: each alone, and all but each."""

import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, check_consistent_length, check_random_state
from sklearn.utils.validation import column_or_1d

from skchallenge._table import as_frame, check_option
from skchallenge.exceptions import LeakageWarning
from skchallenge.metrics._bootstrap import resampled_means
from skchallenge.metrics._participation_report import (
    _check_binary,
    _check_bootstrap,
    _check_groups,
    random_average_precision,
)
from skchallenge.metrics._virality_report import warn_of_users

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

_ALL = "all"
_METRICS = {"roc_auc": roc_auc_score, "average_precision": average_precision_score}


def modality_report(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    cv: Any,
    *,
    modalities: Mapping[str, str | Sequence[str]] | None = None,
    groups: ArrayLike | None = None,
    metric: str = "roc_auc",
    confidence_level: float = 0.95,
    n_resamples: int = 200,
    random_state: int | np.random.RandomState | None = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Cross-validate a stack, with each modality alone and with all but each.

    In each fold a clone of `estimator` is fitted, once. Its base models' predictions,
    of training rows by models that were not fitted on them, are kept, and its final
    estimator is fitted again to the columns of some of them: that is exactly the stack
    of these base models, in the time of a small logistic regression.

    Parameters
    ----------
    estimator : StackingClassifier
        Such as that of `make_virality_stack`, or any whose base models read a modality
        each. Whether it is fitted does not matter.
    X : table, array or sparse matrix of shape (n_samples, n_features)
        What the stack reads.
    y : array-like of shape (n_samples,)
        Labels, 0 or 1.
    cv : int, splitter or iterable of (train, test)
        The folds.
    modalities : dict of str to str or sequence of str, or None, default=None
        Names of base models by modality, such as
        ``{"metadata": ["linear", "trees"]}``. What is named in none is a modality of
        its own. Two models that read the same columns belong together: dropped alone,
        each is replaced by the other.
    groups : array-like of shape (n_samples,) or None, default=None
        Whose video each is. Given to `cv`, and drawn as a whole for the intervals, as
        in `virality_report`. None says that each video is somebody else's.
    metric : {"roc_auc", "average_precision"}, default="roc_auc"
        What is scored in the test rows of each fold.
    confidence_level : float, default=0.95
        Coverage of the percentile bootstrap intervals, in (0, 1).
    n_resamples : int, default=200
        Bootstrap samples of the folds' test rows, as in `virality_report`.
    random_state : int, RandomState instance or None, default=None
        Seed of the bootstrap.
    verbose : int, default=0
        Whether to print one line per fold.

    Returns
    -------
    report : pandas.DataFrame
        One row a modality, in the order of the stack, then the row ``"all"``; columns

        - `only`, the mean over the folds of the score of the modality alone. A single
          base model predicts by itself; several are joined by the final estimator;
        - `added`, what the score of all loses without the modality. Modalities that
          tell the same add nothing, although each has a high `only`;
        - `only_low`, `only_high`, `added_low` and `added_high`, their intervals. That
          of a difference is paired: all models are scored on the same samples. The
          models are held fixed, so the intervals are about the test rows alone;
        - `chance`, what random orders score. The row ``"all"`` has in `added` what the
          stack adds to one probability for all rows.

    Raises
    ------
    TypeError
        If `estimator` is no StackingClassifier.
    ValueError
        If `modalities` names what is no base model, or names it twice, a fold holds one
        class only, the stack lets columns pass by its base models, or they are fitted
        beforehand.

    Warns
    -----
    LeakageWarning
        If there are no `groups`, but X names users of several videos, or if `cv` puts
        the same rows or groups on both sides.

    See Also
    --------
    make_virality_stack : One base model a modality.
    virality_report : Scores any model, beside a baseline.
    FrameDisplay : Which frames of a file spoke.
    sklearn.inspection.permutation_importance : The same for columns.

    Notes
    -----
    Both columns are needed. Where the truth is in the pictures and the sound is noise,
    `only` and `added` of the pictures are high. Where both tell the same, `only` is
    high for both and `added` is near 0 for both. Where only both together tell, as with
    a sound that matters in the dark, no stack of a model a modality finds it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.ensemble import StackingClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from skchallenge.metrics import modality_report
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> y = (X[:, 1] + 0.5 * rng.normal(size=300) > 0).astype(int)
    >>> def reads(column):
    ...     only = make_column_transformer(("passthrough", [column]))
    ...     return make_pipeline(only, LogisticRegression())
    >>> stack = StackingClassifier([("sound", reads(0)), ("pictures", reads(1))])
    >>> report = modality_report(stack, X, y, cv=3, random_state=0)
    >>> report["added"].drop("all").idxmax()
    'pictures'
    >>> bool(report.loc["pictures", "added_low"] > 0.3)
    True
    """
    members = _check_stack(estimator, modalities)
    check_option("metric", metric, _METRICS)
    _check_bootstrap(confidence_level, n_resamples)
    truth, _ = _check_binary(y, np.zeros(len(column_or_1d(y))))
    check_consistent_length(X, truth)
    rows = np.arange(len(truth))
    if groups is not None:
        rows = _check_groups(column_or_1d(groups), truth)
    elif hasattr(X, "columns"):
        warn_of_users(as_frame(X, "X"), "X")
    splits = list(check_cv(cv, truth, classifier=True).split(X, truth, groups))

    # (modality, is it alone?) -> numbers of base models
    every = [c for columns in members.values() for c in columns]
    chosen: dict[tuple[str, bool], list[int]] = {}
    chosen[_ALL, True], chosen[_ALL, False] = sorted(every), []
    for modality, columns in members.items():
        chosen[modality, True] = columns
        chosen[modality, False] = [c for c in sorted(every) if c not in columns]
    folds: dict[tuple[str, bool], list[Any]] = {key: [] for key in chosen}
    for number, (train, test) in enumerate(splits, start=1):
        _check_classes(truth, train, test)
        if np.intersect1d(rows[train], rows[test]).size:
            shared = "rows" if groups is None else "groups"
            warnings.warn(
                f"cv puts the same {shared} among the training and the test rows of "
                f"fold {number}: scores are of what was seen. Pass a splitter that "
                "keeps them apart, such as GroupKFold.",
                LeakageWarning,
                stacklevel=2,
            )
        began = time.perf_counter()
        final = KeptFinal(estimator.final_estimator)
        stack = clone(estimator).set_params(final_estimator=final)
        stack.fit(_safe_indexing(X, train), truth[train])
        predicted = np.asarray(stack.transform(_safe_indexing(X, test)))  # (n, models)
        for key, columns in chosen.items():
            if key[1] and key[0] != _ALL and len(columns) == 1:
                score = predicted[:, columns[0]]
            else:
                score = stack.final_estimator_.score_by(columns, predicted)
            folds[key].append((truth[test], score, rows[test]))
        if verbose:
            seconds = time.perf_counter() - began
            sys.stdout.write(
                f"[modality_report] fold {number} of {len(splits)}, {len(train)} rows: "
                f"{metric} {_METRICS[metric](*folds[_ALL, True][-1][:2]):.3f}, "
                f"{seconds:.1f} s\n"
            )
    # One seed for all: what is drawn depends on the rows and the groups alone.
    seed = check_random_state(random_state).randint(2**31)
    score = _METRICS[metric]
    scores = {k: np.mean([score(t, s) for t, s, _ in f]) for k, f in folds.items()}
    drawn = {k: resampled_means(f, n_resamples, seed)[metric] for k, f in folds.items()}
    tail = (1 - confidence_level) / 2
    table = {}
    for name in (*members, _ALL):
        lost = drawn[_ALL, True] - drawn[name, False]
        table[name] = {
            "only": scores[name, True],
            "only_low": drawn[name, True].quantile(tail),
            "only_high": drawn[name, True].quantile(1 - tail),
            "added": scores[_ALL, True] - scores[name, False],
            "added_low": lost.quantile(tail),
            "added_high": lost.quantile(1 - tail),
        }
    report = pd.DataFrame.from_dict(table, orient="index")
    chances = [_chance(metric, truth[test]) for _, test in splits]
    return report.assign(chance=np.mean(chances))


class KeptFinal(ClassifierMixin, BaseEstimator):
    """A final estimator that keeps what it was fitted to, to be fitted to less of it.

    Parameters
    ----------
    estimator : classifier or None
        The stack's own; None is a logistic regression, as in StackingClassifier.
    """

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: Any) -> Self:
        """Keep the base models' predictions."""
        self.classes_ = np.unique(y)
        self._X, self._y = np.asarray(X), y
        return self

    def score_by(self, columns: list[int], predicted: Floats) -> Floats:
        """Fit to some of the columns, and score rows by them."""
        if not columns:
            return np.full(len(predicted), self._y.mean())
        estimator = LogisticRegression() if self.estimator is None else self.estimator
        model = clone(estimator).fit(self._X[:, columns], self._y)
        if hasattr(model, "predict_proba"):
            return model.predict_proba(predicted[:, columns])[:, 1]
        return model.decision_function(predicted[:, columns])


def _check_stack(
    stack: Any, modalities: Mapping[str, str | Sequence[str]] | None
) -> dict[str, list[int]]:
    """Return the numbers of the base models of each modality."""
    wanted = ("estimators", "final_estimator", "stack_method")
    if isinstance(stack, type) or not all(hasattr(stack, name) for name in wanted):
        kind = stack.__name__ if isinstance(stack, type) else type(stack).__name__
        raise TypeError(
            f"estimator must be a StackingClassifier, got {kind}. Pass that of "
            "make_virality_stack, or one of yours with a base model a modality."
        )
    if stack.passthrough or stack.cv == "prefit":
        given = "passthrough=True" if stack.passthrough else "cv='prefit'"
        raise ValueError(
            f"The stack must not have {given}: then it is not known what a modality "
            "tells, or of which rows. Pass one whose base models are fitted in its own "
            "inner folds and are all that the final estimator reads."
        )
    names = [name for name, _ in stack.estimators]
    kept = [name for name, model in stack.estimators if not isinstance(model, str)]
    stated = {
        modality: [models] if isinstance(models, str) else list(models)
        for modality, models in (modalities or {}).items()
    }
    named = [name for models in stated.values() for name in models]
    unknown = [name for name in named if name not in names]
    if unknown or len(set(named)) < len(named) or _ALL in stated:
        raise ValueError(
            f"modalities must name base models of the stack, {names}, each once, under "
            f"another name than {_ALL!r}, got {stated}."
        )
    home = {name: modality for modality, models in stated.items() for name in models}
    members: dict[str, list[int]] = {}
    for number, name in enumerate(kept):
        members.setdefault(home.get(name, name), []).append(number)
    return members


def _check_classes(truth: Labels, train: NDArray[Any], test: NDArray[Any]) -> None:
    for rows, side in ((train, "training"), (test, "test")):
        if len(np.unique(truth[rows])) < 2:
            raise ValueError(
                f"Each fold must hold both classes, but the {side} rows of one have "
                f"labels {np.unique(truth[rows]).tolist()} only. Use fewer folds, or "
                "stratify them."
            )


def _chance(metric: str, truth: Labels) -> float:
    return 0.5 if metric == "roc_auc" else random_average_precision(truth)
