"""scikit-learn's callbacks, on everything that trains."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skchallenge import (
    DeepChallenger,
    HistoryEncoder,
    MultimodalVirality,
    ProxyEncoder,
    make_deep_challenger,
    make_participation,
)

callback = pytest.importorskip("sklearn.callback")  # scikit-learn 1.9

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
NETWORKS = [
    DeepChallenger((8,), max_iter=3, random_state=0),
    ProxyEncoder(8, max_iter=3, random_state=0),
    MultimodalVirality(metadata_layers=(8,), max_iter=3, random_state=0),
    MultimodalVirality(metadata_layers=(), early_stopping=False, max_iter=3),
]


class Spy:
    """Write down the tasks that begin and end; stop after some epochs."""

    max_propagation_depth = None

    def __init__(self, stop_after=None):
        self.log, self.kept, self.stop_after = [], [], stop_after

    def setup(self, estimator, context):
        self.log.append(("setup", type(estimator).__name__))

    def teardown(self, estimator, context):
        self.log.append(("teardown", type(estimator).__name__))

    def on_fit_task_begin(self, estimator, context):
        self.log.append(("begin", context.estimator_name, context.task_name))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.log.append(("end", context.estimator_name, context.task_name))
        if context.task_name == "epoch":
            self.kept.append(fitted_estimator)
            return len(self.kept) == self.stop_after
        return False

    def epochs(self, name):
        return self.log.count(("end", name, "epoch"))


def kind(model):
    return type(model).__name__


@pytest.mark.parametrize("model", NETWORKS, ids=kind)
def test_callbacks_hear_of_each_epoch(model):
    spy = Spy()
    name = kind(model)
    fitted = clone(model).set_callbacks(spy).fit(X, Y)
    assert spy.log[0] == ("setup", name)
    assert spy.log[-1] == ("teardown", name)
    assert spy.epochs(name) == fitted.n_iter_ == 3
    assert spy.log.count(("begin", name, "epoch")) == 3


@pytest.mark.parametrize("model", NETWORKS, ids=kind)
def test_watching_changes_nothing(model):
    model = clone(model).set_params(random_state=0)
    plain = clone(model).fit(X, Y).predict_proba(X)
    watched = clone(model).set_callbacks(callback.ScoringMonitor(scoring="accuracy"))
    np.testing.assert_array_equal(watched.fit(X, Y).predict_proba(X), plain)


@pytest.mark.parametrize("model", NETWORKS, ids=kind)
def test_scores_are_those_of_the_network_after_each_epoch(model):
    monitor, spy = callback.ScoringMonitor(scoring="accuracy"), Spy()
    clone(model).set_callbacks(monitor, spy).fit(X, Y)
    rows = [r for r in monitor.get_logs().data if r["task_name"] == "epoch"]
    expected = [accuracy_score(Y, kept.predict(X)) for kept in spy.kept]
    assert [row["accuracy"] for row in rows] == expected
    assert len(expected) == 3
    first, last = (kept.predict_proba(X) for kept in (spy.kept[0], spy.kept[-1]))
    assert not np.array_equal(first, last)  # each keeps weights of its own


def test_sample_weights_reach_the_scorer():
    weight = np.where(np.arange(60) < 30, 1.0, 0.01)
    monitor, spy = callback.ScoringMonitor(scoring="accuracy"), Spy()
    model = DeepChallenger((8,), max_iter=1, random_state=0)
    model.set_callbacks(monitor, spy).fit(X, Y, sample_weight=weight)
    (row,) = [r for r in monitor.get_logs().data if r["task_name"] == "epoch"]
    expected = accuracy_score(Y, spy.kept[0].predict(X), sample_weight=weight)
    assert row["accuracy"] == pytest.approx(expected)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_callback_may_stop_the_training(early_stopping):
    model = DeepChallenger((8,), max_iter=9, early_stopping=early_stopping)
    assert model.set_callbacks(Spy(stop_after=2)).fit(X, Y).n_iter_ == 2


def test_a_fit_that_fails_is_torn_down():
    spy = Spy()
    model = DeepChallenger((8,), max_iter=2, dropout=0.0).set_callbacks(spy)
    with pytest.raises(ValueError, match="at least 2 classes"):
        model.fit(X, np.zeros(60))
    assert spy.log[-1] == ("teardown", "DeepChallenger")


def test_pipelines_and_searches_do_not_warn(capsys):
    model = make_pipeline(DeepChallenger((8,), max_iter=2, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spy = Spy()
        model.set_callbacks(spy).fit(X, Y)
        assert spy.epochs("DeepChallenger") == 2
        cross_val_score(model, X, Y, cv=2)
        assert spy.epochs("DeepChallenger") == 6
        clone(model).set_callbacks(callback.ProgressBar()).fit(X, Y)
    assert "DeepChallenger - fit" in capsys.readouterr().out


def study():
    day = pd.Timestamp("2024-01-01")
    rows = [
        (f"u{u}", day + pd.Timedelta(days=3 * k, hours=u), [], u + k)
        for u in range(12)
        for k in range(8)
    ]
    rows += [
        (f"{w}{i}", day + pd.Timedelta(days=d + c, hours=i), [f"t{c}"], i)
        for c in range(4)
        for w, d in (("s", 9), ("u", 12))
        for i in range(4)
    ]
    columns = ["user_id", "create_time", "hashtags", "n_words"]
    videos = pd.DataFrame(rows, columns=columns).rename_axis("video_id").reset_index()
    return make_participation(
        videos,
        challenges=["t0", "t1", "t2", "t3"],
        n_seeds=3,
        horizon="20D",
        min_history=3,
        until=videos["create_time"].max() + pd.Timedelta("20D"),
    )


@pytest.mark.parametrize("cross_fit", [None, 2])
def test_the_whole_participation_model_is_heard(cross_fit):
    data, spy = study(), Spy()
    numbers = make_column_transformer(("passthrough", ["n_words"]))
    model = make_deep_challenger(
        data.catalog,
        make_pipeline(numbers),
        embedding_size=2,
        max_videos=2,
        max_iter=2,
        cross_fit=cross_fit,
        early_stopping=False,
        random_state=0,
    )
    inner = model["sides"].transformers[0][1].encoder
    inner.steps[0] = ("numbers", make_pipeline(Listening()))
    other = model["sides"].transformers[1][1].encoder
    other.steps[0] = ("numbers", make_pipeline(Listening()))
    plain = clone(model).fit(data.pairs, data.y).predict_proba(data.pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_callbacks(spy).fit(data.pairs, data.y)
    np.testing.assert_array_equal(model.predict_proba(data.pairs), plain)
    n_encoders = 2 * (1 + (cross_fit or 0))
    assert spy.epochs("ProxyEncoder") == 2 * n_encoders
    assert spy.epochs("DeepChallenger") == 2
    assert sum(entry[0] == "setup" for entry in spy.log) == 1  # one tree of tasks
    # Nothing of the fit is left in what was fitted.
    for _, part, _ in model["sides"].transformers_:
        assert not {"_parent_callback_ctx", "_skl_callbacks"} & set(vars(part))


class Listening(HistoryEncoder):
    """Pass on one column, and take callbacks."""

    def __init__(self):
        pass

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def fit_transform(self, X, y=None):
        return self.fit(X).transform(X)

    def transform(self, X):
        return X[["n_words"]].to_numpy(float)


def test_before_1_9_nothing_is_called():
    code = (
        "import sys\n"
        "import numpy as np\n"
        "import sklearn.linear_model, sklearn.model_selection\n"  # need it themselves
        "sys.modules['sklearn.callback'] = None\n"
        "from skchallenge import DeepChallenger\n"
        "X = np.random.default_rng(0).normal(size=(40, 4)); y = X[:, 0] > 0\n"
        "model = DeepChallenger((8,), max_iter=2, random_state=0).fit(X, y)\n"
        "print(hasattr(model, 'set_callbacks'), model.n_iter_)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "2"], done.stderr


def test_scikit_learns_own_models_take_the_same_callbacks():
    """The spy is what scikit-learn calls a callback, not what this library does."""
    spy = Spy()
    LogisticRegression().set_callbacks(spy).fit(X, Y)
    assert spy.log[0] == ("setup", "LogisticRegression")


def test_lines_of_a_training_are_named(capsys):
    DeepChallenger((8,), max_iter=2, verbose=1, random_state=0).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4  # two of the head of the table
    assert all(line.startswith("[DeepChallenger, 2 classes]") for line in lines)
    DeepChallenger((8,), max_iter=2, random_state=0).fit(X, Y)
    assert not capsys.readouterr().out
