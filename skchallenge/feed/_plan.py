"""Check the tables of a simulation, and name what comes out of it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

from skchallenge._table import (
    as_frame,
    check_columns,
    check_ids,
    id_kind,
    plain_integers,
)
from skchallenge.feed._diary import DECISIONS, EVENTS, OUTCOMES, to_frame
from skchallenge.feed._engagement import SIGNALS, engagement_signals, floats_of
from skchallenge.feed._exposure import small_creators
from skchallenge.feed._momentum import creator_falls
from skchallenge.feed._world import World

_MOST_DAYS = 36_500  # a century; more are seconds, or dates in microseconds
_RESULTS = ("stage", "exposures", "points", "score", "outcome", "reasons")


def with_signals(log: pd.DataFrame) -> pd.DataFrame:
    """Read the signals of a raw log; leave out impressions that lack one."""
    check_columns(log.columns, ["video_id"], "log")
    if not set(SIGNALS) & set(log.columns) and "play_time_ms" in log.columns:
        signals = engagement_signals(log)
        log = log.loc[signals.index].assign(**signals)
    check_columns(log.columns, SIGNALS, "log")
    check_ids(log["video_id"], "log['video_id']")
    if {"user_id", "genre"} <= set(log.columns):
        check_ids(log["user_id"], "log['user_id']")
    # NumPy's types: categories and nullable numbers would need care all the way.
    ids = [name for name in ("video_id", "user_id", "genre") if name in log.columns]
    plain = {name: log[name].to_numpy() for name in ids}
    log = pd.DataFrame(plain | {name: floats_of(log, name, "log") for name in SIGNALS})
    log = log[log[list(SIGNALS)].notna().all(axis=1)].reset_index(drop=True)
    if log.empty:
        raise ValueError(
            "log must have at least one impression with all five signals, got none. "
            "Are all durations zero?"
        )
    return log


def check_table(
    table: Any, name: str, key: str, needed: list[str], remedy: str = ""
) -> pd.DataFrame:
    """Return a table with unique ids."""
    table = as_frame(table, name)
    check_columns(table.columns, [key, *needed], name, remedy)
    check_ids(table[key], f"{name}[{key!r}]")
    twice = table[key].duplicated()
    if twice.any() or table.empty:
        raise ValueError(
            f"{name}[{key!r}] must hold unique ids, at least one, got {len(table)} "
            f"rows and {twice.sum()} repeated ids. Keep one row each."
        )
    return table


def check_videos(videos: Any) -> pd.DataFrame:
    """Return the videos; their columns must not be those of the journeys.

    Raises
    ------
    ValueError
        If they are, as `check_table` does, or if numbers of followers are wrong.
    """
    remedy = " In the table of an export, rename its 'user_id'."
    videos = check_table(videos, "videos", "video_id", ["creator_id"], remedy)
    taken = [name for name in ("world", *_RESULTS) if name in videos.columns]
    if taken:
        raise ValueError(
            f"videos must not have the columns {taken}, which journeys will have. "
            "Rename or drop them."
        )
    if "followers" in videos.columns:
        small_creators(videos)
    ids = [c for c in ("video_id", "creator_id", "genre") if c in videos.columns]
    return videos.assign(**{c: plain_integers(videos[c]) for c in ids})


def upload_days(videos: pd.DataFrame) -> NDArray[np.int64]:
    """Return the day of each upload, 0 where the table does not say."""
    if "day" not in videos.columns:
        return np.zeros(len(videos), dtype=np.int64)
    return _whole_days(videos, "videos")


def _whole_days(table: pd.DataFrame, name: str) -> NDArray[np.int64]:
    day = floats_of(table, "day", name)
    wrong = ~((day >= 0) & (day <= _MOST_DAYS) & (day == np.floor(day)))
    if wrong.any():
        raise ValueError(
            f"{name}['day'] must hold whole numbers from 0 to {_MOST_DAYS}, got "
            f"{day[wrong][0]}. Count days from the first upload."
        )
    return day.astype(np.int64)


def falls_of(videos: pd.DataFrame, activity: Any) -> NDArray[np.bool_]:
    """Return on which days the creator of each video turns quiet."""
    if activity is None:
        raise ValueError(
            "momentum='creator' needs activity, a table of creator_id, day and "
            "activity, got None."
        )
    table = as_frame(activity, "activity")
    check_columns(table.columns, ["creator_id", "day", "activity"], "activity")
    check_ids(table["creator_id"], "activity['creator_id']")
    kinds = [id_kind(t["creator_id"]) for t in (table, videos)]
    if kinds[0] != kinds[1]:
        raise TypeError(
            "activity['creator_id'] must hold ids of the kind of videos['creator_id'], "
            f"{kinds[1]}, got {kinds[0]}. Convert one of them with .astype."
        )
    level = floats_of(table, "activity", "activity")
    if table.empty or not ((level >= 0) & np.isfinite(level)).all():
        raise ValueError(
            "activity must hold finite activities of at least 0, at least one row, "
            "none missing. Drop the other rows."
        )
    table = table.assign(day=_whole_days(table, "activity"), activity=level)
    wide = table.pivot_table(
        index="creator_id", columns="day", values="activity", aggfunc="sum"
    )
    days = np.arange(int(table["day"].max()) + 1)
    creators = pd.Index(videos["creator_id"].unique())
    wide = wide.reindex(index=creators, columns=days).fillna(0.0)
    fires = creator_falls(wide.to_numpy(dtype=np.float64))
    return fires[creators.get_indexer(videos["creator_id"])]


class NamedLog:
    """Turn row numbers into ids, and hand each chunk of the log on as a table."""

    def __init__(
        self,
        take: Callable[[pd.DataFrame], object],
        world: int,
        videos: pd.DataFrame,
        viewers: pd.DataFrame,
    ) -> None:
        self.take, self.world = take, world
        self.video = videos["video_id"].to_numpy()
        self.viewer = viewers["viewer_id"].to_numpy()
        self.persona = viewers["persona"].to_numpy()

    def __call__(self, columns: dict[str, Any]) -> None:
        video, viewer = columns.pop("video"), columns.pop("viewer")
        day = np.full(len(video), columns.pop("day"), dtype=np.int32)
        ids = {"video_id": self.video[video], "viewer_id": self.viewer[viewer]}
        who = {"persona": self.persona[viewer]}
        columns = {"world": self.world, "day": day} | ids | who | columns
        self.take(pd.DataFrame(columns, copy=False))


def report(
    world: World, number: int, videos: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the journeys, events and decisions of a world."""
    events = to_frame(world.diary.events, EVENTS)
    events = events.sort_values(["video", "day"], kind="stable", ignore_index=True)
    decisions = to_frame(world.diary.decisions, DECISIONS)
    reward = np.zeros(len(decisions))
    for rows, points in world.reward:
        reward[rows] = points
    decisions["reward"] = reward
    reasons = events["reason"].tolist()
    stops = np.cumsum(np.bincount(events["video"], minlength=len(videos))).tolist()
    own = [reasons[i:j] for i, j in zip([0, *stops[:-1]], stops, strict=True)]
    journeys = videos.assign(
        stage=world.stage,
        exposures=world.exposures,
        points=world.points,
        score=world.score,
        outcome=np.array(OUTCOMES, dtype=object)[world.phase],
        reasons=pd.Series(own, index=videos.index, dtype=object),
    )
    return (
        _label(journeys, number),
        _label(_name(events, videos), number),
        _label(_name(decisions, videos), number),
    )


def no_report(videos: pd.DataFrame, viewers: pd.DataFrame, *, log: bool) -> Bunch:
    """Return the tables of a simulation in which no video takes part."""
    none, videos = np.zeros(0, dtype=np.int64), videos[:0]
    events = to_frame([], EVENTS)
    decisions = to_frame([], DECISIONS).assign(reward=0.0)
    result = Bunch(
        journeys=_label(videos.assign(**dict.fromkeys(_RESULTS, 0)), 0),
        events=_label(_name(events, videos), 0),
        decisions=_label(_name(decisions, videos), 0),
    )
    if log:
        columns = {"video": none, "viewer": none, "day": 0}
        columns |= {"stage": none.astype(np.int8), "propensity": none.astype(float)}
        columns |= dict.fromkeys(SIGNALS, none.astype(np.bool_))
        columns |= {"points": none.astype(np.float32)}
        chunks: list[pd.DataFrame] = []
        NamedLog(chunks.append, 0, videos, viewers)(columns)
        result["log"] = chunks[0]
    return result


def _name(table: pd.DataFrame, videos: pd.DataFrame) -> pd.DataFrame:
    ids = videos["video_id"].to_numpy()[table.pop("video")]
    table.insert(0, "video_id", ids)
    return table


def _label(table: pd.DataFrame, number: int) -> pd.DataFrame:
    table.insert(0, "world", number)
    return table
