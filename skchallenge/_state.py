"""The saved state of an object: its version, and tables as bytes without a pickle."""

import copy
import json
import sys
from typing import Any, SupportsIndex

import numpy as np
import pandas as pd
import pyarrow as pa
from packaging.version import Version
from pandas.testing import assert_frame_equal

_REFUSALS = (
    *(pa.ArrowException, TypeError, ValueError, KeyError, OverflowError),
    AssertionError,  # what came back is not equal
)


_SCALARS = {type(None), bool, int, float, str}


_ENTRY = "_skchallenge_version"  # of a state
# Looked up, not imported: the package names modules of all layers, for type checkers.
_VERSION: str = sys.modules["skchallenge"].__version__
_DOCS = "https://skchallenge.github.io/skchallenge/"


class Versioned:
    """Mixin that saves the library's version with an object.

    What a newer version saved may mean something else: it is refused, not guessed. An
    estimator's "?" in a notebook leads to its page in the reference of this library.
    """

    _doc_link_module = "skchallenge"
    _doc_link_template = f"{_DOCS}generated/{{home}}.{{name}}.html"

    def _get_doc_link(self) -> str:
        """Return the page of a public class; parts that are private have none."""
        name, module = type(self).__name__, type(self).__module__
        package = module.partition("._")[0]
        if package.partition(".")[0] != self._doc_link_module:
            return ""
        for home in (self._doc_link_module, package):
            if name in sys.modules[home].__all__:
                return self._doc_link_template.format(home=home, name=name)
        return ""

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return with_version(state or {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = without_version(state)
        restore = getattr(super(), "__setstate__", self.__dict__.update)
        restore(state)


def with_version(state: dict[str, Any]) -> dict[str, Any]:
    """Add the library's version to a state."""
    return {**state, _ENTRY: _VERSION}


def without_version(state: Any) -> dict[str, Any]:
    """Drop the version from a state, which must be this version or an older one."""
    saved: Any = state.get(_ENTRY) if isinstance(state, dict) else None
    try:
        is_newer = Version(saved) > Version(_VERSION)
    except (TypeError, ValueError):
        raise ValueError(
            "The loaded object must have been saved by a known version of skchallenge, "
            f"but names the version {saved!r}. The file is of a version before the "
            "first release, or was changed: fit and save the model again with "
            f"skchallenge {_VERSION}."
        ) from None
    if is_newer:
        raise ValueError(
            f"The loaded object must have been saved by skchallenge {_VERSION} or an "
            f"older version, but was saved by {saved}. Load it with skchallenge "
            f"{saved}, or fit and save it with the version that is installed here."
        )
    return {k: v for k, v in state.items() if k != _ENTRY}


class FramesAsBytes(Versioned):
    """Mixin that pickles the tables among an object's attributes as bytes.

    So skops, which knows no tables, can save them, and equal tables have one digest in
    joblib's caches. Columns may hold numbers, text, booleans, datetimes, categories,
    nullable numbers, and missing values; columns of objects what JSON holds, such as
    text beside lists of text. Tuples and arrays in cells come back as lists. Any other
    table is pickled as it is, and skops is told why it cannot save it.
    """

    def __getstate__(self) -> dict[str, Any]:
        return pack_state(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        # The version first: an unknown one may have packed its tables otherwise.
        state = without_version(state)
        super().__setstate__(with_version(unpack_state(state)))


class OnlyPickled:
    """A table that bytes cannot hold: pickle finds the table, skops an error."""

    def __init__(self, name: str, table: Any) -> None:
        self.name, self.table = name, table

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return _itself, (self.table,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.table, memo)

    def __getstate__(self) -> Any:
        table = pd.DataFrame(self.table).reset_index(drop=True)
        odd = [c for c in table if pack(table[c]) is None]
        what = f"in the columns {odd}" if odd else "as its labels or attrs"
        raise TypeError(
            f"The table {self.name!r} must hold what bytes can, for skops to save it, "
            f"but has something else {what}: for example objects of a class of their "
            "own, times among text, or text in an Arrow type. Convert it, or use "
            "pickle."
        )


def _itself(table: Any) -> Any:
    return table


def pack_state(state: dict[str, Any]) -> dict[str, Any]:
    """Move the tables of a state, as bytes, to its entry `_packed`."""
    tables = {k: v for k, v in state.items() if isinstance(v, pd.DataFrame | pd.Series)}
    packed = {name: pack(table) for name, table in tables.items()}
    packed = {name: data for name, data in packed.items() if data is not None}
    left = {k: OnlyPickled(k, v) for k, v in tables.items() if k not in packed}
    others = {k: v for k, v in state.items() if k not in tables}
    return {**others, **left, "_packed": packed}


def unpack_state(state: dict[str, Any]) -> dict[str, Any]:
    """Undo `pack_state`."""
    tables = {name: unpack(data) for name, data in state["_packed"].items()}
    others = {k: v for k, v in state.items() if k != "_packed"}
    # A shallow copy was never pickled.
    left = {k: v.table for k, v in others.items() if isinstance(v, OnlyPickled)}
    return {**others, **left, **tables}


def pack(table: Any) -> bytes | None:
    """Return a table as a stream of Arrow, the same one for equal tables.

    Columns of objects go into its metadata, as JSON, and leave zeros behind. None if
    `unpack` would not give the same columns, types and index.
    """
    is_series = type(table) is pd.Series
    frame = table.to_frame("values") if is_series else table
    if type(frame) is not pd.DataFrame or frame.attrs or not _has_plain_names(frame):
        return None
    is_object = pd.api.types.is_object_dtype
    objects: list[Any] = [name for name in frame if is_object(frame[name].dtype)]
    typed = frame.copy(deep=False)
    typed[objects] = 0
    try:
        cells = [[name, list(map(_plain, frame[name]))] for name in objects]
        own = {"cells": cells, "series": [table.name] if is_series else None}
        arrow = pa.Table.from_pandas(typed, nthreads=1).combine_chunks()
        # A copy row by row leaves nothing behind missing values, or between columns.
        arrow = arrow.take(pa.array(np.arange(len(frame)))).combine_chunks()
        # Half a pair of surrogates may stand in a caption that an export has cut.
        text = json.dumps(own, ensure_ascii=False).encode("utf-8", "surrogatepass")
        metadata = {**arrow.schema.metadata, b"skchallenge": text}
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, arrow.schema.with_metadata(metadata)) as writer:
            writer.write_table(arrow.replace_schema_metadata(metadata))
        data = sink.getvalue().to_pybytes()
        options: Any = {"check_exact": True, "check_freq": False}
        assert_frame_equal(_read(data)[0], typed, check_column_type=True, **options)
    except _REFUSALS:
        return None
    return data


def unpack(data: bytes) -> Any:
    """Return the table that was packed."""
    frame, own = _read(data)
    for name, cells in own["cells"]:
        frame[name] = pd.Series(cells, index=frame.index, dtype=object)
    return frame["values"].rename(*own["series"]) if own["series"] else frame


def _read(data: bytes) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the columns that have a type, and all else."""
    with pa.ipc.open_stream(data) as reader:
        arrow = reader.read_all()
    arrow.validate(full=True)  # the bytes may come from a stranger
    text = arrow.schema.metadata[b"skchallenge"].decode("utf-8", "surrogatepass")
    return arrow.to_pandas(use_threads=False), json.loads(text)


def _has_plain_names(frame: pd.DataFrame) -> bool:
    """Tell whether Arrow keeps the labels: of others it warns and makes text."""
    kinds = {type(label) for label in frame.columns}
    names = [*frame.columns.names, *frame.index.names]
    is_text = all(name is None or isinstance(name, str) for name in names)
    is_plain = is_text and (kinds <= {str} or kinds <= {int})
    return is_plain and frame.columns.is_unique


def _plain(cell: Any) -> Any:
    """Return a cell in the words of JSON, which has Python's NaN."""
    if type(cell) in _SCALARS:
        return cell
    if isinstance(cell, list | tuple | np.ndarray):
        is_plain = type(cell) is list and _SCALARS.issuperset(map(type, cell))
        return cell if is_plain else [_plain(item) for item in cell]
    if isinstance(cell, dict) and all(isinstance(key, str) for key in cell):
        return {key: _plain(item) for key, item in cell.items()}
    if isinstance(cell, np.bool_ | np.integer | np.floating | np.str_):
        return cell.item()
    raise TypeError(f"A cell of type {type(cell).__name__} has no text.")
