"""EmbeddingStore: laws of a cache, copies, damage, sizes and clear errors."""

import copy
import itertools
import os
import pickle
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone

from skchallenge.embed import EmbeddingStore
from skchallenge.embed import _store as module
from skchallenge.embed._store import _checksum as checksum
from skchallenge.embed._store import open_store
from skchallenge.exceptions import MediaError

KEYS = [bytes([number]) * 32 for number in range(200)]


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "embeddings.db")


def vectors(n, width=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def write(store, rows, keys=KEYS):
    with open_store(store) as session:
        session.write(
            (key, row.tobytes()) for key, row in zip(keys, rows, strict=False)
        )


def read(store, keys):
    """Return the vectors that are found, by position in `keys`."""
    with open_store(store) as session:
        found = dict(session.read(keys))
    return {i: np.frombuffer(found[k], "<f4") for i, k in enumerate(keys) if k in found}


@pytest.mark.parametrize("width", [1, 7, 1023, 2048, 16_384, 16_385, 102_400])
def test_what_is_read_is_what_was_written(store, width):
    rows = vectors(12, width)
    write(store, rows)
    order = [3, 11, 0, 3, 5]
    found = read(store, [KEYS[i] for i in order])
    np.testing.assert_array_equal([found[i] for i in range(5)], rows[order])
    assert len(store) == 12
    assert store.verify() == {"records": 12, "damaged": 0, "files": 0, "changed": 0}


@pytest.mark.parametrize("error", [KeyboardInterrupt, sqlite3.OperationalError])
def test_reading_that_stops_half_way_leaves_nothing_open(store, monkeypatch, error):
    n_checked = itertools.count()

    def stop(key, data):
        if next(n_checked) == 2:
            raise error
        return checksum(key, data)

    write(store, vectors(4))
    with open_store(store) as session:
        monkeypatch.setattr(module, "_checksum", stop)
        with pytest.raises(error):
            list(session.read(KEYS[:4]))
        monkeypatch.undo()
        session.write([(KEYS[4], b"data")])  # no snapshot is left open
    assert len(store) == 5


def test_damaged_long_rows_are_found(store):
    long_rows = vectors(20, 20_000)
    write(store, long_rows)
    with sqlite3.connect(store.path) as connection:
        connection.execute(
            "UPDATE records SET data = zeroblob(80000) WHERE id IN (2, 11, 20)"
        )
        connection.execute("UPDATE records SET data = 'text' WHERE id = 5")
    connection.close()
    found = read(store, KEYS[:20])
    assert sorted(found) == sorted({*range(20)} - {1, 4, 10, 19})
    for number, row in found.items():
        np.testing.assert_array_equal(row, long_rows[number])


def test_unknown_keys_are_not_found(store):
    write(store, vectors(2))
    assert list(read(store, KEYS[1:4])) == [0]
    assert read(store, []) == {}


def test_the_layout_is_little_endian_float32(store):
    write(store, [np.array([1.0, -2.0], dtype=np.float32)])
    with sqlite3.connect(store.path) as connection:
        [(key, code, data)] = connection.execute(
            "SELECT key, checksum, data FROM records"
        )
    connection.close()
    assert data == bytes.fromhex("0000803f000000c0")
    assert (key, code) == (KEYS[0], checksum(KEYS[0], data))


@pytest.mark.parametrize("n_bytes", [4, 4096, 4100, 409_600])
def test_the_checksum_sees_every_kind_of_damage(n_bytes):
    data = vectors(1, n_bytes // 4).tobytes()
    code = checksum(KEYS[0], data)
    assert len(code) == 8
    assert checksum(KEYS[1], data) != code
    generator = np.random.default_rng(0)
    for place in generator.integers(n_bytes, size=50):
        for bit in (1, 128):
            damaged = bytearray(data)
            damaged[place] ^= bit
            assert checksum(KEYS[0], bytes(damaged)) != code
    if n_bytes >= 3 * 4096:
        swapped = data[4096:8192] + data[:4096] + data[8192:]
        zeroed = data[:4096] + bytes(4096) + data[8192:]
        rolled = data[8:] + data[:8]
        for damaged in (swapped, zeroed, rolled, data[:-8]):
            assert checksum(KEYS[0], damaged) != code


@pytest.mark.parametrize("statement", [
    "UPDATE records SET data = zeroblob(20) WHERE id = 2",
    "UPDATE records SET data = substr(data, 1, 16) WHERE id = 2",
    "UPDATE records SET data = 'text' WHERE id = 2",
    "UPDATE records SET checksum = zeroblob(8) WHERE id = 2",
    "UPDATE records SET checksum = 'text' WHERE id = 2",
    "UPDATE records SET data = (SELECT data FROM records WHERE id = 1) "
    "WHERE id = 2",
])  # fmt: skip
@pytest.mark.parametrize("first", ["read", "verify"])
def test_damaged_records_count_as_missing_and_are_replaced(store, statement, first):
    rows = vectors(3)
    write(store, rows)
    connection = sqlite3.connect(store.path)
    with connection:
        connection.execute(statement)
    connection.close()
    if first == "verify":
        report = store.verify()
        assert (report["records"], report["damaged"]) == (2, 1)
    assert list(read(store, KEYS[:3])) == [0, 2]
    write(store, rows)
    found = read(store, KEYS[:3])
    np.testing.assert_array_equal([found[i] for i in range(3)], rows)
    assert store.verify() == {"records": 3, "damaged": 0, "files": 0, "changed": 0}


def test_bits_that_flip_on_the_disk_are_seen(store):
    rows = vectors(3, 4096)
    write(store, rows)
    data = bytearray(Path(store.path).read_bytes())
    place = data.find(rows[1].tobytes())
    data[place + 1000] ^= 4
    Path(store.path).write_bytes(data)
    assert list(read(store, KEYS[:3])) == [0, 2]


def test_a_wrecked_file_says_what_to_do(store):
    write(store, vectors(100, 50_000))
    with open(store.path, "r+b") as file:
        file.seek(65536)
        file.write(os.urandom(65536 * 4))
    for use in (store.verify, lambda: read(store, KEYS[:100])):
        with pytest.raises(OSError, match=r"damaged beyond single records.*Move it"):
            use()


def pickled(store):
    return pickle.loads(pickle.dumps(store))


@pytest.mark.parametrize("copy_of", [clone, copy.copy, copy.deepcopy])
def test_copies_are_the_store_itself(store, copy_of):
    assert copy_of(store) is store


def test_it_pickles_as_its_path(store, tmp_path):
    write(store, vectors(3))
    assert len(pickle.dumps(store)) < 100 + len(store.path)
    assert pickled(store).path == store.path
    assert len(pickled(store)) == 3
    assert repr(store) == f"EmbeddingStore({str(tmp_path / 'embeddings.db')!r})"


def test_a_relative_path_is_bound_to_the_folder_of_the_moment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = EmbeddingStore("a.db")
    monkeypatch.chdir("/")
    assert store.path == str(tmp_path / "a.db")


def test_an_empty_store_is_true(store):
    assert len(store) == 0
    assert store


def test_commits_reach_the_disk(store):
    with open_store(store) as session:
        found = [session.pragma(name) for name in ("synchronous", "fullfsync")]
    assert found == [2, 1]  # full, and past the cache of a Mac's disk


def test_stats(store):
    write(store, vectors(3, 50_000))
    stats = store.stats()
    assert (stats["records"], stats["hits"], stats["misses"]) == (3, 0, 0)
    assert stats["bytes"] == os.path.getsize(store.path) >= 600_000


@pytest.mark.parametrize("width", [500, 25_000])
def test_prune_drops_the_oldest(store, width):
    for start in range(0, 200, 20):
        write(store, vectors(20, width), keys=KEYS[start : start + 20])
    before = os.path.getsize(store.path)
    limit = 600_000 if width == 500 else before // 2
    n_dropped = store.prune(limit)
    assert 0 < n_dropped < 200
    assert os.path.getsize(store.path) <= limit
    assert len(store) == 200 - n_dropped
    assert list(read(store, KEYS)) == list(range(n_dropped, 200))
    assert store.verify()["damaged"] == 0
    assert store.prune(limit) == 0


def test_prune_to_nothing_and_not_at_all(store):
    write(store, vectors(50))
    assert store.prune(np.int64(10**12)) == 0
    assert store.prune(0) == 50
    assert len(store) == 0


@pytest.mark.parametrize("wrong", [-1, 1e9, "1 GB", True])
def test_prune_wants_bytes(store, wrong):
    with pytest.raises(ValueError, match="max_bytes must be an integer of at least 0"):
        store.prune(wrong)


def test_many_threads_may_write_and_read(store):
    rows = vectors(200)

    def work(start):
        for place in range(start, 200, 4):
            write(store, rows[place : place + 1], keys=KEYS[place:])
        return list(read(store, KEYS[start::4]).values())

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))
    for start, found in enumerate(results):
        np.testing.assert_array_equal(found, rows[start::4])
    assert store.verify()["records"] == 200


def test_others_may_prune_while_one_writes_and_reads(store):
    rows = vectors(60, 20_000)
    write(store, rows)
    before, done, n_dropped = os.path.getsize(store.path), threading.Event(), []

    def prune():
        while not done.is_set():
            n_dropped.append(store.prune(before // 2))

    with ThreadPoolExecutor(1) as pool:
        pruned = pool.submit(prune)
        try:
            for n_rounds in range(1000):
                write(store, rows)
                for number, row in read(store, KEYS[:60]).items():
                    np.testing.assert_array_equal(row, rows[number])
                if n_rounds >= 7 and (sum(n_dropped) or pruned.done()):
                    break
        finally:
            done.set()
        pruned.result()
    assert sum(n_dropped) > 0
    assert store.verify()["damaged"] == 0
    store.prune(before // 2)
    assert os.path.getsize(store.path) <= before // 2


def test_an_interrupted_write_leaves_nothing(store):
    def interrupted(session):
        with session.transaction() as connection:
            connection.execute("INSERT INTO records VALUES (1, x'00', 0, x'00')")
            raise KeyboardInterrupt

    with open_store(store) as session, pytest.raises(KeyboardInterrupt):
        interrupted(session)
    assert len(store) == 0


def test_a_store_that_another_thread_makes_is_not_made_again(store, monkeypatch):
    barrier, seen = threading.Barrier(4), threading.local()
    is_new = module._is_new

    def slow(connection):
        found = is_new(connection)
        if not hasattr(seen, "once"):
            seen.once = True
            barrier.wait(60)  # all have seen that there is none
        return found

    monkeypatch.setattr(module, "_is_new", slow)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: len(store), range(4))) == [0] * 4


# Files and their memory.


@pytest.fixture
def quiet(monkeypatch):
    """Remember files at once, not only when they are two seconds old."""
    monkeypatch.setattr(module, "_QUIET_NS", -(10**15))


def digests(store, paths):
    with open_store(store) as session:
        return [digest for _, digest in session.digests(paths, None)]


def n_files(store):
    with open_store(store) as session:
        return session.select("SELECT count(*) FROM files")[0][0]


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{number}.bin" for number in range(150)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 100)
    return [str(path) for path in paths]


def test_files_are_hashed_once(store, files, quiet, monkeypatch):
    first = digests(store, files)
    assert len(set(first)) == 150
    monkeypatch.setattr(module, "hash_file", None)
    assert digests(store, files[::-1]) == first[::-1]


def test_files_changed_within_two_seconds_are_not_remembered(store, files):
    digests(store, files)
    assert n_files(store) == 0


def test_a_file_changed_in_place_is_hashed_again(store, files, quiet):
    [before] = digests(store, files[:1])
    with open(files[0], "r+b") as file:
        file.write(b"other")
    [after] = digests(store, files[:1])
    assert before != after


def test_what_is_no_readable_file_has_no_digest(store, tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    names = [tmp_path / "pipe", tmp_path, tmp_path / "missing", "null\0byte"]
    assert digests(store, [str(name) for name in names]) == [None] * 4


def test_hashing_has_a_limit_of_time(store, files):
    with open_store(store) as session:
        [(_, found)] = session.digests(files[:1], 0.0)
    assert isinstance(found, MediaError)
    assert "timeout_s" in str(found)


def test_the_files_of_the_store_are_not_opened(store, files, quiet):
    """To close one would drop SQLite's locks."""
    link = Path(store.path).with_name("link")
    with open_store(store) as session:
        session.write([(KEYS[0], b"data")])
        link.symlink_to(store.path)
        own = [store.path + suffix for suffix in ("", "-wal", "-shm", "-lock")]
        own.append(str(link))
        found = [digest for _, digest in session.digests([*own, files[0]], None)]
    assert all("is a file of the store" in str(error) for error in found[:-1])
    assert len(found[-1]) == 32


def test_verify_hashes_remembered_files_again(store, files, quiet):
    digests(store, files[:4])
    os.remove(files[0])  # gone, and openly changed: stale
    with open(files[1], "ab") as file:
        file.write(b"more")
    connection = sqlite3.connect(store.path)
    with connection:  # a file whose content changed unseen
        connection.execute(
            "UPDATE files SET digest = x'00' WHERE path = ?", [os.fsencode(files[2])]
        )
    connection.close()
    assert store.verify() == {"records": 0, "damaged": 0, "files": 1, "changed": 1}
    assert n_files(store) == 1
    assert store.verify()["changed"] == 0


# One at a time computes.


def compute_in_a_child(store):
    """Return a child that holds the lock until it is killed."""
    to_parent, from_child = os.pipe()
    child = os.fork()
    if child == 0:
        with open_store(store) as session, session.lock():
            os.write(from_child, b"!")
            signal.pause()
    os.read(to_parent, 1)
    os.close(to_parent)
    os.close(from_child)
    return child


def test_the_lock_of_a_killed_process_is_free(store):
    len(store)
    child = compute_in_a_child(store)
    order = []

    def compute():
        with open_store(store) as session, session.lock():
            order.append("computed")

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(compute)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=1.2)
        assert len(store) == 0  # reading needs no lock
        order.append("killed")
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        waiting.result(timeout=30)
    assert order == ["killed", "computed"]


def test_ctrl_c_ends_the_waiting_for_a_lock(store):
    len(store)
    # A shell in the background starts its programs with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    child = compute_in_a_child(store)
    try:
        threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
        started = time.monotonic()
        with (
            pytest.raises(KeyboardInterrupt),
            open_store(store) as session,
            session.lock(),
        ):
            pass
        assert time.monotonic() - started < 10
    finally:
        signal.signal(signal.SIGINT, before)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_threads_compute_one_after_the_other(store):
    inside = []

    def compute(number):
        with open_store(store) as session, session.lock():
            inside.append(number)
            time.sleep(0.05)
            assert inside[-1] == number

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(compute, range(4)))
    assert sorted(inside) == [0, 1, 2, 3]


# A store from a stranger.


@pytest.mark.parametrize("statement", [
    "CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END",
    "CREATE VIEW v AS SELECT load_extension('x')",
    "CREATE TABLE more (x)",
    "CREATE INDEX i ON records (length(data))",
    "ALTER TABLE records ADD COLUMN more DEFAULT 1",
    "DROP TABLE files",
])  # fmt: skip
def test_another_schema_is_refused(store, statement):
    write(store, vectors(1))
    connection = sqlite3.connect(store.path)
    with connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(ValueError, match="other tables, triggers or views"):
        len(store)


def test_what_a_schema_names_is_not_trusted(store):
    with open_store(store) as session:
        assert session.pragma("trusted_schema") == 0


# Errors.


@pytest.mark.parametrize("wrong", [3, None, ["a.db"]])
def test_a_path_is_wanted(wrong):
    with pytest.raises(TypeError, match="path must be a string or os.PathLike"):
        EmbeddingStore(wrong)


def test_the_folder_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder.*Make the folder"):
        len(EmbeddingStore(tmp_path / "no" / "a.db"))


def test_a_folder_is_no_store(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"must be a file, but is a folder"):
        len(EmbeddingStore(tmp_path))


def test_other_files_are_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database " * 100)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="is not an embedding store, and is left"):
        len(EmbeddingStore(path))
    assert path.read_bytes() == before


def test_other_databases_are_left_alone(tmp_path):
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="is not an embedding store, and is left"):
        len(EmbeddingStore(path))
    assert path.read_bytes() == before


def test_another_format_is_refused(store):
    len(store)
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(ValueError, match=r"has format 9, .*Name a new file"):
        len(store)


def test_a_path_that_is_not_writable(store, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=r"is not writable. Make it writable"):
        len(store)


def test_a_commit_that_never_ends(store, monkeypatch):
    monkeypatch.setattr(module, "_BUSY_S", 0.05)
    len(store)
    connection = sqlite3.connect(store.path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(TimeoutError, match=r"locked by another process.*End it"):
        write(store, vectors(1))
    connection.close()
    write(store, vectors(1))


def test_a_full_disk(store):
    write(store, vectors(1))
    with open_store(store) as session:
        session.select("PRAGMA max_page_count = 12")
        with pytest.raises(OSError, match=r"the disk is full. Make room"):
            session.write((key, bytes(200_000)) for key in KEYS[1:200])
    assert len(store) == 1
    assert store.verify()["damaged"] == 0


@pytest.mark.parametrize(
    "code, error, message",
    [
        (sqlite3.SQLITE_READONLY, PermissionError, "is not writable .why.. Make it"),
        (sqlite3.SQLITE_CANTOPEN, PermissionError, "cannot be opened .why.. Name"),
        (sqlite3.SQLITE_IOERR_READ, OSError, "cannot be read or written .*local disk"),
        (sqlite3.SQLITE_NOMEM, sqlite3.OperationalError, "why"),
    ],
)
def test_other_errors_of_sqlite(code, error, message):
    cause = sqlite3.OperationalError("why")
    cause.sqlite_errorcode = code
    with pytest.raises(error, match=message), module._explained("a.db"):
        raise cause


def test_a_store_that_cannot_be_made_leaves_no_half(store, monkeypatch):
    monkeypatch.setattr(module, "_SCHEMA", (*module._SCHEMA, "NO SQL"))
    with pytest.raises(sqlite3.OperationalError, match="syntax error"):
        len(store)
    monkeypatch.undo()
    assert len(store) == 0
