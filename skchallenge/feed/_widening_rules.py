"""When a rollout widens: the rules, and the evidence that one of them collects."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROUNDING = 1e-9  # relative; tenths of points do not add up exactly
# Of each bet: from bold, fast if interest is high, to careful, for small differences.
STAKES = 2.0 ** -np.arange(1, 8)


@dataclass
class Candidates:
    """Videos that wait for a decision, one entry each, as a table of decisions has it.

    Parameters
    ----------
    stage : the stage that ended, which with the day makes the cohort
    exposures : number of fresh viewers
    score : their mean points
    sd : the standard deviation of their points; infinite for a single viewer
    evidence : the highest log e-value for a mean above the threshold so far
    threshold : the mean points to reach
    """

    stage: Ints
    exposures: Ints
    score: Floats
    sd: Floats
    evidence: Floats
    threshold: Floats

    @property
    def standard_error(self) -> Floats:
        """Return that of the scores."""
        return self.sd / np.sqrt(self.exposures)


@dataclass
class Rule:
    """When a rollout widens; the parameters are those of `BatchRollout`."""

    name: str
    alpha: float
    fraction: float
    epsilon: float

    def chance(self, videos: Candidates) -> tuple[Floats, Floats]:
        """Return the rule's probability, and what is left of it beside a coin."""
        decide = RULES[self.name]
        probability = decide(videos, alpha=self.alpha, fraction=self.fraction)
        return probability, (1 - self.epsilon) * probability + self.epsilon / 2


def by_threshold(videos: Candidates, **_: Any) -> Floats:
    """Widen if the mean reaches the threshold."""
    return _reaches(videos.score, videos.threshold)


def by_lower_bound(videos: Candidates, *, alpha: float, **_: Any) -> Floats:
    """Widen if the lower confidence bound of the mean reaches the threshold."""
    bound = videos.score - norm.isf(alpha) * videos.standard_error
    return _reaches(bound, videos.threshold)


def by_thompson(videos: Candidates, **_: Any) -> Floats:
    """Widen with the posterior probability that the mean is above the threshold."""
    distance, error = videos.score - videos.threshold, videos.standard_error
    certain = np.where(distance >= 0, np.inf, -np.inf)
    z = np.divide(distance, error, out=certain, where=error > 0)
    return np.asarray(norm.cdf(z), dtype=np.float64)


def by_evidence(videos: Candidates, *, alpha: float, **_: Any) -> Floats:
    """Widen if the e-process has reached 1 / alpha after any viewer."""
    return (videos.evidence >= -np.log(alpha)).astype(np.float64)


def by_rank(videos: Candidates, *, fraction: float, **_: Any) -> Floats:
    """Widen the best fraction of each stage's videos, exactly that on average.

    Lots are drawn for what is left of the quota where a whole video does not fit, and
    among equal ones.
    """
    chance = np.zeros(len(videos.score))
    for stage in np.unique(videos.stage):
        cohort = np.flatnonzero(videos.stage == stage)
        score = videos.score[cohort]
        better = len(score) - np.searchsorted(np.sort(score), score, side="right")
        _, value, equal = np.unique(score, return_inverse=True, return_counts=True)
        left = fraction * len(score) - better
        chance[cohort] = np.clip(left / equal[value], 0, 1)
    return chance


RULES: dict[str, Callable[..., Floats]] = {
    "threshold": by_threshold,
    "lcb": by_lower_bound,
    "thompson": by_thompson,
    "sequential": by_evidence,
    "top_fraction": by_rank,
}


def _reaches(values: Floats, threshold: Floats) -> Floats:
    return (values >= threshold * (1 - _ROUNDING)).astype(np.float64)


# Evidence that viewers like a video better than a threshold, valid at any time.
#
# Under the hypothesis that the mean of non-negative points is at most t, nobody can
# expect to get richer by betting on them: with a stake of b in (0, 1), the wealth after
# points x_1, x_2, ... is the product of 1 + b (x_i / t - 1), a non-negative
# supermartingale. Its average over several stakes is one too, so the chance that this
# e-value ever reaches 1 / alpha is at most alpha (Ville's inequality), however often
# one looks. See Waudby-Smith, I., Ramdas, A. "Estimating means of bounded random
# variables by betting", JRSS B, 2024.


def no_evidence(n: int) -> Floats:
    """Return the log e-value of each stake, (n, n_stakes), before the first bet."""
    return np.zeros((n, len(STAKES)))


def add_evidence(
    log_e_value: Floats, points: Floats, threshold: Floats, counts: Ints
) -> tuple[Floats, Floats]:
    """Bet on the points of further viewers.

    Parameters
    ----------
    log_e_value : ndarray of shape (n_videos, n_stakes)
        Of each stake, before.
    points : ndarray of shape (n_viewers,)
        Points, at least 0; the first ``counts[0]`` are those of the first video.
    threshold : ndarray of shape (n_videos,)
        The mean that is to be beaten, above 0.
    counts : ndarray of shape (n_videos,)
        Viewers of each video, at least 1.

    Returns
    -------
    log_e_value : ndarray of shape (n_videos, n_stakes)
        Of each stake, after.
    peak : ndarray of shape (n_videos,)
        Highest log e-value, the average over the stakes, after any of these viewers.
    """
    video = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    gain = np.log1p((points / threshold[video] - 1)[:, None] * STAKES)
    path = np.cumsum(gain, axis=0)  # (n_viewers, n_stakes), over all videos
    path += (log_e_value - (path[first] - gain[first]))[video]
    return path[first + counts - 1], np.maximum.reduceat(_log_mean_exp(path), first)


def _log_mean_exp(path: Floats) -> Floats:
    highest = path.max(axis=1)
    return highest + np.log(np.exp(path - highest[:, None]).mean(axis=1))


def logged_candidates(
    decisions: pd.DataFrame, threshold: float, rule: str
) -> Candidates:
    """Read logged decisions, to judge them by another rule.

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
    return Candidates(
        stage=np.asarray(cohort, dtype=np.int64),
        exposures=decisions["exposures"].to_numpy(np.int64),
        score=decisions["score"].to_numpy(),
        sd=decisions["sd"].to_numpy(),
        evidence=evidence,
        threshold=np.full(len(decisions), threshold),
    )
