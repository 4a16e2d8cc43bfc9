"""AUC on unseen users, rendered clips: participation_clips.py."""

import matplotlib.pyplot as plt
import numpy as np

features = ["video + caption", "video alone", "caption alone"]
scores = {
    "logistic regression": ([0.885, 0.733, 0.784], "#b8c4cc"),
    "concatenation": ([0.896, 0.753, 0.781], "#7fb2d6"),
    "attention": ([0.904, 0.750, 0.776], "#1b6ca8"),
}
figure, ax = plt.subplots(figsize=(6.8, 3.3))
place = np.arange(3)
for i, (name, (values, colour)) in enumerate(scores.items()):
    bars = ax.bar(place + 0.27 * (i - 1), values, 0.25, color=colour, label=name)
    ax.bar_label(bars, fmt="%.3f", fontsize=8)
ax.axhline(0.968, color="#333", ls=":", label="best reachable")
ax.axhline(0.5, color="#b3261e", ls=":", label="guessing")
ax.set_xticks(place, features)
ax.set(ylim=(0.4, 1), ylabel="AUC, unseen users")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
