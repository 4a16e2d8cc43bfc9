import itertools
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import spies
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline

from skchallenge import HistoryEncoder, ProxyEncoder, VideoCatalog
from skchallenge._rules import ParticipationRules
from skchallenge.exceptions import EmptyHistoryWarning, LeakageWarning, MediaError

VIDEOS = pd.DataFrame(
    [
        ("a1", "ann", None, 10, "s1", 1.0),
        ("a2", "ann", None, 20, "s1", 2.0),
        ("a3", "ann", None, 20, "s1", 3.0),
        ("a4", "ann", None, 50, "s1", 4.0),
        ("a5", "ann", "dance", 30, "hit", 5.0),
        ("b1", "bob", None, 10, "s1", 6.0),
        ("b2", "bob", None, 30, "hit", 7.0),
        ("b3", "bob", ["dance", "sing"], 60, "hit", 8.0),
        ("c1", "cy", "dance", 5, "hit", 9.0),
        ("c2", "cy", "sing", 6, "s2", 10.0),
        ("d1", "dee", "sing", 25, "s3", 11.0),
        *((f"z{i}", "zoe", None, 1, "s1", 0.0) for i in range(30)),
    ],
    columns=["video_id", "user_id", "challenge", "create_time", "song", "value"],
)


def make_catalog(**options):
    return VideoCatalog(VIDEOS, **options)


def user_side(catalog=None, **options):
    options = {"by": "user_id", "before": "time", **options}
    return HistoryEncoder(catalog or make_catalog(), spies.Spy(), **options)


def challenge_side(catalog=None, **options):
    options = {"by": "challenge", "before": "time", "exclude": "user_id", **options}
    return HistoryEncoder(catalog or make_catalog(), spies.Spy(), **options)


def pairs(*rows):
    return pd.DataFrame(rows, columns=["user_id", "challenge", "time"])


def test_user_history_by_hand():
    X = pairs(("ann", "dance", 50), ("ann", "dance", 20), ("bob", "dance", 99))
    blocks = user_side(max_videos=3).fit_transform(X)
    # Newest first, ties by id, strictly before; not a5 and b3 (challenges) nor b2
    # (a challenge's own sound).
    expected = [[2, 3, 1, 1], [1, 0, 0, 1 / 3], [6, 0, 0, 1 / 3]]
    np.testing.assert_allclose(blocks, expected, rtol=1e-6)
    assert blocks.dtype == np.float32


def test_challenge_history_by_hand():
    X = pairs(("ann", "dance", 30), ("eve", "dance", 61), ("ann", "sing", 60))
    blocks = challenge_side(max_videos=2).fit_transform(X)
    np.testing.assert_allclose(blocks, [[9, 0, 0.5], [8, 5, 1], [11, 10, 1]])


def test_timeless_challenge_history_holds_no_candidate():
    catalog = make_catalog(candidates=["ann", "bob"])
    encoder = challenge_side(catalog, before=None, exclude=None, max_videos=3)
    X = pairs(("ann", "dance", 0), ("bob", "sing", 0))[["challenge"]]
    np.testing.assert_allclose(
        encoder.fit_transform(X), [[9, 0, 0, 1 / 3], [11, 10, 0, 2 / 3]], rtol=1e-6
    )


def test_timeless_user_history_is_unlimited():
    X = pairs(("ann", "dance", 0))[["user_id"]]
    blocks = user_side(before=None, max_videos=9).fit_transform(X)
    np.testing.assert_allclose(blocks[0, :5], [4, 2, 3, 1, 0])


@pytest.mark.parametrize("aggregation", ["mean", "max"])
def test_aggregation_ignores_empty_slots(aggregation):
    X = pairs(("ann", "dance", 50), ("nobody", "dance", 50))
    catalog = make_catalog(candidates=["nobody"])
    encoder = user_side(catalog, aggregation=aggregation, max_videos=4)
    blocks = encoder.fit_transform(X)
    expected = {"mean": 2.0, "max": 3.0}[aggregation]
    np.testing.assert_allclose(blocks, [[expected, 0.75], [0, 0]])


def test_negative_embeddings_survive_max():
    videos = VIDEOS.assign(value=-VIDEOS["value"])
    encoder = user_side(VideoCatalog(videos), aggregation="max", max_videos=4)
    blocks = encoder.fit_transform(pairs(("ann", "dance", 50)))
    np.testing.assert_allclose(blocks, [[-1.0, 0.75]])


def test_unknown_entity_is_an_empty_block():
    encoder = user_side(max_videos=2).fit(pairs(("ann", "dance", 50)))
    blocks = encoder.transform(pairs(("eve", "dance", 50), ("ann", "dance", 50)))
    np.testing.assert_allclose(blocks, [[0, 0, 0], [2, 3, 1]])


def test_each_needed_video_is_embedded_once_a_call():
    X = pairs(*[("ann", "dance", 50), ("bob", "dance", 50)] * 5)
    encoder = user_side().fit(X)
    encoder.encoder_.transformed_ids_.clear()
    encoder.transform(X)
    assert encoder.encoder_.transformed_ids_ == [["a1", "a2", "a3", "b1"]]


# -- the fit set, by a spy ------------------------------------------------------------


def fit_ids(encoder, X):
    return encoder.fit(X).encoder_.fit_ids_


def test_user_fit_set_by_hand():
    X = pairs(("ann", "dance", 20), ("bob", "sing", 50))
    # Users of X, before the latest time 50, of no challenge. b2 has a challenge's
    # sound, which only histories leave out.
    assert fit_ids(user_side(), X) == ["a1", "a2", "a3", "b1", "b2"]
    assert fit_ids(user_side(), X.iloc[:1]) == ["a1"]


def test_challenge_fit_set_by_hand():
    X = pairs(("ann", "sing", 61), ("bob", "dance", 60))
    encoder = challenge_side().fit(X)
    # By users in X; b3 belongs to both challenges and counts for each.
    assert encoder.encoder_.fit_ids_ == ["a5", "b3", "b3"]
    assert encoder.encoder_.fit_labels_ == ["dance", "dance", "sing"]
    outsiders = make_catalog(candidates=["ann", "bob"])
    expected = ["a5", "b3", "b3", "c1", "c2", "d1"]
    assert fit_ids(challenge_side(outsiders), X) == expected
    assert fit_ids(challenge_side(outsiders, exclude=None), X) == ["c1", "c2", "d1"]


def test_challenge_fit_set_holds_challenges_of_X_only():
    catalog = make_catalog(candidates=["ann", "bob"])
    X = pairs(("ann", "sing", 61), ("bob", "sing", 60))
    encoder = challenge_side(catalog).fit(X)
    assert encoder.encoder_.fit_ids_ == ["b3", "c2", "d1"]
    assert set(encoder.encoder_.fit_labels_) == {"sing"}


@pytest.mark.parametrize("seed", range(4))
def test_fit_sets_of_a_random_catalog_equal_the_rules(seed):
    rng = np.random.default_rng(seed)
    n = 300
    names = np.array([None, "p", "q", "r"], dtype=object)
    videos = pd.DataFrame(
        {
            "video_id": rng.permutation(n),
            "user_id": rng.integers(0, 40, n),
            "challenge": names[rng.choice(4, n, p=[0.85, 0.05, 0.05, 0.05])],
            "create_time": rng.integers(0, 50, n),
            "value": 0.0,
        }
    )
    candidates = set(range(30))
    catalog = VideoCatalog(videos, candidates=candidates)
    X = pd.DataFrame(
        {
            "user_id": rng.integers(0, 20, 15),
            "challenge": rng.choice(["p", "q"], 15),
            "time": rng.integers(20, 45, 15),
        }
    )
    took_part = videos.merge(X, on=["user_id", "challenge"])
    early = took_part[took_part["create_time"] < took_part["time"]]
    X = X[~(X["user_id"].isin(early["user_id"]))]
    row = {v.video_id: v for v in videos.itertuples()}
    latest = X["time"].max()
    users, challenges = set(X["user_id"]), set(X["challenge"])
    assert set(fit_ids(user_side(catalog), X)) == {
        i
        for i, v in row.items()
        if v.user_id in users and pd.isna(v.challenge) and v.create_time < latest
    }
    assert set(fit_ids(challenge_side(catalog), X)) == {
        i
        for i, v in row.items()
        if v.challenge in challenges
        and v.create_time < latest
        and (v.user_id in users or v.user_id not in candidates)
    }


def test_the_fit_set_depends_on_X_only_through_its_sets():
    X = pairs(("ann", "dance", 20), ("bob", "sing", 50), ("ann", "sing", 30))
    for side in (user_side, challenge_side):
        shuffled = X.iloc[[2, 0, 1, 1]]
        assert fit_ids(side(), X) == fit_ids(side(), shuffled)


def test_encoders_never_see_the_truth():
    encoder = user_side().fit(pairs(("ann", "dance", 50)))
    assert encoder.encoder_.fit_columns_ == ["video_id", "create_time", "song", "value"]


# -- cross-fitting --------------------------------------------------------------------


def test_cross_fit_encodes_each_user_without_training_on_it():
    n_users = 12
    videos = pd.DataFrame(
        {
            "video_id": [f"{u}-{k}" for u in range(n_users) for k in range(3)],
            "user_id": [f"u{u}" for u in range(n_users) for _ in range(3)],
            "challenge": None,
            "create_time": list(range(3)) * n_users,
            "value": np.random.default_rng(0).normal(size=3 * n_users),
        }
    )
    X = pairs(*((f"u{u}", "dance", 9) for u in range(n_users)))
    encoder = user_side(VideoCatalog(videos), cross_fit=3, random_state=0)
    spies.LOG.clear()
    blocks = encoder.fit_transform(X)
    whole, *folds = (set(labels) for _, labels in spies.LOG)
    assert whole == set(X["user_id"])
    assert len(folds) == 3
    held_out = [whole - fold for fold in folds]
    assert sum(map(len, held_out)) == n_users
    assert set.union(*held_out) == whole
    # All encoders are the same here, so the map between them is nearly the identity.
    np.testing.assert_allclose(blocks, encoder.transform(X), rtol=0.02)


def test_cross_fit_maps_folds_onto_the_final_space():
    rng = np.random.default_rng(0)
    taste = np.repeat(rng.normal(size=(40, 6)), 5, axis=0)
    videos = pd.DataFrame(taste + 0.3 * rng.normal(size=taste.shape)).add_prefix("f")
    videos["video_id"] = range(200)
    videos["user_id"] = np.repeat(range(40), 5)
    videos["challenge"] = None
    videos["create_time"] = 0
    learned = make_pipeline(
        make_column_transformer(("passthrough", [f"f{i}" for i in range(6)])),
        ProxyEncoder(16, lr=0.01, max_iter=30, random_state=0),
    )
    encoder = HistoryEncoder(
        VideoCatalog(videos), learned, by="user_id", before="time", cross_fit=4,
        max_videos=5, random_state=0,
    )  # fmt: skip
    X = pd.DataFrame({"user_id": range(40), "time": 1})
    crossed, plain = encoder.fit_transform(X), encoder.transform(X)
    aligned = np.corrcoef(crossed.ravel(), plain.ravel())[0, 1]
    assert aligned > 0.85  # 0.91; without the map 0.75
    assert not np.allclose(crossed, plain)


def test_a_fold_without_videos_says_so_and_what_to_do():
    X = pairs(("ann", "dance", 50), ("eve", "dance", 50), ("fay", "dance", 50))
    catalog = make_catalog(candidates=["eve", "fay"])  # only ann has videos
    encoder = user_side(catalog, cross_fit=3, random_state=0)
    match = (
        r"cross_fit=3: outside of fold \d of 3 X has no video in the catalog .*"
        r"fewer folds.*cross_fit=None"
    )
    with pytest.raises(ValueError, match=match) as caught:
        encoder.fit_transform(X)
    assert "exclude" not in str(caught.value)
    assert encoder.fit(X).transform(X).any()  # nothing is wrong with X


def test_a_fold_without_videos_stops_before_any_fold_is_trained():
    spies.LOG.clear()
    X = pairs(*((user, "dance", 50) for user in ("ann", "eve", "fay", "gil")))
    catalog = make_catalog(candidates=["eve", "fay", "gil"])
    with pytest.raises(
        ValueError, match="cross_fit=4: outside of fold . of 4 X has no video"
    ):
        user_side(catalog, cross_fit=4, random_state=0).fit_transform(X)
    assert len(spies.LOG) == 1


def test_a_fold_whose_encoder_cannot_be_fitted_says_so():
    learned = make_pipeline(
        make_column_transformer(("passthrough", ["value"])),
        ProxyEncoder(2, max_iter=1, random_state=0),
    )
    options = {"by": "user_id", "before": "time", "cross_fit": 2, "random_state": 0}
    encoder = HistoryEncoder(make_catalog(), learned, **options)
    X = pairs(("ann", "dance", 50), ("bob", "dance", 50))
    match = (
        "cross_fit=2: no encoder can be fitted on what is outside of fold 1 of 2, .*"
        "cross_fit=None.* It said: The proxy task by 'user_id' needs videos of at "
    )
    with pytest.raises(ValueError, match=match):
        encoder.fit_transform(X)


def test_a_file_that_fails_in_a_fold_is_not_blamed_on_the_folds():
    """Such as one on a share that is gone by then."""
    spies.LOG.clear()
    catalog, X = make_catalog(), pairs(("ann", "dance", 50), ("bob", "dance", 50))
    options = {"by": "user_id", "before": "time", "cross_fit": 2, "random_state": 0}
    encoder = HistoryEncoder(catalog, GoneLater(), **options)
    with pytest.raises(MediaError, match=r"^a\.mp4: no such file$"):
        encoder.fit_transform(X)


class GoneLater(spies.Spy):
    """Reads its videos once."""

    def fit(self, X, y=None):
        if spies.LOG:
            raise MediaError("a.mp4: no such file")
        return super().fit(X, y)


def test_more_folds_than_entities_are_refused():
    X = pairs(("ann", "dance", 50), ("ann", "sing", 50), ("bob", "dance", 50))
    match = "cross_fit=3 makes more folds than X has of 'user_id', which is 2"
    with pytest.raises(ValueError, match=match):
        user_side(cross_fit=3).fit_transform(X)


# -- tables, names and errors ---------------------------------------------------------


def test_names_follow_the_aggregation():
    X = pairs(("ann", "dance", 50))
    names = user_side(max_videos=2).fit(X).get_feature_names_out()
    assert names.tolist() == ["user_id_video0_0", "user_id_video1_0", "user_id_fill"]
    names = user_side(aggregation="mean").fit(X).get_feature_names_out()
    assert names.tolist() == ["user_id_0", "user_id_fill"]


def test_polars_input_gives_the_same_blocks():
    X = pairs(("ann", "sing", 50), ("bob", "dance", 60))
    for side in (user_side, challenge_side):
        encoder = side()
        np.testing.assert_array_equal(
            encoder.fit_transform(pl.DataFrame(X.to_dict("list"))),
            clone(encoder).fit_transform(X),
        )


def test_datetimes_and_zones():
    utc = VIDEOS.assign(
        create_time=pd.to_datetime(VIDEOS["create_time"], unit="D", utc=True)
    )
    X = pairs(("ann", "dance", 50), ("ann", "dance", 20))
    plain = user_side().fit_transform(X)
    X["time"] = pd.to_datetime(X["time"], unit="D", utc=True)
    zoned = user_side(VideoCatalog(utc)).fit_transform(X)
    np.testing.assert_array_equal(zoned, plain)
    X["time"] = X["time"].dt.tz_convert("Asia/Tokyo")
    np.testing.assert_array_equal(user_side(VideoCatalog(utc)).fit_transform(X), plain)
    X["time"] = X["time"].dt.tz_localize(None)
    with pytest.raises(TypeError, match="but .* with a time zone"):
        user_side(VideoCatalog(utc)).fit(X)


def test_zones_in_columns_of_objects_are_seen():
    times = pd.to_datetime(VIDEOS["create_time"], unit="D")
    X = pairs(("ann", "dance", 50))
    X["time"] = pd.Series([pd.Timestamp("1970-02-20", tz="Asia/Tokyo")], dtype=object)
    with pytest.raises(TypeError, match="time holds datetimes with a time zone, but"):
        user_side(VideoCatalog(VIDEOS.assign(create_time=times))).fit(X)
    zoned = VideoCatalog(VIDEOS.assign(create_time=times.dt.tz_localize("UTC")))
    assert user_side(zoned).fit_transform(X).shape == (1, 9)


def test_seconds_beside_milliseconds_would_show_the_future():
    start = 1_600_000_000
    seconds = VIDEOS.assign(create_time=start + VIDEOS["create_time"])
    milliseconds = seconds.assign(create_time=1000 * seconds["create_time"])
    X = pairs(("ann", "dance", start + 50), ("bob", "dance", start + 60))
    encoder = user_side(VideoCatalog(seconds))
    expected = user_side().fit_transform(pairs(("ann", "dance", 50), ("bob", "", 60)))
    np.testing.assert_array_equal(encoder.fit_transform(X), expected)
    match = "time must hold times of one unit, .* seconds beside milliseconds"
    with pytest.raises(ValueError, match=match):
        encoder.fit(X.assign(time=1000 * X["time"]))
    with pytest.raises(ValueError, match=match):
        user_side(VideoCatalog(milliseconds)).fit(X)
    new = milliseconds.head(1).assign(video_id="new")
    with pytest.raises(ValueError, match=match):
        VideoCatalog(seconds).append(new)
    with pytest.raises(ValueError, match=match):
        VideoCatalog(pd.concat([seconds, new]))
    endless = X.assign(time=np.inf)  # no cut-off at all is no other unit
    assert encoder.fit(endless).transform(endless).shape == (2, 9)


@pytest.fixture
def hasty_threads():
    """Let threads cut in on each other all the time."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_videos_may_be_appended_while_other_threads_encode(hasty_threads):
    """Without care some dozen calls see a table and a mask of different lengths."""

    def more(name):
        return VIDEOS.assign(video_id=VIDEOS["video_id"] + name)

    catalog, X = make_catalog(), pairs(("ann", "dance", 50), ("bob", "dance", 99))
    encoder = user_side(catalog, max_videos=3).fit(X)

    done = threading.Event()

    def encode():
        while not done.is_set():
            encoder.transform(X)

    with ThreadPoolExecutor(5) as pool:
        readers = [pool.submit(encode) for _ in range(2)]
        try:
            list(pool.map(catalog.append, [more(f"-{i}") for i in range(40)]))
        finally:
            done.set()
        for reader in readers:
            reader.result()
    assert len(catalog) == 41 * len(VIDEOS)
    fresh = user_side(VideoCatalog(catalog.videos), max_videos=3).fit(X)
    np.testing.assert_array_equal(encoder.transform(X), fresh.transform(X))


class CaptionLength(spies.Spy):
    def transform(self, X):
        return X[["caption"]].map(len).to_numpy(dtype=np.float32)


def test_what_is_appended_in_the_midst_of_a_call_is_not_of_it(monkeypatch):
    """The names of new challenges would be taken out of some of its captions."""
    catalog, X = VideoCatalog(VIDEOS.assign(caption="a waltz")), pairs(("bob", "", 99))
    encoder = HistoryEncoder(catalog, CaptionLength(), by="user_id", before="time")
    expected = encoder.fit_transform(X)
    of_catalog = ParticipationRules.history

    def appending(self, *arguments):
        rows = of_catalog(self, *arguments)
        catalog.append(catalog.videos[-1:].assign(video_id="new", challenge="waltz"))
        return rows

    with monkeypatch.context() as patch:
        patch.setattr(ParticipationRules, "history", appending)
        np.testing.assert_array_equal(encoder.transform(X), expected)
    assert (encoder.transform(X) < expected).any()


@pytest.mark.parametrize("aggregation", ["concat", "mean", "max"])
def test_no_rows_give_no_rows(aggregation):
    X = pairs(("ann", "dance", 50))
    encoder = user_side(aggregation=aggregation).fit(X)
    width = len(encoder.get_feature_names_out())
    no_rows = X.iloc[:0]
    as_category = no_rows.astype({"user_id": "category"})
    for table in (no_rows, pl.from_pandas(no_rows), as_category):
        assert encoder.transform(table).shape == (0, width)


def proxy_side(catalog):
    columns = make_column_transformer(("passthrough", ["value"]))
    learned = make_pipeline(columns, ProxyEncoder(2, max_iter=2, random_state=0))
    return HistoryEncoder(catalog, learned, by="user_id", before="time", max_videos=2)


def test_integer_ids_in_columns_of_objects_reach_the_proxy_task():
    numbers = pd.Series(pd.factorize(VIDEOS["user_id"])[0], dtype=object)
    catalog = VideoCatalog(VIDEOS.assign(user_id=numbers))
    X = pd.DataFrame({"user_id": [0, 1], "time": [50, 50]})
    assert proxy_side(catalog).fit_transform(X).shape == (2, 5)


def test_a_proxy_task_with_one_entity_says_so():
    with pytest.raises(
        ValueError, match="proxy task by 'user_id' .* of 'ann' only. Add another"
    ):
        proxy_side(make_catalog()).fit(pairs(("ann", "dance", 50)))


def test_categorical_ids_are_read():
    X = pairs(("ann", "dance", 50), ("bob", "sing", 20))
    expected = user_side().fit_transform(X)
    X["user_id"] = X["user_id"].astype("category")
    np.testing.assert_array_equal(user_side().fit_transform(X), expected)


LONG = 7_000_000_000_000_000_000  # as long as the ids of TikTok; floats skip 1,023
NUMBERS = ["int64", "Int64", "uint64", "UInt64", "uint64[pyarrow]", "category", object]
TEXTS = [object, "string", "large_string[pyarrow]", "category"]


@pytest.mark.parametrize("side", [user_side, challenge_side])
@pytest.mark.parametrize("types", [NUMBERS, TEXTS])
def test_ids_of_any_type_are_the_same_ids(side, types):
    is_number = types is NUMBERS
    users = VIDEOS["user_id"].unique()
    names = LONG + np.arange(len(users)) if is_number else users
    rename = dict(zip(users, names, strict=True))
    videos = VIDEOS.assign(user_id=VIDEOS["user_id"].map(rename))
    X = pairs(("ann", "dance", 29), ("bob", "dance", 55), ("bob", "sing", 50))
    X["user_id"] = X["user_id"].map(rename)
    candidates = [rename["ann"], rename["bob"], rename["dee"]]

    def encode(of_catalog, of_x):
        table, rows = (
            videos.astype({"user_id": of_catalog}),
            X.astype({"user_id": of_x}),
        )
        encoder = side(VideoCatalog(table, candidates=candidates))
        spies.LOG.clear()
        return encoder.fit_transform(rows), spies.LOG[0]

    expected, (rows, labels) = encode(types[0], types[0])
    for of_catalog, of_x in itertools.product(types, types):
        found, (rows_found, labels_found) = encode(of_catalog, of_x)
        np.testing.assert_array_equal(found, expected)
        assert (list(rows_found), list(labels_found)) == (list(rows), list(labels))


def test_an_own_video_is_told_by_the_whole_id():
    users = pd.Series(pd.factorize(VIDEOS["user_id"])[0] + LONG)
    catalog = VideoCatalog(VIDEOS.assign(user_id=users), candidates=[LONG])
    encoder = challenge_side(catalog, exclude=None)
    X = pd.DataFrame({"challenge": "dance", "user_id": [LONG + 100], "time": [40]})
    encoder.fit(X.astype({"user_id": "UInt64"}))
    with pytest.raises(ValueError, match=f"of 1 rows, such as .*{LONG}"):
        encoder.fit(X.assign(user_id=LONG).astype({"user_id": "UInt64"}))


@pytest.mark.parametrize("side", [user_side, challenge_side])
@pytest.mark.parametrize(
    "change, error, match",
    [
        ({"time": ["50"]}, TypeError, "time must hold numbers or datetimes"),
        (
            {"time": [pd.Timestamp("2020")]},
            TypeError,
            "time holds datetimes, but the catalog's create_time holds numbers",
        ),
        ({"time": [np.nan]}, ValueError, "time has 1 missing values, first in row 0"),
        (
            {"user_id": [7], "challenge": [7]},
            TypeError,
            "holds integers, but the catalog's .* holds strings",
        ),
        (
            {"user_id": [None], "challenge": [None]},
            ValueError,
            "has 1 missing values",
        ),
    ],
)
def test_fit_refuses_bad_columns(side, change, error, match):
    X = pairs(("ann", "dance", 50)).assign(**change)
    with pytest.raises(error, match=match):
        side().fit(X)


def test_fit_refuses_arrays_and_missing_columns():
    X = pairs(("ann", "dance", 50))
    with pytest.raises(TypeError, match="X must be a pandas or polars DataFrame"):
        user_side().fit(X.to_numpy())
    with pytest.raises(ValueError, match=r"X lacks the columns \['time'\]"):
        user_side().fit(X[["user_id"]])


@pytest.mark.parametrize(
    "options, match",
    [
        ({"by": "video_id"}, r"by must be one of \['user_id', 'challenge'\]"),
        ({"exclude": "user_id"}, "exclude='user_id' has no use with by='user_id'"),
        ({"exclude": "challenge"}, "exclude='challenge' has no use with by='user_id'"),
        (
            {"by": "challenge", "exclude": "challenge"},
            r"exclude must be one of \[None, 'user_id'\]",
        ),
        ({"aggregation": "sum"}, "aggregation must be one of"),
        ({"max_videos": 0}, "max_videos == 0, must be >= 1"),
        ({"cross_fit": 1}, "cross_fit == 1, must be >= 2"),
        (
            {"by": "challenge", "before": None, "exclude": "user_id"},
            "exclude='user_id' needs before: .* the missing video is the label",
        ),
        (
            {"by": "challenge", "before": None},
            "before=None with by='challenge' .* candidates is None",
        ),
    ],
)
def test_fit_refuses_bad_parameters(options, match):
    with pytest.raises(ValueError, match=match):
        user_side(**options).fit(pairs(("ann", "dance", 50)))


def test_fit_refuses_a_table_for_a_catalog():
    encoder = HistoryEncoder(VIDEOS, spies.Spy(), by="user_id", before="time")
    with pytest.raises(TypeError, match="must be a VideoCatalog, got DataFrame"):
        encoder.fit(pairs(("ann", "dance", 50)))


def test_before_must_be_written_out():
    with pytest.raises(TypeError, match="before"):
        HistoryEncoder(make_catalog(), spies.Spy(), by="user_id")


@pytest.mark.parametrize(
    "change", [{"before": None}, {"by": "challenge"}, {"exclude": "user_id"}]
)
def test_rules_that_are_set_after_fit_are_refused(change):
    """The encoder was trained by others; without `before`, it would see the future."""
    X = pairs(("ann", "dance", 50), ("bob", "dance", 50))
    encoder = user_side().fit(X).set_params(**change)
    with pytest.raises(ValueError, match=r"were set after fit with .*Call fit again"):
        encoder.transform(X)


def test_rules_of_a_fit_that_failed_are_refused_too():
    X = pairs(("ann", "dance", 50), ("bob", "dance", 50))
    encoder = user_side().fit(X).set_params(before=None)
    with pytest.raises(ValueError, match="No row of X has any video"):
        encoder.fit(X.assign(user_id="nobody"))
    with pytest.raises(ValueError, match=r"were set after fit with .*Call fit again"):
        encoder.transform(X)


def test_fit_refuses_pairs_whose_user_took_part_before():
    X = pairs(("bob", "dance", 40), ("ann", "dance", 31))
    match = "removes a video from 1 rows, such as 'ann' in 'dance'"
    with pytest.raises(ValueError, match=match):
        challenge_side().fit(X)


def test_own_videos_that_nobody_excludes_are_refused_where_x_tells():
    catalog = make_catalog(candidates=["ann", "bob"])
    X = pairs(("bob", "dance", 40), ("ann", "dance", 31))
    encoder = challenge_side(catalog, exclude=None, max_videos=2)
    with pytest.raises(
        ValueError, match="exclude=None leaves .* 1 rows, such as 'ann'"
    ):
        encoder.fit(X)
    encoder.fit(X[:1])
    with pytest.warns(LeakageWarning, match="own videos stand among the challenge's"):
        blocks = encoder.transform(X)
    np.testing.assert_allclose(blocks[1], [5, 9, 1])
    encoder.fit(X[["challenge", "time"]])  # whose row it is cannot be known


def test_transform_warns_of_and_excludes_own_videos():
    catalog = make_catalog(candidates=["ann", "bob"])
    encoder = challenge_side(catalog, max_videos=2).fit(pairs(("bob", "dance", 40)))
    X = pairs(("ann", "dance", 31), ("bob", "dance", 31))
    match = "users who took part before 'time'"
    with pytest.warns(LeakageWarning, match=match) as caught:
        blocks = encoder.transform(X)
    assert caught[0].filename == __file__
    np.testing.assert_allclose(blocks, [[9, 0, 0.5], [5, 9, 1]])


def test_own_videos_are_counted_once_a_call(monkeypatch):
    calls, count = [], ParticipationRules.n_own
    monkeypatch.setattr(
        ParticipationRules, "n_own", lambda *given: calls.append(1) or count(*given)
    )
    X = pairs(("bob", "dance", 40))
    encoder = challenge_side(make_catalog(candidates=["bob"])).fit(X)
    assert len(calls) == 1
    encoder.transform(X)
    assert len(calls) == 2


def test_fit_warns_of_users_whom_the_catalog_does_not_know():
    X = pairs(("ann", "sing", 50), ("bob", "dance", 50), ("bob", "sing", 50))
    user_side().fit(X)  # warnings are errors
    match = "nothing of 1 users of X, such as 'bob'.* 2 rows of X train on them"
    rest = make_catalog().without_users(["bob"])
    with pytest.warns(EmptyHistoryWarning, match=match) as caught:
        encoder = user_side(rest).fit(X)
    assert caught[0].filename == __file__
    encoder.transform(X)  # a newcomer may be asked about
    challenge_side(rest).fit(X)
    user_side(make_catalog(candidates=["bob", "eve"])).fit(
        pairs(("ann", "dance", 50), ("eve", "dance", 50))
    )


def test_all_empty_histories_raise_in_fit_and_warn_in_transform():
    nobody = pairs(("eve", "dance", 50))
    with pytest.raises(ValueError, match="every history by 'user_id' is empty"):
        user_side().fit(nobody)
    encoder = user_side(max_videos=1).fit(pairs(("ann", "dance", 50)))
    match = "Every history by 'user_id' is empty"
    with pytest.warns(EmptyHistoryWarning, match=match) as caught:
        np.testing.assert_array_equal(encoder.transform(nobody), [[0, 0]])
    assert caught[0].filename == __file__


def test_a_fit_set_without_videos_raises():
    with pytest.raises(ValueError, match=r"No video of the catalog may train"):
        challenge_side(exclude=None).fit(pairs(("ann", "dance", 30)))


class Sparse(TransformerMixin, BaseEstimator):
    """A transformer with neither feature names nor dense output."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return csr_matrix(X[["value", "create_time"]].to_numpy())


def test_any_transformer_serves_as_encoder():
    encoder = HistoryEncoder(
        make_catalog(), Sparse(), by="user_id", before="time", max_videos=1
    )
    blocks = encoder.fit_transform(pairs(("ann", "dance", 50)))
    np.testing.assert_allclose(blocks, [[2, 20, 1]])
