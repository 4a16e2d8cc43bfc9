import pickle

import contract
import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.utils import estimator_html_repr

from skchallenge import make_virality_stack
from skchallenge._virality_stack import GroupColumnKFold
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
