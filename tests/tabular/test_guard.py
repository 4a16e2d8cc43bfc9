"""The guard at the head of a pipeline, and how often it is wrong on made-up data."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skchallenge import VideoCatalog
from skchallenge._guard import rank_agreement
from skchallenge.exceptions import LeakageError, LeakageWarning
from skchallenge.metrics import virality_report
from skchallenge.tabular import (
    LeakageGuard,
    MetadataFeaturizer,
    PastCreatorStats,
    TagBinarizer,
    ViralityLabeler,
)

N = 1500
NAMES = """playCount diggCount stats.commentCount statsV2.shareCount collect_count
view_count like_count video_views total_views views_24h likes_per_view engagement_rate
is_viral impressions bookmarkCount downloads whatsapp_share_count lose_count
lose_comment_count video_timestamp createTime upload_date video_age_days completion_rate
avg_watch_time averageViewDuration retention finish_rate reach vistas vues Aufrufe
curtidas visualizações commentaires Kommentare просмотры 播放量 再生回数 조회수"""
VIEWS = {
    "copy": lambda v: v,
    "logarithm": np.log1p,
    "root": np.sqrt,
    "square": np.square,
    "rank": lambda v: v.rank(),
    "standard score": lambda v: (v - v.mean()) / v.std(),
    "inverse": lambda v: 1 / (1 + v),
    "magnitude": lambda v: np.floor(np.log10(1 + v)),
    "tenths": lambda v: pd.qcut(v.rank(method="first"), 10, labels=False),
    "with gaps": lambda v: v.where(np.arange(len(v)) % 20 > 0),
    "text": lambda v: v.astype(int).astype(str),
}


def export(seed=0):
    """Videos of 75 creators: views follow followers and luck; likes follow views."""
    rng = np.random.default_rng(seed)
    user = np.sort(np.arange(N) % 75)
    followers = np.exp(rng.normal(9, 2, 75)).round()[user] + 1
    luck = rng.normal(0, 1, 75)[user] + rng.normal(0, 1.2, N)
    plays = (followers * np.exp(luck)).round() + 10
    noisy = {"n_likes": 0.35, "n_comments": 1.2, "n_shares": 1.2}
    counts = {c: (plays * np.exp(rng.normal(-3, s, N))) for c, s in noisy.items()}
    days = pd.to_timedelta(rng.integers(100 * 24, size=N), "h")
    return pd.DataFrame(
        {
            "video_id": [f"v{i}" for i in range(N)],
            "user_id": [f"u{u}" for u in user],
            "create_time": pd.Timestamp("2020-06-01") + days,
            "hashtags": [list(rng.choice(list("abcdefgh"), 2)) for _ in range(N)],
            "caption": ["x" * n for n in rng.integers(1, 90, N)],
            "duration_s": rng.integers(5, 60, N),
            "n_followers": followers,
            "n_total_likes": (followers * 20).round(),
            "n_plays": plays,
            **{c: v.round() for c, v in counts.items()},
        }
    )


VIDEOS = export()


def said(X, videos=None, kind="views_per_follower"):
    """Return the warnings, or the error, of a report."""
    videos = VIDEOS if videos is None else videos
    half = np.arange(len(X)) % 2 == 0
    folds = [(np.flatnonzero(half), np.flatnonzero(~half))] * 2
    model = HistGradientBoostingClassifier(max_iter=1, max_leaf_nodes=3)
    model = make_pipeline(OnlyNumbers(), model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            virality_report(
                model, X, videos, ViralityLabeler(kind), folds,
                groups=np.arange(len(X)), n_resamples=1,
            )  # fmt: skip
        except LeakageError as error:
            return [str(error)]
    return [str(w.message) for w in caught if w.category is LeakageWarning]


class OnlyNumbers(LeakageGuard):
    """Pass on what a tree can read."""

    def __init__(self):
        super().__init__()

    def fit_transform(self, X, y=None):
        self.fitted_ = True
        return self.transform(X)

    def transform(self, X):
        return X.select_dtypes("number").to_numpy(float)


def earlier(by, column, how):
    ordered = VIDEOS.sort_values("create_time", kind="stable")
    past = ordered.groupby(by)[column].transform(
        lambda values: getattr(values.shift().expanding(), how)()
    )
    return past.reindex(VIDEOS.index)


def honest():
    catalog = VideoCatalog(VIDEOS, challenge=None)
    keys = VIDEOS[["user_id", "create_time"]]
    rng = np.random.default_rng(1)

    def made(columns):
        table = MetadataFeaturizer().set_output(transform="pandas")
        return table.fit_transform(VIDEOS[columns])

    def past(age):
        table = PastCreatorStats(catalog, min_age=age).set_output(transform="pandas")
        return table.fit_transform(keys)

    followers = VIDEOS[["n_followers"]]
    tags = TagBinarizer(sparse_output=False).set_output(transform="pandas")
    tags = tags.fit_transform(VIDEOS[["hashtags"]])
    noise = pd.DataFrame(rng.normal(size=(N, 30))).add_prefix("embedding_")
    yield VIDEOS[["caption", "hashtags", "duration_s", "create_time", "user_id"]]
    yield made(["caption", "hashtags", "duration_s", "create_time"])
    yield made(["caption", "hashtags", "duration_s", "create_time", "n_followers"])
    yield VIDEOS[["n_followers", "n_total_likes"]]
    yield tags
    yield tags.join(followers)
    yield noise
    yield noise.join(followers)
    for age in ("0D", "7D"):
        yield past(age)
        yield past(age).join(followers)
    names = {"mean": "usual_level", "max": "best_so_far", "median": "usual_middle"}
    for by in ("user_id", "duration_s"):
        for column in ("n_plays", "n_likes"):
            made_by = {n: earlier(by, column, how) for how, n in names.items()}
            yield pd.DataFrame(made_by)
            yield followers.assign(**made_by)


def test_twenty_honest_sets_raise_no_alarm():
    sets = list(honest())
    alarms = [said(X, kind=k) for X in sets for k in ("views_per_follower", "views")]
    assert len(sets) == 20
    assert alarms == [[]] * 40


@pytest.mark.parametrize("name", NAMES.split())
def test_forty_names_of_leaks_are_refused(name):
    assert len(NAMES.split()) == 40
    X = VIDEOS[["duration_s"]].assign(**{name: VIDEOS["n_plays"]})
    y = VIDEOS["n_plays"] > VIDEOS["n_plays"].median()
    guarded = make_pipeline(LeakageGuard(), HistGradientBoostingClassifier(max_iter=1))
    with pytest.raises(LeakageError, match="known|seen|counted") as error:
        guarded.fit(X, y)
    assert f"{name!r}" in str(error.value)


@pytest.mark.parametrize("followers", [[], ["n_followers"]])
@pytest.mark.parametrize("kind", ["views_per_follower", "log_residual", "views"])
@pytest.mark.parametrize("change", VIEWS.values(), ids=VIEWS)
def test_functions_of_the_views_are_named_once(change, kind, followers):
    X = VIDEOS[["duration_s", *followers]].assign(mine=change(VIDEOS["n_plays"]))
    (message,) = said(X, kind=kind)
    assert message.count("'mine'") == 1
    assert "duration_s" not in message


def test_several_columns_are_named_in_one_message():
    X = pd.DataFrame(dict.fromkeys(("one", "two"), VIDEOS["n_plays"]))
    (message,) = said(X.assign(duration_s=VIDEOS["duration_s"]))
    assert "'one' has the order of videos['n_plays']; 'two' has" in message


def test_renamed_likes_are_found_beside_followers_only():
    X = VIDEOS[["duration_s"]].assign(mine=VIDEOS["n_likes"])
    assert said(X) == []  # documented: such a copy cannot be told
    (message,) = said(X.join(VIDEOS[["n_followers"]]))
    assert "'mine' tells y together with ['n_followers']" in message


def test_the_score_of_the_label_is_named():
    ratio = VIDEOS["n_plays"] / VIDEOS["n_followers"]
    (message,) = said(VIDEOS[["duration_s"]].assign(mine=np.log(ratio)))
    assert "'mine' has the order of the score that the label cuts" in message


def test_rank_agreement_is_one_for_functions_that_never_fall():
    rng = np.random.default_rng(0)
    part = rng.lognormal(size=300)
    steps = np.floor(3 * np.log1p(part))
    assert rank_agreement(steps, part) == pytest.approx(1)
    assert rank_agreement(-steps, part) == pytest.approx(-1)
    assert rank_agreement((part > 2).astype(float), part) == pytest.approx(1)
    assert abs(rank_agreement(rng.normal(size=300), part)) < 0.2
    rare = np.zeros(300)
    rare[np.argsort(part)[-4:]] = 1  # may be luck
    assert rank_agreement(rare, part) == 0
    assert rank_agreement(part[:19], part[:19]) == 0
    few = part.copy()
    few[19:] = np.nan
    assert rank_agreement(few, part) == 0


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_the_guard_passes_tables_on_as_they_are(kind):
    X = kind({"caption": ["a", "b"], "n_followers": [1, 2], "tempo": [0.5, None]})
    guard = LeakageGuard()
    assert guard.fit_transform(X, [0, 1]) is X
    assert guard.transform(X) is X
    assert guard.unrecognised_ == ["tempo"]
    assert guard.column_roles_["n_followers"] == "label_part"
    assert guard.get_feature_names_out().tolist() == list(X.columns)


def test_the_guard_stays_at_the_head_of_a_search():
    X, y = VIDEOS[["duration_s", "n_followers"]][:200], np.arange(200) % 2
    model = make_pipeline(LeakageGuard(), HistGradientBoostingClassifier(max_iter=2))
    assert len(cross_val_score(clone(model), X, y, cv=3)) == 3
    with pytest.raises(LeakageError, match=r"'vistas'.*nowcast=\('vistas',\)"):
        model.fit(X.assign(vistas=1), y)
    model.set_params(leakageguard__nowcast=("vistas",)).fit(X.assign(vistas=1), y)


def test_times_and_ids_are_refused_as_numbers_only():
    X = VIDEOS[["create_time", "video_id", "duration_s"]]
    assert LeakageGuard().fit(X).column_roles_["create_time"] == "exposure"
    seconds = X.assign(create_time=X["create_time"].astype("int64"))
    with pytest.raises(LeakageError, match="'create_time'.*how long the video"):
        LeakageGuard().fit(seconds)
    LeakageGuard(nowcast=["create_time"]).fit(seconds)


def test_a_copy_of_what_decides_the_label_is_named_without_followers():
    y = VIDEOS["n_plays"] > VIDEOS["n_plays"].median()
    X = VIDEOS[["duration_s"]].assign(mine=VIDEOS["n_plays"], likes_then=1)
    with pytest.warns(LeakageWarning, match="'mine' has the order of y") as caught:
        LeakageGuard().fit(X, y)
    assert caught[0].filename == __file__
    LeakageGuard(nowcast="mine").fit(X, y)
    LeakageGuard().fit(X.drop(columns="mine"), y)


@pytest.mark.parametrize(
    "X, options, error, match",
    [
        (np.ones((4, 2)), {}, TypeError, "X must be a pandas or polars DataFrame"),
        (VIDEOS[["duration_s"]], {"nowcast": "n_plays"}, ValueError, "none of"),
        (VIDEOS[["duration_s"]], {"nowcast": [1]}, TypeError, "names of columns"),
    ],
)
def test_bad_input_is_refused(X, options, error, match):
    with pytest.raises(error, match=match):
        LeakageGuard(**options).fit(X)
    with pytest.raises(ValueError, match="feature names"):
        LeakageGuard().fit(VIDEOS[["duration_s"]]).transform(VIDEOS[["caption"]])
