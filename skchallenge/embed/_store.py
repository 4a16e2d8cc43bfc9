"""Embeddings that are there already: one SQLite file, used by many processes."""

import errno
import hashlib
import html
import os
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from numbers import Integral
from typing import Any, Self, overload

import xxhash
from filelock import FileLock, Timeout
from joblib.parallel import get_active_backend

from skchallenge._table import describe, is_missing, printable
from skchallenge.exceptions import MediaError
from skchallenge.media._file import FileStat, file_stat, hash_file
from skchallenge.media._source import (
    Content,
    Source,
    content_key,
    items_of,
    read_source,
)

_APPLICATION_ID = 0x736B6368  # "skch", in the header of the file
_FORMAT = 4  # of the tables, the keys and the records
_SCHEMA = (
    "CREATE TABLE records (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, "
    "checksum BLOB NOT NULL, data BLOB NOT NULL)",
    "CREATE TABLE files (inode TEXT PRIMARY KEY, state TEXT NOT NULL, "
    "digest BLOB NOT NULL, path BLOB NOT NULL) WITHOUT ROWID",
)
_OWN_FILES = ("", "-wal", "-shm", "-journal", "-lock")  # after the path of the store
_BUSY_S = 60.0  # for another process to finish one commit, which takes milliseconds
_LOCK_SLICE_S = 0.5  # between looks for Ctrl-C while another process computes
_QUIET_NS = 2_000_000_000  # the coarsest time stamps, FAT's, count two seconds
_KEYS_A_QUERY = 500
_RECORDS_A_QUERY = 1000

Data = bytes | memoryview

_counts: dict[str, Counter[str]] = defaultdict(Counter)  # of this process, by path


class EmbeddingStore:
    """Vectors that were computed before, in one file.

    Pass it, or its path, as `store` of an embedder: what the store has is read, and
    only the rest is computed. Many processes may use one store at the same time. While
    one computes, others that lack vectors wait for it and then read what it stored.

    Parameters
    ----------
    path : str or path-like
        The file; made when first used. Its folder must exist. Beside it, while it is
        in use, are helpers that end in ``-wal``, ``-shm`` and ``-lock``; the last one
        stays, and is empty.

    Attributes
    ----------
    path : str
        The absolute path.

    See Also
    --------
    VideoFrameEmbedder : Takes a store.
    CaptionEmbedder : Takes a store.

    Notes
    -----
    **What makes a record.** A vector is stored under the SHA-256 of the content of the
    media file, or of the text; of the model, that is its weights, tokenizer and
    structure; and of every parameter that shapes the vector: `n_frames`, `image_size`,
    `pooling`, `max_length`, and the precision that ``"auto"`` stands for. So file names
    play no part, a file under two names is embedded once, and two models never share a
    vector. The batch size, `compile`, the device and the number of threads move one
    by no more than rounding and are left out: what a server has embedded serves a
    laptop of the same precision. Only bfloat16 by OpenVINO is kept apart, which rounds
    elsewhere.

    **Memory of files.** A file's SHA-256 is remembered by device, inode, size and times
    of modification, and only once these are two seconds old. `verify` hashes again.

    **Durability.** SQLite with a write-ahead log; every few items or seconds are one
    synchronous commit. After a kill or a loss of power, at most the batches in flight
    are computed again. A checksum (XXH3) guards each record; a damaged one counts as
    missing, is computed again and replaced. Damage of the tables themselves is an
    `OSError` that says what to do.

    **Forgetting.** `forget` drops what is stored of a video or a text, by every model,
    and leaves nothing of it in the file.

    **A store is data.** Nothing in the file is ever unpickled, and a file whose schema
    is not that of a store (one with triggers or views, say) is refused.

    **One at a time computes.** A file lock (``-lock``), which the operating system
    frees however its process ends, is held while vectors are computed. Reading needs
    no lock. Give jobs that shall compute side by side a store each.

    **Copies.** `sklearn.base.clone`, `copy.deepcopy` and `copy.copy` return the store
    itself, and it pickles as its path. It is opened for the length of a call only:
    there is nothing to close, and threads and processes need no care. What is not
    supported is a fork in the midst of such a call. Keep the store on a local disk;
    SQLite is not safe on network file systems. Where it lies among the media, its own
    files count as bad ones, and are not opened.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from torch import nn
    >>> from skchallenge.embed import EmbeddingStore, VideoFrameEmbedder
    >>> def mean_colour():
    ...     return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "cover.png"
    ...     Image.new("RGB", (64, 48), "white").save(path)
    ...     store = EmbeddingStore(Path(folder) / "embeddings.db")
    ...     embedder = VideoFrameEmbedder(mean_colour, n_frames=2, store=store)
    ...     cold = embedder.fit_transform([path])
    ...     warm = embedder.transform([path])
    ...     len(store), (warm == cold).all(), store.stats()["hits"]
    (1, np.True_, 1)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                f"path must be a string or os.PathLike, got {type(path).__name__}. "
                "Name a file such as 'embeddings.db'."
            )
        self.path = os.path.abspath(os.fsdecode(path))

    def __len__(self) -> int:
        with open_store(self) as session:
            return session.select("SELECT count(*) FROM records")[0][0]

    def __bool__(self) -> bool:
        return True  # an empty store is still a store

    def stats(self) -> dict[str, int]:
        """Return the size of the store, and how often this process has used it.

        Returns
        -------
        stats : dict
            ``"records"``; ``"bytes"`` of the file, with space that waits to be used
            again; ``"hits"`` and ``"misses"``, the items that this process has read
            and has computed.
        """
        with open_store(self) as session:
            counts = session.counts
            return {
                "records": session.select("SELECT count(*) FROM records")[0][0],
                "bytes": session.pragma("page_count") * session.pragma("page_size"),
                "hits": counts["hits"],
                "misses": counts["misses"],
            }

    def verify(self) -> dict[str, int]:
        """Check every record, and hash every remembered file again.

        Damaged records, and remembered files that are gone or have changed, are
        dropped. Their vectors are computed again when next needed.

        Returns
        -------
        report : dict
            ``"records"`` that are sound; ``"damaged"`` ones, now dropped; ``"files"``
            whose remembered digest is right; ``"changed"`` ones whose content differs
            although size and times do not, now forgotten. Files that are gone or were
            openly changed count as neither. A clean store has no ``"damaged"`` and no
            ``"changed"`` ones.

        Raises
        ------
        OSError
            If more than single records is damaged.
        """
        with open_store(self) as session:
            found = session.select("PRAGMA integrity_check(1)")[0][0]
            if found != "ok":
                error = " ".join(found.split())  # of several lines
                raise OSError(_DAMAGED.format(path=session.path, error=error))
            sound, damaged = _verify_records(session)
            right, changed = _verify_files(session)
        return {
            "records": sound,
            "damaged": damaged,
            "files": right,
            "changed": changed,
        }

    def prune(self, max_bytes: int) -> int:
        """Drop the oldest records until the file is no larger than `max_bytes`.

        Oldest by time of writing: to know when a record was last read, every reading
        would have to write.

        Parameters
        ----------
        max_bytes : int
            Size of the file, in bytes. An empty store has about half a million.

        Returns
        -------
        n_dropped : int
            Records that were dropped.

        Raises
        ------
        ValueError
            If `max_bytes` is no integer of at least 0.
        """
        is_integer = isinstance(max_bytes, Integral) and not isinstance(max_bytes, bool)
        if not is_integer or max_bytes < 0:
            raise ValueError(
                f"max_bytes must be an integer of at least 0, such as 20 * 10**9, got "
                f"{max_bytes!r}."
            )
        n_dropped = 0
        with open_store(self) as session:
            while True:
                pages = session.pragma("page_count") - session.pragma("freelist_count")
                excess = pages * session.pragma("page_size") - int(max_bytes)
                oldest = []
                query = "SELECT id, length(data) FROM records ORDER BY id LIMIT ?"
                for number, n_bytes in session.select(query, [_RECORDS_A_QUERY]):
                    if excess <= 0:
                        break
                    oldest.append((number,))
                    excess -= n_bytes
                if not oldest:
                    break
                with session.transaction() as connection:
                    connection.executemany("DELETE FROM records WHERE id = ?", oldest)
                n_dropped += len(oldest)
            with _explained(session.path):
                # As a script: `execute` stops it after the first page.
                session.connection.executescript("PRAGMA incremental_vacuum")
            session.select("PRAGMA wal_checkpoint(TRUNCATE)")
        return n_dropped

    def forget(self, media: Iterable[Any] = (), *, texts: Iterable[Any] = ()) -> int:
        """Drop all that is stored of some media and texts, whatever embedded it.

        Nothing of it is left in the file: what is deleted is overwritten, and the file
        is written anew, which takes the time of a copy.

        Parameters
        ----------
        media : iterable, default=()
            Files and pictures, as an embedder takes them: paths, bytes, images, and
            lists of them, which are one item each. Missing values are passed over. A
            file that is gone is known as long as the store remembers its path.
        texts : iterable of str, default=()
            Captions, exactly as they were embedded.

        Returns
        -------
        n_dropped : int
            Records that were dropped; none of a medium or text that was never stored.

        Raises
        ------
        OSError
            If others use the store for a minute, so that old pages cannot be cleaned.
            The records are gone then; run again for the pages.
        TypeError
            If `media` or `texts` is one path or text, or holds something else.
        ValueError
            If a file is gone and its content cannot be told. Nothing is dropped then.

        See Also
        --------
        skchallenge.VideoCatalog.without_users : The same for a catalog.

        Notes
        -----
        Copies of the file, backups, and what a disk keeps of deleted blocks are out of
        reach. Keys are hashes: who holds a video or a caption can tell by a copy of the
        store whether it was there.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from torch import nn
        >>> from skchallenge.embed import EmbeddingStore, VideoFrameEmbedder
        >>> def mean_colour():
        ...     return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "cover.png"
        ...     Image.new("RGB", (64, 48), "white").save(path)
        ...     store = EmbeddingStore(Path(folder) / "embeddings.db")
        ...     model = VideoFrameEmbedder(mean_colour, n_frames=2, store=store)
        ...     _ = model.fit_transform([path])
        ...     _ = model.set_params(n_frames=3).fit_transform([path])
        ...     store.forget([path]), len(store)
        (2, 0)
        """
        captions = list(_items("texts", texts))
        sources = [read_source(item) for item in _items("media", media)]
        with open_store(self) as session, session.lock():
            contents = [_text_content(c) for c in captions if not is_missing(c)]
            digests = [_source_digests(session, s) for s in sources if s is not None]
            contents += [content_key(d) for d in digests]
            session.select("PRAGMA secure_delete = ON")
            n_dropped = 0
            with session.transaction() as connection:
                for half in map(content_half, contents):
                    query = "DELETE FROM records WHERE key BETWEEN ? AND ?"
                    ends = (half, half + b"\xff" * 16)
                    n_dropped += connection.execute(query, ends).rowcount
                query = "DELETE FROM files WHERE digest = ?"
                files = [(digest,) for found in digests for digest in found]
                connection.executemany(query, files)
            session.select("VACUUM")  # pages that were freed before
            if session.select("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
                raise TimeoutError(
                    f"store={session.path!r} is in use, and pages of what was dropped "
                    "may still be in its file. End the others and run again."
                )
        return n_dropped

    def __repr__(self) -> str:
        return f"EmbeddingStore({self.path!r})"

    def _repr_html_(self) -> str:
        # Looked at, not opened: to show a store makes no file, and waits for nobody.
        is_there = os.path.isfile(self.path)
        size = f"{os.path.getsize(self.path):,} bytes" if is_there else "not made yet"
        return f"<code>{html.escape(repr(self))}</code>, {size}"

    def __sklearn_clone__(self) -> Self:
        return self

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> tuple[type["EmbeddingStore"], tuple[str]]:
        return EmbeddingStore, (self.path,)


def content_half(content: bytes) -> bytes:
    """Return the first half of the keys of an item, whatever the model."""
    return hashlib.sha256(content).digest()[:16]


def _items(name: str, items: Iterable[Any]) -> Iterable[Any]:
    if isinstance(items, str | bytes | os.PathLike) or hasattr(items, "columns"):
        raise TypeError(f"{name} must be a list, got {describe(items)}.")
    return items


def _text_content(text: Any) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"texts must hold texts, got {describe(text)}.")
    return text.encode("utf-8", "surrogatepass")


def _source_digests(session: "Session", source: Source) -> list[bytes]:
    """Return the digests of a source's items; of files that are gone, remembered ones.

    Raises
    ------
    ValueError
        If one cannot be told.
    """
    digests = []
    for item in items_of(source):
        if isinstance(item, Content):
            digests.append(item.digest)
            continue
        ((_, digest),) = session.digests([item], None)
        if not isinstance(digest, bytes):
            query = "SELECT digest FROM files WHERE path = ?"
            known = session.select(query, [os.fsencode(os.path.abspath(item))])
            digest = known[0][0] if known else None
        if not isinstance(digest, bytes):
            raise ValueError(
                f"media must be there to be forgotten, for a store knows them by their "
                f"content: {printable(item)} cannot be read. Nothing was dropped."
            )
        digests.append(digest)
    return digests


StoreLike = str | os.PathLike[str] | EmbeddingStore | None


def as_store(store: object) -> EmbeddingStore | None:
    """Return what stands for the parameter `store` of an embedder."""
    if store is None or isinstance(store, EmbeddingStore):
        return store
    if isinstance(store, str | os.PathLike):
        return EmbeddingStore(store)
    raise TypeError(
        f"store must be None, a path or an EmbeddingStore, got {store!r}. Name a file "
        "such as 'embeddings.db'."
    )


def check_store(store: object) -> None:
    """Raise unless `store` is None or can be used; make it if there is none."""
    checked = as_store(store)
    if checked is not None:
        with open_store(checked):
            pass


class Session:
    """One call's connection to a store; used by the thread that opened it."""

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection

    @property
    def counts(self) -> Counter[str]:
        """Items that this process has read and computed, as hits and misses."""
        return _counts[self.path]

    def select(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query."""
        with _explained(self.path):
            return self.connection.execute(query, values).fetchall()

    def pragma(self, name: str) -> int:
        """Return the value of a pragma that is a number."""
        return self.select(f"PRAGMA {name}")[0][0]

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection; commit, or roll back on any exception."""
        with _explained(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # a full disk has ended it
                    self.connection.execute("ROLLBACK")
                raise

    def lock(self) -> AbstractContextManager[None]:
        """Return a context in which no other process or thread computes."""
        return _computing(self.path)

    def read(self, keys: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Yield each distinct key that has a sound record, with its data."""
        wanted = list(dict.fromkeys(keys))
        for start in range(0, len(wanted), _KEYS_A_QUERY):
            part = wanted[start : start + _KEYS_A_QUERY]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, checksum, data FROM records WHERE key IN ({marks})"
            with _explained(self.path):
                for key, code, data in self.connection.execute(query, part):
                    if _is_sound(key, code, data):
                        yield key, data

    def write(self, records: Iterable[tuple[bytes, Data]]) -> None:
        """Store data under keys in one durable step; damaged records are replaced."""
        rows = [(key, _checksum(key, data), data) for key, data in records]
        query = "INSERT OR REPLACE INTO records (key, checksum, data) VALUES (?, ?, ?)"
        with self.transaction() as connection:
            connection.executemany(query, rows)

    def digests(
        self, paths: Sequence[str], timeout_s: float | None
    ) -> Generator[tuple[str, bytes | MediaError | None], None, None]:
        """Yield each path with the SHA-256 of its file, or why it must not be opened.

        Digests are remembered by inode and state. A file that was changed within the
        last two seconds is hashed each time: another change might leave the same
        state. None stands for what cannot be read, or is being written.
        """
        own = self._own_inodes()
        for start in range(0, len(paths), _KEYS_A_QUERY):
            part = paths[start : start + _KEYS_A_QUERY]
            rows = [_file_row(file_stat(path)) for path in part]
            inodes = [row[0] for row in rows if row is not None]
            marks = ",".join("?" * len(inodes))
            query = f"SELECT inode, state, digest FROM files WHERE inode IN ({marks})"
            known = {row[:2]: row[2] for row in self.select(query, inodes)}
            learnt: list[tuple[str, str, bytes, bytes]] = []
            try:
                for path, row in zip(part, rows, strict=True):
                    if row is None:
                        yield path, None
                    elif row[0] in own:
                        yield path, MediaError("is a file of the store.")
                    elif row in known:
                        yield path, known[row]
                    else:
                        yield path, _hash_and_learn(path, timeout_s, learnt)
            finally:
                if learnt:
                    with self.transaction() as connection:
                        query = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)"
                        connection.executemany(query, learnt)

    def _own_inodes(self) -> set[str]:
        """Return the inodes of the store's own files, which nobody may open.

        To close one drops all POSIX locks that this process has on it, SQLite's among
        them: other processes would then write over what is written here.
        """
        rows = (_file_row(file_stat(self.path + suffix)) for suffix in _OWN_FILES)
        return {row[0] for row in rows if row is not None}


@contextmanager
def open_store(store: EmbeddingStore) -> Iterator[Session]:
    """Open a store for the length of a call; make it if there is none.

    Raises
    ------
    OSError
        If it cannot be made, opened, read or written; the message has the remedy.
    ValueError
        If the file is something else, or of another version.
    """
    path = os.path.realpath(store.path)
    _check_place(path)
    with _explained(path):
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        with _explained(path):
            # First of all: no function that a stranger's schema names may run.
            connection.execute("PRAGMA trusted_schema = OFF")
            if _is_new(connection):
                with _computing(path):  # two processes must not both make it
                    if _is_new(connection):
                        _create(connection)
            _check_schema(connection, path)
            connection.execute("PRAGMA synchronous = FULL")  # what is reported survives
            connection.execute("PRAGMA fullfsync = ON")  # on macOS, fsync does not do
        yield Session(path, connection)
    finally:
        connection.close()


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


def _is_new(connection: sqlite3.Connection) -> bool:
    return connection.execute("PRAGMA schema_version").fetchone()[0] == 0


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA page_size = 65536")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")  # the file remembers it
    connection.execute("BEGIN EXCLUSIVE")
    try:
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_FORMAT}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _check_schema(connection: sqlite3.Connection, path: str) -> None:
    """Raise unless the file is a store of this format, and nothing beside that."""
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise ValueError(_NO_STORE.format(path=path))
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != _FORMAT:
        raise ValueError(
            f"store={path!r} has format {version}, but this version of skchallenge "
            f"reads format {_FORMAT}. Name a new file, or use the version that made it."
        )
    query = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"
    if {row[0] for row in connection.execute(query)} != set(_SCHEMA):
        raise ValueError(
            f"store={path!r} has other tables, triggers or views than an embedding "
            "store, and is left as it is. Name another file."
        )


@contextmanager
def _computing(path: str) -> Iterator[None]:
    """Hold the lock of a store; wait for it without keeping a cluster's worker.

    The system frees the lock however its holder ends. Who holds it may need the worker
    on which this task waits: a task that was split sends its parts to all workers.
    joblib's `retrieval_context` lets Dask run them meanwhile.
    """
    lock = FileLock(path + "-lock", mode=0o666, is_singleton=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        backend, _ = get_active_backend()
        with backend.retrieval_context():
            while not lock.is_locked:
                try:
                    lock.acquire(timeout=_LOCK_SLICE_S)
                except Timeout:
                    continue
    try:
        yield
    finally:
        lock.release()


def _checksum(key: bytes, data: Data) -> bytes:
    """Return the XXH3 of the key and the data; it sees accidents, not attacks."""
    digest = xxhash.xxh3_64(key)
    digest.update(data)
    return digest.digest()


def _is_sound(key: object, code: object, data: object) -> bool:
    """Tell whether a record is as it was written."""
    if not (isinstance(key, bytes) and isinstance(data, bytes)):
        return False
    return _checksum(key, data) == code


def _hash_and_learn(
    path: str, timeout_s: float | None, learnt: list[tuple[str, str, bytes, bytes]]
) -> bytes | MediaError | None:
    """Hash a file; note its digest if the file had been quiet for a while before."""
    now = time.time_ns()
    try:
        stat, digest = hash_file(path, timeout_s)
    except MediaError as error:
        return error
    if stat is None or digest is None:
        return None
    if max(stat.mtime_ns, stat.ctime_ns) + _QUIET_NS < now:
        inode, state = _file_row(stat)
        learnt.append((inode, state, digest, os.fsencode(os.path.abspath(path))))
    return digest


@overload
def _file_row(stat: FileStat) -> tuple[str, str]: ...
@overload
def _file_row(stat: FileStat | None) -> tuple[str, str] | None: ...
def _file_row(stat: FileStat | None) -> tuple[str, str] | None:
    """Return which file it is, and what of it changes when its content does."""
    if stat is None:
        return None
    state = f"{stat.size}:{stat.mtime_ns}:{stat.ctime_ns}"
    return f"{stat.device}:{stat.inode}", state


def _verify_records(session: Session) -> tuple[int, int]:
    n_sound, last, damaged = 0, -(1 << 63), []
    ids = "SELECT id FROM records WHERE id > ? ORDER BY id LIMIT ?"
    query = "SELECT key, checksum, data FROM records WHERE id = ?"
    while rows := session.select(ids, [last, _RECORDS_A_QUERY]):
        for (number,) in rows:
            for record in session.select(query, [number]):  # others may have pruned it
                if _is_sound(*record):
                    n_sound += 1
                else:
                    damaged.append((number, record[1]))
        last = rows[-1][0]
    with session.transaction() as connection:  # but not what has replaced them
        query = "DELETE FROM records WHERE id = ? AND checksum IS ?"
        connection.executemany(query, damaged)
    return n_sound, len(damaged)


def _verify_files(session: Session) -> tuple[int, int]:
    n_right, n_changed, stale = 0, 0, []
    for inode, state, digest, name in session.select("SELECT * FROM files"):
        stat, found = hash_file(os.fsdecode(name), None)
        is_same = _file_row(stat) == (inode, state)
        n_right += is_same and found == digest
        n_changed += is_same and found != digest
        if not (is_same and found == digest):
            stale.append((inode, state))
    with session.transaction() as connection:
        query = "DELETE FROM files WHERE inode = ? AND state = ?"
        connection.executemany(query, stale)
    return n_right, n_changed


_NO_STORE = (
    "store={path!r} is not an embedding store, and is left as it is. Name another file."
)
_DAMAGED = (
    "store={path!r} is damaged beyond single records ({error}). Move it away, with "
    "the files {path}-wal and {path}-shm, and run again: what it held is embedded anew."
)
# By SQLite's primary code: the exception, and a text with the remedy.
_EXPLANATIONS: dict[int, tuple[Callable[[str], Exception], str]] = {
    sqlite3.SQLITE_NOTADB: (ValueError, _NO_STORE),
    sqlite3.SQLITE_CORRUPT: (OSError, _DAMAGED),
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
def _explained(path: str) -> Iterator[None]:
    """Turn SQLite's errors into Python's own, with a remedy."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extension
        if code not in _EXPLANATIONS:
            raise
        make, text = _EXPLANATIONS[code]
        raise make(text.format(path=path, error=error)) from error
