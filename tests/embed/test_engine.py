"""Engines: the same features however the network runs, and batches in order."""

import itertools
import logging
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from skchallenge.embed import VideoFrameEmbedder, _engine
from skchallenge.embed._backbone import FrameEncoder
from skchallenge.embed._engine import encode_clips, make_engine
from skchallenge.exceptions import MediaError
from skchallenge.media._read import Clip

CPU = torch.device("cpu")
FLOAT = torch.float32
BLACK = np.zeros((4, 32, 32, 3), np.uint8)


def small_cnn():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
    net[1].running_mean.fill_(0.3)
    net[1].running_var.fill_(2.0)
    return net.eval().requires_grad_(False)


@pytest.fixture
def encoder():
    return FrameEncoder(small_cnn(), FLOAT)


@pytest.fixture
def frames():
    return np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), dtype=np.uint8)


def engine_of(encoder, compile, *, fall_back=False):
    return make_engine(
        encoder, CPU, FLOAT, compile=compile, black=BLACK, fall_back=fall_back
    )


@pytest.mark.parametrize("compile", [True, "openvino"])
def test_engines_agree_with_the_network(encoder, frames, compile, capfd):
    with torch.no_grad():
        expected = encoder(torch.from_numpy(frames)).numpy()
    features = engine_of(encoder, compile).submit(frames)()
    assert features.dtype == np.float32
    np.testing.assert_allclose(
        features, expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )
    assert capfd.readouterr() == ("", "")


def test_batches_of_openvino_may_be_under_way_together(encoder, frames):
    engine = engine_of(encoder, "openvino")
    batches = [frames[[i, i, i, i]] for i in range(4)]
    pending = [engine.submit(batch) for batch in batches]
    expected = engine_of(encoder, False).submit(frames)()
    for row, result in zip(expected, pending, strict=True):
        np.testing.assert_allclose(result(), [row] * 4, rtol=0, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_batches_of_a_gpu_may_be_under_way_together(encoder, frames):
    gpu = torch.device("cuda")
    expected = engine_of(encoder, False).submit(frames)()
    engine = make_engine(
        encoder.to(gpu), gpu, FLOAT, compile=False, black=BLACK, fall_back=False
    )
    pending = [engine.submit(frames[[i, i, i, i]]) for i in range(4)]
    for row, result in zip(expected, pending, strict=True):
        np.testing.assert_allclose(result(), [row] * 4, rtol=0, atol=1e-2)


def test_openvino_is_an_extra(encoder, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(ImportError, match=r"compile='openvino' needs .*\[openvino\]"):
        engine_of(encoder, "openvino")


def test_what_does_not_compile_runs_as_it_is_or_says_so(encoder, frames, monkeypatch):
    def broken(*args):
        raise OSError("no compiler")

    monkeypatch.setattr(_engine, "_compiled", broken)
    expected = engine_of(encoder, False).submit(frames)()
    fallen_back = engine_of(encoder, True, fall_back=True).submit(frames)()
    np.testing.assert_array_equal(fallen_back, expected)
    with pytest.raises(RuntimeError, match=r"compile=True failed: no compiler Install"):
        engine_of(encoder, True)


@pytest.mark.parametrize("device, n_frames", [("cpu", 16_000), ("cuda", 500_000)])
def test_long_jobs_repay_compiling(device, n_frames):
    device = torch.device(device)
    assert not _engine.repays_compiling(device, n_frames - 1, 224)
    assert _engine.repays_compiling(device, n_frames, 224)
    assert not _engine.repays_compiling(device, n_frames, 112)  # a quarter of the work
    assert not _engine.repays_compiling(torch.device("mps"), 10**9, 224)


def test_auto_compiles_long_jobs_only(clip_paths, monkeypatch):
    compiled = []

    def noting(encoder, device, black):
        compiled.append(len(black))
        return _engine.TorchEngine(encoder, device)

    settings = {"n_frames": 6, "image_size": 224, "precision": "float32"}
    model = VideoFrameEmbedder(small_cnn, **settings).fit(clip_paths)
    monkeypatch.setattr(_engine, "_compiled", noting)
    monkeypatch.setitem(_engine._REPAYING_FRAMES, "cpu", 6 * len(clip_paths))
    model.transform(clip_paths[1:])
    assert not compiled
    model.transform(clip_paths)
    model.transform(clip_paths)
    assert compiled == [16]
    model.set_params(compile=False).transform(clip_paths)
    assert compiled == [16]


def test_compiling_freezes_the_weights(encoder, frames, monkeypatch):
    """As an option of torch.compile, freezing is silently passed over."""
    from torch._inductor import config, freezing

    before, freeze, frozen = config.freezing, freezing.freeze, []

    def noting(*args, **options):
        frozen.append(1)
        return freeze(*args, **options)

    monkeypatch.setattr(freezing, "freeze", noting)
    engine_of(encoder, True).submit(frames)()
    assert frozen
    assert config.freezing == before


def test_precision_is_changed_with_openvino_too(encoder, frames, monkeypatch):
    """It is asked for by name, and an engine of another precision is not kept."""
    asked = []
    monkeypatch.setattr(
        _engine, "_check_precision", lambda compiled, wanted: asked.append(wanted)
    )
    model = VideoFrameEmbedder(
        small_cnn, n_frames=1, image_size=32, compile="openvino", precision="float32"
    ).fit(["a.mp4"])
    for precision in ("float32", "bfloat16", "float32"):
        model.set_params(precision=precision)
        dtype = getattr(torch, precision)
        model._sight().engine(dtype, "openvino", batch_size=4, n_frames=4)
    assert asked == ["f32", "bf16"]


def test_a_precision_that_is_not_to_be_had_is_refused():
    class Compiled:
        def get_property(self, name):
            return self

        def to_string(self):
            return "f32"

    with pytest.raises(ValueError, match="precision=bf16 is not to be had .*'auto'"):
        _engine._check_precision(Compiled(), "bf16")


def test_openvino_runs_on_the_cpu():
    model = VideoFrameEmbedder(small_cnn, compile="openvino", device="meta")
    with pytest.raises(ValueError, match="compile='openvino' runs on the CPU, got"):
        model.fit(["a.mp4"])


class Recorded:
    """An engine that notes how many of its batches are under way."""

    def __init__(self, n_pending):
        self.n_pending = n_pending
        self.under_way, self.most, self.shapes = 0, 0, set()

    def submit(self, frames):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.shapes.add(frames.shape)
        features = frames.reshape(len(frames), -1)[:, :1].astype(np.float32)

        def result():
            self.under_way -= 1
            return features

        return result


@pytest.mark.parametrize("n_pending", [0, 1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_features_come_in_order_and_errors_between_them(n_pending, batch_size):
    error, clips, number = MediaError("bad"), [], 0
    for n_frames in (3, 1, 0, 4, 0, 0, 2, 7):
        if n_frames == 0:
            clips.append(error)
            continue
        frames = np.full((n_frames, 2, 2, 3), 0, dtype=np.uint8)
        frames += np.arange(number, number + n_frames, dtype=np.uint8)[
            :, None, None, None
        ]
        clips.append(Clip(frames, np.repeat(np.arange(n_frames), 2)))
        number += n_frames
    engine = Recorded(n_pending)
    rows = list(encode_clips(iter(clips), engine, batch_size))
    assert [row is error for row in rows] == [clip is error for clip in clips]
    found = [row[::2, 0].tolist() for row in rows if row is not error]
    assert list(itertools.chain(*found)) == list(range(number))
    assert [len(row) for row in found] == [3, 1, 4, 2, 7]
    assert engine.under_way == 0
    assert engine.most <= n_pending + 1
    assert engine.shapes == {(batch_size, 2, 2, 3)}


def test_results_do_not_depend_on_the_engine(clip_paths):
    settings = {"n_frames": 6, "image_size": 32, "precision": "float32"}
    plain = VideoFrameEmbedder(small_cnn, compile=False, **settings)
    rows = plain.fit_transform(clip_paths)
    for compile in (True, "openvino"):
        other = VideoFrameEmbedder(small_cnn, compile=compile, **settings)
        np.testing.assert_allclose(
            other.fit_transform(clip_paths),
            rows,
            rtol=0,
            atol=1e-5 * np.abs(rows).max(),
        )


def test_threads_leave_warnings_and_loggers_as_found():
    logger = logging.getLogger("torch._dynamo")
    level, filters = logger.level, list(warnings.filters)
    entered = threading.Event()

    def first():
        with _engine._quiet():
            entered.set()
            time.sleep(0.1)

    def second():
        entered.wait()
        with _engine._quiet():
            time.sleep(0.2)

    with ThreadPoolExecutor(2) as pool:
        pool.submit(first)
        pool.submit(second).result()
    assert logger.level == level
    assert warnings.filters == filters
