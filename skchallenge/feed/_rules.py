"""Whether a batch's scores open the next, wider batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]
_ROUNDING = 1e-9  # relative; tenths of points do not add up exactly


@dataclass
class Scores:
    """What is known of videos that wait for a decision, one entry each.

    Parameters
    ----------
    n : number of fresh viewers
    mean : their mean points
    sd : the standard deviation of their points
    threshold : the mean points to reach
    peak : the highest log evidence for a mean above the threshold so far
    stage : the stage that ended, which with the day makes the cohort
    """

    n: NDArray[np.int64]
    mean: Floats
    sd: Floats
    threshold: Floats
    peak: Floats
    stage: NDArray[np.int64]


def by_threshold(scores: Scores, **_: Any) -> Floats:
    """Widen if the mean reaches the threshold."""
    return _reaches(scores.mean, scores.threshold)


def by_lower_bound(scores: Scores, *, alpha: float, **_: Any) -> Floats:
    """Widen if the lower confidence bound of the mean reaches the threshold."""
    bound = scores.mean - norm.isf(alpha) * _standard_error(scores)
    return _reaches(bound, scores.threshold)


def by_thompson(scores: Scores, **_: Any) -> Floats:
    """Widen with the posterior chance that the mean is above the threshold."""
    distance, error = scores.mean - scores.threshold, _standard_error(scores)
    sure = np.where(distance >= 0, np.inf, -np.inf)
    z = np.divide(distance, error, out=sure, where=error > 0)
    return np.asarray(norm.cdf(z), dtype=np.float64)


def by_evidence(scores: Scores, *, alpha: float, **_: Any) -> Floats:
    """Widen if the e-process has reached 1 / alpha after any viewer."""
    return (scores.peak >= -np.log(alpha)).astype(np.float64)


def by_rank(scores: Scores, *, fraction: float, **_: Any) -> Floats:
    """Widen the best share of each stage's videos, exactly that share on average.

    Lots are drawn for what is left of the places where a whole video does not fit, and
    among equal ones.
    """
    chance = np.zeros(len(scores.mean))
    for stage in np.unique(scores.stage):
        cohort = np.flatnonzero(scores.stage == stage)
        mean = scores.mean[cohort]
        better = len(mean) - np.searchsorted(np.sort(mean), mean, side="right")
        _, value, equal = np.unique(mean, return_inverse=True, return_counts=True)
        places = fraction * len(mean) - better
        chance[cohort] = np.clip(places / equal[value], 0, 1)
    return chance


RULES: dict[str, Callable[..., Floats]] = {
    "threshold": by_threshold,
    "lcb": by_lower_bound,
    "thompson": by_thompson,
    "sequential": by_evidence,
    "top_fraction": by_rank,
}


def chance_to_widen(
    scores: Scores, rule: str, *, alpha: float, fraction: float, epsilon: float
) -> tuple[Floats, Floats]:
    """Return the rule's probability, and what is left of it beside a coin."""
    probability = RULES[rule](scores, alpha=alpha, fraction=fraction)
    return probability, (1 - epsilon) * probability + epsilon / 2


def logged_scores(decisions: pd.DataFrame, threshold: float, rule: str) -> Scores:
    """Read the scores of logged decisions, to judge them by another rule.

    Raises
    ------
    ValueError
        If a number is missing, or the rule is sequential and the evidence is not
        against this threshold.
    """
    numbers = decisions[["exposures", "score", "sd", "evidence", "threshold"]]
    missing = numbers.isna().any(axis=1)
    if missing.any():
        raise ValueError(
            "decisions must have no missing numbers, got some in row "
            f"{int(missing.to_numpy().argmax())}. Drop those videos."
        )
    evidence = decisions["evidence"].to_numpy()
    strange = (decisions["threshold"] != threshold) | np.isneginf(evidence)
    if rule == "sequential" and strange.any():
        raise ValueError(
            "rule='sequential' needs decisions that a sequential rule with the same "
            f"threshold logged, {threshold}. Simulate them with rule='sequential'."
        )
    cohort = decisions.groupby(["world", "day", "stage"]).ngroup()
    return Scores(
        decisions["exposures"].to_numpy(np.int64),
        decisions["score"].to_numpy(),
        decisions["sd"].to_numpy(),
        np.full(len(decisions), threshold),
        evidence,
        np.asarray(cohort, dtype=np.int64),
    )


def _reaches(values: Floats, threshold: Floats) -> Floats:
    return (values >= threshold * (1 - _ROUNDING)).astype(np.float64)


def _standard_error(scores: Scores) -> Floats:
    return scores.sd / np.sqrt(scores.n)
