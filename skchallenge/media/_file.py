"""Regular files: their state, their SHA-256, and opening them without surprises."""

import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, NamedTuple

from skchallenge.exceptions import MediaError

_CHUNK_BYTES = 2**20  # hashed in a millisecond or two, so that Ctrl-C is prompt


class FileStat(NamedTuple):
    """What changes when a file changes.

    Attributes
    ----------
    device, inode : int
        Which file it is, whatever its name.
    size : int
        Bytes.
    mtime_ns, ctime_ns : int
        When its content, and its content or status, last changed. A program can set
        the first back, not the second.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileStat":
        """Keep of the system's answer what counts."""
        return cls(
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )


def file_stat(path: str) -> FileStat | None:
    """Return the state of a regular file; None if there is none."""
    with suppress(OSError, ValueError):  # ValueError: a null byte in the name
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode):
            return FileStat.of(status)
    return None


def absolute(path: str) -> str:
    """Return what a path means here, for another process may be in another folder.

    `os.path.abspath` would drop "..", which is wrong behind a symbolic link.
    """
    is_bound = not path or os.path.isabs(path)
    return path if is_bound else os.path.join(os.getcwd(), path)


def check_media_file(path: str) -> None:
    """Raise `MediaError` if there is no regular file with content at `path`."""
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
def open_media_file(path: str) -> Iterator[BinaryIO]:
    """Open a regular file to be read; raise `MediaError` if it cannot be."""
    check_media_file(path)
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  # see below
    except OSError as error:
        raise MediaError(f"cannot be opened ({error.strerror}).") from error
    with file:
        if not is_regular(file):  # the name has become another file's since the check
            raise MediaError("is not a regular file.")
        yield file


def is_regular(file: BinaryIO) -> bool:
    """Tell whether an open file is a regular one."""
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def stat_of_open(file: BinaryIO) -> FileStat:
    """Return the state of an open file."""
    return FileStat.of(os.fstat(file.fileno()))


def hash_file(
    path: str, timeout_s: float | None, *, stop: threading.Event | None = None
) -> tuple[FileStat | None, bytes | None]:
    """Return the state of a file, and the SHA-256 of what it holds.

    Without a digest, it cannot be read or is being written; without a state, there is
    no regular file.

    Parameters
    ----------
    path : str
    timeout_s : float or None
        Seconds after which to give up.
    stop : Event or None, default=None
        Where files are hashed in threads, what the caller sets when it leaves early:
        Ctrl-C reaches the main thread only.

    Raises
    ------
    MediaError
        If the file cannot be hashed in time; states the reason, not the path.
    """
    found = file_stat(path)
    if found is None:  # opening a device may do things
        return None, None
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not is_regular(file):
                return None, None
            before = stat_of_open(file)
            digest = hash_open(file, timeout_s, stop)
            after = stat_of_open(file)
    except OSError:
        return found, None
    return before, digest if before == after else None


def hash_open(
    file: BinaryIO, timeout_s: float | None, stop: threading.Event | None = None
) -> bytes | None:
    """Return the SHA-256 of an open file, None if told to stop."""
    give_up = None if timeout_s is None else time.monotonic() + timeout_s
    sha256, chunk = hashlib.sha256(), memoryview(bytearray(_CHUNK_BYTES))
    file.seek(0)
    while n_read := file.readinto(chunk):  # type: ignore[attr-defined]  # it has
        sha256.update(chunk[:n_read])
        if stop is not None and stop.is_set():
            return None
        if give_up is not None and time.monotonic() > give_up:
            raise MediaError(
                f"is not hashed within timeout_s={timeout_s:g} seconds. "
                "If it is sound, raise MediaLimits.timeout_s."
            )
    return sha256.digest()


def _without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe put in its place would wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # not on Windows
