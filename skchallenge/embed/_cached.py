"""Embed what a store lacks: read; lock, read again, compute, write."""

import platform
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from numbers import Integral
from typing import Any, NamedTuple, Protocol

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray

from skchallenge._table import printable
from skchallenge.embed._keys import item_key
from skchallenge.embed._store import Data, Session, StoreLike, as_store, open_store
from skchallenge.exceptions import MediaError

_NAMES_A_READ = 1024
_COMMIT_EVERY_S = 2.0  # if there are not so many items before
_CHUNKS_A_WORKER = 4  # at least, if there are enough items
_CHUNKS_A_ROUND = 8  # a worker; between rounds some wait for the last

Vector = NDArray[np.float32]


class Embedded(NamedTuple):
    """What was computed of one item.

    Attributes
    ----------
    name : hashable
        Path of a file, another source of frames, or a text.
    result : object
        A vector, or whatever the model computes; a MediaError of a bad file.
    content : bytes or None
        What the key is made of: the text, or the SHA-256 of the very file that was
        decoded. Whatever the path leads to by now, no vector gets another file's key.
    """

    name: Any
    result: Any
    content: bytes | None


class Model(Protocol):
    """An embedder, or whatever else computes something of files or texts."""

    n_jobs: int | None
    _chunk_size: int  # items for a worker, at most; a kill loses what is under way
    _commit_size: int  # items between two commits, at most

    def _fingerprint(self, session: Session | None) -> bytes:
        """Return the digest of all that shapes a vector beside the item."""

    def _contents(
        self, session: Session, names: Sequence[Any]
    ) -> Iterator[tuple[Any, bytes | MediaError | None]]:
        """Yield each name with its content; None if it cannot be told."""

    def _embed(
        self, names: Sequence[Any], n_items: int, *, hashed: bool
    ) -> Iterator[Embedded]:
        """Compute; `n_items` is how many there may be in all calls together."""

    def _for_workers(self) -> "Model":
        """Return what to send to workers, which embed exactly as this process would."""

    def _to_bytes(self, result: Any) -> Data:
        """Return what the store keeps of a result."""

    def _from_bytes(self, data: bytes) -> Any:
        """Return the result that was stored."""


def vector_to_bytes(vector: Vector) -> Data:
    """Return the numbers of a vector as little-endian float32."""
    return np.ascontiguousarray(vector, "<f4").data.cast("B")


def vector_from_bytes(data: bytes) -> Vector:
    """Return the vector that `vector_to_bytes` was given."""
    return np.frombuffer(data, "<f4")


def check_n_jobs(n_jobs: object) -> None:
    """Raise unless `n_jobs` is None or an integer other than 0."""
    is_integer = isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool)
    if n_jobs is not None and not (is_integer and n_jobs != 0):
        raise ValueError(
            f"n_jobs must be None or an integer other than 0, got {n_jobs!r}. -1 means "
            "one a core."
        )


def cached_embed(
    model: Model, names: Sequence[Any], store: StoreLike
) -> Generator[tuple[Any, Any], None, None]:
    """Yield each of the distinct names with its result, from the store if it is there.

    While this process computes it holds the store's lock; another one that lacks
    vectors waits for it, and then finds them. What is ready reaches the disk every few
    items or seconds, also when the caller stops or an interrupt comes.
    """
    checked = as_store(store)
    if checked is None:
        with closing(parallel_embed(model, names, hashed=False)) as computed:
            yield from ((name, result) for name, result, _ in computed)
        return
    if not names:
        return
    with open_store(checked) as session:
        fingerprint = model._fingerprint(session)
        names_of: dict[bytes, list[Any]] = defaultdict(list)  # by key: computed once
        unkeyed: list[Any] = []  # cannot be read, as it seems
        for start in range(0, len(names), _NAMES_A_READ):
            part: dict[bytes, list[Any]] = defaultdict(list)
            for name, content in model._contents(
                session, names[start : start + _NAMES_A_READ]
            ):
                if isinstance(content, MediaError):
                    yield name, content
                elif content is None:
                    unkeyed.append(name)
                else:
                    part[item_key(fingerprint, content)].append(name)
            yield from _stored(session, model, part)
            for key, missing in part.items():
                names_of[key] += missing
        if names_of or unkeyed:
            with session.lock():
                yield from _stored(session, model, names_of)  # by another meanwhile
                yield from _computed(session, model, fingerprint, names_of, unkeyed)


def _stored(
    session: Session, model: Model, names_of: dict[bytes, list[Any]]
) -> Iterator[tuple[Any, Vector]]:
    """Yield names with what is stored of them, and remove their keys."""
    for key, data in session.read(names_of):
        names = names_of.pop(key)
        session.counts["hits"] += len(names)
        result = model._from_bytes(data)
        yield from ((name, result) for name in names)


def _computed(
    session: Session,
    model: Model,
    fingerprint: bytes,
    names_of: dict[bytes, list[Any]],
    unkeyed: list[Any],
) -> Iterator[tuple[Any, Any]]:
    """Compute one name of each key, store what comes, and yield all names."""
    twins_of = {names[0]: names[1:] for names in names_of.values()}
    ready: list[tuple[bytes, Data]] = []
    written_at = time.monotonic()
    computed = parallel_embed(model, [*twins_of, *unkeyed], hashed=True)
    try:
        with closing(computed):
            for number, (name, result, content) in enumerate(computed):
                if number == 0 and model._fingerprint(session) != fingerprint:
                    raise OSError(
                        "The weights changed while they were loaded, and nothing was "
                        "stored. Run again when they are complete."
                    )
                session.counts["misses"] += not isinstance(result, MediaError)
                if content is not None and not isinstance(result, MediaError):
                    data = model._to_bytes(result)
                    ready.append((item_key(fingerprint, content), data))
                yield name, result
                for twin in twins_of.get(name, []):
                    yield twin, _renamed(result, name, twin)
                is_due = time.monotonic() > written_at + _COMMIT_EVERY_S
                if ready and (is_due or len(ready) >= model._commit_size):
                    session.write(ready)
                    ready.clear()
                    written_at = time.monotonic()
    finally:
        if ready:
            session.write(ready)


def _renamed(result: Any, name: Any, twin: Any) -> Any:
    """Return what is true of another name of the same content."""
    if isinstance(result, MediaError):
        return MediaError(str(result).replace(printable(name), printable(twin), 1))
    return result


def parallel_embed(
    model: Model, names: Sequence[Any], *, hashed: bool
) -> Generator[Embedded, None, None]:
    """Embed in this process, or chunk by chunk in those that joblib offers.

    The model itself travels to workers, without weights: each process loads them, and
    returns the fingerprint of what it has computed with.
    """
    n_workers = effective_n_jobs(model.n_jobs)
    if n_workers < 1:
        raise RuntimeError(
            f"n_jobs={model.n_jobs!r} finds no worker: joblib's backend has none yet. "
            "Start the workers of the cluster first."
        )
    if n_workers == 1 or len(names) < 2:
        yield from model._embed(names, len(names), hashed=hashed)
        return
    n_items = -(-len(names) // n_workers)
    size = min(model._chunk_size, max(1, n_items // _CHUNKS_A_WORKER))
    fingerprint = model._fingerprint(None)
    sent = model._for_workers()
    tasks = (
        delayed(_embed_chunk)(sent, names[i : i + size], n_items, hashed)
        for i in range(0, len(names), size)
    )
    with closing(
        _in_any_order(tasks, model.n_jobs, _CHUNKS_A_ROUND * n_workers)
    ) as chunks:
        for found, node, chunk in chunks:
            if found != fingerprint:
                raise RuntimeError(
                    f"The worker on {node!r} has other weights than the process that "
                    "called it, and nothing of it was kept. Give all machines the same "
                    "files, and functions that build the same network."
                )
            yield from chunk


def _embed_chunk(
    model: Model, names: Sequence[Any], n_items: int, hashed: bool
) -> tuple[bytes, str, list[Embedded]]:
    """Embed in a worker, which keeps the network for its next chunk."""
    chunk = list(model._embed(names, n_items, hashed=hashed))
    # The fingerprint after it: weights may have been downloaded.
    return model._fingerprint(None), platform.node(), chunk


class _StoppedError(Exception):
    """Nobody takes further results."""


def _in_any_order(
    tasks: Iterator[Any], n_jobs: int | None, n_round: int
) -> Generator[Any, None, None]:
    """Yield results as they are ready.

    Tasks run in rounds: joblib begins a task whenever another is done, whether or not
    its result was taken, and memory would grow. After an error no round is begun.
    """
    try:
        parallel = Parallel(n_jobs, return_as="generator_unordered", batch_size=1)
    except ValueError:  # a backend that gives all results of a round at its end
        parallel = Parallel(n_jobs, batch_size=1)
    while some := list(islice(tasks, n_round)):
        results = parallel(some)
        try:
            for result in results:  # noqa: UP028  # it would close them, joblib warn
                yield result
        finally:
            if isinstance(results, Generator):
                with suppress(_StoppedError):
                    results.throw(_StoppedError())
