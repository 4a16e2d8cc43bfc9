"""Files with sound that is known, alone or beside pictures."""

from fractions import Fraction

import av
import numpy as np

RATE = 16_000


def tone(seconds=1.0, hz=440, amplitude=0.5, rate=RATE):
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def noise(seconds=1.0, amplitude=0.1, rate=RATE, seed=0):
    return amplitude * np.random.default_rng(seed).normal(size=round(seconds * rate))


def beats(seconds=2.0, each_s=0.25, hz=440, rate=RATE):
    """Short tones that fade, at equal distances, over faint noise."""
    time = np.arange(round(seconds * rate)) / rate
    faded = np.exp(-(time % each_s) / 0.03) * np.sin(2 * np.pi * hz * time)
    return 0.5 * faded + noise(seconds, 0.001, rate)


def write_sound(
    path,
    sound,
    *,
    codec="pcm_s16le",
    format="s16",
    layout="mono",
    rate=RATE,
    n_pictures=0,
    fps=10,
):
    """Encode sound in [-1, 1], the same in all channels, beside moving pictures."""
    with av.open(str(path), "w") as container:
        if n_pictures:
            video = container.add_stream("libx264", rate=fps)
            video.options = {"preset": "ultrafast"}
            video.width, video.height = 64, 48
        audio = container.add_stream(codec, rate=rate, layout=layout)
        audio.format = format
        for number in range(n_pictures):
            picture = np.full((48, 64, 3), 20 + 200 * number // n_pictures, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(video.encode(frame))
        if n_pictures:
            container.mux(video.encode())
        n_channels = audio.layout.nb_channels
        planes = np.tile(np.asarray(sound, np.float32), (n_channels, 1))
        frame = av.AudioFrame.from_ndarray(planes, "fltp", layout)
        frame.sample_rate, frame.pts = rate, 0
        frame.time_base = Fraction(1, rate)
        resampler = av.AudioResampler(
            format, layout, rate, frame_size=audio.codec_context.frame_size or 1024
        )
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(audio.encode(part))
        container.mux(audio.encode())
    return str(path)
