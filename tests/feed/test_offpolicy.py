import numpy as np
import pandas as pd
import pytest
from feed_worlds import World

from skchallenge.feed import BatchRollout, doubly_robust, inverse_propensity, replay

STAGES = (30, 60, 120)


def make_log(rewards=(8.0, 0.0, 2.0, 0.0), propensity=0.5, **columns):
    n = len(rewards)
    ids = {"video_id": range(n), "propensity": propensity, "reward": rewards}
    return pd.DataFrame(ids | columns)


def simulate(world, *, n_worlds=1, seed=0, **options):
    rollout = BatchRollout(STAGES, threshold=2.5, random_state=seed, **options).fit()
    return rollout.simulate(
        world.videos, world.viewers, world.response, n_worlds=n_worlds
    )


@pytest.fixture(scope="module")
def world():
    return World(300, 4000, 1)


@pytest.fixture(scope="module")
def logged(world):
    return simulate(world, epsilon=0.5, n_worlds=4).decisions


def test_weights_multiply_along_a_journey():
    log = pd.DataFrame(
        {
            "video_id": ["a", "b", "a", "c"],
            "propensity": [0.5, 0.8, 0.25, 0.1],
            "reward": [3.0, 0.0, 40.0, 7.0],
        }
    )
    estimate = inverse_propensity(log, [1.0, 0.4, 0.5, 0.0])
    # Twice 3 and four times 40 of a, nothing of b and c.
    assert estimate["value"] == pytest.approx((6 + 160) / 3)
    weights = np.array([4, 0.5, 0])
    assert estimate["n_effective"] == pytest.approx(4.5**2 / (weights**2).sum())
    values = np.array([166.0, 0, 0])
    reach = 1.959964 * values.std(ddof=1) / np.sqrt(3)
    assert estimate["high"] - estimate["value"] == pytest.approx(reach)


def test_worlds_are_apart():
    log = make_log([1.0, 1.0], world=[0, 1], video_id=["a", "a"])
    assert inverse_propensity(log, [0.5, 0.5])["n_videos"] == 2


def test_the_logging_rule_itself_has_its_mean(logged):
    estimate = inverse_propensity(logged, logged["propensity"])
    total = logged.groupby(["world", "video_id"])["reward"].sum()
    assert estimate["value"] == pytest.approx(total.mean())
    assert estimate["n_effective"] == pytest.approx(len(total))


def test_a_model_that_expects_nothing_changes_nothing(logged):
    target = BatchRollout(threshold=2.0).fit().propensity(logged)
    zero = np.zeros(len(logged))
    pd.testing.assert_series_equal(
        doubly_robust(logged, target, zero, zero), inverse_propensity(logged, target)
    )


def fair_model(decisions, target):
    """Expect the later points from the score, as if every mean were what it seems."""
    sizes = dict(zip((1, 2), STAGES[1:], strict=True))
    after = decisions["score"] * decisions["stage"].map(sizes)
    if_widened = np.where(decisions["widened"], target, 1 - target)
    return after * decisions["widened"], after * if_widened


@pytest.mark.parametrize("rule", ["threshold", "lcb", "thompson"])
def test_estimates_agree_with_running_the_other_rule(world, logged, rule):
    truth = simulate(world, rule=rule, n_worlds=10, seed=1).decisions["reward"].sum()
    truth /= 10 * len(world.videos)
    other = BatchRollout(rule=rule, threshold=2.5).fit()
    target = other.propensity(logged)
    weighted = inverse_propensity(logged, target)
    assert weighted["low"] < truth < weighted["high"]
    robust = doubly_robust(logged, target, *fair_model(logged, target))
    reach = (weighted["high"] - weighted["low"]) / 2
    assert abs(robust["value"] - truth) < reach
    assert robust["high"] - robust["low"] < 2 * reach


def test_any_model_leaves_it_unbiased():
    """By exact enumeration of one decision: a bad model moves single rows only."""
    chance, rewards, q = 0.3, np.array([5.0, 1.0]), np.array([-40.0, 90.0])
    target = np.array([0.9, 0.1])
    logging = np.array([chance, 1 - chance])
    values = [
        doubly_robust(
            make_log([rewards[a]], logging[a]), [target[a]], [q[a]], [target @ q]
        )["value"]
        for a in (0, 1)
    ]
    assert logging @ values == pytest.approx(target @ rewards)


def test_replay_is_the_mean_over_agreed_coins():
    log = make_log([8.0, 1.0, 2.0, 4.0])
    estimate = replay(log, [1, 0, 1, 0])
    assert estimate["value"] == 5
    assert estimate["n_effective"] == estimate["n_videos"] == 2
    rng = np.random.default_rng(0)
    score, widened = rng.normal(size=20_000), rng.integers(0, 2, 20_000)
    many = make_log(widened * (score + 1))
    agrees = (widened == (score > 0)).astype(float)
    half_normal = np.sqrt(2 / np.pi)  # of the half above 0, at 1 + E[score | above]
    assert replay(many, agrees)["value"] == pytest.approx(
        (1 + half_normal) / 2, abs=0.03
    )


@pytest.mark.parametrize("epsilon", [0.0, 0.3])
def test_the_propensity_of_the_rule_that_ran_is_the_logged_one(world, epsilon):
    for rule in ("threshold", "lcb", "thompson", "sequential", "top_fraction"):
        options = {"rule": rule, "threshold": 2.5, "epsilon": epsilon}
        rollout = BatchRollout(STAGES, **options, random_state=0).fit()
        decisions = rollout.simulate(
            world.videos, world.viewers, world.response
        ).decisions
        found = rollout.propensity(decisions)
        np.testing.assert_allclose(found, decisions["propensity"])


def test_a_log_without_propensities_is_refused(logged):
    bare = logged.drop(columns="propensity")
    for estimate in (
        lambda: inverse_propensity(bare, np.ones(len(bare))),
        lambda: replay(bare, np.ones(len(bare))),
        lambda: doubly_robust(bare, *np.ones((3, len(bare)))),
    ):
        with pytest.raises(ValueError, match="log lacks the column 'propensity'"):
            estimate()


def test_replay_needs_uniform_logging(logged):
    with pytest.raises(
        ValueError, match="replay needs uniform logging, .* got 0.25 to"
    ):
        replay(logged, np.ones(len(logged)))
    twice = make_log(video_id=["a", "a", "b", "c"])
    with pytest.raises(ValueError, match="replay needs one decision a video, got 1"):
        replay(twice, np.ones(4))
    with pytest.raises(
        ValueError, match="target must hold 0 and 1, some 1, got values"
    ):
        replay(make_log(), np.full(4, 0.5))
    with pytest.raises(
        ValueError, match="target must hold 0 and 1, some 1, got values"
    ):
        replay(make_log(), np.zeros(4))


@pytest.mark.parametrize(
    "log, target, match",
    [
        (make_log(propensity=0.0), np.ones(4), r"probabilities in \(0, 1\], got 0.0"),
        (make_log(propensity=1.5), np.ones(4), r"probabilities in \(0, 1\], got 1.5"),
        (make_log(), [1, 1, 2, 1], r"target must hold .* \[0, 1\], got 2.0 in row 2"),
        (make_log(), np.ones(3), "target must hold one finite number a decision, 4"),
        (make_log([np.nan] * 4), np.ones(4), r"log\['reward'\] must hold one finite"),
        (make_log(propensity=1.0), np.zeros(4), "the logged decision was certain"),
        (
            make_log().drop(columns="reward"),
            np.ones(4),
            r"lacks the columns \['reward'",
        ),
    ],
)
def test_wrong_logs_are_refused(log, target, match):
    with pytest.raises(ValueError, match=match):
        inverse_propensity(log, target)


def test_decisions_of_a_video_are_in_their_order(logged):
    """A later reward is weighted by all decisions before it, so their order counts."""
    lcb = BatchRollout(rule="lcb", threshold=2.5).fit()
    expected = inverse_propensity(logged, lcb.propensity(logged))
    mixed = logged.sample(frac=1, random_state=0)
    with pytest.raises(
        ValueError, match="log must have the earlier decisions of a vid"
    ):
        inverse_propensity(mixed, lcb.propensity(mixed))
    dates = mixed.assign(day=pd.to_datetime(mixed["day"], unit="D"))
    with pytest.raises(
        ValueError, match="log must have the earlier decisions of a vid"
    ):
        inverse_propensity(dates, lcb.propensity(dates))
    # Other videos may come in between.
    by_day = mixed.sort_values("day", kind="stable")
    found = inverse_propensity(by_day, lcb.propensity(by_day))
    pd.testing.assert_series_equal(found, expected)


def test_days_are_numbers_or_datetimes():
    """As texts, "10" is before "9"; after a missing day, any day may come."""
    log = make_log(video_id=["a", "a", "b", "b"])
    for days in ([9, 10, 1, 2], pd.Categorical([9, 10, 1, 2])):
        assert inverse_propensity(log.assign(day=days), np.ones(4))["n_videos"] == 2
    text = log.assign(day=["9", "10", "1", "2"])
    match = r"log\['day'\] must hold numbers or datetimes, got .*string"
    with pytest.raises(TypeError, match=match):
        inverse_propensity(text, np.ones(4))
    with pytest.raises(ValueError, match=r"log\['day'\] has 1 missing values"):
        inverse_propensity(log.assign(day=[9, np.nan, 1, 2]), np.ones(4))


@pytest.mark.parametrize("column", ["video_id", "world"])
def test_ids_of_decisions_are_needed(column):
    log = make_log(world=0)
    log[column] = [1.0, None, 2.0, 3.0]
    with pytest.raises(
        ValueError, match=r"log\['world', 'video_id'\] must have no miss"
    ):
        inverse_propensity(log, np.ones(4))


def test_decisions_to_be_judged_are_checked(logged):
    lcb = BatchRollout(rule="lcb", threshold=2.5).fit()
    unknown = logged.assign(score=logged["score"].where(logged.index != 3))
    with pytest.raises(ValueError, match="no missing numbers, got some in row 3"):
        lcb.propensity(unknown)
    for widened in (logged["widened"].astype(str), None):
        with pytest.raises(
            ValueError, match=r"decisions\['widened'\] must hold boolea"
        ):
            lcb.propensity(logged.assign(widened=widened))
    for dtype in (object, "boolean", "bool[pyarrow]"):
        same = logged.astype({"widened": dtype})
        np.testing.assert_array_equal(lcb.propensity(same), lcb.propensity(logged))


def test_what_the_target_never_reaches_needs_no_support():
    """The target never widens a, so what it would do there later does not matter."""
    log = make_log(
        [8.0, 5.0, 1.0], [0.5, 1.0, 0.5], video_id=["a", "a", "b"], world=[0, 0, 0]
    )
    estimate = inverse_propensity(log, [0.0, 0.0, 0.5])
    assert estimate["value"] == pytest.approx(1 / 2)
    with pytest.raises(ValueError, match="in row 1 the logged decision was certain"):
        inverse_propensity(log, [0.1, 0.0, 0.5])


def test_options_are_checked(logged):
    with pytest.raises(ValueError, match="confidence_level == 1, must be < 1"):
        inverse_propensity(make_log(), np.ones(4), confidence_level=1)
    with pytest.raises(ValueError, match="confidence_level must be a finite number"):
        inverse_propensity(make_log(), np.ones(4), confidence_level=np.nan)
    with pytest.raises(ValueError, match="expected must hold one finite number"):
        doubly_robust(make_log(), np.ones(4), np.full(4, np.nan), np.ones(4))
    with pytest.raises(ValueError, match="rule='sequential' needs decisions that a"):
        BatchRollout(rule="sequential", threshold=2.5).fit().propensity(logged)
    with pytest.raises(ValueError, match=r"decisions lacks the columns \['score'\]"):
        BatchRollout(threshold=2.5).fit().propensity(logged.drop(columns="score"))


@pytest.mark.parametrize(
    "wrong", ["3", pd.Timestamp("2020-01-01"), [1.0], pd.Timedelta("1s"), "three"]
)
def test_what_is_no_number_is_refused_by_name(wrong):
    bad = pd.Series([wrong] * 4)
    for column in ("propensity", "reward"):
        with pytest.raises(TypeError, match=rf"log\['{column}'\] must hold numbers"):
            inverse_propensity(make_log().assign(**{column: bad}), np.ones(4))
    with pytest.raises(TypeError, match="target must hold numbers, got .* Convert"):
        inverse_propensity(make_log(), bad)
    with pytest.raises(TypeError, match="expected_target must hold numbers"):
        doubly_robust(make_log(), np.ones(4), np.ones(4), bad)
