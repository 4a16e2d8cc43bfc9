"""How often the guard against leaks is wrong: false alarms, and leaks that pass.

Twenty sets of honest columns, what is known of creators' earlier videos among them,
must raise nothing and warn of nothing, under each label. Forty names of leaking columns
must be refused. Ten copies of the views under a name that says nothing, each by another
function, must be named; so must copies of the likes beside followers.

    python benchmarks/guard.py

Needs the files of SKCHALLENGE_DATA, and the extra `sentiment`. Takes some minutes.
"""

import time
import warnings

import numpy as np
import pandas as pd
from common import DATA, data_file
from scipy.stats import spearmanr
from sklearn.dummy import DummyClassifier

from skchallenge import VideoCatalog, load_tiktok_export
from skchallenge.embed import probe_media
from skchallenge.exceptions import LeakageError, LeakageWarning
from skchallenge.metrics import virality_report
from skchallenge.tabular import (
    LeakageGuard,
    MetadataFeaturizer,
    PastCreatorStats,
    SentimentFeaturizer,
    TagBinarizer,
    ViralityLabeler,
    column_roles,
)

NAMES = """playCount diggCount stats.commentCount statsV2.shareCount collect_count
view_count like_count video_views total_views views_24h likes_per_view engagement_rate
is_viral impressions bookmarkCount downloads whatsapp_share_count lose_count
lose_comment_count video_timestamp createTime upload_date video_age_days completion_rate
avg_watch_time averageViewDuration retention finish_rate reach vistas vues Aufrufe
curtidas visualizações commentaires Kommentare просмотры 播放量 再生回数 조회수"""
VIEWS = {
    "copy": lambda v: v,
    "logarithm": np.log1p,
    "square root": np.sqrt,
    "square": np.square,
    "rank": lambda v: v.rank(),
    "standard score": lambda v: (v - v.mean()) / v.std(),
    "inverse": lambda v: 1 / (1 + v),
    "magnitude": lambda v: np.floor(np.log10(1 + v)),
    "tenths": lambda v: pd.qcut(v.rank(method="first"), 10, labels=False),
    "with gaps": lambda v: v.where(np.arange(len(v)) % 20 > 0),
}


def alarms(X, videos, labeler):
    """Return what the guard says of columns, as the user of a report meets it."""
    half = np.arange(len(X)) % 2 == 0
    fold = [(np.flatnonzero(half), np.flatnonzero(~half))]
    model, groups = DummyClassifier(strategy="prior"), np.arange(len(X))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            virality_report(
                model, X, videos, labeler, fold, groups=groups, n_resamples=1
            )
        except LeakageError as error:
            return [str(error)]
    return [str(w.message) for w in caught if w.category is LeakageWarning]


def earlier(rows, by, column, how):
    """Sum up a column over the rows before, of the same user or sound; `rows` by time.

    Times are distinct but for a few videos.
    """
    past = rows.groupby(by)[column].shift()
    summed = getattr(past.groupby(rows[by]).expanding(), how)()
    return summed.droplevel(0).reindex(rows.index)


def of_creators():
    """Yield honest sets of the creators' export: name, X, videos, labels."""
    file = data_file("creators_2020.parquet")
    videos = load_tiktok_export(file).dropna(subset=["n_plays"])
    raw = pd.read_parquet(file)
    videos = videos[videos["n_followers"] > 0].reset_index(drop=True)
    raw = raw.set_index(raw["video_id"].astype(str)).loc[videos["video_id"].astype(str)]
    catalog = VideoCatalog(videos, challenge=None)
    known = ["hashtags", "song", "duration_s", "create_time"]
    numbers = ["hashtags", "duration_s", "create_time"]
    keys = videos[["user_id", "create_time"]]
    tags = TagBinarizer(min_frequency=30, sparse_output=False)
    tags = tags.set_output(transform="pandas").fit_transform(videos[["hashtags"]])
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(videos), 50))

    def statistics(age):
        table = PastCreatorStats(catalog, min_age=age).set_output(transform="pandas")
        return table.fit_transform(keys)

    def made(columns):
        table = MetadataFeaturizer().set_output(transform="pandas")
        return table.fit_transform(videos[columns])

    followers = videos[["n_followers"]]
    aggregates = videos[["n_total_likes", "n_total_videos"]]
    yield "known before posting", videos[known]
    yield "numbers made of it", made(numbers)
    yield "with followers", made([*numbers, "n_followers"])
    yield (
        "sums of the user as of the scrape",
        pd.concat([followers, aggregates], axis=1),
    )
    yield "frequent tags", tags
    yield "frequent tags, followers", pd.concat([tags, followers], axis=1)
    yield "past statistics, a week old", statistics("7D")
    yield (
        "past statistics, a week old, followers",
        pd.concat([statistics("7D"), followers], axis=1),
    )
    yield (
        "past statistics of any age, followers",
        pd.concat([statistics("0D"), followers], axis=1),
    )
    yield "noise", pd.DataFrame(noise).add_prefix("embedding_").join(followers)
    yield (
        "columns of the scraper",
        raw[["video_length", "n_followers"]].reset_index(drop=True),
    )
    names = {"mean": "usual_level", "median": "usual_middle", "max": "best_so_far"}
    rows = videos.sort_values("create_time", kind="stable")
    sides = ("user_id", "n_plays"), ("user_id", "n_likes"), ("song", "n_plays")
    for by, column in sides:
        past = {n: earlier(rows, by, column, how) for how, n in names.items()}
        yield f"{column} of earlier videos by {by}", followers.assign(**past)
    return videos


def of_trending():
    file = data_file("trending_2020.json")
    videos = load_tiktok_export(file)
    posts = pd.json_normalize(pd.read_json(file)["collector"].tolist())
    honest = [c for c, r in column_roles(posts).items() if r == "pre_post"]
    known = ["caption", "hashtags", "mentions", "duration_s", "sound_original"]
    tone = SentimentFeaturizer(outputs=("compound", "pos", "neg"))
    tone = tone.set_output(transform="pandas").fit_transform(videos[["caption"]])
    yield "known before posting", videos[[*known, "width", "height", "create_time"]]
    yield "columns of the scraper", posts[honest]
    yield "tone of captions", tone
    return videos


def of_the_feed():
    log = pd.read_parquet(data_file("interactions_2022.parquet"))
    log = log.sort_values("time_ms", kind="stable").reset_index(drop=True)
    by_video = log.groupby("video_id")
    videos = pd.DataFrame({"n_plays": by_video.size()})
    first = by_video[["duration_ms", "tag"]].first().reset_index(drop=True)
    yield "videos of a feed log", first.assign(tag=pd.factorize(first["tag"])[0])
    return videos.reset_index(drop=True)


def of_clips():
    paths = sorted(p for p in (DATA / "clips").rglob("*") if p.is_file())
    probed = probe_media([str(p) for p in paths if p.suffix in {".mp4", ".mkv"}])
    rng = np.random.default_rng(0)
    yield "what a file tells", probed.select_dtypes("number")
    return pd.DataFrame({"n_plays": rng.lognormal(8, 2, len(probed)).round()})


def impressions():
    """Return what `LeakageGuard` says of what is known before an impression."""
    log = pd.read_parquet(data_file("interactions_2022.parquet"))
    log = log.sort_values("time_ms", kind="stable").reset_index(drop=True)
    past = {
        f"usual_{column}": earlier(log, "user_id", column, "mean")
        for column in ("is_click", "is_like", "play_time_ms")
    }
    X = pd.DataFrame(past).assign(duration_ms=log["duration_ms"], tag=log["tag"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            LeakageGuard().fit(X, log["is_click"])
        except LeakageError as error:
            return [str(error)]
    return [str(w.message) for w in caught]


LABELS = {
    "creators": ["views_per_follower", "log_residual", "views"],
    "trending": ["views"],
    "feed": ["views"],
    "clips": ["views"],
}


def honest():
    """Print one line a set; return the videos of each source."""
    tables, n_sets, wrong = {}, 0, 0
    sources = (of_creators, of_trending, of_the_feed, of_clips)
    for source, sets in zip(LABELS, sources, strict=True):
        run, found = sets(), []
        while True:
            try:
                found.append(next(run))
            except StopIteration as end:
                videos = tables[source] = end.value
                break
        for name, X in found:
            said = [
                text
                for kind in LABELS[source]
                for text in alarms(X, videos, ViralityLabeler(kind))
            ]
            n_sets, wrong = n_sets + 1, wrong + bool(said)
            print(f"  {source:10}{name:42}{X.shape[1]:5} columns  {said or 0}")
    said = impressions()
    n_sets, wrong = n_sets + 1, wrong + bool(said)
    print(f"  {'feed':10}{'the past of an impression':42}{5:5} columns  {said or 0}")
    print(f"Honest sets: {n_sets}, false alarms: {wrong}")
    return tables


def leaks(videos):
    """Print how many leaks are found."""
    refused = 0
    for name in NAMES.split():
        X = videos[["duration_s"]].assign(**{name: videos["n_plays"]})
        said = alarms(X, videos, ViralityLabeler())
        refused += any(name in text and "whose role is" in text for text in said)
    print(f"Names: {refused} of {len(NAMES.split())} refused")
    labels = LABELS["creators"]
    for followers in (False, True):
        columns = ["duration_s", *(["n_followers"] if followers else [])]
        found = {
            (way, kind): [
                text.count("'mine'")
                for text in alarms(
                    videos[columns].assign(mine=change(videos["n_plays"])),
                    videos,
                    ViralityLabeler(kind),
                )
            ]
            for way, change in VIEWS.items()
            for kind in labels
        }
        once = sum(counts == [1] for counts in found.values())
        print(
            f"Copies of the views, {'with' if followers else 'without'} followers: "
            f"{once} of {len(found)} named, once each ({len(VIEWS)} functions under "
            f"{len(labels)} labels)"
        )
    X = videos[["duration_s", "n_followers"]].assign(mine=videos["n_likes"])
    said = alarms(X, videos, ViralityLabeler())
    print(f"Renamed likes beside followers: {'found' if said else 'MISSED'}")
    for column in ("n_likes", "n_comments", "n_shares"):
        rho = spearmanr(videos[column], videos["n_plays"], nan_policy="omit")[0]
        print(f"  rank correlation of {column} with the views: {rho:.3f}")


def main():
    began = time.perf_counter()
    tables = honest()
    leaks(tables["creators"])
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
