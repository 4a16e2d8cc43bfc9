"""Draw viewers for videos, none of them twice for the same video."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass
class Batches:
    """Runs of viewers, one run for each video and persona that are shown.

    Parameters
    ----------
    video : ndarray of shape (n_batches,), rows of the videos
    persona : ndarray of shape (n_batches,), numbers of the personas
    count : ndarray of shape (n_batches,), viewers of each run
    """

    video: Ints
    persona: Ints
    count: Ints

    def take(self, rows: slice | Ints) -> "Batches":
        """Return some of the runs."""
        return Batches(self.video[rows], self.persona[rows], self.count[rows])


class Audience:
    """The viewers of one world.

    Each persona's viewers stand in one shuffled list, around a circle. A video starts
    anywhere on it and jumps on by a stride of its own that has no factor in common with
    the length. So it meets everybody once before it meets anybody twice; its viewers
    are a simple random sample; and drawing costs no memory. The samples of two videos
    are from the same list, so they are not independent of each other.

    Parameters
    ----------
    persona : ndarray of shape (n_viewers,)
        The persona of each viewer, from 0.
    n_videos : int
        Number of videos.
    rng : numpy.random.Generator
        Source of the lists, starts and strides.
    """

    def __init__(self, persona: Ints, n_videos: int, rng: np.random.Generator) -> None:
        self.size = np.bincount(persona)
        # A random order within each persona, one persona after the other.
        self.order = np.lexsort([rng.random(len(persona)), persona])
        self.offset = np.cumsum(self.size) - self.size
        shape = (n_videos, len(self.size))
        self.start = rng.integers(0, self.size, shape)
        self.stride = _coprime(np.broadcast_to(self.size, shape), rng)
        self.used = np.zeros(shape, dtype=np.int64)

    def plan(self, video: Ints, persona: Ints, count: int | Ints) -> Batches:
        """Reserve viewers; fewer than asked for if fewer are left."""
        left = self.size[persona] - self.used[video, persona]
        batches = Batches(video, persona, np.minimum(count, left))
        return batches.take(np.flatnonzero(batches.count > 0))

    def draw(self, batches: Batches) -> Ints:
        """Return the rows of the viewers of all batches, one batch after the other."""
        video, persona, count = batches.video, batches.persona, batches.count
        first = np.cumsum(count) - count
        used = self.used[video, persona]
        turn = np.arange(count.sum()) + np.repeat(used - first, count)
        turn *= np.repeat(self.stride[video, persona], count)
        turn += np.repeat(self.start[video, persona], count)
        turn %= np.repeat(self.size[persona], count)
        turn += np.repeat(self.offset[persona], count)
        self.used[video, persona] += count
        return self.order[turn]


def spread(n: int, n_personas: int) -> Ints:
    """Split `n` viewers over personas as evenly as whole numbers allow."""
    return np.diff(np.arange(n_personas + 1) * n // n_personas)


def _coprime(size: Ints, rng: np.random.Generator) -> Ints:
    stride = np.ones(size.shape, dtype=np.int64)
    todo = size > 1
    while todo.any():
        stride[todo] = rng.integers(1, size[todo])
        todo &= np.gcd(stride, size) > 1
    return stride
