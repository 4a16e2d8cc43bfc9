"""Chunks of work side by side, wherever joblib runs them."""

import platform
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from numbers import Integral
from typing import Any, Protocol

from joblib import Parallel, delayed, effective_n_jobs

from skchallenge.embed._built import Built, built_of

Pairs = list[tuple[str, Any]]

_GROUPS_A_CHUNK = 8  # at most
_CHUNKS_A_WORKER = 4  # under way at once, and at least in all if there are enough


class Model(Protocol):
    """Parameters that pickle to another process and embed there.

    Weights do not travel: each process loads them, and they are compared.
    """

    @property
    def token(self) -> str:
        """The name of the network."""

    def embed(
        self, groups: Iterable[list[str]], n_items: int, built: Built
    ) -> Iterator[tuple[str, Any]]:
        """Yield each name with its vector or its error."""

    def weights_here(self, built: Built) -> dict[str, str]:
        """Name the weights that this process has, each with its digest."""


def check_n_jobs(n_jobs: object) -> None:
    """Raise unless `n_jobs` is None or an integer other than 0."""
    is_integer = isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool)
    if n_jobs is not None and not (is_integer and n_jobs != 0):
        raise ValueError(
            f"n_jobs must be None or an integer other than 0, got {n_jobs!r}. -1 means "
            "one a core."
        )


def spread(
    model: Model,
    groups: Iterable[list[str]],
    n_items: int,
    *,
    built: Built,
    n_jobs: int | None,
) -> Generator[tuple[str, Any], None, None]:
    """Yield what `model` embeds of groups of names, at most `n_items` in all.

    One job works here, with batches that run across groups. More jobs are joblib's:
    each takes some groups at a time, and results come as they are ready. Groups are
    asked for on threads of joblib, and no more than a few chunks a worker are under
    way or wait to be taken.
    """
    n_workers = effective_n_jobs(n_jobs)
    if n_workers < 1:
        raise RuntimeError(
            f"n_jobs={n_jobs!r} finds no worker: joblib's backend has none yet. Start "
            "the workers of the cluster first."
        )
    if n_workers == 1:
        yield from model.embed(groups, n_items, built)
        return
    n_names = -(-n_items // (_CHUNKS_A_WORKER * n_workers))
    weights = model.weights_here(built)
    tasks = _Tasks(
        (
            delayed(_embed_there)(model, chunk, -(-n_items // n_workers), weights)
            for chunk in _chunks(groups, n_names)
        ),
        _CHUNKS_A_WORKER * n_workers,
    )
    parallel = _make_parallel(n_jobs)
    while not tasks.are_over:
        with _closed_quietly(parallel(tasks)) as results:
            for pairs in results:
                tasks.n_taken += 1
                yield from pairs


def _embed_there(
    model: Model, chunk: list[list[str]], n_items: int, weights: dict[str, str]
) -> Pairs:
    """Embed in a worker, which keeps the network for the next chunk."""
    built = built_of(model.token)
    pairs = list(model.embed(chunk, n_items, built))
    here = model.weights_here(built)  # after it, as weights may have been downloaded
    others = [name for name in weights if here.get(name, "") not in ("", weights[name])]
    if others:
        raise RuntimeError(
            f"The worker on {platform.node()!r} has other weights than the process "
            f"that called it: {', '.join(others)}. Nothing of it was kept. Give all "
            "machines the same files, and functions that build the same network."
        )
    return pairs


def _chunks(groups: Iterable[list[str]], n_names: int) -> Iterator[list[list[str]]]:
    """Join groups until they have `n_names`, but not too many."""
    chunk: list[list[str]] = []
    for group in groups:
        chunk.append(group)
        if len(chunk) == _GROUPS_A_CHUNK or sum(map(len, chunk)) >= n_names:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class _Tasks:
    """Tasks in rounds: one ends where so many results wait that memory would grow.

    joblib asks for a task when another is done, whether or not its result was taken.
    """

    def __init__(self, tasks: Iterator[Any], n_most: int) -> None:
        self.tasks = tasks
        self.n_most = n_most
        self.n_given = 0  # written on threads of joblib only
        self.n_taken = 0  # written by the caller only
        self.are_over = False

    def __iter__(self) -> Iterator[Any]:
        while self.n_given - self.n_taken < self.n_most:
            task = next(self.tasks, None)
            if task is None:
                self.are_over = True
                return
            self.n_given += 1
            yield task


def _make_parallel(n_jobs: int | None) -> Any:
    try:
        return Parallel(n_jobs, return_as="generator_unordered", batch_size=1)
    except ValueError:  # a backend that gives all results of a round at its end
        return Parallel(n_jobs, batch_size=1)


class _NoMoreError(Exception):
    """Nobody takes further results."""


@contextmanager
def _closed_quietly(results: Any) -> Iterator[Any]:
    """End a generator of results; after an error, tasks that wait are dropped.

    Of a generator that is closed, joblib would warn. To filter warnings is no way out:
    threads share the filters, and would restore them in the wrong order.
    """
    try:
        yield results
    finally:
        if isinstance(results, Generator):
            with suppress(_NoMoreError):
                results.throw(_NoMoreError())
