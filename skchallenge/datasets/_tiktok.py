"""TikTok exports as one table."""

import json
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from skchallenge._parse import (
    CONVERTERS,
    TEXT,
    first_filled,
    refuse,
    tags_in_captions,
    to_tags,
)
from skchallenge._schema import LAYOUTS, LOADED, REQUIRED, sources_of
from skchallenge._table import check_option

# In order of preference, where a video has several files.
MEDIA = ("mp4", "mov", "m4v", "mkv", "webm", "avi", "jpg", "jpeg", "png", "webp")


def load_tiktok_export(
    path: str | os.PathLike[str],
    *,
    media_dir: str | os.PathLike[str] | None = None,
    layout: str = "auto",
) -> pd.DataFrame:
    """Read a TikTok export into one table with a row per video.

    Three layouts are known: the nested posts of ``tiktok-scraper`` [1]_ (JSON, or its
    CSV with dotted column names), the nested videos of ``TikTok-Api`` [2]_, and the
    flat table that people make of the latter. Each may come as JSON, JSON Lines, CSV
    or Parquet, and all give the same columns.

    Parameters
    ----------
    path : str or path-like
        The export: a ``.json``, ``.jsonl``, ``.ndjson``, ``.csv`` or ``.parquet`` file.
        JSON holds a list of videos, or an object with that list as its `collector`.
    media_dir : str or path-like, default=None
        A folder with the media, named ``<video_id>.<extension>`` (mp4, mov, m4v, mkv,
        webm, avi, jpg, jpeg, png, webp; the first of these if there are several).
        Subfolders are not searched.
    layout : {"auto", "tiktok-scraper", "tiktok-api", "tiktok-api-table"}, \
default="auto"
        The export's layout. "auto" takes the one whose ids and time are there.

    Returns
    -------
    pandas.DataFrame
        One row per video, in the order of the export, rows numbered from 0. Always
        these columns; what the export has beyond them is dropped.

        ================  ==============  ============================================
        column            dtype           meaning
        ================  ==============  ============================================
        video_id          str             id of the video, unique
        user_id           str             id of the user who posted it
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
        path              str             media file
        ================  ==============  ============================================

        All counts are as of the scrape. They are floats because a missing number is
        NaN, which NumPy and scikit-learn take as it is; they are exact up to 2**53.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, NotADirectoryError
        If `path` is not an existing file or `media_dir` not an existing folder.
    ValueError
        If the file cannot be read or holds no videos; if no layout fits (the message
        lists what is missing and what was found); if a video lacks its id, user or
        time; if a time is in milliseconds or outside 2014 to 2099; if a count is
        negative or no number; if a video id has two users or times; if `media_dir`
        holds none of the videos.

    Warns
    -----
    UserWarning
        If a video was scraped more than once with differing rows.

    See Also
    --------
    skchallenge.datasets.make_participation : Pairs and labels from this table.
    skchallenge.datasets.VideoCatalog : The table as a side table of encoders.

    Notes
    -----
    **Missing values.** A column that the export lacks, or fills for no video, is
    missing in every row: ``videos.isna().all()`` tells which ones. In a column that the
    export has, a video without a caption has ``""`` and one without tags has ``[]``.

    **Tags.** Repetitions within a video are dropped. In CSV a list may be JSON, a
    Python list, or text parted by commas. Hashtags and mentions are read from the
    caption if the export has no field for them at all.

    **Counts.** Text is read if it is a number ("44800") or what the platform shows
    ("304.9K" is 304900: the platform has rounded it). Where TikTok-Api gives `stats`
    and `statsV2`, the latter is read: it does not overflow.

    **Times.** Numbers are Unix seconds, by definition of these layouts. ISO 8601 text
    and Parquet times are read as well, as UTC unless they state an offset.

    **Repeated videos.** Exports often hold a video twice. One row is kept: the one
    with the most plays, which was scraped last, and of equals the last in the file.

    References
    ----------
    .. [1] https://github.com/drawrowfly/tiktok-scraper
    .. [2] https://github.com/davidteather/TikTok-Api

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
    """
    check_option("layout", layout, ["auto", *LAYOUTS])
    media = None if media_dir is None else _list_media(Path(media_dir))
    file = Path(path)
    export = _read_export(file)
    layout = _find_layout(export.columns, layout, str(file))
    videos = pd.DataFrame({c: _read_column(export, c, layout) for c in LOADED})
    videos = _drop_repeated(videos)
    if media is not None:
        videos["path"] = _find_media(videos["video_id"], media, f"{media_dir}")
    return videos


def _find_layout(found: Iterable[str], layout: str, file: str) -> str:
    """Return the one layout whose key columns `found` holds."""
    names = list(found)
    candidates = list(LAYOUTS) if layout == "auto" else [layout]
    lacks = {
        candidate: [
            f"{column!r} (as {' or '.join(sources_of(column, candidate))})"
            for column in REQUIRED
            if not _find_sources(column, candidate, names)
        ]
        for candidate in candidates
    }
    fitting = [candidate for candidate in candidates if not lacks[candidate]]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(
            f"{file} fits more than one layout: {fitting}. Choose one with layout=."
        )
    lines = [f"  layout {c!r} needs {', '.join(lacks[c])}" for c in candidates]
    more = f" and {len(names) - 40} more" if len(names) > 40 else ""
    raise ValueError(
        f"{file} lacks columns that every export must have:\n"
        + "\n".join(lines)
        + f"\nIt has {names[:40]}{more}."
    )


def _find_sources(column: str, layout: str, found: Iterable[str]) -> list[str]:
    """Return the fields of an export that hold `column`, the preferred one first."""
    names = set(found)
    return [s for s in sources_of(column, layout) if s.partition("[]")[0] in names]


def _read_column(export: pd.DataFrame, column: str, layout: str) -> pd.Series:
    sources = _find_sources(column, layout, export.columns)
    kind = LOADED[column].kind
    if kind == "tags":
        return _read_tags(export, column, sources, layout)
    cells = first_filled([export[s] for s in sources], len(export), kind)
    label = f"{column} ({' or '.join(sources)})"
    if column in REQUIRED:
        refuse(cells.isna(), cells, label, "filled: drop or repair videos without it")
    values = CONVERTERS[kind](cells, label)
    return values.fillna("") if column == "caption" and sources else values


def _read_tags(
    export: pd.DataFrame, column: str, sources: list[str], layout: str
) -> pd.Series:
    captions = _find_sources("caption", layout, export.columns)
    if sources:
        tags = [to_tags(export[s.partition("[]")[0]], column, s) for s in sources]
        lists: list[Any] = [
            next(filter(None, row), []) for row in zip(*tags, strict=True)
        ]
    elif captions and column != "effect_stickers":
        lists = tags_in_captions(export[captions[0]], column)
    else:
        lists = [None] * len(export)
    return pd.Series(lists, dtype=object)


def _read_export(file: Path) -> pd.DataFrame:
    """Return plain Python cells in columns with dotted names."""
    readers = {
        ".json": _read_json,
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
        ".csv": _read_csv,
        ".parquet": _read_parquet,
    }
    if file.is_dir():
        raise IsADirectoryError(f"path must be a file, {file} is a folder.")
    if not file.exists():
        raise FileNotFoundError(f"path must be an existing file, got {file}.")
    if file.suffix.lower() not in readers:
        raise ValueError(f"path must end in one of {list(readers)}, got {file}.")
    try:
        export = readers[file.suffix.lower()](file)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text: {error}.") from error
    if export.empty:
        raise ValueError(f"{file} holds no videos.")
    return export.loc[:, export.notna().any()]


def _read_json(file: Path) -> pd.DataFrame:
    try:
        content = json.loads(file.read_text("utf-8-sig"))
    except json.JSONDecodeError as error:
        hint = " One object a line? Name it .jsonl." if "Extra" in error.msg else ""
        raise ValueError(f"{file} is not valid JSON: {error}.{hint}") from error
    posts = content.get("collector") if isinstance(content, dict) else content
    if not isinstance(posts, list):
        found = list(content) if isinstance(content, dict) else content
        raise ValueError(
            f"{file} must hold a list of videos, or an object with that list as its "
            f"'collector'; it holds {found!r:.80}. pandas writes a list with "
            "to_json(orient='records')."
        )
    return _flatten(posts, file)


def _read_json_lines(file: Path) -> pd.DataFrame:
    posts = []
    lines = file.read_text("utf-8-sig").split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            posts += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            raise ValueError(f"{file}, line {number}: no JSON ({error}).") from error
    return _flatten(posts, file)


def _flatten(posts: list[Any], file: Path) -> pd.DataFrame:
    for row, post in enumerate(posts):
        if not isinstance(post, dict):
            raise ValueError(
                f"{file} must hold one object a video; row {row} is {post!r:.80}."
            )
    flat = [dict(_dotted(post)) for post in posts]
    names = dict.fromkeys(name for post in flat for name in post)
    return pd.DataFrame(
        {n: pd.Series([post.get(n) for post in flat], dtype=object) for n in names}
    )


def _dotted(post: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in post.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", cell) for inner, cell in value.items())
        else:
            yield name, value


def _read_csv(file: Path) -> pd.DataFrame:
    # As text: ids keep their digits, and a caption "NA" stays a caption.
    try:
        table = pd.read_csv(
            file, dtype=object, na_filter=False, index_col=False, encoding="utf-8-sig"
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except pd.errors.ParserError as error:
        raise ValueError(f"{file} is not valid CSV: {error}.") from error
    return table[[c for c in table if table[c].ne("").any()]]  # blank is null here


def _read_parquet(file: Path) -> pd.DataFrame:
    # Not through pandas, which makes floats of the ids in a column with nulls.
    try:
        table = pq.read_table(file).flatten()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} is not valid Parquet: {error}.") from error
    columns = zip(table.column_names, table.columns, strict=True)
    return pd.DataFrame(
        {name: pd.Series(cells.to_pylist(), dtype=object) for name, cells in columns}
    )


def _drop_repeated(videos: pd.DataFrame) -> pd.DataFrame:
    """Keep one row a video: most plays first, then the last in the file."""
    repeated = videos[videos["video_id"].duplicated(keep=False)]
    if repeated.empty:
        return videos
    owners = repeated.groupby("video_id")[["user_id", "create_time"]].nunique()
    clashes = owners.index[owners.max(axis=1) > 1].tolist()
    if clashes:
        raise ValueError(
            "video_id must belong to one user and one time; these belong to more: "
            f"{clashes[:5]}, {len(clashes)} in all. Repair the export."
        )
    rows = repeated.astype(str).drop_duplicates()["video_id"]
    n_differing = rows[rows.duplicated()].nunique()
    if n_differing:
        warnings.warn(
            f"{n_differing} videos come more than once with differing rows; "
            "the row with the most plays is kept, of equals the last one.",
            UserWarning,
            stacklevel=3,
        )
    plays = repeated["n_plays"].fillna(-1.0)
    best = plays.sort_values(kind="stable").index
    kept = repeated.loc[best].drop_duplicates("video_id", keep="last").index
    return videos.drop(repeated.index.difference(kept)).reset_index(drop=True)


def _list_media(folder: Path) -> dict[str, str]:
    """Return the path of each media file by its name without the extension."""
    if not folder.exists():
        raise FileNotFoundError(f"media_dir must be an existing folder, got {folder}.")
    if not folder.is_dir():
        raise NotADirectoryError(f"media_dir must be a folder, {folder} is a file.")
    ranks = {f".{extension}": rank for rank, extension in enumerate(MEDIA)}
    files = [f for f in sorted(folder.iterdir()) if f.suffix.lower() in ranks]
    files.sort(key=lambda f: -ranks[f.suffix.lower()])
    return {f.stem: str(f) for f in files}  # the preferred file comes last


def _find_media(ids: pd.Series, media: dict[str, str], folder: str) -> pd.Series:
    paths = ids.map(media)
    if paths.isna().all():
        raise ValueError(
            f"media_dir must hold the videos' media; {folder} has no file like "
            f"{ids.iloc[0]}.mp4 for any of the {len(ids)} videos ({len(media)} media "
            "files were found). Leave media_dir out to load the table alone."
        )
    return paths.astype(TEXT)
