"""From a table of videos to (user, challenge) pairs with labels."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skchallenge._html import Bunch
from skchallenge._table import (
    as_frame,
    check_columns,
    check_count,
    check_ids,
    check_times,
    read_duration,
    tag_name,
)
from skchallenge.datasets._catalog import VideoCatalog
from skchallenge.exceptions import OneClassWarning, OpenWindowWarning

# Tags of the platform itself: they say nothing about what is joined.
_GENERIC_TAGS = (
    "fyp foryou foryoupage fy fypシ fypage foru 4u viral viralvideo viralpost goviral "
    "trending trend trendy tiktok tiktoker tiktokviral tiktoktrend xyzbca xyzcba duet "
    "stitch explore featureme funny comedy love follow like share"
)
_NEAREST = 10  # tags that an error lists


def make_participation(
    videos: Any,
    *,
    challenges: Iterable[str] | None = None,
    min_participants: int = 20,
    max_spread: str | float = "21D",
    generic_tags: Iterable[str] | None = None,
    min_history: int = 8,
    n_seeds: int = 5,
    horizon: str | float = "30D",
    until: Any = None,
) -> Bunch:
    """Make pairs, labels and the catalog of a participation study.

    Each challenge has one cut-off, the time of its `n_seeds`-th participant, which
    no later label can shift. Whoever took part by then is no pair. A candidate has at
    least `min_history` videos before the cut-off and at least one within `horizon`
    after it, counting only videos of no studied challenge and without a studied
    challenge's own sound, for both classes alike. The label is 1 if and only if the
    user takes part within `horizon` after the cut-off.

    Parameters
    ----------
    videos : pandas or polars DataFrame
        One row a video, with `video_id`, `user_id`, `create_time` and `hashtags`
        (lists of tags), as `load_tiktok_export` returns it. Sounds are read from
        `song`, if it is there. Further columns go into the catalog; a column
        `challenge` is replaced.
    challenges : iterable of str or None, default=None
        Tags to study, with or without hash sign, in any case and Unicode form. None
        finds them: tags of at least `min_participants` users whose first uses are
        bunched.
    min_participants : int, default=20
        Users that a found challenge has at least.
    max_spread : str or float, default="21D"
        Largest inter-quartile range of the users' first uses of a found challenge.
    generic_tags : iterable of str or None, default=None
        Tags that are never found; None is a short list such as fyp and viral.
    min_history : int, default=8
        Videos that a candidate has at least before the cut-off. The default is that of
        the `max_videos` of `HistoryEncoder`. With fewer, and a table that holds the
        latest videos of each user only, who posts more later has fewer slots filled,
        and the fill tells the label.
    n_seeds : int, default=5
        The cut-off is the first upload of this many-th participant, at least the
        second: a history, which ends before the cut-off, shows the ones before.
    horizon : str or float, default="30D"
        Length of the window in which taking part counts. Like `max_spread` a
        duration that pandas.Timedelta reads where `create_time` holds datetimes, and
        a number in the unit of `create_time` where it holds numbers.
    until : datetime, number or None, default=None
        When the table was collected: it holds what its users posted until then, which
        is what tells a "no" from a "not yet". Of the type of `create_time`; None is the
        time of the last video.

    Returns
    -------
    data : sklearn.utils.Bunch
        pairs : pandas.DataFrame with columns `user_id`, `challenge`, `time`
            One row a pair; `time` is the challenge's cut-off.
        y : ndarray of shape (n_pairs,)
            1 where the user takes part, else 0.
        catalog : VideoCatalog
            The videos with a column `challenge`, lists of studied challenges or None;
            its candidates are the users of `pairs`.
        challenges : pandas.DataFrame
            One row a challenge: `challenge`, `time`, `n_participants`, `n_pairs`,
            `n_positives`.
        horizon : pandas.Timedelta or number
            The length of the windows.

    Raises
    ------
    TypeError
        If `horizon` or `max_spread` do not fit the type of `create_time`.
    ValueError
        If columns are missing, no challenge is found, a given challenge has fewer
        than `n_seeds` participants, or no pair is left. Where none is found, the ten
        tags that come nearest are listed, see `describe_tags`.

    Warns
    -----
    OneClassWarning
        If all labels are alike. The pairs are right and `challenges` tells how they
        came about, but no classifier can be fitted on them.
    OpenWindowWarning
        If windows end after the table does.

    See Also
    --------
    describe_tags : Users and spread of each tag, to choose challenges by.
    load_tiktok_export : Reads the table from an export.
    make_challenge_clips : Renders a small study with known truth.

    Notes
    -----
    Which tags count as challenges is decided with all dates in view; cut-offs are not.
    A participation that the table does not hold, because only the latest videos of a
    user were collected, or because the table ends before `horizon` is over, counts as
    none. That candidates post within `horizon` is seen afterwards: scores hold for
    users who stay active.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge import make_participation
    >>> videos = pd.DataFrame({
    ...     "video_id": range(9),
    ...     "user_id": ["ann", "bob", "ann", "bob", "cy", "dee", "bob", "ann", "bob"],
    ...     "create_time": [1, 2, 3, 4, 4, 5, 7, 8, 9],
    ...     "hashtags": [[], [], [], [], ["Dance"], ["dance"], ["dance"], [], []],
    ... })
    >>> data = make_participation(
    ...     videos, challenges=["dance"], n_seeds=2, min_history=2, horizon=4
    ... )
    >>> data.pairs.assign(y=data.y)
      user_id challenge  time  y
    0     ann     dance     5  0
    1     bob     dance     5  1
    """
    check_count("n_seeds", n_seeds, min_val=2)
    check_count("min_history", min_history)
    videos = _check_videos(videos)
    window = _duration(horizon, "horizon", videos["create_time"])
    end = _end(until, videos["create_time"])
    uses = _first_uses(videos)
    if challenges is None:
        check_count("min_participants", min_participants, min_val=n_seeds)
        spread = _duration(max_spread, "max_spread", videos["create_time"])
        tags = _describe(uses, min_participants, spread, generic_tags)
        names = _find_challenges(tags, min_participants, max_spread)
    else:
        names = _given_challenges(challenges, uses, n_seeds)
    uses = uses[uses["challenge"].isin(names)]
    videos = videos.assign(challenge=_memberships(videos["hashtags"], set(names)))
    # The n-th participant alone sets the cut-off, so that no later label shifts it.
    cut_offs = uses.groupby("challenge")["create_time"].nth(n_seeds - 1)
    cut_offs = uses.loc[cut_offs.index, ["challenge", "create_time"]]
    cut_offs = cut_offs.rename(columns={"create_time": "time"})
    cut_offs = cut_offs.sort_values(["time", "challenge"], ignore_index=True)
    # Who is asked about is decided by videos of no challenge, for both classes alike.
    plain = _plain_videos(videos)
    pairs = _candidates(plain, cut_offs, min_history, window)
    pairs = _without_early_birds(pairs, uses)
    if not len(pairs):
        raise ValueError(
            f"No pair is left of {len(names)} challenges: no user has at least "
            f"min_history={min_history} videos of no studied challenge, nor with one's "
            f"own sound, before a cut-off and one within horizon={horizon!r} after it. "
            "Lower min_history, and max_videos of the model with it."
        )
    took_part = pairs.pop("first_use").notna() & (pairs.pop("delay") <= window)
    y = took_part.to_numpy(dtype=np.int64)
    if y.min() == y.max():
        message = _one_class(y, len(names), horizon, min_history)
        warnings.warn(message, OneClassWarning, stacklevel=2)
    is_open = pairs["time"] + window > end
    if is_open.any():
        message = _open_windows(is_open.mean(), horizon, end)
        warnings.warn(message, OpenWindowWarning, stacklevel=2)
    return Bunch(
        pairs=pairs,
        y=y,
        catalog=VideoCatalog(videos, candidates=pairs["user_id"].unique()),
        challenges=_summary(cut_offs, uses, pairs, y),
        horizon=window,
    )


def describe_tags(
    videos: Any,
    *,
    min_participants: int = 20,
    max_spread: str | float = "21D",
    generic_tags: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Tell how many users each tag has and how bunched it is, the likeliest first.

    It is what `make_participation` finds challenges by.

    Parameters
    ----------
    videos : pandas or polars DataFrame
        One row a video, with `video_id`, `user_id`, `create_time` and `hashtags`.
    min_participants : int, default=20
        Users that a challenge has at least.
    max_spread : str or float, default="21D"
        Largest inter-quartile range of the users' first uses of a challenge: a duration
        where `create_time` holds datetimes, else a number in its unit.
    generic_tags : iterable of str or None, default=None
        Tags that are no challenges; None is a short list such as fyp and viral.

    Returns
    -------
    tags : pandas.DataFrame
        One row a tag: `challenge`, its name without hash sign in lower case; `n_users`;
        `spread`, the inter-quartile range of their first uses; `first_use`;
        `is_generic`; and `is_found`, whether `make_participation` would study it. Tags
        come in the order of how many times they have too few users and too wide a
        spread; generic ones last.

    Raises
    ------
    TypeError
        If `max_spread` does not fit the type of `create_time`.
    ValueError
        If columns are missing, or a number is out of range.

    See Also
    --------
    make_participation : Finds challenges, or takes their names.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.datasets import describe_tags
    >>> videos = pd.DataFrame({
    ...     "video_id": range(5), "user_id": ["ann", "bob", "cy", "ann", "bob"],
    ...     "create_time": [1, 2, 3, 5, 90],
    ...     "hashtags": [["Dance"], ["dance"], ["dance"], ["cake", "fyp"], ["cake"]],
    ... })
    >>> tags = describe_tags(videos, min_participants=3, max_spread=10)
    >>> tags[["challenge", "n_users", "spread", "is_found"]]
      challenge  n_users  spread  is_found
    0     dance        3     1.0      True
    1      cake        2    42.5     False
    2       fyp        1     0.0     False
    """
    check_count("min_participants", min_participants)
    videos = _check_videos(videos)
    spread = _duration(max_spread, "max_spread", videos["create_time"])
    return _describe(_first_uses(videos), min_participants, spread, generic_tags)


def _check_videos(videos: Any) -> pd.DataFrame:
    videos = as_frame(videos, "videos")
    needed = ["video_id", "user_id", "create_time", "hashtags"]
    check_columns(videos.columns, needed, "videos")
    for column in ("video_id", "user_id"):
        videos[column] = check_ids(videos[column], column)
    videos["create_time"] = check_times(videos["create_time"], "create_time")
    text = videos["hashtags"].map(lambda tags: isinstance(tags, str))
    if text.any():
        raise TypeError(
            f"hashtags must hold lists of tags, got the text "
            f"{videos['hashtags'][text].iloc[0]!r}. Split it into a list."
        )
    return videos


def _duration(value: str | float, name: str, times: "pd.Series[Any]") -> Any:
    """Read a duration in the kind of the times; it must be positive."""
    duration = read_duration(value, name, times)
    if not duration > type(duration)(0):
        raise ValueError(f"{name} must be positive, got {value!r}.")
    return duration


def _end(until: Any, times: "pd.Series[Any]") -> Any:
    """Return when the table ends."""
    last = times.max()
    if until is None:
        return last
    end = check_times(pd.Series([until]), "until", like=times).iloc[0]
    if end < last:
        raise ValueError(
            f"until={until!r} is before the last video, of {last}: the table was "
            "collected later. Drop the videos after it, or leave it out."
        )
    return end


def _open_windows(fraction: float, horizon: str | float, end: Any) -> str:
    """Say that some answers are not known yet, and what to do."""
    return (
        f"The windows of {fraction:.0%} of the pairs end after videos does, at {end}: "
        f"who takes part within horizon={horizon!r}, but later than that, counts as "
        "not taking part. Take a shorter horizon or earlier challenges; or say when "
        "the table was collected, until=..., if its users posted nothing after its "
        "last video."
    )


def _tags(cell: Any) -> list[str]:
    """Read a cell of hashtags: missing, or an iterable of tags, some of them blank."""
    if not isinstance(cell, Iterable):
        return []
    names = (tag_name(tag) for tag in cell if not pd.isna(tag))
    return list(dict.fromkeys(filter(None, names)))


def _first_uses(videos: pd.DataFrame) -> pd.DataFrame:
    """List each user's first use of each tag, oldest first."""
    tags = videos["hashtags"].map(_tags)
    uses = videos[["video_id", "user_id", "create_time"]].assign(challenge=tags)
    uses = uses.explode("challenge").dropna(subset="challenge")
    uses = uses.sort_values(["create_time", "video_id"], ignore_index=True)
    return uses.drop_duplicates(["user_id", "challenge"])


def _describe(
    uses: pd.DataFrame,
    min_participants: int,
    max_spread: Any,
    generic_tags: Iterable[str] | None,
) -> pd.DataFrame:
    """Tell of each tag how far it is from being a challenge, the nearest first."""
    generic = (
        _GENERIC_TAGS.split() if generic_tags is None else map(tag_name, generic_tags)
    )
    times = uses.groupby("challenge")["create_time"]
    n_users, first = times.size(), times.min()
    # One user's first use has no spread, and most tags are used by one.
    several = uses[uses["challenge"].isin(n_users.index[n_users > 1])]
    several = several.groupby("challenge")["create_time"]
    spread = several.quantile(0.75) - several.quantile(0.25)
    nothing = type(max_spread)(0)
    spread = spread.reindex(n_users.index, fill_value=nothing)
    tags = pd.DataFrame({"n_users": n_users, "spread": spread, "first_use": first})
    tags["is_generic"] = tags.index.isin(set(generic))
    few = tags["n_users"] < min_participants
    wide = tags["spread"] > max_spread
    tags["is_found"] = ~few & ~wide & ~tags["is_generic"]
    # How many times too few users, and too wide a spread.
    lacking = (min_participants / tags["n_users"]).clip(lower=1)
    lacking *= (tags["spread"] / max_spread).clip(lower=1)
    tags["_far"] = lacking.where(~tags["is_generic"], np.inf)
    tags = tags.rename_axis("challenge").reset_index()
    by = ["_far", "n_users", "challenge"]
    tags = tags.sort_values(by, ascending=[True, False, True], ignore_index=True)
    return tags.drop(columns="_far")


def _find_challenges(
    tags: pd.DataFrame, min_participants: int, max_spread: str | float
) -> list[str]:
    found = sorted(tags["challenge"][tags["is_found"]])
    if not found:
        nearest = "; ".join(
            f"{tag} {n_users} users, spread {spread}"
            for tag, n_users, spread in tags[~tags["is_generic"]]
            .head(_NEAREST)[["challenge", "n_users", "spread"]]
            .itertuples(index=False)
        )
        raise ValueError(
            f"No tag is a challenge: none, generic tags apart, has at least "
            f"min_participants={min_participants} users and is bunched within "
            f"max_spread={max_spread!r}. Nearest: {nearest or 'none'}. Loosen these, "
            "or name the challenges; describe_tags(videos) lists all tags."
        )
    return found


def _given_challenges(
    challenges: Iterable[str], uses: pd.DataFrame, n_seeds: int
) -> list[str]:
    if isinstance(challenges, str):
        raise TypeError(
            f"challenges must be an iterable of tags, got the text {challenges!r}."
        )
    names = list(dict.fromkeys(tag_name(name) for name in challenges))
    count = uses["challenge"].value_counts().reindex(names, fill_value=0)
    rare = count[count < n_seeds].to_dict()
    if rare or not names:
        raise ValueError(
            f"Every challenge needs at least n_seeds={n_seeds} participants, but these "
            f"have fewer: {rare}."
            if rare
            else "challenges is empty."
        )
    return names


def _memberships(hashtags: "pd.Series[Any]", names: set[str]) -> "pd.Series[Any]":
    lists = [[t for t in _tags(cell) if t in names] or None for cell in hashtags]
    return pd.Series(lists, index=hashtags.index, dtype=object)


def _plain_videos(videos: pd.DataFrame) -> pd.DataFrame:
    """Keep the videos that may stand in a user's history.

    One that a history hides but `min_history` counts would leave a slot empty, and
    rehearsals to a challenge's sound are the keen users'.
    """
    catalog = VideoCatalog(videos)
    hidden = catalog.is_challenge_video | catalog.has_challenge_sound
    return videos.loc[~hidden, ["user_id", "create_time"]]


def _candidates(
    plain: pd.DataFrame, cut_offs: pd.DataFrame, min_history: int, window: Any
) -> pd.DataFrame:
    """Pair each challenge with the users who are active around its cut-off."""
    user, users = pd.factorize(plain["user_id"], sort=True)
    parts = []
    for name, cut_off in cut_offs.itertuples(index=False):
        earlier = plain["create_time"] < cut_off
        later = (plain["create_time"] > cut_off) & (
            plain["create_time"] <= cut_off + window
        )
        n_earlier, n_later = (
            np.bincount(user[mask.to_numpy()], minlength=len(users))
            for mask in (earlier, later)
        )
        active: NDArray[np.bool_] = (n_earlier >= min_history) & (n_later >= 1)
        parts.append(
            pd.DataFrame({"user_id": users[active], "challenge": name, "time": cut_off})
        )
    return pd.concat(parts, ignore_index=True)


def _without_early_birds(pairs: pd.DataFrame, uses: pd.DataFrame) -> pd.DataFrame:
    """Drop users who took part by the cut-off; add when and how late others did."""
    first = uses[["user_id", "challenge", "create_time"]]
    first = first.rename(columns={"create_time": "first_use"})
    pairs = pairs.merge(first, on=["user_id", "challenge"], how="left")
    pairs["delay"] = pairs["first_use"] - pairs["time"]
    by_then = pairs["first_use"] <= pairs["time"]
    return pairs[~by_then].reset_index(drop=True)


def _one_class(
    y: NDArray[Any], n_challenges: int, horizon: str | float, min_history: int
) -> str:
    """Say what is wrong with labels of one class, and what to do."""
    none = f"Of {len(y)} pairs in {n_challenges} challenges none is"
    if y[0] == 0:
        return (
            f"{none} positive: nobody takes part within horizon={horizon!r} after the "
            "cut-off, so y has one class. Give a longer horizon or more challenges, or "
            "check that videos holds what was posted after the cut-offs."
        )
    return (
        f"{none} negative: everybody with at least min_history={min_history} videos "
        f"takes part within horizon={horizon!r} after the cut-off, so y has one class. "
        "Give videos of users who did not take part, or lower min_history or horizon."
    )


def _summary(
    cut_offs: pd.DataFrame, uses: pd.DataFrame, pairs: pd.DataFrame, y: NDArray[Any]
) -> pd.DataFrame:
    by_name = pd.Series(y).groupby(pairs["challenge"])
    names = cut_offs["challenge"]
    return cut_offs.assign(
        n_participants=names.map(uses["challenge"].value_counts()),
        n_pairs=names.map(by_name.size()).fillna(0).astype(int),
        n_positives=names.map(by_name.sum()).fillna(0).astype(int),
    )
