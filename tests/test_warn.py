"""Warnings name the line that a user wrote."""

import ast
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import spies
from imblearn.pipeline import Pipeline as ResampledPipeline
from PIL import Image
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer

import skchallenge
from skchallenge import (
    HistoryEncoder,
    MultimodalVirality,
    VideoCatalog,
    make_challenge_clips,
)
from skchallenge._warn import warn
from skchallenge.exceptions import (
    EmptyHistoryWarning,
    LeakageWarning,
    MediaWarning,
    OneClassWarning,
)
from skchallenge.tabular import MetadataFeaturizer, PastCreatorStats

SOURCES = sorted(Path(skchallenge.__file__).parent.rglob("*.py"))
VIDEOS = pd.DataFrame(
    {
        "video_id": range(8),
        "user_id": ["ann", "bob"] * 4,
        "challenge": None,
        "create_time": [1, 1, 2, 2, 3, 3, 4, 4],
        "n_plays": 10.0,
        "value": np.arange(8.0),
    }
)
X = pd.DataFrame({"user_id": ["ann", "bob"] * 3, "time": 9})
Y = np.array([0, 1] * 3)


def line():
    """The number of the line that calls."""
    return sys._getframe(1).f_lineno


def only(caught, category):
    """The one warning of a category; of others there is none."""
    (found,) = caught
    assert found.category is category
    return found


def history(**options):
    options = {"by": "user_id", "before": "time", "max_videos": 1, **options}
    return HistoryEncoder(VideoCatalog(VIDEOS), spies.Spy(), **options)


def models():
    """Yield a lone step, and a model for each way to stand between caller and step."""
    yield pytest.param(history(), id="no pipeline")
    steps = [("encode", history()), ("classify", LogisticRegression())]
    columns = make_column_transformer((history(), ["user_id", "time"]), n_jobs=1)
    nested = make_pipeline(make_pipeline(FunctionTransformer(), columns), steps[1][1])
    yield pytest.param(Pipeline(steps), id="pipeline")
    yield pytest.param(Pipeline(steps).set_output(transform="pandas"), id="pandas")
    yield pytest.param(nested, id="columns of a nested pipeline")
    yield pytest.param(ResampledPipeline(steps), id="imbalanced-learn")
    yield pytest.param(GridSearchCV(Pipeline(steps), {}, cv=2, n_jobs=1), id="search")


@pytest.mark.parametrize("model", list(models()))
def test_empty_histories(model):
    model.fit(X, Y)
    use = model.predict if hasattr(model, "predict") else model.transform
    with warnings.catch_warnings(record=True, action="always") as caught:
        at = line() + 1
        use(X.assign(time=0))
    found = only(caught, EmptyHistoryWarning)
    assert (found.filename, found.lineno) == (__file__, at)


def test_what_cross_validation_warns_of():
    model = make_pipeline(history(), LogisticRegression())
    new = X.assign(time=[9, 9, 9, 9, 0, 0])  # the last fold's users have no past
    splits = [([0, 1, 2, 3], [4, 5]), ([2, 3, 4, 5], [0, 1]), ([0, 1, 4, 5], [2, 3])]
    with warnings.catch_warnings(record=True, action="always") as caught:
        cross_val_predict(model, new, Y, cv=splits)
    assert only(caught, EmptyHistoryWarning).filename == __file__


def test_creators_without_a_past_in_a_pipeline():
    past = PastCreatorStats(VideoCatalog(VIDEOS), min_age=0)
    model = make_pipeline(past, FunctionTransformer())
    table = X.rename(columns={"time": "create_time"})
    model.fit(table)
    with warnings.catch_warnings(record=True, action="always") as caught:
        model.transform(table.assign(create_time=0))
    assert only(caught, EmptyHistoryWarning).filename == __file__


def test_covers_in_a_pipeline(tmp_path):
    path = str(tmp_path / "cover.png")
    Image.new("RGB", (8, 8), "red").save(path)
    table = pd.DataFrame({"duration_s": np.arange(8.0), "cover": path})
    model = MultimodalVirality(
        image="cover", image_size=8, on_error="nan", max_iter=1, random_state=0
    )
    model = make_pipeline(FunctionTransformer(), model)
    with warnings.catch_warnings(record=True, action="always") as caught:
        model.fit(table, np.arange(8) % 2)
        assert not caught
        model.predict(table.assign(cover="absent.png"))
    assert only(caught, MediaWarning).filename == __file__


def test_leaks_in_a_pipeline():
    rng = np.random.default_rng(0)
    followers, views = rng.lognormal(10, 2, size=(2, 1000))
    table = pd.DataFrame({"n_followers": followers.round(), "mine": views})
    model = make_pipeline(MetadataFeaturizer(), LogisticRegression(max_iter=1000))
    with warnings.catch_warnings(record=True, action="always") as caught:
        model.fit(table, views > followers)
    assert only(caught, LeakageWarning).filename == __file__


def test_a_function_that_calls_another_of_ours(tmp_path):
    with warnings.catch_warnings(record=True, action="always") as caught:
        make_challenge_clips(tmp_path, n_users=1, n_challenges=1, random_state=0)
    assert only(caught, OneClassWarning).filename == __file__


@pytest.mark.parametrize(
    ("module", "blamed"),
    [("sklearn.x", __file__), ("sklearn_extra.steps", "theirs.py")],
    ids=["a library in between is passed over", "a name that only begins alike is not"],
)
def test_libraries_are_known_by_their_name(module, blamed):
    code = compile("warn('theirs', UserWarning)", "theirs.py", "exec")
    with warnings.catch_warnings(record=True, action="always") as caught:
        exec(code, {"__name__": module, "warn": warn})
    assert only(caught, UserWarning).filename == blamed


def test_no_module_warns_in_another_way():
    warning = {
        path.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "warnings.warn"
    }
    assert warning == {"_warn.py"}
