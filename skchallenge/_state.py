"""Tables of pandas in the state of an object, as bytes that hold no pickle."""

import copy
from typing import Any, SupportsIndex

import numpy as np
import pandas as pd
import pyarrow as pa

from skchallenge._cells_text import from_text, to_text

# Names, rows and columns of objects as text; the other columns as a stream of Arrow.
Packed = list[bytes]
_DATED = (pd.DatetimeIndex, pd.TimedeltaIndex)
_TYPED = (pd.CategoricalIndex, pd.IntervalIndex, pd.PeriodIndex)
_INDEXES = {pd.RangeIndex, pd.Index, pd.MultiIndex, *_TYPED, *_DATED}
_REFUSALS = (pa.ArrowException, TypeError, ValueError, OverflowError)


class FramesAsBytes:
    """Mixin that pickles the tables among an object's attributes as bytes.

    So skops can save them, which knows no tables. One that bytes cannot hold exactly
    is pickled as it is, and skops is told why it cannot save it.
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
        odd = [label for label in table if pack(table[[label]]) is None]
        what = f"in the columns {odd}" if odd else "as its labels, attrs or flags"
        raise TypeError(
            f"The table {self.name!r} must hold what can be written exactly, for skops "
            f"to save it, but has something else {what}: for example objects of a "
            "class of their own, or text in an Arrow type. Convert it, or use pickle."
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


def pack(table: Any) -> Packed | None:
    """Return the bytes of a table, the same ones for equal tables.

    Returns
    -------
    packed : list of bytes or None
        `unpack` makes exactly this table of them; None if it would not.
    """
    if not _is_ordinary(table):
        return None
    name = None
    if isinstance(table, pd.Series):
        name, table = [table.name], table.to_frame("values")
    levels = _levels(table.index)
    columns = [*levels, *(column.reset_index(drop=True) for _, column in table.items())]
    objects = [[i, c.to_list()] for i, c in enumerate(columns) if c.dtype == object]
    others = {str(i): c for i, c in enumerate(columns) if c.dtype != object}
    rows = None if levels else _range(table.index)
    names = [table.columns.to_list(), str(table.columns.dtype), table.columns.name]
    try:
        text = to_text([name, rows, list(table.index.names), names, objects])
        stream = _to_stream(others)
        is_exact = _columns(*from_text(to_text(names))).identical(table.columns)
        is_exact = is_exact and _types_are_kept(stream, others)
        is_exact = is_exact and _labels_are_kept(table.index)
    except _REFUSALS:
        return None
    return [text, stream] if is_exact else None


def unpack(packed: Packed) -> Any:
    """Return the table that was packed."""
    text, stream = packed
    name, rows, levels, names, objects = from_text(text)
    typed: Any = _from_stream(stream).items()
    columns = {int(place): column for place, column in typed}
    columns |= {i: pd.Series(cells, dtype=object) for i, cells in objects}
    n_levels = 0 if rows else len(levels)
    index = _index(rows, [columns.pop(i) for i in range(n_levels)], levels)
    data = {i: columns[i] for i in sorted(columns)}
    table = pd.DataFrame(data, index=range(len(index)))
    table = table.set_axis(index, axis=0).set_axis(_columns(*names), axis=1)
    return table["values"].rename(*name) if name else table


def _is_ordinary(table: Any) -> bool:
    """Tell whether a table is a plain one, with nothing fancy at its sides."""
    if type(table) not in {pd.DataFrame, pd.Series} or table.attrs:
        return False
    if not table.flags.allows_duplicate_labels:
        return False
    columns = table.columns if table.ndim == 2 else pd.Index([])
    return _is_ordinary_index(table.index) and type(columns) is pd.Index


def _is_ordinary_index(index: pd.Index) -> bool:
    """Tell whether the levels of an index are all there is to it."""
    if isinstance(index, _DATED) and index.freq is not None:
        return False
    is_lone = isinstance(index, pd.MultiIndex) and index.nlevels == 1
    return type(index) in _INDEXES and not is_lone


def _levels(index: pd.Index) -> "list[pd.Series[Any]]":
    """Return the columns that an index needs: a range none."""
    if isinstance(index, pd.RangeIndex):
        return []
    levels = map(index.get_level_values, range(index.nlevels))
    return [pd.Series(level, dtype=level.dtype) for level in levels]


def _range(index: Any) -> list[int]:
    return [index.start, index.stop, index.step]


def _index(rows: Any, levels: list[Any], names: list[Any]) -> pd.Index:
    if rows:
        start, stop, step = rows
        return pd.RangeIndex(start, stop, step, name=names[0])
    if len(levels) == 1:
        return pd.Index(levels[0], dtype=levels[0].dtype).rename(names[0])
    return pd.MultiIndex.from_arrays(levels, names=names)


def _columns(labels: list[Any], dtype: str, name: Any) -> pd.Index:
    return pd.Index(labels, dtype=dtype, name=name)


def _to_stream(columns: "dict[str, pd.Series[Any]]") -> bytes:
    """Write columns that have a type of their own."""
    frame = pd.DataFrame(columns, copy=False)
    table = pa.Table.from_pandas(frame, preserve_index=False, nthreads=1)
    # A copy row by row leaves nothing behind missing values, or between columns.
    table = table.combine_chunks().take(pa.array(np.arange(len(frame))))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return sink.getvalue().to_pybytes()


def _from_stream(stream: bytes, stop: int | None = None) -> pd.DataFrame:
    with pa.ipc.open_stream(stream) as reader:
        table = reader.read_all().slice(0, stop)
    table.validate(full=True)  # the bytes may come from a stranger
    return table.to_pandas(use_threads=False)


def _labels_are_kept(index: pd.Index) -> bool:
    """Tell whether levels keep their types: dates among objects would not."""
    levels = _levels(index)
    if len(levels) < 2:
        return True
    made = _levels(pd.MultiIndex.from_arrays(levels))
    return all(a.dtype == b.dtype for a, b in zip(levels, made, strict=True))


def _types_are_kept(stream: bytes, columns: "dict[str, pd.Series[Any]]") -> bool:
    dtypes = _from_stream(stream, 0).dtypes
    return all(dtypes[name] == column.dtype for name, column in columns.items())
