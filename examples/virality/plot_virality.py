"""
Will this video go viral?
=========================

A small study with a known truth: columns that are known before posting, and a cover. It
compares a network of the columns, one of the cover and one of both, looks at how they
were trained, and shows what happens when a column leaks.
"""

# %%
# Render a study
# --------------
# Views follow from three things of about equal weight: a column, the hue of a disc on
# the cover, and luck. Every user has three videos.
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

rng = np.random.default_rng(0)
folder = TemporaryDirectory()
n = 450
hue, luck = rng.normal(size=(2, n))
videos = pd.DataFrame(
    {
        "user_id": [f"u{i // 3:03d}" for i in range(n)],
        "n_followers": np.repeat(rng.lognormal(8, 1.5, n // 3).round(), 3),
        "duration_s": rng.uniform(5, 60, n).round(),
        "cover": [str(Path(folder.name) / f"{i:03d}.png") for i in range(n)],
    }
)
for path, level in zip(videos["cover"], np.clip(0.5 + 0.35 * hue, 0, 1), strict=True):
    ground = rng.normal(rng.uniform(60, 190, 3), 15, (48, 48, 3)).clip(0, 255)
    image = Image.fromarray(ground.astype(np.uint8))
    radius = rng.uniform(8, 13)
    x, y = rng.uniform(radius, 48 - radius, 2)
    box = (x - radius, y - radius, x + radius, y + radius)
    colour = (int(230 * level), 40, int(230 * (1 - level)))
    ImageDraw.Draw(image).ellipse(box, fill=colour)
    image.save(path)
score = (32 - videos["duration_s"]) / 16 + hue + 0.7 * luck
videos["n_plays"] = np.exp(2 + 0.8 * np.log(videos["n_followers"]) + score).round()
videos.drop(columns="cover").head()

# %%
# Hold users out, then learn what viral means
# -------------------------------------------
# The cut-off, views per follower at the median, belongs to training: it is learnt there
# and labels both sides. No user is on both sides.
from sklearn.model_selection import GroupShuffleSplit

from skchallenge.tabular import ViralityLabeler

split = GroupShuffleSplit(1, test_size=1 / 3, random_state=0)
train, test = next(split.split(videos, groups=videos["user_id"]))
labeler = ViralityLabeler().fit(videos.iloc[train])
y_train, y_test = (labeler.transform(videos.iloc[rows]) for rows in (train, test))
print(f"Viral: more than {labeler.cutoff_:.2f} views per follower.")

# %%
# Three networks
# --------------
# One class, by its parameters: the columns alone, the cover alone, and both. The views
# stay out of X; had we left them in, `fit` would have raised a `LeakageError`.
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skchallenge import MultimodalVirality
from skchallenge.tabular import MetadataFeaturizer

columns = ["n_followers", "duration_s"]
scaled = make_pipeline(MetadataFeaturizer(), StandardScaler())
X = make_column_transformer((scaled, columns), ("passthrough", ["cover"]))
options = {"image_size": 24, "max_iter": 25, "n_jobs": 2, "random_state": 0}
models = {
    "columns alone": make_pipeline(
        make_column_transformer((scaled, columns)), MultimodalVirality(**options)
    ),
    "cover alone": make_pipeline(
        X, MultimodalVirality(image=-1, metadata_layers=None, **options)
    ),
    "both": make_pipeline(X, MultimodalVirality(image=-1, **options)),
}
for name, model in models.items():
    model.fit(videos.iloc[train], y_train)
    accuracy = model.score(videos.iloc[test], y_test)
    print(f"{name}: accuracy {accuracy:.2f} on {len(test)} videos of unseen users")

# %%
# How it was trained
# ------------------
# Early stopping watches held-out rows and keeps the weights of the dotted pass.
import matplotlib.pyplot as plt

from skchallenge.metrics import TrainingCurvesDisplay

TrainingCurvesDisplay.from_estimator(models["both"], name="both")
plt.show()

# %%
# Where it is wrong
# -----------------
from sklearn.metrics import ConfusionMatrixDisplay

figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    ConfusionMatrixDisplay.from_estimator(
        model,
        videos.iloc[test],
        y_test,
        display_labels=["not viral", "viral"],
        colorbar=False,
        cmap="Blues",
        im_kw={"vmin": 0, "vmax": 80},  # one scale for all three
        ax=ax,
    )
    ax.set_title(name)
plt.show()

# %%
# Which covers it takes for viral
# -------------------------------
# The cover alone, unseen users: the likeliest above, the unlikeliest below.
# sphinx_gallery_thumbnail_number = 3
proba = models["cover alone"].predict_proba(videos.iloc[test])[:, 1]
order = np.argsort(proba)
figure, axes = plt.subplots(2, 8, figsize=(11, 3.4), layout="constrained")
for ax, place in zip(axes.flat, [*order[::-1][:8], *order[:8]], strict=True):
    ax.imshow(Image.open(videos["cover"].iloc[test[place]]))
    ax.set_title(f"{proba[place]:.2f}", fontsize=9)
    ax.axis("off")
figure.suptitle("Predicted probability of going viral, by the cover alone")
plt.show()

# %%
# A column that leaks
# -------------------
from skchallenge.tabular import LeakageError

try:
    MultimodalVirality().fit(videos[[*columns, "n_plays"]].iloc[train], y_train)
except LeakageError as error:
    print(error)
folder.cleanup()
