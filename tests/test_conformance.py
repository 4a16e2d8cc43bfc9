"""The page about conformance says what every estimator does, and nothing else."""

import inspect
from unittest import mock

import conformance
import numpy as np
import pytest
import sklearn
import test_skops
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.utils.metadata_routing import MetadataRouter, get_routing_for_object
from test_common import CASES
from test_house_style import PUBLIC

from skchallenge import CaptionEmbedder

FACTORIES = {"make_deep_challenger", "make_virality_stack"}
ESTIMATORS = FACTORIES | {
    name.rpartition(".")[2] for name, obj in PUBLIC.items() if hasattr(obj, "fit")
}


def test_the_tables_have_all_estimators_and_all_cases():
    assert set(conformance.read("estimators").index) == ESTIMATORS
    assert set(conformance.read("checks").index) == {*CASES, "CaptionEmbedder"}


def test_the_tables_say_what_every_estimator_does(tmp_path, tiny_bert):
    rows = dict(rows_of_skops(tmp_path))
    captions = test_skops.VIDEOS[["caption"]]
    rows["CaptionEmbedder"] = CaptionEmbedder(tiny_bert), captions, None
    for name, (estimator, *data) in rows.items():
        for column, value in abilities(estimator, *data).items():
            conformance.confirm("estimators", name, column, value)
    assert set(rows) == ESTIMATORS


def rows_of_skops(folder):
    """Yield the name of each estimator, a fresh one, and X and y where it has them."""
    made = {}
    with mock.patch.object(test_skops, "answers", lambda e, X, y=None: (e, X, y)):
        for case, make in test_skops.WITHOUT_FILES.items():
            made[case] = make()
        for case, make in test_skops.WITH_FILES.items():
            (folder / case).mkdir()
            made[case] = make(folder / case)
    seen = set()
    for case, (estimator, *data) in made.items():
        factory = case.partition(",")[0]
        name = factory if factory in FACTORIES else type(estimator).__name__
        # Feed estimators come fitted, with a function in the place of X and y.
        if name not in seen:
            yield name, (estimator, *(data if len(data) == 2 else (None, None)))
        seen.add(name)


def abilities(estimator, X, y):
    fitted, resampling = fit_with_sampler(estimator, X, y)
    names = {"in": "feature_names_in_", "out": "get_feature_names_out"}
    found = {
        "resampling": resampling,
        "metadata": metadata(estimator),
        "set_output": "yes" if hasattr(fitted, "set_output") else "-",
        "names": ", ".join(k for k, a in names.items() if hasattr(fitted, a)) or "-",
        "HTML": "yes" if "<div" in fitted._repr_html_() else "-",
    }
    if hasattr(sklearn, "callback"):
        found["callbacks"] = "yes" if hasattr(fitted, "set_callbacks") else "-"
    return found


def fit_with_sampler(estimator, X, y):
    """Fit in a pipeline of imbalanced-learn, where that makes sense."""
    if X is None:
        return estimator, "-"
    sampler, fresh = RandomOverSampler(random_state=0), clone(estimator)
    if hasattr(fresh, "predict_proba"):
        steps, at, where = (sampler, fresh), 1, "after a sampler"
    elif hasattr(fresh, "get_feature_names_out"):
        steps, at, where = (fresh, sampler, DummyClassifier()), 0, "before a sampler"
        y = np.arange(len(X)) % 3 == 0
    else:
        return fresh.fit(X, y), "-"
    model = make_pipeline(*steps).fit(X, y)
    assert len(model.predict(X)) == len(X)
    return model[at], where


def metadata(estimator):
    """Name what may be routed to `fit`, or tell that it goes on to parts."""
    with sklearn.config_context(enable_metadata_routing=True):
        try:
            routing = get_routing_for_object(estimator)
        except NotImplementedError:
            return "-"
    if isinstance(routing, MetadataRouter):
        return "to its parts"
    data = next(iter(inspect.signature(estimator.fit).parameters))
    return ", ".join(sorted(set(routing.fit.requests) - {data})) or "-"


@pytest.mark.parametrize("table", ["checks", "estimators"])
def test_a_wrong_page_is_noticed(table):
    cells = conformance.read(table)
    column = cells.columns[0]
    with pytest.raises(AssertionError, match="run benchmarks/ledger.py"):
        conformance.confirm(table, cells.index[0], column, "something else")
