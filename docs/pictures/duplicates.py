"""Share of copies that are found, worst of 200 halves: feed_duplicates.py."""

import matplotlib.pyplot as plt

found = {
    "re-encoded, resized, mirrored": 1.0,
    "trimmed to a half": 1.0,
    "bordered, captioned": 1.0,
    "four of these at once": 1.0,
    "faster by 10 %": 0.08,
    "cropped by 10 %": 0.0,
    "blurred border": 0.0,
}
figure, ax = plt.subplots(figsize=(6.8, 2.7))
bars = ax.barh(list(found), list(found.values()), color="#1b6ca8")
ax.bar_label(bars, fmt="%.2f", padding=4)
ax.invert_yaxis()
ax.set(xlim=(0, 1.12), xlabel="share of copies found")
