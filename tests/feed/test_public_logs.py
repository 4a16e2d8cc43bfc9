"""Feed logs that people have: their columns, gaps and units, made up in each layout."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skchallenge.feed import (
    BatchRollout,
    GenreProfiler,
    engagement_signals,
    engagement_table,
)

CLICKS = {"share": "is_forward", "comment": "is_comment", "like": "is_like"}
SIGNALS = ["rewatch", "completion", "share", "comment", "like", "hate"]


def make_log(n=600, seed=0):
    """Make a log in the library's own names."""
    rng = np.random.default_rng(seed)
    video = rng.integers(0, 12, n)
    duration = 1000 * (8 + video)
    log = {
        "user_id": rng.integers(0, 30, n),
        "video_id": video,
        "play_time_ms": (duration * rng.gamma(1, 0.7, n)).astype(int),
        "duration_ms": duration,
        "genre": np.array(["39", "8", "39,68"])[video % 3],
    }
    clicks = {name: rng.integers(0, 2, n) for name in (*CLICKS.values(), "is_hate")}
    return pd.DataFrame(log | clicks)


TIMES = {"play_time_ms": "play_duration", "duration_ms": "video_duration"}
LAYOUTS = {
    "KuaiRand": {"genre": "tag"},
    "KuaiRec": {**TIMES, "genre": "feat"},
    "Tenrec": {
        "video_id": "item_id",
        "is_forward": "share",
        "is_like": "like",
        "genre": "video_category",
    },
    "WeChat": {
        "user_id": "userid",
        "video_id": "feedid",
        "play_time_ms": "play",
        "is_forward": "forward",
        "is_comment": "comment",
        "is_like": "like",
    },
    "MicroLens": {"user_id": "user", "video_id": "item"},
    "camelCase": {"play_time_ms": "playTimeMs", "is_like": "isLike"},
}


@pytest.mark.parametrize("library", [pd, pl])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_log_means_the_same_by_any_public_names(layout, library):
    log = make_log()
    renamed = log.rename(columns=LAYOUTS[layout])
    if library is pl:
        renamed = pl.DataFrame(renamed.to_dict("list"))
    pd.testing.assert_frame_equal(engagement_signals(renamed), engagement_signals(log))
    for by in ("user_id", "video_id"):
        pd.testing.assert_frame_equal(
            engagement_table(renamed, by=by, adjust_duration=True),
            engagement_table(log, by=by, adjust_duration=True),
        )
    found, expected = (
        BatchRollout((10, 20), n_personas=2, random_state=0).fit(one)
        for one in (renamed, log)
    )
    assert found.threshold_ == expected.threshold_
    pd.testing.assert_frame_equal(found.viewers_, expected.viewers_)
    pd.testing.assert_frame_equal(found.response_.videos, expected.response_.videos)


def test_the_librarys_own_names_go_first():
    log = make_log().assign(tag="other", play_duration=0, like=1, item="other")
    pd.testing.assert_frame_equal(
        engagement_signals(log), engagement_signals(make_log())
    )
    table = engagement_table(log, by="video_id")
    assert table.index.tolist() == list(range(12))


def test_kuairec_has_watching_and_no_clicks():
    """Its times are milliseconds; what was not logged is missing, not zero."""
    log = make_log().rename(columns=TIMES).drop(columns=[*CLICKS.values(), "is_hate"])
    log["watch_ratio"] = log["play_duration"] / log["video_duration"]
    signals = engagement_signals(log)
    expected = engagement_signals(make_log())
    found = signals[["rewatch", "completion"]]
    pd.testing.assert_frame_equal(found, expected.loc[found.index, found.columns])
    assert signals[["share", "comment", "like", "hate"]].isna().all(axis=None)


def test_a_watch_ratio_is_enough():
    log = make_log()[["user_id", "video_id"]].assign(
        watch_ratio=make_log().eval("play_time_ms / duration_ms")
    )
    found, expected = engagement_signals(log), engagement_signals(make_log())
    names = ["rewatch", "completion"]
    pd.testing.assert_frame_equal(found[names], expected.loc[found.index, names])
    with pytest.raises(ValueError, match=r"watch_ratio.* ratios of at least 0, got -1"):
        engagement_signals(log.assign(watch_ratio=-1.0))
    with pytest.raises(ValueError, match=r"\['duration_ms'\].*adjust_duration=True"):
        engagement_table(log, by="user_id", adjust_duration=True)


def test_clicks_alone_are_signals():
    """As Tenrec has them: nothing is known of watching, and nobody lacks a score."""
    log = make_log().drop(columns=["play_time_ms", "duration_ms"])
    signals = engagement_signals(log)
    assert signals[["rewatch", "completion"]].isna().all(axis=None)
    table = engagement_table(log, by="video_id")
    rates = log.drop_duplicates().groupby("video_id")[[*CLICKS.values()]].mean()
    expected = rates.to_numpy() @ [6, 4, 2]
    np.testing.assert_allclose(table["score"], expected)


@pytest.mark.parametrize(
    "pairs",
    [
        pd.DataFrame({"user": [1, 2], "item": [7, 8], "timestamp": [5, 6]}),
        pd.DataFrame({"user_id": [1, 2], "video_id": [7, 8]}),
        pd.DataFrame({"uid": ["a", "b"], "photo_id": ["x", "y"], "tag": "cats"}),
    ],
)
def test_pairs_need_to_be_told_what_they_are(pairs):
    """Each pair of MicroLens is a comment; other pairs are something else."""
    for read in (
        engagement_signals,
        lambda log: engagement_table(log, by="user_id"),
        BatchRollout(n_personas=2).fit,
    ):
        with pytest.raises(ValueError, match=r"must have signals.* is_comment of 1"):
            read(pairs)
    told = pairs.assign(is_comment=1)
    assert engagement_signals(told)["comment"].tolist() == [1.0, 1.0]
    table = engagement_table(told, by="video_id")
    assert table["impressions"].tolist() == [1, 1]
    assert table["score"].tolist() == [4.0, 4.0]
    assert BatchRollout(n_personas=1).fit(told).threshold_ == 4.0


def test_the_points_of_a_table_are_those_of_the_signals_that_were_logged():
    log = make_log().drop(columns=["is_like", "is_comment", "is_hate"])
    table = engagement_table(log, by="video_id")
    points = {"rewatch": 10, "completion": 8, "share": 6}
    pd.testing.assert_frame_equal(
        table, engagement_table(log, by="video_id", points=points)
    )
    expected = sum(value * table[name] for name, value in points.items())
    np.testing.assert_allclose(table["score"], expected)
    for read in (
        lambda points: engagement_table(log, by="video_id", points=points),
        lambda points: BatchRollout(points=points, n_personas=2).fit(log),
    ):
        with pytest.raises(ValueError, match=r"no column for \['like'\]. Leave them o"):
            read({"like": 2, "completion": 8})
        read({"completion": 8})


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.FewViewersWarning")
def test_a_rollout_of_a_log_without_clicks():
    log = make_log().drop(columns=[*CLICKS.values(), "is_hate"])
    rollout = BatchRollout((10, 20), n_personas=2, random_state=0).fit(log)
    points = engagement_table(log, by="video_id")
    assert rollout.threshold_ > 0
    assert rollout.threshold_ == pytest.approx(
        # Re-watches are not capped by user and video here.
        engagement_signals(log)[["rewatch", "completion"]]
        .mul([10, 8])
        .sum(axis=1)
        .groupby(log["video_id"])
        .mean()
        .median()
    )
    videos = pd.DataFrame({"video_id": points.index, "creator_id": 1, "tag": "39"})
    result = rollout.simulate(videos, log=True)
    assert result["log"]["completion"].any()
    assert not result["log"][["share", "comment", "like"]].any(axis=None)


# Units.

SECONDS = [
    lambda log: log.assign(duration_ms=log["duration_ms"] / 1000),
    lambda log: log.assign(duration_ms=log["duration_ms"] // 1000),
    lambda log: log.assign(duration_ms=(log["duration_ms"] / 1000).round(1)),
    lambda log: log.assign(duration_ms=log["duration_ms"] / 1000).head(4),
    lambda log: log.rename(columns=TIMES).assign(
        video_duration=log["duration_ms"] / 1000
    ),
    lambda log: log.assign(play_time_ms=log["play_time_ms"] * 1000),
]


@pytest.mark.parametrize("change", SECONDS)
def test_seconds_beside_milliseconds_are_refused(change):
    log = change(make_log())
    for read in (
        engagement_signals,
        lambda log: engagement_table(log, by="user_id"),
        BatchRollout().fit,
    ):
        with pytest.raises(ValueError, match=r"same unit.*of the impressions would be"):
            read(log)


def test_what_the_message_says_of_units_works():
    log = make_log()
    for column in ("play_time_ms", "duration_ms"):
        wrong = log.assign(**{column: log[column] / 1000})
        with pytest.raises(ValueError, match=f"{column}' is in seconds, multiply"):
            engagement_signals(wrong)
        right = wrong.assign(**{column: wrong[column] * 1000})
        pd.testing.assert_frame_equal(
            engagement_signals(right), engagement_signals(log)
        )


@pytest.mark.parametrize(
    "play, duration",
    [
        ("play_time_s", "duration_s"),
        ("play_time_ms", "duration_s"),
        ("watch_time_s", "duration_ms"),
        ("play", "videoplayseconds"),
        ("play_time", "duration"),
    ],
)
def test_units_that_names_tell_are_read(play, duration):
    log = make_log()
    to_seconds = {"s", "videoplayseconds"}
    renamed = log.rename(columns={"play_time_ms": play, "duration_ms": duration})
    for column in (play, duration):
        if column.rpartition("_")[2] in to_seconds:
            renamed[column] = renamed[column] / 1000
    pd.testing.assert_frame_equal(engagement_signals(renamed), engagement_signals(log))


@pytest.mark.parametrize(
    "log",
    [
        make_log().query("play_time_ms >= 2 * duration_ms"),  # re-watches only
        make_log().assign(play_time_ms=0),
        make_log().assign(duration_ms=0),
        make_log().head(1).assign(play_time_ms=10**6, duration_ms=999),  # all night
        make_log().assign(play_time_ms=lambda log: log["duration_ms"] // 100),
        make_log().head(0),
    ],
)
def test_odd_logs_of_one_unit_are_read(log):
    assert set(engagement_signals(log).columns) == set(SIGNALS)


# Genres.


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.FewViewersWarning")
@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, "", " ", "[]"])
def test_a_missing_genre_is_a_genre_of_its_own(missing):
    """The same in all places that read genres; KuaiRand calls it so."""
    log = make_log()
    is_missing = log["video_id"] == 3
    gaps = log.assign(genre=log["genre"].astype(object).mask(is_missing, missing))
    named = log.assign(genre=log["genre"].mask(is_missing, "unknown"))
    y = log["is_like"]
    found, expected = (
        GenreProfiler("user_id", "genre", video="video_id").fit(X, y)
        for X in (gaps, named)
    )
    pd.testing.assert_frame_equal(found.profile_, expected.profile_)
    np.testing.assert_array_equal(found.predict_proba(gaps), found.predict_proba(named))
    found, expected = (
        BatchRollout((10, 20), n_personas=2, random_state=0).fit(X)
        for X in (gaps, named)
    )
    pd.testing.assert_frame_equal(found.response_.genres, expected.response_.genres)
    assert "unknown" in found.response_.genres.index
    first = ~log["video_id"].duplicated()
    one, other = (
        rollout.simulate(X.loc[first, ["video_id", "user_id", "genre"]])
        for rollout, X in ((found, gaps), (expected, named))
    )
    pd.testing.assert_series_equal(one.journeys["points"], other.journeys["points"])


@pytest.mark.parametrize("dtype", [float, "Float64", "Int64", object])
def test_among_numbers_a_missing_genre_is_minus_one(dtype):
    log = make_log()
    number = (log["video_id"] % 3).astype(dtype)
    gaps = log.assign(genre=number.mask(log["video_id"] == 3))
    profiler = GenreProfiler("user_id", "genre").fit(gaps, log["is_like"])
    assert sorted(profiler.profile_["genre"].unique()) == [-1, 0, 1, 2]
    none = log.assign(genre=None)  # of the kind of those that fit saw
    named = log.assign(genre=-1)
    np.testing.assert_array_equal(
        profiler.predict_proba(none), profiler.predict_proba(named)
    )


def test_profilers_find_the_columns_of_public_logs():
    log = make_log()
    names = {"user": "user_id", "genre": "genre", "video": "video_id"}
    public = log.rename(columns={"user_id": "user", "genre": "tag", "video_id": "item"})
    found = GenreProfiler(**names).fit(public, log["is_like"])
    expected = GenreProfiler(**names).fit(log, log["is_like"])
    pd.testing.assert_frame_equal(found.profile_, expected.profile_)
    with pytest.raises(ValueError, match="genre must be a column of X, got 'genres'"):
        GenreProfiler("user_id", "genres").fit(public, log["is_like"])


DATA = os.environ.get("SKCHALLENGE_DATA")


@pytest.mark.skipif(
    DATA is None, reason="set SKCHALLENGE_DATA to the folder with the real log"
)
def test_the_real_log_fits_everything_as_it_is():
    log = pd.read_parquet(Path(DATA) / "interactions_2022.parquet")
    signals = engagement_signals(log)
    assert signals.notna().mean().min() > 0.9
    rollout = BatchRollout(random_state=0).fit(log)
    assert "unknown" in rollout.response_.genres.index
    seconds = log.assign(duration_ms=log["duration_ms"] / 1000)
    with pytest.raises(ValueError, match="same unit"):
        engagement_signals(seconds)
