import contract
import numpy as np
import pandas as pd
import polars as pl
import pytest
from media.qualities import noise, tone, write
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from skchallenge._table import read_paths
from skchallenge.embed import FrameTagger, MediaLimits
from skchallenge.exceptions import MediaError
from skchallenge.feed import ReviewGate, _review
from skchallenge.media._quality import Quality

HERE = MediaLimits(timeout_s=None)
GOOD = Quality(720, 1280, 15.0, 0.0, 0.0, -14.0)


def gate(*arguments, **options):
    return ReviewGate(*arguments, limits=HERE, **options)


@pytest.fixture
def measured(monkeypatch):
    """Have files measured as the test says, by their names."""
    table = {}

    def read(paths, **_options):
        return (table[path] for path in paths)

    monkeypatch.setattr(_review, "read_qualities", read)
    return table


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A sound video with sound, a black one, a frozen silent one, and notes."""
    folder = tmp_path_factory.mktemp("review")
    (folder / "notes.mp4").write_text("not a film")
    black = [np.zeros((64, 96), np.uint8)]
    return [
        write(folder / "good.mkv", noise(30), tone(amplitude=0.2)),
        write(folder / "black.mkv", black * 30, tone(amplitude=0.2)),
        write(folder / "frozen.mkv", noise(1) * 40),
        str(folder / "notes.mp4"),
    ]


def one(measured, quality, **options):
    """Review a file of this quality."""
    measured["a.mp4"] = quality
    return gate(**options).fit(["a.mp4"]).review(["a.mp4"]).loc[0]


CASES = {
    "shorter side of 143 px is under 144": ({"width": 143}, "reject"),
    "shorter side of 359 px is under 360": ({"height": 359}, "review"),
    "duration of 0.4 s is under 0.5": ({"duration_s": 0.4}, "reject"),
    "duration of 1.9 s is under 2": ({"duration_s": 1.9}, "review"),
    "duration of 601 s is over 600": ({"duration_s": 601.0}, "review"),
    "black share of 0.91 is over 0.9": ({"black_share": 0.91}, "reject"),
    "black share of 0.31 is over 0.3": ({"black_share": 0.31}, "review"),
    "frozen share of 0.51 is over 0.5": ({"frozen_share": 0.51}, "review"),
    "loudness of -41 LUFS is under -40": ({"loudness_lufs": -41.0}, "review"),
    "loudness of -inf LUFS is under -40": ({"loudness_lufs": -np.inf}, "review"),
    "loudness of -inf LUFS is under -40 ": ({"loudness_lufs": None}, "review"),
    "loudness of -4 LUFS is over -5": ({"loudness_lufs": -4.0}, "review"),
}


@pytest.mark.parametrize("reason", CASES)
def test_each_rule_by_hand(measured, reason):
    change, outcome = CASES[reason]
    row = one(measured, GOOD._replace(**change))
    assert row["outcome"] == outcome
    assert row["reasons"] == f"{outcome}: {reason.strip()}"


def test_a_good_file_passes_without_a_reason(measured):
    row = one(measured, GOOD)
    assert (row["outcome"], row["reasons"]) == ("pass", "")


@pytest.mark.parametrize(
    "change",
    [
        {"width": 360},
        {"duration_s": 2.0},
        {"duration_s": 600.0},
        {"black_share": 0.3},
        {"frozen_share": 0.5},
        {"loudness_lufs": -40.0},
        {"loudness_lufs": -5.0},
    ],
)
def test_a_value_at_its_bound_passes(measured, change):
    assert one(measured, GOOD._replace(**change))["outcome"] == "pass"


def test_the_worst_finding_decides_and_comes_first(measured):
    row = one(measured, Quality(720, 200, 15.0, 0.95, 0.9, -14.0))
    assert row["outcome"] == "reject"
    assert row["reasons"] == (
        "reject: black share of 0.95 is over 0.9; "
        "review: shorter side of 200 px is under 360; "
        "review: frozen share of 0.9 is over 0.5"
    )


def test_unknown_sound_is_for_a_human_unless_nobody_asks(measured):
    unknown = GOOD._replace(loudness_lufs=np.nan)
    row = one(measured, unknown)
    assert row["outcome"] == "review"
    assert "loudness is unknown, for it does not decode" in row["reasons"]
    row = one(measured, unknown, min_loudness_lufs=None, max_loudness_lufs=None)
    assert row["outcome"] == "pass"


@pytest.mark.parametrize("bounds", [None, (None, None)])
def test_rules_can_be_switched_off(measured, bounds):
    assert one(measured, GOOD._replace(width=8), min_side=bounds)["outcome"] == "pass"


def test_tightening_a_bound_never_helps(measured):
    """Outcomes are ordered: what fails a looser gate fails a stricter one."""
    rank = {"pass": 0, "review": 1, "reject": 2}
    rng = np.random.default_rng(0)
    for number in range(50):
        measured[f"{number}"] = GOOD._replace(
            width=int(rng.integers(50, 800)), duration_s=float(rng.uniform(0, 900))
        )
    names = list(measured)
    loose = gate().fit(names).predict(names)
    tight = gate(min_side=(300, 700), max_duration_s=(500, 300)).fit(names)
    for a, b in zip(loose, tight.predict(names), strict=True):
        assert rank[a] <= rank[b]
    assert set(loose) == {"pass", "review", "reject"}


# Files


def test_real_files(files):
    sizes = {"min_side": (32, 64)}
    fitted = gate(**sizes).fit(files)
    table = fitted.review(files)
    assert table["outcome"].tolist() == ["pass", "reject", "review", "reject"]
    assert table["reasons"][1].startswith("reject: black share of 1 is over 0.9")
    assert "frozen share" in table["reasons"][2]
    assert "loudness of -inf LUFS" in table["reasons"][2]
    assert "notes.mp4" not in table["reasons"][3]
    assert table["reasons"][3].startswith("reject: cannot be decoded")
    assert table["loudness_lufs"][0] == pytest.approx(-3.01 - 13.98, abs=0.1)
    assert table.loc[3].isna().sum() == 6
    assert fitted.predict(files).tolist() == table["outcome"].tolist()


def test_bad_files_are_rejected_with_their_reason(files, tmp_path):
    table = gate().fit(files).review([tmp_path, tmp_path / "gone.mp4", None])
    assert table["outcome"].tolist() == ["reject"] * 3
    for reason, match in zip(
        table["reasons"],
        ["is a directory", "cannot be opened", "is missing: there is no path"],
        strict=True,
    ):
        assert match in reason


def test_limits_reject(files):
    limits = MediaLimits(max_duration_s=1, timeout_s=None)
    table = ReviewGate(limits=limits).fit(files).review(files[:1])
    assert "more than MediaLimits.max_duration_s=1" in table["reasons"][0]


def test_a_file_that_takes_too_long_is_rejected(files):
    table = ReviewGate(limits=MediaLimits(timeout_s=1e-6)).fit(files).review(files[:1])
    assert "does not decode within timeout_s" in table["reasons"][0]


# Classifiers


@pytest.fixture
def captions(measured):
    captions = ["buy pills now", "my cat dances", "cheap pills", "a dance", "pills"]
    paths = [f"{i}.mp4" for i in range(len(captions))]
    measured |= dict.fromkeys(paths, GOOD)
    return pd.DataFrame({"caption": captions, "path": paths}, index=[5, 6, 7, 8, 9])


@pytest.fixture
def spam(captions):
    words = make_column_transformer((CountVectorizer(), "caption"))
    model = make_pipeline(words, LogisticRegression(C=100))
    return model.fit(captions, [1, 0, 1, 0, 1])


def test_a_classifier_sees_the_table(captions, spam):
    fitted = gate([("spam", FrozenEstimator(spam))], path="path").fit(captions)
    table = fitted.review(captions)
    assert table["outcome"].tolist() == ["reject", "pass", "reject", "pass", "reject"]
    assert table["reasons"].iloc[0].startswith("reject: chance of spam of 0.9")
    np.testing.assert_allclose(table["p_spam"], spam.predict_proba(captions)[:, 1])
    assert table.index.tolist() == [5, 6, 7, 8, 9]
    assert clone(fitted).fit(captions).review(captions).equals(table)


def test_bounds_of_the_chance(captions, spam):
    options = {"path": "path", "max_violation": (None, 0.5)}
    outcome = gate([("spam", spam)], **options).fit(captions).predict(captions)
    assert set(outcome) == {"pass", "review"}
    options["max_violation"] = None
    outcome = gate([("spam", spam)], **options).fit(captions).predict(captions)
    assert set(outcome) == {"pass"}


def test_classifiers_get_no_file_that_cannot_be_read(files):
    class Spy(DummyClassifier):
        def predict_proba(self, X):
            seen.extend(X)
            return super().predict_proba(X)

    seen = []
    spy = Spy(strategy="prior").fit([[0]] * 4, [0, 0, 0, 1])
    table = gate([("x", spy)]).fit(files).review(files)
    assert seen == files[:3]
    np.testing.assert_allclose(table["p_x"], [0.25, 0.25, 0.25, np.nan])
    gate([("x", spy)]).fit(files).review(files[3:])
    assert seen == files[:3]


def test_two_classifiers_give_two_reasons(measured):
    measured["a.mp4"] = GOOD
    rows, y = [[0]] * 4, [0, 1, 1, 1]
    some = [(n, DummyClassifier(strategy="prior").fit(rows, y)) for n in ("x", "y")]
    reasons = gate(some).fit(["a.mp4"]).review(["a.mp4"])["reasons"][0]
    assert reasons == (
        "review: chance of x of 0.75 is over 0.5; "
        "review: chance of y of 0.75 is over 0.5"
    )


def brightest_channel():
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_labels_of_a_tagger_are_rules(tmp_path):
    paths = []
    for colour in ("red", "green", "blue"):
        paths.append(str(tmp_path / f"{colour}.png"))
        Image.new("RGB", (400, 400), colour).save(paths[-1])
    X = pd.DataFrame({"path": paths})
    tagger = FrameTagger(brightest_channel, labels=["blood", "meadow", "sea"])
    tagger = FrozenEstimator(tagger.fit(X))
    rules = [("blood", tagger), ("sea", tagger)]
    found = gate(rules, path="path", min_duration_s=None).fit(X).review(X)
    assert found["outcome"].tolist() == ["reject", "review", "reject"]
    assert "chance of blood of 0.9" in found["reasons"][0]
    assert "chance of sea of 0.9" in found["reasons"][2]


def test_bad_classifiers():
    fitted = DummyClassifier().fit([[0]] * 3, [0, 1, 2])
    with pytest.raises(NotFittedError, match="not fitted yet"):
        gate([("x", DummyClassifier())]).fit(["a"])
    with pytest.raises(ValueError, match=r"binary, but 'x' has the classes"):
        gate([("x", fitted)]).fit(["a"])
    with pytest.raises(TypeError, match=r"must have predict_proba, .* but 'x'"):
        gate([("x", object())]).fit(["a"])
    two = DummyClassifier().fit([[0]] * 2, [0, 1])
    with pytest.raises(ValueError, match=r"different names, got \['x', 'x'\]"):
        gate([("x", two), ("x", two)]).fit(["a"])


@pytest.mark.parametrize("chance", [np.nan, -0.1, 7.0])
def test_chances_are_probabilities(measured, chance):
    """A chance that is missing is no fault of the file, and no pass."""
    measured["a.mp4"] = GOOD
    broken = DummyClassifier(strategy="prior").fit([[0]] * 2, [0, 1])
    broken.class_prior_ = np.array([1 - chance, chance])
    with pytest.raises(ValueError, match=f"but 'x' returned {chance}. Correct it"):
        gate([("x", broken)]).fit(["a.mp4"]).predict(["a.mp4"])


# Columns and parameters


@pytest.mark.parametrize("path", [1, np.int64(1), -1, "path"])
@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_the_column_by_name_or_position(captions, path, kind):
    table = kind(captions.to_dict("list"))
    assert set(gate(path=path).fit(table).predict(table)) == {"pass"}


def test_a_wrong_column(captions):
    with pytest.raises(ValueError, match=r"path must be a column of X, got 'file'"):
        gate(path="file").fit(captions)
    with pytest.raises(
        ValueError, match=r"path must be the position .* got 2, but X has 2"
    ):
        gate(path=2).fit(captions)
    with pytest.raises(TypeError, match=r"path must be the name or the position"):
        gate(path=1.5).fit(captions)
    with pytest.raises(ValueError, match=r"X must have one column, the paths"):
        gate(path=None).fit(captions)
    with pytest.raises(TypeError, match=r"X must hold paths .* row 0 is a int"):
        gate().fit([1, 2])


@pytest.mark.parametrize(
    ("bounds", "error", "match"),
    [
        (3, TypeError, r"min_side must be a pair of numbers"),
        ((1, 2, 3), TypeError, r"min_side must be a pair of numbers"),
        (("a", 2), TypeError, r"min_side must be a pair of numbers"),
        ((np.nan, 2), TypeError, r"min_side must be a pair of numbers"),
        ((360, 144), ValueError, r"min_side .* worse value first.*Exchange them"),
    ],
)
def test_wrong_bounds(bounds, error, match):
    with pytest.raises(error, match=match):
        gate(min_side=bounds).fit(["a.mp4"])


def test_bounds_of_the_other_side():
    with pytest.raises(ValueError, match=r"max_black_share .* worse value first"):
        gate(max_black_share=(0.3, 0.9)).fit(["a.mp4"])
    with pytest.raises(TypeError, match=r"limits must be a MediaLimits or None"):
        ReviewGate(limits=1).fit(["a.mp4"])


# The contract


def test_contract(files):
    X = pd.DataFrame({"path": files * 2})
    assert contract.run(gate, X, tol=0) >= 60


def test_checks_of_scikit_learn():
    # Most checks feed numbers, which are refused: scikit-learn itself says so.
    with pytest.warns(SkipTestWarning, match="requires input  of type"):
        results = check_estimator(gate(), on_skip=None, on_fail=None)
    assert [r["status"] for r in results] == ["passed"]


class Tagger(TransformerMixin, BaseEstimator):
    """Gives paths the chances that their names spell, as ``{column}_{label}``."""

    def __init__(self, labels=("sword_fight", "weapon", "fight")):
        self.labels = labels

    def fit(self, X, y=None):
        self.n_asked_ = 0
        read_paths(self, X, reset=True)
        return self

    def transform(self, X):
        self.n_asked_ += 1
        paths = read_paths(self, X, reset=False)
        return np.array([[float(p) for p in path.split("_")[1:]] for path in paths])

    def get_feature_names_out(self, input_features=None):
        column = getattr(self, "feature_names_in_", ["x0"])[0]
        return np.array([f"{column}_{label}" for label in self.labels], dtype=object)


PATHS = ["a_.1_.2_.6", "b_.99_.97_.1", "c_.9_.1_nan", "d"]
TAGGED = {
    "nameless": PATHS,
    "named": pd.DataFrame({"views": range(4), "path": PATHS}),
}


@pytest.mark.parametrize("given", TAGGED)
@pytest.mark.parametrize("name", [None, "path", "file"])
def test_a_tagger_is_a_classifier_for_each_of_its_labels(measured, given, name):
    measured |= dict.fromkeys(PATHS[:3], GOOD)
    measured["d"] = MediaError("does not decode")
    tagger = Tagger().fit(PATHS if name is None else pd.DataFrame({name: PATHS}))
    X = TAGGED[given]
    rules = [("weapon", tagger), ("fight", tagger)]
    path = {} if given == "nameless" else {"path": "path"}
    table = gate(rules, **path).fit(X).review(X)
    assert tagger.n_asked_ == 1
    np.testing.assert_array_equal(table["p_weapon"], [0.2, 0.97, 0.1, np.nan])
    np.testing.assert_array_equal(table["p_fight"], [0.6, 0.1, np.nan, np.nan])
    assert table["outcome"].tolist() == ["review", "reject", "review", "reject"]
    assert table["reasons"].tolist() == [
        "review: chance of fight of 0.6 is over 0.5",
        "reject: chance of weapon of 0.97 is over 0.95",
        "review: chance of fight is unknown, for it does not decode",
        "reject: does not decode",
    ]


def test_a_tagger_stands_beside_a_classifier_and_survives_a_clone(measured):
    measured |= dict.fromkeys(PATHS[:2], GOOD)
    X = pd.DataFrame({"path": PATHS[:2], "caption": ["buy now", "good cats"]})
    text = make_column_transformer((CountVectorizer(), "caption"))
    spam = make_pipeline(text, LogisticRegression(C=100.0)).fit(X, [1, 0])
    tagger = FrozenEstimator(Tagger().fit(X[["path"]]))
    rules = [("weapon", tagger), ("spam", FrozenEstimator(spam)), ("fight", tagger)]
    table = clone(gate(rules)).fit(X).review(X)
    assert tagger.estimator.n_asked_ == 1
    assert table.columns[-3:].tolist() == ["p_weapon", "p_spam", "p_fight"]
    assert table["p_spam"].round().tolist() == [1.0, 0.0]
    assert table["p_weapon"].tolist() == [0.2, 0.97]


class Flat(Tagger):
    def transform(self, X):
        return super().transform(X)[:, :1]


class Sure(Tagger):
    def transform(self, X):
        return super().transform(X) + 1


def test_bad_taggers(measured):
    measured |= dict.fromkeys(PATHS[:2], GOOD)
    X = PATHS[:2]
    with pytest.raises(NotFittedError, match="Tagger instance is not fitted"):
        gate([("weapon", Tagger())]).fit(X)
    match = r"'gun' has no 'x0_gun', or several, among \['x0_sword_fight', 'x0_weapon'"
    with pytest.raises(ValueError, match=match):
        gate([("gun", Tagger().fit(X))]).fit(X)
    twice = Tagger(["gun", "gun", "knife"]).fit(X)
    with pytest.raises(ValueError, match="'gun' has no 'x0_gun', or several"):
        gate([("gun", twice)]).fit(X)
    with pytest.raises(ValueError, match=r"a name, \(2, 3\), got .* \(2, 1\)"):
        gate([("weapon", Flat().fit(X))]).fit(X).review(X)
    with pytest.raises(ValueError, match=r"in \[0, 1\], but 'weapon' returned 1.2"):
        gate([("weapon", Sure().fit(X))]).fit(X).review(X)
    wide = StandardScaler().fit([[0.0, 1.0]])
    with pytest.raises(ValueError, match="must take one column, .* was fitted on 2"):
        gate([("weapon", wide)]).fit(X)
    with pytest.raises(TypeError, match="predict_proba, or transform and get_feature"):
        gate([("weapon", "a gun")]).fit(X)
