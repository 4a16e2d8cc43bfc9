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


def planted_clips(folder, decides, n, seed):
    """Write clips whose pitch, rhythm or nothing tells their label.

    All else is drawn alike for both labels: the other of the two, how loud and how long
    the sound is, the noise beside it, and the pictures.
    """
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    paths = []
    for number, label in enumerate(y):
        told = {"nothing": rng.integers(2, size=2)}.get(decides, [label, label])
        is_high = told[0] if decides != "rhythm" else rng.integers(2)
        is_fast = told[1] if decides != "pitch" else rng.integers(2)
        seconds = rng.uniform(2, 3)
        hz = rng.uniform(300, 500) * (1.5 if is_high else 1)
        each_s = rng.uniform(0.3, 0.45) / (1.6 if is_fast else 1)
        sound = rng.uniform(0.3, 1) * beats(seconds, each_s, hz)
        sound += noise(seconds, 10 ** rng.uniform(-4, -2), seed=number)
        options = {"codec": "aac", "format": "fltp", "n_pictures": 5}
        paths.append(write_sound(folder / f"{number}.mp4", sound, **options))
    return paths, y
