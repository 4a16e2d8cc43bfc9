"""Many media files -> their sampled frames, side by side and in order."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from functools import partial

import numpy as np

from skchallenge.exceptions import MediaError
from skchallenge.media._decode import Clip, read_clip
from skchallenge.media._limits import MediaLimits
from skchallenge.media._worker import LOOK_UP_S, asking_threads, result_of

FILES_IN_MEMORY = 8


def read_clips(
    paths: Iterable[str],
    n_frames: int,
    image_size: int,
    *,
    n_threads: int,
    limits: MediaLimits | None = None,
    ahead: bool = False,
) -> Iterator[Clip | MediaError]:
    """Read files in order, `n_threads` at a time; a bad file yields its error.

    With a time limit each thread has a worker process decode its files. At least
    `FILES_IN_MEMORY` files are decoded, then given out, then the next: where the model
    runs on the same processor, that is faster than decoding beside it. With `ahead`,
    for a model that runs elsewhere, files are decoded while earlier ones are used.
    """
    n_held = max(FILES_IN_MEMORY, 2 * n_threads)
    read = partial(
        _read_or_explain, n_frames=n_frames, image_size=image_size, limits=limits
    )
    waiting = iter(paths)
    held: deque[Future[Clip | MediaError]] = deque()
    with asking_threads(n_threads) as pool:
        while True:
            names = itertools.islice(waiting, n_held - len(held))
            held.extend(pool.submit(read, name) for name in names)
            if not held:
                return
            ready = [held.popleft()] if ahead else _all_done(held)
            yield from map(result_of, ready)


def _all_done(
    held: deque[Future[Clip | MediaError]],
) -> list[Future[Clip | MediaError]]:
    ready = list(held)
    held.clear()
    while wait(ready, LOOK_UP_S).not_done:
        pass
    return ready


def _read_or_explain(
    path: str, n_frames: int, image_size: int, limits: MediaLimits | None
) -> Clip | MediaError:
    try:
        return without_repeats(read_clip(path, n_frames, image_size, limits))
    except MediaError as error:
        return error


def without_repeats(clip: Clip) -> Clip:
    """Keep one of the frames in a row that are the same to the bit.

    A slide show has few that differ, and the network is what costs.
    """
    pairs = itertools.pairwise(clip.frames)
    is_new = np.array([True] + [not np.array_equal(*pair) for pair in pairs])
    if is_new.all():
        return clip
    return Clip(clip.frames[is_new], (np.cumsum(is_new) - 1)[clip.slots])
