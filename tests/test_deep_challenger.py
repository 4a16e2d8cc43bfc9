import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from skchallenge import DeepChallenger
from skchallenge.nn import MLP, AttentionFusion

FAST = {"max_iter": 3, "lr": 0.01, "random_state": 0}
SLOTS, WIDTH = 3, 2
BLOCKS = {"user_id": (SLOTS, WIDTH), "challenge": (SLOTS, WIDTH)}
PLACES = ((0, SLOTS, WIDTH), (SLOTS * WIDTH + 1, SLOTS, WIDTH))


def names(by, slots=SLOTS, width=WIDTH):
    videos = [f"{by}_video{k}_{j}" for k in range(slots) for j in range(width)]
    return [*videos, f"{by}_fill"]


COLUMNS = [*names("user_id"), *names("challenge")]


def pairs(n=80, seed=0):
    """Two sides of noise videos; each has one to three of them."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, len(COLUMNS))), columns=COLUMNS)
    for by in BLOCKS:
        X[f"{by}_fill"] = rng.integers(1, SLOTS + 1, size=n) / SLOTS
    return X, rng.integers(0, 2, size=n)


def attention(**options):
    return DeepChallenger((8,), fusion="attention", **FAST, **options)


def same_tastes(n=1500, signal=2.0, seed=0):
    """Users join when their taste is the challenge's: no side tells it alone."""
    X, _ = pairs(n, seed)
    rng = np.random.default_rng(seed + 1)
    taste, theme = rng.choice([-1, 1], size=(2, n))
    videos = [c for c in COLUMNS if c.endswith("_0")]
    for side, sign in (("user_id", taste), ("challenge", theme)):
        X[[c for c in videos if c.startswith(side)]] += signal * sign[:, None]
    return X, (taste == theme).astype(int)


# Blocks.


def test_names_and_a_mapping_give_the_same_model():
    X, y = pairs()
    named = attention().fit(X, y)
    mapped = attention(blocks=BLOCKS).fit(X.to_numpy(), y)
    assert named._module_options_["blocks"] == PLACES
    assert mapped._module_options_["blocks"] == PLACES
    np.testing.assert_array_equal(
        named.predict_proba(X), mapped.predict_proba(X.to_numpy())
    )


def test_column_transformers_prefixes_are_read():
    X, y = pairs()
    sides = ColumnTransformer(
        [
            ("historyencoder-1", "passthrough", names("user_id")),
            ("historyencoder-2", "passthrough", names("challenge")),
        ]
    ).set_output(transform="pandas")
    model = make_pipeline(sides, attention()).fit(X, y)
    assert model[-1].feature_names_in_[0] == "historyencoder-1__user_id_video0_0"
    assert model[-1]._module_options_["blocks"] == PLACES
    expected = attention().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_one_name_under_two_prefixes_is_two_blocks():
    X, y = pairs()
    X.columns = [f"a__{c}" for c in names("user")] + [f"b__{c}" for c in names("user")]
    assert attention().fit(X, y)._module_options_["blocks"] == PLACES


def test_other_columns_are_plain_wherever_they_stand():
    X, y = pairs()
    X.insert(0, "followers", 1.0)
    X.insert(8, "user_id_video_count", 2.0)
    X["user_id_videos_0"] = 3.0
    model = attention().fit(X, y)
    assert model._module_options_["blocks"] == ((1, SLOTS, WIDTH), (9, SLOTS, WIDTH))
    # The fill shares are 7 and 15.
    assert model.net_.module_.plain == [0, 7, 8, 15, 16]


def test_blocks_may_differ_in_slots_and_width():
    columns = [*names("user_id", 12, 1), *names("challenge", 2, 11)]
    X = pd.DataFrame(np.ones((20, len(columns))), columns=columns)
    X["user_id_video0_0"] = np.arange(20.0)
    model = attention().fit(X, np.arange(20) % 2)
    assert model._module_options_["blocks"] == ((0, 12, 1), (13, 2, 11))


def test_a_mapping_leaves_the_last_columns_plain():
    X, y = pairs()
    blocks = {"user_id": BLOCKS["user_id"]}
    model = attention(blocks=blocks).fit(X, y)
    assert model.net_.module_.plain == list(range(6, 14))


def test_a_mapping_goes_before_names():
    X, y = pairs()
    model = attention(blocks={"all": (13, 1)}).fit(X, y)
    assert model._module_options_["blocks"] == ((0, 13, 1),)


def test_concat_looks_at_no_blocks():
    X, y = pairs()
    plain = DeepChallenger((8,), **FAST).fit(X, y)
    given = DeepChallenger((8,), blocks={"no": (99, 99)}, **FAST).fit(X, y)
    np.testing.assert_array_equal(plain.predict_proba(X), given.predict_proba(X))
    assert isinstance(plain.net_.module_, MLP)
    assert isinstance(attention().fit(X, y).net_.module_, AttentionFusion)


# Laws of attention.


def test_attention_ignores_order_and_empty_slots():
    X, y = pairs()
    model = attention().fit(X, y)
    X["user_id_fill"] = 2 / 3
    first, second, third = (
        [c for c in COLUMNS if c.startswith(f"user_id_video{k}")] for k in range(3)
    )
    swapped, noisy = X.copy(), X.copy()
    swapped[first], swapped[second] = X[second].to_numpy(), X[first].to_numpy()
    noisy[third] = 1e3
    expected = model.predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(swapped), expected)
    np.testing.assert_allclose(model.predict_proba(noisy), expected)


def test_attention_takes_rows_without_any_video():
    X, y = pairs()
    X.loc[:20, "user_id_fill"] = 0.0
    X.loc[10:30, "challenge_fill"] = 0.0
    model = attention().fit(X, y)
    assert np.isfinite(model.predict_proba(X)).all()
    assert np.isfinite(model.loss_curve_).all()


@pytest.mark.parametrize("fusion", ["concat", "attention"])
def test_an_interaction_of_both_sides_is_found(fusion):
    X, y = same_tastes()
    model = DeepChallenger((16,), fusion=fusion, lr=0.01, random_state=0)
    model.fit(X[:1000], y[:1000])
    auc = roc_auc_score(y[1000:], model.predict_proba(X[1000:])[:, 1])
    assert auc > 0.9  # 0.5 by chance; a linear model reaches no more


@pytest.mark.parametrize("fusion", ["concat", "attention"])
def test_no_signal_gives_chance(fusion):
    X, y = pairs(1400)
    model = DeepChallenger((16,), fusion=fusion, lr=0.01, random_state=0)
    model.fit(X[:400], y[:400])
    auc = roc_auc_score(y[400:], model.predict_proba(X[400:])[:, 1])
    # 500 against 500: the standard error is 0.018, the margin 4 of them.
    assert auc == pytest.approx(0.5, abs=0.073)


def test_sixteen_pairs_are_learned_by_heart():
    X, _ = pairs(16)
    y = np.arange(16) % 2
    model = attention().set_params(
        hidden_layer_sizes=(32,), max_iter=150, dropout=0, early_stopping=False
    )
    assert model.fit(X, y).score(X, y) == 1


# Hidden layers.


def test_hidden_layers_may_be_any_sequence_or_none():
    X, y = pairs()
    outputs = [
        DeepChallenger(h, **FAST).fit(X, y).predict_proba(X)
        for h in ((8, 4), [8, 4], np.array([8, 4]))
    ]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])
    linear = DeepChallenger((), **FAST).fit(X, y)
    weight = linear.net_.module_.head.weight.detach().numpy()
    logit = X.to_numpy() @ (weight[1] - weight[0])
    gap = linear.decision_function(X) - logit
    np.testing.assert_allclose(gap, gap[0])


# Bad input.


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"fusion": "sum"}, ValueError, r"one of \['concat', 'attention'\], got 'sum'"),
        ({"hidden_layer_sizes": (8, 0)}, ValueError, "sizes == 0, must be >= 1"),
        (
            {"hidden_layer_sizes": (8, 1.5)},
            TypeError,
            "sizes must be an instance of ",
        ),
        ({"hidden_layer_sizes": 8}, TypeError, r"sequence of widths.*\(128,\), got 8"),
        (
            {"hidden_layer_sizes": (), "fusion": "attention"},
            ValueError,
            r"needs at least one width in hidden_layer_sizes, got \(\)",
        ),
    ],
)
def test_bad_parameters_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        DeepChallenger(**options).fit(*pairs())


@pytest.mark.parametrize(
    "blocks, error, match",
    [
        ({"user": (9, 9)}, ValueError, r"takes 82 columns .*, but X has 14"),
        ({}, ValueError, r"blocks=\{\} takes 0 columns"),
        ({"user": (0, 4)}, ValueError, r"slots.* == 0, must be >= 1"),
        ({"user": (4, 0)}, ValueError, r"width.* == 0, must be >= 1"),
        ({"user": (2.0, 2)}, TypeError, r"slots of blocks.* must be an instance of "),
        (
            {"user": 3},
            TypeError,
            r"blocks must map names to \(slots, width\).*user.: 3",
        ),
        ([(3, 2)], TypeError, r"blocks must map names to \(slots, width\), got \[\(3"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(blocks, error, match):
    X, y = pairs()
    with pytest.raises(error, match=match):
        attention(blocks=blocks).fit(X, y)


@pytest.mark.parametrize(
    "X",
    [
        pairs()[0].to_numpy(),
        pairs()[0].add_suffix("_"),
        pairs()[0].drop(columns=["user_id_fill", "challenge_fill"]),
    ],
)
def test_attention_without_names_or_blocks_says_what_to_do(X):
    with pytest.raises(ValueError, match=r"set_output\(transform='pandas'\).*blocks="):
        attention().fit(X, pairs()[1])


@pytest.mark.parametrize(
    "columns",
    [
        [c for c in COLUMNS if c != "user_id_video1_1"],
        [c for c in COLUMNS if c != "user_id_video2_1"],
        [c for c in COLUMNS if c != "user_id_video0_0"],
        [*names("user_id")[::-1], *names("challenge")],
        [*names("challenge"), "user_id_fill", *names("user_id")[:-1]],
        [COLUMNS[1], COLUMNS[0], *COLUMNS[2:]],
        sorted(COLUMNS),
    ],
)
def test_broken_blocks_are_refused(columns):
    X, y = pairs()
    with pytest.raises(ValueError, match="'(user_id|challenge)' are incomplete or out"):
        attention().fit(X[columns], y)


def test_clone_keeps_blocks():
    model = attention(blocks=BLOCKS)
    assert clone(model).blocks == BLOCKS
