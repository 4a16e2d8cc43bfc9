"""From the cells of a TikTok export to typed columns.

A cell is a plain Python object: number, text, time, list, dict, or None where the
export holds nothing. `label` names the column and its source in error messages.
"""

import ast
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skchallenge._table import is_missing

FIRST_TIME = pd.Timestamp("2014-01-01")  # musical.ly, which became TikTok
LAST_TIME = pd.Timestamp("2100-01-01")
MILLISECONDS = 1e11  # read as seconds, the year 5138
NULLS = {"", "nan", "NaN", "NA", "N/A", "<NA>", "null", "NULL", "None"}
UNITS = {"K": 1e3, "M": 1e6, "B": 1e9}
ROUNDED = r"^\s*(\d+(?:\.\d+)?)\s?([KMBkmb])\s*$"  # 304.9K
FLOAT_ID = re.compile(r"\d+\.\d*(e\+?\d+)?|\d+e\+\d+", re.IGNORECASE)  # 6.8e+18
FLAGS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
NUMPY_LIST = re.compile(r"""['"]\s+['"]""")  # ['a' 'b']: Python reads it as ['ab']
SEPARATORS = {
    "hashtags": re.compile(r"[,;|\s]+"),
    "mentions": re.compile(r"[,;|\s]+"),
    "effect_stickers": re.compile(r","),  # their names have spaces
}
SIGNS = {"hashtags": "#\uff03", "mentions": "@", "effect_stickers": ""}
IN_CAPTION = {
    # A hashtag ends at a space or at punctuation other than the underscore.
    "hashtags": re.compile(
        r"[#\uff03]([^\s!-/:-@\[-^`{-~\u3001-\u303f\uff00-\uff0f]+)"
    ),
    "mentions": re.compile(r"@([\w.]*\w)"),
}
TEXT = pd.Series(["a"]).dtype  # object in pandas 2, str in pandas 3


def refuse(bad: Any, cells: pd.Series, label: str, rule: str) -> None:
    """Raise a ValueError that shows the first bad row, if there is any."""
    rows = np.flatnonzero(bad)
    if len(rows):
        cell = cells.iloc[rows[0]]
        plain = cell.item() if isinstance(cell, np.generic) else cell
        raise ValueError(
            f"{label} must be {rule}. Row {rows[0]} (the first is 0) holds "
            f"{plain!r:.80}; rows like it: {rows[:5].tolist()}"
            f"{' ...' if len(rows) > 5 else ''}, {len(rows)} in all."
        )


def plain_cells(values: pd.Series) -> pd.Series:
    """Return cells as Python objects, None where nothing is; plain floats stay."""
    if values.dtype.kind in "iuf" and isinstance(values.dtype, np.dtype):
        return values.reset_index(drop=True).astype(float)
    cells = [None if is_missing(cell) else cell for cell in values.tolist()]
    return pd.Series(cells, dtype=object)


def first_filled(columns: list[pd.Series], n_rows: int, kind: str) -> pd.Series:
    """Return per row the first cell that holds something, else None."""
    filled = pd.Series([None] * n_rows, dtype=object)
    nulls = {""} if kind == "text" else NULLS  # a caption may well be "None"
    for column in columns:
        cells = [
            None if isinstance(c, str) and c.strip() in nulls else c for c in column
        ]
        filled = filled.where(filled.notna(), pd.Series(cells, dtype=object))
    return filled.where(filled.notna(), None)


def to_text(cells: pd.Series, label: str) -> pd.Series:
    """Convert scalars to strings."""
    refuse([isinstance(c, (list, dict)) for c in cells], cells, label, "text")
    texts = [None if c is None else _encodable(str(c)) for c in cells]
    return pd.Series(texts, dtype=object).astype(TEXT)


def to_ids(cells: pd.Series, label: str) -> pd.Series:
    """Convert ids to strings; floats have lost an id's last digits."""
    is_float = [FLOAT_ID.fullmatch(str(c).strip()) is not None for c in cells]
    refuse(
        is_float,
        cells,
        label,
        "text or an integer; a float has lost the last digits, so export the ids again",
    )
    stripped = [c.strip() if isinstance(c, str) else c for c in cells]
    return to_text(pd.Series(stripped, dtype=object), label)


def to_flags(cells: pd.Series, label: str) -> pd.Series:
    """Convert true and false, as JSON, text or 0 and 1, to nullable booleans."""
    flags = [None if c is None else FLAGS.get(str(c).strip().lower()) for c in cells]
    values = pd.Series(flags, dtype="boolean")
    refuse(values.isna() & cells.notna(), cells, label, "true or false")
    return values


def _numbers(cells: pd.Series) -> pd.Series:
    """Read numbers and their text; what is none, booleans among it, becomes NaN."""
    is_flag = np.array([isinstance(c, bool) for c in cells], dtype=bool)
    plain = cells.mask(is_flag, None)
    return pd.to_numeric(plain, errors="coerce").astype(float)


def to_sizes(cells: pd.Series, label: str) -> pd.Series:
    """Convert durations and image sizes to floats."""
    values = _numbers(cells)
    bad = (values.isna() & cells.notna()) | (values < 0) | np.isinf(values)
    refuse(bad, cells, label, "a finite number that is not negative")
    return values


def to_counts(cells: pd.Series, label: str) -> pd.Series:
    """Convert counts to floats, among them those the platform rounds ("304.9K")."""
    values = _numbers(cells)
    unread = values.isna() & cells.notna()
    parts = cells[unread].astype(str).str.extract(ROUNDED)
    rounded = parts[0].astype(float) * parts[1].str.upper().map(UNITS).astype(float)
    values[unread] = rounded.round()
    bad = (values.isna() & cells.notna()) | (values < 0) | (values % 1 != 0)
    bad &= cells.notna()  # NaN % 1 != 0
    refuse(bad, cells, label, 'a whole number from 0, or a rounded one like "304.9K"')
    return values


def read_counts(values: pd.Series, label: str) -> NDArray[np.float64]:
    """Read a column of any type as counts, missing ones as NaN."""
    return to_counts(plain_cells(values), label).to_numpy(dtype=np.float64)


def to_times(cells: pd.Series, label: str) -> pd.Series:
    """Convert Unix seconds, ISO 8601 text and times to UTC without a time zone."""
    seconds = _numbers(cells)
    refuse(
        seconds > MILLISECONDS,
        cells,
        label,
        "in Unix seconds, and this can only be milliseconds: divide the column by 1000",
    )
    first, last = FIRST_TIME.timestamp(), LAST_TIME.timestamp()
    known = seconds.where((seconds >= first) & (seconds < last))
    times = pd.to_datetime(known, unit="s").astype("datetime64[us]")
    others = cells[seconds.isna() & cells.notna()].astype(str)
    stamps = pd.to_datetime(others, format="ISO8601", utc=True, errors="coerce")
    times[others.index] = stamps.dt.tz_localize(None).astype("datetime64[us]")
    refuse(
        ~((times >= FIRST_TIME) & (times < LAST_TIME)) & cells.notna(),
        cells,
        label,
        f"a time from {FIRST_TIME:%Y} to {LAST_TIME.year - 1}, in Unix seconds or as "
        "ISO 8601 text: repair the column or drop these videos",
    )
    return times


CONVERTERS: dict[str, Callable[[pd.Series, str], pd.Series]] = {
    "id": to_ids,
    "time": to_times,
    "text": to_text,
    "flag": to_flags,
    "count": to_counts,
    "size": to_sizes,
}


def to_tags(cells: pd.Series, column: str, source: str) -> list[list[str]]:
    """Convert lists of names or dicts, or their text, to clean lists of names."""
    field, _, key = source.partition("[].")
    partial = field == "textExtra"  # it mixes hashtags with mentions
    lists = []
    for row, cell in enumerate(cells):
        try:
            items = _as_list(cell, SEPARATORS[column])
            names = [_name(item, key, partial) for item in items]
            lists.append(_clean(names, SIGNS[column]))
        except (ValueError, SyntaxError, TypeError) as error:
            raise ValueError(
                f"{column} ({source}) must be a list, the JSON or Python text of one, "
                f"or text parted by commas. Row {row} (the first is 0) holds "
                f"{cell!r:.80}: {error}."
            ) from error
    return lists


def tags_in_captions(captions: pd.Series, column: str) -> list[list[str]]:
    """Return the hashtags or mentions that each caption spells out."""
    spelled = [IN_CAPTION[column].findall(str(c or "")) for c in captions]
    return [_clean(names, SIGNS[column]) for names in spelled]


def _as_list(cell: Any, separator: re.Pattern[str]) -> list[Any]:
    if isinstance(cell, list):
        return cell
    if cell is None or cell != cell:  # NaN
        return []
    if not isinstance(cell, str):
        raise TypeError(f"{type(cell).__name__} is not a list")
    if cell.strip() in NULLS:
        return []
    if not cell.lstrip().startswith("["):
        return separator.split(cell)
    try:
        return json.loads(cell)
    except json.JSONDecodeError:
        items = ast.literal_eval(cell.strip())
    if NUMPY_LIST.search(cell) and all(isinstance(item, str) for item in items):
        raise ValueError("the text of a NumPy array has no commas; save lists instead")
    return items


def _name(item: Any, key: str, partial: bool) -> str:
    if isinstance(item, dict) and key not in item and not partial:
        raise ValueError(f"it has no {key!r}")
    name = item.get(key) if isinstance(item, dict) else item
    if isinstance(name, (list, dict)):
        raise TypeError(f"{type(name).__name__} is not a name")
    return "" if pd.isna(name) else str(name)


def _clean(names: list[str], sign: str) -> list[str]:
    """Strip spaces and leading signs; drop blanks and repetitions, keep the order."""
    stripped = (_encodable(name).strip().lstrip(sign).strip() for name in names)
    return list(dict.fromkeys(filter(None, stripped)))


def _encodable(text: str) -> str:
    """Replace lone surrogates, which exports that cut captions hold, by "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")
