"""The line that a network starts from: logistic regression with a tuned penalty."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

# Inverse strengths of the penalty on standardised columns, beside the mean loss; over
# the number of rows they are LogisticRegression's C.
STRENGTHS = (1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)
_N_FOLDS = 5
_FEW = 300  # coefficients, for which Newton's method takes a dozen quick steps


class Line:
    """Logistic regression on standardised columns.

    Parameters
    ----------
    strength : float
        Inverse strength of the penalty beside the mean loss.
    n_classes : int
        Number of classes, C. One that no row has gets logits as of less than one row.
    """

    def __init__(self, strength: float, n_classes: int) -> None:
        self.strength, self.n_classes = strength, n_classes

    def fit(self, X: Floats, target: Rows, weight: Floats) -> "Line":
        """Fit to rows (n, P), labels 0 to C - 1, and weights, all positive."""
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.average(X, axis=0, weights=weight)
            deviation = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight))
            # A column that is constant, or too large to be squared, tells nothing.
            tells = np.isfinite(deviation) & (deviation > 1e-9 * np.abs(mean))
        mean, deviation = np.where(tells, mean, 0), np.where(tells, deviation, np.inf)
        self.coefficients = np.zeros((self.n_classes, X.shape[1]))
        self.intercept = np.full(self.n_classes, -np.log(len(X) + 1))
        seen = np.unique(target)
        if len(seen) == 1:
            self.intercept[seen] = 0
            return self
        few = X.shape[1] * self.n_classes <= _FEW
        solver = "newton-cholesky" if few else "lbfgs"
        model = LogisticRegression(C=self.strength, solver=solver, max_iter=1000)
        with warnings.catch_warnings():  # nearly solved is a place to start from
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit((X - mean) / deviation, target, weight / weight.sum())
        coefficients = model.coef_ / deviation
        intercept = model.intercept_ - coefficients @ mean
        if len(seen) == 2:  # scikit-learn keeps the log-odds of the second
            coefficients = np.vstack([0 * coefficients, coefficients])
            intercept = np.append(0, intercept)
        self.coefficients[seen], self.intercept[seen] = coefficients, intercept
        return self

    def logits(self, X: Floats) -> Floats:
        """Return the logits (n, C) of rows."""
        return X @ self.coefficients.T + self.intercept


def tuned_line(
    X: Floats, target: Rows, weight: Floats, groups: list[Rows], seed: int
) -> Line:
    """Fit the line whose penalty does best on groups that it has not seen.

    Parameters
    ----------
    X : ndarray of shape (n, P)
        Columns.
    target : ndarray of shape (n,)
        Labels 0 to C - 1.
    weight : ndarray of shape (n,)
        Weights, all positive.
    groups : list of ndarray of shape (n,)
        What is held out together: one kind after the other, users and challenges for
        example. The loss of all kinds together decides.
    seed : int
        Draws the folds.
    """
    n_classes = target.max() + 1
    folds = []
    for kind in groups:
        n_folds = min(_N_FOLDS, len(np.unique(kind)))
        if n_folds > 1:
            splitter = GroupKFold(n_folds, shuffle=True, random_state=seed)
            folds += list(splitter.split(X, groups=kind))

    def loss(strength: float) -> float:
        total = 0.0
        for train, test in folds:
            line = Line(strength, n_classes)
            line.fit(X[train], target[train], weight[train])
            logits = line.logits(X[test])
            logits -= np.logaddexp.reduce(logits, axis=1, keepdims=True)
            total -= weight[test] @ logits[np.arange(len(test)), target[test]]
        return total

    best = min(STRENGTHS, key=loss) if folds else 1.0
    return Line(best, n_classes).fit(X, target, weight)
