"""What identifies an item in a store: its content, and all that shapes its vector."""

import functools
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from skchallenge.embed._database import Session

_QUIET_NS = 2_000_000_000  # the coarsest time stamps, FAT's, count two seconds
_FILES_A_QUERY, _FILES_A_COMMIT = 500, 64


class Stamp(NamedTuple):
    """What changes when a file changes.

    Attributes
    ----------
    place : str
        Device and inode.
    state : str
        Size in bytes, and times of the last change of content and of status, in ns.
    changed_ns : int
        The later of these times.
    """

    place: str
    state: str
    changed_ns: int


class Item(NamedTuple):
    """Something to embed.

    Attributes
    ----------
    name : str
        Path of a file, or a text.
    key : bytes or None
        Under which its vector is stored; None if that cannot be told.
    stamp : Stamp or None
        Of the file when the key was made.
    """

    name: str
    key: bytes | None
    stamp: Stamp | None = None

    def is_unchanged(self) -> bool:
        """Tell whether the file is still the one that the key is of."""
        return self.stamp is None or stamp_of(self.name) == self.stamp


def recipe_of(*parts: object) -> bytes:
    """Return the digest of everything that shapes a vector beside the item itself.

    A number or a string of NumPy, as a search has them, counts as Python's own.
    """
    plain = tuple(p.item() if isinstance(p, np.generic) else p for p in parts)
    return hashlib.sha256(repr(plain).encode("utf-8", "surrogatepass")).digest()


def text_items(session: Session, recipe: bytes, texts: Sequence[str]) -> list[Item]:
    """Return the keys of texts."""
    return [
        Item(text, _key(recipe, text.encode("utf-8", "surrogatepass")))
        for text in texts
    ]


def file_items(session: Session, recipe: bytes, paths: Sequence[str]) -> list[Item]:
    """Return the keys of files, by their content; None for what is no readable file."""
    items = []
    for path, stamp, digest in digest_files(session, paths):
        key = None if digest is None else _key(recipe, digest)
        items.append(Item(path, key, stamp))
    return items


def _key(recipe: bytes, content: bytes) -> bytes:
    return hashlib.sha256(recipe + content).digest()


def digest_files(
    session: Session | None, paths: Sequence[str]
) -> Iterator[tuple[str, Stamp | None, bytes | None]]:
    """Yield each path with the file's stamp and SHA-256.

    The store remembers digests by stamp. A file that was changed within the last two
    seconds is hashed each time: another change might leave the same stamp. Without a
    store, this process remembers some.
    """
    if session is None:
        yield from ((path, *_hash_once(path, stamp_of(path))) for path in paths)
        return
    for start in range(0, len(paths), _FILES_A_QUERY):
        batch = paths[start : start + _FILES_A_QUERY]
        stamps = [stamp_of(path) for path in batch]
        known = _remembered(session, [stamp for stamp in stamps if stamp is not None])
        new = [
            path
            for path, stamp in zip(batch, stamps, strict=True)
            if stamp is not None and stamp not in known
        ]
        hashed = _hash_and_remember(session, new)
        for path, stamp in zip(batch, stamps, strict=True):
            if stamp is None or stamp in known:
                yield path, stamp, known.get(stamp)
            else:
                yield path, *next(hashed)


def _remembered(session: Session, stamps: list[Stamp]) -> dict[Stamp | None, bytes]:
    """Return the digests that the store remembers of files with these stamps."""
    places = [stamp.place for stamp in stamps]
    marks = ",".join("?" * len(places))
    query = f"SELECT place, state, digest FROM files WHERE place IN ({marks})"
    rows = {row[:2]: row[2] for row in session.select(query, places)}
    return {stamp: rows[stamp[:2]] for stamp in stamps if stamp[:2] in rows}


def _hash_and_remember(
    session: Session, paths: list[str]
) -> Iterator[tuple[Stamp | None, bytes | None]]:
    if not paths:
        return
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), _FILES_A_COMMIT):
            batch = paths[start : start + _FILES_A_COMMIT]
            now = time.time_ns()
            found = list(pool.map(hash_file, batch))
            _remember(session, batch, found, now)
            yield from found


def _remember(
    session: Session,
    paths: list[str],
    found: list[tuple[Stamp | None, bytes | None]],
    now: int,
) -> None:
    """Keep the digests of files that had been quiet for a while at the time `now`."""
    rows = [
        (stamp.place, stamp.state, digest, os.fsencode(os.path.abspath(path)))
        for path, (stamp, digest) in zip(paths, found, strict=True)
        if stamp is not None and digest is not None
        if stamp.changed_ns + _QUIET_NS < now
    ]
    if rows:
        with session.transaction() as connection:
            query = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)"
            connection.executemany(query, rows)


def stamp_of(path: str) -> Stamp | None:
    """Return the stamp of a regular file; None if there is none."""
    try:
        return _stamp(os.stat(path))
    except (OSError, ValueError):  # ValueError: a null byte in the name
        return None


def hash_file(path: str) -> tuple[Stamp | None, bytes | None]:
    """Return stamp and SHA-256; no digest if it cannot be read, or is being written."""
    stamp = stamp_of(path)  # first: opening a named pipe would wait for a writer
    if stamp is None:
        return None, None
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            after = _stamp(os.fstat(file.fileno()))
    except OSError:
        return stamp, None
    return stamp, digest if after == stamp else None


@functools.lru_cache(maxsize=64)
def _hash_once(path: str, stamp: Stamp | None) -> tuple[Stamp | None, bytes | None]:
    return hash_file(path)


def _stamp(status: os.stat_result) -> Stamp | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    state = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"
    changed_ns = max(status.st_mtime_ns, status.st_ctime_ns)
    return Stamp(f"{status.st_dev}:{status.st_ino}", state, changed_ns)
