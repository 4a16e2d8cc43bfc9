"""Choose videos for known and for cold users."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm

from skchallenge.feed._tallies import Rates, Rows, Tallies


def recommend(
    tallies: Tallies,
    rates: Rates,
    users: "pd.Series[Any]",
    k: int,
    exploration: float,
    rng: np.random.RandomState,
) -> pd.DataFrame:
    """List up to `k` videos for each user, as `GenreProfiler.recommend` says."""
    if users.empty:
        return pd.DataFrame(columns=["user", "rank", "video", "score", "reason"])
    popular = popularity(tallies.pairs)
    known = set(rates.user.index)
    lists = []
    for user in users:
        if user in known:
            best = _score_new(tallies, rates, user)
            lists.append(_mix(best, min(k, len(best)), exploration, rng))
        else:
            cold = popular[["score"]].head(k).reset_index()
            lists.append(cold.assign(reason="cold"))
    lengths = [len(one) for one in lists]
    ranks = [np.arange(n) + 1 for n in lengths]
    user = users.repeat(lengths).reset_index(drop=True)
    columns = {"user": user, "rank": np.concatenate(ranks)}
    return pd.concat(
        [pd.DataFrame(columns), pd.concat(lists, ignore_index=True)], axis=1
    )


def _score_new(tallies: Tallies, rates: Rates, user: Any) -> "pd.Series[float]":
    """Predict the videos never shown to a user, best first, ties by id."""
    shown = tallies.pairs.loc[[user]].index.get_level_values("video")
    genres = tallies.genres[~tallies.genres.index.isin(shown)]
    rows = Rows(pd.Series([user] * len(genres)), genres, genres.index.to_series())
    score = pd.Series(expit(rates.log_odds(rows)), index=genres.index)
    return score.sort_values(ascending=False, kind="stable")


def _mix(
    best: "pd.Series[float]", n: int, exploration: float, rng: np.random.RandomState
) -> pd.DataFrame:
    """Take the first `n`, but some at random places from all the others."""
    # Rounded up or down at random, so that the share is right on average.
    n_random = int(exploration * n + rng.uniform())
    order = np.arange(n)
    spots = rng.choice(n, n_random, replace=False)
    is_random = np.isin(order, spots)
    others = np.arange(n - n_random, len(best))
    order[~is_random] = np.arange(n - n_random)
    order[is_random] = rng.choice(others, n_random, replace=False)
    return pd.DataFrame(
        {
            "video": best.index[order],
            "score": best.to_numpy()[order],
            "reason": np.where(is_random, "exploration", "profile"),
        }
    )


def popularity(pairs: pd.DataFrame, alpha: float = 0.05) -> pd.DataFrame:
    """Order videos by what a stranger may like.

    Returns
    -------
    videos : DataFrame with index video
        Column `score`, the lower Wilson bound of the rate of engagement at one-sided
        level `alpha`, and `engaged_users`. Best first: by score, then by users.
    """
    sums = pairs.groupby(level="video").sum()
    n, rate = sums["weight"], sums["engaged"] / sums["weight"]
    z = norm.isf(alpha)
    middle = rate + z**2 / (2 * n)
    spread = z * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    users = (pairs["engaged"] > 0).groupby(level="video").sum()
    score = (middle - spread) / (1 + z**2 / n)
    table = pd.DataFrame({"score": score.clip(lower=0), "engaged_users": users})
    by = ["score", "engaged_users"]
    return table.sort_values(by, ascending=False, kind="stable")
