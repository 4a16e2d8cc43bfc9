"""Range of the AUC over five seeds: virality_covers.py."""

import matplotlib.pyplot as plt

ranges = {
    "columns alone": (0.77, 0.82),
    "cover alone": (0.72, 0.79),
    "both": (0.90, 0.96),
}
figure, ax = plt.subplots(figsize=(6.8, 2.0))
for name, (low, high) in ranges.items():
    ax.plot([low, high], [name, name], lw=9, color="#1b6ca8", solid_capstyle="round")
ax.axvline(0.5, color="#b3261e", ls=":")
ax.text(0.505, 0, "guessing", color="#b3261e", va="center", fontsize=9)
ax.set(xlim=(0.45, 1), ylim=(2.6, -0.6), xlabel="AUC on held-out covers")
