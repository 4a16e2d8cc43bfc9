"""Which videos have a picture in common: an index of pieces of hashes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint8]  # (n_hashes, 64)

_PIECE_BITS = 32
_LEAST_BITS = 3  # set, and not set, in a piece that tells something
_MOST_DISTANCE = 128  # bits, of 512, between pictures that may be the same


class HashIndex:
    """Finds videos that share a piece of a hash (multi-index hashing).

    A hash of 512 bits is cut into 16 pieces. Two hashes that differ in fewer than 16
    bits share a piece for certain [1]_; with edits that change a part of the picture,
    such as a caption, so do hashes that differ in far more. Pieces of a picture's
    flat parts are left out: they are shared by many.

    Parameters
    ----------
    hashes : sequence of ndarray of shape (n_hashes, 64), dtype uint8
        Of each video.

    References
    ----------
    .. [1] Norouzi, M., Punjani, A., Fleet, D. J. "Fast search in Hamming space with
       multi-index hashing", CVPR 2012.
    """

    def __init__(self, hashes: Sequence[Hashes]) -> None:
        self.hashes = list(hashes)
        pieces = [_pieces(h) for h in self.hashes]
        keys = np.concatenate([np.zeros(0, np.uint64), *pieces])
        owners = np.repeat(np.arange(len(pieces)), [len(p) for p in pieces])
        order = np.argsort(keys, kind="stable")
        self._keys, self._owners = keys[order], owners[order]

    def find(
        self, hashes: Hashes, before: int | None = None
    ) -> tuple[NDArray[np.intp], int]:
        """Return the videos with a like picture, and how many were looked at.

        With `before`, only videos that stand before that one.
        """
        pieces = _pieces(hashes)
        starts = np.searchsorted(self._keys, pieces, "left")
        ends = np.searchsorted(self._keys, pieces, "right")
        runs = [self._owners[s:e] for s, e in zip(starts, ends, strict=True) if s < e]
        owners = np.unique(np.concatenate([np.zeros(0, np.intp), *runs]))
        owners = owners if before is None else owners[owners < before]
        alike = [o for o in owners if _are_alike(hashes, self.hashes[o])]
        return np.array(alike, dtype=np.intp), len(owners)


def _pieces(hashes: Hashes) -> NDArray[np.uint64]:
    """Return the telling pieces, each once, with their places in the hash."""
    words = np.ascontiguousarray(hashes).view(np.uint32)  # (n_hashes, 16)
    place = np.arange(words.shape[1], dtype=np.uint64) << np.uint64(_PIECE_BITS)
    n_set = np.bitwise_count(words)
    tells = (n_set >= _LEAST_BITS) & (n_set <= _PIECE_BITS - _LEAST_BITS)
    return np.unique((words + place)[tells])


def _are_alike(some: Hashes, others: Hashes) -> bool:
    """Tell whether any two pictures of two videos are alike."""
    # One at a time: two long videos have millions of pairs of pictures.
    distances = (np.bitwise_count(one ^ others).sum(axis=1) for one in some)
    return any(bits.min() <= _MOST_DISTANCE for bits in distances)
