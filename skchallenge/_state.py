"""Tables of pandas in the state of an object, as bytes that hold no pickle."""

import copy
import json
from typing import Any, SupportsIndex

import numpy as np
import pandas as pd
import pyarrow as pa

_REFUSALS = (pa.ArrowException, TypeError, ValueError, KeyError, OverflowError)


class FramesAsBytes:
    """Mixin that pickles the tables among an object's attributes as bytes.

    So skops, which knows no tables, can save them, and equal tables have one digest in
    joblib's caches. Columns may hold numbers, text, booleans, datetimes, categories,
    nullable numbers, and missing values; columns of objects what JSON holds, such as
    text beside lists of text. Tuples and arrays in cells come back as lists. Any other
    table is pickled as it is, and skops is told why it cannot save it.
    """

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return pack_state(state)

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore = getattr(super(), "__setstate__", self.__dict__.update)
        restore(unpack_state(state))


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

    None if `unpack` would not give the same columns, types and index.
    """
    is_series = type(table) is pd.Series
    frame = table.to_frame("values") if is_series else table
    if type(frame) is not pd.DataFrame or frame.attrs or not _has_plain_names(frame):
        return None
    is_object = map(pd.api.types.is_object_dtype, frame.dtypes)
    positions = np.flatnonzero(list(is_object)).tolist()
    try:
        cells = frame.copy(deep=False)
        for i in positions:
            texts = [_to_json(cell) for cell in frame.iloc[:, i]]
            cells.isetitem(i, pd.array(texts, dtype=object))
        arrow = pa.Table.from_pandas(cells, nthreads=1)
        # A copy row by row leaves nothing behind missing values, or between columns.
        arrow = arrow.combine_chunks().take(pa.array(np.arange(len(frame))))
        own = {"objects": positions, "series": [table.name] if is_series else None}
        metadata = {**arrow.schema.metadata, b"skchallenge": json.dumps(own).encode()}
        arrow = arrow.combine_chunks().replace_schema_metadata(metadata)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, arrow.schema) as writer:
            writer.write_table(arrow)
        data = sink.getvalue().to_pybytes()
        is_kept = _is_alike(_read(data)[0], frame)
    except _REFUSALS:
        return None
    return data if is_kept else None


def unpack(data: bytes) -> Any:
    """Return the table that was packed."""
    frame, name = _read(data)
    return frame["values"].rename(*name) if name else frame


def _read(data: bytes) -> tuple[pd.DataFrame, list[Any] | None]:
    """Return a frame, and for a Series the list of its name."""
    with pa.ipc.open_stream(data) as reader:
        arrow = reader.read_all()
    arrow.validate(full=True)  # the bytes may come from a stranger
    frame = arrow.to_pandas(use_threads=False)
    own = json.loads(arrow.schema.metadata[b"skchallenge"])
    for i in own["objects"]:
        cells = pd.Series(map(_from_json, frame.iloc[:, i]), dtype=object)
        frame.isetitem(i, cells.set_axis(frame.index))
    return frame, own["series"]


def _has_plain_names(frame: pd.DataFrame) -> bool:
    """Tell whether Arrow keeps the labels: of others it warns and makes text."""
    kinds = {type(label) for label in frame.columns}
    names = [*frame.columns.names, *frame.index.names]
    is_text = all(name is None or isinstance(name, str) for name in names)
    return is_text and (kinds <= {str} or kinds <= {int})


def _is_alike(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Compare what Arrow may not keep: types, labels and index."""
    axes = [(one.columns, other.columns), (one.index, other.index)]
    has_axes = all(a.equals(b) and a.names == b.names for a, b in axes)
    return has_axes and _dtypes(one) == _dtypes(other)


def _dtypes(frame: pd.DataFrame) -> list[Any]:
    index = frame.index
    levels = [index.get_level_values(i) for i in range(index.nlevels)]
    return [*frame.dtypes, *(axis.dtype for axis in (frame.columns, *levels))]


def _to_json(cell: Any) -> bytes:
    text = json.dumps(_plain(cell), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")  # half a pair, as JSON exports have


def _from_json(text: bytes) -> Any:
    return json.loads(text.decode("utf-8", "surrogatepass"))


def _plain(cell: Any) -> Any:
    """Return a cell in the words of JSON; NaN is one of Python's."""
    if cell is None or isinstance(cell, str | bool | int | float):
        return cell
    if isinstance(cell, np.bool_ | np.integer | np.floating):
        return cell.item()
    if isinstance(cell, list | tuple | np.ndarray):
        return [_plain(item) for item in cell]
    if isinstance(cell, dict) and all(isinstance(key, str) for key in cell):
        return {key: _plain(item) for key, item in cell.items()}
    raise TypeError(f"A cell of type {type(cell).__name__} has no text.")
