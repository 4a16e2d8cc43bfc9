"""From a film to what duplicates share: hashes of its pictures, and its motion."""

import struct
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from skchallenge._optional import import_optional

FPS = 10.0  # steps a second of a film
SIDE = 64  # pixels of its pictures
GRID = 16  # cells a side, in which motion is compared
HASH_BYTES = 64
_HASH_SIDE = 16  # bits a side
_COUNTS = struct.Struct("<qq")
_STEPS_A_HASH = 5
_FLAT = 12.0  # grey levels within which a line of pixels has one colour
_LEAST_CONTENT = 8  # lines that are not border
_MOST_SAMPLES = 100  # pictures that the border is sought in

Floats = NDArray[np.float32]


class Signature(NamedTuple):
    """What is kept of a video.

    Attributes
    ----------
    cells : ndarray of shape (n_steps, 16, 16), dtype uint8
        Luminance inside the border, ten steps a second.
    hashes : ndarray of shape (n_hashes, 64), dtype uint8
        Hashes of 512 bits of pictures half a second apart; each once.
    mirrored : ndarray of shape (n_hashes, 64), dtype uint8
        The same of the mirrored pictures.
    """

    cells: NDArray[np.uint8]
    hashes: NDArray[np.uint8]
    mirrored: NDArray[np.uint8]

    def to_bytes(self) -> bytes:
        """Return the whole signature, after its numbers of steps and of hashes."""
        counts = _COUNTS.pack(len(self.cells), len(self.hashes))
        return counts + b"".join(part.tobytes() for part in self)

    @classmethod
    def from_bytes(cls, data: bytes | bytearray) -> Self:
        """Return what `to_bytes` wrote; what follows it is ignored."""
        n_steps, n_hashes = _COUNTS.unpack_from(data)
        sizes = [n_steps * GRID * GRID, n_hashes * HASH_BYTES, n_hashes * HASH_BYTES]
        ends = _COUNTS.size + np.cumsum([0, *sizes])
        parts = [
            np.frombuffer(data, np.uint8, size, start)
            for size, start in zip(sizes, ends[:-1].tolist(), strict=True)
        ]
        shapes = [(GRID, GRID), (HASH_BYTES,), (HASH_BYTES,)]
        return cls(*(p.reshape(-1, *s) for p, s in zip(parts, shapes, strict=True)))


NO_SIGNATURE = Signature(
    np.zeros((0, GRID, GRID), np.uint8),
    np.zeros((0, HASH_BYTES), np.uint8),
    np.zeros((0, HASH_BYTES), np.uint8),
)


def size_of(start: bytes | bytearray) -> int:
    """Return the bytes of a signature, from the first bytes of it."""
    n_steps, n_hashes = _COUNTS.unpack_from(start)
    return _COUNTS.size + n_steps * GRID * GRID + 2 * n_hashes * HASH_BYTES


def sign_film(film: NDArray[np.uint8]) -> Signature:
    """Make the signature of a film of shape (n_steps, side, side)."""
    rows, columns = content_box(film)
    cells = _resample(film, rows, columns, GRID)
    pictures = _resample(film[_STEPS_A_HASH // 2 :: _STEPS_A_HASH], rows, columns, SIDE)
    if not len(pictures):
        pictures = _resample(film[:1], rows, columns, SIDE)
    pairs = np.unique(
        [np.r_[_hash(p), _hash(p[:, ::-1])] for p in pictures], axis=0
    )  # (n_hashes, 128)
    return Signature(cells, *(np.ascontiguousarray(h) for h in np.hsplit(pairs, 2)))


def _hash(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return imagehash's difference hashes, of rows and of columns, as 64 bytes."""
    imagehash = import_optional("imagehash", extra="feed", purpose="DuplicateFinder")
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(picture))
    across = imagehash.dhash(image, hash_size=_HASH_SIDE).hash
    down = imagehash.dhash_vertical(image, hash_size=_HASH_SIDE).hash
    return np.packbits([across, down])


def content_box(
    film: NDArray[np.uint8],
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return first and last line inside the border, of rows and of columns.

    A border is made of lines of one colour that never changes. Its end is found to a
    part of a line, for a picture that is scaled down mixes border and content there.
    """
    some = film[:: max(1, len(film) // _MOST_SAMPLES)].astype(np.float32)
    middle = np.median(some, axis=0)  # (H, W)
    change = np.abs(some - middle).max(axis=0)
    return _content(middle, change), _content(middle.T, change.T)


def _content(middle: Floats, change: Floats) -> tuple[float, float]:
    is_flat = (np.ptp(middle, axis=1) <= _FLAT) & (change.max(axis=1) <= _FLAT)
    if is_flat.sum() > len(is_flat) - _LEAST_CONTENT:
        return 0.0, float(len(is_flat))
    first = _border(middle, is_flat)
    return first, len(is_flat) - _border(middle[::-1], is_flat[::-1])


def _border(middle: Floats, is_flat: NDArray[np.bool_]) -> float:
    """Return the width of the border at the start of the lines."""
    n_flat = int(is_flat.argmin())
    if not n_flat:
        return 0.0
    colour = np.median(middle[:n_flat])
    mixed, inside = np.abs(middle[n_flat : n_flat + 2] - colour).mean(axis=1)
    return n_flat + 1 - min(1.0, float(mixed / max(inside, 1e-6)))


def _resample(
    film: NDArray[np.uint8],
    rows: tuple[float, float],
    columns: tuple[float, float],
    size: int,
) -> NDArray[np.uint8]:
    """Average the inside of a box over a grid of (size, size)."""
    down = _shares(*rows, film.shape[1], size)
    across = _shares(*columns, film.shape[2], size)
    pictures = [down @ picture.astype(np.float32) @ across.T for picture in film]
    small = np.array(pictures, dtype=np.float32).reshape(-1, size, size)
    return np.rint(small).astype(np.uint8)


def _shares(start: float, end: float, n_lines: int, size: int) -> Floats:
    """Return the share of each line in each part of [start, end), (size, n_lines)."""
    edges = np.linspace(start, end, size + 1)[:, None]
    line = np.arange(n_lines)
    low, high = np.maximum(edges[:-1], line), np.minimum(edges[1:], line + 1)
    overlap = np.maximum(high - low, 0.0)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)
