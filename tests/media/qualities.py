"""Videos with sound whose quality is known."""

from fractions import Fraction

import av
import numpy as np

RATE = 48_000


def write(path, pictures, sound=None, layout="mono", rate=10):
    """Encode grey pictures, and sound of shape (channels, n) without loss."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate)
        video.options = {"preset": "ultrafast"}
        video.height, video.width = pictures[0].shape
        if sound is not None:
            audio = container.add_stream("flac", rate=RATE, layout=layout)
            audio.format = "s16"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="gray")
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            packed = np.rint(sound.T * 32767).astype(np.int16).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, "s16", layout)
            frame.sample_rate, frame.pts = RATE, 0
            frame.time_base = Fraction(1, RATE)
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return str(path)


def noise(n, seed=0):
    """Pictures of random squares, which a lossy codec keeps at once."""
    squares = np.random.default_rng(seed).integers(0, 255, (n, 4, 6), np.uint8)
    return list(squares.repeat(16, axis=1).repeat(16, axis=2))


def tone(seconds=3.0, amplitude=1.0):
    time = np.arange(int(seconds * RATE)) / RATE
    return amplitude * np.sin(2 * np.pi * 997 * time)[None]
