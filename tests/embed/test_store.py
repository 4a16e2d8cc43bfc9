"""EmbeddingStore: laws of a cache, copies, damage, sizes and clear errors."""

import copy
import itertools
import os
import pickle
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import numpy as np
import pytest
from sklearn.base import clone

from skchallenge.embed import EmbeddingStore
from skchallenge.embed import _database as database
from skchallenge.embed import _keys as keys
from skchallenge.embed import _records as records
from skchallenge.embed._claims import Claims, claims_of
from skchallenge.embed._database import Session, explained
from skchallenge.embed._records import checksum

KEYS = [bytes([number]) * 32 for number in range(200)]


@pytest.fixture
def store(tmp_path):
    return EmbeddingStore(tmp_path / "embeddings.db")


def vectors(n, width=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def write(store, rows, keys=KEYS):
    with Session(store.path) as session:
        session.write(keys[: len(rows)], rows)


def read(store, keys, width):
    rows = np.full((len(keys), width), np.nan, np.float32)
    with Session(store.path) as session:
        found = session.read(keys, rows)
    return rows, sorted(found)


@pytest.mark.parametrize("width", [1, 7, 1023, 2048, 16_384, 16_385, 102_400])
def test_what_is_read_is_what_was_written(store, width):
    rows = vectors(12, width)
    write(store, rows)
    order = [3, 11, 0, 3, 5]
    found_rows, found = read(store, [KEYS[i] for i in order], width)
    np.testing.assert_array_equal(found_rows, rows[order])
    assert found == [0, 1, 2, 3, 4]
    assert len(store) == 12
    assert store.verify() == {"records": 12, "damaged": 0, "files": 0, "changed": 0}


def test_rows_of_another_byte_order(store):
    rows = vectors(3)
    write(store, rows)
    swapped = np.zeros((3, 5), rows.dtype.newbyteorder())
    with Session(store.path) as session:
        assert session.read(KEYS[:3], swapped) == {0, 1, 2}
    np.testing.assert_array_equal(swapped, rows)


def test_a_row_for_another_width_is_not_filled(store):
    write(store, vectors(3))
    rows, found = read(store, KEYS[:3], 4)
    assert np.isnan(rows).all()
    assert found == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, apsw.IOError("disk I/O error")])
def test_reading_that_stops_half_way_leaves_nothing_open(store, monkeypatch, error):
    checksum, n_checked = records.checksum, itertools.count()

    def stop(key, data):
        if next(n_checked) == 2:
            raise error
        return checksum(key, data)

    write(store, vectors(4))
    rows = np.empty((4, 5), np.float32)
    with Session(store.path) as session:
        monkeypatch.setattr(records, "checksum", stop)
        with pytest.raises((KeyboardInterrupt, OSError)):
            session.read(KEYS[:4], rows)
        monkeypatch.undo()
        session.write(KEYS[4:5], vectors(1))  # no snapshot is left open
    assert len(store) == 5


def test_threads_take_turns_in_a_session(store):
    rows = vectors(200, 1000)

    def use(number):
        session.write([KEYS[number]], [rows[number]])
        row = np.empty((1, 1000), np.float32)
        assert session.stored([KEYS[number]]) == {KEYS[number]}
        assert session.read([KEYS[number]], row) == {0}
        return row[0]

    with Session(store.path) as session, ThreadPoolExecutor(8) as pool:
        np.testing.assert_array_equal(list(pool.map(use, range(200))), rows)


def test_damaged_long_rows_are_found(store):
    long_rows = vectors(20, 20_000)
    write(store, long_rows)
    with sqlite3.connect(store.path) as connection:
        connection.execute(
            "UPDATE records SET vector = zeroblob(80000) WHERE id IN (2, 11, 20)"
        )
        connection.execute("UPDATE records SET vector = 'text' WHERE id = 5")
    connection.close()
    rows, found = read(store, KEYS[:20], 20_000)
    sound = sorted({*range(20)} - {1, 4, 10, 19})
    assert found == sound
    np.testing.assert_array_equal(rows[sound], long_rows[sound])
    assert len(store) == 16


def test_unknown_keys_are_not_found(store):
    write(store, vectors(2))
    assert read(store, KEYS[1:4], 5)[1] == [0]
    assert store.stats()["hits"] == 1
    assert read(store, [], 5)[1] == []


def test_a_key_serves_one_width_only(store):
    write(store, vectors(1))
    assert read(store, KEYS[:1], 6)[1] == []


def test_the_first_vector_under_a_key_stays(store):
    rows = vectors(1)
    write(store, rows)
    write(store, rows + 1)
    np.testing.assert_array_equal(read(store, KEYS[:1], 5)[0], rows)


def test_the_layout_is_little_endian_float32(store):
    write(store, [np.array([1.0, -2.0], dtype=np.float32)])
    with sqlite3.connect(store.path) as connection:
        [(key, code, data)] = connection.execute(
            "SELECT key, checksum, vector FROM records"
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
    "UPDATE records SET vector = zeroblob(20) WHERE id = 2",
    "UPDATE records SET vector = substr(vector, 1, 16) WHERE id = 2",
    "UPDATE records SET vector = 'text' WHERE id = 2",
    "UPDATE records SET checksum = zeroblob(8) WHERE id = 2",
    "UPDATE records SET checksum = 'text' WHERE id = 2",
    "UPDATE records SET vector = (SELECT vector FROM records WHERE id = 1) "
    "WHERE id = 2",
])  # fmt: skip
@pytest.mark.parametrize("first", ["read", "verify"])
def test_damaged_records_count_as_missing_and_are_dropped(store, statement, first):
    rows = vectors(3)
    write(store, rows)
    connection = sqlite3.connect(store.path)
    with connection:
        connection.execute(statement)
    connection.close()
    if first == "verify":
        report = store.verify()
        assert (report["records"], report["damaged"]) == (2, 1)
    assert read(store, KEYS[:3], 5)[1] == [0, 2]
    assert len(store) == 2
    assert store.verify()["damaged"] == 0
    write(store, rows)
    np.testing.assert_array_equal(read(store, KEYS[:3], 5)[0], rows)


def test_bits_that_flip_on_the_disk_are_seen(store):
    rows = vectors(3, 4096)
    write(store, rows)
    data = bytearray(Path(store.path).read_bytes())
    place = data.find(rows[1].tobytes())
    data[place + 1000] ^= 4
    Path(store.path).write_bytes(data)
    assert read(store, KEYS[:3], 4096)[1] == [0, 2]


def test_a_wrecked_file_says_what_to_do(store):
    write(store, vectors(100, 50_000))
    with open(store.path, "r+b") as file:
        file.seek(65536)
        file.write(os.urandom(65536 * 4))
    for use in (store.verify, lambda: read(store, KEYS[:100], 50_000)):
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
    with Session(store.path) as session:
        found = [session.select(f"PRAGMA {n}") for n in ("synchronous", "fullfsync")]
    assert found == [[(2,)], [(1,)]]  # full, and past the cache of a Mac's disk


def test_stats(store):
    write(store, vectors(3, 50_000))
    read(store, KEYS[:5], 50_000)
    stats = store.stats()
    assert (stats["records"], stats["hits"], stats["misses"]) == (3, 3, 0)
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
    assert read(store, KEYS, width)[1] == list(range(n_dropped, 200))
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
        return read(store, KEYS[start::4], 5)[0]

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
                found_rows, found = read(store, KEYS[:60], 20_000)
                np.testing.assert_array_equal(found_rows[found], rows[found])
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

    with Session(store.path) as session, pytest.raises(KeyboardInterrupt):
        interrupted(session)
    assert len(store) == 0


def test_a_store_that_another_thread_makes_is_not_made_again(store, monkeypatch):
    barrier = threading.Barrier(4)

    class SlowConnection(apsw.Connection):
        def pragma(self, name, *value):
            result = super().pragma(name, *value)
            if name == "schema_version" and not self.in_transaction and result == 0:
                barrier.wait(60)  # all have seen that there is none
            return result

    monkeypatch.setattr(apsw, "Connection", SlowConnection)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: len(store), range(4))) == [0] * 4


# Files and their memory.


@pytest.fixture
def quiet(monkeypatch):
    """Remember files at once, not only when they are two seconds old."""
    monkeypatch.setattr(keys, "_QUIET_NS", -(10**15))


def digests(store, paths):
    with Session(store.path) as session:
        return [digest for _, _, digest in keys.digest_files(session, paths)]


def n_files(store):
    with Session(store.path) as session:
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
    monkeypatch.setattr(keys, "hash_file", None)
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


def test_a_file_that_is_being_written_has_no_digest(store, files, monkeypatch):
    real = keys._stamp
    grown = iter(["a", "b"])
    monkeypatch.setattr(keys, "_stamp", lambda s: real(s)._replace(state=next(grown)))
    assert keys.hash_file(files[0])[1] is None


def test_a_file_that_cannot_be_opened_has_no_digest(files, monkeypatch):
    def refuse(*args):
        raise PermissionError

    monkeypatch.setattr("builtins.open", refuse)
    assert keys.hash_file(files[0])[1] is None


def test_the_files_of_the_store_are_not_opened(store, files, quiet):
    """To close one would drop the claims, and the locks of SQLite."""
    [claimed] = KEYS[:1]
    claims_of(store.path).take([claimed])
    link = Path(store.path).with_name("link")
    with Session(store.path) as session:
        session.write([claimed], vectors(1))
        link.symlink_to(store.path)
        own = [store.path + suffix for suffix in ("", "-wal", "-shm", "-lock")]
        own.append(str(link))
        items = keys.content_items(session, [*own, files[0]])
    assert all("is a file of the store" in str(item.error) for item in items[:-1])
    assert [item.key for item in items[:-1]] == [None] * 5
    assert items[-1].key is not None
    child = os.fork()
    if child == 0:
        os._exit(claims_of(store.path).take([claimed])[0])
    assert os.waitpid(child, 0)[1] == 0
    claims_of(store.path).free([claimed])


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


# Claims.


def test_a_key_is_claimed_once_until_it_is_free(store):
    claims = claims_of(store.path)
    assert claims is claims_of(store.path)
    assert claims.take([KEYS[0], KEYS[1], KEYS[0]]) == [True, True, False]
    assert claims.take([KEYS[1], KEYS[2]]) == [False, True]
    claims.free([KEYS[1]])
    assert claims.take([KEYS[1]]) == [True]
    claims.free(KEYS[:3])
    assert claims._file == -1  # nothing is left open


def test_a_child_process_respects_and_inherits_no_claim(store):
    claims_of(store.path).take([KEYS[0]])
    child = os.fork()
    if child == 0:
        claims = claims_of(store.path)
        as_expected = claims.take(KEYS[:2]) == [False, True] and not len(store)
        os._exit(0 if as_expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    # What the child had is free, what this process has is not.
    assert claims_of(store.path).take(KEYS[:2]) == [False, True]
    claims_of(store.path).free(KEYS[:2])


def test_what_a_killed_process_had_claimed_is_free(store):
    to_parent, from_child = os.pipe()
    child = os.fork()
    if child == 0:
        claims_of(store.path).take(KEYS[:1])
        os.write(from_child, b"!")
        signal.pause()
    os.read(to_parent, 1)
    claims = claims_of(store.path)
    assert claims.take(KEYS[:2]) == [False, True]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert claims.take(KEYS[:1]) == [True]
    claims.free(KEYS[:2])
    os.close(to_parent)
    os.close(from_child)


@pytest.mark.parametrize("name", ["os.open", "fcntl.lockf"])
def test_without_locks_claims_hold_within_the_process(store, monkeypatch, name):
    def refuse(*args):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(name, refuse)
    claims = Claims(store.path)
    assert claims.take([KEYS[0], KEYS[0]]) == [True, False]
    claims.free([KEYS[0]])
    assert claims.take([KEYS[0]]) == [True]
    claims.free([KEYS[0]])


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
    with pytest.raises(ValueError, match=r"has format 9, .*Update skchallenge"):
        len(store)


def test_a_path_that_is_not_writable(store, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match=r"is not writable. Make it writable"):
        len(store)


def test_a_lock_that_is_never_let_go(store, monkeypatch):
    monkeypatch.setattr(database, "_PATIENCE_S", 0.05)
    len(store)
    connection = apsw.Connection(store.path)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(TimeoutError, match=r"locked by another process.*End it"):
        write(store, vectors(1))
    connection.close()
    write(store, vectors(1))


def test_a_lock_while_the_log_is_switched_on(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_PATIENCE_S", 0.05)
    store = EmbeddingStore(tmp_path / "a.db")
    len(store)
    connection = apsw.Connection(store.path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(TimeoutError, match=r"locked by another process.*End it"):
        len(store)
    connection.close()
    assert len(store) == 0


def test_a_full_disk(store):
    write(store, vectors(1))
    with Session(store.path) as session:
        session.select("PRAGMA max_page_count = 12")
        with pytest.raises(OSError, match=r"the disk is full. Make room"):
            session.write(KEYS[1:200], vectors(199, 50_000))
    assert len(store) == 1
    assert store.verify()["damaged"] == 0


@pytest.mark.parametrize(
    "cause, error, message",
    [
        (apsw.ReadOnlyError, PermissionError, "is not writable .why.. Make it"),
        (apsw.CantOpenError, PermissionError, "cannot be opened .why.. Name"),
        (apsw.NoMemError, apsw.NoMemError, "why"),
    ],
)
def test_other_errors_of_sqlite(cause, error, message):
    with pytest.raises(error, match=message), explained("a.db"):
        raise cause("why")


def test_a_store_that_cannot_be_made_leaves_no_half(store, monkeypatch):
    monkeypatch.setattr(database, "_SCHEMA", (*database._SCHEMA, "NO SQL"))
    with pytest.raises(apsw.SQLError, match="syntax error"):
        len(store)
    monkeypatch.undo()
    assert len(store) == 0
