"""The resampled scores are scikit-learn's, of the rows that were drawn."""

from itertools import product

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

from skchallenge.metrics._bootstrap import _draws, resampled_means, resampled_scores


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


def drawn_rows(y, factors, n, seed):
    """Draw groups of each factor with replacement, as lists of rows.

    Each tuple of drawn groups, such as a user and a challenge, brings its rows along.
    Samples of one class are skipped.
    """
    rng = np.random.RandomState(seed)
    while n:
        drawn = []
        for column in factors.T:
            names = np.unique(column)
            drawn.append(names[rng.randint(len(names), size=len(names))])
        cells = [
            np.flatnonzero((factors == cell).all(axis=1)) for cell in product(*drawn)
        ]
        rows = np.concatenate(cells)
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
    rows = list(drawn_rows(y, groups[:, None], 25, 3))
    assert len(found) == len(rows)
    for sample, scores in zip(rows, found.to_dict("records"), strict=True):
        expected = scikit_learns(y[sample], p[sample], threshold)
        assert scores == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n_groups", [(4, 6), (2, 3, 4)], ids="{0[0]}...".format)
def test_crossed_groups_bring_the_rows_of_their_cells(n_groups):
    """Also where cells are empty or hold several rows."""
    rng = np.random.default_rng(0)
    y, p = rng.permutation(np.arange(40) % 2), rng.integers(0, 9, 40) / 8
    factors = np.column_stack([rng.integers(0, n, 40) for n in n_groups])
    found = resampled_scores(y, p, factors, 25, 3)
    rows = list(drawn_rows(y, factors, 25, 3))
    assert len({len(sample) for sample in rows}) > 5  # the table is unbalanced
    for sample, scores in zip(rows, found.to_dict("records"), strict=True):
        assert scores == pytest.approx(scikit_learns(y[sample], p[sample], 0.5))


def test_weights_of_four_cells_worked_out_by_hand():
    """Users a, b and challenges x, y; only the pair (a, x) is positive.

    Each side is drawn as (2, 0), (1, 1) or (0, 2), with chances 1/4, 1/2 and 1/4. Of
    the nine products, three hold both classes.
    """
    factors = np.array([["a", "x"], ["a", "y"], ["b", "x"], ["b", "y"]])
    weights = list(_draws(np.array([1, 0, 0, 0]), factors, 4000, 0))
    found, times = np.unique(weights, axis=0, return_counts=True)
    expected = {(1, 1, 1, 1): 1 / 2, (2, 0, 2, 0): 1 / 4, (2, 2, 0, 0): 1 / 4}
    shares = dict(zip(map(tuple, found), times / 4000, strict=True))
    # A share of 4,000 has a standard error of .008; the margin is 4 of them.
    assert shares == pytest.approx(expected, abs=0.032)


def test_the_variance_of_a_mean_is_the_pigeonhole_bootstraps():
    """In a full table the mean is linear in the products, so its variance is exact.

    With E[a_i a_k] = [i = k] + 1 - 1 / I for the draws a of I users, and alike for
    challenges, the second moment is a sum of squares of cells, rows, columns and all.
    """
    n_users, n_challenges = 12, 9
    rng = np.random.default_rng(0)
    effects = rng.normal(0, 0.6, (n_users, 1)) + rng.normal(0, 0.6, n_challenges)
    y = (rng.normal(effects) > 0).astype(int)
    p = rng.uniform(size=y.shape)
    loss = (p - y) ** 2
    user, challenge = 1 - 1 / n_users, 1 - 1 / n_challenges
    squares = [
        (loss**2).sum(),
        challenge * (loss.sum(axis=1) ** 2).sum(),
        user * (loss.sum(axis=0) ** 2).sum(),
        user * challenge * loss.sum() ** 2,
    ]
    expected = sum(squares) / loss.size**2 - loss.mean() ** 2
    factors = np.indices(y.shape).reshape(2, -1).T
    drawn = resampled_scores(y.ravel(), p.ravel(), factors, 3000, 0)["brier"]
    # The variance of 3,000 draws has a standard error of 2.6 %; the margin is 4.
    assert drawn.var() == pytest.approx(expected, rel=0.11)


@pytest.mark.parametrize("n_groups", [2, 3, 5, 50])
def test_one_factor_needs_few_tries(n_groups):
    """The two groups that a sample needs are both in it at least twice in five."""
    y = np.eye(n_groups, dtype=int)[0]
    rng = CountingState(0)
    assert len(list(_draws(y, np.arange(n_groups), 400, rng))) == 400
    assert rng.calls < 400 / 0.4


class CountingState(np.random.RandomState):
    calls = 0

    def randint(self, *args, **kwargs):
        self.calls += 1
        return super().randint(*args, **kwargs)


def test_a_hopeless_draw_ends():
    y, factors = np.eye(40, dtype=int)[0], np.tile(np.arange(40)[:, None], 60)
    with pytest.raises(ValueError, match="1000 draws in a row .* 60 columns .* fewer"):
        resampled_scores(y, np.linspace(0, 1, 40), factors, 5, 0)


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
