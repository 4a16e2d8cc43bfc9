import warnings

import contract
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skchallenge._table import is_missing
from skchallenge.exceptions import LeakageError, LeakageWarning
from skchallenge.tabular import MetadataFeaturizer

VIDEOS = pd.DataFrame(
    {
        "text": ["new shoes #x", "", None, "æøå"],
        "hashtags": [["x"], [], None, "a, b"],
        "authorMeta.verified": [True, False, None, "true"],
        "musicMeta.musicOriginal": [1, 0, 1, None],
        "videoMeta.duration": [15, 9.5, np.nan, "60"],
        "authorMeta.fans": ["304.9K", 0, None, 1e6],
        "createTime": [1608214517, None, "2020-12-17T14:15:17Z", 1608163200],
        "mine": [1, 2.5, None, "-3"],
    }
)


def featurize(videos, **options):
    featurizer = MetadataFeaturizer(**options).set_output(transform="pandas")
    return featurizer.fit_transform(videos)


def test_each_kind_of_column_by_hand():
    found = featurize(VIDEOS)
    nan = np.nan
    day = 2 * np.pi * (14 + 15 / 60 + 17 / 3600) / 24
    week = 2 * np.pi * 3 / 7  # 17 December 2020 was a Thursday
    expected = {
        "text_length": [12, 0, nan, 3],
        "hashtags_count": [1, 0, nan, 2],
        "authorMeta.verified": [1, 0, nan, 1],
        "musicMeta.musicOriginal": [1, 0, 1, nan],
        "videoMeta.duration": [15, 9.5, nan, 60],
        "authorMeta.fans_log": [np.log(304_901), 0, nan, np.log(1e6 + 1)],
        "createTime_hour_sin": [np.sin(day), nan, np.sin(day), 0],
        "createTime_hour_cos": [np.cos(day), nan, np.cos(day), 1],
        "createTime_weekday_sin": [np.sin(week), nan, np.sin(week), np.sin(week)],
        "createTime_weekday_cos": [np.cos(week), nan, np.cos(week), np.cos(week)],
        "mine": [1, 2.5, nan, -3],
    }
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-9, err_msg=name)


def test_weekdays_go_round_in_seven_days_and_hours_in_one():
    times = pd.Series(
        pd.date_range("2021-03-01", periods=24 * 14, freq="h")
    )  # a Monday
    table = featurize(pd.DataFrame({"create_time": times}))
    angle = np.arctan2(table.iloc[:, 2], table.iloc[:, 3]) % (2 * np.pi)
    assert np.allclose(angle, 2 * np.pi * times.dt.day_of_week / 7)
    angle = np.arctan2(table.iloc[:, 0], table.iloc[:, 1]) % (2 * np.pi)
    assert np.allclose(angle, 2 * np.pi * times.dt.hour / 24)
    zoned = times.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
    pd.testing.assert_frame_equal(
        featurize(pd.DataFrame({"create_time": zoned})), table
    )


@pytest.mark.parametrize("column", ["n_likes", "n_comments", "n_shares", "n_plays"])
def test_outcomes_raise_unless_the_question_is_no_forecast(column):
    videos = pd.DataFrame({"n_followers": [1, 2], column: [5, 6]})
    with pytest.raises(LeakageError, match=rf"column '{column}'.*Drop it"):
        featurize(videos)
    found = featurize(videos, nowcast=(column,))
    assert found[f"{column}_log"].tolist() == pytest.approx([np.log(6), np.log(7)])
    renamed = videos.rename(columns={column: f"remainder__{column}"})
    with pytest.raises(LeakageError, match="remainder__"):
        featurize(renamed)


def test_raw_time_comes_out_on_request_only():
    videos = pd.DataFrame({"create_time": [1577836800, 1577923200]})
    assert not any(c == "create_time" for c in featurize(videos))
    raw = featurize(videos, nowcast=["create_time"])["create_time"]
    assert raw.tolist() == [18262.0, 18263.0]
    with pytest.raises(LeakageError, match=r"'video_id' .*role is 'exposure'"):
        MetadataFeaturizer().fit(videos.assign(video_id=[1, 2]))
    # What comes out is named so that the next guard knows it.
    second = featurize(videos, nowcast=["create_time"])[["create_time"]]
    with pytest.raises(LeakageError, match="video_age"):
        featurize(second.rename(columns={"create_time": "video_age"}))


def test_nowcast_lists_columns_of_x():
    videos = pd.DataFrame({"create_time": [1577836800, 1577923200], "n_likes": [1, 2]})
    found = featurize(videos, nowcast=(c for c in ["n_likes", "createTime"]))
    assert {"n_likes_log", "create_time"} <= set(found)
    with pytest.raises(ValueError, match=r"nowcast .* but \['n_plays'\] are none of"):
        featurize(videos, nowcast=["n_likes", "n_plays"])
    with pytest.raises(TypeError, match="nowcast must hold names of columns"):
        featurize(videos, nowcast=[1])


def test_roles_are_kept():
    roles = MetadataFeaturizer().fit(VIDEOS).column_roles_
    assert list(roles) == list(VIDEOS)
    assert roles["authorMeta.fans"] == "label_part"
    assert roles["authorMeta.verified"] == "scrape_aggregate"
    assert roles["createTime"] == "exposure"
    assert roles["mine"] == "unknown"


def planted(n=1200):
    rng = np.random.default_rng(0)
    followers = rng.normal(10, 2, n)
    plays = followers + rng.normal(0, 1.5, n)
    table = pd.DataFrame({"n_followers": np.exp(followers).round(), "mine": plays})
    return table, (plays > followers).astype(int)


def test_a_renamed_copy_warns_in_a_pipeline():
    X, y = planted()
    model = make_pipeline(MetadataFeaturizer(), LogisticRegression())
    with pytest.warns(LeakageWarning, match=r"'mine' tells y together with \['n_fo"):
        model.fit(X, y)
    MetadataFeaturizer().fit(X)  # without labels nothing is said


@pytest.mark.parametrize("n", [1200, 50])
def test_several_labels_a_row_are_no_business_of_the_guard(n):
    X, y = planted(n)
    assert MetadataFeaturizer().fit(X, np.c_[y, y]).transform(X).shape == (n, 2)


def test_columns_without_a_value_make_no_feature():
    X = pd.DataFrame({"mine": [1.0, 2.0], "width": np.nan, "text": [None, None]})
    featurizer = MetadataFeaturizer().fit(X)
    assert featurizer.empty_columns_ == ["width", "text"]
    assert featurizer.get_feature_names_out().tolist() == ["mine"]
    later = X.assign(width=[1.0, 2.0], text="a")
    np.testing.assert_array_equal(featurizer.transform(later), [[1], [2]])
    with pytest.raises(ValueError, match=r"at least one column, .*\['width', 'text'\]"):
        MetadataFeaturizer().fit(X[["width", "text"]])


def test_polars_and_nullable_tables_are_read_alike():
    plain = pd.DataFrame(
        {
            "caption": ["a", None, "ccc"],
            "n_followers": [10.0, np.nan, 30.0],
            "verified": [True, None, False],
            "hashtags": [["a"], [], None],
            "create_time": pd.to_datetime(["2020-01-01", None, "2020-01-03"]),
        }
    )
    expected = featurize(plain)
    nullable = plain.convert_dtypes()
    assert str(nullable["n_followers"].dtype) == "Int64"
    pd.testing.assert_frame_equal(featurize(nullable), expected)
    columns = {c: [None if is_missing(v) else v for v in plain[c]] for c in plain}
    pd.testing.assert_frame_equal(featurize(pl.DataFrame(columns)), expected)


def test_logarithms_that_were_taken_already_stay():
    X = pd.DataFrame({"n_followers_log": [0.5, 7.25]})
    featurizer = MetadataFeaturizer().fit(X)
    np.testing.assert_array_equal(featurizer.transform(X), [[0.5], [7.25]])
    assert featurizer.column_roles_ == {"n_followers_log": "label_part"}


def test_contract():
    X = pd.concat([VIDEOS, VIDEOS[::-1]], ignore_index=True)
    assert contract.run(MetadataFeaturizer, X, tol=0) == 108
    y = np.arange(8) % 2
    assert contract.run(MetadataFeaturizer, X, y, tol=0) == 108


def test_cross_validation_without_a_warning():
    X, y = planted(300)
    model = make_pipeline(MetadataFeaturizer(), SimpleImputer(), LogisticRegression())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cross_val_score(model, X[["n_followers"]], y, cv=3).mean() < 0.7


@pytest.mark.parametrize(
    "column, cells, match",
    [
        (
            "n_followers",
            [-1, 2],
            r"n_followers must be a whole number from 0.*holds -1",
        ),
        ("n_followers", ["many", 2], r"like \"304.9K\". Row 0 .* holds 'many'"),
        ("createTime", [1608214517000], r"can only be milliseconds: divide"),
        ("createTime", [0, 1608214517], r"a time from 2014 to 2099.*Row 0"),
        ("createTime", ["yesterday"], r"a time from 2014 to 2099"),
        ("createTime", pd.to_datetime(["1970-01-01"]), r"a time from 2014 to 2099"),
        ("verified", ["maybe"], r"verified must be true or false.*'maybe'"),
        ("duration_s", [-5.0], r"duration_s must be a finite number that is not neg"),
        ("hashtags", [3.5], r"X\['hashtags'\].*Row 0"),
        ("song", ["a title"], r"X\['song'\] makes no feature: ids, titles and"),
        ("user_id", [17, 18], r"X\['user_id'\] makes no feature.*encode it in a step"),
        ("topic", ["cats"], r"X\['topic'\] must be finite numbers: no feature is kn"),
        ("mine", [1.0, np.inf], r"X\['mine'\] must be finite.*Row 1"),
        ("mine", [1, "x", 2.0], r"X\['mine'\] must be finite.*Row 1 .* holds 'x'"),
    ],
)
def test_bad_cells_are_refused(column, cells, match):
    with pytest.raises(ValueError, match=match):
        MetadataFeaturizer().fit(pd.DataFrame({column: cells}))


def test_a_table_without_rows_has_features_without_rows():
    videos = pd.DataFrame(
        {
            "caption": ["my cat"],
            "hashtags": [["cat"]],
            "verified": [True],
            "duration_s": [15.0],
            "n_followers": ["1.5K"],
            "create_time": [pd.Timestamp("2020-06-01")],
            "tempo": [0.5],
        }
    )
    featurizer = MetadataFeaturizer().fit(videos)
    n_features = len(featurizer.get_feature_names_out())
    for empty in (videos[:0], videos[:0].astype({"create_time": str})):
        assert featurizer.transform(empty).shape == (0, n_features)


def test_arrays_and_twins_are_refused():
    lazy = pl.LazyFrame({"caption": ["a"]})
    with pytest.raises(TypeError, match=r"got LazyFrame\..*collect a LazyFrame"):
        MetadataFeaturizer().fit(lazy)
    with pytest.raises(TypeError, match=r"DataFrame with named columns, got Series"):
        MetadataFeaturizer().fit(pl.Series(["a"]))
    with pytest.raises(TypeError, match="X must be a pandas or polars DataFrame"):
        MetadataFeaturizer().fit(np.ones((3, 2)))
    X = pd.DataFrame({"n_followers": [1], "n_followers_log": [0.5]})
    with pytest.raises(
        ValueError, match=r"make the feature 'n_followers_log', the sec"
    ):
        MetadataFeaturizer().fit(X)
