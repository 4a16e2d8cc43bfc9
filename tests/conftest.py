"""Fixtures that all tests share; media are real files made by PyAV and Pillow."""

from functools import partial

import av
import numpy as np
import pytest
import torch
from PIL import Image

from skchallenge.media._limits import MediaLimits


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Keep small nets from fighting over two cores."""
    torch.set_num_threads(1)


# Tests of the processes that decode, and of what a stranger may give them.
_APART = {"test_break_in.py", "test_docs.py", "test_kills.py", "test_readme.py"}


@pytest.fixture(autouse=True)
def _decode_here(request, monkeypatch):
    """Spare a test that is not about it the start of a decoder process a call."""
    path = request.node.path
    if path.parent.name != "media" and path.name not in _APART:
        here = partial(MediaLimits, timeout_s=None)
        monkeypatch.setattr("skchallenge.media._read.MediaLimits", here)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """A folder with a one-layer BERT: mechanics only, its weights are random."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_bert")
    characters = list("abcdefghijklmnopqrstuvwxyz0123456789.-#,")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dance", "cat", "funny"]
    pieces = words + characters + ["##" + c for c in characters]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    BertTokenizerFast(vocab=vocabulary).save_pretrained(folder)
    return str(folder)


def grey_frames(n, *, size=64, first=5, step=5):
    """Frames that tell their number: frame i has the grey level 5 + 5 i."""
    levels = (first + step * np.arange(n)).astype(np.uint8)
    return [np.full((size, size, 3), level, dtype=np.uint8) for level in levels]


def frame_numbers(pictures, *, first=5, step=5):
    """Read the numbers back; lossy codecs move a grey level by one or two."""
    levels = pictures.reshape(len(pictures), -1).mean(axis=1)
    return np.rint((levels - first) / step).astype(int).tolist()


def write_video(
    path,
    frames,
    *,
    codec="libx264",
    pix_fmt="yuv420p",
    rate=30,
    times=None,
    matrix=None,
    options=None,
):
    """Encode RGB frames; `times` gives each a time stamp in 1 / rate seconds."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if matrix is not None:
            stream.set_display_matrix(matrix)
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number if times is None else times[number]
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def write_audio(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        for _ in range(10):
            silence = np.zeros((1, 1024), dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(silence, "fltp", "mono")
            frame.sample_rate = 44100
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def quadrants(size=64):
    """A picture whose four quarters differ, so that every turn shows."""
    picture = np.zeros((size, size, 3), dtype=np.uint8)
    half = size // 2
    picture[:half, :half] = (250, 10, 10)
    picture[:half, half:] = (10, 250, 10)
    picture[half:, :half] = (10, 10, 250)
    picture[half:, half:] = (240, 240, 240)
    return picture


def write_covers(folder, n):
    """Save pictures of one colour each, videos of one frame; return their paths."""
    step = 240 // n
    for number in range(n):
        colour = (step * number, 250 - step * number, 40 * (number % 5))
        Image.new("RGB", (32, 32), colour).save(folder / f"{number:02}.png")
    return sorted(str(path) for path in folder.iterdir())


class Media:
    """The helpers above, as one fixture."""

    grey_frames = staticmethod(grey_frames)
    frame_numbers = staticmethod(frame_numbers)
    write_video = staticmethod(write_video)
    write_audio = staticmethod(write_audio)
    write_covers = staticmethod(write_covers)
    quadrants = staticmethod(quadrants)


@pytest.fixture(scope="session")
def media():
    return Media


@pytest.fixture(scope="session")
def clip_paths(tmp_path_factory):
    """Four short videos and a still image of different colours and lengths."""
    folder = tmp_path_factory.mktemp("clips")
    paths = []
    colours = [(230, 20, 20), (20, 230, 20), (20, 20, 230), (200, 200, 20)]
    for number, colour in enumerate(colours):
        frames = []
        for i in range(3 + 4 * number):
            frame = np.full((48, 64, 3), colour, dtype=np.uint8)
            frame[: 4 * i + 4, :16] = 128  # a bar that grows
            frames.append(frame)
        paths.append(str(write_video(folder / f"video{number}.mp4", frames)))
    Image.new("RGB", (40, 30), (90, 60, 200)).save(folder / "cover.png")
    return [*paths, str(folder / "cover.png")]
