"""The records of an embedding store: a key, a checksum and the bytes of a vector."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Put = Callable[[int, Vector], None]
Part = tuple[set[int], list[tuple[int, Any]]]
Row = tuple[int, bytes, object, bytes]

_A_QUERY = 500  # the oldest SQLite takes 999 values
LONG = 1 << 16  # bytes: a page of the file


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


def read_part(
    connection: sqlite3.Connection,
    places: Sequence[int],
    keys: Sequence[bytes],
    width: int,
    put: Put,
) -> Part:
    """Read the keys at `places`; return where one was, and damaged records.

    Records are read in the order of the file.
    """
    wanted: dict[bytes, list[int]] = {}
    for place in places:
        wanted.setdefault(keys[place], []).append(place)
    read_rows = _long_rows if 4 * width > LONG else _short_rows
    found: set[int] = set()
    damaged: list[tuple[int, Any]] = []
    with _snapshot(connection):
        numbers = _numbers(connection, list(wanted))
        for number, key, code, data in read_rows(connection, numbers):
            if not is_sound(key, code, data) or len(data) != 4 * width:
                damaged.append((number, code))
                continue
            vector = np.frombuffer(data, dtype="<f4")
            for place in wanted[key]:
                put(place, vector)
            found.update(wanted[key])
    return found, damaged


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Let all queries see one state: a number may go and come back as another's."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:  # an error may have ended it
            connection.execute("ROLLBACK")


def _numbers(connection: sqlite3.Connection, keys: list[bytes]) -> list[int]:
    """Return the numbers of the keys' records, in the order of the file."""
    rows = _select(connection, "SELECT id FROM records WHERE key IN ({})", keys)
    return sorted(number for (number,) in rows)


def _short_rows(connection: sqlite3.Connection, numbers: list[int]) -> Iterator[Row]:
    query = "SELECT id, key, checksum, vector FROM records WHERE id IN ({})"
    yield from _select(connection, query, numbers)


def _long_rows(connection: sqlite3.Connection, numbers: list[int]) -> Iterator[Row]:
    """Read vectors as SQLite's blobs: one copy less, and without the GIL."""
    query = "SELECT id, key, checksum, typeof(vector) FROM records WHERE id IN ({})"
    for number, key, code, kind in _select(connection, query, numbers):
        data = b""
        if kind == "blob":
            blob = connection.blobopen("records", "vector", number, readonly=True)
            with blob:
                data = blob.read()
        yield number, key, code, data


def _select(
    connection: sqlite3.Connection, query: str, values: Sequence[Any]
) -> Iterator[Any]:
    for start in range(0, len(values), _A_QUERY):
        some = values[start : start + _A_QUERY]
        yield from connection.execute(query.format(",".join("?" * len(some))), some)
