"""From a media file to the frames that represent it."""

import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from skchallenge.exceptions import MediaError
from skchallenge.media._limits import MediaLimits
from skchallenge.media._worker import (
    CrashError,
    Message,
    OverdueError,
    Reply,
    absolute,
    ask,
)

_PICTURE = Disposition.attached_pic | Disposition.timed_thumbnails
_DEFAULT, _TILE = Disposition.default, Disposition.dependent
_EXIF = 31  # AV_FRAME_DATA_EXIF
_PICTURE_FORMATS = {"apng", "gif", "image2", "webp"}  # of one frame or of many
_PICTURE_BRANDS = {"avif", "avis", "heic", "heix", "hevc", "mif1", "msf1"}
_MAX_INT = 2**31 - 1

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


@dataclass(frozen=True)
class Facts:
    """What decoding has shown of a file; nothing is taken from its header alone.

    Attributes
    ----------
    kind : {"video", "image"}
    n_frames : int
        Frames that decode.
    duration_s : float or None
        Seconds from the first frame to the end of the last; None if unknown.
    width, height : int
        Pixels of the first frame as stored, before rotation.
    rotation : int
        Degrees by which it is turned clockwise to be upright.
    codec : str
        FFmpeg's name of the format in which pictures are coded.
    """

    kind: Literal["video", "image"]
    n_frames: int
    duration_s: float | None
    width: int
    height: int
    rotation: int
    codec: str


@dataclass
class _Reading:
    """One pass over a file: the wanted pictures and what was seen on the way."""

    codec: str
    is_still: bool
    pictures: list[Picture] = field(default_factory=list)
    n_frames: int = 0
    first: Any = None
    errors: list[Exception] = field(default_factory=list)


def frame_positions(n_decodable: int, n_frames: int) -> NDArray[np.intp]:
    """Return the frame at the centre of each of `n_frames` equal bins.

    That is frame ``floor((i + 0.5) * n_decodable / n_frames)`` for bin ``i``, in whole
    numbers so that no rounding moves it.
    """
    return (2 * np.arange(n_frames) + 1) * n_decodable // (2 * n_frames)


def read_clip(
    path: str, n_frames: int, image_size: int, limits: MediaLimits | None = None
) -> Clip:
    """Sample `n_frames` frames spread uniformly over the frames that decode.

    Uniform means over frames in order of presentation, not over time, so a variable
    frame rate needs no special case. The count that a container declares is not
    trusted: packets are counted first, and where damage makes fewer frames decode than
    there are packets, the file is read again with the true count.

    Raises
    ------
    MediaError
        If `path` is no readable file, none of its frames decodes, or it is beyond
        `limits`.
    """
    try:
        frames, facts = sample_file(path, n_frames, image_size, limits or MediaLimits())
    except MediaError as error:
        raise MediaError(f"{path}: {error}") from error
    positions = frame_positions(facts.n_frames, n_frames)
    return Clip(frames, np.unique(positions, return_inverse=True)[1])


def sample_file(
    path: str, n_frames: int | None, image_size: int, limits: MediaLimits
) -> tuple[Picture, Facts]:
    """Return the distinct sampled frames of a file, (k, H, W, 3), and its facts.

    With `n_frames` None that is the first frame; nothing beyond it is decoded, so the
    facts are not those of the file. Without a time limit it is decoded here, else in a
    worker process. Errors state the reason, not the path.
    """
    if limits.timeout_s is None:
        return _sample_here(path, n_frames, image_size, limits)
    settings = {"n_frames": n_frames and int(n_frames), "image_size": int(image_size)}
    header, pixels = ask_worker(settings, path, limits, limits.timeout_s)
    frames = np.frombuffer(pixels, np.uint8).reshape(-1, image_size, image_size, 3)
    return frames, Facts(**header)


def ask_worker(
    request: Message, path: str, limits: MediaLimits, timeout_s: float
) -> Reply:
    """Have a worker process do what `request` says with a file.

    Raises
    ------
    MediaError
        If the worker says so, is late, or crashes.
    """
    request |= {
        "path": absolute(path),
        "limits": [int(limits.max_pixels), float(limits.max_duration_s)],
    }
    try:
        header, data = ask(request, timeout_s)
    except OverdueError as error:
        raise MediaError(
            f"does not decode within timeout_s={timeout_s:g} seconds. "
            "If it is sound, raise MediaLimits.timeout_s."
        ) from error
    except CrashError as error:
        raise MediaError(f"crashes the decoder ({error}).") from error
    if "error" in header:
        raise MediaError(header["error"])
    return header, data


def answer(request: Message) -> Reply:
    """Decode a file in the worker process for `sample_file`."""
    max_pixels, max_duration_s = request["limits"]
    request["limits"] = MediaLimits(max_pixels, max_duration_s, timeout_s=None)
    try:
        frames, facts = _sample_here(**request)
    except MediaError as error:
        return {"error": str(error)}, b""
    return asdict(facts), frames.data.cast("B")


def _sample_here(
    path: str, n_frames: int | None, image_size: int, limits: MediaLimits
) -> tuple[Picture, Facts]:
    _check_file(path)
    try:
        if n_frames is None:
            duration_s, reading = None, _read(path, None, image_size, limits)
        else:
            duration_s, reading = _read_spread(path, n_frames, image_size, limits)
    except av.FFmpegError as error:
        raise MediaError(f"cannot be decoded ({error.strerror}).") from error
    except OSError as error:
        raise MediaError(f"cannot be opened ({error.strerror}).") from error
    if not reading.pictures:
        raise _no_frame(reading, limits)
    frames = np.ascontiguousarray(reading.pictures)  # (k, H, W, 3)
    return frames, _facts(reading, duration_s)


def _read_spread(
    path: str, n_frames: int, image_size: int, limits: MediaLimits
) -> tuple[float | None, _Reading]:
    n_packets, duration_s = _count_packets(path, limits)
    positions = frame_positions(n_packets, n_frames)
    reading = _read(path, positions, image_size, limits)
    if 0 < reading.n_frames != n_packets:
        positions = frame_positions(reading.n_frames, n_frames)
        reading = _read(path, positions, image_size, limits)
    return duration_s, reading


def _no_frame(reading: _Reading, limits: MediaLimits) -> MediaError:
    cause = reading.errors[-1] if reading.errors else None
    reason = f" ({cause.strerror})" if isinstance(cause, av.FFmpegError) else ""
    error = MediaError(
        f"no frame of it decodes{reason}: it is damaged, or has more pixels than "
        f"MediaLimits.max_pixels={limits.max_pixels:,}."
    )
    error.__cause__ = cause
    return error


def _facts(reading: _Reading, duration_s: float | None) -> Facts:
    is_image = reading.is_still and reading.n_frames == 1
    return Facts(
        kind="image" if is_image else "video",
        n_frames=reading.n_frames,
        duration_s=None if is_image else duration_s,
        width=reading.first.width,
        height=reading.first.height,
        rotation=-90 * round(reading.first.rotation / 90) % 360,
        codec=reading.codec,
    )


def _check_file(path: str) -> None:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        hint = " Links are not followed: download it first." if "://" in path else ""
        raise MediaError(f"cannot be opened ({reason}).{hint}") from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaError("is a directory, not a media file.")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError("is not a regular file.")
    if status.st_size == 0:
        raise MediaError("is empty (0 bytes).")


@contextmanager
def _open(path: str, limits: MediaLimits) -> Iterator[tuple[Any, Any]]:
    """Yield the container and its video stream, to be decoded on one thread.

    FFmpeg gets an open file, not a name: it would read ``a%02d.jpg`` as a pattern and
    ``concat:a`` as a protocol. With no protocol allowed, a playlist cannot make it
    open other files. One codec thread is as fast, with files decoded side by side, and
    damaged files give the same frames each time. The limit of pixels is set twice:
    opening a file decodes a picture of it.
    """
    pixels = {"max_pixels": str(min(limits.max_pixels, _MAX_INT))}
    options = {"protocol_whitelist": "none", **pixels}
    with (
        open(path, "rb") as file,
        av.open(file, options=options, metadata_errors="ignore") as container,
    ):
        stream = _main_stream(container.streams.video)
        codec = stream.codec_context
        if codec.width * codec.height > limits.max_pixels:
            raise MediaError(
                f"has {codec.width} x {codec.height} pixels, more than "
                f"MediaLimits.max_pixels={limits.max_pixels:,}."
            )
        codec.options = pixels
        codec.thread_type = "SLICE"
        codec.thread_count = 1
        yield container, stream


def _main_stream(streams: Sequence[Any]) -> Any:
    if not streams:
        raise MediaError("holds no video stream (audio only?).")
    films = [s for s in streams if not s.disposition & _PICTURE] or streams
    stream = max(films, key=lambda s: (bool(s.disposition & _DEFAULT), s.frames))
    if not stream.disposition & _DEFAULT and any(s.disposition & _TILE for s in films):
        raise MediaError(
            "is a picture in tiles, as some HEIC files are, which FFmpeg gives one by "
            "one. Convert it to JPEG or PNG."
        )
    if stream.codec_context is None:
        raise MediaError("FFmpeg has no decoder for its video stream.")
    return stream


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    try:
        yield from (packet for packet in container.demux(stream) if packet.size)
    except av.FFmpegError:  # a damaged end: what came before still counts
        return


def _count_packets(path: str, limits: MediaLimits) -> tuple[int, float | None]:
    """Return the number of packets and the seconds they span."""
    n_packets, times = 0, []
    with _open(path, limits) as (container, stream):
        for packet in _packets(container, stream):
            if not packet.is_discard:
                n_packets += 1
                if packet.pts is not None:
                    times += [packet.pts, packet.pts + (packet.duration or 0)]
        ticks = max(times) - min(times) if times else None
        duration_s = None if ticks is None else float(ticks * stream.time_base)
    if duration_s is not None and duration_s > limits.max_duration_s:
        raise MediaError(
            f"lasts {duration_s:,.0f} seconds, more than "
            f"MediaLimits.max_duration_s={limits.max_duration_s:,.0f}."
        )
    return n_packets, duration_s


def _read(
    path: str, positions: NDArray[np.intp] | None, size: int, limits: MediaLimits
) -> _Reading:
    """Decode the whole file once; convert and resize the wanted frames only.

    Without positions, stop after the first frame.
    """
    wanted = {0} if positions is None else set(positions.tolist())
    reformatter = VideoReformatter()
    with _open(path, limits) as (container, stream):
        reading = _Reading(stream.codec_context.name, _is_still(container, stream))
        for frame in _decode(container, stream, reading.errors):
            reading.first = reading.first or frame
            if reading.n_frames in wanted:
                small = reformatter.reformat(
                    frame, size, size, "rgb24", interpolation="BILINEAR"
                )
                reading.pictures.append(
                    _upright(np.asarray(small.to_ndarray(), np.uint8), frame)
                )
            reading.n_frames += 1
            if positions is None:
                break
    return reading


def _is_still(container: Any, stream: Any) -> bool:
    """Tell whether one frame of the stream is a picture, not a very short film."""
    names = container.format.name
    is_picture_format = names.endswith("_pipe") or names in _PICTURE_FORMATS
    is_picture_brand = container.metadata.get("major_brand") in _PICTURE_BRANDS
    return is_picture_format or is_picture_brand or bool(stream.disposition & _PICTURE)


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
    side_data = _display_matrix(frame)
    if side_data is None:
        return picture
    a, b, _, c, d = np.frombuffer(side_data, dtype=np.int32, count=5).tolist()
    if abs(b) > abs(a):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _display_matrix(frame: Any) -> Any:
    try:
        return frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV cannot list the side data of a picture with EXIF
        return _without_exif(frame).side_data.get("DISPLAYMATRIX")


def _without_exif(frame: Any) -> Any:
    graph = av.filter.Graph()
    size = {"width": frame.width, "height": frame.height}
    time_base = frame.time_base or Fraction(1)
    source = graph.add_buffer(**size, format=frame.format.name, time_base=time_base)
    delete = graph.add("sidedata", f"mode=delete:type={_EXIF}")
    graph.link_nodes(source, delete, graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.pull()
