import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from joblib import Memory, Parallel, delayed
from pandas.testing import assert_frame_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline

from skchallenge import HistoryEncoder, VideoCatalog
from skchallenge.tabular import PastCreatorStats


def table(**columns):
    base = {
        "video_id": ["a", "b", "c", "d"],
        "user_id": ["ann", "bob", "ann", "cy"],
        "challenge": [None, "Dance", ["dance2", "Dance"], np.nan],
        "create_time": [1, 2, 3, 4],
    }
    return pd.DataFrame({**base, **columns})


def test_clone_and_deepcopy_share_one_object():
    catalog = VideoCatalog(table())
    assert clone(catalog, safe=False) is catalog
    assert copy.deepcopy(catalog) is catalog


def test_the_callers_table_is_neither_held_nor_changed():
    videos = table()
    before = videos.copy(deep=True)
    catalog = VideoCatalog(videos)
    catalog.append(table(video_id=["e", "f", "g", "h"]))
    videos.loc[0, "user_id"] = "eve"
    assert catalog.videos["user_id"].iloc[0] == "ann"
    videos.loc[0, "user_id"] = "ann"
    assert_frame_equal(videos, before)


def test_memberships_read_null_name_and_list():
    members = VideoCatalog(table()).memberships
    assert members["row"].tolist() == [1, 2, 2]
    assert members["challenge"].tolist() == ["Dance", "dance2", "Dance"]
    assert VideoCatalog(table()).challenges == ["Dance", "dance2"]
    expected = [False, True, True, False]
    assert VideoCatalog(table()).is_challenge_video.tolist() == expected


def test_polars_and_pandas_give_the_same_catalog():
    lists = [None, ["Dance"], ["dance2", "Dance"], None]
    from_pandas = VideoCatalog(table(challenge=lists))
    from_polars = VideoCatalog(
        pl.DataFrame({**table().drop(columns="challenge"), "challenge": lists})
    )
    assert_frame_equal(from_pandas.memberships, from_polars.memberships)


def test_append_keeps_rows_and_refreshes_what_is_derived():
    catalog = VideoCatalog(table())
    before = catalog.videos.copy()
    assert catalog.challenges == ["Dance", "dance2"]
    new = table(video_id=["e", "f", "g", "h"], challenge=["new", None, None, None])
    assert catalog.append(new) is catalog
    assert_frame_equal(catalog.videos.iloc[:4], before)
    assert len(catalog) == 8
    assert catalog.challenges == ["Dance", "dance2", "new"]
    assert catalog.is_challenge_video.tolist() == [0, 1, 1, 0, 1, 0, 0, 0]


def test_append_fills_absent_optional_columns_with_missing():
    catalog = VideoCatalog(table(caption=["p", "q", "r", "s"]))
    catalog.append(table(video_id=["e", "f", "g", "h"]))
    assert catalog.videos["caption"].iloc[4:].isna().all()


@pytest.mark.parametrize(
    "new, error, match",
    [
        (table(), ValueError, r"ids that the catalog has already, such as 'a'"),
        (
            table(video_id=[5, 6, 7, 8]),
            TypeError,
            r"video_id holds integers, but the catalog's video_id holds strings",
        ),
        (
            table(
                video_id=["e", "f", "g", "h"],
                create_time=pd.date_range("2020", periods=4),
            ),
            TypeError,
            r"create_time holds datetimes, but .* holds numbers",
        ),
        (table(views=1), ValueError, r"columns that the catalog lacks: \['views'\]"),
        (
            table().drop(columns="challenge"),
            ValueError,
            r"videos lacks the columns \['challenge'\].*: None where a video",
        ),
        ([["a"]], TypeError, r"videos must be a pandas or polars DataFrame"),
    ],
)
def test_append_refuses(new, error, match):
    catalog = VideoCatalog(table())
    with pytest.raises(error, match=match):
        catalog.append(new)
    assert len(catalog) == 4


@pytest.mark.parametrize(
    "columns, error, match",
    [
        (
            {"video_id": ["a", "a", "b", "c"]},
            ValueError,
            r"video_id must be unique, but 'a' occurs more than once",
        ),
        (
            {"video_id": [7, 8, 7, 9]},
            ValueError,
            r"video_id must be unique, but 7 occurs more than once",
        ),
        (
            {"user_id": ["ann", None, "bob", "cy"]},
            ValueError,
            r"user_id has 1 missing values, first in row 1",
        ),
        (
            {"user_id": [True, False, True, True]},
            TypeError,
            r"user_id must hold strings or integers, .* got values of type boolean",
        ),
        (
            {"user_id": [1.0, 2.0, 3.0, 2.0**53]},
            ValueError,
            r"user_id must not hold floats of 9007199254740992 or more",
        ),
        (
            {"create_time": ["1", "2", "3", "4"]},
            TypeError,
            r"create_time must hold numbers or datetimes, got values of type string",
        ),
    ],
)
def test_constructor_refuses(columns, error, match):
    with pytest.raises(error, match=match):
        VideoCatalog(table(**columns))


def test_floats_are_the_integers_that_they_equal():
    """A missing challenge makes floats of the numbers of all others."""
    floats = table(
        video_id=[1.0, 2.0, 3.0, 4.0],
        challenge=[7.0, None, 7.0, None],
        caption="#7 and #7.0",
    )
    catalog = VideoCatalog(floats, candidates=["ann"])
    assert catalog.videos["video_id"].tolist() == [1, 2, 3, 4]
    assert catalog.videos["video_id"].dtype == np.int64
    assert [str(name) for name in catalog.challenges] == ["7"]
    assert catalog.encoder_view([0])["caption"].tolist() == ["and .0"]
    with pytest.raises(ValueError, match="already, such as 4"):
        catalog.append(table(video_id=[4, 5, 6, 7], challenge=7))


def test_candidates_must_be_ids_of_the_same_type():
    with pytest.raises(TypeError, match="candidates holds integers"):
        VideoCatalog(table(), candidates=[1, 2])


def test_pickle_holds_the_table_and_no_caches():
    catalog = VideoCatalog(table(), candidates=["ann"])
    assert catalog.challenges
    videos, data = catalog.videos, pickle.dumps(catalog)
    assert "memberships" in vars(catalog)
    del catalog
    loaded = pickle.loads(data)
    assert "memberships" not in vars(loaded)
    assert_frame_equal(loaded.videos, videos)
    assert loaded.candidates == {"ann"}


def test_what_is_unpickled_is_the_catalog_at_hand():
    """A cache or a worker that pickles must not part a model from its catalog."""
    catalog, twin = VideoCatalog(table()), VideoCatalog(table())
    data = pickle.dumps(catalog)
    assert pickle.loads(data) is catalog
    pickle.dumps(twin)  # joblib digests what it looks up, just before it loads it
    assert pickle.loads(data) is twin
    twin.append(table(video_id=list("efgh"), challenge=None))
    loaded = pickle.loads(data)
    assert loaded is not twin
    assert len(loaded) == 4  # never other rows than were pickled
    other = VideoCatalog(table(), candidates=["ann"])
    data = pickle.dumps(other)
    assert pickle.loads(data) is other
    other.candidates = frozenset(["bob"])
    assert pickle.loads(data).candidates == {"ann"}


@pytest.mark.parametrize("way", ["memory", "cache", "loky", "return_estimator"])
def test_models_from_caches_and_workers_share_their_catalog(way, tmp_path):
    videos = table(n_plays=[1, 2, 3, 4], create_time=[1, 20, 30, 40], user_id="ann")
    catalog = VideoCatalog(videos.drop(columns="challenge"), challenge=None)
    X, y = catalog.videos[["user_id", "create_time"]].iloc[[1, 3] * 4], [0, 1] * 4
    past = PastCreatorStats(catalog, min_age=0)
    model = make_pipeline(past, HistGradientBoostingClassifier(max_iter=1))
    if way == "memory":
        for _ in range(2):
            run = clone(model).set_params(memory=str(tmp_path)).fit(X, y)
            assert run[0].catalog is catalog
    elif way == "cache":
        fit = Memory(tmp_path, verbose=0).cache(PastCreatorStats.fit)
        assert fit(past, X).catalog is fit(clone(past), X).catalog is catalog
    elif way == "loky":
        jobs = Parallel(2)(delayed(clone(past).fit)(X) for _ in range(2))
        assert all(job.catalog is catalog for job in jobs)
    else:
        scores = cross_validate(model, X, y, cv=2, n_jobs=2, return_estimator=True)
        assert all(m[0].catalog is catalog for m in scores["estimator"])


def test_the_participation_model_shares_its_catalog_after_a_hit(tmp_path):
    catalog = VideoCatalog(table(tempo=[0.1, 0.2, 0.3, 0.4]))
    numbers = make_column_transformer(("passthrough", ["tempo"]))
    X = pd.DataFrame({"user_id": ["ann", "bob", "ann", "cy"], "time": [99] * 4})
    for _ in range(3):
        side = HistoryEncoder(catalog, numbers, by="user_id", before="time")
        model = make_pipeline(side, LogisticRegression(), memory=str(tmp_path))
        model.fit(X, [0, 1, 0, 1])
        assert model[0].catalog is catalog


def test_cells_of_a_pickle_are_what_they_were_but_for_arrays():
    videos = table(hashtags=[np.array(["x"], dtype=object), ["y", None], "#z", None])
    catalog = VideoCatalog(videos.assign(posted=pd.Timestamp("2020", tz="CET")))
    expected, data, names = catalog.videos, pickle.dumps(catalog), set(vars(catalog))
    del catalog
    loaded = pickle.loads(data)
    expected = expected.assign(hashtags=[["x"], ["y", None], "#z", None])
    assert_frame_equal(loaded.videos, expected, check_exact=True)
    for column in ("challenge", "hashtags"):
        cells = loaded.videos[column]
        assert [*map(type, cells)] == [*map(type, expected[column])]
    assert set(vars(loaded)) == names
    loaded.append(loaded.videos.assign(video_id=["e", "f", "g", "h"]))
    assert len(loaded) == 8


def test_a_table_of_anything_is_pickled():
    videos = table(preview=[b"png", {"cover": b"jpg"}, None, 1j])
    loaded = pickle.loads(pickle.dumps(VideoCatalog(videos)))
    assert_frame_equal(loaded.videos, videos)


def test_equal_catalogs_have_one_digest_in_all_processes():
    """Pipeline(memory=...) keeps what it computed under it."""
    code = (
        "import joblib, pandas as pd; from skchallenge import VideoCatalog; "
        "videos = pd.DataFrame({'video_id': ['a', 'b'], 'user_id': ['ann', 'bob'], "
        "'challenge': [None, ['x', 'y']], 'create_time': [1, 2]}); "
        "c = VideoCatalog(videos, candidates=['ann', 'bob', 'cy', 'dee']); "
        "print(joblib.hash(c)); c.challenges; print(joblib.hash(c)); "
        "rest = VideoCatalog(videos[:1], candidates=['dee', 'cy', 'bob', 'ann']); "
        "print(joblib.hash(rest.append(videos[1:]))); print(joblib.hash(c.videos)); "
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.split()
        for seed in ("1", "2")
    ]
    *same, other = found[0]
    assert len(same) == 3
    assert len({*same, *found[1][:3]}) == 1
    assert other != same[0]


def test_a_categorical_challenge_is_read_as_its_values():
    plain = ["Dance", None, None, "sing"]
    expected = VideoCatalog(table(challenge=plain)).memberships
    videos = table(challenge=pd.Series(plain, dtype="category"))
    assert_frame_equal(VideoCatalog(videos).memberships, expected)


def test_integer_challenges_stay_integers():
    members = VideoCatalog(table(challenge=[None, [7], [7, 8], None])).memberships
    assert members["challenge"].dtype == np.int64
    assert members["challenge"].tolist() == [7, 7, 8]


def test_empty_names_and_missing_ones_in_lists_are_no_challenges():
    catalog = VideoCatalog(table(challenge=["", ["dance", None], [], None]))
    assert catalog.challenges == ["dance"]


@pytest.mark.parametrize(
    "tag, spelled",
    [
        ("spa\u00df", "Spa\u00df"),
        ("spass", "SPA\u00df"),
        ("fit", "\ufb01t"),
        ("i\u0307stanbul", "\u0130stanbul"),
    ],
)
def test_full_case_folding_decides_what_is_removed(tag, spelled):
    videos = table(
        challenge=tag, caption=f"x #{spelled} y", hashtags=[[f"##{spelled} "]] * 4
    )
    seen = VideoCatalog(videos).encoder_view([0])
    assert seen["caption"].tolist() == ["x  y"]
    assert seen["hashtags"].tolist() == [[]]


def test_sounds_that_few_videos_carry_are_nobodys_own():
    videos = pd.DataFrame(
        {
            "video_id": range(40),
            "user_id": range(40),
            "challenge": ["dance"] * 10 + [None] * 30,
            "create_time": 0,
            "song": ["rare"] + [None] * 39,
        }
    )
    assert not VideoCatalog(videos).has_challenge_sound.any()
    videos["song"] = ["hit"] * 10 + ["hit"] + [None] * 29  # 1 of 30, not 1 of 1
    assert VideoCatalog(videos).has_challenge_sound.sum() == 11


def test_long_ids_of_another_integer_type_are_new():
    ids = np.arange(8) + 7_000_000_000_000_000_000  # all alike as floats
    catalog = VideoCatalog(table(video_id=ids[:4]))
    catalog.append(table(video_id=pd.array(ids[4:], dtype="UInt64")))
    assert catalog.videos["video_id"].tolist() == ids.tolist()
    with pytest.raises(ValueError, match=f"already, such as .*{ids[4]}"):
        catalog.append(table(video_id=pd.array(ids[4:], dtype="uint64[pyarrow]")))


def test_no_new_videos_are_no_trouble():
    lists = [None, ["Dance"], ["dance2", "Dance"], None]
    videos = table(challenge=lists)
    for none in (videos.iloc[:0], pl.from_pandas(videos)[:0]):
        catalog = VideoCatalog(videos).append(none)
        expected = VideoCatalog(videos).videos
        assert_frame_equal(catalog.videos, expected, check_dtype=False)


def test_append_refuses_what_would_change_the_types():
    numbers = table(video_id=[1, 2, 3, 4])
    huge = table(video_id=np.array([5, 6, 7, 2**63 + 1], dtype=np.uint64))
    catalog = VideoCatalog(numbers)
    with pytest.raises(TypeError, match="video_id must hold strings or integers"):
        catalog.append(huge)
    with pytest.raises(TypeError, match="challenge holds integers, but"):
        catalog.append(table(video_id=[5, 6, 7, 8], challenge=[1, 2, 3, 4]))
    assert len(catalog) == 4


def test_roles_and_candidates_that_cannot_be_meant():
    with pytest.raises(ValueError, match=r"videos lacks the columns \['captoin'\]"):
        VideoCatalog(table(), caption="captoin")
    with pytest.raises(TypeError, match="candidates must be a list of ids, got 'ann'"):
        VideoCatalog(table(), candidates="ann")
    with pytest.raises(TypeError, match="candidates must be a list of ids, got a ta"):
        VideoCatalog(table(), candidates=table()[["user_id"]])  # it has names, no ids
    twice = pd.concat([table(), table()[["user_id"]]], axis=1)
    with pytest.raises(ValueError, match="videos has several columns named"):
        VideoCatalog(twice)
    with pytest.raises(TypeError, match="challenge must hold strings or integers"):
        VideoCatalog(table(challenge=[1, "a", None, None]))


@pytest.mark.parametrize(
    "caption, expected",
    [
        ("my turn #DANCE now", "my turn  now"),
        ("#fun#Dance#x", "#fun#x"),
        ("we dance!", "we !"),
        ("#dancer dances undance", "#dancer dances undance"),
        ("\uff03Dance", ""),
        ("#dance2 and #dance", "and"),
        ("#Dance\U0001f525", "\U0001f525"),
        (None, None),
    ],
)
def test_tags_of_studied_challenges_leave_captions(caption, expected):
    catalog = VideoCatalog(table(caption=[caption, "", "", ""]))
    (seen,) = catalog.encoder_view([0])["caption"]
    assert seen == expected or (pd.isna(seen) and expected is None)


def test_case_folding_reaches_letters_that_upper_case_changes():
    videos = table(challenge="Stra\u00dfe", caption="#STRASSE #stra\u00dfe")
    assert VideoCatalog(videos).encoder_view([0])["caption"].tolist() == [""]


@pytest.mark.parametrize(
    "tags, expected",
    [
        (["Dance", "fun", "#DANCE"], ["fun"]),
        (np.array(["fun", "dance2"]), ["fun"]),
        ("#dance, #fun", ", #fun"),
        (None, None),
    ],
)
def test_tags_of_studied_challenges_leave_tag_lists(tags, expected):
    catalog = VideoCatalog(table(hashtags=[tags, [], [], []]))
    (seen,) = catalog.encoder_view([0])["hashtags"]
    assert seen == expected


def test_encoders_never_see_users_nor_challenges():
    catalog = VideoCatalog(table(caption="x", mood=[1, 2, 3, 4]))
    seen = catalog.encoder_view([2, 0, 2])
    assert seen.columns.tolist() == ["video_id", "create_time", "caption", "mood"]
    assert seen["video_id"].tolist() == ["c", "a", "c"]
    assert seen.index.tolist() == [0, 1, 2]


def test_without_challenges_the_table_is_passed_as_it_is():
    catalog = VideoCatalog(table(challenge=None, caption="#dance"))
    assert catalog.encoder_view([1])["caption"].tolist() == ["#dance"]
    assert repr(catalog) == "VideoCatalog(4 videos, 3 users, 0 challenges)"


def test_own_sound_is_frequent_inside_and_rare_outside():
    n = 40
    videos = pd.DataFrame(
        {
            "video_id": range(n),
            "user_id": range(n),
            "challenge": ["dance"] * 4 + ["talk"] * 4 + [None] * (n - 8),
            "create_time": range(n),
            "song": ["hit", "hit", "hit", "other"]  # three in four, and rare elsewhere
            + ["original sound"] * 4  # all, but just as common elsewhere
            + ["hit"]
            + ["original sound"] * (n - 10)
            + ["other"],
        }
    )
    own = VideoCatalog(videos).has_challenge_sound
    assert own.tolist() == (videos["song"] == "hit").tolist()
    without = VideoCatalog(videos.drop(columns="song"))
    assert not without.has_challenge_sound.any()


def test_encoders_see_neither_other_names_of_users_nor_counts():
    counted = {"playCount": 5, "fans": 6, "nickname": "ann!", "verified": True}
    honest = {"duration_s": 9.0, "view_angle": 1, "path": "a.mp4", "past_plays_mean": 2}
    catalog = VideoCatalog(table().assign(username="ann", **counted, **honest))
    expected = {"user_id", "challenge", "username", *counted}
    assert set(catalog.hidden_columns) == expected
    seen = catalog.encoder_view([0])
    assert set(seen) == set(catalog.videos) - expected
    # A column whose role was named is what it was named, whatever its name.
    named = VideoCatalog(table().assign(comment="my turn"), caption="comment")
    assert "comment" in named.encoder_view([0])


@pytest.mark.parametrize(
    "forms",
    [("caf\u00e9", "cafe\u0301"), ("\u2764\ufe0f", "\u2764")],
    ids=["e", "heart"],
)
def test_names_in_two_unicode_forms_are_one(forms):
    composed, other = forms
    videos = pd.DataFrame(
        {
            "video_id": ["v1", "v2", "v3"],
            "user_id": [composed, other, "bob"],
            "challenge": [composed, [other, composed], None],
            "create_time": [1, 2, 3],
            "caption": [f"my {other} #{composed}!", f"{composed.upper()}", "x"],
            "hashtags": [[other], [composed, "y"], []],
            "song": [composed, other, "z"],
        }
    )
    catalog = VideoCatalog(videos, candidates=[other])
    assert len(catalog.challenges) == 1
    assert catalog.memberships["row"].tolist() == [0, 1]
    assert catalog.videos["user_id"].nunique() == 2
    assert catalog.candidates <= set(catalog.videos["user_id"])
    assert catalog.has_challenge_sound.tolist() == [True, True, False]
    seen = catalog.encoder_view([0, 1])
    assert seen["caption"].tolist() == ["my  !", ""]
    assert seen["hashtags"].tolist() == [[], ["y"]]
    with pytest.raises(ValueError, match="must be unique"):
        VideoCatalog(videos.assign(video_id=[composed, other, "v3"]))
