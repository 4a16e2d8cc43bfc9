"""AUC of the stack on unseen creators: virality_creators.py."""

import matplotlib.pyplot as plt

scores = {
    "known before posting": 0.563,
    "+ how past videos did": 0.673,
    "+ followers": 0.773,
    "+ sums as of the scrape (no forecast)": 0.814,
}
colours = ["#1b6ca8", "#1b6ca8", "#1b6ca8", "#d5a19d"]
figure, ax = plt.subplots(figsize=(6.8, 2.4))
bars = ax.barh(list(scores), list(scores.values()), color=colours)
ax.bar_label(bars, fmt="%.3f", padding=4)
ax.axvline(0.5, color="#b3261e", ls=":")
ax.text(0.497, -0.62, "guessing", color="#b3261e", ha="right", va="center", fontsize=9)
ax.invert_yaxis()
ax.set(xlim=(0.4, 0.88), xlabel="AUC, unseen creators")
