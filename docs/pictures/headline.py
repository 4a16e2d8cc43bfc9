"""Average precision on unseen users: participation_study.py and _creators.py."""

import matplotlib.pyplot as plt

scores = {
    "guessing": 0.023,
    "the paper's network": 0.061,
    "words of the user": 0.133,
    "make_deep_challenger": 0.187,
    "regression of the same columns": 0.189,
}
colours = ["#b8c4cc", "#b8c4cc", "#b8c4cc", "#1b6ca8", "#7fb2d6"]
figure, ax = plt.subplots(figsize=(6.8, 2.4))
bars = ax.barh(list(scores), list(scores.values()), color=colours)
ax.bar_label(bars, fmt="%.3f", padding=4)
ax.invert_yaxis()
ax.set(xlabel="average precision, unseen users", xlim=(0, 0.21))
