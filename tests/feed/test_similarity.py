"""Laws of signature, index and comparison, and pairs whose score is known."""

import numpy as np
import pytest
from feed.films import choreography, performance
from numpy.testing import assert_allclose, assert_array_equal

from skchallenge.feed._similarity import (
    NO_MATCH,
    NO_SIGNATURE,
    HashIndex,
    Signature,
    _correlation,
    _score_at,
    compare,
    content_box,
    moves_enough,
    sign,
)


def film(seed, n=20, side=64):
    """Coarse random squares that change with time."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(0, 255, (n, 8, 8), np.uint8)
    return squares.repeat(side // 8, axis=1).repeat(side // 8, axis=2)


def bordered(inside, top, left, height, width, colour):
    """Set a film into a border whose edges fall between the lines."""
    big = np.full((len(inside), 640, 640), colour, np.uint8)
    rows, columns = np.linspace(0, 63.99, height), np.linspace(0, 63.99, width)
    big[:, top : top + height, left : left + width] = inside[
        :, rows.astype(int)[:, None], columns.astype(int)
    ]
    return big.reshape(-1, 64, 10, 64, 10).mean(axis=(2, 4)).astype(np.uint8)


@pytest.mark.parametrize("colour", [0, 128, 255])
@pytest.mark.parametrize(
    "edges", [(184, 0, 270, 640), (0, 107, 640, 426), (93, 61, 444, 500)]
)
def test_the_border_is_found_to_a_part_of_a_line(edges, colour):
    top, left, height, width = edges
    (y0, y1), (x0, x1) = content_box(bordered(film(0), *edges, colour))
    expected = np.array([top, top + height, left, left + width]) / 10
    np.testing.assert_allclose([y0, y1, x0, x1], expected, atol=0.25)


def test_no_border_is_found_where_there_is_none():
    assert content_box(film(0)) == ((0, 64), (0, 64))
    flat = np.full((10, 64, 64), 80, np.uint8)
    assert content_box(flat) == ((0, 64), (0, 64))


def test_a_border_that_changes_is_none():
    pictures = bordered(film(0), 184, 0, 270, 640, 0)
    pictures[:, :18] = np.linspace(0, 200, len(pictures))[:, None, None]
    assert content_box(pictures)[0][0] == 0


def test_cells_are_means():
    pictures = film(0)
    cells = sign(pictures).cells
    expected = np.rint(pictures.reshape(-1, 16, 4, 16, 4).mean(axis=(2, 4)))
    assert_array_equal(cells, expected)


def test_a_border_does_not_change_the_signature():
    plain = sign(film(0))
    inside = sign(bordered(film(0), 160, 0, 320, 640, 255))
    off = np.abs(plain.cells.astype(int) - inside.cells)
    assert off.mean() < 3
    bits = np.bitwise_count(plain.hashes[:, None] ^ inside.hashes).sum(axis=2)
    assert bits.min() < 60


def test_hashes_of_a_mirrored_film_are_the_mirrored_hashes():
    one, other = sign(film(0)), sign(film(0)[:, :, ::-1])
    assert_array_equal(np.unique(one.mirrored, axis=0), np.unique(other.hashes, axis=0))


def test_a_film_of_one_step_has_a_hash():
    assert len(sign(film(0, n=1)).hashes) == 1


def test_signatures_survive_as_bytes():
    for signature in (sign(film(0)), sign(film(1, n=1)), NO_SIGNATURE):
        data = signature.to_bytes()
        again = Signature.from_bytes(data)
        for a, b in zip(signature, again, strict=True):
            assert_array_equal(a, b)
            assert a.dtype == b.dtype
            assert a.shape == b.shape


# The index


def hashes(seed, n=1):
    return np.random.default_rng(seed).integers(0, 256, (n, 64), np.uint8)


def flipped(some, n_bits, seed=0):
    bits = np.unpackbits(some, axis=1)
    places = np.random.default_rng(seed).permutation(512)[:n_bits]
    bits[:, places] ^= 1
    return np.packbits(bits, axis=1)


@pytest.mark.parametrize("n_bits", [0, 1, 8, 15])
def test_whatever_differs_in_fewer_bits_than_pieces_is_found(n_bits):
    collection = [hashes(i) for i in range(200)]
    index = HashIndex(collection)
    for number in range(0, 200, 20):
        found, n_seen = index.find(flipped(collection[number], n_bits, number))
        assert_array_equal(found, [number])
        assert n_seen == 1


def test_more_than_a_quarter_of_the_bits_is_another_picture():
    one = hashes(0)
    far = flipped(one, 129)
    far[:, :4] = one[:, :4]  # they share a piece all the same
    n_bits = np.bitwise_count(one ^ far).sum()
    found, n_seen = HashIndex([one]).find(far)
    assert n_seen == 1
    assert len(found) == (n_bits <= 128)


def test_only_videos_before_one_if_asked():
    index = HashIndex([hashes(0), hashes(1), hashes(0), hashes(0)])
    assert_array_equal(index.find(hashes(0))[0], [0, 2, 3])
    assert_array_equal(index.find(hashes(0), before=3)[0], [0, 2])
    assert_array_equal(index.find(hashes(0), before=0)[0], [])


def test_flat_pieces_find_nothing():
    dull = np.zeros((1, 64), np.uint8)
    dull[0, 0] = 3  # two bits of the first piece
    assert HashIndex([dull, dull]).find(dull)[1] == 0


def test_an_empty_index_finds_nothing():
    assert HashIndex([]).find(hashes(0))[1] == 0
    assert HashIndex([NO_SIGNATURE.hashes]).find(hashes(0))[1] == 0


def test_the_share_of_pairs_compared_is_small():
    rng = np.random.default_rng(0)
    collection = [rng.integers(0, 256, (8, 64), np.uint8) for _ in range(300)]
    index = HashIndex(collection)
    seen = sum(index.find(h, row)[1] for row, h in enumerate(collection))
    assert seen / (300 * 299 / 2) < 0.01


def test_a_piece_counts_in_its_own_place_only():
    one = hashes(0)
    moved = hashes(1)
    moved[:, 4:8] = one[:, :4]  # the first piece of one is the second of the other
    assert HashIndex([one]).find(moved)[1] == 0
    moved[:, :4] = one[:, :4]
    assert HashIndex([one]).find(moved)[1] == 1


# The comparison


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

    def cells(seed, room):
        frames = np.array(performance(choreography(0), seed, room, size=64))
        return sign(frames[::2]).cells

    for room in (None, 99):  # each at home, and all before the same wall
        videos = [cells(seed, room) for seed in range(5)]
        scores = [compare(a, b).score for i, a in enumerate(videos) for b in videos[:i]]
        assert max(scores) < 0.5
    assert compare(videos[0], videos[0][3:, :, ::-1]).score > 0.95
