"""The whole pipeline inside scikit-learn's and imbalanced-learn's tools."""

import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline as make_imblearn_pipeline
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from torch import nn

from skchallenge import (
    CaptionEmbedder,
    DeepChallenger,
    HistoryEncoder,
    ProxyEncoder,
    VideoCatalog,
    VideoFrameEmbedder,
    make_challenge_clips,
    make_deep_challenger,
    make_paper_challenger,
)

FAST = {"max_iter": 3, "random_state": 0}


def colour_grid():
    """Average the colours over a 2 x 2 grid: features that need no weights."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return make_challenge_clips(folder, n_users=18, n_challenges=3, random_state=0)


@pytest.fixture(scope="module")
def groups(data):
    return data.pairs["user_id"]


@pytest.fixture
def media(tiny_bert):
    return make_column_transformer(
        (VideoFrameEmbedder(colour_grid, n_frames=2, image_size=32), "path"),
        (CaptionEmbedder(tiny_bert, pooling="mean"), "caption"),
    )


@pytest.fixture
def pipeline(data, media):
    """The pipeline of the user guide, written out."""
    learned = make_pipeline(media, ProxyEncoder(8, **FAST))
    sides = make_column_transformer(
        (
            HistoryEncoder(data.catalog, learned, by="user_id", before="time"),
            ["user_id", "time"],
        ),
        (
            HistoryEncoder(
                data.catalog,
                clone(learned),
                by="challenge",
                before="time",
                exclude="user_id",
            ),
            ["challenge", "user_id", "time"],
        ),
    ).set_output(transform="pandas")
    return make_pipeline(sides, DeepChallenger((8,), **FAST))


@pytest.fixture
def table_model(data):
    """The same on hand-made columns, for tests of what goes around it."""
    return make_deep_challenger(
        with_numbers(data), numbers(), embedding_size=4, batch_size="auto", **FAST
    )


def with_numbers(data):
    videos = data.catalog.videos
    length = videos["caption"].str.len()
    return VideoCatalog(
        videos.assign(length=length, words=videos["caption"].str.count(" ") / 9),
        candidates=data.catalog.candidates,
    )


def numbers():
    return make_column_transformer(("passthrough", ["length", "words"]))


def test_grid_search_over_nested_parameters(data, groups, pipeline):
    search = GridSearchCV(
        pipeline,
        {
            "columntransformer__historyencoder-1__max_videos": [1, 3],
            "columntransformer__historyencoder-2__encoder__proxyencoder__lr": [
                1e-3,
                1e-2,
            ],
        },
        cv=GroupKFold(3),
        scoring="roc_auc",
        n_jobs=2,
    )
    search.fit(data.pairs, data.y, groups=groups)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    again = clone(pipeline).set_params(**search.best_params_).fit(data.pairs, data.y)
    np.testing.assert_array_equal(
        again.predict_proba(data.pairs), search.predict_proba(data.pairs)
    )


def test_cross_val_score(data, groups, pipeline):
    scores = cross_val_score(
        pipeline,
        data.pairs,
        data.y,
        groups=groups,
        cv=GroupKFold(3),
        scoring="average_precision",
    )
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


def test_one_fit_repeats_bit_for_bit(data, pipeline):
    first = clone(pipeline).fit(data.pairs, data.y).predict_proba(data.pairs)
    second = clone(pipeline).fit(data.pairs, data.y).predict_proba(data.pairs)
    np.testing.assert_array_equal(first, second)


def test_row_order_of_unseen_pairs_does_not_matter(data, table_model):
    table_model.fit(data.pairs, data.y)
    proba = table_model.predict_proba(data.pairs)
    order = np.random.default_rng(0).permutation(len(data.pairs))
    shuffled = table_model.predict_proba(data.pairs.iloc[order])
    np.testing.assert_allclose(shuffled, proba[order], atol=1e-6)


def test_calibration_with_splits_by_user(data, groups, table_model):
    splits = list(GroupKFold(3).split(data.pairs, data.y, groups))
    model = CalibratedClassifierCV(table_model, cv=splits).fit(data.pairs, data.y)
    proba = model.predict_proba(data.pairs)
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_oversampling_before_encoding(data, groups, table_model):
    model = make_imblearn_pipeline(
        RandomOverSampler(random_state=0), *(step for _, step in table_model.steps)
    )
    scores = cross_val_score(
        model, data.pairs, data.y, groups=groups, cv=GroupKFold(3), scoring="roc_auc"
    )
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("fusion", ["concat", "attention"])
def test_smote_after_encoding(data, groups, table_model, fusion):
    sides, classifier = (step for _, step in table_model.steps)
    classifier.set_params(fusion=fusion)
    model = make_imblearn_pipeline(sides, SMOTE(random_state=0), classifier)
    scores = cross_val_score(
        model, data.pairs, data.y, groups=groups, cv=GroupKFold(3), scoring="roc_auc"
    )
    assert np.isfinite(scores).all()


def test_attention_finds_its_blocks_behind_a_column_transformer(data, table_model):
    table_model.set_params(classifier__fusion="attention")
    table_model.fit(data.pairs, data.y)
    found = table_model[-1]._module_options_["blocks"]
    assert found == ((0, 8, 4), (33, 8, 4))
    names = table_model[-1].feature_names_in_
    assert names[32] == "user__user_id_fill"
    assert names[65] == "challenge__challenge_fill"


def test_the_factory_builds_the_paper(data):
    model = make_paper_challenger(data.catalog)
    user, challenge = (t for _, t, _ in model[0].transformers)
    assert (user.by, user.before, user.exclude) == ("user_id", "time", None)
    assert (challenge.by, challenge.exclude) == ("challenge", "user_id")
    for side, backbone in ((user, "resnet50"), (challenge, "vgg16")):
        features, _, proxy = (step for _, step in side.encoder.steps)
        (_, frames, path), (_, captions, caption) = features.transformers
        assert (path, caption) == ("path", "caption")
        assert frames.backbone == backbone
        assert (frames.n_frames, frames.pooling) == (50, "concat")
        assert (captions.model, captions.pooling) == ("bert-base-uncased", "cls")
        assert (proxy.batch_size, proxy.dropout, proxy.lr) == (4, 0.2, 1e-3)
        assert side.max_videos == 8
    classifier = model[-1]
    assert (classifier.batch_size, classifier.max_iter) == (4, 30)
    assert (classifier.fusion, classifier.linear_path) == ("concat", False)
    assert classifier.groups is None


def test_the_factory_refuses_a_table_for_a_catalog(data):
    with pytest.raises(TypeError, match="got DataFrame. Pass make_participation"):
        make_deep_challenger(data.videos)


def test_the_factory_asks_for_dense_features_in_its_own_words(data):
    words = TfidfVectorizer(token_pattern=r"\S")
    sparse = make_column_transformer((words, "caption"), sparse_threshold=1)
    model = make_deep_challenger(data.catalog, sparse, **FAST)
    names = [name for name, _ in model[0].transformers[0][1].encoder.steps]
    assert names == ["columntransformer", "standardscaler", "proxyencoder"]
    match = "user_features must return dense .*TruncatedSVD"
    with pytest.raises(ValueError, match=match) as caught:
        model.fit(data.pairs, data.y)
    assert "with_mean" not in str(caught.value)


def test_the_factory_clones_one_side_for_the_other(data):
    features = numbers()
    model = make_deep_challenger(data.catalog, features)
    user, challenge = (t.encoder[0] for _, t, _ in model[0].transformers[:2])
    assert user is features
    assert challenge is not features
    other = make_deep_challenger(data.catalog, features, numbers().set_params(n_jobs=2))
    assert other[0].transformers[1][1].encoder[0].n_jobs == 2
    # Errors of a side name a parameter that was written.
    sides = [(model, "user_features"), (other, "challenge_features")]
    for made, parameter in sides:
        assert made[0].transformers[1][1].encoder[1].parameter == parameter


def test_a_side_without_features_is_left_out(data):
    options = {"adoption": False, "batch_size": "auto", **FAST}
    model = make_deep_challenger(
        with_numbers(data), None, numbers(), embedding_size=4, **options
    )
    assert [name for name, *_ in model[0].transformers] == ["challenge", "held_out"]
    proba = model.fit(data.pairs, data.y).predict_proba(data.pairs)
    assert proba.shape == (len(data.y), 2)


def test_timeless_setting(data):
    model = make_deep_challenger(
        with_numbers(data),
        numbers(),
        before=None,
        batch_size="auto",
        **FAST,
    )
    X = data.pairs[["user_id", "challenge"]]
    assert model.fit(X, data.y).predict_proba(X).shape == (len(X), 2)


SERVE = """
import sys, joblib, pandas as pd
model, catalog = joblib.load(sys.argv[1])
catalog.append(pd.read_pickle(sys.argv[2]))
pairs = pd.read_pickle(sys.argv[3])
pd.DataFrame(model.predict_proba(pairs)).to_pickle(sys.argv[4])
"""


def test_serving_in_another_process(data, tmp_path, table_model):
    catalog = table_model[0].transformers[0][1].catalog
    model = table_model.fit(data.pairs, data.y)
    newcomer = catalog.videos.iloc[:3].assign(
        video_id=["new1", "new2", "new3"], user_id="newcomer", challenge=None
    )
    pairs = pd.DataFrame(
        {
            "user_id": ["newcomer", "stranger"],
            "challenge": "challenge0",
            "time": data.pairs["time"].max(),
        }
    )
    joblib.dump((model, catalog), tmp_path / "model.joblib")
    newcomer.to_pickle(tmp_path / "videos.pkl")
    pairs.to_pickle(tmp_path / "pairs.pkl")
    files = ("model.joblib", "videos.pkl", "pairs.pkl", "proba.pkl")
    arguments = [str(tmp_path / name) for name in files]
    subprocess.run([sys.executable, "-c", SERVE, *arguments], check=True)
    served = pd.read_pickle(tmp_path / "proba.pkl").to_numpy()
    catalog.append(newcomer)
    np.testing.assert_allclose(served, model.predict_proba(pairs), atol=1e-6)
    assert not np.allclose(served[0], served[1])  # the newcomer has a history
