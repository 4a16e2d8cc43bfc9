"""Laws of signature, index and comparison, and pairs whose score is known."""

import numpy as np
import pytest
from feed.films import choreography, performance
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter

from skchallenge.feed import _similarity
from skchallenge.feed._similarity import (
    NO_MATCH,
    NO_SIGNATURE,
    PointIndex,
    Signature,
    View,
    _cosine,
    _score,
    compare,
    content_box,
    moves_enough,
    sign,
)
from skchallenge.media._read import LumaThumbnails


def signed(pictures, aspect=1.0):
    return sign(LumaThumbnails(pictures, aspect))


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
    expected = np.rint(pictures.reshape(-1, 16, 4, 16, 4).mean(axis=(2, 4)))
    assert_array_equal(signed(pictures).cells, expected)


def test_a_border_does_not_change_the_signature():
    plain = signed(film(0))
    inside = signed(bordered(film(0), 160, 0, 320, 640, 255))
    assert np.abs(plain.cells.astype(int) - inside.cells).mean() < 3
    assert inside.aspect == pytest.approx(2, rel=0.02)


def noise(seed, side=96, grain=3.0):
    """A grey picture with blobs of many sizes."""
    rng = np.random.default_rng(seed)
    layers = [
        gaussian_filter(rng.normal(size=(side, side)), s, mode="wrap") * s
        for s in (grain, 2 * grain, 4 * grain)
    ]
    picture = np.sum(layers, axis=0)
    return (128 + 45 * picture / picture.std()).clip(0, 255)


def test_a_light_disc_is_one_blob_where_it_stands():
    y, x = np.mgrid[:64, :64] + 0.5
    disc = np.where(np.hypot(x - 40.3, y - 22.7) < 5, 200, 50).astype(np.float32)
    points, words = _similarity.blobs(gaussian_filter(disc, 0.7))
    assert_allclose(points[0, :2], (40.3, 22.7), atol=0.3)
    assert points[0, 2] == pytest.approx(5 / 2**0.5, rel=0.25)  # a disc's own sigma
    assert words.shape == (len(points), 4)


def test_a_plain_picture_has_no_points():
    signature = signed(np.full((20, 64, 64), 80, np.uint8))
    assert signature.points.shape == (0, 3)
    ramp = np.linspace(0, 255, 64)[None, None].repeat(64, axis=1).astype(np.uint8)
    assert len(signed(ramp).points) == 0  # it has edges at most


def test_points_of_a_mirrored_film_are_the_mirrored_points():
    still = noise(0).astype(np.uint8)[None]
    one, other = signed(still).mirrored(), signed(still[:, :, ::-1])
    assert len(one.points) > 15
    order, other_order = (np.lexsort(s.points.T) for s in (one, other))
    assert_allclose(one.points[order], other.points[other_order], atol=0.1)
    bits = np.bitwise_count(one.words[order] ^ other.words[other_order]).sum(axis=1)
    assert np.median(bits) <= 2
    assert_array_equal(one.mirrored().words, signed(still).words)


def test_a_film_of_one_step_has_points():
    assert len(signed(film(0, n=1)).points) > 3


def test_what_stands_still_is_described_once():
    still = noise(0).astype(np.uint8)[None]
    assert len(signed(still.repeat(50, axis=0)).points) == len(signed(still).points)


def test_signatures_survive_as_bytes():
    for signature in (signed(film(0)), signed(film(1, n=1), 1.7), NO_SIGNATURE):
        data = signature.to_bytes()
        again = Signature.from_bytes(data + b"more")
        for a, b in zip(signature, again, strict=True):
            assert_array_equal(a, b)
            assert np.asarray(a).dtype == np.asarray(b).dtype
            assert np.shape(a) == np.shape(b)


# The index


def dots(seed, n=12):
    """Points at random places that look like nothing else."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((4, 4, 2), (60, 60, 6), (n, 3)).astype(np.float16)
    words = rng.integers(0, 2**63, (n, 4)).astype(np.uint64)
    return NO_SIGNATURE._replace(points=points, words=words)


def owners(found):
    return [candidate.owner for candidate in found[0]]


@pytest.mark.parametrize("place", range(4))
def test_one_word_in_four_is_enough_for_a_point(place):
    collection = [dots(i) for i in range(30)]
    words = collection[7].words ^ np.uint64(1)
    words[:, place] ^= np.uint64(1)
    found, n_seen = PointIndex(collection).find(collection[7]._replace(words=words))
    assert owners((found, n_seen)) == [7]
    assert n_seen == 1
    [view] = found[0].views
    assert not view.is_mirrored
    assert_allclose(np.ravel([view.first, view.second]), [0, 1] * 4, atol=0.02)


def test_words_that_differ_in_one_bit_are_others():
    one = dots(0)
    for bit in (0, 63):
        other = one._replace(words=one.words ^ np.uint64(1 << bit))
        assert PointIndex([one]).find(other) == ([], 0)


def test_a_word_counts_in_its_own_place_only():
    one = dots(0)
    moved = one._replace(words=np.roll(one.words, 1, axis=1))
    assert PointIndex([one]).find(moved) == ([], 0)


def test_three_places_are_needed():
    for n, is_found in ((2, False), (3, True)):
        few = NO_SIGNATURE._replace(points=dots(0).points[:n], words=dots(0).words[:n])
        assert owners(PointIndex([dots(0)]).find(few)) == [0] * is_found
    one = dots(0)
    one.points[:] = one.points[0]
    assert PointIndex([one]).find(one) == ([], 1)


def test_points_must_agree_on_how_the_picture_is_moved():
    one = dots(0)
    astray = one._replace(points=one.points[::-1].copy())
    assert PointIndex([one]).find(astray) == ([], 1)


def test_groups_in_which_three_agree_are_found_as_by_a_loop():
    """Random pairs of points of many videos, a few of them moved together."""
    rng = np.random.default_rng(0)
    sizes = np.r_[rng.integers(3, 12, 300), 70]
    first, second = rng.uniform((0, 0, 1), (64, 64, 8), (2, sizes.sum(), 3))
    starts = sizes.cumsum() - sizes
    for start in starts[:300:10]:
        first[start : start + 3] = second[start : start + 3] * 1.5 - (9, 4, 0)
    found = _similarity._some_agree(first, second, starts, sizes)
    expected = []
    for start, size in zip(starts, sizes, strict=True):
        rows = [np.arange(start, start + size)] * 2
        one, other = (grid.ravel() for grid in np.meshgrid(*rows, indexing="ij"))
        agree = _similarity._agree(first, second, one, other).reshape(size, size)
        expected.append(size > 64 or agree.sum(axis=1).max() >= 3)
    assert_array_equal(found, expected)
    assert found[:300:10].all()
    assert not found[:300].all()


def test_a_short_video_is_seen_at_every_step():
    """Its copy starts between the pictures that half a second apart would show."""
    pictures = np.repeat([noise(i) for i in range(10)], 2, axis=0).astype(np.uint8)
    one, part = signed(pictures[:19]), signed(pictures[4:6])
    words = {word.tobytes() for word in one.words}
    assert np.mean([word.tobytes() in words for word in part.words]) == 1


def test_the_view_says_what_was_cut_off():
    """A crop of 0.1 to 0.85 across and 0.2 to 0.8 down, scaled up to the same area."""
    one = dots(0, 40)
    across, down = one.points[:, 0] / 64, one.points[:, 1] / 64
    is_inside = (across > 0.1) & (across < 0.85) & (down > 0.2) & (down < 0.8)
    aspect = 0.75 / 0.6
    width, height = 64 * aspect**0.5, 64 / aspect**0.5
    x, y = (across - 0.1) / 0.75 * width, (down - 0.2) / 0.6 * height
    points = np.stack([x, y, one.points[:, 2] * width / 48], axis=1).astype(np.float16)
    crop = Signature(one.cells, points[is_inside], one.words[is_inside], aspect)
    for copy in (crop, crop.mirrored()):
        [[owner, [view]]] = PointIndex([dots(1), one]).find(copy)[0]
        assert owner == 1
        assert view.is_mirrored == (copy is not crop)
        assert_allclose(view.first, ((0.2, 0.8), (0.1, 0.85)), atol=0.01)
        assert_allclose(view.second, ((0, 1), (0, 1)), atol=0.01)
    [[owner, [view]]] = PointIndex([crop]).find(one)[0]
    assert_allclose(view.second, ((0.2, 0.8), (0.1, 0.85)), atol=0.01)


def test_only_videos_before_one_if_asked():
    index = PointIndex([dots(0), dots(1), dots(0), dots(0)])
    assert owners(index.find(dots(0))) == [0, 2, 3]
    assert owners(index.find(dots(0), before=3)) == [0, 2]
    assert owners(index.find(dots(0), before=0)) == []


def test_words_that_many_share_find_nothing():
    rare, common = dots(0), dots(1)
    index = PointIndex([common] * 200 + [rare])
    assert len(index.find(common)[0]) == 200
    index = PointIndex([common] * 201 + [rare])
    assert index.find(common) == ([], 0)
    assert owners(index.find(rare)) == [201]


def test_an_empty_index_finds_nothing():
    assert PointIndex([]).find(dots(0)) == ([], 0)
    assert PointIndex([NO_SIGNATURE]).find(dots(0)) == ([], 0)
    assert PointIndex([dots(0)]).find(NO_SIGNATURE) == ([], 0)


def test_different_pictures_have_no_points_in_common():
    pictures = [noise(i).astype(np.uint8)[None] for i in range(40)]
    index = PointIndex([signed(p) for p in pictures])
    n_found = [len(index.find(signed(p), row)[0]) for row, p in enumerate(pictures)]
    assert sum(n_found) <= 2  # of 780 pairs
    assert owners(index.find(signed(pictures[5][:, 12:84, 12:84]))) == [5]


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
    assert match.lag == pytest.approx(0.5, abs=0.1)
    assert match.speed == pytest.approx(1, abs=0.01)
    assert match.score > 0.95


def test_exchanging_two_videos_changes_the_sign_of_the_lag_only():
    for i, j in ((0, 0), (0, 1), (2, 3)):
        a, b = moving(i), moving(j)[3:28]
        one, other = compare(a, b), compare(b, a)
        assert one.score == pytest.approx(other.score)
        assert one.lag == pytest.approx(-other.lag / other.speed)
        assert one.speed == pytest.approx(1 / other.speed)
        assert one.is_mirrored == other.is_mirrored


def smooth(seed, n, start, end):
    """Cells between two times of a film that goes on without steps."""
    rng = np.random.default_rng(seed)
    path = CubicSpline(np.arange(0, 61, 2), rng.normal(0, 30, (31, 16, 16)))
    edges = np.linspace(start, end, n + 1)
    means = np.diff(path.antiderivative()(edges), axis=0) / np.diff(edges)[0]
    return (128 + means).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("speed", [0.8, 0.87, 0.95, 1.06, 1.15, 1.25])
def test_other_speeds_are_found(speed):
    one, other = smooth(0, 60, 0, 60), smooth(0, round(50 / speed), 5, 55)
    match = compare(one, other)
    price = min(0.05, abs(np.log(match.speed)))
    assert match.score + price == pytest.approx(1, abs=0.02)
    assert match.speed == pytest.approx(50 / round(50 / speed), rel=0.005)
    assert match.lag == pytest.approx(5, abs=0.15)
    assert compare(one, smooth(1, round(50 / speed), 5, 55)).score < 0.4


@pytest.mark.parametrize("speed", [0.5, 2])
def test_speeds_far_off_are_not(speed):
    assert (
        compare(smooth(0, 60, 0, 60), smooth(0, round(40 / speed), 5, 45)).score < 0.5
    )


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_part_is_compared_with_its_copy(is_mirrored):
    """Rows 4 to 16 and columns 2 to 14 of sixteen, which were scaled up."""
    fine = ndimage.zoom(smooth(0, 40, 0, 40).astype(float), (1, 4, 4), order=1)
    fine = fine.clip(0, 255)
    one = fine.reshape(40, 16, 4, 16, 4).mean(axis=(2, 4)).astype(np.uint8)
    crop = fine[:, 16:, 8:56].reshape(40, 16, 3, 16, 3).mean(axis=(2, 4))
    crop = crop.astype(np.uint8)[5:35, :, :: -1 if is_mirrored else 1]
    view = View(((0.25, 1), (0.125, 0.875)), ((0, 1), (0, 1)), is_mirrored)
    match = compare(one, crop, [view])
    assert match.score > 0.95
    assert match.lag == pytest.approx(5, abs=0.1)
    assert match.is_mirrored == is_mirrored
    other = compare(crop, one, [view.exchanged()])
    assert other.score == pytest.approx(match.score)
    assert view.exchanged().exchanged() == view
    assert compare(one, crop).score < 0.6  # the view is needed


def under_a_sticker(cells):
    cells = cells.copy()
    for step, image in enumerate(cells):
        y, x = 6 + 5 * np.sin(0.3 * step), 6 + 5 * np.sin(0.2 * step + 1)
        image[int(y) : int(y) + 3, int(x) : int(x) + 3] = 255
    return cells


def test_a_sticker_that_moves_is_forgiven():
    one = smooth(0, 40, 0, 40)
    plain = max(_similarity._score(*map(flat, (one, under_a_sticker(one)))), 0)
    assert plain < 0.8
    assert compare(one, under_a_sticker(one)).score > 0.8
    assert compare(smooth(1, 40, 0, 40), under_a_sticker(one)).score < 0.4


def test_two_videos_under_one_sticker_are_no_duplicates():
    one, other = (under_a_sticker(smooth(i, 40, 0, 40)) for i in range(2))
    assert compare(one, other).score < 0.7


def flat(cells):
    return cells.reshape(len(cells), -1).astype(float)


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
    found = _score(slow, noisy)

    def centred(x):
        return x - x.mean(axis=0) - x.mean(axis=1, keepdims=True) + x.mean()

    steps = [centred(np.diff(centred(x), axis=0)) for x in (slow, noisy)]
    level = [centred(x) for x in (slow, noisy)]
    expected = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in (level, steps)]
    assert found == pytest.approx(min(expected), abs=1e-9)
    assert expected[0] > expected[1] + 0.2
    assert_allclose(_cosine(slow, np.zeros_like(slow)), 0)


def test_what_fits_worst_is_left_out():
    rng = np.random.default_rng(0)
    one = rng.normal(size=(60, 30)).cumsum(axis=0)
    other = one.copy()
    other[rng.random(other.shape) < 0.03] += 60
    assert _score(one, other) < 0.4
    assert _score(one, other, 0.05) > 0.99
    assert _score(one, one, 0.05) == pytest.approx(1)


def test_performers_of_one_choreography_are_no_duplicates():
    """Rendered as pictures, without any codec, so that nothing but motion differs."""

    def cells(seed, room):
        frames = np.array(performance(choreography(0), seed, room, size=64))
        return signed(frames[::2]).cells

    for room in (None, 99):  # each at home, and all before the same wall
        videos = [cells(seed, room) for seed in range(5)]
        scores = [compare(a, b).score for i, a in enumerate(videos) for b in videos[:i]]
        assert max(scores) < 0.5
    assert compare(videos[0], videos[0][3:, :, ::-1]).score > 0.95
