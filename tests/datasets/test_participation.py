import inspect
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal

from skchallenge import (
    AdoptionHistory,
    HistoryEncoder,
    make_deep_challenger,
    make_participation,
)
from skchallenge.exceptions import OneClassWarning, OpenWindowWarning


def videos_of(*rows):
    table = pd.DataFrame(rows, columns=["user_id", "create_time", "hashtags"])
    table.insert(0, "video_id", [f"v{i:03d}" for i in range(len(table))])
    return table


def plain(user, *times):
    return [(user, t, []) for t in times]


# Seeds at 10 and 20: with n_seeds=2 the cut-off is 20, and a horizon of 30 ends at 50.
BASE = [
    ("s1", 10, ["Dance", "fyp"]),
    ("s2", 20, ["#dance"]),
    *plain("joins", 1, 2, 25),
    ("joins", 50, ["DANCE"]),  # the last moment counts
    *plain("late", 1, 2, 25),
    ("late", 51, ["dance"]),
    *plain("stays", 1, 2, 50),
    *plain("early", 1, 2, 25),
    ("early", 20, ["dance"]),  # by the cut-off: no pair
    *plain("newcomer", 1, 25, 26),
    *plain("gone", 1, 2, 3),
    *plain("too late", 1, 2, 51),
    *plain("on time", 1, 20, 25),  # 20 is not before the cut-off
    *plain("silent", 1, 2, 20),  # and not after it
    # Challenge videos make nobody active: for both classes alike.
    *plain("only dances", 1, 2),
    ("only dances", 30, ["dance"]),
]
OPTIONS = {"challenges": ["#Dance"], "n_seeds": 2, "min_history": 2, "horizon": 30}


def test_pairs_by_hand():
    videos = videos_of(*BASE)
    # early is the third participant at 20, so the second is s2: ties go by id.
    data = make_participation(videos, **OPTIONS)
    assert data.pairs.assign(y=data.y).to_dict("list") == {
        "user_id": ["joins", "late", "stays"],
        "challenge": ["dance"] * 3,
        "time": [20] * 3,
        "y": [1, 0, 0],
    }
    assert data.catalog.candidates == {"joins", "late", "stays"}
    assert data.catalog.challenges == ["dance"]
    assert data.challenges.to_dict("list") == {
        "challenge": ["dance"],
        "time": [20],
        "n_participants": [6],
        "n_pairs": [3],
        "n_positives": [1],
    }


def test_datetimes_and_polars_give_the_same_pairs():
    videos = videos_of(*BASE)
    expected = make_participation(videos, **OPTIONS)
    days = videos.assign(create_time=pd.to_datetime(videos["create_time"], unit="D"))
    data = make_participation(days, **{**OPTIONS, "horizon": "30D"})
    assert_frame_equal(data.pairs.drop(columns="time"), expected.pairs.iloc[:, :2])
    assert (data.pairs["time"] == pd.to_datetime(20, unit="D")).all()
    np.testing.assert_array_equal(data.y, expected.y)
    from_polars = make_participation(pl.DataFrame(videos.to_dict("list")), **OPTIONS)
    assert_frame_equal(from_polars.pairs, expected.pairs)


@pytest.mark.parametrize("dtype", ["Int64", "int64[pyarrow]", object])
def test_the_type_of_the_times_does_not_drop_negatives(dtype):
    videos = videos_of(*BASE)
    expected = make_participation(videos, **OPTIONS)
    videos["create_time"] = videos["create_time"].astype(dtype)
    data = make_participation(videos, **OPTIONS)
    assert_frame_equal(data.pairs, expected.pairs)
    np.testing.assert_array_equal(data.y, expected.y)


def test_the_order_of_categories_does_not_matter():
    videos = videos_of(*BASE)
    expected = make_participation(videos, **OPTIONS)
    for column in ("user_id", "video_id"):
        names = sorted(videos[column].unique(), reverse=True)
        videos[column] = pd.Categorical(videos[column], categories=names)
    data = make_participation(videos, **OPTIONS)
    assert_frame_equal(data.pairs, expected.pairs)
    assert data.y.tolist() == expected.y.tolist()
    assert data.catalog.candidates == expected.catalog.candidates


def test_a_timedelta_is_a_duration():
    videos = videos_of(*BASE)
    videos["create_time"] = pd.to_datetime(videos["create_time"], unit="D")
    options = {**OPTIONS, "horizon": pd.Timedelta("30D")}
    assert len(make_participation(videos, **options).pairs) == 3


def test_later_labels_do_not_move_the_cut_off():
    later = [("joins", t, ["dance"]) for t in (26, 27, 28)]
    moved = make_participation(videos_of(*BASE, *later), **OPTIONS)
    assert set(moved.pairs["time"]) == {20}


def test_row_order_does_not_matter():
    videos = videos_of(*BASE)
    expected = make_participation(videos, **OPTIONS)
    shuffled = make_participation(videos.sample(frac=1, random_state=0), **OPTIONS)
    assert_frame_equal(shuffled.pairs, expected.pairs)
    np.testing.assert_array_equal(shuffled.y, expected.y)


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.OneClassWarning")
def test_a_video_of_two_challenges_belongs_to_both():
    both = [("s1", 11, ["sing", "dance"]), ("s2", 12, ["Sing"]), *plain("x", 1, 2, 30)]
    options = {**OPTIONS, "challenges": ["dance", "sing"], "until": 99}
    data = make_participation(videos_of(*both, ("s3", 12, ["dance"])), **options)
    assert data.catalog.videos["challenge"].iloc[0] == ["sing", "dance"]
    assert data.pairs["challenge"].tolist() == ["dance", "sing"]


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.OneClassWarning")
def test_found_challenges_are_popular_bunched_and_not_generic():
    def used(tag, times):
        return [(f"{tag}{i}", t, [tag]) for i, t in enumerate(times)]

    rows = [
        *used("bunched", range(100, 110)),
        *used("spread", range(0, 1000, 100)),
        *used("rare", range(100, 105)),
        *used("fyp", range(100, 110)),
        # One user posts 50 times on one day, nine others over years.
        *[("bunched0", 105, ["spam"])] * 50,
        *used("spam", range(0, 900, 100)),
        *plain("x", 1, 2, 3, 106),
    ]
    options = {"min_participants": 10, "max_spread": 20, "horizon": 30}
    options["min_history"] = 3
    data = make_participation(videos_of(*rows), **options)
    assert data.catalog.challenges == ["bunched"]
    data = make_participation(videos_of(*rows), generic_tags=["#Bunched"], **options)
    assert data.catalog.challenges == ["fyp"]
    with pytest.raises(
        ValueError,
        match="No tag is a challenge: none, generic .* at least min_participants=10",
    ):
        make_participation(videos_of(*rows), **{**options, "max_spread": 0.5})


def test_missing_tags_are_no_tags():
    videos = videos_of(*BASE)
    videos["hashtags"] = [tags or None for tags in videos["hashtags"]]
    expected = make_participation(videos_of(*BASE), **OPTIONS)
    assert_frame_equal(make_participation(videos, **OPTIONS).pairs, expected.pairs)


def test_what_is_missing_or_blank_in_a_list_is_no_tag():
    """Else everybody takes part in the challenges nan, none and of no name."""
    blank = [[None, *tags, np.nan, pd.NA, "", "#"] for _, _, tags in BASE]
    videos = videos_of(*BASE).assign(hashtags=blank)
    assert_frame_equal(
        make_participation(videos, **OPTIONS).pairs,
        make_participation(videos_of(*BASE), **OPTIONS).pairs,
    )
    found = make_participation(
        videos, **OPTIONS | {"challenges": None}, min_participants=2, max_spread=99
    )
    assert found.challenges["challenge"].tolist() == ["dance"]


def test_the_callers_table_is_left_alone():
    videos = videos_of(*BASE)
    before = videos.copy(deep=True)
    make_participation(videos, **OPTIONS)
    assert_frame_equal(videos, before)


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"horizon": "30D"}, TypeError, "horizon must be a number in that unit"),
        ({"horizon": True}, TypeError, "horizon must be a number in that unit"),
        ({"horizon": 0}, ValueError, "horizon must be positive, got 0"),
        ({"challenges": "dance"}, TypeError, "challenges must be an iterable of tags"),
        ({"challenges": []}, ValueError, "challenges is empty"),
        (
            {"challenges": ["dance", "unheard"]},
            ValueError,
            r"at least n_seeds=2 participants, but these have fewer: {'unheard': 0}",
        ),
        ({"n_seeds": 1}, ValueError, "n_seeds == 1, must be >= 2"),
        ({"min_history": 0}, ValueError, "min_history == 0, must be >= 1"),
        (
            {"min_participants": 1, "challenges": None},
            ValueError,
            "min_participants == 1, must be >= 2",
        ),
        ({"min_history": 9}, ValueError, "No pair is left of 1 challenges"),
    ],
)
def test_refuses_bad_parameters(options, error, match):
    with pytest.raises(error, match=match):
        make_participation(videos_of(*BASE), **{**OPTIONS, **options})


@pytest.mark.parametrize(
    "horizon, error, match",
    [
        (30, TypeError, "horizon must be a duration such as '30D', got 30"),
        ("a month", ValueError, "horizon is no duration: 'a month'"),
        ("-3D", ValueError, "horizon must be positive"),
        ("10", ValueError, "horizon needs a unit, such as '30D', got '10'"),
    ],
)
def test_refuses_bad_durations(horizon, error, match):
    videos = videos_of(*BASE)
    videos["create_time"] = pd.to_datetime(videos["create_time"], unit="D")
    with pytest.raises(error, match=match):
        make_participation(videos, **{**OPTIONS, "horizon": horizon})


def test_refuses_bad_tables():
    videos = videos_of(*BASE)
    with pytest.raises(ValueError, match=r"videos lacks the columns \['hashtags'\]"):
        make_participation(videos.drop(columns="hashtags"), **OPTIONS)
    with pytest.raises(TypeError, match="hashtags must hold lists of tags, got the"):
        make_participation(videos.assign(hashtags="dance,fyp"), **OPTIONS)
    twice = pd.concat([videos, videos[["hashtags"]]], axis=1)
    with pytest.raises(ValueError, match="videos has several columns named .*hashtags"):
        make_participation(twice, **OPTIONS)
    with pytest.raises(TypeError, match="videos must be a pandas or polars DataFrame"):
        make_participation(videos.to_numpy(), **OPTIONS)


NOBODY_JOINS = [row for row in BASE if row[:2] != ("joins", 50)]
EVERYBODY_JOINS = [row for row in BASE if row[0] not in ("late", "stays")]


@pytest.mark.parametrize(
    "rows, label, match",
    [
        (
            NOBODY_JOINS,
            0,
            "Of 3 pairs in 1 challenges none is positive: .*horizon=30",
        ),
        (
            EVERYBODY_JOINS,
            1,
            "Of 1 pairs in 1 challenges none is negative: .*min_history=2",
        ),
    ],
)
def test_labels_of_one_class_warn_and_the_table_tells_why(rows, label, match):
    with pytest.warns(OneClassWarning, match=match) as caught:
        data = make_participation(videos_of(*rows), **OPTIONS)
    assert caught[0].filename == __file__
    assert set(data.y) == {label}
    assert data.challenges["n_positives"].sum() == label * len(data.y)


def test_one_class_in_each_challenge_is_no_reason_to_warn():
    sing = [("s1", 61, ["sing"]), ("s2", 62, ["sing"]), *plain("stays", 61, 70)]
    options = {**OPTIONS, "challenges": ["dance", "sing"], "until": 92}
    data = make_participation(
        videos_of(*EVERYBODY_JOINS, *plain("stays", 1), *sing), **options
    )
    assert data.challenges["n_positives"].tolist() == [1, 0]
    assert data.y.tolist() == [1, 0]


@pytest.mark.parametrize(
    "options, n_warnings",
    [
        ({}, 0),  # the window ends at 50, the table at 51
        ({"horizon": 31}, 0),
        ({"horizon": 32}, 1),
        ({"horizon": 32, "until": 52}, 0),
        ({"horizon": 33, "until": 52}, 1),
    ],
)
def test_windows_that_end_after_the_table_are_warned_of(options, n_warnings):
    with warnings.catch_warnings(record=True, action="always") as caught:
        data = make_participation(videos_of(*BASE), **{**OPTIONS, **options})
    assert [w.category for w in caught] == [OpenWindowWarning] * n_warnings
    assert data.horizon == {**OPTIONS, **options}["horizon"]
    if n_warnings:
        assert caught[0].filename == __file__
        assert "The windows of 100% of the pairs end after" in str(caught[0].message)


def test_the_end_of_the_table_fits_its_times():
    videos = videos_of(*BASE)
    with pytest.raises(ValueError, match="until=50 is before the last video, of 51"):
        make_participation(videos, **OPTIONS, until=50)
    with pytest.raises(TypeError, match="until holds datetimes, but .*create_time"):
        make_participation(videos, **OPTIONS, until=pd.Timestamp("2021-01-01"))


def test_histories_are_full_by_default():
    """A fill that differs tells who posts later, where tables are cut."""
    default = inspect.signature(make_participation).parameters["min_history"].default
    for reader in (HistoryEncoder, AdoptionHistory, make_deep_challenger):
        read = inspect.signature(reader).parameters["max_videos"].default
        assert read == default
