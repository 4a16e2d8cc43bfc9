import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import StratifiedKFold

from skchallenge import VideoCatalog
from skchallenge.metrics import virality_report
from skchallenge.tabular import ViralityLabeler

KINDS = ["views_per_follower", "log_residual", "creator_relative", "views"]


def table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    followers = rng.lognormal(8, 2, n).round() + 1
    return pd.DataFrame(
        {
            "video_id": np.arange(n),
            "user_id": np.arange(n) % 6,
            "challenge": None,
            "create_time": np.arange(n),
            "n_plays": (followers * rng.lognormal(0, 1, n)).round(),
            "n_followers": followers,
        }
    )


def labeler(kind, videos=None, **options):
    catalog = VideoCatalog(table() if videos is None else videos)
    return ViralityLabeler(kind, catalog=catalog, **options)


def test_the_reports_label_by_hand():
    videos = pd.DataFrame({"n_plays": [10, 20, 30, 0], "n_followers": [10, 10, 10, 5]})
    fitted = ViralityLabeler().fit(videos)
    assert fitted.score_values(videos).tolist() == [1, 2, 3, 0]
    assert fitted.cutoff_ == 1.5
    y = fitted.transform(videos)
    assert y.tolist() == [0, 1, 1, 0]
    assert y.dtype == np.int64
    # The cut-off is the development set's, whoever else is labelled.
    assert fitted.transform(pd.DataFrame({"n_plays": [16], "n_followers": [10]})) == [1]


def test_residuals_are_those_of_a_regression():
    videos = table()
    X, y = np.log1p(videos[["n_followers"]]), np.log1p(videos["n_plays"])
    expected = y - LinearRegression().fit(X, y).predict(X)
    fitted = labeler("log_residual").fit(videos)
    np.testing.assert_allclose(fitted.score_values(videos), expected, atol=1e-9)
    other = table(seed=1)  # scored by the line of the development set
    line = LinearRegression().fit(X, y)
    np.testing.assert_allclose(
        fitted.score_values(other),
        np.log1p(other["n_plays"]) - line.predict(np.log1p(other[["n_followers"]])),
        atol=1e-9,
    )


def test_creator_relative_is_relative_to_the_creator():
    videos = table()
    fitted = labeler("creator_relative").fit(videos)
    score = pd.Series(fitted.score_values(videos))
    assert score.groupby(videos["user_id"]).median().abs().max() < 1e-12
    louder = videos.assign(n_plays=videos["n_plays"] * 1000 + 999)
    loud = labeler("creator_relative", louder).fit(louder)
    np.testing.assert_allclose(loud.score_values(louder), score, atol=1e-9)


@pytest.mark.parametrize("of_catalog, of_x", [("UInt64", "int64"), ("int64", "UInt64")])
def test_long_ids_of_two_types_are_not_mixed_up(of_catalog, of_x):
    videos = table()
    ids = pd.Series(pd.factorize(videos["user_id"])[0] + 7_000_000_000_000_000_000)
    expected = labeler("creator_relative", videos).fit(videos).score_values(videos)
    in_catalog = videos.assign(user_id=ids.astype(of_catalog))
    X = videos.assign(user_id=ids.astype(of_x))
    found = labeler("creator_relative", in_catalog).fit(X).score_values(X)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("quantile", [0.5, np.float32(0.9)])
def test_the_share_of_viral_videos_is_as_asked(kind, quantile):
    videos = table()
    y = labeler(kind, quantile=quantile).fit(videos).transform(videos)
    assert y.mean() == pytest.approx(1 - quantile, abs=1.01 / len(videos))


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_depends_on_its_row_alone(kind):
    videos = table()
    fitted = labeler(kind).fit(videos)
    whole = fitted.transform(videos)
    order = np.random.default_rng(0).permutation(len(videos))
    np.testing.assert_array_equal(fitted.transform(videos.iloc[order]), whole[order])
    np.testing.assert_array_equal(fitted.transform(videos.iloc[:3]), whole[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_clone_pickle_and_other_tables(kind):
    videos = table()
    fitted = labeler(kind).fit(videos)
    y = fitted.transform(videos)
    copied = clone(fitted)
    assert not hasattr(copied, "cutoff_")
    np.testing.assert_array_equal(copied.fit(videos).transform(videos), y)
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(other.transform(videos), y)
    frame = pl.DataFrame({c: videos[c].tolist() for c in videos})
    np.testing.assert_array_equal(fitted.transform(frame), y)
    with pytest.raises(NotFittedError):
        ViralityLabeler(kind).transform(videos)


def test_rounded_text_scrapers_names_and_mixed_types_are_read():
    videos = pd.DataFrame(
        {"playCount": ["304.9K", 10, "20", 3.0], "authorMeta.fans": ["1M", 1, 1, "1"]}
    )
    scores = ViralityLabeler().fit(videos).score_values(videos)
    assert scores.tolist() == [0.3049, 10, 20, 3]


def test_videos_without_a_label_are_told_and_refused():
    videos = pd.DataFrame(
        {"n_plays": [5, 6, None, 0, 9], "n_followers": [1, 0, 3, 4, None]}
    )
    ratio = ViralityLabeler()
    known = ratio.labelable(videos)
    assert known.tolist() == [True, False, False, True, False]
    match = r"3 of 5 videos have no label of kind='views_per_follower', first row 1: .*"
    with pytest.raises(ValueError, match=match + "no followers. Keep videos"):
        ratio.fit(videos)
    ratio.fit(videos[known])
    with pytest.raises(ValueError, match="3 of 5 videos have no label"):
        ratio.transform(videos)
    residual = ViralityLabeler("log_residual").labelable(videos)
    assert residual.tolist() == [True, True, False, True, False]
    assert ViralityLabeler("views").labelable(videos).sum() == 4


def test_creators_with_few_videos_have_no_usual():
    videos = table()
    few = pd.concat([videos.assign(user_id=0), table(4).assign(user_id=7)])
    few = few.assign(video_id=range(len(few)))
    known = labeler("creator_relative", few).labelable(few)
    assert known.sum() == 60
    assert not known[60:].any()
    with pytest.raises(
        TypeError, match=r"'creator_relative' needs a catalog.*NoneType"
    ):
        ViralityLabeler("creator_relative").fit(videos)
    text = videos.astype({"user_id": str})
    with pytest.raises(TypeError, match="user_id holds strings, but the catalog's"):
        labeler("creator_relative", videos).labelable(text)
    with pytest.raises(ValueError, match=r"catalog lacks the columns \['n_plays'\]"):
        labeler("creator_relative", videos.drop(columns="n_plays")).fit(videos)


def test_missing_columns_name_the_kinds_that_are_possible():
    videos = table().drop(columns="n_followers")
    match = (
        r"kind='views_per_follower' needs \['n_plays', 'n_followers'\], but videos "
        r"holds no value of \['n_followers'\]. Kinds that are possible with these "
        r"videos: \['creator_relative', 'views'\]"
    )
    for call in (ViralityLabeler().fit, ViralityLabeler().labelable):
        with pytest.raises(ValueError, match=match):
            call(videos)
        with pytest.raises(ValueError, match=match):  # there, but empty
            call(videos.assign(n_followers=np.nan))


def test_a_count_that_is_read_word_by_word_makes_no_label():
    """Refused as a feature, but total_views may be all views of the creator."""
    videos = table().rename(columns={"n_plays": "total_views"})
    with pytest.raises(ValueError, match=r"holds no value of \['n_plays'\]"):
        ViralityLabeler().fit(videos)


@pytest.mark.parametrize(
    "options, change, match",
    [
        ({}, {"n_plays": -1}, r"n_plays must be a whole number from 0.*holds -1"),
        ({}, {"n_followers": "many"}, r"n_followers must be a whole number .*'many'"),
        ({}, {"n_plays": 0}, r"puts all 60 videos into one class: no score is above"),
        ({"kind": "ratio"}, {}, r"kind must be one of \['views_per_follower'.*'ratio'"),
        ({"quantile": 1.0}, {}, r"quantile == 1.0, must be < 1"),
        ({"quantile": np.nan}, {}, r"quantile must be a finite number, got nan"),
    ],
)
def test_bad_input_is_refused(options, change, match):
    with pytest.raises(ValueError, match=match):
        ViralityLabeler(**options).fit(table().assign(**change))


def test_another_kind_after_fit_is_refused():
    """Its cut-off was not learnt."""
    fitted = labeler("views").fit(table())
    for kind in KINDS[:3]:
        fitted.set_params(kind=kind)
        match = f"kind was set to '{kind}' .*cut-off of kind='views'. Call fit again"
        with pytest.raises(ValueError, match=match):
            fitted.transform(table())
    assert fitted.fit(table()).transform(table()).mean() == 0.5


def test_the_kind_of_a_fit_that_failed_is_refused_too():
    fitted = labeler("views").fit(table())
    expected = fitted.transform(table())
    with pytest.raises(ValueError, match="one class"):
        fitted.set_params(kind="views_per_follower").fit(table().assign(n_plays=0))
    with pytest.raises(ValueError, match="Call fit again"):
        fitted.transform(table())
    found = fitted.set_params(kind="views").transform(table())
    np.testing.assert_array_equal(found, expected)


def test_arrays_are_refused():
    with pytest.raises(TypeError, match="videos must be a pandas or polars DataFrame"):
        ViralityLabeler().fit(np.ones((3, 2)))


def test_views_below_likes_are_reported_once():
    videos = pd.DataFrame(
        {"n_plays": [5, 90, 500, 7], "n_likes": [6, 1, 2, None], "saves": [0, 91, 1, 2]}
    )
    message = (
        r"'n_plays' is below 'n_likes' in 1 of 4 videos, first row 0; below 'saves' in "
        r"1 of 4 videos, first row 1\. .*labelable"
    )
    labeler = ViralityLabeler("views")
    with pytest.warns(UserWarning, match=message) as seen:
        labeler.fit(videos).transform(videos)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    # The remedy works, and so does a table that is right.
    videos["n_plays"] = videos["n_plays"].mask([True, True, False, False])
    known = labeler.labelable(videos)
    assert labeler.fit(videos[known]).transform(videos[known]).tolist() == [1, 0]


def test_a_report_of_many_folds_reports_contradictions_once():
    rng = np.random.default_rng(0)
    videos = pd.DataFrame({"n_plays": rng.integers(1, 99, 60), "n_likes": 50})
    with pytest.warns(UserWarning, match="is below 'n_likes'") as seen:
        virality_report(
            LogisticRegression(),
            rng.normal(size=(60, 2)),
            videos,
            ViralityLabeler("views"),
            StratifiedKFold(3),
            n_resamples=10,
            random_state=0,
        )
    assert len(seen) == 1
