"""When a paused video gets another chance."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

WINDOW_DAYS = 7
FALL = 0.5  # of the mean activity of the window before
ROUNDING = 1e-9  # relative; tenths do not add up exactly
PROBES_A_DAY = 20
PROBE_DAYS = 60


def creator_falls(activity: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find the days on which creators turn quiet.

    A creator's activity has fallen on a day if its mean over the seven days that end
    there is at most half of the mean over the seven days before those, and that was
    above zero. The trigger fires on the first such day of each fall. No article states
    numbers; these are ours. A mean above the half by less than one part in 1e9 still
    counts, because sums of fractions are rounded.

    Parameters
    ----------
    activity : ndarray of shape (n_creators, n_days)
        Activity, such as videos posted or sessions, at least 0.

    Returns
    -------
    fires : ndarray of bool of shape (n_creators, n_days)
        Whether the trigger fires.
    """
    if activity.shape[1] < 2 * WINDOW_DAYS:
        return np.zeros(activity.shape, dtype=bool)
    # Sums of windows, not differences of running totals: quiet weeks are exactly zero.
    recent = sliding_window_view(activity, WINDOW_DAYS, axis=1).sum(axis=-1)
    now, before = recent[:, WINDOW_DAYS:], recent[:, :-WINDOW_DAYS]
    fallen = np.zeros(activity.shape, dtype=bool)
    fallen[:, 2 * WINDOW_DAYS - 1 :] = (before > 0) & (
        now <= FALL * before * (1 + ROUNDING)
    )
    yesterday = np.pad(fallen, ((0, 0), (1, 0)))[:, :-1]
    return fallen & ~yesterday
