from itertools import permutations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal
from sklearn.dummy import DummyClassifier
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from skchallenge.metrics import chance_floors, participation_report

ROWS = ["macro_precision", "macro_recall", "macro_f1"]
ROWS += ["roc_auc", "average_precision", "brier"]


def guesses(n=80, seed=0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    return y, np.clip(0.3 + 0.25 * y + rng.normal(0, 0.2, n), 0, 1)


def macro(score, y, predicted):
    return score(y, predicted, average="macro", zero_division=0.0)


@pytest.mark.parametrize("counts", [(500, 500), (1400, 600), (1400, 400, 200)])
@pytest.mark.parametrize(
    "row, strategy",
    [("majority", "most_frequent"), ("uniform", "uniform"), ("stratified",) * 2],
)
def test_floors_are_what_dummies_score_on_average(counts, row, strategy):
    y = np.repeat(np.arange(len(counts)), counts)
    X = np.zeros((len(y), 1))
    scores = []
    for seed in range(40):
        dummy = DummyClassifier(strategy=strategy, random_state=seed).fit(X, y)
        guess = dummy.predict(X)
        macros = [macro(s, y, guess) for s in (precision_score, recall_score, f1_score)]
        scores.append([accuracy_score(y, guess), *macros])
    # The widest of these scores has a standard error of 0.0025; the margin is 4.
    np.testing.assert_allclose(
        chance_floors(y).loc[row], np.mean(scores, axis=0), atol=0.01
    )


def test_floors_of_balanced_classes_are_one_over_their_number():
    floors = chance_floors(["a", "b", "c", "d"] * 5)
    assert list(floors.index) == ["majority", "uniform", "stratified"]
    assert floors.loc[["uniform", "stratified"]].to_numpy() == pytest.approx(0.25)
    # Always one class: precision .25 there, 0 elsewhere; F1 2 * .25 / 1.25 there.
    expected = [0.25, 0.25 / 4, 0.25, 0.4 / 4]
    assert floors.loc["majority"].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9])
def test_scores_are_scikit_learns(threshold):
    y, p = guesses()
    report = participation_report(y, p, threshold=threshold, n_resamples=5)
    predicted = (p >= threshold).astype(int)
    expected = [
        *(macro(s, y, predicted) for s in (precision_score, recall_score, f1_score)),
        roc_auc_score(y, p),
        average_precision_score(y, p),
        brier_score_loss(y, p),
    ]
    assert list(report.index) == ROWS
    assert list(report.columns) == ["score", "low", "high", "chance"]
    assert report["score"].tolist() == pytest.approx(expected)


def test_chance_is_the_best_that_guessing_reaches():
    y, p = guesses()
    chance = participation_report(y, p, n_resamples=5)["chance"]
    floors, rate = chance_floors(y), y.mean()
    assert chance[ROWS[:3]].tolist() == floors[ROWS[:3]].max().tolist()
    assert chance["roc_auc"] == 0.5
    constant = np.full(len(y), rate)
    assert chance["brier"] == pytest.approx(brier_score_loss(y, constant))


@pytest.mark.parametrize("y", [[0, 1], [1, 1, 0], [0, 0, 1, 0, 1, 0], [1] * 5 + [0]])
def test_chance_of_the_average_precision_is_the_mean_over_all_orders(y):
    orders = [-np.array(order) for order in permutations(range(len(y)))]
    expected = np.mean([average_precision_score(y, order) for order in orders])
    scores = np.full(len(y), 0.5)
    chance = participation_report(y, scores, n_resamples=1)["chance"]
    assert chance["average_precision"] == pytest.approx(expected)


def test_groups_of_equal_rows_count_as_one_row():
    """Ten copies of each row tell nothing new; only groups know that."""
    y, p = guesses()
    copies = np.repeat(np.arange(len(y)), 10)
    options = {"n_resamples": 200, "random_state": 0}
    rows = participation_report(y, p, **options)
    grouped = participation_report(y[copies], p[copies], groups=copies, **options)
    known = ["score", "low", "high"]  # to order more rows at random gains less
    assert_frame_equal(grouped[known], rows[known])
    fooled = participation_report(y[copies], p[copies], **options)
    width = {k: t["high"] - t["low"] for k, t in (("g", grouped), ("r", fooled))}
    # Ten times the rows make an interval narrower by the root of 10, about 3.2.
    assert (width["g"] / width["r"]).between(2.2, 4.5).all()


def test_groups_are_labels_of_any_kind_in_any_order():
    y, p = guesses()
    codes = np.arange(len(y)) % 9
    names = np.array([f"user{c}" for c in codes])
    options = {"n_resamples": 20, "random_state": 0}
    by_code = participation_report(y, p, groups=codes, **options)
    by_name = participation_report(y, p, groups=names, **options)
    assert_frame_equal(by_code, by_name)


def crossed(n_users=30, n_challenges=12, seed=0):
    """Pairs of all users and challenges; challenges differ in how many take part."""
    rng = np.random.default_rng(seed)
    user, challenge = np.indices((n_users, n_challenges)).reshape(2, -1)
    appeal = rng.normal(0, 1.5, n_challenges)[challenge]
    y = (rng.logistic(size=len(user)) < appeal).astype(int)
    p = 1 / (1 + np.exp(-(appeal + rng.normal(0, 1, len(user)))))
    return y, p, pd.DataFrame({"user_id": user, "challenge": challenge})


INTERVAL = {"n_resamples": 200, "random_state": 0}


def test_a_constant_factor_changes_nothing():
    y, p, pairs = crossed()
    users = pairs["user_id"]
    by_user = participation_report(y, p, groups=users, **INTERVAL)
    for column in (pairs[["user_id"]], pairs[["user_id"]].assign(country="all")):
        assert_frame_equal(
            participation_report(y, p, groups=column, **INTERVAL), by_user
        )


def test_challenges_that_differ_widen_the_interval():
    y, p, pairs = crossed()
    by_user = participation_report(y, p, groups=pairs["user_id"], **INTERVAL)
    two_way = participation_report(y, p, groups=pairs, **INTERVAL)
    known = ["score", "chance"]
    assert_frame_equal(two_way[known], by_user[known])
    width = (two_way["high"] - two_way["low"]) / (by_user["high"] - by_user["low"])
    assert (width > 1.5).all()


def test_factors_may_be_any_table():
    y, p, pairs = crossed()
    expected = participation_report(y, p, groups=pairs, **INTERVAL)
    named = pairs.assign(challenge=[f"tag{c:02}" for c in pairs["challenge"]])
    typed = named.astype({"user_id": "Int64", "challenge": "category"})
    shuffled = pairs.set_axis(np.arange(len(pairs))[::-1])  # positions count, no index
    tables = [named, typed, shuffled, pl.DataFrame(named), pairs.to_numpy()]
    for groups in (*tables, named.to_numpy().tolist()):
        found = participation_report(y, p, groups=groups, **INTERVAL)
        assert_frame_equal(found, expected)
    other = participation_report(y, p, groups=pairs, n_resamples=200, random_state=1)
    assert not other["low"].equals(expected["low"])


def test_groups_may_mix_strings_and_numbers():
    y, p, pairs = crossed()
    users = pairs["user_id"]
    mixed = [u if u < 10 else f"user{u}" for u in users]
    assert_frame_equal(
        participation_report(y, p, groups=pd.Series(mixed), **INTERVAL),
        participation_report(y, p, groups=users, **INTERVAL),
    )


def test_intervals_hold_the_score_and_grow_with_confidence():
    y, p = guesses(300)
    narrow, wide = (
        participation_report(y, p, confidence_level=c, n_resamples=200, random_state=0)
        for c in (0.5, 0.99)
    )
    assert (wide["low"] < narrow["low"]).all()
    assert (wide["high"] > narrow["high"]).all()
    assert wide["score"].between(wide["low"], wide["high"]).all()


def test_the_auc_interval_is_as_wide_as_delongs():
    """DeLong's variance of the AUC is worked out without any resampling."""
    y, p = guesses(400)
    wins = p[y == 1][:, None] > p[y == 0]  # (positives, negatives)
    by_row, by_column = wins.mean(axis=1), wins.mean(axis=0)
    variance = by_row.var(ddof=1) / len(by_row) + by_column.var(ddof=1) / len(by_column)
    report = participation_report(
        y, p, confidence_level=0.9, n_resamples=300, random_state=0
    ).loc["roc_auc"]
    # The width of 300 draws has a standard error of 5 %; the margin is 3 of them.
    expected = 2 * 1.645 * np.sqrt(variance)
    assert report["high"] - report["low"] == pytest.approx(expected, rel=0.15)


def test_the_seed_fixes_the_intervals():
    y, p = guesses()
    one, two, other = (
        participation_report(y, p, n_resamples=20, random_state=s) for s in (0, 0, 1)
    )
    assert_frame_equal(one, two)
    assert not one["low"].equals(other["low"])
    assert one["score"].equals(other["score"])


def test_draws_with_one_class_are_drawn_again():
    y, p = [0, 0, 0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    report = participation_report(y, p, n_resamples=50, random_state=0)
    assert report.notna().all(axis=None)


def test_tables_and_booleans_are_fine():
    y, p = guesses()
    plain = participation_report(y, p, n_resamples=10, random_state=0)
    given = participation_report(
        pd.Series(y == 1), pd.Series(p), n_resamples=10, random_state=0
    )
    assert_frame_equal(given, plain)


@pytest.mark.parametrize(
    "y, match",
    [
        ([], "at least one label, got none"),
        ([0, 1, np.nan], "y_true contains NaN"),
        (pd.Series(["a", None, "b"]), "1 of its values .* first in row 1. Drop"),
        (pd.array(["a", None, "b"], dtype="string"), "contains NaN"),
        (np.array(["a", None, "b"], dtype=object), "contains NaN"),
        ([0.1, 0.2, 0.7], "Unknown label type: continuous"),
    ],
)
def test_floors_of_bad_labels_are_refused(y, match):
    with pytest.raises(ValueError, match=match):
        chance_floors(y)


@pytest.mark.parametrize(
    "y, p, options, match",
    [
        ([1, 1], [0.2, 0.4], {}, r"y_true must hold 0 and 1, both, got \[1\]"),
        ([1, 2], [0.2, 0.4], {}, r"y_true must hold 0 and 1, both, got \[1, 2\]"),
        (["a", "b"], [0.2, 0.4], {}, r"y_true must hold 0 and 1, both"),
        ([0, 1], [-3.0, 4.0], {}, r"\[0, 1\], got values from -3.0 to 4.0"),
        ([0, 1], [0.1, np.inf], {}, r"y_score must hold probabilities in \[0, 1\]"),
        ([0, 1], [0.1, np.nan], {}, "y_score contains NaN .* first in row 1. Drop"),
        (
            [0, 1],
            pd.array([0.1, None], dtype="Float64"),
            {},
            "y_score contains NaN or None: 1 of its values are missing",
        ),
        ([0, np.nan, 1], [0.1] * 3, {}, "y_true contains NaN .* first in row 1. Drop"),
        ([0, None, 1], [0.1] * 3, {}, "y_true contains NaN .* first in row 1. Drop"),
        ([0, 1], [[0.9, 0.1]] * 2, {}, r"one probability .*\(2, 2\).*\[:, 1\]"),
        ([0, 1], [0.1], {}, r"inconsistent numbers of samples: \[2, 1\]"),
        ([0, 1], [0.1, 0.2], {"groups": [1]}, r"inconsistent numbers of samples"),
        ([0, 1], [0.1, 0.2], {"groups": [[1, 2]]}, r"inconsistent numbers of samples"),
        ([0, 1], [0.1, 0.2], {"groups": [[], []]}, r"one column or more, .*\(2, 0\)"),
        ([0, 1], [0.1, 0.2], {"groups": [[[1]], [[2]]]}, r"groups must .*\(2, 1, 1\)"),
        ([0, 1], [0.1, 0.2], {"groups": "user_id"}, r"groups must be .*got shape \(\)"),
        ([0, 1], [0.1, 0.2], {"groups": [1, np.nan]}, r"1 missing .* first in row 1"),
        (
            [0, 1],
            [0.1, 0.2],
            {"groups": [["a", None], [None, 1]]},
            r"groups has 2 missing values, the first in row 0\. Drop",
        ),
        ([0, 1], [0.1, 0.2], {"threshold": 2}, r"threshold == 2, must be <= 1"),
        ([0, 1], [0.1, 0.2], {"n_resamples": 0}, r"n_resamples == 0, must be >= 1"),
        (
            [0, 1],
            [0.1, 0.2],
            {"confidence_level": 1},
            r"confidence_level == 1, must be < 1",
        ),
        ([0, 1], [0.1, 0.2], {"confidence_level": np.nan}, r"level must be a finite"),
        ([0, 1], [0.1, 0.2], {"threshold": np.nan}, r"threshold must be a finite numb"),
    ],
)
def test_bad_input_is_refused(y, p, options, match):
    with pytest.raises(ValueError, match=match):
        participation_report(y, p, **options)


def test_lists_are_no_groups():
    with pytest.raises(
        TypeError, match="one name or number a cell, .* 'list'. Explode"
    ):
        participation_report([0, 1], [0.1, 0.2], groups=pd.Series([["a", "b"], ["c"]]))
