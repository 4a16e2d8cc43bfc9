"""How often the 95 % intervals of `participation_report` hold the truth.

The world. The logit of a participation is -2.5, plus a normal effect of the challenge
(sd 1: base rates differ), plus one of the user (sd 0.7), plus the fit of user and
challenge, standard normal, times the challenge's own slope (mean 1, sd 0.5). The model
is fixed, as one trained on other data: it knows the fit, and of each effect a part that
holds half of the variance. In a second world challenges are alike: no effects of theirs
and one slope.

A study has all pairs of some users and some challenges. The truth is the score of the
same model on four million pairs, each of a new user and a new challenge. Studies of one
class are drawn anew. Intervals have 200 draws, to save time.

    python benchmarks/report_coverage.py

200 studies a line take some six minutes; ``report_coverage.py 50`` a quarter of that.
"""

import sys
import time

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from skchallenge.metrics import participation_report

USERS, CHALLENGES = (24, 200, 1000), (8, 31)
N_TRUTH = 4_000_000
METRICS = {"roc_auc": roc_auc_score, "average_precision": average_precision_score}


def draw(rng, user, challenge, *, differ):
    """Draw labels and probabilities for pairs of numbered users and challenges."""
    n_users, n_challenges = user.max() + 1, challenge.max() + 1
    of_user = rng.normal(0, 0.7 / np.sqrt(2), (2, n_users))  # known, unknown
    of_challenge = rng.normal(0, differ / np.sqrt(2), (2, n_challenges))
    slope = rng.normal(1, differ / 2, n_challenges)
    fit = rng.normal(size=len(user))
    known = -2.5 + of_user[0, user] + of_challenge[0, challenge]
    hidden = of_user[1, user] + of_challenge[1, challenge]
    logit = known + hidden + slope[challenge] * fit
    y = (rng.logistic(size=len(user)) < logit).astype(int)
    return y, 1 / (1 + np.exp(-(known + fit)))


def study(rng, n_users, n_challenges, **options):
    """Draw all pairs, until both classes are there."""
    pairs = np.indices((n_users, n_challenges)).reshape(2, -1)
    while True:
        y, p = draw(rng, *pairs, **options)
        if 0 < y.mean() < 1:
            return y, p, pairs.T


def line(n_users, n_challenges, truth, n_studies, *, differ):
    """Print coverage and mean width of both intervals, over many studies."""
    rng = np.random.default_rng(0)
    held, width = np.zeros((2, 2)), np.zeros((2, 2))  # (by users or both, metric)
    for seed in range(n_studies):
        y, p, pairs = study(rng, n_users, n_challenges, differ=differ)
        for i, groups in enumerate((pairs[:, 0], pairs)):
            report = participation_report(
                y, p, groups=groups, n_resamples=200, random_state=seed
            )
            low, high = report.loc[list(METRICS), ["low", "high"]].to_numpy().T
            held[i] += (low <= truth) & (truth <= high)
            width[i] += high - low
    cells = [
        f"{held[i, j] / n_studies:.3f} ({width[i, j] / n_studies:.3f})"
        for j in range(2)
        for i in range(2)
    ]
    print(f"{n_users:5} {n_challenges:11}   " + "   ".join(cells), flush=True)


def world(n_studies, name, differ, sizes):
    """Print one line a size of study."""
    each = np.arange(N_TRUTH)
    y, p = draw(np.random.default_rng(1), each, each, differ=differ)
    truth = np.array([metric(y, p) for metric in METRICS.values()])
    print(
        f"\n{name}: {y.mean():.1%} take part; true AUC {truth[0]:.3f}, average "
        f"precision {truth[1]:.3f}\nCoverage (mean width) of {n_studies} intervals:\n"
        "                    AUC                               average precision\n"
        "users  challenges   by users        two-way         by users        two-way"
    )
    for n_users, n_challenges in sizes:
        line(n_users, n_challenges, truth, n_studies, differ=differ)


def main():
    n_studies = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    start = time.perf_counter()
    sizes = [(n_users, n) for n_users in USERS for n in CHALLENGES]
    world(n_studies, "Challenges differ", 1.0, sizes)
    world(n_studies, "Challenges are alike", 0.0, [(200, 31)])
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
