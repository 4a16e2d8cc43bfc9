"""scikit-learn's own checks, on every estimator whose valid input they can make."""

from collections import Counter

import conformance
import pytest
from sklearn.utils.estimator_checks import check_estimator

from skchallenge import (
    CaptionEmbedder,
    DeepChallenger,
    MultimodalVirality,
    ProxyEncoder,
)
from skchallenge.feed import EngagementScorer, GenreProfiler
from skchallenge.tabular import SentimentFeaturizer

# A batch that holds all rows, and nothing random but the first weights.
EXACT = {"dropout": 0, "early_stopping": False, "batch_size": 10_000}
SHUFFLED = {
    "check_sample_weight_equivalence_on_dense_data": (
        "Repeated rows are shuffled into other batches than one row of that weight."
    )
}

# Estimator, checks that fail and why, fewest checks that must run.
CASES = {
    "ProxyEncoder": (ProxyEncoder(), SHUFFLED, 68),
    "ProxyEncoder, exact": (ProxyEncoder(**EXACT), {}, 68),
    "DeepChallenger": (DeepChallenger(), SHUFFLED, 62),
    "DeepChallenger, exact": (DeepChallenger(**EXACT), {}, 62),
    # Narrow layers: the default of 512 takes half a minute of the same checks.
    "MultimodalVirality": (MultimodalVirality(metadata_layers=(128,)), SHUFFLED, 62),
    "MultimodalVirality, exact": (
        MultimodalVirality(metadata_layers=(128,), **EXACT),
        {},
        62,
    ),
    "MultimodalVirality, linear": (
        MultimodalVirality(metadata_layers=(), **EXACT),
        {},
        62,
    ),
    # 45 checks, of which one needs an environment variable, see SKIPPED.
    "SentimentFeaturizer": (SentimentFeaturizer(), {}, 44),
    # The checks' arrays have as few as one column, without names: one signal.
    "EngagementScorer": (EngagementScorer({"like": 2}), {}, 46),
    "GenreProfiler": (GenreProfiler(), {}, 62),
}
# It needs an environment variable that is read when scipy is imported.
SKIPPED = {"check_array_api_input"}


@pytest.mark.parametrize("name", CASES)
def test_scikit_learns_contract(name):
    check(name, *CASES[name])


def test_scikit_learns_contract_of_captions(tiny_bert):
    # 45 checks, of which one needs an environment variable, see SKIPPED.
    check("CaptionEmbedder", CaptionEmbedder(tiny_bert), {}, 44)


def check(name, estimator, expected, fewest):
    results = check_estimator(
        estimator, expected_failed_checks=expected, on_fail=None, on_skip=None
    )
    count = Counter(r["status"] for r in results)
    failed = {r["check_name"]: r["exception"] for r in results if _is("failed", r)}
    assert not failed
    assert {r["check_name"] for r in results if _is("xfail", r)} == set(expected)
    assert {r["check_name"] for r in results if _is("skipped", r)} <= SKIPPED
    assert count["passed"] + count["xfail"] >= fewest
    for status, column in {"passed": "passed", "xfail": "expected to fail"}.items():
        column = f"{conformance.VERSION} {column}"
        conformance.confirm("checks", name, column, count[status])
    reasons = "; ".join(f"{check}: {why}" for check, why in expected.items())
    conformance.confirm("checks", name, "what is expected to fail, and why", reasons)


def _is(status, result):
    return result["status"] == status
