"""Hours for a million clips at 1.14 videos/s a machine: throughput.py."""

import matplotlib.pyplot as plt

machines = [1, 10, 100]
figure, ax = plt.subplots(figsize=(6.8, 2.0))
hours = [1e6 / 1.14 / 3600 / n for n in machines]
bars = ax.barh(["1 machine", "10 machines", "100 machines"], hours, color="#1b6ca8")
ax.bar_label(bars, labels=[f"{h:.3g} hours" for h in hours], padding=4)
ax.invert_yaxis()
ax.set(xscale="log", xlim=(1, 900), xlabel="hours")
