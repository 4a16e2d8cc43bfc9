"""Frames to features, in batches that run across files."""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from skchallenge.embed._engine import Engine, Pending
from skchallenge.exceptions import MediaError
from skchallenge.media._read import Clip

Matrix = NDArray[np.float32]


def encode_clips(
    clips: Iterable[Clip | MediaError], engine: Engine, batch_size: int
) -> Iterator[Matrix | MediaError]:
    """Yield one (n_frames, D) matrix a clip, in order; errors pass through.

    All batches have the same size, the last one by padding, so that a frame's features
    do not depend on how many frames there are.
    """
    waiting: deque[Clip | MediaError] = deque()  # what has not been given out
    frames: list[NDArray[np.uint8]] = []  # single frames, not yet in a batch
    batches = _Batches(engine)
    for clip in clips:
        waiting.append(clip)
        if isinstance(clip, Clip):
            frames.extend(clip.frames)
        while len(frames) >= batch_size:
            batches.add(frames[:batch_size])
            del frames[:batch_size]
        yield from _complete(waiting, batches.features)
    if frames:
        batches.add(frames + frames[-1:] * (batch_size - len(frames)))
    batches.finish()
    yield from _complete(waiting, batches.features)


class _Batches:
    """The batches that are under way, and the features of those that are done."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.pending: deque[Pending] = deque()
        self.features: list[Matrix] = []  # one (D,) vector a frame, not yet given out

    def add(self, frames: list[NDArray[np.uint8]]) -> None:
        self.pending.append(self.engine.submit(np.stack(frames)))  # (B, H, W, 3)
        self.finish(self.engine.n_pending)

    def finish(self, n_left: int = 0) -> None:
        while len(self.pending) > n_left:
            self.features.extend(self.pending.popleft()())  # (B, D)


def _complete(
    waiting: deque[Clip | MediaError], features: list[Matrix]
) -> Iterator[Matrix | MediaError]:
    """Give out from the front what needs no more features."""
    while waiting:
        clip = waiting[0]
        if isinstance(clip, Clip) and len(features) < len(clip.frames):
            return
        waiting.popleft()
        yield clip if isinstance(clip, MediaError) else _take(clip, features)


def _take(clip: Clip, features: list[Matrix]) -> Matrix:
    """Remove a clip's features from the front and put one at each sample."""
    distinct = np.stack(features[: len(clip.frames)])
    del features[: len(clip.frames)]
    return distinct[clip.frame_index]  # (k, D) -> (n_frames, D)
