"""From an open media file to the frames, or the luma thumbnails, that represent it.

Everything here runs in one thread and knows no process: `_worker` runs it apart, and
`_read` asks for it.
"""

import itertools
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, BinaryIO, Literal

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from skchallenge.exceptions import MediaError
from skchallenge.media._limits import MediaLimits

Images = NDArray[np.uint8]
Part = BinaryIO | Images  # an open media file, or the pixels of frames, (n, H, W, 3)

_PICTURE = Disposition.attached_pic | Disposition.timed_thumbnails
_DEFAULT, _TILE = Disposition.default, Disposition.dependent
_EXIF = 31  # AV_FRAME_DATA_EXIF
_PICTURE_FORMATS = {"apng", "gif", "image2", "webp"}  # of one frame or of many
_PICTURE_BRANDS = {"avif", "avis", "heic", "heix", "hevc", "mif1", "msf1"}
_TEXT_ART = {"ansi", "bintext", "idf", "xbin"}  # any text is one, by the file's name
_MAX_INT = 2**31 - 1
WHOLE_SIDE = 1080  # pixels; 50 frames of a 4K film would take 1.2 GB
_DEFAULT_FPS = 25  # what FFmpeg assumes where a file states no time at all


@dataclass(frozen=True)
class VideoMetadata:
    """What decoding has shown of a file; nothing is taken from its header alone.

    Attributes
    ----------
    kind : {"video", "image", "images"}
        The last is a list of pictures.
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

    kind: Literal["video", "image", "images"]
    n_frames: int
    duration_s: float | None
    width: int
    height: int
    rotation: int
    codec: str


@contextmanager
def media_errors(number: int = 1, n_items: int = 1) -> Iterator[None]:
    """Have what is wrong with a file, or an item of a list, be a `MediaError`."""
    item = f"item {number} of {n_items} " if n_items > 1 else ""
    try:
        yield
    except MemoryError:  # before FFmpeg's errors, of which one is this, too
        raise
    except MediaError as error:
        if not item:
            raise
        raise MediaError(f"{item}{error}") from error
    except av.FFmpegError as error:
        raise MediaError(f"{item}cannot be decoded ({error.strerror}).") from error
    except OSError as error:
        raise MediaError(f"{item}cannot be read ({error.strerror}).") from error


def frame_positions(n_decodable: int, n_frames: int) -> NDArray[np.intp]:
    """Return the frame at the centre of each of `n_frames` equal bins.

    That is frame ``floor((i + 0.5) * n_decodable / n_frames)`` for bin ``i``, in whole
    numbers so that no rounding moves it.
    """
    return (2 * np.arange(n_frames) + 1) * n_decodable // (2 * n_frames)


def sample_frames(
    parts: Sequence[Part], n_frames: int, image_size: int | None, limits: MediaLimits
) -> tuple[list[Images], NDArray[np.intp], VideoMetadata]:
    """Sample `n_frames` frames spread uniformly over the frames that decode.

    Those of several parts, such as the pictures of a photo post, stand in a row.
    Uniform means over frames in order of presentation, not over time, so a variable
    frame rate needs no special case. The count that a container declares is not
    trusted: packets are counted first, and where damage makes fewer frames decode than
    there are packets, the file is read again with the true count.

    Returns
    -------
    frames : list of k ndarrays of shape (image_size, image_size, 3), dtype uint8
        The distinct frames, RGB, upright, in order of presentation. Where `image_size`
        is None, each has its own size, but for those whose shorter side is above
        `WHOLE_SIDE`, which are shrunk to that.
    frame_index : ndarray of shape (n_frames,), dtype int
        Which of `frames` each of the samples is.
    metadata : VideoMetadata

    Raises
    ------
    MediaError
        If no frame of a part decodes, or one or all together are beyond `limits`;
        states the reason, not the path.
    """
    spans = []
    for number, part in enumerate(parts, 1):
        with media_errors(number, len(parts)):
            spans.append(measure_span(part, limits))
    durations = [duration_s for _, duration_s in spans]
    _check_duration(sum(filter(None, durations)), limits)

    def scan_all(counts: list[int]) -> tuple[NDArray[np.intp], list[_Scan]]:
        positions = frame_positions(sum(counts), n_frames)
        scans, start = [], 0
        for number, (part, count) in enumerate(zip(parts, counts, strict=True), 1):
            end = start + count
            own = positions[(positions >= start) & (positions < end)] - start
            with media_errors(number, len(parts)):
                scans.append(_scan(part, own, image_size, limits))
                if not scans[-1].n_frames:
                    raise _no_frame(scans[-1].errors, limits)
            start = end
        return positions, scans

    counts = [n_packets for n_packets, _ in spans]
    positions, scans = scan_all(counts)
    decoded = [scan.n_frames for scan in scans]
    if decoded != counts:
        positions, scans = scan_all(decoded)
    images = [image for scan in scans for image in scan.images]
    # Samples of a file with fewer frames than samples are at the same position.
    frame_index = np.unique(positions, return_inverse=True)[1]
    # Of frames in a row that are the same to the bit, keep one: a slide show has few
    # that differ, and the network is what costs.
    is_new = np.ones(len(images), bool)
    is_new[1:] = [not np.array_equal(*pair) for pair in itertools.pairwise(images)]
    frames = list(itertools.compress(images, is_new))
    return frames, (np.cumsum(is_new) - 1)[frame_index], _metadata(scans, durations)


def first_frame(part: Part, image_size: int, limits: MediaLimits) -> Images:
    """Return the first frame that decodes, (image_size, image_size, 3), RGB, upright.

    Nothing beyond it is read, so how long a video lasts does not matter.
    """
    scan = _scan(part, None, image_size, limits)
    if not scan.images:
        raise _no_frame(scan.errors, limits)
    return scan.images[0]


@dataclass
class _Scan:
    """One reading of a file: the wanted images and what was seen on the way."""

    codec: str
    is_still: bool
    n_frames: int = 0
    width: int = 0  # of the first frame, as are the next two
    height: int = 0
    rotation: int = 0
    images: list[Images] = field(default_factory=list)
    errors: list[av.FFmpegError] = field(default_factory=list)

    @property
    def is_image(self) -> bool:
        return self.is_still and self.n_frames == 1


def _metadata(scans: list[_Scan], durations: list[float | None]) -> VideoMetadata:
    """Sum up the parts; size and codec are those of the first."""
    first, are_images = scans[0], all(scan.is_image for scan in scans)
    known = [
        duration_s
        for duration_s, scan in zip(durations, scans, strict=True)
        if duration_s is not None and not scan.is_image
    ]
    return VideoMetadata(
        kind=("image" if len(scans) == 1 else "images") if are_images else "video",
        n_frames=sum(scan.n_frames for scan in scans),
        duration_s=sum(known) if len(known) == len(scans) else None,
        width=first.width,
        height=first.height,
        rotation=first.rotation,
        codec=first.codec,
    )


def _scan(
    part: Part,
    positions: NDArray[np.intp] | None,
    image_size: int | None,
    limits: MediaLimits,
) -> _Scan:
    """Decode the whole file once; convert and resize the wanted frames only.

    Without positions, stop after the first frame.
    """
    wanted = {0} if positions is None else set(positions.tolist())
    reformatter = VideoReformatter()
    if isinstance(part, np.ndarray):
        _, height, width, _ = part.shape
        scan = _Scan("rawvideo", len(part) == 1, len(part), width, height)
        for position in sorted(wanted):
            frame = av.VideoFrame.from_ndarray(part[position], "rgb24")
            small = _resized(reformatter, frame, image_size, "rgb24", "BILINEAR")
            scan.images.append(small)  # (H, W, 3)
        return scan
    with open_streams(part, limits) as (container, stream):
        scan = _Scan(stream.codec_context.name, is_still(container, stream))
        for frame in decoded_frames(container, stream, scan.errors, limits):
            if not scan.n_frames:
                scan.width, scan.height = frame.width, frame.height
                scan.rotation = -90 * round(frame.rotation / 90) % 360
            if scan.n_frames in wanted:
                small = _resized(reformatter, frame, image_size, "rgb24", "BILINEAR")
                scan.images.append(small)  # (H, W, 3)
            scan.n_frames += 1
            if positions is None:
                break
    return scan


def _no_frame(errors: list[av.FFmpegError], limits: MediaLimits) -> MediaError:
    reason = f" ({errors[-1].strerror})" if errors else ""
    error = MediaError(
        f"no frame of it decodes{reason}: it is damaged, or has more pixels than "
        f"MediaLimits.max_pixels={limits.max_pixels:,}."
    )
    error.__cause__ = errors[-1] if errors else None
    return error


# Luma thumbnails: what duplicates are found by


def luma_thumbnails(
    file: BinaryIO, fps: float, size: int, limits: MediaLimits
) -> tuple[Images, float]:
    """Return the mean luma of each step of 1 / `fps` seconds, (n_steps, size, size).

    Beside it, width divided by height, as the picture is shown.

    A frame counts for as long as it is shown. So the result depends on the time stamps
    only by their length, not by which side of a step they fall on, and any frame rate,
    also a variable one, gives nearly the same. Thumbnails are upright. There are at
    most ``max_duration_s * fps`` of them, whatever the file says of its times.
    """
    _, duration_s = measure_span(file, limits)
    errors: list[av.FFmpegError] = []
    with open_streams(file, limits) as (container, stream):
        frames = decoded_frames(container, stream, errors, limits)
        first = next(frames, None)
        if first is None:
            raise _no_frame(errors, limits)
        aspect = _aspect(first, stream)
        timed = timed_luma(itertools.chain([first], frames), size, stream, limits)
        steps = list(_mean_steps(timed, duration_s, 1 / fps))
    return np.stack(steps), aspect  # (n_steps, size, size)


def _aspect(frame: Any, stream: Any) -> float:
    pixel_aspect = float(stream.sample_aspect_ratio or 1)
    aspect = frame.width * pixel_aspect / frame.height
    return 1 / aspect if round(frame.rotation / 90) % 2 else aspect


def timed_luma(
    frames: Iterator[Any], size: int, stream: Any, limits: MediaLimits
) -> Iterator[tuple[float, Images]]:
    """Yield (seconds, thumbnail) of each frame; the seconds start at 0, never fall."""
    rate = _declared_fps(stream)
    reformatter = VideoReformatter()
    now, first = 0.0, None
    for number, frame in enumerate(frames):
        has_time = frame.pts is not None and stream.time_base
        time = float(frame.pts * stream.time_base) if has_time else number / rate
        first = time if first is None else first
        now = max(now, time - first)
        # The decoder's times need not be those of the packets, which were measured.
        _check_duration(now, limits)
        yield now, _resized(reformatter, frame, size, "gray", "AREA")  # (H, W)


def _mean_steps(
    timed: Iterator[tuple[float, Images]], duration_s: float | None, step_s: float
) -> Iterator[Images]:
    """Average thumbnails over equal steps; a last step of less than half is dropped.

    An only step is kept, however short.
    """
    total: Any = 0.0  # sum of seconds * thumbnail over the step that is being filled
    filled_s, n_steps = 0.0, 0
    image = None
    for image, seconds in _shown(timed, duration_s):
        while seconds > 0:
            part = min(seconds, step_s - filled_s)
            total = total + part * image.astype(np.float32)
            filled_s += part
            seconds -= part
            if filled_s >= step_s * (1 - 1e-6):  # sums of float64 miss it by a little
                yield np.rint(total / filled_s).astype(np.uint8)
                total, filled_s, n_steps = 0.0, 0.0, n_steps + 1
    if filled_s >= step_s / 2:
        yield np.rint(total / filled_s).astype(np.uint8)
    elif image is not None and not n_steps:
        yield image


def _shown(
    timed: Iterator[tuple[float, Images]], duration_s: float | None
) -> Iterator[tuple[Images, float]]:
    """Yield each thumbnail with the seconds for which it is shown."""
    last = None
    for time, image in timed:
        if last is not None:
            yield last[1], time - last[0]
        last = time, image
    if last is not None:
        yield last[1], max((duration_s or 0.0) - last[0], 0.0)


# Containers, packets, frames


@contextmanager
def open_container(file: BinaryIO, limits: MediaLimits) -> Iterator[Any]:
    """Yield the container of an open file.

    FFmpeg gets an open file, not a name: it would read ``a%02d.jpg`` as a pattern and
    ``concat:a`` as a protocol. With no protocol allowed, a playlist cannot make it
    open other files. The limit of pixels is set here, too: opening a file decodes a
    picture of it.
    """
    options = {"protocol_whitelist": "none", **_pixel_options(limits)}
    file.seek(0)
    with av.open(file, options=options, metadata_errors="ignore") as container:
        yield container


@contextmanager
def open_streams(file: BinaryIO, limits: MediaLimits) -> Iterator[tuple[Any, Any]]:
    """Yield the container and its video stream, to be decoded on one thread.

    One codec thread is as fast, with files decoded side by side, and damaged files give
    the same frames each time.
    """
    with open_container(file, limits) as container:
        stream = _main_stream(container.streams.video)
        codec = stream.codec_context
        _check_pixels(codec.width, codec.height, limits)
        codec.options = _pixel_options(limits)
        codec.thread_type = "SLICE"
        codec.thread_count = 1
        yield container, stream


def _pixel_options(limits: MediaLimits) -> dict[str, str]:
    return {"max_pixels": str(min(limits.max_pixels, _MAX_INT))}


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
    if stream.codec_context.name in _TEXT_ART:
        raise MediaError(
            "is text, not a video: its letters would be drawn as pictures. Check the "
            "column of paths."
        )
    return stream


def is_still(container: Any, stream: Any) -> bool:
    """Tell whether one frame of the stream is a picture, not a very short video."""
    names = container.format.name
    is_picture_format = names.endswith("_pipe") or names in _PICTURE_FORMATS
    is_picture_brand = container.metadata.get("major_brand") in _PICTURE_BRANDS
    return is_picture_format or is_picture_brand or bool(stream.disposition & _PICTURE)


def measure_span(part: Part, limits: MediaLimits) -> tuple[int, float | None]:
    """Count the packets that are shown, and the seconds they span, without decoding.

    The seconds are None where no packet has a time, as pixels have none; a file of
    packets without times is held to the limit by their number and the declared frame
    rate.
    """
    if isinstance(part, np.ndarray):
        if not part.size:
            raise MediaError("is empty (no pixels).")
        _check_pixels(part.shape[2], part.shape[1], limits)
        return len(part), None
    n_packets, n_timed, start, end = 0, 0, 0, 0  # start and end in ticks
    with open_streams(part, limits) as (container, stream):
        for packet in _packets(container, stream):
            if packet.is_discard:
                continue
            n_packets += 1
            if packet.pts is not None and stream.time_base:
                shown_until = max(packet.pts, packet.pts + (packet.duration or 0))
                start = min(start, packet.pts) if n_timed else packet.pts
                end = max(end, shown_until) if n_timed else shown_until
                n_timed += 1
        duration_s = float((end - start) * stream.time_base) if n_timed else None
        if n_timed < n_packets:
            _check_duration(n_packets / _declared_fps(stream), limits)
    _check_duration(duration_s or 0.0, limits)
    return n_packets, duration_s


def decoded_frames(
    container: Any, stream: Any, errors: list[av.FFmpegError], limits: MediaLimits
) -> Iterator[Any]:
    """Yield every frame that decodes, of pictures or of sound.

    Packets that do not decode are passed over, and so are frames that have grown beyond
    `max_pixels`, which FFmpeg does not build; `errors` holds the last error.
    """
    flush = None
    for packet in itertools.chain(_packets(container, stream), [flush]):
        try:
            frames = stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            _check_memory(error, stream.codec_context, limits)
            errors[:] = [error]
            continue
        yield from frames


def _check_memory(error: av.FFmpegError, codec: Any, limits: MediaLimits) -> None:
    """Raise MemoryError if a packet did not decode for want of memory.

    Some decoders, H.264's among them, call data invalid for which they got no memory.
    Passing over such packets would give other frames under another limit of memory. So
    the room that is left is asked for, too. HEVC's decoder, in turn, speaks of memory
    where a frame has too many pixels.
    """
    frame_bytes = 0  # sound is small, and so is a picture before its format is known
    if codec.type == "video":
        if codec.width * codec.height > limits.max_pixels:
            return
        if codec.format is not None:
            bits = codec.format.padded_bits_per_pixel
            frame_bytes = codec.width * codec.height * bits // 8
    if isinstance(error, MemoryError):
        raise error
    try:
        mmap.mmap(-1, 2**20 + 3 * frame_bytes // 2).close()  # half for the decoder
    except OSError:
        raise MemoryError("no room for a frame") from error


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    try:
        yield from (packet for packet in container.demux(stream) if packet.size)
    except MemoryError:
        raise
    except av.FFmpegError:  # a damaged end: what came before still counts
        return


def _declared_fps(stream: Any) -> float:
    return float(stream.average_rate or _DEFAULT_FPS)


def _check_pixels(width: int, height: int, limits: MediaLimits) -> None:
    if width * height > limits.max_pixels:
        raise MediaError(
            f"has {width} x {height} pixels, more than "
            f"MediaLimits.max_pixels={limits.max_pixels:,}."
        )


def _check_duration(seconds: float, limits: MediaLimits) -> None:
    if seconds > limits.max_duration_s:
        raise MediaError(
            f"lasts {seconds:,.0f} seconds, more than "
            f"MediaLimits.max_duration_s={limits.max_duration_s:,.0f}."
        )


def _resized(
    reformatter: VideoReformatter,
    frame: Any,
    size: int | None,
    pixels: str,
    filter: str,
) -> Images:
    """Return a frame as a square image, or a whole one, turned to be upright.

    FFmpeg's display matrix maps x' = a x + c y and y' = b x + d y; phones use quarter
    turns. It is asked of the small frame: PyAV ties a frame that is asked into a circle
    of references, and large ones would fill the memory until Python looks for circles.
    """
    # More threads would reserve memory, which is limited.
    width, height = (size, size) if size else _whole_size(frame.width, frame.height)
    small = reformatter.reformat(
        frame, width, height, pixels, interpolation=filter, threads=1
    )
    image = np.asarray(small.to_ndarray(), np.uint8)  # (H, W, 3), or (H, W) if grey
    matrix = _display_matrix(small)
    if matrix is None:
        return image
    a, b, _, c, d = np.frombuffer(matrix, dtype=np.int32, count=5).tolist()
    if abs(b) > abs(a):
        image, a, d = image.swapaxes(0, 1), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _whole_size(width: int, height: int) -> tuple[int, int]:
    """Return the size of a frame that is not squeezed into a square."""
    factor = min(1.0, WHOLE_SIDE / min(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _display_matrix(frame: Any) -> Any:
    try:
        return frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV cannot list the side data of a picture with EXIF
        return _without_exif(frame).side_data.get("DISPLAYMATRIX")


def _without_exif(frame: Any) -> Any:
    graph = av.filter.Graph()
    graph.threads = 1
    size = {"width": frame.width, "height": frame.height}
    time_base = frame.time_base or Fraction(1)
    source = graph.add_buffer(**size, format=frame.format.name, time_base=time_base)
    delete = graph.add("sidedata", f"mode=delete:type={_EXIF}")
    graph.link_nodes(source, delete, graph.add("buffersink")).configure()
    graph.push(frame)
    return graph.pull()
