"""EmbeddingStore after bit flips, kills and forks: a record is right or missing."""

import os
import signal
from pathlib import Path

import apsw
import numpy as np
import pytest

from skchallenge.embed import EmbeddingStore
from skchallenge.embed import _database as database
from skchallenge.embed._claims import Claims
from skchallenge.embed._database import Session

KEYS = [bytes([number]) * 32 for number in range(60)]


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "embeddings.db")


def vectors(n, width, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def write(store, rows):
    with Session(store.path) as session:
        session.write(KEYS[: len(rows)], rows)


def check(store, rows):
    """Return which keys are found, and see that their vectors are right."""
    found_rows = np.full(rows.shape, np.nan, np.float32)
    with Session(store.path) as session:
        keys = KEYS[: len(rows)]
        found = sorted(session.read(keys, found_rows))
    np.testing.assert_array_equal(found_rows[found], rows[found])
    return found


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
    if first == "verify":
        assert store.verify()["damaged"] <= 1
    assert set(range(20)) - set(check(store, rows)) <= {7}
    write(store, rows)
    assert check(store, rows) == list(range(20))
    assert store.verify()["damaged"] == 0
    assert store.verify()["records"] == len(store) == 20
    assert check(store, rows) == list(range(20))


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
        with Session(store.path):  # keeps the log from being moved to the file
            for number, row in enumerate(rows):
                with Session(store.path) as session:
                    session.select("PRAGMA wal_autocheckpoint = 0")
                    session.write([KEYS[number]], [row])
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


def test_damage_that_cannot_be_mended_is_told(store, monkeypatch):
    write(store, vectors(3, 5))
    monkeypatch.setattr(Session, "_rebuild_index", lambda session: None)
    with Session(store.path) as session:
        session.select("PRAGMA writable_schema = ON")
        root = "SELECT rootpage FROM sqlite_master WHERE name = 'records_key'"
        session.select(
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master "
            f"WHERE name = 'files') WHERE rootpage = ({root})"
        )
    with pytest.raises(OSError, match=r"damaged beyond single records.*Move it"):
        store.verify()


def test_a_child_of_a_fork_in_the_midst_may_not_use_the_store(store):
    with Session(store.path):
        child = os.fork()
        if child == 0:
            try:
                len(store)
            except RuntimeError as error:
                os._exit(0 if "was in use when this process was forked" in str(error)
                         else 1)  # fmt: skip
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
        assert len(store) == 0  # this process may
    child = os.fork()
    if child == 0:
        write(store, vectors(2, 5))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert len(store) == 2


def test_a_claim_that_fails_leaves_nothing_open(store, monkeypatch):
    monkeypatch.setattr("skchallenge.embed._claims._lock", lambda file, offset: False)
    claims = Claims(store.path)
    assert claims.take(KEYS[:2]) == [False, False]
    assert claims._file == -1


def test_a_failing_disk_is_an_error_of_the_system(store):
    with (
        pytest.raises(OSError, match=r"cannot be read or written .*local disk"),
        database.explained(store.path),
    ):
        raise apsw.IOError("disk I/O error")


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
