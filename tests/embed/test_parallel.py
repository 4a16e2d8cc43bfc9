"""Chunks through joblib: the same rows on any engine, and nothing left behind."""

import itertools
import os
import re
import time
from pathlib import Path
from unittest.mock import patch

import joblib
import numpy as np
import pytest
import torch
from joblib import Parallel, delayed, parallel_config
from joblib.parallel import ThreadingBackend, register_parallel_backend
from PIL import Image
from sklearn.base import clone
from torch import nn

from skchallenge.embed import (
    CaptionEmbedder,
    EmbeddingStore,
    VideoFrameEmbedder,
)
from skchallenge.embed import _cached as module
from skchallenge.embed import _frames as frames_module
from skchallenge.exceptions import MediaError, MediaWarning

CAPTIONS = [f"dance number {i}" for i in range(40)]


class ListsOnly(ThreadingBackend):
    """An engine such as Spark's, which returns all results at the end."""

    supports_return_generator = False


register_parallel_backend("lists-only", ListsOnly)


def colour_grid():
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())


def small_cnn():
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


class Slow(nn.Module):
    def forward(self, x):
        time.sleep(0.15)
        return x.mean(dim=(2, 3))


def slow_colours():
    return Slow()


@pytest.fixture(scope="module")
def covers(tmp_path_factory, media):
    return media.write_covers(tmp_path_factory.mktemp("covers"), 40)


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


@pytest.fixture(scope="module")
def twenty_clips(media, tmp_path_factory):
    folder = tmp_path_factory.mktemp("twenty")
    frames = media.grey_frames(26, size=32)
    paths = [folder / f"{i}.mp4" for i in range(20)]
    return [
        str(media.write_video(path, frames[i : i + 6])) for i, path in enumerate(paths)
    ]


def counts_of_bar(text):
    """What a progress bar over twenty files showed, each time it was drawn."""
    return [int(n) for n in re.findall(r"(\d+)/20 ", text)]


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("with_store", [False, True])
def test_two_jobs_advance_one_bar(twenty_clips, tmp_path, capfd, backend, with_store):
    store = tmp_path / "a.db" if with_store else None
    with parallel_config(backend, n_jobs=2):
        embedder(verbose=1, store=store).fit_transform(twenty_clips)
    shown = capfd.readouterr().err
    counts = counts_of_bar(shown)
    assert counts.count(0) == 1
    assert counts == sorted(counts)
    assert counts[-1] == 20
    assert shown.count("\n") == 1  # at its end: it was one line all the time


def test_a_job_that_waits_for_the_other_shows_its_bar_once(
    twenty_clips, tmp_path, capfd
):
    """Two steps embed the same; one claims all, and the other has nothing to count."""
    slow = {"verbose": 1, "batch_size": 1, "store": tmp_path / "a.db", "n_jobs": 1}
    model = VideoFrameEmbedder(slow_colours, n_frames=1, image_size=32, **slow)
    jobs = (delayed(clone(model).fit_transform)(twenty_clips[:8]) for _ in range(2))
    one, two = Parallel(2, backend="threading")(jobs)
    np.testing.assert_array_equal(one, two)
    counts = [int(n) for n in re.findall(r"(\d+)/8 ", capfd.readouterr().err)]
    assert counts.count(0) == 2  # one for each bar
    assert counts.count(8) >= 2


def test_threads_share_the_network_of_the_estimator(covers):
    built, batches = [], []

    def counting():
        net = colour_grid()
        net.register_forward_hook(lambda m, x, y: batches.append(len(y)))
        built.append(1)
        return net

    model = VideoFrameEmbedder(
        counting, n_frames=1, image_size=32, precision="float32", batch_size=5
    ).fit(covers)
    built.clear(), batches.clear()
    with parallel_config("threading", n_jobs=2):
        model.transform(covers)
    assert not built  # `fit` has built it
    assert sum(batches) == 40
    assert max(batches) == 5


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
    assert len(store) > 0
    model.transform(covers)  # nothing is claimed any more
    assert len(store) == 40
    assert store.stats()["misses"] == 40


@pytest.mark.parametrize("backend", ["threading", "lists-only"])
@pytest.mark.parametrize("with_store", [False, True])
def test_after_an_error_nothing_more_is_begun(tmp_path, backend, with_store):
    paths = [str(tmp_path / f"{number}.png") for number in range(2000)]
    model = embedder(store=tmp_path / "a.db" if with_store else None).fit(paths)
    begun = []

    def noting(paths, *args, **settings):
        for path in paths:
            begun.append(path)
            yield MediaError("bad")

    with (
        patch.object(frames_module, "read_clips", noting),
        parallel_config(backend, n_jobs=2),
        pytest.raises(MediaError, match="bad"),
    ):
        model.transform(paths)
    assert len(begun) <= 8 * 2 * 32  # the chunks of one round


def test_a_worker_keeps_networks_that_were_defined_in_a_script(covers, tmp_path):
    log = str(tmp_path / "built.log")

    def by_value():  # cloudpickle makes another function of it for each task
        with open(log, "a") as file:
            file.write(f"{os.getpid()}\n")
        return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())

    model = VideoFrameEmbedder(
        by_value, n_frames=1, image_size=32, precision="float32", n_jobs=2
    ).fit(covers)
    for _ in range(2):
        model.transform(covers)
    builders = Path(log).read_text().split()
    assert builders.count(str(os.getpid())) == 1
    assert len(builders) == len(set(builders)) >= 2


@pytest.fixture
def two_folders(tmp_path):
    """Folders with the same names of other content, of pictures and of weights."""
    for folder, level in (("one", 250), ("two", 5)):
        (tmp_path / folder).mkdir()
        for number in range(8):
            colour = (level, 10 * number, 0)
            Image.new("RGB", (32, 32), colour).save(tmp_path / folder / f"{number}.png")
        net = small_cnn()
        nn.init.constant_(net[4].bias, level)
        torch.save(net.state_dict(), tmp_path / folder / "weights.pt")
    return tmp_path


@pytest.mark.parametrize("with_store", [False, True])
def test_workers_follow_the_working_directory(two_folders, monkeypatch, with_store):
    store = two_folders / "a.db" if with_store else None
    names = [f"{number}.png" for number in range(8)]
    settings = {"n_frames": 1, "image_size": 32, "precision": "float32"}
    model = VideoFrameEmbedder(small_cnn, weights="weights.pt", **settings)
    for folder in ("one", "two"):  # the second finds workers that began in the first
        monkeypatch.chdir(two_folders / folder)
        alone = clone(model).fit_transform(names)
        rows = clone(model).set_params(n_jobs=2, store=store).fit_transform(names)
        np.testing.assert_allclose(rows, alone, rtol=1e-5)


def test_workers_find_a_text_model_by_a_relative_path(tiny_bert, monkeypatch):
    expected = CaptionEmbedder(tiny_bert, precision="float32").fit_transform(CAPTIONS)
    model = CaptionEmbedder(Path(tiny_bert).name, precision="float32", n_jobs=2)
    monkeypatch.chdir(Path(tiny_bert).parent)
    np.testing.assert_allclose(model.fit_transform(CAPTIONS), expected, atol=1e-5)


def test_a_worker_of_other_weights_is_an_error(covers, tmp_path):
    def another_everywhere():
        net = small_cnn()
        nn.init.constant_(net[4].bias, os.getpid())
        return net

    store = EmbeddingStore(tmp_path / "a.db")
    settings = {"n_frames": 1, "image_size": 32, "precision": "float32"}
    model = VideoFrameEmbedder(another_everywhere, **settings, store=store, n_jobs=2)
    with pytest.raises(RuntimeError, match="worker on .* other weights"):
        model.fit_transform(covers)
    assert len(store) == 0


@pytest.mark.parametrize("n_jobs", [0, "two", 1.5, True])
def test_wrong_n_jobs(tiny_bert, n_jobs):
    for model in (embedder(n_jobs=n_jobs), CaptionEmbedder(tiny_bert, n_jobs=n_jobs)):
        with pytest.raises(ValueError, match="n_jobs must be None or an integer other"):
            model.fit(["a"])


def test_a_cluster_without_workers(covers, monkeypatch):
    model = embedder().fit(covers)
    monkeypatch.setattr(module, "effective_n_jobs", lambda n_jobs: 0)
    with pytest.raises(RuntimeError, match="finds no worker"):
        model.transform(covers)


def assert_the_same_however_computed(model, X, tolerance, folder):
    """Vary batch size, jobs, order, duplicates and a half-filled store together."""
    expected = model.fit_transform(X)
    most = tolerance * np.abs(expected).max()
    rng = np.random.default_rng(0)
    options = itertools.product((7, "auto"), (None, 2), (None, "half"))
    for number, (batch_size, n_jobs, state) in enumerate(options):
        order = rng.integers(len(X), size=2 * len(X))
        store = None if state is None else folder / f"{number}.db"
        other = clone(model).set_params(batch_size=batch_size, store=store)
        if state == "half":
            other.fit_transform(X[::2])
        with parallel_config("threading", n_jobs=n_jobs):
            rows = other.fit(X).transform([X[i] for i in order])
        np.testing.assert_allclose(rows, expected[order], rtol=0, atol=most)


@pytest.mark.parametrize(
    "precision, tolerance", [("float32", 1e-5), ("bfloat16", 1e-2)]
)
@pytest.mark.parametrize("pooling", ["mean", "concat"])
def test_rows_do_not_depend_on_how_they_are_computed(
    clip_paths, tmp_path, precision, tolerance, pooling
):
    settings = {"image_size": 32, "n_frames": 5, "pooling": pooling}
    model = VideoFrameEmbedder(small_cnn, precision=precision, **settings)
    assert_the_same_however_computed(model, clip_paths, tolerance, tmp_path)


@pytest.mark.parametrize(
    "precision, tolerance", [("float32", 1e-5), ("bfloat16", 3e-2)]
)
def test_captions_do_not_depend_on_how_they_are_computed(
    tiny_bert, tmp_path, precision, tolerance
):
    model = CaptionEmbedder(tiny_bert, precision=precision)
    assert_the_same_however_computed(model, CAPTIONS, tolerance, tmp_path)


def test_one_job_needs_no_joblib(covers, rows, monkeypatch):
    monkeypatch.setattr(joblib.Parallel, "__call__", None)
    np.testing.assert_array_equal(embedder(n_jobs=1).fit_transform(covers), rows)
