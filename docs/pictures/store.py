"""Seconds to embed and to read again: store.py."""

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6.8, 2.3))
names = ["26 clips, 10 frames each", "1,000 captions"]
for shift, values, label, colour in [
    (-0.2, [9.7, 1.7], "embed", "#b8c4cc"),
    (0.2, [0.0034, 0.0218], "read again", "#1b6ca8"),
]:
    bars = ax.barh([0 + shift, 1 + shift], values, 0.38, color=colour, label=label)
    ax.bar_label(bars, fmt="%g s", padding=4)
ax.set_yticks([0, 1], names)
ax.set(xscale="log", xlim=(1e-3, 60), xlabel="seconds")
ax.invert_yaxis()
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
