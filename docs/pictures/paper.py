"""The paper's Table II, and what scores of a two-class task can be."""

import matplotlib.pyplot as plt

rows = {
    "VGG16 + BERT,\nResNet-50 + BERT": (0.750, 0.188, "#b3261e"),
    "deepChallenger": (0.933, 0.494, "#b3261e"),
    "VGG16 (impossible F1)": (0.200, 0.017, "#b3261e"),
    "ResNet-50": (0.059, 0.050, "#1b6ca8"),
}
figure, ax = plt.subplots(figsize=(6.8, 3.2))
ax.fill_between([0.5, 1], 0, 0.5, color="#fbe3e1")
ax.text(0.98, 0.03, "no model on any data", ha="right", color="#b3261e")
for name, (recall, precision, colour) in rows.items():
    ax.scatter(recall, precision, color=colour, s=60, zorder=3)
    beside = (-8, 6) if recall > 0.9 else (8, 6)
    side = "right" if recall > 0.9 else "left"
    ax.annotate(name, (recall, precision), beside, textcoords="offset points", ha=side)
ax.set(xlabel="macro recall", ylabel="macro precision", xlim=(0, 1), ylim=(0, 1))
