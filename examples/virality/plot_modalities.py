"""
Which modality tells
====================

From files to an answer: what is seen, what is heard and what is known of a video go
into one stack, and a report says which of them the model lives on. Then one video is
looked into: which of its frames spoke?

The films are rendered here, so the truth is known. A film with a red ball in it, if
only for a moment, does well, and so does one of high pitch. How long it says it is
tells nothing.
"""

# %%
# Render films with sound
# -----------------------
# Users have three films each. A grey ball moves about; in half of the films it blushes
# for a fifth of the time.
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

SIZE, FPS, SECONDS, RATE = 64, 5, 2, 16_000
rng = np.random.default_rng(0)
folder = TemporaryDirectory()


def draw(number, start, is_red):
    """Draw one frame: a ball, red for two frames if the film is one of those."""
    ground = np.clip(rng.normal(110, 15, (SIZE, SIZE, 1)), 0, 255) * np.ones(3)
    image = Image.fromarray(ground.astype(np.uint8))
    x, y = SIZE / 2 + 18 * np.sin(start + 0.4 * number + np.array([0, 1.3]))
    colour = (220, 40, 40) if is_red else (170, 170, 170)
    ImageDraw.Draw(image).ellipse((x - 11, y - 11, x + 11, y + 11), fill=colour)
    return np.asarray(image)


def render(path, blushes, pitch):
    """Write a film of ten frames, with tones of some pitch."""
    start, red_from = rng.uniform(0, 6), rng.integers(0, 9)
    now = np.arange(RATE * SECONDS) / RATE
    tones = np.exp(-(now % 0.4) / 0.1) * np.sin(2 * np.pi * 440 * 2**pitch * now)
    tones = 0.4 * tones + rng.normal(0, 0.01, len(now))
    with av.open(path, "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width = video.height = SIZE
        audio = container.add_stream("aac", rate=RATE, layout="mono")
        for number in range(FPS * SECONDS):
            image = draw(number, start, blushes and number - red_from in (0, 1))
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
        frame = av.AudioFrame.from_ndarray(np.float32(tones)[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        container.mux(audio.encode(frame))
        container.mux(audio.encode())
    return path


n = 90
blushes, pitch = rng.integers(0, 2, n), rng.uniform(-0.8, 0.8, n)
luck = rng.normal(size=n)
videos = pd.DataFrame(
    {
        "user_id": [f"u{i // 3:02d}" for i in range(n)],
        "duration_s": rng.integers(5, 60, n),
        "path": [
            render(f"{folder.name}/{i:02d}.mp4", b, p)
            for i, (b, p) in enumerate(zip(blushes, pitch, strict=True))
        ],
    }
)
viral = (2 * (blushes - 0.5) + 1.8 * pitch + 0.3 * luck > 0).astype(int)

# %%
# One base model a modality
# -------------------------
# Any transformer of a column of paths will do. In earnest the pictures go through
# ``VideoFrameEmbedder("resnet50")`` or an encoder of Hugging Face; here a network of
# colours does, which needs no weights. A shared store embeds each file once, although
# the stack is fitted in three folds, and each of its models in five more.
import torch
from torch import nn

from skchallenge import AudioEmbedder, VideoFrameEmbedder, make_virality_stack


class Colours(nn.Module):
    """Mean colours, and how much of the picture is redder or bluer than grey."""

    def forward(self, images):
        red, _, blue = images.unbind(dim=1)  # (B, H, W) each
        opposed = torch.stack([red - blue, blue - red], dim=1).relu()
        return torch.cat([images.mean(dim=(2, 3)), opposed.mean(dim=(2, 3))], dim=1)


store = Path(folder.name) / "embeddings.db"
model = make_virality_stack(
    video=VideoFrameEmbedder(Colours, n_frames=10, image_size=SIZE, store=store),
    audio=AudioEmbedder(store=store),
)
model.set_params(trees="drop")  # for speed
[name for name, _ in model.estimators]

# %%
# The report
# ----------
# ``only`` is the AUC of a modality by itself, on users that no model has seen;
# ``added`` what the stack loses without it, with the interval of a paired difference.
from sklearn.model_selection import GroupKFold

from skchallenge.metrics import modality_report

report = modality_report(
    model,
    videos,
    viral,
    GroupKFold(3),
    modalities={"metadata": "linear"},
    groups=videos["user_id"],
    random_state=0,
)
report.round(2)

# %%
# What is seen tells most, and what is heard adds to it. The metadata are at chance, and
# nothing is lost without them. Beside each dot is its interval of 95 %.
import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained", sharey=True)
place = np.arange(len(report))
for ax, column, zero in zip(axes, ("only", "added"), (0.5, 0.0), strict=True):
    low, high = report[f"{column}_low"], report[f"{column}_high"]
    ax.hlines(place, low, high, color="tab:blue", linewidth=3, alpha=0.4)
    ax.plot(report[column], place, "o", color="tab:blue")
    ax.axvline(zero, color="0.5", linestyle=":")
axes[0].set(yticks=place, yticklabels=report.index, xlabel="AUC of it alone")
axes[1].set(xlabel="AUC that is lost without it")
axes[0].invert_yaxis()
plt.show()

# %%
# Which frames spoke
# ------------------
# Fitted to all videos, the model of frames is asked about one of them, each time
# without one of its frames. It heeds the two in which the ball is red, as it should.
from skchallenge.metrics import FrameDisplay

model.fit(videos, viral)
chosen = np.flatnonzero(blushes)[3]
FrameDisplay.from_estimator(
    model.named_estimators_["video"], videos["path"][chosen], name="frames alone"
)
plt.show()
folder.cleanup()
