"""Whether two videos are copies of one recording, from file to score.

A file becomes a `Signature` (`sign_files`); videos with points of a picture in common
are found by words that describe them, and the points tell which part of one picture is
which part of the other (`PointIndex`); motion in that part alone decides (`compare`).
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.interpolate import CubicSpline

from skchallenge.embed._cached import Embedded, cached_embed
from skchallenge.embed._keys import fingerprint_of
from skchallenge.embed._store import Session, StoreLike
from skchallenge.exceptions import MediaError
from skchallenge.media._limits import MediaLimits
from skchallenge.media._read import LumaThumbnails, read_luma_thumbnails

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Points = NDArray[np.float16]
Words = NDArray[np.uint64]
Box = tuple[tuple[float, float], tuple[float, float]]  # rows and columns
Series = NDArray[np.float64]  # (n_steps, n_cells)

# Signatures
FPS = 10.0  # steps a second
SIDE = 96  # pixels of the luma thumbnails
GRID = 16  # cells a side, in which motion is compared
_FLAT = 12.0  # grey levels within which a line of pixels has one colour
_LEAST_CONTENT = 8  # lines that are not border
_MOST_SAMPLES = 100  # thumbnails that the border is sought in
_COUNTS = struct.Struct("<qqd")
# Points
N_WORDS = 4  # of 64 bits
_UNIT = 64.0  # a picture has the area of a square of 64 units
_MOST_ASPECT = 4.0
_STEPS_A_PICTURE = 5
_LEAST_PICTURES = 20  # of a video, if it has as many steps
_MOST_POINTS = 32  # of one picture
_LEVELS_AN_OCTAVE = 3
_SIGMAS = 1.2 * 2 ** (np.arange(9) / _LEVELS_AN_OCTAVE)  # units
_CONTRAST = 1.2  # grey levels
_EDGE = 10.0  # ratio of curvatures from which on a blob is an edge
_PATCH = 6  # samples a side, each two sigma from the next
_RECENT = 320  # points that a new one is held against
_SAME_PLACE, _SAME_BITS = 1.5, 16  # within which a point has been seen before
# Of the store
_RULES = 3  # raise it when files become other signatures
# The index
_COMMON = 200  # points from which on a word tells nothing
_LEAST_POINTS = 3  # in common, at places of their own
_MOST_PAIRS = 300  # of points that are looked at
_MOST_AT_ONCE = 64
_SCALES = (0.4, 2.5)
_NEAR, _NEAR_SCALE = 3.0, 0.35  # units, and in logarithms
_STIFFNESS = 200.0  # square units of spread by which scales across and down are one
# Motion
_LEAST_STEPS = 8  # which are compared; with fewer, chance decides
_OVERLAP = 0.8  # of the shorter video
_STATIC = 2.0  # grey levels; cells that vary less are ignored
_LEAST_CELLS = 6
_SHARED = 0.5  # of the moving cells of the video that has fewer of them
_LEAST_SPREAD = 30.0
_LEAST_VIEW = 0.2  # of a side of the picture
_SPEEDS = np.geomspace(0.8, 1.25, 13)
_MOST_SPEED = 1.27
_PRICE_OF_SPEED = 0.05  # at most
_PROBE = 100  # steps of the shorter video that speeds are tried on
_N_STARTS, _N_CLIMBS = 4, 2
_LIKELY = 0.25  # correlation of luminance from afar below which it is given up
_NOT_HOPELESS, _PROMISING = 0.15, 0.5  # scores from which on to improve them
_N_FINER = 4
_FIRST_STRIDES = (0.0125, 0.5)  # of the speed, and steps of the lag
_LEFT_OUT, _ITS_PRICE = 0.05, 0.12
_MOST_STRIDES = 4
_N_ROUNDS = 2
_LEAST_SIDE = 4  # cells
_CELLS_AT_ONCE = 64
_NOTHING = 1e-6


class Signature(NamedTuple):
    """What is kept of a video.

    Attributes
    ----------
    cells : ndarray of shape (n_steps, 16, 16), dtype uint8
        Luminance inside the border, ten steps a second.
    points : ndarray of shape (n_points, 3), dtype float16
        Place from the left and from the top, and size, of blobs in pictures half a
        second apart. The unit is that of a picture with an area of 64 x 64.
    words : ndarray of shape (n_points, 4), dtype uint64
        What each looks like. The last two words first, it is the mirror image.
    aspect : float
        Width inside the border, divided by height.
    """

    cells: Bytes
    points: Points
    words: Words
    aspect: float

    def to_bytes(self) -> bytes:
        """Return the whole signature, after its numbers of steps and of points."""
        counts = _COUNTS.pack(len(self.cells), len(self.points), self.aspect)
        return counts + b"".join(part.tobytes() for part in self[:3])

    @classmethod
    def from_bytes(cls, data: bytes | bytearray) -> Self:
        """Return what `to_bytes` wrote; what follows it is ignored."""
        n_steps, n_points, aspect = _COUNTS.unpack_from(data)
        ends = _COUNTS.size + np.cumsum([0, n_steps * GRID * GRID, 6 * n_points])
        first, second, third = ends.tolist()
        cells = np.frombuffer(data, np.uint8, n_steps * GRID * GRID, first)
        points = np.frombuffer(data, np.float16, 3 * n_points, second)
        words = np.frombuffer(data, np.uint8, 8 * N_WORDS * n_points, third)
        return cls(
            cells.reshape(-1, GRID, GRID),
            points.reshape(-1, 3),
            words.view(np.uint64).reshape(-1, N_WORDS),
            aspect,
        )

    def mirrored(self) -> Self:
        """Return points and words of the mirror image; the cells are left as is."""
        points = self.points.copy()
        points[:, 0] = _size(self.aspect)[1] - points[:, 0]
        words = np.roll(self.words, N_WORDS // 2, axis=1)
        return self._replace(points=points, words=words)


NO_SIGNATURE = Signature(
    np.zeros((0, GRID, GRID), np.uint8),
    np.zeros((0, 3), np.float16),
    np.zeros((0, N_WORDS), np.uint64),
    1.0,
)


def _size(aspect: float) -> tuple[float, float]:
    """Return height and width of a picture in units."""
    return _UNIT / aspect**0.5, _UNIT * aspect**0.5


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
                yield Embedded(name, sign(film), film.digest)

    def _for_workers(self) -> "_SignatureModel":
        return self


# Signatures: cells and points of what is inside the border


def sign(film: LumaThumbnails) -> Signature:
    """Make the signature of luma thumbnails, (n_steps, side, side)."""
    rows, columns = content_box(film.luma)
    cells = _resample(film.luma, rows, columns, (GRID, GRID))
    aspect = film.aspect * (columns[1] - columns[0]) / (rows[1] - rows[0])
    aspect = min(max(aspect, 1 / _MOST_ASPECT), _MOST_ASPECT)
    step = min(max(1, len(film.luma) // _LEAST_PICTURES), _STEPS_A_PICTURE)
    chosen = film.luma[step // 2 :: step]
    height, width = _size(aspect)
    pictures = _resample(chosen, rows, columns, (round(height), round(width)))
    to_units = np.array([width / round(width), height / round(height), 1], np.float16)
    points, words = NO_SIGNATURE.points, NO_SIGNATURE.words
    for picture in pictures:
        new, their_words = blobs(picture)
        is_new = ~_are_known(new, their_words, points[-_RECENT:], words[-_RECENT:])
        points = np.concatenate([points, new[is_new] * to_units])
        words = np.concatenate([words, their_words[is_new]])
    return Signature(np.rint(cells).astype(np.uint8), points, words, aspect)


def blobs(picture: Floats) -> tuple[Points, Words]:
    """Find light and dark blobs of any size, and describe what is around each.

    They are the extrema of differences of Gaussians over place and size, without those
    on edges [1]_. Each is described by comparisons between samples on a grid around it
    [2]_, two sigma apart, so that the size of the picture does not matter.

    References
    ----------
    .. [1] Lowe, D. G. "Distinctive image features from scale-invariant keypoints",
       IJCV 60 (2004).
    .. [2] Calonder, M. et al. "BRIEF: binary robust independent elementary features",
       ECCV 2010.
    """
    down, across = (_blurs(side) for side in picture.shape)
    blurred = np.asarray(down @ picture @ across.transpose(0, 2, 1), np.float32)
    bands = np.diff(blurred, axis=0)  # (n_bands, H, W)
    height = np.abs(bands)
    is_peak = (height == ndimage.maximum_filter(height, 3)) & (height > _CONTRAST)
    is_peak[[0, -1]] = is_peak[:, [0, 1, -2, -1]] = False
    is_peak[:, :, [0, 1, -2, -1]] = False
    places = np.argwhere(is_peak)  # (n_peaks, 3): band, y, x
    slopes, curves, mixed = _derivatives(bands, places)
    trace, product = curves[:, 1] + curves[:, 2], curves[:, 1] * curves[:, 2]
    determinant = product - mixed**2
    is_blob = (determinant > 0) & (trace**2 * _EDGE < determinant * (_EDGE + 1) ** 2)
    places, slopes, curves = places[is_blob], slopes[is_blob], curves[is_blob]
    best = np.argsort(-height[tuple(places.T)], kind="stable")[:_MOST_POINTS]
    # The summit of a parabola through the peak and its neighbours.
    summit = (-slopes / np.where(curves == 0, np.inf, curves))[best]
    band, y, x = (places[best] + summit.clip(-0.5, 0.5)).T
    sigma = _SIGMAS[0] * 2 ** ((band + 0.5) / _LEVELS_AN_OCTAVE)
    offsets = 2.0 * (np.arange(_PATCH) - (_PATCH - 1) / 2) * sigma[:, None]
    at = np.broadcast_arrays(
        np.rint(band)[:, None, None],
        (y[:, None] + offsets)[:, :, None],
        (x[:, None] + offsets)[:, None, :],
    )  # each (n_points, 6, 6)
    samples = ndimage.map_coordinates(blurred, np.array(at), order=1, mode="nearest")
    samples = samples.reshape(len(best), _PATCH**2)
    bits = samples[:, _PAIRS[:, 0]] > samples[:, _PAIRS[:, 1]]
    words = np.packbits(bits, axis=1).reshape(-1).view("<u8").reshape(-1, N_WORDS)
    points = np.stack([x + 0.5, y + 0.5, sigma], axis=1).astype(np.float16)
    return points, words.astype(np.uint64)


@lru_cache
def _blurs(n_lines: int) -> Floats:
    """Return what blurs lines by each sigma, (n_sigmas, n_lines, n_lines)."""
    lines = np.eye(n_lines, dtype=np.float32)
    blurs = [ndimage.gaussian_filter1d(lines, s, 0, mode="nearest") for s in _SIGMAS]
    return np.stack(blurs)


def _derivatives(
    bands: Floats, places: NDArray[np.intp]
) -> tuple[Floats, Floats, Floats]:
    """Return slopes and curvatures by band, y and x, and the mixed one of y and x."""
    ahead, behind = (
        np.stack([bands[tuple((places + s * axis).T)] for axis in np.eye(3, dtype=int)])
        for s in (1, -1)
    )
    curves = ahead + behind - 2 * bands[tuple(places.T)]
    corners = [
        sign * bands[tuple((places + step).T)]
        for sign, step in zip((1, -1, -1, 1), _CORNERS, strict=True)
    ]
    return ((ahead - behind) / 2).T, curves.T, np.sum(corners, axis=0) / 4


_CORNERS = np.array([(0, 1, 1), (0, 1, -1), (0, -1, 1), (0, -1, -1)])


def _pairs() -> NDArray[np.intp]:
    """Choose pairs of samples to be compared; the second half mirrors the first."""
    places = np.indices((_PATCH, _PATCH)).reshape(2, -1).T
    first, second = np.triu_indices(len(places), 1)
    apart = np.hypot(*(places[first] - places[second]).T)
    flip = np.arange(len(places)).reshape(_PATCH, _PATCH)[:, ::-1].ravel()
    pairs = np.stack([first, second], axis=1)
    twins = np.sort(flip[pairs], axis=1)
    # Neighbours look alike, and the ends of a patch may lie beyond the picture. Of a
    # pair and its mirror image one will do.
    is_first = pairs @ [len(places), 1] <= twins @ [len(places), 1]
    pairs = pairs[is_first & (apart > 1.9) & (apart < 4.5)]
    spread = np.argsort(np.arange(len(pairs)) * 0.6180339887498949 % 1)
    half = pairs[spread[: 32 * N_WORDS]]
    return np.concatenate([half, flip[half]])


_PAIRS = _pairs()  # (256, 2)


def _are_known(
    points: Points, words: Words, others: Points, their_words: Words
) -> NDArray[np.bool_]:
    """Tell which points are among the others, at the same place with the same looks."""
    places, their_places = points[:, :2], others[:, :2]
    off = np.abs(places[:, None].astype(np.float32) - their_places).max(axis=2)
    n_bits = np.bitwise_count(words[:, None] ^ their_words).sum(axis=2)
    return ((off < _SAME_PLACE) & (n_bits <= _SAME_BITS)).any(axis=1)


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
    images: Bytes | Floats,
    rows: tuple[float, float],
    columns: tuple[float, float],
    shape: tuple[int, int],
) -> Floats:
    """Average the inside of a box over a grid."""
    down = _weights(*rows, images.shape[1], shape[0])
    across = _weights(*columns, images.shape[2], shape[1])
    small = down @ images.astype(np.float32) @ across.T
    return np.asarray(small, np.float32).reshape(-1, *shape)


def _weights(start: float, end: float, n_lines: int, size: int) -> Floats:
    """Return the weight of each line in each part of [start, end), (size, n_lines)."""
    edges = np.linspace(start, end, size + 1)[:, None]
    line = np.arange(n_lines)
    low, high = np.maximum(edges[:-1], line), np.minimum(edges[1:], line + 1)
    overlap = np.maximum(high - low, 0.0)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


# Candidates: which videos have points in common, and where


class View(NamedTuple):
    """Which part of one picture is which part of another.

    Attributes
    ----------
    first, second : tuple of (rows, columns), each (start, end)
        Shares of height and width, in [0, 1]; of the mirrored second one, if so.
    is_mirrored : bool
        Whether the second one is mirrored.
    """

    first: Box
    second: Box
    is_mirrored: bool

    def exchanged(self) -> "View":
        """Return the same with the second one first."""
        first, second = self.second, self.first
        if self.is_mirrored:
            first, second = (
                (rows, (1 - end, 1 - start)) for rows, (start, end) in (first, second)
            )
        return View(first, second, self.is_mirrored)


_WHOLE: Box = ((0.0, 1.0), (0.0, 1.0))
WHOLE = (View(_WHOLE, _WHOLE, False), View(_WHOLE, _WHOLE, True))


class Candidate(NamedTuple):
    """A video with points in common, and the views they show."""

    owner: int
    views: list[View]


class PointIndex:
    """Finds videos that share points of a picture, wherever they are in it.

    A point is described by four words. Two videos have a point in common if a word of
    the one is the same word of the other. They are candidates if three such points, at
    places of their own, agree on how the one picture is moved and scaled to lie on the
    other, as in [1]_. Words that stand in the index very often are left out.

    Parameters
    ----------
    signatures : sequence of Signature
        Of each video; of these, cells are not used.

    References
    ----------
    .. [1] Lowe, D. G. "Distinctive image features from scale-invariant keypoints",
       IJCV 60 (2004), section 7.
    """

    def __init__(self, signatures: Sequence[Signature]) -> None:
        counts = [len(signature.points) for signature in signatures]
        self._owners = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        nothing = NO_SIGNATURE
        self._points = np.concatenate([nothing.points, *(s.points for s in signatures)])
        self._aspects = [signature.aspect for signature in signatures]
        words = np.concatenate([nothing.words, *(s.words for s in signatures)])
        self._tables = [_table(word) for word in words.T]

    def find(
        self, signature: Signature, before: int | None = None
    ) -> tuple[list[Candidate], int]:
        """Return the videos with points in common, and how many were looked at.

        With `before`, only videos that stand before that one.
        """
        views: dict[int, list[View]] = {}
        seen: set[int] = set()
        for is_mirrored in (False, True):
            some = signature.mirrored() if is_mirrored else signature
            theirs, ours = self._in_common(some.words, before)
            first = self._points[theirs].astype(np.float32)
            second = some.points[ours].astype(np.float32)
            owners = self._owners[theirs]
            starts = np.flatnonzero(np.diff(owners, prepend=-1))
            sizes = np.diff(starts, append=len(owners))
            are_enough = sizes >= _LEAST_POINTS
            starts, sizes = starts[are_enough], sizes[are_enough]
            seen.update(owners[starts].tolist())
            agree = _some_agree(first, second, starts, sizes)
            for start, size in zip(starts[agree], sizes[agree], strict=True):
                group, owner = slice(start, start + size), int(owners[start])
                view = _view(
                    first[group],
                    second[group],
                    _size(self._aspects[owner]),
                    _size(some.aspect),
                )
                if view is not None:
                    views.setdefault(owner, []).append(View(*view, is_mirrored))
        return [Candidate(o, views[o]) for o in sorted(views)], len(seen)

    def _in_common(
        self, words: Words, before: int | None
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return pairs of points, of the index and of the query, in order of owners."""
        before = len(self._aspects) if before is None else before
        last = np.searchsorted(self._owners, before)
        pairs = []
        for word, table in zip(words.T, self._tables, strict=True):
            known, starts, counts, order = table
            place = np.searchsorted(known[:-1], word)
            n_alike = np.where(known[place] == word, counts[place], 0)
            ours = np.repeat(np.arange(len(word)), n_alike)
            first = starts[place] - n_alike.cumsum() + n_alike  # less what is before it
            theirs = order[np.repeat(first, n_alike) + np.arange(len(ours))]
            is_before = theirs < last
            pairs.append(theirs[is_before] * len(words) + ours[is_before])
        return np.divmod(np.unique(np.concatenate(pairs)), max(1, len(words)))


def _table(word: Words) -> tuple[NDArray[Any], ...]:
    """Return the telling words in order, where each starts, how often it is, and where.

    The last one stands for all that are not there.
    """
    known, counts = np.unique(word, return_counts=True)
    starts, tells = counts.cumsum() - counts, counts <= _COMMON
    known, starts, counts = (
        np.append(x[tells], np.zeros(1, x.dtype)) for x in (known, starts, counts)
    )
    return known, starts, counts, np.argsort(word, kind="stable")


def _some_agree(
    first: Floats, second: Floats, starts: NDArray[np.intp], sizes: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Tell in which groups of pairs of points three or more agree, without a loop.

    Large groups are left to be looked at one by one: there are few.
    """
    is_large = sizes > _MOST_AT_ONCE
    n_partners = np.where(is_large, 0, sizes)
    groups = np.repeat(np.arange(len(sizes)), n_partners)  # of each pair of points
    one = np.arange(len(groups)) + (starts - n_partners.cumsum() + n_partners)[groups]
    n_partners = n_partners[groups]
    ends = n_partners.cumsum()
    other = np.arange(n_partners.sum()) + np.repeat(
        starts[groups] - ends + n_partners, n_partners
    )
    agrees = _agree(first, second, np.repeat(one, n_partners), other)
    n_agree = np.bincount(np.repeat(np.arange(len(one)), n_partners), agrees, len(one))
    return is_large | (np.bincount(groups, n_agree >= _LEAST_POINTS, len(sizes)) > 0)


def _agree(
    first: Floats, second: Floats, one: NDArray[np.intp], other: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Tell whether a pair of points says of another where, and how large, it is."""
    scale = first[:, 2] / second[:, 2]
    move = first[:, :2] - scale[:, None] * second[:, :2]
    is_sound = (scale > _SCALES[0]) & (scale < _SCALES[1])
    expected = scale[one, None] * second[other, :2] + move[one]
    off = np.abs(expected - first[other, :2]).max(axis=-1)
    ratio = np.abs(np.log(scale[one] / scale[other]))
    is_near = (off < _NEAR * np.maximum(1, scale[one])) & (ratio < _NEAR_SCALE)
    return is_near & is_sound[one] & is_sound[other]


def _view(
    first: Floats,
    second: Floats,
    first_size: tuple[float, float],
    second_size: tuple[float, float],
) -> tuple[Box, Box] | None:
    """Return the common part of two pictures, from pairs of their points, (n, 3).

    Each pair says how the second picture is scaled and moved. The pair that most
    others agree with is taken, then what fits all of these best.
    """
    if len(first) > _MOST_PAIRS:
        some = np.linspace(0, len(first) - 1, _MOST_PAIRS).astype(int)
        first, second = first[some], second[some]
    scale = first[:, 2] / second[:, 2]  # (n_pairs,)
    one, other = np.indices((len(first), len(first))).reshape(2, -1)
    agree = _agree(first, second, one, other).reshape(len(first), -1)
    by_number = np.argsort(-agree.sum(axis=1), kind="stable")[:12]
    n_places = [_n_places(first[agree[i]], second[agree[i]]) for i in by_number]
    chosen = agree[by_number[np.argmax(n_places)]]
    for _ in range(3):
        if _n_places(first[chosen], second[chosen]) < _LEAST_POINTS:
            return None
        scales, moves = _fit(first[chosen], second[chosen])
        off = np.abs(scales * second[:, :2] + moves - first[:, :2]).max(axis=1)
        ratio = np.abs(np.log(scale / np.sqrt(scales.prod())))
        chosen = (off < _NEAR * max(1, scales.max()) * 2 / 3) & (ratio < _NEAR_SCALE)
    boxes = []
    for axis in (1, 0):  # of points, whose places are x and y
        ours, theirs = first_size[1 - axis], second_size[1 - axis]
        start = max(0.0, moves[axis])
        end = min(ours, moves[axis] + scales[axis] * theirs)
        ends = np.array([start, end])
        inside = (ends - moves[axis]) / scales[axis] / theirs
        boxes.append((tuple((ends / ours).tolist()), tuple(inside.clip(0, 1).tolist())))
    (rows, their_rows), (columns, their_columns) = boxes
    box, other = (rows, columns), (their_rows, their_columns)
    if min(end - start for start, end in (*box, *other)) < _LEAST_VIEW:
        return None
    return box, other


def _n_places(first: Floats, second: Floats) -> int:
    """Count places, to three units, in the picture where there are fewer."""
    places = (np.rint(points[:, :2] / 3) @ [1, 1000] for points in (first, second))
    return min(len(np.unique(p)) for p in places)


def _fit(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """Return scales and moves along x and y, by least squares.

    The scales are held to each other, and to what the sizes of the points say where
    the points are close together.
    """
    a, b = first[:, :2], second[:, :2]
    centre, centre_b = a.mean(axis=0), b.mean(axis=0)
    spread = ((b - centre_b) ** 2).sum(axis=0)
    shared = ((a - centre) * (b - centre_b)).sum(axis=0)
    of_sizes = np.median(first[:, 2] / second[:, 2])
    one = (shared.sum() + _LEAST_SPREAD * of_sizes) / (spread.sum() + _LEAST_SPREAD)
    scales = (shared + _STIFFNESS * one) / (spread + _STIFFNESS)
    return scales, centre - scales * centre_b


# The decision: whether two videos move alike, and by how much one is late


class Match(NamedTuple):
    """How alike two videos move.

    Attributes
    ----------
    score : float
        In [-1, 1]; 0 if they have too little motion in common to tell.
    lag : float
        Steps of the first one at which the second starts.
    speed : float
        How many times as fast the second one is played.
    is_mirrored : bool
        Whether that holds for the mirrored second one.
    """

    score: float
    lag: float
    speed: float
    is_mirrored: bool


NO_MATCH = Match(0.0, 0.0, 1.0, False)


def moves_enough(cells: Bytes) -> bool:
    """Tell whether a video can be compared: it is long enough, and something moves."""
    return len(cells) >= _LEAST_STEPS and _moving(cells).sum() >= _LEAST_CELLS


def compare(first: Bytes, second: Bytes, views: Sequence[View] = WHOLE) -> Match:
    """Compare the cells of two videos at their best lag and speed, in any of the views.

    The score is the lower of two correlations over all common cells and steps: of the
    luminance, and of its change from step to step. Cells that do not vary in one of
    the videos are left out, as a caption hides what moved there. From each cell its
    mean over time is taken, so what stands still does not count; and from each step
    its mean over the cells, so a fade or a lamp does not count.

    What moves over the picture hides some of it. So the score is tried without the
    twentieth of the luminances that fit worst, too, less what that adds to the score
    of videos that are different. Likewise, speeds other than one have a price: the
    difference, but at most 0.05.
    """
    if _rank(first) < _rank(second):  # exchanging them must not change the score
        match = compare(second, first, [view.exchanged() for view in views])
        lag, speed = 0.0 - match.lag / match.speed, 1 / match.speed
        return match._replace(lag=lag, speed=speed)
    return max([NO_MATCH, *(_compare_in(first, second, view) for view in views)])


def _rank(cells: Bytes) -> tuple[int, bytes]:
    return len(cells), cells.tobytes()


def _moving(cells: Bytes | Floats) -> NDArray[np.bool_]:
    """Tell which cells vary, in order of rows."""
    return cells.reshape(len(cells), -1).std(axis=0) > _STATIC


def _compare_in(first: Bytes, second: Bytes, view: View) -> Match:
    """Compare what a view shows."""
    second = second[:, :, ::-1] if view.is_mirrored else second
    a, b = _cells_of(first, second, view, GRID)
    moves, moves_too = _moving(a), _moving(b)
    both = moves & moves_too
    if both.sum() < max(_LEAST_CELLS, _SHARED * min(moves.sum(), moves_too.sum())):
        return NO_MATCH
    coarse = _cells_of(first, second, view, GRID // 2)
    starts = _starts(*coarse)
    if not starts:
        return NO_MATCH
    pair = _Pair(_series(a, both), _series(b, both))
    best = NO_MATCH
    for start in starts[:_N_CLIMBS]:
        best = max(best, _climb(pair, *start))
        if best.score >= 1 - _ITS_PRICE:  # more than what forgiving can reach
            return best._replace(is_mirrored=view.is_mirrored)
    # What moves over the picture may hide which of them is right.
    starts.append((best.speed, best.lag))
    speed, lag = max(starts, key=lambda s: _score_at(pair, s[0], s[1], _LEFT_OUT))
    forgiving = _climb(pair, speed, lag, _LEFT_OUT)
    best = max(best, forgiving._replace(score=forgiving.score - _ITS_PRICE))
    return best._replace(is_mirrored=view.is_mirrored)


def _cells_of(
    first: Bytes, second: Bytes, view: View, grid: int
) -> tuple[Floats, Floats]:
    """Return the cells of a common part, as many as are told apart in both videos."""
    sides = [
        max(_LEAST_SIDE, int(grid * min(end - start, its_end - its_start) + 0.3))
        for (start, end), (its_start, its_end) in zip(
            view.first, view.second, strict=True
        )
    ]
    parts = []
    for cells, box in ((first, view.first), (second, view.second)):
        rows, columns = ((start * GRID, end * GRID) for start, end in box)
        parts.append(_resample(cells, rows, columns, (sides[0], sides[1])))
    return parts[0], parts[1]


def _series(cells: Floats, chosen: NDArray[np.bool_]) -> Series:
    """Return the chosen cells minus their mean at each step and their mean in time."""
    series = cells.reshape(len(cells), -1)[:, chosen].astype(np.float64)
    series -= series.mean(axis=1, keepdims=True)
    return series - series.mean(axis=0)


def _starts(first: Floats, second: Floats) -> list[tuple[float, float]]:
    """Return the speeds, and the lag of each, that look best from afar.

    Of a long second video, its middle is looked at.
    """
    both = _moving(first) & _moving(second)
    if not both.any():
        return []
    skipped = max(0, (len(second) - _PROBE) // 2)
    a = _series(first, both)
    b = _Sums(_series(second, both)[skipped : skipped + _PROBE])
    found = []
    for speed in _SPEEDS.tolist():
        steps = np.arange(int(b.n_steps * speed) + 1) / speed
        c = b.means(steps) if len(steps) > 1 else np.zeros((0, both.sum()))
        c = c - c.mean(axis=0)
        longer, shorter, sign = (a, c, 1) if len(a) >= len(c) else (c, a, -1)
        if len(shorter) >= _LEAST_STEPS:
            lag, level = _best_lag(longer, shorter)
            found.append((level, speed, sign * lag - skipped * speed))
    found = sorted(found, reverse=True)[:_N_STARTS]
    return [(speed, lag) for _, speed, lag in found if found[0][0] >= _LIKELY]


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


class _Sums:
    """Means of series over any stretch of time: the integral, interpolated."""

    def __init__(self, series: Series) -> None:
        self.n_steps = len(series)
        sums = np.concatenate([np.zeros((1, series.shape[1])), series.cumsum(axis=0)])
        self._spline = CubicSpline(np.arange(len(sums)), sums)

    def means(self, edges: NDArray[Any]) -> Series:
        """Return the means between edges, in steps."""
        sums = self._spline(edges.clip(0, self.n_steps))
        return np.diff(sums, axis=0) / np.diff(edges)[:, None]


class _Pair:
    """Two videos, to be laid on each other."""

    def __init__(self, a: Series, b: Series) -> None:
        self.a, self.b = a, b

    # A speed above 1 needs the first, one below needs the second.
    @cached_property
    def _of_a(self) -> _Sums:
        return _Sums(self.a)

    @cached_property
    def _of_b(self) -> _Sums:
        return _Sums(self.b)

    def lay(self, speed: float, lag: float) -> tuple[Series, Series] | None:
        """Return both over their common time, in steps of the one with longer steps.

        So that both average over the same time. None if they have too little in common.
        """
        n_a, n_b = len(self.a), len(self.b)
        # A little is forgiven, or a lag could not be changed by a part of a step.
        low, high = max(0.0, lag), min(n_a, lag + speed * n_b)
        least = _OVERLAP * min(n_a, speed * n_b) - 1
        if high - low < max(least, _LEAST_STEPS - 1.5):
            return None
        if speed >= 1:  # the second one's steps are longer, in time of the first
            start, end = _whole((low - lag) / speed, (high - lag) / speed)
            edges = lag + speed * np.arange(start, end + 1)
            return self._of_a.means(edges), self.b[start:end]
        start, end = _whole(low, high)
        edges = (np.arange(start, end + 1) - lag) / speed
        return self.a[start:end], self._of_b.means(edges)


def _whole(low: float, high: float) -> tuple[int, int]:
    return int(np.ceil(low - _NOTHING)), int(np.floor(high + _NOTHING))


def _climb(pair: _Pair, speed: float, lag: float, left_out: float = 0.0) -> Match:
    """Improve speed and lag by smaller and smaller strides, where that is promising."""
    half = len(pair.b) / 2  # the lag of the middle hardly depends on the speed
    middle = lag + speed * half
    best = _score_at(pair, speed, lag, left_out)
    by_speed, by_lag = _FIRST_STRIDES
    for number in range(_N_FINER):
        if best < (_PROMISING if number or left_out else _NOT_HOPELESS):
            break
        for _ in range(_MOST_STRIDES):
            around = [
                (speed * (1 + by_speed), middle),
                (speed / (1 + by_speed), middle),
                (speed, middle + by_lag),
                (speed, middle - by_lag),
            ]
            scores = [_score_at(pair, s, m - s * half, left_out) for s, m in around]
            top = int(np.argmax(scores))
            if scores[top] <= best:
                break
            best, (speed, middle) = scores[top], around[top]
        by_speed, by_lag = by_speed / 2, by_lag / 2
    price = min(_PRICE_OF_SPEED, abs(np.log(speed)))
    return Match(best - price, middle - speed * half + 0.0, speed, False)


def _score_at(pair: _Pair, speed: float, lag: float, left_out: float) -> float:
    if not 1 / _MOST_SPEED < speed < _MOST_SPEED:
        return -1.0
    laid = pair.lay(speed, lag)
    return -1.0 if laid is None else _score(*laid, left_out)


def _score(x: Series, y: Series, left_out: float = 0.0) -> float:
    """Return the lower of the correlations of luminance and of its change.

    The share `left_out` of luminances that fit worst, where both have unit variance,
    does not count.
    """
    kept = np.ones(x.shape)
    for _ in range(_N_ROUNDS if left_out else 1):
        u, v = _centred(x, kept), _centred(y, kept)
        scales = [np.sqrt((z**2 * kept).sum()) for z in (u, v)]
        if left_out and min(scales) > _NOTHING:
            off = np.abs(u / scales[0] - v / scales[1])
            kept = (off <= np.quantile(off, 1 - left_out)).astype(float)
    both = kept[1:] * kept[:-1]
    changes = [_centred(np.diff(z, axis=0), both) * both for z in (u, v)]
    return min(_cosine(u * kept, v * kept), _cosine(*changes))


def _centred(x: Series, kept: Series) -> Series:
    """Take the mean of what is kept off each cell, then off each step."""
    n_steps, n_cells = kept.sum(axis=0), kept.sum(axis=1, keepdims=True)
    x = x - (x * kept).sum(axis=0) / n_steps.clip(1)
    return np.asarray(x - (x * kept).sum(axis=1, keepdims=True) / n_cells.clip(1))


def _cosine(x: Series, y: Series) -> float:
    scale = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / scale) if scale > _NOTHING else 0.0
