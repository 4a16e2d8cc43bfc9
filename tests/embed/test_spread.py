"""Chunks through joblib: the same rows on any engine, and nothing left behind."""

from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib import parallel_config
from joblib.parallel import ThreadingBackend, register_parallel_backend
from PIL import Image
from sklearn.base import clone
from torch import nn

from skchallenge.embed import CaptionEmbedder, EmbeddingStore, VideoFrameEmbedder
from skchallenge.exceptions import MediaError, MediaWarning

CAPTIONS = [f"dance number {i}" for i in range(40)]


class ListsOnly(ThreadingBackend):
    """An engine such as Spark's, which returns all results at the end."""

    supports_return_generator = False


register_parallel_backend("lists-only", ListsOnly)


def colour_grid():
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())


@pytest.fixture(scope="module")
def covers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("covers")
    for number in range(40):
        colour = (6 * number, 250 - 6 * number, 40 * (number % 5))
        Image.new("RGB", (32, 32), colour).save(folder / f"{number:02}.png")
    return sorted(str(path) for path in folder.iterdir())


def embedder(**parameters):
    defaults = {"n_frames": 1, "image_size": 32, "precision": "float32"}
    return VideoFrameEmbedder(colour_grid, **(defaults | parameters))


@pytest.fixture(scope="module")
def rows(covers):
    return embedder().fit_transform(covers)


@pytest.mark.parametrize("backend", ["threading", "lists-only"])
@pytest.mark.parametrize("with_store", [False, True])
def test_the_engine_of_joblib_does_not_matter(
    covers, rows, tiny_bert, tmp_path, backend, with_store
):
    store = tmp_path / "a.db" if with_store else None
    captions = CaptionEmbedder(tiny_bert, precision="float32", store=store)
    expected = clone(captions).set_params(store=None).fit_transform(CAPTIONS)
    with parallel_config(backend, n_jobs=2):
        found = embedder(store=store).fit_transform(covers)
        texts = captions.fit_transform(CAPTIONS)
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(texts, expected)
    if with_store:
        assert len(EmbeddingStore(store)) == 80


def test_processes_give_the_same_rows(covers, rows, tmp_path):
    bad = str(tmp_path / "bad.png")
    Path(bad).write_bytes(b"no picture")
    model = embedder(n_jobs=2, on_error="nan", store=tmp_path / "a.db")
    with pytest.warns(MediaWarning, match="1 of 41 files .* row 40: .*bad.png"):
        found = model.fit_transform([*covers, bad])
    np.testing.assert_array_equal(found[:-1], rows)
    assert np.isnan(found[-1]).all()
    assert len(EmbeddingStore(tmp_path / "a.db")) == 40


def test_a_chunk_is_one_task_and_its_network_is_built_once(covers):
    built, batches = [], []

    def counting():
        net = colour_grid()
        net.register_forward_hook(lambda m, x, y: batches.append(len(y)))
        built.append(1)
        return net

    model = VideoFrameEmbedder(
        counting, n_frames=1, image_size=32, precision="float32", batch_size=8
    ).fit(covers)
    built.clear(), batches.clear()
    with parallel_config("threading", n_jobs=2):
        model.transform(covers)
    assert len(built) == 1
    assert batches == [8] * 5


@pytest.mark.parametrize("backend", ["threading", "lists-only", "loky"])
def test_an_error_stops_the_others_and_keeps_what_is_ready(covers, tmp_path, backend):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    store = EmbeddingStore(tmp_path / "a.db")
    model = embedder(store=store).fit(covers)
    table = [*covers[:20], str(bad), *covers[20:]]
    with (
        parallel_config(backend, n_jobs=2),
        pytest.raises(MediaError, match="Row 20: .*bad.png"),
    ):
        model.transform(table)
    n_stored = len(store)
    assert n_stored >= 8
    model.transform(covers)  # nothing is claimed any more
    assert len(store) == 40
    assert store.stats()["misses"] == 40


def test_one_job_needs_no_joblib(covers, rows, monkeypatch):
    monkeypatch.setattr(joblib.Parallel, "__call__", None)
    np.testing.assert_array_equal(embedder(n_jobs=1).fit_transform(covers), rows)
