import numpy as np
import pandas as pd
import pytest
from feed_worlds import World, mean_points
from sklearn.utils import Bunch

from skchallenge.feed import BatchRollout, FeedWorkflow

NAN = float("nan")
MEANS = pd.DataFrame(
    {"x": [5.0, 1.0, 3.0], "y": [2.0, 4.0, 3.0]}, index=["a", "b", "c"]
)


def by_hand(stages):
    """Three videos, shown to the personas `stages` says, as far as it says."""
    sizes = [10, 20, 100]  # the first stage is shown twice: to all, to one persona
    rows = [(w, v, *found) for w, s in enumerate(stages) for v, found in s.items()]
    journeys = pd.DataFrame(rows, columns=["world", "video_id", "persona", "stage"])
    shown = [10 + sum(sizes[:k]) if k else 0 for k in journeys["stage"]]
    journeys["exposures"] = shown
    began = journeys.loc[journeys["stage"] > 0, ["world", "video_id", "persona"]]
    first = began.assign(event="first batch", exposures=10)
    events = pd.concat([first, first.assign(event="rescored")])
    return Bunch(journeys=journeys, events=events, decisions=began)


def test_mistakes_as_worked_by_hand():
    """At a worth of 4, a and b deserve the last stage, and c does not."""
    worlds = [
        # a gains (5 - 4) * 120, c loses (4 - 3) * 20; b is killed, which costs 0.
        {"a": ("x", 3), "b": ("x", 1), "c": ("x", 2)},
        # a shown to the wrong persona loses 2 * 120, c loses 120.
        {"a": ("y", 3), "b": ("y", 3), "c": ("y", 3)},
        # Stopped before anybody saw them.
        {"a": ("x", 0), "b": ("x", 0), "c": ("x", 0)},
    ]
    rollout = BatchRollout((10, 20, 100), threshold=4.0).fit()
    found = rollout.mistakes(by_hand(worlds), MEANS)
    expected = {
        "world": [0, 1, 2],
        "false_negative_rate": [1 / 2, 0, 1],
        "false_positive_rate": [0.0, 1, 0],
        "regret": [1 - 100 / 120, 1 + 360 / 120, 1],
    }
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected))
    # The order of rows and columns of the truth is not that of the simulation.
    turned = MEANS[["y", "x"]][::-1]
    pd.testing.assert_frame_equal(rollout.mistakes(by_hand(worlds), turned), found)


def test_the_worth_decides_what_is_deserved():
    rollout = BatchRollout((10, 20, 100), threshold=4.0).fit()
    result = by_hand([{"a": ("x", 3), "b": ("x", 1), "c": ("x", 2)}])
    all_good = rollout.mistakes(result, MEANS, worth=3.0).iloc[0]
    assert all_good["false_negative_rate"] == 2 / 3
    assert np.isnan(all_good["false_positive_rate"])
    # Of (2 + 1 + 0) * 120 that can be gained, a has 2 * 120; c gives and takes nothing.
    assert all_good["regret"] == pytest.approx(1 / 3)
    none_good = rollout.mistakes(result, MEANS, worth=9.0).iloc[0]
    assert none_good["false_positive_rate"] == 1 / 3
    assert none_good[["false_negative_rate", "regret"]].isna().all()


@pytest.fixture(scope="module")
def world():
    return World(30, 6000)


def true_means(world):
    return pd.DataFrame(mean_points(world.appeal), index=world.videos["video_id"])


@pytest.mark.parametrize("momentum", [None, "probe"])
def test_gains_are_those_of_the_log(world, momentum):
    rollout = BatchRollout(
        (40, 200, 800), threshold=2.5, momentum=momentum, random_state=0
    ).fit()
    result = rollout.simulate(
        world.videos, world.viewers, world.response, n_worlds=2, log=True
    )
    means = true_means(world)
    found = rollout.mistakes(result, means)
    log = result.log[result.log["stage"] != 1]  # probes have stage 0
    assert (log["stage"] == 0).any() == (momentum == "probe")
    true = means.stack()[pd.MultiIndex.from_frame(log[["video_id", "persona"]])]
    gained = pd.Series(true.to_numpy() - 2.5).groupby(log["world"].to_numpy()).sum()
    possible = ((means.max(axis=1) - 2.5).clip(lower=0) * 1000).sum()
    np.testing.assert_allclose(found["regret"], 1 - gained / possible)
    good = means.max(axis=1) >= 2.5
    reached = result.journeys.set_index("video_id")["stage"] == 3
    for i, rows in reached.groupby(result.journeys["world"].to_numpy()):
        assert found["false_negative_rate"][i] == (~rows[good]).mean()
        assert found["false_positive_rate"][i] == rows[~good].mean()


def test_who_knows_the_truth_makes_no_mistakes(world):
    """All viewers do the same, so a score is a mean."""
    likes = world.appeal[:, :1] > 0.25

    def response(video, viewer, day):
        return likes[video] * np.array([0.0, 1, 0, 0, 0])

    rollout = BatchRollout((40, 200), threshold=8.0, random_state=0).fit()
    result = rollout.simulate(world.videos, world.viewers, response)
    ids, personas = world.videos["video_id"], range(4)
    means = pd.DataFrame(np.repeat(8.0 * likes, 4, axis=1), ids, personas)
    found = rollout.mistakes(result, means, worth=7.0)
    assert found.iloc[0].tolist() == [0, 0, 0, 0]


def test_a_video_that_a_review_stops_is_killed(world):
    class Nobody:
        def review(self, videos):
            return pd.DataFrame({"outcome": "reject", "reasons": ""}, videos.index)

    rollout = BatchRollout((40, 200, 800), threshold=2.5, random_state=0)
    workflow = FeedWorkflow(rollout, review=Nobody()).fit()
    result = workflow.run(world.videos, world.viewers, world.response, n_worlds=2)
    found = workflow.rollout_.mistakes(result, true_means(world))
    assert found[["false_negative_rate", "regret"]].to_numpy().tolist() == [[1, 1]] * 2


@pytest.mark.parametrize(
    "means, error, match",
    [
        (MEANS.to_numpy(), TypeError, "means must be a pandas DataFrame.* got ndarray"),
        (MEANS[:2], ValueError, r"all video ids .* once, got 2, 0 .* lacks \['c'\]"),
        (MEANS[["x"]], ValueError, r"all personas .* once, got 1, 0 .* lacks \['y'\]"),
        (pd.concat([MEANS, MEANS]), ValueError, "video ids .* got 6, 3 of them repeat"),
        (MEANS.replace(4.0, NAN), ValueError, "must be finite numbers, .* got 5 of 6"),
    ],
)
def test_the_truth_is_checked(means, error, match):
    rollout = BatchRollout((10, 20, 100), threshold=4.0).fit()
    result = by_hand([{"a": ("x", 3), "b": ("y", 1), "c": ("x", 2)}])
    with pytest.raises(error, match=match):
        rollout.mistakes(result, means)


def test_the_worth_is_checked():
    rollout = BatchRollout((10, 20, 100), threshold=4.0).fit()
    result = by_hand([{"a": ("x", 3), "b": ("y", 1), "c": ("x", 2)}])
    with pytest.raises(ValueError, match="worth must be a finite number, got nan"):
        rollout.mistakes(result, MEANS, worth=NAN)
