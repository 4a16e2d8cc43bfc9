"""AudioEmbedder: against the models' own forward pass, laws, and wrong input."""

import copy
import gc
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from joblib import Parallel, delayed
from media.sounds import RATE, beats, noise, planted_clips, tone, write_sound
from PIL import Image
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator
from torch import nn
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    AutoFeatureExtractor,
    AutoModel,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from skchallenge import AudioEmbedder
from skchallenge.embed import _audio as audio_module
from skchallenge.embed._hearing import cut
from skchallenge.embed._logmel import LOGMEL_NAMES
from skchallenge.exceptions import MediaError, MediaWarning

WIDTH = len(LOGMEL_NAMES) + 1
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.3,
}


class Power(nn.Module):
    """The mean power of two halves of the samples, and that of all."""

    def forward(self, x):
        first, second = x.tensor_split(2, dim=1)
        return torch.stack([part.square().mean(1) for part in (first, second, x)], 1)


def power():
    return Power()


def fixed_length():
    return nn.Linear(16_000, 2)


def no_batch():
    return nn.Flatten(0)


def no_module():
    return 3


def ast(folder):
    config = ASTConfig(**SMALL, max_length=256, num_mel_bins=32)
    ASTModel(config).save_pretrained(folder)
    ASTFeatureExtractor(max_length=256, num_mel_bins=32).save_pretrained(folder)


def wav2vec2(folder):
    sizes = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16}
    config = Wav2Vec2Config(**SMALL, **sizes, num_conv_pos_embedding_groups=4)
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)


def hubert(folder):
    sizes = {"conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16}
    config = HubertConfig(**SMALL, **sizes, num_conv_pos_embedding_groups=4)
    HubertModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)


def whisper(folder):
    layers = {"encoder_layers": 2, "decoder_layers": 1, "vocab_size": 60}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    ids = dict.fromkeys(
        ["pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"], 1
    )
    config = WhisperConfig(
        d_model=16,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=150,
        num_mel_bins=20,
        init_std=0.3,
        **layers,
        **heads,
        **ids,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor(20, chunk_length=3).save_pretrained(folder)


def clap(folder):
    audio = {
        "spec_size": 64,
        "num_mel_bins": 16,
        "patch_embeds_hidden_size": 8,
        "hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "window_size": 4,
    }
    text = {"vocab_size": 60, "max_position_embeddings": 20, **SMALL}
    config = ClapConfig(text_config=text, audio_config=audio, projection_dim=12)
    ClapModel(config).save_pretrained(folder)
    extractor = ClapFeatureExtractor(
        16,
        sampling_rate=8_000,
        max_length_s=2,
        frequency_max=4_000,
        truncation="rand_trunc",
    )
    extractor.save_pretrained(folder)


KINDS = {f.__name__: f for f in (ast, wav2vec2, hubert, whisper, clap)}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return {kind: folder} of tiny models: mechanics only, weights are random."""
    folders = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, make in KINDS.items():
            folders[name] = tmp_path_factory.mktemp(name)
            make(folders[name])
    return {name: str(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Return sound of several kinds and lengths, and a picture."""
    folder = tmp_path_factory.mktemp("sounds")
    sounds = {
        "tone.wav": tone(1.5),
        "noise.mkv": noise(2.3),
        "beats.mkv": beats(5.0),
        "long.wav": noise(7.0) * np.linspace(0.1, 1, 7 * RATE),
        "click.wav": tone(0.02),
    }
    for name, sound in sounds.items():
        write_sound(folder / name, sound, n_pictures=10 * name.endswith("mkv"))
    Image.new("RGB", (40, 30)).save(folder / "cover.png")
    return [*(str(folder / name) for name in sounds), str(folder / "cover.png")]


def samples(path):
    """Read 16-bit sound at 16 kHz with nothing but PyAV."""
    import av

    with av.open(path) as container:
        parts = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(parts).astype(np.float32) / 2**15


def reference(folder, sound, rate=RATE):
    """Embed one window as the documentation of transformers shows."""
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    net = AutoModel.from_pretrained(folder).eval()
    inputs = extractor(sound, sampling_rate=rate, return_tensors="pt")
    with torch.no_grad():
        if isinstance(net, ClapModel):
            return net.get_audio_features(**inputs).pooler_output[0].numpy()
        if isinstance(net, WhisperModel):  # the encoder has two frames of 10 ms a state
            states = net.encoder(**inputs).last_hidden_state[0]
            return states[: -(-len(sound) // 320)].mean(0).numpy()
        output = net(**inputs)
    if isinstance(net, ASTModel):
        return output.pooler_output[0].numpy()
    return output.last_hidden_state[0].mean(0).numpy()


def cosine(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "clap"])
def test_one_window_is_the_models_own_forward_pass(kind, models, paths):
    expected = [reference(models[kind], samples(path)) for path in paths[:2]]
    found = AudioEmbedder(models[kind], precision="float32").fit_transform(paths[:2])
    assert cosine(found[:, :-1], np.stack(expected)).min() > 0.9999
    np.testing.assert_allclose(found[:, :-1], expected, atol=1e-4)
    assert cosine(*expected) < 0.9999  # or the comparison would show nothing
    assert found[:, -1].tolist() == [1, 1]


def test_clap_hears_at_its_own_rate_in_the_space_of_its_texts(models, tmp_path):
    sound = tone(1.5, rate=8_000)
    path = write_sound(tmp_path / "a.wav", sound, rate=8_000)
    expected = reference(models["clap"], samples(path), rate=8_000)
    [found] = AudioEmbedder(models["clap"], precision="float32").fit_transform([path])
    assert cosine(found[:-1], expected) > 0.9999


@pytest.mark.parametrize("kind", ["ast", "wav2vec2", "whisper"])
def test_long_sound_is_the_mean_over_equal_windows(kind, models, paths):
    sound = samples(paths[3])[: 6 * RATE]
    model = AudioEmbedder(
        models[kind], window_s=2.5, max_s=6.0, precision="float32", batch_size=2
    )
    [found] = model.fit_transform([paths[3]])
    parts = [reference(models[kind], part) for part in np.split(sound, 3)]
    np.testing.assert_allclose(found[:-1], np.mean(parts, axis=0), atol=1e-4)


def test_windows_are_as_long_as_the_model_hears(models, paths, monkeypatch):
    seen = []

    def noting(sound, rate, window_s):
        seen.append(window_s)
        return cut(sound, rate, window_s)

    monkeypatch.setattr(audio_module, "cut", noting)
    for kind in KINDS:
        AudioEmbedder(models[kind]).fit_transform(paths[:1])
    AudioEmbedder(power).fit_transform(paths[:1])
    AudioEmbedder().fit_transform(paths[:1])
    assert seen == [2.56, 10.0, 10.0, 3.0, 2.0, 10.0, None]


@pytest.mark.parametrize("n", [1, 1599, 1600, 16_000, 16_001, 40_000])
def test_cutting_loses_nothing(n):
    sound = np.arange(n).astype(np.int16)
    windows = cut(sound, RATE, 1.0)
    assert len({len(window) for window in windows}) == 1
    assert 1600 <= len(windows[0]) <= 16_000
    assert len(windows) == max(1, -(-n // 16_000))
    joined = np.concatenate(windows)
    assert (joined[:n] == sound).all()
    assert not joined[n:].any()


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_close_to_float32(kind, models, paths):
    exact, rounded = (
        AudioEmbedder(models[kind], precision=precision).fit_transform(paths[:4])
        for precision in ("float32", "bfloat16")
    )
    least = 0.8 if kind in ("wav2vec2", "hubert") else 0.99  # samples in 8 bits
    assert cosine(rounded[:, :-1], exact[:, :-1]).min() > least
    assert not np.array_equal(rounded, exact)


def test_what_hears_samples_computes_in_float32(models, monkeypatch):
    monkeypatch.setattr(audio_module, "resolve_precision", lambda *_: torch.bfloat16)
    found = {kind: AudioEmbedder(models[kind])._dtype() for kind in KINDS}
    assert found == {
        **dict.fromkeys(["ast", "whisper", "clap"], torch.bfloat16),
        **dict.fromkeys(["wav2vec2", "hubert"], torch.float32),
    }


def test_a_function_gets_samples(paths):
    found = AudioEmbedder(power).fit_transform(paths[:2])
    for row, path in zip(found, paths[:2], strict=True):
        sound = samples(path)
        first, second = np.array_split(sound, 2)
        expected = [np.mean(part**2) for part in (first, second, sound)]
        np.testing.assert_allclose(row, [*expected, 1], rtol=1e-4)


def test_a_function_gets_its_rate(tmp_path):
    path = write_sound(tmp_path / "a.wav", tone(0.5), rate=RATE)

    def count():
        class Count(nn.Module):
            def forward(self, x):
                return torch.full((len(x), 1), float(x.shape[1]))

        return Count()

    [found] = AudioEmbedder(count, sample_rate=48_000).fit_transform([path])
    assert found[0] == pytest.approx(24_000, abs=2)


# Laws


MODELS = ["logmel", power, "ast", "wav2vec2", "whisper", "clap"]


@pytest.fixture(params=MODELS, ids=lambda kind: getattr(kind, "__name__", kind))
def embedder(request, models):
    model = models.get(request.param, request.param)
    return AudioEmbedder(model, precision="float32")


def test_rows_stand_alone(embedder, paths):
    whole = embedder.fit_transform(paths)
    largest = np.abs(whole).max()
    order = [3, 0, 5, 2, 2, 1, 4]
    found = embedder.transform([paths[i] for i in order])
    np.testing.assert_allclose(found, whole[order], atol=1e-5 * largest)
    for row, path in zip(whole, paths, strict=True):
        [found] = embedder.transform([path])
        np.testing.assert_allclose(found, row, atol=1e-5 * largest)


def test_batch_size_does_not_matter(embedder, paths):
    whole = embedder.fit_transform(paths)
    for batch_size in (1, 100):
        found = clone(embedder).set_params(batch_size=batch_size).fit_transform(paths)
        np.testing.assert_allclose(found, whole, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize(
    "kind",
    [
        "logmel",
        pytest.param(power, marks=pytest.mark.slow, id="power"),
        pytest.param("whisper", marks=pytest.mark.slow),
    ],
)
def test_processes_do_not_matter(kind, models, paths):
    model = AudioEmbedder(models.get(kind, kind))
    whole = model.fit_transform(paths)
    found = model.set_params(n_jobs=2).transform(paths)
    np.testing.assert_allclose(found, whole, atol=1e-5 * np.abs(whole).max())


def test_a_store_gives_the_bits_and_decodes_nothing(
    embedder, paths, tmp_path, monkeypatch
):
    stored = embedder.set_params(store=tmp_path / "store.db")
    first = stored.fit_transform(paths)

    def fails(*args, **options):
        raise AssertionError("decoded again")

    monkeypatch.setattr(audio_module, "read_sounds", fails)
    again = clone(stored).fit(paths)
    np.testing.assert_array_equal(again.transform(paths), first)
    np.testing.assert_array_equal(again.transform([Path(p) for p in paths]), first)
    data = [Path(path).read_bytes() for path in paths]
    np.testing.assert_array_equal(again.transform(data), first)


@pytest.mark.parametrize("change", [{"max_s": 1.0}, {"window_s": 1.0}, {"model": "x"}])
def test_what_shapes_a_vector_is_in_its_key(change, models, paths, tmp_path):
    store, folder = tmp_path / "store.db", tmp_path / "model"
    shutil.copytree(models["wav2vec2"], folder)
    model = AudioEmbedder(folder, precision="float32", store=store).fit(paths[:1])
    first = model.transform(paths[:1])
    if "model" in change:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            wav2vec2(folder)
        change = {}
    found = clone(model).set_params(**change).fit_transform(paths[:1])
    fresh = AudioEmbedder(folder, precision="float32", **change)
    np.testing.assert_array_equal(found, fresh.fit_transform(paths[:1]))
    assert not np.allclose(found, first)


def test_copies_hold_no_weights(embedder, paths):
    expected = embedder.fit_transform(paths)
    assert len(pickle.dumps(embedder)) < 5_000
    for copied in (pickle.loads(pickle.dumps(embedder)), copy.deepcopy(embedder)):
        np.testing.assert_array_equal(copied.transform(paths), expected)


def test_fit_loads_no_weights_and_opens_no_file(models, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(models["ast"], folder)
    (folder / "model.safetensors").unlink()
    assert AudioEmbedder(folder).fit(["no such file"]).width_ == 16


def test_names_and_columns(models, paths):
    table = pd.DataFrame({"path": paths[:2], "reply": paths[1:3]})
    model = AudioEmbedder(models["ast"]).set_output(transform="pandas")
    found = model.fit_transform(table)
    assert found.shape == (2, 34)
    names = [f"path_audio{i}" for i in range(16)]
    assert list(found)[:17] == [*names, "path_has_sound"]
    assert list(found)[-1] == "reply_has_sound"
    np.testing.assert_allclose(found.iloc[1, :17], found.iloc[0, 17:], atol=1e-5)
    logmel = AudioEmbedder().set_output(transform="polars").fit_transform(table)
    assert isinstance(logmel, pl.DataFrame)
    assert "path_mel63_slope" in logmel.columns
    assert "reply_loudness" in logmel.columns
    assert logmel.shape == (2, 2 * WIDTH)


def test_it_stands_in_a_column_transformer(paths):
    table = pd.DataFrame({"path": paths, "n": range(len(paths))})
    columns = make_column_transformer((AudioEmbedder(), "path"), ("passthrough", ["n"]))
    found = columns.fit_transform(table)
    assert found.shape == (len(paths), WIDTH + 1)
    assert "audioembedder__path_onset_rate" in columns.get_feature_names_out()


def test_lists_are_sound_in_a_row_and_pixels_are_silent(paths):
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    cells = pd.Series([[paths[0], pixels, paths[2]], [paths[5], pixels], pixels])
    rows = AudioEmbedder(power, window_s=20.0).fit_transform(cells)
    both = np.concatenate([samples(paths[0]), samples(paths[2])])
    assert rows[0, 2] == pytest.approx(np.mean(both**2), rel=1e-4)
    assert not rows[1:].any()


def test_no_sound_is_a_row_of_zeros_or_an_error(paths):
    found = AudioEmbedder().fit_transform(paths)
    assert not found[5].any()
    assert found[:5, -1].all()
    strict = AudioEmbedder(no_sound="error")
    with pytest.raises(MediaError, match=r"Row 5: .*cover.png: has no sound.*Repair"):
        strict.fit_transform(paths)
    strict.set_params(on_error="nan")
    with pytest.warns(MediaWarning, match=r"1 of 6 .* row 5: .*has no sound"):
        rows = strict.fit_transform(paths)
    assert np.isnan(rows[5]).all()
    np.testing.assert_array_equal(rows[:5], found[:5])


def test_a_store_serves_both_policies(paths, tmp_path):
    store = tmp_path / "store.db"
    AudioEmbedder(store=store).fit_transform(paths)
    with pytest.raises(MediaError, match="has no sound"):
        AudioEmbedder(store=store, no_sound="error").fit_transform(paths)


def test_bad_files_are_rows_of_their_own(paths, tmp_path):
    (tmp_path / "bad.wav").write_text("no sound at all")
    X = [paths[0], str(tmp_path / "bad.wav"), "gone.mp4", None, paths[1]]
    with pytest.raises(TypeError, match=r"row 3, column 0 is .*None.*without a file"):
        AudioEmbedder().fit(X)
    with pytest.raises(MediaError, match=r"Row 1: .*bad.wav: cannot be decoded"):
        AudioEmbedder().fit_transform(X[:3])
    whole = AudioEmbedder().fit_transform(paths[:2])
    for on_error, filler in (("nan", np.nan), ("zero", 0)):
        model = AudioEmbedder(on_error=on_error).fit(X)
        match = f"3 of 5 files .*on_error='{on_error}' says: row 1: .*row 3: there is"
        with pytest.warns(MediaWarning, match=match) as caught:
            found = model.transform(X)
        assert caught[0].filename == __file__
        np.testing.assert_array_equal(found[1:4], np.full((3, WIDTH), filler))
        np.testing.assert_array_equal(found[[0, 4]], whole)


def test_a_memory_map(paths):
    found = AudioEmbedder(output="memmap").fit_transform(paths)
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, AudioEmbedder().fit_transform(paths))
    del found
    gc.collect()


def test_progress_is_shown_on_request(paths, capsys):
    AudioEmbedder(verbose=1).fit_transform(paths)
    assert "AudioEmbedder, logmel" in capsys.readouterr().err
    AudioEmbedder().fit_transform(paths)
    assert not capsys.readouterr().err


def test_threads_share_one_network(models, paths):
    expected = AudioEmbedder(models["wav2vec2"]).fit_transform(paths)
    tasks = [
        delayed(AudioEmbedder(models["wav2vec2"]).fit_transform)(paths)
        for _ in range(3)
    ]
    for found in Parallel(2, backend="threading")(tasks):
        np.testing.assert_array_equal(found, expected)


def test_not_fitted(paths):
    with pytest.raises(NotFittedError):
        AudioEmbedder().transform(paths)
    with pytest.raises(NotFittedError):
        AudioEmbedder().get_feature_names_out()


def test_tags_and_the_checks_of_scikit_learn():
    tags = get_tags(AudioEmbedder())
    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    with pytest.warns(SkipTestWarning, match="Can't test estimator AudioEmbedder"):
        results = check_estimator(AudioEmbedder())
    assert len(results) == 1


# What sound tells


@pytest.mark.slow  # half a minute
@pytest.mark.parametrize("decides", ["pitch", "rhythm", "nothing"])
def test_sound_alone_finds_what_sound_alone_decides(decides, tmp_path):
    paths, y = planted_clips(tmp_path, decides, 80, seed=0)
    steps = StandardScaler(), LogisticRegression(C=0.1, max_iter=500)
    X = AudioEmbedder().fit_transform(paths)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    chances = cross_val_predict(
        make_pipeline(*steps), X, y, cv=folds, method="predict_proba"
    )
    auc = roc_auc_score(y, chances[:, 1])
    low, high = (0.3, 0.7) if decides == "nothing" else (0.9, 1)
    assert low <= auc <= high


# Wrong input


@pytest.mark.parametrize(
    "parameters, error, message",
    [
        ({"model": Power()}, TypeError, "model must be .* got an instance of Power"),
        ({"model": 3}, TypeError, "model must be 'logmel', the name .* got 3"),
        ({"model": no_module}, TypeError, "model must return an nn.Module, got int"),
        ({"model": fixed_length}, ValueError, "failed on silence .*must map samples"),
        ({"model": no_batch}, ValueError, r"gave \(160000,\) for one .*must map sam"),
        (
            {"sample_rate": 8000},
            ValueError,
            "sample_rate must be 'auto' for",
        ),
        ({"model": power, "sample_rate": 100}, ValueError, "from 4,000 to 192,000"),
        ({"model": power, "sample_rate": "x"}, ValueError, "must be 'auto' or an int"),
        ({"window_s": 5.0}, ValueError, "window_s must be 'auto' for model='logmel'"),
        ({"model": power, "window_s": 0.0}, ValueError, "window_s == 0.0, must be >="),
        ({"model": power, "window_s": "x"}, ValueError, "must be 'auto' or a number"),
        ({"max_s": 0.0}, ValueError, "max_s == 0.0, must be >= 0.1"),
        ({"max_s": np.inf}, ValueError, "max_s must be a finite number"),
        ({"max_s": None}, TypeError, "max_s must be an instance of"),
        ({"precision": "int8"}, ValueError, "precision must be one of"),
        (
            {"precision": "bfloat16"},
            ValueError,
            "precision must be 'auto' or",
        ),
        ({"batch_size": 0}, ValueError, "batch_size == 0, must be >= 1"),
        ({"device": "gpu9"}, ValueError, "device must be 'auto' or a torch device"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be None or an integer"),
        ({"no_sound": "nan"}, ValueError, "no_sound must be one of"),
        ({"on_error": "skip"}, ValueError, "on_error must be one of"),
        ({"output": "csv"}, ValueError, "output must be one of"),
        ({"limits": 3}, TypeError, "limits must be a MediaLimits"),
    ],
)
def test_wrong_parameters(parameters, error, message, paths):
    with pytest.raises(error, match=message):
        AudioEmbedder().set_params(**parameters).fit(paths)


def test_a_module_that_takes_one_length_only_is_named(paths):
    model = AudioEmbedder(fixed_length, window_s=1.0).fit(paths)
    with pytest.raises(ValueError, match="failed on windows of .* for any n"):
        model.transform(paths)


def test_a_text_model_is_refused(tiny_bert, paths):
    match = "model must be a model of sound .* of type 'bert', which hears nothing"
    with pytest.raises(ValueError, match=match):
        AudioEmbedder(tiny_bert).fit(paths)


def test_a_missing_feature_extractor_is_named(models, paths, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(models["whisper"], folder)
    (folder / "preprocessor_config.json").unlink()
    match = "comes without its feature extractor .*WhisperFeatureExtractor"
    with pytest.raises(ValueError, match=match):
        AudioEmbedder(folder).fit(paths)
    WhisperFeatureExtractor(20, chunk_length=3).save_pretrained(folder)
    AudioEmbedder(folder).fit(paths)


def test_a_window_longer_than_the_model_hears_is_refused(models, paths):
    with pytest.raises(ValueError, match=r"window_s must be at most 3, .* got 30"):
        AudioEmbedder(models["whisper"], window_s=30).fit(paths)


@pytest.mark.parametrize("name", ["no-such/model", "./no/such/folder"])
def test_unknown_models_are_named_with_the_remedy(name, paths, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    match = f"(?s)model must be a folder with a model of sound.*got '{name}'.*Without"
    with pytest.raises(ValueError, match=match):
        AudioEmbedder(name).fit(paths)


def test_another_width_after_fit_is_refused(models, paths):
    model = AudioEmbedder().fit(paths).set_params(model=models["ast"])
    with pytest.raises(ValueError, match="gives 16 features .* of fit gave"):
        model.transform(paths)


def test_anything_but_files_is_refused():
    with pytest.raises(TypeError, match="X must hold .* row 0, column 0 is a float"):
        AudioEmbedder().fit([[3.5]])
