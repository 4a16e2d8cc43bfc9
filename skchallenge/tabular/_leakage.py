"""Find columns of unknown origin that tell a virality label."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from skchallenge._warn import warn
from skchallenge.exceptions import LeakageWarning

SUSPICIOUS_AUC = 0.95
FEWEST_ROWS = 1000
_MOST_ROWS = 5000  # enough for a standard error of the AUC of 0.003
_FOLDS = 3
# Of two normal classes an AUC of 0.95 takes a distance d' of 2.33, and so an R2 of
# d'^2 p q / (1 + d'^2 p q). Columns that fall short of most of it are not tried.
_DISTANCE = 2.33
_SHARE_OF_R2 = 0.75

Matrix = NDArray[np.float64]


def warn_if_leaking(
    table: pd.DataFrame, y: ArrayLike, roles: Mapping[str, str]
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

    Warns
    -----
    LeakageWarning
        If a column is suspicious. The message names all of them.
    """
    y = np.asarray(y)
    if len(table) < FEWEST_ROWS or y.size != len(table):
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
        warn(
            f"Together with {parts}, these columns of X tell y almost exactly: "
            f"{listed}. Are they counted after the video was posted? Drop them, or "
            "give them a name that column_roles knows and list it in nowcast=.",
            LeakageWarning,
        )


def _suspicious(
    base: Matrix, columns: Matrix, y: NDArray[np.intp], names: list[Any]
) -> dict[Any, float]:
    """Return the AUC of each column that tells y together with the base."""
    signal = _DISTANCE**2 * y.mean() * (1 - y.mean())
    least = _SHARE_OF_R2 * signal / (1 + signal)
    likely = np.flatnonzero(_explained(base, columns, y) >= least)
    if not len(likely) or _auc(base, y) >= SUSPICIOUS_AUC:
        return {}  # the base alone tells y: no column can be blamed
    aucs = {names[j]: _auc(np.hstack([base, columns[:, [j]]]), y) for j in likely}
    return {name: auc for name, auc in aucs.items() if auc >= SUSPICIOUS_AUC}


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
