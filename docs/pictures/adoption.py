"""Average precision by the end of histories: participation_study.py."""

import matplotlib.pyplot as plt

days = [0, 3, 7, 14, 30, 60]
figure, ax = plt.subplots(figsize=(6.8, 2.7))
ax.plot(days, [0.179, 0.158, 0.134, 0.125, 0.057, 0.035], "o-", color="#1b6ca8")
ax.axhline(0.023, color="#b3261e", ls=":")
ax.text(60, 0.012, "guessing", ha="right", color="#b3261e", va="center")
ax.set(xlabel="histories end so many days before the cut-off", ylim=(0, 0.2))
ax.set(ylabel="average precision", xticks=days)
