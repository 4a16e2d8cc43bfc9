"""When a paused video gets another chance."""

import numpy as np
from numpy.typing import NDArray

WINDOW_DAYS = 7
FALL = 0.5  # of the mean activity of the window before
PROBES_A_DAY = 20
PROBE_DAYS = 60


def creator_falls(activity: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find the days on which creators turn quiet.

    A creator's activity has fallen on a day if its mean over the seven days that end
    there is at most half of the mean over the seven days before those, and that was
    above zero. The trigger fires on the first such day of each fall. No article states
    numbers; these are ours.

    Parameters
    ----------
    activity : ndarray of shape (n_creators, n_days)
        Activity, such as videos posted or sessions, at least 0.

    Returns
    -------
    fires : ndarray of bool of shape (n_creators, n_days)
        Whether the trigger fires.
    """
    total = np.cumsum(np.pad(activity, ((0, 0), (1, 0))), axis=1)
    recent = total[:, WINDOW_DAYS:] - total[:, :-WINDOW_DAYS]
    now, before = recent[:, WINDOW_DAYS:], recent[:, :-WINDOW_DAYS]
    fallen = np.zeros(activity.shape, dtype=bool)
    fallen[:, 2 * WINDOW_DAYS - 1 :] = (now <= FALL * before) & (before > 0)
    yesterday = np.pad(fallen, ((0, 0), (1, 0)))[:, :-1]
    return fallen & ~yesterday
