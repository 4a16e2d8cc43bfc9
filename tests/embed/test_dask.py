"""A real cluster of two worker processes: the same numbers, also when one dies."""

import functools
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

from skchallenge.embed import CaptionEmbedder, EmbeddingStore, VideoFrameEmbedder
from skchallenge.exceptions import MediaWarning

distributed = pytest.importorskip("distributed")  # of the extra `ci`


def logging_grid(folder):
    """Return a network that writes a line for each frame, one file a process.

    In the first process that finds a file named ``kill`` it ends the process after
    five frames.
    """

    def note(module, inputs, output):
        log = Path(folder) / f"{os.getpid()}.log"
        for picture in inputs[0].float().mean(dim=(2, 3)):
            if picture.max() > -1.7:  # not the black image of `fit`
                with open(log, "a") as file:
                    file.write(f"{[round(x, 3) for x in picture.tolist()]}\n")
        order = Path(folder) / "kill"
        if order.exists() and log.exists() and len(log.read_text().splitlines()) >= 5:
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
    net.register_forward_hook(note)
    return net


def lines(folder):
    logs = Path(folder).glob("*.log")
    return [line for log in logs for line in log.read_text().splitlines()]


@pytest.fixture(scope="module")
def covers(tmp_path_factory, media):
    return media.write_covers(tmp_path_factory.mktemp("covers"), 48)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=None,
            local_directory=str(tmp_path_factory.mktemp("dask")),
        ) as cluster,
        distributed.Client(cluster),
    ):
        yield cluster


@pytest.fixture
def logs(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def embedder(logs, **parameters):
    backbone = functools.partial(logging_grid, str(logs))
    settings = {"n_frames": 1, "image_size": 32, "precision": "float32"}
    return VideoFrameEmbedder(backbone, batch_size=1, **settings, **parameters)


def test_embedding_gives_the_same_rows(cluster, covers, logs, tiny_bert, tmp_path):
    expected = embedder(logs).fit_transform(covers)
    captions = CaptionEmbedder(tiny_bert, precision="float32")
    texts = [f"dance {number}" for number in range(1500)]
    expected_texts = captions.fit_transform(texts)
    for log in logs.iterdir():
        log.unlink()
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    model = embedder(logs, store=tmp_path / "a.db", on_error="nan").fit(covers)
    with parallel_config("dask"):
        with pytest.warns(MediaWarning, match="1 of 49 files .* row 48: .*bad.png"):
            *rows, filled = model.transform([*covers, str(bad)])
        found_texts = clone(captions).fit_transform(texts)
    np.testing.assert_array_equal(rows, expected)
    assert np.isnan(filled).all()
    np.testing.assert_allclose(found_texts, expected_texts, rtol=0, atol=1e-5)
    assert len(lines(logs)) == len(set(lines(logs))) == 48
    n_processes = sum(log.stem != str(os.getpid()) for log in logs.iterdir())
    assert n_processes == 2


def test_a_worker_that_dies_costs_no_result(cluster, covers, logs, tmp_path):
    store = EmbeddingStore(tmp_path / "a.db")
    (logs / "kill").touch()
    model = embedder(logs, store=store).fit(covers)
    with parallel_config("dask"):
        rows = model.transform(covers)
    assert not (logs / "kill").exists()
    np.testing.assert_array_equal(rows, embedder(tmp_path).fit_transform(covers))
    assert len(store) == 48
    assert store.verify()["damaged"] == 0
    n_again = len(lines(logs)) - 48
    assert 0 < n_again <= 2 * 8  # the two chunks that the dead worker had


def test_a_search_embeds_once_and_gives_the_same_scores(
    cluster, covers, logs, tmp_path
):
    y = np.arange(48) // 3 % 2
    model = make_pipeline(
        embedder(logs, store=tmp_path / "a.db"), LogisticRegression(max_iter=1000)
    )
    grid = {"logisticregression__C": [0.01, 0.1, 1, 10]}
    search = GridSearchCV(model, grid, cv=3, error_score="raise")
    with parallel_config("dask"):
        search.fit(covers, y)
    assert len(lines(logs)) == len(set(lines(logs))) == 48
    local = clone(search)
    local.set_params(estimator__videoframeembedder__store=None).fit(covers, y)
    found = search.cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, local.cv_results_["mean_test_score"])
    assert search.best_params_ == local.best_params_


def test_who_waits_for_another_leaves_the_workers_to_it(
    cluster, covers, logs, tmp_path
):
    """All calls are on the workers before the parts of the first are."""
    model = embedder(logs, store=tmp_path / "a.db").fit(covers)
    with parallel_config("dask"):
        calls = Parallel(pre_dispatch="all", batch_size=1)
        found = calls(delayed(model.transform)(covers) for _ in range(6))
    assert len(lines(logs)) == len(set(lines(logs))) == 48
    for rows in found[1:]:
        np.testing.assert_array_equal(rows, found[0])
