"""
=====================================================
Who takes up a challenge while it spreads
=====================================================

A challenge spreads, and some users are quick to join. Were they quick before? This
example makes a small export, looks at how far each tag was spreading when somebody took
it up, and compares models on users that none of them has seen. Everything is a table:
no video is rendered, and nothing is downloaded.

The users are made up, so the truth is known: how keen a user is on what is new decides
how often the user takes up a tag that spreads, and nothing else does.
"""

# %%
# Make an export
# --------------
# Twelve fads before the summer, then four challenges. Each starts with five users; the
# others take it up later, the keener the more often. Everybody also posts with tags of
# a taste of their own, and with ``fyp``, which is always there.

import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
n_users, day = 250, pd.Timedelta("1D")
users = np.array([f"user{i:03d}" for i in range(n_users)])
keen = rng.beta(0.5, 1.5, n_users)  # few are
tastes = rng.choice(["cats", "cakes", "cars", "cities"], n_users)
begin = pd.Timestamp("2021-01-01")
rows = []


def post(user, at, *tags):
    rows.append((user, begin + at * day, [*tags, "fyp"]))


for user, taste in zip(users, tastes, strict=True):
    for at in rng.uniform(0, 170, 12):
        post(user, at, taste)
starts = {f"fad{i}": 10 + 8 * i for i in range(12)}
starts |= {f"challenge{i}": 110 + 10 * i for i in range(4)}
for tag, start in starts.items():
    for i in range(5):
        post(f"{tag} starter {i}", start + 0.4 * i, tag)
    joins = rng.uniform(size=n_users) < keen
    for user in users[joins]:
        post(user, start + 2 + rng.exponential(6), tag)
videos = pd.DataFrame(rows, columns=["user_id", "create_time", "hashtags"])
videos["video_id"] = range(len(videos))
print(videos.sample(5, random_state=0).to_string(index=False))

# %%
# Pairs and labels
# ----------------
# Each challenge is asked about at its fifth participant: who will join within four
# weeks?

from skchallenge import AdoptionHistory, make_participation

names = [name for name in starts if name.startswith("challenge")]
data = make_participation(
    videos, challenges=names, horizon="28D", until=begin + 365 * day
)
print(data.challenges.to_string(index=False))

# %%
# How far was a tag spreading when a user took it up?
# ---------------------------------------------------
# `AdoptionHistory` looks at the videos before the cut-off only. No label is read.

adoption = AdoptionHistory(data.catalog, before="time").set_output(transform="pandas")
columns = adoption.fit_transform(data.pairs)
burst = columns["user_id_burst_mean"]
print(burst.groupby(data.y).mean().rename({0: "stays out", 1: "joins"}).round(3))

# %%
# A model beside the baselines
# ----------------------------
# `make_deep_challenger` starts from a line of these columns, and adds a network if that
# helps. One call puts it beside the strongest baselines, with paired intervals: all
# models are scored on the same draws of users, and of challenges. The words do almost
# as well here: the names of the fads tell who was there.

from sklearn.model_selection import GroupKFold

from skchallenge import make_deep_challenger
from skchallenge.baselines import compare

models = {"line and network": make_deep_challenger(data.catalog, random_state=0)}
comparison = compare(models, data, GroupKFold(3), n_resamples=100, random_state=0)
print(comparison)

# %%
# The picture
# -----------
# Left: a challenge spreads. Each dot is a user who joins; the colour tells how far the
# user's earlier tags were spreading when taken up. Before the cut-off nobody knows who
# will. Right: the average precision of all models beside the best baseline's.

import matplotlib.pyplot as plt

name = names[1]
rows = (data.pairs["challenge"] == name).to_numpy()
cut_off = data.pairs.loc[rows, "time"].iloc[0]
known = pd.Series(burst[rows].to_numpy(), index=data.pairs.loc[rows, "user_id"])
uses = data.catalog.videos.iloc[
    data.catalog.memberships.query("challenge == @name")["row"]
].sort_values("create_time")
order = np.arange(1, len(uses) + 1)
fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
left.plot(uses["create_time"], order, color="lightgrey", zorder=0)
colour = uses["user_id"].map(known)
left.scatter(uses["create_time"], order, color="grey", s=18, label="not asked about")
dots = left.scatter(uses["create_time"], order, c=colour, cmap="viridis", s=36)
left.axvline(cut_off, linestyle=":", color="black", label="cut-off")
left.set(xlabel="time of joining", ylabel="participants", title=f"{name} spreads")
left.tick_params(axis="x", rotation=30)
left.legend(loc="upper left")
fig.colorbar(dots, ax=left, label="how far earlier tags were spreading")
comparison.plot(ax=right)
right.set_title("Unseen users")
plt.show()
