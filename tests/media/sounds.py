"""Files with sound that is known, alone or beside pictures."""

from fractions import Fraction

import av
import numpy as np
from PIL import Image

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


# Name of the file, codec, format of samples, layout, rate.
ODD = {
    "8 bits, 8 kHz": ("a.wav", "pcm_u8", "u8", "mono", 8_000),
    "16 bits, 22 kHz, stereo": ("a.wav", "pcm_s16le", "s16", "stereo", 22_050),
    "24 bits, 48 kHz, 5.1": ("a.wav", "pcm_s24le", "s32", "5.1", 48_000),
    "32 bits, 96 kHz": ("a.wav", "pcm_s32le", "s32", "stereo", 96_000),
    "floats, 44 kHz": ("a.wav", "pcm_f32le", "flt", "stereo", 44_100),
    "aac in mp4": ("a.mp4", "aac", "fltp", "stereo", 44_100),
    "aac 5.1 in mp4": ("a.mp4", "aac", "fltp", "5.1", 48_000),
    "opus in webm": ("a.webm", "libopus", "flt", "stereo", 48_000),
    "mp3": ("a.mp3", "libmp3lame", "s16p", "stereo", 32_000),
    "flac in mkv": ("a.mkv", "flac", "s32", "mono", 96_000),
    "a-law in wav": ("a.wav", "pcm_alaw", "s16", "mono", 8_000),
}


def damaged(path):
    """Write good pictures beside sound whose packets are noise."""
    options = {"codec": "aac", "format": "fltp", "n_pictures": 20}
    write_sound(path, noise(2.0), **options)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(audio=0) if p.size]
    data = bytearray(path.read_bytes())
    for start, size in packets:
        data[start : start + size] = b"\xff" * size
    path.write_bytes(data)
    return str(path)


def make_odd_sounds(folder):
    """Return {kind: (path, what)}, in which `what` is "sound", "no sound" or "bad"."""
    odd = {}

    def place(kind):
        (folder / str(len(odd))).mkdir()
        return folder / str(len(odd))

    for kind, (name, codec, format, layout, rate) in ODD.items():
        options = {"codec": codec, "format": format, "layout": layout, "rate": rate}
        path = write_sound(place(kind) / name, tone(2.0, 1000, rate=rate), **options)
        odd[kind] = path, "sound"
    beside = {"codec": "aac", "format": "fltp", "n_pictures": 20}
    for kind, seconds in (("shorter than the picture", 0.3), ("longer", 8.0)):
        odd[kind] = write_sound(place(kind) / "a.mp4", tone(seconds), **beside), "sound"
    hours = np.tile(noise(60.0, rate=8_000), 180)
    options = {"codec": "pcm_u8", "format": "u8", "rate": 8_000}
    odd["3 hours"] = write_sound(place("3 hours") / "a.wav", hours, **options), "sound"
    silent = write_sound(place("silence") / "a.wav", np.zeros(RATE))
    odd["digital silence"] = silent, "sound"
    picture = place("picture") / "a.png"
    Image.new("RGB", (40, 30)).save(picture)
    odd["a picture"] = str(picture), "no sound"
    video = place("video") / "a.mkv"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height = 64, 48
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    odd["a video without"] = str(video), "no sound"
    odd["damaged beside good pictures"] = damaged(place("damaged") / "a.mp4"), "bad"
    text = place("text") / "a.mp3"
    text.write_text("no sound")
    odd["a text"] = str(text), "bad"
    odd["a missing file"] = str(folder / "gone.mp4"), "bad"
    return odd
