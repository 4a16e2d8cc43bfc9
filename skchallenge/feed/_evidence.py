"""Evidence that viewers like a video better than a threshold, valid at any time.

Under the hypothesis that the mean of non-negative points is at most t, nobody can
expect to get richer by betting on them: with a stake of b in (0, 1), the wealth after
points x_1, x_2, ... is the product of 1 + b (x_i / t - 1), a non-negative
supermartingale. Its average over several stakes is one too, so the chance that it ever
reaches 1 / alpha is at most alpha (Ville's inequality), however often one looks. See
Waudby-Smith, I., Ramdas, A. "Estimating means of bounded random variables by betting",
JRSS B, 2024.
"""

import numpy as np
from numpy.typing import NDArray

STAKES = 2.0 ** -np.arange(1, 8)  # from bold, fast if interest is high, to careful

Floats = NDArray[np.float64]


def no_evidence(n: int) -> Floats:
    """Return the log wealth of each stake, (n, n_stakes), before the first bet."""
    return np.zeros((n, len(STAKES)))


def grow(
    log_wealth: Floats,
    points: Floats,
    threshold: Floats,
    counts: NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """Bet on the points of further viewers.

    Parameters
    ----------
    log_wealth : ndarray of shape (n_videos, n_stakes)
        Log wealth before.
    points : ndarray of shape (n_viewers,)
        Points, at least 0; the first ``counts[0]`` are those of the first video.
    threshold : ndarray of shape (n_videos,)
        The mean that is to be beaten, above 0.
    counts : ndarray of shape (n_videos,)
        Viewers of each video, at least 1.

    Returns
    -------
    log_wealth : ndarray of shape (n_videos, n_stakes)
        Log wealth after.
    peak : ndarray of shape (n_videos,)
        Highest log of the average wealth after any of these viewers.
    """
    row = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    gain = np.log1p((points / threshold[row] - 1)[:, None] * STAKES)
    path = np.cumsum(gain, axis=0)
    path += (log_wealth - (path[first] - gain[first]))[row]
    last = first + counts - 1
    return path[last], np.maximum.reduceat(_log_mean_exp(path), first)


def _log_mean_exp(path: Floats) -> Floats:
    highest = path.max(axis=1)
    return highest + np.log(np.exp(path - highest[:, None]).mean(axis=1))
