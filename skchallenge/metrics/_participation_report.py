"""Scores of a participation model beside their intervals and chance floors."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)
from sklearn.utils import assert_all_finite, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from skchallenge._table import check_count, check_real
from skchallenge.metrics._bootstrap import resampled_scores


def chance_floors(y_true: ArrayLike) -> pd.DataFrame:
    """Compute what guessing scores, without looking at any feature.

    Macro-averaged scores of an unbalanced task mean little without them: a model that
    always says no has a macro recall of 0.5.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels, two or more classes.

    Returns
    -------
    floors : pandas.DataFrame
        One row a way of guessing: ``"majority"`` (always the largest class),
        ``"uniform"`` (each class equally likely) and ``"stratified"`` (each as likely
        as it is frequent). Columns `accuracy`, `macro_precision`, `macro_recall` and
        `macro_f1`, worked out from expected counts; a class that is never predicted
        has precision 0.

    Raises
    ------
    ValueError
        If a label is missing, labels are no classes, or there is none.

    See Also
    --------
    participation_report : Puts scores beside their floors.
    sklearn.dummy.DummyClassifier : Guesses at random instead.

    Examples
    --------
    >>> from skchallenge.metrics import chance_floors
    >>> chance_floors([0, 0, 0, 1]).round(3)
                accuracy  macro_precision  macro_recall  macro_f1
    majority       0.750            0.375           0.5     0.429
    uniform        0.500            0.500           0.5     0.467
    stratified     0.625            0.500           0.5     0.500
    """
    labels = column_or_1d(y_true)
    if not len(labels):
        raise ValueError("y_true must hold at least one label, got none.")
    _check_no_missing(labels, "y_true")
    assert_all_finite(labels, input_name="y_true")
    check_classification_targets(labels)
    _, counts = np.unique(labels, return_counts=True)
    fraction = counts / counts.sum()
    ways = {
        "majority": np.eye(len(fraction))[fraction.argmax()],
        "uniform": np.full(len(fraction), 1 / len(fraction)),
        "stratified": fraction,
    }
    rows = {name: _expected_scores(fraction, guess) for name, guess in ways.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def _check_no_missing(values: NDArray[Any], name: str) -> None:
    missing = pd.isna(values)
    if missing.any():
        raise ValueError(
            f"{name} contains NaN or None: {missing.sum()} of its values are missing, "
            f"the first in row {missing.argmax()}. Drop those rows."
        )


def _expected_scores(
    fraction: NDArray[np.float64], guess: NDArray[np.float64]
) -> dict[str, float]:
    """Score guesses that are independent of the labels."""
    hit = fraction * guess  # expected fraction of rows that are right, by class
    precision = np.where(guess > 0, fraction, 0.0)
    return {
        "accuracy": float(hit.sum()),
        "macro_precision": float(precision.mean()),
        "macro_recall": float(guess.mean()),
        "macro_f1": float((2 * hit / (fraction + guess)).mean()),
    }


def participation_report(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    threshold: float = 0.5,
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Score predicted probabilities, with intervals and chance floors.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels, 0 or 1, both present.
    y_score : array-like of shape (n_samples,)
        Predicted probabilities of 1, in [0, 1].
    groups : array-like of shape (n_samples,) or (n_samples, n_factors), default=None
        Whom each row belongs to, such as the user. Groups are drawn as a whole,
        because rows of one user resemble each other. None draws rows. Drawn by user,
        an interval is about other users in the same challenges. With two columns, such
        as ``pairs[["user_id", "challenge"]]``, users and challenges are drawn apart,
        and a row counts as often as the product of the two says [1]_: the interval is
        about other users in other challenges. More columns are drawn alike [2]_. Few
        groups in a column make the interval too narrow. Noise of single rows counts
        about three times in two columns: where groups differ little, the interval is
        too wide. No group may be missing.
    threshold : float, default=0.5
        Probabilities of at least this much count as a predicted 1.
    confidence_level : float, default=0.95
        Coverage of the percentile bootstrap intervals, in (0, 1).
    n_resamples : int, default=1000
        Bootstrap samples; those that hold one class only are drawn again.
    random_state : int, RandomState instance or None, default=None
        Seed of the bootstrap.

    Returns
    -------
    report : pandas.DataFrame
        Rows `macro_precision`, `macro_recall`, `macro_f1` (the mean of the classes'
        F1), `roc_auc`, `average_precision` and `brier`; columns `score`, `low`,
        `high` and `chance`. Chance is the best that guessing reaches without
        features: the best floor of `chance_floors`, 0.5 for the AUC, what random
        orders have on average for the average precision (a little more than the share
        of ones), the variance of the ones for the Brier score. Its ``attrs`` hold
        `confidence_level`.

    Raises
    ------
    ValueError
        If a value is out of range, `y_true` does not hold both classes, a group is
        missing, or `groups` has so many columns that draws keep no row of a class.
    TypeError
        If `groups` holds lists.

    See Also
    --------
    chance_floors : What guessing scores.

    References
    ----------
    .. [1] A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2),
       2007. https://doi.org/10.1214/07-AOAS122
    .. [2] A. B. Owen and D. Eckles, "Bootstrapping data arrays of arbitrary order",
       Annals of Applied Statistics 6(3), 2012. https://doi.org/10.1214/12-AOAS547

    Examples
    --------
    >>> from skchallenge.metrics import participation_report
    >>> y_true, y_score = [0, 0, 1, 0, 1, 1], [0.1, 0.4, 0.7, 0.6, 0.8, 0.9]
    >>> report = participation_report(y_true, y_score, n_resamples=100, random_state=0)
    >>> report[["score", "chance"]]
                          score  chance
    macro_precision    0.875000   0.500
    macro_recall       0.833333   0.500
    macro_f1           0.828571   0.500
    roc_auc            1.000000   0.500
    average_precision  1.000000   0.645
    brier              0.111667   0.250
    """
    truth, score = _check_binary(y_true, y_score)
    check_real("threshold", threshold, max_val=1)
    _check_bootstrap(confidence_level, n_resamples)
    rows = np.arange(len(truth)) if groups is None else _check_groups(groups, truth)
    drawn = resampled_scores(
        truth, score, rows, n_resamples, random_state, threshold=threshold
    )
    tail = (1 - confidence_level) / 2
    report = pd.DataFrame({"score": pd.Series(_scores(truth, score, threshold))})
    report["low"] = drawn.quantile(tail)
    report["high"] = drawn.quantile(1 - tail)
    report["chance"] = pd.Series(_chance(truth))
    report.attrs["confidence_level"] = confidence_level
    return report


def _check_groups(groups: ArrayLike, rows: Any) -> NDArray[Any]:
    """Return groups as an array of one column or more, none missing."""
    table = np.asarray(groups, dtype=object)  # a mixed list would turn into strings
    if table.ndim not in (1, 2) or table.shape[1:] == (0,):
        raise ValueError(
            "groups must be one-dimensional, or a table of one column or more, got "
            f"shape {table.shape}. Pass one group a row, such as pairs['user_id']."
        )
    check_consistent_length(rows, table)
    missing = pd.isna(table).reshape(len(table), -1)
    if missing.any():
        raise ValueError(
            f"groups has {missing.sum()} missing values, the first in row "
            f"{missing.any(axis=1).argmax()}. Drop those rows, or name their group."
        )
    return table


def _check_bootstrap(confidence_level: float, n_resamples: int) -> None:
    check_count("n_resamples", n_resamples)
    check_real("confidence_level", confidence_level, "neither", max_val=1)


def _check_binary(
    y_true: ArrayLike, y_score: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    truth = column_or_1d(y_true)
    if np.ndim(y_score) == 2 and np.shape(y_score)[1] > 1:
        raise ValueError(
            f"y_score must hold one probability a row, got shape {np.shape(y_score)}. "
            "Pass predict_proba(X)[:, 1]."
        )
    check_consistent_length(truth, y_score)
    _check_no_missing(truth, "y_true")
    _check_no_missing(column_or_1d(y_score), "y_score")
    score = column_or_1d(y_score, dtype=np.float64)
    if set(np.unique(truth)) != {0, 1}:
        raise ValueError(
            f"y_true must hold 0 and 1, both, got {np.unique(truth).tolist()}."
        )
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError(
            "y_score must hold probabilities in [0, 1], got values from "
            f"{score.min()} to {score.max()}. Pass predict_proba(X)[:, 1]."
        )
    return truth.astype(np.int64), score


def _scores(
    truth: NDArray[np.int64], score: NDArray[np.float64], threshold: float
) -> dict[str, float]:
    precision, recall, f1, _ = precision_recall_fscore_support(
        truth, score >= threshold, average="macro", zero_division=0.0
    )
    return {
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
        "roc_auc": roc_auc_score(truth, score),
        "average_precision": average_precision_score(truth, score),
        "brier": brier_score_loss(truth, score),
    }


def _chance(truth: NDArray[np.int64]) -> dict[str, float]:
    rate = truth.mean()
    floors = chance_floors(truth).max()
    return {
        "macro_precision": floors["macro_precision"],
        "macro_recall": floors["macro_recall"],
        "macro_f1": floors["macro_f1"],
        "roc_auc": 0.5,
        "average_precision": random_average_precision(truth),
        "brier": rate * (1 - rate),
    }


def random_average_precision(truth: NDArray[np.int64]) -> float:
    """Return the mean average precision of all orders of the rows.

    It is above the share of ones, by a third for 20 ones in 1,000 rows: among the rows
    before a one at rank k, the other ones are as frequent as anywhere, and it counts
    itself.
    """
    n, n_ones = len(truth), int(truth.sum())
    rank = np.arange(1, n + 1)
    return float(((1 + (rank - 1) * (n_ones - 1) / (n - 1)) / rank).mean())
