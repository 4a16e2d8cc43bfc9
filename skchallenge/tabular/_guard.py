"""The guard against leaks: what each column may be used for, by its name and by y.

`check_roles` refuses columns whose name says that they are not known in time;
`warn_if_leaking` looks for columns of unknown name that tell the label.
"""

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from skchallenge._schema import (
    COLUMNS,
    REPEATED,
    Role,
    canonical_name,
    counter_in,
    counters_in,
    plain,
)
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
        matter. Counts and followers are also read word by word, such as
        ``"total_views"``, ``"bookmarkCount"``, ``"likes_24h"`` or ``"share"``; a name
        with any word that is none of counting, such as ``"view_angle"`` or
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
        ``post_outcome``      counted after posting: views, likes, comments, shares
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
    return canonical or counter_in(column), ""


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


def warn_if_leaking(
    table: pd.DataFrame, y: ArrayLike, roles: Mapping[str, str], stacklevel: int = 2
) -> None:
    """Warn of unknown columns that give the label away, half of it given.

    Views per follower cannot be told from followers alone; followers and a renamed
    copy of the views tell it exactly. So each numeric column of unknown role is tried
    together with the columns that are part of the label: if a cross-validated logistic
    regression of their ranks reaches an AUC of 0.95, it is no honest forecast.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_samples, n_features)
        Columns that are not numeric are left out.
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Labels. Nothing is done unless there are two classes, at least 1,000 rows, and
        a column whose role is ``label_part``; nor if y has several columns, or if a
        class is too rare to be tried.
    roles : mapping of str to str
        As `column_roles` returns.
    stacklevel : int, default=2
        Whose line the warning names, as of `warnings.warn`: 2 is that of the call.

    Warns
    -----
    LeakageWarning
        If a column is suspicious. The message names all of them.
    """
    y = np.asarray(y)
    if len(table) < _FEWEST_ROWS or y.size != len(table):
        return
    rows = _some_rows(len(table))
    labels = _two_classes(y.ravel()[rows])
    parts = _numeric(table, roles, "label_part")
    unknown = _numeric(table, roles, "unknown")
    if labels is None or not parts or not unknown:
        return
    base, columns = _scores(table[parts], rows), _scores(table[unknown], rows)
    found = _suspicious(base, columns, labels, unknown)
    if found:
        listed = ", ".join(f"{name!r} (AUC {auc:.3f})" for name, auc in found.items())
        warnings.warn(
            f"Together with {parts}, these columns of X tell y almost exactly: "
            f"{listed}. Are they counted after the video was posted? Drop them, or "
            "give them a name that column_roles knows and list it in nowcast=.",
            LeakageWarning,
            stacklevel=stacklevel,
        )


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


def _numeric(table: pd.DataFrame, roles: Mapping[str, str], role: str) -> list[Any]:
    numeric = table.select_dtypes(["number", "bool"]).columns
    return [c for c in numeric if roles[c] == role and table[c].nunique() > 1]


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


def _scores(table: pd.DataFrame, rows: NDArray[np.intp]) -> Matrix:
    """Turn columns into normal scores of their ranks; missing values are central.

    A ratio of two counts is a difference of their logarithms; ranks of heavy-tailed
    counts come close to that, whether or not the logarithm was taken already.
    """
    values = table.iloc[rows].to_numpy(dtype=float, na_value=np.nan)
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
