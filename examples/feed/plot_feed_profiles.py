"""
=====================================================
What a profile knows of a user
=====================================================

From a raw feed log to points, profiles and recommendations. The log is made up: each
user has tastes of known strength, so we can see when a profile helps and when it only
seems to.
"""

# %%
# A raw log
# ---------
# One row an impression, in the layout of public feed logs: how long a video was played,
# how long it is, and what the user clicked.

import numpy as np
import pandas as pd
from scipy.special import expit

GENRES = np.array(["cats", "comedy", "cooking", "dance", "diy", "sports"])


def make_log(taste, *, n_users=300, n=60, n_videos=300, seed=0):
    """Users whose taste for a genre has this standard deviation, in log odds."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(n_users), n)
    video = rng.integers(0, n_videos, len(user))
    genre = rng.integers(0, len(GENRES), n_videos)
    tastes = taste * rng.normal(size=(n_users, len(GENRES)))
    odds = rng.normal(0, 0.5, n_users)[user] + rng.normal(0, 0.5, n_videos)[video]
    likes = rng.uniform(size=len(user)) < expit(odds + tastes[user, genre[video]] - 0.5)
    duration = rng.integers(5, 60, n_videos)[video] * 1000
    full, part = rng.uniform(0.9, 3, len(user)), rng.uniform(0, 0.9, len(user))
    log = pd.DataFrame({"user_id": user, "video_id": video})
    log["tag"] = GENRES[genre[video]]
    log["time_s"] = np.tile(np.arange(n), n_users) * 60
    log["play_time_ms"] = (np.where(likes, full, part) * duration).astype(int)
    log["duration_ms"] = duration
    for column, share in (("is_forward", 0.05), ("is_comment", 0.1), ("is_like", 0.3)):
        log[column] = (likes & (rng.uniform(size=len(user)) < share)).astype(int)
    return log.assign(is_hate=0), tastes


log, tastes = make_log(taste=1.0)
print(log.drop(columns=["time_s", "is_hate"]).head(5).to_string(index=False))

# %%
# Signals and points
# ------------------
# The points are those that articles pass on. They are a convention, not a fact.

from skchallenge.feed import EngagementScorer, GenreProfiler, engagement_signals

signals = engagement_signals(log)
log = log.iloc[signals.index]
points = EngagementScorer().fit_transform(signals)[:, 0]
engaged = (signals["completion"] == 1).astype(int).to_numpy()
print(signals.mean().round(3).to_string())

# %%
# Profiles
# --------
# Trained on the first 40 impressions of each user, with points for the profile and
# completion as the label. User 1000 is new.

columns = ["user_id", "tag", "video_id"]
early = (log["time_s"] < 40 * 60).to_numpy()
profiler = GenreProfiler("user_id", "tag", video="video_id", random_state=0)
profiler.fit(log.loc[early, columns], engaged[early], points=points[early])
print(profiler.profile_.head(6).round(2).to_string(index=False))
print(profiler.recommend([0, 1000], k=4).round(3).to_string(index=False))

# %%
# Do profiles help?
# -----------------
# Within a user, the rate of the video is the baseline: what everybody likes. With real
# tastes the profile beats it. Without any it must not, and does not.


def auc_per_user(user, y, score):
    """Average the share of pairs in the right order over users with both outcomes."""
    rank = pd.Series(score, user.index).groupby(user).rank()
    yes, n = y.groupby(user).sum(), y.groupby(user).size()
    right = rank.where(y == 1, 0).groupby(user).sum() - yes * (yes + 1) / 2
    return (right / (yes * (n - yes)))[(yes > 0) & (yes < n)].mean()


rows = []
for taste in (0.0, 0.5, 1.0, 1.5):
    made, _ = make_log(taste, seed=1)
    y = (made["play_time_ms"] >= 0.9 * made["duration_ms"]).astype(int)
    train = (made["time_s"] < 40 * 60).to_numpy()
    user, test = made.loc[~train, "user_id"], made.loc[~train, columns]
    model = GenreProfiler("user_id", "tag", video="video_id")
    model.fit(made.loc[train, columns], y[train])
    rate = y[train].groupby(made.loc[train, "video_id"]).mean()
    popular = test["video_id"].map(rate).fillna(0.5)
    rows.append(
        {
            "taste": taste,
            "profile": auc_per_user(user, y[~train], model.predict_proba(test)[:, 1]),
            "rate of the video": auc_per_user(user, y[~train], popular),
        }
    )
table = pd.DataFrame(rows).set_index("taste")
print(table.round(3).to_string())

# %%
# The picture
# -----------
# Left: the profile's score, less the mean of the genre, against the taste that made the
# log. Shrinkage keeps the small samples modest. Right: what profiles add.

import matplotlib.pyplot as plt

profile = profiler.profile_.pivot(index="user", columns="genre", values="score")
profile = profile - profile.mean()
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
left.scatter(tastes.ravel(), profile[GENRES].to_numpy().ravel(), s=6, alpha=0.4)
left.set(xlabel="true taste, log odds", ylabel="score of the profile, points")
left.set_title("300 users x 6 genres, 40 impressions a user")
table.plot(marker="o", ax=right)
right.set(xlabel="standard deviation of tastes, log odds", ylabel="mean AUC per user")
right.set_title("Impressions 41 to 60")
plt.show()
