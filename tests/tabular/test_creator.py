from functools import partial

import contract
import numpy as np
import pandas as pd
import polars as pl
import pytest

from skchallenge import VideoCatalog
from skchallenge.exceptions import EmptyHistoryWarning
from skchallenge.tabular import PastCreatorStats

DAY = pd.Timedelta("1D")
START = pd.Timestamp("2020-01-01")


def table(n_users=6, n_videos=12, seed=0):
    """Videos in no order, with gaps in the counts and equal times."""
    rng = np.random.default_rng(seed)
    n = n_users * n_videos
    videos = pd.DataFrame(
        {
            "video_id": np.arange(n),
            "user_id": [f"u{i % n_users}" for i in range(n)],
            "challenge": None,
            "create_time": START + DAY * rng.integers(0, 40, n),
            "n_plays": rng.integers(0, 10_000, n).astype(float),
            "n_likes": rng.integers(0, 1000, n).astype(float),
        }
    )
    videos.loc[rng.random(n) < 0.2, "n_plays"] = np.nan
    return videos


def by_hand(videos, row, min_age):
    """Look the past up in the slow way."""
    past = videos[
        (videos["user_id"] == row["user_id"])
        & (videos["create_time"] < row["create_time"] - pd.Timedelta(min_age))
    ].sort_values(["create_time", "video_id"], ascending=[True, False])
    features = []
    for column in ("n_plays", "n_likes"):
        every = np.log1p(past[column])
        known = every.dropna()
        empty = known.empty
        features += [
            np.nan if empty else known.mean(),
            np.nan if empty else known.max(),
            every.iloc[-5:].mean(),
            np.nan if empty else known.iloc[-1],
        ]
    return features


@pytest.mark.parametrize("min_age", ["0D", "7D", "36h"])
@pytest.mark.parametrize("seed", [None, 1])
def test_statistics_by_hand(min_age, seed):
    """In any order of the catalog: of equal times, the smaller id is newer."""
    videos = table()
    videos = videos if seed is None else videos.sample(frac=1, random_state=seed)
    past = PastCreatorStats(VideoCatalog(videos), min_age=min_age)
    X = videos[["user_id", "create_time"]]
    found = past.fit_transform(X)
    expected = [by_hand(videos, row, min_age) for _, row in X.iterrows()]
    np.testing.assert_allclose(found, expected)
    assert np.isnan(found[:, 0]).any()
    assert past.get_feature_names_out().tolist() == [
        f"past_{c}_{s}"
        for c in ("plays", "likes")
        for s in ("mean", "max", "recent", "last")
    ]


def test_the_future_and_the_row_itself_are_not_seen():
    videos = table()
    X = videos[["user_id", "create_time"]]
    row = int(videos["create_time"].argmax())
    before = PastCreatorStats(VideoCatalog(videos), min_age="0D").fit_transform(X)
    later = videos["create_time"] >= videos["create_time"][row]
    changed = videos.assign(n_plays=videos["n_plays"].mask(later, 1e9))
    after = PastCreatorStats(VideoCatalog(changed), min_age="0D").fit_transform(X)
    np.testing.assert_array_equal(before, after)


def test_the_planted_leak_is_found_when_the_rule_is_off():
    videos = table().dropna(subset="n_plays").reset_index(drop=True)
    past = PastCreatorStats(VideoCatalog(videos), min_age="0D")
    own = np.log1p(videos["n_plays"])
    X = videos[["user_id", "create_time"]]
    last = past.fit_transform(X)[:, 3]
    known = ~np.isnan(last)
    assert abs(np.corrcoef(last[known], own[known])[0, 1]) < 0.4  # 3 standard errors
    # Asked a second later, the video itself is the newest of the past.
    later = X.assign(create_time=X["create_time"] + pd.Timedelta("1s"))
    leaked = past.transform(later)[:, 3]
    assert np.mean(leaked == own) > 0.8  # all but those of one time


def test_the_past_is_the_catalogs_whatever_rows_x_has():
    videos = table()
    catalog = VideoCatalog(videos)
    X = videos[["user_id", "create_time"]]
    whole = PastCreatorStats(catalog).fit_transform(X)
    some = np.r_[np.arange(0, len(X), 3), [3, 3, 3]]  # a fold, resampled
    part = PastCreatorStats(catalog).fit(X.iloc[some])
    np.testing.assert_array_equal(part.transform(X.iloc[some]), whole[some])


def test_appended_videos_count_from_then_on():
    videos = table()
    catalog = VideoCatalog(videos)
    X = pd.DataFrame({"user_id": ["u0"], "create_time": [START + 100 * DAY]})
    past = PastCreatorStats(catalog).fit(X)
    before = past.transform(X)
    new = pd.DataFrame(
        {
            "video_id": [10_000],
            "user_id": ["u0"],
            "challenge": [None],
            "create_time": [START + 50 * DAY],
            "n_plays": [1e6],
        }
    )
    catalog.append(new)
    after = past.transform(X)
    assert after[0, 3] == np.log1p(1e6) > before[0, 3]


def test_numbers_as_times_take_a_number_as_age():
    videos = table()
    days = (videos["create_time"] - START) // DAY
    numbered = videos.assign(create_time=days)
    expected = PastCreatorStats(VideoCatalog(videos)).fit_transform(
        videos[["user_id", "create_time"]]
    )
    past = PastCreatorStats(VideoCatalog(numbered), min_age=7)
    X = numbered[["user_id", "create_time"]]
    np.testing.assert_array_equal(past.fit_transform(X), expected)
    with pytest.raises(TypeError, match=r"min_age must be a number .* got '7D'"):
        past.set_params(min_age="7D").fit(X)
    with pytest.raises(ValueError, match="min_age is no duration: nan"):
        past.set_params(min_age=np.nan).fit(X)  # it would let the future in


@pytest.mark.parametrize("dtype", ["category", object, "Int64", "int64[pyarrow]"])
def test_numbers_as_times_may_be_of_any_type(dtype):
    videos = table()
    videos["create_time"] = (videos["create_time"] - START) // DAY
    X = videos[["user_id", "create_time"]]
    expected = PastCreatorStats(VideoCatalog(videos), min_age=7).fit_transform(X)
    typed = VideoCatalog(videos.astype({"create_time": dtype}))
    past = PastCreatorStats(typed, min_age=7)
    np.testing.assert_array_equal(past.fit_transform(X), expected)


def test_a_catalog_without_the_fitted_counts_is_refused():
    videos = table()
    X = videos[["user_id", "create_time"]]
    fitted = PastCreatorStats(VideoCatalog(videos)).fit(X)
    other = videos.rename(columns=dict.fromkeys(fitted.columns_, "n_others"))
    fitted.set_params(catalog=VideoCatalog(other.loc[:, ~other.columns.duplicated()]))
    with pytest.raises(ValueError, match="catalog lacks the columns"):
        fitted.transform(X)


def test_polars_and_other_columns_are_fine():
    videos = table()
    catalog = VideoCatalog(videos)
    X = videos[["user_id", "create_time"]]
    expected = PastCreatorStats(catalog).fit_transform(X)
    more = pl.DataFrame(
        {"user_id": X["user_id"].tolist(), "create_time": X["create_time"].tolist()}
    ).with_columns(pl.lit("x").alias("caption"))
    np.testing.assert_array_equal(
        PastCreatorStats(catalog).fit_transform(more), expected
    )


def test_long_ids_of_two_types_are_not_mixed_up():
    videos = table()
    users = pd.Series(pd.factorize(videos["user_id"])[0] + 7_000_000_000_000_000_000)
    videos["user_id"] = users
    X = videos[["user_id", "create_time"]]
    expected = PastCreatorStats(VideoCatalog(videos)).fit_transform(X)
    catalog = VideoCatalog(videos.astype({"user_id": "UInt64"}))
    found = PastCreatorStats(catalog).fit_transform(X)
    np.testing.assert_array_equal(found, expected)
    found = PastCreatorStats(VideoCatalog(videos)).fit_transform(
        X.astype({"user_id": "UInt64"})
    )
    np.testing.assert_array_equal(found, expected)


def test_rounded_text_in_the_catalog_is_read():
    videos = table().drop(columns="n_likes")
    videos["n_plays"] = "1.5K"
    past = PastCreatorStats(VideoCatalog(videos))
    found = past.fit_transform(videos[["user_id", "create_time"]])
    np.testing.assert_allclose(found[~np.isnan(found)], np.log1p(1500))


def test_users_without_a_past():
    videos = table()
    past = PastCreatorStats(VideoCatalog(videos))
    X = pd.DataFrame({"user_id": ["nobody"], "create_time": [START + 99 * DAY]})
    with pytest.raises(ValueError, match=r"No row of X has a past: .*min_age='7D'"):
        past.fit(X)
    past.fit(videos[["user_id", "create_time"]])
    with pytest.warns(EmptyHistoryWarning, match="No row of X has a past"):
        assert np.isnan(past.transform(X)).all()


def test_contract():
    videos = table()
    factory = partial(PastCreatorStats, VideoCatalog(videos))
    X = videos[["user_id", "create_time"]].iloc[:30].reset_index(drop=True)
    X["create_time"] = START + 30 * DAY
    assert contract.run(factory, X, tol=0) == 108


def test_thousands_of_creators():
    videos = table(n_users=2000, n_videos=15)
    X = videos[["user_id", "create_time"]]
    assert PastCreatorStats(VideoCatalog(videos)).fit_transform(X).shape == (30_000, 8)


@pytest.mark.parametrize(
    "options, change, error, match",
    [
        ({"catalog": "x"}, {}, TypeError, r"catalog must be a VideoCatalog, got str"),
        (
            {"min_age": "-1D"},
            {},
            ValueError,
            r"min_age must not be negative, got '-1D'",
        ),
        ({"min_age": 7}, {}, TypeError, r"min_age must be a duration such as '30D'"),
        ({"min_age": "7"}, {}, ValueError, r"min_age needs a unit"),
        ({"min_age": "NaT"}, {}, ValueError, r"min_age is no duration: 'NaT'"),
        ({}, {"user_id": 1}, TypeError, r"user_id holds integers, but the catalog's"),
        ({}, {"create_time": 1}, TypeError, r"create_time holds numbers, but the cat"),
        ({}, {"create_time": None}, ValueError, r"create_time has 72 missing values"),
    ],
)
def test_bad_input_is_refused(options, change, error, match):
    videos = table()
    X = videos[["user_id", "create_time"]].assign(**change)
    options = {"catalog": VideoCatalog(videos), **options}
    with pytest.raises(error, match=match):
        PastCreatorStats(options.pop("catalog"), **options).fit(X)


def test_bad_tables_are_refused():
    videos = table()
    X = videos[["user_id", "create_time"]]
    with pytest.raises(ValueError, match=r"X lacks the columns \['create_time'\]"):
        PastCreatorStats(VideoCatalog(videos)).fit(X[["user_id"]])
    empty = videos.drop(columns="n_likes").assign(n_plays=np.nan)
    with pytest.raises(ValueError, match=r"catalog must hold values in one of"):
        PastCreatorStats(VideoCatalog(empty)).fit(X)
    negative = videos.assign(n_plays=-1)
    with pytest.raises(ValueError, match=r"n_plays must be a whole number from 0"):
        PastCreatorStats(VideoCatalog(negative)).fit(X)
