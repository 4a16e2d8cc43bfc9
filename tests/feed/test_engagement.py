import numpy as np
import pandas as pd
import polars as pl
import pytest

from skchallenge.feed import EngagementScorer, engagement_signals, engagement_table

ZERO = {"is_forward": 0, "is_comment": 0, "is_like": 0, "is_hate": 0}


def make_log(ratios, **columns):
    """Make one impression of a ten-second video for each ratio of play to duration."""
    plays = [None if r is None else round(10_000 * r) for r in ratios]
    table = {"row": range(len(plays)), "play_time_ms": plays, "duration_ms": 10_000}
    return pd.DataFrame(table | ZERO | columns)


def random_log(n=400, seed=0):
    rng = np.random.default_rng(seed)
    clicks = {name: rng.integers(0, 2, n) for name in ZERO}
    return pd.DataFrame(
        {
            "user_id": rng.integers(0, 20, n),
            "video_id": rng.integers(0, 15, n),
            "play_time_ms": rng.integers(0, 60_000, n),
            "duration_ms": rng.integers(1000, 40_000, n),
        }
        | clicks
    )


# Hand-worked: ratio of play to duration, re-watches (at most 1 and 3), completion.
@pytest.mark.parametrize(
    "ratio, at_most_1, at_most_3, completion",
    [
        (0.0, 0, 0, 0),
        (0.8999, 0, 0, 0),
        (0.9, 0, 0, 1),
        (1.9999, 0, 0, 1),
        (2.0, 1, 1, 1),
        (2.9, 1, 1, 1),
        (3.0, 1, 2, 1),
        (47.0, 1, 3, 1),
    ],
)
def test_hand_worked_ratios(ratio, at_most_1, at_most_3, completion):
    log = make_log([ratio])
    assert engagement_signals(log)["rewatch"].item() == at_most_1
    assert engagement_signals(log, max_rewatches=3)["rewatch"].item() == at_most_3
    assert engagement_signals(log)["completion"].item() == completion


def test_a_rewatch_is_a_completion_wherever_it_starts():
    log = make_log(np.linspace(0, 5, 51))
    for at in (1.0, 1.5, 2.0, 3.0):
        signals = engagement_signals(log, completion_at=1.0, rewatch_at=at)
        assert (signals["rewatch"] <= signals["completion"]).all()


def test_unknown_durations_and_plays_are_missing_not_zero():
    log = make_log([0.5, 0.5, None], duration_ms=[0, None, 10_000], is_like=1)
    signals = engagement_signals(log)
    assert signals[["rewatch", "completion"]].isna().all(axis=None)
    assert (signals["like"] == 1).all()
    assert np.isnan(EngagementScorer().fit_transform(signals)).all()


def test_duplicates_are_dropped_and_the_index_says_which():
    log = make_log([0.1, 0.2, 0.3], row=0)
    twice = pd.concat([log, log.iloc[[1]], log.iloc[[0]]])
    signals = engagement_signals(twice)
    assert signals.index.tolist() == [0, 1, 2]
    assert engagement_signals(pl.from_pandas(twice)).equals(signals)


@pytest.mark.parametrize("column", ["play_time_ms", "duration_ms"])
def test_negative_times_are_refused(column):
    log = make_log([0.1, 0.2])
    log.loc[1, column] = -5
    with pytest.raises(ValueError, match=rf"log\['{column}'\] .* got -5.0 in row 1"):
        engagement_signals(log)


@pytest.mark.parametrize("column", ["play_time_ms", "duration_ms"])
def test_one_time_without_the_other_is_refused(column):
    with pytest.raises(ValueError, match=rf"log lacks the columns \['{column}'\]"):
        engagement_signals(make_log([1.0]).drop(columns=column))


@pytest.mark.parametrize("value", [2, -1, None])
def test_clicks_are_zero_or_one(value):
    log = make_log([1.0, 1.0], is_like=[0, value])
    with pytest.raises(ValueError, match=r"log\['is_like'\] must hold 0 and 1, got"):
        engagement_signals(log)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"completion_at": 0}, "completion_at == 0, must be > 0"),
        ({"rewatch_at": 0.5}, "rewatch_at == 0.5, must be >= 0.9"),
        ({"completion_at": np.nan}, "completion_at must be a finite number, got nan"),
        ({"rewatch_at": np.nan}, "rewatch_at must be a finite number, got nan"),
        ({"max_rewatches": -1}, "max_rewatches == -1, must be >= 0"),
    ],
)
def test_parameters_are_checked(options, match):
    with pytest.raises(ValueError, match=match):
        engagement_signals(make_log([1.0]), **options)


def test_the_points_of_the_articles():
    one_of_each = pd.DataFrame(np.eye(5), columns=list("abcde"))
    one_of_each.columns = ["rewatch", "completion", "share", "comment", "like"]
    score = EngagementScorer().fit_transform(one_of_each)
    assert score.ravel().tolist() == [10, 8, 6, 4, 2]


def test_names_matter_and_order_does_not():
    signals = engagement_signals(random_log())
    score = EngagementScorer().fit_transform(signals)
    turned = signals[signals.columns[::-1]]
    np.testing.assert_array_equal(EngagementScorer().fit_transform(turned), score)
    nameless = signals.drop(columns="hate").to_numpy()
    np.testing.assert_array_equal(EngagementScorer().fit_transform(nameless), score)


def test_other_columns_are_ignored_whatever_they_hold():
    signals = engagement_signals(random_log())
    score = EngagementScorer().fit_transform(signals)
    others = {"title": "a cat", "shift": -1.0, "when": pd.Timestamp("2020-06-12")}
    wide = signals.assign(**others)[[*others, *signals.columns]]
    scorer = EngagementScorer().fit(wide)
    np.testing.assert_array_equal(scorer.transform(wide), score)
    assert scorer.n_features_in_ == len(wide.columns)
    np.testing.assert_array_equal(
        EngagementScorer().fit_transform(pl.from_pandas(wide)), score
    )
    assert np.isnan(scorer.transform(wide.assign(like=np.nan))).all()
    with pytest.raises(ValueError, match="Negative values in data passed to Engage"):
        scorer.transform(wide.assign(like=-1.0))
    with pytest.raises(ValueError, match="could not convert string to float: 'much'"):
        scorer.transform(wide.assign(like="much"))
    with pytest.raises(ValueError, match="feature names should match"):
        scorer.transform(wide.drop(columns="title"))
    single = EngagementScorer().fit_transform(signals.astype(np.float32))
    assert single.dtype == np.float32


def test_a_missing_value_does_not_hide_a_negative_one():
    X = pd.DataFrame([[0.0, -5.0], [np.nan, 1.0]], columns=["like", "share"])
    scorer = EngagementScorer({"like": 2, "share": 6})
    for table in (X, X.to_numpy(), X.iloc[::-1]):
        with pytest.raises(ValueError, match="Negative values in data passed to Enga"):
            scorer.fit(table)


def test_nameless_columns_must_be_as_many_as_the_points():
    signals = engagement_signals(random_log()).to_numpy()
    EngagementScorer().fit(signals)
    with pytest.raises(
        ValueError, match=r"X has 4 feature\(s\), but points has 5 .*'like'"
    ):
        EngagementScorer().fit(signals[:, :4])


def test_negative_points_lower_the_score():
    signals = engagement_signals(random_log())
    score = EngagementScorer({"like": 2, "hate": -5}).fit_transform(signals)[:, 0]
    np.testing.assert_array_equal(score, 2 * signals["like"] - 5 * signals["hate"])


def test_scoring_commutes_with_averaging():
    signals = engagement_signals(random_log())
    scorer = EngagementScorer().fit(signals)
    mean = pd.DataFrame([signals.mean()])
    np.testing.assert_allclose(scorer.transform(mean), scorer.transform(signals).mean())


def test_pandas_output_is_named_score():
    signals = engagement_signals(random_log(9))
    table = EngagementScorer().set_output(transform="pandas").fit_transform(signals)
    assert table.columns.tolist() == ["score"]
    assert table.index.equals(signals.index)


@pytest.mark.parametrize(
    "points, match",
    [
        ({}, "points must name at least one signal"),
        ({"like": np.nan}, r"points\['like'\] must be a finite number, got nan"),
        ({"like": "2"}, r"points\['like'\] must be a finite number, got '2'"),
        ({"dislike": 1}, r"X lacks the columns \['dislike'\].*engagement_signals"),
    ],
)
def test_wrong_points_are_refused(points, match):
    with pytest.raises(ValueError, match=match):
        EngagementScorer(points).fit(pd.DataFrame({"like": [1.0]}))


def test_points_have_names():
    with pytest.raises(TypeError, match=r"points must be a dict .* got \[10, 8\]"):
        EngagementScorer([10, 8]).fit(pd.DataFrame({"like": [1.0]}))


@pytest.mark.parametrize("by", ["video_id", "user_id"])
def test_the_table_agrees_with_a_loop(by):
    log = random_log()
    table = engagement_table(log, by=by)
    signals = engagement_signals(log)
    seen, points = set(), {}
    for i, row in signals.iterrows():
        pair = (log["user_id"][i], log["video_id"][i])
        again = row["rewatch"] if pair not in seen else 0
        if row["rewatch"]:
            seen.add(pair)
        total = 10 * again + 8 * row["completion"] + 6 * row["share"]
        total += 4 * row["comment"] + 2 * row["like"]
        points.setdefault(log[by][i], []).append(total)
    assert table.index.tolist() == sorted(points)
    np.testing.assert_allclose(
        table["score"], [np.mean(points[k]) for k in sorted(points)]
    )
    assert table["impressions"].sum() == len(log)


def test_looping_a_video_over_and_over_does_not_help():
    many = make_log([2.0] * 20, user_id="ann", video_id="v", row=range(20))
    table = engagement_table(many, by="video_id")
    assert table["rewatch"].item() == 1 / 20
    three = engagement_table(many, by="video_id", max_rewatches=3)
    assert three["rewatch"].item() == 3 / 20
    apart = many.assign(user_id=range(20))
    assert engagement_table(apart, by="video_id")["rewatch"].item() == 1


def test_adjusted_scores_do_not_know_the_duration():
    # Users watch the same seconds whatever the duration: short videos are completed.
    rng = np.random.default_rng(0)
    n, duration = 20_000, np.geomspace(1000, 60_000, 200).round()
    video = rng.integers(0, 200, n)
    play = rng.exponential(9000, n).round()
    log = make_log(np.zeros(n), user_id=np.arange(n), video_id=video)
    log = log.assign(play_time_ms=play, duration_ms=duration[video])
    plain = engagement_table(log, by="video_id")["score"]
    adjusted = engagement_table(log, by="video_id", adjust_duration=True)["score"]
    assert plain.corr(pd.Series(duration), method="spearman") < -0.9
    assert abs(adjusted.corr(pd.Series(duration), method="spearman")) < 0.4
    assert adjusted.mean() == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("n_long", [0, 1, 4, 9])
def test_few_different_durations_are_adjusted_each(n_long):
    """Many platforms offer two or three lengths, most videos have one of them."""
    duration = np.r_[np.full(10 - n_long, 15_000), np.full(n_long, 60_000)]
    log = make_log(np.zeros(10), user_id=range(10), video_id=range(10))
    log = log.assign(duration_ms=duration, is_like=np.arange(10) % 2)
    log.loc[duration == 15_000, "play_time_ms"] = 15_000
    found = engagement_table(log, by="video_id", adjust_duration=True)["score"]
    points = 8 * (duration == 15_000) + 2 * log["is_like"]
    expected = points - points.groupby(duration).transform("mean")
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("column", ["video_id", "user_id"])
def test_ids_of_a_table_are_checked(column):
    log = random_log()
    with pytest.raises(ValueError, match=rf"log\['{column}'\] has 3 missing values"):
        engagement_table(
            log.assign(**{column: log[column].where(log.index > 2)}), by="video_id"
        )
    mixed = log.assign(**{column: log[column].astype(object).where(log.index > 2, "a")})
    with pytest.raises(TypeError, match=rf"log\['{column}'\] must hold strings or in"):
        engagement_table(mixed, by="video_id")


@pytest.mark.parametrize("dtype", [pd.CategoricalDtype(range(99)), "Int64", object])
def test_ids_of_any_type_make_the_same_table(dtype):
    log = random_log()
    typed = log.astype({"video_id": dtype, "user_id": dtype})
    for by in ("video_id", "user_id"):
        found, expected = (engagement_table(t, by=by) for t in (typed, log))
        pd.testing.assert_frame_equal(found, expected, check_index_type=False)


def test_lists_cannot_be_compared():
    log = make_log([1.0, 1.0], tags=[["cats"], ["dogs"]])
    with pytest.raises(TypeError, match="log must hold plain values.* Drop such col"):
        engagement_signals(log)


def test_a_video_without_a_duration_has_no_score():
    log = make_log([1.0, 1.0], user_id=[1, 2], video_id=["a", "b"], duration_ms=[0, 9])
    table = engagement_table(log, by="video_id")
    assert np.isnan(table.loc["a", "score"])
    assert table.loc["a", "impressions"] == 1


@pytest.mark.parametrize(
    "value", ["far", "9", pd.Timestamp("2020-06-12"), pd.Timedelta(9, "s")]
)
@pytest.mark.parametrize("column", ["play_time_ms", "duration_ms", "is_like"])
def test_what_is_no_number_is_named(column, value):
    log = make_log([1.0, 1.0]).assign(**{column: value})
    with pytest.raises(TypeError, match=rf"log\['{column}'\] must hold numbers, got"):
        engagement_signals(log)


def test_text_of_numbers_beside_numbers_is_no_number():
    log = make_log([1.0, 1.0]).assign(is_like=pd.Series([1, "1"], dtype=object))
    for some in (log, log.astype({"is_like": str}).astype({"is_like": "category"})):
        with pytest.raises(TypeError, match="text is not read; pandas.to_numeric does"):
            engagement_signals(some)


def test_long_numbers_of_polars_keep_their_digits_beside_missing_ones():
    """As floats they would be equal, and impressions of two sessions one."""
    log = make_log([1.0, 1.0, 1.0]).assign(user_id=1, video_id="a", play_time_ms=5)
    session = pl.Series([2**60, 2**60 + 1, None])
    table = pl.from_pandas(log).with_columns(session.alias("session"))
    assert len(engagement_signals(table)) == 3
    unsigned = table.with_columns((session.cast(pl.UInt64) + 2**63).alias("session"))
    assert len(engagement_signals(unsigned)) == 3


def test_a_table_of_nothing_is_refused():
    with pytest.raises(ValueError, match="log must hold at least one impression"):
        engagement_table(random_log()[:0], by="video_id")


@pytest.mark.parametrize("adjust_duration", [False, True])
def test_a_table_takes_other_points(adjust_duration):
    log = random_log()
    log.loc[::9, "duration_ms"] = 0  # unknown: in none of the means
    points = {"like": 2.0, "hate": -5.0}
    options = {"by": "video_id", "adjust_duration": adjust_duration}
    found = engagement_table(log, **options, points=points)
    own = (2 * log["is_like"] - 5 * log["is_hate"]).where(log["duration_ms"] > 0)
    if adjust_duration:
        rank = log["duration_ms"].where(log["duration_ms"] > 0).rank()
        tenth = np.ceil(rank * 10 / rank.count())
        own -= own.groupby(tenth).transform("mean")
    expected = own.groupby(log["video_id"]).mean()
    np.testing.assert_allclose(found["score"], expected, atol=1e-12)
    signals = ["rewatch", "completion", "share", "comment", "like", "hate"]
    usual = engagement_table(log, **options)
    pd.testing.assert_frame_equal(found[signals], usual[signals])
    if not adjust_duration:
        again = EngagementScorer(points).fit_transform(usual)
        np.testing.assert_allclose(again[:, 0], found["score"])


def test_the_table_is_by_video_or_user():
    with pytest.raises(ValueError, match="by must be one of .*'user_id'.*, got 'tag'"):
        engagement_table(random_log(), by="tag")
    with pytest.raises(ValueError, match=r"log lacks the columns \['user_id'\]"):
        engagement_table(make_log([1.0], video_id=1), by="video_id")
