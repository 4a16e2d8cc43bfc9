import pickle

import contract
import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import check_estimator
from torch import nn

from skchallenge import EmbeddingStore, VideoFrameEmbedder, make_virality_stack
from skchallenge._virality_stack import GroupColumnKFold, TunedLogisticRegression
from skchallenge.embed import MediaLimits
from skchallenge.exceptions import LeakageError


def study(n=120, seed=0):
    """Captions and lengths each tell half of the label; users have three videos."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "user_id": [f"u{i // 3}" for i in range(n)],
            "duration_s": rng.integers(5, 60, n).astype(float),
            "n_followers": rng.integers(1, 1000, n),
            "caption": rng.choice(["my cat sleeps", "dance with me"], n),
        }
    )
    score = (X["duration_s"] > 32).astype(int) + (X["caption"] == "my cat sleeps")
    y = (score + rng.normal(0, 0.4, n) > 1).astype(int)
    return X, y.to_numpy()


class Spy(ClassifierMixin, BaseEstimator):
    """A base model that writes down the users it is fitted on and asked about."""

    def __init__(self, log):
        self.log = log

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.log.append(("fit", frozenset(X["user_id"]), len(X)))
        return self

    def predict_proba(self, X):
        self.log.append(("predict", frozenset(X["user_id"]), len(X)))
        return np.full((len(X), 2), 0.5)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __sklearn_clone__(self):
        return Spy(self.log)


def test_inner_folds_keep_users_together():
    X, y = study()
    model, log = make_virality_stack(), []
    model.set_params(estimators=[("spy", Spy(log))])
    model.fit(X, y)
    (_, everybody, n), *inner = log
    assert n == 120
    assert len(inner) == 10  # five folds, each fitted and asked
    asked = []
    for (did, known, _), (then, new, _) in zip(inner[::2], inner[1::2], strict=True):
        assert (did, then) == ("fit", "predict")
        assert not known & new
        assert known | new == everybody
        asked += new
    assert sorted(asked) == sorted(everybody)


@pytest.mark.parametrize(
    "names",
    [
        np.arange(40),
        np.array([f"u{i}" for i in range(40)], dtype=object),
        np.array([None, np.nan, 2.5, *range(37)], dtype=object),
        pd.array([("a", 1), *map(str, range(38)), 3], dtype=object),  # none is smaller
    ],
)
def test_the_order_of_rows_does_not_change_the_folds(names):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"user_id": pd.Series(names)[rng.integers(0, 40, 120)].array})
    order = rng.permutation(120)
    folds = GroupColumnKFold("user_id").split(X)
    again = GroupColumnKFold("user_id").split(X.iloc[order])
    for (_, rows), (_, others) in zip(folds, again, strict=True):
        assert set(rows) == set(order[others])


def test_no_model_sees_the_group():
    X, y = study()
    model = make_virality_stack(caption="caption").fit(X, y)
    seen = {
        name: fitted[0].feature_names_in_.tolist()
        for name, fitted in model.named_estimators_.items()
    }
    assert list(seen) == ["linear", "trees", "caption"]
    for name in ("linear", "trees"):
        metadata = model.named_estimators_[name][0].named_transformers_["metadata"]
        assert metadata.feature_names_in_.tolist() == ["duration_s", "n_followers"]
        assert metadata.column_roles_["n_followers"] == "label_part"
    renamed = X.assign(user_id=np.random.default_rng(0).permutation(X["user_id"]))
    np.testing.assert_array_equal(model.predict_proba(renamed), model.predict_proba(X))


def test_the_stack_uses_every_modality():
    X, y = study(300)
    model = make_virality_stack(caption="caption").set_params(trees="drop")

    def auc(X, y):
        options = {"groups": X["user_id"], "cv": GroupKFold(3), "scoring": "roc_auc"}
        return cross_val_score(model, X, y, **options).mean()

    words = auc(X.assign(duration_s=1.0, n_followers=1), y)
    numbers = auc(X.assign(caption="the same for all"), y)
    assert auc(X, y) > max(words, numbers) + 0.05
    shuffled = np.random.default_rng(0).permutation(y)
    assert auc(X, shuffled) == pytest.approx(0.5, abs=0.12)  # 3 standard errors


def test_contract():
    X, y = study(36)

    def factory():
        return make_virality_stack(caption="caption").set_params(trees="drop")

    # A new user's video needs no group: fit asks for the column, predict does not.
    # What scikit-learn's own class does in threads is not ours to test.
    slow = {"check_threads", "check_numpy_params", "check_configuration"}
    n = contract.run(
        factory, X, y, name="make_virality_stack", skip={"check_columns", *slow}
    )
    assert n == 180


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_configuration_for_tables_changes_no_prediction(kind):
    X, y = study(36)
    X.loc[3, "caption"] = None
    model = make_virality_stack(caption="caption")
    expected = clone(model).fit(X, y).predict_proba(X)
    with config_context(transform_output=kind):
        found = clone(model).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_grid_search_and_pickle():
    X, y = study(60)
    model = make_virality_stack(caption="caption")
    grid = {"final_estimator__C": [0.1, 1.0], "trees": ["drop"]}
    search = GridSearchCV(model, grid, cv=GroupKFold(2))
    search.fit(X, y, groups=X["user_id"])
    assert set(search.best_params_) == set(grid)
    loaded = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(
        loaded.predict_proba(X), search.best_estimator_.predict_proba(X)
    )


def test_polars_and_missing_captions_are_fine():
    X, y = study(60)
    X["caption"] = X["caption"].where(X.index % 10 > 0, None)
    model = make_virality_stack(caption="caption").set_params(trees="drop")
    expected = clone(model).fit(X, y).predict_proba(X)
    frame = pl.DataFrame({c: [None if v != v else v for v in X[c]] for c in X})
    np.testing.assert_allclose(model.fit(frame, y).predict_proba(frame), expected)


def test_a_notebook_shows_the_fitted_stack():
    X, y = study(30)
    model = make_virality_stack(caption="caption").set_params(trees="drop").fit(X, y)
    assert "TfidfVectorizer" in estimator_html_repr(model)


def test_outcomes_are_refused():
    X, y = study(60)
    with pytest.raises(LeakageError, match=r"X has the column 'n_likes'"):
        make_virality_stack().fit(X.assign(n_likes=1).drop(columns="caption"), y)


def test_the_splitter_makes_no_more_folds_than_groups():
    X = pd.DataFrame({"who": ["a", "b", "c", "a"], "x": 1})
    splitter = GroupColumnKFold("who")
    assert splitter.get_n_splits() == 5
    assert splitter.get_n_splits(X) == 3
    tests = [test.tolist() for _, test in splitter.split(X)]
    assert sorted(tests) == [[0, 3], [1], [2]]
    assert repr(splitter) == "GroupColumnKFold(column='who')"


def test_tables_without_groups_are_refused():
    X, y = study(60)
    model = make_virality_stack(caption="caption", group="creator")
    with pytest.raises(ValueError, match=r"X lacks the columns \['creator'\]"):
        model.fit(X.drop(columns="user_id"), y)
    with pytest.raises(
        ValueError, match=r"at least two groups in the column 'creator'"
    ):
        model.fit(X.rename(columns={"user_id": "creator"}).assign(creator="me"), y)
    splitter = GroupColumnKFold("creator")
    with pytest.raises(TypeError, match=r"must be a table with a column 'creator'"):
        list(splitter.split(np.ones((3, 2))))
    with pytest.raises(TypeError, match="column 'creator'.*, got ndarray"):
        model.fit(X.to_numpy(), y)


def test_the_final_model_is_scikit_learns():
    model = make_virality_stack()
    assert type(model).__module__.startswith("sklearn.")
    assert isinstance(model.final_estimator, LogisticRegression)


def test_covers_are_one_more_modality(tmp_path):
    """Half of the label is the colour of the cover, which no other column tells."""
    X, _ = study(90)
    rng = np.random.default_rng(1)
    is_red = rng.integers(0, 2, len(X))
    paths = []
    for i, red in enumerate(is_red):
        colour = np.array([200, 40, 40] if red else [40, 40, 200])
        pixels = np.clip(colour + rng.normal(0, 20, (20, 20, 3)), 0, 255)
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(pixels.astype(np.uint8)).save(paths[-1])
    X["cover"] = paths
    X.loc[5, "cover"] = None
    y = ((X["duration_s"] > 32).to_numpy() + is_red + rng.normal(0, 0.2, len(X))) > 1
    model = make_virality_stack(image="cover")
    model.set_params(
        cover__multimodalvirality__image_size=16,
        cover__multimodalvirality__max_iter=8,
        cover__multimodalvirality__lr=0.003,
    )
    model.fit(X, y)
    assert [name for name, _ in model.estimators] == ["linear", "trees", "cover"]
    cnn = model.named_estimators_["cover"][-1]
    assert cnn.n_features_in_ == 1  # neither the user nor any other column
    assert model.final_estimator_.coef_[0, -1] > 0.5  # the cover counts
    assert np.isfinite(model.predict_proba(X)).all()


def test_captions_alone_need_a_stack_without_the_models_of_metadata():
    X, y = study()
    X = X[["user_id", "caption"]]
    model = make_virality_stack(caption="caption")
    match = (
        r"beside \['user_id', 'caption'\] .*set_params\(linear='drop', trees='drop'\)"
    )
    with pytest.raises(ValueError, match=match):
        model.fit(X, y)
    fitted = model.set_params(linear="drop", trees="drop").fit(X, y)
    assert fitted.score(X, y) > 0.7


@pytest.mark.parametrize("empty", [None, "", " \n", "🎉", "a"])
def test_captions_without_words_are_named_with_the_remedy(empty):
    X, y = study(60)
    model = make_virality_stack(caption="text").set_params(linear="drop")
    X = X.rename(columns={"caption": "text"}).assign(text=empty)
    match = (
        r"^empty vocabulary.*\nIn the column 'text' of X, 0 of 60 captions have"
        r" a word.*make_virality_stack\(caption=None\).*set_params\(caption='drop'\)"
    )
    with pytest.raises(ValueError, match=match):
        model.fit(X, y)
    assert model.set_params(caption="drop").fit(X, y).score(X, y) > 0.6


def test_words_that_stand_in_one_caption_only_are_too_rare():
    X, y = study(60)
    model = make_virality_stack(caption="caption").set_params(trees="drop")
    X["caption"] = [f"word{i}" for i in range(60)]
    match = (
        r"^After pruning.* lower min_df.*\n.*60 of 60 captions have a word; min_df=2"
    )
    with pytest.raises(ValueError, match=match):
        model.fit(X, y)
    model.set_params(caption__tfidfvectorizer__min_df=1).fit(X, y)


def test_a_bad_parameter_of_the_words_is_not_blamed_on_the_captions():
    X, y = study(60)
    model = make_virality_stack(caption="caption")
    model.set_params(caption__tfidfvectorizer__norm="l3", trees="drop", linear="drop")
    with pytest.raises(ValueError, match="'norm' parameter .* must be a str") as caught:
        model.fit(X, y)
    assert not hasattr(caught.value, "__notes__")


def test_other_trouble_of_the_words_is_not_blamed_on_the_captions():
    """Their words are there, as the note says; it is `max_df` that leaves none."""
    X, y = study(60)
    model = make_virality_stack(caption="caption").set_params(trees="drop")
    model.set_params(caption__tfidfvectorizer__max_df=1)
    with pytest.raises(
        ValueError, match=r"^max_df corresponds .*\n.*60 of 60 captions"
    ):
        model.fit(X, y)
    model.set_params(caption__tfidfvectorizer__min_df=0.01)
    with pytest.raises(
        ValueError, match=r"^After pruning, no terms .*\n.*60 of 60 captions"
    ):
        model.fit(X.assign(caption="the same"), y)


def test_captions_without_words_may_be_asked_about():
    X, y = study(60)
    model = make_virality_stack(caption="caption").set_params(trees="drop").fit(X, y)
    assert np.isfinite(model.predict_proba(X.assign(caption=None))).all()


# What is seen and heard in files


class Vectors(TransformerMixin, BaseEstimator):
    """Makes many columns of a file's name; the first `n_told` tell its number."""

    def __init__(self, n_columns=40, n_told=6, seed=0):
        self.n_columns, self.n_told, self.seed = n_columns, n_told, seed

    def fit(self, X, y=None):
        assert list(X.columns) == ["path"]
        return self

    def transform(self, X):
        rows = []
        for name in X["path"]:
            is_missing = not isinstance(name, str)
            level = np.nan if is_missing else float(name.split("_")[self.seed])
            rng = np.random.default_rng([self.seed, *str(name).encode()])
            noise = rng.normal(size=self.n_columns)
            rows.append(noise + level * (np.arange(self.n_columns) < self.n_told))
        return np.array(rows, dtype=np.float32)

    def get_feature_names_out(self, names=None):
        return np.array([f"v{i}" for i in range(self.n_columns)], dtype=object)

    def __sklearn_is_fitted__(self):
        return True


def filmed(n=180, seed=0, noise=0.4):
    """Two levels in a file's name, each half of the label; nothing else tells."""
    rng = np.random.default_rng(seed)
    seen, heard = rng.normal(size=(2, n))
    X = pd.DataFrame(
        {
            "user_id": [f"u{i // 3}" for i in range(n)],
            "duration_s": rng.integers(5, 60, n).astype(float),
            "path": [f"{a:.3f}_{b:.3f}" for a, b in zip(seen, heard, strict=True)],
        }
    )
    return X, (seen + heard + noise * rng.normal(size=n) > 0).astype(int)


def of_files(**options):
    options = {"video": Vectors(), "audio": Vectors(seed=1), **options}
    model = make_virality_stack(**options)
    return model.set_params(linear="drop", trees="drop")


def test_each_embedder_is_one_base_model_of_the_column_of_paths():
    X, y = filmed()
    tags = Vectors(5, 0)
    model = make_virality_stack(tags=tags, audio=Vectors(seed=1), video=Vectors())
    names = [name for name, _ in model.estimators]
    assert names == ["linear", "trees", "video", "audio", "tags"]
    fitted = model.set_params(trees="drop").fit(X, y).named_estimators_
    linear = fitted["linear"][0].named_transformers_["metadata"]
    assert linear.feature_names_in_.tolist() == ["duration_s"]  # no path
    parts = [fitted[name][0].transformers_[0][1] for name in names[2:]]
    assert [(part.n_columns, part.seed) for part in parts] == [(40, 0), (40, 1), (5, 0)]
    assert parts[2] is not tags
    renamed = make_virality_stack(video=Vectors(), path="file").set_params(trees="drop")
    with pytest.raises(AssertionError):  # of `Vectors`, which knows `path` only
        renamed.fit(X.rename(columns={"path": "file"}), y)


def test_the_stack_joins_what_is_seen_and_heard():
    X, y = filmed(150)

    def auc(model, y=y):
        options = {"groups": X["user_id"], "cv": GroupKFold(3), "scoring": "roc_auc"}
        return cross_val_score(model, X, y, **options).mean()

    both = auc(of_files())
    assert both > 0.8
    assert both > max(auc(of_files(audio=None)), auc(of_files(video=None))) + 0.05
    shuffled = np.random.default_rng(0).permutation(y)
    assert auc(of_files(), shuffled) == pytest.approx(0.5, abs=0.12)


def test_the_tuned_model_is_scikit_learns_on_scaled_columns():
    X, y = filmed(60)
    vectors = Vectors(100).transform(X).astype(float)
    for columns in (vectors, vectors[:, :8]):  # more than rows, and fewer
        model = TunedLogisticRegression().fit(columns, y)
        scaled = StandardScaler().fit_transform(columns) / np.sqrt(columns.shape[1])
        expected = LogisticRegression(C=model.C_, tol=1e-8, max_iter=9999)
        expected.fit(scaled, y)
        found = model.predict_proba(columns)
        assert found == pytest.approx(expected.predict_proba(scaled), abs=5e-4)


def test_the_penalty_is_that_of_a_search_over_groups():
    X, y = filmed(90)
    groups = np.arange(90) // 3
    columns = Vectors().transform(X)
    model = TunedLogisticRegression().fit(columns, y, groups=groups)
    scaled = StandardScaler().fit_transform(columns) / np.sqrt(40)
    search = GridSearchCV(
        LogisticRegression(max_iter=1000),
        {"C": [0.01, 0.1, 1, 10, 100, 1e3, 1e4]},
        scoring="neg_log_loss",
        cv=GroupKFold(5),
    )
    assert search.fit(scaled, y, groups=groups).best_params_["C"] == model.C_
    assert 0.01 < model.C_ < 1e4


@pytest.mark.parametrize("routing", [False, True])
def test_the_penalty_is_tuned_on_users_that_are_new(routing):
    """Each user has a column, and a habit: by rows, no penalty would look best."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(30), 8)
    y = (rng.normal(size=30)[user] + 0.3 * rng.normal(size=240) > 0).astype(int)
    X = pd.DataFrame({"user_id": user, "path": user.astype(str)})
    stack = make_virality_stack(video=OneHotEncoder(sparse_output=False))
    pipeline = dict(stack.estimators)["video"]
    with config_context(enable_metadata_routing=routing):
        by_user = clone(pipeline).fit(X, y)[-1].C_
    by_row = clone(pipeline).set_params(group=None).fit(X, y)[-1].C_
    assert by_user == 0.01 < by_row


def test_a_modality_of_noise_has_no_opinion():
    X, y = filmed(120)
    columns = Vectors(2048, 0).transform(X)
    groups = np.arange(120) // 3
    model = TunedLogisticRegression().fit(columns[:90], y[:90], groups=groups[:90])
    assert model.predict_proba(columns[90:])[:, 1].std() < 0.1


def test_rare_classes_and_few_groups_leave_something_to_tune():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 60)), np.array(["no"] * 37 + ["yes"] * 3)
    rare = TunedLogisticRegression().fit(X, y, groups=np.arange(40) // 8)
    assert rare.predict(X).tolist() == ["no"] * 40 or rare.C_ > 0.01
    assert np.isfinite(rare.predict_proba(X)).all()
    alone = TunedLogisticRegression().fit(X, y, groups=np.zeros(40))
    assert alone.C_ == 1.0
    three = TunedLogisticRegression().fit(X, np.arange(40) % 3)
    np.testing.assert_allclose(three.predict_proba(X).sum(axis=1), 1)
    assert three.classes_.tolist() == [0, 1, 2]


def test_the_tuned_model_passes_scikit_learns_checks():
    results = check_estimator(TunedLogisticRegression(), on_skip=None)
    assert len(results) >= 45


def test_a_file_without_numbers_is_average():
    X, y = filmed(90)
    model = of_files(audio=None).fit(X, y)
    pipeline = model.named_estimators_["video"]
    X.loc[0, "path"] = None
    found = pipeline.predict_proba(X.iloc[:1])
    mean = Vectors().transform(X.iloc[1:]).mean(axis=0)
    last = pipeline[-1]
    average = last.predict_proba(pipeline[1].statistics_[None])
    np.testing.assert_allclose(found, average)
    assert np.abs(pipeline[1].statistics_ - mean).max() < 0.1
    X["path"] = None
    assert np.isfinite(clone(model).fit(X, y).predict_proba(X)).all()


def test_files_in_tables_of_all_kinds():
    X, y = filmed(45)
    model = of_files(audio=None)
    expected = clone(model).fit(X, y).predict_proba(X)
    for kind in ("pandas", "polars"):
        with config_context(transform_output=kind):
            found = clone(model).fit(X, y).predict_proba(X)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    without_user = model.fit(X, y).predict_proba(X.drop(columns="user_id"))
    np.testing.assert_array_equal(without_user, model.predict_proba(X))


def test_a_stack_of_files_says_which_model_is_fitted(capsys):
    X, y = filmed(30)
    make_virality_stack(video=Vectors(), verbose=1).set_params(
        linear="drop", trees="drop"
    ).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all(
        line.startswith("[make_virality_stack, video] fitted on") for line in lines
    )


@pytest.mark.parametrize(
    "options, match",
    [
        ({"video": "path"}, r"video must be a transformer .*, got str\. Pass an obj"),
        ({"audio": Vectors}, r"audio must be a tr.*, got the class Vectors.*AudioEmb"),
        ({"tags": ["cat"]}, r"tags must be .*, got list\..*tags=FrameTagger\(store="),
        ({"path": None}, r"path must be the name of a column of X, got NoneType.*path"),
        ({"path": Vectors()}, r"path must be the name of a column of X, got Vectors"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_no_embedder_is_refused_at_the_door(options, match):
    with pytest.raises(TypeError, match=match):
        make_virality_stack(**options)


def test_a_table_without_paths_is_refused():
    X, y = filmed(30)
    match = r"X must hold the column 'path', .*it has \['user_id', 'dur.*path=\.\.\.\)"
    with pytest.raises(ValueError, match=match):
        of_files().fit(X.drop(columns="path"), y)


N_FRAMES_SEEN = []


def colours():
    class Colours(nn.Module):
        def forward(self, images):
            N_FRAMES_SEEN.append(len(images))
            return images.mean(dim=(2, 3))

    return Colours()


def test_with_a_store_a_search_embeds_each_file_once(tmp_path):
    """Two folds, two candidates, five inner folds: 26 fits, one embedding a file."""
    n, store = 20, tmp_path / "store.db"
    levels = np.arange(n) // 4 % 2
    paths = []
    for i, level in enumerate(levels):
        picture = np.full((16, 16, 3), 40 + 150 * level + i, np.uint8)
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(picture).save(paths[-1])
    X = pd.DataFrame({"user_id": np.arange(n) // 2, "path": paths})
    embedder = VideoFrameEmbedder(
        colours,
        n_frames=1,
        image_size=16,
        precision="float32",
        batch_size=1,
        limits=MediaLimits(timeout_s=None),
    )

    def n_embedded(**options):
        model = make_virality_stack(video=clone(embedder).set_params(**options))
        model.set_params(linear="drop", trees="drop")
        grid = {"final_estimator__C": [0.1, 1.0]}
        search = GridSearchCV(model, grid, cv=GroupKFold(2), scoring="roc_auc")
        N_FRAMES_SEEN.clear()
        search.fit(X, levels, groups=X["user_id"])
        assert search.best_score_ == 1.0
        return sum(N_FRAMES_SEEN)

    once = n_embedded(store=str(store))
    assert n <= once <= n + 1  # one more to learn the width
    assert n_embedded(store=EmbeddingStore(store)) <= 1
    # 4 fits on a half and 1 on all, each file 6 times; 4 test halves.
    assert n_embedded() == 6 * (2 * n + n) + 2 * n
