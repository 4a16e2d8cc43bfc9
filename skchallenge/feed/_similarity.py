"""Whether two videos are copies of one recording, from file to score.

A file becomes a `Signature` (`sign_files`); videos with an image in common are found
by pieces of hashes (`HashIndex`); motion alone decides (`compare`).
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import NamedTuple, Self

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.interpolate import CubicSpline

from skchallenge._optional import import_optional
from skchallenge.embed._cached import Embedded, cached_embed
from skchallenge.embed._keys import fingerprint_of
from skchallenge.embed._store import Session, StoreLike
from skchallenge.exceptions import MediaError
from skchallenge.media._limits import MediaLimits
from skchallenge.media._read import read_luma_thumbnails

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Series = NDArray[np.float64]  # (n_steps, n_cells)

# Signatures
FPS = 10.0  # steps a second
SIDE = 64  # pixels of the luma thumbnails
GRID = 16  # cells a side, in which motion is compared
HASH_BYTES = 64
_HASH_SIDE = 16  # bits a side
_COUNTS = struct.Struct("<qq")
_STEPS_A_HASH = 5
_FLAT = 12.0  # grey levels within which a line of pixels has one colour
_LEAST_CONTENT = 8  # lines that are not border
_MOST_SAMPLES = 100  # thumbnails that the border is sought in
# Of the store
_RULES = 2  # raise it when files become other signatures
# The index
_PIECE_BITS = 32
_LEAST_BITS = 3  # set, and not set, in a piece that tells something
_MOST_DISTANCE = 128  # bits, of 512, between images that may be the same
# Motion
_LEAST_STEPS = 8  # which are compared; with fewer, chance decides
_OVERLAP = 0.8  # of the shorter video
_STATIC = 2.0  # grey levels; cells that vary less are ignored
_LEAST_CELLS = 6
_COMMON = 0.5  # of the moving cells of the video that has fewer of them
_FRACTIONS = (-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75)  # of a step
_CELLS_AT_ONCE = 64
_NOTHING = 1e-6


class Signature(NamedTuple):
    """What is kept of a video.

    Attributes
    ----------
    cells : ndarray of shape (n_steps, 16, 16), dtype uint8
        Luminance inside the border, ten steps a second.
    hashes : ndarray of shape (n_hashes, 64), dtype uint8
        Hashes of 512 bits of images half a second apart; each once.
    mirrored : ndarray of shape (n_hashes, 64), dtype uint8
        The same of the mirrored images.
    """

    cells: Bytes
    hashes: Bytes
    mirrored: Bytes

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


# From files to signatures. This is all that is asked of the wings of media and store.


def sign_files(
    paths: Sequence[str], store: StoreLike, limits: MediaLimits, n_jobs: int | None
) -> Iterator[tuple[str, Signature | MediaError]]:
    """Yield each path once, with its signature or why there is none."""
    model = _SignatureModel(limits, joblib.effective_n_jobs(n_jobs))
    with closing(cached_embed(model, paths, store)) as signed:
        yield from signed


class _SignatureModel:
    """What computes signatures, as `cached_embed` wants it."""

    n_jobs: int | None = (
        1  # files are decoded side by side, and comparing them costs little
    )
    _chunk_size, _commit_size = 64, 8
    _to_bytes = staticmethod(Signature.to_bytes)
    _from_bytes = staticmethod(Signature.from_bytes)

    def __init__(self, limits: MediaLimits, n_threads: int) -> None:
        self.limits = limits
        self.n_threads = n_threads

    def _fingerprint(self, session: Session | None) -> bytes:
        return fingerprint_of("signature", _RULES, FPS, SIDE, GRID)

    def _contents(
        self, session: Session, names: Sequence[str]
    ) -> Iterator[tuple[str, bytes | MediaError | None]]:
        return session.digests(names, self.limits.timeout_s)

    def _embed(
        self, names: Sequence[str], n_items: int, *, hashed: bool
    ) -> Iterator[Embedded]:
        films = read_luma_thumbnails(
            names,
            fps=FPS,
            size=SIDE,
            n_threads=self.n_threads,
            limits=self.limits,
            hashed=hashed,
        )
        for name, film in zip(names, films, strict=True):
            if isinstance(film, MediaError):
                yield Embedded(name, film, None)
            else:
                yield Embedded(name, sign(film.luma), film.digest)

    def _for_workers(self) -> "_SignatureModel":
        return self


# Signatures: cells and hashes of what is inside the border


def sign(thumbnails: Bytes) -> Signature:
    """Make the signature of luma thumbnails, (n_steps, side, side)."""
    rows, columns = content_box(thumbnails)
    cells = _resample(thumbnails, rows, columns, GRID)
    hashed = thumbnails[_STEPS_A_HASH // 2 :: _STEPS_A_HASH]
    hashed = hashed if len(hashed) else thumbnails[:1]
    images = _resample(hashed, rows, columns, SIDE)
    pairs = np.unique(
        [np.r_[_hash(p), _hash(p[:, ::-1])] for p in images], axis=0
    )  # (n_hashes, 128)
    return Signature(cells, *(np.ascontiguousarray(h) for h in np.hsplit(pairs, 2)))


def _hash(image: Bytes) -> Bytes:
    """Return imagehash's difference hashes, of rows and of columns, as 64 bytes."""
    imagehash = import_optional("imagehash", extra="feed", purpose="DuplicateFinder")
    from PIL import Image

    pixels = Image.fromarray(np.ascontiguousarray(image))
    across = imagehash.dhash(pixels, hash_size=_HASH_SIDE).hash
    down = imagehash.dhash_vertical(pixels, hash_size=_HASH_SIDE).hash
    return np.packbits([across, down])


def content_box(
    thumbnails: Bytes,
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return first and last line inside the border, of rows and of columns.

    A border is made of lines of one colour that never changes. Its end is found to a
    part of a line, for an image that is scaled down mixes border and content there.
    """
    step = max(1, len(thumbnails) // _MOST_SAMPLES)
    some = thumbnails[::step].astype(np.float32)
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
    thumbnails: Bytes,
    rows: tuple[float, float],
    columns: tuple[float, float],
    size: int,
) -> Bytes:
    """Average the inside of a box over a grid of (size, size)."""
    down = _weights(*rows, thumbnails.shape[1], size)
    across = _weights(*columns, thumbnails.shape[2], size)
    images = [down @ image.astype(np.float32) @ across.T for image in thumbnails]
    small = np.array(images, dtype=np.float32).reshape(-1, size, size)
    return np.rint(small).astype(np.uint8)


def _weights(start: float, end: float, n_lines: int, size: int) -> Floats:
    """Return the weight of each line in each part of [start, end), (size, n_lines)."""
    edges = np.linspace(start, end, size + 1)[:, None]
    line = np.arange(n_lines)
    low, high = np.maximum(edges[:-1], line), np.minimum(edges[1:], line + 1)
    overlap = np.maximum(high - low, 0.0)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


# Candidates: which videos have an image in common


class HashIndex:
    """Finds videos that share a piece of a hash (multi-index hashing).

    A hash of 512 bits is cut into 16 pieces. Two hashes that differ in fewer than 16
    bits share a piece for certain [1]_; with edits that change a part of the image,
    such as a caption, so do hashes that differ in far more. Pieces of an image's
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

    def __init__(self, hashes: Sequence[Bytes]) -> None:
        self.hashes = list(hashes)
        pieces = [_pieces(h) for h in self.hashes]
        keys = np.concatenate([np.zeros(0, np.uint64), *pieces])
        owners = np.repeat(np.arange(len(pieces)), [len(p) for p in pieces])
        order = np.argsort(keys, kind="stable")
        self._keys, self._owners = keys[order], owners[order]

    def find(
        self, hashes: Bytes, before: int | None = None
    ) -> tuple[NDArray[np.intp], int]:
        """Return the videos with a similar image, and how many were looked at.

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


def _pieces(hashes: Bytes) -> NDArray[np.uint64]:
    """Return the telling pieces, each once, marked with their position in the hash."""
    words = np.ascontiguousarray(hashes).view(np.uint32)  # (n_hashes, 16)
    position = np.arange(words.shape[1], dtype=np.uint64) << np.uint64(_PIECE_BITS)
    n_set = np.bitwise_count(words)
    tells = (n_set >= _LEAST_BITS) & (n_set <= _PIECE_BITS - _LEAST_BITS)
    return np.unique((words + position)[tells])


def _are_alike(some: Bytes, others: Bytes) -> bool:
    """Tell whether any two images of two videos are alike."""
    # One at a time: two long videos have millions of pairs of images.
    distances = (np.bitwise_count(one ^ others).sum(axis=1) for one in some)
    return any(bits.min() <= _MOST_DISTANCE for bits in distances)


# The decision: whether two videos move alike, and by how much one is late


class Match(NamedTuple):
    """How alike two videos move.

    Attributes
    ----------
    score : float
        In [-1, 1]; 0 if they have too little motion in common to tell.
    lag : float
        Steps by which the second starts after the first.
    is_mirrored : bool
        Whether that holds for the mirrored second one.
    """

    score: float
    lag: float
    is_mirrored: bool


NO_MATCH = Match(0.0, 0.0, False)


def moves_enough(cells: Bytes) -> bool:
    """Tell whether a video can be compared: it is long enough, and something moves."""
    return len(cells) >= _LEAST_STEPS and _moving(cells).sum() >= _LEAST_CELLS


def compare(first: Bytes, second: Bytes) -> Match:
    """Compare the cells of two videos at their best lag, in both orientations.

    The score is the lower of two correlations over all common cells and steps: of the
    luminance, and of its change from step to step. Cells that do not vary in one of
    the videos are left out, as a caption hides what moved there. From each cell its
    mean over time is taken, so what stands still does not count; and from each step
    its mean over the cells, so a fade or a lamp does not count.
    """
    if _rank(first) < _rank(second):  # exchanging them must not change the score
        match = compare(second, first)
        return match._replace(lag=0.0 - match.lag)
    plain = _align(first, second)
    turned = _align(first, second[:, :, ::-1])
    is_mirrored = turned.level > plain.level
    return _score(turned if is_mirrored else plain)._replace(is_mirrored=is_mirrored)


def _rank(cells: Bytes) -> tuple[int, bytes]:
    return len(cells), cells.tobytes()


def _moving(cells: Bytes) -> NDArray[np.bool_]:
    """Tell which cells vary, in order of rows: (grid * grid,)."""
    return cells.reshape(len(cells), -1).std(axis=0) > _STATIC


class _Aligned(NamedTuple):
    """The common cells of two videos, their best lag, and their correlation there."""

    a: Series
    b: Series
    lag: int
    level: float


_APART = _Aligned(np.zeros((0, 0)), np.zeros((0, 0)), 0, -1.0)


def _align(first: Bytes, second: Bytes) -> _Aligned:
    """Find the lag at which luminance correlates best; `second` is not longer."""
    moves, moves_too = _moving(first), _moving(second)
    both = moves & moves_too
    least = max(_LEAST_CELLS, _COMMON * min(moves.sum(), moves_too.sum()))
    if both.sum() < least:
        return _APART
    a, b = _series(first, both), _series(second, both)
    return _Aligned(a, b, *_best_lag(a, b))


def _series(cells: Bytes, chosen: NDArray[np.bool_]) -> Series:
    """Return the chosen cells minus their mean at each step and their mean in time."""
    series = cells.reshape(len(cells), -1)[:, chosen].astype(np.float64)
    series -= series.mean(axis=1, keepdims=True)
    return series - series.mean(axis=0)


def _best_lag(a: Series, b: Series) -> tuple[int, float]:
    """Return the lag of the highest correlation, and that."""
    least = max(_LEAST_STEPS, round(_OVERLAP * len(b)))
    lags = np.arange(least - len(b), len(a) - least + 1)
    low, high = np.maximum(lags, 0), np.minimum(lags + len(b), len(a))
    sums = np.zeros((3, len(lags)))
    for start in range(0, a.shape[1], _CELLS_AT_ONCE):
        block = slice(start, start + _CELLS_AT_ONCE)
        sums += _moments(a[:, block], b[:, block], lags, low, high)
    covariance, of_a, of_b = sums
    is_still = np.minimum(of_a, of_b) < _NOTHING
    scale = np.sqrt(np.where(is_still, 1.0, of_a * of_b))
    correlation = np.where(is_still, -1.0, covariance / scale)
    return int(lags[correlation.argmax()]), float(correlation.max())


def _moments(
    a: Series,
    b: Series,
    lags: NDArray[np.intp],
    low: NDArray[np.intp],
    high: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Return, for each lag, covariance and variances, summed over cells and steps."""
    size = fft.next_fast_len(len(a) + len(b) - 1, real=True)
    product = fft.rfft(a, size, axis=0) * np.conj(fft.rfft(b, size, axis=0))
    n = (high - low)[:, None]
    ab = fft.irfft(product, size, axis=0)[lags % size]  # (n_lags, n_cells)
    mean_a, of_a = _window_sums(a, low, high)
    mean_b, of_b = _window_sums(b, low - lags, high - lags)
    return np.array(
        [
            (ab - mean_a * mean_b / n).sum(axis=1),
            (of_a - mean_a**2 / n).sum(axis=1),
            (of_b - mean_b**2 / n).sum(axis=1),
        ]
    )


def _window_sums(
    series: Series, low: NDArray[np.intp], high: NDArray[np.intp]
) -> tuple[Series, Series]:
    """Return sums and sums of squares over steps low to high, (n_windows, n_cells)."""
    start = np.zeros((1, series.shape[1]))
    total = np.concatenate([start, series.cumsum(axis=0)])
    squares = np.concatenate([start, (series**2).cumsum(axis=0)])
    return total[high] - total[low], squares[high] - squares[low]


def _score(pair: _Aligned) -> Match:
    """Score between steps too: the other video's sampling may have started there."""
    if not pair.a.size:
        return NO_MATCH
    steps = np.arange(len(pair.b))
    spline = CubicSpline(steps, pair.b)
    matches = []
    for fraction in _FRACTIONS:
        moved = spline((steps - fraction).clip(0, steps[-1]))
        score = _score_at(pair.a, moved, pair.lag)
        matches.append(Match(score, pair.lag + fraction + 0.0, False))
    return max(matches)


def _score_at(a: Series, b: Series, lag: int) -> float:
    """Return the lower of the correlations of luminance and of its change."""
    low, high = max(0, lag), min(len(a), lag + len(b))
    # The first and the last step may lie beyond the ends of the spline.
    x, y = a[low + 1 : high - 1], b[low - lag + 1 : high - lag - 1]
    luminance = _correlation(x, y)
    change = _correlation(np.diff(x, axis=0), np.diff(y, axis=0))
    return min(luminance, change)


def _correlation(x: Series, y: Series) -> float:
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / scale) if scale > _NOTHING else 0.0
