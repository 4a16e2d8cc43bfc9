import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy.special import expit, logit
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skchallenge.feed import GenreProfiler
from skchallenge.feed._counts import fit_strength
from skchallenge.feed._profile import popularity

BY_NAME = {"user": "user", "genre": "genre", "video": "video"}


def make_log(n_users=60, n=40, *, sd=1.0, n_genres=5, n_videos=50, seed=0):
    """Draw a log whose taste of each user for each genre has a log-odds sd of `sd`."""
    rng = np.random.default_rng(seed)
    user, video = (
        np.repeat(np.arange(n_users), n),
        rng.integers(0, n_videos, n_users * n),
    )
    genre = rng.integers(0, n_genres, n_videos)[video]
    odds = rng.normal(0, 0.5, n_users)[user] + rng.normal(0, 0.5, n_videos)[video]
    odds += sd * rng.normal(0, 1, (n_users, n_genres))[user, genre] - 0.3
    y = (rng.uniform(size=len(odds)) < expit(odds)).astype(int)
    time = np.tile(np.arange(n), n_users)
    X = pd.DataFrame({"user": user, "genre": genre, "video": video, "time": time})
    return X, y


def test_scores_shrink_as_worked_by_hand():
    X = [["ann", "cats"], ["ann", "cats"], ["bob", "cats"], ["bob", "dogs"]]
    points = [10, 8, 0, 2]
    profiler = GenreProfiler(shrinkage=2.0).fit(X, [1, 1, 0, 0], points=points)
    mean = 20 / 4
    cats, dogs = (18 + 2 * mean) / (3 + 2), (2 + 2 * mean) / (1 + 2)
    expected = [
        ("ann", "cats", (18 + 2 * cats) / 4, 2),
        ("bob", "cats", (0 + 2 * cats) / 3, 1),
        ("bob", "dogs", (2 + 2 * dogs) / 3, 1),
    ]
    table = pd.DataFrame(expected, columns=["user", "genre", "score", "weight"])
    pd.testing.assert_frame_equal(
        profiler.profile_, table, check_dtype=False, check_index_type=False
    )


def test_probabilities_as_worked_by_hand():
    X = pd.DataFrame({"user": list("aabb"), "genre": list("xyxy")})
    profiler = GenreProfiler(shrinkage=4.0).fit(X, [1, 1, 1, 0])
    overall = (3 + 1) / (4 + 2)
    x, y = (2 + 4 * overall) / (2 + 4), (1 + 4 * overall) / (2 + 4)
    usual = (x + y) / 2
    shift = logit((2 + 4 * usual) / 6) - logit(usual)
    # Four impressions say nothing of tastes: only the user shifts.
    found = profiler.predict_proba(X.iloc[:2])[:, 1]
    np.testing.assert_allclose(logit(found), logit([x, y]) + shift, atol=0.02)
    stranger = pd.DataFrame({"user": ["c", "c"], "genre": ["y", "z"]})
    np.testing.assert_allclose(
        profiler.predict_proba(stranger)[:, 1], [y, overall], rtol=1e-12
    )


def test_several_genres_share_a_row():
    X = pd.DataFrame({"user": ["ann", "ann"], "genre": ["39,68", " 68"]})
    profile = GenreProfiler().fit(X, [1, 0]).profile_.set_index("genre")
    assert profile["weight"].to_dict() == {"39": 0.5, "68": 1.5}
    for once in ("39,39", "39,", " ,39,,"):
        same = pd.DataFrame({"user": ["ann"], "genre": [once]})
        profile = GenreProfiler().fit(same, [1]).profile_
        assert profile[["genre", "weight"]].to_numpy().tolist() == [["39", 1.0]]


@pytest.mark.parametrize("half_life", [None, 7.0])
def test_partial_fit_equals_fit(half_life):
    X, y = make_log()
    rng = np.random.default_rng(1)
    weight, points = rng.uniform(0, 2, len(y)), rng.uniform(0, 30, len(y))
    options = BY_NAME | {"time": "time", "half_life": half_life}
    whole = GenreProfiler(**options).fit(X, y, weight, points)
    parts = GenreProfiler(**options)
    # Fading must meet later times; without it, any order will do.
    order = X["time"].to_numpy().argsort() if half_life else rng.permutation(len(y))
    for rows in np.array_split(order, 7):
        parts.partial_fit(
            X.iloc[rows], y[rows], sample_weight=weight[rows], points=points[rows]
        )
    pd.testing.assert_frame_equal(parts.profile_, whole.profile_, rtol=1e-9)
    np.testing.assert_allclose(
        parts.predict_proba(X), whole.predict_proba(X), rtol=1e-4, atol=1e-6
    )


def test_after_a_long_gap_the_past_is_forgotten_either_way():
    X, y = make_log(8, 20)
    late = X["user"] >= 4
    X = X.assign(time=X["time"] + 5000.0 * late, video=X["video"] + 100 * late)
    weight = np.where(X["time"] % 2, 1e-11, 3.0)  # light, but not old
    options = BY_NAME | {"time": "time", "half_life": 1.0, "exploration": 0.0}
    whole = GenreProfiler(**options).fit(X, y, weight)
    parts = GenreProfiler(**options)
    for rows in (~late, late, ~late):  # the third batch is all too old
        rows = rows.to_numpy()
        parts.partial_fit(X[rows], y[rows], sample_weight=weight[rows])
    assert set(whole.profile_["user"]) == {4, 5, 6, 7}
    assert np.isfinite(whole.profile_["score"]).all()
    pd.testing.assert_frame_equal(parts.profile_, whole.profile_, rtol=1e-9)
    np.testing.assert_allclose(parts.predict_proba(X), whole.predict_proba(X))
    table = parts.recommend([0, 5], k=40)
    pd.testing.assert_frame_equal(table, whole.recommend([0, 5], k=40))
    assert set(table.loc[table["user"] == 0, "reason"]) == {"cold"}
    assert (table["video"] >= 100).all()


def test_rows_of_no_weight_are_as_good_as_absent():
    X, y = make_log(8, 20)
    weight = (X["time"] < 10).astype(float)
    options = BY_NAME | {"time": "time", "half_life": 0.1}
    kept = weight.to_numpy() > 0
    expected = GenreProfiler(**options).fit(X[kept], y[kept]).profile_
    found = GenreProfiler(**options).fit(X, y, weight).profile_
    pd.testing.assert_frame_equal(found, expected)


def test_fit_forgets_what_was_learned_before():
    X, y = make_log()
    once = GenreProfiler(**BY_NAME, half_life=3, time="time").fit(X[:500], y[:500])
    proba = once.predict_proba(X)
    once.fit(X, y).partial_fit(X, y).fit(X[:500], y[:500])
    np.testing.assert_array_equal(once.predict_proba(X), proba)


def test_old_impressions_fade():
    X = pd.DataFrame({"u": ["ann"] * 4, "g": ["cats"] * 4, "t": [0.0, 7, 14, 14]})
    options = {"user": "u", "genre": "g", "time": "t"}
    profiler = GenreProfiler(**options, half_life=7.0).fit(X, [1, 1, 0, 0])
    assert profiler.profile_["weight"].item() == 0.25 + 0.5 + 2
    assert profiler.predict(X[:1]).item() == 0
    assert GenreProfiler(**options).fit(X, [1, 1, 0, 0]).predict_proba(X)[0, 1] == 0.5


def test_a_planted_taste_is_found_and_an_absent_one_is_not():
    for sd, low, high in ((1.0, 0.02, 0.2), (0.0, -0.003, 0.003)):
        X, y = make_log(200, 60, sd=sd)
        train = (X["time"] < 40).to_numpy()
        profiler = GenreProfiler(**BY_NAME).fit(X[train], y[train])
        with_taste = roc_auc_score(y[~train], profiler.predict_proba(X[~train])[:, 1])
        profiler._rates.cell[:] = 0.0
        without = roc_auc_score(y[~train], profiler.predict_proba(X[~train])[:, 1])
        assert low < with_taste - without < high


def test_the_strength_of_the_prior_is_recovered():
    rng = np.random.default_rng(0)
    rate, weight = rng.uniform(0.2, 0.8, 4000), rng.integers(5, 50, 4000)
    alike = rng.binomial(weight, rate)
    own = rng.beta(8 * rate, 8 * (1 - rate))
    assert fit_strength(alike, weight, rate, 1.0) > 300
    found = fit_strength(rng.binomial(weight, own), weight, rate, 1.0)
    assert found == pytest.approx(8, rel=0.1)
    assert fit_strength(alike, weight, rate, 1e6) >= 1e6


def test_columns_by_name_and_position_agree():
    X, y = make_log()
    named = GenreProfiler(**BY_NAME).fit(X, y).predict_proba(X)
    placed = GenreProfiler(0, 1, video=2)
    np.testing.assert_array_equal(placed.fit(X, y).predict_proba(X), named)
    np.testing.assert_array_equal(
        GenreProfiler(0, 1, video=2).fit(X.to_numpy(), y).predict_proba(X.to_numpy()),
        named,
    )
    from_the_end = GenreProfiler(-4, -3, video=-2)
    np.testing.assert_array_equal(from_the_end.fit(X, y).predict_proba(X), named)
    prefixed = X.add_prefix("remainder__")  # as a ColumnTransformer names them
    np.testing.assert_array_equal(
        GenreProfiler(**BY_NAME).fit(prefixed, y).predict_proba(prefixed), named
    )
    table = pl.from_pandas(X)
    np.testing.assert_array_equal(
        GenreProfiler(**BY_NAME).fit(table, y).predict_proba(table), named
    )


def test_long_ids_keep_every_digit():
    ids = [6_895_303_124_119_014_657, 6_895_303_124_119_014_658]
    X = pd.DataFrame({"user": ids, "genre": 1, "time": [0.5, 0.5]})
    profiler = GenreProfiler("user", "genre").fit(X, [0, 1])
    assert profiler.profile_["user"].tolist() == ids


def test_a_search_tunes_it_and_a_pipeline_holds_it():
    X, y = make_log(20)
    model = make_pipeline(FunctionTransformer(), GenreProfiler(**BY_NAME))
    grid = {"genreprofiler__shrinkage": [1.0, 5.0]}
    search = GridSearchCV(model, grid, scoring="roc_auc", cv=3).fit(X, y)
    assert search.best_score_ > 0.5


def test_points_are_routed():
    X, y = make_log(20)
    points = np.random.default_rng(0).uniform(0, 30, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        profiler = GenreProfiler(**BY_NAME).set_fit_request(points=True)
        scores = cross_validate(
            profiler, X, y, cv=2, params={"points": points}, return_estimator=True
        )
        piped = make_pipeline(profiler).fit(X, y, points=points)[-1]
    for fitted in scores["estimator"]:
        assert fitted.profile_["score"].max() > 1  # points, not labels
    direct = GenreProfiler(**BY_NAME).fit(X, y, points=points)
    pd.testing.assert_frame_equal(piped.profile_, direct.profile_)


def test_any_two_labels_will_do():
    X, y = make_log(10)
    words = np.where(y == 1, "watched", "skipped")
    profiler = GenreProfiler(**BY_NAME).fit(X, words)
    assert profiler.classes_.tolist() == ["skipped", "watched"]
    number = GenreProfiler(**BY_NAME).fit(X, y)
    np.testing.assert_array_equal(
        profiler.predict(X) == "watched", number.predict(X) == 1
    )


@pytest.mark.parametrize("label", [0, 1, False, True, 0.0, 1.0])
def test_a_lone_label_is_engaged_only_if_it_says_so(label):
    X, _ = make_log(10, 15)
    y = np.full(len(X), label)
    profiler = GenreProfiler(**BY_NAME, exploration=0.0).fit(X, y)
    assert (profiler.predict(X) == label).all()
    assert profiler.predict_proba(X).tolist() == [[1.0]] * len(X)
    np.testing.assert_allclose(profiler.profile_["score"], float(label))
    score = profiler.recommend([3, 99], k=3)["score"]
    assert ((score > 0.5) == bool(label)).all()


@pytest.mark.parametrize("label", ["skipped", 2, -1])
def test_a_lone_label_that_does_not_say_so_is_refused(label):
    X, _ = make_log(10, 15)
    y = np.full(len(X), label)
    with pytest.raises(ValueError, match="y must hold both classes, or be 0 or 1, got"):
        GenreProfiler(**BY_NAME).fit(X, y)
    both = [label, 5] if not isinstance(label, str) else [label, "watched"]
    profiler = GenreProfiler(**BY_NAME).partial_fit(X, y, classes=both)
    assert profiler.profile_["score"].max() == 0


def test_recommendations_are_new_distinct_and_best_first():
    X, y = make_log(10, 15)
    profiler = GenreProfiler(**BY_NAME, exploration=0.0).fit(X, y)
    table = profiler.recommend([3, 7], k=8)
    assert table["user"].tolist() == [3] * 8 + [7] * 8
    for user, rows in table.groupby("user"):
        shown = X.loc[X["user"] == user, "video"]
        assert not rows["video"].isin(shown).any()
        assert rows["video"].is_unique
        assert rows["rank"].tolist() == list(range(1, 9))
        assert rows["score"].is_monotonic_decreasing
        genre = X.drop_duplicates("video").set_index("video")["genre"]
        pairs = pd.DataFrame({"user": user, "video": rows["video"], "time": 0})
        pairs.insert(1, "genre", genre[rows["video"]].to_numpy())
        np.testing.assert_allclose(profiler.predict_proba(pairs)[:, 1], rows["score"])


@pytest.mark.parametrize("exploration", [0.0, 0.25, 1.0])
def test_exploration_keeps_its_share(exploration):
    X, y = make_log(60, 15)
    profiler = GenreProfiler(**BY_NAME, exploration=exploration, random_state=0)
    table = profiler.fit(X, y).recommend(range(60), k=10)
    assert (table.groupby("user")["video"].nunique() == 10).all()
    share = (table["reason"] == "exploration").mean()
    assert share == pytest.approx(exploration, abs=0.02)
    pd.testing.assert_frame_equal(table, profiler.recommend(range(60), k=10))


def test_the_cold_start_takes_proven_videos_then_those_of_more_users():
    one_fan = [("ann", "a", 1)] * 4
    four_fans = [(user, "b", 1) for user in ("ann", "bob", "cat", "dan")]
    lucky = [("ann", "c", 1)]
    poor = [("bob", "d", 0)] * 9
    rows = pd.DataFrame(one_fan + four_fans + lucky + poor, columns=["u", "v", "y"])
    profiler = GenreProfiler("u", "v", video="v").fit(rows[["u", "v"]], rows["y"])
    table = profiler.recommend(["eve"], k=3)
    assert table["video"].tolist() == ["b", "a", "c"]
    assert (table["reason"] == "cold").all()
    z = 1.6448536269514722
    assert table["score"].tolist()[:2] == pytest.approx([4 / (4 + z**2)] * 2)


def test_popularity_bounds_cover():
    rng = np.random.default_rng(0)
    engaged = rng.binomial(30, 0.3, 5000)
    index = pd.MultiIndex.from_arrays(
        [np.zeros(5000, int), np.arange(5000)], names=["user", "video"]
    )
    pairs = pd.DataFrame({"weight": 30.0, "engaged": engaged}, index=index)
    assert (popularity(pairs)["score"] <= 0.3).mean() == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"shrinkage": 0}, "shrinkage == 0, must be > 0"),
        ({"exploration": 1.5}, "exploration == 1.5, must be <= 1"),
        ({"half_life": -1, "time": "time"}, "half_life == -1, must be > 0"),
        ({"half_life": 7}, "half_life=7 needs time"),
        ({"half_life": np.nan, "time": "time"}, "half_life must be a finite number"),
        ({"shrinkage": np.inf}, "shrinkage must be a finite number, got inf"),
        ({"exploration": np.nan}, "exploration must be a finite number, got nan"),
        ({"user": "viewer"}, "user must be a column of X, got 'viewer'"),
        ({"genre": 9}, "genre must be the position of a column of X, got 9"),
        ({"genre": -5}, "genre must be the position of a column of X, got -5, but X"),
    ],
)
def test_parameters_are_checked(options, match):
    X, y = make_log(4, 4)
    with pytest.raises(ValueError, match=match):
        GenreProfiler(**BY_NAME | options).fit(X, y)


@pytest.mark.parametrize("parameter", ["user", "genre", "video", "time"])
@pytest.mark.parametrize("column", [True, 1.0, ("user",)])
def test_a_column_is_a_name_or_a_position(parameter, column):
    X, y = make_log(4, 4)
    options = BY_NAME | {"time": "time", "half_life": 1.0, parameter: column}
    with pytest.raises(TypeError, match=rf"{parameter} must be the name or .* got"):
        GenreProfiler(**options).fit(X, y)


def test_wrong_input_is_refused():
    X, y = make_log(4, 4)
    profiler = GenreProfiler(**BY_NAME, time="time", half_life=1.0)
    with pytest.raises(ValueError, match="column of user has 16 missing values"):
        profiler.fit(X.assign(user=None), y)
    with pytest.raises(TypeError, match="genre .* argument must be a string or a numb"):
        profiler.fit(X.assign(genre=[{"a": 1}] * len(X)), y)
    with pytest.raises(ValueError, match="column of time has 16 missing values"):
        profiler.fit(X.assign(time=np.nan), y)
    with pytest.raises(ValueError, match="column of time must hold finite numbers"):
        profiler.fit(X.assign(time=np.inf), y)
    with pytest.raises(ValueError, match="points must hold 16 fin.* Drop"):
        profiler.fit(X, y, points=np.full(16, np.nan))
    with pytest.raises(ValueError, match="Only binary classification"):
        profiler.fit(X, np.arange(16) % 3)
    with pytest.raises(ValueError, match=r"0 sample\(s\) \(shape=\(0, 4\)\) while a"):
        profiler.fit(X[:0], y[:0])
    with pytest.raises(
        ValueError, match=r"y must hold labels among \[0, 1\], got \[2\]"
    ):
        profiler.fit(X, y).partial_fit(X, np.full(16, 2))
    with pytest.raises(ValueError, match="at least one non-zero number"):
        profiler.fit(X, y, sample_weight=np.zeros(16))
    with pytest.raises(ValueError, match="recommend needs video"):
        GenreProfiler("user", "genre").fit(X, y).set_params(video=2).recommend([0])
    with pytest.raises(ValueError, match="k == 0, must be >= 1"):
        profiler.fit(X, y).recommend([0], k=0)


@pytest.mark.parametrize(
    "dtype", ["uint64", "UInt64", "Int64", "uint64[pyarrow]", "category", object]
)
def test_long_ids_of_any_type_are_told_apart(dtype):
    """pandas compares int64 with UInt64 as floats, which round them."""
    X, y = make_log(4, 9)
    ids = ["user", "genre", "video"]
    X[ids] += 2**60
    typed = X.astype(dict.fromkeys(ids, dtype))
    fitted = GenreProfiler(**BY_NAME).fit(X, y)
    expected = fitted.predict_proba(X)
    np.testing.assert_array_equal(fitted.predict_proba(typed), expected)
    found = GenreProfiler(**BY_NAME).fit(typed, y)
    np.testing.assert_array_equal(found.predict_proba(X), expected)
    pd.testing.assert_frame_equal(found.profile_, fitted.profile_)


@pytest.mark.parametrize("size", [1e20, 1e308])
def test_weights_that_round_rates_to_one_are_refused(size):
    X, _ = make_log(4, 9)
    y = (X["genre"] == X["genre"].min()).astype(int)
    profiler = GenreProfiler("user", "genre", video="video").fit(X, y, [1e3] * len(y))
    expected = profiler.predict_proba(X)
    for learn in (profiler.partial_fit, GenreProfiler("user", "genre").fit):
        with pytest.raises(ValueError, match=r"sample_weight .*shrinkage=5.*Divide"):
            learn(X, y, sample_weight=np.full(len(y), size))
    np.testing.assert_array_equal(profiler.predict_proba(X), expected)


@pytest.mark.parametrize("column", ["user", "genre", "video"])
def test_ids_of_several_kinds_are_refused(column):
    """39 and "39,68" would be two genres that share nothing."""
    X, y = make_log(4, 4)
    mixed = X.astype({column: object})
    mixed.loc[3, column] = "39,68"
    with pytest.raises(
        TypeError, match=f"{column} must .* all of one kind, got .* mixed-in"
    ):
        GenreProfiler(**BY_NAME).fit(mixed, y)
    GenreProfiler(**BY_NAME).fit(mixed.astype({column: str}), y)


@pytest.mark.parametrize("column", ["user", "genre", "video"])
def test_ids_of_another_kind_than_in_fit_are_refused(column):
    """7 is not "7": all would be unknown, and nobody would tell."""
    X, y = make_log(4, 4)
    profiler = GenreProfiler(**BY_NAME).fit(X, y)
    proba = profiler.predict_proba(X)
    other = X.astype({column: str})
    match = f"The column of {column} holds .*, but the log of fit holds .* Convert one"
    for call in (
        lambda: profiler.predict_proba(other),
        lambda: profiler.partial_fit(other, y),
        lambda: GenreProfiler(**BY_NAME).fit(other, y).predict(X),
    ):
        with pytest.raises(TypeError, match=match):
            call()
    for dtype in (float, object, "Int64", "category", "int64[pyarrow]"):
        same = X.astype({column: dtype})
        np.testing.assert_array_equal(profiler.predict_proba(same), proba)
        again = GenreProfiler(**BY_NAME).fit(same, y)
        np.testing.assert_array_equal(again.predict_proba(X), proba)


def test_a_batch_that_is_all_too_old_changes_nothing():
    X, y = make_log(4, 4)
    X = X.astype({"user": str}).astype({"user": object})
    options = BY_NAME | {"time": "time", "half_life": 1.0}
    profiler = GenreProfiler(**options).fit(X, y)
    before = profiler.profile_
    profiler.partial_fit(X.assign(time=-100.0), y)
    pd.testing.assert_frame_equal(profiler.profile_, before)


DATES = [
    lambda t: pd.to_datetime(t, unit="D"),
    lambda t: pd.to_datetime(t, unit="D", utc=True),
    lambda t: pd.to_datetime(t, unit="D").astype("datetime64[ns]"),
    lambda t: pd.to_datetime(t, unit="D").astype(object),
    lambda t: pd.to_datetime(t, unit="D").astype("timestamp[us][pyarrow]"),
]


@pytest.mark.parametrize("convert", DATES)
def test_datetimes_fade_as_numbers_do(convert):
    X, y = make_log(8, 20)
    dated = X.assign(time=convert(X["time"]))
    early = (X["time"] < 12).to_numpy()
    options = BY_NAME | {"time": "time"}
    expected = GenreProfiler(**options, half_life=7.0).fit(X[early], y[early])
    for half_life in ("7D", pd.Timedelta(7, "D")):
        found = GenreProfiler(**options, half_life=half_life)
        found.fit(dated[early], y[early])
        pd.testing.assert_frame_equal(found.profile_, expected.profile_)
    expected.partial_fit(X[~early], y[~early])
    found.partial_fit(dated[~early], y[~early])
    pd.testing.assert_frame_equal(found.profile_, expected.profile_)


@pytest.mark.parametrize("convert", DATES)
def test_times_of_unknown_unit_are_refused(convert):
    """Else the half-life would be in microseconds, and all would be forgotten."""
    X, y = make_log(4, 4)
    profiler = GenreProfiler(**BY_NAME, time="time", half_life=7.0)
    with pytest.raises(TypeError, match="half_life must be a duration such as '30D'"):
        profiler.fit(X.assign(time=convert(X["time"])), y)
    with pytest.raises(
        TypeError, match="so half_life must be a number in that unit, g"
    ):
        profiler.set_params(half_life="7D").fit(X, y)


@pytest.mark.parametrize(
    "convert",
    [
        lambda t: pd.to_timedelta(t, unit="D"),
        lambda t: pd.to_datetime(t, unit="D").astype(str),
    ],
)
def test_what_is_no_time_is_refused(convert):
    X, y = make_log(4, 4)
    X = X.assign(time=convert(X["time"]))
    for half_life in (7.0, "7D"):
        profiler = GenreProfiler(**BY_NAME, time="time", half_life=half_life)
        with pytest.raises(TypeError, match="time must hold numbers or datetimes, got"):
            profiler.fit(X, y)


def test_times_of_one_log_are_of_one_kind():
    X, y = make_log(4, 4)
    dated = X.assign(time=pd.to_datetime(X["time"], unit="D"))
    zoned = dated.assign(time=dated["time"].dt.tz_localize("UTC"))
    missing = dated.assign(time=dated["time"].where(X["time"] > 1))
    profiler = GenreProfiler(**BY_NAME, time="time", half_life="7D").fit(dated, y)
    known = profiler.predict_proba(X)
    match = "time holds datetimes with a time zone, but the log of fit holds datetimes."
    with pytest.raises(TypeError, match=match):
        profiler.partial_fit(zoned, y)
    with pytest.raises(ValueError, match="column of time has 8 missing values"):
        profiler.partial_fit(missing, y)
    with pytest.raises(ValueError, match="half_life must be above 0, got '-7D'"):
        profiler.set_params(half_life="-7D").partial_fit(dated, y)
    np.testing.assert_array_equal(profiler.predict_proba(X), known)


@pytest.mark.parametrize("users", ["12", 12, pd.DataFrame({"user": [1]}), [[1]]])
def test_users_are_a_list(users):
    X, y = make_log(4, 4)
    with pytest.raises(TypeError, match="users must be a list .* single id into a lis"):
        GenreProfiler(**BY_NAME).fit(X, y).recommend(users)


def test_nobody_gets_no_recommendations():
    X, y = make_log(4, 4)
    table = GenreProfiler(**BY_NAME).fit(X, y).recommend([])
    assert table.columns.tolist() == ["user", "rank", "video", "score", "reason"]
    assert table.empty


def test_a_failed_call_leaves_no_half_fitted_object():
    X, y = make_log(6, 10)
    options = BY_NAME | {"time": "time", "half_life": 2.0}
    bad = X.assign(user=None)
    for call in ("fit", "partial_fit"):
        profiler = GenreProfiler(**options)
        with pytest.raises(ValueError, match="column of user has 60 missing values"):
            getattr(profiler, call)(bad, np.where(y, "b", "a"))
        with pytest.raises(NotFittedError):
            profiler.predict(X)
        profiler.partial_fit(X, y)  # starts anew, with other labels
        assert profiler.classes_.tolist() == [0, 1]
    before = profiler.predict_proba(X)
    with pytest.raises(ValueError, match="column of user has 60 missing values"):
        profiler.partial_fit(bad.assign(time=bad["time"] + 50), y)
    np.testing.assert_array_equal(profiler.predict_proba(X), before)
    once = GenreProfiler(**options).fit(X, y)
    profiler.partial_fit(X[:0:-1], y[:0:-1])  # nothing of the failed call faded
    once.partial_fit(X[:0:-1], y[:0:-1])
    pd.testing.assert_frame_equal(profiler.profile_, once.profile_)


def test_later_classes_must_be_the_first_ones():
    X, y = make_log(6, 10)
    profiler = GenreProfiler(**BY_NAME).partial_fit(X, y, classes=[1, 0])
    profiler.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(
        ValueError, match=r"classes must be those of the first call, \[0, 1\], got"
    ):
        profiler.partial_fit(X, y, classes=[0, 1, 2])


def test_known_and_new_users_may_be_asked_for_together():
    X, y = make_log(5, 15)
    table = GenreProfiler(**BY_NAME).fit(X, y).recommend([3, 99], k=2)
    assert table["user"].tolist() == [3, 3, 99, 99]
    assert table["reason"].tolist()[2:] == ["cold", "cold"]
    assert "cold" not in table["reason"].tolist()[:2]


@pytest.mark.parametrize(
    "users", [["3"], [3, "a new user"], pd.Series(["3"], dtype="string"), [True]]
)
def test_users_of_another_kind_than_in_fit_are_no_strangers(users):
    """They would all be cold, and nobody would tell."""
    X, y = make_log(5, 15)
    profiler = GenreProfiler(**BY_NAME).fit(X, y)
    with pytest.raises(TypeError, match=r"users (must|holds) .* (Convert|\.astype)"):
        profiler.recommend(users)
    names = GenreProfiler(**BY_NAME).fit(X.astype({"user": str}), y)
    match = "users holds integers, but the log of fit holds strings"
    with pytest.raises(TypeError, match=match):
        names.recommend([3])


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_a_missing_user_is_no_stranger(missing):
    X, y = make_log(5, 15)
    profiler = GenreProfiler(**BY_NAME).fit(X, y)
    with pytest.raises(ValueError, match="users has 1 missing values, first in row 1"):
        profiler.recommend([3, missing])


@pytest.mark.parametrize(
    "dtype", [float, np.int8, object, "Int64", "category", "int64[pyarrow]"]
)
def test_the_type_of_a_users_number_does_not_matter(dtype):
    X, y = make_log(5, 15)
    profiler = GenreProfiler(**BY_NAME, random_state=0).fit(X, y)
    expected = profiler.recommend([3, 99])
    found = profiler.recommend(pd.Series([3, 99]).astype(dtype))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


@pytest.mark.parametrize("dtype", [object, "string", "category", "string[pyarrow]"])
def test_the_type_of_a_text_does_not_matter(dtype):
    X, y = make_log(5, 15)
    X = X.astype(dict.fromkeys(BY_NAME, str))
    typed = X.astype(dict.fromkeys(BY_NAME, dtype))
    asked = pd.Series(["3", "99"])
    one, other = (
        GenreProfiler(**BY_NAME, random_state=0).fit(t, y) for t in (X, typed)
    )
    np.testing.assert_array_equal(one.predict_proba(typed), other.predict_proba(X))
    pd.testing.assert_frame_equal(
        one.recommend(asked.astype(dtype)), other.recommend(asked), check_dtype=False
    )


def test_a_long_id_that_a_float_has_rounded_is_refused():
    """Two users would be one: 19 digits do not fit into a float."""
    ids = [6_895_303_124_119_014_657, 6_895_303_124_119_014_658]
    X = pd.DataFrame({"user": ids, "genre": ["a", "b"], "video": [1, 2]})
    profiler = GenreProfiler(**BY_NAME).fit(X, [0, 1])
    match = "must not hold floats of 9007199254740992 or more"
    for call in (
        lambda: GenreProfiler(**BY_NAME).fit(X.astype({"user": float}), [0, 1]),
        lambda: profiler.predict(X.astype({"user": "Float64"})),
        lambda: profiler.recommend([float(ids[0])]),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    with pytest.raises(ValueError, match="floats of 16777216 or more"):
        GenreProfiler(**BY_NAME).fit(X.assign(video=np.float32([1, 2**24 + 1])), [0, 1])


@pytest.mark.parametrize("column", ["user", "genre", "video"])
def test_an_unused_category_does_not_matter(column):
    X, y = make_log(4, 4)
    other = X.astype({column: pd.CategoricalDtype([*range(60), "no number"])})
    expected = GenreProfiler(**BY_NAME).fit(X, y).predict_proba(X)
    found = GenreProfiler(**BY_NAME).fit(other, y).predict_proba(other)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "genre",
    [
        [["39", "68"], ["68"]],
        [(39, 68), (68,)],
        [np.array([39, 68]), np.array([68])],
        [{"68", "39"}, {"68"}],
        ["[39, 68]", "[68]"],
        ["['39', '68']", "['68']"],
        ["(39,68)", "(68)"],
        ["{39, 68}", "{68}"],
    ],
)
def test_lists_of_genres_are_several_genres(genre):
    """Written as texts, lists would leave brackets in the names of the genres."""
    X = pd.DataFrame({"user": [1, 2], "genre": pd.Series(genre)})
    profile = GenreProfiler("user", "genre").fit(X, [0, 1]).profile_
    assert profile["genre"].tolist() == ["39", "68", "68"]


def test_a_video_that_came_with_several_genres_belongs_to_each():
    """In proportion to its impressions, whichever was logged last."""
    X, y = make_log(50, 40)
    video = X["video"] == 7
    X = X.astype({"genre": str})
    X.loc[video, "genre"] = np.where(np.arange(video.sum()) % 4, "1", "3")
    one = GenreProfiler(**BY_NAME, exploration=0.0).fit(X, y)
    share = (X.loc[video, "genre"] == "1").mean()
    assert 0.7 < share < 0.8
    prior = expit(share * one._rates.genre["1"] + (1 - share) * one._rates.genre["3"])
    rate = (y[video].sum() + 5 * prior) / (video.sum() + 5)
    assert one._rates.video[7] == pytest.approx(logit(rate))
    user = X.loc[~X["user"].isin(X.loc[video, "user"]), "user"].iloc[0]
    asked = pd.DataFrame({"user": user, "genre": ["1", "3"], "video": 7, "time": 0})
    odds = logit(one.predict_proba(asked)[:, 1]) @ [share, 1 - share]
    listed = one.recommend([user], k=50).set_index("video")["score"]
    assert listed[7] == pytest.approx(expit(odds))
    for order in (X["genre"].argsort(), X["genre"].argsort()[::-1]):
        parts = GenreProfiler(**BY_NAME, exploration=0.0)
        for rows in np.array_split(order, 3):
            parts.partial_fit(X.iloc[rows], y[rows])
        other = parts.recommend([user], k=50).set_index("video")["score"]
        # The strength of tastes is found by a search, within its tolerance.
        np.testing.assert_allclose(other[listed.index], listed, rtol=1e-3)


def test_a_video_of_several_genres_may_name_them_together_or_in_turn():
    """As far as its genres go; its weight is that of its rows."""
    together = pd.DataFrame({"user": [1, 2], "genre": "39,68", "video": 5})
    in_turn = together.assign(genre=["39", "68"])
    for X in (together, in_turn):
        genres = GenreProfiler(**BY_NAME).fit(X, [1, 0])._counts.genres
        assert genres["weight"].to_dict() == {(5, "39"): 1.0, (5, "68"): 1.0}


def test_a_row_of_several_genres_is_their_mean_in_log_odds():
    X, y = make_log(100, 40)
    X = X[["user", "genre"]].astype({"genre": str})
    profiler = GenreProfiler("user", "genre").fit(X, y)
    users = np.repeat(np.arange(20), 3)
    ask = pd.DataFrame({"user": users, "genre": ["0", "4", "0,4"] * 20})
    odds = logit(profiler.predict_proba(ask)[:, 1]).reshape(20, 3)
    assert np.abs(odds[:, 0] - odds[:, 1]).max() > 0.5
    np.testing.assert_allclose(odds[:, 2], odds[:, :2].mean(axis=1))


def test_a_half_life_is_not_set_between_calls():
    """Impressions of no known age would be forgotten, all of them, in silence."""
    X, y = make_log(4, 4)
    profiler = GenreProfiler(**BY_NAME, time="time").fit(X, y)
    known = profiler.predict_proba(X)
    with pytest.raises(ValueError, match="half_life=5 must not be set between calls"):
        profiler.set_params(half_life=5).partial_fit(X, y)
    np.testing.assert_array_equal(profiler.predict_proba(X), known)
    undated = profiler.fit(X, y).set_params(half_life=None).partial_fit(X, y)
    with pytest.raises(ValueError, match="Call fit to start anew"):
        undated.set_params(half_life=5).partial_fit(X, y)
