"""Read the tables that a rollout takes: log, videos, viewers, activity of creators."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skchallenge._schema import log_columns
from skchallenge._table import (
    as_frame,
    check_columns,
    check_ids,
    creator_column,
    plain_ids,
    read_numbers,
)
from skchallenge.feed._counts import read_genres, read_groups
from skchallenge.feed._engagement import (
    SIGNALS,
    engagement_signals,
    points_of_log,
    signals_of,
    with_names,
)
from skchallenge.feed._journeys import RESULTS, small_creators
from skchallenge.feed._simulation import creator_falls

_MOST_DAYS = 36_500  # a century; more are seconds, or dates in microseconds


def read_log(
    log: Any, points: Mapping[str, float] | None, attributes: Sequence[str] = ()
) -> pd.DataFrame:
    """Read ids, signals and groups of a log; drop impressions that lack a signal.

    A signal that the log has no column for is 0, and must not be named by `points`. A
    column `group` is there if there are attributes.
    """
    log = with_names(as_frame(log, "log"))
    groups = read_groups(log, attributes)  # first: they must be a sequence
    needed = ["video_id"] if groups is None else ["video_id", "user_id", "genre"]
    check_columns(log.columns, needed, "log")
    log = log if groups is None else log.assign(group=groups)
    held = [*SIGNALS]
    if not {"rewatch", "completion"} & set(log.columns):  # a raw log
        signals = engagement_signals(log)
        held = [s for s in SIGNALS if s in signals_of(log_columns(log.columns))]
        points_of_log(points, held)  # names none that is lacking
        log = log.loc[signals.index].assign(**signals)
    check_columns(log.columns, SIGNALS, "log")
    has_viewers = {"user_id", "genre"} <= set(log.columns)
    names = ["video_id", "user_id"] if has_viewers else ["video_id"]
    ids = {name: check_ids(log[name], f"log[{name!r}]").to_numpy() for name in names}
    if has_viewers:
        ids["genre"] = read_genres(log["genre"], "log['genre']").to_numpy()
    if groups is not None:
        ids["group"] = log["group"].to_numpy()
    signals = {name: read_numbers(log[name], f"log[{name!r}]") for name in SIGNALS}
    log = pd.DataFrame(ids | signals)
    log = log[log[held].notna().all(axis=1)].reset_index(drop=True)
    if log.empty:
        raise ValueError(
            f"log must have at least one impression with all of {held}, got none. Are "
            "all durations zero?"
        )
    return log.fillna(dict.fromkeys(set(SIGNALS) - set(held), 0.0))


def check_videos(videos: Any) -> pd.DataFrame:
    """Return the videos; their columns must not be those of the journeys.

    Raises
    ------
    ValueError
        If they are, if ids are missing or repeated, if there is no column of creators,
        or if numbers of followers are wrong.
    TypeError
        If ids are of no usable kind.
    """
    videos = _unique(videos, "videos", "video_id")
    if "genre" not in videos.columns and "genre" in (found := log_columns(videos)):
        videos = videos.assign(genre=videos[found["genre"]])
    creator = creator_column(videos.columns, "videos")
    taken = [name for name in ("world", *RESULTS) if name in videos.columns]
    if taken:
        raise ValueError(
            f"videos must not have the columns {taken}, which journeys will have. "
            "Rename or drop them."
        )
    if "followers" in videos.columns:
        small_creators(videos)
    ids = [c for c in (creator, "genre") if c in videos.columns]
    return videos.assign(**{c: plain_ids(videos[c]) for c in ids})


def check_viewers(viewers: Any, learned: pd.DataFrame | None) -> pd.DataFrame:
    """Return the viewers that were given, or those that were learned from a log.

    Raises
    ------
    ValueError
        If there are none, or an id or a persona is missing, or an id is repeated.
    TypeError
        If ids are of no usable kind, or personas of several.
    """
    viewers = learned if viewers is None else viewers
    if viewers is None:
        raise ValueError(
            "viewers=None takes the users of the log, but fit saw no log with "
            "user_id and genre. Pass a table of viewer_id and persona."
        )
    viewers = _unique(viewers, "viewers", "viewer_id")
    check_columns(viewers.columns, ["persona"], "viewers")
    missing = viewers["persona"].isna().sum()
    kind = pd.api.types.infer_dtype(viewers["persona"])
    if missing:
        raise ValueError(
            f"viewers['persona'] must have no missing values, got {missing}. Drop the "
            "viewers, or name a persona for them."
        )
    if kind in {"mixed", "mixed-integer"}:
        raise TypeError(
            f"viewers['persona'] must hold values of one kind, got {kind} values. "
            "Convert it with .astype(str)."
        )
    return viewers


def _unique(table: Any, name: str, key: str) -> pd.DataFrame:
    """Return a table with unique ids, at least one."""
    table = as_frame(table, name)
    check_columns(table.columns, [key], name)
    table = table.assign(**{key: check_ids(table[key], f"{name}[{key!r}]")})
    twice = table[key].duplicated()
    if twice.any() or table.empty:
        raise ValueError(
            f"{name}[{key!r}] must hold unique ids, at least one, got {len(table)} "
            f"rows and {twice.sum()} repeated ids. Keep one row each."
        )
    return table


def upload_days(videos: pd.DataFrame) -> NDArray[np.int64]:
    """Return the day of each upload, 0 where the table does not say."""
    if "day" not in videos.columns:
        return np.zeros(len(videos), dtype=np.int64)
    return _whole_days(videos, "videos")


def _whole_days(table: pd.DataFrame, name: str) -> NDArray[np.int64]:
    day = read_numbers(table["day"], f"{name}['day']")
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
    check_columns(table.columns, ["day", "activity"], "activity")
    column = creator_column(table.columns, "activity")
    theirs = creator_column(videos.columns, "videos")
    known = f"videos[{theirs!r}]"
    creator = check_ids(table[column], f"activity[{column!r}]", videos[theirs], known)
    level = read_numbers(table["activity"], "activity['activity']")
    if table.empty or not ((level >= 0) & np.isfinite(level)).all():
        raise ValueError(
            "activity must hold finite activities of at least 0, at least one row, "
            "none missing. Drop the other rows."
        )
    day = _whole_days(table, "activity")
    # One row a creator, one column a day up to the last; no row is no activity.
    total = pd.Series(level).groupby([creator.to_numpy(), day]).sum()
    creators, days = pd.Index(videos[theirs].unique()), range(int(day.max()) + 1)
    total = total.unstack().reindex(creators, columns=days).fillna(0.0)
    return creator_falls(total.to_numpy())[creators.get_indexer(videos[theirs])]
