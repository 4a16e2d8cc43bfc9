"""The resampled scores are scikit-learn's, of the rows that were drawn."""

import numpy as np
import pytest
from pandas.testing import assert_frame_equal
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from skchallenge.metrics._bootstrap import resampled_means, resampled_scores


def scikit_learns(y, p, threshold):
    yes = p >= threshold
    precision, recall, f1, _ = precision_recall_fscore_support(
        y, yes, average="macro", zero_division=0.0
    )
    assert recall == pytest.approx(balanced_accuracy_score(y, yes), abs=1e-12)
    return {
        "accuracy": accuracy_score(y, yes),
        "macro_precision": precision,
        "macro_recall": recall,
        "macro_f1": f1,
        "roc_auc": roc_auc_score(y, p),
        "average_precision": average_precision_score(y, p),
        "brier": brier_score_loss(y, p),
    }


def drawn_rows(y, groups, n, seed):
    """Draw groups with replacement, as lists of rows; skip those of one class."""
    rng = np.random.RandomState(seed)
    names = np.unique(groups)
    while n:
        chosen = rng.randint(len(names), size=len(names))
        rows = np.concatenate([np.flatnonzero(groups == names[i]) for i in chosen])
        if len(np.unique(y[rows])) == 2:
            yield rows
            n -= 1


@pytest.mark.parametrize("n_levels", [2, 5, 1000], ids="{} levels".format)
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n_groups", [7, 40])
def test_scores_are_scikit_learns(n_levels, threshold, n_groups):
    rng = np.random.default_rng(n_levels)
    y = np.append([0, 1], rng.integers(0, 2, 38))
    p = rng.integers(0, n_levels, 40) / (n_levels - 1)
    groups = rng.permutation(np.arange(40) % n_groups)
    found = resampled_scores(y, p, groups, 25, 3, threshold=threshold)
    rows = list(drawn_rows(y, groups, 25, 3))
    assert len(found) == len(rows)
    for sample, scores in zip(rows, found.to_dict("records"), strict=True):
        expected = scikit_learns(y[sample], p[sample], threshold)
        assert scores == pytest.approx(expected, abs=1e-12)


def test_a_class_of_one_row_is_in_every_sample():
    y, p = np.array([0, 0, 0, 0, 0, 1]), np.linspace(0.1, 0.6, 6)
    assert resampled_scores(y, p, np.arange(6), 50, 0).notna().all(axis=None)


def test_a_fold_that_comes_twice_is_drawn_once():
    rng = np.random.default_rng(0)
    fold = rng.permutation(np.arange(60) % 2), rng.uniform(size=60), np.arange(60) // 2
    twice = resampled_means([fold, fold], 20, 3)
    assert_frame_equal(twice, resampled_scores(*fold, 20, 3)[twice.columns])
    # One positive row, in a group of its own: a third of the samples lack it.
    rare = np.eye(60, dtype=int)[7], fold[1], np.arange(60)
    assert resampled_means([rare, rare, fold], 20, 3).notna().all(axis=None)


def test_folds_that_share_no_group_are_drawn_apart():
    rng = np.random.default_rng(0)
    folds = [
        (np.arange(40) % 2, rng.uniform(size=40), np.arange(40) + start)
        for start in (0, 40)
    ]
    state = np.random.RandomState(3)
    apart = [resampled_scores(*fold, 20, state) for fold in folds]
    assert_frame_equal(resampled_means(folds, 20, 3), (apart[0] + apart[1]) / 2)
