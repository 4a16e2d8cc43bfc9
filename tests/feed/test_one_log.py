"""One log and one table of videos fit every part of the feed, whatever their types."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from feed_worlds import World

from skchallenge.feed import (
    BatchRollout,
    CreatorAuthority,
    FeedWorkflow,
    GenreProfiler,
    engagement_signals,
    engagement_table,
)

IDS = ["user_id", "video_id", "genre"]


def make_log(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    user, video = rng.integers(0, 40, n), rng.integers(0, 30, n)
    clicks = ("is_forward", "is_comment", "is_like", "is_hate")
    return pd.DataFrame(
        {
            "user_id": user,
            "video_id": video,
            "genre": video % 4,
            "time": pd.Timestamp("2022-04-08")
            + pd.to_timedelta(rng.integers(0, 99, n), "h"),
            "play_time_ms": rng.integers(0, 30_000, n),
            "duration_ms": 1000 * (5 + video),
        }
        | {name: rng.integers(0, 2, n) for name in clicks}
    )


def fit_all(log):
    """Fit everything that reads a log, and return what can be compared."""
    signals = engagement_signals(log)
    X, y = log.loc[signals.index], signals["completion"].astype(int)
    names = {"user": "user_id", "genre": "genre", "video": "video_id"}
    profiler = GenreProfiler(**names, time="time", half_life="1D").fit(X, y)
    rollout = BatchRollout((10, 20), n_personas=2, random_state=0).fit(log)
    videos = log.drop_duplicates("video_id")[["video_id", "genre", "user_id"]]
    dated = videos.assign(create_time=log["time"], score=log["play_time_ms"])
    authority = CreatorAuthority().fit(dated)
    return {
        "proba": profiler.predict_proba(X),
        "points": engagement_table(log, by="user_id")["score"].to_numpy(),
        "viewers": rollout.viewers_["persona"].to_numpy(),
        "exposures": rollout.simulate(videos).journeys["exposures"].to_numpy(),
        "authority": authority.transform(dated),
    }


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.FewViewersWarning")
@pytest.mark.parametrize(
    "dtype", ["uint64", "Int64", "int64[pyarrow]", float, object, "category"]
)
def test_ids_of_any_type_fit_everything(dtype):
    """A float that is whole is that integer: missing values make floats of ids."""
    log = make_log()
    expected = fit_all(log)
    found = fit_all(log.astype(dict.fromkeys(IDS, dtype)))
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.FewViewersWarning")
def test_ids_may_be_texts():
    log = make_log()
    texts = log.assign(**{name: log[name].map("{:02}".format) for name in IDS})
    expected, found = fit_all(log), fit_all(texts)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize(
    "convert",
    [
        lambda ids: pd.Timestamp("2020-01-01") + pd.to_timedelta(ids, "D"),
        lambda ids: pd.to_timedelta(ids, "D"),
        lambda ids: ids > 3,
        lambda ids: ids.map(lambda i: "a" if i > 2 else i),
    ],
)
def test_ids_are_strings_or_numbers_everywhere(name, convert):
    log = make_log()
    log = log.assign(**{name: convert(log[name])})
    y = (log["is_like"] > 0).astype(int)
    for fit in (
        lambda: GenreProfiler("user_id", "genre", video="video_id").fit(log, y),
        lambda: BatchRollout(n_personas=2).fit(log),
    ):
        match = f"{name.removesuffix('_id')}.* must hold strings or integers, all of on"
        with pytest.raises(TypeError, match=match):
            fit()


@pytest.mark.parametrize("name", IDS[:2])
def test_missing_ids_fit_nothing(name):
    log = make_log()
    log[name] = log[name].where(log.index > 2)
    signals = engagement_signals(log)
    X, y = log.loc[signals.index], signals["completion"].astype(int)
    for fit in (
        lambda: GenreProfiler("user_id", "genre", video="video_id").fit(X, y),
        lambda: BatchRollout(n_personas=2).fit(log),
    ):
        match = f"{name.removesuffix('_id')}.* has 3 missing values"
        with pytest.raises(ValueError, match=match):
            fit()


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def activity():
    rows = [(f"c{i}", day, 4.0) for i in range(7) for day in range(10 + i % 2 * 90)]
    return pd.DataFrame(rows, columns=["creator_id", "day", "activity"])


def make_rollout(**options):
    past = pd.DataFrame({"user_id": ["c0", "c1"], "day": [0, 0], "score": [6.0, 2.0]})
    authority = CreatorAuthority(time="day", shrinkage=1.0).fit(past)
    options = {"momentum": "creator", "authority": authority} | options
    return BatchRollout((40, 200), threshold=2.5, random_state=0, **options).fit()


@pytest.mark.parametrize("column", ["user_id", "author_id"])
@pytest.mark.parametrize("convert", [lambda table: table, pl.from_pandas])
def test_the_user_of_an_export_is_the_creator(world, activity, convert, column):
    """Without renaming: in the videos, in the activity, and in the past."""
    rename = {"creator_id": column}
    videos = convert(world.videos.rename(columns=rename))
    rollout = make_rollout()
    tables = {"viewers": world.viewers, "response": world.response}
    expected = rollout.simulate(world.videos, **tables, activity=activity)
    renamed = convert(activity.rename(columns=rename))
    for run in (rollout.simulate, FeedWorkflow(rollout).fit().run):
        found = run(videos, **tables, activity=renamed)
        pd.testing.assert_frame_equal(found.decisions, expected.decisions)
        assert found.journeys[column].tolist() == world.videos["creator_id"].tolist()
        assert "creator_id" not in found.journeys
    assert expected.events["event"].eq("boosted").any()
    assert expected.decisions["threshold"].nunique() > 1


def test_the_creator_counts_where_there_is_a_user_too(world, activity):
    rollout = make_rollout()
    tables = {"viewers": world.viewers, "response": world.response}
    expected = rollout.simulate(world.videos, **tables, activity=activity)
    others = {"user_id": "c1", "author_id": "c1"}
    both = world.videos.assign(**others), activity.assign(**others)
    found = rollout.simulate(both[0], **tables, activity=both[1])
    pd.testing.assert_frame_equal(found.decisions, expected.decisions)


def test_no_error_tells_to_rename(world, activity):
    videos = world.videos.drop(columns="creator_id")
    match = r"lacks the columns \['creator_id'\].*'author_id' or 'user_id' is taken as"
    for call in (
        lambda: make_rollout().simulate(videos, world.viewers, world.response),
        lambda: CreatorAuthority(time="day").fit(videos.assign(score=1.0)),
        lambda: make_rollout().simulate(
            world.videos,
            world.viewers,
            world.response,
            activity=activity.drop(columns="creator_id"),
        ),
    ):
        with pytest.raises(ValueError, match=match) as error:
            call()
        assert "ename" not in str(error.value)
    with pytest.raises(ValueError, match=r"lacks the columns \['author'\]"):
        CreatorAuthority("author", time="day").fit(
            world.videos.assign(user_id=1, score=1.0)
        )
