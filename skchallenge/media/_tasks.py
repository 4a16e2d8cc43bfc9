"""What is read from a media file, in a worker process or here."""

from typing import Any

import av
import numpy as np

from skchallenge.exceptions import MediaError
from skchallenge.media import _decode
from skchallenge.media._decode import _check_file, ask_worker
from skchallenge.media._film import Film, sample_film
from skchallenge.media._limits import MediaLimits
from skchallenge.media._quality import Quality, measure_quality
from skchallenge.media._worker import Message, Reply


def read_film(path: str, *, fps: float, size: int, limits: MediaLimits) -> Film:
    """Return the mean luminance of each step of 1 / `fps` seconds, (n, size, size).

    Raises
    ------
    MediaError
        If the file cannot be read or is beyond `limits`; states the reason, not the
        path.
    """
    _, pixels = _perform("film", path, limits, {"fps": float(fps), "size": int(size)})
    return np.frombuffer(pixels, np.uint8).reshape(-1, size, size)


def read_quality(path: str, *, limits: MediaLimits) -> Quality:
    """Return how good picture and sound of a file are; raises as `read_film`."""
    header, _ = _perform("quality", path, limits, {})
    return Quality(**header)


def _perform(task: str, path: str, limits: MediaLimits, settings: Message) -> Reply:
    if limits.timeout_s is None:
        return _run(task, path, limits, settings)
    request = {"task": task, "settings": settings}
    return ask_worker(request, path, limits, limits.timeout_s)


def answer(request: Message) -> Reply:
    """Do a task in the worker process; without a name it is that of `_frames`."""
    if "task" not in request:
        return _decode.answer(request)
    max_pixels, max_duration_s = request["limits"]
    limits = MediaLimits(max_pixels, max_duration_s, timeout_s=None)
    try:
        return _run(request["task"], request["path"], limits, request["settings"])
    except MediaError as error:
        return {"error": str(error)}, b""


def _run(task: str, path: str, limits: MediaLimits, settings: Message) -> Reply:
    _check_file(path)
    try:
        return _TASKS[task](path, limits, **settings)
    except av.FFmpegError as error:
        raise MediaError(f"cannot be decoded ({error.strerror}).") from error
    except OSError as error:
        raise MediaError(f"cannot be opened ({error.strerror}).") from error


def _film(path: str, limits: MediaLimits, fps: float, size: int) -> Reply:
    return {}, sample_film(path, fps, size, limits).data.cast("B")


def _quality(path: str, limits: MediaLimits) -> Reply:
    return measure_quality(path, limits)._asdict(), b""


_TASKS: dict[str, Any] = {"film": _film, "quality": _quality}
