"""Frames left out one at a time: laws, a planted flash, and what is drawn."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import seeing_models as seeing
from PIL import Image
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skchallenge import VideoFrameEmbedder, make_virality_stack
from skchallenge.embed import MediaLimits
from skchallenge.exceptions import MediaError
from skchallenge.metrics import FrameDisplay

mpl.use("agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def mean_colour():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def embedder(**options):
    options = {
        "n_frames": 4,
        "image_size": 8,
        "precision": "float32",
        "limits": MediaLimits(timeout_s=None),
        **options,
    }
    return VideoFrameEmbedder(mean_colour, **options)


def clips(n=24, n_frames=4, seed=0):
    """Clips of plain frames; red ones are of class 1."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    levels = rng.integers(0, 120, (n, n_frames, 3)) + 100 * y[:, None, None] * [1, 0, 0]
    pixels = np.broadcast_to(levels[:, :, None, None], (n, n_frames, 8, 8, 3))
    return [np.array(clip, np.uint8) for clip in pixels], y


def fitted(**options):
    model = make_pipeline(embedder(**options), StandardScaler(), LogisticRegression())
    return model.fit(*clips())


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_frame_left_out_is_the_clip_without_it(pooling):
    """The oracle is the fitted model itself, told of a clip of one frame less."""
    model, (clip, *_) = fitted(pooling=pooling), clips(seed=1)[0]
    display = FrameDisplay.from_estimator(model, clip)
    whole = model.predict_proba([clip])[0, 1]
    assert display.probability == pytest.approx(whole, abs=1e-6)
    model.set_params(videoframeembedder__n_frames=3)
    for number in range(4):
        rest = np.delete(clip, number, axis=0)
        expected = whole - model.predict_proba([rest])[0, 1]
        assert display.change[number] == pytest.approx(expected, abs=1e-6)
        np.testing.assert_array_equal(display.frames[number], clip[number])


def test_of_joined_frames_the_others_mean_stands_in_the_place():
    model, (clip, *_) = fitted(pooling="concat"), clips(seed=1)[0]
    display = FrameDisplay.from_estimator(model, clip)
    whole = model.predict_proba([clip])[0, 1]
    vector = model[0].transform([clip]).reshape(4, 3)
    for number in range(4):
        changed = vector.copy()
        changed[number] = np.delete(vector, number, axis=0).mean(axis=0)
        expected = whole - model[1:].predict_proba(changed.reshape(1, 12))[0, 1]
        assert display.change[number] == pytest.approx(expected, abs=1e-6)


def test_a_flash_is_found_in_a_file(tmp_path, media):
    frames = media.grey_frames(12, size=32, first=60, step=0)
    frames[7][:, :, 0] = 250
    path = media.write_video(tmp_path / "flash.mp4", frames)
    display = FrameDisplay.from_estimator(fitted(n_frames=12), path)
    assert np.argmax(display.change) == 7
    assert np.argmax([frame[:, :, 0].mean() for frame in display.frames]) == 7
    others = np.delete(display.change, 7)
    assert display.change[7] > 5 * np.abs(others).max() > 0


def test_no_frame_of_a_picture_is_missed():
    model, picture = fitted(), clips(seed=1)[0][0][0]
    display = FrameDisplay.from_estimator(model, picture)
    np.testing.assert_allclose(display.change, np.zeros(4), atol=1e-7)
    assert len(display.frames) == 4


@pytest.mark.parametrize("output", ["default", "pandas"])
def test_the_model_of_frames_in_a_stack(tmp_path, output):
    films, y = clips()
    X = pd.DataFrame({"user_id": np.arange(24) // 2, "path": pd.Series(films)})
    frames = make_pipeline(embedder(), StandardScaler())
    model = make_virality_stack(video=frames).set_params(linear="drop", trees="drop")
    dict(model.estimators)["video"].set_output(transform=output)
    part = model.fit(X, y).named_estimators_["video"]
    display = FrameDisplay.from_estimator(part, films[1])
    expected = part.predict_proba(X.iloc[[1]])[0, 1]
    assert display.probability == pytest.approx(expected, abs=1e-6)
    with pytest.raises(TypeError, match=r"begins with StackingC.*\['video'\]"):
        FrameDisplay.from_estimator(model, films[1])


def test_a_list_of_pictures_is_a_clip_and_a_search_a_model(tmp_path):
    films, y = clips()
    pictures = [str(tmp_path / f"{i}.png") for i in range(4)]
    for path, pixels in zip(pictures, films[1], strict=True):
        Image.fromarray(pixels).save(path)
    grid = {"logisticregression__C": [1.0, 10.0]}
    search = GridSearchCV(fitted(), grid, cv=2).fit(films, y)
    found = FrameDisplay.from_estimator(search, pictures)
    expected = FrameDisplay.from_estimator(search.best_estimator_, films[1])
    np.testing.assert_allclose(found.change, expected.change, atol=1e-6)


def test_what_is_drawn():
    import matplotlib.pyplot as plt

    model, (clip, *_) = fitted(), clips(seed=1)[0]
    display = FrameDisplay.from_estimator(model, clip, name="mine", alpha=0.5)
    heights = [bar.get_height() for bar in display.bars_]
    np.testing.assert_allclose(heights, display.change)
    (strip,) = display.ax_.child_axes
    drawn = [image.get_array() for image in strip.get_images()]
    np.testing.assert_array_equal(drawn, display.frames)
    assert strip.get_title() == f"mine, P(1) = {display.probability:.3f}"
    assert {bar.get_alpha() for bar in display.bars_} == {0.5}
    figure, ax = plt.subplots()
    again = display.plot(ax)
    assert (again.ax_, again.figure_) == (ax, figure)
    assert FrameDisplay(clip, [0.0] * 4).plot().ax_.child_axes[0].get_title() == ""


class AtOnce(VideoFrameEmbedder):
    """Stands for an encoder of clips: what it makes of one frame is no part of it."""

    def transform(self, X):
        return super().transform(X) + self.n_frames


def test_a_network_that_reads_a_clip_at_once_is_refused():
    films, y = clips()
    options = {"n_frames": 4, "image_size": 8, "precision": "float32"}
    model = make_pipeline(AtOnce(mean_colour, **options), LogisticRegression())
    with pytest.raises(ValueError, match="its network reads a clip at once"):
        FrameDisplay.from_estimator(model.fit(films, y), films[1])


@pytest.mark.parametrize("kind", ["vit", "videomae"])
def test_models_of_transformers(kind, tmp_path):
    model = seeing.save(getattr(seeing, kind), tmp_path)
    embedder = VideoFrameEmbedder(
        model, n_frames=4, precision="float32", limits=MediaLimits(timeout_s=None)
    )
    frames, y = clips(8)
    frames = [clip.repeat(5, axis=1).repeat(6, axis=2) for clip in frames]  # 40 x 48
    fitted = make_pipeline(embedder, LogisticRegression()).fit(frames, y)
    if kind == "videomae":
        with pytest.raises(ValueError, match="its network reads a clip at once"):
            FrameDisplay.from_estimator(fitted, frames[0])
        return
    display = FrameDisplay.from_estimator(fitted, frames[0])
    assert [frame.shape for frame in display.frames] == [(40, 48, 3)] * 4
    assert np.abs(display.change).max() > 0


def test_bad_input_is_refused(tmp_path):
    films, y = clips()
    model, show = fitted(), FrameDisplay.from_estimator
    with pytest.raises(NotFittedError):
        show(make_pipeline(embedder(), LogisticRegression()), films[0])
    scaled = make_pipeline(StandardScaler(), LogisticRegression())
    with pytest.raises(TypeError, match=r"but it begins with StandardScaler\. Of a st"):
        show(scaled.fit(np.eye(4), [0, 1, 0, 1]), films[0])
    beside = make_column_transformer((embedder(), ["path"]), ("passthrough", ["x"]))
    table = pd.DataFrame({"path": pd.Series(films), "x": 1.0})
    with pytest.raises(TypeError, match="nothing beside it, .*ColumnTransformer"):
        show(make_pipeline(beside, LogisticRegression()).fit(table, y), films[0])
    ridge = make_pipeline(embedder(), RidgeClassifier()).fit(films, y)
    with pytest.raises(TypeError, match=r"classifier with predict_proba.*Calibrated"):
        show(ridge, films[0])
    calibrated = make_pipeline(embedder(), CalibratedClassifierCV(RidgeClassifier()))
    show(calibrated.fit(films, y), films[0])
    three = make_pipeline(embedder(), LogisticRegression()).fit(
        films, np.arange(24) % 3
    )
    with pytest.raises(ValueError, match=r"must have two classes, got \["):
        show(three, films[0])
    with pytest.raises(ValueError, match="two frames or more, got n_frames=1"):
        show(fitted(n_frames=1), films[0])
    with pytest.raises(MediaError, match=r"gone\.mp4"):
        show(model, tmp_path / "gone.mp4")
    for clip in (None, 3.5):
        with pytest.raises(TypeError, match="clip must be one of paths"):
            show(model, clip)
    with pytest.raises(ValueError, match=r"one number a frame, got shape \(3,\) for 4"):
        FrameDisplay(films[0], [0.1, 0.2, 0.3])
