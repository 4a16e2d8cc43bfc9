"""VideoFrameEmbedder with models of transformers and of sentence-transformers."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import seeing_models as seeing
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from sklearn.base import clone
from transformers import AutoImageProcessor, AutoModel, AutoVideoProcessor

from skchallenge import CaptionEmbedder, EmbeddingStore, VideoFrameEmbedder
from skchallenge.embed import _frames as frames_module
from skchallenge.media._limits import MediaLimits
from skchallenge.media._read import read_clips
from skchallenge.media._source import read_source

KINDS = {make.__name__: make for make in [*seeing.IMAGES, *seeing.VIDEOS]}
HERE = MediaLimits(timeout_s=None)  # decode without a process for each call


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Return {kind: folder} of tiny models."""
    return {
        name: seeing.save(make, tmp_path_factory.mktemp(name))
        for name, make in KINDS.items()
    }


@pytest.fixture(scope="module")
def paths(tmp_path_factory, media):
    """Return videos of noise, wide and high, and a picture."""
    folder, rng = tmp_path_factory.mktemp("seen"), np.random.default_rng(0)
    shapes = {"wide.mkv": (9, 40, 64, 3), "high.mkv": (5, 72, 40, 3)}
    for name, shape in shapes.items():
        frames = list(rng.integers(0, 255, shape, dtype=np.uint8))
        media.write_video(folder / name, frames, codec="ffv1", pix_fmt="bgr0")
    picture = rng.integers(0, 255, (50, 44, 3), dtype=np.uint8)
    Image.fromarray(picture).save(folder / "cover.png")
    return [str(folder / name) for name in [*shapes, "cover.png"]]


def embedder(model, **parameters):
    settings = {"n_frames": 4, "precision": "float32", "limits": HERE, **parameters}
    return VideoFrameEmbedder(model, **settings)


def whole_frames(path, n_frames):
    """Return the sampled frames of a file in their own size, as often as wanted."""
    (clip,) = read_clips([path], n_frames, None, n_threads=1, limits=HERE)
    return [clip.frames[i] for i in clip.frame_index]


def reference(kind, folder, frames):
    """Embed frames as the documentation of transformers shows: (k, D)."""
    net = AutoModel.from_pretrained(folder).eval()
    if kind == "vjepa2":
        processor = AutoVideoProcessor.from_pretrained(folder)
        inputs = processor(videos=[np.stack(frames)], return_tensors="pt")
    else:
        processor = AutoImageProcessor.from_pretrained(folder)
        inputs = processor([Image.fromarray(f) for f in frames], return_tensors="pt")
    with torch.no_grad():
        if kind in ("clip", "siglip"):
            return net.get_image_features(**inputs).pooler_output.numpy()
        if kind == "xclip":
            return net.get_video_features(**inputs).pooler_output.numpy()
        output = net(**inputs)
    if kind in ("vit", "timesformer"):  # their files hold no weights of a pooler
        return output.last_hidden_state[:, 0].numpy()
    if kind in ("videomae", "vjepa2"):  # no class token
        return output.last_hidden_state.mean(dim=1).numpy()
    return output.pooler_output.numpy()


def cosine(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_models_own_forward_pass_and_preprocessing(kind, models, paths):
    found = embedder(models[kind]).fit_transform(paths)
    for row, path in zip(found, paths, strict=True):
        expected = reference(kind, models[kind], whole_frames(path, 4)).mean(axis=0)
        np.testing.assert_allclose(row, expected, rtol=1e-3, atol=1e-4)
        assert cosine(row[None], expected[None]).min() > 0.9999


def test_whole_frames_are_the_files_own_pixels(tmp_path, media):
    pixels = np.random.default_rng(1).integers(0, 255, (3, 30, 46, 3), dtype=np.uint8)
    path = media.write_video(
        tmp_path / "a.mkv", list(pixels), codec="ffv1", pix_fmt="bgr0"
    )
    np.testing.assert_array_equal(whole_frames(str(path), 3), pixels)


def test_frames_of_a_list_keep_their_sizes(paths):
    frames = whole_frames(read_source(paths[1:]), 6)
    assert {frame.shape for frame in frames} == {(72, 40, 3), (50, 44, 3)}


def test_frames_of_large_films_are_shrunk(tmp_path):
    path = tmp_path / "large.png"
    Image.new("RGB", (2400, 1200)).save(path)
    assert whole_frames(str(path), 1)[0].shape == (1080, 2160, 3)


@pytest.mark.parametrize("kind", ["videomae", "vjepa2"])
def test_windows_are_in_order_of_time(kind, models, paths):
    found = embedder(models[kind], n_frames=8, pooling="concat").fit_transform(paths)
    assert found.shape == (3, 2 * 16)
    frames = whole_frames(paths[0], 8)
    halves = [
        reference(kind, models[kind], part)[0] for part in (frames[:4], frames[4:])
    ]
    np.testing.assert_allclose(found[0], np.concatenate(halves), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n_frames, remedy", [(50, 48), (3, 4)])
def test_a_model_of_video_says_how_many_frames_it_sees(n_frames, remedy, models, paths):
    message = f"multiple of 4, .* got {n_frames}. Pass n_frames={remedy}"
    with pytest.raises(ValueError, match=message):
        embedder(models["videomae"], n_frames=n_frames).fit(paths)


@pytest.mark.parametrize("kind", ["vit", "clip", "xclip"])
def test_rows_stand_alone(kind, models, paths):
    whole = embedder(models[kind]).fit(paths)
    rows = whole.transform(paths)
    small = clone(whole).set_params(batch_size=1).fit(paths)
    np.testing.assert_allclose(small.transform(paths[::-1])[::-1], rows, atol=1e-5)
    np.testing.assert_allclose(whole.transform(paths[1:2])[0], rows[1], atol=1e-5)
    assert pickle.dumps(whole).__len__() < 3_000  # no weights
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(whole)).transform(paths), rows
    )


@pytest.mark.parametrize("kind", ["dinov2", "videomae"])
def test_compiled_networks_agree(kind, models, paths):
    plain = embedder(models[kind], compile=False).fit_transform(paths)
    other = embedder(models[kind], compile="openvino").fit_transform(paths)
    np.testing.assert_allclose(other, plain, atol=1e-3)


@pytest.mark.parametrize("kind", ["vit", "dinov2", "clip", "videomae"])
def test_bfloat16_is_close_to_float32(kind, models, paths):
    rounded = embedder(models[kind], precision="bfloat16").fit_transform(paths)
    exact = embedder(models[kind]).fit_transform(paths)
    assert rounded.dtype == np.float32
    assert not np.array_equal(rounded, exact)
    assert cosine(rounded, exact).min() > 0.99


def test_a_store_serves_all_models_and_loads_no_weights(
    models, paths, tmp_path, monkeypatch
):
    store = EmbeddingStore(tmp_path / "e.db")
    kinds = ["vit", "clip"]
    rows = [embedder(models[k], store=store).fit_transform(paths) for k in kinds]

    def fails(*args, **kwargs):
        raise AssertionError("computed again")

    monkeypatch.setattr(frames_module, "read_clips", fails)
    monkeypatch.setattr(frames_module, "pretrained_sight", fails)
    for kind, expected in zip(kinds, rows, strict=True):
        again = embedder(models[kind], store=store).fit_transform(paths)
        np.testing.assert_array_equal(again, expected)


def test_a_model_changed_in_place_is_another_one(models, paths, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(models["vit"], folder)
    store = EmbeddingStore(tmp_path / "e.db")
    before = embedder(str(folder), store=store).fit_transform(paths)
    settings = folder / "preprocessor_config.json"
    settings.write_text(settings.read_text().replace("0.5", "0.25"))
    after = embedder(str(folder), store=store).fit_transform(paths)
    assert np.abs(after - before).max() > 1e-3


def test_folders_may_be_path_objects(models, paths):
    expected = embedder(models["vit"]).fit_transform(paths)
    found = embedder(Path(models["vit"])).fit_transform(paths)
    np.testing.assert_array_equal(found, expected)


def test_text_and_sound_models_are_refused(tiny_bert, paths):
    message = "'bert', which sees nothing. Texts are for CaptionEmbedder"
    with pytest.raises(ValueError, match=message):
        embedder(tiny_bert).fit(paths)


def test_a_missing_processor_is_named(models, paths, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(models["vit"], folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match=r"without its processor .*save_pretrained"):
        embedder(str(folder)).fit(paths)


def test_no_such_folder(paths, tmp_path):
    with pytest.raises(ValueError, match="backbone must be a folder with a model of"):
        embedder(str(tmp_path / "nothing")).fit(paths)


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"weights": None}, "weights must be 'DEFAULT' for backbone="),
        ({"image_size": 64}, "image_size must be 'auto' for backbone="),
    ],
)
def test_what_is_not_for_these_models_is_refused(parameters, message, models, paths):
    with pytest.raises(ValueError, match=message):
        embedder(models["vit"], **parameters).fit(paths)


# sentence-transformers


@pytest.fixture(scope="module")
def sentence_clip(models, tmp_path_factory):
    from sentence_transformers.sentence_transformer.modules import CLIPModel

    folder = str(tmp_path_factory.mktemp("sentence_clip"))
    SentenceTransformer(modules=[CLIPModel(models["clip"])]).save(folder)
    return folder


@pytest.fixture(scope="module")
def sentence_bert(tiny_bert, tmp_path_factory):
    from sentence_transformers.sentence_transformer.modules import (
        Dense,
        Normalize,
        Pooling,
        Transformer,
    )

    folder = str(tmp_path_factory.mktemp("sentence_bert"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = [Transformer(tiny_bert), Pooling(16, "max"), Dense(16, 5), Normalize()]
    SentenceTransformer(modules=parts).save(folder)
    return folder


def test_images_by_sentence_transformers(sentence_clip, models, paths):
    found = embedder(sentence_clip).fit_transform(paths)
    frames = [Image.fromarray(frame) for frame in whole_frames(paths[0], 4)]
    expected = SentenceTransformer(sentence_clip).encode(frames).mean(axis=0)
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)
    assert cosine(found, embedder(models["clip"]).fit_transform(paths)).min() > 0.9999


def test_a_sentence_model_of_texts_embeds_no_frames(sentence_bert, paths):
    with pytest.raises(ValueError, match="embeds no images. Texts are for Caption"):
        embedder(sentence_bert).fit(paths)


def test_texts_as_the_model_pools_them(sentence_bert, tmp_path):
    texts = ["a funny cat", "dance", "x" * 300, ""]
    expected = SentenceTransformer(sentence_bert).encode(texts)
    model = CaptionEmbedder(sentence_bert, pooling="model", precision="float32")
    found = model.fit_transform([*texts, None])
    assert model.width_ == 5
    np.testing.assert_allclose(found[:4], expected, rtol=1e-4, atol=1e-5)
    assert not found[4].any()
    store = tmp_path / "e.db"
    stored = clone(model).set_params(store=store).fit_transform(texts)
    again = clone(model).set_params(store=store).fit_transform(texts)
    np.testing.assert_array_equal(again, stored)


def test_pooling_of_a_model_that_has_none(tiny_bert):
    with pytest.raises(ValueError, match="none of sentence-transformers"):
        CaptionEmbedder(tiny_bert, pooling="model").fit(["a"])
