"""What user profiles add to the rates of videos and users, on a real and on made logs.

Reads ``interactions_2022.parquet`` and ``creators_2020.parquet`` from the folder that
SKCHALLENGE_DATA names. The recommender that profiles are compared with needs the extra
`bench` (implicit). A missed target is exit code 1.

    SKCHALLENGE_DATA=path/to/data python benchmarks/feed_profiles.py
"""

import sys
import time

import numpy as np
import pandas as pd
from common import data_file
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix
from scipy.special import expit, logit
from scipy.stats import rankdata

from skchallenge.feed import (
    CreatorAuthority,
    EngagementScorer,
    GenreProfiler,
    engagement_signals,
)

N_RESAMPLES = 1000
SHRINKAGE = 5.0
COLUMNS = {"user": "user_id", "genre": "tag", "video": "video_id"}


def rate(train, y, test, column):
    """Shrunken rate of each id in the training rows; the overall rate if unknown."""
    sums = pd.Series(y).groupby(train[column].to_numpy()).agg(["sum", "size"])
    found = (sums["sum"] + SHRINKAGE * y.mean()) / (sums["size"] + SHRINKAGE)
    return test[column].map(found).fillna(y.mean()).to_numpy()


def als(train, y, test):
    """Score rows by factors of the engaged pairs; 0 for unknown ids."""
    users, videos = pd.Index(train["user_id"].unique()), train["video_id"].unique()
    videos = pd.Index(videos)
    place = (users.get_indexer(train["user_id"]), videos.get_indexer(train["video_id"]))
    matrix = csr_matrix((y.astype(np.float32), place), (len(users), len(videos)))
    model = AlternatingLeastSquares(
        factors=32, regularization=0.1, iterations=15, random_state=0, num_threads=1
    )
    model.fit(matrix, show_progress=False)
    u, v = users.get_indexer(test["user_id"]), videos.get_indexer(test["video_id"])
    score = (model.user_factors[u] * model.item_factors[v]).sum(axis=1)
    return np.where((u < 0) | (v < 0), 0, score)


def predict(train, y, test):
    """Score the test rows by each baseline and by the profiler."""
    video, user = (rate(train, y, test, c) for c in ("video_id", "user_id"))
    profiler = GenreProfiler(**COLUMNS, shrinkage=SHRINKAGE)
    names = list(COLUMNS.values())
    profiler.fit(train[names], y)
    return {
        "video rate": video,
        "user rate": user,
        "both": logit(video) + logit(user),
        "implicit ALS": als(train, y, test),
        "GenreProfiler": profiler.predict_proba(test[names])[:, 1],
    }


class PooledAUC:
    """The AUC of weighted rows; ties count half."""

    def __init__(self, y, score):
        self.y, (_, self.group) = y, np.unique(score, return_inverse=True)

    def __call__(self, weight):
        n = self.group.max() + 1
        yes = np.bincount(self.group, weight * self.y, n)
        no = np.bincount(self.group, weight * (1 - self.y), n)
        return (yes * (np.cumsum(no) - no / 2)).sum() / (yes.sum() * no.sum())


def user_aucs(y, score, user):
    """Return the AUC of each user with both outcomes, and their ids."""
    table = pd.DataFrame({"user": user, "y": y})
    table["rank"] = pd.Series(score).groupby(user).transform(rankdata)
    by = table.groupby("user")
    n, yes = by.size(), by["y"].sum()
    ranks = table["rank"].where(table["y"] == 1, 0).groupby(table["user"]).sum()
    both = (yes > 0) & (yes < n)
    return ((ranks - yes * (yes + 1) / 2) / (yes * (n - yes)))[both]


def bounds(values):
    return np.quantile(values, [0.025, 0.975])


def interval(values):
    low, high = bounds(values)
    return f"{low:+.4f} to {high:+.4f}"


def compare(y, scores, user, *, title):
    """Print pooled and per-user AUC, and differences to `both`, by users drawn anew.

    Return the profiler's differences: pooled and per user, one a draw, and the per-user
    difference itself.
    """
    rng = np.random.default_rng(0)
    code = pd.factorize(user)[0]
    n_users = code.max() + 1
    equal = np.full(n_users, 1 / n_users)
    draws = [rng.multinomial(n_users, equal) for _ in range(N_RESAMPLES)]
    pooled = {name: PooledAUC(y, s) for name, s in scores.items()}
    apart = {name: user_aucs(y, s, user) for name, s in scores.items()}
    n_both = len(apart["both"])
    print(
        f"\n{title}: {len(y)} rows of {n_users} users, {y.mean():.3f} engaged; "
        f"{n_both} users ({n_both / n_users:.1%}) have both outcomes"
    )
    drawn = {name: np.array([f(d[code]) for d in draws]) for name, f in pooled.items()}
    picks = rng.integers(0, n_both, (N_RESAMPLES, n_both))
    for name, score in scores.items():
        whole = pooled[name](np.ones(len(score)))
        difference = drawn[name] - drawn["both"]
        own = (apart[name] - apart["both"]).to_numpy()
        print(
            f"  {name:15} pooled {whole:.4f} (minus both {interval(difference)})   "
            f"per user {apart[name].mean():.4f} "
            f"(minus both {own.mean():+.4f}, {interval(own[picks].mean(axis=1))})"
        )
    own = (apart["GenreProfiler"] - apart["both"]).to_numpy()
    return drawn["GenreProfiler"] - drawn["both"], own[picks].mean(axis=1), own.mean()


def made_log(sd, *, n_users=1000, n=80, n_genres=10, n_videos=1000, seed=0):
    """Draw a log with a user x genre effect of this standard deviation in log odds."""
    rng = np.random.default_rng(seed)
    video = rng.integers(0, n_videos, n_users * n)
    user = np.repeat(np.arange(n_users), n)
    tag = rng.integers(0, n_genres, n_videos)[video]
    odds = rng.normal(0, 0.7, n_users)[user] + rng.normal(0, 0.7, n_videos)[video]
    odds += sd * rng.normal(size=(n_users, n_genres))[user, tag] - 0.3
    y = (rng.uniform(size=len(odds)) < expit(odds)).astype(int)
    log = pd.DataFrame({"user_id": user, "tag": tag, "video_id": video})
    return log, y, np.tile(np.arange(n), n_users) < n // 2


def grouped_log(sd, *, n_users=1500, n=40, n_genres=10, n_videos=1000, seed=0):
    """Draw a log in which 20 groups of users differ in each genre by this sd.

    Videos, users, and users in a genre differ as well, whatever their group.
    """
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(n_users), n)
    video = rng.integers(0, n_videos, len(user))
    tag = rng.integers(0, n_genres, n_videos)[video]
    country, age = rng.integers(0, 5, n_users), rng.integers(0, 4, n_users)
    odds = rng.normal(0, 0.7, n_users)[user] + rng.normal(0, 0.7, n_videos)[video]
    odds += rng.normal(0, 0.5, (n_users, n_genres))[user, tag] - 0.3
    odds += sd * rng.normal(size=(5, 4, n_genres))[country[user], age[user], tag]
    y = (rng.uniform(size=len(odds)) < expit(odds)).astype(int)
    log = pd.DataFrame({"user_id": user, "tag": tag, "video_id": video})
    return log.assign(country=country[user], age_band=age[user]), y


def cold_groups(sd):
    """Print what attributes add to the AUC of users of whom no row was seen.

    Return the interval of the difference to the popularity cold start, over users drawn
    anew.
    """
    log, y = grouped_log(sd)
    cold = (log["user_id"] >= 1000).to_numpy()
    options = {**COLUMNS, "shrinkage": SHRINKAGE}
    attributes = ("country", "age_band")
    grouped = GenreProfiler(**options, attributes=attributes).fit(log[~cold], y[~cold])
    plain = GenreProfiler(**options).fit(log[~cold], y[~cold])
    everything = plain.recommend([-1], k=log["video_id"].nunique())
    popular = everything.set_index("video")["score"]  # what cold users get in order
    user = log["user_id"][cold].to_numpy()
    own = user_aucs(y[cold], grouped.predict_proba(log[cold])[:, 1], user)
    starts = {
        "popularity cold start": log["video_id"][cold]
        .map(popular)
        .fillna(0)
        .to_numpy(),
        "profiler without attributes": plain.predict_proba(log[cold])[:, 1],
    }
    print(f"\nmade log, group x genre sd {sd}, {len(own)} cold users, 20 groups of 50")
    rng = np.random.default_rng(0)
    intervals = []
    for name, score in starts.items():
        before = user_aucs(y[cold], np.asarray(score), user)
        gain = (own - before).to_numpy()
        drawn = gain[rng.integers(0, len(gain), (N_RESAMPLES, len(gain)))].mean(axis=1)
        print(
            f"  {name:28} per user {before.mean():.4f}, with attributes "
            f"{own.mean():.4f} ({gain.mean():+.4f}, {interval(drawn)})"
        )
        intervals.append((gain.mean(), *bounds(drawn)))
    return intervals


def describe(log):
    """Print what the signals of the real log are like."""
    signals = engagement_signals(log)
    kept = log.loc[signals.index]
    points = pd.Series(EngagementScorer().fit_transform(signals)[:, 0], signals.index)
    known = points.notna()
    quartile = pd.qcut(kept["duration_ms"][known].astype(float), 4, labels=False)
    means = points[known].groupby(quartile).mean().round(2).tolist()
    print(
        f"{len(log)} rows, {len(log) - len(kept)} exact duplicates dropped, "
        f"{(~known).sum()} without a duration; mean points by quartile of duration "
        f"{means}"
    )


def authority():
    """Print how many creators of an export can be known at all."""
    videos = pd.read_parquet(data_file("creators_2020.parquet"))
    videos["score"] = np.log1p(videos["n_likes"].astype(float))
    fitted = CreatorAuthority("user_id", total="n_total_vids").fit(
        videos[["user_id", "create_time", "score", "n_total_vids"]]
    )
    print(
        f"\ncreators_2020: the first videos of {fitted.known_share_:.1%} of "
        f"{videos['user_id'].nunique()} creators are in the table"
    )


def main():
    start = time.perf_counter()
    log = pd.read_parquet(data_file("interactions_2022.parquet"))
    describe(log)
    log = log.drop_duplicates().sort_values("time_ms", kind="stable", ignore_index=True)
    cut = int(len(log) * 0.7)
    train, test = log[:cut], log[cut:]
    y_train, y = (t["is_click"].to_numpy(dtype=int) for t in (train, test))
    scores = predict(train, y_train, test)
    user = test["user_id"].to_numpy()
    title = "interactions_2022, the last 30 % by time"
    pooled, _, _ = compare(y, scores, user, title=title)
    low = bounds(pooled)[0]
    ok = low > -0.002
    print(
        f"  lower bound of GenreProfiler minus both, pooled: {low:+.4f} "
        "(asked: above -.002)"
    )
    warm = test["user_id"].isin(train["user_id"]).to_numpy()
    for name, rows in (("warm users", warm), ("cold users", ~warm)):
        some = {k: s[rows] for k, s in scores.items()}
        compare(y[rows], some, user[rows], title=f"  of these, {name}")
    for sd in (1.0, 0.0):
        made, y, is_train = made_log(sd)
        scores = predict(made[is_train], y[is_train], made[~is_train])
        user = made["user_id"].to_numpy()[~is_train]
        title = f"made log, user x genre sd {sd}, 40 impressions a user, 10 genres"
        _, drawn, gain = compare(y[~is_train], scores, user, title=title)
        if sd:
            ok &= gain >= 0.03
            print(f"  gain per user {gain:+.4f} (target at least +.03)")
        else:
            low, high = bounds(drawn)
            ok &= low <= 0 <= high
            print(f"  gain per user {interval(drawn)} (target: contains 0)")
    for sd in (0.8, 0.4, 0.0):
        for gain, low, high in cold_groups(sd):
            ok &= low <= 0 <= high if not sd else low > 0
            ok &= sd < 0.8 or gain >= 0.03
    authority()
    print(f"\n{time.perf_counter() - start:.0f} s")
    print("all targets met" if ok else "A TARGET IS MISSED")
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
