"""Scores of a thousand resamples in the time that scikit-learn checks thirty."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_random_state

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]
_MAX_TRIES = 1000


def resampled_scores(
    truth: Labels,
    score: Floats,
    groups: NDArray[Any],
    n_resamples: int,
    random_state: Any,
    *,
    threshold: float = 0.5,
) -> pd.DataFrame:
    """Score bootstrap samples of whole groups, one row a sample.

    Each column of `groups`, if there are several, is drawn apart. The scores are those
    that scikit-learn's functions give for the drawn rows. These check and sort the rows
    at each call; here that is done once, and a sample is how often each row was drawn.
    """
    order = np.argsort(-score, kind="stable")
    truth, score, groups = truth[order], score[order], groups[order]
    scorer = _SortedRows(truth, score, threshold)
    weights = _draws(truth, groups, n_resamples, random_state)
    return pd.DataFrame([scorer.scores(weight) for weight in weights])


def resampled_means(
    folds: Sequence[tuple[Labels, Floats, NDArray[Any]]],
    n_resamples: int,
    random_state: Any,
) -> pd.DataFrame:
    """Average the scores of bootstrap samples over folds (truth, score, groups).

    Folds that share no group are drawn apart. A group that is in several of them, as
    when folds are repeated, tells the same thing each time, and is drawn for all of
    them at once.
    """
    rng = check_random_state(random_state)
    groups = [np.unique(groups) for _, _, groups in folds]
    if len(np.unique(np.concatenate(groups))) == sum(map(len, groups)):
        drawn = [resampled_scores(*fold, n_resamples, rng) for fold in folds]
    else:
        drawn = _drawn_together(folds, n_resamples, rng)
    return pd.concat(drawn).groupby(level=0).mean()  # over the folds that have a score


def _drawn_together(
    folds: Sequence[tuple[Labels, Floats, NDArray[Any]]],
    n: int,
    rng: np.random.RandomState,
) -> list[pd.DataFrame]:
    """Draw groups over all folds; a fold that is left with one class has no score."""
    known = np.unique(np.concatenate([groups for _, _, groups in folds]))
    scorers, positions = [], []
    for truth, score, groups in folds:
        order = np.argsort(-score, kind="stable")
        scorers.append(_SortedRows(truth[order], score[order], 0.5))
        positions.append(np.searchsorted(known, groups[order]))
    drawn: list[list[dict[str, float]]] = [[] for _ in folds]
    for _ in range(n):
        chosen = rng.randint(len(known), size=len(known))
        times = np.bincount(chosen, minlength=len(known)).astype(np.float64)
        for scorer, position, scores in zip(scorers, positions, drawn, strict=True):
            weight = times[position]
            has_both = 0 < weight @ scorer.truth < weight.sum()
            scores.append(scorer.scores(weight) if has_both else {})
    return [pd.DataFrame(scores) for scores in drawn]


def _draws(
    truth: Labels, groups: NDArray[Any], n: int, random_state: Any
) -> Iterator[Floats]:
    """Yield how often each row is drawn; draws of one class are drawn again.

    Two given rows are both drawn with a chance above 0.39 a factor: the least is
    (1 - 1 / e)**2, which many groups approach. So one or two factors need few tries,
    and only many of them can be hopeless.
    """
    rng = check_random_state(random_state)
    codes = _codes(groups)
    for _ in range(n):
        for _ in range(_MAX_TRIES):
            weight = _weight(codes, rng)
            if 0 < weight @ truth < weight.sum():
                break
        else:
            raise ValueError(
                f"groups must often leave both classes in a draw, but {_MAX_TRIES} "
                f"draws in a row of its {len(codes)} columns did not. Pass fewer "
                "columns."
            )
        yield weight


def _codes(groups: NDArray[Any]) -> list[NDArray[np.intp]]:
    """Return the number of each row's group, from 0, one array a column."""
    columns = groups.reshape(len(groups), -1).T
    try:
        return [pd.factorize(c, sort=True, use_na_sentinel=False)[0] for c in columns]
    except TypeError as error:
        raise TypeError(
            f"groups must hold one name or number a cell, got an {error}. Explode "
            "lists, or leave out all but one of their items."
        ) from error


def _weight(codes: list[NDArray[np.intp]], rng: np.random.RandomState) -> Floats:
    """Draw the groups of each factor apart; a row counts the product of its counts."""
    weight = np.ones(len(codes[0]))
    for code in codes:
        n_groups = code.max() + 1
        chosen = rng.randint(n_groups, size=n_groups)
        weight *= np.bincount(chosen, minlength=n_groups)[code]
    return weight


class _SortedRows:
    """Labels and their probabilities, from the highest to the lowest."""

    def __init__(self, truth: Labels, score: Floats, threshold: float) -> None:
        self.truth = truth
        self.ties = np.flatnonzero(np.diff(score, prepend=np.inf))  # first of each
        self.n_yes = int((score >= threshold).sum())
        self.loss = (score - truth) ** 2

    def scores(self, weight: Floats) -> dict[str, float]:
        """Score the rows, each as often as its weight says."""
        ones, zeros = weight * self.truth, weight * (1 - self.truth)
        return {
            **ranking(*(np.add.reduceat(w, self.ties) for w in (ones, zeros))),
            **_decisions(ones, zeros, self.n_yes),
            "brier": float(weight @ self.loss / weight.sum()),
        }


def ranking(ones: Floats, zeros: Floats) -> dict[str, float]:
    """Score the order of runs of ties, each with so many rows of either class."""
    n_ones, above = ones.sum(), np.cumsum(ones)
    found = np.cumsum(ones + zeros)
    precision = np.divide(above, found, out=np.zeros_like(above), where=found > 0)
    return {
        "roc_auc": float(zeros @ (above - ones / 2) / (n_ones * zeros.sum())),
        "average_precision": float(ones @ precision / n_ones),
    }


def _decisions(ones: Floats, zeros: Floats, n_yes: int) -> dict[str, float]:
    """Score a 1 for the first `n_yes` rows and a 0 for the others."""
    right = np.array([zeros[n_yes:].sum(), ones[:n_yes].sum()])  # (2,), by class
    actual = np.array([zeros.sum(), ones.sum()])
    total = actual.sum()
    yes = zeros[:n_yes].sum() + right[1]
    said = np.array([total - yes, yes])
    precision = np.divide(right, said, out=np.zeros(2), where=said > 0)
    return {
        "accuracy": float(right.sum() / total),
        "macro_precision": float(precision.mean()),
        "macro_recall": float((right / actual).mean()),
        "macro_f1": float((2 * right / (said + actual)).mean()),
    }
