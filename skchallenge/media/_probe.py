"""Media files -> a table of what they hold, without embedding them."""

import os
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import joblib
import pandas as pd

from skchallenge._table import describe
from skchallenge.exceptions import MediaError
from skchallenge.media._file import file_stat
from skchallenge.media._frame_sampling import VideoMetadata
from skchallenge.media._limits import MediaLimits, check_limits
from skchallenge.media._read import read_metadata
from skchallenge.media._source import WANTED, Content, Source, items_of, read_source

_DTYPES: dict[str, Any] = {
    "path": object,
    "status": object,
    "reason": object,
    "kind": object,
    "n_frames": "Int64",
    "duration_s": "float64",
    "fps": "float64",
    "width": "Int64",
    "height": "Int64",
    "rotation": "Int64",
    "codec": object,
    "size_bytes": "Int64",
}


def probe_media(
    paths: Iterable[Any],
    *,
    limits: MediaLimits | None = None,
    n_jobs: int | None = None,
) -> pd.DataFrame:
    """Tell which media files can be embedded, and what they hold.

    Every file is decoded from end to end, in the way `VideoFrameEmbedder` does it, and
    no network runs: what is ``"ok"`` here can be embedded. A bad file is a row of the
    table, never an error.

    Parameters
    ----------
    paths : iterable
        The files, as paths or bytes, lists of them, or anything else that
        `VideoFrameEmbedder` takes. A missing value is a bad file.
    limits : MediaLimits or None, default=None
        What a file may cost; None means ``MediaLimits()``.
    n_jobs : int or None, default=None
        Files decoded side by side: None is 1 unless `joblib.parallel_config` says
        otherwise, -1 is one a core.

    Returns
    -------
    table : DataFrame
        One row a path, in the order and with the index of `paths`; missing where
        unknown.

        ==========  ==============================================================
        path        the path, or the list of paths, as given; a name of what is no file
        status      ``"ok"`` or ``"error"``
        reason      why the file cannot be embedded; empty if it can
        kind        ``"video"``; ``"image"``: one frame in a format of pictures;
                    ``"images"``: a list of such
        n_frames    frames that decode
        duration_s  seconds from the first frame to the end of the last
        fps         frames a second, on average
        width       pixels of the first frame as stored, before rotation
        height      the same
        rotation    degrees by which frames are turned clockwise to be upright
        codec       FFmpeg's name of the format in which pictures are coded
        size_bytes  size of the file, or of all files of a list
        ==========  ==============================================================

    Raises
    ------
    TypeError
        If `paths` is one path or a table, or holds what is neither a picture nor a
        clip, or `limits` are none.

    See Also
    --------
    MediaLimits : What a file may cost.
    VideoFrameEmbedder : Embeds the files.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from skchallenge.embed import probe_media
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cover, notes = Path(folder) / "cover.png", Path(folder) / "notes.mp4"
    ...     Image.new("RGB", (64, 48), "white").save(cover)
    ...     _ = notes.write_text("not a film")
    ...     table = probe_media([cover, notes])
    >>> table[["status", "kind", "n_frames", "width", "height"]]
      status   kind  n_frames  width  height
    0     ok  image         1     64      48
    1  error   None      <NA>   <NA>    <NA>
    >>> print(table["reason"][1])
    cannot be decoded (Invalid data found when processing input).
    """
    if isinstance(paths, str | bytes | os.PathLike):
        raise TypeError(
            f"paths must be a sequence of paths, got {describe(paths)}. Pass [paths]."
        )
    if hasattr(paths, "columns"):  # its items are the names of its columns
        raise TypeError(
            "paths must be a sequence of paths, got a table. Pass one column of it, "
            "such as table['path']."
        )
    check_limits(limits)
    index = paths.index if isinstance(paths, pd.Series) else None
    cells = list(paths)
    sources = [_source_or_none(row, cell) for row, cell in enumerate(cells)]
    n_threads = joblib.effective_n_jobs(n_jobs)
    found = read_metadata(sources, n_threads=n_threads, limits=limits)
    rows = [
        {"path": _named(cell, source), **_size(source), **_outcome(outcome)}
        for cell, source, outcome in zip(cells, sources, found, strict=True)
    ]
    columns = {  # each with its type: a name that is no text breaks pandas' guess
        name: pd.Series([row.get(name) for row in rows], dtype=dtype, index=index)
        for name, dtype in _DTYPES.items()
    }
    return pd.DataFrame(columns)


def _source_or_none(row: int, cell: Any) -> Source | None:
    try:
        return read_source(cell)
    except TypeError as error:
        message = f"paths must hold {WANTED}, but row {row} is {error}."
        raise TypeError(message) from error


def _named(cell: Any, source: Source | None) -> Any:
    """Return a cell, or the name of what it holds if that is no path."""
    has_content = source is not None and not all(
        isinstance(item, str) for item in items_of(source)
    )
    return str(source) if has_content else cell


def _size(source: Source | None) -> dict[str, Any]:
    sizes = []
    for item in () if source is None else items_of(source):
        if isinstance(item, Content):
            sizes.append(item.n_bytes)
        elif (status := file_stat(item)) is not None:
            sizes.append(status.size)
    return {"size_bytes": sum(sizes)} if sizes else {}


def _outcome(found: VideoMetadata | MediaError) -> dict[str, Any]:
    if isinstance(found, MediaError):
        return {"status": "error", "reason": str(found)}
    fps = found.n_frames / found.duration_s if found.duration_s else None
    return {"status": "ok", "reason": "", "fps": fps, **asdict(found)}
