import numpy as np
import pandas as pd
import pytest

from skchallenge._table import time_values
from skchallenge._time_index import TimeIndex


def brute_force(entity, time, tie, row, query, before, k):
    out = np.full((len(query), k), -1)
    for i, q in enumerate(query):
        limit = np.inf if before is None else before[i]
        hits = [j for j in range(len(row)) if entity[j] == q and time[j] < limit]
        hits.sort(key=lambda j: (-time[j], tie[j]))
        out[i, : len(hits[:k])] = [row[j] for j in hits[:k]]
    return out


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("timeless", [False, True])
def test_newest_equals_a_plain_search(seed, timeless):
    rng = np.random.default_rng(seed)
    n = 200
    entity, time = rng.integers(0, 12, n), rng.integers(0, 15, n)  # many ties
    tie, row = rng.permutation(n), rng.permutation(1000)[:n]
    query = rng.integers(-1, 14, 60)  # some are unknown
    before = None if timeless else rng.integers(-1, 17, 60)
    index = TimeIndex(pd.Index(entity), time, tie, row)
    found = index.newest(pd.Index(query), before, 4)
    expected = brute_force(entity, time, tie, row, query, before, 4)
    np.testing.assert_array_equal(found, expected)
    start, stop = index.spans(pd.Index(query), before)
    everything = brute_force(entity, time, tie, row, query, before, n)
    np.testing.assert_array_equal(stop - start, (everything >= 0).sum(axis=1))


def test_an_empty_index_finds_nothing():
    none = np.array([], dtype=np.intp)
    index = TimeIndex(pd.Index([]), np.array([]), none, none)
    found = index.newest(pd.Index(["ann"]), np.array([3.0]), 2)
    np.testing.assert_array_equal(found, [[-1, -1]])


@pytest.mark.parametrize(
    "times",
    [
        pd.Series([3, 1, 2]),
        pd.Series([3, 1, 2], dtype="Int64"),
        pd.Series([3.5, 1.0, 2.0]),
        pd.Series([3, 1, 2], dtype=object),
        pd.Series(pd.to_datetime([3, 1, 2], unit="D")),
        pd.Series(pd.to_datetime([3, 1, 2], unit="D", utc=True)),
    ],
)
def test_time_values_sort_as_the_times_do(times):
    values = time_values(times)
    assert isinstance(values, np.ndarray)
    assert values.dtype != object
    np.testing.assert_array_equal(np.argsort(values), [1, 2, 0])


def test_zones_are_compared_in_utc():
    paris = pd.Series(pd.to_datetime(["2020-01-01 12:00"])).dt.tz_localize(
        "Europe/Paris"
    )
    assert time_values(paris)[0] == np.datetime64("2020-01-01T11:00")
