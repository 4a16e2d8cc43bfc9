"""A lock that nobody holds in the child of a fork."""

import os
import threading
from weakref import WeakSet


class ForkSafeLock:
    """A reentrant lock for use in `with`; a fork leaves it to the forking thread only.

    Another thread that holds it is not in the child, and would never let go of it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def free_from_others(self) -> None:
        """Become a new lock if another thread holds this one."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lock = threading.RLock()


_LOCKS: WeakSet[ForkSafeLock] = WeakSet()


def _after_fork_in_child() -> None:
    for lock in _LOCKS:
        lock.free_from_others()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork_in_child)
