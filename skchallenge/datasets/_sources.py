"""From files, folders and tables in memory to exports: cells by the name of a field.

A column is built when it is asked for. What no layout knows is never built: a post has
a hundred fields, and a file may have a million.
"""

import csv
import gc
import glob
import gzip
import io
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from skchallenge._parse import python_text, short
from skchallenge._schema import OBJECTS
from skchallenge._table import as_frame, is_missing, printable

Cells = list[Any]  # Python objects, None where nothing is
IsPost = Callable[[dict[str, Any]], bool]

# How flattened files part the names of a field: "authorMeta/id", "hashtags[0].name".
_PARTS = re.compile(r"[./]|__|\[(?=\d+\])|(?<=\d)\](?:\.|$)?")
_MARK = re.compile(r"[./\[]|__")
_ITEM = re.compile(r"(.*?)[._](\d+)(?:[._](.*))?")  # of a list: hashtags.0.name
_DELIMITERS = ",;\t|"
_DEEPEST = 8  # levels of a file in which posts are looked for
# What a file may hold before it is suspected to hold but one thing over and over: rows,
# values of a column, and bytes of what was packed.
_FREE_ROWS, _FREE_VALUES, _FREE_BYTES = 100_000, 1_000_000, 2**26
_VALUES_A_BYTE, _WORD_BYTES, _BYTES_A_BYTE = 16, 64, 200
_UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, LookupError)
_REPEATED = " If it is sound, read it yourself and pass the table."


class Export:
    """The rows of one source, such as a file, column by column.

    Parameters
    ----------
    name : str
        What messages call it.
    names : iterable of str
        The columns, or the fields of the posts.
    read : function of str to list
        Returns the cells of one of them, None where nothing is.
    n_rows : int
        Length of each column.
    posts : list of dict or None
        The rows, if they are posts.
    origins : sequence of str or None
        Where each row is from, if not all are from one file.
    broken : sequence of str
        What is wrong with rows that could not be read and are none of the rows.
    """

    def __init__(
        self,
        name: str,
        names: Iterable[Any],
        read: Callable[[Any], Cells],
        n_rows: int,
        *,
        posts: list[dict[str, Any]] | None = None,
        origins: Sequence[str] | None = None,
        broken: Sequence[str] = (),
    ) -> None:
        self.broken = list(broken)
        self.order = [0] * n_rows  # of the sources that the rows are from
        self.name, self.n_rows, self.posts, self.origins = name, n_rows, posts, origins
        self.names = {str(n): n for n in names}
        self._read = read
        self._cells: dict[str, Cells | None] = {}
        self._dotted = {
            _PARTS.sub(".", name).strip(".") if _MARK.search(name) else name: name
            for name in self.names
        }
        self._items: dict[str, dict[int, dict[str, str]]] = {}
        for dotted, name in self._dotted.items():
            if any(c.isdecimal() for c in name) and (match := _ITEM.fullmatch(dotted)):
                items = self._items.setdefault(match[1], {})
                items.setdefault(int(match[2]), {})[match[3] or ""] = name

    @classmethod
    def of_posts(
        cls,
        name: str,
        posts: list[Any],
        origins: Sequence[str] | None = None,
        broken: Sequence[str] = (),
    ) -> Self:
        """Return posts as an export; what is no object is a row that holds nothing."""
        rows = [post if isinstance(post, dict) else {} for post in posts]
        # Most posts have the same fields in the same order.
        names = dict.fromkeys(chain.from_iterable(dict.fromkeys(map(tuple, rows))))
        return cls(
            name,
            names,
            lambda field: [row.get(field) for row in rows],
            len(rows),
            posts=rows,
            origins=origins,
            broken=broken,
        )

    def cells(self, field: str, *, scalars: bool = False) -> Cells | None:
        """Return the cells of a dotted field, None if no row has any.

        With `scalars`, an object is nothing where others have a name, as of an author.
        """
        if field not in self._cells:
            self._cells[field] = self._find(field)
        cells = self._cells[field]
        if not scalars or field not in OBJECTS or cells is None:
            return cells
        key = f"{field}\0"
        if key not in self._cells:
            plain = [None if isinstance(_parsed(c), dict) else c for c in cells]
            self._cells[key] = _if_any(plain)
        return self._cells[key]

    def _find(self, field: str) -> Cells | None:
        name = field if field in self.names else self._dotted.get(field)
        cells = None if name is None else _if_any(self._read(self.names[name]))
        parts = field.split(".")
        for i in range(1, len(parts)):
            head = ".".join(parts[:i])
            if head in self._dotted:
                inner = _walk(self.objects(head), parts[i:])
                cells = _filled_by(cells, _if_any(inner))
        return cells

    def objects(self, head: str) -> Cells:
        """Return the cells of a field, with the texts of objects read."""
        key = f"{head}."
        if key not in self._cells:
            name = self._dotted[head]
            cells = self._read(self.names[name])
            has_text = str in set(map(type, cells))
            self._cells[key] = list(map(_parsed, cells)) if has_text else cells
        return self._cells[key] or []

    def items(self, field: str) -> Cells | None:
        """Return the cells of a list, gathered from a column for each of its places."""
        cells = self.cells(field)
        places = self._items.get(field)
        if cells is not None or not places:
            return cells
        lists: list[list[Any]] = [[] for _ in range(self.n_rows)]
        for _, keys in sorted(places.items()):
            columns = {k: self._read(self.names[name]) for k, name in keys.items()}
            for row, values in enumerate(zip(*columns.values(), strict=True)):
                item = {
                    k: v
                    for k, v in zip(columns, values, strict=True)
                    if not is_missing(v)
                }
                if item:
                    lists[row].append(item.get("") if set(item) == {""} else item)
        return _if_any([row or None for row in lists])

    def list_fields(self) -> list[str]:
        """Return the fields that have a column for each place of a list."""
        return list(self._items)

    def all_names(self) -> Iterator[str]:
        """Yield all dotted names, one level deep."""
        for name in self.names:
            inner = (p[name] for p in self.posts or () if isinstance(p.get(name), dict))
            keys = dict.fromkeys(chain.from_iterable(inner))
            yield from (f"{name}.{key}" for key in keys) if keys else (name,)


def _if_any(cells: Cells) -> Cells | None:
    return cells if any(cell is not None for cell in cells) else None


def _filled_by(cells: Cells | None, more: Cells | None) -> Cells | None:
    if cells is None or more is None:
        return cells or more
    return [b if a is None else a for a, b in zip(cells, more, strict=True)]


def _walk(cells: Cells, parts: list[str]) -> Cells:
    """Return what is inside of objects, and of lists at a place."""
    for part in parts:
        place = int(part) if part.isdecimal() else -1
        cells = [
            cell.get(part)
            if type(cell) is dict
            else cell[place]
            if type(cell) is list and 0 <= place < len(cell)
            else None
            for cell in cells
        ]
    return cells


def _parsed(cell: Any) -> Any:
    """Read the text of an object, as pandas writes one into a CSV file."""
    if not isinstance(cell, str) or not cell.lstrip().startswith("{"):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        pass
    try:
        return python_text(cell.strip())
    except (ValueError, SyntaxError, TypeError):
        return cell


@contextmanager
def without_collector() -> Iterator[None]:
    """Look for no garbage: none of a million cells is, and to look takes half the time.

    It is Python's one collector, of all threads; it goes on afterwards.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


# What a user may pass


def list_sources(source: Any) -> list[Any]:
    """Return the files, tables and lists of posts that a source stands for.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or none in a folder or of a pattern.
    TypeError
        If the source is none of what can be read.
    """
    if isinstance(source, str | os.PathLike):
        return _list_files(source)
    if isinstance(source, dict) or _is_table(source):
        return [source]
    if not isinstance(source, list | tuple):
        raise TypeError(
            "source must be a path, a folder, a pattern, a list of posts or a table, "
            f"or a list of these, got {type(source).__name__}."
        )
    if all(isinstance(item, dict) for item in source):
        return [list(source)]
    strange = next((i for i in source if hasattr(i, "as_dict")), None)
    if strange is not None:
        raise TypeError(
            f"source must hold posts as dicts, got objects of type "
            f"{type(strange).__name__}: pass [video.as_dict for video in videos]."
        )
    return [part for item in source for part in list_sources(item)]


def _is_table(source: Any) -> bool:
    kind = type(source).__module__.partition(".")[0]
    return isinstance(source, pd.DataFrame) or kind == "polars"


def _list_files(path: str | os.PathLike[str]) -> list[Path]:
    file = Path(os.fsdecode(path))
    if file.is_dir():
        found = sorted(f for f in file.rglob("*") if _is_export(f))
        if not found:
            raise FileNotFoundError(
                f"source must be a folder with exports, but {file} holds no file that "
                f"ends in one of {list(_READERS)}, nor in one of these and '.gz'."
            )
        return found
    if file.exists():
        return [file]
    matches = sorted(Path(name) for name in glob.glob(str(file), recursive=True))
    if not matches:
        raise FileNotFoundError(
            f"source must be an existing file or folder, or a pattern that some files "
            f"match, got {printable(file)}."
        )
    return matches


def _is_export(file: Path) -> bool:
    return (
        file.is_file() and not file.name.startswith(".") and _suffix(file) in _READERS
    )


def _suffix(file: Path) -> str:
    name = file.name.lower().removesuffix(".gz")
    return Path(name).suffix


def read_export(source: Any, is_post: IsPost) -> Export:
    """Read one file, table or list of posts.

    Raises
    ------
    ValueError
        If it cannot be read, or holds no videos.
    """
    if _is_table(source):
        return _of_table(source)
    if not isinstance(source, Path):
        return _of_content(source, "source", is_post)
    suffix, name = _suffix(source), printable(source)
    if suffix not in _READERS:
        hint = ""
        if suffix in {".xlsx", ".xls", ".ods", ".numbers"}:
            hint = (
                " Save the sheet as CSV (UTF-8), with the columns of ids as text: a "
                "spreadsheet keeps 15 digits of a number."
            )
        raise ValueError(
            f"source must end in one of {list(_READERS)}, also with '.gz', got "
            f"{name}.{hint}"
        )
    data = source.read_bytes()
    if source.name.lower().endswith(".gz"):
        data = _unpacked(data, name)
    export = _READERS[suffix](data, name, is_post)
    if not export.n_rows or not export.names:
        raise ValueError(f"{name} holds no videos.")
    return export


def _unpacked(data: bytes, name: str) -> bytes:
    """Unpack gzip, but not what becomes hundreds of times as large."""
    most = max(_FREE_BYTES, _BYTES_A_BYTE * len(data))
    try:
        with gzip.open(io.BytesIO(data)) as file:
            unpacked = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name} is no whole gzip file: {error}.") from error
    if len(unpacked) > most:
        raise ValueError(
            f"{name} holds more than {most:,} bytes in {len(data):,}, as no export "
            "does. If it is sound, unpack it first."
        )
    return unpacked


def _of_table(table: Any) -> Export:
    if isinstance(table, pd.DataFrame) or type(table).__name__ != "DataFrame":
        table = as_frame(table, "source")  # refuses what it cannot read
    columns: dict[Any, Any] = {name: table[name] for name in table.columns}
    if not len(table) or not columns:
        raise ValueError("source holds no videos.")
    return Export(
        "source",
        columns,
        lambda name: [None if is_missing(c) else c for c in columns[name].to_list()],
        len(table),
    )


def _text(data: bytes, name: str) -> str:
    """Decode UTF-8 or UTF-16, with or without a mark at the beginning."""
    encoding = "utf-8-sig"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif 0 in data[:2]:  # half of UTF-16's bytes are 0 where text is plain
        encoding = "utf-16-be" if data[0] == 0 else "utf-16-le"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is not UTF-8 text: {error}. Save it as UTF-8; in a spreadsheet "
            "that is the format 'CSV UTF-8'."
        ) from error


def _json(text: str) -> Any:
    """Read JSON; raise a ValueError for whatever cannot be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _read_json(data: bytes, name: str, is_post: IsPost) -> Export:
    text = _text(data, name)
    try:
        content = _json(text)
    except json.JSONDecodeError as error:
        hint = " One object a line? Name it .jsonl." if "Extra" in error.msg else ""
        raise ValueError(f"{name} is not valid JSON: {error}.{hint}") from error
    except ValueError as error:
        raise ValueError(f"{name} is not valid JSON: {error}.") from error
    return _of_content(content, name, is_post)


def _read_lines(data: bytes, name: str, is_post: IsPost) -> Export:
    content, broken = [], []
    for number, line in enumerate(_text(data, name).split("\n"), start=1):
        try:
            content += [_json(line)] if line.strip() else []
        except ValueError as error:
            broken.append(f"{name}, line {number}: no JSON ({error}).")
    if broken and not content:
        raise ValueError(broken[0])
    return _of_content(content, name, is_post, broken)


def _of_content(
    content: Any, name: str, is_post: IsPost, broken: Sequence[str] = ()
) -> Export:
    posts = _find_posts(content, is_post) or _any_objects(content)
    if posts is None:
        found = list(content) if isinstance(content, dict) else content
        raise ValueError(
            f"{name} must hold a list of videos, or an object with such a list "
            f"somewhere inside; it holds {short(found)}. pandas writes a list with "
            "to_json(orient='records')."
        )
    if posts and not any(isinstance(post, dict) for post in posts):
        raise ValueError(
            f"{name} must hold one object a video; row 0 is {short(posts[0])}."
        )
    if not any(posts):
        raise ValueError(f"{name} holds no videos.")
    return Export.of_posts(name, posts, broken=broken)


def _find_posts(content: Any, is_post: IsPost, level: int = 0) -> list[Any]:
    """Return the posts that are anywhere in what a file holds.

    A list with a post in it is a list of posts, and so is an object whose values are
    posts; beside posts in other objects stands what belongs to the page.
    """
    if level > _DEEPEST or not isinstance(content, dict | list):
        return []
    if isinstance(content, dict) and "entries" not in content and is_post(content):
        return [content]  # a list of yt-dlp looks like one of its videos
    children = list(content.values()) if isinstance(content, dict) else content
    n_posts = 0
    for child in children:
        n_posts += isinstance(child, dict) and is_post(child)
        if n_posts and isinstance(content, list):
            return children
    if 2 * n_posts > len(children) and all(isinstance(c, dict) for c in children):
        return children
    posts = []
    for child in children:
        one = isinstance(child, dict) and bool(n_posts) and is_post(child)
        posts += [child] if one else _find_posts(child, is_post, level + 1)
    return posts


def _any_objects(content: Any) -> list[Any] | None:
    """Return the list that should be that of the posts, for a message on its fields."""
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        return None
    level = [content]
    for _ in range(3):
        lists = [v for c in level for v in c.values() if isinstance(v, list)]
        objects = [v for v in lists if any(isinstance(item, dict) for item in v)]
        if objects:
            return max(objects, key=len)
        level = [v for c in level for v in c.values() if isinstance(v, dict)]
    if any(not isinstance(value, dict | list) for value in content.values()):
        return [content]
    return None


def _read_csv(data: bytes, name: str, is_post: IsPost) -> Export:
    # As text: ids keep their digits, and a caption "NA" stays a caption.
    text = _text(data, name)
    first, _, rest = text.partition("\n")
    if re.fullmatch(r"sep=.\r?", first):  # a line for spreadsheets
        delimiter, text = first[4], rest
    else:
        delimiter = max(_DELIMITERS, key=first.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    broken: list[str] = []
    while True:
        try:
            row = next(lines)
        except StopIteration:
            break
        except csv.Error as error:
            broken.append(f"{name} is not valid CSV: line {lines.line_num}: {error}.")
            continue
        if not header:
            header = row
        elif len(row) == len(header) and any(row):
            rows.append(row)
        elif any(row):
            broken.append(
                f"{name} is not valid CSV: line {lines.line_num}: it has {len(row)} "
                f"cells, the header {len(header)}. Put texts that hold {delimiter!r} "
                "between quotes."
            )
    if broken and not rows:
        raise ValueError(broken[0])
    twice = sorted(c for c, n in Counter(header).items() if n > 1 and c)
    if twice:
        raise ValueError(
            f"{name} has several columns named {twice}. Rename or drop all but one."
        )
    columns = {column: i for i, column in enumerate(header)}
    return Export(
        name,
        columns,
        lambda column: [row[columns[column]] or None for row in rows],
        len(rows),
        broken=broken,
    )


def _read_parquet(data: bytes, name: str, is_post: IsPost) -> Export:
    # Not through pandas, which makes floats of the ids in a column with nulls.
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        names = file.schema_arrow.names
        # Equal texts are one object, and stand once in memory: a small file may hold
        # a long one a million times.
        leaves = [file.schema.column(i) for i in range(len(file.schema))]
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        shared = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)
        _check_rows(file.metadata, name)
        n_values, n_bytes = _sizes_of_columns(file.metadata)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{name} is not valid Parquet: {printable(error)}.") from error

    def read(column: str) -> Cells:
        if n_values[column] > max(_FREE_VALUES, _VALUES_A_BYTE * len(data)) or (
            n_bytes[column] > max(_FREE_BYTES, _BYTES_A_BYTE * len(data))
        ):
            raise ValueError(
                f"{name} holds {n_values[column]:,} values of column {short(column)} "
                f"in {len(data):,} bytes, which can only repeat each other.{_REPEATED}"
            )
        cells: Cells = []
        try:
            for group in range(file.num_row_groups):
                try:
                    table = shared.read_row_group(group, [column])
                except pa.ArrowNotImplementedError:  # not all pages share their texts
                    table = file.read_row_group(group, [column])
                for chunk in table.column(column).chunks:
                    cells += _objects(chunk)
        except _UNREADABLE as error:
            reason = printable(error) or type(error).__name__
            raise ValueError(
                f"{name} is not valid Parquet: column {short(column)}: {reason}."
            ) from error
        return cells

    return Export(name, names, read, file.metadata.num_rows)


def _check_rows(metadata: Any, name: str) -> None:
    """Refuse a table of more rows than bytes: what repeats takes room in memory."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    n_bytes = sum(
        group.column(i).total_compressed_size
        for group in groups
        for i in range(group.num_columns)
    )
    if metadata.num_rows > max(_FREE_ROWS, n_bytes):
        raise ValueError(
            f"{name} holds {metadata.num_rows:,} rows in {n_bytes:,} bytes, which can "
            f"only repeat each other.{_REPEATED}"
        )


def _sizes_of_columns(metadata: Any) -> tuple[Counter[str], Counter[str]]:
    """Return how many values each column has, and bytes once it is unpacked.

    Values in its lists and objects count, and long ones of one size as several.
    """
    n_values: Counter[str] = Counter()
    n_bytes: Counter[str] = Counter()
    for i in range(metadata.num_row_groups):
        for j in range(metadata.num_columns):
            column = metadata.row_group(i).column(j)
            top = column.path_in_schema.partition(".")[0]
            n_words = 1 + max(0, metadata.schema.column(j).length) // _WORD_BYTES
            n_values[top] += column.num_values * n_words
            n_bytes[top] += column.total_uncompressed_size
    return n_values, n_bytes


def _objects(array: Any) -> Cells:
    """Return the cells of an Arrow array; equal texts are one object."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        values = array.dictionary.to_pylist()
        return [None if i is None else values[i] for i in array.indices.to_pylist()]
    if pa.types.is_struct(kind):
        fields = [_objects(array.field(i)) for i in range(kind.num_fields)]
        names = [kind.field(i).name for i in range(kind.num_fields)]
        there = array.is_valid().to_pylist()
        rows = zip(*fields, strict=True) if fields else [()] * len(array)
        return [
            dict(zip(names, row, strict=True)) if is_there else None
            for row, is_there in zip(rows, there, strict=True)
        ]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        offsets = array.offsets.to_pylist()
        items = _objects(array.values)
        there = array.is_valid().to_pylist()
        return [
            items[start:end] if is_there else None
            for start, end, is_there in zip(
                offsets[:-1], offsets[1:], there, strict=True
            )
        ]
    return array.to_pylist()


_READERS: dict[str, Callable[[bytes, str, IsPost], Export]] = {
    ".json": _read_json,
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
}
