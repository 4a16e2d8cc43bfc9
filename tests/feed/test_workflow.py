import numpy as np
import pandas as pd
import pytest
from feed_worlds import World, mean_points
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

from skchallenge.feed import (
    BatchRollout,
    CreatorAuthority,
    FeedWorkflow,
    JourneyDisplay,
)


class Machine:
    """A review that reads its verdict from the table."""

    def review(self, videos):
        return pd.DataFrame({"outcome": videos["verdict"], "reasons": videos["why"]})


class Twins:
    """A finder that reads its groups from the table."""

    def fit_predict(self, videos):
        return videos["twin"].to_numpy()


def approve_owls(rows):
    return (rows["what"] == "owl").to_numpy()


VIDEOS = pd.DataFrame(
    [
        ("hit", "ann", 0, "pass", "", 0, "", 0.6),
        ("flop", "bob", 0, "pass", "", 1, "", 0.1),
        ("bad", "bob", 0, "reject", "resolution", 2, "", 0.6),
        ("owl", "cid", 0, "review", "nudity .6", 3, "owl", 0.6),
        ("fur", "cid", 0, "review", "nudity .7", 4, "fur", 0.6),
        ("copy", "dan", 1, "pass", "", 0, "", 0.6),
        ("blur", "dan", 1, "pass", "", -1, "", 0.1),
    ],
    columns=[
        "video_id",
        "creator_id",
        "day",
        "verdict",
        "why",
        "twin",
        "what",
        "appeal",
    ],
)
VIEWERS = pd.DataFrame({"viewer_id": range(6000), "persona": np.arange(6000) % 2})
SHARES = np.array([0.2, 1.0, 0.05, 0.1, 0.3])


def response(video, viewer, day):
    return VIDEOS["appeal"].to_numpy()[video][:, None] * SHARES


def make_workflow(**options):
    rollout = BatchRollout((100, 1000), threshold=3.0, random_state=0)
    steps = {"review": Machine(), "human_review": approve_owls, "duplicates": Twins()}
    return FeedWorkflow(rollout, **steps | options).fit()


@pytest.fixture(scope="module")
def result():
    return make_workflow().run(VIDEOS, VIEWERS, response)


def reasons_of(result, video):
    return result.journeys.set_index("video_id")["reasons"][video]


def test_the_workflow_in_a_nutshell_step_by_step():
    """The recommendation workflow of the article, each of its sentences in order."""
    activity = pd.DataFrame(
        [("bob", day, 3.0) for day in range(10)]
        + [("ann", day, 3.0) for day in range(40)],
        columns=["creator_id", "day", "activity"],
    )
    workflow = make_workflow()
    workflow.rollout_.set_params(momentum="creator")
    result = workflow.run(VIDEOS, VIEWERS, response, activity=activity)
    # "A review is done by the machine",
    assert reasons_of(result, "bad") == ["machine review: reject (resolution)"]
    # "if the content is tagged insensitive ... it is passed for a human review."
    assert reasons_of(result, "fur") == [
        "machine review: review (nudity .7)",
        "human review: reject",
    ]
    # "After passing human review, the content is checked for duplication,"
    assert reasons_of(result, "owl")[:3] == [
        "machine review: review (nudity .6)",
        "human review: pass",
        "duplicate check: new",
    ]
    assert reasons_of(result, "copy")[-1] == "duplicate check: a copy of 'hit'; stopped"
    # "after passing that stage, the content is passed to a small batch of users",
    hit = reasons_of(result, "hit")
    assert hit[2].startswith("first batch of 100 viewers spans 2 personas")
    # "based on metrics system the score for the content is evaluated",
    assert hit[3].startswith("rescored of stage 1: 100 fresh viewers")
    # "if the score is above some threshold then the content is pushed to a wider
    # audience"
    assert "against 3.00" in hit[4]
    assert hit[4].endswith("widened")
    assert hit[5].startswith("wider batch of stage 2: 1000 fresh viewers")
    # "but is cooled down in a week or so".
    assert hit[6] == "passed all stages; cooled down after 7 days"
    # "But if the feedback is low, the cycle doesn't stop right here, but rather it is
    # paused"
    flop = reasons_of(result, "flop")
    assert flop[4].endswith("paused")
    # "and the application observes user's behavior and its active time",
    # "... then the cycle will become active again and boosting the content".
    assert flop[5] == "momentum: the creator's activity has fallen; boosted"
    assert flop[6].startswith("wider batch of stage 2: 1000 fresh viewers")
    boosted = result.events[result.events["event"] == "boosted"]
    assert boosted["day"].tolist() == [13]  # three of bob's last seven days are busy


def test_every_video_has_one_journey_in_the_order_given(result):
    assert result.journeys["video_id"].tolist() == VIDEOS["video_id"].tolist()
    outcome = result.journeys.set_index("video_id")["outcome"].to_dict()
    assert outcome == {
        "hit": "cooled down",
        "flop": "paused",
        "bad": "rejected",
        "owl": "cooled down",
        "fur": "rejected",
        "copy": "duplicate",
        "blur": "paused",
    }
    stopped = result.journeys["stage"] == 0
    assert (result.journeys.loc[stopped, "exposures"] == 0).all()
    assert (result.journeys.loc[~stopped, "exposures"] >= 200).all()
    for video, rows in result.events.groupby("video_id"):
        assert rows["reason"].tolist() == reasons_of(result, video)
        assert rows["day"].is_monotonic_increasing


def test_responses_get_row_numbers_of_all_videos(result):
    scores = result.journeys.set_index("video_id")["score"]
    for video in ("hit", "owl", "blur"):
        appeal = VIDEOS.set_index("video_id")["appeal"][video]
        assert scores[video] == pytest.approx(mean_points(appeal), rel=0.35)


def test_steps_can_be_left_out():
    bare = FeedWorkflow(BatchRollout((100, 1000), threshold=3.0, random_state=0)).fit()
    result = bare.run(VIDEOS, VIEWERS, response)
    assert (result.journeys["stage"] > 0).all()
    starts = ["machine review: pass (no machine)", "duplicate check: new (no finder)"]
    assert (result.journeys["reasons"].str[:2].map(tuple) == tuple(starts)).all()
    alone = bare.rollout_.simulate(VIDEOS, VIEWERS, response)
    pd.testing.assert_series_equal(
        alone.journeys["exposures"], result.journeys["exposures"]
    )
    waiting = make_workflow(human_review=None).run(VIDEOS, VIEWERS, response)
    outcome = waiting.journeys.set_index("video_id")["outcome"]
    assert outcome[["owl", "fur"]].tolist() == ["waiting for review"] * 2


@pytest.mark.parametrize("dtype", [list, "boolean", "bool[pyarrow]"])
def test_a_human_may_answer_in_any_booleans(result, dtype):
    def review(rows):
        owl = rows["what"] == "owl"
        return owl.to_list() if dtype is list else owl.astype(dtype)

    answered = make_workflow(human_review=review).run(VIDEOS, VIEWERS, response)
    pd.testing.assert_frame_equal(answered.journeys, result.journeys)


@pytest.mark.parametrize("dtype", ["int64", "Int64", "int64[pyarrow]", "category"])
def test_reasons_name_numbers_as_numbers(dtype):
    numbered = VIDEOS.assign(video_id=pd.Series(range(10, 17)).astype(dtype))
    result = make_workflow().run(numbered, VIEWERS, response)
    assert reasons_of(result, 15)[-1] == "duplicate check: a copy of 10; stopped"


def test_of_copies_the_earliest_upload_is_kept():
    late = VIDEOS.assign(day=[2, 0, 0, 0, 0, 1, 1])
    result = make_workflow().run(late, VIEWERS, response)
    assert reasons_of(result, "hit")[-1] == "duplicate check: a copy of 'copy'; stopped"
    assert result.journeys.set_index("video_id")["stage"]["copy"] == 2


def test_nothing_may_be_left():
    rejected = VIDEOS.assign(verdict="reject")
    result = make_workflow().run(rejected, VIEWERS, response, n_worlds=2)
    assert (result.journeys["outcome"] == "rejected").all()
    assert result.journeys["world"].tolist() == [0] * 7 + [1] * 7
    some = make_workflow().run(VIDEOS, VIEWERS, response, n_worlds=2, log=True)
    nothing = make_workflow().run(rejected, VIEWERS, response, log=True)
    ids = ["video_id", "persona"]  # strings and objects, if there are none
    for name in ("journeys", "events", "decisions", "log"):
        assert nothing[name].columns.tolist() == some[name].columns.tolist()
        if name in ("decisions", "log"):
            assert nothing[name].empty
            kinds = (
                t[name].drop(columns=ids).dtypes.to_dict() for t in (nothing, some)
            )
            assert next(kinds) == next(kinds)
    assert "log" not in result
    assert result.worlds["exposures"].tolist() == [0, 0]
    assert some.worlds["exposures"].sum() == some.journeys["exposures"].sum()
    assert result.decisions.empty
    with pytest.raises(ValueError, match="n_worlds == 0, must be >= 1"):
        make_workflow().run(rejected, VIEWERS, response, n_worlds=0)


def test_worlds_and_logs_pass_through():
    videos = VIDEOS.assign(followers=[9, 1, 9, 1, 9, 9, 1])
    result = make_workflow().run(videos, VIEWERS, response, n_worlds=3, log=True)
    assert len(result.journeys) == 21
    small = result.journeys[result.journeys["followers"] == 1]
    share = small.groupby("world")["exposures"].sum() / result.worlds["exposures"]
    np.testing.assert_allclose(result.worlds["small_creators"], share)
    assert len(result.log) == result.journeys["exposures"].sum()
    assert result.journeys["reasons"].str.len().min() >= 1


def test_it_leaves_its_parts_alone():
    workflow = make_workflow()
    assert workflow.rollout_ is not workflow.rollout
    assert not hasattr(workflow.rollout, "threshold_")
    assert clone(workflow, safe=False).get_params()["rollout__threshold"] == 3.0
    assert FeedWorkflow().fit(VIDEOS_LOG).rollout_.threshold_ == 8.0
    with pytest.raises(NotFittedError):
        FeedWorkflow().run(VIDEOS, VIEWERS, response)


@pytest.mark.parametrize("wrap", [lambda fitted: fitted, FrozenEstimator])
def test_a_fitted_authority_stays_fitted(wrap):
    past = pd.DataFrame({"creator_id": ["ann"], "day": [-1], "score": [6.0]})
    rollout = BatchRollout(
        (100, 1000),
        threshold=3.0,
        authority=wrap(CreatorAuthority(time="day").fit(past)),
        random_state=0,
    )
    result = FeedWorkflow(rollout).fit().run(VIDEOS, VIEWERS, response)
    alone = rollout.fit().simulate(VIDEOS, VIEWERS, response)
    pd.testing.assert_frame_equal(result.decisions, alone.decisions)
    if wrap is FrozenEstimator:
        assert clone(rollout).fit().authority.prior_ == 6.0


VIDEOS_LOG = pd.DataFrame(
    {"video_id": [1], "play_time_ms": [9], "duration_ms": [10], "is_forward": [0]}
).assign(is_comment=0, is_like=0, is_hate=0)


class Wrong:
    def __init__(self, **answers):
        self.answers = answers

    def review(self, videos):
        return pd.DataFrame(self.answers["review"])

    def fit_predict(self, videos):
        return self.answers["labels"]


@pytest.mark.parametrize(
    "options, match",
    [
        (
            {"review": Wrong(review={"outcome": ["maybe"] * 7, "reasons": ""})},
            "review must return an outcome among .*'reject'.* got 7 rows and {'maybe'}",
        ),
        (
            {"review": Wrong(review={"outcome": ["pass"], "reasons": ""})},
            "for each of 7 videos, got 1 rows",
        ),
        (
            {"review": Wrong(review={"outcome": ["pass"] * 7})},
            r"The table of review lacks the columns \['reasons'\]",
        ),
        (
            {"human_review": lambda rows: ["yes"] * len(rows)},
            "human_review must return one boolean for each of 2 videos",
        ),
        (
            {"duplicates": Wrong(labels=[1])},
            "duplicates must return one label for each of 5 videos, got 1",
        ),
    ],
)
def test_wrong_steps_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        make_workflow(**options).run(VIDEOS, VIEWERS, response)


def test_the_picture_shows_each_journey(result):
    import matplotlib.pyplot as plt

    display = JourneyDisplay.from_result(result)
    rows = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert rows == VIDEOS["video_id"].tolist()
    columns = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert columns[:4] == [
        "machine\nreview",
        "human\nreview",
        "duplicate\ncheck",
        "first\nbatch",
    ]
    assert columns[4:] == ["stage 1", "stage 2", "end", "viewers"]
    texts = [text.get_text() for text in display.ax_.texts]
    assert texts.count("reject") == 2
    assert "copy" in texts
    score = result.decisions.set_index("video_id")["score"]
    assert f"{score['flop']:.2f}" in texts
    exposures = result.journeys["exposures"]
    assert [t for t in texts if t.replace(",", "").isdigit()] == [
        f"{n:,}" for n in exposures
    ]
    plt.close(display.figure_)


def test_the_picture_goes_where_it_is_told():
    import matplotlib.pyplot as plt

    world = World(5, 2000, 1)
    rollout = BatchRollout((10, 20, 30), threshold=1.0, random_state=0).fit()
    result = rollout.simulate(world.videos, world.viewers, world.response, n_worlds=2)
    figure, ax = plt.subplots()
    display = JourneyDisplay.from_result(result, world=1, max_videos=3, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert len(ax.get_yticklabels()) == 3
    with pytest.raises(
        ValueError, match="world must be one of the simulated ones, got 2"
    ):
        JourneyDisplay.from_result(result, world=2)
    plt.close(figure)


class Watcher:
    """Tells a genre from what the table says is seen, and remembers its rows."""

    def __init__(self):
        self.asked = []

    def predict(self, videos):
        self.asked += videos["video_id"].to_list()
        genres = {"owl": "birds", "fur": "cats"}
        return np.array([genres.get(what) for what in videos["what"]], dtype=object)


GENRES = ["dance", None, np.nan, "", None, "cats", "  "]


def run_content(content, videos=VIDEOS, **options):
    return make_workflow(content=content, **options).run(videos, VIEWERS, response)


def test_content_tells_the_genres_that_are_missing_first_of_all():
    watcher = Watcher()
    result = run_content(watcher, VIDEOS.assign(genre=GENRES))
    assert watcher.asked == ["flop", "bad", "owl", "fur", "blur"]
    journeys = result.journeys.set_index("video_id")
    found = journeys["genre"].where(journeys["genre"].notna(), None)
    assert found.to_dict() == {
        "hit": "dance", "flop": None, "bad": None, "owl": "birds", "fur": "cats",
        "copy": "cats", "blur": None,
    }  # fmt: skip
    first = {video: reasons[0] for video, reasons in journeys["reasons"].items()}
    told = "from what is seen and heard"
    assert first == {
        "hit": "content: dance (of the table)",
        "flop": f"content: unknown ({told})",
        "bad": f"content: unknown ({told})",
        "owl": f"content: birds ({told})",
        "fur": f"content: cats ({told})",
        "copy": "content: cats (of the table)",
        "blur": f"content: unknown ({told})",
    }
    # All else is as without it.
    plain = make_workflow().run(VIDEOS.assign(genre=GENRES), VIEWERS, response)
    rest = journeys["reasons"].str[1:].tolist()
    assert rest == plain.journeys["reasons"].tolist()
    assert "content" not in set(plain.events["event"])


def test_content_is_asked_for_all_without_a_column_and_for_none_without_need():
    watcher = Watcher()
    result = run_content(watcher)
    assert watcher.asked == VIDEOS["video_id"].to_list()
    assert result.journeys["genre"].tolist()[3:5] == ["birds", "cats"]
    run_content(watcher, VIDEOS.assign(tag="cats"))  # another name of genre
    assert len(watcher.asked) == len(VIDEOS)


class Numbers:
    def __init__(self, genre):
        self.genre = genre

    def predict(self, videos):
        return np.array([self.genre] * len(videos))


def test_a_learned_response_takes_the_genres_that_content_tells():
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"user_id": rng.integers(0, 300, 9000)})
    log["genre"] = rng.integers(0, 2, 9000)
    log["video_id"] = log["genre"] + 2 * rng.integers(0, 20, 9000)
    done = rng.uniform(size=9000) < np.where(log["genre"] == 1, 0.6, 0.1)
    log = log.assign(completion=done * 1.0, rewatch=0.0, share=0.0, comment=0.0, like=0)
    videos = pd.DataFrame({"video_id": range(100, 130), "creator_id": 0})
    videos["genre"] = [np.nan] * 29 + [0.0]
    rollout = BatchRollout((30, 60), threshold=2.0, n_personas=1, random_state=0)
    scores = {}
    for genre in (0, 1):
        workflow = FeedWorkflow(rollout, content=Numbers(genre)).fit(log)
        journeys = workflow.run(videos).journeys
        assert journeys["genre"].tolist() == [genre] * 29 + [0]
        assert journeys["reasons"][0][0].startswith(f"content: {genre} (from")
        assert journeys["reasons"][29][0] == "content: 0 (of the table)"
        scores[genre] = journeys["score"][:29].mean()
    assert scores[1] > 2 * scores[0]
    workflow = FeedWorkflow(rollout, content=Numbers("cats")).fit(log)
    with pytest.raises(TypeError, match="content returns holds strings, but the log"):
        workflow.run(videos)


def test_content_is_checked():
    with pytest.raises(TypeError, match="content must be a fitted .* got 'genres'"):
        make_workflow(content="genres")
    with pytest.raises(TypeError, match="content must be a fitted .* pipeline"):
        make_workflow(content=LogisticRegression)
    with pytest.raises(NotFittedError, match="LogisticRegression instance is not fit"):
        make_workflow(content=LogisticRegression())
    workflow = make_workflow().set_params(content=LogisticRegression())
    with pytest.raises(NotFittedError, match="LogisticRegression instance is not fit"):
        workflow.run(VIDEOS, VIEWERS, response)
    model = LogisticRegression().fit([[0.0], [1.0]], ["cats", "birds"])
    frozen = clone(make_workflow(content=FrozenEstimator(model))).content
    assert frozen.predict([[0.0]]) == "cats"

    class One:
        def predict(self, videos):
            return ["cats"]

    with pytest.raises(ValueError, match="one genre for each of 7 videos, got 1"):
        run_content(One())
    with pytest.raises(TypeError, match="What content returns holds .* but the table"):
        run_content(Numbers(3), VIDEOS.assign(genre=GENRES))
    with pytest.raises(TypeError, match="What content returns must hold strings or"):
        run_content(Numbers(np.datetime64("2020-01-01", "s")))


def test_a_picture_shows_the_genre_first():
    result = run_content(Watcher(), VIDEOS.assign(genre=["a genre of many words"] * 7))
    ax = JourneyDisplay.from_result(result).ax_
    assert ax.get_xticklabels()[0].get_text() == "content"
    assert [t.get_text() for t in ax.texts].count("a genre of …") == 7
