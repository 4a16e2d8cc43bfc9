"""Room for the output: in memory, or in a file that goes when it is let go of."""

import contextlib
import os
import tempfile
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skchallenge.media._covers import reserve

OUTPUTS = ("array", "memmap")


def new_matrix(shape: tuple[int, int], output: str) -> NDArray[np.float32]:
    """Return a float32 matrix to fill; as a memory map if `output` says so.

    The file of a memory map is in the folder for temporary files (`TMPDIR`). It is
    named, so that worker processes of joblib map it too, and goes with its last view.

    Raises
    ------
    OSError
        If the folder has no room for it.
    """
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


def check_width(width: int, fitted: int, network: str) -> None:
    """Raise unless the network of now has the width of the network of `fit`."""
    if width != fitted:
        raise ValueError(
            f"{network} gives {width} features with what was set after fit, but the "
            f"network of fit gave {fitted}. Call fit again."
        )


def _remove(path: str, owner: int) -> None:
    if os.getpid() != owner:  # a fork
        return
    with contextlib.suppress(OSError):  # gone already, or still in use on Windows
        os.unlink(path)
