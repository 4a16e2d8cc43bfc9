"""A column of covers -> small images, each decoded once."""

import errno
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skchallenge._table import indices_of
from skchallenge.exceptions import MediaError
from skchallenge.media._frame_sampling import Images
from skchallenge.media._read import read_first_frames
from skchallenge.media._source import WANTED, Source, items_of, read_source

_IN_MEMORY_BYTES = 512 * 2**20


def load_covers(
    cells: Iterable[Any], size: int, *, n_threads: int, skip_bad: bool
) -> tuple[Images, NDArray[np.int64], dict[int, MediaError]]:
    """Decode the distinct covers of a column.

    Parameters
    ----------
    cells : iterable of length n
        Images, or videos, of which the first frame counts: paths, bytes, PIL images,
        arrays, or lists of them, of which the first counts. A null cell is a missing
        cover.
    size : int
        Height and width, in pixels, to which covers are resized.
    n_threads : int
        Files that are decoded side by side.
    skip_bad : bool
        Whether an unreadable file is a missing cover too, rather than an error.

    Returns
    -------
    images : ndarray of shape (m, size, size, 3), dtype uint8
        The different images, RGB; in a temporary file if the files were to take more
        than 512 MB. Files of the same pixels are one image.
    indices : ndarray of shape (n,), dtype int64
        Which image each row shows; -1 is none.
    bad : dict of int to MediaError
        Rows of unreadable files, the first row of each.

    Raises
    ------
    MediaError
        If a file cannot be read and `skip_bad` is False.
    OSError
        If the folder of temporary files has no room for them.
    TypeError
        If a cell is none of these.
    """
    cells = list(cells)
    firsts = [_first_or_none(row, cell) for row, cell in enumerate(cells)]
    rows_of: dict[Source, list[int]] = indices_of(firsts)
    images = _room_for((len(rows_of), size, size, 3))
    indices = np.full(len(cells), -1, dtype=np.int64)
    bad: dict[int, MediaError] = {}
    index_of: dict[bytes, int] = {}  # by what the image shows
    frames = read_first_frames(rows_of, size, n_threads=n_threads)
    for rows, image in zip(rows_of.values(), frames, strict=True):
        if not isinstance(image, MediaError):
            digest = hashlib.blake2b(image.data, digest_size=16).digest()
            index = index_of.setdefault(digest, len(index_of))
            images[index] = image
            indices[rows] = index
        elif skip_bad:
            bad[rows[0]] = image
        else:
            raise MediaError(
                f"Row {rows[0]}: {image} Repair or drop it, or set on_error='nan' "
                "to count it as a missing cover."
            ) from image
    return images[: len(index_of)], indices, bad


def _first_or_none(row: int, cell: Any) -> Source | None:
    try:
        source = read_source(cell)
    except TypeError as error:
        raise TypeError(
            f"The column of covers must hold {WANTED}, or nulls, but row {row} is "
            f"{error}. Check `image`."
        ) from error
    return None if source is None else items_of(source)[0]


def _room_for(shape: tuple[int, ...]) -> Images:
    """Return an array in memory, or in a file that the system deletes after use."""
    if math.prod(shape) <= _IN_MEMORY_BYTES:
        return np.empty(shape, dtype=np.uint8)
    what = f"A file of {shape[0]:,} covers of {shape[1]} x {shape[2]} pixels"
    with tempfile.TemporaryFile() as file:
        reserve(file.fileno(), tempfile.gettempdir(), math.prod(shape), what)
        return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)


def reserve(file: int, folder: str, n_bytes: int, what: str) -> None:
    """Take the room now: a full disk would end the process when a page is written.

    `what` is what needs the room, for the message of the OSError.
    """
    try:
        if shutil.disk_usage(folder).free < n_bytes:
            raise OSError(errno.ENOSPC, "not enough room")
        if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
            os.posix_fallocate(file, 0, n_bytes)
        else:
            os.truncate(file, n_bytes)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{what} needs {n_bytes:,} bytes in {folder!r}, the folder for "
            f"temporary files ({error.strerror}). Set TMPDIR to a disk that has room.",
        ) from error
