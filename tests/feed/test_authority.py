import contract
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.pipeline import make_union

from skchallenge.feed import CreatorAuthority


def make_videos(n_creators=30, n=8, seed=0):
    rng = np.random.default_rng(seed)
    creator = np.repeat(np.arange(n_creators), n)
    skill = rng.gamma(2, 1, n_creators)[creator]
    table = {
        "creator_id": creator,
        "create_time": rng.integers(0, 1000, n * n_creators),
    }
    table["score"] = rng.gamma(2, skill)
    return pd.DataFrame(table).sample(frac=1, random_state=0).reset_index(drop=True)


def by_loop(videos, row, *, m=3, k=5.0):
    """The definition, in its words."""
    first = (
        videos.sort_values("create_time", kind="stable").groupby("creator_id").head(m)
    )
    past = first[first["create_time"] < row["create_time"]]
    prior = past["score"].mean()  # missing before the first video of all
    own = past.loc[past["creator_id"] == row["creator_id"], "score"]
    return (own.sum() + k * prior) / (len(own) + k), len(own)


def test_it_is_what_its_definition_says():
    videos = make_videos()
    found = CreatorAuthority().fit_transform(videos)
    expected = [by_loop(videos, row) for _, row in videos.iterrows()]
    np.testing.assert_allclose(found[:, :2], expected)
    assert (found[:, 2] == 1).all()


def test_a_row_knows_nothing_of_its_own_time_or_later():
    """Not even through the prior: change all later scores, of all creators."""
    videos = make_videos()
    authority = CreatorAuthority(n_first=8).fit(videos)
    rows = videos[["creator_id", "create_time"]]
    before = authority.transform(rows)
    for i in range(0, len(videos), 17):
        later = videos["create_time"] >= videos["create_time"][i]
        changed = videos.assign(score=videos["score"].where(~later, 1000.0))
        other = CreatorAuthority(n_first=8).fit(changed)
        np.testing.assert_allclose(other.transform(rows.iloc[[i]]), before[[i]])


WHOLE = ["uint64", "UInt64", "Int64", "uint64[pyarrow]", "category", object]


@pytest.mark.parametrize("dtype", WHOLE)
def test_long_ids_of_any_type_are_told_apart(dtype):
    """pandas compares int64 with UInt64 as floats, which round them."""
    videos = make_videos(4, 3).assign(total=[3, 9] * 6)
    videos["creator_id"] += 2**60
    typed = videos.astype({"creator_id": dtype})
    for total in (None, "total"):
        fitted = CreatorAuthority(total=total).fit(videos)
        expected = fitted.transform(videos)
        np.testing.assert_array_equal(fitted.transform(typed), expected)
        found = CreatorAuthority(total=total).fit(typed).transform(videos)
        np.testing.assert_array_equal(found, expected)


def test_creators_without_their_first_videos_have_the_prior_and_a_flag():
    videos = make_videos(4, 3)
    videos["total"] = np.where(videos["creator_id"] < 2, 3, 40)
    authority = CreatorAuthority(total="total").fit(videos)
    assert authority.known_share_ == 0.5
    known = videos["creator_id"] < 2
    assert authority.prior_ == pytest.approx(videos.loc[known, "score"].mean())
    found = authority.transform(videos.assign(create_time=10_000))
    np.testing.assert_array_equal(found[:, 2], known)
    np.testing.assert_array_equal(found[~known, 0], authority.prior_)
    assert (found[~known, 1] == 0).all()
    stranger = pd.DataFrame({"creator_id": [99], "create_time": [10_000]})
    assert authority.transform(stranger).tolist() == [[authority.prior_, 0, 0]]
    nobody = CreatorAuthority(total="total").fit(videos[~known])
    assert nobody.prior_ == pytest.approx(videos.loc[~known, "score"].mean())


def test_all_videos_may_be_first_ones():
    """Memory goes by the videos there are, not by how many are asked for."""
    videos = make_videos(5, 8)
    expected = CreatorAuthority(n_first=8).fit_transform(videos)
    found = CreatorAuthority(n_first=10**12).fit_transform(videos)
    np.testing.assert_array_equal(found, expected)


def test_several_scores_stand_side_by_side():
    videos = make_videos().assign(likes=lambda v: v["score"] > 2)
    union = make_union(CreatorAuthority(), CreatorAuthority(score="likes"))
    found = union.fit_transform(videos)
    share = videos.drop(columns="score").rename(columns={"likes": "score"})
    one, other = (CreatorAuthority().fit_transform(v) for v in (videos, share))
    np.testing.assert_array_equal(found, np.hstack([one, other]))


def test_good_beginners_are_told_from_lucky_ones():
    """Simulated creators with all their videos: later scores follow the authority."""
    videos = make_videos(400, 8)
    last = videos.loc[videos.groupby("creator_id")["create_time"].idxmax()]
    found = CreatorAuthority().fit(videos.drop(last.index)).transform(last)[:, 0]
    assert pd.Series(found).corr(last["score"].reset_index(drop=True)) > 0.3
    shuffled = videos.assign(score=videos["score"].sample(frac=1, random_state=1).array)
    last = shuffled.loc[last.index]
    found = CreatorAuthority().fit(shuffled.drop(last.index)).transform(last)[:, 0]
    assert abs(pd.Series(found).corr(last["score"].reset_index(drop=True))) < 0.15


def test_datetimes_and_polars_will_do():
    videos = make_videos()
    expected = CreatorAuthority().fit_transform(videos)
    dates = videos.assign(create_time=pd.to_datetime(videos["create_time"], unit="s"))
    np.testing.assert_array_equal(CreatorAuthority().fit_transform(dates), expected)
    polar = CreatorAuthority().fit_transform(pl.from_pandas(videos))
    np.testing.assert_array_equal(polar, expected)


@pytest.mark.parametrize(
    "dtype", [object, "timestamp[us][pyarrow]", "datetime64[ns]", "datetime64[s]"]
)
def test_datetimes_of_any_type_will_do(dtype):
    videos = make_videos()
    expected = CreatorAuthority().fit_transform(videos)
    dates = videos.assign(create_time=pd.to_datetime(videos["create_time"], unit="s"))
    found = CreatorAuthority().fit(dates.astype({"create_time": dtype}))
    np.testing.assert_array_equal(found.transform(dates), expected)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "Int64"])
def test_integers_that_floats_would_round_are_compared_exactly(dtype):
    first = 2**60  # of the size of Unix times in nanoseconds
    videos = pd.DataFrame(
        {"creator_id": "ann", "create_time": [first, first + 1], "score": [6.0, 9.0]}
    )
    rows = videos[["creator_id", "create_time"]].astype({"create_time": dtype})
    found = CreatorAuthority().fit(videos).transform(rows)
    np.testing.assert_array_equal(found[:, :2], [[np.nan, 0], [6, 1]])


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_time_zone_is_never_guessed(zone):
    """Read as UTC, a row of Berlin would know the hour after its own time."""
    videos = make_videos()
    naive = videos.assign(create_time=pd.to_datetime(videos["create_time"], unit="s"))
    zoned = naive.assign(create_time=naive["create_time"].dt.tz_localize(zone))
    expected = CreatorAuthority().fit_transform(videos)
    np.testing.assert_array_equal(CreatorAuthority().fit_transform(zoned), expected)
    match = "holds datetimes, but the table of fit holds datetimes with a time zone. Co"
    with pytest.raises(TypeError, match=match):
        CreatorAuthority().fit(zoned).transform(naive)
    match = "holds datetimes with a time zone, but the table of fit holds datetimes. Co"
    with pytest.raises(TypeError, match=match):
        CreatorAuthority().fit(naive).transform(zoned)


def test_ids_are_of_the_kind_of_fit():
    videos = make_videos()
    match = r"X\['creator_id'\] holds strings, but the table of fit holds integers"
    with pytest.raises(TypeError, match=match):
        CreatorAuthority().fit(videos).transform(videos.astype({"creator_id": str}))


def test_a_creator_without_a_total_is_not_known():
    videos = make_videos(4, 3)
    total = np.where(videos["creator_id"] < 2, 3.0, np.nan)
    expected = videos["creator_id"] < 2
    for numbers in (
        total,
        pd.array(total).astype("Int64"),
        pd.Series(total, dtype=object),
    ):
        found = CreatorAuthority(total="total").fit_transform(
            videos.assign(total=numbers)
        )
        np.testing.assert_array_equal(found[:, 2], expected)


def test_columns_may_have_other_names_after_fit():
    videos = make_videos(3, 4)
    fitted = CreatorAuthority().fit(videos)
    expected = fitted.transform(videos)
    other = videos.rename(columns={"creator_id": "author", "create_time": "day"})
    found = fitted.set_params(creator="author", time="day").transform(other)
    np.testing.assert_array_equal(found, expected)


def test_output_has_names():
    table = (
        CreatorAuthority().set_output(transform="pandas").fit_transform(make_videos())
    )
    assert table.columns.tolist() == ["authority", "n_videos", "is_known"]


def test_our_own_contract():
    def rows_match(X):
        return X[["creator_id", "create_time", "score"]]

    n = contract.run(
        CreatorAuthority, rows_match(make_videos(5, 4)), skip={"check_columns"}, tol=0
    )
    assert n >= 60


@pytest.mark.parametrize(
    "options, match",
    [
        ({"n_first": 0}, "n_first == 0, must be >= 1"),
        ({"shrinkage": 0}, "shrinkage == 0, must be > 0"),
        ({"shrinkage": np.nan}, "shrinkage must be a finite number, got nan"),
        ({"creator": "user_id"}, r"X lacks the columns \['user_id'\]"),
        ({"total": "n_total_vids"}, r"X lacks the columns \['n_total_vids'\]"),
    ],
)
def test_parameters_are_checked(options, match):
    with pytest.raises(ValueError, match=match):
        CreatorAuthority(**options).fit(make_videos())


def test_before_the_first_video_of_all_nothing_is_known():
    videos = make_videos(5, 3)
    first = videos["create_time"].min()
    authority = CreatorAuthority().fit(videos)
    found = authority.transform(videos.assign(create_time=first))
    assert np.isnan(found[:, 0]).all()
    assert (found[:, 1] == 0).all()
    found = authority.transform(videos.assign(create_time=first + 1e-3))
    assert np.isfinite(found[:, 0]).all()


def test_wrong_input_is_refused():
    videos = make_videos()
    total = videos.assign(total=np.where(videos["creator_id"] == 7, 6, 8))
    with pytest.raises(
        ValueError, match=r"X\['total'\] must be at least .*, got 6 for 8 rows of 7"
    ):
        CreatorAuthority(total="total").fit(total)
    with pytest.raises(ValueError, match=r"X\['score'\] must hold finite numbers"):
        CreatorAuthority().fit(videos.assign(score=np.nan))
    with pytest.raises(TypeError, match=r"X\['score'\] must hold numbers, got string"):
        CreatorAuthority().fit(videos.assign(score="good"))
    with pytest.raises(ValueError, match=r"X\['score'\] must hold finite numbers"):
        CreatorAuthority().fit(videos[:0])
    dates = videos.assign(create_time=pd.to_datetime(videos["create_time"], unit="s"))
    match = "holds datetimes, but the table of fit holds numbers. Convert one of them"
    with pytest.raises(TypeError, match=match):
        CreatorAuthority().fit(videos).transform(dates)
    with pytest.raises(ValueError, match=r"X\['create_time'\] has 240 missing"):
        CreatorAuthority().fit(videos.assign(create_time=np.nan))
    with pytest.raises(ValueError, match=r"X lacks the columns \['create_time'\]"):
        CreatorAuthority().fit(videos).transform(videos[["creator_id"]])


@pytest.mark.parametrize("dtype", ["int64", "Int64", object, "category", str])
def test_what_is_learned_is_kept_in_arrays(dtype):
    """Not in tables of pandas, which skops cannot save."""
    videos = make_videos()
    expected = CreatorAuthority().fit(videos).transform(videos)
    typed = videos.assign(creator_id=videos["creator_id"].astype(dtype))
    authority = CreatorAuthority().fit(typed)
    kept = {k: type(v).__module__ for k, v in authority.__getstate__().items()}
    assert not [name for name, home in kept.items() if home.startswith("pandas")]
    np.testing.assert_array_equal(authority.transform(typed), expected)
    strangers = typed.assign(creator_id=typed["creator_id"].astype(object))
    np.testing.assert_array_equal(authority.transform(strangers), expected)
