"""When momentum fires: by its rule, seldom without a change, nearly always with one.

A missed target is exit code 1.

    python benchmarks/feed_momentum.py
"""

import sys
import time

import numpy as np
import pandas as pd
from scipy.stats import norm

from skchallenge.feed import BatchRollout

SHARES = np.array([0.2, 1.0, 0.05, 0.1, 0.3])  # of a video's appeal, by signal
POINTS = np.array([10, 8, 6, 4, 2])
POINTS_PER_APPEAL = float(SHARES @ POINTS)
DAYS, PROBES = 60, 20


def roll_out(appeal, threshold, *, rise=1.0, rise_on=2, **options):
    """Roll videos out whose appeal rises after some day; tell what was boosted."""
    n = len(appeal)
    videos = pd.DataFrame({"video_id": np.arange(n), "creator_id": np.arange(n)})
    viewers = pd.DataFrame({"viewer_id": np.arange(4000), "persona": 0})
    rates = appeal[:, None] * SHARES

    def response(video, viewer, day):
        return rates[video] * (rise if day >= rise_on else 1.0)

    rollout = BatchRollout(
        (100, 1000), threshold=threshold, random_state=0, **options
    ).fit()
    events = rollout.simulate(videos, viewers, response).events
    paused = events.loc[events["event"] == "paused", "video_id"].unique()
    boosted = events.loc[events["event"] == "boosted"]
    return paused, boosted


def report(name, paused, boosted, among=None, *, at_most=None, at_least=None):
    """Print the share of boosted videos; return whether it is where it should be."""
    chosen = paused if among is None else paused[among[paused]]
    share = np.isin(chosen, boosted["video_id"]).mean()
    ok, target = True, ""
    if at_most is not None:
        ok, target = share <= at_most, f"(target at most {at_most})"
    if at_least is not None:
        ok, target = share >= at_least, f"(target at least {at_least})"
    print(f"  {name:50} {share:.4f} of {len(chosen)} paused videos {target}")
    return bool(ok)


def daily_test(n=20_000, rate=0.3, alpha=0.05):
    """A one-sided test each day, of all probes so far, at a fixed level."""
    rng = np.random.default_rng(0)
    seen = rng.binomial(PROBES, rate, (n, DAYS)).cumsum(axis=1)
    views = PROBES * np.arange(1, DAYS + 1)
    z = (seen - rate * views) / np.sqrt(views * rate * (1 - rate))
    return (z > norm.isf(alpha)).any(axis=1).mean()


def creator():
    """The creator trigger against its rule, written as a loop."""
    rng = np.random.default_rng(0)
    n, n_days = 300, 90
    daily = rng.poisson(rng.uniform(0, 3, (n, 1)), (n, n_days))
    daily = daily * np.where(rng.uniform(size=(n, n_days)) < 0.02, 0, 1).cumprod(axis=1)
    activity = pd.DataFrame(
        {
            "creator_id": np.repeat(np.arange(n), n_days),
            "day": np.tile(np.arange(n_days), n),
            "activity": daily.ravel().astype(float),
        }
    )
    videos = pd.DataFrame({"video_id": np.arange(n), "creator_id": np.arange(n)})
    viewers = pd.DataFrame({"viewer_id": np.arange(4000), "persona": 0})
    rollout = BatchRollout((100, 200), threshold=9.0, momentum="creator").fit()
    events = rollout.simulate(
        videos, viewers, lambda v, u, day: np.full((len(v), 5), 0.01), activity=activity
    ).events
    found = events[events["event"] == "boosted"].set_index("video_id")["day"].to_dict()
    expected = {}
    for row in range(n):
        was = False
        for day in range(13, n_days):
            now, before = daily[row, day - 6 : day + 1], daily[row, day - 13 : day - 6]
            fallen = before.sum() > 0 and now.sum() <= before.sum() / 2
            if fallen and not was:
                expected[row] = day
                break
            was = fallen
    print(
        f"creator trigger: {len(found)} of {n} paused videos boosted; days equal the "
        f"rule's: {found == expected}"
    )
    return found == expected


def main():
    start = time.perf_counter()
    ok = creator()
    print(
        f"a daily 5 % test of a rate of .3, {DAYS} days, {PROBES} probes a day, no "
        f"change: fires for {daily_test():.3f}"
    )
    n, threshold = 3000, 2.5
    border = np.full(n, threshold / POINTS_PER_APPEAL)
    print("probe at alpha 0.05, the interest of all videos exactly at the threshold:")
    probe = {"momentum": "probe", "rule": "threshold"}
    still = roll_out(border, threshold, **probe)
    ok &= report("no change", *still, at_most=0.05)
    risen = roll_out(border, threshold, rise=1.5, **probe)
    ok &= report("interest rises by half", *risen, at_least=0.95)
    mixed = np.random.default_rng(1).beta(2.0, 6.0, n)
    below = mixed * POINTS_PER_APPEAL <= threshold
    paused, boosted = roll_out(mixed, threshold, **probe)
    print("probe at alpha 0.05, videos of all kinds, no change:")
    report("all paused videos", paused, boosted)
    name = "rightly paused (mean at most the threshold)"
    ok &= report(name, paused, boosted, below, at_most=0.05)
    report("wrongly paused (mean above it), rescued", paused, boosted, ~below)
    paused, boosted = roll_out(mixed, threshold, rise=1.5, **probe)
    enough = mixed * POINTS_PER_APPEAL * 1.5 > threshold
    print("the same, interest rises by half:")
    report("rises above the threshold", paused, boosted, enough)
    ok &= report("stays at or below it", paused, boosted, ~enough, at_most=0.05)
    print(f"{time.perf_counter() - start:.0f} s")
    print("all targets met" if ok else "A TARGET IS MISSED")
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
