"""EmbeddingStore after bit flips, kills and forks: a record is right or missing."""

import contextlib
import os
import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from skchallenge.embed import EmbeddingStore
from skchallenge.embed._store import open_store

KEYS = [bytes([number]) * 32 for number in range(60)]


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "embeddings.db")


def vectors(n, width, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def write(store, rows):
    with open_store(store) as session:
        session.write(
            (key, row.tobytes()) for key, row in zip(KEYS, rows, strict=False)
        )


def check(store, rows):
    """Return which keys are found, and see that their vectors are right."""
    with open_store(store) as session:
        found = {KEYS.index(key): data for key, data in session.read(KEYS[: len(rows)])}
    for number, data in found.items():
        assert data == rows[number].tobytes()
    return sorted(found)


def flip(path, place):
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 4]))


@pytest.mark.parametrize("width", [5, 20_000])
@pytest.mark.parametrize("copy", ["in the table", "in the index"])
@pytest.mark.parametrize("first", ["read", "verify"])
def test_a_bit_that_flips_in_a_key(store, width, copy, first):
    rows = vectors(20, width)
    write(store, rows)
    data = Path(store.path).read_bytes()
    copies = [place for place in range(len(data)) if data.startswith(KEYS[7], place)]
    assert len(copies) == 2
    flip(store.path, copies[copy == "in the index"] + 20)
    said = r"damaged beyond single records.*Move it away"
    if first == "verify":  # the table and its index differ
        with pytest.raises(OSError, match=said):
            store.verify()
    assert set(range(20)) - set(check(store, rows)) <= {7}
    with contextlib.suppress(OSError):
        write(store, rows)
        assert check(store, rows) == list(range(20))
    assert set(range(20)) - set(check(store, rows)) <= {7}


def test_bits_that_flip_anywhere(store):
    rows = vectors(60, 2000)
    write(store, rows)
    clean = Path(store.path).read_bytes()
    n_found, messages = [], []
    for place in np.random.default_rng(0).integers(len(clean), size=60):
        Path(store.path).write_bytes(clean)
        flip(store.path, place)
        try:
            n_found.append(len(check(store, rows)))
        except (OSError, ValueError) as error:  # in the structure, or in the header
            messages.append(str(error))
    assert len(n_found) > 50
    assert set(n_found) == {59, 60}
    known = ("damaged beyond single records", "is not an embedding store", "has format")
    assert all(any(text in message for text in known) for message in messages)


def killed_writer(store, rows):
    """Write each row by itself in a process that is killed, so that the log stays."""
    child = os.fork()
    if child == 0:
        with open_store(store):  # keeps the log from being moved to the file
            for number, row in enumerate(rows):
                with open_store(store) as session:
                    session.select("PRAGMA wal_autocheckpoint = 0")
                    session.write([(KEYS[number], row.tobytes())])
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("damage", ["none", "cut", "flipped", "lost", "its index"])
def test_a_damaged_log_costs_its_end_only(store, damage):
    rows = vectors(10, 30_000)
    len(store)
    killed_writer(store, rows)
    log, size = f"{store.path}-wal", os.path.getsize(f"{store.path}-wal")
    assert size > 10 * 120_000
    if damage == "cut":
        os.truncate(log, size * 3 // 4)
    elif damage == "flipped":
        flip(log, size * 3 // 4)
    elif damage == "lost":
        os.remove(log)
    elif damage == "its index":
        shared = Path(f"{store.path}-shm")
        shared.write_bytes(os.urandom(shared.stat().st_size))
    found = check(store, rows)
    assert found == list(range(len(found)))
    least = {"none": 10, "its index": 10, "lost": 0}.get(damage, 6)
    assert least <= len(found) < 11
    assert store.verify()["damaged"] == 0
    write(store, rows)
    assert check(store, rows) == list(range(10))


def without_rows(path):
    """Empty the table of records behind the back of its index."""
    connection = sqlite3.connect(path)
    roots = dict(
        connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage")
    )
    size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    data = bytearray(Path(path).read_bytes())
    start = (roots["records"] - 1) * size
    data[start : start + size] = bytes([13]) + bytes(size - 1)  # an empty leaf
    Path(path).write_bytes(data)


def test_an_index_without_its_rows_is_told_or_mended_never_waited_for(store):
    write(store, vectors(3, 5))
    without_rows(store.path)
    with pytest.raises(OSError, match=r"damaged beyond single records.*Move it"):
        store.verify()
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # ends it, should it wait
        with contextlib.suppress(OSError):
            check(store, vectors(3, 5))
            write(store, vectors(3, 5))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_a_file_that_was_cut_is_an_error_not_a_crash(store):
    rows = vectors(60, 20_000)
    write(store, rows)
    clean = Path(store.path).read_bytes()
    for size in np.random.default_rng(0).integers(4096, len(clean), size=10):
        Path(store.path).write_bytes(clean[:size])
        with pytest.raises(
            (OSError, ValueError), match=r"store='.*(damaged|is not an)"
        ):
            check(store, rows)
