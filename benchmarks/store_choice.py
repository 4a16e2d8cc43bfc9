"""Why the store is SQLite, read as it is: the candidates in one run.

Random rows of 400 KB are written to each kind of file and read into a new matrix, from
the page cache of the operating system, in turns with `numpy.load` of the same matrix.
Only the reading is timed, without the look-up of files that `transform` adds.

* "apsw": as `EmbeddingStore` reads, with `apsw.Blob.read_into` and the look-up of keys.
* "NumPy's place": the same into `numpy.empty`, which starts 16 bytes behind a page.
* "sqlite3, blobs": Python's own module, `sqlite3.Blob.read` for each row.
* "sqlite3, SELECT": the vectors as columns of a query.
* "mmap": SQLite reads through a memory map (`PRAGMA mmap_size`).
* "CRC-32": that checksum instead of XXH3.
* "LMDB": needs `pip install lmdb`; the row is left out without.
* "flat file": `os.preadv` into the matrix, from a file that has nothing but vectors.

LMDB and apsw copy a vector once, sqlite3 three times. SQLite was taken for what LMDB
lacks: its file shrinks, needs no greatest size beforehand, may be opened in any process
at any time, and is an error where it was cut short. A memory map ends the process then,
with LMDB as with SQLite.

    python benchmarks/store_choice.py [--n-rows 250] [--n-rounds 15]
"""

import argparse
import importlib.util
import os
import sqlite3
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import xxhash
from skchallenge.embed._database import Session

from skchallenge.embed._matrix import new_matrix

WIDTH = 102_400
N_BYTES = 4 * WIDTH
XXH3 = xxhash.xxh3_64_intdigest


def filled(read_row, n, n_threads=1):
    """Return a new matrix that `read_row(number, row)` has filled."""
    matrix = new_matrix((n, WIDTH), "array")

    def part(numbers):
        for number in numbers:
            read_row(number, matrix[number])

    cuts = [n * part // n_threads for part in range(n_threads + 1)]
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(part, map(range, cuts[:-1], cuts[1:])))
    return matrix


def product(path, keys, matrix):
    """Read as `EmbeddingStore` does."""
    with Session(path) as session:
        session.read(keys, matrix)
    return matrix


def sqlite_rows(path, n, *, blobs=True, mmap=0, checksum=XXH3):
    """Read on one connection and thread; the row of key number i has the id i + 1."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA mmap_size = {mmap}")
    connection.execute("BEGIN")

    def read_row(number, row):
        if blobs:
            with connection.blobopen("records", "vector", number + 1) as blob:
                data = blob.read()
        else:
            query = "SELECT vector FROM records WHERE id = ?"
            [(data,)] = connection.execute(query, [number + 1])
        checksum(data)
        row[:] = np.frombuffer(data, dtype="<f4")

    matrix = filled(read_row, n)
    connection.close()
    return matrix


def flat_rows(path, n, n_threads):
    """Read a file of vectors without anything around them."""
    file = os.open(path, os.O_RDONLY)

    def read_row(number, row):
        os.preadv(file, [row], number * N_BYTES)
        XXH3(row)

    matrix = filled(read_row, n, n_threads)
    os.close(file)
    return matrix


def lmdb_readers(path, keys, matrix):
    """Fill an LMDB file; return readers by name."""
    import lmdb

    environment = lmdb.open(path, subdir=False, map_size=4 * matrix.nbytes)
    with environment.begin(write=True) as transaction:
        for key, row in zip(keys, matrix, strict=True):
            transaction.put(key, row.tobytes())

    def rows(n_threads):
        with environment.begin(buffers=True) as transaction:

            def read_row(number, row):
                row[:] = np.frombuffer(transaction.get(keys[number]), dtype="<f4")
                XXH3(row)

            return filled(read_row, len(keys), n_threads)

    return {f"LMDB, {n} thread(s)": (lambda n=n: rows(n)) for n in (1, 2)}


def readers(folder, matrix):
    """Write the files; return name -> function that reads a new matrix."""
    n, keys, shape = len(matrix), [os.urandom(32) for _ in matrix], matrix.shape
    database, flat = str(folder / "embeddings.db"), folder / "flat"
    with Session(database) as session:
        for start in range(0, n, 8):
            session.write(keys[start : start + 8], matrix[start : start + 8])
    flat.write_bytes(matrix.tobytes())
    np.save(folder / "matrix.npy", matrix)
    found = {
        "numpy.load": lambda: np.load(folder / "matrix.npy"),
        "apsw": lambda: product(database, keys, new_matrix(shape, "array")),
        "apsw, NumPy's place": lambda: product(database, keys, np.empty(shape, "f4")),
        "sqlite3, blobs": lambda: sqlite_rows(database, n),
        "sqlite3, SELECT": lambda: sqlite_rows(database, n, blobs=False),
        "sqlite3, blobs, mmap": lambda: sqlite_rows(database, n, mmap=1 << 40),
        "sqlite3, blobs, CRC-32": lambda: sqlite_rows(database, n, checksum=zlib.crc32),
        "flat file": lambda: flat_rows(flat, n, 1),
        "flat file, 2 threads": lambda: flat_rows(flat, n, 2),
    }
    if importlib.util.find_spec("lmdb"):
        found |= lmdb_readers(str(folder / "lmdb"), keys, matrix)
    return found


def seconds(read, expected):
    """Return wall clock and CPU seconds, having looked at the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    matrix = read()
    times = time.perf_counter() - wall, time.process_time() - cpu
    assert np.array_equal(matrix[::50], expected[::50])
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-rows", type=int, default=250)
    parser.add_argument("--n-rounds", type=int, default=15)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(options.n_rows, WIDTH)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        found = readers(Path(name), matrix)
        rounds = np.array(
            [
                [seconds(read, matrix) for read in found.values()]
                for _ in range(options.n_rounds)
            ]
        )  # (rounds, readers, 2)
    speed = np.median(rounds[:, :1] / rounds, axis=0)  # of numpy.load's
    table = pd.DataFrame(
        {
            "ms": 1000 * np.median(rounds[..., 0], axis=0),
            "CPU ms": 1000 * np.median(rounds[..., 1], axis=0),
            "speed of numpy.load": speed[:, 0],
            "by CPU time": speed[:, 1],
        },
        index=list(found),
    )
    print(f"{options.n_rows} rows of {N_BYTES:,} bytes, {os.cpu_count()} cores\n")
    print(table.round(2).to_string())


if __name__ == "__main__":
    main()
