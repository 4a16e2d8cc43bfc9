"""Who is computing what: one lock a key, let go when its process ends."""

import os
import sys
import threading
from collections.abc import Sequence


class Claims:
    """The keys of one store that this process is computing.

    A claim is a lock on one byte of the file ``<store>-lock``, at an offset that the
    key gives. The operating system lets go of it however the process ends, so there is
    no claim of the dead to wait for. Where a file system has no such locks, and on
    Windows, claims hold within the process only: two processes may then compute the
    same thing, and the store keeps the first.

    Closing any descriptor of a file drops all POSIX locks of a process on it. Hence
    one descriptor a process, closed when nothing is claimed.

    Each claim is somebody's, from before its lock is taken: an interrupt may come at
    any time, and what `free_all` did not know of would be claimed without end.
    """

    def __init__(self, path: str) -> None:
        self._path = path + "-lock"
        self._mutex = threading.Lock()
        self._held: dict[bytes, object] = {}  # whose each is
        self._file = -1

    def take(self, keys: Sequence[bytes], owner: object = None) -> list[bool]:
        """Claim for `owner` each key that nobody holds, and tell which."""
        with self._mutex:
            taken = [self._take(key, owner) for key in keys]
            self._close_if_idle()
            return taken

    def free(self, keys: Sequence[bytes], owner: object = None) -> None:
        """Let go of those of the keys that are the owner's; one may be there twice."""
        with self._mutex:
            self._free({key for key in keys if self._is_of(key, owner)})

    def free_all(self, owner: object) -> None:
        """Let go of all that is the owner's."""
        with self._mutex:
            self._free({key for key in self._held if self._is_of(key, owner)})

    def _is_of(self, key: bytes, owner: object) -> bool:
        return key in self._held and self._held[key] is owner

    def _free(self, keys: set[bytes]) -> None:
        for key in keys:
            if self._file >= 0:
                _unlock(self._file, _offset(key))
            del self._held[key]
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if not self._held and self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _take(self, key: bytes, owner: object) -> bool:
        if key in self._held:
            return False
        self._held[key] = owner
        if self._file < 0:
            self._file = _open(self._path)
        if self._file >= 0 and not _lock(self._file, _offset(key)):
            del self._held[key]
            return False
        return True


_CLAIMS: dict[str, Claims] = {}


def claims_of(path: str) -> Claims:
    """Return this process's claims on the store at `path`."""
    return _CLAIMS.setdefault(path, Claims(path))


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # another user's, say: claims hold within this process
        return -1


def _offset(key: bytes) -> int:
    return int.from_bytes(key[:7], "little")  # fits the signed 64 bits of a file size


if sys.platform == "win32":  # pragma: no cover

    def _lock(file: int, offset: int) -> bool:
        return True

    def _unlock(file: int, offset: int) -> None:
        pass

else:
    import fcntl

    def _lock(file: int, offset: int) -> bool:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)
        except (BlockingIOError, PermissionError):  # another process has it
            return False
        except OSError:  # the file system has no locks
            return True
        return True

    def _unlock(file: int, offset: int) -> None:
        try:
            fcntl.lockf(file, fcntl.LOCK_UN, 1, offset)
        except OSError:  # the file system has no locks
            return

    # A child inherits neither the locks nor a usable mutex.
    os.register_at_fork(after_in_child=_CLAIMS.clear)
