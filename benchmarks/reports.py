"""Time the bootstrap of a report beside a loop over scikit-learn's metrics.

The loop scores the same number of samples of rows by the same six functions.
CPU seconds, medians of pairs; the target is 10 times as fast at 2,000 rows.

    python benchmarks/reports.py
"""

import sys
import time
from statistics import median

import numpy as np

from skchallenge.metrics import participation_report
from skchallenge.metrics._participation_report import _scores

N_RESAMPLES, N_PAIRS, TARGET = 200, 5, 10.0


def seconds(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def ratio(n):
    """Return milliseconds a sample of the loop and of the report."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    p = rng.uniform(size=n)

    def loop():
        for _ in range(N_RESAMPLES):
            rows = rng.integers(0, n, n)
            _scores(y[rows], p[rows], 0.5)

    def report():
        participation_report(y, p, n_resamples=N_RESAMPLES, random_state=0)

    pairs = [(seconds(loop), seconds(report)) for _ in range(N_PAIRS)]
    times = [1000 * median(pair[i] for pair in pairs) / N_RESAMPLES for i in (0, 1)]
    return *times, median(one / other for one, other in pairs)


def main():
    print("rows     loop, ms a sample   report, ms a sample   ratio")
    ok = True
    for n in (100, 2_000, 20_000):
        loop, report, times = ratio(n)
        ok &= n != 2_000 or times >= TARGET
        print(f"{n:6,} {loop:18.2f} {report:20.2f} {times:12.1f}")
    return int(not ok)


if __name__ == "__main__":
    sys.exit(main())
