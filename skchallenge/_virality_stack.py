"""Stacking with one base model per modality."""

import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import BaseCrossValidator, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

from skchallenge._state import Versioned
from skchallenge._table import check_columns, is_missing
from skchallenge.tabular import MetadataFeaturizer

_MAX_SPLITS = 5
_EXAMPLES = {
    "image": "cover",
    "caption": "caption",
    "path": "path",
    "group": "user_id",
}
_EMBEDDERS = {
    "video": "VideoFrameEmbedder",
    "audio": "AudioEmbedder",
    "tags": "FrameTagger",
}
_FEW = 300  # columns
# Inverse strengths of the penalty on rows of length one; the first leaves the share of
# the class, the last next to no penalty.
_STRENGTHS = (1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)


def make_virality_stack(
    *,
    video: Any = None,
    audio: Any = None,
    tags: Any = None,
    image: str | None = None,
    caption: str | None = None,
    path: str = "path",
    group: str = "user_id",
    verbose: int = 0,
) -> StackingClassifier:
    """Make a virality classifier that stacks one base model per modality.

    The columns of an export go through `MetadataFeaturizer` into a linear model and
    into boosted trees; captions into a linear model of their words; covers into the CNN
    of `MultimodalVirality`; what an embedder makes of the files into a logistic
    regression each. Another logistic regression weighs what they predict for users that
    they were not fitted on. It is scikit-learn's StackingClassifier, no class of its
    own.

    Parameters
    ----------
    video : transformer or None, default=None
        Makes numbers of the column `path`, such as a `VideoFrameEmbedder`, or a
        pipeline that begins with an embedder. A logistic regression reads them, its
        penalty tuned in folds by `group`; a missing number counts as the mean. None
        does without. A `store` saves the most of the time, see Notes.
    audio : transformer or None, default=None
        The same for what is heard, such as an `AudioEmbedder`.
    tags : transformer or None, default=None
        The same for what is seen by name: a column of numbers a label.
    image : str or None, default=None
        Column of covers: paths, where a null is a missing cover. None does without.
    caption : str or None, default=None
        Column of captions, or of any other text. None does without.
    path : str, default="path"
        Column of files that `video`, `audio` and `tags` read.
    group : str, default="user_id"
        Column of X that says whose video each is. The inner folds keep the videos of a
        user together; no model sees the column.
    verbose : int, default=0
        Whether to print one line for each fit of a base model, and one per epoch of the
        network of covers; each begins with the model's name.

    Returns
    -------
    model : sklearn.ensemble.StackingClassifier
        Its X is a pandas table with the columns `group`, `caption`, `image` and, with
        a model that reads files, `path`. All others are for `MetadataFeaturizer`;
        without any, drop the two models that read them:
        ``model.set_params(linear="drop", trees="drop")``.

    Raises
    ------
    TypeError
        If `image`, `caption`, `path` or `group` is no name of a column, or `video`,
        `audio` or `tags` no transformer.

    See Also
    --------
    MultimodalVirality : Reads covers and columns in one network.
    skchallenge.metrics.modality_report : What each of the models is good for.
    skchallenge.tabular.MetadataFeaturizer : What becomes of the columns.
    skchallenge.tabular.PastCreatorStats : Features that help most; join them to X.
    skchallenge.tabular.ViralityLabeler : Makes y.
    sklearn.ensemble.StackingClassifier : What is returned.

    Notes
    -----
    StackingClassifier splits X into inner folds by itself, and has no way to be told
    groups. With shuffled folds its models would predict videos of users whom they
    know, and the final model would learn to trust the one that memorises users best.
    So the inner splitter reads the groups from X.

    It also fits clones of each base model, once on all rows and once a fold, and each
    embeds its files anew. An embedder with a `store` embeds a file once, however many
    models, folds and candidates of a search there are; without, six times a fit.

    On cores that others share, the threads of the boosted trees wait for each other,
    and a fit on a small table can seem to hang. Set the environment variable
    ``OMP_NUM_THREADS=1`` before Python starts; with ``verbose=1`` each fit prints a
    line when it is done.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skchallenge import make_virality_stack
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({
    ...     "user_id": np.arange(60) % 20,
    ...     "duration_s": rng.integers(5, 60, 60),
    ...     "caption": rng.choice(["my cat", "dance with me"], 60),
    ... })
    >>> y = (X["caption"] == "my cat").astype(int)
    >>> model = make_virality_stack(caption="caption").fit(X, y)
    >>> float(model.score(X, y))
    1.0
    """
    columns = {"image": image, "caption": caption, "path": path, "group": group}
    for name, column in columns.items():
        is_optional = name in ("image", "caption")
        if not (isinstance(column, str) or (column is None and is_optional)):
            raise TypeError(
                f"{name} must be the name of a column of X, got "
                f"{type(column).__name__}. Pass the name, such as {name}="
                f"{_EXAMPLES[name]!r}; the table goes to fit."
            )
    given = {"video": video, "audio": audio, "tags": tags}
    embedders = {name: given[name] for name in given if given[name] is not None}
    for name, embedder in embedders.items():
        _check_transformer(name, embedder)
    apart = [column for column in (group, caption, image) if column is not None]
    apart += [path] if embedders else []
    models = [
        ("linear", _on_metadata(apart, _linear())),
        ("trees", _on_metadata(apart, _trees())),
    ]
    if caption is not None:
        models.append(("caption", _on_words(caption)))
    if image is not None:
        models.append(("cover", _on_covers(image, verbose)))
    for name, embedder in embedders.items():
        models.append((name, _on_files(embedder, path, group)))
    if verbose:
        models = [
            (name, NamedPipeline(p.steps, name=name, group=getattr(p, "group", None)))
            for name, p in models
        ]
    stack = StackingClassifier(
        models,
        final_estimator=LogisticRegression(),
        cv=GroupColumnKFold(group),
        stack_method="predict_proba",
    )
    # The final model is fitted on an array. A table, if scikit-learn is configured to
    # make tables, would have names that it does not know.
    return stack.set_output(transform="default")


class NamedPipeline(Versioned, Pipeline):
    """A pipeline of a base model: it may tell of its fits, and knows whose rows are.

    Parameters
    ----------
    steps : list of (str, estimator)
        As in Pipeline.
    name : str or None, default=None
        What the line that a fit prints calls it; None prints none.
    group : str or None, default=None
        Column of X whose groups the last step holds out, if it takes `groups`.
    """

    def __init__(
        self, steps: Any, *, name: str | None = None, group: str | None = None
    ) -> None:
        super().__init__(steps)
        self.name = name
        self.group = group

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fit the steps, and say how long it took."""
        began = time.perf_counter()
        last, model = self.steps[-1]
        if self.group is None or not has_fit_parameter(model, "groups"):
            super().fit(X, y, **params)
        else:
            groups = group_codes(X, self.group)
            # Routed, they would have to be asked for, by all that is around, too.
            with config_context(enable_metadata_routing=False):
                super().fit(X, y, **{f"{last}__groups": groups}, **params)
        if self.name is not None:
            seconds = time.perf_counter() - began
            sys.stdout.write(
                f"[make_virality_stack, {self.name}] fitted on {len(X)} rows in "
                f"{seconds:.1f} s\n"
            )
        return self


class GroupColumnKFold(BaseCrossValidator):
    """Split rows by the groups that a column of X holds.

    Parameters
    ----------
    column : str
        Name of the column.
    """

    def __init__(self, column: str) -> None:
        self.column = column

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds: five, or as many as there are groups."""
        n_groups = (
            _MAX_SPLITS if X is None else len(np.unique(group_codes(X, self.column)))
        )
        if n_groups < 2:
            raise ValueError(
                f"X must hold at least two groups in the column {self.column!r}, got "
                "one. The inner folds of the stack keep the videos of a group together."
            )
        return min(n_groups, _MAX_SPLITS)

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Yield training and test rows."""
        folds = GroupKFold(self.get_n_splits(X))
        yield from folds.split(np.zeros(len(X)), groups=group_codes(X, self.column))


def group_codes(X: Any, column: str) -> NDArray[np.intp]:
    """Return the number of each row's group, which rows in another order have too."""
    _check_table(X, column)
    check_columns(X.columns, [column], "X")
    codes, groups = pd.factorize(np.asarray(X[column]), use_na_sentinel=False)
    # Not all groups can be compared, but what they print can.
    numbers = np.unique(list(map(repr, groups)), return_inverse=True)[1]
    return numbers[codes]


class TunedLogisticRegression(Versioned, ClassifierMixin, BaseEstimator):
    """Logistic regression for more columns than rows, its penalty tuned on groups.

    Columns are standardised, and divided by the root of their number, so that a penalty
    means the same for ten and for ten thousand of them.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen during `fit`, sorted.
    C_ : float
        Inverse strength of the penalty that was best.
    model_ : LogisticRegression
        The fitted model, of the columns as they were given.
    """

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Tune the penalty by the loss on groups held out, then fit to all rows."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        n, n_columns = X.shape
        mean, deviation = X.mean(axis=0), X.std(axis=0)
        tells = deviation > 1e-9 * np.abs(mean)  # a constant column tells nothing
        scale = np.where(tells, deviation, np.inf) * np.sqrt(n_columns)
        rows = (X - mean) / scale  # (n, P)
        basis = None
        if n_columns > n:
            # The solution lies in the span of the rows, and turning them changes no
            # penalty: n columns give what P of them would.
            basis, triangle = np.linalg.qr(rows.T)  # (P, n), (n, n)
            rows = triangle.T

        groups = np.arange(n) if groups is None else np.asarray(groups)
        n_folds = min(_MAX_SPLITS, len(np.unique(groups)))
        folds = []
        if n_folds > 1:
            splits = GroupKFold(n_folds).split(rows, groups=groups)
            folds = [s for s in splits if len(np.unique(y[s[0]])) > 1]

        def loss(strength: float) -> float:
            total = 0.0
            for train, test in folds:
                model = _logistic(strength, rows[train], y[train])
                test = test[np.isin(y[test], model.classes_)]
                place = np.searchsorted(model.classes_, y[test])
                with np.errstate(divide="ignore"):
                    logs = np.log(model.predict_proba(rows[test]))
                total -= logs[np.arange(len(test)), place].sum()
            return total

        self.C_ = min(_STRENGTHS, key=loss) if folds else 1.0
        model = _logistic(self.C_, rows, y)
        turned = model.coef_ if basis is None else model.coef_ @ basis.T
        model.coef_ = turned / scale
        model.intercept_ = model.intercept_ - model.coef_ @ mean
        model.n_features_in_ = n_columns
        self.model_ = model
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self.model_.predict_proba(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likelier class."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[likeliest]


def _logistic(strength: float, rows: Any, y: Any) -> LogisticRegression:
    """Fit to rows of length one; for some hundred columns Newton takes few steps."""
    solver = "newton-cholesky" if rows.shape[1] <= _FEW else "lbfgs"
    model = LogisticRegression(C=strength, solver=solver, tol=1e-6, max_iter=1000)
    with warnings.catch_warnings():  # where no column tells, no step is downwards
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(rows, y)


def _check_transformer(name: str, given: Any) -> None:
    methods = ("fit", "transform", "get_params")
    if isinstance(given, type) or not all(hasattr(given, m) for m in methods):
        is_class = isinstance(given, type)
        what = f"the class {given.__name__}" if is_class else type(given).__name__
        raise TypeError(
            f"{name} must be a transformer of a column of paths, got {what}. Pass an "
            f"object, such as {name}={_EMBEDDERS[name]}(store='embeddings.db'); path= "
            "names the column."
        )


def _on_metadata(apart: list[str], model: Any) -> Pipeline:
    """Give a model the features of all columns but some."""
    others = _ColumnsBut(apart)
    features = ColumnTransformer([("metadata", MetadataFeaturizer(), others)])
    return make_pipeline(features, model)


def _check_table(X: Any, group: str) -> None:
    if not hasattr(X, "columns"):
        raise TypeError(
            f"X must be a table with a column {group!r} that says whose video each "
            f"is, got {type(X).__name__}."
        )


@dataclass(frozen=True)
class _ColumnsBut:
    """Select the columns of a table but some: a class, as skops trusts no function.

    Parameters
    ----------
    apart : list of str
        The columns to leave out; the first one is the group's.
    """

    apart: list[str]

    def __call__(self, X: Any) -> list[str]:
        _check_table(X, self.apart[0])
        columns = [column for column in X.columns if column not in self.apart]
        if not columns:
            raise ValueError(
                f"X must hold a column beside {self.apart} for the models of the "
                "metadata. Add one, such as 'duration_s', or leave these models out: "
                "model.set_params(linear='drop', trees='drop')."
            )
        return columns


def _linear() -> Pipeline:
    imputer = SimpleImputer(strategy="median", add_indicator=True)
    return make_pipeline(imputer, StandardScaler(), LogisticRegression(max_iter=1000))


def _trees() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        learning_rate=0.05, max_leaf_nodes=15, early_stopping=False, random_state=0
    )


def _on_words(caption: str) -> Pipeline:
    column = ColumnTransformer([("caption", "passthrough", [caption])])
    # The vectorizer reads texts, also if scikit-learn is configured to make tables.
    texts = _Texts(caption)
    text = make_pipeline(column, texts).set_output(transform="default")
    return Pipeline(
        [
            ("pipeline", text),
            ("tfidfvectorizer", CaptionTfidfVectorizer(min_df=2, sublinear_tf=True)),
            ("logisticregression", LogisticRegression(max_iter=1000)),
        ]
    )


def _on_files(embedder: Any, path: str, group: str) -> NamedPipeline:
    """Give a linear model what an embedder makes of files; bad files are average."""
    numbers = ColumnTransformer([("path", embedder, _PathColumn(path))])
    steps = [
        ("columntransformer", numbers),
        ("simpleimputer", SimpleImputer(keep_empty_features=True)),
        ("tunedlogisticregression", TunedLogisticRegression()),
    ]
    return NamedPipeline(steps, group=group)


@dataclass(frozen=True)
class _PathColumn:
    """Select the column of files.

    Parameters
    ----------
    name : str
        Name of the column.
    """

    name: str

    def __call__(self, X: Any) -> list[str]:
        if self.name not in X.columns:
            raise ValueError(
                f"X must hold the column {self.name!r}, the paths of the files that "
                f"video, audio and tags read; it has {list(X.columns)}. Add it, or "
                "name yours: make_virality_stack(path=...)."
            )
        return [self.name]


def _on_covers(image: str, verbose: int) -> Pipeline:
    from skchallenge._virality import MultimodalVirality  # only covers need torch

    column = ColumnTransformer([("cover", "passthrough", [image])])
    cnn = MultimodalVirality(
        image=0, metadata_layers=None, random_state=0, verbose=verbose
    )
    return make_pipeline(column, cnn)


class _Texts(Versioned, TransformerMixin, BaseEstimator):
    """Turn a matrix of one column into texts that know the column's name.

    Parameters
    ----------
    name : str
        Name of the column.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def fit(self, X: Any, y: Any = None) -> Self:
        """Do nothing."""
        return self

    def transform(self, X: Any) -> "pd.Series[str]":
        """Return the texts, in which a missing one is empty."""
        texts = ["" if is_missing(caption) else str(caption) for (caption,) in X]
        return pd.Series(texts, name=self.name)

    def set_output(self, *, transform: Any = None) -> Self:
        """Do nothing: texts are what the next step reads."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


class CaptionTfidfVectorizer(Versioned, TfidfVectorizer):
    """Weigh the words of captions; name the captions' column where that fails."""

    def fit_transform(self, raw_documents: "pd.Series[str]", y: Any = None) -> Any:
        """Learn the words of captions and weigh them."""
        try:
            return super().fit_transform(raw_documents, y)
        except InvalidParameterError:
            raise
        except ValueError as error:
            n_worded = sum(map(bool, map(self.build_analyzer(), raw_documents)))
            error.add_note(
                f"In the column {raw_documents.name!r} of X, {n_worded} of "
                f"{len(raw_documents)} captions have a word; min_df={self.min_df}. To "
                "do without captions: make_virality_stack(caption=None), or "
                "model.set_params(caption='drop')."
            )
            raise
