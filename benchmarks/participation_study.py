"""Study A: who joins which challenge among real creators, in five kinds of split.

Reads ``creators_2020.parquet`` from the folder that SKCHALLENGE_DATA names, finds the
challenges, and scores plain models and `make_deep_challenger` on pairs of

- unseen users (3 folds of users);
- unseen challenges, sibling tags held out together (3 folds of clusters);
- both (3 x 3 folds);
- later challenges, trained on those whose windows had closed by then;
- random rows: for contrast, a split that answers no question. Users, challenges and
  their very videos are on both sides.

Prints what each split shares (`audit_split`), the scores, the average precision beside
the best baseline's with paired intervals, the mean of the network over seeds, how the
gain of adoption fades as histories end earlier, what permuted labels score, and what
the columns cost.

    SKCHALLENGE_DATA=path/to/data python benchmarks/participation_study.py [--seeds 5]
"""

import os

# Before any numerical library is loaded: threads of small regressions only get in each
# other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import time

import numpy as np
import pandas as pd
from common import data_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skchallenge import (
    AdoptionHistory,
    load_tiktok_export,
    make_deep_challenger,
    make_participation,
)
from skchallenge.baselines import RecommenderBaseline, compare
from skchallenge.model_selection import (
    ChallengeClusterKFold,
    ColdBothKFold,
    TimeSplit,
    audit_split,
)

LAGS = [0, 3, 7, 14, 30, 60]  # days
N_PERMUTATIONS = 20
START = pd.Timestamp("2020-09-01")  # five challenges were over, all others to come


class Columns:
    """Logistic regression on chosen columns of `AdoptionHistory`, without its own."""

    def __init__(self, table, keep):
        self.columns = table[[c for c in table if keep(c)]].to_numpy()

    def out_of_fold(self, y, folds):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=999))
        for train, test in folds:
            model.fit(self.columns[train], y[train])
            yield test, model.predict_proba(self.columns[test])[:, 1]


def splits(data):
    users = data.pairs["user_id"]
    return {
        "unseen users": list(GroupKFold(3).split(data.pairs, data.y, users)),
        "unseen challenges": list(
            ChallengeClusterKFold(data.catalog).split(data.pairs)
        ),
        "both": list(ColdBothKFold(data.catalog).split(data.pairs)),
        "later challenges": list(TimeSplit("30D", start=START).split(data.pairs)),
        "random rows (leaky)": list(
            StratifiedKFold(3, shuffle=True, random_state=0).split(data.pairs, data.y)
        ),
    }


def adoption(data, lag=0, by="user_id"):
    """Return the columns of histories that end so many days before the cut-off."""
    pairs = data.pairs.assign(time=data.pairs["time"] - pd.Timedelta(days=lag))
    history = AdoptionHistory(data.catalog, before="time", by=by)
    return history.set_output(transform="pandas").fit_transform(pairs)


def scores(y, columns, folds):
    found = [
        (average_precision_score(y[rows], p), roc_auc_score(y[rows], p))
        for rows, p in columns.out_of_fold(y, folds)
    ]
    return np.mean(found, axis=0).round(3)


def parts(users, challenges, data, folds):
    """Say which columns carry it."""
    both = users.join(challenges)
    whose = {
        "adoption": lambda c: c.startswith("user") and not is_other(c),
        "activity": lambda c: c.startswith("user") and is_activity(c),
        "participations": lambda c: "takes_part" in c,
        "the user's": lambda c: c.startswith("user"),
        "the challenge's": lambda c: c.startswith("challenge"),
        "all": lambda c: True,
        "all but participations": lambda c: "takes_part" not in c,
    }
    for name, keep in whose.items():
        print(f"  {name:24}", *scores(data.y, Columns(both, keep), folds))


def is_activity(column):
    return "recency" in column or "_tags_" in column


def is_other(column):
    return is_activity(column) or "takes_part" in column


def placebo(table, data, folds):
    """Permute the labels within each challenge."""
    rng = np.random.default_rng(0)
    rows = list(data.pairs.groupby("challenge").indices.values())
    found = []
    for _ in range(N_PERMUTATIONS):
        y = data.y.copy()
        for r in rows:
            y[r] = rng.permutation(y[r])
        columns = Columns(table, lambda c: c.startswith("user"))
        pooled = list(columns.out_of_fold(y, folds))
        found.append(np.mean([roc_auc_score(y[r], p) for r, p in pooled]))
    print(
        f"labels permuted within challenges, {N_PERMUTATIONS} times: AUC "
        f"{np.mean(found):.3f}, from {np.min(found):.3f} to {np.max(found):.3f}"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5, help="of the network")
    options = parser.parse_args()
    begin = time.perf_counter()
    videos = load_tiktok_export(data_file("creators_2020.parquet"))
    data = make_participation(videos)
    print(
        f"{len(videos)} videos, {len(data.y)} pairs, {data.y.sum()} positive, "
        f"{len(data.challenges)} challenges"
    )
    start = time.perf_counter()
    table = adoption(data)
    print(f"the user's columns of all pairs: {time.perf_counter() - start:.2f} s")
    by_split = splits(data)
    folds = by_split["unseen users"]
    print("\nlogistic regressions on columns, unseen users (AP, AUC):")
    parts(table, adoption(data, by="challenge"), data, folds)
    print("\nthe user's columns of histories that end earlier (AP, AUC):")
    for lag in LAGS:
        columns = Columns(adoption(data, lag), lambda c: c.startswith("user"))
        print(f"  {lag:2} days", *scores(data.y, columns, folds))
    placebo(table, data, folds)
    models = {"recommender": RecommenderBaseline(data.catalog, random_state=0)}
    for seed in range(options.seeds):
        models[f"network {seed}"] = make_deep_challenger(
            data.catalog, random_state=seed
        )
    for name, folds in by_split.items():
        print(f"\n== {name}, {len(folds)} folds; the first shares ==")
        audit = audit_split(data, *folds[0])
        print(audit[["count", "of", "fraction"]].round(3).to_string())
        found = compare(
            models, data, folds, n_resamples=options.resamples, random_state=0
        )
        print(found, flush=True)
        precision = found.table["average_precision"]
        mean = precision[precision.index.str.startswith("network")].mean()
        beside = (mean / precision[["text", "adoption"]]).round(3).to_dict()
        print(f"network, mean of {options.seeds} seeds: {mean:.3f}; beside: {beside}")
    print(f"\n{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
