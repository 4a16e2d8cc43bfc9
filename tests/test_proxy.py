import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from skchallenge import ProxyEncoder

FAST = {"max_iter": 3, "lr": 0.01, "random_state": 0}


def makers(n_makers=6, n=360, width=20, seed=0):
    """Videos of some users: each user has a place of their own in the first columns."""
    rng = np.random.default_rng(seed)
    maker = rng.integers(0, n_makers, size=n)
    places = 2.5 * np.eye(n_makers, width)
    return places[maker] + rng.normal(size=(n, width)), maker


def test_embeddings_are_the_hidden_layer_that_predictions_come_from():
    X, y = makers()
    model = ProxyEncoder(8, **FAST).fit(X, y)
    Z, head = model.transform(X), model.net_.module_.head
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    np.testing.assert_allclose(Z @ weight.T + bias, model.decision_function(X))
    assert Z.shape == (len(X), 8)
    assert (Z >= 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transform_keeps_the_dtype_of_training(dtype):
    X, y = makers()
    model = ProxyEncoder(8, **FAST).fit(X.astype(dtype), y)
    assert model.transform(X.astype(dtype)).dtype == dtype
    assert {p.dtype for p in model.net_.module_.parameters()} == {
        {np.float32: torch.float32, np.float64: torch.float64}[dtype]
    }


def test_embeddings_hold_the_proxy_label_for_new_rows():
    X, y = makers(n=800)
    train, test = train_test_split(np.arange(len(X)), random_state=0)
    model = ProxyEncoder(8, lr=0.01, max_iter=60, random_state=0).fit(
        X[train], y[train]
    )
    probe = LogisticRegression(max_iter=1000).fit(model.transform(X[train]), y[train])
    # The nearest place is right for about 90 % of the rows; chance is 17 %.
    assert probe.score(model.transform(X[test]), y[test]) > 0.75


def test_noise_gives_embeddings_of_chance():
    X, y = np.random.default_rng(0).normal(size=(1200, 20)), np.arange(1200) % 2
    model = ProxyEncoder(8, lr=0.01, random_state=0).fit(X[:400], y[:400])
    probe = LogisticRegression(max_iter=1000).fit(model.transform(X[:400]), y[:400])
    # 800 coins: the standard error is 0.018, the margin 4 of them.
    score = probe.score(model.transform(X[400:]), y[400:])
    assert score == pytest.approx(0.5, abs=0.072)


def test_columns_are_named_after_the_class():
    X, y = makers()
    model = ProxyEncoder(3, **FAST).set_output(transform="pandas").fit(X, y)
    table = model.transform(X)
    assert isinstance(table, pd.DataFrame)
    assert list(table) == ["proxyencoder0", "proxyencoder1", "proxyencoder2"]


def test_names_follow_the_fitted_width():
    model = ProxyEncoder(3, **FAST).fit(*makers()).set_params(embedding_size=5)
    assert len(model.get_feature_names_out()) == 3


def test_a_numpy_integer_is_an_embedding_size():
    X, y = makers()
    assert ProxyEncoder(np.int64(4), **FAST).fit(X, y).transform(X).shape[1] == 4


@pytest.mark.parametrize(
    "size, error, match",
    [
        (0, ValueError, "embedding_size == 0, must be >= 1"),
        (2.5, TypeError, "embedding_size must be an instance of "),
        ((8,), TypeError, "embedding_size must be an instance of "),
    ],
)
def test_a_bad_embedding_size_is_refused(size, error, match):
    with pytest.raises(error, match=match):
        ProxyEncoder(size).fit(*makers())
