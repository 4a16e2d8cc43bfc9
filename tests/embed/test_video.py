"""VideoFrameEmbedder: an oracle with known colours, laws, and wrong input."""

import copy
import gc
import os
import pickle
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from joblib import Parallel, delayed
from PIL import Image
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from skchallenge.embed import VideoFrameEmbedder
from skchallenge.exceptions import MediaError, MediaWarning

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def mean_colour():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def colour_grid():
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())


def small_cnn():
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def embedder(**parameters):
    defaults = {
        "backbone": small_cnn,
        "n_frames": 6,
        "image_size": 32,
        "precision": "float32",
    }
    return VideoFrameEmbedder(**(defaults | parameters))


def grey_feature(levels):
    """Features of uniform grey frames, by hand: (level / 255 - mean) / std."""
    return (np.asarray(levels)[:, None] / 255 - MEAN) / STD


@pytest.fixture(scope="module")
def grey_video(tmp_path_factory, media):
    path = tmp_path_factory.mktemp("grey") / "grey.mp4"
    return str(media.write_video(path, media.grey_frames(12, step=20)))


@pytest.mark.parametrize(
    "pooling, expected",
    [
        ("mean", lambda features: features.mean(axis=0)),
        ("max", lambda features: features.max(axis=0)),
        ("concat", lambda features: features.ravel()),
    ],
)
def test_known_colours_give_known_features(grey_video, pooling, expected):
    model = embedder(backbone=mean_colour, n_frames=4, pooling=pooling)
    row = model.fit_transform([grey_video])
    features = grey_feature([5 + 20 * frame for frame in (1, 4, 7, 10)])
    np.testing.assert_allclose(row[0], expected(features), atol=0.05)
    assert row.dtype == np.float32


def test_repeated_frames_fill_a_full_width_row(grey_video):
    model = embedder(backbone=mean_colour, n_frames=24, pooling="concat")
    frames = model.fit_transform([grey_video]).reshape(24, 3)
    np.testing.assert_array_equal(frames[::2], frames[1::2])
    expected = grey_feature(5 + 20 * np.arange(12))
    np.testing.assert_allclose(frames[::2], expected, atol=0.05)


def test_layout_of_the_picture_is_kept(tmp_path, media):
    Image.fromarray(media.quadrants()).save(tmp_path / "a.png")
    model = embedder(backbone=colour_grid, n_frames=1)
    grid = model.fit_transform([tmp_path / "a.png"]).reshape(3, 4, 4)
    pixels = grid.transpose(1, 2, 0) * STD + MEAN
    expected = media.quadrants(4) / 255
    np.testing.assert_allclose(pixels, expected, atol=0.05)


def test_the_order_of_rows_does_not_matter(clip_paths):
    model = embedder().fit(clip_paths)
    rows = model.transform(clip_paths)
    order = [3, 0, 4, 2, 1]
    shuffled = model.transform([clip_paths[i] for i in order])
    np.testing.assert_array_equal(shuffled, rows[order])


def test_a_row_does_not_depend_on_the_others(clip_paths):
    model = embedder().fit(clip_paths)
    alone = np.vstack([model.transform([path]) for path in clip_paths])
    np.testing.assert_array_equal(alone, model.transform(clip_paths))


def test_duplicates_are_embedded_once(clip_paths):
    frames_seen = []

    def counting():
        net = small_cnn()
        net.register_forward_hook(lambda m, x, out: frames_seen.append(len(out)))
        return net

    model = embedder(backbone=counting, batch_size=1).fit(clip_paths)
    frames_seen.clear()
    once = model.transform(clip_paths[:2])
    n_frames = len(frames_seen)
    assert n_frames == 3 + 6  # the first clip has three frames
    frames_seen.clear()
    many = model.transform([clip_paths[i] for i in (0, 1, 0, 0, 1)])
    assert len(frames_seen) == n_frames
    np.testing.assert_array_equal(many, once[[0, 1, 0, 0, 1]])


@pytest.mark.parametrize(
    "precision, tolerance", [("float32", 1e-5), ("bfloat16", 1e-2)]
)
def test_batch_size_does_not_matter(clip_paths, precision, tolerance):
    rows = [
        embedder(batch_size=size, precision=precision).fit_transform(clip_paths)
        for size in (1, 4, 7, 1000, "auto")
    ]
    for other in rows[1:]:
        scale = np.abs(rows[0]).max()
        np.testing.assert_allclose(other, rows[0], rtol=0, atol=tolerance * scale)


def test_the_number_of_threads_does_not_matter(clip_paths):
    found = torch.get_num_threads()
    rows = []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            rows.append(embedder().fit_transform(clip_paths))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(found)
    np.testing.assert_allclose(*rows, rtol=0, atol=1e-5 * np.abs(rows[0]).max())


def test_same_bits_on_repetition_and_after_clone(clip_paths):
    model = embedder()
    rows = model.fit_transform(clip_paths)
    np.testing.assert_array_equal(model.transform(clip_paths), rows)
    np.testing.assert_array_equal(clone(model).fit_transform(clip_paths), rows)


def pickled(model):
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize("copy_of", [pickled, copy.deepcopy])
def test_copies_hold_no_weights(clip_paths, copy_of):
    model = embedder()
    rows = model.fit_transform(clip_paths)
    other = copy_of(model)
    assert len(pickle.dumps(model)) < 2000
    np.testing.assert_array_equal(other.transform(clip_paths), rows)


def test_the_network_is_built_once_and_again_when_a_parameter_changes(clip_paths):
    built = []

    def counting():
        built.append(1)
        return small_cnn()

    model = embedder(backbone=counting).fit(clip_paths)
    model.transform(clip_paths)
    model.set_params(verbose=0, batch_size=3).transform(clip_paths)
    assert len(built) == 1
    model.set_params(precision="bfloat16").transform(clip_paths)
    assert len(built) == 2


def test_the_caller_is_left_as_found(clip_paths):
    paths = pd.DataFrame({"path": clip_paths})
    before = paths.copy()
    state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    embedder().fit_transform(paths)
    embedder(backbone="squeezenet1_1", weights=None).fit(paths).transform(paths[:1])
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == n_threads
    pd.testing.assert_frame_equal(paths, before)


@pytest.mark.parametrize(
    "as_input",
    [
        list,
        tuple,
        np.array,
        pd.Series,
        pl.Series,
        lambda paths: [Path(path) for path in paths],
        lambda paths: pd.Series([Path(path) for path in paths]),
        lambda paths: pd.Series(paths, index=[7] * len(paths), dtype="category"),
        lambda paths: pd.DataFrame({"path": paths}),
        lambda paths: pl.DataFrame({"path": paths}),
        lambda paths: np.array(paths, dtype=object)[:, None],
        lambda paths: [[path] for path in paths],
    ],
)
def test_a_column_may_be_given_in_many_ways(clip_paths, as_input):
    model = embedder(n_frames=2)
    expected = model.fit_transform(clip_paths)
    X = as_input(clip_paths)
    np.testing.assert_array_equal(clone(model).fit_transform(X), expected)


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame])
def test_columns_of_a_table_stand_side_by_side(clip_paths, table):
    X = table({"video": clip_paths, "cover": clip_paths[::-1]})
    model = embedder(n_frames=2)
    rows = model.fit_transform(X)
    single = clone(model).fit_transform(clip_paths)
    np.testing.assert_array_equal(rows, np.hstack([single, single[::-1]]))
    assert model.n_features_in_ == 2
    assert model.feature_names_in_.tolist() == ["video", "cover"]


@pytest.mark.parametrize("pooling, width", [("mean", 10), ("concat", 60)])
@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_feature_names_and_set_output(clip_paths, pooling, width, output):
    model = embedder(pooling=pooling).set_output(transform=output)
    table = model.fit_transform(pd.DataFrame({"path": clip_paths}, index=list("abcde")))
    names = [f"videoframeembedder{i}" for i in range(width)]
    assert list(table.columns) == names
    assert model.get_feature_names_out().tolist() == names
    assert table.shape == (5, width)
    if output == "pandas":
        assert table.index.tolist() == list("abcde")
        assert (table.dtypes == np.float32).all()


def test_works_inside_pipeline_and_column_transformer(clip_paths):
    X = pd.DataFrame({"path": clip_paths, "views": np.arange(5.0)})
    columns = make_column_transformer((embedder(), "path"), ("passthrough", ["views"]))
    rows = make_pipeline(columns, StandardScaler()).fit_transform(X)
    assert rows.shape == (5, 11)
    assert np.isfinite(rows).all()


def test_fit_opens_no_file_and_no_weights():
    model = VideoFrameEmbedder().fit(["there/is/no/such/file.mp4"])
    assert model.width_ == 2048
    assert model.get_feature_names_out().shape == (2048,)
    paper = VideoFrameEmbedder("vgg16", pooling="concat").fit(["no.mp4"])
    assert paper.get_feature_names_out().shape == (50 * 4096,)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("change", [{"pooling": "concat"}, {"n_frames": 3}])
def test_names_follow_what_is_set_after_fit(clip_paths, tmp_path, change, stored):
    store = tmp_path / "s.db" if stored else None
    pooling = "mean" if "pooling" in change else "concat"
    fitted = embedder(n_frames=2, pooling=pooling, store=store)
    X = pd.DataFrame({"a": clip_paths, "b": clip_paths[::-1]})
    fitted.set_output(transform="pandas").fit(X).transform(X)
    found = fitted.set_params(**change).transform(X)
    again = clone(fitted).fit_transform(X)
    pd.testing.assert_frame_equal(found, again)
    assert list(found.columns) == list(fitted.get_feature_names_out())


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    "change, network",
    [
        ({"backbone": mean_colour}, "mean_colour.* gives 3"),
        ({"backbone": "resnet18", "weights": None}, "'resnet18' gives 512"),
    ],
)
def test_another_width_after_fit_is_refused(
    clip_paths, tmp_path, change, network, stored
):
    store = tmp_path / "s.db" if stored else None
    fitted = embedder(store=store).fit(clip_paths)
    embedder(store=store, **change).fit_transform(clip_paths)
    fitted.set_params(**change)
    message = f"backbone=.*{network} features with .* fit gave 10. Call fit again"
    with pytest.raises(ValueError, match=message):
        fitted.transform(clip_paths)
    assert fitted.fit_transform(clip_paths).shape[1] != 10


def test_a_size_that_makes_another_width_after_fit_is_refused(clip_paths):
    fitted = embedder(backbone=nn.Flatten, image_size=8).fit(clip_paths)
    fitted.set_params(image_size=16)
    match = "backbone=.*Flatten.* gives 768 features with what was set after fit, but"
    with pytest.raises(ValueError, match=match):
        fitted.transform(clip_paths)


def test_a_wrong_parameter_after_fit_is_named(clip_paths):
    fitted = embedder().fit(clip_paths).set_params(pooling="sum")
    with pytest.raises(ValueError, match="pooling must be one of .*got 'sum'"):
        fitted.transform(clip_paths)


def test_weights_may_move_after_fit(clip_paths, tmp_path):
    torch.save(small_cnn().state_dict(), tmp_path / "a.pt")
    shutil.copy(tmp_path / "a.pt", tmp_path / "there.pt")
    fitted = embedder(weights=tmp_path / "a.pt").fit(clip_paths)
    expected = fitted.transform(clip_paths)
    (tmp_path / "a.pt").unlink()
    moved = fitted.set_params(weights=tmp_path / "there.pt").transform(clip_paths)
    np.testing.assert_array_equal(moved, expected)


def test_named_backbone_end_to_end(clip_paths):
    model = embedder(backbone="squeezenet1_1", weights=None)
    rows = model.fit_transform(clip_paths)
    assert rows.shape == (5, 512)
    assert np.isfinite(rows).all()
    assert np.unique(rows.round(6), axis=0).shape == rows.shape


def test_progress_is_shown_on_request(clip_paths, capsys):
    embedder().fit_transform(clip_paths)
    assert capsys.readouterr().err == ""
    embedder(verbose=1).fit_transform(clip_paths)
    assert "5/5" in capsys.readouterr().err


def test_not_fitted():
    with pytest.raises(NotFittedError):
        embedder().transform(["a.mp4"])


def test_tags():
    tags = get_tags(embedder())
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.requires_fit


def test_checks_of_scikit_learn():
    # Most checks feed numbers, which are refused: scikit-learn itself says so.
    with pytest.warns(SkipTestWarning, match="requires input  of type"):
        results = check_estimator(embedder(), on_skip=None, on_fail=None)
    assert [r["status"] for r in results] == ["passed"]


def test_bad_files_are_named_with_their_row(clip_paths, tmp_path):
    missing = str(tmp_path / "missing.mp4")
    with pytest.raises(
        MediaError, match=r"Row 5: .*missing.mp4: cannot be .*on_error='nan'"
    ):
        embedder().fit_transform([*clip_paths, missing])
    table = pd.DataFrame({"a": clip_paths[:2], "b": [clip_paths[0], missing]})
    with pytest.raises(MediaError, match=r"Row 1: .*missing.mp4"):
        embedder().fit_transform(table)


@pytest.mark.parametrize("on_error, filler", [("nan", np.nan), ("zero", 0.0)])
@pytest.mark.parametrize("with_store", [False, True])
def test_bad_files_are_rows_of_their_own(
    clip_paths, tmp_path, on_error, filler, with_store
):
    bad, gone = tmp_path / "bad.mp4", str(tmp_path / "gone.mp4")
    bad.write_bytes(b"no film" * 100)
    store = tmp_path / "a.db" if with_store else None
    model = embedder(on_error=on_error, store=store).fit(clip_paths)
    expected = model.transform(clip_paths)
    table = [str(bad), *clip_paths[:2], None, *clip_paths[2:], gone, str(bad)]
    with pytest.warns(MediaWarning) as caught:
        rows = model.transform(pd.Series(table, dtype=object))
    (message,) = [str(w.message) for w in caught]
    assert message.startswith("4 of 9 files could not be embedded")
    assert f"on_error='{on_error}'" in message
    assert "row 0: " in message
    assert "row 3: there is no path" in message
    assert "row 7: " in message
    assert "1 more; probe_media tells" in message
    good = [1, 2, 4, 5, 6]
    np.testing.assert_array_equal(rows[good], expected)
    np.testing.assert_array_equal(rows[[0, 3, 7, 8]], np.full((4, 10), filler))


def test_the_warning_names_the_callers_line(clip_paths, tmp_path):
    model = embedder(on_error="nan").fit(clip_paths)
    with pytest.warns(MediaWarning) as caught:
        model.transform([str(tmp_path / "a.mp4")])
    assert caught[0].filename == __file__


def test_no_warning_without_bad_files(clip_paths):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder(on_error="nan").fit_transform(clip_paths)


def test_a_table_of_bad_files_only(tmp_path):
    model = embedder(on_error="zero").fit(["a.mp4"])
    with pytest.warns(MediaWarning, match="2 of 2 files could not be embedded"):
        rows = model.transform([str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")])
    assert rows.shape == (2, 10)
    assert not rows.any()


@pytest.mark.parametrize("with_store", [False, True])
def test_a_matrix_may_lie_in_a_file(clip_paths, tmp_path, monkeypatch, with_store):
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    store = tmp_path / "a.db" if with_store else None
    expected = embedder(pooling="concat").fit_transform(clip_paths)
    model = embedder(pooling="concat", output="memmap", store=store)
    for _ in range(2):
        rows = model.fit_transform(clip_paths)
        assert isinstance(rows, np.memmap)
        np.testing.assert_array_equal(rows, expected)
    assert len(list(folder.iterdir())) == 1  # the first went with its matrix
    part = rows[1:3]
    del rows
    gc.collect()
    doubled = Parallel(2)(delayed(np.multiply)(row, 2) for row in part)
    np.testing.assert_array_equal(doubled, 2 * expected[1:3])
    assert len(list(folder.iterdir())) == 1  # a view holds it
    del part
    gc.collect()
    assert not list(folder.iterdir())


def test_a_full_disk_is_an_error(clip_paths, monkeypatch):
    model = embedder(output="memmap").fit(clip_paths)
    usage = shutil.disk_usage(".")._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    calls, close, unlink = [], os.close, os.unlink
    monkeypatch.setattr(os, "close", lambda file: calls.append("close") or close(file))
    monkeypatch.setattr(os, "unlink", lambda path: calls.append("gone") or unlink(path))
    with pytest.raises(OSError, match=r"output='memmap' needs 200 bytes in .*TMPDIR"):
        model.transform(clip_paths)
    assert calls == ["close", "gone"]  # Windows removes no open file


def test_a_fork_leaves_the_file_alone(clip_paths, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    rows = embedder(output="memmap").fit_transform(clip_paths)
    child = os.fork()
    if child == 0:
        del rows
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1
    assert np.isfinite(rows).all()


@pytest.mark.parametrize(
    "X, message",
    [
        ([1, 2], "row 0, column 0 is a int: 1"),
        (np.zeros(3), "row 0, column 0 is a float"),
        (np.zeros((3, 2)), "row 0, column 0 is a float64"),
        (pd.Series([0.5]), "row 0, column 0 is a float"),
        (pd.DataFrame({"p": ["a.mp4"], "n": [3]}), "row 0, column 1 is a int: 3"),
        (["a.mp4", None], "row 1, column 0 is missing: None. .*on_error='nan'"),
        (pd.Series(["a.mp4", np.nan]), "row 1, column 0 is missing: nan"),
        (pl.Series(["a.mp4", None]), "row 1, column 0 is missing: None"),
    ],
)
def test_anything_but_paths_is_refused(X, message):
    with pytest.raises(TypeError, match=f"X must hold paths.*{message}"):
        embedder().fit(X)


def test_other_columns_than_at_fit_are_refused(clip_paths):
    model = embedder().fit(pd.DataFrame({"path": clip_paths}))
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(pd.DataFrame({"file": clip_paths}))
    with pytest.raises(ValueError, match="expecting 1 features"):
        embedder().fit(clip_paths).transform(np.array([clip_paths, clip_paths]).T)


@pytest.mark.parametrize(
    "parameters, error, message",
    [
        ({"n_frames": 0}, ValueError, "n_frames == 0, must be >= 1"),
        ({"n_frames": 2.5}, TypeError, "n_frames must be an instance of"),
        ({"image_size": -1}, ValueError, "image_size == -1, must be >= 1"),
        ({"batch_size": 0}, ValueError, "batch_size == 0, must be >= 1"),
        ({"batch_size": "big"}, ValueError, "batch_size must be 'auto' or an integer"),
        ({"pooling": "sum"}, ValueError, "pooling must be one of .*got 'sum'"),
        ({"precision": "int8"}, ValueError, "precision must be one of .*got 'int8'"),
        ({"device": "gpu9"}, ValueError, "device must be 'auto' or a torch device"),
        ({"backbone": small_cnn()}, TypeError, "Pass a function that returns it"),
        ({"backbone": "resnet51"}, ValueError, "Names of torchvision include resnet50"),
        ({"backbone": nn.Identity}, ValueError, "must map images"),
        ({"weights": None}, ValueError, "when backbone is a function"),
        ({"weights": "no/such.pt"}, ValueError, "no state dict that fits"),
        ({"compile": "yes"}, ValueError, "compile must be 'auto', .*got 'yes'"),
        ({"compile": 1}, ValueError, "compile must be 'auto', .*got 1"),
        ({"on_error": "skip"}, ValueError, "on_error must be one of .*got 'skip'"),
        ({"output": "list"}, ValueError, "output must be one of .*got 'list'"),
        ({"limits": 10}, TypeError, "limits must be a MediaLimits or None, got 10"),
    ],
)
def test_wrong_parameters(parameters, error, message):
    with pytest.raises(error, match=message):
        embedder(**parameters).fit(["a.mp4"])


def test_constructor_only_stores():
    model = embedder(n_frames=-1, pooling="nonsense")
    assert model.get_params()["pooling"] == "nonsense"


@pytest.mark.skipif(
    not os.environ.get("SKCHALLENGE_DATA"),
    reason="SKCHALLENGE_DATA does not name the folder with the real clips",
)
@pytest.mark.parametrize("pooling, width", [("mean", 48), ("concat", 50 * 48)])
def test_real_clips_become_full_rows(pooling, width):
    folder = Path(os.environ["SKCHALLENGE_DATA"]) / "clips"
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".mkv", ".mp4"))
    assert len(paths) == 23
    rows = VideoFrameEmbedder(colour_grid, pooling=pooling).fit_transform(paths)
    assert rows.shape == (23, width)
    assert np.isfinite(rows).all()
    assert (rows.std(axis=1) > 0).all()
