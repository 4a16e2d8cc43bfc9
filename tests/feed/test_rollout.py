import inspect
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from feed_worlds import SHARES, World, mean_points
from scipy.stats import binom
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skchallenge.feed import (
    BatchRollout,
    CreatorAuthority,
    EngagementScorer,
    FeedWorkflow,
)
from skchallenge.feed._journeys import exposure_of

SMALL = {"stages": (40, 200, 800), "threshold": 2.5, "random_state": 0}
SIGNALS = ["rewatch", "completion", "share", "comment", "like"]


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def explored(world):
    rollout = BatchRollout(**SMALL, epsilon=0.3).fit()
    return rollout.simulate(
        world.videos, world.viewers, world.response, n_worlds=3, log=True
    )


def simulate(world, *, options=None, **parameters):
    rollout = BatchRollout(**SMALL | parameters).fit()
    return rollout.simulate(
        world.videos, world.viewers, world.response, **(options or {})
    )


def test_no_viewer_sees_a_video_twice(explored):
    assert not explored.log.duplicated(["world", "video_id", "viewer_id"]).any()


def test_journeys_add_up_to_the_log(explored):
    by = explored.log.groupby(["world", "video_id"])
    journeys = explored.journeys.set_index(["world", "video_id"])
    assert len(journeys) == 3 * 40
    pd.testing.assert_series_equal(
        by.size(), journeys["exposures"], check_names=False, check_dtype=False
    )
    pd.testing.assert_series_equal(
        by["points"].sum(), journeys["points"], check_names=False, check_dtype=False
    )
    assert (by["stage"].max() == journeys["stage"]).all()


def test_points_are_those_of_the_scorer(explored):
    score = EngagementScorer().fit_transform(explored.log[SIGNALS].astype(float))
    np.testing.assert_array_equal(score[:, 0], explored.log["points"])
    assert (explored.log["rewatch"] <= explored.log["completion"]).all()


def test_other_points_may_be_given(world):
    """The same points in other units decide alike; a signal not named earns nothing."""
    points = {"completion": 8, "like": 2}
    options = {"n_worlds": 2, "log": True}
    one = simulate(world, options=options, points=points)
    log = one.log
    assert log["points"].sum() > 0
    assert (log["points"] == 8 * log["completion"] + 2 * log["like"]).all()
    assert one.journeys["points"].sum() == log["points"].sum()
    halved = {name: value / 2 for name, value in points.items()}
    other = simulate(world, options=options, points=halved, threshold=1.25)
    assert other.journeys["stage"].tolist() == one.journeys["stage"].tolist()
    assert (2 * other.journeys["points"] == one.journeys["points"]).all()


def test_viewers_respond_as_they_are_asked_to(world, explored):
    log = explored.log
    video = log["video_id"].str[1:].astype(int)
    proba = world.appeal[video, log["persona"]][:, None] * SHARES
    found = log[SIGNALS].to_numpy(float)
    z = (found - proba).sum(axis=0) / np.sqrt((proba * (1 - proba)).sum(axis=0))
    assert (np.abs(z) < 4).all()


def test_stages_are_as_large_as_stated_and_a_day_apart(explored):
    sizes = explored.log.groupby(["world", "video_id", "stage"]).size()
    expected = {1: {80}, 2: {200}, 3: {800}}  # the first stage is shown and rescored
    assert {k: set(v) for k, v in sizes.groupby(level="stage")} == expected
    days = explored.log.groupby(["world", "video_id", "stage"])["day"].agg(
        ["min", "max"]
    )
    assert (days["min"] == days["max"]).all()
    upload = explored.journeys.set_index(["world", "video_id"])["day"]
    late = days["min"] - upload.reindex(days.index.droplevel("stage")).to_numpy()
    assert (late == days.index.get_level_values("stage") - 1).all()


def test_the_first_batch_spans_the_personas_and_the_rest_has_one(explored):
    first = explored.log[explored.log["stage"] == 1]
    for _, rows in first.groupby(["world", "video_id"]):
        counts = rows["persona"].value_counts()
        assert sorted(counts) == [10, 10, 10, 50]
    later = explored.log[explored.log["stage"] > 1]
    assert (later.groupby(["world", "video_id"])["persona"].nunique() == 1).all()


def test_decisions_follow_from_the_log(explored):
    """Recompute each score from the impressions, then what the rule must have said."""
    log, decisions = explored.log, explored.decisions
    rescored = log[log["stage"] > 1].groupby(["world", "video_id", "stage"])["points"]
    key = pd.MultiIndex.from_frame(decisions[["world", "video_id", "stage"]])
    later = decisions["stage"].to_numpy() > 1
    np.testing.assert_allclose(
        decisions["score"][later], rescored.mean().reindex(key[later])
    )
    assert (decisions["probability"] == (decisions["score"] >= 2.5)).all()
    chance = 0.7 * decisions["probability"] + 0.15
    expected = np.where(decisions["widened"], chance, 1 - chance)
    np.testing.assert_allclose(decisions["propensity"], expected)
    opened = pd.MultiIndex.from_frame(
        decisions[["world", "video_id", "stage"]].assign(stage=decisions["stage"] + 1)
    )
    reward = rescored.sum().reindex(opened).fillna(0)
    np.testing.assert_allclose(decisions["reward"], reward)
    propensity = log[log["stage"] == 2].groupby(["world", "video_id"])["propensity"]
    widened = decisions[decisions["widened"] & (decisions["stage"] == 1)]
    index = pd.MultiIndex.from_frame(widened[["world", "video_id"]])
    np.testing.assert_allclose(propensity.first().reindex(index), widened["propensity"])


def test_epsilon_is_the_share_of_coins(world):
    many = simulate(world, epsilon=0.4, options={"n_worlds": 40}).decisions
    against = many["widened"] != (many["probability"] == 1)
    assert against.mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / len(many)))
    none = simulate(world).decisions
    assert (none["widened"] == (none["probability"] == 1)).all()
    assert (none["propensity"] == 1).all()


def test_the_same_seed_gives_the_same_bits_and_another_does_not(world):
    options = {"n_worlds": 2, "log": True}
    once, twice = (simulate(world, epsilon=0.2, options=options) for _ in range(2))
    for name in ("journeys", "events", "decisions", "log"):
        pd.testing.assert_frame_equal(once[name], twice[name], check_exact=True)
    other = simulate(world, epsilon=0.2, random_state=1, options=options)
    assert not other.log.equals(once.log)
    apart = once.log[once.log["world"] == 1].reset_index(drop=True)
    assert not apart["viewer_id"].equals(once.log["viewer_id"][: len(apart)])


def test_a_streamed_log_is_the_kept_log(world, monkeypatch):
    monkeypatch.setattr("skchallenge.feed._simulation._CHUNK_ROWS", 500)
    kept = simulate(world, options={"log": True})
    chunks = []
    result = simulate(world, options={"log": chunks.append})
    assert len(chunks) > 10
    assert max(map(len, chunks)) < 500 + 800
    assert "log" not in result
    pd.testing.assert_frame_equal(pd.concat(chunks, ignore_index=True), kept.log)


def test_the_log_costs_nothing_in_chance(world):
    without, kept = simulate(world), simulate(world, options={"log": True})
    pd.testing.assert_frame_equal(without.journeys, kept.journeys)


def test_an_equal_persona_looks_better_than_it_is():
    """The best of eight equal personas is inflated by a third; the rescore is not."""
    alike = World(400, 8000, 8, sd=0.0)
    alike.appeal[:] = 0.25
    events = simulate(alike, stages=(100, 200), options={"n_worlds": 3}).events
    truth = mean_points(0.25)
    scores = events.groupby("event")["score"].mean() / truth
    assert 1.25 < scores["first batch"] < 1.8
    assert scores["rescored"] == pytest.approx(1, abs=0.03)


def chance_of_less(proba, threshold, n=100):
    """Exact chance that n viewers give less than the threshold on average."""
    points = np.zeros(19)  # of one viewer, by what they do with the video itself
    points[[0, 8, 18]] = 1 - proba[1], proba[1] - proba[0], proba[0]
    for earned, p in zip((6, 4, 2), proba[2:], strict=True):
        points = np.convolve(points, [1 - p, *[0] * (earned - 1), p])
    total = np.ones(1)
    for _ in range(n):
        total = np.convolve(total, points)
    return total[np.arange(len(total)) < n * threshold - 1e-9].sum()


ONLY_COMPLETION = np.array([0, 1.0, 0, 0, 0])


@pytest.mark.parametrize(
    ("appeal", "shares", "threshold", "known"),
    [
        (0.30 * 1.15, ONLY_COMPLETION, 8 * 0.30, binom.cdf(29, 100, 0.345)),
        (0.438 * 1.15, ONLY_COMPLETION, 8 * 0.438, binom.cdf(43, 100, 0.5037)),
        # Points whose mean is .47 of their sd, as in a real log: far more noise.
        (0.178, SHARES, mean_points(0.178) / 1.15, 0.27),
    ],
    ids=["rate of .30", "rate of .438", "points"],
)
def test_the_chance_that_a_first_batch_kills_a_good_video(
    appeal, shares, threshold, known
):
    """15 % above the threshold, 100 viewers, one decision."""
    exact = chance_of_less(appeal * shares, threshold)
    assert exact == pytest.approx(known, abs=0.01)
    good = World(3000, 4000, 1, sd=0.0)
    good.response = lambda v, u, day: np.tile(appeal * shares, (len(v), 1))
    result = simulate(good, stages=(100, 200), threshold=threshold)
    assert (result.decisions["exposures"] == 100).all()
    killed = (result.journeys["outcome"] == "paused").mean()
    # Three standard errors of a share of 3,000 videos.
    assert killed == pytest.approx(exact, abs=3 * np.sqrt(exact * (1 - exact) / 3000))


def test_the_chances_of_the_issue_are_those_of_the_binomial():
    assert binom.cdf(29, 100, 0.345) == pytest.approx(0.146, abs=5e-4)
    assert binom.cdf(43, 100, 0.438 * 1.15) == pytest.approx(0.085, abs=5e-3)


def test_the_top_fraction_is_by_day(world):
    decisions = simulate(world, rule="top_fraction", fraction=0.25).decisions
    shares = decisions.groupby(["day", "stage"])["widened"].agg(["sum", "size"])
    assert (np.abs(shares["sum"] - shares["size"] / 4) <= 2).all()
    for _, cohort in decisions.groupby(["day", "stage"]):
        best, rest = (
            cohort.loc[cohort["widened"] == w, "score"] for w in (True, False)
        )
        assert best.min() >= rest.max() or rest.empty or best.empty


def test_sequential_keeps_its_promise_under_peeking():
    """At the threshold itself, at most alpha of the videos are ever widened."""
    null = World(2000, 8000, 1, sd=0.0)
    null.appeal[:] = 0.2
    options = {"threshold": mean_points(0.2), "rule": "sequential", "alpha": 0.1}
    widened = (simulate(null, **options).journeys["stage"] > 1).mean()
    assert widened <= 0.1 + 3 * np.sqrt(0.09 / 2000)
    null.appeal[:] = 0.6
    better = (simulate(null, **options).journeys["stage"] > 1).mean()
    assert better > 0.9


def test_videos_cool_down(world):
    journeys = simulate(world).journeys
    assert set(journeys["outcome"]) == {"paused", "cooled down"}
    ends = journeys[journeys["outcome"] == "cooled down"]
    assert (ends["stage"] == 3).all()
    assert ends["reasons"].str[-1].str.contains("cooled down after 7 days").all()
    events = simulate(world).events
    cooled = events[events["event"] == "cooled down"].set_index("video_id")["day"]
    upload = world.videos.set_index("video_id")["day"]
    assert (cooled - upload.reindex(cooled.index) == 7).all()
    hasty = simulate(world, cooldown_days=2).journeys
    assert hasty["stage"].max() == 2
    last = hasty.loc[hasty["stage"] == 2, "reasons"].str[-1]
    assert last.str.contains("2 days, before its next batch|paused").all()


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.FewViewersWarning")
def test_a_small_audience_runs_out():
    few = World(5, 300, 1, sd=0.0)
    few.appeal[:] = 0.9
    result = simulate(few, stages=(40, 200, 800, 900), options={"log": True})
    assert (result.journeys["exposures"] == 300).all()
    assert (result.journeys["outcome"] == "no viewers left").all()
    assert (result.journeys["stage"] == 3).all()
    assert result.journeys["reasons"].str[-1].str.contains("no viewers left").all()


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.FewViewersWarning")
def test_the_first_batch_may_use_up_a_persona():
    """Nobody fresh is left to rescore: no crash, no endless wait, an outcome."""
    videos = pd.DataFrame({"video_id": ["a", "b"], "creator_id": "ann"})
    persona = np.repeat([0, 1], [50, 1000])

    def response(video, viewer, day):
        return np.outer(np.where(video == persona[viewer], 0.9, 0.1), SHARES)

    options = {"threshold": 2.5, "random_state": 0}
    rollout = BatchRollout((100, 200), **options).fit()
    viewers = pd.DataFrame({"viewer_id": range(1050), "persona": persona})
    result = rollout.simulate(videos, viewers, response)
    assert result.journeys["outcome"].tolist() == ["no viewers left", "cooled down"]
    assert result.journeys["exposures"].tolist() == [100, 400]
    assert "no viewers left" in result.journeys["reasons"][0][-1]
    assert result.decisions["video_id"].tolist() == ["b"]
    alone = rollout.simulate(videos[:1], viewers, response)  # all are dropped
    assert alone.journeys["outcome"].tolist() == ["no viewers left"]
    assert alone.decisions.empty


def test_reasons_tell_the_journey_in_order(world):
    result = simulate(world)
    row = result.journeys[result.journeys["stage"] == 3].iloc[0]
    starts = ["first batch of 40 viewers spans 4", "rescored of stage 1: 40 fresh"]
    starts += ["stage 1 scored", "wider batch of stage 2: 200", "stage 2 scored"]
    starts += ["wider batch of stage 3: 800", "passed all stages; cooled down"]
    assert len(row["reasons"]) == len(starts)
    for reason, start in zip(row["reasons"], starts, strict=True):
        assert reason.startswith(start)
    events = result.events[result.events["video_id"] == row["video_id"]]
    assert events["reason"].tolist() == row["reasons"]


def test_the_creator_trigger_boosts_paused_videos_on_its_day(world):
    quiet = pd.DataFrame(
        [(f"c{i}", day, 4.0) for i in range(7) for day in range(10 + i % 2 * 90)],
        columns=["creator_id", "day", "activity"],
    )
    result = simulate(world, momentum="creator", options={"activity": quiet})
    boosts = result.events[result.events["event"] == "boosted"]
    creator = world.videos.set_index("video_id")["creator_id"]
    # Even creators stop after day 9: three of seven days on day 13, the first that
    # has fourteen days behind it. Odd ones never stop within the table.
    assert set(boosts["day"]) == {13}
    assert set(creator[boosts["video_id"]]) <= {"c0", "c2", "c4", "c6"}
    plain = simulate(world).journeys.set_index("video_id")
    paused = plain.index[plain["outcome"] == "paused"]
    even = creator[paused].isin(["c0", "c2", "c4", "c6"])
    assert sorted(boosts["video_id"]) == sorted(paused[even])
    after = result.journeys.set_index("video_id")["stage"]
    assert (after[boosts["video_id"]] > plain["stage"][boosts["video_id"]]).all()


def test_the_probe_finds_risen_interest_and_little_else():
    risen = World(150, 8000, 1, sd=0.0)
    risen.appeal[:] = 0.2
    options = {"threshold": mean_points(0.2), "momentum": "probe", "rule": "lcb"}
    still = simulate(risen, **options)
    boosted = still.events["event"].eq("boosted").sum()
    assert boosted <= 0.05 * 150 + 3 * np.sqrt(0.05 * 0.95 * 150)
    before = risen.response
    risen.response = lambda v, u, day: before(v, u, day) * (1.5 if day > 5 else 1.0)
    found = simulate(risen, **options, options={"log": True})
    events = found.events[found.events["event"] == "boosted"]
    paused = found.events["event"].eq("paused").groupby(found.events["video_id"]).any()
    assert len(events) >= 0.95 * paused.sum()
    probes = found.log[found.log["stage"] == 0]
    assert (probes.groupby(["video_id", "day"]).size() == 20).all()
    assert not found.log.duplicated(["video_id", "viewer_id"]).any()


def test_a_boost_is_no_decision(world):
    quiet = pd.DataFrame(
        [(f"c{i}", day, 1.0) for i in range(7) for day in range(8)],
        columns=["creator_id", "day", "activity"],
    )
    late = quiet.iloc[[0]].assign(day=30, activity=0.0)
    activity = pd.concat([quiet, late])
    options = {"activity": activity, "log": True}
    result = simulate(world, momentum="creator", epsilon=0.2, options=options)
    boosts = result.events[result.events["event"] == "boosted"]
    assert len(boosts) > 3
    paused = result.decisions[~result.decisions["widened"]]
    assert (paused["reward"] == 0).all()


def test_authority_moves_the_threshold(world):
    past = pd.DataFrame(
        {"creator_id": ["c0", "c1"], "day": [0, 0], "score": [6.0, 2.0]}
    )
    authority = CreatorAuthority(time="day", shrinkage=1.0).fit(past)
    world_later = World()
    world_later.videos["day"] += 1
    decisions = simulate(world_later, authority=authority).decisions
    creator = world.videos.set_index("video_id")["creator_id"]
    threshold = decisions.groupby(creator[decisions["video_id"]].to_numpy())[
        "threshold"
    ]
    assert (threshold.nunique() == 1).all()
    # Prior 4: c0 has (6 + 4) / 2 = 5, c1 has 3, strangers have 4.
    expected = {f"c{i}": 2.5 for i in range(2, 7)} | {"c0": 2.0, "c1": 2.5 * 4 / 3}
    assert threshold.first().to_dict() == pytest.approx(expected)
    # On the day of the past videos themselves nothing is known of anybody yet.
    early = simulate(world, authority=authority)
    day = world.videos.set_index("video_id")["day"][early.decisions["video_id"]]
    assert (early.decisions["threshold"][day.to_numpy() == 0] == 2.5).all()


def test_a_threshold_moves_by_what_was_known_on_its_day(world):
    past = pd.DataFrame(
        {"creator_id": ["c0", "x"], "day": [-1, 2], "score": [6.0, 60.0]}
    )
    authority = CreatorAuthority(time="day", shrinkage=1.0).fit(past)
    decisions = simulate(world, authority=authority).decisions
    # Until day 2 only c0 was there: all are usual, whatever x does later.
    assert (decisions["threshold"] == 2.5).all()


def test_a_creator_as_good_as_the_prior_has_the_threshold_itself(world):
    past = pd.DataFrame({"creator_id": ["x"], "day": [-1], "score": [3.7]})
    authority = CreatorAuthority(time="day").fit(past)
    decisions = simulate(world, authority=authority, threshold=2.7).decisions
    assert 2.7 * 3.7 / 3.7 != 2.7
    assert (decisions["threshold"] == 2.7).all()


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.FewViewersWarning")
@pytest.mark.parametrize("dtype", ["uint64", "UInt64", "uint64[pyarrow]"])
def test_long_ids_of_any_type_are_told_apart(dtype):
    """pandas compares int64 with UInt64 as floats, which round them."""
    first, i = 2**60, np.arange(60)
    log = pd.DataFrame({"user_id": i % 7, "video_id": i % 11, "genre": i % 11 % 4})
    log = (log + first).assign(**dict.fromkeys(SIGNALS, 0.0))
    log["like"] = (log["genre"] == first).astype(float)
    videos = pd.DataFrame(
        dict.fromkeys(("video_id", "creator_id", "genre"), first + i[:4])
    )
    fitted = BatchRollout((20, 100), threshold=1.0, random_state=0).fit(log)
    expected = fitted.simulate(videos).journeys
    found = fitted.simulate(videos.astype(dtype)).journeys
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert expected["points"].nunique() > 1


def make_log(n=6000, seed=0):
    """Two tastes: even users complete dances, odd users complete cats."""
    rng = np.random.default_rng(seed)
    user, video = rng.integers(0, 60, n), rng.integers(0, 30, n)
    genre = np.where(video % 3 == 0, "cats", "dance")
    likes = (genre == "dance") == (user % 2 == 0)
    signals = rng.uniform(size=(n, 5)) < np.where(likes, 0.6, 0.1)[:, None] * SHARES
    ids = {"user_id": user, "video_id": video, "genre": genre}
    return pd.DataFrame(ids | dict(zip(SIGNALS, signals.T.astype(float), strict=True)))


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.FewViewersWarning")
def test_fit_learns_threshold_personas_and_response_from_a_log():
    log = make_log()
    rollout = BatchRollout((10, 20), n_personas=2, random_state=0).fit(log)
    points = EngagementScorer().fit_transform(log[SIGNALS])[:, 0]
    by_video = pd.Series(points).groupby(log["video_id"]).mean()
    assert rollout.threshold_ == pytest.approx(by_video.median())
    parity = rollout.viewers_["viewer_id"] % 2
    assert (rollout.viewers_.groupby(parity)["persona"].nunique() == 1).all()
    videos = pd.DataFrame({"video_id": [0, 1, 99], "genre": ["cats", "dance", "dance"]})
    found = rollout.response_(videos, np.array([0, 1]))
    even = rollout.viewers_.set_index("viewer_id")["persona"][0]
    assert found.shape == (3, 2, 5)
    np.testing.assert_allclose(found[1:, even, 1], 0.6, atol=0.1)
    np.testing.assert_allclose(found[0, even, 1], 0.1, atol=0.1)
    videos["creator_id"] = "ann"
    assert len(rollout.simulate(videos).journeys) == 3


def test_fit_scores_a_log_by_the_points():
    log = make_log()
    own = BatchRollout((40,), points={"completion": 1.0}, random_state=0).fit(log)
    rates = log.groupby("video_id")["completion"].mean()
    assert own.threshold_ == pytest.approx(rates.median())


def test_a_raw_log_will_do():
    raw = pd.DataFrame(
        {"video_id": [1, 1, 2], "play_time_ms": [9, 1, 10], "duration_ms": [10, 10, 0]}
    ).assign(is_forward=0, is_comment=0, is_like=1, is_hate=0, hate="a column of ours")
    assert BatchRollout().fit(raw).threshold_ == (8 + 2 + 2) / 2
    with pytest.raises(ValueError, match="log must have at least one impression with"):
        BatchRollout().fit(raw[2:])


def test_polars_tables_will_do(world):
    rollout = BatchRollout(**SMALL).fit()
    polar = rollout.simulate(
        pl.from_pandas(world.videos), pl.from_pandas(world.viewers), world.response
    )
    expected = simulate(world).journeys["exposures"]
    assert polar.journeys["exposures"].tolist() == expected.tolist()


def test_parameters_are_kept_and_cloned():
    rollout = BatchRollout(**SMALL, rule="lcb")
    names = list(inspect.signature(BatchRollout).parameters)
    assert list(rollout.get_params(deep=False)) == sorted(names)
    assert clone(rollout).get_params()["stages"] == (40, 200, 800)
    assert pickle.loads(pickle.dumps(rollout.fit())).threshold_ == 2.5


@pytest.mark.parametrize(
    "parameters, match",
    [
        ({"stages": (100, 100)}, r"stages must be .* increasing, got \(100, 100\)"),
        ({"stages": (0, 10)}, "stages must be whole numbers from 1"),
        ({"stages": ()}, "stages must be whole numbers from 1"),
        ({"stages": (10.5, 20)}, "stages must be whole numbers from 1"),
        ({"points": {}}, "points must name at least one signal"),
        ({"points": {"hate": 1}}, r"points must give some of .*'like'.*{'hate': 1}"),
        ({"points": {"share": 6, "like": -2}}, "points must give some of .* none less"),
        ({"points": {"share": 0}}, "points must give some of .* more than 0"),
        (
            {"points": {"share": 1e30}},
            "points must be from 1e-15 to 1e15, the most, go",
        ),
        ({"points": {"share": 1e-30}}, "points must be from 1e-15 to 1e15, the most, "),
        ({"rule": "ucb"}, "rule must be one of .*'lcb'.*, got 'ucb'"),
        ({"momentum": "luck"}, "momentum must be one of .*'probe'.*, got 'luck'"),
        ({"alpha": 0.0}, "alpha == 0.0, must be > 0"),
        ({"epsilon": 1.1}, "epsilon == 1.1, must be <= 1"),
        ({"fraction": 2.0}, "fraction == 2.0, must be <= 1"),
        ({"fraction": 0.0}, "fraction == 0.0, must be > 0"),
        ({"threshold": 0}, "threshold == 0, must be > 0"),
        ({"threshold": np.nan}, "threshold must be a finite number, got nan"),
        ({"threshold": np.inf}, "threshold must be a finite number, got inf"),
        ({"epsilon": np.nan}, "epsilon must be a finite number, got nan"),
        ({"n_personas": 0}, "n_personas == 0, must be >= 1"),
        ({"cooldown_days": 0}, "cooldown_days == 0, must be >= 1"),
    ],
)
def test_parameters_are_checked(parameters, match):
    with pytest.raises(ValueError, match=match):
        BatchRollout(**SMALL | parameters).fit()


def test_tables_are_checked(world):
    rollout = BatchRollout(**SMALL)
    videos, viewers, response = world.videos, world.viewers, world.response
    with pytest.raises(NotFittedError):
        rollout.simulate(videos, viewers, response)
    rollout.fit()
    match = r"videos lacks the columns \['creator_id'\].*'user_id' is taken as well"
    with pytest.raises(ValueError, match=match):
        rollout.simulate(videos.drop(columns="creator_id"), viewers, response)
    with pytest.raises(ValueError, match=r"videos\['video_id'\] must hold unique ids"):
        rollout.simulate(pd.concat([videos, videos]), viewers, response)
    with pytest.raises(ValueError, match=r"videos\['day'\] must hold whole .* got 0.5"):
        rollout.simulate(videos.assign(day=0.5), viewers, response)
    dates = pd.to_datetime(videos["day"] + 1, unit="D")
    for strange in (dates, "Monday"):
        with pytest.raises(TypeError, match=r"videos\['day'\] must hold numbers, got"):
            rollout.simulate(videos.assign(day=strange), viewers, response)
    with pytest.raises(TypeError, match=r"videos\['followers'\] must hold numbers"):
        rollout.simulate(videos.assign(followers="many"), viewers, response)
    for day in (1_600_000_000, np.inf, np.nan):
        with pytest.raises(
            ValueError, match=r"videos\['day'\] must .* from 0 to 36500"
        ):
            rollout.simulate(videos.assign(day=day), viewers, response)
    with pytest.raises(ValueError, match=r"viewers lacks the columns \['persona'\]"):
        rollout.simulate(videos, viewers.drop(columns="persona"), response)
    with pytest.raises(
        ValueError, match=r"viewers\['persona'\] must have no missing .* got 1"
    ):
        rollout.simulate(
            videos, viewers.assign(persona=[np.nan] + [1.0] * 7999), response
        )
    mixed = viewers.assign(persona=["a", *[1] * 7999])
    with pytest.raises(TypeError, match=r"viewers\['persona'\] must hold .*mixed-int"):
        rollout.simulate(videos, mixed, response)
    few = BatchRollout((3, 10), threshold=2.5).fit()
    with pytest.raises(
        ValueError, match=r"stages\[0\] must be at least .* personas, 4, .* got 3"
    ):
        few.simulate(videos, viewers, response)
    with pytest.raises(ValueError, match="viewers=None takes the users of the log"):
        rollout.simulate(videos, None, response)
    with pytest.raises(TypeError, match="response must be a function .* got ndarray"):
        rollout.simulate(videos, viewers, np.zeros((40, 5)))
    with pytest.raises(ValueError, match="response=None takes what fit learned"):
        rollout.simulate(videos, viewers)
    with pytest.raises(ValueError, match="n_worlds == 0, must be >= 1"):
        rollout.simulate(videos, viewers, response, n_worlds=0)
    with pytest.raises(ValueError, match="threshold=None is the median"):
        BatchRollout().fit()
    with pytest.raises(ValueError, match="n_personas=99 is more than the 60 users"):
        BatchRollout(n_personas=99).fit(make_log())
    with pytest.raises(ValueError, match="log must have signals: play_time_ms and"):
        BatchRollout().fit(make_log().drop(columns=SIGNALS))
    silent = make_log().drop(columns="genre").assign(**dict.fromkeys(SIGNALS, 0.0))
    with pytest.raises(ValueError, match="threshold_ must be above 0, got 0.0"):
        BatchRollout(n_personas=2).fit(silent).simulate(videos, viewers, response)


@pytest.mark.parametrize("name", ["world", "stage", "score", "reasons"])
def test_videos_must_not_have_columns_of_journeys(world, name):
    rollout = BatchRollout(**SMALL).fit()
    videos = world.videos.assign(**{name: 1})
    for run in (rollout.simulate, FeedWorkflow(rollout).fit().run):
        with pytest.raises(
            ValueError, match=rf"must not have the columns \['{name}'\]"
        ):
            run(videos, world.viewers, world.response)


def test_columns_come_once(world):
    rollout = BatchRollout(**SMALL).fit()
    videos, viewers = world.videos, world.viewers
    twice = pd.concat([videos, videos[["video_id"]]], axis=1)
    with pytest.raises(
        ValueError, match=r"videos has several columns .*\['video_id'\]"
    ):
        rollout.simulate(twice, viewers, world.response)
    twice = pd.concat([viewers, viewers[["persona"]]], axis=1)
    with pytest.raises(ValueError, match=r"viewers has several columns .*\['persona'"):
        rollout.simulate(videos, twice, world.response)


@pytest.mark.parametrize(
    "convert",
    [
        lambda log: log.convert_dtypes(),
        lambda log: log.convert_dtypes(dtype_backend="pyarrow"),
        lambda log: log.astype(
            dict.fromkeys(("user_id", "video_id", "genre"), "category")
        ),
        lambda log: log.assign(hate=1.0, note=None).set_axis([7] * len(log)),
        pl.from_pandas,
    ],
)
def test_a_log_of_any_types_will_do(convert):
    log = make_log()
    videos = pd.DataFrame({"video_id": [0, 99], "genre": ["cats", "dance"]})
    first, second = (
        BatchRollout((10, 20), n_personas=2, random_state=0).fit(table)
        for table in (log, convert(log))
    )
    assert second.threshold_ == first.threshold_
    assert second.viewers_.to_numpy().tolist() == first.viewers_.to_numpy().tolist()
    found, expected = (r.response_(videos, np.arange(2)) for r in (first, second))
    np.testing.assert_array_equal(found, expected)


def test_ids_of_a_log_are_checked():
    log = make_log()
    with pytest.raises(ValueError, match=r"log\['video_id'\] has 9 missing values"):
        BatchRollout().fit(log.assign(video_id=log["video_id"].where(log.index > 8)))
    rollout = BatchRollout(n_personas=2, random_state=0).fit(log)
    videos = pd.DataFrame({"video_id": [0], "creator_id": "ann", "genre": [1]})
    with pytest.raises(
        TypeError, match=r"videos\['genre'\] holds integers, but the lo"
    ):
        rollout.simulate(videos)
    with pytest.raises(
        TypeError, match=r"log\['user_id'\] must hold strings or integers"
    ):
        BatchRollout(n_personas=2).fit(log.assign(user_id=log["user_id"] > 3))


def test_videos_of_a_learned_response_are_of_the_kind_of_the_log():
    """Else each would have its genre's rates, or the mean of all, and nobody tells."""
    rollout = BatchRollout((10, 20), n_personas=2, random_state=0).fit(make_log())
    videos = pd.DataFrame({"video_id": ["0"], "creator_id": "ann", "genre": ["cats"]})
    with pytest.raises(
        TypeError, match=r"videos\['video_id'\] holds strings, but the "
    ):
        rollout.simulate(videos)
    videos = videos.assign(video_id=[0], genre=[3])
    with pytest.raises(TypeError, match=r"videos\['genre'\] holds integers, but the "):
        rollout.simulate(videos)


def test_a_video_that_came_with_several_genres_has_the_rates_of_all():
    """Whichever was logged last."""
    log = make_log()
    log.loc[(log["video_id"] == 0) & (log.index % 3 > 0), "genre"] = "dance"
    videos = pd.DataFrame({"video_id": [0], "genre": ["cats"]})
    rollout = BatchRollout((10, 20), n_personas=2, random_state=0)
    expected = rollout.fit(log).response_(videos, np.arange(2))
    for genre in ("cats", "dance"):
        last = (log["video_id"] == 0) & (log["genre"] == genre)
        sorted_log = pd.concat([log[~last], log[last]])
        found = rollout.fit(sorted_log).response_(videos, np.arange(2))
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_whom_a_video_was_shown_to_is_not_how_good_it_is():
    """All videos are alike; some were shown to fans of their genre, some to others."""
    log = make_log(60_000)
    fan = (log["genre"] == "dance") == (log["user_id"] % 2 == 0)
    targeted = log[fan == (log["video_id"] < 15)]
    some = log[log["user_id"] < 6]  # who were shown everything
    log = pd.concat([targeted, some])
    rollout = BatchRollout((10, 20), n_personas=2, random_state=0).fit(log)
    videos = log.drop_duplicates("video_id")[["video_id", "genre"]]
    found = rollout.response_(videos, np.array([0, 1]))[..., 1]
    even = rollout.viewers_.set_index("viewer_id")["persona"][0]
    likes = (videos["genre"] == "dance").to_numpy()
    expected = np.where(likes, 0.6, 0.1), np.where(likes, 0.1, 0.6)
    np.testing.assert_allclose(found[:, even], expected[0], atol=0.1)
    np.testing.assert_allclose(found[:, 1 - even], expected[1], atol=0.1)


@pytest.mark.parametrize("taste", [0.0, 0.5])
def test_personas_have_the_tastes_that_users_have(taste):
    """Users are grouped by chance too; their own luck must not look like a taste."""
    rng = np.random.default_rng(0)
    user, video = np.repeat(np.arange(1000), 20), rng.integers(0, 200, 20_000)
    likes = (video % 5 < 3) == (user % 2 == 0)
    rate = np.where(likes, 0.3 * (1 + taste), 0.3 * (1 - taste))
    log = pd.DataFrame(dict.fromkeys(SIGNALS, 0.0), index=range(len(user)))
    log["completion"] = (rng.uniform(size=len(user)) < rate).astype(float)
    log = log.assign(user_id=user, video_id=video, genre=(video % 5).astype(str))
    rollout = BatchRollout((10, 20), n_personas=2, random_state=0).fit(log)
    videos = pd.DataFrame({"video_id": range(1000, 1005), "genre": list("01234")})
    found = rollout.response_(videos, np.array([0, 1]))[..., 1] / 0.3
    if taste == 0:
        np.testing.assert_allclose(found, 1, atol=0.15)
    else:
        np.testing.assert_allclose(found.max(axis=1), 1.5, atol=0.15)
        np.testing.assert_allclose(found.min(axis=1), 0.5, atol=0.15)


def test_a_persona_to_which_no_impression_counts_is_as_usual():
    log = make_log(70)
    rollout = BatchRollout((50, 60), n_personas=20, threshold=1.0, random_state=0)
    rollout.fit(log)
    assert set(rollout.viewers_["persona"]) == set(range(20))
    videos = pd.DataFrame({"video_id": [99], "genre": ["cats"]})
    found = rollout.response_(videos, np.arange(20))
    usual = rollout.response_.genres.loc["cats"]
    assert np.isclose(found[0], usual).all(axis=1).any()


@pytest.mark.filterwarnings("ignore::skchallenge.exceptions.FewViewersWarning")
def test_a_log_of_one_impression_has_one_persona():
    log = make_log(1)
    rollout = BatchRollout((1, 2), n_personas=1, threshold=1.0).fit(log)
    videos = log[["video_id", "genre"]].assign(creator_id="ann")
    assert rollout.simulate(videos).journeys["exposures"].item() == 1


def test_a_learned_response_knows_its_own_personas_only():
    rollout = BatchRollout((10, 20), n_personas=2, random_state=0).fit(make_log())
    videos = pd.DataFrame({"video_id": [0], "creator_id": "ann", "genre": ["cats"]})
    one = rollout.viewers_[rollout.viewers_["persona"] == 1]
    assert len(rollout.simulate(videos, one).journeys) == 1
    strange = rollout.viewers_.assign(persona="young")
    with pytest.raises(
        ValueError, match=r"must hold personas .* \[0, 1\], got \['young"
    ):
        rollout.simulate(videos, strange)


def gini_by_pairs(values):
    """The definition: mean absolute difference of two draws, over twice the mean."""
    return np.abs(np.subtract.outer(values, values)).mean() / (2 * np.mean(values))


def test_worlds_tell_how_unequally_videos_were_shown(world):
    followers = np.arange(40) ** 2
    videos = world.videos.assign(followers=pd.array(followers, dtype="Int64"))
    result = (
        BatchRollout(**SMALL)
        .fit()
        .simulate(videos, world.viewers, world.response, n_worlds=3)
    )
    shown = result.journeys["exposures"].to_numpy().reshape(3, 40)
    worlds = result.worlds
    assert worlds["world"].tolist() == [0, 1, 2]
    assert worlds["exposures"].tolist() == shown.sum(axis=1).tolist()
    np.testing.assert_allclose(worlds["gini"], [gini_by_pairs(row) for row in shown])
    share = shown[:, followers < np.median(followers)].sum(axis=1) / shown.sum(axis=1)
    np.testing.assert_allclose(worlds["small_creators"], share)
    assert "small_creators" not in simulate(world).worlds
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"videos\['followers'\] must hold finite"):
            BatchRollout(**SMALL).fit().simulate(
                videos.assign(followers=wrong), world.viewers, world.response
            )


def test_equal_and_single_videos_have_known_ginis():
    table = pd.DataFrame({"world": [0] * 4 + [1] * 4 + [2] * 4})
    table["exposures"] = [5, 5, 5, 5, 0, 0, 7, 0, 0, 0, 0, 0]
    found = exposure_of(table.assign(followers=[1, 2, 3, 4] * 3))
    np.testing.assert_allclose(found["gini"], [0, 3 / 4, np.nan])
    np.testing.assert_allclose(found["small_creators"], [0.5, 0, np.nan])


def test_activity_is_checked(world):
    with pytest.raises(ValueError, match="momentum='creator' needs activity"):
        simulate(world, momentum="creator")
    bad = pd.DataFrame({"creator_id": ["c0"], "day": [1], "activity": [-1.0]})
    for level in (-1.0, np.inf, None):
        options = {"activity": bad.assign(activity=level)}
        with pytest.raises(ValueError, match="activity must hold finite activities of"):
            simulate(world, momentum="creator", options=options)
    with pytest.raises(ValueError, match="activity must hold finite .* at least one"):
        simulate(world, momentum="creator", options={"activity": bad[:0]})
    other = bad.assign(creator_id=0, activity=1.0)
    with pytest.raises(
        TypeError, match=r"activity\['creator_id'\] holds integers, but videos\['cr"
    ):
        simulate(world, momentum="creator", options={"activity": other})
    noted = bad.assign(activity=1.0, note=None)  # other columns do not matter
    simulate(world, momentum="creator", options={"activity": noted})
    half = bad.assign(day=1.5, activity=1.0)
    with pytest.raises(
        ValueError, match=r"activity\['day'\] must hold whole .* 36500, got 1.5"
    ):
        simulate(world, momentum="creator", options={"activity": half})


@pytest.mark.parametrize(
    "proba, match",
    [
        (
            lambda n: np.full((n, 5), 1.01),
            r"probabilities in \[0, 1\], got values from",
        ),
        (
            lambda n: np.full((n, 5), -0.01),
            r"probabilities in \[0, 1\], got values from",
        ),
        (
            lambda n: np.full((n, 5), np.nan),
            r"probabilities in \[0, 1\], got values from",
        ),
        (
            lambda n: pd.DataFrame(np.full((n, 5), 0.5), columns=SIGNALS[::-1]),
            r"response must return the columns \['rewatch', .* order, got \['like'",
        ),
        (lambda n: np.full((n, 4), 0.5), r"array of shape \(160, 5\).* \(160, 4\)"),
    ],
)
def test_responses_are_probabilities(world, proba, match):
    four = world.videos[world.videos["day"] == 0][:4]
    rollout = BatchRollout(**SMALL).fit()
    with pytest.raises(ValueError, match=match):
        rollout.simulate(four, world.viewers, lambda v, u, day: proba(len(v)))


def test_who_watches_again_has_completed_whatever_the_response_says(world):
    def eager(video, viewer, day):
        return np.tile([0.5, 0.1, 0, 0, 0], (len(video), 1))

    rollout = BatchRollout(**SMALL).fit()
    log = rollout.simulate(world.videos, world.viewers, eager, log=True).log
    assert log["rewatch"].mean() == pytest.approx(0.5, abs=0.03)
    assert (log["completion"] == log["rewatch"]).all()


@pytest.mark.parametrize("scale", [2.0**-40, 2.0**40])
def test_the_unit_of_points_does_not_matter(world, scale):
    """A power of two changes no digit, so it must change no journey."""
    usual = simulate(world).journeys
    points = EngagementScorer().fit(np.zeros((1, 5))).points_
    points = {name: value * scale for name, value in points.items()}
    scaled = simulate(world, points=points, threshold=2.5 * scale).journeys
    assert scaled["exposures"].equals(usual["exposures"])
    np.testing.assert_array_equal(scaled["score"], usual["score"] * scale)


@pytest.mark.parametrize("rule", ["threshold", "lcb"])
@pytest.mark.parametrize("like", [0.1, 0.7, 2.3])
def test_a_score_equal_to_the_threshold_reaches_it(like, rule):
    """Whatever the rounding of points that are no whole numbers."""
    same = World(5, 4000, 1, sd=0.0)
    same.response = lambda v, u, day: np.tile([0, 0, 0, 0, 1.0], (len(v), 1))
    options = {"points": {"like": like}, "threshold": like, "stages": (30, 70, 110)}
    result = simulate(same, rule=rule, **options)
    assert (result.journeys["stage"] == 3).all()
    np.testing.assert_allclose(result.decisions["score"], like, rtol=1e-15)


def test_scores_of_as_many_likes_are_equal():
    """Else the order of the viewers would decide between equal videos."""
    some = World(40, 4000, 1, sd=0.0)
    result = simulate(some, points={"like": 0.7, "share": 0.1}, options={"log": True})
    first = result.log[result.log["stage"] == 1].groupby("video_id")[SIGNALS].sum()
    scores = result.decisions.query("stage == 1").set_index("video_id")["score"]
    by = [first["like"], first["share"]]
    assert scores.groupby(by).nunique().eq(1).all()
    assert len(scores) > scores.nunique()
