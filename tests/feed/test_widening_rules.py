import numpy as np
import pytest
from scipy.stats import norm

from skchallenge.feed._widening_rules import (
    RULES,
    STAKES,
    Candidates,
    add_evidence,
    no_evidence,
)


def scored(score, *, exposures=100, sd=3.0, threshold=2.0, evidence=-np.inf, stage=1):
    score = np.asarray(score, dtype=float)
    rest = {"stage": stage, "exposures": exposures, "sd": sd, "threshold": threshold}
    rest |= {"evidence": evidence}
    rest = {name: np.broadcast_to(value, score.shape) for name, value in rest.items()}
    return Candidates(score=score, **rest)


def test_rules_by_hand():
    options = {"alpha": 0.05, "fraction": 0.4}
    mean = [1.9, 2.0, 2.4, 2.5]
    assert RULES["threshold"](scored(mean), **options).tolist() == [0, 1, 1, 1]
    # The bound is 1.645 * 3 / 10 = .49 below the mean.
    assert RULES["lcb"](scored(mean), **options).tolist() == [0, 0, 0, 1]
    thompson = RULES["thompson"](scored(mean), **options)
    np.testing.assert_allclose(thompson, norm.cdf((np.array(mean) - 2) / 0.3))
    peak = np.log([1, 19, 21, 400])
    evident = RULES["sequential"](scored(mean, evidence=peak), **options)
    assert evident.tolist() == [0, 0, 1, 1]


def test_one_viewer_proves_nothing():
    alone = scored([9.0], exposures=1, sd=np.inf)
    assert RULES["lcb"](alone, alpha=0.05).tolist() == [0]
    assert RULES["thompson"](alone).tolist() == [0.5]
    exact = scored([1.0, 2.0, 3.0], sd=0.0)
    assert RULES["thompson"](exact).tolist() == [0, 1, 1]


def test_the_top_fraction_is_by_stage_and_ties_share():
    mean = [5, 4, 3, 2, 1, 9, 9, 9, 0]
    stage = [1, 1, 1, 1, 1, 2, 2, 2, 2]
    chance = RULES["top_fraction"](scored(mean, stage=stage), fraction=0.4)
    third = 1.6 / 3
    np.testing.assert_allclose(chance, [1, 1, 0, 0, 0, third, third, third, 0])
    everything = RULES["top_fraction"](scored(mean, stage=stage), fraction=1.0)
    assert (everything == 1).all()


@pytest.mark.parametrize("fraction", [0.07, 0.2, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_the_top_fraction_is_a_fraction(fraction, n):
    """Whatever the size of a cohort and its ties, its share is exact on average."""
    rng = np.random.default_rng(0)
    for values in (rng.uniform(size=n), rng.integers(0, 3, n), np.ones(n)):
        chance = RULES["top_fraction"](scored(values), fraction=fraction)
        assert chance.sum() == pytest.approx(fraction * n)
        order = np.argsort(-values, kind="stable")
        assert (np.diff(chance[order]) <= 0).all()  # nobody overtakes a better one
        lots = (chance > 0) & (chance < 1)
        assert len(np.unique(values[lots])) <= 1  # lots are drawn for the last places


# Evidence


def test_wealth_is_the_product_of_its_bets():
    points = np.array([0, 8, 10, 2, 0, 30], dtype=np.float32)
    threshold, counts = np.array([2.0, 5.0]), np.array([4, 2])
    wealth, peak = add_evidence(no_evidence(2), points, threshold, counts)
    for video, rows in enumerate((points[:4], points[4:])):
        path = np.array(
            [np.cumprod(1 + b * (rows / threshold[video] - 1)) for b in STAKES]
        )
        np.testing.assert_allclose(np.exp(wealth[video]), path[:, -1])
        np.testing.assert_allclose(np.exp(peak[video]), path.mean(axis=0).max())
    halves, first = add_evidence(
        no_evidence(1), points[:2], threshold[:1], np.array([2])
    )
    halves, second = add_evidence(halves, points[2:4], threshold[:1], np.array([2]))
    np.testing.assert_allclose(halves[0], wealth[0])
    assert max(first[0], second[0]) == pytest.approx(peak[0])


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_evidence_is_rarely_found_where_there_is_none(share):
    """Ville: at or below the threshold, 1 / alpha is reached with at most alpha."""
    rng = np.random.default_rng(0)
    points = 10.0 * (rng.uniform(size=(1500, 400)) < 0.25 * share)
    flat = points.astype(np.float32).ravel()
    _, peak = add_evidence(
        no_evidence(1500), flat, np.full(1500, 2.5), np.full(1500, 400)
    )
    for alpha in (0.01, 0.05, 0.2):
        found = (peak >= -np.log(alpha)).mean()
        assert found <= alpha + 3 * np.sqrt(alpha / 1500)
    # A daily test at 5 % on all data so far finds it several times as often.
    n = np.arange(20, 401, 20)
    rate = points.cumsum(axis=1)[:, n - 1] / n
    error = np.maximum(points.std(), 1e-9) / np.sqrt(n)
    if share == 1:
        assert ((rate - 2.5) / error > 1.645).any(axis=1).mean() > 0.2


def test_evidence_is_found_where_there_is_some():
    rng = np.random.default_rng(0)
    points = 10.0 * (rng.uniform(size=(500, 1200)) < 0.25 * 1.5)
    flat = points.astype(np.float32).ravel()
    _, peak = add_evidence(
        no_evidence(500), flat, np.full(500, 2.5), np.full(500, 1200)
    )
    assert (peak >= -np.log(0.05)).mean() > 0.99
