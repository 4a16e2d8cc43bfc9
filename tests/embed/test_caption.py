"""CaptionEmbedder: against transformers itself, laws, and wrong input."""

import pickle
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from huggingface_hub import utils as hub
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    ModernBertConfig,
    ModernBertModel,
)
from transformers.utils import logging as transformers_logging

from skchallenge.embed import CaptionEmbedder
from skchallenge.embed._caption import (
    TextEncoder,
    length_batches,
    pool_tokens,
)
from skchallenge.embed._pretrained import quiet_transformers

CAPTIONS = [
    "dance with the funny cat",
    "#fyp #dance",
    "",
    "cat " * 300,
    "\N{DANCER}\N{FIRE}\N{FACE WITH TEARS OF JOY}",
    "a",
    "dance with the funny cat",
]


@pytest.fixture
def model(tiny_bert):
    return CaptionEmbedder(tiny_bert, precision="float32")


def reference(folder, captions, pooling, max_length=128):
    """Embed one caption at a time, as the documentation of transformers shows."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    net = AutoModel.from_pretrained(folder).eval()
    rows = []
    for caption in captions:
        tokens = tokenizer(
            caption, truncation=True, max_length=max_length, return_tensors="pt"
        )
        with torch.no_grad():
            states = net(**tokens).last_hidden_state[0]
        rows.append(states[0] if pooling == "cls" else states.mean(dim=0))
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("max_length", [8, 128])
def test_agrees_with_transformers(tiny_bert, pooling, max_length):
    model = CaptionEmbedder(
        tiny_bert, pooling=pooling, max_length=max_length, precision="float32"
    )
    rows = model.fit_transform(CAPTIONS)
    expected = reference(tiny_bert, CAPTIONS, pooling, max_length)
    np.testing.assert_allclose(rows, expected, atol=1e-5 * np.abs(expected).max())
    assert rows.dtype == np.float32


def test_missing_captions_are_zeros_and_empty_ones_are_not(model):
    missing = [None, np.nan, pd.NA, pd.NaT]
    rows = model.fit_transform(pd.Series(["cat", "", *missing], dtype=object))
    assert rows.any(axis=1).tolist() == [True, True, False, False, False, False]
    polars = clone(model).fit_transform(pl.Series(["cat", "", None]))
    np.testing.assert_array_equal(polars, rows[:3])


def test_captions_beyond_max_length_are_cut(model):
    rows = model.set_params(max_length=6).fit_transform(
        ["cat cat cat cat", "cat cat cat cat dance", "cat cat cat"]
    )
    np.testing.assert_array_equal(rows[0], rows[1])
    assert np.abs(rows[0] - rows[2]).max() > 1e-3


def test_rows_order_and_duplicates_do_not_matter(model):
    rows = model.fit_transform(CAPTIONS)
    order = [6, 2, 0, 5, 5, 3, 1, 4, 0]
    shuffled = model.transform([CAPTIONS[i] for i in order])
    np.testing.assert_array_equal(shuffled, rows[order])


@pytest.mark.parametrize(
    "precision, tolerance", [("float32", 1e-5), ("bfloat16", 3e-2)]
)
def test_other_rows_and_batch_size_do_not_matter(tiny_bert, precision, tolerance):
    model = CaptionEmbedder(tiny_bert, precision=precision)
    rows = model.fit_transform(CAPTIONS)
    alone = np.vstack([model.transform([caption]) for caption in CAPTIONS])
    small = clone(model).set_params(batch_size=2).fit_transform(CAPTIONS)
    atol = tolerance * np.abs(rows).max()
    np.testing.assert_allclose(alone, rows, rtol=0, atol=atol)
    np.testing.assert_allclose(small, rows, rtol=0, atol=atol)


def test_each_distinct_caption_is_embedded_once(model):
    model.fit_transform(["warm up"])
    seen = []
    net = model._encoder().net
    net.register_forward_pre_hook(
        lambda m, args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    model.transform([*CAPTIONS, *CAPTIONS, None])
    assert sum(seen) == len(set(CAPTIONS))


def test_same_bits_clone_and_pickle_without_weights(model):
    rows = model.fit_transform(CAPTIONS)
    np.testing.assert_array_equal(model.transform(CAPTIONS), rows)
    np.testing.assert_array_equal(clone(model).fit_transform(CAPTIONS), rows)
    data = pickle.dumps(model)
    assert len(data) < 2000
    np.testing.assert_array_equal(pickle.loads(data).transform(CAPTIONS), rows)


def test_the_encoder_is_loaded_anew_when_a_parameter_changes(model):
    cls = model.fit_transform(CAPTIONS)
    mean = model.set_params(pooling="mean").transform(CAPTIONS)
    assert np.abs(cls - mean).max() > 1e-3


def test_threads_leave_the_settings_of_transformers_as_found():
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    entered = threading.Event()

    def first():
        with quiet_transformers():
            entered.set()
            time.sleep(0.1)

    def second():
        entered.wait()
        with quiet_transformers():
            time.sleep(0.2)
        return transformers_logging.get_verbosity()

    with ThreadPoolExecutor(2) as pool:
        pool.submit(first)
        assert pool.submit(second).result() == verbosity
    assert transformers_logging.is_progress_bar_enabled() == bars


def test_the_caller_is_left_as_found(model, capsys):
    captions = pd.DataFrame({"caption": CAPTIONS})
    before = captions.copy()
    state, n_threads = torch.get_rng_state(), torch.get_num_threads()
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    model.fit_transform(captions)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == n_threads
    assert transformers_logging.get_verbosity() == verbosity
    assert transformers_logging.is_progress_bar_enabled() == bars
    pd.testing.assert_frame_equal(captions, before)
    assert capsys.readouterr().err == ""


def test_progress_is_shown_on_request(model, capsys):
    model.set_params(verbose=1).fit_transform(CAPTIONS)
    assert "6/6" in capsys.readouterr().err


@pytest.mark.parametrize("bars_off", [True, False])
def test_progress_bars_of_the_hub_stay_as_found(model, bars_off):
    if bars_off:
        hub.disable_progress_bars()
    try:
        model.fit(CAPTIONS)
        assert hub.are_progress_bars_disabled() == bars_off
    finally:
        hub.enable_progress_bars()


@pytest.mark.parametrize("bar", [True, False])
def test_progress_bars_of_transformers_stay_as_found(model, bar):
    if not bar:
        transformers_logging.disable_progress_bar()
    try:
        model.fit(CAPTIONS)
        assert transformers_logging.is_progress_bar_enabled() == bar
    finally:
        transformers_logging.enable_progress_bar()


@pytest.mark.parametrize(
    "as_input",
    [
        list,
        tuple,
        np.array,
        lambda captions: np.array(captions, dtype=object),
        pd.Series,
        pl.Series,
        lambda captions: pd.Series(captions, dtype="category"),
        lambda captions: pd.DataFrame({"caption": captions}),
        lambda captions: pl.DataFrame({"caption": captions}),
        lambda captions: [[caption] for caption in captions],
    ],
)
def test_a_column_may_be_given_in_many_ways(model, as_input):
    expected = model.fit_transform(CAPTIONS)
    X = as_input(CAPTIONS)
    np.testing.assert_array_equal(clone(model).fit_transform(X), expected)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
@pytest.mark.parametrize(
    "as_input",
    [
        list,
        pd.Series,
        lambda captions: np.array(captions, dtype=object),
        lambda captions: [[caption] for caption in captions],
        lambda captions: pd.DataFrame({"caption": captions}),
    ],
)
def test_a_missing_caption_is_one_in_any_container(model, as_input, missing):
    rows = model.fit_transform(as_input(["dance", missing, "nan"]))
    assert rows.any(axis=1).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "X", [np.array([[b"dance"]]), pd.DataFrame({"caption": ["dance", b"dance"]})]
)
def test_bytes_are_refused(model, X):
    with pytest.raises(TypeError, match=r"hold texts, got a bytes_?: .* Decode them"):
        model.fit_transform(X)


@pytest.mark.parametrize("table", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_columns_stand_side_by_side_with_names(model, table, output):
    X = table({"title": CAPTIONS, "tags": CAPTIONS[::-1]})
    single = clone(model).fit_transform(CAPTIONS)
    result = model.set_output(transform=output).fit_transform(X)
    names = [f"captionembedder{i}" for i in range(32)]
    assert list(result.columns) == names
    expected = np.hstack([single, single[::-1]])
    np.testing.assert_array_equal(result.to_numpy(), expected)


def test_checks_of_scikit_learn(tiny_bert, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # or one of the checks skips itself
    results = check_estimator(CaptionEmbedder(tiny_bert), on_skip=None, on_fail=None)
    others = [
        (r["check_name"], r["exception"]) for r in results if r["status"] != "passed"
    ]
    assert others == []
    assert len(results) >= 45


def test_fit_reads_the_configuration_only(tiny_bert, tmp_path):
    shutil.copy(Path(tiny_bert) / "config.json", tmp_path)
    model = CaptionEmbedder(tmp_path).fit(CAPTIONS)
    assert model.width_ == 16
    assert model.get_feature_names_out().shape == (16,)
    with pytest.raises(ValueError, match="comes without its tokenizer"):
        model.transform(CAPTIONS)


def test_a_folder_never_asks_the_network(model, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert model.fit_transform(CAPTIONS).shape == (7, 16)


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "name", ["no-such/model", "./no/such/folder", "/no/such/folder", "not a name!"]
)
def test_unknown_models_are_named_with_the_remedy(name):
    message = f"model must be .* got '{name}'.*pass the path of a local folder"
    with pytest.raises(ValueError, match=f"(?s){message}"):
        CaptionEmbedder(name).fit(CAPTIONS)


@pytest.mark.parametrize(
    "parameters, error, message",
    [
        ({"model": 3}, TypeError, "model must be a folder or the name .* int"),
        ({"pooling": "max"}, ValueError, "pooling must be one of .*got 'max'"),
        ({"precision": "int8"}, ValueError, "precision must be one of"),
        ({"max_length": 0}, ValueError, "max_length == 0, must be >= 1"),
        ({"max_length": 129}, ValueError, "max_length must be at most 128, the pos"),
        ({"batch_size": 0}, ValueError, "batch_size == 0, must be >= 1"),
        ({"batch_size": "big"}, ValueError, "batch_size must be 'auto' or an integer"),
        ({"device": "gpu9"}, ValueError, "device must be 'auto' or a torch device"),
    ],
)
def test_wrong_parameters(model, parameters, error, message):
    with pytest.raises(error, match=message):
        model.set_params(**parameters).fit(CAPTIONS)


def test_a_model_of_another_width_after_fit_is_refused(model, tmp_path):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertConfig(vocab_size=9, **sizes).save_pretrained(tmp_path)
    fitted = model.fit(CAPTIONS).set_params(model=str(tmp_path))
    message = "model=.* gives 8 features with .* fit gave 16. Call fit again"
    with pytest.raises(ValueError, match=message):
        fitted.transform(CAPTIONS)
    assert fitted.fit(CAPTIONS).get_feature_names_out().shape == (8,)


def test_a_model_may_move_after_fit(model, tiny_bert, tmp_path):
    expected = model.fit_transform(CAPTIONS)
    moved = shutil.copytree(tiny_bert, tmp_path / "there")
    rows = model.set_params(model=moved).transform(CAPTIONS)
    np.testing.assert_array_equal(rows, expected)


def test_a_wrong_parameter_after_fit_is_named(model):
    fitted = model.fit(CAPTIONS).set_params(max_length=129)
    with pytest.raises(ValueError, match="max_length must be at most 128"):
        fitted.transform(CAPTIONS)


def test_bfloat16_leaves_the_angles_of_positions_alone(tiny_bert, tmp_path):
    config = ModernBertConfig(
        vocab_size=100, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, pad_token_id=0, cls_token_id=2, sep_token_id=3,
    )  # fmt: skip
    with torch.random.fork_rng():
        ModernBertModel(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    encoder = TextEncoder(str(tmp_path), torch.bfloat16, torch.device("cpu"))
    assert {p.dtype for p in encoder.net.parameters()} == {torch.bfloat16}
    angles = [b for n, b in encoder.net.named_buffers() if "inv_freq" in n]
    assert angles
    assert {b.dtype for b in angles} == {torch.float32}
    vectors = encoder.embed(encoder.tokenize(["dance"], 64), "cls")
    assert vectors.dtype == np.float32


def test_encoder_decoders_are_refused(tmp_path):
    from transformers import T5Config

    T5Config(d_model=16, num_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="an encoder of the BERT family"):
        CaptionEmbedder(tmp_path).fit(CAPTIONS)


def test_not_fitted(model):
    with pytest.raises(NotFittedError):
        model.transform(CAPTIONS)


@pytest.mark.parametrize(
    "batch_size, expected",
    [(None, [[2], [4, 0], [3, 1]]), (2, [[2, 4], [0, 3], [1]]), (9, [[2, 4, 0, 3, 1]])],
)
def test_batches_are_longest_first_within_a_budget(batch_size, expected):
    lengths = np.array([4, 1, 30, 4, 5])
    batches = [batch.tolist() for batch in length_batches(lengths, batch_size, 10)]
    assert batches == expected


def test_mean_pooling_ignores_padding():
    states = torch.tensor([[[1.0], [3.0], [100.0]], [[2.0], [4.0], [6.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    assert pool_tokens(states, mask, "mean").tolist() == [[2.0], [4.0]]
    assert pool_tokens(states, mask, "cls").tolist() == [[1.0], [2.0]]
