"""From the cells of a TikTok export to typed columns.

A cell is a plain Python object: number, text, time, list, dict, or None where the
export holds nothing. `label` names the column and its source in error messages.
"""

import ast
import json
import re
from collections.abc import Callable, Iterable
from math import isfinite, log10, nan
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skchallenge._table import is_missing, same_text

FIRST_TIME = pd.Timestamp("2014-01-01")  # musical.ly, which became TikTok
LAST_TIME = pd.Timestamp("2100-01-01")
MILLISECONDS = 1e11  # read as seconds, the year 5138
NULLS = {"", "nan", "NaN", "NA", "N/A", "<NA>", "null", "NULL", "None"}
UNITS = {"K": 1e3, "M": 1e6, "B": 1e9}
ROUNDED = re.compile(r"\s*(\d+(?:\.\d+)?)\s?([KMBkmb])\s*")  # 304.9K
FLOAT_ID = re.compile(  # 6.8e+18
    r"\d+[.,]\d*(e\+?\d+)?|\d+e\+\d+", re.IGNORECASE
)
DATE = re.compile(r"\s*\d{4}-?\d\d-?\d\d")
EXACT = 2**53  # larger integers are rounded where they become floats
LONGEST_ID = 40  # digits
_SAMPLE = 1000
FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
SEPARATORS = {
    # With signs among them: "#a#b".
    "hashtags": re.compile(r"[,;|\s\uff0c\uff1b\u3001#\uff03]+"),
    "mentions": re.compile(r"[,;|\s\uff0c\uff1b\u3001@\uff20]+"),
    "effect_stickers": re.compile(r"[,\uff0c\u3001]"),  # their names have spaces
}
SIGNS = {"hashtags": "#\uff03", "mentions": "@\uff20", "effect_stickers": ""}
# Text of a list in Python, NumPy, pandas or R: what is called, and what with.
CALL = re.compile(
    r"(?:(?:np|numpy)\.)?(c|list|array|set|frozenset|tuple|Index|Series|character)"
    r"\((.*?)(?:,\s*dtype=[\w.'\"<>]+)?\)",
    re.DOTALL,
)
OPENERS = {"[": "]", "(": ")", "{": "}"}
# An escape first: a quote behind a backslash opens no string.
STRING = re.compile(r"""\\.|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", re.DOTALL)
NO_COMMA = re.compile(r"\x00\s*\x00")
# Numbers and signs as Python writes them; what is read once is not read again.
PLAIN = re.compile(
    r"(?>[\[\](){},:\s\x00]|-?\d+(?:\.\d*)?(?:e[+-]?\d+)?|None|True|False)*+"
)
ESCAPE = re.compile(r"\\(?![\\'\"abfnrtvxuU])")  # Python warns of others
CODE = re.compile(r"""[\[\](){}<>"'`=\\]""")  # stands in no tag, but in other spellings
IN_CAPTION = {
    # A hashtag ends at a space or at punctuation other than the underscore.
    "hashtags": re.compile(
        r"[#\uff03]([^\s!-/:-@\[-^`{-~\u2010-\u205e\u3001-\u303f\uff00-\uff0f]+)"
    ),
    "mentions": re.compile(r"@([\w.]*\w)"),
}
TEXT = pd.Series(["a"]).dtype  # object in pandas 2, str in pandas 3


class CellError(ValueError):
    """Cells that cannot be read: which, and what they must be."""

    def __init__(self, message: str, rows: NDArray[np.intp], rule: str) -> None:
        super().__init__(message)
        self.rows, self.rule = rows, rule


def refuse(bad: Any, cells: pd.Series, label: str, rule: str) -> None:
    """Raise a CellError that shows the first bad row, if there is any."""
    rows = np.flatnonzero(bad)
    if len(rows):
        cell = cells.iloc[rows[0]]
        plain = cell.item() if isinstance(cell, np.generic) else cell
        raise CellError(
            f"{label} must be {rule}. Row {rows[0]} (the first is 0) holds "
            f"{short(plain)}; rows like it: {rows[:5].tolist()}"
            f"{' ...' if len(rows) > 5 else ''}, {len(rows)} in all.",
            rows,
            f"{label} must be {rule}",
        )


def short(value: Any) -> str:
    """Describe a value in at most 80 characters."""
    if isinstance(value, int) and abs(value) >= 10**LONGEST_ID:
        return f"an integer of {value.bit_length()} bits"  # may be too long to print
    try:
        return f"{value!r:.80}"
    except (ValueError, RecursionError):  # such an integer, or a depth, within
        return f"a {type(value).__name__} that is too long to show"


def plain_cells(values: pd.Series) -> pd.Series:
    """Return cells as Python objects, None where nothing is; plain floats stay."""
    if values.dtype.kind in "iuf" and isinstance(values.dtype, np.dtype):
        return values.reset_index(drop=True).astype(float)
    cells = [None if is_missing(cell) else cell for cell in values.tolist()]
    return pd.Series(cells, dtype=object)


def clean_cell(cell: Any, kind: str) -> Any:
    """Return None for text that stands for nothing; free ids of a spreadsheet's marks.

    Kept as text in a spreadsheet, an id may be ="123" or '123 in its files.
    """
    if not isinstance(cell, str):
        return cell
    text = cell.strip()
    if kind == "id":
        if text.startswith('="') and text.endswith('"') and len(text) > 2:
            text = text[2:-1].strip()
        cell = text = text.removeprefix("'")
    # A caption may well be "None".
    return None if text in ({""} if kind == "text" else NULLS) else cell


def first_filled(columns: list[list[Any]], n_rows: int, kind: str) -> pd.Series:
    """Return per row the first cell that holds something, else None."""
    clean = [
        c if _is_clean(c, kind) else [clean_cell(x, kind) for x in c] for c in columns
    ]
    filled: list[Any] = clean[0] if clean else [None] * n_rows
    for column in clean[1:]:
        filled = [b if a is None else a for a, b in zip(filled, column, strict=True)]
    return pd.Series(filled, dtype=object)


def _is_clean(cells: list[Any], kind: str) -> bool:
    """Tell at a glance whether `clean_cell` would leave all cells as they are."""
    kinds = set(map(type, cells))
    if str not in kinds:
        return True
    texts = cells if len(kinds) == 1 else [c for c in cells if isinstance(c, str)]
    if kind == "text":
        return all(map(str.strip, texts))
    return all(map(str.isalnum, texts)) and NULLS.isdisjoint(texts)


def to_text(cells: pd.Series, label: str) -> pd.Series:
    """Convert scalars to strings."""
    is_text = [
        c is None
        or isinstance(c, str)
        or (isinstance(c, Number) and not isinstance(c, bool))
        for c in cells
    ]
    refuse(~np.array(is_text, dtype=bool), cells, label, "text")
    return _as_texts(cells)


def _as_texts(cells: Iterable[Any]) -> pd.Series:
    """Return texts of Python's, of which equal ones may be one object.

    A small file may hold a long text a million times. So columns become pandas' texts,
    each with bytes of its own, when repeated videos are gone.
    """
    texts = [None if c is None else encodable(str(c)) for c in cells]
    return pd.Series(texts, dtype=object)


def to_ids(cells: pd.Series, label: str) -> pd.Series:
    """Convert ids to strings; floats have lost an id's last digits."""
    if set(map(type, cells)) == {str} and all(map(str.isdecimal, cells)):
        plain = cells.tolist()  # digits only, as most ids are
    else:
        plain = _plain_ids(cells, label)
    ids = [None if c is None else _id_text(c) for c in plain]
    refuse(
        have_lost_digits(ids),
        cells,
        label,
        "ids with all their digits, and a spreadsheet or a program that computes with "
        "floats has rounded these: so many do not end like this by chance. Export them "
        "again, and import their column as text",
    )
    return pd.Series(ids, dtype=object)


def _plain_ids(cells: pd.Series, label: str) -> list[Any]:
    """Return texts and integers; refuse what is neither."""
    plain = [_whole(c) if isinstance(c, float) else c for c in cells]
    is_float = [
        isinstance(c, float)
        or (type(c) is str and not c.isalnum() and bool(FLOAT_ID.fullmatch(c)))
        for c in plain
    ]
    refuse(
        is_float,
        cells,
        label,
        "text or an integer; a float has lost the last digits, so export the ids again",
    )
    is_other = [not (c is None or _is_id(c)) for c in plain]
    refuse(is_other, cells, label, "text or an integer")
    return plain


def _id_text(cell: Any) -> str:
    text = str(cell)
    return text if text.isascii() else same_text(encodable(text)).strip()


def _whole(cell: Any) -> Any:
    """Return the integer that a float equals, if it cannot have been rounded to it."""
    is_exact = isinstance(cell, float) and abs(cell) < EXACT and cell == int(cell)
    return int(cell) if is_exact else cell


def _is_id(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell[:1] not in OPENERS  # the text of an object
    is_integer = isinstance(cell, int) and not isinstance(cell, bool)
    return is_integer and abs(cell) < 10**LONGEST_ID


def have_lost_digits(ids: list[str | None]) -> NDArray[np.bool_]:
    """Tell which ids of 16 digits or more are rounded, if that cannot be chance.

    A spreadsheet keeps 15 digits and fills up with zeros. A float keeps 53 bits, and
    is written in full or as the shortest number that is read as the same float. Half of
    the ids or more look like that, and together so many digits are lost that one column
    in ten thousand would look so by chance.
    """
    long = [i for i in set(ids) if i is not None and 15 < len(i) <= LONGEST_ID]
    long = [i for i in long if i.isascii() and i.isdecimal()]
    sample = long[:_SAMPLE]  # of a set, so in no order
    if 4 * sum(_lost_digits(i) > 0 for i in sample) < len(sample):
        return np.zeros(len(ids), dtype=bool)  # far from half of them
    lost = {i: _lost_digits(i) for i in long}
    rounded = {i for i, n_digits in lost.items() if n_digits}
    enough = sum(lost.values()) >= 4 and 2 * len(rounded) >= len(long)
    return np.array([enough and i in rounded for i in ids], dtype=bool)


def _lost_digits(text: str) -> float:
    """Return how many digits an id has lost, if it looks rounded."""
    spare = len(text) - 15
    if text.endswith("0" * spare):
        return spare
    value = int(text)
    as_float = float(value)
    if value != as_float and value % 10 ** max(0, spare - 2):
        return 0.0  # a float is written with 17 digits at most
    forms = (_integer(f"{as_float:.16e}"), _integer(repr(as_float)), int(as_float))
    # Two forms of each float: one integer in so many looks like that.
    return max(0.0, log10(np.spacing(as_float) / 2)) if value in forms else 0.0


def _integer(text: str) -> int:
    """Read an integer in scientific notation, without rounding."""
    digits, _, exponent = text.partition("e")
    whole, _, fraction = digits.partition(".")
    zeros = int(exponent or 0) - len(fraction)
    return int(whole + fraction) * 10**zeros if zeros >= 0 else -1


def to_flags(cells: pd.Series, label: str) -> pd.Series:
    """Convert true and false, as JSON, text or 0 and 1, to nullable booleans."""
    flags = [None if c is None else FLAGS.get(str(c).strip().lower()) for c in cells]
    values = pd.Series(flags, dtype="boolean")
    refuse(values.isna() & cells.notna(), cells, label, "true or false")
    return values


def numbers_of(cells: pd.Series) -> pd.Series:
    """Read numbers and their text; what is none, booleans among it, becomes NaN."""
    if cells.dtype.kind in "iuf":
        return cells.astype(float)
    try:  # at once, if all are numbers
        kinds = set(map(type, cells))
        if kinds <= {int, float, type(None)}:
            return cells.astype(float)
        if kinds == {str} and not any("_" in c for c in cells):  # Python reads 1_000
            return pd.Series(list(map(float, cells)), index=cells.index)
    except (OverflowError, ValueError):
        pass
    return pd.Series([_number(c) for c in cells], index=cells.index, dtype=float)


def _number(cell: Any) -> float:
    if isinstance(cell, str):
        if "_" in cell:
            return nan
    elif cell is None or isinstance(cell, bool | np.bool_):
        return nan
    try:
        return float(cell)
    except OverflowError:
        return float("inf")
    except (TypeError, ValueError):
        return nan


def to_sizes(cells: pd.Series, label: str) -> pd.Series:
    """Convert durations and image sizes to floats."""
    values = numbers_of(cells)
    bad = (values.isna() & cells.notna()) | (values < 0) | np.isinf(values)
    refuse(bad, cells, label, "a finite number that is not negative")
    return values


def to_counts(
    cells: pd.Series,
    label: str,
    impossible: Callable[[NDArray[np.bool_]], None] | None = None,
) -> pd.Series:
    """Convert counts to floats, among them those the platform rounds ("304.9K").

    With `impossible`, numbers below 0 or beyond what floats count become NaN, and it is
    told which; without, they are refused.
    """
    values = numbers_of(cells)
    unread = values.isna() & cells.notna()
    for row in np.flatnonzero(unread).tolist():
        cell = cells.iloc[row]
        match = ROUNDED.fullmatch(cell) if isinstance(cell, str) else None
        if match:
            number = float(match[1]) * UNITS[match[2].upper()]
            values.iloc[row] = float(round(number)) if isfinite(number) else nan
    if impossible is not None:
        bad = (values < 0) | ((values > EXACT) & np.isfinite(values))
        impossible(bad.to_numpy())
        cells, values = cells.mask(bad, None), values.mask(bad)
    bad = (values.isna() & cells.notna()) | (values < 0) | (values % 1 != 0)
    bad &= cells.notna()  # NaN % 1 != 0
    refuse(bad, cells, label, 'a whole number from 0, or a rounded one like "304.9K"')
    return values


def read_counts(values: pd.Series, label: str) -> NDArray[np.float64]:
    """Read a column of any type as counts, missing ones as NaN."""
    return to_counts(plain_cells(values), label).to_numpy(dtype=np.float64)


def to_times(cells: pd.Series, label: str) -> pd.Series:
    """Convert Unix seconds, ISO 8601 text and times to UTC without a time zone."""
    seconds = numbers_of(cells)
    refuse(
        seconds > MILLISECONDS,
        cells,
        label,
        "in Unix seconds, and this can only be milliseconds: divide the column by 1000",
    )
    first, last = FIRST_TIME.timestamp(), LAST_TIME.timestamp()
    known = seconds.where((seconds >= first) & (seconds < last))
    times = pd.to_datetime(known, unit="s").astype("datetime64[us]")
    others = cells[seconds.isna() & cells.notna()].map(_date_text)
    stamps = pd.to_datetime(others, format="ISO8601", utc=True, errors="coerce")
    times[others.index] = stamps.dt.tz_localize(None).astype("datetime64[us]")
    refuse(
        ~((times >= FIRST_TIME) & (times < LAST_TIME)) & cells.notna(),
        cells,
        label,
        f"a time from {FIRST_TIME:%Y} to {LAST_TIME.year - 1}, in Unix seconds or as "
        "ISO 8601 text (2024-05-01 09:30): give the column that format, read it by "
        "pandas.to_datetime(column, format=...), or drop these videos",
    )
    return times


def _date_text(cell: Any) -> str | None:
    """Return a time as text; pandas would read "now", and "2020-12" as a day."""
    text = str(cell) if not isinstance(cell, list | dict | bool) else ""
    return text if DATE.match(text) and text.isascii() else None


def has_zone(text: Any) -> bool:
    """Tell whether the text of a time ends in Z or in an offset."""
    return bool(re.search(r"(Z|[+-]\d\d(:?\d\d)?)\s*$", str(text)[10:]))


CONVERTERS: dict[str, Callable[[pd.Series, str], pd.Series]] = {
    "id": to_ids,
    "time": to_times,
    "text": to_text,
    "flag": to_flags,
    "count": to_counts,
    "size": to_sizes,
}


def to_tags(
    cells: pd.Series, column: str, source: str, *, partial: bool = False
) -> list[list[str]]:
    """Convert lists of names or dicts, or their text, to clean lists of names.

    `source` is the field, and behind "[]." the key of the name. In a `partial` list,
    some dicts are no tags and lack it.
    """
    key = source.partition("[].")[2]
    lists: list[list[str]] = []
    reasons: dict[int, str] = {}
    for row, cell in enumerate(cells):
        try:
            items = _as_list(cell, column)
            names = [_name(item, key, partial) for item in items]
            lists.append(_clean(names, SIGNS[column]) if names else names)
        except (ValueError, SyntaxError, TypeError) as error:
            lists.append([])
            reasons[row] = str(error)
    if reasons:
        first = next(iter(reasons))
        rule = (
            f"{column} ({source}) must be a list, the JSON or Python text of one, R's, "
            "or text parted by commas"
        )
        raise CellError(
            f"{rule}. Row {first} (the first is 0) holds {short(cells.iloc[first])}: "
            f"{reasons[first]}. Rows like it: {len(reasons)} in all.",
            np.array(list(reasons)),
            rule,
        )
    return lists


def tags_in_captions(captions: pd.Series, column: str) -> list[list[str]]:
    """Return the hashtags or mentions that each caption spells out."""
    lists: list[list[str]] = []
    last: Any = None
    for caption in captions:  # a small file may hold a long one a million times
        if caption is last and lists:
            lists.append(lists[-1].copy())
            continue
        last = caption
        names = IN_CAPTION[column].findall(str(caption or ""))
        lists.append(_clean(names, SIGNS[column]))
    return lists


def _as_list(cell: Any, column: str) -> list[Any]:
    if isinstance(cell, list | tuple | np.ndarray):
        return list(cell)
    if isinstance(cell, set | frozenset):
        return sorted(cell, key=str)
    if cell is None or cell != cell:  # NaN
        return []
    if not isinstance(cell, str):
        raise TypeError(f"{type(cell).__name__} is not a list")
    text = cell.strip()
    if text in NULLS:
        return []
    call = CALL.fullmatch(text)
    if call is None and text[0] not in OPENERS:
        names = SEPARATORS[column].split(text)
        if column != "effect_stickers" and any(map(CODE.search, names)):
            raise ValueError("it is a spelling of lists that is not known")
        return names
    body = call[2].strip() if call else text
    if not body:  # set(), character(0)
        return []
    if call and call[1] == "character":
        body = "" if body == "0" else body
    return _literal(body, column) if body else []


def _literal(text: str, column: str) -> list[Any]:
    """Read a list, tuple or set, or what stands in one."""
    if text[0] not in OPENERS or text[-1] != OPENERS[text[0]]:
        text = f"[{text}]"
    try:
        items = json.loads(text)
    except json.JSONDecodeError:
        items = python_text(text)
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is nested too deeply") from error
    if isinstance(items, str | int):  # ("a") is no tuple
        items = [items]
    if not isinstance(items, list | tuple | set):
        raise TypeError(f"{type(items).__name__} is not a list")
    return list(items) if not isinstance(items, set) else sorted(items, key=str)


def python_text(text: str) -> Any:
    """Read what Python prints of lists, dicts, sets, texts and numbers.

    Raises
    ------
    ValueError, SyntaxError, TypeError
        If it is anything else.
    """
    outside = STRING.sub(lambda m: "\0" if m[0][0] in "\"'" else m[0], text)
    if NO_COMMA.search(outside):  # Python reads ['a' 'b'] as ['ab']
        raise ValueError("the text of a NumPy array has no commas; save lists instead")
    if not PLAIN.fullmatch(outside) or ESCAPE.search(text):
        raise ValueError("it is a spelling of lists that is not known")
    try:
        return ast.literal_eval(text)
    except (RecursionError, MemoryError) as error:
        raise ValueError("it is nested too deeply") from error


def _name(item: Any, key: str, partial: bool) -> str:
    if isinstance(item, dict):
        if key not in item and not partial:
            raise ValueError(f"it has no {key!r}")
        item = item.get(key)
    if isinstance(item, str):
        return item
    if is_missing(item):
        return ""
    if isinstance(item, int) and not isinstance(item, bool):
        return short(item)
    raise TypeError(f"{type(item).__name__} is not a name")


def _clean(names: list[str], sign: str) -> list[str]:
    """Strip spaces and leading signs; drop blanks and repetitions, keep the order.

    Of names that look the same, the first stays as it is spelt.
    """
    forms: dict[str, str] = {}
    for name in names:
        bare = name.strip().lstrip(sign).strip()
        if bare.isascii():
            forms.setdefault(bare, bare)
        else:
            bare = encodable(bare)
            forms.setdefault(same_text(bare).strip(), bare)
    forms.pop("", None)
    return list(forms.values())


def encodable(text: str) -> str:
    """Replace lone surrogates, which exports that cut captions hold, by "?"."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text
