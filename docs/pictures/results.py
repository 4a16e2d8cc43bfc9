"""Average precision on four honest splits: participation_study.py."""

import matplotlib.pyplot as plt
import numpy as np

splits = ["unseen users", "unseen\nchallenges", "both", "later\nchallenges"]
scores = {
    "text": ([0.133, 0.175, 0.115, 0.031], "#b8c4cc"),
    "adoption (regression)": ([0.189, 0.190, 0.202, 0.137], "#7fb2d6"),
    "network": ([0.187, 0.190, 0.202, 0.135], "#1b6ca8"),
}
figure, ax = plt.subplots(figsize=(6.8, 3.2))
place = np.arange(4)
for i, (name, (values, colour)) in enumerate(scores.items()):
    bars = ax.bar(place + 0.27 * (i - 1), values, 0.25, color=colour, label=name)
    ax.bar_label(bars, fmt="%.3f", fontsize=8)
ax.axhline(0.023, color="#b3261e", ls=":", label="guessing")
ax.set_xticks(place, splits)
ax.set(ylabel="average precision", ylim=(0, 0.23))
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False)
