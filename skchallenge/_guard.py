"""The guard against leaks: what each column may be used for, by its name and by y.

`check_roles` and `check_table` refuse columns whose name says that they are not known
in time; `warn_if_leaking` looks for columns that tell the label by what they hold.
"""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pandas.api.types import infer_dtype
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from skchallenge._grammar import counter_in, counters_in, is_posting_time
from skchallenge._parse import plain_cells, read_counts
from skchallenge._schema import COLUMNS, REPEATED, Role, canonical_name, plain
from skchallenge.exceptions import LeakageError, LeakageWarning

# What MetadataFeaturizer and SentimentFeaturizer make of a column: known as soon as the
# column is, but for the parts of a time that say nothing about the age of the video.
_DERIVED = re.compile(
    r"(?P<base>.+)_"
    r"(?P<made>length|count|(hour|weekday)_(sin|cos)|compound|pos|neu|neg)"
)
_SUSPICIOUS_AUC = 0.95
_FEWEST_ROWS = 1000
_MOST_ROWS = 5000  # enough for a standard error of the AUC of 0.003
_FOLDS = 3
# Of two normal classes an AUC of 0.95 takes a distance d' of 2.33, and so an R2 of
# d'^2 p q / (1 + d'^2 p q). Columns that fall short of most of it are not tried.
_DISTANCE = 2.33
_R2_FRACTION = 0.75

# Rank cannot tell more: on real exports likes agree with views by .85 to .98, and what
# is known of a creator's earlier videos by .90.
COPY = 0.99
_FEWEST_RANKED = 20
_FEWEST_UNLIKE = 5  # values that are not the most frequent one
_READABLE = {"string", "integer", "floating", "mixed-integer-float", "boolean"}
_JUDGED = ("unknown", "pre_post", "scrape_aggregate")

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

_WHY: dict[Role, str] = {
    "post_outcome": "it is counted after the video was posted",
    "exposure": (
        "it tells how long the video has been seen, not what it is; MetadataFeaturizer "
        "makes the hour and the weekday of a create_time"
    ),
}


def column_roles(columns: Iterable[str]) -> dict[str, Role]:
    """Say what each column of an export may be used for.

    Parameters
    ----------
    columns : iterable of str, or pandas or polars DataFrame
        Names of columns: those of `load_tiktok_export`, or those of the known
        scrapers, such as ``"diggCount"`` or ``"stats.diggCount"``. Prefixes that a
        ColumnTransformer adds (``"remainder__n_likes"``), case and punctuation do not
        matter. Counts, followers, measures of watching and times of posting are also
        read word by word, in a dozen languages, such as ``"total_views"``,
        ``"likes_24h"``, ``"Aufrufe"``, ``"avg_watch_time"`` or ``"video_timestamp"``; a
        name with any word that is none of counting, such as ``"view_angle"`` or
        ``"followers_at_posting"``, is no count. What `MetadataFeaturizer` and
        `SentimentFeaturizer` make of a column, such as ``"caption_length"``, has the
        role of the column; but the hour and the weekday of a time are ``pre_post``.

    Returns
    -------
    roles : dict of str to str
        One role a column, in the given order:

        ====================  ========================================================
        role                  meaning
        ====================  ========================================================
        ``pre_post``          known when the video is posted: caption, tags, sound,
                              picture, length
        ``label_part``        half of the label: followers, where the label is views
                              per follower
        ``post_outcome``      counted after posting: views, likes, comments, shares,
                              how long they were watched
        ``scrape_aggregate``  about the user, as of the scrape: it sums up later videos
                              and this one
        ``exposure``          how long the video has been online: raw time of posting,
                              video ids (their upper half is that time) and addresses
        ``unknown``           any other name
        ====================  ========================================================

    Raises
    ------
    TypeError
        If `columns` is one string.

    See Also
    --------
    MetadataFeaturizer : Refuses columns by their role.
    skchallenge.exceptions.LeakageError : What it raises.

    Examples
    --------
    >>> from skchallenge.tabular import column_roles
    >>> column_roles(["text", "authorMeta.fans", "remainder__diggCount", "my_column"])
    {'text': 'pre_post', 'authorMeta.fans': 'label_part',
     'remainder__diggCount': 'post_outcome', 'my_column': 'unknown'}
    """
    if isinstance(columns, str):  # its letters are no names
        raise TypeError(f"columns must hold names, got the text {columns!r}.")
    names = getattr(columns, "columns", columns)  # iterating polars gives its columns
    return {column: _role(column) for column in names}


def check_roles(columns: Iterable[str], nowcast: Iterable[str] = ()) -> dict[str, Role]:
    """Return the role of each column; refuse those that are not known in time.

    Parameters
    ----------
    columns : iterable of str
        Names of columns, see `column_roles`.
    nowcast : iterable of str, default=()
        Columns that are let through all the same, see `check_nowcast`.

    Raises
    ------
    LeakageError
        If a column that `nowcast` does not list is a ``post_outcome`` or ``exposure``.
    """
    roles = column_roles(columns)
    allowed = {_identity(name) for name in nowcast}
    refused = [c for c in roles if roles[c] in _WHY and _identity(c) not in allowed]
    if refused:
        first = refused[0]
        more = f" So must {refused[1:]}." if refused[1:] else ""
        raise LeakageError(
            f"X has the column {first!r} ({_origin(first)[0]}), whose role is "
            f"{roles[first]!r}: {_WHY[roles[first]]}. Drop it.{more} To describe "
            "videos that are online rather than predict, pass "
            f"nowcast={tuple(refused)!r}."
        )
    return roles


def check_nowcast(nowcast: str | Iterable[str], columns: Iterable[str]) -> list[str]:
    """Return the names that `nowcast` lists; each must be a column of X.

    Parameters
    ----------
    nowcast : str or iterable of str
        Any known names of columns.
    columns : iterable of str
        The columns of X. If there are none, X has no names and nothing is compared.

    Raises
    ------
    TypeError
        If `nowcast` holds other things than strings.
    ValueError
        If X has no such column.
    """
    names = [nowcast] if isinstance(nowcast, str) else list(nowcast)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"nowcast must hold names of columns, got {names!r}.")
    columns = list(columns)
    present = {_identity(column) for column in columns}
    absent = [name for name in names if _identity(name) not in present]
    if columns and absent:
        raise ValueError(
            f"nowcast must hold names of columns of X, but {absent} are none of "
            f"{columns}, under any known name. Correct or remove them."
        )
    return names


def _role(column: str) -> Role:
    base, made = _origin(column)
    if base == "create_time" and made.startswith(("hour", "weekday")):
        return "pre_post"
    return "unknown" if base is None else COLUMNS[base].role


def _origin(column: str) -> tuple[str | None, str]:
    """Return the known column that this one is or is made of, and what is made."""
    canonical = canonical_name(column)
    derived = None if canonical else _DERIVED.fullmatch(REPEATED.sub("", str(column)))
    base = derived and canonical_name(derived["base"])
    if derived and base:
        return base, derived["made"]
    time = "create_time" if is_posting_time(column) else None
    return canonical or counter_in(column) or time, ""


def _identity(column: str) -> str:
    """Return what two names of one column share.

    A ratio is none of its counts: whoever lets comments through has not let through
    comments per view, which tell the views. Scores that are made of any counts, the
    label among them, go by their own names.
    """
    base = _origin(column)[0]
    if base and base != "virality" and len(counters_in(column)) < 2:
        return base
    return plain(REPEATED.sub("", str(column).rpartition("__")[2]))


def check_table(
    table: pd.DataFrame, nowcast: Iterable[str] = (), *, times: bool = True
) -> dict[str, Role]:
    """Return the role of each column of a table; refuse what a model may read too soon.

    Outcomes are refused whatever they hold. Ids and times only as numbers, which a
    model reads as they are; of others a later step has to make something, such as the
    hour of posting. Without `times` they all pass.

    Raises
    ------
    LeakageError
        As `check_roles` does.
    """
    roles = column_roles(table.columns)
    passing = [
        column
        for column in roles
        if roles[column] == "exposure"
        and not (times and pd.api.types.is_numeric_dtype(table[column].dtype))
    ]
    check_roles([c for c in roles if c not in passing], nowcast)
    return roles


_named: ContextVar[set[str] | None] = ContextVar("named", default=None)


@contextmanager
def name_once() -> Iterator[None]:
    """Let `warn_if_leaking` name a column once, however many folds look at it."""
    token = _named.set(set())
    try:
        yield
    finally:
        _named.reset(token)


def warn_if_leaking(
    table: pd.DataFrame,
    y: ArrayLike,
    roles: Mapping[str, str],
    stacklevel: int = 2,
    *,
    parts: Mapping[str, ArrayLike] | None = None,
    nowcast: Iterable[str] = (),
) -> None:
    """Warn once of columns that give the label away, whatever their names.

    A column is looked at in three ways, each only where there is what it needs:

    - beside `parts`, what the label is made of: a renamed copy of the views, or any
      function of it that never falls, or never rises, has their order;
    - beside y: so has a copy of the label, or of what alone decides it;
    - beside y and columns that are part of the label. Views per follower cannot be
      told from followers alone; followers and a renamed copy of the views, or of the
      likes, tell it exactly. If a cross-validated logistic regression of their ranks
      reaches an AUC of 0.95, it is no honest forecast.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_samples, n_features)
        Columns that hold no numbers are left out.
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Labels. They are looked at only if there are two classes and at least 1,000
        rows, and no class is too rare to be tried; nor if y has several columns.
    roles : mapping of str to str
        As `column_roles` returns.
    stacklevel : int, default=2
        Whose line the warning names, as of `warnings.warn`: 2 is that of the call.
    parts : mapping of str to array-like of shape (n_samples,) or None, default=None
        Numbers that the label is made of, by name.
    nowcast : iterable of str, default=()
        Columns that are let through, see `check_nowcast`.

    Warns
    -----
    LeakageWarning
        If a column is suspicious. The message names all of them.
    """
    allowed = {_identity(name) for name in nowcast}
    judged = {
        column: read_number_cells(table[column])
        for column in list(roles)
        if roles[column] in _JUDGED and _identity(column) not in allowed
    }
    judged = {name: v for name, v in judged.items() if _has_values(v)}
    found: dict[Any, str] = {}
    for part, values in (parts or {}).items():
        known = np.asarray(values, dtype=float)
        for name, numbers in judged.items():
            if abs(rank_agreement(numbers, known)) >= COPY:
                found.setdefault(name, f"has the order of {part}")
    y = np.asarray(y)
    if len(table) >= _FEWEST_ROWS and y.size == len(table):
        for name, why in _telling_y(table, judged, y.ravel(), roles).items():
            found.setdefault(name, why)
    named = _named.get()
    if named is not None:
        found = {name: why for name, why in found.items() if _bare(name) not in named}
        named |= set(map(_bare, found))
    if found:
        listed = "; ".join(f"{name!r} {why}" for name, why in found.items())
        warnings.warn(
            f"X has columns that give the label away: {listed}. Are they counted after "
            "the video was posted? Drop them; or, to describe videos that are online "
            "rather than predict, list them in nowcast=.",
            LeakageWarning,
            stacklevel=stacklevel,
        )


def rank_agreement(x: Vector, part: Vector) -> float:
    """Return how far one column has the order of another, from -1 to 1.

    The covariance of the ranks over the largest that these ranks could have. So it is 1
    for any function of `part` that never falls, steps included, for which a correlation
    would be less. It is 0 where too little is known.
    """
    known = ~(np.isnan(x) | np.isnan(part))
    x, part = rankdata(x[known]), rankdata(part[known])
    if len(x) < _FEWEST_RANKED or min(map(_n_unlike, (x, part))) < _FEWEST_UNLIKE:
        return 0.0
    x, part = x - x.mean(), part - part.mean()
    covariance = x @ part
    x, part = np.sort(x), np.sort(part)
    return float(covariance / (x @ part if covariance > 0 else -(x @ part[::-1])))


def read_number_cells(values: "pd.Series[Any]") -> Vector:
    """Return a column as floats, NaN where a cell is no number; counts may be text."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        if pd.api.types.is_complex_dtype(values.dtype):
            return np.full(len(values), np.nan)
        return values.to_numpy(dtype=float, na_value=np.nan)
    cells = plain_cells(values)
    if infer_dtype(cells, skipna=True) not in _READABLE:
        return np.full(len(values), np.nan)
    try:
        return read_counts(cells, str(values.name))
    except ValueError:  # one cell is no count
        return np.asarray(pd.to_numeric(cells, errors="coerce"), dtype=float)


def _has_values(numbers: Vector) -> bool:
    return bool(np.isfinite(numbers).any() and np.nanmin(numbers) < np.nanmax(numbers))


def _n_unlike(ranks: Vector) -> int:
    """Return how many values differ from the most frequent one."""
    return len(ranks) - int(np.unique(ranks, return_counts=True)[1].max())


def _bare(name: Any) -> str:
    return REPEATED.sub("", str(name).rpartition("__")[2])


def _telling_y(
    table: pd.DataFrame,
    judged: Mapping[Any, Vector],
    y: NDArray[Any],
    roles: Mapping[str, str],
) -> dict[Any, str]:
    """Say of columns why they tell y, alone or beside what is part of the label."""
    rows = _some_rows(len(table))
    labels = _two_classes(y[rows])
    names = [name for name in judged if roles[name] != "scrape_aggregate"]
    if labels is None or not names:
        return {}
    columns = _scores([judged[name][rows] for name in names])
    ordered = np.abs(2 * _rank_auc(columns, labels) - 1) >= COPY
    alone = {names[j]: "has the order of y" for j in np.flatnonzero(ordered)}
    beside = [c for c in roles if roles[c] == "label_part"]
    values = [read_number_cells(table[c])[rows] for c in beside]
    base = _scores([v for v in values if _has_values(v)])
    unknown = [j for j, name in enumerate(names) if roles[name] == "unknown"]
    if not base.shape[1] or not unknown:
        return alone
    tried = [names[j] for j in unknown]
    aucs = _suspicious(base, columns[:, unknown], labels, tried)
    return dict.fromkeys(aucs, f"tells y together with {beside}") | alone


def _suspicious(
    base: Matrix, columns: Matrix, y: NDArray[np.intp], names: list[Any]
) -> dict[Any, float]:
    """Return the AUC of each column that tells y together with the base."""
    signal = _DISTANCE**2 * y.mean() * (1 - y.mean())
    least = _R2_FRACTION * signal / (1 + signal)
    likely = np.flatnonzero(_explained(base, columns, y) >= least)
    if not len(likely) or _auc(base, y) >= _SUSPICIOUS_AUC:
        return {}  # the base alone tells y: no column can be blamed
    aucs = {names[j]: _auc(np.hstack([base, columns[:, [j]]]), y) for j in likely}
    return {name: auc for name, auc in aucs.items() if auc >= _SUSPICIOUS_AUC}


def _rank_auc(columns: Matrix, y: NDArray[np.intp]) -> Vector:
    """Return the AUC of each column, from the sum of the ranks of the ones."""
    n_ones = int(y.sum())
    above = rankdata(columns, axis=0)[y == 1].sum(axis=0) - n_ones * (n_ones + 1) / 2
    return above / (n_ones * (len(y) - n_ones))


def _two_classes(y: NDArray[Any]) -> NDArray[np.intp] | None:
    """Return y as 0 and 1, None if it has other classes or one with too few rows.

    A missing label is one too many; the classifier has a better error for it.
    """
    labels, classes = pd.factorize(y, sort=True)
    if len(classes) != 2 or (labels < 0).any():
        return None
    return labels if np.bincount(labels).min() >= _FOLDS else None


def _some_rows(n_rows: int) -> NDArray[np.intp]:
    return np.random.default_rng(0).permutation(n_rows)[:_MOST_ROWS]


def _scores(columns: list[Vector]) -> Matrix:
    """Turn columns into normal scores of their ranks; missing values are central.

    A ratio of two counts is a difference of their logarithms; ranks of heavy-tailed
    counts come close to that, whether or not the logarithm was taken already.
    """
    if not columns:
        return np.empty((0, 0))
    values = np.column_stack(columns)
    missing = np.isnan(values)
    ranks = rankdata(values, axis=0, nan_policy="omit")
    scores = ndtri((ranks - 0.5) / np.maximum((~missing).sum(axis=0), 1))
    return np.where(missing, 0.0, scores)


def _explained(base: Matrix, columns: Matrix, y: NDArray[np.intp]) -> Matrix:
    """Return R2 of the linear regression of y on the base and each column."""
    base = np.column_stack([np.ones(len(base)), base])
    target = y - y.mean()
    basis, _ = np.linalg.qr(base)
    left = target - basis @ (basis.T @ target)
    rest = columns - basis @ (basis.T @ columns)
    length = np.maximum((rest**2).sum(axis=0), 1e-9)
    total = target @ target
    return 1 - (left @ left - (rest.T @ left) ** 2 / length) / total


def _auc(X: Matrix, y: NDArray[np.intp]) -> float:
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    model = LogisticRegression(C=100.0)
    return float(cross_val_score(model, X, y, cv=folds, scoring="roc_auc").mean())
