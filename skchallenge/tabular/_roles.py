"""What each column of an export may be used for."""

import re
from collections.abc import Iterable

from skchallenge._schema import (
    NAMES,
    REPEATED,
    Role,
    canonical_name,
    counter_in,
    counters_in,
    plain,
)
from skchallenge.exceptions import LeakageError

_ROLES: dict[str, Role] = {
    canonical: role for role, columns in NAMES.items() for canonical in columns
}
# What MetadataFeaturizer and SentimentFeaturizer make of a column: known as soon as the
# column is, but for the parts of a time that say nothing about the age of the video.
_DERIVED = re.compile(
    r"(?P<base>.+)_"
    r"(?P<made>length|count|(hour|weekday)_(sin|cos)|compound|pos|neu|neg)"
)
_WHY: dict[Role, str] = {
    "post_outcome": "it is counted after the video was posted",
    "exposure": (
        "it tells how long the video has been seen, not what it is; MetadataFeaturizer "
        "makes the hour and the weekday of a create_time"
    ),
}


def column_roles(columns: Iterable[str]) -> dict[str, Role]:
    """Say what each column of an export may be used for.

    Parameters
    ----------
    columns : iterable of str, or pandas or polars DataFrame
        Names of columns: those of `load_tiktok_export`, or those of the known
        scrapers, such as ``"diggCount"`` or ``"stats.diggCount"``. Prefixes that a
        ColumnTransformer adds (``"remainder__n_likes"``), case and punctuation do not
        matter. Counts and followers are also read word by word, such as
        ``"total_views"``, ``"bookmarkCount"``, ``"likes_24h"`` or ``"share"``; a name
        with any word that is none of counting, such as ``"view_angle"`` or
        ``"followers_at_posting"``, is no count. What `MetadataFeaturizer` and
        `SentimentFeaturizer` make of a column, such as ``"caption_length"``, has the
        role of the column; but the hour and the weekday of a time are ``pre_post``.

    Returns
    -------
    roles : dict of str to str
        One role a column, in the given order:

        ====================  ========================================================
        role                  meaning
        ====================  ========================================================
        ``pre_post``          known when the video is posted: caption, tags, sound,
                              picture, length
        ``label_part``        half of the label: followers, where the label is views
                              per follower
        ``post_outcome``      counted after posting: views, likes, comments, shares
        ``scrape_aggregate``  about the user, as of the scrape: it sums up later videos
                              and this one
        ``exposure``          how long the video has been online: raw time of posting,
                              video ids (their upper half is that time) and addresses
        ``unknown``           any other name
        ====================  ========================================================

    Raises
    ------
    TypeError
        If `columns` is one string.

    See Also
    --------
    MetadataFeaturizer : Refuses columns by their role.
    skchallenge.exceptions.LeakageError : What it raises.

    Examples
    --------
    >>> from skchallenge.tabular import column_roles
    >>> column_roles(["text", "authorMeta.fans", "remainder__diggCount", "my_column"])
    {'text': 'pre_post', 'authorMeta.fans': 'label_part',
     'remainder__diggCount': 'post_outcome', 'my_column': 'unknown'}
    """
    if isinstance(columns, str):  # its letters are no names
        raise TypeError(f"columns must hold names, got the text {columns!r}.")
    names = getattr(columns, "columns", columns)  # iterating polars gives its columns
    return {column: _role(column) for column in names}


def check_roles(columns: Iterable[str], nowcast: Iterable[str] = ()) -> dict[str, Role]:
    """Return the role of each column; refuse those that are not known in time.

    Parameters
    ----------
    columns : iterable of str
        Names of columns, see `column_roles`.
    nowcast : iterable of str, default=()
        Columns that are let through all the same, see `check_nowcast`.

    Raises
    ------
    LeakageError
        If a column that `nowcast` does not list is a ``post_outcome`` or ``exposure``.
    """
    roles = column_roles(columns)
    allowed = {_identity(name) for name in nowcast}
    refused = [c for c in roles if roles[c] in _WHY and _identity(c) not in allowed]
    if refused:
        first = refused[0]
        more = f" So must {refused[1:]}." if refused[1:] else ""
        raise LeakageError(
            f"X has the column {first!r} ({_origin(first)[0]}), whose role is "
            f"{roles[first]!r}: {_WHY[roles[first]]}. Drop it.{more} To describe "
            "videos that are online rather than predict, pass "
            f"nowcast={tuple(refused)!r}."
        )
    return roles


def check_nowcast(nowcast: str | Iterable[str], columns: Iterable[str]) -> list[str]:
    """Return the names that `nowcast` lists; each must be a column of X.

    Parameters
    ----------
    nowcast : str or iterable of str
        Any known names of columns.
    columns : iterable of str
        The columns of X. If there are none, X has no names and nothing is compared.

    Raises
    ------
    TypeError
        If `nowcast` holds other things than strings.
    ValueError
        If X has no such column.
    """
    names = [nowcast] if isinstance(nowcast, str) else list(nowcast)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"nowcast must hold names of columns, got {names!r}.")
    columns = list(columns)
    present = {_identity(column) for column in columns}
    absent = [name for name in names if _identity(name) not in present]
    if columns and absent:
        raise ValueError(
            f"nowcast must hold names of columns of X, but {absent} are none of "
            f"{columns}, under any known name. Correct or remove them."
        )
    return names


def _role(column: str) -> Role:
    base, made = _origin(column)
    if base == "create_time" and made.startswith(("hour", "weekday")):
        return "pre_post"
    return "unknown" if base is None else _ROLES[base]


def _origin(column: str) -> tuple[str | None, str]:
    """Return the known column that this one is or is made of, and what is made."""
    canonical = canonical_name(column)
    derived = None if canonical else _DERIVED.fullmatch(REPEATED.sub("", str(column)))
    base = derived and canonical_name(derived["base"])
    if derived and base:
        return base, derived["made"]
    return canonical or counter_in(column), ""


def _identity(column: str) -> str:
    """Return what two names of one column share.

    A ratio is none of its counts: whoever lets comments through has not let through
    comments per view, which tell the views. Scores that are made of any counts, the
    label among them, go by their own names.
    """
    base = _origin(column)[0]
    if base and base != "virality" and len(counters_in(column)) < 2:
        return base
    return plain(REPEATED.sub("", str(column).rpartition("__")[2]))
