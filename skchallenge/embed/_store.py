"""The embeddings that are already there: one file, many processes."""

import os
from numbers import Integral
from typing import Any, Self

from skchallenge.embed._database import Session
from skchallenge.embed._keys import hash_file, stamp_of
from skchallenge.embed._records import is_sound

_RECORDS_A_QUERY = 1000


class EmbeddingStore:
    """Vectors that were computed before, in one file.

    Pass it, or its path, as `store` of an embedder: what the store has is read, and
    only the rest is computed. Many processes may use one store at the same time; those
    that start on the same items share the work.

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
    missing, is computed again and replaced. Nothing in the file is ever unpickled.

    **Copies.** `sklearn.base.clone`, `copy.deepcopy` and `copy.copy` return the store
    itself, and it pickles as its path. It is opened for the length of a call only:
    there is nothing to close, and threads and processes need no care. One thing is
    refused: to use it in a process that was forked in the midst of such a call. Keep it
    on a local disk; SQLite is not safe on network file systems. In a process that uses
    it, do not open the file with another SQLite, such as Python's ``sqlite3``. Where it
    lies among the media, its own files count as bad ones, and are not opened.

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
        with Session(self.path) as session:
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
        with Session(self.path) as session:
            n_records = session.select("SELECT count(*) FROM records")[0][0]
            counts = session.tallied()
            n_bytes = session.select("PRAGMA page_count")[0][0] * _page_size(session)
        return {
            "records": n_records,
            "bytes": n_bytes,
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
        with Session(self.path) as session:
            session.check_structure()
            sound, damaged = _verify_records(session)
            files, changed = _verify_files(session)
        return {
            "records": sound,
            "damaged": damaged,
            "files": files,
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
        with Session(self.path) as session:
            while excess := _excess(session, int(max_bytes)):
                n_oldest = _drop_oldest(session, excess)
                n_dropped += n_oldest
                if not n_oldest:
                    break
            session.shrink()
        return n_dropped

    def __repr__(self) -> str:
        return f"EmbeddingStore({self.path!r})"

    def __sklearn_clone__(self) -> Self:
        return self

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __reduce__(self) -> tuple[type["EmbeddingStore"], tuple[str]]:
        return EmbeddingStore, (self.path,)


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
        with Session(checked.path):
            pass


def _verify_records(session: Session) -> tuple[int, int]:
    query = "SELECT id FROM records WHERE id > ? ORDER BY id LIMIT ?"
    sound, last, damaged = 0, -(1 << 63), []
    while rows := session.select(query, (last, _RECORDS_A_QUERY)):
        for (number,) in rows:
            record = session.select(
                "SELECT key, checksum, vector FROM records WHERE id = ?", (number,)
            )
            if record and is_sound(*record[0]):
                sound += 1
            elif record:
                damaged.append((number, record[0][1]))
        last = rows[-1][0]
    session.drop_records(damaged)
    return sound, len(damaged)


def _verify_files(session: Session) -> tuple[int, int]:
    right, changed, stale = 0, 0, []
    for place, state, digest, path in session.select("SELECT * FROM files"):
        now = stamp_of(os.fsdecode(path))
        if now is not None and now[:2] == (place, state):
            is_right = hash_file(os.fsdecode(path))[1] == digest
            right, changed = right + is_right, changed + (not is_right)
            if is_right:
                continue
        stale.append((place, state))
    with session.transaction() as connection:
        query = "DELETE FROM files WHERE place = ? AND state = ?"
        connection.executemany(query, stale)
    return right, changed


def _page_size(session: Session) -> int:
    return session.select("PRAGMA page_size")[0][0]


def _excess(session: Session, max_bytes: int) -> int:
    """Return the bytes in use beyond `max_bytes`."""
    pages, free = (
        session.select(f"PRAGMA {name}")[0][0]
        for name in ("page_count", "freelist_count")
    )
    return max(0, (pages - free) * _page_size(session) - max_bytes)


def _drop_oldest(session: Session, n_bytes: int) -> int:
    """Drop about `n_bytes` of the oldest records, at least one; return how many."""
    query = "SELECT id, checksum, length(vector) FROM records ORDER BY id LIMIT ?"
    oldest = []
    for number, code, size in session.select(query, (_RECORDS_A_QUERY,)):
        if n_bytes <= 0:
            break
        oldest.append((number, code))
        n_bytes -= size
    session.drop_records(oldest)
    return len(oldest)
