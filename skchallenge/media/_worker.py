"""Processes that hang or crash in place of this one."""

import atexit
import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, BinaryIO, TypeVar

Message = dict[str, Any]
Bytes = bytes | bytearray | memoryview
Reply = tuple[Message, Bytes]
_X = TypeVar("_X")
_Y = TypeVar("_Y")

_PROGRAM = """
import sys
sys.path[:] = {search_path!r}
from skchallenge.media._tasks import answer
from skchallenge.media._worker import serve
serve(answer, sys.stdin.buffer, sys.stdout.buffer)
"""
_START_TIMEOUT_S = 60.0
LOOK_UP_S = 0.5  # while waiting, for a signal that did not wake
_GRACE_S = 30.0  # after which a worker that hangs ends by itself, if nobody ends it


def absolute(path: str) -> str:
    """Return what a path means here, for another process may be in another folder.

    `os.path.abspath` would drop "..", which is wrong behind a symbolic link.
    """
    is_bound = not path or os.path.isabs(path)
    return path if is_bound else os.path.join(os.getcwd(), path)


class OverdueError(Exception):
    """The worker had to be ended, for it was not ready in time."""


class CrashError(Exception):
    """The worker ended or raised an error; the message says how."""


def ask(request: Message, timeout_s: float) -> Reply:
    """Have a worker process answer; threads may ask side by side.

    Workers are kept for the next request. A request that ends its worker is tried
    once more, as the cause may lie elsewhere: in what an earlier file left
    behind, or in a system out of memory.

    Raises
    ------
    OverdueError
        If there is no answer in time.
    CrashError
        If the request ended two workers.
    RuntimeError
        If no worker can be started.
    """
    try:
        return _ask_once(request, timeout_s)
    except CrashError:
        return _ask_once(request, timeout_s)


def _ask_once(request: Message, timeout_s: float) -> Reply:
    call = getattr(_here, "call", None) or _Call()
    worker = _take_idle() or Worker()
    try:
        call.take(worker)
        reply = worker.ask(request, timeout_s)
    except BaseException:
        worker.end()
        raise
    finally:
        call.give_back(worker)
    _idle.append(worker)
    return reply


class _Call:
    """The workers that the threads of one call wait for."""

    def __init__(self) -> None:
        self.asked: set[Worker] = set()
        self.is_left = False

    def take(self, worker: "Worker") -> None:
        """Note whom a thread asks; raise if nobody waits for it any longer."""
        with _handing_over:
            if self.is_left:  # while the worker started
                raise OverdueError("nobody waits for the answer")
            self.asked.add(worker)

    def give_back(self, worker: "Worker") -> None:
        """Leave the worker to other calls."""
        with _handing_over:
            self.asked.discard(worker)

    def leave(self) -> None:
        """End the workers that are asked now, but in a fork not the parent's."""
        with _handing_over:
            self.is_left = True
            for worker in self.asked:
                if worker.is_mine():
                    worker.expire()


@contextlib.contextmanager
def asking_threads(n_threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield threads that may ask; who leaves early waits for no answer.

    Else Ctrl-C would last as long as a file that hangs may take.
    """
    call = _Call()
    pool = ThreadPoolExecutor(
        n_threads, initializer=lambda: setattr(_here, "call", call)
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        call.leave()
        pool.shutdown()


def map_in_order(
    pool: ThreadPoolExecutor, function: Callable[[_X], _Y], items: Iterable[_X]
) -> Iterator[_Y]:
    """Yield the results of calls that run side by side; Ctrl-C ends the waiting."""
    futures = deque(pool.submit(function, item) for item in items)
    while futures:
        yield result_of(futures.popleft())  # and let go of it


def result_of(future: Future[_Y]) -> _Y:
    """Wait for a result, and look up now and then.

    A signal that comes just before the main thread falls asleep does not wake it.
    """
    while not future.done():
        wait([future], LOOK_UP_S)
    return future.result()


def _start() -> subprocess.Popen[bytes]:
    search_path = [str(folder) for folder in sys.path]  # some put a Path into it
    program = _PROGRAM.format(search_path=search_path)
    with _starting:
        return subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # where FFmpeg and a crash would print
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )


class Worker:
    """One process that answers one request at a time."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._is_overdue = False
        try:
            self._process = _start()
            self._requests: Any = self._process.stdin
            self._replies: Any = self._process.stdout
            self._receive(_START_TIMEOUT_S)
        except (CrashError, OverdueError, OSError) as error:
            if hasattr(self, "_replies"):
                self.end()
            raise RuntimeError(
                f"{sys.executable} could not be started to decode media ({error}). "
                "Pass MediaLimits(timeout_s=None) to decode in this process."
            ) from error

    def ask(self, request: Message, timeout_s: float) -> Reply:
        """Send a request and wait for the reply, but not longer than `timeout_s`."""
        with contextlib.suppress(OSError):  # broken: then there is no reply either
            message = {**request, "give_up_s": timeout_s + _GRACE_S}
            self._requests.write(json.dumps(message).encode() + b"\n")
            self._requests.flush()
        header, payload = self._receive(timeout_s)
        if "raised" in header:
            raise CrashError(header["raised"])
        return header, payload

    def _receive(self, timeout_s: float) -> Reply:
        timer = threading.Timer(timeout_s, self.expire)
        timer.start()
        try:
            reply = _read_message(self._replies)
        finally:
            timer.cancel()
            timer.join()
        if reply is not None:
            return reply
        if self._is_overdue:
            raise OverdueError(f"no answer in {timeout_s:g} s")
        raise CrashError(_cause_of_death(self._process.wait()))

    def expire(self) -> None:
        """End the process, as one that is not ready in time."""
        self._is_overdue = True
        self._process.kill()

    def is_mine(self) -> bool:
        """Tell whether this process started the worker: a fork must not use it."""
        return self._owner == os.getpid()

    def is_alive(self) -> bool:
        """Tell whether it can take a request."""
        return not self._is_overdue and self._process.poll() is None

    def end(self) -> None:
        """End the process, or in a fork only let go of it."""
        if self.is_mine():
            self._process.kill()
            self._process.wait()
        else:
            self._process.returncode = 0  # or its finalizer would complain
        for pipe in (self._requests, self._replies):
            with contextlib.suppress(OSError):  # what was not sent is lost
                pipe.close()


_idle: list[Worker] = []
_here = threading.local()  # its `call` is the one that a thread works for
_handing_over = threading.RLock()
# A fork in the midst of a start would hold the worker's end of a pipe open, and nobody
# would see that the worker has ended.
_starting = threading.RLock()


def _take_idle() -> Worker | None:
    while _idle:
        try:
            worker = _idle.pop()
        except IndexError:  # another thread was faster
            break
        if worker.is_mine() and worker.is_alive():
            return worker
        worker.end()
    return None


def _before_fork() -> None:
    _starting.acquire()
    _handing_over.acquire()


def _after_fork() -> None:
    for lock in (_handing_over, _starting):
        with contextlib.suppress(RuntimeError):  # Ctrl-C came before it was taken
            lock.release()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork,
    )


@atexit.register
def end_workers() -> None:
    """End all idle workers; new ones start when needed."""
    while _idle:
        _idle.pop().end()


def serve(
    answer: Callable[[Message], Reply], requests: BinaryIO, replies: BinaryIO
) -> None:
    """Answer requests until there are no more: the worker's side.

    Messages are lines of JSON, and bytes after them: unpickling would run what a
    decoder that was taken over by a file sends.
    """
    with contextlib.suppress(ValueError):  # not the main thread of its process
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller
    _write_message(replies, {}, b"")  # ready
    for line in requests:
        request = json.loads(line)
        # The caller may have been killed. This needs no lock that a decoder may hold.
        faulthandler.dump_traceback_later(request.pop("give_up_s"), exit=True)
        try:
            reply = answer(request)
        except Exception as error:  # of any kind: the caller must hear of it
            reply = {"raised": f"{type(error).__name__}: {error}"}, b""
        faulthandler.cancel_dump_traceback_later()
        _write_message(replies, *reply)


def _write_message(pipe: BinaryIO, header: Message, payload: Bytes) -> None:
    line = json.dumps({**header, "n_bytes": len(payload)})
    pipe.write(line.encode() + b"\n")
    pipe.write(payload)
    pipe.flush()


def _read_message(pipe: BinaryIO) -> Reply | None:
    """Return what `_write_message` wrote, or None if it was cut short."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        return None
    header = json.loads(line)
    payload = bytearray(header.pop("n_bytes"))
    n_read = pipe.readinto(payload)  # type: ignore[attr-defined]  # buffered: it has
    return (header, payload) if n_read == len(payload) else None


def _cause_of_death(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}"
