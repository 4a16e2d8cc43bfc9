"""Which modality of a stack tells: laws of the report, and planted signals."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline

from skchallenge import make_virality_stack
from skchallenge.exceptions import LeakageWarning
from skchallenge.metrics import modality_report

COLUMNS = ["only", "only_low", "only_high", "added", "added_low", "added_high"]
NAMES = ["seen", "heard", "words"]


def study(weights=(1.0, 0.0, 0.0), n=240, seed=0, noise=0.5):
    """Three columns, the label a sum of them; and users of four videos."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    y = (X @ weights + noise * rng.normal(size=n) > 0).astype(int)
    return X, y, np.arange(n) // 4


def reads(column, model=None):
    columns = make_column_transformer(("passthrough", [column]))
    return make_pipeline(columns, model or LogisticRegression())


def stack(models=None, **options):
    models = models or [(name, reads(i)) for i, name in enumerate(NAMES)]
    return StackingClassifier(models, cv=KFold(3), **options)


def report(X, y, model=None, cv=None, **options):
    options = {"n_resamples": 20, "random_state": 0, **options}
    return modality_report(model or stack(), X, y, cv or KFold(3), **options)


def test_scores_are_those_of_smaller_stacks():
    """The oracle fits each of them anew, and asks scikit-learn for the scores."""
    X, y, _ = study((1, 0.7, 0.3))
    found = report(X, y)
    assert found.columns.tolist() == [*COLUMNS, "chance"]
    assert found.index.tolist() == [*NAMES, "all"]

    def auc(model):
        scores = []
        for train, test in KFold(3).split(X):
            fitted = clone(model).fit(X[train], y[train])
            scores.append(roc_auc_score(y[test], fitted.predict_proba(X[test])[:, 1]))
        return np.mean(scores)

    whole = auc(stack())
    assert found.loc["all", "only"] == pytest.approx(whole, abs=1e-12)
    for number, name in enumerate(NAMES):
        assert found.loc[name, "only"] == pytest.approx(auc(reads(number)), abs=1e-12)
        rest = stack().set_params(**{name: "drop"})
        assert found.loc[name, "added"] == pytest.approx(whole - auc(rest), abs=1e-12)
    assert found.loc["all", "added"] == pytest.approx(whole - 0.5)
    assert (found["chance"] == 0.5).all()


def test_models_of_one_modality_are_dropped_and_kept_together():
    X, y, _ = study((1, 0, 0.5))
    models = [("line", reads(0)), ("trees", reads(0)), ("words", reads(2))]
    apart = report(X, y, stack(models))
    together = report(X, y, stack(models), modalities={"seen": ["line", "trees"]})
    assert together.index.tolist() == ["seen", "words", "all"]
    assert abs(apart.loc["line", "added"]) < 0.01 < together.loc["seen", "added"]
    rest = report(X, y, stack(models[2:]))
    gain = together.loc["all", "only"] - rest.loc["words", "only"]
    assert together.loc["seen", "added"] == pytest.approx(gain, abs=1e-12)
    both = report(X, y, stack(models[:2]))
    assert together.loc["seen", "only"] == both.loc["all", "only"]
    renamed = report(X, y, stack(models), modalities={"text": "words"})
    assert renamed.index.tolist() == ["line", "trees", "text", "all"]


def test_intervals_of_differences_are_paired():
    """What the final estimator does not heed changes no sample: not one by chance."""
    X, y, _ = study()
    models = [("seen", reads(0)), ("nothing", reads(1, DummyClassifier()))]
    found = report(X, y, stack(models), n_resamples=50)
    added = found.loc["nothing", ["added", "added_low", "added_high"]]
    assert added.abs().max() < 1e-12
    seen = found.loc["seen"]
    assert seen["added_high"] - seen["added_low"] == pytest.approx(
        seen["only_high"] - seen["only_low"], abs=1e-12
    )  # without it there is a constant, whose AUC is .5 in each sample


def test_whole_users_are_drawn():
    X, y, _ = study(n=80)
    copies = np.repeat(np.arange(80), 6)
    folds = list(KFold(2).split(copies))
    options = {"cv": folds, "n_resamples": 60}
    by_row = report(X[copies], y[copies], **options)
    by_user = report(X[copies], y[copies], groups=copies, **options)
    wide, narrow = (
        r.loc["all", "added_high"] - r.loc["all", "added_low"]
        for r in (by_user, by_row)
    )
    assert wide / narrow == pytest.approx(np.sqrt(6), rel=0.4)
    assert_frame_equal(by_user[["only", "added"]], by_row[["only", "added"]])


@pytest.mark.parametrize("decides", [0, 1, 2])
def test_a_planted_modality_is_named(decides):
    X, y, groups = study(np.eye(3)[decides], seed=decides)
    found = report(X, y, cv=GroupKFold(3), groups=groups).drop(index="all")
    assert found["only"].idxmax() == found["added"].idxmax() == NAMES[decides]
    others = found.drop(index=NAMES[decides])
    assert found.loc[NAMES[decides], "added_low"] > 0.3
    assert (others["added_low"] < 0.005).all()
    assert (others["only"] < 0.65).all()


def test_what_two_modalities_both_tell_adds_nothing():
    X, y, _ = study()
    X[:, 1] = X[:, 0] + 0.01 * X[:, 1]
    found = report(X, y)
    assert (found["only"][:2] > 0.85).all()
    assert (found["added"][:2].abs() < 0.01).all()


def test_no_signal_is_chance():
    scores = []
    for seed in range(6):
        X, y, _ = study((0, 0, 0), seed=seed)
        scores.append(report(X, y, n_resamples=1)["only"])
    # An AUC of 240 rows has a standard error of .037, the mean of six one of .015.
    assert np.abs(np.mean(scores, axis=0) - 0.5).max() < 0.06


def test_the_seed_fixes_the_intervals_and_nothing_else():
    X, y, _ = study(n=90)
    one, two, other = (report(X, y, random_state=seed) for seed in (0, 0, 1))
    assert_frame_equal(one, two)
    assert not one["added_low"].equals(other["added_low"])
    assert one["added"].equals(other["added"])


def test_the_average_precision_beside_its_chance():
    X, y, _ = study()
    y = y * (np.arange(len(y)) % 3 == 0)  # rare
    found = report(X, y, metric="average_precision")
    expected = []
    for train, test in KFold(3).split(X):
        fitted = clone(stack()).fit(X[train], y[train])
        chances = fitted.predict_proba(X[test])[:, 1]
        expected.append(average_precision_score(y[test], chances))
    assert found.loc["all", "only"] == pytest.approx(np.mean(expected))
    assert 0 < found["chance"].iloc[0] - y.mean() < 0.05


@pytest.mark.parametrize(
    "final", [None, RidgeClassifier(), RandomForestClassifier(5, random_state=0)],
    ids=["default", "decisions", "forest"],
)  # fmt: skip
def test_any_final_estimator_and_a_fitted_stack_will_do(final):
    X, y, _ = study(n=120)
    model = stack(final_estimator=final)
    found = report(X, y, model)
    assert_frame_equal(report(X, y, model.fit(X, y)), found)
    assert found.loc["seen", "added"] > 0.2
    assert model.final_estimator is final


def test_models_that_are_dropped_are_no_modality():
    X, y, _ = study(n=90)
    model = stack().set_params(heard="drop")
    found = report(X, y, model, modalities={"sensed": ["seen", "heard"]})
    assert found.index.tolist() == ["sensed", "words", "all"]


def test_the_stack_of_virality_by_modality(capsys):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "user_id": np.arange(120) // 3,
            "duration_s": rng.integers(5, 60, 120),
            "caption": rng.choice(["my cat sleeps", "dance with me"], 120),
        }
    )
    y = (X["duration_s"] + rng.normal(0, 8, 120) > 32).astype(int)
    model = make_virality_stack(caption="caption")
    options = {"modalities": {"metadata": ["linear", "trees"]}, "verbose": 1}
    folds = GroupKFold(2)
    found = report(X, y, model, folds, groups=X["user_id"], **options)
    assert found.index.tolist() == ["metadata", "caption", "all"]
    assert found["added"].drop("all").idxmax() == "metadata"
    lines = capsys.readouterr().out.splitlines()
    assert [line[:35] for line in lines] == [
        f"[modality_report] fold {i} of 2, 60 rows: roc_auc"[:35] for i in (1, 2)
    ]
    with pytest.warns(LeakageWarning, match=r"X\['user_id'\] names .*groups=X\['us"):
        report(X, y, model.set_params(trees="drop"), KFold(2))


@pytest.mark.parametrize(
    "options, match",
    [
        ({"modalities": {"a": ["seen", "sight"]}}, r"modalities must name .*\['seen'"),
        ({"modalities": {"a": "seen", "b": ["seen"]}}, r"each once"),
        ({"modalities": {"all": "seen"}}, r"under another name than 'all'"),
        ({"metric": "brier"}, r"metric must be .*'roc_auc'"),
        ({"n_resamples": 0}, r"n_resamples"),
        ({"groups": [None] * 90}, r"groups has 90 missing"),
        ({"model": stack(passthrough=True)}, r"must not have passthrough=True"),
        ({"model": stack().set_params(cv="prefit")}, r"must not have cv='prefit'"),
        ({"cv": [(np.arange(60), np.arange(3))]}, r"the test rows of one have labels"),
    ],
    ids=range(9),
)
def test_bad_input_is_refused(options, match):
    X, y, _ = study(n=90)
    y[:3] = 1
    with pytest.raises(ValueError, match=match):
        report(X, y, **options)


@pytest.mark.parametrize("shared", ["rows", "groups"])
def test_rows_or_groups_on_both_sides_are_told(shared):
    X, y, _ = study(n=90)
    rows = np.arange(90)
    splits = [(rows, rows)] if shared == "rows" else [(rows[:60], rows[60:])]
    options = {"groups": rows % 30} if shared == "groups" else {}
    with pytest.warns(LeakageWarning, match=f"cv puts the same {shared} among the"):
        report(X, y, cv=splits, **options)


def test_what_is_no_stack_is_refused():
    X, y, _ = study(n=90)
    for model, kind in ((reads(0), "Pipeline"), (StackingClassifier, "Stacking")):
        with pytest.raises(TypeError, match=rf"must be a StackingCl.*, got {kind}"):
            report(X, y, model)
    with pytest.raises(ValueError, match=r"y_true must hold 0 and 1"):
        report(X, y + 1)
