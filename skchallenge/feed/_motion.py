"""Whether two videos move alike, and by how much one is late."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.interpolate import CubicSpline

_LEAST_STEPS = 8  # which are compared; with fewer, chance decides
_OVERLAP = 0.8  # of the shorter video
_STATIC = 2.0  # grey levels; cells that vary less are ignored
_LEAST_CELLS = 6
_SHARED = 0.5  # of the moving cells of the video that has fewer of them
_FRACTIONS = (-0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75)  # of a step
_CELLS_AT_ONCE = 64
_NOTHING = 1e-6

Cells = NDArray[np.uint8]  # (n_steps, grid, grid)
Series = NDArray[np.float64]  # (n_steps, n_cells)


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


def compare(first: Cells, second: Cells) -> Match:
    """Compare two videos at their best lag, in both orientations.

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


def _rank(cells: Cells) -> tuple[int, bytes]:
    return len(cells), cells.tobytes()


def moves_enough(cells: Cells) -> bool:
    """Tell whether a video can be compared: it is long enough, and something moves."""
    return len(cells) >= _LEAST_STEPS and moving_cells(cells).sum() >= _LEAST_CELLS


def moving_cells(cells: Cells) -> NDArray[np.bool_]:
    """Tell which cells vary, in order of rows: (grid * grid,)."""
    return cells.reshape(len(cells), -1).std(axis=0) > _STATIC


class _Aligned(NamedTuple):
    """The common cells of two videos, their best lag, and their correlation there."""

    a: Series
    b: Series
    lag: int
    level: float


_APART = _Aligned(np.zeros((0, 0)), np.zeros((0, 0)), 0, -1.0)


def _align(first: Cells, second: Cells) -> _Aligned:
    moves, moves_too = moving_cells(first), moving_cells(second)
    both = moves & moves_too
    least = max(_LEAST_CELLS, _SHARED * min(moves.sum(), moves_too.sum()))
    if both.sum() < least:
        return _APART
    a, b = _series(first, both), _series(second, both)
    return _Aligned(a, b, *_best_lag(a, b))


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


def _series(cells: Cells, chosen: NDArray[np.bool_]) -> Series:
    """Return the chosen cells minus their mean at each step and their mean in time."""
    series = cells.reshape(len(cells), -1)[:, chosen].astype(np.float64)
    series -= series.mean(axis=1, keepdims=True)
    return series - series.mean(axis=0)


def _best_lag(a: Series, b: Series) -> tuple[int, float]:
    """Return the lag of the highest correlation, and that; `b` is not longer."""
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
    level = np.where(is_still, -1.0, covariance / scale)
    return int(lags[level.argmax()]), float(level.max())


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


def _score_at(a: Series, b: Series, lag: int) -> float:
    """Return the lower of the correlations of luminance and of its change."""
    low, high = max(0, lag), min(len(a), lag + len(b))
    # The first and the last step may lie beyond the ends of the spline.
    x, y = a[low + 1 : high - 1], b[low - lag + 1 : high - lag - 1]
    level = _correlation(x, y)
    change = _correlation(np.diff(x, axis=0), np.diff(y, axis=0))
    return min(level, change)


def _correlation(x: Series, y: Series) -> float:
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    scale = np.sqrt((x**2).sum() * (y**2).sum())
    return float((x * y).sum() / scale) if scale > _NOTHING else 0.0
