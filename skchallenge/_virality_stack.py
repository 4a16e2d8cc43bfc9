"""Stacking with one base model per modality."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import BaseCrossValidator, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from skchallenge._state import Versioned
from skchallenge._table import check_columns, is_missing
from skchallenge.tabular import MetadataFeaturizer

_MAX_SPLITS = 5
_EXAMPLES = {"image": "cover", "caption": "caption", "group": "user_id"}


def make_virality_stack(
    *,
    image: str | None = None,
    caption: str | None = None,
    group: str = "user_id",
    verbose: int = 0,
) -> StackingClassifier:
    """Make a virality classifier that stacks one base model per modality.

    The columns of an export go through `MetadataFeaturizer` into a linear model and
    into boosted trees; captions into a linear model of their words; covers into the CNN
    of `MultimodalVirality`. A logistic regression weighs what they predict for users
    that they were not fitted on. It is scikit-learn's StackingClassifier, no class of
    its own.

    Parameters
    ----------
    image : str or None, default=None
        Column of covers: paths, where a null is a missing cover. None does without.
    caption : str or None, default=None
        Column of captions, or of any other text. None does without.
    group : str, default="user_id"
        Column of X that says whose video each is. The inner folds keep the videos of a
        user together; no model sees the column.
    verbose : int, default=0
        Whether to print one line for each fit of a base model, and one per epoch of the
        network of covers; each begins with the model's name.

    Returns
    -------
    model : sklearn.ensemble.StackingClassifier
        Its X is a pandas table with the columns `group`, `caption` and `image`. All
        others are for `MetadataFeaturizer`; without any, drop the two models that read
        them: ``model.set_params(linear="drop", trees="drop")``.

    Raises
    ------
    TypeError
        If `image`, `caption` or `group` is no name of a column.

    See Also
    --------
    MultimodalVirality : Reads covers and columns in one network.
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
    for name, column in (("image", image), ("caption", caption), ("group", group)):
        if not (isinstance(column, str) or (column is None and name != "group")):
            raise TypeError(
                f"{name} must be the name of a column of X, got "
                f"{type(column).__name__}. Pass the name, such as {name}="
                f"{_EXAMPLES[name]!r}; the table goes to fit."
            )
    apart = [column for column in (group, caption, image) if column is not None]
    models = [
        ("linear", _on_metadata(apart, _linear())),
        ("trees", _on_metadata(apart, _trees())),
    ]
    if caption is not None:
        models.append(("caption", _on_words(caption)))
    if image is not None:
        models.append(("cover", _on_covers(image, verbose)))
    if verbose:
        models = [(name, NamedPipeline(p.steps, name=name)) for name, p in models]
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
    """A pipeline that prints one line, which begins with its name, when it is fitted.

    Parameters
    ----------
    steps : list of (str, estimator)
        As in Pipeline.
    name : str
        What the line calls it.
    """

    def __init__(self, steps: Any, *, name: str) -> None:
        super().__init__(steps)
        self.name = name

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fit the steps, and say how long it took."""
        began = time.perf_counter()
        super().fit(X, y, **params)
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
        n_groups = _MAX_SPLITS if X is None else len(np.unique(self._groups(X)))
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
        yield from folds.split(np.zeros(len(X)), groups=self._groups(X))

    def _groups(self, X: Any) -> NDArray[np.intp]:
        _check_table(X, self.column)
        check_columns(X.columns, [self.column], "X")
        column = np.asarray(X[self.column])
        codes, groups = pd.factorize(column, use_na_sentinel=False)
        # Numbers that rows in another order have too; not all groups can be compared.
        numbers = np.unique(list(map(repr, groups)), return_inverse=True)[1]
        return numbers[codes]


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
