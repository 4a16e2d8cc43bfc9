"""From a media file to how good its picture and its sound are, by FFmpeg's filters."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av

from skchallenge.exceptions import MediaError
from skchallenge.media._decode import _count_packets, _decode, _is_still, _open
from skchallenge.media._film import timed_pictures
from skchallenge.media._limits import MediaLimits

_SIDE = 96  # pixels of the grey pictures that are looked at
_TICKS = 1000  # a second
_BLACK_S, _FROZEN_S = 0.1, 1.0  # shorter spans do not count
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
        Share of the time, in [0, 1], in which the picture is black.
    frozen_share : float
        Share of the time, in [0, 1], in which it stands still for a second or longer.
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


def measure_quality(path: str, limits: MediaLimits) -> Quality:
    """Decode picture and sound of a file once each and measure them."""
    _, duration_s = _count_packets(path, limits)
    with _open(path, limits) as (container, stream):
        codec = stream.codec_context
        width, height = codec.width, codec.height
        is_still = _is_still(container, stream)
        marks = list(_picture_marks(container, stream))
    if not marks:
        raise MediaError("no frame of it decodes: it is damaged.")
    last_s = float(marks[-1]["time"])
    end_s = 0.0 if is_still and not last_s else max(duration_s or 0.0, last_s)
    return Quality(
        width,
        height,
        end_s,
        _share(marks, "lavfi.black", end_s),
        _share(marks, "lavfi.freezedetect.freeze", end_s),
        _loudness(path, limits),
    )


def _picture_marks(container: Any, stream: Any) -> Iterator[dict[str, str]]:
    """Yield the notes of FFmpeg's detectors, and the time, of every frame."""
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=_SIDE, height=_SIDE, format="gray", time_base=Fraction(1, _TICKS)
    )
    black = graph.add("blackdetect", f"d={_BLACK_S}")
    frozen = graph.add("freezedetect", f"d={_FROZEN_S}")
    graph.link_nodes(source, black, frozen, graph.add("buffersink")).configure()
    pictures = timed_pictures(_decode(container, stream, []), _SIDE, stream)
    last = -1
    for time, picture in pictures:
        frame = av.VideoFrame.from_ndarray(picture, format="gray")
        frame.pts = last = max(last + 1, round(time * _TICKS))
        frame.time_base = Fraction(1, _TICKS)
        graph.push(frame)
        yield from _notes(graph)
    if last >= 0:
        graph.push(None)
        yield from _notes(graph)
        yield {"time": str(last / _TICKS)}


def _notes(graph: Any) -> Iterator[dict[str, str]]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield dict(frame.metadata)


def _share(marks: list[dict[str, str]], name: str, end_s: float) -> float:
    """Return the share of time between the detector's starts and ends."""
    starts = [float(m[f"{name}_start"]) for m in marks if f"{name}_start" in m]
    ends = [float(m[f"{name}_end"]) for m in marks if f"{name}_end" in m]
    if not end_s:  # one frame
        return float(bool(starts))
    ends += [end_s] * (len(starts) - len(ends))  # it lasts to the end
    spans = [end - start for start, end in zip(starts, ends, strict=True)]
    return min(1.0, max(0.0, sum(spans) / end_s))


def _loudness(path: str, limits: MediaLimits) -> float | None:
    with _open(path, limits) as (container, _):
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        if stream.codec_context is None:  # FFmpeg has no decoder for it
            return math.nan
        try:
            loudness = _integrate(_decode(container, stream, []))
        except (av.FFmpegError, ValueError):  # of a layout that has no name
            return math.nan
    return -math.inf if loudness <= _SILENCE_LUFS else loudness


def _integrate(frames: Iterator[Any]) -> float:
    """Return the integrated loudness; NaN without a frame."""
    meter = None
    for frame in frames:
        meter = meter or _Meter(frame)
        meter.hear(frame)
    return math.nan if meter is None else meter.loudness


class _Meter:
    """FFmpeg's loudness meter, for sound like that of the first frame."""

    def __init__(self, frame: Any) -> None:
        rate = frame.sample_rate
        like = {"format": frame.format.name, "layout": frame.layout.name}
        self.loudness = -math.inf  # until the first 0.4 s are heard
        self._n_samples = 0
        self._same = av.AudioResampler(**like, rate=rate)
        self._graph = av.filter.Graph()
        source = self._graph.add_abuffer(
            **like, sample_rate=rate, time_base=Fraction(1, rate)
        )
        meter = self._graph.add("ebur128", "metadata=1")
        sink = self._graph.add("abuffersink")
        self._graph.link_nodes(source, meter, sink).configure()

    def hear(self, frame: Any) -> None:
        """Take the next frame, of any format."""
        for part in self._same.resample(frame):
            part.pts = self._n_samples
            self._n_samples += part.samples
            self._graph.push(part)
        for notes in _notes(self._graph):
            self.loudness = float(notes.get("lavfi.r128.I", self.loudness))
