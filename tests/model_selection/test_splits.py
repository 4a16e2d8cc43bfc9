"""Laws of the splitters, and tables worked by hand."""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import cross_val_score

from skchallenge import VideoCatalog
from skchallenge.model_selection import (
    ChallengeClusterKFold,
    ColdBothKFold,
    TimeSplit,
    audit_split,
)

LAWS = settings(max_examples=60, deadline=None)


def catalog_of(memberships):
    """One video for each list of challenges."""
    n = len(memberships)
    return VideoCatalog(
        pd.DataFrame(
            {
                "video_id": range(n),
                "user_id": [f"s{i}" for i in range(n)],
                "challenge": pd.Series(memberships, dtype=object),
                "create_time": range(n),
            }
        )
    )


def lists(splits):
    return [(train.tolist(), test.tolist()) for train, test in splits]


# -- time -----------------------------------------------------------------------------


@LAWS
@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=40),
    st.integers(0, 20),
    st.integers(1, 4),
)
def test_no_label_of_the_training_set_is_unknown(times, horizon, n_splits):
    X = pd.DataFrame({"time": times})
    splitter = TimeSplit(horizon, n_splits=n_splits)
    distinct = sorted(set(times))
    tested = len(distinct) // (n_splits + 1) * n_splits
    if not tested or distinct[-tested] <= distinct[0] + horizon:
        with pytest.raises(ValueError, match="Take fewer splits"):
            list(splitter.split(X))
        return
    splits = list(splitter.split(X))
    times = np.array(times)
    assert len(splits) == splitter.get_n_splits() == n_splits
    for train, test in splits:
        assert len(train)
        assert len(test)
        assert (times[train] + horizon < times[test].min()).all()
        # Everything whose label is known is used.
        assert_array_equal(train, np.flatnonzero(times + horizon < times[test].min()))
    tested = np.concatenate([test for _, test in splits])
    assert len(np.unique(tested)) == len(tested)
    for (_, first), (_, second) in itertools.pairwise(splits):
        assert times[first].max() < times[second].min()


def test_time_by_hand():
    X = pd.DataFrame({"time": [30, 0, 10, 10, 20, 40]})
    assert lists(TimeSplit(5).split(X)) == [([1, 2, 3, 4], [0, 5])]
    assert lists(TimeSplit(10).split(X)) == [([1, 2, 3], [0, 5])]  # 30 is not before 30
    assert lists(TimeSplit(15, start=30).split(X)) == [([1, 2, 3], [0, 5])]
    assert lists(TimeSplit(0, n_splits=2, start=20).split(X)) == [
        ([1, 2, 3], [0, 4]),
        ([0, 1, 2, 3, 4], [5]),
    ]


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_time_takes_datetimes_and_polars(zone):
    days = pd.to_datetime([0, 40, 80], unit="D").tz_localize(zone)
    X = pd.DataFrame({"at": days})
    splitter = TimeSplit("30D", start=days[2], time="at")
    assert lists(splitter.split(X)) == [([0, 1], [2])]
    if zone is None:
        assert lists(splitter.split(pl.DataFrame(X))) == [([0, 1], [2])]


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"horizon": "30D"}, TypeError, "horizon must be a number in that unit"),
        ({"horizon": -1}, ValueError, "horizon must not be negative, got -1"),
        ({"horizon": 99}, ValueError, "No label of X was known by 20, .*Take fewer"),
        ({"n_splits": 0}, ValueError, "n_splits == 0, must be >= 1"),
        (
            {"n_splits": 9},
            ValueError,
            "n_splits=9 needs at least 10 distinct times, bu",
        ),
        (
            {"start": 99},
            ValueError,
            "at least 1 distinct times from start=99 on, but X",
        ),
        ({"start": "late"}, TypeError, "start must hold numbers or datetimes, got"),
        ({"time": "at"}, ValueError, r"X lacks the columns \['at'\]"),
    ],
)
def test_time_refuses(options, error, match):
    X = pd.DataFrame({"time": [0, 10, 20, 30]})
    with pytest.raises(error, match=match):
        next(TimeSplit(**{"horizon": 5, **options}).split(X))


# -- clusters -------------------------------------------------------------------------

NAMES = list("pqrstu")
MEMBERSHIPS = st.lists(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
    min_size=1,
    max_size=25,
)


def is_sibling(memberships, a, b, overlap):
    of = {name: {i for i, m in enumerate(memberships) if name in m} for name in (a, b)}
    shared = len(of[a] & of[b])
    return shared > 0 and shared >= overlap * min(len(of[a]), len(of[b]))


def n_clusters(memberships, names, overlap):
    """Merge siblings until there are none."""
    clusters = [{name} for name in set(names)]
    everything = [*clusters, *({m} for m in set(NAMES) - set(names))]
    merged = True
    while merged:
        merged = False
        for one, other in itertools.combinations(everything, 2):
            if any(is_sibling(memberships, a, b, overlap) for a in one for b in other):
                everything = [c for c in everything if c not in (one, other)]
                everything.append(one | other)
                merged = True
                break
    return sum(bool(cluster & set(names)) for cluster in everything)


def splits_or_reason(splitter, X):
    try:
        return list(splitter.split(X)), ""
    except ValueError as error:
        return [], str(error)


@LAWS
@given(MEMBERSHIPS, st.floats(0.05, 1), st.integers(2, 3), st.booleans(), st.data())
def test_siblings_are_never_on_both_sides(memberships, overlap, n, shuffle, data):
    catalog = catalog_of(memberships)
    rows = st.tuples(st.sampled_from("abcd"), st.sampled_from([*NAMES, "new"]))
    X = pd.DataFrame(
        data.draw(st.lists(rows, min_size=4, max_size=30)),
        columns=["user_id", "challenge"],
    )
    options = {"overlap": overlap, "shuffle": shuffle, "random_state": 0}
    for kind in (ChallengeClusterKFold, ColdBothKFold):
        splitter = kind(catalog, n, **options)
        splits, reason = splits_or_reason(splitter, X)
        if reason:
            assert "Take fewer folds" in reason
            enough = n_clusters(memberships, X["challenge"], overlap) >= n
            assert kind is ColdBothKFold or not enough
            continue
        assert len(splits) == splitter.get_n_splits()
        tested = np.concatenate([test for _, test in splits])
        assert_array_equal(np.sort(tested), np.arange(len(X)))  # each row once
        for train, test in splits:
            assert len(train)
            assert len(test)
            assert (np.diff(train) > 0).all()
            assert (np.diff(test) > 0).all()
            known, asked = set(X["challenge"][train]), set(X["challenge"][test])
            assert not known & asked
            for a in known:
                for b in asked:
                    assert not is_sibling(memberships, a, b, overlap)
            users = set(X["user_id"][train]), set(X["user_id"][test])
            if kind is ColdBothKFold:
                assert not users[0] & users[1]
            else:
                assert len(train) + len(test) == len(X)


def test_clusters_by_hand():
    catalog = catalog_of(
        [
            *([["boo", "spooky"]] + [["boo"]] * 9 + [["spooky"]] * 3),  # 1 of 4
            ["spooky", "mask"],  # 1 of 1: so mask is of the cluster of boo, too
            *[["dance"]] * 6,
            ["dance", "sing"],
            *[["sing"]] * 5,  # 1 of 6
        ]
    )
    clusters = ChallengeClusterKFold(catalog).clusters()
    assert clusters["boo"] == clusters["spooky"] == clusters["mask"]
    assert clusters.nunique() == 3
    all_one = ChallengeClusterKFold(catalog, overlap=1 / 6).clusters()
    assert all_one["dance"] == all_one["sing"]
    strict = ChallengeClusterKFold(catalog, overlap=1.0).clusters()
    assert strict["boo"] != strict["spooky"] == strict["mask"]


def test_cold_both_by_hand():
    X = pd.DataFrame(
        [(u, c) for u in "ab" for c in ("dance", "boo", "spooky")],
        columns=["user_id", "challenge"],
    )
    catalog = catalog_of([["boo", "spooky"], ["dance"]])
    splits = lists(ColdBothKFold(catalog, 2).split(X))
    assert sorted(splits, key=lambda s: s[1]) == [
        ([4, 5], [0]),
        ([3], [1, 2]),
        ([1, 2], [3]),
        ([0], [4, 5]),
    ]


def test_shuffled_clusters_follow_the_seed():
    catalog = catalog_of([[name] for name in NAMES])
    X = pd.DataFrame({"challenge": NAMES, "user_id": list("abcdef")})

    def tests(seed, kind=ChallengeClusterKFold):
        splitter = kind(catalog, 2, shuffle=True, random_state=seed)
        return [test.tolist() for _, test in splitter.split(X)]

    assert tests(0) == tests(0)
    assert len({str(tests(seed)) for seed in range(8)}) > 1


@pytest.mark.parametrize("kind", [ChallengeClusterKFold, ColdBothKFold])
@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"n_splits": 1}, ValueError, "n_splits == 1, must be >= 2"),
        ({"n_splits": 3}, ValueError, "n_splits=3 makes more folds than X has .* is 2"),
        ({"overlap": 0}, ValueError, "overlap == 0, must be > 0"),
        ({"catalog": [1]}, TypeError, "catalog must be a VideoCatalog, got list"),
    ],
)
def test_clusters_refuse(kind, options, error, match):
    X = pd.DataFrame({"challenge": ["boo", "dance"] * 2, "user_id": list("aabb")})
    options = {"catalog": catalog_of([["boo"], ["dance"]]), "n_splits": 2, **options}
    with pytest.raises(error, match=match):
        list(kind(**options).split(X))


def test_clusters_refuse_other_ids_and_columns():
    splitter = ColdBothKFold(catalog_of([["boo"], ["dance"]]), 2)
    X = pd.DataFrame({"challenge": ["boo", "dance"] * 2, "user_id": [1, 1, 2, 2]})
    with pytest.raises(TypeError, match="user_id holds integers, but the catalog's"):
        list(splitter.split(X))
    with pytest.raises(ValueError, match=r"X lacks the columns \['challenge'\]"):
        list(splitter.split(X[["user_id"]]))
    one_each = pd.DataFrame({"challenge": ["boo", "dance"], "user_id": ["a", "b"]})
    with pytest.raises(ValueError, match="leaves no row of X to train on, or none to"):
        list(splitter.split(one_each))


def test_splitters_serve_scikit_learn():
    X = pd.DataFrame(
        [(u, c, t) for u in "abcd" for t, c in enumerate(["boo", "dance", "sing"])],
        columns=["user_id", "challenge", "time"],
    )
    catalog = catalog_of([["boo"], ["dance"], ["sing"]])
    y = np.arange(len(X)) % 2
    for cv, n in (
        (TimeSplit(0, n_splits=2), 2),
        (ChallengeClusterKFold(catalog, 3), 3),
        (ColdBothKFold(catalog, 2), 4),
    ):
        assert len(cross_val_score(DummyClassifier(), X, y, cv=cv)) == n
        assert type(cv).__name__ in repr(cv)


# -- audit ----------------------------------------------------------------------------

VIDEOS = pd.DataFrame(
    [
        # two tags of one video: ann's answer to both
        ("v1", "ann", 11, ["boo", "spooky"], "boo!"),
        ("v2", "bob", 12, "dance", "one"),
        ("h1", "ann", 1, None, "My CAT, again: so funny!"),
        ("h2", "bob", 1, None, "so funny my cat again"),
        ("h3", "cy", 1, None, "so short"),
        ("h4", "dee", 1, None, "so short"),
    ],
    columns=["video_id", "user_id", "create_time", "challenge", "caption"],
)


class Data:
    def __init__(self, **values):
        self.__dict__.update(values)


def study():
    pairs = pd.DataFrame(
        [
            ("ann", "boo", 10),
            ("cy", "boo", 10),
            ("ann", "spooky", 10),
            ("bob", "dance", 11),
            ("dee", "spooky", 10),
        ],
        columns=["user_id", "challenge", "time"],
    )
    y = np.array([1, 0, 1, 1, 0])
    return Data(pairs=pairs, y=y, catalog=VideoCatalog(VIDEOS), horizon=1)


def test_audit_by_hand():
    audit = audit_split(study(), [0, 1], [1, 2, 3, 4])
    counts = audit[["count", "of"]].apply(tuple, axis=1).to_dict()
    assert counts == {
        "rows": (1, 4),  # row 1
        "users": (2, 4),  # ann and cy
        "challenges": (1, 3),  # boo
        "sibling challenges": (1, 3),  # spooky
        "videos": (1, 2),  # v1; v2 answers for bob
        "captions": (1, 1),  # h2, of bob, reads as h1; two words are too few
        "labels not yet known": (2, 2),  # 10 + 1 is not before 10
    }
    assert audit.loc["rows", "examples"] == [1]
    assert audit.loc["sibling challenges", "examples"] == [("spooky", "boo")]
    assert audit.loc["videos", "examples"] == ["v1"]
    assert audit.loc["captions", "examples"] == [("h2", "h1")]
    assert audit.loc["users", "fraction"] == 0.5


def test_audit_and_time_split_agree_on_what_is_known():
    """A window that ends as the first row is asked is not over yet."""
    data = study()
    data.pairs["time"] = [1, 2, 3, 9, 9]
    for horizon, late in ((5, 0), (6, 1), (7, 2), (8, 3)):
        audit = audit_split(data, [0, 1, 2], [3, 4], horizon=horizon)
        assert audit.loc["labels not yet known", "count"] == late
        if late < 3:
            [(train, _)] = TimeSplit(horizon, start=9).split(data.pairs)
            assert len(train) == 3 - late


def test_audit_of_a_clean_split():
    data = study()
    data.pairs["time"] = [1, 1, 10, 11, 10]
    audit = audit_split(data, [1], [3])
    assert audit["count"].tolist() == [0] * 7
    assert audit.loc["labels not yet known", "of"] == 1


def test_audit_of_folds_by_tag_finds_what_clusters_do_not_have():
    data = study()
    found = [
        audit_split(data, train, test).loc["videos", "count"]
        for train, test in ChallengeClusterKFold(data.catalog, 2).split(data.pairs)
    ]
    assert found == [0, 0]


def test_audit_refuses():
    data = study()
    with pytest.raises(TypeError, match=r"data must have .* lacks \['catalog'\]"):
        audit_split(Data(pairs=1, y=2), [0], [1])
    with pytest.raises(ValueError, match="train must hold row numbers, got bool value"):
        audit_split(data, np.ones(5, bool), [1])
    with pytest.raises(ValueError, match="test must hold row numbers from 0 to 4, got"):
        audit_split(data, [0], [5])
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        audit_split(data, [0], [])
    del data.horizon
    with pytest.raises(ValueError, match="horizon is not known: .* horizon='30D'"):
        audit_split(data, [0], [1])
    with pytest.raises(TypeError, match="horizon must be a number in that unit"):
        audit_split(data, [0], [1], horizon="30D")
