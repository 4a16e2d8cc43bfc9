"""Mean luma at equal steps of time, and what becomes of odd files."""

import numpy as np
import pandas as pd
import pytest
from media.odd_media import make_corpus
from media.reading import HERE, read_luma, read_quality
from numpy.testing import assert_array_equal

from skchallenge.embed import MediaLimits, probe_media
from skchallenge.exceptions import MediaError
from skchallenge.media._read import read_luma_thumbnails


def levels(thumbnails):
    """Grey level of each step; FFmpeg maps RGB to the limited range and back."""
    return thumbnails.reshape(len(thumbnails), -1).mean(axis=1)


def grey(media, path, numbers, **options):
    frames = [np.full((64, 64, 3), level, np.uint8) for level in numbers]
    return str(media.write_video(path, frames, **options))


@pytest.fixture(scope="module")
def readable(tmp_path_factory):
    """Paths of odd media by kind, and whether they can be embedded."""
    paths, _ = make_corpus(tmp_path_factory.mktemp("odd"))
    paths.pop("eight k")  # slow
    status = probe_media(paths.values(), n_jobs=2, limits=HERE)["status"]
    return paths, pd.Series((status == "ok").to_numpy(), index=list(paths))


def test_a_step_is_the_mean_of_what_is_shown_in_it(media, tmp_path):
    path = grey(media, tmp_path / "a.mp4", [60, 80, 100, 120, 140, 160], rate=30)
    luma = read_luma(path, fps=10, size=16, limits=HERE)
    assert luma.shape == (2, 16, 16)
    assert luma.dtype == np.uint8
    fine = levels(read_luma(path, fps=30, size=16, limits=HERE))
    np.testing.assert_allclose(np.diff(fine), np.diff(fine).mean(), atol=2)
    np.testing.assert_allclose(levels(luma), fine.reshape(2, 3).mean(axis=1), atol=1)


def test_a_picture_counts_for_as_long_as_it_is_shown(media, tmp_path):
    times = [0, 1, 2, 3, 9]  # in 1 / 10 s: the fourth stands for six steps
    path = grey(
        media, tmp_path / "a.mp4", [40, 80, 120, 160, 200], rate=10, times=times
    )
    found = levels(read_luma(path, fps=10, size=16, limits=HERE))
    even = grey(media, tmp_path / "b.mp4", [40, 80, 120, *[160] * 6, 200], rate=10)
    expected = levels(read_luma(even, fps=10, size=16, limits=HERE))
    assert len(found) == len(expected) == 10
    np.testing.assert_allclose(found, expected, atol=2)


def test_the_frame_rate_does_not_matter(media, tmp_path):
    slow = grey(media, tmp_path / "a.mp4", np.arange(20, 220, 10), rate=10)
    fast = grey(media, tmp_path / "b.mp4", np.arange(20, 220, 10).repeat(6), rate=60)
    found = [read_luma(p, fps=10, size=16, limits=HERE) for p in (slow, fast)]
    assert len(found[0]) == len(found[1]) == 20
    np.testing.assert_allclose(*map(levels, found), atol=2)


def test_pictures_are_upright(media, tmp_path):
    frames = [media.quadrants()] * 3
    quarter = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
    turned = media.write_video(tmp_path / "a.mp4", frames, matrix=quarter)
    plain = media.write_video(tmp_path / "b.mp4", frames)
    found = [
        read_luma(str(p), fps=10, size=16, limits=HERE)[0] for p in (turned, plain)
    ]
    assert np.abs(found[0].astype(int) - found[1]).max() > 50
    turns = [np.rot90(found[1], k).astype(int) for k in (1, 3)]
    assert min(np.abs(found[0] - turn).max() for turn in turns) <= 12


def test_the_shape_is_that_of_the_picture_as_it_is_shown(media, tmp_path):
    frames = [np.full((64, 128, 3), 90, np.uint8)] * 3
    quarter = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]
    paths = [
        media.write_video(tmp_path / "a.mp4", frames),
        media.write_video(tmp_path / "b.mp4", frames, matrix=quarter),
    ]
    options = {"fps": 10, "size": 16, "n_threads": 1}
    for limits in (HERE, MediaLimits()):
        films = read_luma_thumbnails([*map(str, paths)], limits=limits, **options)
        assert [film.aspect for film in films] == [2, 0.5]


def test_a_worker_reads_the_same(clip_paths):
    for path in clip_paths:
        here = read_luma(path, fps=10, size=32, limits=HERE)
        apart = read_luma(path, fps=10, size=32, limits=MediaLimits())
        assert_array_equal(here, apart)
        quality = read_quality(path, limits=HERE)
        assert quality == read_quality(path, limits=MediaLimits())


def test_what_cannot_be_embedded_cannot_be_read(readable):
    paths, is_ok = readable
    readers = [
        lambda path: read_luma(path, fps=10, size=16, limits=HERE),
        lambda path: read_quality(path, limits=HERE),
    ]
    for kind, path in paths.items():
        for reader in readers:
            if is_ok[kind]:
                reader(path)
            else:
                with pytest.raises(MediaError, match=r"\w+ \w+"):
                    reader(path)


def test_shares_of_odd_media_are_shares(readable):
    paths, is_ok = readable
    for kind in is_ok.index[is_ok]:
        found = read_quality(paths[kind], limits=HERE)
        assert 0 <= found.black_share <= 1, kind
        assert 0 <= found.frozen_share <= 1, kind
        assert found.duration_s >= 0, kind


def test_limits_hold(clip_paths):
    for task in (
        lambda x: read_luma(clip_paths[0], fps=10, size=16, limits=x),
        lambda x: read_quality(clip_paths[0], limits=x),
    ):
        with pytest.raises(MediaError, match=r"more than MediaLimits.max_pixels=10"):
            task(MediaLimits(max_pixels=10))
        with pytest.raises(MediaError, match=r"more than MediaLimits.max_duration_s"):
            task(MediaLimits(max_duration_s=0.01, timeout_s=None))
        with pytest.raises(MediaError, match=r"within timeout_s=1e-06 seconds"):
            task(MediaLimits(timeout_s=1e-6))
