"""MultimodalVirality: columns, covers, both; every network of the report."""

import gc
import pickle
import shutil
import tracemalloc
import warnings
import weakref
from functools import partial
from pathlib import Path

import contract
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from PIL import Image
from scipy.special import softmax
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skchallenge import MultimodalVirality, _base, _virality
from skchallenge._table import read_table
from skchallenge.exceptions import (
    LeakageError,
    LeakageWarning,
    MediaError,
    MediaWarning,
)
from skchallenge.nn import MLP

SIZE = 16
FAST = {
    "image_size": SIZE,
    "metadata_layers": (8,),
    "max_iter": 2,
    "lr": 0.003,
    "random_state": 0,
}
NUMBERS = ["caption_length", "duration_s"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Covers are red or blue with grain; that is the signal, beside one column."""
    folder = tmp_path_factory.mktemp("covers")
    rng = np.random.default_rng(0)
    n = 120
    is_red, x = rng.integers(0, 2, size=n), rng.normal(size=(n, 2))
    paths = []
    for i in range(n):
        base = np.array([200, 40, 40] if is_red[i] else [40, 40, 200])
        pixels = base + rng.normal(0, 20, size=(20, 20, 3))
        path = folder / f"{i:03d}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        paths.append(str(path))
    table = pd.DataFrame(x, columns=NUMBERS).assign(cover=paths)
    (folder / "broken.jpg").write_bytes(b"no picture")
    return table, is_red


@pytest.fixture
def table(videos):
    return videos[0].copy()


@pytest.fixture
def y(videos):
    return videos[1].copy()


def model(**options):
    return MultimodalVirality(**{"image": "cover", **FAST, **options})


def n_parameters(fitted):
    return sum(p.numel() for p in fitted.net_.module_.parameters())


# Oracles: the report's networks.


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"metadata_layers": None}, 2_145_794),
        ({"fusion": "concat"}, 2_200_738),
        ({"fusion": "full"}, 2_190_562),
        # 10-512-64-2: 5,632 + 32,832 + 130
        ({"image": None}, 38_594),
        ({"image": None, "metadata_layers": ()}, 22),
    ],
)
def test_parameter_counts_of_the_report(table, y, options, expected):
    X = table[["cover"]].assign(**{f"x{i}": float(i) for i in range(10)})
    X["x0"] = np.arange(len(X))
    given = {"image": "cover", "image_size": 64, "max_iter": 1, **options}
    if given["image"] is None:
        X = X.drop(columns="cover")
    fitted = MultimodalVirality(early_stopping=False, **given).fit(X[:16], y[:16])
    assert n_parameters(fitted) == expected
    assert fitted.predict_proba(X[:3]).shape == (3, 2)


def test_parameters_and_training_of_the_resnet(table, y):
    resnet = model(
        image_encoder="resnet50",
        image_size=36,
        weights=None,
        metadata_layers=None,
        max_iter=1,
        early_stopping=False,
        batch_size=4,
    )
    fitted = resnet.fit(table[:9], y[:9])  # the last batch has one cover
    assert n_parameters(fitted) == 23_512_130
    assert all(p.requires_grad for p in fitted.net_.module_.parameters())
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(
        loaded.predict_proba(table[:4]), fitted.predict_proba(table[:4])
    )


@pytest.mark.slow
def test_a_resnet_starts_from_given_weights(table, y, tmp_path):
    from torchvision.models import resnet50

    torch.manual_seed(0)
    state = resnet50(weights=None).state_dict()
    torch.save(state, tmp_path / "resnet.pt")
    resnet = model(
        image_encoder="resnet50",
        image_size=36,
        weights=tmp_path / "resnet.pt",
        lr=1e-12,
        max_iter=1,
        early_stopping=False,
    )
    fitted = resnet.fit(table[:8], y[:8])
    # Beside columns, 2,048 features become 32, as those of the CNN.
    assert fitted.net_.module_.missing.shape == (32,)
    found = fitted.net_.module_.encoder[0].backbone.layer4[2].conv3.weight
    torch.testing.assert_close(found, state["layer4.2.conv3.weight"])
    (tmp_path / "resnet.pt").unlink()
    loaded = pickle.loads(pickle.dumps(fitted))  # asks for no weights
    np.testing.assert_array_equal(
        loaded.predict_proba(table[:4]), fitted.predict_proba(table[:4])
    )


def logistic_data(gap):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, size=200)
    X = rng.normal(size=(200, 4)) + gap * y[:, None]
    return StandardScaler().fit_transform(X), y


@pytest.mark.parametrize("gap, name", [(0.7, "overlapping"), (6.0, "separable")])
def test_no_hidden_layer_is_scikit_learns_logistic_regression(gap, name):
    X, y = logistic_data(gap)
    ours = MultimodalVirality(
        metadata_layers=(),
        alpha=2 / (1.0 * len(X)),
        lr=0.01,
        max_iter=3000,
        batch_size=len(X),
        early_stopping=False,
        random_state=0,
    ).fit(X, y)
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(X, y)
    assert (theirs.score(X, y) == 1) == (name == "separable")
    gap = np.abs(ours.predict_proba(X) - theirs.predict_proba(X)).max()
    assert gap < 1e-3
    weight = ours.net_.module_.head.weight.detach().numpy()
    np.testing.assert_allclose(weight[1] - weight[0], theirs.coef_[0], atol=0.01)


def test_the_penalty_spares_biases_and_counts_each_weight_once(monkeypatch):
    """The gradient of one full batch, worked by hand: X.T @ (p - y) / n + alpha * W."""
    X, y = logistic_data(0.7)
    alpha, steps = 0.3, []

    def spy(net, *args, **kwargs):
        layer, optimizer = net.module_.head, net.optimizer_
        before = [p.detach().numpy().copy() for p in (layer.weight, layer.bias)]
        result = original(net, *args, **kwargs)
        moments = [optimizer.state[p]["exp_avg"] for p in (layer.weight, layer.bias)]
        steps.append((before, [m.detach().numpy().copy() for m in moments]))
        return result

    original = _base._Net.train_step
    monkeypatch.setattr(_base._Net, "train_step", spy)
    MultimodalVirality(
        metadata_layers=(),
        alpha=alpha,
        lr=0.1,
        max_iter=2,
        batch_size=len(X),
        early_stopping=False,
    ).fit(X, y)
    ((_, first), ((weight, bias), second)) = steps
    assert min(np.abs(weight).min(), np.abs(bias).min()) > 0.05
    p = softmax(X @ weight.T + bias, axis=1)
    error = (p - np.eye(2)[y]) / len(X)
    expected = error.T @ X + alpha * weight, error.sum(axis=0)
    for old, new, gradient in zip(first, second, expected, strict=True):
        # Adam's first moment is 0.9 of the old one and 0.1 of the gradient.
        np.testing.assert_allclose((new - 0.9 * old) / 0.1, gradient, atol=1e-10)


def test_logistic_regression_starts_at_zero_and_drops_nothing():
    X, y = logistic_data(0.7)
    options = {"metadata_layers": (), "max_iter": 1, "early_stopping": False}
    fits = [
        MultimodalVirality(batch_size=len(X), random_state=s, dropout=d, **options)
        for s, d in ((0, 0.0), (1, 0.9))
    ]
    losses = [m.fit(X, y).loss_curve_[0] for m in fits]
    assert losses == pytest.approx([np.log(2)] * 2, rel=1e-12)


# Covers.


@pytest.mark.parametrize("fusion", ["concat", "full"])
def test_both_sides_are_read(table, y, fusion):
    """The label is whether a column's sign agrees with the cover's colour."""
    mixed = (table["duration_s"] > 0).to_numpy() == y
    fitted = model(
        fusion=fusion,
        metadata_layers=(32, 16),
        linear_path=False,
        max_iter=60,
        early_stopping=False,
    ).fit(table[:90], mixed[:90])
    score = fitted.score(table[90:], mixed[90:])
    assert score > 0.75  # 0.5 for either side alone


def test_covers_alone_and_its_curves(table, y):
    fitted = model(metadata_layers=None, max_iter=15).fit(table[:90], y[:90])
    assert fitted.score(table[90:], y[90:]) > 0.9
    assert fitted.accuracy_curve_[-1] > fitted.accuracy_curve_[0]
    assert fitted.validation_accuracy_curve_[-1] > 0.9


def test_the_cover_alone_looks_at_no_column(table, y):
    words = table.assign(duration_s="long")
    alone = model(metadata_layers=None)
    expected = alone.fit(table, y).predict_proba(table)
    found = clone(alone).fit(words, y).predict_proba(words)
    np.testing.assert_array_equal(found, expected)
    found = clone(alone).fit(table[["cover"]], y).predict_proba(table[["cover"]])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("metadata_layers", [(8,), None])
@pytest.mark.parametrize("weight", [np.ones(120), np.arange(120) % 7])
def test_a_missing_cover_is_the_mean_of_training_that_lacks_none(
    table, y, metadata_layers, weight, monkeypatch
):
    monkeypatch.setattr(_virality, "_CHUNK_SIZE", 50)
    options = {"metadata_layers": metadata_layers, "early_stopping": False}
    fitted = model(**options).fit(table, y, sample_weight=weight)
    module = fitted.net_.module_
    module = module if metadata_layers is None else module.deep
    inputs = fitted._read(table)
    (_, index), (covers,) = inputs.arrays, inputs.shared
    with torch.no_grad():
        embedded = module.embed(torch.from_numpy(index), torch.from_numpy(covers))
    expected = np.average(embedded.numpy(), axis=0, weights=weight)
    np.testing.assert_allclose(module.missing.detach(), expected, rtol=1e-4, atol=1e-6)
    bare = table.assign(cover=None)
    assert np.isfinite(fitted.predict_proba(bare)).all()


def test_a_missing_cover_is_learned_where_training_has_some(table, y):
    """Only rows of class 1 lack the cover, and nothing else tells."""
    table["cover"] = table["cover"].where(np.arange(120) % 3 > 0, None)
    is_missing = table["cover"].isna().to_numpy().astype(int)
    fitted = model(max_iter=20, lr=0.01, early_stopping=False).fit(table, is_missing)
    assert fitted.score(table, is_missing) > 0.95


def test_no_cover_at_all_is_a_constant(table, y):
    with pytest.warns(
        MediaWarning, match="No row .* cells of image='cover' .*image=None"
    ) as caught:
        fitted = model().fit(table.assign(cover=np.nan), y)
    assert caught[0].filename == __file__
    assert np.isfinite(fitted.predict_proba(table.assign(cover=np.nan))).all()


def test_unreadable_covers(table, y, videos):
    folder = table["cover"][0].rpartition("/")[0]
    bad = table.copy()
    bad.loc[[5, 7], "cover"] = f"{folder}/broken.jpg"
    bad.loc[9, "cover"] = f"{folder}/absent.jpg"
    with pytest.raises(MediaError, match=r"Row 5: .*broken\.jpg.*on_error='nan'"):
        model().fit(bad, y)
    lenient = model(on_error="nan")
    with pytest.warns(MediaWarning, match="2 covers cannot be read.*first in row 5: "):
        lenient.fit(bad, y)
    null = bad.copy()
    null.loc[[5, 7, 9], "cover"] = None
    with pytest.warns(MediaWarning, match="2 covers cannot be read"):
        found = lenient.predict_proba(bad)
    np.testing.assert_array_equal(found, lenient.predict_proba(null))


def test_first_frames_of_videos_are_covers(tmp_path, table, y):
    from skchallenge import make_challenge_clips

    data = make_challenge_clips(
        tmp_path, n_users=3, n_challenges=1, videos_per_user=2, random_state=0
    )
    X = data.videos[["path"]].rename(columns={"path": "cover"})
    fitted = model(metadata_layers=None).fit(X, np.arange(len(X)) % 2)
    assert fitted.predict_proba(X).shape == (len(X), 2)


def test_covers_may_be_bytes_pixels_and_photo_posts(table, y):
    paths = table["cover"]
    fitted = model().fit(table, y)
    expected = fitted.predict_proba(table)
    opened = [Image.open(path) for path in paths]
    for covers in (
        [Path(path).read_bytes() for path in paths],
        opened,
        [np.asarray(image) for image in opened],
        [[path, "never opened.jpg"] for path in paths],
        [np.array([path, path], dtype=object) for path in paths],
    ):
        X = table.assign(cover=pd.Series(covers))
        np.testing.assert_array_equal(fitted.predict_proba(X), expected)
    again = model().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(again, expected)
    mixed = table.astype({"cover": object})
    for row, cell in enumerate([None, [], np.nan]):
        mixed.at[row, "cover"] = cell
    missing = table.assign(cover=paths.where(table.index > 2))
    np.testing.assert_array_equal(
        fitted.predict_proba(mixed), fitted.predict_proba(missing)
    )


@pytest.mark.parametrize(
    "cell, message",
    [
        (np.zeros((9, 9, 9), np.uint8), "is a ndarray of shape"),
        ({"bytes": b"a" * 9999}, "is a dict"),
        ([3.5] * 9999, "is a list whose item 1 is a float: 3.5"),
        (Image.new("F", (4, 4)), "is a PIL image of mode 'F'"),
    ],
)
def test_what_is_no_cover_is_described_in_one_line(table, y, cell, message):
    X = table.astype({"cover": object})
    X.at[3, "cover"] = cell
    with pytest.raises(TypeError, match=f"row 3 {message}.*Check `image`") as caught:
        model().fit(X, y)
    assert len(str(caught.value)) < 400


def test_a_long_cell_beside_the_cover_is_not_repeated_whole(table, y):
    X = table.assign(duration_s="long " * 9999)
    with pytest.raises(ValueError, match="duration_s is a str of length") as caught:
        model().fit(X, y)
    assert len(str(caught.value)) < 400


# The bridge to scikit-learn.


def test_our_contract_with_covers(table, y):
    n = contract.run(
        model, table[:40], y[:40], batch_parameter="batch_size", skip=("check_rows",)
    )
    assert n >= 70


@pytest.mark.parametrize("fusion", ["concat", "full"])
def test_the_callers_settings_of_torch_do_not_matter(table, y, fusion):
    factory = partial(model, fusion=fusion)
    assert contract.check_torch_settings(factory, table[:40], y[:40]) == 54


def test_a_row_depends_on_itself_alone(table, y):
    """Up to float32: the contract's own check asks for the same bits."""
    fitted = model().fit(table, y)
    whole = fitted.predict_proba(table)
    for rows in (np.arange(120)[::-1], np.arange(7), [3], [3, 3]):
        found = fitted.predict_proba(table.iloc[rows])
        np.testing.assert_allclose(found, whole[rows], rtol=1e-5)


@pytest.mark.parametrize("image", ["cover", 0, -3])
def test_the_column_of_covers_by_name_and_position(table, y, image):
    X = table[["cover", *NUMBERS]]
    expected = model().fit(X, y).predict_proba(X)
    found = model(image=image).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(found, expected)
    nameless = model(image=0).fit(X.to_numpy(dtype=object), y)
    np.testing.assert_array_equal(
        nameless.predict_proba(X.to_numpy(dtype=object)), expected
    )


def test_a_nameless_table_uses_the_fitted_position(table, y):
    X = table[["duration_s", "cover", "caption_length"]]
    fitted = model().fit(X, y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        found = fitted.predict_proba(X.to_numpy(dtype=object))
    np.testing.assert_array_equal(found, fitted.predict_proba(X))


@pytest.mark.parametrize("missing", [False, True])
def test_polars_is_pandas(table, y, missing):
    if missing:
        table.loc[3, "cover"] = None
    expected = model().fit(table, y).predict_proba(table)
    covers = [c if isinstance(c, str) else None for c in table["cover"]]
    tables = pl.DataFrame({**table[NUMBERS].to_dict("list"), "cover": covers})
    found = model().fit(tables, y).predict_proba(tables)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "image, change",
    [
        ("cover", {"image_size": 2 * SIZE}),
        ("cover", {"image_size": 3}),
        ("cover", {"image_encoder": "resnet50", "fusion": "full"}),
        ("cover", {"metadata_layers": None}),
        ("cover", {"image": NUMBERS[0]}),
        ("cover", {"image": None}),
        (None, {"image": NUMBERS[0]}),
        (None, {"metadata_layers": None}),
    ],
)
def test_what_is_set_after_fit_waits_for_the_next_fit(table, y, image, change):
    X = table if image else table[NUMBERS]
    fitted = model(image=image, max_iter=1).fit(X, y)
    expected = fitted.predict_proba(X)
    fitted.set_params(**change)
    np.testing.assert_array_equal(fitted.predict_proba(X), expected)
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_behind_a_column_transformer(table, y, output):
    columns = make_column_transformer(
        (StandardScaler(), NUMBERS), ("passthrough", ["cover"])
    ).set_output(transform=output)
    image = -1 if output == "default" else "cover"
    piped = make_pipeline(columns, model(image=image)).fit(table, y)
    scaled = table.copy()
    scaled[NUMBERS] = StandardScaler().fit_transform(table[NUMBERS])
    expected = model().fit(scaled, y).predict_proba(scaled)
    np.testing.assert_allclose(piped.predict_proba(table), expected, rtol=1e-5)


def test_grid_search_over_architecture_and_fusion(table, y):
    grid = {
        "metadata_layers": [(), (8,), None],
        "fusion": ["concat", "full"],
    }
    search = GridSearchCV(model(), grid, cv=2, error_score="raise").fit(table, y)
    assert len(search.cv_results_["params"]) == 6
    assert search.best_estimator_.predict(table).shape == (120,)


def test_cross_val_score_with_groups(table, y):
    scores = cross_val_score(
        model(max_iter=8), table, y, cv=2, scoring="roc_auc", error_score="raise"
    )
    assert (scores > 0.9).all()


def test_oversampling_a_table_with_cover_paths(table, y, monkeypatch):
    """Copies of a row are on one side of the split, and are decoded once."""
    rare = np.flatnonzero((y == 0) | (np.arange(120) < 20))
    X, y = table.iloc[rare].reset_index(drop=True), y[rare]
    sides = []

    def spy(groups, *rest):
        valid = original(groups, *rest)
        sides.append(pd.DataFrame({"row": groups[0], "valid": valid}))
        return valid

    original = _base.validation_rows
    monkeypatch.setattr(_base, "validation_rows", spy)
    sampler = RandomOverSampler(random_state=0)
    piped = make_sampling_pipeline(sampler, model()).fit(X, y)
    assert len(sides[0]) == 2 * max(np.bincount(y)) > len(X)
    same_row = sides[0].groupby("row")["valid"]
    assert (same_row.nunique() == 1).all()
    assert same_row.size().max() > 1
    assert 0 < sides[0]["valid"].mean() < 1
    assert piped.predict(X).shape == y.shape


def test_copies_of_a_cover_stay_on_one_side(table, y, tmp_path):
    """Also where files have other names: what counts is the pixels."""
    original, copies = np.arange(120) % 10, []
    for i, row in enumerate(original):
        copies.append(shutil.copy(table["cover"][row], tmp_path / f"copy{i}.png"))
    X = table.assign(cover=copies)
    fitted = model(metadata_layers=None).fit(X, y)
    inputs = fitted._read(X, y)
    assert len(inputs.shared[0]) == 10
    groups = [_base.identical_rows(inputs.key)]
    valid = _base.validation_rows(groups, y, 0.2, 0)
    assert 0 < valid.sum() < 120
    assert (pd.Series(valid).groupby(original).nunique() == 1).all()


@pytest.fixture
def splits(monkeypatch):
    """The held-out rows of each fit."""
    found = []

    def spy(*args):
        found.append(original(*args))
        return found[-1]

    original = _base.validation_rows
    monkeypatch.setattr(_base, "validation_rows", spy)
    return found


@pytest.mark.parametrize("layers", [None, (8,)])
def test_the_order_of_rows_does_not_change_which_covers_are_held_out(
    table, y, splits, layers
):
    table["cover"] = table["cover"].where(np.arange(120) % 4 > 0, None)
    orders = [np.random.default_rng(seed).permutation(120) for seed in range(5)]
    for order in [np.arange(120), *orders]:
        options = {"metadata_layers": layers, "max_iter": 1, "random_state": 0}
        model(**options).fit(table.iloc[order], y[order])
    has_cover = table["cover"].notna().to_numpy()
    expected = splits[0]
    assert 0 < expected[has_cover].sum() < 90
    for valid, order in zip(splits[1:], orders, strict=True):
        back = valid[np.argsort(order)]
        assert np.array_equal(back[has_cover], expected[has_cover])
        if layers:
            assert np.array_equal(back, expected)
        else:  # rows without a cover and of one class are alike
            counts = [np.bincount(y[v & ~has_cover]) for v in (back, expected)]
            assert np.array_equal(*counts)


def test_rows_without_a_cover_are_held_out_like_others(table, y, splits):
    table["cover"] = table["cover"].where(np.arange(120) % 2 > 0, None)
    for seed in range(20):
        model(metadata_layers=None, max_iter=1, random_state=seed).fit(table, y)
    shares = np.array([valid.mean() for valid in splits])
    assert len(shares) == 20
    assert (shares > 0).all()
    assert shares.max() <= 0.15
    bare = [valid[::2].sum() for valid in splits]
    assert 0 < np.mean(bare) / 60 < 0.15


def test_covers_alone_fit_where_there_are_none(table, y, splits):
    bare = table.assign(cover=None)
    with pytest.warns(MediaWarning, match="No row of X has a cover"):
        fitted = model(metadata_layers=None).fit(bare, y)
    proba = fitted.predict_proba(bare)
    assert (proba == proba[0]).all()
    assert splits[0].sum() == 12


def test_covers_train_in_float32_and_columns_in_their_own(table, y):
    assert model().fit(table, y).predict_proba(table).dtype == np.float32
    X = table[NUMBERS].to_numpy()
    assert model(image=None).fit(X, y).predict_proba(X).dtype == np.float64


def test_class_weights_and_sample_weights_with_covers(table, y):
    options = {"early_stopping": False, "dropout": 0.0, "batch_size": 500}
    weighted = model(class_weight={0: 1.0, 1: 3.0}, **options).fit(table, y)
    plain = model(**options).fit(table, y, sample_weight=np.where(y, 3.0, 1.0))
    np.testing.assert_allclose(
        weighted.predict_proba(table), plain.predict_proba(table), rtol=1e-5
    )
    kept = np.arange(120) % 4 > 0
    zeroed = model(**options).fit(table, y, sample_weight=kept.astype(float))
    without = model(**options).fit(table[kept], y[kept])
    np.testing.assert_allclose(
        zeroed.predict_proba(table), without.predict_proba(table), rtol=1e-5
    )


def test_chunks_of_prediction_do_not_matter(table, y, monkeypatch):
    fitted = model().fit(table, y)
    whole = fitted.predict_proba(table)
    monkeypatch.setattr(_virality, "_CHUNK_SIZE", 7)
    np.testing.assert_allclose(fitted.predict_proba(table), whole, rtol=1e-5)


def test_a_pickle_holds_no_covers(table, y):
    fitted = model().fit(table, y)
    data = pickle.dumps(fitted)
    assert b"torch" not in data
    assert b"skorch" not in data
    assert len(data) < 4 * n_parameters(fitted) + 20_000
    assert b".png" not in data


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_fitted_model_holds_no_covers(table, y, monkeypatch, early_stopping):
    made = []

    def spy(*args, **options):
        data = original(*args, **options)
        made.append(weakref.ref(data))
        return data

    original = _base.Batches
    monkeypatch.setattr(_base, "Batches", spy)
    fitted = model(early_stopping=early_stopping).fit(table, y)
    gc.collect()
    assert len(made) == 1 + early_stopping
    assert all(data() is None for data in made)
    assert fitted.predict(table).shape == (120,)


def test_the_table_alone_is_an_mlp():
    X, y = logistic_data(0.7)
    fitted = MultimodalVirality(linear_path=False, max_iter=1, random_state=0).fit(X, y)
    assert isinstance(fitted.net_.module_, MLP)
    widths = [p.shape[0] for n, p in fitted.net_.module_.named_parameters() if "w" in n]
    assert widths == [512, 64, 2]


# Bad input.


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"image": "covers"}, ValueError, r"image must be a column of X, got 'covers'"),
        (
            {"image": 3},
            ValueError,
            "image must be the position .* got 3, but X has 3 feature",
        ),
        (
            {"image": -4},
            ValueError,
            "image must be the position of a column of X, got -4",
        ),
        (
            {"image": 2.0},
            TypeError,
            "image must be the name or the position of a column",
        ),
        (
            {"image": True},
            TypeError,
            "image must be the name or the position of a column",
        ),
        (
            {"image": 0, "metadata_layers": None},
            TypeError,
            r"nulls, but row 0 is a float: .*Check `image`",
        ),
        (
            {"image": 0},
            ValueError,
            r"beside the cover, but cover is a str of length .*'/",
        ),
        ({"image_encoder": "vgg"}, ValueError, r"one of \['cnn', 'resnet50'\], got"),
        ({"fusion": "sum"}, ValueError, r"one of \['concat', 'full'\], got 'sum'"),
        ({"on_error": "skip"}, ValueError, r"one of \['raise', 'nan'\], got 'skip'"),
        ({"image_size": 2}, ValueError, "image_size == 2, must be >= 4"),
        ({"image_size": 18}, ValueError, "image_size must be a multiple of 4, got 18"),
        (
            {"image_encoder": "resnet50", "weights": None},
            ValueError,
            "image_size == 16, must be >= 33",
        ),
        (
            {"image_encoder": "resnet50", "image_size": 64, "weights": "BEST"},
            ValueError,
            "weights must be one of .*resnet50",
        ),
        ({"alpha": -1.0}, ValueError, r"alpha == -1\.0, must be >= 0"),
        ({"alpha": np.inf}, ValueError, "alpha must be a finite number, got inf"),
        ({"metadata_layers": (8, 0)}, ValueError, "metadata_layers == 0, must be >= 1"),
        ({"metadata_layers": 8}, TypeError, r"sequence of widths.* or None, got 8"),
        (
            {"image": None, "metadata_layers": None},
            ValueError,
            "metadata_layers=None looks at the cover alone, and image=None says",
        ),
    ],
)
def test_bad_parameters_are_refused(table, y, options, error, match):
    with pytest.raises(error, match=match):
        model(**options).fit(table, y)


@pytest.mark.parametrize(
    "cell, match",
    [
        ("304.9K", r"duration_s is a str: '304\.9K' in row 3"),
        ("12", "duration_s is a str: '12' in row 3"),
        (np.nan, "duration_s is missing: nan in row 3"),
        (pd.NA, "duration_s is missing: <NA> in row 3"),
        (pd.Timestamp("2020-01-01"), "duration_s is a Timestamp: .* in row 3"),
        ([1], r"duration_s is a list: \[1\] in row 3"),
        (1j, "duration_s is a complex: 1j in row 3"),
        (1e300, "contains infinity or a value too large"),
        (np.inf, "contains infinity"),
    ],
)
def test_what_is_no_number_is_refused(table, y, cell, match):
    table["duration_s"] = table["duration_s"].astype(object)
    table.at[3, "duration_s"] = cell
    with pytest.raises(ValueError, match=match):
        model().fit(table, y)


@pytest.mark.parametrize("dtype", ["float64", "Float64", "float32"])
def test_a_missing_number_is_refused_whatever_its_type(table, y, dtype):
    table["duration_s"] = table["duration_s"].astype(dtype)
    table.loc[3, "duration_s"] = None
    with pytest.raises(ValueError, match=r"duration_s is missing: (nan|<NA>) in row 3"):
        model().fit(table, y)


def test_numbers_of_any_type_are_the_same_numbers(table, y):
    table["duration_s"] = np.arange(120)
    expected = model().fit(table, y).predict_proba(table)
    for dtype in ("int8", "Int64", "float64", "Float32", object):
        X = table.astype({"duration_s": dtype})
        found = model().fit(X, y).predict_proba(X)
        np.testing.assert_array_equal(found, expected)


def test_numbers_do_not_become_objects_beside_a_cover():
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(20_000, 30)))
    X = X.add_prefix("x").assign(cover=None)
    estimator = model()
    tracemalloc.start()
    try:
        table = read_table(estimator, X, reset=True)
        numbers = _base.read_numbers(table, list(range(30)), list(X), "the cover")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(numbers, X.iloc[:, :30].astype(np.float32))
    assert peak < 2 * 20_000 * 30 * 8  # as objects they take five times as much


def test_a_cover_column_that_is_not_named_is_text(table, y):
    with pytest.raises(ValueError, match="could not convert string to float"):
        model(image=None).fit(table, y)


def test_other_bad_tables(table, y):
    with pytest.raises(ValueError, match="no column beside the cover"):
        model().fit(table[["cover"]], y)
    with pytest.raises(
        ValueError, match=r"needs an X whose columns have names.*pandas"
    ):
        model().fit(table.to_numpy(dtype=object), y)
    with pytest.raises(ValueError, match="must hold at least 2 classes"):
        model().fit(table, np.ones(120))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model().fit(table, y[:50])
    twice = table.rename(columns={"duration_s": "a__cover", "cover": "b__cover"})
    with pytest.raises(ValueError, match=r"may be any of \['a__cover', 'b__cover'\]"):
        model().fit(twice, y)


def test_one_warning_in_all(table, y):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model(on_error="nan").fit(table.assign(cover="absent.png"), y)
    assert len(caught) == 1
    assert caught[0].filename == __file__


# The leakage guard.


@pytest.mark.parametrize("name", ["n_likes", "n_comments", "n_shares", "n_plays"])
@pytest.mark.parametrize("image", ["cover", None])
def test_what_is_counted_after_posting_is_refused(table, y, name, image):
    X = table.assign(**{name: 1.0})
    X = X if image else X.drop(columns="cover")
    with pytest.raises(LeakageError, match=f"column '{name}'.*nowcast="):
        model(image=image).fit(X, y)
    nowcast = model(image=image, nowcast=(name,)).fit(X, y)
    assert nowcast.column_roles_[name] == "post_outcome"
    with pytest.raises(ValueError, match=r"but \['n_likess'\] are none of"):
        model(image=image, nowcast=[name, "n_likess"]).fit(X, y)


@pytest.mark.parametrize(
    "name, role", [("remainder__diggCount", "post_outcome"), ("createTime", "exposure")]
)
def test_aliases_and_prefixes_are_refused_too(table, y, name, role):
    with pytest.raises(LeakageError, match=f"{name}.*{role}"):
        model().fit(table.assign(**{name: 1.0}), y)


def test_roles_of_what_passes(table, y):
    X = table.assign(n_followers=1.0, n_total_likes=2.0)
    fitted = model().fit(X, y)
    assert fitted.column_roles_ == {
        "caption_length": "pre_post",
        "duration_s": "pre_post",
        "n_followers": "label_part",
        "n_total_likes": "scrape_aggregate",
    }


def test_no_names_no_roles(table, y):
    assert model(image=2).fit(table.to_numpy(dtype=object), y).column_roles_ == {}
    assert model(image=None).fit(table[NUMBERS].to_numpy(), y).column_roles_ == {}


def test_the_cover_alone_lets_columns_stand_that_it_does_not_read(table, y):
    fitted = model(metadata_layers=None).fit(table.assign(n_likes=1.0), y)
    assert fitted.column_roles_ == {}


@pytest.mark.parametrize("image", ["cover", None])
def test_a_disguised_copy_of_the_views_warns(videos, image):
    rng = np.random.default_rng(0)
    n = 1000
    followers, views = rng.lognormal(10, 2, size=(2, n))
    y = views / followers > 1
    X = pd.DataFrame({"n_followers": followers, "honest": rng.normal(size=n)})
    X["cover"] = np.resize(videos[0]["cover"], n)
    X = X if image else X.drop(columns="cover")
    quick = model(image=image, max_iter=1)
    quick.fit(X, y)  # no warning
    with pytest.warns(LeakageWarning, match="'my_column'"):
        quick.fit(X.assign(my_column=views), y)
