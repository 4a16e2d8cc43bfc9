"""Embedders with a store: once per item, the same bits, whatever happens."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skchallenge.embed import (
    CaptionEmbedder,
    EmbeddingStore,
    MediaLimits,
    VideoFrameEmbedder,
)
from skchallenge.embed import _cached as module
from skchallenge.embed import _caption as caption_module
from skchallenge.embed import _frames as frames_module
from skchallenge.embed._caption import TextEncoder
from skchallenge.embed._store import open_store
from skchallenge.exceptions import MediaError, MediaWarning

CAPTIONS = ["dance", "cat", "", "funny cat dance", "dance", "\N{FIRE}", "cat 7"]


def colour_grid():
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())


def mean_colour():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def logging_to(path):
    """Return a backbone that writes a line for each frame that is not black."""

    def backbone():
        def note(module, inputs, output):
            for picture in inputs[0].float().mean(dim=(2, 3)):
                if picture.max() > -1.7:  # not the black image of `fit`
                    with open(path, "a") as file:
                        file.write(f"{[round(x, 3) for x in picture.tolist()]}\n")

        net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
        net.register_forward_hook(note)
        return net

    return backbone


def lines(path):
    return Path(path).read_text().splitlines() if Path(path).exists() else []


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "embeddings.db")


@pytest.fixture
def log(tmp_path):
    return tmp_path / "frames.log"


@pytest.fixture(scope="module")
def covers(tmp_path_factory, media):
    return media.write_covers(tmp_path_factory.mktemp("covers"), 24)


def embedder(**parameters):
    defaults = {
        "backbone": colour_grid,
        "n_frames": 3,
        "image_size": 32,
        "precision": "float32",
    }
    return VideoFrameEmbedder(**(defaults | parameters))


def of_covers(log, store, **parameters):
    """Return an embedder that logs one line for each cover that is computed."""
    one = {"backbone": logging_to(log), "n_frames": 1, "batch_size": 1}
    return embedder(**one, store=store, **parameters)


@pytest.mark.parametrize("pooling", ["mean", "max", "concat"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_warm_rows_are_the_cold_ones(clip_paths, store, pooling, precision):
    settings = {"pooling": pooling, "precision": precision}
    without = embedder(**settings).fit_transform(clip_paths)
    model = embedder(**settings, store=store).fit(clip_paths)
    cold = model.transform(clip_paths)
    np.testing.assert_array_equal(cold, without)
    order = [4, 1, 1, 3, 0, 4]
    paths = [clip_paths[i] for i in order]
    np.testing.assert_array_equal(model.transform(paths), cold[order])
    verified = store.verify()
    verified.pop("files")  # only files that have been quiet for two seconds
    assert verified == {"records": 5, "damaged": 0, "changed": 0}


def test_warm_captions_are_the_cold_ones(tiny_bert, store):
    model = CaptionEmbedder(tiny_bert, precision="float32", store=store).fit(CAPTIONS)
    without = clone(model).set_params(store=None).fit_transform(CAPTIONS)
    cold = model.transform([*CAPTIONS, None])
    np.testing.assert_array_equal(cold[:-1], without)
    assert not cold[-1].any()
    np.testing.assert_array_equal(model.transform(CAPTIONS[::-1]), without[::-1])
    assert len(store) == len(set(CAPTIONS))


@pytest.mark.parametrize("as_store", [str, Path, EmbeddingStore])
def test_a_store_may_be_given_as_its_path(clip_paths, tmp_path, log, as_store):
    path = tmp_path / "a.db"
    model = of_covers(log, as_store(path))
    model.fit_transform(clip_paths)
    n_lines = len(lines(log))
    clone(model).fit_transform(clip_paths)
    assert len(lines(log)) == n_lines > 0
    assert len(EmbeddingStore(path)) == 5


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_search_embeds_every_file_once(covers, store, log, n_jobs):
    model = make_pipeline(of_covers(log, store), StandardScaler(), LogisticRegression())
    grid = {"logisticregression__C": [0.01, 0.1, 1, 10]}
    search = GridSearchCV(model, grid, cv=3, n_jobs=n_jobs, error_score="raise")
    y = np.arange(24) % 2
    search.fit(covers, y)
    assert len(lines(log)) == len(set(lines(log))) == 24
    plain = clone(search).set_params(estimator__videoframeembedder__store=None)
    plain.set_params(estimator__videoframeembedder__backbone=colour_grid)
    scores = plain.fit(covers, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], scores)
    if n_jobs is None:
        assert search.best_estimator_[0].store is store


def test_a_search_embeds_every_caption_once(tiny_bert, store, monkeypatch):
    n_seen, embed = [], TextEncoder.embed

    def counting(self, ids, pooling):
        n_seen.append(len(ids))
        return embed(self, ids, pooling)

    monkeypatch.setattr(TextEncoder, "embed", counting)
    captions = [f"dance {number}" for number in range(24)]
    embedding = CaptionEmbedder(tiny_bert, store=store)
    model = make_pipeline(embedding, LogisticRegression())
    grid = {"logisticregression__C": [0.01, 0.1, 1, 10]}
    GridSearchCV(model, grid, cv=3).fit(captions, np.arange(24) % 2)
    assert sum(n_seen) == 24
    assert store.stats()["misses"] == 24


def test_one_name_with_other_content_is_another_item(covers, store, tmp_path):
    path, model = tmp_path / "video.png", embedder(store=store)
    shutil.copy(covers[0], path)
    first = model.fit_transform([path])
    shutil.copy(covers[9], path)  # in place
    second = model.transform([path])
    assert np.abs(first - second).max() > 0.1
    np.testing.assert_array_equal(second, model.transform([covers[9]]))
    assert store.verify()["records"] == 2


def test_same_name_in_two_folders(covers, store, tmp_path):
    for number in (0, 1):
        (tmp_path / str(number)).mkdir()
        shutil.copy(covers[number], tmp_path / str(number) / "video.png")
    paths = [tmp_path / "0" / "video.png", tmp_path / "1" / "video.png"]
    rows = embedder(store=store).fit_transform(paths)
    np.testing.assert_array_equal(rows, embedder().fit_transform(covers[:2]))


def test_one_content_under_many_names_is_embedded_once(covers, store, log, tmp_path):
    paths = [covers[0], *(str(tmp_path / f"{n}.png") for n in range(12))]
    for path in paths[1:-1]:
        shutil.copy(covers[0], path)
    os.symlink(covers[0], paths[-1])
    rows = of_covers(log, store).fit_transform(paths)
    assert len(lines(log)) == len(store) == 1
    assert (rows == rows[0]).all()
    assert rows.any()


def test_two_models_never_share_a_vector(covers, store):
    def shallow():
        return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 4))

    def other_weights():
        net = shallow()
        with torch.no_grad():
            net[2].bias[0] += 1e-3
        return net

    for n_models, backbone in enumerate([shallow, other_weights, nn.Flatten], 1):
        rows = embedder(backbone=backbone).fit_transform(covers)
        with_store = embedder(backbone=backbone, store=store).fit_transform(covers)
        np.testing.assert_array_equal(with_store, rows)
        assert len(store) == 24 * n_models


@pytest.mark.parametrize(
    "change",
    [
        {"n_frames": 4},
        {"image_size": 48},
        {"pooling": "max"},
        {"precision": "bfloat16"},
        {"backbone": mean_colour},
    ],
)
def test_a_changed_parameter_gives_new_vectors(clip_paths, store, change):
    embedder(store=store).fit_transform(clip_paths)
    rows = embedder(**change, store=store).fit_transform(clip_paths)
    np.testing.assert_array_equal(rows, embedder(**change).fit_transform(clip_paths))
    assert len(store) == 10


@pytest.mark.parametrize(
    "change", [{"batch_size": 7}, {"device": "cpu"}, {"verbose": 0}]
)
def test_what_only_rounds_does_not(clip_paths, store, change):
    rows = embedder(store=store).fit_transform(clip_paths)
    again = embedder(**change, store=store).fit_transform(clip_paths)
    np.testing.assert_array_equal(again, rows)
    assert len(store) == 5


@pytest.mark.parametrize(
    "change",
    [
        {"n_frames": np.int64(3)},
        {"image_size": np.int64(32)},
        {"pooling": np.str_("mean")},
    ],
)
def test_values_of_a_search_are_the_same_as_pythons_own(clip_paths, store, change):
    """`GridSearchCV` takes them out of arrays of NumPy."""
    rows = embedder(store=store).fit_transform(clip_paths)
    again = embedder(**change, store=store).fit_transform(clip_paths)
    np.testing.assert_array_equal(again, rows)
    assert len(store) == 5


def test_captions_with_values_of_a_search(tiny_bert, store):
    values = {"pooling": np.str_("cls"), "max_length": np.int64(128)}
    for parameters in ({}, values):
        CaptionEmbedder(tiny_bert, store=store, **parameters).fit_transform(CAPTIONS)
    assert len(store) == len(set(CAPTIONS))


@pytest.mark.parametrize(
    "change", [{"pooling": "mean"}, {"max_length": 5}, {"precision": "bfloat16"}]
)
def test_a_changed_parameter_gives_new_caption_vectors(tiny_bert, store, change):
    base = {"precision": "float32"}
    CaptionEmbedder(tiny_bert, **base, store=store).fit_transform(CAPTIONS)
    changed = CaptionEmbedder(tiny_bert, **(base | change))
    rows = clone(changed).set_params(store=store).fit_transform(CAPTIONS)
    np.testing.assert_array_equal(rows, changed.fit_transform(CAPTIONS))
    assert len(store) == 2 * len(set(CAPTIONS))


@pytest.mark.parametrize("file", ["tokenizer.json", "model.safetensors"])
def test_another_file_in_the_model_folder_is_another_model(
    tiny_bert, store, tmp_path, file
):
    folder = tmp_path / "bert"
    shutil.copytree(tiny_bert, folder)
    model = CaptionEmbedder(folder, precision="float32", store=store)
    before = model.fit_transform(CAPTIONS)
    if file == "tokenizer.json":
        text = (folder / file).read_text()
        (folder / file).write_text(text.replace('"dance"', '"dunce"'))
    else:
        from safetensors.torch import load_file, save_file

        state = {name: 1.5 * v for name, v in load_file(folder / file).items()}
        save_file(state, folder / file, metadata={"format": "pt"})
    after = model.transform(CAPTIONS)
    assert np.abs(before - after).max() > 1e-3
    fresh = CaptionEmbedder(folder, precision="float32").fit_transform(CAPTIONS)
    np.testing.assert_array_equal(after, fresh)


def fails(*args, **kwargs):
    raise AssertionError("must not be called")


def save_squeezenet(path, seed):
    from torchvision.models import squeezenet1_1

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.save(squeezenet1_1().state_dict(), path)


def test_a_warm_transform_loads_no_weights_and_decodes_nothing(
    covers, store, tmp_path, monkeypatch
):
    save_squeezenet(tmp_path / "weights.pt", seed=0)
    model = embedder(
        backbone="squeezenet1_1", weights=tmp_path / "weights.pt", store=store
    )
    cold = model.fit_transform(covers[:3])
    monkeypatch.setattr(frames_module, "square_sight", fails)
    monkeypatch.setattr(frames_module, "read_clips", fails)
    np.testing.assert_array_equal(clone(model).fit_transform(covers[:3]), cold)


def test_weights_changed_in_place_are_another_model(covers, store, tmp_path):
    path = tmp_path / "weights.pt"
    save_squeezenet(path, seed=0)
    model = embedder(backbone="squeezenet1_1", weights=path, store=store)
    before = model.fit_transform(covers[:1])
    save_squeezenet(path, seed=1)
    after = model.transform(covers[:1])
    assert np.abs(before - after).max() > 1e-3
    fresh = embedder(backbone="squeezenet1_1", weights=path).fit_transform(covers[:1])
    np.testing.assert_array_equal(after, fresh)


def test_weights_changed_while_they_are_loaded(covers, store, tmp_path, monkeypatch):
    path = tmp_path / "weights.pt"
    save_squeezenet(path, seed=0)
    build = frames_module.square_sight

    def changing(*args, **kwargs):
        save_squeezenet(path, seed=1)
        return build(*args, **kwargs)

    model = embedder(backbone="squeezenet1_1", weights=path, store=store).fit(covers)
    monkeypatch.setattr(frames_module, "square_sight", changing)
    with pytest.raises(OSError, match="weights changed while they were loaded"):
        model.transform(covers[:1])
    assert len(store) == 0


def test_random_weights_are_known_by_their_values(covers, store):
    model = embedder(backbone="squeezenet1_1", weights=None, store=store)
    cold = model.fit_transform(covers[:2])
    np.testing.assert_array_equal(clone(model).fit_transform(covers[:2]), cold)
    assert len(store) == 2


def test_weights_that_are_missing_are_an_error_as_without_a_store(covers, store):
    model = embedder(backbone="squeezenet1_1", weights="no/such.pt", store=store)
    with pytest.raises(ValueError, match="no state dict that fits"):
        model.fit(covers).transform(covers)


def test_warm_captions_load_no_weights(tiny_bert, store, monkeypatch):
    model = CaptionEmbedder(tiny_bert, store=store)
    cold = model.fit_transform(CAPTIONS)
    monkeypatch.setattr(caption_module, "TextEncoder", fails)
    np.testing.assert_array_equal(clone(model).fit_transform(CAPTIONS), cold)


def test_an_encoder_whose_files_are_not_found_is_known_by_its_values(
    tiny_bert, store, monkeypatch
):
    monkeypatch.setattr(caption_module, "pretrained_fingerprint", lambda *args: None)
    model = CaptionEmbedder(tiny_bert, store=store)
    cold = model.fit_transform(CAPTIONS)
    np.testing.assert_array_equal(clone(model).fit_transform(CAPTIONS), cold)
    assert len(store) == len(set(CAPTIONS))


def test_damaged_records_are_computed_again_and_replaced(covers, store, log):
    model = of_covers(log, store)
    cold = model.fit_transform(covers)
    connection = sqlite3.connect(store.path)
    with connection:
        connection.execute(
            "UPDATE records SET data = zeroblob(length(data)) WHERE id % 2"
        )
    connection.close()
    np.testing.assert_array_equal(model.transform(covers), cold)
    assert len(lines(log)) == 24 + 12
    report = store.verify()
    assert (report["records"], report["damaged"]) == (24, 0)
    np.testing.assert_array_equal(model.transform(covers), cold)
    assert len(lines(log)) == 24 + 12


def test_an_interrupt_keeps_what_is_ready(covers, store, log):
    stopped = []

    def backbone():
        def stop(module, inputs, output):
            if len(lines(log)) == 11 and not stopped:
                stopped.append(1)
                raise KeyboardInterrupt

        net = logging_to(log)()
        net.register_forward_hook(stop)
        return net

    model = embedder(backbone=backbone, n_frames=1, batch_size=1, store=store)
    model.fit(covers)
    with pytest.raises(KeyboardInterrupt):
        model.transform(covers)
    assert len(store) == 10  # the eleventh was in flight
    log.rename(f"{log}.1")
    rows = model.transform(covers)
    assert len(lines(log)) == 14
    np.testing.assert_array_equal(rows, embedder(n_frames=1).fit_transform(covers))


def test_a_bad_file_is_named_and_the_others_are_kept(covers, store, log, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"not a video" * 100)
    model = of_covers(log, store).fit(covers)
    for path in (bad, tmp_path / "missing.mp4"):
        table = [*covers[:12], str(path)]
        with pytest.raises(MediaError, match=rf"Row 12: .*{path.name}: cannot be"):
            model.transform(table)
        assert len(store) == 12
    model.transform(covers[:12])
    assert len(lines(log)) == store.stats()["misses"] == 12


@pytest.mark.parametrize("timeout_s", [None, 60])
def test_the_store_among_the_files_keeps_its_locks(covers, tmp_path, timeout_s):
    """Another process that takes it for unused would remove its log."""
    (tmp_path / "videos").mkdir()
    store = EmbeddingStore(tmp_path / "videos" / "a.db")
    limits = MediaLimits(timeout_s=timeout_s)
    model = embedder(store=store, limits=limits, on_error="nan").fit(covers)
    with open_store(store) as session:
        assert not len(store)
        found = sorted(map(str, (tmp_path / "videos").iterdir()))
        assert len(found) == 4
        with pytest.warns(MediaWarning, match="4 of 5 .*a.db: is a file of the store"):
            assert np.isnan(model.transform([*found, covers[0]])[:4]).all()
        code = "import sys; from skchallenge.embed import EmbeddingStore as E; "
        code += "print(len(E(sys.argv[1])))"
        command = [sys.executable, "-c", code, store.path]
        assert subprocess.check_output(command, text=True) == "1\n"
        assert set(found) <= set(map(str, (tmp_path / "videos").iterdir()))
        assert session.select("SELECT count(*) FROM records") == [(1,)]


def test_a_vector_is_stored_under_the_content_that_was_decoded(
    covers, store, tmp_path, monkeypatch
):
    """A link may flip between the hashing of a file and its decoding."""
    link, read_clips = tmp_path / "link.png", frames_module.read_clips
    link.symlink_to(covers[0])
    rows = embedder().fit_transform(covers[:2])

    def flip_first(*args, **settings):
        link.unlink()
        link.symlink_to(covers[1])
        return read_clips(*args, **settings)

    model = embedder(store=store).fit([link])
    monkeypatch.setattr(frames_module, "read_clips", flip_first)
    np.testing.assert_array_equal(model.transform([link]), rows[1:])
    monkeypatch.undo()
    np.testing.assert_array_equal(model.transform(covers[:2]), rows)
    assert store.stats()["misses"] == 2  # neither was stored under the other's content


def test_hashing_for_the_store_obeys_the_limit_of_time(covers, store, tmp_path):
    path = tmp_path / "a.mp4"
    with open(path, "wb") as file:
        file.truncate(4 * 2**30)  # sparse: takes no room on the disk
    limits = MediaLimits(timeout_s=0.1)
    model = embedder(store=store, limits=limits, on_error="zero").fit(covers)
    with pytest.warns(MediaWarning, match="a.mp4: is not hashed within timeout_s=0.1"):
        model.transform([path])


def test_results_are_written_after_a_while(covers, store, log, monkeypatch):
    monkeypatch.setattr(module, "_COMMIT_EVERY_S", 0)
    sizes = []

    def backbone():
        net = logging_to(log)()
        net.register_forward_hook(lambda m, x, y: sizes.append(len(store)))
        return net

    one = {"n_frames": 1, "batch_size": 1}
    embedder(backbone=backbone, **one, store=store).fit_transform(covers[:6])
    assert sizes == [0, 0, 1, 2, 3, 4, 5]  # `fit`, then before each file


def test_tables_with_several_columns(covers, store):
    X = pd.DataFrame({"a": covers[:6], "b": covers[3:9]})
    rows = embedder().fit_transform(X)
    model = embedder(store=store).set_output(transform="pandas").fit(X)
    for _ in range(2):
        np.testing.assert_array_equal(model.transform(X).to_numpy(), rows)
    assert len(store) == 9


def test_no_rows_need_no_model(store):
    assert list(module.cached_embed(fails, [], store)) == []


def test_progress_counts_what_is_read_too(covers, store, capsys):
    model = embedder(store=store).fit(covers)
    model.transform(covers[:10])
    model.set_params(verbose=1).transform(covers)
    assert "24/24" in capsys.readouterr().err


def test_a_child_process_may_go_on(covers, store):
    model = embedder(store=store).fit(covers)
    rows = model.transform(covers[:3])
    child = os.fork()
    if child == 0:
        again = model.transform(covers[:4])
        os._exit(int(not np.array_equal(again[:3], rows)))
    assert os.waitpid(child, 0)[1] == 0
    assert len(store) == 4
    np.testing.assert_array_equal(model.transform(covers[:4])[:3], rows)


@pytest.mark.parametrize("make", [VideoFrameEmbedder, CaptionEmbedder])
def test_wrong_stores_are_refused_in_fit(make, tiny_bert, tmp_path):
    first = {"backbone": colour_grid} if make is VideoFrameEmbedder else {}
    model = make(**(first or {"model": tiny_bert}))
    with pytest.raises(TypeError, match="store must be None, a path or an Embedding"):
        model.set_params(store=3).fit(["a"])
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        model.set_params(store=tmp_path / "no" / "a.db").fit(["a"])


# Whole processes. The program logs a line a file, and may kill itself at one.

PROGRAM = textwrap.dedent("""
    import os, signal, sys
    import numpy as np
    from torch import nn
    from skchallenge.embed import VideoFrameEmbedder

    folder, store, log, kill_at, out = sys.argv[1:]
    paths = sorted(os.path.join(folder, name) for name in os.listdir(folder))
    fitted = []

    def backbone():
        def note(module, inputs, output):
            if not fitted:
                return
            with open(log, "a") as file:
                file.write("frame\\n")
            fitted.append(1)
            if len(fitted) - 1 == int(kill_at):
                os.kill(os.getpid(), signal.SIGKILL)
        net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
        net.register_forward_hook(note)
        return net

    model = VideoFrameEmbedder(
        backbone, n_frames=1, image_size=32, precision="float32", batch_size=1,
        store=store).fit(paths)
    fitted.append(1)
    np.save(out, model.transform(paths))
""")


def start(covers, store, log, out, kill_at=0):
    program = [sys.executable, "-W", "error", "-c", PROGRAM]
    arguments = [Path(covers[0]).parent, store.path, log, str(kill_at), out]
    return subprocess.Popen([*program, *arguments], stderr=subprocess.PIPE)


def finish(process):
    errors = process.communicate(timeout=600)[1].decode()
    return process.returncode, errors


def test_killed_runs_lose_nothing_that_was_stored(covers, store, log, tmp_path):
    out, n_before, n_lost = tmp_path / "rows.npy", 0, 0
    for kill_at in (3, 11, 1):
        code, errors = finish(start(covers, store, log, out, kill_at))
        assert code == -signal.SIGKILL, errors
        report = store.verify()
        assert (report["damaged"], report["changed"]) == (0, 0)
        n_in_flight = n_before + kill_at - len(store)
        assert 0 < n_in_flight <= 8
        n_before, n_lost = len(store), n_lost + n_in_flight
    code, errors = finish(start(covers, store, log, out))
    assert code == 0, errors
    assert len(lines(log)) == 24 + n_lost
    expected = embedder(n_frames=1).fit_transform(covers)
    np.testing.assert_array_equal(np.load(out), expected)


def test_four_processes_share_the_work(covers, store, log, tmp_path):
    outs = [tmp_path / f"{number}.npy" for number in range(4)]
    for process in [start(covers, store, log, out) for out in outs]:
        code, errors = finish(process)
        assert code == 0, errors
    assert len(lines(log)) == len(store) == 24
    assert store.verify()["damaged"] == 0
    expected = embedder(n_frames=1).fit_transform(covers)
    for out in outs:
        np.testing.assert_array_equal(np.load(out), expected)
