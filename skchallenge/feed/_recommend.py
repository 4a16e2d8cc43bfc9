"""Choose videos for known and for cold users."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.special import expit
from scipy.stats import norm

from skchallenge.feed._tallies import Rates, Tallies


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
    cold = popularity(tallies.pairs)[["score"]].head(k).reset_index()
    cold["reason"] = "cold"
    score_new = _scorer(tallies, rates)
    lists = []
    for place in rates.user.index.get_indexer(pd.Index(users)).tolist():
        best = score_new(place) if place >= 0 else None
        lists.append(
            cold if best is None else _mix(best, min(k, len(best)), exploration, rng)
        )
    lengths = [len(one) for one in lists]
    ranks = [np.arange(n) + 1 for n in lengths]
    user = users.repeat(lengths).reset_index(drop=True)
    columns = {"user": user, "rank": np.concatenate(ranks)}
    return pd.concat(
        [pd.DataFrame(columns), pd.concat(lists, ignore_index=True)], axis=1
    )


def _scorer(tallies: Tallies, rates: Rates) -> Callable[[int], "pd.Series[float]"]:
    """Return what predicts the videos never shown to a known user, best first.

    Ties are by id. It takes the user's place in ``rates.user``.
    """
    videos, users = rates.video.index, rates.user.index
    genres = rates.genre.index
    of_video = tallies.genres.index
    place = _places(of_video, "video", videos), _places(of_video, "genre", genres)
    shape = (len(videos), len(genres))
    shares = csr_array((tallies.genres["weight"], place), shape)
    shares = diags_array(1 / shares.sum(axis=1)) @ shares
    pairs, cells = tallies.pairs.index, rates.cell.index
    shown, liked = _places(pairs, "video", videos), _places(cells, "genre", genres)
    # Tables are sorted by user, so each one's rows are a slice.
    ends = np.arange(len(users) + 1)
    shown_to = np.searchsorted(_places(pairs, "user", users), ends)
    liked_by = np.searchsorted(_places(cells, "user", users), ends)
    odds, shift, liking = (t.to_numpy() for t in (rates.video, rates.user, rates.cell))

    def score_new(user: int) -> "pd.Series[float]":
        rows = slice(*liked_by[user : user + 2])
        taste = np.zeros(len(genres))
        taste[liked[rows]] = liking[rows]
        is_new = np.ones(len(videos), dtype=bool)
        is_new[shown[slice(*shown_to[user : user + 2])]] = False
        score = expit(odds + shares @ taste + shift[user])
        best = np.argsort(-score, kind="stable")
        best = best[is_new[best]]
        return pd.Series(score[best], videos[best])

    return score_new


def _places(
    index: "pd.Index[Any]", level: str, known: "pd.Index[Any]"
) -> NDArray[np.intp]:
    """Return the place of each value of a level among the known ones."""
    return np.asarray(known.get_indexer(index.get_level_values(level)))


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
