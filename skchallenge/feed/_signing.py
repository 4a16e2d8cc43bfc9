"""The signatures of files, from a store where it has them."""

from collections.abc import Iterator, Sequence

import joblib
import numpy as np
from numpy.typing import NDArray

from skchallenge.embed._database import Session
from skchallenge.embed._keys import Item, content_items, recipe_of
from skchallenge.embed._store import StoreLike, as_store
from skchallenge.exceptions import MediaError
from skchallenge.feed._signature import (
    FPS,
    GRID,
    SIDE,
    Signature,
    sign_film,
    size_of,
)
from skchallenge.media._limits import MediaLimits
from skchallenge.media._read import read_luma_thumbnails

_RULES = 1  # raise it when files become other signatures
_PAGE = 4096  # numbers in a record; a signature takes as many as it needs
_FILES_A_WRITE = 64

Signed = Signature | MediaError
Vector = NDArray[np.float32]


def sign_files(
    paths: Sequence[str],
    store: StoreLike,
    limits: MediaLimits,
    n_jobs: int | None,
) -> Iterator[tuple[str, Signed]]:
    """Yield each path once, with its signature or why there is none."""
    checked = as_store(store)
    if checked is None:
        yield from _compute(paths, limits, n_jobs)
        return
    with Session(checked.path) as session:
        items = content_items(session, paths)
        yield from ((item.name, item.error) for item in items if item.error)
        files = [item for item in items if item.error is None]
        found = _read(session, [file for file in files if file.key is not None])
        yield from found.items()
        missing = [file for file in files if file.name not in found]
        for start in range(0, len(missing), _FILES_A_WRITE):
            group = missing[start : start + _FILES_A_WRITE]
            signed = dict(_compute([file.name for file in group], limits, n_jobs))
            _write(session, group, signed)
            yield from signed.items()


def _compute(
    paths: Sequence[str], limits: MediaLimits, n_jobs: int | None
) -> Iterator[tuple[str, Signed]]:
    n_threads = joblib.effective_n_jobs(n_jobs)
    thumbnails = read_luma_thumbnails(
        paths, fps=FPS, size=SIDE, n_threads=n_threads, limits=limits
    )
    for path, found in zip(paths, thumbnails, strict=True):
        yield path, found if isinstance(found, MediaError) else sign_film(found.luma)


def _key(file: Item, page: int) -> bytes:
    return recipe_of("signature", _RULES, FPS, SIDE, GRID, page, file.key)


def _read(session: Session, files: Sequence[Item]) -> dict[str, Signature]:
    """Return the signatures that the store has, page by page."""
    data = {file.name: bytearray() for file in files}
    waiting, page = list(files), 0
    while waiting:
        rows = np.empty((len(waiting), _PAGE), np.float32)
        found = session.read([_key(file, page) for file in waiting], rows)
        for place in found:
            data[waiting[place].name] += rows[place].tobytes()
        waiting = [waiting[place] for place in sorted(found)]
        waiting = [f for f in waiting if len(data[f.name]) < size_of(data[f.name])]
        page += 1
    return {
        name: Signature.from_bytes(bytes(pages))
        for name, pages in data.items()
        if pages and len(pages) >= size_of(pages)
    }


def _write(session: Session, files: Sequence[Item], signed: dict[str, Signed]) -> None:
    """Store the pages of all signatures in one step."""
    keys: list[bytes] = []
    pages: list[Vector] = []
    for file in files:
        signature = signed[file.name]
        if isinstance(signature, MediaError) or file.key is None:
            continue
        if not file.is_unchanged():  # what was read is not what the key is of
            continue
        data = signature.to_bytes()
        data += bytes(-len(data) % (4 * _PAGE))
        new = np.frombuffer(data, "<f4").reshape(-1, _PAGE)
        keys += [_key(file, page) for page in range(len(new))]
        pages += list(new)
    session.write(keys, pages)
    session.tally(misses=len(files))
