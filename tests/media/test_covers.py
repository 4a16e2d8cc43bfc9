import os
import pathlib
import shutil
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skchallenge import VideoFrameEmbedder
from skchallenge.exceptions import MediaError
from skchallenge.media import _covers
from skchallenge.media._covers import load_covers

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture(scope="module")
def covers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("covers")
    for name, colour in COLOURS.items():
        Image.new("RGB", (40, 30), colour).save(folder / f"{name}.png")
    Image.new("RGB", (40, 30), COLOURS["red"]).save(folder / "red_again.png")
    (folder / "broken.png").write_bytes(b"no picture")
    with av.open(str(folder / "film.mp4"), "w") as container:
        stream = container.add_stream("libx264rgb", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
        stream.options = {"crf": "0"}
        for level in (200, 100, 0):
            frame = np.full((32, 32, 3), level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    return folder


def load(cells, size=8, **options):
    return load_covers(cells, size, **{"n_threads": 1, "skip_bad": False, **options})


def test_rows_know_their_pictures(covers):
    cells = [str(covers / f"{name}.png") for name in ("blue", "red", "blue", "green")]
    pictures, places, bad = load(cells)
    assert pictures.shape == (3, 8, 8, 3)
    assert pictures.dtype == np.uint8
    assert places.tolist() == [0, 1, 0, 2]
    assert not bad
    expected = [COLOURS[name] for name in ("blue", "red", "blue", "green")]
    np.testing.assert_allclose(pictures[places].mean(axis=(1, 2)), expected, atol=3)


@pytest.mark.parametrize("null", [None, np.nan, pd.NA, pd.NaT, float("nan")])
def test_a_null_is_no_cover(covers, null):
    pictures, places, _ = load([null, covers / "red.png", null])
    assert places.tolist() == [-1, 0, -1]
    assert len(pictures) == 1


def test_no_cover_at_all():
    pictures, places, _ = load([None, None])
    assert pictures.shape == (0, 8, 8, 3)
    assert places.tolist() == [-1, -1]


def test_files_of_the_same_pixels_are_one_picture(covers):
    pictures, places, _ = load([covers / "red.png", covers / "red_again.png"])
    assert places.tolist() == [0, 0]
    assert len(pictures) == 1


def test_each_file_is_decoded_once(covers, monkeypatch):
    decoded = []

    def spy(paths, *rest, **options):
        paths = list(paths)
        decoded.extend(Path(path).name for path in paths)
        return original(paths, *rest, **options)

    original = _covers.read_first_frames
    monkeypatch.setattr(_covers, "read_first_frames", spy)
    cells = [covers / "red.png", covers / "blue.png"] * 5
    load(cells, n_threads=2)
    assert sorted(decoded) == ["blue.png", "red.png"]


def test_a_video_gives_its_first_frame(covers):
    pictures, _, _ = load([covers / "film.mp4"])
    assert pictures[0].mean() == pytest.approx(200, abs=3)


def test_an_image_is_decoded_as_the_embedder_does(covers):
    """The same pixels as `VideoFrameEmbedder` sees in a still."""
    seen = VideoFrameEmbedder(
        mean_colour, n_frames=1, image_size=8, precision="float32"
    )
    embedded = seen.fit_transform([covers / "blue.png"])[0]
    pictures, _, _ = load([covers / "blue.png"])
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (pictures[0].mean(axis=(0, 1)) / 255 - mean) / std
    np.testing.assert_allclose(embedded, expected, rtol=1e-4, atol=1e-4)


def mean_colour():
    from torch import nn

    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize("n_threads", [1, 3])
def test_threads_do_not_matter(covers, n_threads):
    cells = [covers / f"{name}.png" for name in [*COLOURS] * 20]
    pictures, places, _ = load(cells, n_threads=n_threads)
    expected, expected_places, _ = load(cells)
    np.testing.assert_array_equal(pictures, expected)
    np.testing.assert_array_equal(places, expected_places)


def test_an_unreadable_cover_is_an_error_or_missing(covers):
    cells = [covers / "red.png", covers / "broken.png", covers / "broken.png", "gone"]
    with pytest.raises(MediaError, match=r"Row 1: .*broken\.png.* on_error='nan'"):
        load(cells)
    pictures, places, bad = load(cells, skip_bad=True)
    assert places.tolist() == [0, -1, -1, -1]
    assert len(pictures) == 1
    assert sorted(bad) == [1, 3]
    assert "No such file" in str(bad[3])


@pytest.mark.parametrize("cell", [3, 2.5, ["a.png", 3], {"a.png"}, True])
def test_what_is_no_cover_is_refused(covers, cell):
    with pytest.raises(TypeError, match=r"row 1 is a \w+.*: .*Check `image`"):
        load([covers / "red.png", cell])


def test_many_covers_go_to_a_file(covers, monkeypatch):
    cells = [covers / f"{name}.png" for name in COLOURS]
    in_memory, places, _ = load(cells)
    assert not isinstance(in_memory, np.memmap)
    monkeypatch.setattr(_covers, "_IN_MEMORY_BYTES", 2 * 8 * 8 * 3)
    in_file, places_in_file, _ = load(cells)
    assert isinstance(in_file, np.memmap)
    np.testing.assert_array_equal(in_file, in_memory)
    np.testing.assert_array_equal(places_in_file, places)


def test_the_room_of_that_file_is_taken_beforehand(covers, monkeypatch):
    monkeypatch.setattr(_covers, "_IN_MEMORY_BYTES", 0)
    cells = [covers / f"{name}.png" for name in COLOURS]
    usage = shutil.disk_usage(".")._replace(free=3 * 8 * 8 * 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    assert len(load(cells)[0]) == 3
    usage = usage._replace(free=3 * 8 * 8 * 3 - 1)
    match = r"A file of 3 covers of 8 x 8 pixels needs 576 bytes in .*TMPDIR"
    with pytest.raises(OSError, match=match):
        load(cells)


@pytest.mark.skipif(os.name == "nt", reason="the name stays until the file is closed")
def test_that_file_has_no_name(covers, monkeypatch, tmp_path):
    monkeypatch.setattr(_covers, "_IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(_covers.tempfile, "tempdir", str(tmp_path))
    pictures, _, _ = load([covers / "red.png"])
    assert pictures.any()
    assert not list(pathlib.Path(tmp_path).iterdir())
