"""Add up the points of a feed log by video or by user."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from skchallenge._table import as_frame, check_columns, check_ids, check_option
from skchallenge.feed._engagement import (
    EngagementScorer,
    engagement_signals,
    floats_of,
)

_N_BINS = 10  # deciles of the duration


def engagement_table(
    log: Any,
    *,
    by: str,
    adjust_duration: bool = False,
    max_rewatches: int = 1,
    points: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Add up the engagement points of a feed log by video or by user.

    Re-watches count at most `max_rewatches` times for each user and video, however
    many impressions they are spread over.

    Parameters
    ----------
    log : pandas or polars DataFrame of shape (n_impressions, n_columns)
        A raw log as `engagement_signals` takes it, with `video_id` and `user_id`.
    by : {"video_id", "user_id"}
        Whose table to make.
    adjust_duration : bool, default=False
        Whether to subtract, from the points of each impression, the mean points of
        videos of about that duration (the same tenth of all impressions). Short videos
        are completed more often, so they lead any table of points.
    max_rewatches : int, default=1
        Most re-watches that count for one user and video, at least 0.
    points : dict of str to float or None, default=None
        What an impression earns by signal, as for `EngagementScorer`.

    Returns
    -------
    table : pandas.DataFrame
        One row a video or user, sorted by id; the index is named `by`. Columns
        `impressions`, `others` (different users of the video, or videos of the user),
        the mean of each signal, and `score`, the mean points. Impressions without a
        duration are in none of the means; whoever has no others has missing means.

    Raises
    ------
    ValueError
        If a column or an id is missing, there are no rows, a time is negative, or a
        parameter is out of range.
    TypeError
        If ids are neither strings nor integers, or as `engagement_signals` does.

    See Also
    --------
    engagement_signals : The signals of each impression.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.feed import engagement_table
    >>> log = pd.DataFrame({
    ...     "video_id": ["a", "a", "b"], "user_id": ["ann", "bob", "ann"],
    ...     "play_time_ms": [20_000, 9000, 1000], "duration_ms": 10_000,
    ...     "is_forward": 0, "is_comment": 0, "is_like": [1, 0, 0], "is_hate": 0,
    ... })
    >>> engagement_table(log, by="video_id")[["impressions", "others", "score"]]
              impressions  others  score
    video_id
    a                   2       2   14.0
    b                   1       1    0.0
    """
    check_option("by", by, ["video_id", "user_id"])
    log = as_frame(log, "log")
    check_columns(log.columns, ["video_id", "user_id"], "log")
    for name in ("video_id", "user_id"):
        check_ids(log[name], f"log[{name!r}]")
    if log.empty:
        raise ValueError(
            "log must hold at least one impression, got none. Was it filtered?"
        )
    signals = engagement_signals(log, max_rewatches=max_rewatches)
    known = signals["completion"].notna()
    log = log.loc[signals.index]
    # NumPy's types: a group for each category, seen or not, would be too many.
    log = log.assign(**{c: log[c].to_numpy() for c in ("video_id", "user_id")})
    signals["rewatch"] = _cap_repeats(signals["rewatch"], log, max_rewatches)
    score = EngagementScorer(points).fit_transform(signals)[:, 0]
    signals["score"] = np.where(known, score, np.nan)
    if adjust_duration:
        signals["score"] -= _mean_of_duration(signals["score"], log)
    key = log[by]
    other = log["user_id" if by == "video_id" else "video_id"].groupby(key).nunique()
    means = signals[known].groupby(key[known]).mean()
    counts = {"impressions": key.groupby(key).size(), "others": other}
    return pd.DataFrame(counts).join(means).sort_index().rename_axis(by)


def _cap_repeats(
    rewatch: "pd.Series[float]", log: pd.DataFrame, most: int
) -> "pd.Series[float]":
    """Count re-watches of the same video by the same user up to `most`, early first."""
    pair = [log["user_id"], log["video_id"]]
    total = rewatch.fillna(0).groupby(pair).cumsum()
    before = total - rewatch
    return total.clip(upper=most) - before.clip(upper=most)


def _mean_of_duration(
    score: "pd.Series[float]", log: pd.DataFrame
) -> "pd.Series[float]":
    """Average the points over impressions of about the same duration."""
    length = pd.Series(floats_of(log, "duration_ms", "log"), index=log.index)
    rank = length.where(score.notna()).rank()
    # Equal durations have one rank, their mean one, and so stay in one bin.
    tenth = np.ceil(rank * _N_BINS / rank.count())
    return score.groupby(tenth).transform("mean")
