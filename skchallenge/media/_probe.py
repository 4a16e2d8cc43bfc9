"""Media files -> a table of what they hold, without embedding them."""

import os
import stat
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from typing import Any

import joblib
import pandas as pd

from skchallenge._table import is_missing
from skchallenge.exceptions import MediaError
from skchallenge.media._decode import sample_file
from skchallenge.media._limits import MediaLimits, check_limits
from skchallenge.media._worker import asking_threads, map_in_order

_SIDE = 32  # one frame is also converted, to this size: it must be possible
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
    paths: Iterable[str | os.PathLike[str]],
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
    paths : iterable of str or path-like
        The files. A missing value is a bad file.
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
        path        the path as given
        status      ``"ok"`` or ``"error"``
        reason      why the file cannot be embedded; empty if it can
        kind        ``"video"``, or ``"image"``: one frame in a format of pictures
        n_frames    frames that decode
        duration_s  seconds from the first frame to the end of the last
        fps         frames a second, on average
        width       pixels of the first frame as stored, before rotation
        height      the same
        rotation    degrees by which frames are turned clockwise to be upright
        codec       FFmpeg's name of the format in which pictures are coded
        size_bytes  size of the file
        ==========  ==============================================================

    Raises
    ------
    TypeError
        If `paths` is one path or a table, or holds anything but paths, or `limits` are
        none.

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
        raise TypeError(f"paths must be a sequence of paths, got one: {paths!r}.")
    if hasattr(paths, "columns"):  # its items are the names of its columns
        raise TypeError(
            "paths must be a sequence of paths, got a table. Pass one column of it, "
            "such as table['path']."
        )
    check_limits(limits)
    index = paths.index if isinstance(paths, pd.Series) else None
    files = list(paths)
    for row, path in enumerate(files):
        _check_path(row, path)
    probe = partial(_probe, limits=limits or MediaLimits())
    with asking_threads(joblib.effective_n_jobs(n_jobs)) as pool:
        rows = list(map_in_order(pool, probe, files))
    columns = {  # each with its type: a name that is no text breaks pandas' guess
        name: pd.Series([row.get(name) for row in rows], dtype=dtype, index=index)
        for name, dtype in _DTYPES.items()
    }
    return pd.DataFrame(columns)


def _check_path(row: int, path: Any) -> None:
    if not isinstance(path, str | os.PathLike) and not is_missing(path):
        raise TypeError(
            f"paths must hold paths of files (str or os.PathLike), but row {row} is a "
            f"{type(path).__name__}: {path!r}."
        )


def _probe(path: Any, limits: MediaLimits) -> dict[str, Any]:
    row: dict[str, Any] = {"path": path, "status": "ok", "reason": ""}
    if is_missing(path):
        return row | {"status": "error", "reason": "is missing: there is no path."}
    name = os.fspath(path)
    row["size_bytes"] = _size_bytes(name)
    try:
        facts = sample_file(name, 1, _SIDE, limits)[1]
    except MediaError as error:
        return row | {"status": "error", "reason": str(error)}
    fps = facts.n_frames / facts.duration_s if facts.duration_s else None
    return row | asdict(facts) | {"fps": fps}


def _size_bytes(name: str) -> int | None:
    try:
        status = os.stat(name)
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
