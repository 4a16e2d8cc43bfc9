"""Coverage of 95 % intervals of the AUC: report_coverage.py."""

import matplotlib.pyplot as plt

users = ["24", "200", "1,000"]
figure, ax = plt.subplots(figsize=(6.8, 3.5))
for values, label, style, colour in [
    ([0.995, 0.960, 0.925], "two-way, 8 challenges", "o-", "#1b6ca8"),
    ([0.995, 0.970, 0.940], "two-way, 31 challenges", "o--", "#1b6ca8"),
    ([0.865, 0.635, 0.285], "by users, 8 challenges", "s-", "#e08a00"),
    ([0.865, 0.625, 0.300], "by users, 31 challenges", "s--", "#e08a00"),
]:
    ax.plot(users, values, style, color=colour, label=label)
ax.axhline(0.95, color="#333", ls=":", label="as promised")
ax.set(xlabel="users", ylabel="intervals that hold the truth", ylim=(0, 1.05))
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
