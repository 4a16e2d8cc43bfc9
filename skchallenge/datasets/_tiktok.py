"""TikTok exports as one table."""

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skchallenge._grammar import counter_in
from skchallenge._parse import (
    CONVERTERS,
    TEXT,
    CellError,
    encodable,
    first_filled,
    has_zone,
    refuse,
    short,
    tags_in_captions,
    to_counts,
    to_tags,
)
from skchallenge._schema import (
    COLUMNS,
    LAYOUTS,
    LOADED,
    PARTIAL,
    REQUIRED,
    TABLE,
    Source,
    canonical_name,
    sources_of,
    table_sources,
)
from skchallenge._table import check_option, is_missing, printable, same_text
from skchallenge.datasets._sources import (
    Export,
    list_sources,
    read_export,
    without_collector,
)

# In order of preference, where a video has several files.
MEDIA = ("mp4", "mov", "m4v", "mkv", "webm", "avi", "jpg", "jpeg", "png", "webp")
# "7300_2" is the second picture of a photo post, "a title [7300]" a video of yt-dlp.
_NUMBERED = re.compile(r"(.+)_(\d{1,3})")
_BRACKETED = re.compile(r".*\[([^\[\]]+)\]")
_HOUR, _TEN_HOURS = 3600.0, 36_000.0  # the platform's videos take an hour at most
_SOUND_OF_NOBODY = {"0", "-1"}
_PLAIN_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?")

_ORDER = "#"  # of the sources, while parts are put together
_OWN = "tiktok-api-table"  # of which this library's own names are
_ONE_USER = "video_id must belong to one user and one time"

Sources = dict[str, list[Source]]  # of each column, the preferred one first


def load_tiktok_export(
    source: Any,
    *,
    layout: str = "auto",
    columns: Mapping[str, str] | None = None,
    keep: Sequence[str] = (),
    on_error: Literal["raise", "drop"] = "raise",
    media_dir: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """Read exports of TikTok, or a table of one's own, into one table of videos.

    What an export is called and how it is built is found out: which layout it has,
    see Notes, and where in a file the videos are. All give the same columns. What
    cannot be read with certainty is refused.

    Parameters
    ----------
    source : path, list of dict, or pandas or polars DataFrame, or a list of these
        A file, a folder (with its subfolders), a pattern such as ``"2024/*.csv"``, the
        posts as a client returns them, or a table. Files are ``.json``, ``.jsonl``,
        ``.ndjson``, ``.csv``, ``.tsv`` and ``.parquet``, each also with ``.gz``. CSV
        may be parted by commas, semicolons, tabs or bars; text is UTF-8 or UTF-16.
    layout : {"auto", "tiktok-scraper", "tiktok-api", "tiktok-api-table", \
"research-api", "yt-dlp", "aweme", "pyktok", "table"}, default="auto"
        The layout of all files. "auto" takes for each the one whose ids, users and
        times are there.
    columns : dict of str to str or None, default=None
        For a table of one's own: maps names in the source to the names below, as in
        ``{"posted by": "user_id"}``. It goes before what the layout says.
    keep : sequence of str, default=()
        Further columns to take along, by their name in the source (``"my_label"``,
        ``"author.signature"``) or in `skchallenge.tabular.column_roles`
        (``"n_saves"``).
    on_error : {"raise", "drop"}, default="raise"
        With "drop", rows that cannot be used, and files without any, are dropped, and a
        warning says how many, why and which.
    media_dir : str or path-like, default=None
        A folder with the media, named ``<video_id>.<extension>``, or as yt-dlp names
        them, ``<title> [<video_id>].<extension>`` (mp4, mov, m4v, mkv, webm, avi, jpg,
        jpeg, png, webp; the first of these if there are several). The pictures of a
        photo post are ``<video_id>_1.jpg`` and so on. Subfolders are not searched.

    Returns
    -------
    pandas.DataFrame
        One row per video, in the order of the export, rows numbered from 0. Always
        these columns, then those of `keep`; what the export has beyond is dropped.

        ================  ==============  ============================================
        column            dtype           meaning
        ================  ==============  ============================================
        video_id          str             id of the video, unique
        user_id           str             id of who posted it, or the name, see Notes
        create_time       datetime64[us]  time of posting, UTC without a time zone
        caption           str             caption as posted
        hashtags          object          list of str, without #, spelt as found
        mentions          object          list of str, user names without @
        effect_stickers   object          list of str, names of effects
        song              str             title of the sound
        sound_id          str             id of the sound
        sound_original    boolean         the sound was made for a video
        sound_duration_s  float64         length of the sound in seconds
        duration_s        float64         length of the video in seconds
        width             float64         width of the picture in pixels
        height            float64         height of the picture in pixels
        verified          boolean         the user is verified
        n_plays           float64         views
        n_likes           float64         likes
        n_comments        float64         comments
        n_shares          float64         shares
        n_followers       float64         users who follow this user
        n_following       float64         users whom this user follows
        n_total_likes     float64         likes this user ever got
        n_user_likes      float64         videos that this user has liked
        n_total_videos    float64         videos this user has posted
        cover             str             link to or path of the cover
        path              str             media file; of several pictures a list
        ================  ==============  ============================================

        All counts are as of the scrape. They are floats because a missing number is
        NaN, which NumPy and scikit-learn take as it is; they are exact up to 2**53.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If `source` names no file, or `media_dir` is not an existing folder.
    TypeError
        If `source`, `columns` or `keep` are of the wrong kind.
    ValueError
        If a file cannot be read or holds no videos; if no layout fits (the message
        lists what is missing and what was found), or several; if a video lacks its id,
        user or time; if ids have lost digits; if a time or duration is in milliseconds,
        or a time outside 2014 to 2099; if a cell is no number, list or text that the
        column may hold; if a video id has two users or times; if `media_dir` holds none
        of the videos; if no row is left.

    Warns
    -----
    UserWarning
        If rows were dropped; if counts below 0 were read as missing; if columns that
        are known are dropped; if times may be local ones; if a video was scraped more
        than once with differing rows.

    See Also
    --------
    skchallenge.datasets.make_participation : Pairs and labels from this table.
    skchallenge.datasets.VideoCatalog : The table as a side table of encoders.

    Notes
    -----
    **Layouts.** Each is known as JSON, flattened (``authorMeta/id``,
    ``hashtags.0.name``) and as a table.

    ====================  ==============================================================
    layout                what has it
    ====================  ==============================================================
    ``tiktok-scraper``    tiktok-scraper [1]_, and Apify's scrapers
    ``tiktok-api``        TikTok-Api [2]_, gallery-dl, and what web pages are made of
    ``tiktok-api-table``  the flat table that people make of it; this table, saved
    ``research-api``      the Research API of TikTok [3]_
    ``yt-dlp``            the ``.info.json`` files of yt-dlp, one a video
    ``aweme``             the objects of the mobile app
    ``pyktok``            pyktok's CSV, with local times: a warning says so
    ``table``             any flat table whose columns have names that `column_roles`
                          knows: ``author``, ``posted_at``, ``views``, ``likes``
    ====================  ==============================================================

    Lists of videos are found wherever a file has them: ``collector``, ``itemList``,
    ``aweme_list``, ``data.videos``, the state of a page.

    **Users.** They are known by their id or, if the whole export has none, by name.

    **Missing values.** A column that the export lacks, or fills for no video, is
    missing in every row: ``videos.isna().all()`` tells which ones. In a column that the
    export has, a video without a caption has ``""`` and one without tags has ``[]``.
    Photo posts have a duration, width and height of 0, which is missing here.

    **Tags and names** are equal if they look the same, whatever their code points.
    Repetitions within a video are dropped. The text of a list may be that of JSON,
    Python, NumPy or R, or names parted by commas or signs (``#a#b``). Hashtags and
    mentions are read from the caption if the export has no field for them at all.

    **Counts.** Text is read if it is a number ("44800") or what the platform shows
    ("304.9K" is 304900: the platform has rounded it). Counts that cannot be, below 0 or
    above 2**53, are missing. Where TikTok-Api gives `stats` and `statsV2`, the latter
    is read: it does not overflow.

    **Ids** are refused if their last digits were lost: floats (``6.9E+18``), and
    columns of 16 digits or more that mostly end in zeros, or as floats do.

    **Times.** Numbers are Unix seconds, by definition of these layouts. ISO 8601 text
    and Parquet times are read as well, as UTC unless they state an offset.

    **Repeated videos.** Exports often hold a video twice. One row is kept: the one
    with the most plays, which was scraped last, and of equals the last in the file.

    References
    ----------
    .. [1] https://github.com/drawrowfly/tiktok-scraper
    .. [2] https://github.com/davidteather/TikTok-Api
    .. [3] https://developers.tiktok.com/doc/research-api-specs-query-videos

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from skchallenge.datasets import load_tiktok_export
    >>> post = {
    ...     "id": "6907",
    ...     "text": "new shoes #tryit",
    ...     "createTime": 1608214517,
    ...     "authorMeta": {"id": "17", "verified": False},
    ...     "hashtags": [{"name": "tryit"}],
    ...     "playCount": "304.9K",
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "export.json"
    ...     _ = file.write_text(json.dumps({"collector": [post]}))
    ...     videos = load_tiktok_export(file)
    >>> videos[["video_id", "create_time", "hashtags", "n_plays"]]
      video_id         create_time hashtags   n_plays
    0     6907 2020-12-17 14:15:17  [tryit]  304900.0
    >>> bool(videos["n_likes"].isna().all())  # this export has no likes
    True

    A table of one's own. Known names are found; the others are mapped, or kept.

    >>> import pandas as pd
    >>> mine = pd.DataFrame({
    ...     "clip": ["a1", "a2"], "author": ["ann", "bob"], "views": [10, 20],
    ...     "uploaded": ["2024-05-01T12:00:00", "2024-05-02T12:00:00"], "funny": [1, 0],
    ... })
    >>> names = {"clip": "video_id", "uploaded": "create_time"}
    >>> videos = load_tiktok_export(mine, columns=names, keep=["funny"])
    >>> videos[["video_id", "user_id", "n_plays", "funny"]]
      video_id user_id  n_plays  funny
    0       a1     ann     10.0      1
    1       a2     bob     20.0      0
    """
    check_option("layout", layout, ["auto", *LAYOUTS, TABLE])
    check_option("on_error", on_error, ["raise", "drop"])
    mapped, kept = _check_columns(columns), _check_keep(keep)
    media = None if media_dir is None else _list_media(Path(media_dir))
    log = _Log(on_error)
    further = [*(c for c in mapped if c not in LOADED), *kept]
    with without_collector():
        parts = _read_parts(list_sources(source), layout, mapped, further, log)
        _check_found(columns or {}, kept, parts)
        tables = [_read_part(p, fields, mapped, further, log) for p, fields in parts]
    videos = pd.concat(tables, ignore_index=True)
    if not videos[_ORDER].is_monotonic_increasing:
        videos = videos.sort_values(_ORDER, kind="stable", ignore_index=True)
    del videos[_ORDER]
    videos = _drop_repeated(videos, log)
    if videos.empty:
        raise ValueError(f"No row is left. {log.dropped()}")
    texts = [name for name in LOADED if LOADED[name].kind in ("id", "text")]
    videos = videos.astype(dict.fromkeys(texts, TEXT))
    for name in further:
        videos[name] = _plain_values(videos[name], name)
    for note in log.notes():
        warnings.warn(note, UserWarning, stacklevel=2)
    if media is not None:
        videos["path"] = _find_media(videos, media, f"{media_dir}")
    return videos


def _check_columns(columns: Mapping[str, str] | None) -> dict[str, str]:
    """Return the names in the source by the loader's names."""
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise TypeError(
            "columns must be a dict, such as {'posted by': 'user_id'}, got "
            f"{type(columns).__name__}."
        )
    unknown = [c for c in columns.values() if c not in COLUMNS]
    if unknown:
        raise ValueError(
            f"columns must map names in the source to the loader's, got {unknown}; it "
            f"knows {list(COLUMNS)}. Take other columns along with keep=."
        )
    twice = [c for c, n in Counter(columns.values()).items() if n > 1]
    if twice:
        raise ValueError(f"columns must map one column to each name, got two: {twice}.")
    return {column: str(name) for name, column in columns.items()}


def _check_keep(keep: Sequence[str]) -> list[str]:
    if isinstance(keep, str) or not isinstance(keep, Sequence):
        raise TypeError(f"keep must be a list of names, got {keep!r:.80}: write [...].")
    loaded = [name for name in keep if name in LOADED]
    if loaded:
        raise ValueError(f"keep must name further columns: {loaded} are loaded anyway.")
    return list(dict.fromkeys(keep))


def _check_found(
    columns: Mapping[str, str], kept: list[str], parts: list[tuple[Export, Sources]]
) -> None:
    """Raise if a name that the caller gave is in no part."""
    for parameter, names in (("columns", columns), ("keep", kept)):
        absent = [
            name
            for name in names
            if not any(_further_sources(part, str(name)) for part, _ in parts)
        ]
        if absent:
            found = dict.fromkeys(n for part, _ in parts for n in part.all_names())
            raise ValueError(
                f"{parameter} must name columns of the source that hold something, got "
                f"{absent}; it has {_some(list(found))}."
            )


# What is told about rows and files


@dataclass
class _Log:
    """What was dropped, or read with a doubt."""

    on_error: str
    n_rows: int = 0
    several: bool = False  # parts
    reasons: dict[str, list[str]] = field(default_factory=dict)  # -> rows
    files: list[str] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)
    ignored: dict[str, str] = field(default_factory=dict)  # column -> remedy
    local: list[str] = field(default_factory=list)
    repeated: str = ""

    def drop(self, reason: str, rows: Iterable[str]) -> None:
        self.reasons.setdefault(reason, []).extend(rows)

    def where(self, part: Export, row: int) -> str:
        if part.origins is not None:
            return part.origins[row]
        return f"row {row} of {part.name}" if self.several else f"row {row}"

    def refuse(self, part: Export, error: CellError, rows: dict[int, str]) -> None:
        """Raise, or add the rows to those that are dropped."""
        if self.on_error == "raise":
            before = f"{part.name}: " if self.several else ""
            first = int(error.rows[0])
            file = (
                ""
                if part.origins is None
                else f" Row {first} is {part.origins[first]}."
            )
            raise ValueError(f"{before}{error}{file}") from error
        for row in error.rows:
            rows.setdefault(int(row), error.rule)

    def dropped(self) -> str:
        """Say how many rows were dropped, why, and which."""
        n_dropped = sum(map(len, self.reasons.values()))
        why = [
            f"{len(rows)} because {reason} ({_some(rows, 5, quote=False)})"
            for reason, rows in self.reasons.items()
        ]
        rows = f"{n_dropped} of {self.n_rows} rows dropped: {'; '.join(why)}."
        s = "" if len(self.files) == 1 else "s"
        files = f"{len(self.files)} file{s} dropped: {' '.join(self.files[:5])}"
        return " ".join([rows] * bool(why) + [files] * bool(self.files))

    def notes(self) -> list[str]:
        """Return what the caller should know, a sentence or two for each kind."""
        notes = [self.dropped()]
        if self.impossible:
            notes.append(
                "Counts that cannot be, below 0 or above 2**53, are read as missing: "
                f"{'; '.join(self.impossible)}."
            )
        if self.ignored:
            remedies = "; ".join(self.ignored.values())
            notes.append(f"Columns that are known were dropped: {remedies}.")
        if self.local:
            notes.append(
                f"create_time ({', '.join(self.local)}) has no time zone. This layout "
                "holds the local times of the computer that made the file; they are "
                "read as UTC, so they may be hours off. Add the offset to videos"
                "['create_time'], or make the file where the clock shows UTC."
            )
        return [note for note in [*notes, self.repeated] if note]


def _some(names: list[Any], most: int = 40, *, quote: bool = True) -> str:
    shown = ", ".join(map(short, names[:most]) if quote else names[:most])
    shown = f"[{shown}]" if quote else shown
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return shown + more


# Layouts


def _read_parts(
    sources: list[Any],
    layout: str,
    mapped: dict[str, str],
    further: list[str],
    log: _Log,
) -> list[tuple[Export, Sources]]:
    """Return exports and where they keep columns; files of one post are joined."""
    candidates = [*LAYOUTS, TABLE] if layout == "auto" else [layout]

    def is_post(post: dict[str, Any]) -> bool:
        export = Export.of_posts("", [post])
        return any(_fits(export, candidate, mapped) for candidate in candidates)

    parts: list[tuple[Export, str]] = []
    for place, source in enumerate(sources):
        try:
            export = read_export(source, is_post)
            if export.broken and log.on_error == "raise":
                raise ValueError(export.broken[0])
            found = _find_layout(export, candidates, mapped)
        except ValueError as error:
            if log.on_error == "raise" or len(sources) == 1:
                raise
            log.files.append(str(error))
            continue
        for message in export.broken:
            log.drop("they cannot be read", [message])
        log.n_rows += export.n_rows + len(export.broken)
        export.order = [place] * export.n_rows
        parts.append((export, found))
    if not parts:
        raise ValueError(f"No file can be read. {log.dropped()}")
    joined = _join_single(parts)
    log.several = len(joined) > 1
    fields = [(part, _sources(part, found, mapped)) for part, found in joined]
    for (part, found), (_, known) in zip(joined, fields, strict=True):
        _note_ignored(part, found, known, {*mapped.values(), *further}, log)
    _check_users(fields)
    return fields


def _join_single(parts: list[tuple[Export, str]]) -> list[tuple[Export, str]]:
    """Join the files of one post that have one layout: they are one export."""
    single: dict[str, list[Export]] = {}
    joined = []
    for part, layout in parts:
        if part.n_rows == 1 and part.posts is not None:
            single.setdefault(layout, []).append(part)
        else:
            joined.append((part, layout))
    for layout, files in single.items():
        if len(files) == 1:
            joined.append((files[0], layout))
            continue
        posts = [post for file in files for post in file.posts or []]
        name = f"{len(files)} files such as {files[0].name}"
        origins = [file.name for file in files]
        export = Export.of_posts(name, posts, origins)
        export.order = [file.order[0] for file in files]
        joined.append((export, layout))
    return joined


def _sources(
    part: Export, layout: str, mapped: dict[str, str], columns: Iterable[str] = LOADED
) -> Sources:
    """Return where a part keeps each column that it has, by a layout."""
    own = {}
    if layout == TABLE:
        own = table_sources([*part.names, *part.list_fields()])
    found = {}
    for column in columns:
        known = own.get(column, []) if layout == TABLE else sources_of(column, layout)
        if column in mapped:
            key = "name" if LOADED[column].kind == "tags" else None
            mine = [Source(mapped[column], key)]
            known = mine if _is_there(part, column, mine[0]) else known
        there = [source for source in known if _is_there(part, column, source)]
        if there:
            found[column] = there
    return found


def _is_there(part: Export, column: str, source: Source) -> bool:
    if LOADED[column].kind == "tags":
        return part.items(source.field) is not None
    return part.cells(source.field, scalars=True) is not None


def _fits(part: Export, layout: str, mapped: dict[str, str]) -> bool:
    return all(_sources(part, layout, mapped, [column]) for column in REQUIRED)


def _find_layout(part: Export, candidates: list[str], mapped: dict[str, str]) -> str:
    """Return the one layout whose key columns a part holds."""
    fitting = [layout for layout in candidates if _fits(part, layout, mapped)]
    if not fitting:
        raise ValueError(_what_is_missing(part, candidates, mapped))
    fields = {layout: _sources(part, layout, mapped) for layout in fitting}
    if not mapped and len(fitting) > 1:  # a name of one's own may be anybody's
        others = [layout for layout in fitting if layout != TABLE]
        # But a table may have this library's names for some columns, others for more.
        if others == [_OWN] and len(fields[_OWN]) < len(fields[TABLE]):
            return TABLE
        fitting = others
        fields = {layout: fields[layout] for layout in others}
    keys = {layout: [found[c][0] for c in REQUIRED] for layout, found in fields.items()}
    most = max(map(len, fields.values()))
    best = [layout for layout in fitting if len(fields[layout]) == most]
    rivals = best if mapped else fitting
    if mapped and TABLE in best:
        return TABLE
    if any(keys[layout] != keys[rivals[0]] for layout in rivals) or any(
        fields[layout] != fields[best[0]] for layout in best
    ):
        raise ValueError(
            f"{part.name} fits more than one layout: {fitting}. Choose one with "
            "layout=."
        )
    return best[0]


def _what_is_missing(
    part: Export, candidates: list[str], mapped: dict[str, str]
) -> str:
    lines = []
    for layout in candidates:
        found = _sources(part, layout, mapped, REQUIRED)
        lacks = [
            f"{column!r} (as {_names_of(column, layout)})"
            for column in REQUIRED
            if column not in found
        ]
        lines.append(f"  layout {layout!r} needs {', '.join(lacks)}\n")
    return (
        f"{part.name} lacks columns that every export must have:\n{''.join(lines)}"
        "Name those of a table of your own with columns={'your name': 'video_id'}. "
        f"It has {_some(list(part.all_names()))}."
    )


def _names_of(column: str, layout: str) -> str:
    if layout == TABLE:
        return f"{column} or another name of it"
    return " or ".join(map(str, sources_of(column, layout)))


def _check_users(parts: list[tuple[Export, Sources]]) -> None:
    """Raise if one part knows users by id and another by name: one would be two."""
    marks = {fields["user_id"][0].mark: part.name for part, fields in parts}
    if len(marks) > 1:
        raise ValueError(
            f"user_id must be ids in all files, or names in all: {marks['name']} has "
            f"names only, {marks['']} has ids. Choose a field that all files have, "
            "such as columns={'author.uniqueId': 'user_id'}, or load them one by one."
        )


def _note_ignored(
    part: Export, layout: str, fields: Sources, asked: set[str], log: _Log
) -> None:
    """Note columns that are known by name, but not loaded."""
    read = {source.field for sources in fields.values() for source in sources}
    is_table = layout in (TABLE, "tiktok-api-table")
    for name in part.names:
        known = canonical_name(name, logarithms=False) if "." not in name else None
        counter = counter_in(name) if is_table and known is None else None
        column = known or counter
        if column is None or not asked.isdisjoint([name, column]) or name in read:
            continue
        if column in LOADED and column not in fields and part.cells(name):
            mapping = {name: column}
            log.ignored[name] = f"{name!r} may be {column}: columns={mapping} reads it"
        elif column not in LOADED and is_table and part.cells(name):
            log.ignored[name] = f"{name!r}: keep={[name]} keeps it"


# Columns


def _read_part(
    part: Export, fields: Sources, mapped: dict[str, str], further: list[str], log: _Log
) -> pd.DataFrame:
    """Return the rows of one part that can be used."""
    bad: dict[int, str] = {}
    table = {c: _read_column(part, c, fields, bad, log) for c in LOADED}
    for name in further:
        field = mapped.get(name, name)
        table[name] = _read_further(part, name, _further_sources(part, field), bad, log)
    table[_ORDER] = pd.Series(part.order)
    for row, reason in sorted(bad.items()):
        log.drop(reason, [log.where(part, row)])
    good = np.ones(part.n_rows, dtype=bool)
    good[list(bad)] = False
    return pd.DataFrame(table)[good]


def _read_column(
    part: Export, column: str, fields: Sources, bad: dict[int, str], log: _Log
) -> pd.Series:
    sources = fields.get(column, [])
    kind = LOADED[column].kind
    if kind == "tags":
        return _read_tags(part, column, fields, bad, log)
    if kind == "id":
        sources = sources[:1]  # an id here and a name there would make two of one
    if not sources:
        return _nothing(kind).reindex(range(part.n_rows))
    columns = [part.cells(source.field, scalars=True) or [] for source in sources]
    cells = first_filled(columns, part.n_rows, kind)
    label = printable(f"{column} ({' or '.join(map(str, sources))})")
    if column in REQUIRED:
        rule = "filled: drop or repair videos without it"
        try:
            refuse(cells.isna(), cells, label, rule)
        except CellError as error:
            log.refuse(part, error, bad)
    if column == "sound_id":
        cells = cells.mask(cells.astype(str).isin(_SOUND_OF_NOBODY), None)
    marks = {source.mark for source in sources}
    if "local" in marks and any(isinstance(c, str) and not has_zone(c) for c in cells):
        log.local.append(label)
    if kind == "count":
        _check_rivals(part, column, sources, label)
        values = _attempt(part, cells, bad, log, _counts(part, label, log))
    elif kind == "size":
        convert = _sizes(label, column, 0.001 if "ms" in marks else 1.0)
        values = _attempt(part, cells, bad, log, convert)
    else:
        convert = CONVERTERS[kind]
        values = _attempt(part, cells, bad, log, lambda c: convert(c, label))
    return values.fillna("") if column == "caption" and sources else values


@cache
def _nothing(kind: str) -> pd.Series:
    """Return a column of one row, missing, in the type of its kind."""
    return CONVERTERS[kind](pd.Series([None], dtype=object), "")


def _attempt(
    part: Export,
    cells: pd.Series,
    bad: dict[int, str],
    log: _Log,
    convert: Callable[[pd.Series], Any],
) -> Any:
    """Convert cells; where bad ones are dropped, without these."""
    while True:
        try:
            return convert(cells)
        except CellError as error:
            log.refuse(part, error, bad)
            cells = cells.copy()
            cells[error.rows] = None


def _sizes(label: str, column: str, unit: float) -> Callable[[pd.Series], pd.Series]:
    """Return what reads sizes; where there is none, they are 0 in exports."""

    def convert(cells: pd.Series) -> pd.Series:
        values = CONVERTERS["size"](cells, label) * unit
        values = values.where(values > 0)
        if column.endswith("_s"):
            longest = _HOUR if values.dropna().median() > _HOUR else _TEN_HOURS
            rule = "in seconds, and this can only be milliseconds: divide it by 1000"
            refuse(values > longest, cells, label, rule)
        return values

    return convert


def _counts(part: Export, label: str, log: _Log) -> Callable[[pd.Series], pd.Series]:
    """Return what reads counts, and notes those that cannot be."""

    def note(impossible: NDArray[np.bool_]) -> None:
        rows = np.flatnonzero(impossible)
        if len(rows):
            where = log.where(part, int(rows[0]))
            log.impossible.append(f"{len(rows)} of {label}, first {where}")

    return lambda cells: to_counts(cells, label, note)


def _check_rivals(part: Export, column: str, sources: list[Source], label: str) -> None:
    """Raise if several columns of a table may be the count, and differ."""
    if not all(s.field in part.names and "." not in s.field for s in sources):
        return
    cells = [part.cells(s.field) or [] for s in sources]
    for other in cells[1:]:
        pairs = zip(cells[0], other, strict=True)
        if any(None not in pair and str(pair[0]) != str(pair[1]) for pair in pairs):
            names = [s.field for s in sources]
            raise ValueError(
                f"{label} must be one column, but {names} of {part.name} differ. Name "
                f"the right one with columns={ {names[0]: column} }."
            )


def _read_tags(
    part: Export, column: str, fields: Sources, bad: dict[int, str], log: _Log
) -> pd.Series:
    lists: list[Any] = [None] * part.n_rows
    for source in fields.get(column, []):
        items = part.items(source.field) or []
        needed = [None if old else cell for old, cell in zip(lists, items, strict=True)]
        cells = pd.Series(needed, dtype=object)

        def convert(cells: pd.Series, source: Source = source) -> list[list[str]]:
            partial = source.field in PARTIAL
            return to_tags(cells, column, str(source), partial=partial)

        tags = _attempt(part, cells, bad, log, convert)
        lists = [old or new for old, new in zip(lists, tags, strict=True)]
    captions = fields.get("caption", [])
    if column not in fields and captions and column != "effect_stickers":
        texts = [part.cells(source.field, scalars=True) or [] for source in captions]
        lists = tags_in_captions(first_filled(texts, part.n_rows, "text"), column)
    return pd.Series(lists, dtype=object)


def _further_sources(part: Export, name: str) -> list[str]:
    """Return the fields of a further column: that name, or names of what it names."""
    if part.cells(name) is not None:
        return [name]
    if name not in COLUMNS:
        return []
    others = [*COLUMNS[name].others.split(), *part.names]
    known = [n for n in others if canonical_name(n, logarithms=False) == name]
    return list(dict.fromkeys(n for n in known if part.cells(n) is not None))


def _read_further(
    part: Export, name: str, fields: list[str], bad: dict[int, str], log: _Log
) -> pd.Series:
    columns = [part.cells(field) or [] for field in fields]
    known = COLUMNS.get(name)
    if known is None or known.kind not in CONVERTERS:
        cells = columns[0] if columns else [None] * part.n_rows
        return pd.Series(cells, dtype=object)
    cells = first_filled(columns, part.n_rows, known.kind)
    label = printable(f"{name} ({' or '.join(fields)})")
    if known.kind == "count":
        return _attempt(part, cells, bad, log, _counts(part, label, log))
    convert = CONVERTERS[known.kind]
    return _attempt(part, cells, bad, log, lambda c: convert(c, label))


def _plain_values(cells: pd.Series, name: str) -> pd.Series:
    """Give a further column its type; text becomes numbers if all of it is."""
    if cells.dtype != object:
        return cells
    filled = cells.dropna()
    if all(isinstance(c, str) for c in filled):
        if len(filled) and all(map(_PLAIN_NUMBER.fullmatch, filled)):
            return pd.to_numeric(cells)
        return cells.map(encodable, na_action="ignore").astype(TEXT)
    return cells.infer_objects()


def _is_list(cell: Any) -> bool:
    return isinstance(cell, list | dict | set | np.ndarray)


def _drop_repeated(videos: pd.DataFrame, log: _Log) -> pd.DataFrame:
    """Keep one row a video: most plays first, then the last in the file."""
    repeated = videos[videos["video_id"].duplicated(keep=False)]
    if repeated.empty:
        return videos
    owners = repeated.groupby("video_id")[["user_id", "create_time"]].nunique()
    clashes = owners.index[owners.max(axis=1) > 1].tolist()
    if clashes and log.on_error == "drop":
        is_bad = videos["video_id"].isin(clashes)
        log.drop(
            _ONE_USER, [f"video {printable(i)}" for i in videos["video_id"][is_bad]]
        )
        return _drop_repeated(videos[~is_bad].reset_index(drop=True), log)
    if clashes:
        raise ValueError(
            f"{_ONE_USER}; these belong to more: {clashes[:5]}, {len(clashes)} in all. "
            "Repair the export."
        )
    lists = [name for name in repeated if any(map(_is_list, repeated[name]))]
    rows = repeated.astype(dict.fromkeys(lists, str)).drop_duplicates()["video_id"]
    n_differing = rows[rows.duplicated()].nunique()
    if n_differing:
        log.repeated = (
            f"{n_differing} videos come more than once with differing rows; "
            "the row with the most plays is kept, of equals the last one."
        )
    plays = repeated["n_plays"].fillna(-1.0)
    best = plays.sort_values(kind="stable").index
    kept = repeated.loc[best].drop_duplicates("video_id", keep="last").index
    return videos.drop(repeated.index.difference(kept)).reset_index(drop=True)


def _list_media(folder: Path) -> dict[str, str | list[str]]:
    """Return the media of each id: a file, or the pictures of a photo post."""
    if not folder.exists():
        raise FileNotFoundError(f"media_dir must be an existing folder, got {folder}.")
    if not folder.is_dir():
        raise NotADirectoryError(f"media_dir must be a folder, {folder} is a file.")
    ranks = {f".{extension}": rank for rank, extension in enumerate(MEDIA)}
    files = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in ranks]
    files.sort(key=lambda f: -ranks[f.suffix.lower()])
    found: dict[str, str | list[str]] = {}
    pictures: dict[str, dict[int, str]] = {}
    for file in files:  # the preferred one comes last
        if match := _BRACKETED.fullmatch(file.stem):
            found[match[1]] = str(file)
        is_picture = ranks[file.suffix.lower()] >= MEDIA.index("jpg")
        if is_picture and (match := _NUMBERED.fullmatch(file.stem)):
            pictures.setdefault(match[1], {})[int(match[2])] = str(file)
    for name, numbered in pictures.items():
        paths = [path for _, path in sorted(numbered.items())]
        found.setdefault(name, paths if len(paths) > 1 else paths[0])
    whole = {file.name: str(file) for file in files}
    return found | whole | {file.stem: str(file) for file in files}


def _find_media(
    videos: pd.DataFrame, media: dict[str, str | list[str]], folder: str
) -> pd.Series:
    """Return the media of each video: that of its own path's name, or of its id."""
    # Some systems name files in another Unicode form than they were given.
    files = {same_text(name): file for name, file in media.items()}
    ids = videos["video_id"]
    named = [
        None if is_missing(path) else files.get(same_text(Path(path).name))
        for path in videos["path"]
    ]
    found = [own or files.get(i) for own, i in zip(named, ids, strict=True)]
    paths = pd.Series(found, dtype=object)
    if paths.isna().all():
        n_files = len(set(map(str, media.values())))
        raise ValueError(
            f"media_dir must hold the videos' media; {folder} has no file like "
            f"{printable(ids.iloc[0])}.mp4, and none that a column of paths names, for "
            f"any of the {len(ids)} videos ({n_files} media files were found). Leave "
            "media_dir out to load the table alone."
        )
    has_list = any(isinstance(path, list) for path in paths)
    return paths if has_list else paths.astype(TEXT)
