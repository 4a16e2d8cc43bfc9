"""Vectors from a store where it has them, from the model where it does not."""

import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from joblib.parallel import get_active_backend
from numpy.typing import NDArray

from skchallenge.embed._claims import claims_of
from skchallenge.embed._database import Session
from skchallenge.embed._keys import Item
from skchallenge.embed._store import StoreLike, as_store
from skchallenge.exceptions import MediaError

Vector = NDArray[np.float32]
Result = Vector | MediaError
RowOf = Callable[[str], Vector]
Put = Callable[[str, Result], None]
Results = Generator[tuple[str, Result], None, None]
Compute = Callable[[Iterable[list[str]], int], Results]

_NAMES_A_READ = 1024
_WRITE_EVERY_S = 2.0
_PAUSE_S = 0.02
_PATIENCE_S = 600.0  # with another process that computes and shows no result


def _raise(name: str, error: MediaError) -> float:
    raise error


def embed_all(
    places: Mapping[str, Sequence[int]],
    matrix: Vector,
    store: StoreLike,
    *,
    recipe: Callable[[Session], bytes],
    find: Callable[[Session, bytes, Sequence[str]], list[Item]],
    compute: Compute,
    fill: Callable[[str, MediaError], float] = _raise,
    group_size: int,
    bar: Any,
) -> None:
    """Fill the rows of each name with its vector, from the store where it has it.

    `recipe` tells, given the open store, what shapes a vector beside its item; `find`
    makes keys of it; `fill` returns what stands in the row of a bad file. The
    others are as in `Recall`.
    """

    def row_of(name: str) -> Vector:
        return matrix[places[name][0]]

    def put(name: str, result: Result) -> None:
        if isinstance(result, MediaError):
            row_of(name)[:] = fill(name, result)
        else:
            row_of(name)[:] = result

    checked = as_store(store)
    if checked is None:
        _compute_all(list(places), compute, put, group_size, bar)
    elif places:
        with Session(checked.path) as session:
            digest = recipe(session)

            def is_same() -> bool:
                return recipe(session) == digest

            recall = Recall(
                session,
                find=partial(find, session, digest),
                compute=partial(_compute_unchanged, compute, is_same),
                row_of=row_of,
                put=put,
                group_size=group_size,
            )
            recall.run(list(places), bar)
    _repeat_rows(matrix, places)


def _pause() -> None:
    """Wait a little, and let go of the worker of a cluster meanwhile.

    What is waited for may need it: a task that was split sends its parts to all
    workers, and would wait for this one.
    """
    backend, _ = get_active_backend()
    with backend.retrieval_context():
        time.sleep(_PAUSE_S)


def _repeat_rows(matrix: Vector, places: Mapping[str, Sequence[int]]) -> None:
    for first, *others in places.values():
        if others:
            matrix[others] = matrix[first]


def _compute_all(
    names: list[str], compute: Compute, put: Put, group_size: int, bar: Any
) -> None:
    starts = range(0, len(names), group_size)
    groups = (names[start : start + group_size] for start in starts)
    with closing(compute(groups, len(names))) as results:
        for name, result in results:
            put(name, result)
            bar.update()


def _compute_unchanged(
    compute: Compute,
    is_same: Callable[[], bool],
    groups: Iterable[list[str]],
    n_items: int,
) -> Results:
    """Compute, but raise if what was loaded may not be what the keys are of."""
    with closing(compute(groups, n_items)) as results:
        for number, pair in enumerate(results):
            if number == 0 and not is_same():
                raise OSError(
                    "The weights changed while they were loaded, and nothing was "
                    "stored. Run again when they are complete."
                )
            yield pair


class Recall:
    """Embeds items, each from the store or else by the model.

    Parameters
    ----------
    session : Session
        The open store.
    find : callable
        Names -> items with their keys.
    compute : callable
        An iterable of lists of names, and how many they are at most -> pairs of a name
        and its vector or the error it gave. It may ask for lists on other threads.
    row_of : callable
        Name -> its row, float32 and contiguous, which the store's vector is read into.
    put : callable
        Takes a name, and its new vector or error. What it raises goes on.
    group_size : int
        Names that are claimed, and at most written, at once.
    """

    def __init__(
        self,
        session: Session,
        *,
        find: Callable[[Sequence[str]], list[Item]],
        compute: Compute,
        row_of: RowOf,
        put: Put,
        group_size: int,
    ) -> None:
        self.session = session
        self.find = find
        self.compute = compute
        self.row_of = row_of
        self.put = put
        self.group_size = group_size
        self.claims = claims_of(session.path)
        self._mutex = threading.Lock()  # one thread at a time claims or writes
        self._is_claiming = False

    def run(self, names: Sequence[str], bar: Any) -> None:
        """Have the vector of every name in its row; `bar` counts them.

        What another process is computing is left to it and read when it is there, so
        processes that start on the same items share the work.
        """
        give_up = time.monotonic() + _PATIENCE_S
        waiting = names
        while waiting:
            n_before = len(waiting)
            missing = self._read(waiting, bar)
            is_patient = time.monotonic() < give_up
            waiting = self._compute(missing, bar, leave_claimed=is_patient)
            if len(waiting) < n_before:
                give_up = time.monotonic() + _PATIENCE_S
            elif waiting:
                _pause()

    def _read(self, names: Sequence[str], bar: Any) -> list[Item]:
        """Read what the store has; return the rest."""
        missing: list[Item] = []
        for start in range(0, len(names), _NAMES_A_READ):
            items = self.find(names[start : start + _NAMES_A_READ])
            keyed = [item.name for item in items if item.key is not None]
            keys = [item.key for item in items if item.key is not None]
            rows = [self.row_of(name) for name in keyed]
            found = self.session.read(keys, rows)
            there = {keyed[place] for place in found}
            missing.extend(item for item in items if item.name not in there)
            if there:  # tqdm would draw a bar that waits again with each 0
                bar.update(len(there))
        return missing

    def _compute(
        self, missing: list[Item], bar: Any, *, leave_claimed: bool
    ) -> list[str]:
        """Compute, put and store what nobody else is computing; return the rest."""
        late: list[str] = []
        claimed: dict[str, Item] = {}
        ready: list[tuple[Item, Vector]] = []
        self._is_claiming = True
        groups = self._groups(missing, claimed, late, leave_claimed)
        first = next(groups, None)
        if first is None:
            return late
        written_at = time.monotonic()
        groups = itertools.chain([first], groups)
        try:
            with closing(self.compute(groups, len(missing))) as results:
                for name, result in results:
                    self.put(name, result)
                    if isinstance(result, MediaError):
                        self._give_up(claimed.pop(name))
                    else:
                        ready.append((claimed[name], result))
                    bar.update()
                    is_due = time.monotonic() > written_at + _WRITE_EVERY_S
                    if is_due or len(ready) >= self.group_size:
                        self._write(ready, claimed)
                        written_at = time.monotonic()
        finally:  # an interrupt included: what is ready is kept
            try:
                self._write(ready, claimed)
            finally:
                self._end_claims(claimed)
        return late

    def _give_up(self, item: Item) -> None:
        """Let others try a bad file: nothing is stored of it."""
        with self._mutex:
            self.claims.free([item.key] if item.key is not None else [])

    def _end_claims(self, claimed: dict[str, Item]) -> None:
        with self._mutex:
            self._is_claiming = False
            self.claims.free([i.key for i in claimed.values() if i.key is not None])

    def _groups(
        self,
        missing: list[Item],
        claimed: dict[str, Item],
        late: list[str],
        leave_claimed: bool,
    ) -> Iterator[list[str]]:
        """Yield names to compute; note them in `claimed`, and the others in `late`."""
        for start in range(0, len(missing), self.group_size):
            group = missing[start : start + self.group_size]
            with self._mutex:
                if not self._is_claiming:
                    return
                mine, others = self._claim(group, leave_claimed)
                claimed.update((item.name, item) for item in mine)
                late.extend(others)
            if mine:
                yield [item.name for item in mine]

    def _claim(
        self, group: list[Item], leave_claimed: bool
    ) -> tuple[list[Item], list[str]]:
        """Claim what nobody computes or has stored; return it, and the other names."""
        keys = [item.key for item in group if item.key is not None]
        taken = {k for k, t in zip(keys, self.claims.take(keys), strict=True) if t}
        try:
            stored = self.session.stored(keys)  # now that nobody else can store them
        except BaseException:
            self.claims.free(list(taken))
            raise
        self.claims.free([key for key in taken if key in stored])
        free = (taken if leave_claimed else set(keys)) - stored
        mine: list[Item] = []
        others: list[str] = []
        for item in group:
            is_mine = item.key is None or item.key in free
            free.discard(item.key or b"")  # the same content twice: once
            mine.extend([item] if is_mine else [])
            others.extend([] if is_mine else [item.name])
        return mine, others

    def _write(
        self, ready: list[tuple[Item, Vector]], claimed: dict[str, Item]
    ) -> None:
        """Store what is ready, but not what was read from a file that has changed."""
        with self._mutex:
            self._write_now(ready, claimed)

    def _write_now(
        self, ready: list[tuple[Item, Vector]], claimed: dict[str, Item]
    ) -> None:
        done = [(item.key, v) for item, v in ready if item.is_unchanged()]
        keys = [key for key, _ in done if key is not None]
        vectors = [vector for key, vector in done if key is not None]
        if keys:
            self.session.write(keys, vectors)
        self.claims.free([item.key for item, _ in ready if item.key is not None])
        self.session.tally(misses=len(ready))
        for item, _ in ready:
            claimed.pop(item.name, None)  # an interrupt may have come between
        ready.clear()
