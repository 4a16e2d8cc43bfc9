"""The records of an embedding store: a key, a checksum and the bytes of a vector."""

import sqlite3
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Row = tuple[int, bytes, object, bytes]

_A_QUERY = 500  # the oldest SQLite takes 999 values
_LONG = 1 << 16  # bytes: a page of the file
_BYTES_A_PIECE = 1 << 21  # three are under way, and fit in the cache of a processor


class Record(NamedTuple):
    """What is stored under a key.

    Attributes
    ----------
    number : int
        Of the row in the file.
    key : bytes
    code : bytes
        The checksum. Of a damaged record it may be anything, as may the key.
    vector : ndarray or None
        None if the record is damaged, or of another width.
    """

    number: int
    key: bytes
    code: object
    vector: Vector | None


Pieces = Generator[list[Record], None, None]


def checksum(key: bytes, data: bytes | memoryview) -> bytes:
    """Return the XXH3 of the key and the data; it sees accidents, not attacks.

    It takes a tenth of the time of reading, where CRC-32 takes longer than reading.
    """
    digest = xxhash.xxh3_64(key)
    digest.update(data)
    return digest.digest()


def is_sound(key: bytes, code: object, data: object) -> bool:
    """Tell whether a record is as it was written."""
    return isinstance(data, bytes) and checksum(key, data) == code


def read_records(
    connection: sqlite3.Connection, keys: Sequence[bytes], width: int
) -> Generator[Record, None, None]:
    """Yield the records of distinct keys, in the order of the file.

    Long ones are read and checked on another thread, while the caller has those before.
    """
    is_long = 4 * width > _LONG  # short rows are read in one go: that holds the GIL
    with (
        closing(_pieces(connection, keys, width, is_long)) as pieces,
        closing(_ahead(pieces) if is_long else pieces) as ready,
    ):
        yield from chain.from_iterable(ready)


def _pieces(
    connection: sqlite3.Connection, keys: Sequence[bytes], width: int, is_long: bool
) -> Pieces:
    n_records = max(1, _BYTES_A_PIECE // (4 * width))
    with _snapshot(connection):
        if is_long:
            rows = _long_rows(connection, keys)
        else:
            rows = _rows(connection, "id, key, checksum, vector", keys)
        while piece := [_checked(row, width) for row in islice(rows, n_records)]:
            yield piece


def _ahead(pieces: Pieces) -> Pieces:
    """Take pieces on another thread, two before they are wanted."""
    with ThreadPoolExecutor(1) as pool:
        taken = deque(pool.submit(next, pieces, None) for _ in range(2))
        while (piece := taken.popleft().result()) is not None:
            taken.append(pool.submit(next, pieces, None))
            yield piece


def _checked(row: Row, width: int) -> Record:
    number, key, code, data = row
    if not is_sound(key, code, data) or len(data) != 4 * width:
        return Record(number, key, code, None)
    return Record(number, key, code, np.frombuffer(data, dtype="<f4"))


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Let all queries see one state: a number may go and come back as another's.

    Few pages of the file are kept meanwhile: they stay near the processor.
    """
    [usual] = connection.execute("PRAGMA cache_size").fetchone()
    connection.execute("PRAGMA cache_size = 4")
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:  # an error may have ended it
            connection.execute("ROLLBACK")
        connection.execute(f"PRAGMA cache_size = {usual}")


def _long_rows(connection: sqlite3.Connection, keys: Sequence[bytes]) -> Iterator[Row]:
    """Read vectors as SQLite's blobs: one copy less, and without the GIL."""
    columns = "id, key, checksum, typeof(vector)"
    for number, key, code, kind in list(_rows(connection, columns, keys)):
        data = b""
        if kind == "blob":
            blob = connection.blobopen("records", "vector", number, readonly=True)
            with blob:
                data = blob.read()
        yield number, key, code, data


def _rows(
    connection: sqlite3.Connection, columns: str, keys: Sequence[bytes]
) -> Iterator[Any]:
    """Select from the records of the keys; SQLite sorts a set of row ids."""
    for start in range(0, len(keys), _A_QUERY):
        some = keys[start : start + _A_QUERY]
        marks = ",".join("?" * len(some))
        ids = f"SELECT id FROM records WHERE key IN ({marks})"
        query = f"SELECT {columns} FROM records WHERE id IN ({ids})"
        yield from connection.execute(query, some)
