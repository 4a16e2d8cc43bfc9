"""How unequally the videos of a simulation were shown."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skchallenge.feed._engagement import floats_of


def small_creators(videos: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which videos have fewer followers than the median of the videos.

    Raises
    ------
    ValueError
        If a number of followers is missing, infinite or below 0.
    """
    followers = floats_of(videos, "followers", "videos")
    wrong = ~((followers >= 0) & np.isfinite(followers))
    if wrong.any():
        raise ValueError(
            "videos['followers'] must hold finite numbers of at least 0, got "
            f"{followers[wrong][0]}. Drop such rows, or the column."
        )
    return np.asarray(followers < np.median(followers))


def exposure_of(journeys: pd.DataFrame) -> pd.DataFrame:
    """Sum up the journeys of all worlds, as `BatchRollout.simulate` says.

    Parameters
    ----------
    journeys : DataFrame
        Columns `world`, `exposures`, and `followers` if shares of small creators are
        asked for; the same videos in the same order in each world.

    Returns
    -------
    worlds : DataFrame
        One row a world. What is a share of nothing is NaN.
    """
    n_worlds = journeys["world"].nunique()
    shown = journeys["exposures"].to_numpy(np.int64).reshape(n_worlds, -1)
    total = shown.sum(axis=1)
    some = np.where(total > 0, total, np.nan)
    columns = {
        "world": np.arange(n_worlds),
        "exposures": total,
        "gini": _differences(shown) / (shown.shape[1] * some),
    }
    if "followers" in journeys.columns:
        small = small_creators(journeys[: shown.shape[1]])
        columns["small_creators"] = shown[:, small].sum(axis=1) / some
    return pd.DataFrame(columns)


def _differences(shown: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add up the differences of all pairs of videos, of each world."""
    n = shown.shape[1]
    # Of n numbers in order, the i-th from 0 is the greater one of i pairs, and the
    # lesser one of n - 1 - i.
    return np.sort(shown, axis=1) @ (2 * np.arange(n) - n + 1)
