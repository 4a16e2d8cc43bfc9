"""What ProxyEncoder and DeepChallenger share: training, prediction, persistence."""

import os
import pickle
import pickletools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.validation import check_is_fitted
from torch.nn.functional import cross_entropy

from skchallenge import DeepChallenger, ProxyEncoder, _base
from skchallenge.nn import MLP

# One batch of all rows and no dropout: training is a plain function of the rows.
EXACT = {"dropout": 0, "early_stopping": False, "batch_size": 10_000}
BOTH = pytest.mark.parametrize("cls", [ProxyEncoder, DeepChallenger])


def make(cls, width=8, **options):
    first = width if cls is ProxyEncoder else (width,)
    return cls(first, **{"random_state": 0, "lr": 0.01, **options})


def planted(n=400, n_features=5, n_classes=2, seed=0):
    """Labels are the largest of the first columns: no noise."""
    X = np.random.default_rng(seed).normal(size=(n, n_features))
    return X, X[:, :n_classes].argmax(axis=1)


def seed_of(model):
    return check_random_state(model.random_state).randint(np.iinfo(np.int32).max)


def held_out_rows(X, y, fraction, seed):
    """The rows that early stopping holds out where nothing says what goes together."""
    return _base.validation_rows([_base.identical_rows(X)], y, fraction, seed)


def watched(model, X, y):
    """The rows that early stopping holds out."""
    _, target = np.unique(y, return_inverse=True)
    return held_out_rows(X, target, model.validation_fraction, seed_of(model))


# Laws of the output.


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_logits_and_labels_agree(cls, n_classes):
    X, y = planted(n_classes=n_classes)
    names = np.array(["cy", "ann", "bob"])[y]
    model = make(cls, max_iter=3).fit(X, names)
    proba, logits = model.predict_proba(X), model.decision_function(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert model.classes_.tolist() == sorted(set(names))
    assert (model.classes_[proba.argmax(axis=1)] == model.predict(X)).all()
    if n_classes == 2:
        np.testing.assert_allclose(1 / (1 + np.exp(-logits)), proba[:, 1])
    else:
        exp = np.exp(logits)
        np.testing.assert_allclose(exp / exp.sum(axis=1, keepdims=True), proba)


@BOTH
def test_the_dtype_of_training_is_the_dtype_of_everything(cls):
    X, y = planted()
    for dtype, expected in ((np.float32, "f4"), (np.float64, "f8"), (int, "f8")):
        model = make(cls, max_iter=1).fit(X.astype(dtype), y)
        assert model.predict_proba(X).dtype == expected
        assert model.decision_function(X).dtype == expected


@BOTH
@pytest.mark.parametrize("early_stopping", [True, False])
def test_how_an_array_lies_in_memory_does_not_matter(cls, early_stopping):
    X, y = planted(60)
    read_only = X.copy()
    read_only.setflags(write=False)
    layouts = {
        "read-only": read_only,
        "Fortran order": np.asfortranarray(X),
        "every second row": np.repeat(X, 2, axis=0)[::2],
        "every second column": np.repeat(X, 2, axis=1)[:, ::2],
        "lists": X.tolist(),
        "table": pd.DataFrame(X).to_numpy(),
    }
    model = make(cls, max_iter=2, early_stopping=early_stopping)
    expected = clone(model).fit(X, y).predict_proba(X)
    for name, layout in layouts.items():
        found = clone(model).fit(layout, y).predict_proba(layout)
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert not read_only.flags.writeable


@BOTH
def test_predictions_do_not_depend_on_the_chunk(cls, monkeypatch):
    X, y = planted(100)
    model = make(cls, max_iter=2).fit(X, y)
    whole = model.predict_proba(X)
    monkeypatch.setattr(_base, "_PREDICT_ROWS", 7)
    np.testing.assert_allclose(model.predict_proba(X), whole, rtol=1e-12)


@BOTH
@pytest.mark.parametrize("dtype", ["Int64", "UInt64", "int64[pyarrow]"])
def test_long_ids_are_labels_to_the_last_digit(cls, dtype):
    X, y = planted(60)
    ids = 7_000_000_000_000_000_000 + y  # one and the same as floats
    model = make(cls, max_iter=1).fit(X, pd.Series(ids, dtype=dtype))
    assert model.classes_.tolist() == sorted(set(ids))
    assert set(model.predict(X)) <= set(ids)


@BOTH
@pytest.mark.parametrize("dtype", ["boolean", "bool[pyarrow]"])
def test_nullable_flags_are_flags(cls, dtype):
    X, y = planted(60)
    model = make(cls, max_iter=1).fit(X, pd.Series(y == 1, dtype=dtype))
    assert model.classes_.dtype == bool
    missing = pd.Series(y == 1, dtype=dtype).where(np.arange(60) != 3)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        model.fit(X, missing)


# Training.


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_is_the_textbook_loop(dropout, dtype):
    X, y = planted(50)
    X = X.astype(dtype)
    model = ProxyEncoder(
        8,
        dropout=dropout,
        batch_size=16,
        max_iter=4,
        early_stopping=False,
        random_state=7,
    ).fit(X, y)
    with torch.random.fork_rng():
        torch.manual_seed(seed_of(model))
        curve, net = textbook(torch.from_numpy(X), torch.from_numpy(y), dropout)
    rtol = 1e-10 if dtype is np.float64 else 1e-5
    np.testing.assert_allclose(model.loss_curve_, curve, rtol=rtol)
    with torch.no_grad():
        expected = net.eval()(torch.from_numpy(X)).softmax(1).numpy()
    np.testing.assert_allclose(model.predict_proba(X), expected, rtol=rtol)


def textbook(X, y, dropout):
    net = MLP(5, 2, (8,), dropout, dtype=X.dtype).train()
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    curve = []
    for _ in range(4):
        total = 0.0
        for rows in torch.randperm(len(X)).split(16):
            adam.zero_grad()
            loss = cross_entropy(net(X[rows]), y[rows])
            loss.backward()
            adam.step()
            total += loss.item() * len(rows)
        curve.append(total / len(X))
    return curve, net


@BOTH
def test_a_weight_is_a_number_of_copies(cls):
    X, y = planted(60, n_classes=3)
    weight = np.random.default_rng(0).integers(0, 4, size=60)
    copies = np.repeat(np.arange(60), weight)
    model = make(cls, max_iter=20, **EXACT)
    weighted = clone(model).fit(X, y, sample_weight=weight)
    repeated = clone(model).fit(X[copies], y[copies])
    plain = clone(model).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-9
    )
    assert np.abs(weighted.predict_proba(X) - plain).max() > 0.01


@BOTH
def test_a_row_of_weight_zero_is_as_good_as_absent(cls):
    X, y = planted(120, n_classes=3)
    present = np.arange(120) % 3 > 0
    model = make(cls, batch_size=8, max_iter=4, dropout=0.2)
    weighted = clone(model).fit(X, y, sample_weight=present)
    without = clone(model).fit(X[present], y[present])
    np.testing.assert_array_equal(weighted.predict_proba(X), without.predict_proba(X))


@BOTH
@pytest.mark.parametrize("options", [{}, EXACT])
def test_only_the_ratio_of_weights_counts(cls, options):
    X, y = planted(60)
    weight = np.random.default_rng(0).uniform(1, 3, size=60)
    model = make(cls, max_iter=5, **options)
    one = clone(model).fit(X, y, sample_weight=weight).predict_proba(X)
    many = clone(model).fit(X, y, sample_weight=weight * 1000).predict_proba(X)
    np.testing.assert_allclose(one, many, rtol=1e-9)


@BOTH
@pytest.mark.parametrize("size", [1e308, 1e-320])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1e308, 1: 5e307}])
def test_weights_of_any_size_are_weights(cls, size, class_weight):
    X, y = planted(60)
    usual = {0: 2.0, 1: 1.0} if isinstance(class_weight, dict) else class_weight
    expected = make(cls, max_iter=2, class_weight=usual).fit(X, y)
    found = make(cls, max_iter=2, class_weight=class_weight)
    found.fit(X, y, sample_weight=np.full(60, size))
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X))


@BOTH
def test_a_weight_that_is_lost_beside_the_greatest_is_zero(cls):
    X, y = planted(60)
    X = X.astype(np.float32)  # holds nothing below 1e-45
    weight = np.where(np.arange(60) < 40, 1e60, 1.0)
    found = make(cls, max_iter=3).fit(X, y, sample_weight=weight)
    expected = make(cls, max_iter=3).fit(X[:40], y[:40])
    np.testing.assert_array_equal(found.predict_proba(X), expected.predict_proba(X))
    with pytest.raises(ValueError, match="1 class: .* lost beside the greatest"):
        found.fit(X, y, sample_weight=np.where(np.arange(60) < 1, 1e308, 1.0))


@BOTH
@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 5.0}])
def test_class_weights_are_row_weights(cls, class_weight):
    X, y = planted(90)
    rare = (y == 0) | (np.arange(90) < 30)
    X, y = X[rare], y[rare]
    given = make(cls, max_iter=10, class_weight=class_weight, **EXACT).fit(X, y)
    weight = compute_sample_weight(class_weight, y)
    plain = make(cls, max_iter=10, **EXACT)
    expected = clone(plain).fit(X, y, sample_weight=weight).predict_proba(X)
    np.testing.assert_allclose(given.predict_proba(X), expected, rtol=1e-9)
    unweighted = plain.fit(X, y).predict_proba(X)
    assert (given.predict_proba(X)[:, 1] > unweighted[:, 1]).all()


@BOTH
def test_a_class_of_weight_zero_is_as_good_as_absent(cls):
    X, y = planted(90, n_classes=3)
    for class_weight in ("balanced", {0: 1.0, 1: 5.0}):
        model = make(cls, max_iter=5, class_weight=class_weight, **EXACT)
        given = model.fit(X, y, sample_weight=y < 2).decision_function(X)
        assert given.shape == (90, 3)
        rest = y[y < 2]
        w0, w1 = compute_class_weight(class_weight, classes=np.array([0, 1]), y=rest)
        model.set_params(class_weight={0: w0, 1: w1, 2: 0.0})
        expected = model.fit(X, y).decision_function(X)
        np.testing.assert_allclose(given, expected, rtol=1e-9)


@BOTH
def test_class_and_row_weights_multiply(cls):
    X, y = planted(60)
    row = np.random.default_rng(0).uniform(1, 3, size=60)
    both = make(cls, max_iter=5, class_weight={0: 1.0, 1: 4.0}, **EXACT)
    product = make(cls, max_iter=5, **EXACT)
    np.testing.assert_allclose(
        both.fit(X, y, sample_weight=row).predict_proba(X),
        product.fit(X, y, sample_weight=row * np.where(y, 4.0, 1.0)).predict_proba(X),
        rtol=1e-9,
    )


@BOTH
def test_auto_batch_is_256_or_all_rows(cls):
    for n, expected in ((100, 100), (300, 256)):
        X, y = planted(n)
        options = {"early_stopping": False, "max_iter": 2}
        auto = make(cls, **options).fit(X, y).predict_proba(X)
        said = make(cls, batch_size=expected, **options).fit(X, y).predict_proba(X)
        np.testing.assert_array_equal(auto, said)


@BOTH
def test_the_seed_decides_everything(cls):
    X, y = planted(60)
    outputs = [
        make(cls, max_iter=2, random_state=s).fit(X, y).predict_proba(X)
        for s in (0, 1, np.random.RandomState(5), np.random.RandomState(5))
    ]
    assert not np.allclose(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[2], outputs[3])
    one, two = (make(cls, max_iter=2, random_state=None).fit(X, y) for _ in range(2))
    assert not np.allclose(one.predict_proba(X), two.predict_proba(X))


# Early stopping.


@BOTH
def test_the_seed_decides_in_threads_too(cls):
    X, y = planted(100)
    model = make(cls, max_iter=5, batch_size=4)
    expected = clone(model).fit(X, y).predict_proba(X)
    state = torch.get_rng_state()
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: clone(model).fit(X, y), range(3)))
    for fitted in found:
        np.testing.assert_array_equal(fitted.predict_proba(X), expected)
    assert torch.equal(torch.get_rng_state(), state)


@BOTH
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(cls, mode):
    X, y = planted(60)
    model = make(cls, max_iter=2)
    expected = clone(model).fit(X, y).predict_proba(X)
    with mode():
        np.testing.assert_array_equal(model.fit(X, y).predict_proba(X), expected)
        assert not torch.is_grad_enabled()


@BOTH
def test_the_batch_size_may_be_a_number_of_numpy(cls):
    X, y = planted(60)
    plain = make(cls, max_iter=2, batch_size=16).fit(X, y)
    model = make(cls, max_iter=2, batch_size=np.int64(16)).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))


@BOTH
def test_a_fit_that_fails_leaves_no_old_network_under_new_labels(cls):
    X, y = planted(60)
    model = make(cls, max_iter=1).fit(X, np.where(y, "yes", "no"))
    with pytest.raises(ValueError, match="at least 2 classes"):
        model.fit(X, np.full(60, "maybe"))
    with pytest.raises(NotFittedError):
        model.predict(X)
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    model.fit(X, y).predict(X)


@BOTH
def test_parameters_that_are_refused_leave_a_fitted_model_alone(cls):
    X, y = planted(60)
    model = make(cls, max_iter=1).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="lr == -1"):
        model.set_params(lr=-1.0).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


@BOTH
@pytest.mark.parametrize("lr, stops", [(0.1, True), (0.003, False)])
def test_the_weights_of_the_best_epoch_are_kept(cls, lr, stops):
    X, y = planted(120)
    y = np.where(np.random.default_rng(1).random(120) < 0.3, 1 - y, y)
    model = make(cls, 16, lr=lr, max_iter=25, n_iter_no_change=4).fit(X, y)
    assert (model.n_iter_ < 25) == stops
    curve, held_out = np.array(model.validation_loss_curve_), watched(model, X, y)
    assert len(curve) == len(model.loss_curve_) == model.n_iter_
    loss = log_loss(y[held_out], model.predict_proba(X[held_out]))
    # An improvement of less than 1e-4 of the loss counts as none.
    assert loss == pytest.approx(curve.min(), rel=1.1e-4)
    if stops:
        assert loss < curve[-1] * 0.999
        assert curve.argmin() == model.n_iter_ - 4 - 1


@BOTH
def test_held_out_rows_are_watched_and_never_trained_on(cls, monkeypatch):
    X, y = planted(120)
    held_out = np.arange(120) < 30
    monkeypatch.setattr(_base, "validation_rows", lambda *_: held_out)
    model = make(cls, max_iter=5)
    one = clone(model).fit(X, y)
    two = clone(model).fit(X, np.where(held_out, 1 - y, y))
    assert one.loss_curve_ == two.loss_curve_
    assert one.validation_loss_curve_ != two.validation_loss_curve_
    rest = clone(model).set_params(early_stopping=False).fit(X[~held_out], y[~held_out])
    assert one.loss_curve_ == pytest.approx(rest.loss_curve_)


@pytest.mark.parametrize("seed", range(20))
def test_identical_rows_stay_on_one_side(seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 3, size=(80, 3)).astype(float)  # 27 different rows
    valid = held_out_rows(X, rng.integers(0, 2, size=80), 0.25, seed)
    sides = pd.Series(valid).groupby([str(row) for row in X]).nunique()
    assert (sides == 1).all()
    assert 0 < valid.sum() < 80


def test_rows_that_differ_by_the_sign_of_a_zero_are_identical():
    X = np.random.default_rng(0).normal(size=(40, 2))
    X[:, 0] = 0
    valid = held_out_rows(np.vstack([X, X * [-1, 1]]), np.arange(80) % 2, 0.3, 0)
    assert valid.sum() == 24
    np.testing.assert_array_equal(valid[:40], valid[40:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_rows_does_not_change_what_is_held_out(seed, dtype):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(200, 30)).astype(dtype), rng.integers(0, 2, size=200)
    order = rng.permutation(np.repeat(np.arange(200), 2))
    valid = held_out_rows(X, y, 0.1, seed)
    again = held_out_rows(X[order], y[order], 0.1, seed)
    assert valid.sum() == 20
    assert np.array_equal(again, valid[order])


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_rows_does_not_matter_where_labels_of_a_row_differ(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.integers(0, 4, size=(200, 3)).astype(float), np.arange(200) % 2
    order = rng.permutation(200)
    valid = held_out_rows(X, y, 0.2, seed)
    assert 0 < valid.sum() < 200
    again = held_out_rows(X[order], y[order], 0.2, seed)
    assert np.array_equal(again, valid[order])


def test_rounding_does_not_change_what_is_held_out():
    """Margin: of 2,000 held-out rows, at most 20 are others; by chance it is 1,800."""
    n_others = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(1000, 30)), rng.integers(0, 2, size=1000)
        rounded = X * (1 + 1e-7 * rng.uniform(-1, 1, size=X.shape))
        valid, other = (held_out_rows(Z, y, 0.1, seed) for Z in (X, rounded))
        assert valid.sum() == other.sum() == 100
        n_others += (valid & ~other).sum()
    assert n_others <= 20


def test_oversampled_rows_do_not_flatter_the_validation_loss():
    """Noise labels: a straddling copy would be recognised, an honest loss stays bad."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 30)), rng.integers(0, 2, size=60)
    rows = rng.integers(0, 60, size=600)
    model = make(ProxyEncoder, 64, max_iter=40, n_iter_no_change=40, dropout=0)
    model.fit(X[rows], y[rows])
    assert model.loss_curve_[-1] < 0.05
    assert model.validation_loss_curve_[-1] > np.log(2)


def test_held_out_rows_are_stratified_where_they_can_be():
    X = np.arange(100.0)[:, None]
    y = np.repeat([0, 1], [90, 10])
    for seed in range(10):
        valid = held_out_rows(X, y, 0.1, seed)
        assert np.bincount(y[valid]).tolist() == [9, 1]
    lone = np.repeat([0, 1], [99, 1])
    assert held_out_rows(X, lone, 0.1, 0).sum() == 10


@BOTH
def test_without_early_stopping_there_is_no_validation_curve(cls):
    X, y = planted(60)
    model = make(cls, max_iter=3, early_stopping=False).fit(X, y)
    assert model.validation_loss_curve_ is None
    assert model.n_iter_ == len(model.loss_curve_) == 3


@BOTH
@pytest.mark.parametrize("early_stopping", [True, False])
def test_one_ctrl_c_ends_fit(cls, early_stopping, monkeypatch):
    X, y = planted(60)
    calls = []

    def interrupted(self, x):
        calls.append(len(x))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return self.head(self.embed(x))

    monkeypatch.setattr(MLP, "forward", interrupted)
    model = make(cls, batch_size=20, early_stopping=early_stopping)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert len(calls) == 5
    assert not hasattr(model, "net_")


@BOTH
def test_verbose_prints_one_line_per_epoch(cls, capsys):
    X, y = planted(60)
    make(cls, max_iter=20, lr=0.5, n_iter_no_change=1).fit(X, y)
    assert capsys.readouterr().out == ""
    model = make(cls, max_iter=20, lr=0.5, verbose=1, n_iter_no_change=1).fit(X, y)
    assert model.n_iter_ < 20
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + model.n_iter_  # a header, a rule, the epochs
    assert f"{model.loss_curve_[-1]:.4f}" in lines[-1]


# Learning.


@BOTH
def test_a_planted_signal_is_found(cls):
    X, y = planted(1000, n_features=20, n_classes=3)
    train, test = train_test_split(np.arange(1000), random_state=0)
    model = make(cls, 32, max_iter=60, n_iter_no_change=10).fit(X[train], y[train])
    assert model.score(X[test], y[test]) > 0.85  # 0.33 by chance, 1 at best


@BOTH
def test_no_signal_gives_chance(cls):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1600, 20)), rng.integers(0, 2, size=1600)
    model = make(cls, 16).fit(X[:600], y[:600])
    # 1,000 coins: the standard error is 0.016, the margin 4 of them.
    assert model.score(X[600:], y[600:]) == pytest.approx(0.5, abs=0.064)


@BOTH
def test_sixteen_rows_are_learned_by_heart(cls):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(16, 8)), np.arange(16) % 4
    model = make(cls, 64, max_iter=150, **EXACT).fit(X, y)
    assert model.score(X, y) == 1
    assert model.loss_curve_[-1] < 0.05


# Forks.

FORK = """
import os, signal, warnings
import numpy as np, torch
from skchallenge import DeepChallenger

torch.set_num_threads(2)
X = np.random.default_rng(0).normal(size=(3000, 400)).astype(np.float32)
model = DeepChallenger((512,), max_iter=1, batch_size=256, random_state=0)
model.fit(X, X[:, 0] > 0).predict_proba(X)  # the parent has computed on two threads
warnings.simplefilter("ignore")  # Python 3.12 warns of any fork beside threads
child = os.fork()
if not child:
    signal.alarm(60)  # else it might never end
    expected = model.predict_proba(X)
    os._exit(int(not np.isfinite(expected).all()))
status = os.waitpid(child, 0)[1]
assert torch.get_num_threads() == 2  # the parent's count is its own
print(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_predicts():
    found = subprocess.run(
        [sys.executable, "-c", FORK], check=True, capture_output=True, text=True
    )
    assert found.stdout == "0\n", found.stderr


# Persistence.


@BOTH
def test_a_pickle_names_no_torch_and_no_skorch(cls):
    X, y = planted(60)
    model = make(cls, max_iter=2).fit(X, y)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(model, protocol=protocol)
        texts = [a for _, a, _ in pickletools.genops(data) if isinstance(a, str)]
        modules = {t.split()[0].split(".")[0] for t in texts if t.strip()}
        assert "skchallenge" in modules
        assert "numpy" in modules
        assert not modules & {"torch", "skorch"}
        assert b"torch" not in data
        assert b"skorch" not in data


def test_a_fresh_process_predicts_the_same(tmp_path):
    X, y = planted(60)
    models = [make(c, max_iter=2).fit(X, y) for c in (ProxyEncoder, DeepChallenger)]
    (tmp_path / "models.pkl").write_bytes(pickle.dumps((models, X)))
    code = (
        "import pickle, sys, numpy as np\n"
        "models, X = pickle.load(open(sys.argv[1] + '/models.pkl', 'rb'))\n"
        "np.save(sys.argv[1] + '/p.npy', [m.predict_proba(X) for m in models])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    expected = [m.predict_proba(X) for m in models]
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), expected)


@BOTH
@pytest.mark.skipif(torch.cuda.is_available(), reason="the point is a missing GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_model_of_a_gpu_loads_where_there_is_none(cls, device):
    X, y = planted(60)
    model = make(cls, max_iter=2).fit(X, y)
    loaded = pickle.loads(pickle.dumps(model.set_params(device=device)))
    assert loaded.device == device
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


@BOTH
def test_a_pickle_keeps_the_curves_and_not_the_optimizer(cls):
    X, y = planted(60)
    model = make(cls, max_iter=2).fit(X, y)
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.n_iter_ == 2
    assert loaded.loss_curve_ == model.loss_curve_
    assert loaded.validation_loss_curve_ == model.validation_loss_curve_
    n_weights = sum(p.numel() for p in model.net_.module_.parameters())
    assert len(pickle.dumps(model)) < 8 * n_weights + 10_000
    assert "net_" in vars(model)  # dumping takes nothing away


# Bad input.


@BOTH
@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"dropout": 1.0}, ValueError, "dropout == 1.0, must be < 1"),
        ({"dropout": -0.1}, ValueError, "dropout == -0.1, must be >= 0"),
        ({"dropout": np.nan}, ValueError, "dropout must be a finite number, got nan"),
        ({"dropout": "a"}, TypeError, "dropout must be an instance of float"),
        ({"lr": 0}, ValueError, "lr == 0, must be > 0"),
        ({"lr": np.inf}, ValueError, "lr must be a finite number, got inf"),
        ({"batch_size": 0}, ValueError, "batch_size == 0, must be >= 1"),
        ({"batch_size": "big"}, ValueError, "batch_size must be 'auto' or an integer"),
        ({"max_iter": 0}, ValueError, "max_iter == 0, must be >= 1"),
        ({"max_iter": 1.5}, TypeError, "max_iter must be an instance of int"),
        ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change == 0, must be >= 1"),
        ({"validation_fraction": 0}, ValueError, "validation_fraction == 0, must be >"),
        ({"validation_fraction": 1}, ValueError, "validation_fraction == 1, must be <"),
        (
            {"validation_fraction": np.nan},
            ValueError,
            "fraction must be a finite number, got",
        ),
        ({"validation_fraction": 0.999}, ValueError, "fraction=0.999 leaves no row to"),
        (
            {"early_stopping": "no"},
            TypeError,
            "stopping must be True or False, got 'no",
        ),
        ({"device": "abacus"}, ValueError, "device must be 'auto' or a torch device"),
        ({"class_weight": "fair"}, ValueError, "class_weight.*balanced.*fair"),
        ({"class_weight": {0: 1, 7: 2}}, ValueError, r"classes, \[1\], are not in"),
        ({"class_weight": {0: -1, 1: 1}}, ValueError, "class_weight must hold.*: .-1"),
        ({"class_weight": {0: np.nan, 1: 1}}, ValueError, "class_weight must hold.*na"),
        ({"class_weight": {0: 0, 1: 1}}, ValueError, r"got 1 class: \[1\].* zero"),
        ({"class_weight": {0: 0, 1: 0}}, ValueError, "got no class: .* zero"),
    ],
)
def test_bad_parameters_are_refused(cls, options, error, match):
    model = make(cls, **options)  # the constructor only stores
    with pytest.raises(error, match=match):
        model.fit(*planted(60))


def spoil(value):
    X, _ = planted(60)
    X[3, 2] = value
    return X


@BOTH
@pytest.mark.parametrize(
    "X, y, options, match",
    [
        (None, np.ones(60), {}, r"y must hold at least 2 classes, got 1 class: .*1\.0"),
        (spoil(np.nan), None, {}, "contains NaN"),
        (spoil(np.inf), None, {}, "contains infinity"),
        (None, np.linspace(0, 1, 60), {}, "Unknown label type: continuous"),
        (None, [0, 1], {}, r"inconsistent numbers of samples: \[60, 2\]"),
        (np.zeros(60), None, {}, "Expected 2D array, got 1D array"),
        (np.zeros((60, 2)), None, {}, r"no row to train on.* with 1 different"),
        (None, None, {"sample_weight": -np.ones(60)}, "Negative values in data"),
        (None, None, {"sample_weight": np.zeros(60)}, "zero"),
        (None, None, {"sample_weight": planted(60)[1]}, r"1 class: \[1\].* zero"),
        (None, None, {"sample_weight": np.ones(3)}, r"sample_weight.shape == \(3,\)"),
    ],
)
def test_bad_data_is_refused(cls, X, y, options, match):
    good = planted(60)
    X, y = (good[0] if X is None else X), (good[1] if y is None else y)
    with pytest.raises(ValueError, match=match):
        make(cls).fit(X, y, **options)


@BOTH
@pytest.mark.parametrize("options", [{}, {"early_stopping": False}])
@pytest.mark.parametrize("max_iter", [1, 9])
def test_training_that_diverges_is_refused(cls, options, max_iter):
    X, y = planted(60)
    model = make(cls, lr=1e30, max_iter=max_iter, **options)
    with pytest.raises(ValueError, match=r"Training diverged .* lr=1e\+30, or scale X"):
        model.fit(X.astype(np.float32), y)


@BOTH
def test_bad_data_at_prediction_is_refused(cls):
    X, y = planted(60)
    model = make(cls, max_iter=1).fit(X, y)
    for method in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(ValueError, match="contains NaN"):
            getattr(model, method)(spoil(np.nan))
        with pytest.raises(ValueError, match=r"has 4 features, but .* 5 features"):
            getattr(model, method)(X[:, :4])


@BOTH
def test_numbers_that_the_network_cannot_hold_are_refused_at_prediction(cls):
    X, y = planted(60)
    model = make(cls, max_iter=1).fit(X.astype(np.float32), y)
    large = X.copy()
    large[[3, 5]] = 1e39  # finite, and beyond float32
    methods = {"predict", "predict_proba", "decision_function", "transform"}
    for method in methods & set(dir(model)):
        match = "too large for the network: in 2 rows, first in row 3,.*Scale X"
        with pytest.raises(ValueError, match=match):
            getattr(model, method)(large)


# Accuracy curves.


@BOTH
def test_accuracy_curves_are_accuracies(cls):
    """Without dropout and learning, the curve is the score of the model itself."""
    X, y = planted(120, n_classes=3)
    options = {"lr": 1e-12, "max_iter": 1, "dropout": 0, "batch_size": 7}
    model = make(cls, **options).fit(X, y)
    held_out = watched(model, X, y)
    assert model.accuracy_curve_ == [model.score(X[~held_out], y[~held_out])]
    expected = [model.score(X[held_out], y[held_out])]
    assert model.validation_accuracy_curve_ == expected
    weight = np.random.default_rng(0).integers(1, 4, size=120)
    model.set_params(early_stopping=False).fit(X, y, sample_weight=weight)
    expected = model.score(X, y, sample_weight=weight)
    assert model.accuracy_curve_ == [pytest.approx(expected)]
    assert model.validation_accuracy_curve_ is None
