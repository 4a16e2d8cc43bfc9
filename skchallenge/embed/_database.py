"""The file behind an embedding store: SQLite, opened for the length of one call."""

import errno
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, Self

import apsw
import numpy as np

from skchallenge._locks import ForkSafeLock
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

_tallies: dict[str, Counter[str]] = defaultdict(Counter)
_mutex = ForkSafeLock()
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
        self._lock = threading.RLock()  # apsw refuses a connection that is in use
        with _mutex:
            _in_use[self.path] += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.close()
        with _mutex:
            _in_use[self.path] -= 1

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """Yield the connection; commit, or roll back on any exception."""
        with self._lock, explained(self.path):
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
        with self._lock, explained(self.path):
            return self.connection.execute(query, values).fetchall()

    def read(self, keys: Sequence[bytes], rows: Sequence[Vector] | Vector) -> set[int]:
        """Fill rows, one for each key, and tell which places have their vectors now.

        A row is float32, contiguous and as wide as the vectors. A damaged record is
        dropped, and counts as missing. The row of a missing one may hold anything.
        """
        places: dict[bytes, list[int]] = defaultdict(list)
        for place, key in enumerate(keys):
            places[key].append(place)
        first_rows = {key: rows[first] for key, (first, *_) in places.items()}
        found: set[int] = set()
        damaged: list[tuple[int, object]] = []
        with (
            self._lock,
            explained(self.path),
            closing(read_records(self.connection, first_rows)) as records,
        ):
            for record in records:
                if not record.is_sound:
                    damaged.append((record.number, record.code))
                    continue
                for place in places[record.key][1:]:
                    rows[place][:] = first_rows[record.key]
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
                make, text = _EXPLANATIONS[apsw.CorruptError]
                raise make(text.format(path=self.path, error=" ".join(found.split())))

    def shrink(self) -> None:
        """Give the space of dropped records back to the disk."""
        self.select("PRAGMA incremental_vacuum")
        self.select("PRAGMA wal_checkpoint(TRUNCATE)")

    def tally(self, **counts: int) -> None:
        """Add to what this process has counted for this store."""
        with _mutex:
            _tallies[self.path].update(counts)

    def tallied(self) -> Counter[str]:
        """Return what this process has counted for this store."""
        with _mutex:
            return _tallies[self.path].copy()


def connect(path: str) -> apsw.Connection:
    """Open the store at `path`; make it if there is none."""
    _check_place(path)
    with explained(path):
        connection = apsw.Connection(path)
        try:
            connection.set_busy_timeout(round(1000 * _PATIENCE_S))
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


def _prepare(connection: apsw.Connection, path: str) -> None:
    if connection.pragma("schema_version") == 0:
        _create(connection)
    if connection.pragma("application_id") != _APPLICATION_ID:
        raise ValueError(_NO_STORE.format(path=path))
    version = connection.pragma("user_version")
    if version != _FORMAT:
        raise ValueError(
            f"store={path!r} has format {version}, but this version of skchallenge "
            f"reads format {_FORMAT}. Update skchallenge, or name a new file."
        )
    _switch_to_wal(connection)
    connection.pragma("synchronous", "FULL")  # what was reported survives
    connection.pragma("fullfsync", "ON")  # on macOS, where fsync does not do
    connection.pragma("secure_delete", "OFF")  # `prune` would write zeros


def _create(connection: apsw.Connection) -> None:
    connection.pragma("page_size", 65536)
    connection.pragma("auto_vacuum", "INCREMENTAL")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        if connection.pragma("schema_version") == 0:  # not made by another since
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _switch_to_wal(connection: apsw.Connection) -> None:
    """Turn on the write-ahead log; SQLite does not wait for others by itself here."""
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            connection.pragma("journal_mode", "WAL")
            return
        except apsw.BusyError:
            if time.monotonic() > give_up:
                raise
        time.sleep(0.01)


_NO_STORE = (
    "store={path!r} is not an embedding store, and is left as it is. Name another file."
)
_FORKED = (
    "store={path!r} was in use when this process was forked, and cannot be used here. "
    "Start worker processes before `transform`, or with the method 'spawn'."
)
_EXPLANATIONS: dict[type[apsw.Error], tuple[Callable[[str], Exception], str]] = {
    apsw.NotADBError: (ValueError, _NO_STORE),
    apsw.CorruptError: (
        DamageError,
        "store={path!r} is damaged beyond single records ({error}). Move it away, with "
        "the files {path}-wal and {path}-shm, and run again: what it held is embedded "
        "anew.",
    ),
    apsw.BusyError: (
        TimeoutError,
        "store={path!r} has been locked by another process for a minute. Is one "
        "stopped, or is the store open in an editor? End it and run again.",
    ),
    apsw.FullError: (
        lambda text: OSError(errno.ENOSPC, text),
        "store={path!r} cannot grow: the disk is full. Make room, for instance with "
        "EmbeddingStore.prune, and run again: what was stored is not embedded again.",
    ),
    apsw.IOError: (
        OSError,
        "store={path!r} cannot be read or written ({error}). Keep it on a local disk, "
        "and look whether that disk is well.",
    ),
    apsw.ReadOnlyError: (
        PermissionError,
        "store={path!r} is not writable ({error}). Make it writable, or copy it to a "
        "folder that is.",
    ),
    apsw.CantOpenError: (
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
    except apsw.Error as error:
        if type(error) not in _EXPLANATIONS:
            raise
        make, text = _EXPLANATIONS[type(error)]
        raise make(text.format(path=path, error=error)) from error


def _after_fork_in_child() -> None:
    _forked_in_use.update(path for path, n in _in_use.items() if n)
    _in_use.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork_in_child)
