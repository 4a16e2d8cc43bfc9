"""Each history rule against a planted leak.

Labels are noise in all of these data sets. With the rules on, a model must score at
chance on unseen users; with one rule switched off it must find the leak, or else the
test would prove nothing. Margins: 300 users x 4 challenges give a standard error of
the AUC of about 0.02; chance is within 0.1, a leak found is above 0.9.
"""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import spies
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from skchallenge import HistoryEncoder, VideoCatalog, make_participation
from skchallenge._rules import ParticipationRules
from skchallenge.datasets import _pairs
from skchallenge.exceptions import LeakageWarning

CUT_OFF = 100
NAMES = [f"dance{i}" for i in range(4)]


def noise(seed=0, n_users=300):
    """Make pairs with random labels, and plain videos that say nothing."""
    rng = np.random.default_rng(seed)
    users = np.array([f"u{i:03d}" for i in range(n_users)])
    pairs = pd.DataFrame(
        {
            "user_id": np.repeat(users, len(NAMES)),
            "challenge": np.tile(NAMES, n_users),
            "time": CUT_OFF,
        }
    )
    y = (rng.uniform(size=len(pairs)) < 0.3).astype(int)
    plain = [row(rng, user=u, time=rng.integers(0, 100)) for u in users for _ in "123"]
    seeds = [
        row(rng, user=f"s{i}{name}", time=i, challenge=name)
        for name in NAMES
        for i in range(5)
    ]
    return rng, pairs, y, [*plain, *seeds]


def row(rng, *, user, time, challenge=None, value=None, song="quiet", caption="hi"):
    value = rng.normal() if value is None else value
    return {
        "user_id": user,
        "challenge": challenge,
        "create_time": int(time),
        "value": value,
        "song": song,
        "caption": caption,
    }


def catalog_of(rows, pairs, **options):
    videos = pd.DataFrame(rows).assign(video_id=range(len(rows)))
    options = {"candidates": set(pairs["user_id"]), **options}
    return VideoCatalog(videos, **options)


def auc(encoder, pairs, y):
    model = make_pipeline(
        make_column_transformer((encoder, list(pairs.columns))),
        HistGradientBoostingClassifier(max_iter=40),
    )
    groups = pairs["user_id"]
    cv = GroupKFold(3)
    return cross_val_score(
        model, pairs, y, cv=cv, groups=groups, scoring="roc_auc"
    ).mean()


def sides(catalog, columns=("value",), **options):
    options = {"before": "time", **options}
    spy = spies.Spy(columns)
    user = HistoryEncoder(catalog, spy, by="user_id", max_videos=12, **options)
    challenge = HistoryEncoder(
        catalog, spy, by="challenge", exclude="user_id", max_videos=400, **options
    )
    return SimpleNamespace(user=user, challenge=challenge)


def at_chance(score):
    return abs(score - 0.5) < 0.1


def test_noise_is_at_chance():
    _, pairs, y, rows = noise()
    both = sides(catalog_of(rows, pairs))
    assert at_chance(auc(both.user, pairs, y))
    assert at_chance(auc(both.challenge.set_params(aggregation="mean"), pairs, y))


def test_videos_after_the_cut_off(monkeypatch):
    rng, pairs, y, rows = noise()
    later = [
        row(rng, user=p.user_id, time=150, value=9 + NAMES.index(p.challenge))
        for p in pairs[y == 1].itertuples()
    ]
    encoder = sides(catalog_of(rows + later, pairs)).user
    one = pairs["challenge"] == NAMES[0]
    pairs, y = pairs[one].reset_index(drop=True), y[one]
    assert at_chance(auc(encoder, pairs, y))
    monkeypatch.setattr(
        ParticipationRules, "_times", lambda self, X: np.full(len(X), 10**6)
    )
    assert auc(encoder, pairs, y) > 0.9


def test_challenge_videos_in_the_users_history(monkeypatch):
    rng, pairs, y, rows = noise()
    one = pairs["challenge"] == NAMES[0]
    pairs, y = pairs[one].reset_index(drop=True), y[one]
    # Whoever will join also joined an earlier challenge, and filmed it.
    earlier = [
        row(rng, user=u, time=50, challenge="sister", value=9.0)
        for u in pairs["user_id"][y == 1]
    ]
    encoder = sides(catalog_of(rows + earlier, pairs)).user
    assert at_chance(auc(encoder, pairs, y))
    nothing = property(lambda self: np.zeros(len(self), dtype=bool))
    monkeypatch.setattr(VideoCatalog, "is_challenge_video", nothing)
    assert auc(encoder, pairs, y) > 0.9


def test_own_sound_in_the_users_history():
    rng, pairs, y, rows = noise()
    one = pairs["challenge"] == NAMES[0]
    pairs, y = pairs[one].reset_index(drop=True), y[one]
    rows = [{**r, "song": "hit"} if r["challenge"] == NAMES[0] else r for r in rows]
    # Every second one of those who will join rehearses to the song without the tag.
    keen = pairs["user_id"][y == 1].iloc[::2]
    rehearsals = [row(rng, user=u, time=90, value=9.0, song="hit") for u in keen]
    assert len(rehearsals) < 0.05 * len(rows)  # else the sound would count as common
    keep = pairs["user_id"].isin(keen) | (y == 0)
    pairs, y = pairs[keep].reset_index(drop=True), y[keep]
    on = sides(catalog_of(rows + rehearsals, pairs)).user
    assert at_chance(auc(on, pairs, y))
    mute = [{k: v for k, v in r.items() if k != "song"} for r in rows + rehearsals]
    off = sides(catalog_of(mute, pairs)).user
    assert auc(off, pairs, y) > 0.9


class Mentions(spies.Spy):
    """Count how often a caption names a challenge."""

    def transform(self, X):
        found = X["caption"].str.casefold().str.count("dance")
        return found.to_numpy(dtype=np.float32)[:, None]


def test_tags_in_captions(monkeypatch):
    rng, pairs, y, rows = noise()
    announced = [
        row(rng, user=p.user_id, time=90, caption=f"soon: #{p.challenge.upper()}!")
        for p in pairs[y == 1].itertuples()
        if p.challenge == NAMES[0]
    ]
    one = pairs["challenge"] == NAMES[0]
    pairs, y = pairs[one].reset_index(drop=True), y[one]

    def score():
        catalog = catalog_of(rows + announced, pairs)
        encoder = HistoryEncoder(
            catalog, Mentions(), by="user_id", before="time", aggregation="max"
        )
        # The fill share tells that there is one video more: that is not the tag.
        only_tags = make_column_transformer(("passthrough", ["user_id_0"]))
        encoder.set_output(transform="pandas")
        return auc(make_pipeline(encoder, only_tags), pairs, y)

    assert at_chance(score())
    monkeypatch.setattr(VideoCatalog, "_tag_pattern", None)
    assert score() > 0.9


class Numbers(spies.Spy):
    """Take every number but ids and times."""

    def transform(self, X):
        numbers = X.select_dtypes("number").drop(columns=["video_id", "create_time"])
        return numbers.to_numpy(dtype=np.float32)


@pytest.mark.parametrize("name", ["n_followers", "total_views", "heartCount"])
def test_counts_as_of_the_scrape(monkeypatch, name):
    """Taking part brings followers, and an export shows them beside older videos."""
    rng, pairs, y, rows = noise()
    one = pairs["challenge"] == NAMES[0]
    pairs, y = pairs[one].reset_index(drop=True), y[one]
    gained = dict(zip(pairs["user_id"], 9 * y + rng.uniform(size=len(y)), strict=True))
    rows = [{**r, name: gained.get(r["user_id"], 0.0)} for r in rows]
    catalog = catalog_of(rows, pairs)
    assert catalog.hidden_columns == ["user_id", "challenge", name]
    options = {"by": "user_id", "before": "time", "max_videos": 3}
    assert at_chance(auc(HistoryEncoder(catalog, Numbers(), **options), pairs, y))
    reader = make_column_transformer(("passthrough", [name]))
    match = (
        r"encoder by 'user_id', which was given \d+ videos to fit\. "
        rf"No encoder sees \['user_id', 'challenge', '{name}'\]"
    )
    with pytest.raises(ValueError, match=match):
        HistoryEncoder(catalog, reader, **options).fit(pairs)
    monkeypatch.setattr(VideoCatalog, "hidden_columns", ["user_id", "challenge"])
    catalog = catalog_of(rows, pairs)
    assert auc(HistoryEncoder(catalog, Numbers(), **options), pairs, y) > 0.9


def test_excluded_videos_are_the_label(monkeypatch):
    rng, pairs, y, rows = noise()
    # Pairs of users who took part before the cut-off are at fault: only positives
    # lose a video.
    own = [
        row(rng, user=p.user_id, time=50, challenge=p.challenge)
        for p in pairs[y == 1].itertuples()
    ]
    encoder = sides(catalog_of(rows + own, pairs), aggregation="mean").challenge
    with pytest.raises(ValueError, match="A missing video is the label"):
        encoder.fit(pairs)
    monkeypatch.setattr(ParticipationRules, "check_own_videos", lambda *given: None)
    with pytest.warns(LeakageWarning, match="what is missing tells"):
        assert auc(encoder, pairs, y) > 0.9


def nearest(user, challenge, pairs):
    """Score a pair by how close the user is to any video of the challenge."""
    u = user.fit_transform(pairs)[:, 0]
    c = challenge.fit_transform(pairs)[:, :-1]
    return -np.abs(u[:, None] - np.where(c == 0, np.inf, c)).min(axis=1)


def test_timeless_histories_of_candidates(monkeypatch):
    rng, pairs, y, _ = noise()
    style = dict(zip(pairs["user_id"].unique(), rng.uniform(1, 2, 300), strict=True))
    rows = [row(rng, user=u, time=1, value=v) for u, v in style.items()]
    rows += [
        row(
            rng, user=p.user_id, time=150, challenge=p.challenge, value=style[p.user_id]
        )
        for p in pairs[y == 1].itertuples()
    ]
    rows += [
        row(rng, user=f"s{i}", time=1, challenge=name, value=rng.uniform(1, 2))
        for name in NAMES
        for i in range(90)
    ]

    def score(candidates):
        catalog = catalog_of(rows, pairs, candidates=candidates)
        spy = spies.Spy()  # `value` tells authors apart, as good features do
        options = {"before": None, "max_videos": 400}
        user = HistoryEncoder(catalog, spy, by="user_id", **options)
        challenge = HistoryEncoder(catalog, spy, by="challenge", **options)
        return roc_auc_score(y, nearest(user, challenge, pairs))

    assert at_chance(score(set(style)))
    with pytest.raises(ValueError, match="before=None asks about catalog.candidates"):
        score({"s0"})
    monkeypatch.setattr(
        ParticipationRules, "_check_candidates", lambda self, users: None
    )
    assert score({"s0"}) > 0.9


def test_own_times_as_cut_offs_leak_and_one_cut_off_does_not():
    rng = np.random.default_rng(0)
    n = 400
    users = [f"u{i:03d}" for i in range(n)]
    rows = [row(rng, user=u, time=t) for u in users for t in (*range(0, 40, 10), 70)]
    joins = {u: int(rng.integers(41, 69)) for u in users if rng.uniform() < 0.3}
    rows += [row(rng, user=u, time=t, challenge="dance") for u, t in joins.items()]
    rows += [row(rng, user=f"s{i}", time=30 + i, challenge="dance") for i in range(5)]
    videos = pd.DataFrame(rows).assign(
        video_id=range(len(rows)),
        hashtags=[[r["challenge"]] if r["challenge"] else [] for r in rows],
    )
    data = make_participation(
        videos.drop(columns="challenge"),
        challenges=["dance"],
        min_history=3,
        horizon=36,
    )
    assert len(data.pairs) == n
    assert data.y.mean() == len(joins) / n
    encoder = sides(data.catalog, aggregation="mean").challenge
    assert at_chance(auc(encoder, data.pairs, data.y))
    # The positive's own time against the end of the window for negatives.
    own = data.pairs["user_id"].map(joins).fillna(data.pairs["time"] + 36)
    leaky = data.pairs.assign(time=own.astype(int))
    assert auc(encoder, leaky, data.y) > 0.9


def test_exports_of_the_latest_videos_leak_by_the_fill():
    rng = np.random.default_rng(0)
    rows = [row(rng, user=f"s{i}", time=30 + i, challenge="dance") for i in range(5)]
    for u in range(400):
        times = [*range(0, 25, 5), 70]
        mine = [row(rng, user=f"u{u:03d}", time=t) for t in times]
        if rng.uniform() < 0.3:
            mine.insert(5, row(rng, user=f"u{u:03d}", time=60, challenge="dance"))
        rows += mine[-6:]  # who took part lacks the oldest video
    videos = pd.DataFrame(rows).assign(
        video_id=range(len(rows)),
        hashtags=[[r["challenge"]] if r["challenge"] else [] for r in rows],
    )
    data = make_participation(videos, challenges=["dance"], min_history=4, horizon=36)
    assert len(data.pairs) == 400
    encoder = sides(data.catalog).user
    with pytest.warns(
        LeakageWarning, match="exactly 6 videos .* min_history=12, which"
    ):
        assert auc(encoder, data.pairs, data.y) > 0.9
    encoder.set_params(max_videos=4)  # as many as every candidate has
    assert at_chance(auc(encoder, data.pairs, data.y))


@pytest.mark.parametrize("cut, n_warnings", [(9, 1), (None, 0)])
def test_only_a_table_of_latest_videos_is_warned_of(cut, n_warnings):
    """Empty slots alone are honest: a whole table has users with few videos."""
    rng = np.random.default_rng(0)
    rows = [row(rng, user=f"s{i}", time=30 + i, challenge="dance") for i in range(5)]
    for u in range(60):
        n = rng.integers(3, 9)
        days = [*rng.integers(0, 30, n), *rng.integers(50, 90, 6)]
        mine = [row(rng, user=f"u{u:02d}", time=t) for t in sorted(days)]
        if u % 3 == 0:
            mine.append(row(rng, user=f"u{u:02d}", time=90, challenge="dance"))
        rows += mine[-cut:] if cut else mine
    users = sorted({r["user_id"] for r in rows if r["user_id"].startswith("u")})
    pairs = pd.DataFrame({"user_id": users, "time": 34})
    with warnings.catch_warnings(record=True, action="always") as caught:
        sides(catalog_of(rows, pairs)).user.fit(pairs)
    assert [w.category for w in caught] == [LeakageWarning] * n_warnings


def test_rehearsals_do_not_count_as_history():
    """A video that histories hide would leave a slot empty, and tell who is keen."""
    rng = np.random.default_rng(0)
    rows = [
        row(rng, user=f"s{i}", time=60 + i, challenge="dance", song="hit")
        for i in range(5)
    ]
    for u in range(400):
        me, joins = f"u{u:03d}", rng.uniform() < 0.3
        rows += [row(rng, user=me, time=t) for t in (0, 10, 20, 90)]
        # A fourth video of everybody; of half of the keen ones a rehearsal.
        song = "hit" if joins and rng.uniform() < 0.5 else "quiet"
        rows.append(row(rng, user=me, time=40, song=song))
        if joins:
            rows.append(row(rng, user=me, time=80, challenge="dance", song="hit"))
    videos = pd.DataFrame(rows).assign(
        video_id=range(len(rows)),
        hashtags=[[r["challenge"]] if r["challenge"] else [] for r in rows],
    )
    data = make_participation(videos, challenges=["dance"], min_history=4, horizon=26)
    fill = sides(data.catalog).user.set_params(max_videos=4).fit_transform(data.pairs)
    assert data.y.sum() > 20
    assert (fill[:, -1] == 1).all()


def test_participations_do_not_count_as_activity(monkeypatch):
    """Else of the users who fall silent only those who take part would be pairs."""
    rng = np.random.default_rng(0)
    rows = [row(rng, user=f"s{i}", time=30 + i, challenge="dance") for i in range(5)]
    for u in range(900):
        me, falls_silent = f"u{u:03d}", rng.uniform() < 0.8
        rows += [row(rng, user=me, time=t, value=9 * falls_silent) for t in (0, 9, 19)]
        if not falls_silent:
            rows.append(row(rng, user=me, time=70))
        if rng.uniform() < 0.3:
            rows.append(row(rng, user=me, time=60, challenge="dance"))
    videos = pd.DataFrame(rows).assign(
        video_id=range(len(rows)),
        hashtags=[[r["challenge"]] if r["challenge"] else [] for r in rows],
    )

    def score():
        options = {"min_history": 3, "horizon": 36}
        data = make_participation(videos, challenges=["dance"], **options)
        encoder = sides(data.catalog, aggregation="mean").user
        return auc(encoder, data.pairs, data.y)

    assert at_chance(score())
    columns = ["user_id", "create_time"]
    monkeypatch.setattr(_pairs, "_plain_videos", lambda videos: videos[columns])
    assert score() > 0.85  # the others, who stay active, are told by chance
