"""Room for the output: in memory, or in a file that goes when it is let go of."""

import contextlib
import os
import tempfile
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

OUTPUTS = ("array", "memmap")


def new_matrix(shape: tuple[int, int], output: str) -> NDArray[np.float32]:
    """Return a float32 matrix to fill; as a memory map if `output` says so.

    The file of a memory map is in the folder for temporary files (`TMPDIR`). It is
    named, so that worker processes of joblib map it too, and goes with its last view.
    """
    if output == "array":
        return np.empty(shape, dtype=np.float32)
    file, path = tempfile.mkstemp(prefix="skchallenge-", suffix=".f32")
    os.close(file)
    matrix: Any = np.memmap(path, dtype=np.float32, mode="w+", shape=shape)
    weakref.finalize(matrix._mmap, _remove, path)
    return matrix


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # gone already, or still in use on Windows
        os.unlink(path)
