"""Many media files -> what is read from them, side by side, in order, bad ones too.

With a time limit, files are decoded in worker processes (`_worker`). They live for one
call: each of its threads starts one when it first needs it, has it answer one request
after the other, and replaces it if it hangs or crashes.
"""

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import (
    Any,
    Literal,
    NamedTuple,
    Self,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
from numpy.typing import NDArray

from skchallenge._table import printable
from skchallenge.exceptions import MediaError
from skchallenge.media._file import absolute, check_media_file
from skchallenge.media._frame_sampling import Images, VideoMetadata, media_errors
from skchallenge.media._limits import MediaLimits
from skchallenge.media._quality import Quality
from skchallenge.media._source import Content, Source, content_key, items_of
from skchallenge.media._worker import (
    READY,
    Buffer,
    Message,
    Reply,
    perform,
    read_message,
)

FILES_IN_MEMORY = 8
_WHOLE_IN_MEMORY = 4  # files of whole frames: 50 of 1080 x 1920 take 311 MB
_SOUND_IN_MEMORY_BYTES = 2**28  # of as many files, if they are long
_WORKER = "skchallenge.media._worker"
_START_TIMEOUT_S = 60.0
_LOOK_UP_S = 0.5  # while waiting, for a signal that did not wake
_GRACE_S = 30.0  # after which a worker that hangs ends by itself, if nobody ends it
_X = TypeVar("_X")
_Y = TypeVar("_Y")


@dataclass(frozen=True)
class Clip:
    """The sampled frames of one file.

    Attributes
    ----------
    frames : k ndarrays of shape (image_size, image_size, 3), dtype uint8, in one or
        in a list if each has its own size. The distinct sampled frames, RGB, upright,
        in order of presentation.
    frame_index : ndarray of shape (n_frames,), dtype int
        Which of `frames` each of the `n_frames` samples is; a file with fewer frames
        than samples, or with frames that repeat, gives one frame to several.
    digest : bytes or None
        SHA-256 of the file, or the `content_key` of a list, if asked for.
    """

    frames: Images | list[Images]
    frame_index: NDArray[np.intp]
    digest: bytes | None = None


class LumaThumbnails(NamedTuple):
    """Mean luma at equal steps of time.

    Attributes
    ----------
    luma : ndarray of shape (n_steps, size, size), dtype uint8
    aspect : float
        Width of the picture as it is shown, divided by its height.
    digest : bytes or None
        SHA-256 of the file, if asked for.
    """

    luma: Images
    aspect: float
    digest: bytes | None = None


class Sound(NamedTuple):
    """The sound of one file.

    Attributes
    ----------
    samples : ndarray of shape (n,), dtype int16, or None
        Mono, at the rate that was asked for; None if the file has no sound.
    digest : bytes or None
        As of `Clip`.
    """

    samples: NDArray[np.int16] | None
    digest: bytes | None = None


def read_clips(
    sources: Iterable[Source],
    n_frames: int,
    image_size: int | None,
    *,
    n_threads: int,
    limits: MediaLimits | None = None,
    ahead: bool = False,
    hashed: bool = False,
) -> Iterator[Clip | MediaError]:
    """Sample frames of files, contents and lists in order, `n_threads` at a time.

    At least `FILES_IN_MEMORY` files are decoded, then given out, then the next: where
    the model runs on the same processor, that is faster than decoding beside it. With
    `ahead`, for a model that runs elsewhere, files are decoded while earlier ones are
    used. A bad file yields its error, which names it.

    Without an `image_size`, frames are whole, and few files are in memory at a time.
    With `hashed`, each clip has the digest of the very file that was decoded.
    """
    is_whole = image_size is None
    settings = {"n_frames": int(n_frames), "image_size": image_size and int(image_size)}

    def to_clip(reply: Reply) -> Clip:
        frames = _frames(reply, image_size)
        index = np.array(reply[0]["frame_index"], np.intp)
        if index.shape != (n_frames,) or not np.isin(index, range(len(frames))).all():
            raise ValueError
        return Clip(frames, index, _digest(reply))

    with _Decoders(n_threads, limits) as decoders:
        yield from _named(
            decoders.ask_for_each(
                sources,
                "clip",
                to_clip,
                settings,
                hashed=hashed,
                in_batches=not (ahead or is_whole),
                n_held=min(n_threads, _WHOLE_IN_MEMORY) if is_whole else None,
            )
        )


def _frames(reply: Reply, image_size: int | None) -> Images | list[Images]:
    pixels = np.frombuffer(reply[1], np.uint8)
    if image_size is not None:
        return pixels.reshape(-1, image_size, image_size, 3)
    shapes = reply[0]["shapes"]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    parts = np.split(pixels, ends[:-1])
    frames = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    if any(frame.ndim != 3 or frame.shape[2] != 3 for frame in frames):
        raise ValueError
    return frames


def read_sounds(
    sources: Iterable[Source],
    rate: int,
    max_s: float,
    *,
    n_threads: int,
    limits: MediaLimits | None = None,
    hashed: bool = False,
) -> Generator[Sound | MediaError, None, None]:
    """Decode the first `max_s` seconds of sound of each source, in order.

    Errors and `hashed` are as in `read_clips`. Fewer files are in memory at a time
    where their sound is long.
    """
    settings = {"rate": int(rate), "max_s": float(max_s)}
    n_held = int(_SOUND_IN_MEMORY_BYTES / (2 * rate * max_s))

    def to_sound(reply: Reply) -> Sound:
        samples = np.frombuffer(reply[1], np.int16)
        return Sound(samples if reply[0]["has_sound"] else None, _digest(reply))

    with _Decoders(n_threads, limits) as decoders:
        yield from _named(
            decoders.ask_for_each(
                sources,
                "sound",
                to_sound,
                settings,
                hashed=hashed,
                in_batches=True,
                n_held=max(1, min(n_held, FILES_IN_MEMORY)),
            )
        )


def read_first_frames(
    sources: Iterable[Source],
    image_size: int,
    *,
    n_threads: int,
    limits: MediaLimits | None = None,
) -> Iterator[Images | MediaError]:
    """Yield the first frame of each source, (H, W, 3); errors as of `read_clips`.

    Of a list, nothing but its first item is opened.
    """
    settings = {"image_size": int(image_size)}
    shape = (image_size, image_size, 3)
    firsts = (items_of(source)[0] for source in sources)
    with _Decoders(n_threads, limits) as decoders:
        yield from _named(
            decoders.ask_for_each(
                firsts,
                "first_frame",
                lambda reply: np.frombuffer(reply[1], np.uint8).reshape(shape),
                settings,
            )
        )


def read_metadata(
    sources: Iterable[Source | None],
    *,
    n_threads: int,
    limits: MediaLimits | None = None,
) -> Iterator[VideoMetadata | MediaError]:
    """Decode each source from end to end; errors state the reason, not the path."""
    with _Decoders(n_threads, limits) as decoders:
        for _, found in decoders.ask_for_each(
            sources, "metadata", lambda reply: _record(VideoMetadata, reply)
        ):
            yield found


def read_luma_thumbnails(
    paths: Iterable[str],
    *,
    fps: float,
    size: int,
    n_threads: int,
    limits: MediaLimits | None = None,
    hashed: bool = False,
) -> Iterator[LumaThumbnails | MediaError]:
    """Yield the mean luma of each step of 1 / `fps` seconds of each file.

    Errors state the reason, not the path; `hashed` is as in `read_clips`.
    """
    settings = {"fps": float(fps), "size": int(size)}

    def to_luma(reply: Reply) -> LumaThumbnails:
        luma = np.frombuffer(reply[1], np.uint8).reshape(-1, size, size)
        return LumaThumbnails(luma, float(reply[0]["aspect"]), _digest(reply))

    with _Decoders(n_threads, limits) as decoders:
        for _, found in decoders.ask_for_each(
            paths, "luma", to_luma, settings, hashed=hashed
        ):
            yield found


def read_qualities(
    paths: Iterable[str | None],
    *,
    n_threads: int,
    limits: MediaLimits | None = None,
) -> Iterator[Quality | MediaError]:
    """Measure picture and sound of each file; errors state the reason, not the path."""
    with _Decoders(n_threads, limits) as decoders:
        for _, found in decoders.ask_for_each(
            paths, "quality", lambda reply: _record(Quality, reply)
        ):
            yield found


def _record(kind: type[_X], reply: Reply) -> _X:
    """Return numbers and texts under their names; raise if they are something else."""
    record = kind(**reply[0])
    for name, wanted in get_type_hints(kind).items():
        value = getattr(record, name)
        if get_origin(wanted) is Literal:
            is_sound = value in get_args(wanted)
        else:  # 0 stands for 0.0
            is_sound = isinstance(value, wanted) or (
                type(value) is int and isinstance(float(value), wanted)
            )
        if not is_sound:
            raise TypeError(name)
    return record


def _named(
    found: Iterable[tuple[Source | None, _X | MediaError]],
) -> Iterator[_X | MediaError]:
    """Yield what was found; errors name their source."""
    for source, result in found:
        if isinstance(result, MediaError):
            named = MediaError(f"{printable(source)}: {result}")
            named.__cause__ = result
            yield named
        else:
            yield result


def _digest(reply: Reply) -> bytes | None:
    digests = reply[0].get("digests", [None])
    return None if None in digests else content_key([*map(bytes.fromhex, digests)])


def map_in_order(
    pool: ThreadPoolExecutor,
    function: Callable[[_X], _Y],
    items: Iterable[_X],
    *,
    n_held: int = FILES_IN_MEMORY,
    in_batches: bool = False,
) -> Iterator[_Y]:
    """Yield the results of calls that run side by side, in order.

    At most `n_held` items are taken before their results are. In batches, all of them
    are done before the first is given out, and then the next are taken.
    """
    items = iter(items)
    held: deque[Future[_Y]] = deque()
    while True:
        new = itertools.islice(items, n_held - len(held))
        held.extend(pool.submit(function, item) for item in new)
        if not held:
            return
        _wait(list(held) if in_batches else [held[0]])
        for _ in range(len(held) if in_batches else 1):
            yield held.popleft().result()  # and let go of it


def _wait(futures: list[Future[_Y]]) -> None:
    """Wait, and look up now and then, so that Ctrl-C ends it.

    A signal that comes just before the main thread falls asleep does not wake it.
    """
    while wait(futures, _LOOK_UP_S).not_done:
        pass


class _Decoders:
    """The threads and the worker processes of one call; they end with it."""

    def __init__(self, n_threads: int, limits: MediaLimits | None) -> None:
        self.limits = limits or MediaLimits()
        self._n_held = max(FILES_IN_MEMORY, 2 * n_threads)
        self._pool = ThreadPoolExecutor(n_threads)  # its threads start when needed
        self._here = threading.local()  # `worker`: the one that this thread asks
        # A thread may start a worker just while the caller's leaves and ends them all.
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """End the workers first, so that no thread waits for an answer any longer.

        Else Ctrl-C would last as long as a file that hangs may take.
        """
        self._pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            self._is_over = True
            for worker in self._workers:
                worker.kill()
        self._pool.shutdown()
        for worker in self._workers:
            worker.close()

    def ask_for_each(
        self,
        sources: Iterable[Source | None],
        task: str,
        convert: Callable[[Reply], _Y],
        settings: Message | None = None,
        *,
        hashed: bool = False,
        in_batches: bool = False,
        n_held: int | None = None,
    ) -> Iterator[tuple[Source | None, _Y | MediaError]]:
        """Yield each source with what the reply says, or why it is bad.

        `convert` reads a reply of `perform`, and raises if it is none: a decoder that
        a file has taken over may send anything. `n_held` is of `map_in_order`; None
        is at least `FILES_IN_MEMORY`.
        """
        request = {
            "task": task,
            "settings": settings or {},
            "hashed": hashed,
            "limits": {  # numbers of NumPy are not JSON
                "max_pixels": int(self.limits.max_pixels),
                "max_duration_s": float(self.limits.max_duration_s),
                "max_memory_bytes": int(self.limits.max_memory_bytes),
            },
        }

        def read(source: Source | None) -> tuple[Source | None, _Y | MediaError]:
            try:
                reply = self._read(source, request)
            except MediaError as error:
                return source, error
            try:
                return source, convert(reply)
            except (LookupError, OverflowError, TypeError, ValueError):
                return source, MediaError("crashes the decoder (it answers nonsense).")

        return map_in_order(
            self._pool,
            read,
            sources,
            n_held=n_held or self._n_held,
            in_batches=in_batches,
        )

    def _read(self, source: Source | None, request: Message) -> Reply:
        if source is None:
            raise MediaError("is missing: there is no path.")
        items: list[Message] = []
        contents: list[Buffer] = []
        sources = items_of(source)
        for number, item in enumerate(sources, 1):
            if isinstance(item, Content):
                message, content = item.message()
                items.append(message)
                contents.append(content)
            else:
                with media_errors(number, len(sources)):
                    check_media_file(item)  # what is not there needs no worker
                items.append({"path": absolute(item)})
        request = {**request, "items": items}
        timeout_s = self.limits.timeout_s
        # Pixels need no decoder, which might hang or crash.
        if timeout_s is None or all("shape" in item for item in items):
            try:
                return perform(request, contents)
            except MemoryError as error:
                raise MediaError("needs more memory to decode than is free.") from error
        try:
            return self._worker().ask(request, contents, timeout_s)
        except _CrashError:
            # Once more: the cause may lie elsewhere, in what an earlier file left
            # behind, or in a system out of memory.
            try:
                return self._worker().ask(request, contents, timeout_s)
            except _CrashError as error:
                raise MediaError(str(error)) from error

    def _worker(self) -> "_Worker":
        """Return the worker of this thread, a new one if it has none that lives."""
        worker: _Worker | None = getattr(self._here, "worker", None)
        if worker is not None and worker.is_alive():
            return worker
        with self._lock:
            if self._is_over:  # nobody waits for the answer any longer
                raise MediaError("was not read: the call has ended.")
            if worker is not None:
                self._workers.remove(worker)
            new = _Worker(int(self.limits.max_memory_bytes))
            self._workers.append(new)
        if worker is not None:
            worker.close()
        self._here.worker = new
        new.wait_until_ready()
        return new


class _CrashError(Exception):
    """The worker crashed; the message is what to say of the file."""


class _Worker:
    """One decoder process; one thread asks it, and any may kill it."""

    def __init__(self, max_memory_bytes: int) -> None:
        self._is_late = self._is_killed = False
        self._max_memory_bytes = max_memory_bytes
        # The worker finds what this process finds, also where its path was changed;
        # without -P it would look into the folder of the moment first.
        search_path = os.pathsep.join(str(f) or os.getcwd() for f in sys.path)
        one_thread = {  # each more would reserve memory, which is limited
            "OPENBLAS_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "1",
        }
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _WORKER, str(max_memory_bytes)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # where FFmpeg and a crash would print
                env={**os.environ, "PYTHONPATH": search_path, **one_thread},
            )
        except OSError as error:
            raise _cannot_start(str(error)) from error

    def wait_until_ready(self) -> None:
        """Raise RuntimeError if the process does not start."""
        pipe: Any = self._process.stdout

        def skip_what_libraries_print() -> bool:
            return READY in iter(pipe.readline, b"")

        if not self._within(_START_TIMEOUT_S, skip_what_libraries_print):
            raise _cannot_start(self._cause_of_death())

    def ask(
        self, request: Message, contents: Sequence[Buffer], timeout_s: float
    ) -> Reply:
        """Send a request and wait for the reply, but not longer than `timeout_s`."""
        process: Any = self._process
        n_bytes = [memoryview(content).nbytes for content in contents]
        message = {**request, "give_up_s": timeout_s + _GRACE_S, "n_bytes": n_bytes}

        def send_and_read() -> Reply | None:
            with suppress(OSError):  # a broken pipe: then there may be no reply either
                process.stdin.write(json.dumps(message).encode() + b"\n")
                for content in contents:
                    process.stdin.write(content)
                process.stdin.flush()
            return read_message(process.stdout, self._max_memory_bytes)

        reply = self._within(timeout_s, send_and_read)
        if reply is None:
            if self._is_late:
                raise MediaError(
                    f"does not decode within timeout_s={timeout_s:g} seconds. "
                    "If it is sound, raise MediaLimits.timeout_s."
                )
            raise _CrashError(f"crashes the decoder ({self._cause_of_death()}).")
        header = reply[0]
        if "crash" in header:
            self.kill()
            raise _CrashError(header["crash"])
        if "error" in header:
            raise MediaError(header["error"])
        return reply

    def _within(self, timeout_s: float, read: Callable[[], _Y]) -> _Y:
        """Read from the process, and kill it when it is late: that ends the reading."""
        timer = threading.Timer(timeout_s, self._expire)
        timer.start()
        try:
            return read()
        finally:
            timer.cancel()
            timer.join()

    def _expire(self) -> None:
        self._is_late = True
        self.kill()

    def _cause_of_death(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)  # its pipe has ended, so it is about to
        self.kill()
        code = self._process.wait()
        if self._is_late:
            return "it does not answer"
        return (
            f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        )

    def is_alive(self) -> bool:
        """Tell whether it can take a request."""
        return not self._is_killed and self._process.poll() is None

    def kill(self) -> None:
        """End the process; a thread that waits for it comes back."""
        self._is_killed = True
        self._process.kill()

    def close(self) -> None:
        """Let go of the process, which has been killed."""
        self._process.wait()
        pipes: Any = self._process.stdin, self._process.stdout
        for pipe in pipes:
            with suppress(OSError):  # what was not sent is lost
                pipe.close()


def _cannot_start(reason: str) -> RuntimeError:
    return RuntimeError(
        f"{sys.executable} could not be started to decode media ({reason}). "
        "Pass MediaLimits(timeout_s=None) to decode in this process."
    )
