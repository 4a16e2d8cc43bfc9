"""Laws of the comparison, and pairs whose score is known."""

import numpy as np
import pytest
from feed.films import choreography, performance
from numpy.testing import assert_allclose

from skchallenge.feed._motion import NO_MATCH, compare, moves_enough


def moving(seed, n=40):
    """Sixteen by sixteen cells with smooth, random motion."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(n + 8, 16, 16)).cumsum(axis=0)
    smooth = (waves - waves.mean(axis=0)) * 4 + rng.uniform(80, 170, (16, 16))
    return smooth.clip(0, 255).astype(np.uint8)[4:-4]


def test_a_video_is_its_own_duplicate():
    match = compare(moving(0), moving(0))
    assert match.score == pytest.approx(1)
    assert match.lag == 0
    assert not match.is_mirrored


def test_different_motion_is_no_duplicate():
    scores = [compare(moving(i), moving(j)).score for i in range(6) for j in range(i)]
    assert max(scores) < 0.4


@pytest.mark.parametrize("start", [0, 7, 20])
def test_the_lag_of_a_trimmed_video_is_where_it_starts(start):
    match = compare(moving(0), moving(0)[start : start + 20])
    assert match.lag == start
    assert match.score == pytest.approx(1)


def test_a_lag_between_steps_is_found():
    fine = np.repeat(moving(1, 30), 4, axis=0).astype(float)
    kernel = np.ones(8) / 8  # so that there is something between the steps
    smooth = np.apply_along_axis(np.convolve, 0, fine, kernel, mode="valid")
    one, other = (
        smooth[start : start + 100].reshape(25, 4, 16, 16).mean(axis=1).astype(np.uint8)
        for start in (0, 2)
    )
    match = compare(one, other)
    assert match.lag == pytest.approx(0.5)
    assert match.score > 0.95


def test_exchanging_two_videos_changes_the_sign_of_the_lag_only():
    for i, j in ((0, 0), (0, 1), (2, 3)):
        a, b = moving(i), moving(j)[3:28]
        one, other = compare(a, b), compare(b, a)
        assert one.score == pytest.approx(other.score)
        assert one.lag == -other.lag
        assert one.is_mirrored == other.is_mirrored


def test_mirror_images_match_and_say_so():
    match = compare(moving(0), moving(0)[:, :, ::-1])
    assert match.score == pytest.approx(1)
    assert match.is_mirrored
    assert compare(moving(0), moving(0)[:, ::-1]).score < 0.4  # upside down is not


def test_contrast_brightness_and_noise_do_not_matter():
    darker = (moving(0) * 0.6 + 20).astype(np.uint8)
    assert compare(moving(0), darker).score > 0.95
    noise = np.random.default_rng(0).normal(0, 0.5, moving(0).shape)
    assert compare(moving(0), (moving(0) + noise).clip(0, 255)).score > 0.9


def test_what_stands_still_does_not_count():
    """The same set, and different motion in a quarter of it: no duplicate."""
    a, b = np.full((2, 40, 16, 16), 120, np.uint8)
    a[:, 4:12, 4:12], b[:, 4:12, 4:12] = moving(0)[:, :8, :8], moving(1)[:, :8, :8]
    assert compare(a, b).score < 0.4


def test_a_caption_hides_cells_but_not_the_duplicate():
    captioned = moving(0).copy()
    captioned[:, 11:14, 2:14] = 255
    assert compare(moving(0), captioned).score == pytest.approx(1, abs=1e-6)


def test_a_shared_fade_is_no_duplicate():
    """Both videos fade in alike, over different pictures that then stand still."""
    fade = np.r_[np.linspace(0, 1, 10), np.ones(30)][:, None, None]
    grounds = np.random.default_rng(0).uniform(60, 250, (2, 16, 16))
    one, other = ((ground * fade).astype(np.uint8) for ground in grounds)
    assert compare(one, other).score < 0.5
    assert compare(one, one).score == pytest.approx(1)


def test_a_shared_flicker_is_no_duplicate():
    lamp = 40 * np.random.default_rng(0).normal(size=(40, 1, 1)).cumsum(axis=0) / 6
    one, other = ((moving(i) * 0.3 + 80 + lamp).clip(0, 255) for i in range(2))
    assert compare(one.astype(np.uint8), other.astype(np.uint8)).score < 0.5


def test_too_little_motion_is_no_match():
    still = np.full((40, 16, 16), 99, np.uint8)
    assert not moves_enough(still)
    assert compare(still, still) == NO_MATCH
    assert not moves_enough(moving(0)[:7])
    assert moves_enough(moving(0)[:8])
    few = still.copy()
    few[:, 0, :5] = moving(0)[:, 0, :5]
    assert not moves_enough(few)


def test_motion_in_different_places_is_no_match():
    a, b = np.full((2, 40, 16, 16), 99, np.uint8)
    a[:, :8], b[:, 7:] = moving(0)[:, :8], moving(0)[:, 7:]
    assert compare(a, b) == NO_MATCH


def test_the_score_is_the_lower_of_two_correlations():
    """A hand-worked pair: equal but for noise that only the change can see."""
    from skchallenge.feed._motion import _correlation, _score_at

    rng = np.random.default_rng(0)
    slow = np.cumsum(rng.normal(size=(60, 30)), axis=0)
    noisy = slow + rng.normal(size=slow.shape)
    found = _score_at(slow, noisy, 0)
    a, b = slow[1:-1], noisy[1:-1]
    steps = [np.diff(x, axis=0) - np.diff(x, axis=0).mean(axis=0) for x in (a, b)]
    level = [x - x.mean(axis=0) for x in (a, b)]
    expected = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in (level, steps)]
    assert found == pytest.approx(min(expected), abs=1e-9)
    assert expected[0] > expected[1] + 0.2
    assert_allclose(_correlation(a, np.zeros_like(a)), 0)


def test_performers_of_one_choreography_are_no_duplicates():
    """Rendered as pictures, without any codec, so that nothing but motion differs."""
    from skchallenge.feed._signature import sign_film

    def cells(seed, room):
        frames = np.array(performance(choreography(0), seed, room, size=64))
        return sign_film(frames[::2]).cells

    for room in (None, 99):  # each at home, and all before the same wall
        videos = [cells(seed, room) for seed in range(5)]
        scores = [compare(a, b).score for i, a in enumerate(videos) for b in videos[:i]]
        assert max(scores) < 0.5
    assert compare(videos[0], videos[0][3:, :, ::-1]).score > 0.95
