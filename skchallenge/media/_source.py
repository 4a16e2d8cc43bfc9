"""What may stand where a picture or clip may stand: files, bytes, pixels, lists.

A cell of a user's table becomes a *source*: the path of a file; a `Content`, which is
in memory; or a `Photos`, several of these one after the other. Sources can be hashed,
and equal ones hold the same, so that what stands in several rows is read once.
"""

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skchallenge._table import Cells, describe, is_missing, read_columns
from skchallenge.media._file import absolute

WANTED = "paths (str or os.PathLike), bytes, PIL images, uint8 arrays, or lists of them"
_N_DIGITS = 12  # of a digest, to name contents by; no two of a table share them
_COLOUR_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}


@dataclass(frozen=True, eq=False)
class Content:
    """A picture or clip in memory: the bytes of a file, or its pixels.

    Attributes
    ----------
    data : bytes, ndarray or PIL.Image.Image
    digest : bytes
        SHA-256 of the bytes, as of a file that holds them; or of pixels and shape.
    """

    data: Any = field(repr=False)
    digest: bytes

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and other.digest == self.digest

    def __str__(self) -> str:
        kind = "bytes" if self.is_file else "pixels"
        return f"{kind}:{self.digest.hex()[:_N_DIGITS]}"

    @property
    def is_file(self) -> bool:
        """Whether it holds the bytes of a file, which are to be decoded."""
        return isinstance(self.data, bytes)

    @property
    def n_bytes(self) -> int:
        """Bytes of the file, or of the pixels."""
        return len(self.data) if self.is_file else _rgb(self.data).nbytes

    def message(self) -> tuple[dict[str, Any], Any]:
        """Return what `perform` is told of it, and the bytes that belong to it."""
        told: dict[str, Any] = {"digest": self.digest.hex()}
        if self.is_file:
            return told, self.data
        pixels = _rgb(self.data)
        return {**told, "shape": pixels.shape}, pixels.reshape(-1).data


@dataclass(frozen=True)
class Photos:
    """Several pictures or clips, one after the other, such as those of a photo post."""

    items: tuple[str | Content, ...]

    def __str__(self) -> str:
        return f"{self.items[0]} and {len(self.items) - 1} more"


Source = str | Content | Photos


def items_of(source: Source) -> tuple[str | Content, ...]:
    """Return the files and contents that a source consists of."""
    return source.items if isinstance(source, Photos) else (source,)


def with_absolute_paths(source: Source) -> Source:
    """Return a source that means the same to a process in another folder."""
    if isinstance(source, Photos):
        items = (i if isinstance(i, Content) else absolute(i) for i in source.items)
        return Photos(tuple(items))
    return source if isinstance(source, Content) else absolute(source)


def content_key(digests: Sequence[bytes]) -> bytes:
    """Return what tells a source from others by what its items hold, in order."""
    if len(digests) == 1:  # a list of one is that one
        return digests[0]
    return hashlib.sha256(b"photos" + b"".join(digests)).digest()


def read_source(cell: Any) -> Source | None:
    """Return what a cell holds; None if it is missing, or a list of nothing.

    Raises
    ------
    TypeError
        If it is of no usable kind. The message is the end of a sentence about it: "a
        float: 3.5".
    """
    if is_missing(cell):
        return None
    if not _is_list(cell):
        return _read_item(cell)
    items: list[str | Content] = []
    for number, item in enumerate(cell, 1):
        if is_missing(item) or _is_list(item):
            raise TypeError(f"a list whose item {number} is {describe(item)}")
        try:
            items.append(_read_item(item))
        except TypeError as error:
            raise TypeError(f"a list whose item {number} is {error}") from error
    if not items:
        return None
    return items[0] if len(items) == 1 else Photos(tuple(items))


def read_source_columns(estimator: Any, X: Any, *, reset: bool) -> Cells:
    """Return X as an (n, columns) array of cells, and record its width and names.

    As `read_columns` does it, and a list of contents is one column, too. A list of
    lists is a table, as everywhere in scikit-learn, unless its rows differ in length.

    Raises
    ------
    TypeError
        If X is an array of pixels, or rows of a list differ in length.
    """
    if getattr(X, "ndim", 0) > 2:
        raise TypeError(
            f"X must be a column of pictures or clips, got {describe(X)}. Pass list(X)."
        )
    if isinstance(X, list | tuple):
        if any(_is_list(cell) for cell in X) and len({np.size(cell) for cell in X}) > 1:
            raise TypeError(
                "X must not be a list of lists of different lengths, which is no "
                "table. Put lists of pictures into a column: pandas.Series(X)."
            )
        if X and all(_is_cell(cell) for cell in X):
            column = np.empty((len(X), 1), dtype=object)
            for row, cell in enumerate(X):  # NumPy would look into arrays
                column[row, 0] = cell
            X = column
    return read_columns(estimator, X, reset=reset, numbers=True)


def _is_list(cell: Any) -> bool:
    """Tell whether a cell is a list; those of Parquet and polars come as arrays."""
    is_column = isinstance(cell, np.ndarray) and cell.dtype.kind in "OU"
    return isinstance(cell, list | tuple) or (is_column and cell.ndim == 1)


def _is_cell(cell: Any) -> bool:
    kinds = (str, os.PathLike, bytes, bytearray, memoryview)
    is_pixels = isinstance(cell, np.ndarray) and cell.ndim > 1
    return isinstance(cell, kinds) or is_pixels or _is_pil(cell) or is_missing(cell)


def _read_item(item: Any) -> str | Content:
    if isinstance(item, str | os.PathLike):
        return os.fsdecode(item)
    if isinstance(item, np.bytes_):
        raise TypeError(
            f"{describe(item)}, of which NumPy has cut off zeros at the end; keep "
            "bytes in an array of objects"
        )
    if isinstance(item, bytes | bytearray | memoryview):
        data = bytes(item)  # no copy of bytes; others may change, or have gaps
        return Content(data, hashlib.sha256(data).digest())
    if isinstance(item, np.ndarray) or _is_pil(item):
        pixels = _rgb(item)
        sha256 = hashlib.sha256(f"pixels {pixels.shape} ".encode())
        sha256.update(pixels.data)
        return Content(item, sha256.digest())
    raise TypeError(describe(item))


def _is_pil(cell: Any) -> bool:
    """Tell whether a cell is a PIL image, without importing PIL for those that are not.

    Where there is an image, there is PIL.
    """
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(cell, pil.Image)


def _rgb(image: Any) -> NDArray[np.uint8]:
    """Return upright pixels in a row, (n_frames, H, W, 3).

    Raises
    ------
    TypeError
        If their shape, type or mode is none of a picture.
    """
    if _is_pil(image):
        from PIL import ImageOps

        if image.mode not in _COLOUR_MODES:
            raise TypeError(
                f"a PIL image of mode {image.mode!r}; make one of 8 bits of it by "
                "image.convert('RGB'), after scaling it to 255"
            )
        # Files are turned upright by what their header says, so images are, too.
        image = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    if image.dtype != np.uint8:
        raise TypeError(
            f"{describe(image)}; pixels are uint8, from 0 to 255, so scale and round "
            "them, then use .astype('uint8')"
        )
    is_grey = image.ndim == 2
    if not is_grey and (image.ndim not in (3, 4) or image.shape[-1] != 3):
        raise TypeError(
            f"{describe(image)}; a picture is (height, width) or (height, width, 3), a "
            "clip (n_frames, height, width, 3)"
        )
    if is_grey:
        image = np.repeat(image[..., None], 3, axis=-1)
    pixels = image if image.ndim == 4 else image[None]
    return np.ascontiguousarray(pixels)
