"""FrameCaptioner: against the models' own texts, laws, and wrong input."""

import shutil

import numpy as np
import pandas as pd
import pytest
import seeing_models as seeing
import torch
from PIL import Image
from sklearn.pipeline import make_pipeline
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

from skchallenge import CaptionEmbedder, EmbeddingStore, FrameCaptioner
from skchallenge.embed import _captioner as captioner_module
from skchallenge.exceptions import MediaError, MediaWarning
from skchallenge.media._limits import MediaLimits

HERE = MediaLimits(timeout_s=None)  # decode without a process for each call
KINDS = {make.__name__: make for make in seeing.WRITERS}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {
        name: seeing.save(make, tmp_path_factory.mktemp(name))
        for name, make in KINDS.items()
    }


@pytest.fixture(scope="module")
def paths(tmp_path_factory, media):
    folder, rng = tmp_path_factory.mktemp("described"), np.random.default_rng(0)
    frames = list(rng.integers(0, 255, (6, 48, 40, 3), dtype=np.uint8))
    media.write_video(folder / "a.mkv", frames, codec="ffv1", pix_fmt="bgr0")
    for number in range(3):
        picture = rng.integers(0, 255, (44, 60, 3), dtype=np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.png")
    return sorted(map(str, folder.iterdir()))


def captioner(model, **parameters):
    settings = {"precision": "float32", "limits": HERE, **parameters}
    return FrameCaptioner(model, **settings)


def reference(folder, path, max_new_tokens=30):
    """Describe a picture as the documentation of transformers shows."""
    net = AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pixels = processor(Image.open(path), return_tensors="pt").pixel_values
    with torch.no_grad():
        tokens = net.generate(
            pixel_values=pixels, max_new_tokens=max_new_tokens, do_sample=False
        )
    return tokenizer.batch_decode(tokens, skip_special_tokens=True)[0].strip()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_the_model_itself_writes(kind, models, paths):
    found = captioner(models[kind]).fit_transform(paths)
    assert found.shape == (4, 1)
    for path, (text,) in zip(paths[:3], found[:3], strict=True):
        assert text == reference(models[kind], path)
        assert text


def test_sentences_that_differ_are_joined_in_order(models, paths, tmp_path):
    pictures = [str(tmp_path / f"{i}.png") for i in range(2)]
    for path, source in zip(pictures, paths[:2], strict=True):
        shutil.copy(source, path)
    model = captioner(models["vit_gpt2"], n_frames=4).fit(pictures)
    one, two = model.transform(pictures).ravel()
    assert one != two
    (both,) = model.transform(pd.Series([pictures])).ravel()
    assert both == f"{one}. {two}"
    assert model.set_params(batch_size=1).transform(pd.Series([pictures]))[0, 0] == both


def test_the_contextual_summary_is_embedded(models, tiny_bert, paths):
    X = pd.DataFrame({"path": paths})
    describe = captioner(models["vit_gpt2"])
    summary = make_pipeline(describe, CaptionEmbedder(tiny_bert)).fit_transform(X)
    assert summary.shape == (4, 16)
    assert len(np.unique(summary.round(3), axis=0)) > 1
    assert describe.get_feature_names_out().tolist() == ["path_description"]


def test_a_store_keeps_texts(models, paths, tmp_path, monkeypatch):
    store = EmbeddingStore(tmp_path / "e.db")
    texts = captioner(models["git"], store=store).fit_transform(paths)

    def fails(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr(captioner_module, "read_clips", fails)
    monkeypatch.setattr(captioner_module, "Writer", fails)
    again = captioner(models["git"], store=store).fit_transform(paths)
    assert again.tolist() == texts.tolist()


def test_bad_files_and_silence_are_cells_of_their_own(models, paths, monkeypatch):
    X = [paths[0], "no such file.png"]
    with pytest.raises(MediaError, match=r"Row 1: .*set on_error='nan' to fill its"):
        captioner(models["blip"]).fit_transform(X)
    with pytest.warns(MediaWarning, match="row 1"):
        found = captioner(models["blip"], on_error="nan").fit_transform(X)
    assert isinstance(found[0, 0], str)
    assert np.isnan(found[1, 0])
    monkeypatch.setattr(
        captioner_module.Writer, "describe", lambda self, frames, n: [""] * len(frames)
    )
    with pytest.raises(MediaError, match="model=.*says nothing of its frames"):
        captioner(models["blip"]).fit_transform(X[:1])
    with pytest.warns(MediaWarning, match="says nothing"):
        found = captioner(models["blip"], on_error="nan").fit_transform(X[:1])
    assert pd.isna(found[0, 0])


def test_fit_loads_no_weights(models, paths, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(models["git"], folder)
    (folder / "model.safetensors").unlink()
    captioner(str(folder)).fit(paths)


@pytest.mark.parametrize(
    "parameters, error, message",
    [
        ({"model": 3}, TypeError, "model must be a folder or the name of a Hugging"),
        ({"n_frames": 0}, ValueError, "n_frames == 0, must be"),
        ({"max_new_tokens": 0}, ValueError, "max_new_tokens == 0, must be"),
        ({"on_error": "zero"}, ValueError, "on_error must be"),
        ({"batch_size": "all"}, ValueError, "batch_size must be"),
        ({"model": "./no/such"}, ValueError, "model must be a folder with a model tha"),
    ],
)
def test_wrong_parameters(parameters, error, message, models, paths):
    with pytest.raises(error, match=message):
        captioner(**{"model": models["git"], **parameters}).fit(paths)


def test_models_that_do_not_write_are_refused(tiny_bert, paths, tmp_path):
    eye = seeing.save(seeing.dinov2, tmp_path)
    for model in (tiny_bert, eye):
        with pytest.raises(ValueError, match="which writes nothing about images"):
            captioner(model).fit(paths)


def test_a_missing_tokenizer_is_named(models, paths, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(models["git"], folder)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ValueError, match="comes without its tokenizer"):
        captioner(str(folder)).fit(paths).transform(paths[:1])
