"""What embedders of files share: cells to sources, vectors to rows, and bad files."""

import contextlib
import os
import tempfile
import warnings
import weakref
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from skchallenge._table import Cells, describe, indices_of
from skchallenge.embed._store import Session
from skchallenge.exceptions import MediaError, MediaWarning
from skchallenge.media._covers import reserve
from skchallenge.media._file import printable
from skchallenge.media._limits import MediaLimits
from skchallenge.media._source import (
    WANTED,
    Content,
    Source,
    content_key,
    items_of,
    read_source,
    read_source_columns,
    with_absolute_paths,
)

OUTPUTS = ("array", "memmap")
FILLERS = {"raise": None, "nan": np.nan, "zero": 0.0}  # by `on_error`
_N_NAMED = 3  # files that a warning names


class FileEmbedder(Protocol):
    """What an embedder of files has been told by its user."""

    on_error: str
    output: str
    verbose: int


def read_files(estimator: Any, X: Any, *, reset: bool, without: str) -> Cells:
    """Return what is to be embedded; None where it is missing and may be.

    Paths are absolute: they travel to workers. `without` ends the remedy: rows
    without this are filled.
    """
    table = read_source_columns(estimator, X, reset=reset)
    sources = np.empty(table.shape, dtype=object)
    for (row, column), cell in np.ndenumerate(table):
        where = f"X must hold {WANTED}, but row {row}, column {column} is"
        try:
            source = read_source(cell)
        except TypeError as error:
            raise TypeError(f"{where} {error}. Convert it, or drop it.") from error
        if source is None and estimator.on_error == "raise":
            raise TypeError(
                f"{where} {describe(cell)}. Drop the row, or set {_policies(estimator)}"
                f", to fill rows without {without}."
            )
        sources[row, column] = source and with_absolute_paths(source)
    return sources


def distinct(table: Cells) -> list[Source]:
    """Return the sources of a table once each, in order of their first rows."""
    return list(indices_of(table.flat))


def fill_rows(
    embedder: FileEmbedder,
    table: Cells,
    embedded: Generator[tuple[Any, Any], None, None],
    width: int,
    *,
    model: object,
    hint: str = "",
) -> NDArray[Any]:
    """Put the vector of each source into all of its rows; deal with bad files.

    Parameters
    ----------
    embedder : FileEmbedder
        The caller's `self`, straight from its `transform`: the warning names the line
        that called that.
    table : ndarray of shape (n, n_columns)
        Sources; None is a bad file.
    embedded : generator
        Yields each distinct source with its vector, or with its MediaError.
    width : int
        Features of a file; one if they are texts.
    model : object
        Stands beside the progress bar.
    hint : str, default=""
        Ends a warning that cannot name all bad files.

    Returns
    -------
    embeddings : ndarray of shape (n, n_columns * width), dtype float32, or object for
        ``output="text"``
    """
    n_columns = table.shape[1]
    positions = indices_of(table.flat)  # by source, in the flattened table
    embeddings = new_matrix((table.size, width), embedder.output)
    filler = FILLERS[embedder.on_error]
    reasons: dict[int, str] = {}  # of rows with a filler, by index
    for index in np.flatnonzero([source is None for source in table.flat]):
        embeddings[index] = filler
        reasons[int(index)] = "there is no path."

    name = f"{type(embedder).__name__}, {model}"
    bar = tqdm(
        desc=name, total=len(positions), unit="file", disable=not embedder.verbose
    )
    with bar, closing(embedded):
        for source, result in embedded:
            indices = positions[source]
            if not isinstance(result, MediaError):
                for index in indices:  # often one; a list would cost ten times more
                    embeddings[index] = result
            elif filler is None:
                raise MediaError(
                    f"Row {indices[0] // n_columns}: {result} Repair or drop it, "
                    f"or set {_policies(embedder)} to fill its row."
                ) from result
            else:
                embeddings[indices] = filler
                reasons |= dict.fromkeys(indices, str(result))
            bar.update()
    if reasons:
        _warn_of(reasons, table.shape, embedder.on_error, hint)
    return embeddings.reshape(len(table), -1)


def _policies(embedder: FileEmbedder) -> str:
    """Name the policies that fill rows; there is no zero among texts."""
    return "on_error='nan'" + ("" if embedder.output == "text" else " or 'zero'")


def _warn_of(
    reasons: dict[int, str], shape: tuple[int, ...], on_error: str, hint: str
) -> None:
    """Warn once of the rows that hold a filler; name the first."""
    n_columns = shape[1]
    named = [
        f"row {index // n_columns}: {reason}"
        for index, reason in sorted(reasons.items())[:_N_NAMED]
    ]
    n_more = len(reasons) - len(named)
    warnings.warn(
        f"{len(reasons)} of {shape[0] * n_columns} files could not be embedded and "
        f"are filled as on_error={on_error!r} says: {' '.join(named)}"
        + (f" And {n_more} more{hint}." if n_more else ""),
        MediaWarning,
        stacklevel=5,  # past `transform` and scikit-learn's wrapper of it
    )


def file_contents(
    session: Session, names: Sequence[Source], limits: MediaLimits | None
) -> Iterator[tuple[Source, bytes | MediaError | None]]:
    """Yield each source with the SHA-256 of what it holds, for the keys of a store."""
    timeout_s = (limits or MediaLimits()).timeout_s
    paths = [i for name in names for i in items_of(name) if isinstance(i, str)]
    with closing(session.digests(paths, timeout_s)) as digests:
        for name in names:
            found: list[bytes | MediaError | None] = [
                item.digest if isinstance(item, Content) else next(digests)[1]
                for item in items_of(name)
            ]
            errors = [digest for digest in found if isinstance(digest, MediaError)]
            keys = [digest for digest in found if isinstance(digest, bytes)]
            if errors:  # named as the readers of files name it
                yield name, MediaError(f"{printable(name)}: {errors[0]}")
            else:
                yield name, content_key(keys) if len(keys) == len(found) else None


def new_matrix(shape: tuple[int, int], output: str) -> NDArray[Any]:
    """Return a matrix to fill: of texts, or of float32, as a memory map if wanted.

    The file of a memory map is in the folder for temporary files (`TMPDIR`). It is
    named, so that worker processes of joblib map it too, and goes with its last view.

    Raises
    ------
    OSError
        If the folder has no room for it.
    """
    if output == "text":
        return np.empty(shape, dtype=object)
    if output == "array":
        return np.empty(shape, dtype=np.float32)
    file, path = tempfile.mkstemp(prefix="skchallenge-", suffix=".f32")
    try:
        n_bytes = max(4 * shape[0] * shape[1], 1)
        try:
            reserve(file, os.path.dirname(path), n_bytes, "output='memmap'")
        finally:
            os.close(file)  # Windows removes no open file
        matrix: Any = np.memmap(path, np.float32, "r+", shape=shape)
    except BaseException:
        os.unlink(path)
        raise
    weakref.finalize(matrix._mmap, _remove, path, os.getpid())
    return matrix


def _remove(path: str, owner: int) -> None:
    if os.getpid() != owner:  # a fork
        return
    with contextlib.suppress(OSError):  # gone already, or still in use on Windows
        os.unlink(path)
