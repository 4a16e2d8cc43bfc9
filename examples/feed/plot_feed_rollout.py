"""
=====================================================
How far a video travels under the batch theory
=====================================================

Articles describe how a feed may work: a video is shown to a small batch of viewers, and
if they like it, to a wider one. `FeedWorkflow` plays that through, from review to
cool-down, and `BatchRollout` asks "what if" about the rule that decides. All viewers
here are made up, so the truth is known.
"""

# %%
# Videos and viewers
# ------------------
# Forty videos appeal more or less to each of four personas. One upload is a copy of
# another, one is dark, and one is for a human to look at.

import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
n = 40
videos = pd.DataFrame(
    {
        "video_id": [f"video {i:02}" for i in range(n)],
        "creator_id": [f"creator {i % 9}" for i in range(n)],
        "day": np.arange(n) // 8,
        "work": np.arange(n),
        "light": 0.8,
    }
)
videos.loc[5, "work"] = videos["work"][2]  # the same work, uploaded again
videos.loc[3, "light"], videos.loc[7, "light"] = 0.05, 0.3
personas = np.array(["cooks", "dancers", "gamers", "gardeners"])
viewers = pd.DataFrame({"viewer_id": range(20_000)})
viewers["persona"] = personas[rng.integers(0, 4, len(viewers))]

appeal = rng.beta(2, 5, (n, 1)) * np.exp(rng.normal(0, 0.4, (n, 4)))
# Re-watch, completion, share, comment and like, as parts of the appeal.
shares = np.array([0.2, 1.0, 0.05, 0.1, 0.3])
rates = appeal.clip(0.01, 0.9)[:, :, None] * shares
persona = np.searchsorted(personas, viewers["persona"])


def response(video, viewer, day):
    return rates[video, persona[viewer]]


# %%
# The workflow
# ------------
# Any object with the right method can be a step: `ReviewGate` and `DuplicateFinder`
# read video files, these two read the table.


class LightMeter:
    def review(self, videos):
        outcome = np.select(
            [videos["light"] < 0.1, videos["light"] < 0.5], ["reject", "review"], "pass"
        )
        reasons = "light " + videos["light"].astype(str)
        return pd.DataFrame({"outcome": outcome, "reasons": reasons})


class SameWork:
    def fit_predict(self, videos):
        return pd.factorize(videos["work"])[0]


from skchallenge.feed import BatchRollout, FeedWorkflow, JourneyDisplay

activity = pd.DataFrame(
    [(f"creator {i}", day, 1.0) for i in range(9) for day in range(8 if i < 2 else 40)],
    columns=["creator_id", "day", "activity"],
)
workflow = FeedWorkflow(
    BatchRollout((100, 300, 1000), threshold=4.0, momentum="creator", random_state=0),
    review=LightMeter(),
    human_review=lambda rows: np.ones(len(rows), dtype=bool),
    duplicates=SameWork(),
).fit()
result = workflow.run(videos, viewers, response, activity=activity)
for reason in result.journeys["reasons"][7]:
    print("-", reason)

# %%
# Each row is a journey, and each number the mean points of a batch. The first batch
# finds the persona that likes the video best; from then on a video needs 4 to go on.
# Two creators fell silent, and their paused videos were boosted, as the theory of
# delayed momentum says: a boost shows a video to one more stage.

import matplotlib.pyplot as plt

JourneyDisplay.from_result(result, max_videos=20)
plt.show()

# %%
# What if another rule decided?
# -----------------------------
# The same videos in ten worlds under each rule. A false negative is a video that
# deserves the last stage, by its true mean, and does not reach it; a false positive is
# the reverse. Regret is the fraction of the gain of an oracle that is lost.

means = pd.DataFrame(rates @ [10, 8, 6, 4, 2], videos["video_id"], personas)
rows = {}
for rule in ("threshold", "lcb", "thompson", "sequential", "top_fraction"):
    rollout = BatchRollout((100, 300, 1000), rule=rule, threshold=4.0, random_state=0)
    worlds = rollout.fit().simulate(videos, viewers, response, n_worlds=10)
    rows[rule] = rollout.mistakes(worlds, means).drop(columns="world").mean()
    rows[rule]["exposures of a video"] = worlds.journeys["exposures"].mean()
table = pd.DataFrame(rows).T
print(table.round(2).to_string())

# %%
# What can be told from a log?
# ----------------------------
# Had a threshold of 4 run, with a coin for some of the decisions, would we know what a
# threshold of 3 earns? It widens videos that were widened by a coin only, so each of
# them stands for many. Logged propensities give the estimate and its interval. With few
# coins, hardly any such video is in the log, and the interval may not even show it.

from skchallenge.feed import inverse_propensity

stages = (100, 300, 1000)
lower = BatchRollout(stages, threshold=3.0, random_state=1).fit()
truth = lower.simulate(videos, viewers, response, n_worlds=20).decisions
truth = truth["reward"].sum() / (20 * n)
estimates = {}
for epsilon in (0.05, 0.2, 0.5):
    logger = BatchRollout(stages, threshold=4.0, epsilon=epsilon, random_state=0).fit()
    log = logger.simulate(videos, viewers, response, n_worlds=10).decisions
    estimates[epsilon] = inverse_propensity(log, lower.propensity(log))
estimates = pd.DataFrame(estimates).T

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
table["false_negative_rate"].plot.barh(ax=left)
left.invert_yaxis()
left.set(
    title="Ten worlds under each rule",
    xlabel="fraction of good videos that are held back",
)
error = [estimates["value"] - estimates["low"], estimates["high"] - estimates["value"]]
spots = np.arange(len(estimates))
options = {"fmt": "o", "capsize": 4, "label": "estimate, 95 % interval"}
right.errorbar(spots, estimates["value"], error, **options)
right.axhline(truth, color="grey", linestyle=":", label="truth, by running it")
right.set_xticks(spots, estimates.index)
right.set(title="Value of a threshold of 3", xlabel="epsilon of the logged rule")
right.set_ylabel("points of a video")
right.legend()
plt.show()
