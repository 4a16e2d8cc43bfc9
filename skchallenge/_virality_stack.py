"""Stacking with one base model per modality."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import BaseCrossValidator, GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from skchallenge._table import check_columns, is_missing
from skchallenge.tabular import MetadataFeaturizer

_MAX_SPLITS = 5


def make_virality_stack(
    *, image: str | None = None, caption: str | None = None, group: str = "user_id"
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

    Returns
    -------
    model : sklearn.ensemble.StackingClassifier
        Its X is a pandas table with the columns `group`, `caption` and `image`. All
        others are for `MetadataFeaturizer`; without any, drop the two models that read
        them: ``model.set_params(linear="drop", trees="drop")``.

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
    apart = [column for column in (group, caption, image) if column is not None]
    models = [
        ("linear", _on_metadata(apart, _linear())),
        ("trees", _on_metadata(apart, _trees())),
    ]
    if caption is not None:
        models.append(("caption", _on_words(caption)))
    if image is not None:
        models.append(("cover", _on_covers(image)))
    stack = StackingClassifier(
        models,
        final_estimator=LogisticRegression(),
        cv=GroupColumnKFold(group),
        stack_method="predict_proba",
    )
    # The final model is fitted on an array. A table, if scikit-learn is configured to
    # make tables, would have names that it does not know.
    return stack.set_output(transform="default")


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
    others = partial(_columns_but, apart=apart)
    features = ColumnTransformer([("metadata", MetadataFeaturizer(), others)])
    return make_pipeline(features, model)


def _check_table(X: Any, group: str) -> None:
    if not hasattr(X, "columns"):
        raise TypeError(
            f"X must be a table with a column {group!r} that says whose video each "
            f"is, got {type(X).__name__}."
        )


def _columns_but(X: Any, apart: list[str]) -> list[str]:
    _check_table(X, apart[0])
    columns = [column for column in X.columns if column not in apart]
    if not columns:
        raise ValueError(
            f"X must hold a column beside {apart} for the models of the metadata. Add "
            "one, such as 'duration_s', or leave these models out: "
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
    texts = FunctionTransformer(_texts, kw_args={"name": caption})
    text = make_pipeline(column, texts).set_output(transform="default")
    return Pipeline(
        [
            ("pipeline", text),
            ("tfidfvectorizer", CaptionTfidfVectorizer(min_df=2, sublinear_tf=True)),
            ("logisticregression", LogisticRegression(max_iter=1000)),
        ]
    )


def _on_covers(image: str) -> Pipeline:
    from skchallenge._virality import MultimodalVirality  # only covers need torch

    column = ColumnTransformer([("cover", "passthrough", [image])])
    cnn = MultimodalVirality(image=0, metadata_layers=None, random_state=0)
    return make_pipeline(column, cnn)


def _texts(captions: Any, name: str) -> "pd.Series[str]":
    """Turn a matrix of one column into texts that know the column's name."""
    texts = ["" if is_missing(caption) else str(caption) for (caption,) in captions]
    return pd.Series(texts, name=name)


class CaptionTfidfVectorizer(TfidfVectorizer):
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
