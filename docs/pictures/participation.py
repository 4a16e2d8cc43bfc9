"""What a pair of a user and a challenge is: illustration, no data."""

import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6.8, 2.6))
ax.axvspan(0, 6, color="#e3eef6")
ax.axvspan(6, 10.8, color="#fdebd0")
ax.axvline(6, color="#333", lw=1.5)
user, challenge = [0.4, 1.1, 2.3, 3.2, 4.4, 5.3], [3.6, 4.3, 4.8, 5.3, 5.75]
ax.scatter(user, [2] * 6, marker="s", s=110, color="#1b6ca8")
ax.scatter(challenge, [1] * 5, marker="s", s=110, color="#3a8f5c")
ax.scatter([7], [2], marker="s", s=150, facecolor="none", edgecolor="#e08a00", lw=2.5)
ax.text(7.3, 2, "takes part, or not?", va="center")
ax.text(6.06, 2.75, "cut-off", ha="left", va="center")
ax.text(3, 0.25, "what the model may look up", ha="center", color="#1b6ca8")
ax.text(8.4, 0.25, "horizon: the label", ha="center", color="#a86400")
ax.set_yticks([2, 1], ["this user's videos", "this challenge's videos"])
ax.set(xlim=(0, 10.8), ylim=(0, 3), xticks=[], xlabel="time")
