"""Warn at the caller's line, however many libraries stand in between."""

import sys
import warnings
from types import FrameType

# Of a pipeline, a search or a resampled pipeline that calls on the caller's behalf.
_LIBRARIES = {"imblearn", "joblib", "skchallenge", "sklearn"}


def warn(message: str, category: type[Warning]) -> None:
    """Warn, and name the first line outside of the libraries.

    A fixed `stacklevel` would name a line of scikit-learn in a pipeline, and
    `skip_file_prefixes` takes Python 3.12. In another process or thread, where no line
    is the caller's, it is the one that started it.
    """
    stacklevel, frame = 1, sys._getframe()
    while frame is not None and _package(frame) in _LIBRARIES:
        stacklevel, frame = stacklevel + 1, frame.f_back
    warnings.warn(message, category, stacklevel=stacklevel)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
