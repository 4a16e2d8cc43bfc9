"""From a media file to small grey pictures at equal steps of time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from skchallenge.exceptions import MediaError
from skchallenge.media._decode import (
    _count_packets,
    _decode,
    _open,
    _upright,
)
from skchallenge.media._limits import MediaLimits

Film = NDArray[np.uint8]  # (n_steps, size, size)
_USUAL_FPS = 25  # where a file states no time at all
_Timed = tuple[float, NDArray[np.uint8]]  # seconds, (size, size)


def sample_film(path: str, fps: float, size: int, limits: MediaLimits) -> Film:
    """Return the mean luminance of each step of 1 / `fps` seconds.

    A picture counts for as long as it is shown. So a film depends on the time stamps
    only by their length, not by which side of a step they fall on, and any frame
    rate, also a variable one, gives nearly the same film. Pictures are upright.
    """
    _, duration_s = _count_packets(path, limits)
    errors: list[Exception] = []
    with _open(path, limits) as (container, stream):
        frames = _decode(container, stream, errors)
        timed = timed_pictures(frames, size, stream)
        steps = list(_mean_steps(timed, duration_s, fps))
    if not steps:
        raise MediaError("no frame of it decodes: it is damaged.")
    return np.ascontiguousarray(steps)  # (n_steps, size, size)


def timed_pictures(frames: Iterator[Any], size: int, stream: Any) -> Iterator[_Timed]:
    """Yield small grey pictures with their seconds; these never fall."""
    rate = float(stream.average_rate or _USUAL_FPS)
    reformatter = VideoReformatter()
    now = first = None
    for number, frame in enumerate(frames):
        small = reformatter.reformat(frame, size, size, "gray", interpolation="AREA")
        picture = np.asarray(small.to_ndarray(), np.uint8)[..., None]  # (H, W, 1)
        has_time = frame.pts is not None and stream.time_base
        time = float(frame.pts * stream.time_base) if has_time else number / rate
        first = time if first is None else first
        now = max(now or 0.0, time - first)
        yield now, _upright(picture, frame)[..., 0]


def _mean_steps(
    timed: Iterator[_Timed], duration_s: float | None, fps: float
) -> Iterator[NDArray[np.uint8]]:
    """Average pictures over equal steps; a last step of less than half is dropped."""
    step = _Step(1 / fps)
    last: _Timed | None = None
    for time, picture in timed:
        if last is not None:
            yield from step.show(last[1], time - last[0])
        last = time, picture
    if last is not None:
        rest = max((duration_s or 0.0) - last[0], 0.0)
        yield from step.show(last[1], rest)
        yield from step.finish(last[1])


class _Step:
    """The step that is being filled."""

    def __init__(self, length_s: float) -> None:
        self.length_s = length_s
        self.n_done = 0
        self._clear()

    def _clear(self) -> None:
        self.total: Any = 0.0
        self.filled_s = 0.0

    def show(
        self, picture: NDArray[np.uint8], seconds: float
    ) -> Iterator[NDArray[np.uint8]]:
        """Add a picture that is shown for some seconds; yield what is complete."""
        while seconds > 0:
            part = min(seconds, self.length_s - self.filled_s)
            self.total = self.total + part * picture.astype(np.float32)
            self.filled_s += part
            seconds -= part
            if self.filled_s >= self.length_s * (1 - 1e-6):
                yield self._complete()

    def finish(self, picture: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """Yield the step in hand if it is half full, or else if it is the only one."""
        if self.filled_s >= self.length_s / 2:
            yield self._complete()
        elif not self.n_done:
            yield picture

    def _complete(self) -> NDArray[np.uint8]:
        mean = np.rint(self.total / self.filled_s).astype(np.uint8)
        self.n_done += 1
        self._clear()
        return mean
