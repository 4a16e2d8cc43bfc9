"""`VideoFrameEmbedder` on photo posts, bytes and pixels."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from torch import nn

from skchallenge.embed import EmbeddingStore, VideoFrameEmbedder
from skchallenge.exceptions import MediaWarning
from skchallenge.media import _read

LONG = 400  # letters of a message


def colour_grid():
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())


def embedder(**parameters):
    size = {"n_frames": 4, "image_size": 16}
    return VideoFrameEmbedder(colour_grid, precision="float32", **size, **parameters)


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(3)]


@pytest.fixture(scope="module")
def photos(pixels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"7_{i + 1}.png" for i in range(3)]
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path)
    return [str(path) for path in paths]


@pytest.mark.parametrize("kind", ["bytes", "pil", "arrays", "mixed"])
@pytest.mark.parametrize(
    "as_input",
    [
        list,
        tuple,
        pd.Series,
        lambda cells: pd.DataFrame({"path": pd.Series(cells)}),
        lambda cells: pl.DataFrame({"path": pl.Series(cells, dtype=pl.Object)}),
    ],
)
def test_what_is_in_memory_is_embedded_as_its_file_is(photos, pixels, kind, as_input):
    data = [Path(path).read_bytes() for path in photos]
    cells = {
        "bytes": data,
        "pil": [Image.fromarray(picture) for picture in pixels],
        "arrays": pixels,
        "mixed": [photos[0], data[1], pixels[2]],
    }[kind]
    expected = embedder().fit_transform(photos)
    np.testing.assert_array_equal(embedder().fit_transform(as_input(cells)), expected)


@pytest.mark.parametrize(
    "as_input",
    [
        pd.Series,
        pl.Series,
        lambda cells: pd.DataFrame({"path": cells}),
        lambda cells: pl.DataFrame({"path": cells}),
    ],
)
def test_a_list_of_pictures_is_embedded_as_their_frames_are(photos, as_input):
    """Of 4 samples, the frames of 3 pictures are 0, 1, 1, 2; of 2: 0, 0, 1, 1."""
    one, two, three = embedder(pooling="mean").fit_transform(photos)
    lists = [photos, photos[:2], photos[2:]]
    found = embedder().fit_transform(as_input(lists))
    expected = [(one + 2 * two + three) / 4, (one + two) / 2, three]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_paths_of_parquet_are_lists(photos, tmp_path):
    table = pd.DataFrame({"path": [photos, photos[:2]]})
    table.to_parquet(tmp_path / "posts.parquet")
    read = pd.read_parquet(tmp_path / "posts.parquet")
    np.testing.assert_array_equal(
        embedder().fit_transform(read), embedder().fit_transform(table)
    )


def test_a_list_of_lists_is_a_table(photos):
    expected = embedder().fit_transform(np.array([photos, photos[::-1]]))
    found = embedder().fit_transform([photos, photos[::-1]])
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(TypeError, match=r"different lengths.* pandas.Series\(X\)"):
        embedder().fit([photos, photos[:1]])
    remedy = embedder().fit_transform(pd.Series([photos, photos[:1]]))
    assert remedy.shape == (2, 12)


def test_an_array_of_pictures_becomes_a_list_of_them(pixels):
    with pytest.raises(TypeError, match=r"got a ndarray of shape .*Pass list\(X\)"):
        embedder().fit(np.stack(pixels))
    expected = embedder().fit_transform(pixels)
    found = embedder().fit_transform(list(np.stack(pixels)))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("stored", [False, True])
def test_equal_cells_are_embedded_once(photos, pixels, stored, tmp_path, monkeypatch):
    data = Path(photos[0]).read_bytes()
    cells = pd.Series(
        [data, bytearray(data), pixels[0], pixels[0].copy(), photos, tuple(photos)]
    )
    asked, perform = [], _read.perform

    def noting(request, contents):
        asked.append(request)
        return perform(request, contents)

    monkeypatch.setattr(_read, "perform", noting)  # for pixels; others run apart
    ask = _read._Worker.ask

    def noting_too(self, request, *arguments):
        asked.append(request)
        return ask(self, request, *arguments)

    monkeypatch.setattr(_read._Worker, "ask", noting_too)
    store = tmp_path / "a.db" if stored else None
    model = embedder(store=store).fit(cells)
    vectors = model.transform(cells)
    assert len(asked) == 3
    np.testing.assert_array_equal(vectors[[0, 2, 4]], vectors[[1, 3, 5]])
    np.testing.assert_array_equal(model.transform(cells), vectors)
    assert len(asked) == (3 if stored else 6)


def test_a_store_knows_bytes_from_files_and_files_from_bytes(photos, tmp_path):
    store = EmbeddingStore(tmp_path / "a.db")
    model = embedder(store=store).fit(photos)
    expected = model.transform(photos)
    data = [Path(path).read_bytes() for path in photos]
    lists = pd.Series([photos, [data[0], *photos[1:]]])
    np.testing.assert_array_equal(model.transform(data), expected)
    assert (store.stats()["hits"], store.stats()["misses"]) == (3, 3)
    one, other = model.transform(lists)
    np.testing.assert_array_equal(one, other)
    assert store.stats()["misses"] == 4
    swapped = model.transform(pd.Series([photos[::-1]]))
    assert store.stats()["misses"] == 5  # the order of pictures counts
    np.testing.assert_allclose(swapped[0], one, atol=1e-5)  # not for their mean


def test_workers_get_what_is_in_memory(photos, pixels):
    cells = pd.Series([Path(photos[0]).read_bytes(), pixels[1], photos, photos[2]])
    expected = embedder().fit_transform(cells)
    found = embedder(n_jobs=2).fit_transform(cells)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("stored", [False, True])
def test_bad_cells_are_rows_of_their_own(photos, stored, tmp_path):
    cells = pd.Series(
        [photos[0], [photos[0], "gone.png"], b"none" * 9999, [], None, photos]
    )
    store = tmp_path / "a.db" if stored else None
    model = embedder(on_error="nan", store=store)
    with pytest.warns(MediaWarning, match="4 of 6 files could not") as caught:
        rows = model.fit_transform(cells)
    assert np.isnan(rows).all(axis=1).tolist() == [False, *[True] * 4, False]
    message = str(caught[0].message)
    assert "and 1 more: item 2 of 2 cannot be opened" in message
    assert "row 2: bytes:" in message
    assert len(message) < 2 * LONG
    assert "\n" not in message


@pytest.mark.parametrize(
    "cell, message",
    [
        (np.zeros((3, 8, 8)), "is a ndarray of shape .*uint8"),
        (["a.png", 7], "is a list whose item 2 is a int: 7. Convert it"),
        ({"bytes": b"a" * 9999}, "is a dict"),
        ([], r"is a list: \[\]. Drop the row, or set on_error"),
        ({*map(str, range(999))}, "is a set"),
    ],
)
def test_what_is_refused_is_not_repeated_whole(photos, cell, message):
    cells = pd.Series([photos[0], cell])
    with pytest.raises(TypeError, match=f"row 1, column 0 {message}") as caught:
        embedder().fit(cells)
    assert len(str(caught.value)) < LONG
