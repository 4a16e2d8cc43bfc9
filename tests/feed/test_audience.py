import numpy as np
import pytest
from scipy.stats import chisquare

from skchallenge.feed._audience import Audience, Batches, spread


def draw_all(audience, n_videos, persona, count):
    video = np.arange(n_videos)
    batches = audience.plan(video, np.full(n_videos, persona), count)
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
