"""A what-if on a log is scored, warned about, and compared in a picture."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest
from feed_worlds import World, mean_points
from matplotlib.figure import Figure

from skchallenge.exceptions import FewViewersWarning
from skchallenge.feed import (
    BatchRollout,
    FeedWorkflow,
    JourneyDisplay,
    RolloutDisplay,
)


def make_log(n=12_000, seed=0):
    """Draw a log in which even users complete cats, and odd ones dance."""
    rng = np.random.default_rng(seed)
    log = pd.DataFrame({"user_id": rng.integers(0, 600, n)})
    log["video_id"] = rng.integers(0, 30, n)
    log["genre"] = np.where(log["video_id"] % 2 == 0, "cats", "dance")
    log["side"] = np.where(log["user_id"] % 2 == 0, "even", "odd")
    likes = (log["genre"] == "cats") == (log["side"] == "even")
    u = rng.uniform(size=n)
    log["completion"] = (u < np.where(likes, 0.5, 0.1)) * 1.0
    log["rewatch"] = (u < 0.05) * 1.0
    return log.assign(share=0.0, comment=0.0, like=(rng.uniform(size=n) < 0.1) * 1.0)


VIDEOS = pd.DataFrame({"video_id": range(100, 116), "creator_id": 0})
VIDEOS["genre"] = ["cats", "dance", "cats", "birds"] * 4


def fitted(**options):
    options = {"threshold": 3.0, "attributes": ("side",), "random_state": 0} | options
    return BatchRollout((20, 80), **options).fit(make_log())


@pytest.fixture(scope="module")
def rollout():
    return fitted()


def test_mean_points_are_what_the_simulation_gives_on_average(rollout):
    means = rollout.mean_points(VIDEOS)
    assert means.index.tolist() == VIDEOS["video_id"].tolist()
    assert means.columns.tolist() == ["even", "odd"]
    result = rollout.simulate(VIDEOS, n_worlds=30, log=True)
    pd.testing.assert_frame_equal(result.means, means)
    names = ["genre", "persona"]
    genre = VIDEOS.set_index("video_id")["genre"]
    log = result.log.assign(genre=genre[result.log["video_id"]].to_numpy())
    found = log.groupby(names)["points"].agg(["mean", "sem"])
    expected = means.groupby(genre).first().stack()
    expected = expected.loc[found.index]
    assert (abs(found["mean"] - expected) < 4.5 * found["sem"]).all()
    assert expected["cats", "even"] > 2 * expected["cats", "odd"]
    # A re-watch completes too, however rarely the response says so.
    rollout = fitted()
    rollout.response_.genres["completion"] = 0.0
    sure = rollout.mean_points(VIDEOS[3:4].assign(genre="cats"))
    again = rollout.response_(VIDEOS[3:4].assign(genre="cats"), sure.columns)
    np.testing.assert_allclose(
        sure, again[..., 0] * (10 + 8) + again[..., 4] * 2, rtol=1e-6
    )


def test_mistakes_need_no_means_where_the_response_was_learned(rollout):
    result = rollout.simulate(VIDEOS, n_worlds=3)
    found = rollout.mistakes(result)
    expected = rollout.mistakes(result, rollout.mean_points(VIDEOS))
    pd.testing.assert_frame_equal(found, expected)
    assert found["regret"].between(0, 1).all()

    class NoDance:
        def review(self, videos):
            outcome = np.where(videos["genre"] == "dance", "reject", "pass")
            return pd.DataFrame({"outcome": outcome, "reasons": ""})

    workflow = FeedWorkflow(rollout, review=NoDance()).fit(make_log())
    result = workflow.run(VIDEOS)
    assert result.means.index.tolist() == VIDEOS["video_id"].tolist()
    stopped = workflow.rollout_.mistakes(result)  # four of twelve that deserve it
    assert stopped["false_negative_rate"].item() >= 1 / 3


def test_means_that_nobody_knows_are_asked_for():
    world = World(5, 2000, 1)
    rollout = BatchRollout((10, 20), threshold=1.0).fit()
    result = rollout.simulate(world.videos, world.viewers, world.response)
    assert result.means is None
    with pytest.raises(ValueError, match="means=None takes .* learned .* Pass a table"):
        rollout.mistakes(result)
    with pytest.raises(ValueError, match="fit saw no log with user_id and genre"):
        rollout.mean_points(world.videos.assign(genre="cats"))
    known = fitted()
    with pytest.raises(ValueError, match=r"videos lacks the columns \['genre'\]"):
        known.mean_points(world.videos.assign(video_id=range(5)))
    own = known.simulate(
        VIDEOS, response=lambda video, viewer, day: np.full((len(video), 5), 0.1)
    )
    assert own.means is None  # the learned response is not what viewers did


def everybody(video, viewer, day):
    return np.full((len(video), 5), 1.0)


def run_with(n_viewers, stages=(10, 30, 100), n_personas=2):
    videos = pd.DataFrame({"video_id": ["a", "b", "c"], "creator_id": "x"})
    viewers = pd.DataFrame({"viewer_id": range(n_viewers)})
    viewers["persona"] = viewers["viewer_id"] % n_personas
    rollout = BatchRollout(stages, threshold=1.0, random_state=0).fit()
    return rollout.simulate(videos, viewers, everybody, n_worlds=2)


def test_a_batch_that_is_smaller_than_its_stage_is_a_warning():
    # A persona needs 5 (the first batch), 10 (once more), 30 and 100 viewers.
    enough = run_with(2 * 145)
    assert enough.journeys["exposures"].tolist() == [150] * 6
    last = enough.journeys["reasons"].str[-1]
    assert set(last) == {"passed all stages; cooled down after 7 days"}
    match = (
        r"stages=\(10, 30, 100\) .* in 6 of 6 journeys a batch .* have 144 to 144 vie"
    )
    with pytest.warns(FewViewersWarning, match=match) as caught:
        short = run_with(2 * 144)
    assert caught[0].filename == __file__
    assert set(short.journeys["reasons"].str[-1]) == {
        "passed all stages, the last with 99 of 100 viewers, all that its persona had "
        "left; cooled down after 7 days"
    }
    with pytest.warns(FewViewersWarning, match="in 6 of 6 journeys"):
        none = run_with(2 * 45)  # none for the last stage
    assert set(none.journeys["outcome"]) == {"no viewers left"}
    with pytest.warns(FewViewersWarning, match="in 6 of 6 journeys"):
        run_with(2 * 3)  # the first batch itself


def test_paused_videos_lack_no_viewers():
    world = World(20, 2000, 2)
    rollout = BatchRollout((10, 5000), threshold=50.0, random_state=0).fit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rollout.simulate(world.videos, world.viewers, world.response)


@pytest.fixture(scope="module")
def compared():
    world = World(30, 8000)
    means = pd.DataFrame(mean_points(world.appeal), index=world.videos["video_id"])
    results, mistakes = {}, {}
    for rule in ("threshold", "lcb"):
        rollout = BatchRollout((40, 200), rule=rule, threshold=2.5, random_state=0)
        given = world.videos, world.viewers, world.response
        results[rule] = rollout.fit().simulate(*given, n_worlds=4)
        mistakes[rule] = rollout.mistakes(results[rule], means)
    return results, mistakes


def test_the_picture_compares_what_the_tables_say(compared):
    results, mistakes = compared
    display = RolloutDisplay.from_results(
        results, mistakes=mistakes, figure=Figure(figsize=(9, 2))
    )
    titles = [ax.get_title().replace("\n", " ") for ax in display.axes_]
    assert titles == [
        "pass all stages (share of videos)",
        "viewers a video (mean)",
        "inequality of exposures (Gini)",
        "held back, though deserving (share)",
        "passed, though not deserving (share)",
        "regret (share of an oracle's gain)",
    ]
    names = [label.get_text() for label in display.axes_[0].get_yticklabels()]
    assert names == ["threshold", "lcb"]
    for row, rule in enumerate(names):
        journeys, worlds = results[rule].journeys, results[rule].worlds
        by_world = [
            (journeys["stage"] == 2).groupby(journeys["world"]).mean(),
            worlds["exposures"] / 30,
            worlds["gini"],
            *(mistakes[rule][c] for c in mistakes[rule].columns[1:]),
        ]
        for ax, values in zip(display.axes_, by_world, strict=True):
            x, y = ax.lines[0].get_data()
            assert y[row] == row
            assert x[row] == pytest.approx(values.mean())
            ends = ax.collections[0].get_segments()[row][:, 0]
            np.testing.assert_allclose(ends, [values.min(), values.max()])
            assert ax.get_xlim()[0] < values.min() <= values.max() < ax.get_xlim()[1]
    few = RolloutDisplay.from_results(results, figure=Figure())
    assert len(few.axes_) == 3
    assert few.figure_.axes == few.axes_.tolist()


def test_a_measure_without_a_value_leaves_its_axes_empty(compared):
    results, mistakes = compared
    unknown = {name: table.assign(regret=np.nan) for name, table in mistakes.items()}
    display = RolloutDisplay.from_results(results, mistakes=unknown, figure=Figure())
    display.figure_.savefig(io.BytesIO())
    assert display.axes_[-1].get_xlim()[1] >= 1
    said = [[text.get_text() for text in ax.texts] for ax in display.axes_]
    assert said == [[], [], [], [], [], ["no video deserving"]]


def test_no_video_undeserving_is_said_in_the_picture(rollout):
    result = rollout.simulate(VIDEOS)
    mistakes = rollout.mistakes(result, worth=0.01)
    assert mistakes["false_positive_rate"].isna().all()
    display = RolloutDisplay.from_results(
        {"low": result}, mistakes={"low": mistakes}, figure=Figure()
    )
    assert [t.get_text() for t in display.axes_[4].texts] == ["no video undeserving"]
    assert not any(len(ax.texts) for ax in display.axes_[[0, 1, 2, 3, 5]])


def test_what_cannot_be_compared_is_refused(compared):
    results, mistakes = compared
    draw = RolloutDisplay.from_results
    with pytest.raises(TypeError, match="results must be a dict .* got Bunch. Write"):
        draw(results["lcb"])
    with pytest.raises(TypeError, match="results must be a dict .* got list"):
        draw(list(results.values()))
    with pytest.raises(ValueError, match="same videos, at least one result, got"):
        draw({})
    world = World(5, 2000, 1)
    other = BatchRollout((10, 20), threshold=1.0).fit()
    other = other.simulate(world.videos, world.viewers, world.response)
    with pytest.raises(ValueError, match=r"same videos, .* got \[30, 30, 5\] videos"):
        draw(results | {"other": other})
    with pytest.raises(ValueError, match=r"\['threshold', 'lcb'\], .* \['lcb'\]"):
        draw(results, mistakes={"lcb": mistakes["lcb"]})
    with pytest.raises(ValueError, match="mistakes of 'lcb' .* its 4 worlds, got 2"):
        draw(results, mistakes=mistakes | {"lcb": mistakes["lcb"][:2]})
    with pytest.raises(TypeError, match="measures must be a table .*from_results"):
        RolloutDisplay(results)


# Each name, and how it is drawn.
DRAWN = {name: name for name in (r"$\bad{$", "$x_1$", "$$")} | {
    "a\nrow 2: fine\x1b[2K": r"a\nrow 2: fine\x1b[2K",
    "a\x00b": r"a\x00b",
    "a\u202eb": r"a\u202eb",  # turns the reading direction
}
NAMES = list(DRAWN)


def test_no_name_is_a_formula_or_a_control_character(compared):
    result = compared[0]["lcb"]
    figure = Figure()
    display = RolloutDisplay.from_results(dict.fromkeys(NAMES, result), figure=figure)
    figure.savefig(io.BytesIO())
    labels = display.axes_[0].get_yticklabels()
    assert [label.get_text() for label in labels] == list(DRAWN.values())
    assert not any(label.get_parse_math() for label in labels)

    class Names:
        def predict(self, videos):
            return videos["name"].to_numpy()

    names = [name for name in NAMES if name.isprintable()]  # others are no genres
    videos = pd.DataFrame({"video_id": NAMES, "creator_id": "x", "name": NAMES})
    viewers = pd.DataFrame({"viewer_id": range(200), "persona": "$p$"})
    workflow = FeedWorkflow(BatchRollout((5, 10), threshold=1.0), content=Names())
    journeys = workflow.fit().run(videos, viewers, everybody)
    figure = Figure()
    ax = JourneyDisplay.from_result(journeys, ax=figure.subplots()).ax_
    figure.savefig(io.BytesIO())
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        *list(DRAWN.values())[:-1],
        "ab",  # ids that look the same are the same
    ]
    shown = [*ax.texts, *ax.get_yticklabels()]
    assert all(text.get_text().replace("\n", "").isprintable() for text in shown)
    drawn = [text for text in shown if "$" in text.get_text()]
    assert len(drawn) == 2 * len(names)
    assert not any(text.get_parse_math() for text in drawn)
