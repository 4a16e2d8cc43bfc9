"""Two habits of virality studies: resampling before the split, and one global median.

Reads ``creators_2020.parquet`` from the folder that SKCHALLENGE_DATA names.

    SKCHALLENGE_DATA=path/to/data python benchmarks/virality_resampling.py
"""

import numpy as np
import pandas as pd
from common import data_file
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, train_test_split
from sklearn.preprocessing import StandardScaler

from skchallenge import load_tiktok_export
from skchallenge.tabular import MetadataFeaturizer, ViralityLabeler

COLUMNS = ["duration_s", "hashtags", "create_time", "n_followers", "n_total_likes"]
COLUMNS += ["n_total_videos"]


def forest():
    return RandomForestClassifier(50, random_state=0)


def resampled_before(X, y):
    """Copy rows of the rare class first and split then: copies are on both sides."""
    X, y = RandomOverSampler(random_state=0).fit_resample(X, y)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    return y_test, forest().fit(X, y).predict(X_test)


def resampled_inside(X, y, splitter, groups):
    """Copy rows of the training side only."""
    train, test = next(splitter.split(X, y, groups))
    model = make_pipeline(RandomOverSampler(random_state=0), forest())
    return y[test], model.fit(X.iloc[train], y[train]).predict(X.iloc[test])


def resampling(videos, X, quantile):
    y = ViralityLabeler(quantile=quantile).fit(videos).transform(videos)
    at_random = ShuffleSplit(1, test_size=0.2, random_state=0)
    by_creator = GroupShuffleSplit(1, test_size=0.2, random_state=0)
    ways = {
        "before the split": resampled_before(X, y),
        "training rows only, random split": resampled_inside(X, y, at_random, None),
        "training rows only, unseen creators": resampled_inside(
            X, y, by_creator, videos["user_id"]
        ),
    }
    print(f"\nLabel: top {1 - quantile:.0%}. A random forest, oversampled")
    for name, scored in ways.items():
        print(
            f"  {name:36} accuracy {accuracy_score(*scored):.3f}, "
            f"balanced {balanced_accuracy_score(*scored):.3f}",
            flush=True,
        )


def global_median(videos, X, n, repeats):
    """Print the AUC under labels of the global median less that under honest ones."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    rng, differences = np.random.default_rng(0), []
    for seed in range(repeats):
        rows = rng.permutation(len(videos))[:n]
        part, table = videos.iloc[rows], X.iloc[rows].to_numpy()
        train, test = train_test_split(np.arange(n), test_size=0.2, random_state=seed)
        aucs = []
        for labelled in (part, part.iloc[train]):
            y = ViralityLabeler().fit(labelled).transform(part)
            p = model.fit(table[train], y[train]).predict_proba(table[test])[:, 1]
            aucs.append(roc_auc_score(y[test], p))
        differences.append(aucs[0] - aucs[1])
    mean, size = np.mean(differences), np.mean(np.abs(differences))
    print(
        f"{n} rows, {repeats} splits: AUC by a global median less that by the training "
        f"median: {mean:+.5f} on average, {size:.5f} in size"
    )


def main():
    videos = load_tiktok_export(data_file("creators_2020.parquet"))
    videos = videos[ViralityLabeler().labelable(videos)].reset_index(drop=True)
    X = pd.DataFrame(MetadataFeaturizer().fit_transform(videos[COLUMNS]))
    for quantile in (0.9, 0.5):
        resampling(videos, X, quantile)
    print()
    global_median(videos, X, len(videos), 5)
    global_median(videos, X, 975, 50)


if __name__ == "__main__":
    main()
