"""Which videos a row may look up: illustration, no data."""

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6.8, 2.9))
ax.axvspan(0, 6, color="#eef5fa")
ax.axvline(6, color="#333", lw=1.5)
ax.text(6.05, 2.75, "cut-off", va="center")
read = [(0.5, 2), (1.6, 2), (3.1, 2), (5.2, 2), (4.2, 1), (4.9, 1), (5.6, 1)]
refused = {
    (2.4, 2): "a studied\nchallenge",
    (4.3, 2): "a challenge's\nown sound",
    (7.2, 2): "later",
    (7.9, 1): "this user's own: the label",
}
ax.scatter(*zip(*read, strict=True), marker="s", s=110, color="#1b6ca8")
x, y = zip(*refused, strict=True)
ax.scatter(x, y, marker="s", s=110, color="#d5dde2")
ax.scatter(x, y, marker="x", s=90, color="#b3261e", lw=2)
for (at, row), reason in refused.items():
    ax.text(at, row - 0.22, reason, ha="center", va="top", fontsize=9, color="#b3261e")
ax.set_yticks([2, 1], ["this user's videos", "this challenge's videos"])
ax.set(xlim=(0, 9.9), ylim=(0.4, 3), xticks=[], xlabel="time")
