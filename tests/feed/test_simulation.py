import numpy as np
import pytest
from scipy.stats import chisquare

from skchallenge.feed._simulation import Audience, Batches, creator_falls, spread

# The audience


def draw_all(audience, n_videos, persona, count):
    video = np.arange(n_videos)
    batches = audience.batches(video, np.full(n_videos, persona), count)
    return batches, np.split(audience.draw(batches), np.cumsum(batches.count)[:-1])


@pytest.mark.parametrize("n_viewers", [1, 2, 6, 12, 97, 360])
def test_everybody_once_before_anybody_twice(n_viewers):
    persona = np.r_[np.zeros(n_viewers, int), np.ones(5, int)]
    audience = Audience(persona, 20, np.random.default_rng(0))
    seen = [[] for _ in range(20)]
    for count in (1, 2, 3, 1000):
        batches, viewers = draw_all(audience, 20, 0, count)
        for video, rows in zip(batches.video, viewers, strict=False):
            seen[video].extend(rows)
    assert all(sorted(rows) == list(range(n_viewers)) for rows in seen)
    assert len(draw_all(audience, 20, 0, 5)[0].video) == 0  # nobody is left
    assert len(np.concatenate(draw_all(audience, 20, 1, 9)[1])) == 100


def test_each_video_has_a_simple_random_sample():
    """Over worlds, each pair of viewers is as likely to be drawn as any other."""
    pairs = np.zeros((7, 7))
    for seed in range(3000):
        audience = Audience(np.zeros(7, int), 1, np.random.default_rng(seed))
        a, b = draw_all(audience, 1, 0, 2)[1][0]
        pairs[a, b] += 1
    assert np.diag(pairs).sum() == 0
    assert chisquare(pairs[~np.eye(7, dtype=bool)]).pvalue > 1e-3


def test_personas_stay_apart():
    persona = np.random.default_rng(0).integers(0, 3, 500)
    audience = Audience(persona, 6, np.random.default_rng(1))
    batches = Batches(
        np.repeat(np.arange(6), 3), np.tile(np.arange(3), 6), np.full(18, 9)
    )
    assert (persona[audience.draw(batches)] == np.repeat(batches.persona, 9)).all()


@pytest.mark.parametrize("n, n_personas", [(100, 4), (10, 3), (2, 5), (7, 1)])
def test_batches_spread_evenly(n, n_personas):
    counts = spread(n, n_personas)
    assert counts.sum() == n
    assert len(counts) == n_personas
    assert counts.max() - counts.min() <= 1


# The momentum


def falls_by_loop(activity):
    """The rule, in its words."""

    def fallen(row, day):
        if day < 13:
            return False
        now, before = row[day - 6 : day + 1].mean(), row[day - 13 : day - 6].mean()
        return before > 0 and now <= before / 2

    return np.array(
        [
            [fallen(row, d) and not (d and fallen(row, d - 1)) for d in range(len(row))]
            for row in activity
        ]
    )


def test_the_creator_trigger_follows_its_rule_exactly():
    rng = np.random.default_rng(0)
    activity = rng.poisson(rng.uniform(0, 3, (200, 1)), (200, 90)).astype(float)
    activity *= np.where(rng.uniform(size=(200, 90)) < 0.02, 0, 1).cumprod(axis=1)
    fires = creator_falls(activity)
    np.testing.assert_array_equal(fires, falls_by_loop(activity))
    assert 200 < fires.sum() < 1000


def test_the_trigger_is_exact_in_tenths():
    """Sums of tenths are rounded; whole tenths, counted as integers, are not."""
    rng = np.random.default_rng(0)
    tenths = rng.poisson(rng.uniform(0, 3, (400, 1)), (400, 90))
    tenths *= np.where(rng.uniform(size=(400, 90)) < 0.02, 0, 1).cumprod(axis=1)
    tenths[:200] *= 1 + 2 ** (np.arange(90) < 40)  # many exact halves
    week = np.lib.stride_tricks.sliding_window_view(tenths, 7, axis=1).sum(axis=-1)
    fallen = np.zeros(tenths.shape, dtype=bool)
    fallen[:, 13:] = (2 * week[:, 7:] <= week[:, :-7]) & (week[:, :-7] > 0)
    expected = fallen & ~np.pad(fallen, ((0, 0), (1, 0)))[:, :-1]
    np.testing.assert_array_equal(creator_falls(tenths / 10), expected)
    np.testing.assert_array_equal(creator_falls(tenths * 1e6 / 3), expected)


def test_the_trigger_by_hand():
    row = np.r_[np.full(10, 2.0), np.zeros(20), np.full(7, 2.0), np.zeros(7)]
    # Day 13: the last seven days have 6, at most half of the 14 before. Day 40: 6, but
    # there were 8. Day 41: 4, at most half of 10.
    assert np.flatnonzero(creator_falls(row[None])[0]).tolist() == [13, 41]
    assert not creator_falls(np.full((1, 30), 5.0)).any()
    assert not creator_falls(np.zeros((1, 30))).any()
    assert not creator_falls(np.ones((1, 5))).any()
