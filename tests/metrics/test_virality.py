from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.tree import DecisionTreeClassifier

from skchallenge.exceptions import LeakageWarning
from skchallenge.metrics import virality_report
from skchallenge.tabular import ViralityLabeler

ROWS = ["accuracy", "balanced_accuracy", "roc_auc", "average_precision", "brier"]


def study(n=300, signal=1.0, seed=0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"tempo": rng.normal(size=n)})
    followers = rng.lognormal(8, 1, n).round() + 1
    ratio = np.exp(signal * X["tempo"] + 0.5 * rng.normal(size=n))
    videos = pd.DataFrame(
        {"n_plays": (followers * ratio).round(), "n_followers": followers}
    )
    return X, videos, np.arange(n) % 30


def report(X, videos, cv=3, labeler=None, model=None, **options):
    options = {"n_resamples": 5, "random_state": 0, **options}
    labeler = labeler or ViralityLabeler()
    return virality_report(
        model or LogisticRegression(), X, videos, labeler, cv, **options
    )


class Spy(BaseEstimator):
    """A labeler that writes down what it is fitted on and asked to label."""

    log: ClassVar[list] = []

    def fit(self, videos):
        self.inner_ = ViralityLabeler().fit(videos)
        Spy.log.append(("fit", tuple(videos.index)))
        return self

    def transform(self, videos):
        Spy.log.append(("label", tuple(videos.index)))
        return self.inner_.transform(videos)


def test_labels_are_learnt_on_the_training_rows_of_each_fold():
    X, videos, _ = study(60)
    Spy.log.clear()
    report(X, videos, KFold(3), Spy())
    whole = tuple(range(60))
    expected = [("fit", whole), ("label", whole)]  # for splitters that stratify
    for train, test in KFold(3).split(X):
        expected += [("fit", tuple(train)), ("label", tuple(train))]
        expected += [("label", tuple(test))]
    assert Spy.log == expected


def test_scores_are_scikit_learns_over_the_same_folds():
    X, videos, groups = study()
    found = report(X, videos, GroupKFold(3), groups=groups)
    assert list(found.index) == ROWS
    assert list(found.columns) == ["score", "low", "high", "chance", "followers"]
    folds = list(GroupKFold(3).split(X, groups=groups))
    names = [*ROWS[:-1], "neg_brier_score"]
    expected = []
    for train, test in folds:
        y = ViralityLabeler().fit(videos.iloc[train]).transform(videos)
        fold = [(train, test)]
        model = LogisticRegression()
        expected.append(
            [cross_val_score(model, X, y, cv=fold, scoring=s)[0] for s in names]
        )
    expected = np.mean(expected, axis=0) * [1, 1, 1, 1, -1]
    np.testing.assert_allclose(found["score"], expected)


def test_the_baseline_is_what_followers_tell():
    X, videos, _ = study()
    noise = pd.DataFrame({"noise": np.random.default_rng(1).normal(size=len(X))})
    views = ViralityLabeler("views")
    found = report(noise, videos, KFold(3), views)
    log_followers = np.log1p(videos[["n_followers"]])
    expected = []
    for train, test in KFold(3).split(X):
        y = views.fit(videos.iloc[train]).transform(videos)
        model = LogisticRegression().fit(log_followers.iloc[train], y[train])
        p = model.predict_proba(log_followers.iloc[test])[:, 1]
        expected.append(roc_auc_score(y[test], p))
    assert found.loc["roc_auc", "followers"] == pytest.approx(np.mean(expected))
    assert found.loc["roc_auc", "followers"] > 0.7 > found.loc["roc_auc", "score"]
    unknown = report(X, videos.drop(columns="n_followers"), 3, views)
    assert unknown["followers"].isna().all()
    assert unknown[["score", "low", "high", "chance"]].notna().all(axis=None)


@pytest.mark.parametrize("name", ["authorMeta.fans", "stats__followerCount_x"])
def test_the_baseline_knows_the_names_of_scrapers(name):
    X, videos, _ = study(90)
    views = ViralityLabeler("views")
    expected = report(X, videos, KFold(3), views)
    renamed = videos.rename(columns={"n_followers": name, "n_plays": "playCount"})
    assert_frame_equal(report(X, renamed, KFold(3), views), expected)
    empty = renamed.assign(n_followers=np.nan)  # tells nothing, and hides nothing
    assert_frame_equal(report(X, empty, KFold(3), views), expected)


@pytest.mark.parametrize("grouped", [True, False])
def test_repeating_the_folds_narrows_no_interval(grouped):
    """Four times the same test rows would look like four times as many."""
    X, videos, groups = study(240)
    folds = list(KFold(3).split(X))
    options = {"n_resamples": 200, "groups": groups if grouped else None}
    once = report(X, videos, folds, **options)
    often = report(X, videos, folds * 4, **options)
    assert_frame_equal(often[["score", "chance"]], once[["score", "chance"]])
    ratio = (often["high"] - often["low"]) / (once["high"] - once["low"])
    assert ratio.between(0.8, 1.25).all()  # half as wide if folds were drawn apart


def test_chance_is_what_a_dummy_scores():
    X, videos, _ = study()
    labeler = ViralityLabeler(quantile=0.8)
    dummy = report(X, videos, KFold(3), labeler, DummyClassifier(strategy="prior"))
    rows = ["accuracy", "balanced_accuracy", "roc_auc"]
    np.testing.assert_allclose(dummy.loc[rows, "score"], dummy.loc[rows, "chance"])
    assert 0 <= dummy.loc["brier", "score"] - dummy.loc["brier", "chance"] < 0.01
    # One tie of all rows has the share of ones; a random order has a little more.
    gain = dummy.loc["average_precision", "chance"] - dummy.loc["average_precision"]
    assert 0 < gain["score"] < 0.05


def test_chance_of_the_accuracy_guesses_the_majority_of_the_training_rows():
    """70 of 100 training rows are viral, and 5 of 20 test rows."""
    plays = np.repeat([1, 9, 1, 9], [30, 70, 15, 5])
    videos = pd.DataFrame({"n_plays": plays, "n_followers": 1})
    labeler = ViralityLabeler("views", quantile=0.29)
    folds = [(np.arange(100), np.arange(100, 120))]
    found = report(videos[["n_followers"]], videos, folds, labeler)
    assert found.loc["accuracy", "chance"] == 5 / 20


def test_no_signal_is_chance_and_a_signal_is_found():
    folds, aucs = GroupKFold(3), []
    for seed in range(6):
        X, videos, groups = study(300, signal=0.0, seed=seed)
        noise = report(X, videos, folds, groups=groups, n_resamples=1)
        aucs.append(noise.loc["roc_auc", "score"])
    # An AUC of 300 rows has a standard error of 0.033, their mean one of 0.014.
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.05)
    X, videos, groups = study(300)
    found = report(X, videos, folds, groups=groups)
    assert found.loc["roc_auc", "low"] > 0.85


def test_whole_groups_are_drawn():
    X, videos, _ = study(100)
    # Each row eight times: as one group of eight they are worth one row, not eight.
    copies = np.repeat(np.arange(100), 8)
    folds = list(KFold(2).split(copies))
    X, videos = X.iloc[copies], videos.iloc[copies].reset_index(drop=True)
    width = {}
    for name, groups in {"row": None, "group": copies}.items():
        found = report(X, videos, folds, n_resamples=60, groups=groups)
        width[name] = found.loc["accuracy", "high"] - found.loc["accuracy", "low"]
    assert width["group"] / width["row"] == pytest.approx(np.sqrt(8), rel=0.4)


def test_the_seed_fixes_the_intervals_and_nothing_else():
    X, videos, _ = study(90)
    one, two, other = (report(X, videos, random_state=s) for s in (0, 0, 1))
    assert_frame_equal(one, two)
    assert not one["low"].equals(other["low"])
    assert one["score"].equals(other["score"])


def test_arrays_and_text_counts_are_fine():
    X, videos, _ = study(90)
    text = videos.astype(int).astype(str)
    assert_frame_equal(
        report(X.to_numpy(), text, KFold(3)), report(X, videos, KFold(3))
    )


@pytest.mark.parametrize(
    "change, options, match",
    [
        ({"n_plays": None}, {}, r"holds no value of \['n_plays'\]"),
        ({"n_followers": 0}, {}, r"90 of 90 videos have no label"),
        ({}, {"n_resamples": 0}, r"n_resamples == 0, must be >= 1"),
        ({}, {"confidence_level": 1.0}, r"confidence_level == 1.0, must be < 1"),
        ({}, {"confidence_level": np.nan}, r"confidence_level must be a finite number"),
        ({}, {"groups": [1, 2]}, r"inconsistent numbers of samples"),
        ({}, {"groups": ["a", None, 7] * 30}, r"groups has 30 missing v.* in row 1\."),
        ({}, {"groups": [np.nan] * 90}, r"groups has 90 missing values"),
    ],
)
def test_bad_input_is_refused(change, options, match):
    X, videos, _ = study(90)
    with pytest.raises(ValueError, match=match):
        report(X, videos.assign(**change), **options)


def test_groups_of_mixed_kinds_are_groups():
    X, videos, groups = study()
    mixed = [f"u{g}" if g % 2 else int(g) for g in groups]
    folds = list(GroupKFold(3).split(X, groups=groups))
    found = [report(X, videos, folds, groups=g)["score"] for g in (groups, mixed)]
    assert found[0].equals(found[1])


def test_folds_of_one_class_are_refused():
    X, videos, _ = study(90)
    sorted_videos = videos.assign(n_plays=np.arange(90.0), n_followers=1)
    match = r"Each fold must hold both classes, but the test rows of one have labels"
    with pytest.raises(ValueError, match=match):
        report(X, sorted_videos, KFold(3))


@pytest.mark.parametrize("column", ["user_id", "authorMeta.id"])
def test_users_on_both_sides_are_warned_of_where_no_group_is_named(column):
    """Luck of the user is the whole label, and X recognises users."""
    rng = np.random.default_rng(0)
    user = np.arange(600) % 60
    X = pd.DataFrame({"bio_length": rng.permutation(60)[user]})
    luck = rng.normal(size=60)[user] + 0.3 * rng.normal(size=600)
    videos = pd.DataFrame({"n_plays": (1000 * np.exp(luck)).round(), column: user})
    options = {"model": DecisionTreeClassifier(), "labeler": ViralityLabeler("views")}
    honest = report(X, videos, GroupKFold(3), groups=user, **options)
    match = rf"groups=None, but videos\['{column}'\] names users .* Pass groups="
    with pytest.warns(LeakageWarning, match=match):
        leaky = report(X, videos, KFold(3, shuffle=True, random_state=0), **options)
    assert abs(honest.loc["roc_auc", "score"] - 0.5) < 0.15  # 60 users: 3 errors
    assert leaky.loc["roc_auc", "score"] > 0.8
    apart = videos.assign(**{column: np.arange(600)})
    report(X, apart, 3, **options)  # one video each: nothing to warn of
