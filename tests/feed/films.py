"""Rendered performances, and copies of videos as users make them."""

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import NamedTuple

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FPS = 20
_TICKS = 90_000  # a second


def write(path, pictures, times=None, crf=23, fps=FPS):
    """Encode grey or RGB pictures that are shown at `times`, in seconds."""
    times = np.arange(len(pictures)) / fps if times is None else times
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.options = {"preset": "ultrafast", "crf": str(crf)}
        stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.codec_context.thread_count = 1
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture, time in zip(pictures, times, strict=True):
            layout = "gray" if picture.ndim == 2 else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), layout)
            frame.pts, frame.time_base = round(time * _TICKS), Fraction(1, _TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


def read(path, most=250):
    """Return up to `most` RGB frames and their times."""
    frames, times = [], []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            frames.append(frame.to_ndarray(format="rgb24"))
            times.append(float(frame.pts * stream.time_base))
            if len(frames) == most:
                break
    return frames, np.array(times) - times[0]


# Copies: a function of one picture, and the share of the time that is kept.


def same(picture):
    return picture


def halved(picture):
    height, width = (side // 4 * 2 for side in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height)))


def mirrored(picture):
    return picture[:, ::-1]


def letterboxed(picture):
    """Set in the middle of a black portrait picture of 9:16."""
    height, width = picture.shape[:2]
    tall = np.zeros((width * 16 // 18 * 2, width, *picture.shape[2:]), np.uint8)
    top = (len(tall) - height) // 2
    tall[top : top + height] = picture
    return tall


def pillared(picture):
    """Set in the middle of a white picture half as wide again."""
    height, width = picture.shape[:2]
    wide = np.full((height, width * 3 // 4 * 2, *picture.shape[2:]), 255, np.uint8)
    left = (wide.shape[1] - width) // 2
    wide[:, left : left + width] = picture
    return wide


def captioned(picture):
    """Put words on a white box over the lower part."""
    image = Image.fromarray(picture)
    width, height = image.size
    pen = ImageDraw.Draw(image)
    box = [width * 0.1, height * 0.78, width * 0.9, height * 0.92]
    pen.rectangle(box, fill="white")
    font = ImageFont.load_default(size=height * 0.07)
    pen.text((width * 0.14, height * 0.8), "wait for the end", fill="black", font=font)
    return np.asarray(image)


def cropped(picture, share):
    """Cut this share of the width, and of the height, off the edges."""
    cut = [round(side * share / 2) for side in picture.shape[:2]]
    inside = picture[cut[0] : -cut[0], cut[1] : -cut[1]]
    height, width = (side // 2 * 2 for side in inside.shape[:2])
    return inside[:height, :width]


def corner(picture, share):
    """Keep the top left corner, without this share of the width and of the height."""
    height, width = (int(n * (1 - share)) // 2 * 2 for n in picture.shape[:2])
    return picture[:height, :width]


def narrowed(picture, share):
    """Cut this share of the width off, all on the left."""
    width = picture.shape[1]
    return picture[:, width - int(width * (1 - share)) // 2 * 2 :]


def barred(picture):
    """Paint over an eighth of the picture at the top, and one at the bottom."""
    barred = picture.copy()
    n_lines = round(len(picture) / 8)
    barred[:n_lines], barred[-n_lines:] = 0, 0
    return barred


def subtitled_bars(picture):
    """Paint bars over the picture, with words in the lower one."""
    image = Image.fromarray(barred(picture))
    width, height = image.size
    font = ImageFont.load_default(size=height * 0.07)
    place = (width * 0.14, height * 0.89)
    ImageDraw.Draw(image).text(place, "wait for the end", fill="white", font=font)
    return np.asarray(image)


def _disc(pen, x, y, radius):
    """Draw a face."""
    pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill="white")
    for side in (-0.35, 0.35):
        eye_x, eye_y, r = x + side * radius, y - 0.3 * radius, 0.15 * radius
        pen.ellipse([eye_x - r, eye_y - r, eye_x + r, eye_y + r], fill="black")
    box = [x - 0.5 * radius, y - 0.3 * radius, x + 0.5 * radius, y + 0.6 * radius]
    pen.arc(box, 20, 160, fill="black", width=max(1, round(radius / 8)))


def stickered(picture):
    """Put three faces over the picture, each a fifth as wide as the shorter side."""
    image = Image.fromarray(picture)
    width, height = image.size
    pen = ImageDraw.Draw(image)
    for x, y in ((0.15, 0.15), (0.8, 0.3), (0.25, 0.8)):
        _disc(pen, x * width, y * height, min(width, height) / 10)
    return np.asarray(image)


def bouncing(picture, time):
    """Put a face over the picture that wanders all over it."""
    image = Image.fromarray(picture)
    width, height = image.size
    x, y = 0.5 + 0.35 * np.sin(3 * time), 0.5 + 0.35 * np.sin(2 * time + 1)
    _disc(ImageDraw.Draw(image), x * width, y * height, min(width, height) / 10)
    return np.asarray(image)


def in_a_corner(picture):
    """Show the picture half as large in a corner of another that stands still."""
    height, width = (side // 4 * 2 for side in picture.shape[:2])
    small = Image.fromarray(picture).resize((width, height))
    squares = np.random.default_rng(0).integers(0, 255, (9, 9), np.uint8)
    ground = Image.fromarray(squares).resize(picture.shape[1::-1])
    ground = ground.convert(small.mode)
    ground.paste(small, (0, 0))
    return np.asarray(ground)


def blurred_border(picture):
    """Letterbox over the picture itself, enlarged and blurred."""
    tall = letterboxed(picture)
    size = (tall.shape[1] // 8, tall.shape[0] // 8)
    small = Image.fromarray(picture).resize(size).filter(ImageFilter.GaussianBlur(4))
    ground = np.array(small.resize(tall.shape[1::-1]))
    top = (len(tall) - len(picture)) // 2
    ground[top : top + len(picture)] = picture
    return ground


def all_at_once(picture):
    return letterboxed(captioned(mirrored(picture)))


def edited(picture):
    return stickered(mirrored(cropped(picture, 0.15)))


class Kind(NamedTuple):
    """How a copy is made.

    Attributes
    ----------
    edit : callable
        From a picture, and the time if `moves`, to what is shown instead.
    part : tuple of (float, float)
        First and last share of the time that is kept.
    speed : float
        How much faster it is played.
    moves : bool
        Whether the edit depends on the time.
    """

    edit: Callable
    part: tuple[float, float] = (0.0, 1.0)
    speed: float = 1.0
    moves: bool = False


PLAIN = {
    "re-encoded": Kind(same),
    "resized": Kind(halved),
    "mirrored": Kind(mirrored),
    "trimmed, first half": Kind(same, (0.0, 0.5)),
    "trimmed, middle half": Kind(same, (0.23, 0.73)),
    "trimmed, last half": Kind(same, (0.5, 1.0)),
    "bordered, above and below": Kind(letterboxed),
    "bordered, left and right": Kind(pillared),
    "captioned": Kind(captioned),
}
EDITED = {
    "cropped by 10 %": Kind(partial(cropped, share=0.1)),
    "cropped by 20 %": Kind(partial(cropped, share=0.2)),
    "cropped by 25 %": Kind(partial(cropped, share=0.25)),
    "cropped to a corner, 25 % off": Kind(partial(corner, share=0.25)),
    "cropped at the left by 25 %": Kind(partial(narrowed, share=0.25)),
    "bars over an eighth, twice": Kind(barred),
    "bars with words": Kind(subtitled_bars),
    "stickers": Kind(stickered),
    "a sticker that moves": Kind(bouncing, moves=True),
    "speed 0.8": Kind(same, speed=0.8),
    "speed 0.9": Kind(same, speed=0.9),
    "speed 1.1": Kind(same, speed=1.1),
    "speed 1.25": Kind(same, speed=1.25),
}
REQUIRED = PLAIN | EDITED
REPORTED = {
    "mirrored, captioned, bordered, trimmed": Kind(all_at_once, (0.2, 0.7)),
    "24 frames a second": Kind(same),
    "cropped, mirrored, stickers, speed 1.1": Kind(edited, speed=1.1),
    "blurred border": Kind(blurred_border),
    "in a corner of another": Kind(in_a_corner),
}
KINDS = REQUIRED | REPORTED


def copy_of(kind, frames, times, path):
    """Write a copy of some kind."""
    edit, part, speed, moves = KINDS[kind]
    start, end = (round(len(frames) * share) for share in part)
    frames, times = frames[start:end], (times[start:end] - times[start]) / speed
    if kind == "24 frames a second":
        new = np.arange(0, times[-1], 1 / 24)
        shown = np.searchsorted(times, new + 1e-6, side="right") - 1
        frames, times = [frames[i] for i in shown], new
    crf = 35 if kind == "re-encoded" else 28
    if moves:
        pictures = [edit(f, t) for f, t in zip(frames, times, strict=True)]
    else:
        pictures = [edit(frame) for frame in frames]
    return write(path, pictures, times, crf=crf, fps=30)


# Performances: a figure of sticks follows a choreography.

_LIMBS = 6  # two arms of two parts, two legs


def choreography(seed, n_frames=60):
    """Return angles of the limbs, (n_frames, 6), in radians: sums of slow waves."""
    rng = np.random.default_rng(seed)
    time = np.arange(-FPS, n_frames + FPS)[:, None, None] / FPS
    pace, phase = rng.uniform((0.3, 0), (1.5, 7), (_LIMBS, 4, 2)).transpose(2, 0, 1)
    return 0.9 * np.sin(2 * np.pi * pace * time + phase).sum(axis=2)


def performance(angles, seed, room=None, size=96):
    """Render one performer's version: own body, clothes and timing.

    Place and ground are those of `room`, or else the performer's own.
    """
    place = np.random.default_rng([seed if room is None else room])
    rng = np.random.default_rng(seed)
    ground = Image.fromarray(place.integers(30, 220, (6, 6), np.uint8))
    ground = ground.resize((size, size), Image.Resampling.BICUBIC)
    x, y, scale = place.uniform((0.4, 0.35, 0.8), (0.6, 0.45, 1.1)) * size
    lengths = rng.uniform(0.85, 1.15, _LIMBS) * scale * 0.2
    shade = [int(level) for level in rng.choice([10, 245], _LIMBS + 1)]
    steps = np.arange(FPS, len(angles) - FPS, dtype=float)
    late = np.interp(steps, steps[::10], rng.normal(0, 2, len(steps[::10])))
    angles = angles * rng.uniform(0.85, 1.15, _LIMBS)
    pictures = []
    for step in steps + late:
        pose = [np.interp(step, np.arange(len(angles)), a) for a in angles.T]
        pictures.append(_figure(ground.copy(), x, y, pose, lengths, shade))
    return pictures


def _figure(image, x, y, pose, lengths, shade):
    pen = ImageDraw.Draw(image)
    thick = max(3, image.width // 16)
    hip = y + 1.6 * lengths[0]
    pen.line([x, y, x, hip], fill=shade[-1], width=thick + 3)
    pen.ellipse([x - thick, y - 3 * thick, x + thick, y - thick], fill=shade[-1])
    roots = [(x, y), None, (x, y), None, (x, hip), (x, hip)]
    rest = [2.6, 2.6, 0.5, 0.5, 1.9, 1.2]  # radians, clockwise from the right
    end = (x, y)
    for limb, root in enumerate(roots):
        start = root or end
        angle = rest[limb] + pose[limb] * (1.0 if limb < 4 else 0.3)
        reach = lengths[limb] * (1.0 if limb < 4 else 1.7)
        end = (start[0] + reach * np.cos(angle), start[1] + reach * np.sin(angle))
        pen.line([*start, *end], fill=shade[limb], width=thick)
    return np.asarray(image)
