"""AUC on labels that are coins, as the page on noise prints them."""

import matplotlib.pyplot as plt
import numpy as np

scores = {
    "resampling before splitting": (1.0, 0.45),
    "choosing columns before splitting": (0.91, 0.58),
    "one user on both sides": (0.99, 0.54),
}
figure, ax = plt.subplots(figsize=(6.8, 2.9))
place = np.arange(len(scores))
for i, (label, colour) in enumerate(
    [("as often done", "#d5a19d"), ("done right", "#1b6ca8")]
):
    values = [pair[i] for pair in scores.values()]
    bars = ax.barh(place + 0.4 * (i - 0.5), values, 0.38, color=colour, label=label)
    ax.bar_label(bars, fmt="%.2f", padding=4)
ax.axvline(0.5, color="#333", ls=":", label="guessing")
ax.set_yticks(place, list(scores))
ax.invert_yaxis()
ax.set(xlim=(0.3, 1.06), xlabel="AUC")
ax.legend(loc="lower center", bbox_to_anchor=(0.3, 1), ncols=3, frameon=False)
