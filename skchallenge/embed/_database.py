"""The file behind an embedding store: SQLite, opened for the length of one call."""

import errno
import os
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Self

import numpy as np

from skchallenge.embed._records import Vector, checksum, read_records

_APPLICATION_ID = 0x736B6368  # "skch", in the header of the file
_FORMAT = 2  # of the tables and of the records
_INDEX = "CREATE UNIQUE INDEX records_key ON records (key)"
_SCHEMA = (
    "CREATE TABLE records (id INTEGER PRIMARY KEY, key BLOB NOT NULL, "
    "checksum BLOB NOT NULL, vector BLOB NOT NULL)",
    _INDEX,
    "CREATE TABLE files (place TEXT PRIMARY KEY, state TEXT NOT NULL, "
    "digest BLOB NOT NULL, path BLOB NOT NULL)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_FORMAT}",
)
_PATIENCE_S = 60.0  # for another process to finish a write, which takes milliseconds

Put = Callable[[int, Vector], None]

_tallies: dict[str, Counter[str]] = defaultdict(Counter)
_mutex = threading.Lock()
_in_use: Counter[str] = Counter()  # sessions of this process
_forked_in_use: set[str] = set()


class DamageError(OSError):
    """More than single records is damaged."""


class Session:
    """One call's connection to a store.

    Nothing stays open between calls, so threads and pickles need no care, and forks
    only while a session is open: SQLite would take the parent's locks for the child's.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        if self.path in _forked_in_use:
            raise RuntimeError(_FORKED.format(path=path))
        self.connection = connect(self.path)
        with _mutex:
            _in_use[self.path] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.close()
        with _mutex:
            _in_use[self.path] -= 1

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection; commit, or roll back on any exception."""
        with explained(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # a full disk has ended it
                    self.connection.execute("ROLLBACK")
                raise

    def select(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query."""
        with explained(self.path):
            return self.connection.execute(query, values).fetchall()

    def read(self, keys: Sequence[bytes], width: int, put: Put) -> set[int]:
        """Give vectors of `width` numbers to `put`, and tell which keys were there.

        `put` gets the place in `keys` and the vector. A damaged record is dropped, and
        its key was not there.
        """
        places: dict[bytes, list[int]] = defaultdict(list)
        for place, key in enumerate(keys):
            places[key].append(place)
        found: set[int] = set()
        damaged: list[tuple[int, object]] = []
        with (
            explained(self.path),
            closing(read_records(self.connection, list(places), width)) as records,
        ):
            for record in records:
                if record.vector is None:
                    damaged.append((record.number, record.code))
                    continue
                for place in places[record.key]:
                    put(place, record.vector)
                found.update(places[record.key])
        self.drop_records(damaged)
        self.tally(hits=len(found))
        return found

    def write(self, keys: Sequence[bytes], vectors: Sequence[Vector]) -> None:
        """Store vectors in one durable step; the first under a key stays."""
        rows = []
        for key, vector in zip(keys, vectors, strict=True):
            data = np.ascontiguousarray(vector, dtype="<f4").data.cast("B")
            rows.append((key, checksum(key, data), data))
        query = "INSERT OR IGNORE INTO records (key, checksum, vector) VALUES (?, ?, ?)"
        with self.transaction() as connection:
            connection.executemany(query, rows)

    def stored(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of the keys that have a record."""
        query = "SELECT key FROM records WHERE key = ?"
        return {row[0] for key in keys for row in self.select(query, [key])}

    def drop_records(self, records: Sequence[tuple[int, Any]]) -> None:
        """Delete records by id and stored checksum: not what has replaced them."""
        if records:
            try:
                self._delete(records)
            except DamageError:  # of a key, which then differs from the index
                self._rebuild_index()
                self._delete(records)

    def _delete(self, records: Sequence[tuple[int, Any]]) -> None:
        with self.transaction() as connection:
            query = "DELETE FROM records WHERE id = ? AND checksum IS ?"
            connection.executemany(query, records)

    def _rebuild_index(self) -> None:
        with self.transaction() as connection:
            connection.execute("DROP INDEX records_key")
            newest = "SELECT max(id) FROM records GROUP BY key"
            connection.execute(f"DELETE FROM records WHERE id NOT IN ({newest})")
            connection.execute(_INDEX)

    def check_structure(self) -> None:
        """Mend the index; raise an OSError if more than single records is damaged."""
        query = "PRAGMA integrity_check(1)"
        if self.select(query)[0][0] != "ok":
            self._rebuild_index()
            found = self.select(query)[0][0]
            if found != "ok":
                make, text = _EXPLANATIONS[sqlite3.SQLITE_CORRUPT]
                raise make(text.format(path=self.path, error=" ".join(found.split())))

    def shrink(self) -> None:
        """Give the space of dropped records back to the disk."""
        with explained(self.path):  # `execute` would free one page
            self.connection.executescript("PRAGMA incremental_vacuum")
        self.select("PRAGMA wal_checkpoint(TRUNCATE)")

    def tally(self, **counts: int) -> None:
        """Add to what this process has counted for this store."""
        with _mutex:
            _tallies[self.path].update(counts)

    def tallied(self) -> Counter[str]:
        """Return what this process has counted for this store."""
        with _mutex:
            return _tallies[self.path].copy()


def connect(path: str) -> sqlite3.Connection:
    """Open the store at `path`; make it if there is none."""
    _check_place(path)
    with explained(path):
        connection = sqlite3.connect(
            path, _PATIENCE_S, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def _check_place(path: str) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"store={path!r} cannot be made: there is no folder {folder!r}. Make the "
            "folder first, or name another one."
        )
    if os.path.isdir(path):
        raise IsADirectoryError(
            f"store={path!r} must be a file, but is a folder. Name a file in it, such "
            f"as {os.path.join(path, 'embeddings.db')!r}."
        )
    for place in (folder, path):
        if os.path.exists(place) and not os.access(place, os.W_OK):
            raise PermissionError(
                f"store={path!r} cannot be used: {place!r} is not writable. Make it "
                "writable, or copy the store to a folder that is."
            )


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    if _pragma(connection, "schema_version") == 0:
        _create(connection)
    if _pragma(connection, "application_id") != _APPLICATION_ID:
        raise ValueError(_NO_STORE.format(path=path))
    version = _pragma(connection, "user_version")
    if version != _FORMAT:
        raise ValueError(
            f"store={path!r} has format {version}, but this version of skchallenge "
            f"reads format {_FORMAT}. Update skchallenge, or name a new file."
        )
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")  # what was reported survives
    connection.execute("PRAGMA fullfsync = ON")  # on macOS, where fsync does not do
    connection.execute("PRAGMA secure_delete = OFF")  # `prune` would write zeros


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA page_size = 65536")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        if _pragma(connection, "schema_version") == 0:  # not made by another since
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Turn on the write-ahead log; SQLite does not wait for others by itself here."""
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > give_up:
                raise
        time.sleep(0.01)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


_NO_STORE = (
    "store={path!r} is not an embedding store, and is left as it is. Name another file."
)
_FORKED = (
    "store={path!r} was in use when this process was forked, and cannot be used here. "
    "Start worker processes before `transform`, or with the method 'spawn'."
)
_EXPLANATIONS: dict[int, tuple[Callable[[str], Exception], str]] = {
    sqlite3.SQLITE_NOTADB: (ValueError, _NO_STORE),
    sqlite3.SQLITE_CORRUPT: (
        DamageError,
        "store={path!r} is damaged beyond single records ({error}). Move it away, with "
        "the files {path}-wal and {path}-shm, and run again: what it held is embedded "
        "anew.",
    ),
    sqlite3.SQLITE_BUSY: (
        TimeoutError,
        "store={path!r} has been locked by another process for a minute. Is one "
        "stopped, or is the store open in an editor? End it and run again.",
    ),
    sqlite3.SQLITE_FULL: (
        lambda text: OSError(errno.ENOSPC, text),
        "store={path!r} cannot grow: the disk is full. Make room, for instance with "
        "EmbeddingStore.prune, and run again: what was stored is not embedded again.",
    ),
    sqlite3.SQLITE_IOERR: (
        OSError,
        "store={path!r} cannot be read or written ({error}). Keep it on a local disk, "
        "and look whether that disk is well.",
    ),
    sqlite3.SQLITE_READONLY: (
        PermissionError,
        "store={path!r} is not writable ({error}). Make it writable, or copy it to a "
        "folder that is.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        PermissionError,
        "store={path!r} cannot be opened ({error}). Name a file in a folder that is "
        "writable.",
    ),
}


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn SQLite's errors into Python's own, with a remedy."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in _EXPLANATIONS:
            raise
        make, text = _EXPLANATIONS[code]
        raise make(text.format(path=path, error=error)) from error


def _after_fork_in_child() -> None:
    global _mutex
    _mutex = threading.Lock()  # another thread may have held it
    _forked_in_use.update(path for path, n in _in_use.items() if n)
    _in_use.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork_in_child)
