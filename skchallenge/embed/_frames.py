"""From a media file to the frames that represent it."""

import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from skchallenge.exceptions import MediaError

_PICTURE = Disposition.attached_pic | Disposition.timed_thumbnails
_FILES_IN_MEMORY = 8

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Clip:
    """The sampled frames of one file.

    Attributes
    ----------
    frames : ndarray of shape (k, image_size, image_size, 3), dtype uint8
        The distinct sampled frames, RGB, upright, in order of presentation.
    slots : ndarray of shape (n_frames,), dtype int
        Which of `frames` fills each of the `n_frames` places; a file with fewer
        frames than places fills several places with one frame.
    """

    frames: Picture
    slots: NDArray[np.intp]


@dataclass
class _Reading:
    """One pass over a file: the wanted pictures and how many frames decoded."""

    pictures: list[Picture] = field(default_factory=list)
    n_frames: int = 0
    errors: list[Exception] = field(default_factory=list)


def frame_positions(n_decodable: int, n_frames: int) -> NDArray[np.intp]:
    """Return the frame at the centre of each of `n_frames` equal bins.

    That is frame ``floor((i + 0.5) * n_decodable / n_frames)`` for bin ``i``, in whole
    numbers so that no rounding moves it.
    """
    return (2 * np.arange(n_frames) + 1) * n_decodable // (2 * n_frames)


def read_clip(path: str, n_frames: int, image_size: int) -> Clip:
    """Sample `n_frames` frames spread uniformly over the frames that decode.

    Uniform means over frames in order of presentation, not over time, so a variable
    frame rate needs no special case. The count that a container declares is not
    trusted: packets are counted first, and where damage makes fewer frames decode than
    there are packets, the file is read again with the true count.

    Raises
    ------
    MediaError
        If `path` is no readable file or none of its frames decodes.
    """
    _check_file(path)
    try:
        n_decodable = _count_packets(path)
        reading = _read(path, frame_positions(n_decodable, n_frames), image_size)
        if 0 < reading.n_frames != n_decodable:
            n_decodable = reading.n_frames
            reading = _read(path, frame_positions(n_decodable, n_frames), image_size)
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or str(error)
        raise MediaError(f"{path}: cannot be decoded ({reason}).") from error
    if not reading.pictures:
        cause = reading.errors[-1] if reading.errors else None
        reason = f" ({cause.strerror})" if isinstance(cause, av.FFmpegError) else ""
        raise MediaError(f"{path}: no frame of it decodes{reason}.") from cause
    slots = np.unique(frame_positions(n_decodable, n_frames), return_inverse=True)[1]
    return Clip(np.stack(reading.pictures), slots)


def read_clips(
    paths: Sequence[str], n_frames: int, image_size: int, *, n_threads: int
) -> Iterator[Clip | MediaError]:
    """Read files in order, `n_threads` at a time; a bad file yields its error.

    A few files are decoded, then given out, then the next few: on a small machine
    that is faster than decoding beside the model, and memory stays bounded.
    """
    read = partial(_read_or_explain, n_frames=n_frames, image_size=image_size)
    for start in range(0, len(paths), _FILES_IN_MEMORY):
        with ThreadPoolExecutor(n_threads) as pool:  # none waits while others compute
            clips = list(pool.map(read, paths[start : start + _FILES_IN_MEMORY]))
        yield from clips


def _read_or_explain(path: str, n_frames: int, image_size: int) -> Clip | MediaError:
    try:
        return read_clip(path, n_frames, image_size)
    except MediaError as error:
        return error


def _check_file(path: str) -> None:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(f"{path}: cannot be opened ({reason}).") from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(f"{path}: is a directory, not a media file.")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{path}: is not a regular file.")
    if status.st_size == 0:
        raise MediaError(f"{path}: is empty (0 bytes).")


@contextmanager
def _open(path: str) -> Iterator[tuple[Any, Any]]:
    """Yield the container and its video stream, to be decoded on one thread.

    FFmpeg gets an open file, not a name: it would read ``a%02d.jpg`` as a pattern and
    ``concat:a`` as a protocol. With no protocol allowed, a playlist cannot make it
    open other files. One codec thread is as fast, with files decoded side by side, and
    damaged files give the same frames each time.
    """
    options = {"protocol_whitelist": "none"}
    with (
        open(path, "rb") as file,
        av.open(file, options=options, metadata_errors="ignore") as container,
    ):
        stream = _main_stream(path, container.streams.video)
        stream.codec_context.thread_type = "SLICE"
        stream.codec_context.thread_count = 1
        yield container, stream


def _main_stream(path: str, streams: Sequence[Any]) -> Any:
    if not streams:
        raise MediaError(f"{path}: holds no video stream (audio only?).")
    films = [s for s in streams if not s.disposition & _PICTURE] or streams
    stream = max(films, key=lambda s: bool(s.disposition & Disposition.default))
    if stream.codec_context is None:
        raise MediaError(f"{path}: FFmpeg has no decoder for its video stream.")
    return stream


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    try:
        yield from (packet for packet in container.demux(stream) if packet.size)
    except av.FFmpegError:  # a damaged end: what came before still counts
        return


def _count_packets(path: str) -> int:
    with _open(path) as (container, stream):
        return sum(not packet.is_discard for packet in _packets(container, stream))


def _read(path: str, positions: NDArray[np.intp], size: int) -> _Reading:
    """Decode the whole file once; convert and resize the wanted frames only."""
    wanted = set(positions.tolist())
    reading = _Reading()
    reformatter = VideoReformatter()
    with _open(path) as (container, stream):
        for frame in _decode(container, stream, reading.errors):
            if reading.n_frames in wanted:
                small = reformatter.reformat(
                    frame, size, size, "rgb24", interpolation="BILINEAR"
                )
                reading.pictures.append(
                    _upright(np.asarray(small.to_ndarray(), np.uint8), frame)
                )
            reading.n_frames += 1
    return reading


def _decode(container: Any, stream: Any, errors: list[Exception]) -> Iterator[Any]:
    """Yield every frame that decodes; packets that do not are passed over."""
    flush = None
    for packet in itertools.chain(_packets(container, stream), [flush]):
        try:
            frames = stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            errors.append(error)
            continue
        yield from frames


def _upright(picture: Picture, frame: Any) -> Picture:
    """Turn and mirror a square picture as the file's display matrix says.

    The matrix maps x' = a x + c y and y' = b x + d y; phones use quarter turns.
    """
    try:
        side_data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV cannot list the side data of a picture with EXIF
        return np.rot90(picture, round(frame.rotation / 90))
    if side_data is None:
        return picture
    a, b, _, c, d = np.frombuffer(side_data, dtype=np.int32, count=5).tolist()
    if abs(b) > abs(a):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
