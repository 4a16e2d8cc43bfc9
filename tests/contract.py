"""Our own contract, for estimators whose valid input no generic check can make.

scikit-learn's checks make their own numbers; ids and paths they cannot make. Each
`check_*` takes a factory of unfitted estimators and data that the caller vouches for,
and returns the number of assertions that ran. Usage::

    n = contract.run(factory, X, y)
    assert n == 57  # or at least so many: a check that ran nothing is no check

A factory is called without arguments and returns equal estimators, seeded ones, with
`get_params`. X is a DataFrame or an array; y is None where there is none.
"""

import copy
import inspect
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pandas as pd
import polars as pl
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

METHODS = ("transform", "decision_function", "predict_proba", "predict")


class Tally:
    """Assert and count."""

    def __init__(self):
        self.n = 0

    def true(self, condition, message):
        assert condition, message
        self.n += 1

    def same(self, a, b, message):
        """Assert the same bits, type and shape."""
        a, b = np.asarray(a), np.asarray(b)
        self.true(a.dtype == b.dtype, f"{message}: {a.dtype} is not {b.dtype}")
        np.testing.assert_array_equal(a, b, err_msg=message)
        self.n += 1

    def close(self, a, b, message, rtol=1e-5, atol=1e-6):
        if np.asarray(a).dtype == object:  # texts are the same, or they are not
            self.same(a, b, message)
            return
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=message)
        self.n += 1

    def raises(self, errors, call, message):
        try:
            call()
        except errors as error:
            self.true(len(str(error)) > 10, f"{message}: the error says nothing")
        else:
            raise AssertionError(f"{message}: nothing was raised")


def run(
    factory, X, y=None, *, fit_transform=True, batch_parameter=None, skip=(), tol=1e-5
):
    """Run every check that applies and return the number of assertions.

    Parameters
    ----------
    factory : callable without arguments
        Makes an unfitted, seeded estimator.
    X, y : valid input
        At least 8 rows; a table is needed for the checks of names.
    fit_transform : bool
        Whether ``fit_transform`` promises the output of ``fit().transform()``.
    batch_parameter : str or None
        The parameter that must not change the rows of a fitted estimator.
    skip : collection of str
        Names of checks that do not apply.
    tol : float
        Relative difference that row order and batches may make; 0 where rows are
        looked up and copied.
    """
    checks = [
        *(check_params, check_fit_returns_self, check_not_fitted, check_clone),
        *(check_pickle, check_seed, check_global_state, check_input_untouched),
        *(check_refit, check_n_features, check_numpy_params),
        *(check_threads, check_configuration),
    ]
    n = sum(check(factory, X, y) for check in checks if check.__name__ not in skip)
    n += check_rows(factory, X, y, rtol=tol) if "check_rows" not in skip else 0
    if batch_parameter:
        n += check_batch_size(factory, X, y, parameter=batch_parameter, rtol=tol)
    if hasattr(X, "columns"):
        n += check_columns(factory, X, y) if "check_columns" not in skip else 0
    if hasattr(factory(), "transform"):
        checks = [check_names_out, check_set_output]
        checks += [check_fit_transform] if fit_transform else []
        n += sum(check(factory, X, y) for check in checks if check.__name__ not in skip)
    return n


def check_params(factory, X, y=None):
    """The constructor only stores; get_params and set_params are inverses."""
    tally, estimator = Tally(), factory()
    shallow = estimator.get_params(deep=False)
    named = {
        p.name
        for p in inspect.signature(type(estimator)).parameters.values()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    tally.true(set(shallow) == named, "get_params names the constructor's parameters")
    stored = set(vars(estimator)) - {"_sklearn_output_config"}  # a factory's set_output
    tally.true(stored == named, "the constructor sets nothing else")
    rebuilt = vars(type(estimator)(**shallow))
    tally.true(all(rebuilt[k] is v for k, v in shallow.items()), "stored as given")
    tally.true(estimator.set_params() is estimator, "set_params returns self")
    estimator.set_params(**shallow)
    again = estimator.get_params(deep=False)
    tally.true(
        all(again[k] is v for k, v in shallow.items()), "set_params(get_params())"
    )
    tally.raises(
        ValueError, lambda: estimator.set_params(no_such_parameter=1), "unknown name"
    )
    return tally.n


def check_fit_returns_self(factory, X, y=None):
    """Fit returns self, adds fitted attributes and leaves the parameters alone."""
    tally, estimator = Tally(), factory()
    before = dict(estimator.get_params(deep=False))
    as_text = repr(estimator)
    tally.true(_fit(estimator, X, y) is estimator, "fit returns self")
    after = estimator.get_params(deep=False)
    tally.true(all(after[k] is v for k, v in before.items()), "fit keeps parameters")
    tally.true(repr(estimator) == as_text, "fit keeps what parameters print")
    check_is_fitted(estimator)
    added = set(vars(estimator)) - set(before)
    bad = [a for a in added if not a.endswith("_") and not a.startswith("_")]
    tally.true(not bad, f"fitted attributes end in an underscore: {bad}")
    return tally.n


def check_not_fitted(factory, X, y=None):
    """Every method but fit raises NotFittedError first."""
    tally, estimator = Tally(), factory()
    for method in _methods(estimator):
        call = getattr(estimator, method)
        tally.raises(NotFittedError, lambda call=call: call(X), method)
    if hasattr(estimator, "get_feature_names_out"):
        names = estimator.get_feature_names_out
        tally.raises(NotFittedError, names, "get_feature_names_out")
    return tally.n


def check_clone(factory, X, y=None):
    """Clones have equal parameters, no fitted state and the same behaviour."""
    tally, estimator = Tally(), factory()
    fitted = _fit(factory(), X, y)
    copied = clone(fitted)
    tally.true(repr(copied) == repr(estimator), "clone keeps the parameters")
    tally.true(not _is_fitted(copied), "clone copies no fitted state")
    tally.true(_is_fitted(fitted), "clone leaves the original fitted")
    copied = _fit(copied, X, y)
    for method, output in _outputs(fitted, X).items():
        tally.same(getattr(copied, method)(X), output, f"clone().fit().{method}")
    copied = copy.deepcopy(fitted)
    for method, output in _outputs(fitted, X).items():
        tally.same(getattr(copied, method)(X), output, f"deepcopy().{method}")
    return tally.n


def check_pickle(factory, X, y=None):
    """A pickle gives the same output, fitted or not, and can be fitted again."""
    tally = Tally()
    unfitted = pickle.loads(pickle.dumps(factory()))
    tally.true(not _is_fitted(unfitted), "an unfitted pickle stays unfitted")
    fitted = _fit(factory(), X, y)
    loaded = pickle.loads(pickle.dumps(fitted))
    twice = pickle.loads(pickle.dumps(loaded))
    for method, output in _outputs(fitted, X).items():
        tally.same(getattr(loaded, method)(X), output, f"{method} of a pickle")
        tally.same(getattr(twice, method)(X), output, f"{method} of its pickle")
    refitted = _fit(loaded, X, y)
    for method, output in _outputs(fitted, X).items():
        tally.same(getattr(refitted, method)(X), output, f"{method} after refitting")
    return tally.n


def check_seed(factory, X, y=None):
    """The same seed gives the same bits, whatever the caller's generators hold."""
    tally = Tally()
    first = _outputs(_fit(factory(), X, y), X)
    np.random.seed(123)  # noqa: NPY002  # the global generator is the point
    torch.manual_seed(123)
    second = _outputs(_fit(factory(), X, y), X)
    for method, output in first.items():
        tally.same(second[method], output, f"{method} with the same seed")
    return tally.n


def check_global_state(factory, X, y=None):
    """Global generators and the thread count are left as found."""
    tally, estimator = Tally(), factory()
    _check_left_alone(tally, lambda: _fit(estimator, X, y), "fit")
    for method in _methods(estimator):
        call = getattr(estimator, method)
        _check_left_alone(tally, lambda call=call: call(X), method)
    _check_left_alone(tally, lambda: pickle.loads(pickle.dumps(estimator)), "pickle")
    return tally.n


def _check_left_alone(tally, call, message):
    # A state that no fit leaves behind: the same seed twice would look like no change.
    np.random.seed(314)  # noqa: NPY002
    torch.manual_seed(314)
    before = _global_state()
    call()
    for name, value in _global_state().items():
        tally.true(value == before[name], f"{message} changes {name}")


def _global_state():
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "NumPy's global generator": (kind, keys.tobytes(), *rest),
        "torch's global generator": torch.get_rng_state().numpy().tobytes(),
        "torch's thread count": torch.get_num_threads(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
    }


def check_input_untouched(factory, X, y=None):
    """Neither X nor y is changed, and the output is no view of X."""
    tally, estimator = Tally(), factory()
    X_before, y_before = copy.deepcopy(X), copy.deepcopy(y)
    _fit(estimator, X, y)
    for method in _methods(estimator):
        output = getattr(estimator, method)(X)
        shared = isinstance(X, np.ndarray) and np.shares_memory(np.asarray(output), X)
        tally.true(not shared, f"{method} returns a view of X")
    tally.true(_equal(X, X_before), "X is left as it was")
    tally.true(_equal(y, y_before), "y is left as it was")
    return tally.n


def check_rows(factory, X, y=None, *, rtol=1e-5):
    """A row's output depends on that row alone: not on order, not on company."""
    tally, estimator = Tally(), _fit(factory(), X, y)
    order = np.random.default_rng(0).permutation(len(X))
    some = order[: max(1, len(X) // 3)]
    for method, whole in _outputs(estimator, X).items():
        call, whole = getattr(estimator, method), np.asarray(whole)
        tally.true(len(whole) == len(X), f"{method} gives one row a row")
        for rows, message in ((order, "shuffled"), (some, "some"), (order[:1], "one")):
            found, expected = np.asarray(call(_take(X, rows))), whole[rows]
            if whole.dtype.kind != "f" or not rtol:
                tally.same(found, expected, f"{method} of {message} rows")
            else:
                tally.close(found, expected, f"{method} of {message} rows", rtol)
        twice = np.asarray(call(_take(X, np.r_[order[:1], order[:1]])))
        tally.same(twice[0], twice[1], f"{method} of the same row twice")
    return tally.n


def check_batch_size(factory, X, y=None, *, parameter="batch_size", rtol=1e-5):
    """Batches of a fitted estimator change no row."""
    tally, estimator = Tally(), _fit(factory(), X, y)
    whole = _outputs(estimator, X)
    for size in (1, 3, len(X), 10 * len(X)):
        estimator.set_params(**{parameter: size})
        for method, output in whole.items():
            found = getattr(estimator, method)(X)
            if np.asarray(output).dtype.kind == "f":
                tally.close(found, output, f"{method} with {parameter}={size}", rtol)
            else:
                tally.same(found, output, f"{method} with {parameter}={size}")
    return tally.n


def check_refit(factory, X, y=None):
    """Fitting twice is fitting once, also after a fit on other rows."""
    tally = Tally()
    once = _outputs(_fit(factory(), X, y), X)
    twice = _fit(_fit(factory(), X, y), X, y)
    rows = np.arange(len(X))[::-1]
    moved = _fit(factory(), _take(X, rows), y if y is None else _take(y, rows))
    moved = _fit(moved, X, y)
    for method, output in once.items():
        tally.same(getattr(twice, method)(X), output, f"{method} after two fits")
        tally.same(getattr(moved, method)(X), output, f"{method} after another fit")
    return tally.n


def check_numpy_params(factory, X, y=None):
    """Numbers and texts of NumPy, as searches hold them, do as Python's own do."""
    tally = Tally()
    expected = _outputs(_fit(factory(), X, y), X)
    plain = factory().get_params(deep=False).items()
    found = {
        k: np.asarray(v)[()] for k, v in plain if type(v) in (bool, int, float, str)
    }
    estimator = _fit(factory().set_params(**found), X, y)
    for method, output in expected.items():
        tally.same(getattr(estimator, method)(X), output, f"{method} by {found}")
    return tally.n


def check_threads(factory, X, y=None):
    """Two threads at once get the bits of one, and leave what they share as found."""
    tally, found = Tally(), []
    expected = _outputs(_fit(factory(), X, y), X)

    def fit_twice():
        with ThreadPoolExecutor(2) as pool:
            fits = [pool.submit(lambda: _fit(factory(), X, y)) for _ in range(2)]
        found.extend(fit.result() for fit in fits)

    _check_left_alone(tally, fit_twice, "fit in threads")
    for estimator in found:
        for method, output in expected.items():
            tally.same(getattr(estimator, method)(X), output, f"{method} of a thread")
    return tally.n


def check_configuration(factory, X, y=None):
    """A configuration of scikit-learn for tables changes no value."""
    tally = Tally()
    expected = _outputs(_fit(factory(), X, y), X)
    for kind in ("pandas", "polars"):
        with config_context(transform_output=kind):
            found = _outputs(_fit(factory(), X, y), X)
        for method, output in expected.items():
            if output.dtype.kind == "f":
                tally.close(found[method], output, f"{method} in {kind}")
            else:
                tally.same(found[method], output, f"{method} in {kind}")
    return tally.n


def check_torch_settings(factory, X, y=None):
    """The caller's defaults of torch change no bit, in fit, pickle or prediction."""
    tally, fitted = Tally(), _fit(factory(), X, y)
    expected, data = _outputs(fitted, X), pickle.dumps(fitted)
    for setting in (default_dtype(torch.float64), torch.device("meta"), autocast()):
        with setting:
            found = {
                "of the same": _outputs(fitted, X),
                "of a pickle": _outputs(pickle.loads(data), X),
                "of another fit": _outputs(_fit(factory(), X, y), X),
            }
        for whose, outputs in found.items():
            for method, output in expected.items():
                tally.same(outputs[method], output, f"{method} {whose}, {setting}")
    return tally.n


@contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(before)


def autocast():
    return torch.autocast("cpu", dtype=torch.bfloat16)


def check_n_features(factory, X, y=None):
    """n_features_in_ and feature_names_in_ say what was seen."""
    tally, estimator = Tally(), _fit(factory(), X, y)
    width = 1 if np.ndim(X) == 1 else np.shape(X)[1]
    tally.true(estimator.n_features_in_ == width, "n_features_in_ is the width of X")
    if isinstance(X, pd.DataFrame):
        names = getattr(estimator, "feature_names_in_", None)
        tally.true(names is not None, "a table's names are kept")
        tally.true(list(names) == list(X.columns), "feature_names_in_ are X's columns")
    return tally.n


def check_columns(factory, X, y=None):
    """A renamed, reordered or missing column is refused; the error names it."""
    tally, estimator = Tally(), _fit(factory(), X, y)
    first = X.columns[0]
    bad = {
        "a renamed column": X.rename(columns={first: f"other_{first}"}),
        "a further column": X.assign(one_more=X[first]),
    }
    if X.shape[1] > 1:
        bad["a missing column"] = X.drop(columns=first)
        bad["reordered columns"] = X[X.columns[::-1]]
    for method in _methods(estimator):
        for message, table in bad.items():
            call = getattr(estimator, method)
            refused = (ValueError, KeyError)
            tally.raises(
                refused,
                lambda call=call, table=table: call(table),
                f"{method}: {message}",
            )
    return tally.n


def check_names_out(factory, X, y=None):
    """Names out are unique strings, as many as columns, the same each time."""
    tally, estimator = Tally(), _fit(factory(), X, y)
    names = estimator.get_feature_names_out()
    tally.true(isinstance(names, np.ndarray), "names are an array")
    tally.true(names.dtype == object, "names are an array of objects")
    tally.true(all(isinstance(n, str) for n in names), "names are strings")
    tally.true(len(set(names)) == len(names), "names are unique")
    width = np.asarray(estimator.transform(X)).shape[1]
    tally.true(len(names) == width, f"{len(names)} names for {width} columns")
    tally.same(estimator.get_feature_names_out(), names, "names are stable")
    if hasattr(estimator, "feature_names_in_"):
        given = list(estimator.feature_names_in_)
        tally.same(estimator.get_feature_names_out(given), names, "names for names")
        wrong = [f"other_{n}" for n in given]
        tally.raises(
            ValueError, lambda: estimator.get_feature_names_out(wrong), "other names"
        )
    return tally.n


def check_set_output(factory, X, y=None):
    """pandas and polars hold the same values under the names, and X's index."""
    tally = Tally()
    plain = _fit(factory(), X, y)
    values, names = np.asarray(plain.transform(X)), list(plain.get_feature_names_out())
    if isinstance(X, pd.DataFrame):
        X = X.set_axis(np.arange(len(X))[::-1] + 100, axis=0)
    for kind, cls in (("pandas", pd.DataFrame), ("polars", pl.DataFrame)):
        for how in ("transform", "fit_transform"):
            estimator = factory().set_output(transform=kind)
            fitted = _fit(estimator, X, y) if how == "transform" else None
            table = fitted.transform(X) if fitted else _fit_transform(estimator, X, y)
            tally.true(isinstance(table, cls), f"{how} gives a {kind} table")
            tally.true(list(table.columns) == names, f"{how}: names of {kind}")
            if how == "transform":
                tally.close(table.to_numpy(), values, f"{how}: values of {kind}")
            if cls is pd.DataFrame and isinstance(X, pd.DataFrame):
                tally.true(table.index.equals(X.index), f"{how}: X's index")
    default = factory().set_output(transform="default")
    output = _fit(default, X, y).transform(X)
    tally.true(isinstance(output, np.ndarray), "the default is an array")
    return tally.n


def check_fit_transform(factory, X, y=None):
    """fit_transform is fit and transform."""
    tally = Tally()
    expected = _fit(factory(), X, y).transform(X)
    tally.same(_fit_transform(factory(), X, y), expected, "fit_transform")
    return tally.n


def _fit(estimator, X, y):
    return estimator.fit(X) if y is None else estimator.fit(X, y)


def _fit_transform(estimator, X, y):
    return estimator.fit_transform(X) if y is None else estimator.fit_transform(X, y)


def _methods(estimator):
    return [m for m in METHODS if hasattr(estimator, m)]


def _outputs(estimator, X):
    return {m: np.array(getattr(estimator, m)(X)) for m in _methods(estimator)}


def _is_fitted(estimator):
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _take(X, rows):
    """Take rows of a pandas or polars table or of an array."""
    return X.iloc[rows] if isinstance(X, (pd.DataFrame, pd.Series)) else X[rows]


def _equal(a, b):
    if a is None:
        return b is None
    return a.equals(b) if hasattr(a, "equals") else np.array_equal(a, b)
