"""Chunks of work side by side, wherever joblib runs them."""

import itertools
import warnings
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Protocol

from joblib import Parallel, delayed, effective_n_jobs

from skchallenge.embed._built import Built

_BUILT: defaultdict[type, Built] = defaultdict(Built)  # of a worker, between chunks


class Model(Protocol):
    """Parameters that pickle to another process and embed there."""

    def embed(
        self, groups: Iterable[list[str]], n_items: int, built: Built
    ) -> Iterator[tuple[str, Any]]:
        """Yield each name with its vector or its error."""


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
    each takes a group at a time, and results come as they are ready. Groups are asked
    for when there is room for them, and then on threads of joblib.
    """
    n_workers = effective_n_jobs(n_jobs)
    if n_workers == 1:
        yield from model.embed(groups, n_items, built)
        return
    share = -(-n_items // n_workers)
    tasks = (delayed(_embed_there)(model, group, share) for group in groups)
    results = _results(tasks, n_jobs, n_workers)
    try:
        for pairs in results:
            yield from pairs
    finally:  # an error or interrupt of the caller: tasks that wait are dropped
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # joblib says that they are
            results.close()


def _embed_there(model: Model, group: list[str], n_items: int) -> list[tuple[str, Any]]:
    """Embed one group in a worker, which keeps the network for the next."""
    return list(model.embed([group], n_items, _BUILT[type(model)]))


def _results(
    tasks: Iterator[Any], n_jobs: int | None, n_workers: int
) -> Generator[Any, None, None]:
    try:
        parallel = Parallel(n_jobs, return_as="generator_unordered", batch_size=1)
    except ValueError:  # an engine that gives all results at the end
        return _waves(tasks, n_jobs, 2 * n_workers)
    return parallel(tasks)


def _waves(
    tasks: Iterator[Any], n_jobs: int | None, n_tasks: int
) -> Generator[Any, None, None]:
    while wave := list(itertools.islice(tasks, n_tasks)):
        yield from Parallel(n_jobs, batch_size=1)(wave)
