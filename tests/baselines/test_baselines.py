"""The baselines by hand, on planted signals, and what they refuse."""

import subprocess
import sys
import warnings

import contract
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from skchallenge import VideoCatalog
from skchallenge.baselines import (
    AdoptionBaseline,
    CosineBaseline,
    RateBaseline,
    RecommenderBaseline,
    TextBaseline,
    default_baselines,
)

CHALLENGES = ["twist", "bake"]


def study(n_users=60, seed=0):
    """Users dance or bake; whoever does takes part in what fits, mostly."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"s{i}{c}", 90 + i, c, [word], word)
        for c, word in (("twist", "dance"), ("bake", "cake"))
        for i in range(5)
    ]
    answers = []
    for n in range(n_users):
        user, word = f"u{n:03d}", ["dance", "cake"][n % 2]
        for _ in range(3):
            other = str(rng.choice(["cat", "sun", "sea"]))
            time = int(rng.integers(0, 90))
            rows.append((user, time, None, [word, other], f"my {word} {other}"))
        fits = [word == "dance", word == "cake"]
        answers.append(rng.uniform(size=2) < np.where(fits, 0.8, 0.1))
    columns = ["user_id", "create_time", "challenge", "hashtags", "caption"]
    videos = pd.DataFrame(rows, columns=columns)
    pairs = pd.DataFrame(
        {
            "user_id": np.repeat([f"u{n:03d}" for n in range(n_users)], 2),
            "challenge": CHALLENGES * n_users,
            "time": 100,
        }
    )
    catalog = VideoCatalog(videos.assign(video_id=range(len(videos))))
    return catalog, pairs, np.ravel(answers).astype(int)


def auc(model, pairs, y, by="user_id", n=3):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        proba = cross_val_predict(
            model, pairs, y, cv=GroupKFold(n), groups=pairs[by], method="predict_proba"
        )
    assert_allclose(proba.sum(axis=1), 1)
    return roc_auc_score(y, proba[:, 1])


def test_rates_by_hand():
    X = pd.DataFrame({"challenge": ["a", "a", "a", "b"]})
    rate = RateBaseline("challenge", smoothing=0).fit(X, ["yes", "yes", "no", "no"])
    assert rate.classes_.tolist() == ["no", "yes"]
    asked = pd.DataFrame({"challenge": ["a", "b", "new"]})
    assert_allclose(rate.predict_proba(asked)[:, 1], [2 / 3, 0, 1 / 2])
    assert rate.predict(asked).tolist() == ["yes", "no", "no"]
    smooth = RateBaseline("challenge", smoothing=1).fit(X, [1, 1, 0, 0])
    assert_allclose(smooth.predict_proba(asked)[:, 1], [2.5 / 4, 0.5 / 2, 0.5])


def test_who_fits_what_is_found_by_those_that_look_at_both():
    catalog, pairs, y = study()
    assert auc(CosineBaseline(catalog), pairs, y) > 0.8
    peer = RecommenderBaseline(catalog, factors=4, random_state=0)
    assert auc(peer, pairs, y) > 0.8
    assert auc(RateBaseline("challenge"), pairs, y) < 0.65


def test_a_challenge_that_is_new_is_placed_by_those_who_started_it():
    catalog, pairs, y = study()
    peer = RecommenderBaseline(catalog, factors=4, random_state=0)
    known = (pairs["challenge"] == "twist").to_numpy()
    peer.fit(pairs[known], y[known])
    proba = peer.predict_proba(pairs[~known])[:, 1]
    assert roc_auc_score(y[~known], proba) > 0.8
    assert brier_score_loss(y[~known], proba) < y.mean() * (1 - y.mean())


def test_words_are_found_and_the_challenge_plays_no_part():
    catalog, pairs, y = study()
    twist = (pairs["challenge"] == "twist").to_numpy()
    assert auc(TextBaseline(catalog), pairs[twist], y[twist]) > 0.8
    model = TextBaseline(catalog).fit(pairs, y)
    swapped = pairs.assign(challenge=pairs["challenge"].to_numpy()[::-1])
    assert_array_equal(model.predict_proba(swapped), model.predict_proba(pairs))


def test_the_words_are_those_that_a_history_may_hold():
    """Neither later videos nor the tags of studied challenges."""
    catalog, pairs, y = study()
    extra = pd.DataFrame(
        {
            "video_id": [9001, 9002, 9003, 9004],
            "user_id": ["u000", "u001", "u000", "u001"],
            "create_time": [99, 99, 100, 100],
            "challenge": None,
            "hashtags": [["Twist"], ["twist"], ["later"], ["later"]],
            "caption": ["soon #TWIST", "soon twist", "later", "later"],
        }
    )
    model = TextBaseline(catalog.append(extra)).fit(pairs, y)
    words = set(model.model_[0].get_feature_names_out())
    assert {"dance", "cake", "soon"} <= words
    assert not {"twist", "bake", "later"} & words


def test_one_column_of_adoption_is_that_column():
    catalog, pairs, y = study()
    rng = np.random.default_rng(0)
    later = pd.DataFrame(
        {
            "video_id": range(5000, 5060),
            "user_id": [f"u{n:03d}" for n in range(60)],
            "create_time": 95,
            "challenge": None,
            "hashtags": [["hot"] if n % 2 else ["cold"] for n in range(60)],
            "caption": "",
        }
    )
    hot = later.head(5).assign(
        video_id=range(6000, 6005), user_id=list("vwxyz"), create_time=94
    )
    hot["hashtags"] = [["hot"]] * 5
    catalog.append(later).append(hot)
    joins = (pairs["user_id"].str[-1].astype(int) % 2).to_numpy()
    y = np.where(rng.uniform(size=len(joins)) < 0.9, joins, 1 - joins)
    options = {"window": 14, "max_videos": 1}
    assert auc(AdoptionBaseline(catalog, **options), pairs, y) > 0.8
    assert auc(AdoptionBaseline(catalog, column=None, **options), pairs, y) > 0.8
    unrelated = AdoptionBaseline(catalog, column="recency_newest", **options)
    assert auc(unrelated, pairs, y) < 0.6
    match = "column must be one of .*'burst_mean'.* got 'burst'"
    with pytest.raises(ValueError, match=match):
        AdoptionBaseline(catalog, column="burst", **options).fit(pairs, y)


def test_the_defaults_are_those_that_the_catalog_allows():
    catalog, pairs, y = study()
    everything = default_baselines(catalog, window=14)
    assert len(everything) == 6
    for model in everything.values():
        assert model.fit(pairs, y).predict_proba(pairs).shape == (len(pairs), 2)
    videos = catalog.videos.drop(columns="hashtags")
    assert list(default_baselines(VideoCatalog(videos)))[2:] == ["cosine", "text"]
    mute = VideoCatalog(videos.drop(columns="caption"))
    assert list(default_baselines(mute)) == ["challenge rate", "user rate"]
    with pytest.raises(ValueError, match=r"catalog has no text, none of the columns"):
        TextBaseline(mute).fit(pairs, y)


HISTORY = [CosineBaseline, TextBaseline, AdoptionBaseline, RecommenderBaseline]


@pytest.mark.parametrize("kind", HISTORY)
def test_users_who_have_taken_part_are_refused(kind):
    catalog, pairs, y = study()
    early = pd.DataFrame({"user_id": ["s0twist"], "challenge": "twist", "time": 100})
    X = pd.concat([pairs, early], ignore_index=True)
    with pytest.raises(ValueError, match="1 rows of X, such as 's0twist' in 'twist'"):
        kind(catalog).fit(X, [*y, 1])


@pytest.mark.parametrize("kind", HISTORY)
def test_bad_parameters_are_refused(kind):
    catalog, pairs, y = study()
    options = {"window": 14} if kind is AdoptionBaseline else {}
    for bad, error, match in (
        (
            {"catalog": pairs},
            TypeError,
            "catalog must be a VideoCatalog, got DataFrame",
        ),
        ({"before": None}, ValueError, "before=None has no meaning here: name the col"),
        ({"before": "at"}, ValueError, r"X lacks the columns \['at'\]"),
        ({"max_videos": 0}, ValueError, "max_videos == 0, must be >= 1"),
    ):
        with pytest.raises(error, match=match):
            kind(**{"catalog": catalog, **options, **bad}).fit(pairs, y)
    with pytest.raises(ValueError, match=r"y must hold two classes, got 1: \[0\]"):
        kind(catalog, **options).fit(pairs, 0 * y)


@pytest.mark.parametrize(
    "model, match",
    [
        (lambda c: TextBaseline(c, C=0), "C == 0, must be > 0"),
        (lambda c: AdoptionBaseline(c, C=0, window=14), "C == 0, must be > 0"),
        (lambda c: RecommenderBaseline(c, alpha=0), "alpha == 0, must be > 0"),
        (lambda c: RecommenderBaseline(c, factors=0), "factors == 0, must be >= 1"),
        (lambda c: RecommenderBaseline(c, max_iter=0), "max_iter == 0, must be >= 1"),
        (lambda c: RateBaseline("user_id", smoothing=-1), "smoothing == -1, must be"),
        (lambda c: RateBaseline("who"), r"X lacks the columns \['who'\]"),
    ],
)
def test_bad_settings_are_refused(model, match):
    catalog, pairs, y = study()
    with pytest.raises(ValueError, match=match):
        model(catalog).fit(pairs, y)


def test_ids_of_another_type_are_refused():
    _catalog, pairs, y = study()
    rate = RateBaseline("user_id").fit(pairs, y)
    with pytest.raises(TypeError, match="user_id holds integers, but the same column"):
        rate.predict(pairs.assign(user_id=1))


def test_implicit_is_imported_when_it_is_fitted():
    code = (
        "import sys; from skchallenge.baselines import RecommenderBaseline\n"
        "from skchallenge import VideoCatalog\n"
        "print('implicit' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert result.stdout.split() == ["False"], result.stderr


def test_without_implicit_the_extra_is_named(monkeypatch):
    catalog, pairs, y = study()
    monkeypatch.setitem(sys.modules, "implicit.als", None)
    match = (
        r"RecommenderBaseline needs the package 'implicit.als'.*skchallenge\[bench\]"
    )
    with pytest.raises(ImportError, match=match):
        RecommenderBaseline(catalog).fit(pairs, y)


MODELS = {
    "RateBaseline": (lambda c: RateBaseline("challenge"), 126),
    "CosineBaseline": (CosineBaseline, 126),
    "TextBaseline": (TextBaseline, 126),
    "AdoptionBaseline": (lambda c: AdoptionBaseline(c, window=14), 126),
    "AdoptionBaseline, all": (
        lambda c: AdoptionBaseline(c, column=None, window=14),
        126,
    ),
    "RecommenderBaseline": (
        lambda c: RecommenderBaseline(c, factors=4, random_state=0),
        126,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_contract(name):
    catalog, pairs, y = study(12)
    make, n_assertions = MODELS[name]
    assert contract.run(lambda: make(catalog), pairs, y) == n_assertions
