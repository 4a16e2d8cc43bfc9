"""`compare` against scikit-learn's metrics, by hand, and by simulation."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    ndcg_score,
    roc_auc_score,
)
from sklearn.model_selection import GroupKFold
from sklearn.utils import Bunch

from skchallenge import VideoCatalog
from skchallenge.baselines import RateBaseline, compare
from skchallenge.baselines._compare import _METRICS, _Fold

mpl.use("agg")


class Column(ClassifierMixin, BaseEstimator):
    """Predict what a column of X holds: a model that is fixed before any data."""

    def __init__(self, name):
        self.name = name

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        one = X[self.name].to_numpy()
        return np.column_stack([1 - one, one])


def world(rng, n_users, n_challenges=4, effect=1.0):
    """Pairs with a signal of users, one of challenges, and two noisy looks at it."""
    of_user = rng.normal(size=n_users)
    of_challenge = rng.normal(scale=0.5, size=n_challenges)
    user = np.repeat(np.arange(n_users), n_challenges)
    challenge = np.tile(np.arange(n_challenges), n_users)
    logit = effect * of_user[user] + of_challenge[challenge] - 1
    y = (rng.uniform(size=len(user)) < 1 / (1 + np.exp(-logit))).astype(int)
    looks = {
        name: 1 / (1 + np.exp(-logit - noise * rng.normal(size=n_users)[user]))
        for name, noise in (("sharp", 0.7), ("blurred", 1.0))
    }
    pairs = pd.DataFrame({"user_id": user, "challenge": challenge, "time": 1, **looks})
    catalog = VideoCatalog(
        pd.DataFrame(
            {"video_id": [0], "user_id": [-1], "challenge": [0], "create_time": [0]}
        )
    )
    return Bunch(pairs=pairs, y=y, catalog=catalog)


def study(seed=0, n_users=60):
    return world(np.random.default_rng(seed), n_users)


BLURRED = {"blurred": Column("blurred")}
FAST = {"n_resamples": 20, "random_state": 0}


def weighted(seed, n=40):
    rng = np.random.default_rng(seed)
    truth = np.r_[0, 1, rng.integers(0, 2, n - 2)]
    score = rng.choice([0.1, 0.3, 0.5, 0.8, 0.9], n)  # with ties
    return truth, score, rng.integers(0, 7, n), np.sort(rng.integers(0, 3, n))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_scores_are_those_of_scikit_learn_for_repeated_rows(seed, k):
    """A user who was drawn twice counts as two users would."""
    truth, score, user, challenge = weighted(seed)
    rng = np.random.default_rng(seed + 1)
    times, drawn = rng.integers(0, 3, 7), rng.integers(0, 3, 3)
    found = _Fold(truth, score, user, challenge, k).scores(
        times.astype(float), drawn.astype(float)
    )
    rows = np.repeat(np.arange(len(truth)), times[user] * drawn[challenge])
    if len(set(truth[rows])) < 2:
        assert np.isnan(found).all()
        return
    overall = [
        metric(truth[rows], score[rows])
        for metric in (average_precision_score, roc_auc_score, brier_score_loss)
    ]
    assert_allclose(found[[0, 1, 3]], overall)
    aucs, recalls, gains = [], [], []
    for c in np.flatnonzero(drawn):
        mine = np.flatnonzero(challenge == c)
        mine = np.repeat(mine, times[user[mine]])
        y, s = truth[mine], score[mine]
        if 0 < y.sum() < len(y):
            aucs += [roc_auc_score(y, s)] * drawn[c]
        if y.sum():
            recalls += [expected_recall(y, s, k)] * drawn[c]
            gains += [ndcg_score([y], [s], k=k) if len(y) > 1 else 1.0] * drawn[c]
    for value, expected in zip(found[[2, 4, 5]], (aucs, recalls, gains), strict=True):
        assert_allclose(value, np.mean(expected) if expected else np.nan)


def expected_recall(y, score, k, n_orders=None):
    """Average over the orders of ties: each of them fills its places evenly."""
    hits = 0.0
    for value in np.unique(score)[::-1]:
        tied, above = score == value, (score > value).sum()
        places = np.clip(k - above, 0, tied.sum())
        hits += y[tied].mean() * places
    return hits / y.sum()


def test_scores_by_hand():
    truth, score = np.array([1, 0, 0, 1, 0]), np.array([0.9, 0.8, 0.2, 0.3, 0.7])
    user, challenge = np.arange(5), np.array([0, 0, 0, 1, 1])
    once = np.ones(5)
    found = _Fold(truth, score, user, challenge, 1).scores(once, np.ones(2))
    by_name = dict(zip(_METRICS, found, strict=True))
    assert_allclose(by_name["roc_auc"], 4 / 6)  # the other 1 is above one 0 of three
    assert_allclose(by_name["average_precision"], (1 + 2 / 4) / 2)
    assert_allclose(by_name["roc_auc_within"], (1 + 0) / 2)
    assert_allclose(by_name["recall_at_k"], (1 + 0) / 2)
    assert_allclose(by_name["ndcg_at_k"], (1 + 0) / 2)
    assert_allclose(by_name["brier"], np.mean([0.01, 0.64, 0.04, 0.49, 0.49]))
    # All alike: each of k places falls on one of n rows.
    same = _Fold(truth, np.full(5, 0.4), user, challenge, 2).scores(once, np.ones(2))
    by_name = dict(zip(_METRICS, same, strict=True))
    assert_allclose(by_name["recall_at_k"], (2 / 3 + 2 / 2) / 2)
    assert by_name["roc_auc"] == by_name["roc_auc_within"] == 0.5


def test_the_table_holds_means_over_folds():
    data, cv = study(), GroupKFold(3)
    found = compare({"sharp": Column("sharp")}, data, cv, baselines=BLURRED, **FAST)
    for name in ("sharp", "blurred"):
        folds = [
            average_precision_score(data.y[test], data.pairs[name].iloc[test])
            for _, test in cv.split(data.pairs, groups=data.pairs["user_id"])
        ]
        assert_allclose(found.table.loc[name, "average_precision"], np.mean(folds))
    assert found.reference == "blurred"
    assert list(found.table) == _METRICS
    scores = found.table["roc_auc"]
    row = found.differences.loc[("sharp", "roc_auc")]
    assert_allclose(row["difference"], scores["sharp"] - scores["blurred"])
    ratio = found.ratios.loc[("sharp", "roc_auc"), "ratio"]
    assert_allclose(ratio, scores["sharp"] / scores["blurred"])
    itself = found.differences.loc["blurred"]
    assert (itself == 0).all(axis=None)
    assert (found.ratios.loc["blurred"] == 1).all(axis=None)
    kept = found.predictions.sort_values("row")
    assert_array_equal(kept["sharp"], data.pairs["sharp"])
    assert_array_equal(kept["y"], data.y)


def test_paired_intervals_are_narrower_than_those_of_the_scores():
    """The same draws for all models, or half of the noise would be of the draws."""
    data = study(n_users=200)
    twin = {"twin": Column("sharp")}
    found = compare(
        {"sharp": Column("sharp")},
        data,
        baselines={**twin},
        n_resamples=50,
        random_state=0,
    )
    row = found.differences.loc[("sharp", "average_precision")]
    assert_allclose(row, 0, atol=1e-12)


def covered(n_studies, effect=1.0):
    """How often the interval by user holds the difference for new users."""
    rng = np.random.default_rng(0)
    truth = study_of_all(rng, effect)
    hits = 0
    for _ in range(n_studies):
        # The same challenges: the interval by user is about other users in these.
        data = world(np.random.default_rng(rng.integers(2**32)), 150, 1, effect)
        row = compare(
            {"sharp": Column("sharp")},
            data,
            [(np.arange(len(data.y)), np.arange(len(data.y)))],
            baselines=BLURRED,
            n_resamples=100,
            random_state=rng.integers(2**31),
        ).differences.loc[("sharp", "roc_auc")]
        hits += row["low"] <= truth <= row["high"]
    return hits / n_studies


def study_of_all(rng, effect):
    data = world(rng, 100_000, 1, effect)
    scores = [roc_auc_score(data.y, data.pairs[n]) for n in ("sharp", "blurred")]
    return scores[0] - scores[1]


def test_intervals_hold_the_difference_as_often_as_they_say():
    # 95 % of 80 studies, whose standard error is 0.024; a percentile bootstrap of 150
    # users may be a little short.
    assert 0.87 <= covered(80) <= 1


def test_it_prints_what_it_found():
    text = str(compare({"sharp": Column("sharp")}, study(), baselines=BLURRED, **FAST))
    assert "'blurred', the best baseline" in text
    assert "4 challenges" in text
    assert text.splitlines()[1].split()[0] == "sharp"
    assert "by users" in text
    assert "two-way" in text


def test_it_draws_every_model():
    found = compare({"sharp": Column("sharp")}, study(), baselines=BLURRED, **FAST)
    assert found.plot("roc_auc") is found
    labels = [label.get_text() for label in found.axes_.get_yticklabels()]
    assert labels == ["blurred", "sharp"]
    assert "roc_auc, beside that of 'blurred'" in found.axes_.get_xlabel()
    assert found.plot(ax=found.axes_).figure_ is found.axes_.figure
    with pytest.raises(ValueError, match="metric must be one of"):
        found.plot("f1")
    mpl.pyplot.close(found.figure_)


def test_the_first_comparison_holds_the_baselines():
    data = study()
    found = compare(DummyClassifier(strategy="prior"), data, **FAST)
    assert list(found.table.index) == ["DummyClassifier", "challenge rate", "user rate"]
    assert found.reference == "challenge rate"
    again = compare(DummyClassifier(strategy="prior"), data, n_jobs=2, **FAST)
    pd.testing.assert_frame_equal(again.differences, found.differences)


def test_models_are_cloned_and_data_left_alone():
    data, model = study(), Column("sharp")
    before = data.pairs.copy(deep=True)
    compare({"sharp": model}, data, baselines=BLURRED, **FAST)
    assert not hasattr(model, "classes_")
    pd.testing.assert_frame_equal(data.pairs, before)


class Overconfident(Column):
    def predict_proba(self, X):
        return 3 * super().predict_proba(X)


@pytest.mark.parametrize(
    "models, options, error, match",
    [
        (RidgeClassifier(), {}, TypeError, "'RidgeClassifier' must be a classifier wi"),
        ({"blurred": Column("sharp")}, {}, ValueError, r"share \['blurred'\]"),
        ({}, {"baselines": {}}, ValueError, "baselines must hold at least one, again"),
        ({}, {"cv": 3}, TypeError, "cv must be a splitter .* got 3. Folds by number"),
        ({}, {"cv": []}, ValueError, "cv makes no folds"),
        ({}, {"cv": [([0, 1], [0])]}, ValueError, "test rows of fold 1 have one"),
        ({}, {"k": 0}, ValueError, "k == 0, must be >= 1"),
        ({}, {"n_resamples": 0}, ValueError, "n_resamples == 0, must be >= 1"),
        ({}, {"confidence_level": 1}, ValueError, "confidence_level == 1, must be < 1"),
        (
            Overconfident("sharp"),
            {},
            ValueError,
            r"must predict probabilities in \[0, 1",
        ),
    ],
)
def test_what_is_refused(models, options, error, match):
    data = study()
    order = np.argsort(data.y)[::-1]
    if "cv" in options and isinstance(options["cv"], list) and options["cv"]:
        options = {"cv": [(np.arange(len(data.y)), order[:3])]}
    with pytest.raises(error, match=match):
        compare(models, data, **{"baselines": BLURRED, **FAST, **options})


def test_bad_data_is_refused():
    data = study()
    with pytest.raises(
        TypeError, match=r"data must have .* but it lacks \['catalog'\]"
    ):
        compare({}, Bunch(pairs=data.pairs, y=data.y))
    bad = Bunch(pairs=data.pairs, y=data.y + 1, catalog=data.catalog)
    with pytest.raises(
        ValueError, match="data.y must hold 0 and 1, both, one for each"
    ):
        compare({}, bad)
    videos = data.catalog.videos.assign(hashtags=[[]])
    tagged = Bunch(pairs=data.pairs, y=data.y, catalog=VideoCatalog(videos))
    match = r"baselines=None takes a window of 14 days.*default_baselines\(catalog, win"
    with pytest.raises(ValueError, match=match):
        compare({}, tagged)


def test_a_rate_is_the_best_where_nothing_else_is_known():
    """Recovery: with a signal of challenges alone, the rate of the challenge wins."""
    data = world(np.random.default_rng(1), 300, 6, effect=0.0)
    found = compare(
        {"by user": RateBaseline("user_id")},
        data,
        baselines={"rate": RateBaseline("challenge")},
        **FAST,
    )
    row = found.ratios.loc[("by user", "roc_auc")]
    assert row["high"] < 1
    assert_allclose(found.table["roc_auc_within"], 0.5)
