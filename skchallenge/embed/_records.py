"""The records of an embedding store: a key, a checksum and the bytes of a vector."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import apsw
import numpy as np
import xxhash
from numpy.typing import NDArray

Vector = NDArray[np.float32]

_A_QUERY = 500  # values, and row ids that SQLite sorts


class Record(NamedTuple):
    """What is stored under a key.

    Attributes
    ----------
    number : int
        Of the row in the file.
    key : bytes
    code : bytes
        The checksum. Of a damaged record it may be anything, as may the key.
    is_sound : bool
        Whether it is as it was written, and of the width that was asked for.
    """

    number: int
    key: bytes
    code: object
    is_sound: bool


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
    connection: apsw.Connection, rows: Mapping[bytes, Vector]
) -> Generator[Record, None, None]:
    """Fill the contiguous row of each key; yield its record once that is done.

    Records come in the order of the file. The row of a damaged one may hold anything.
    """
    with _snapshot(connection), _BlobReader(connection) as reader:
        for number, key, code, kind in _rows(connection, list(rows)):
            row = rows.get(key) if kind == "blob" else None
            is_read = row is not None and reader.fill(number, key, code, row)
            yield Record(number, key, code, is_read)


class _BlobReader:
    """Reads vectors from the file to where they belong: no copy lies between."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.blob: apsw.Blob | None = None

    def __enter__(self) -> "_BlobReader":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.blob is not None:
            self.blob.close()

    def fill(self, number: int, key: bytes, code: object, row: Vector) -> bool:
        """Fill a row, and tell whether that is what was written."""
        if self.blob is None:
            self.blob = self.connection.blob_open(
                "main", "records", "vector", number, False
            )
        else:
            self.blob.reopen(number)
        data = row.data.cast("B")
        if self.blob.length() != data.nbytes:
            return False
        self.blob.read_into(data)
        if checksum(key, data) != code:
            return False
        if row.dtype != np.dtype("<f4"):  # on a big-endian machine
            row.byteswap(inplace=True)
        return True


@contextmanager
def _snapshot(connection: apsw.Connection) -> Iterator[None]:
    """Let all queries see one state: a number may go and come back as another's."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:  # an error may have ended it
            connection.execute("ROLLBACK")


def _rows(connection: apsw.Connection, keys: Sequence[bytes]) -> Iterator[Any]:
    """Select the records of the keys but for the vectors, in the order of the file."""
    for start in range(0, len(keys), _A_QUERY):
        some = keys[start : start + _A_QUERY]
        marks = ",".join("?" * len(some))
        ids = f"SELECT id FROM records WHERE key IN ({marks})"
        query = (
            "SELECT id, key, checksum, typeof(vector) FROM records "
            f"WHERE id IN ({ids}) ORDER BY id"
        )
        yield from connection.execute(query, some)
