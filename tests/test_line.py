"""The line that networks start from: wide and deep, and what is held out whole."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from skchallenge import (
    DeepChallenger,
    MultimodalVirality,
    VideoCatalog,
    _base,
    make_deep_challenger,
)
from skchallenge._line import STRENGTHS, Line, tuned_line
from skchallenge.nn import WideAndDeep


def linear(n=400, n_noise=10, seed=0):
    """Labels of a line of two columns among many."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2 + n_noise)).astype(np.float32)
    y = X[:, 0] - X[:, 1] + rng.logistic(size=n) > 0
    return X, y.astype(int)


def network(**options):
    options = {"linear_path": True, "batch_size": 32, "random_state": 0, **options}
    return DeepChallenger((16,), **options)


def test_the_line_is_scikit_learns():
    X, y = linear()
    weight = np.random.default_rng(1).uniform(0.5, 2, size=len(y))
    X = X * 30 + 1000
    line = Line(100.0, 2).fit(X, y, weight)
    scaler = StandardScaler().fit(X, sample_weight=weight)
    expected = LogisticRegression(C=100 / weight.sum(), tol=1e-8, max_iter=999)
    expected.fit(scaler.transform(X), y, weight)
    logits = line.logits(X)
    found = logits[:, 1] - logits[:, 0]
    assert_allclose(found, expected.decision_function(scaler.transform(X)), atol=0.02)


def test_weights_are_repetitions_for_the_line():
    X, y = linear(60)
    times = np.random.default_rng(0).integers(1, 4, size=60)
    group = np.arange(60)
    weighted = tuned_line(X, y, times.astype(float), [group], 0)
    rows = np.repeat(group, times)
    repeated = tuned_line(X[rows], y[rows], np.ones(len(rows)), [rows], 0)
    assert weighted.strength == repeated.strength
    assert_allclose(weighted.coefficients, repeated.coefficients, atol=1e-3)


def test_columns_that_tell_nothing_take_no_part():
    X, y = linear(100)
    X = X.astype(np.float64)
    odd = np.column_stack([X, np.full(100, 7.0), np.full(100, 1e300), X[:, 0] * 1e300])
    one = np.ones(100)
    line = Line(10.0, 2).fit(odd, y, one)
    assert_array_equal(line.coefficients[:, -3:], 0)
    assert_allclose(
        line.coefficients[:, :-3], Line(10.0, 2).fit(X, y, one).coefficients
    )


def test_the_penalty_is_tuned_on_groups_that_are_new():
    """Each user has a column of its own, which tells nothing of other users."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(40), 10)
    habit = rng.normal(size=40)
    y = (habit[user] + 0.3 * rng.normal(size=400) > 0).astype(int)
    X = np.column_stack([np.eye(40)[user], 0.3 * habit[user] + rng.normal(size=400)])
    rows, one = np.arange(400), np.ones(400)
    by_row = tuned_line(X, y, one, [rows], 0)
    by_user = tuned_line(X, y, one, [user], 0)
    assert by_user.strength < by_row.strength
    both = tuned_line(X, y, one, [user, rows], 0)
    assert by_user.strength <= both.strength <= by_row.strength


def test_a_class_may_be_held_out_whole():
    X, y = linear(60)
    y[7] = 2
    for seed in range(20):
        model = network(max_iter=2, validation_fraction=0.4, random_state=seed)
        proba = model.fit(X, y).predict_proba(X)
        assert proba.shape == (60, 3)
        assert np.isfinite(proba).all()
    one = Line(10.0, 3).fit(X, np.full(60, 1), np.ones(60))
    assert one.logits(X).argmax(axis=1).tolist() == [1] * 60


def test_one_group_leaves_nothing_to_tune():
    X, y = linear(50)
    line = tuned_line(X, y, np.ones(50), [np.zeros(50, dtype=int)], 0)
    assert line.strength in STRENGTHS


@pytest.mark.parametrize("n_classes", [2, 3])
def test_before_the_first_step_the_network_is_the_line(n_classes):
    X, y = linear()
    y = y + (n_classes == 3) * (X[:, 2] > 0.5)
    model = network(max_iter=1, lr=1e-12, early_stopping=False).fit(X, y)
    line = tuned_line(X, y, np.ones(len(y)), [np.arange(len(y))], 1)
    logits = Line(line.strength, n_classes).fit(X, y, np.ones(len(y))).logits(X)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert model.predict_proba(X).shape == (400, n_classes)
    assert_allclose(model.predict_proba(X), expected, atol=0.05)


def test_a_network_that_does_not_help_is_dropped():
    """Steps that are too large: every epoch is worse than none."""
    X, y = linear(4000)
    model = network(lr=1.0, max_iter=8).fit(X[:2000], y[:2000])
    assert not model.net_.module_.deep.head.weight.any()
    line = LogisticRegression().fit(X[:2000], y[:2000]).predict_proba(X[2000:])
    found = log_loss(y[2000:], model.predict_proba(X[2000:]))
    assert found < log_loss(y[2000:], line) + 0.005
    alone = network(lr=1.0, max_iter=8, linear_path=False).fit(X[:2000], y[:2000])
    assert log_loss(y[2000:], alone.predict_proba(X[2000:])) > found + 0.01


def test_a_network_that_helps_is_added():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 4)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] + 0.5 * X[:, 2] > 0).astype(int)
    model = network(lr=0.01).fit(X[:2000], y[:2000])
    assert model.net_.module_.deep.head.weight.any()
    line = LogisticRegression().fit(X[:2000], y[:2000])
    assert roc_auc_score(y[2000:], line.decision_function(X[2000:])) < 0.85
    assert roc_auc_score(y[2000:], model.decision_function(X[2000:])) > 0.95


def test_the_line_is_fitted_to_what_was_held_out_too():
    X, y = linear(200)
    model = network(max_iter=1, validation_fraction=0.5).fit(X, y)
    groups = [_base.identical_rows(X)]
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    line = tuned_line(X.astype(float), y, np.ones(200), groups, seed)
    assert_allclose(model.net_.module_.coefficients, line.coefficients, atol=1e-6)


def test_videos_and_fills_are_not_of_the_line():
    X, y = linear(200, n_noise=3)
    blocks = {"user_id": (2, 1)}  # two videos of width 1, and their fill
    model = network(blocks=blocks, max_iter=1).fit(X, y)
    assert model.net_.module_.columns == [3, 4]
    names = ["a__user_id_video0_0", "a__user_id_video1_0", "a__user_id_fill", "x", "z"]
    model = network(max_iter=1).fit(pd.DataFrame(X, columns=names), y)
    assert model.net_.module_.columns == [3, 4]
    alone = network(max_iter=1).fit(pd.DataFrame(X[:, :3], columns=names[:3]), y)
    assert not isinstance(alone.net_.module_, WideAndDeep)


# What is held out whole.


@pytest.fixture
def held_out(monkeypatch):
    """The held-out rows of each fit."""
    found, original = [], _base.validation_rows

    def spy(*given):
        found.append(original(*given))
        return found[-1]

    monkeypatch.setattr(_base, "validation_rows", spy)
    return found


def grouped(n_users=30, n_challenges=25, seed=0):
    rng = np.random.default_rng(seed)
    pairs = pd.MultiIndex.from_product([range(n_users), range(n_challenges)])
    X = pd.DataFrame(rng.normal(size=(len(pairs), 3)), columns=list("abc"))
    X["user"] = [f"u{u}" for u, _ in pairs]
    X["challenge"] = [c for _, c in pairs]
    return X, (X["a"] > 0).astype(int).to_numpy()


@pytest.mark.parametrize("cls", [DeepChallenger, MultimodalVirality])
@pytest.mark.parametrize(
    "groups", ["user", ("user", "challenge"), ["user", -1], "challenge", 3]
)
def test_whole_groups_are_held_out(held_out, cls, groups):
    X, y = grouped()
    X = X.drop(columns="challenge" if groups in ("user", 3) else [])
    X = X.drop(columns="user" if groups == "challenge" else [])
    model = cls(groups=groups, max_iter=1, random_state=0).fit(X, y)
    (mask,) = held_out
    kinds = [c for c in ("user", "challenge") if c in X]
    assert 0 < mask.mean() < 0.3
    whole = [X[kind].map(pd.Series(mask).groupby(X[kind]).min()) for kind in kinds]
    assert_array_equal(np.any(whole, axis=0), mask)
    assert all(any(kind) for kind in whole)
    module = model.net_.module_
    assert getattr(module, "deep", module).body[0].in_features == 3
    other = X.assign(**{kind: X[kind].to_numpy()[::-1] for kind in kinds})
    assert_array_equal(model.predict_proba(other), model.predict_proba(X))


def test_of_few_groups_rows_are_held_out(held_out):
    X, y = grouped(n_users=30, n_challenges=19)
    DeepChallenger(groups=["user", "challenge"], max_iter=1, random_state=0).fit(X, y)
    DeepChallenger(groups="user", max_iter=1, random_state=0).fit(
        X.drop(columns="challenge"), y
    )
    assert_array_equal(*held_out)
    few, y = grouped(n_users=5, n_challenges=19)
    DeepChallenger(groups=["user", "challenge"], max_iter=1).fit(few, y)
    by_user = pd.Series(held_out[-1]).groupby(few["user"]).mean()
    assert by_user.between(0.01, 0.99).any()


def test_bad_groups():
    X, y = grouped(5, 5)
    with pytest.raises(ValueError, match="groups must be a column of X, got 'users'"):
        DeepChallenger(groups="users").fit(X, y)
    X.loc[3, "user"] = None
    with pytest.raises(ValueError, match="groups='user' must have no missing values"):
        DeepChallenger(groups=["user", "challenge"]).fit(X, y)
    X["user"] = X["user"].fillna("u0")
    with pytest.raises(ValueError, match="beside groups, but user is a str: 'u0' in"):
        DeepChallenger(groups="challenge").fit(X, y)
    with pytest.raises(TypeError, match="linear_path"):
        DeepChallenger(linear_path="yes").fit(X[["a"]], y)


# The factory.


def early_adopters(seed=0):
    """Users of whom half take tags up while they spread, and so do join."""
    rng = np.random.default_rng(seed)
    rows, number = [], iter(range(10**6))

    def post(user, time, tags, challenge=None):
        rows.append((next(number), user, time, tags, challenge))

    for day in (5, 15, 25):
        for i in range(5):
            post(f"s{day}{i}", day + i / 10, [f"fad{day}"])
    for i in range(5):
        post(f"t{i}", 40, ["dance"], "dance")
    is_early = rng.uniform(size=120) < 0.5
    for user, early in enumerate(is_early):
        for day in (5, 15, 25):
            post(f"u{user}", day + (1 if early else 30), [f"fad{day}"])
    columns = ["video_id", "user_id", "create_time", "hashtags", "challenge"]
    catalog = VideoCatalog(pd.DataFrame(rows, columns=columns))
    pairs = pd.DataFrame({"user_id": [f"u{u}" for u in range(120)]})
    pairs = pairs.assign(challenge="dance", time=60)
    y = np.where(rng.uniform(size=120) < 0.9, is_early, ~is_early).astype(int)
    return catalog, pairs, y


def test_the_factory_reads_adoption_without_features():
    catalog, pairs, y = early_adopters()
    model = make_deep_challenger(catalog, window=14, max_iter=3, random_state=0)
    assert model[0].transformers[0][0] == "user_adoption"
    model.fit(pairs[:80], y[:80])
    proba = model.predict_proba(pairs[80:])[:, 1]
    assert roc_auc_score(y[80:], proba) > 0.8
    names = model[0].get_feature_names_out()
    assert names[-2:].tolist() == ["held_out__user_id", "held_out__cluster"]
    read = [names[i] for i in model[-1].net_.module_.columns]
    assert len(read) == len(names) - 2


def test_who_it_is_does_not_count():
    """Not even by the codes that early stopping holds users out by."""
    catalog, pairs, y = early_adopters()
    model = make_deep_challenger(catalog, window=14, max_iter=3, random_state=0)
    model.fit(pairs, y)
    one_by_one = [model.predict_proba(pairs.iloc[[i]])[0] for i in (0, 60, 119)]
    assert_allclose(one_by_one, model.predict_proba(pairs)[[0, 60, 119]], rtol=1e-5)


def test_the_factory_says_what_adoption_needs():
    catalog, _, _ = early_adopters()
    bare = VideoCatalog(catalog.videos.drop(columns="hashtags"))
    with pytest.raises(ValueError, match="adoption=True needs tags .* no column 'hash"):
        make_deep_challenger(bare, adoption=True)
    with pytest.raises(ValueError, match="nothing to read: user_features is None"):
        make_deep_challenger(bare)
    with pytest.raises(ValueError, match="tags and a cut-off, but before=None"):
        make_deep_challenger(catalog, adoption=True, before=None)
    with pytest.raises(ValueError, match="held_out"):
        make_deep_challenger(catalog, held_out="user")
    with pytest.raises(ValueError, match="fusion"):
        make_deep_challenger(catalog, fusion="sum")
