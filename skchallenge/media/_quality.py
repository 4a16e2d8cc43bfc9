"""From an open media file to how good its picture and its sound are.

FFmpeg's own filters judge: blackdetect, freezedetect and ebur128.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

import av

from skchallenge.exceptions import MediaError
from skchallenge.media._frame_sampling import (
    decoded_frames,
    is_still,
    measure_span,
    open_streams,
    timed_luma,
)
from skchallenge.media._limits import MediaLimits

_SIDE = 96  # pixels of the grey pictures that are looked at
_TICKS = 1000  # a second
_BLACK_S, _FROZEN_S = 0.1, 1.0  # shorter spans do not count
_BLACK, _FROZEN = "lavfi.black", "lavfi.freezedetect.freeze"
_LOUDNESS = "lavfi.r128.I"
_SILENCE_LUFS = -70.0  # the absolute gate of EBU R 128: what is below is not measured


class Quality(NamedTuple):
    """How good picture and sound of a file are.

    Attributes
    ----------
    width, height : int
        Pixels of the frames as stored.
    duration_s : float
        Seconds from the first frame to the end of the last; 0 for a still image.
    black_share : float
        Fraction of the time, in [0, 1], in which the picture is black.
    frozen_share : float
        Fraction of the time, in [0, 1], in which it stands still for a second or
        longer.
    loudness_lufs : float or None
        Integrated loudness by EBU R 128; -inf if there is no louder part than silence,
        NaN if the sound does not decode, None if there is none.
    """

    width: int
    height: int
    duration_s: float
    black_share: float
    frozen_share: float
    loudness_lufs: float | None


class _Spans:
    """The seconds between the starts and the ends that a detector tells."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.seconds = 0.0
        self.start: float | None = None  # of a span that has not ended

    def take(self, notes: dict[str, str]) -> None:
        """Read the notes on one frame, which may tell of a whole span at once."""
        if f"{self.name}_start" in notes:
            self.start = float(notes[f"{self.name}_start"])
        if f"{self.name}_end" in notes and self.start is not None:
            self.seconds += float(notes[f"{self.name}_end"]) - self.start
            self.start = None

    def fraction(self, end_s: float) -> float:
        """Return the fraction of the time from 0 to `end_s`."""
        if not end_s:  # one frame
            return float(self.start is not None or self.seconds > 0)
        rest = 0.0 if self.start is None else end_s - self.start  # to the end
        return min(1.0, max(0.0, (self.seconds + rest) / end_s))


def measure_quality(file: BinaryIO, limits: MediaLimits) -> Quality:
    """Decode picture and sound of a file once each and measure them."""
    picture = _picture(file, limits)  # a call, so that its decoder frees its memory
    return Quality(*picture, _loudness(file, limits))


def _picture(
    file: BinaryIO, limits: MediaLimits
) -> tuple[int, int, float, float, float]:
    """Return the first five fields of `Quality`."""
    _, duration_s = measure_span(file, limits)
    black, frozen = _Spans(_BLACK), _Spans(_FROZEN)
    last_s = -1.0
    with open_streams(file, limits) as (container, stream):
        width, height = stream.codec_context.width, stream.codec_context.height
        is_picture = is_still(container, stream)
        frames = decoded_frames(container, stream, [], limits)
        for now, notes in _judged(timed_luma(frames, _SIDE, stream, limits)):
            last_s = now
            black.take(notes)
            frozen.take(notes)
    if last_s < 0:
        raise MediaError("no frame of it decodes: it is damaged.")
    end_s = 0.0 if is_picture and not last_s else max(duration_s or 0.0, last_s)
    return width, height, end_s, black.fraction(end_s), frozen.fraction(end_s)


def _judged(
    timed: Iterator[tuple[float, Any]],
) -> Iterator[tuple[float, dict[str, str]]]:
    """Yield the time so far with each note of FFmpeg's detectors."""
    graph = av.filter.Graph()
    graph.threads = 1  # more would each reserve memory
    source = graph.add_buffer(
        width=_SIDE, height=_SIDE, format="gray", time_base=Fraction(1, _TICKS)
    )
    black = graph.add("blackdetect", f"d={_BLACK_S}")
    frozen = graph.add("freezedetect", f"d={_FROZEN_S}")
    graph.link_nodes(source, black, frozen, graph.add("buffersink")).configure()
    last = -1
    for time, image in timed:
        tick = round(time * _TICKS)
        if tick <= last:  # the filters need times that rise
            continue
        frame = av.VideoFrame.from_ndarray(image, format="gray")
        frame.pts = last = tick
        frame.time_base = Fraction(1, _TICKS)
        graph.push(frame)
        yield from ((last / _TICKS, notes) for notes in _notes(graph))
    if last >= 0:
        graph.push(None)
        yield from ((last / _TICKS, notes) for notes in _notes(graph))


def _notes(graph: Any) -> Iterator[dict[str, str]]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield dict(frame.metadata)


def _loudness(file: BinaryIO, limits: MediaLimits) -> float | None:
    with open_streams(file, limits) as (container, _):
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        if stream.codec_context is None:  # FFmpeg has no decoder for it
            return math.nan
        try:
            loudness = _integrated(
                decoded_frames(container, stream, [], limits), limits
            )
        except (MediaError, MemoryError):
            raise
        except (av.FFmpegError, ValueError):  # of a layout that has no name
            return math.nan
    return -math.inf if loudness <= _SILENCE_LUFS else loudness


def _integrated(frames: Iterator[Any], limits: MediaLimits) -> float:
    """Return the integrated loudness; NaN without a frame.

    Frames are brought to the format of the first one, which the filter needs.
    """
    loudness, n_samples, graph = math.nan, 0, None
    for frame in frames:
        if graph is None:
            rate = frame.sample_rate
            like = {"format": frame.format.name, "layout": frame.layout.name}
            resampler = av.AudioResampler(**like, rate=rate)
            graph = _loudness_graph(**like, sample_rate=rate)
            loudness = -math.inf  # until the first 0.4 s are heard
        for part in resampler.resample(frame):
            part.pts = n_samples
            n_samples += part.samples
            graph.push(part)
        for notes in _notes(graph):
            loudness = float(notes.get(_LOUDNESS, loudness))
        if n_samples > limits.max_duration_s * rate:  # whatever the container says
            raise MediaError(
                "has sound that lasts longer than "
                f"MediaLimits.max_duration_s={limits.max_duration_s:,.0f}."
            )
    return loudness


def _loudness_graph(**like: Any) -> Any:
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add_abuffer(**like, time_base=Fraction(1, like["sample_rate"]))
    meter = graph.add("ebur128", "metadata=1")
    graph.link_nodes(source, meter, graph.add("abuffersink")).configure()
    return graph
