"""The table of media files, and what becomes of odd and damaged ones."""

import math
import re
import time
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from media.odd_media import KINDS, make_corpus
from media.reading import HERE, read_clip
from PIL import Image

from skchallenge.exceptions import MediaError
from skchallenge.media._limits import MediaLimits
from skchallenge.media._probe import probe_media
from skchallenge.media._read import read_clips


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Paths, and the table of them, of every kind of file that can be made here."""
    paths, lacking = make_corpus(tmp_path_factory.mktemp("odd"))
    assert len(paths) >= 70, f"this PyAV lacks {lacking}"
    table = probe_media(paths.values(), n_jobs=2)
    return paths, table.set_axis(list(paths))


@pytest.mark.parametrize("name", KINDS)
def test_what_becomes_of_each_kind(corpus, name):
    paths, table = corpus
    if name not in paths:
        pytest.skip(f"this PyAV has no encoder {KINDS[name].encoder}")
    kind, row = KINDS[name], table.loc[name]
    if kind.reason:
        assert row["status"] == "error"
        assert re.search(kind.reason, row["reason"])
        assert row.isna()[["kind", "n_frames", "width", "codec", "fps"]].all()
    else:
        assert (row["status"], row["reason"]) == ("ok", "")
        assert row["n_frames"] == kind.n_frames or not kind.n_frames
        assert (row["width"], row["height"]) == kind.size
        assert row["kind"] == kind.media
        assert row["size_bytes"] == Path(paths[name]).stat().st_size


def test_the_table_is_a_probe_of_what_is_embedded(corpus):
    """Both modes give the same frames, and the status of the table."""
    paths, table = corpus
    small = [p for name, p in paths.items() if name != "eight k"]
    here = read_clips(small, 4, 16, n_threads=1, limits=HERE)
    apart = read_clips(small, 4, 16, n_threads=2)
    status = table["status"].drop("eight k")
    for a, b, found in zip(here, apart, status, strict=True):
        assert isinstance(a, MediaError) == (found == "error")
        if isinstance(a, MediaError):
            assert str(a) == str(b)
        else:
            np.testing.assert_array_equal(a.frames, b.frames)
            np.testing.assert_array_equal(a.frame_index, b.frame_index)


def test_metadata_by_hand(corpus):
    table = corpus[1]
    film = table.loc["h264 mp4"]
    assert film["duration_s"] == pytest.approx(12 / 30)
    assert film["fps"] == pytest.approx(30)
    assert (film["rotation"], film["codec"]) == (0, "h264")
    assert table.loc["rotated", "rotation"] == 90
    assert table.loc["wrong duration", "duration_s"] == pytest.approx(12 / 30)
    varying = table.loc["variable frame rate"]
    assert 402 / 30 < varying["duration_s"] < 460 / 30
    assert math.isnan(table.loc["png picture", "duration_s"])
    assert math.isnan(table.loc["h264 raw stream", "fps"])
    assert pd.isna(table.loc["directory", "size_bytes"])


def test_rotation_is_what_turns_the_frame_upright(tmp_path, media):
    one = 1 << 16
    matrix = [0, one, 0, -one, 0, 0, 0, 0, 1 << 30]
    stored = media.quadrants()
    path = media.write_video(tmp_path / "a.mp4", [stored] * 2, matrix=matrix)
    (rotation,) = probe_media([path])["rotation"]
    upright = np.rot90(stored, -rotation // 90)  # counterclockwise, says numpy
    shown = read_clip(str(path), 1, 64).frames[0]
    assert np.median(np.abs(shown.astype(int) - upright)) <= 6


def test_columns_and_types(clip_paths):
    table = probe_media(clip_paths)
    types = "object object object object Int64 float64 float64 Int64 Int64 Int64 object"
    assert table.dtypes.astype(str).tolist() == [*types.split(), "Int64"]
    assert probe_media([]).dtypes.equals(table.dtypes)
    assert probe_media([]).empty


@pytest.mark.parametrize("n_jobs", [None, 1, 2, -1])
def test_rows_align_with_paths(clip_paths, tmp_path, n_jobs):
    files = [*clip_paths, tmp_path / "missing.mp4", None, math.nan, *clip_paths[::-1]]
    index = [7 * i for i in range(len(files))]
    series = pd.Series(files, index=index, dtype=object)
    table = probe_media(series, n_jobs=n_jobs)
    assert table.index.tolist() == index
    assert table["path"].tolist()[:6] == files[:6]
    assert (table["status"] == "ok").tolist() == [True] * 5 + [False] * 3 + [True] * 5
    assert table["n_frames"].tolist()[:5] == [3, 7, 11, 15, 1]
    assert table["n_frames"].tolist()[8:] == [1, 15, 11, 7, 3]
    assert table["reason"].tolist()[6] == "is missing: there is no path."


def test_parallel_config_is_heeded(clip_paths, monkeypatch):
    asked = []
    monkeypatch.setattr(joblib, "effective_n_jobs", lambda n: asked.append(n) or 2)
    probe_media(clip_paths)
    assert asked == [None]


@pytest.mark.parametrize(
    "paths, message",
    [
        ("a.mp4", "paths must be a sequence of paths, got a str: 'a.mp4'"),
        (Path("a.mp4"), "paths must be a sequence of paths, got a PosixPath"),
        (pd.DataFrame({"path": ["a.mp4"]}), r"got a table.*such as table\['path'\]"),
        (["a.mp4", 3], "paths must hold paths.*row 1 is a int: 3"),
        ([["a.mp4", 3]], "must hold paths.*row 0 is a list whose item 2 is a int"),
    ],
)
def test_anything_but_paths_is_refused(paths, message):
    with pytest.raises(TypeError, match=message):
        probe_media(paths)


def test_a_bomb_is_refused_before_it_is_decoded(corpus):
    start = time.thread_time()  # of the processor: others may be busy
    with pytest.raises(MediaError, match="more pixels than MediaLimits.max_pixels"):
        read_clip(corpus[0]["decompression bomb"], 1, 8, HERE)
    assert time.thread_time() - start < 0.5
    generous = MediaLimits(max_pixels=2**40, timeout_s=60)
    black = read_clip(corpus[0]["decompression bomb"], 1, 8, generous)
    assert black.frames.max() < 16


def test_randomly_damaged_files(corpus, tmp_path):
    """A sample of what benchmarks/odd_media.py does a thousand times."""
    rng = np.random.default_rng(0)
    files = []
    bases = ["h264 mp4", "h264 mkv", "animated gif", "png picture", "webp picture"]
    for number in range(60):
        source = Path(corpus[0][bases[number % len(bases)]])
        data = bytearray(source.read_bytes())
        for index in rng.integers(len(data), size=20):
            data[index] ^= 1 << rng.integers(8)
        files.append(tmp_path / f"{number}{source.suffix}")
        files[-1].write_bytes(data[: rng.integers(1, len(data) * 2)])
    table = probe_media(files, limits=MediaLimits(timeout_s=30), n_jobs=2)
    assert table["path"].tolist() == files
    assert set(table["status"]) == {"ok", "error"}
    assert not table["reason"].str.contains("crashes|timeout_s").any()


def test_a_still_image_of_the_past_stays_a_still_image(tmp_path):
    Image.new("RGB", (5, 4)).save(tmp_path / "a.bmp")
    row = probe_media([tmp_path / "a.bmp"], limits=HERE).iloc[0]
    assert (row["kind"], row["width"], row["height"]) == ("image", 5, 4)
