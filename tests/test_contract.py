"""Our own contract battery, and proof that each of its checks can fail."""

import time
from functools import partial

import contract
import numpy as np
import pandas as pd
import pytest
import seeing_models as seeing
import torch
from media.sounds import noise, tone, write_sound
from PIL import Image
from sklearn import get_config
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from skchallenge import (
    AudioEmbedder,
    CaptionEmbedder,
    DeepChallenger,
    FrameCaptioner,
    FrameTagger,
    HistoryEncoder,
    ProxyEncoder,
    VideoCatalog,
    VideoFrameEmbedder,
)
from skchallenge.embed import MediaLimits

HERE = MediaLimits(timeout_s=None)  # no decoder process a call
FAST = {"max_iter": 3, "lr": 0.01, "batch_size": 16, "random_state": 0}
SLOTS = {"user_id": (2, 2), "challenge": (2, 2)}


def numbers(n=60, named=True):
    rng = np.random.default_rng(0)
    names = [
        f"{by}_{column}"
        for by in SLOTS
        for column in ("video0_0", "video0_1", "video1_0", "video1_1", "fill")
    ]
    X = rng.normal(size=(n, 10))
    X[:, [4, 9]] = rng.integers(0, 3, size=(n, 2)) / 2
    y = np.where(X[:, 0] > 0, "yes", "no")
    return (pd.DataFrame(X, columns=names) if named else X), y


def histories():
    """Return a factory of `HistoryEncoder` and pairs whose histories are not empty."""
    rng = np.random.default_rng(0)
    users = np.repeat([f"user{i}" for i in range(6)], 5)
    videos = pd.DataFrame(
        {
            "video_id": np.arange(30),
            "user_id": users,
            "challenge": None,
            "create_time": np.tile(np.arange(5), 6),
            "tempo": rng.normal(size=30),
        }
    )
    pairs = pd.DataFrame(
        {"user_id": rng.choice(users, 20), "time": rng.integers(1, 6, 20)}
    )
    columns = make_column_transformer(("passthrough", ["tempo"]))
    learned = make_pipeline(columns, ProxyEncoder(3, **FAST))
    encode = partial(
        HistoryEncoder, VideoCatalog(videos), learned, by="user_id", before="time"
    )
    return partial(encode, max_videos=2), pairs, None


def challenges():
    """Return a factory of the challenge's side and pairs of users who come later."""
    rng = np.random.default_rng(0)
    names = [f"challenge{i}" for i in range(4)]
    videos = pd.DataFrame(
        {
            "video_id": np.arange(32),
            "user_id": [f"seed{i}" for i in range(32)],
            "challenge": np.repeat(names, 8),
            "create_time": np.tile(np.arange(8), 4),
            "tempo": rng.normal(size=32),
        }
    )
    pairs = pd.DataFrame(
        {
            "challenge": rng.choice(names, 20),
            "user_id": rng.choice(["ann", "bob", "cy"], 20),
            "time": rng.integers(1, 9, 20),
        }
    )
    columns = make_column_transformer(("passthrough", ["tempo"]))
    learned = make_pipeline(columns, ProxyEncoder(3, **FAST))
    encode = partial(
        HistoryEncoder,
        VideoCatalog(videos, candidates=["ann", "bob", "cy"]),
        learned,
        by="challenge",
        before="time",
        exclude="user_id",
    )
    return partial(encode, max_videos=2), pairs, None


# Factory and data, the parameter that must not matter, number of assertions that run.
BATCH = "batch_size"
PROXY = partial(ProxyEncoder, 4, **FAST)
CONCAT = partial(DeepChallenger, (4,), **FAST)
ATTENTION = partial(CONCAT, fusion="attention")
CASES = {
    "ProxyEncoder": ((PROXY, *numbers()), BATCH, 256),
    "ProxyEncoder, array": ((PROXY, *numbers(named=False)), BATCH, 233),
    "DeepChallenger": ((CONCAT, *numbers()), BATCH, 184),
    "DeepChallenger, attention": ((ATTENTION, *numbers()), BATCH, 184),
    "DeepChallenger, array": (
        (partial(ATTENTION, blocks=SLOTS), *numbers(named=False)),
        BATCH,
        170,
    ),
    "HistoryEncoder": (histories(), None, 105),
    "HistoryEncoder, challenges": (challenges(), None, 105),
}


def colour_grid():
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())


@pytest.mark.parametrize("pooling", ["mean", "concat"])
def test_contract_of_the_path_embedder(tmp_path, pooling):
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / f"cover{i}.png") for i in range(9)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(path)
    factory = partial(
        VideoFrameEmbedder,
        colour_grid,
        n_frames=2,
        image_size=8,
        pooling=pooling,
        precision="float32",
        limits=HERE,
    )
    X = pd.DataFrame({"path": paths})
    assert contract.run(factory, X, batch_parameter="batch_size") == 107
    assert contract.check_torch_settings(factory, X) == 18


def halves():
    return nn.Sequential(
        nn.Unflatten(1, (1, -1)), nn.AdaptiveAvgPool1d(2), nn.Flatten()
    )


@pytest.mark.parametrize("model", ["logmel", halves], ids=["logmel", "function"])
def test_contract_of_the_sound_embedder(tmp_path, model):
    sounds = [noise(0.3 + 0.1 * i, seed=i) + tone(0.3 + 0.1 * i) for i in range(8)]
    paths = [
        write_sound(tmp_path / f"{i}.wav", sound) for i, sound in enumerate(sounds)
    ]
    Image.new("RGB", (8, 8)).save(tmp_path / "silent.png")
    X = pd.DataFrame({"path": [*paths, str(tmp_path / "silent.png")]})
    factory = partial(AudioEmbedder, model, limits=HERE)
    assert contract.run(factory, X, batch_parameter="batch_size") == 107
    assert contract.check_torch_settings(factory, X) == 18


@pytest.mark.parametrize("top_k", [None, 2])
def test_contract_of_the_tagger(tmp_path, top_k):
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / f"cover{i}.png") for i in range(9)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(path)
    factory = partial(
        FrameTagger,
        colour_grid,
        labels=[f"corner {i}" for i in range(12)],
        top_k=top_k,
        n_frames=2,
        image_size=8,
        precision="float32",
        limits=HERE,
    )
    X = pd.DataFrame({"path": paths})
    assert contract.run(factory, X, batch_parameter="batch_size") == (
        118 if top_k else 107
    )
    assert contract.check_torch_settings(factory, X) == 18


def test_contract_of_the_captioner(tmp_path):
    rng = np.random.default_rng(0)
    paths = [str(tmp_path / f"cover{i}.png") for i in range(9)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(path)
    model = seeing.save(seeing.git, tmp_path / "git")
    settings = {"max_new_tokens": 3, "precision": "float32", "limits": HERE}
    factory = partial(FrameCaptioner, model, **settings)
    X = pd.DataFrame({"path": paths})
    assert contract.run(factory, X, batch_parameter="batch_size") == 118


def test_contract_of_the_caption_embedder(tiny_bert):
    X = pd.DataFrame({"caption": ["a cat", "dance", "", None, "funny", "x", "y", "zz"]})
    factory = partial(CaptionEmbedder, tiny_bert, precision="float32")
    assert contract.run(factory, X, batch_parameter="batch_size", tol=1e-4) == 107
    assert contract.check_torch_settings(factory, X) == 18


@pytest.mark.parametrize("name", CASES)
def test_contract(name):
    data, batch_parameter, n_assertions = CASES[name]
    assert contract.run(*data, batch_parameter=batch_parameter) == n_assertions


@pytest.mark.parametrize(
    "name, n_assertions",
    [
        ("ProxyEncoder", 72),
        ("DeepChallenger", 54),
        ("DeepChallenger, attention", 54),
        ("HistoryEncoder", 18),
    ],
)
def test_the_callers_settings_of_torch_do_not_matter(name, n_assertions):
    (factory, X, y), _, _ = CASES[name]
    X = X if y is None else X.astype(np.float32)  # float64 is never cast
    assert contract.check_torch_settings(factory, X, y) == n_assertions


class Honest(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Centre the columns and keep every promise."""

    def __init__(self, *, scale=1.0, batch_size=5):
        self.scale = scale
        self.batch_size = batch_size

    def fit(self, X, y=None):
        self.mean_ = validate_data(self, X).mean(axis=0)
        return self

    def transform(self, X):
        check_is_fitted(self)
        return (validate_data(self, X, reset=False) - self.mean_) * self.scale


class ChangesParameter(Honest):
    def __init__(self, *, scale=1.0, batch_size=5):
        super().__init__(scale=float(f"{scale}1"), batch_size=batch_size)


class FitReturnsNone(Honest):
    def fit(self, X, y=None):
        super().fit(X)


class FitOverwritesParameter(Honest):
    def fit(self, X, y=None):
        self.scale = 2.0
        return super().fit(X)


class NeedsNoFit(Honest):
    def transform(self, X):
        return np.asarray(X)


class CloneKeepsState(Honest):
    def __sklearn_clone__(self):
        return self


class PickleLosesState(Honest):
    def __getstate__(self):
        return {**super().__getstate__(), "scale": 3.0}


class IgnoresItsSeed(Honest):
    def fit(self, X, y=None):
        super().fit(X)
        self.mean_ = self.mean_ + np.random.default_rng().normal()
        return self


class SeedsNumpy(Honest):
    def fit(self, X, y=None):
        np.random.seed(0)  # noqa: NPY002  # the fault
        return super().fit(X)


class DrawsFromTorch(Honest):
    def transform(self, X):
        torch.rand(1)
        return super().transform(X)


class SetsThreads(Honest):
    def fit(self, X, y=None):
        torch.set_num_threads(torch.get_num_threads() + 1)
        return super().fit(X)


class ChangesInput(Honest):
    def transform(self, X):
        output = super().transform(X)
        X[X.columns[0]] = 0.0
        return output


class CentresEachCall(Honest):
    def transform(self, X):
        return super().transform(X) + np.asarray(X).mean()


class BatchesDiffer(Honest):
    def transform(self, X):
        return super().transform(X) * self.batch_size


class RemembersFits(Honest):
    def fit(self, X, y=None):
        seen = getattr(self, "mean_", 0.0)
        super().fit(X)
        self.mean_ = self.mean_ + seen
        return self


class WantsPythonsNumbers(Honest):
    def transform(self, X):
        return super().transform(X) + (type(self.batch_size) is not int)


class SharesASeed(Honest):
    def fit(self, X, y=None):
        super().fit(X)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            time.sleep(0.5)  # until another thread has seeded too
            self.mean_ = self.mean_ + torch.rand(1).item()
        return self


class ReadsTheConfiguration(Honest):
    def transform(self, X):
        is_default = get_config()["transform_output"] == "default"
        return super().transform(X) + is_default


class TakesTheDefaultType(Honest):
    def transform(self, X):
        return super().transform(X) + np.spacing(torch.ones(1).numpy())


class ForgetsNames(Honest):
    def fit(self, X, y=None):
        return super().fit(np.asarray(X))


class RepeatsNames(Honest):
    def get_feature_names_out(self, input_features=None):
        check_is_fitted(self)
        return np.array(["one"] * self.n_features_in_, dtype=object)


class AlwaysNumpy(Honest, auto_wrap_output_keys=None):
    def set_output(self, *, transform=None):
        return self


class OtherFitTransform(Honest):
    def fit_transform(self, X, y=None):
        return self.fit(X).transform(X) + 1


@pytest.mark.parametrize(
    "cls, check",
    [
        (ChangesParameter, contract.check_params),
        (FitReturnsNone, contract.check_fit_returns_self),
        (FitOverwritesParameter, contract.check_fit_returns_self),
        (NeedsNoFit, contract.check_not_fitted),
        (CloneKeepsState, contract.check_clone),
        (PickleLosesState, contract.check_pickle),
        (IgnoresItsSeed, contract.check_seed),
        (SeedsNumpy, contract.check_global_state),
        (DrawsFromTorch, contract.check_global_state),
        (SetsThreads, contract.check_global_state),
        (NeedsNoFit, contract.check_input_untouched),
        (ChangesInput, contract.check_input_untouched),
        (CentresEachCall, contract.check_rows),
        (BatchesDiffer, contract.check_batch_size),
        (RemembersFits, contract.check_refit),
        (WantsPythonsNumbers, contract.check_numpy_params),
        (SharesASeed, contract.check_threads),
        (ReadsTheConfiguration, contract.check_configuration),
        (TakesTheDefaultType, contract.check_torch_settings),
        (ForgetsNames, contract.check_n_features),
        (NeedsNoFit, contract.check_columns),
        (RepeatsNames, contract.check_names_out),
        (AlwaysNumpy, contract.check_set_output),
        (OtherFitTransform, contract.check_fit_transform),
    ],
)
def test_each_check_can_fail(cls, check):
    named = check is not contract.check_input_untouched or cls is ChangesInput
    X, _ = numbers(12, named)
    threads = torch.get_num_threads()
    assert check(Honest, X) > 0
    with pytest.raises(AssertionError):
        check(cls, X)
    torch.set_num_threads(threads)
