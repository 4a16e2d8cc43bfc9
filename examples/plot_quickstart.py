"""
Will this user take part in this challenge?
===========================================

A small study with a known truth, from video files to an honest score. The model reads
captions only, so that it runs in seconds; the user guide shows how frames get in.
"""

# %%
# Make a study
# ------------
# `make_challenge_clips` renders short videos with captions. Every user and every
# challenge has a taste of two parts, a topic that the captions speak of and a hue that
# only the pictures show. A user takes part if the tastes are alike.
from tempfile import TemporaryDirectory

from skchallenge import make_challenge_clips

folder = TemporaryDirectory()
data = make_challenge_clips(folder.name, n_users=120, videos_per_user=8, random_state=0)
data.pairs.assign(y=data.y).head()

# %%
# A pair is a user, a challenge and the time at which we ask. The videos are in a side
# table, the catalog.
print(data.catalog)

# %%
# Choose what the model sees
# --------------------------
# Any scikit-learn transformer of catalog columns will do, if its output is dense.
from sklearn.compose import make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from skchallenge import make_deep_challenger

words = make_pipeline(TfidfVectorizer(), TruncatedSVD(16, random_state=0))
text = make_column_transformer((words, "caption"))
model = make_deep_challenger(data.catalog, text, batch_size=32, random_state=0)

# %%
# Score unseen users
# ------------------
# All pairs of a user are on one side of each split.
from sklearn.model_selection import GroupKFold, cross_val_predict

from skchallenge.metrics import participation_report

users = data.pairs["user_id"]
proba = cross_val_predict(
    model,
    data.pairs,
    data.y,
    groups=users,
    cv=GroupKFold(3),
    method="predict_proba",
)[:, 1]
participation_report(data.y, proba, groups=users, random_state=0).round(3)

# %%
# See how far there is to go
# --------------------------
# Because the truth is known, so is the best score that any model can reach: that of the
# true probabilities. The gap is what captions do not tell, and what so few videos
# cannot teach.
import matplotlib.pyplot as plt
from sklearn.metrics import RocCurveDisplay

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
for score, name, colour in [
    (data.proba, "best reachable", "0.55"),
    (proba, "text only, unseen users", "C0"),
]:
    RocCurveDisplay.from_predictions(
        data.y, score, name=name, ax=left, curve_kwargs={"color": colour}
    )
left.plot([0, 1], [0, 1], "k:", label="chance (AUC = 0.50)")
left.set(xlabel="False positive rate", ylabel="True positive rate", title="Ranking")
left.legend(loc="lower right")

for label, name, colour in [(0, "stayed away", "C1"), (1, "took part", "C0")]:
    chosen = data.y == label
    right.scatter(
        data.proba[chosen], proba[chosen], s=16, c=colour, alpha=0.6, label=name, lw=0
    )
right.plot([0, 1], [0, 1], "k:", label="as the truth")
right.set(xlabel="True probability", ylabel="Predicted probability", title="Pairs")
right.legend(loc="upper left", bbox_to_anchor=(1, 1))
plt.show()
folder.cleanup()
