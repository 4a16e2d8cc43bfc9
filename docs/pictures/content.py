"""Planted signals: which base model finds what decides, by benchmarks/modalities.py."""

import matplotlib.pyplot as plt
import numpy as np

WORLDS = ["heard", "seen", "both", "nothing"]
SCORES = {
    "metadata": ([0.532, 0.543, 0.480, 0.546], "#b8c4cc"),
    "video": ([0.508, 0.997, 0.739, 0.462], "#7fb2d6"),
    "audio": ([0.995, 0.492, 0.801, 0.540], "#e0a458"),
    "stack": ([0.994, 0.994, 0.885, 0.429], "#1b6ca8"),
}
figure, ax = plt.subplots(figsize=(6.8, 2.8))
for place, (name, (scores, colour)) in enumerate(SCORES.items()):
    ax.bar(
        np.arange(4) + 0.2 * (place - 1.5), scores, width=0.18, color=colour, label=name
    )
ax.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
ax.set_xticks(np.arange(4), WORLDS)
ax.set(xlabel="what decides the label", ylabel="AUC, unseen users", ylim=(0.35, 1.03))
ax.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.22), frameon=False)
ax.spines[["top", "right"]].set_visible(False)
