"""One-hot columns from lists of hashtags, mentions or effects."""

from collections import Counter
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_is_fitted,
    validate_data,
)

from skchallenge._parse import SEPARATORS, to_tags
from skchallenge._schema import canonical_name
from skchallenge._state import Versioned
from skchallenge._table import as_frame, check_count, fold_text, is_missing

Tags = list[list[str]]


class TagBinarizer(Versioned, TransformerMixin, BaseEstimator):
    """Turn lists of tags into one column of zeros and ones for each frequent tag.

    Parameters
    ----------
    min_frequency : int, default=2
        Tags of fewer videos make no column; 1 keeps all, as the report [1]_ did.
    sparse_output : bool, default=True
        Return a sparse matrix. A table from `set_output` needs False.

    Attributes
    ----------
    tags_ : list of ndarray of str
        The tags of each column of X that have a column, sorted.
    n_features_in_ : int
        Columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`, if X was a table.

    See Also
    --------
    MetadataFeaturizer : Counts the tags instead.
    sklearn.preprocessing.MultiLabelBinarizer : The same for one label column.

    Notes
    -----
    A cell is a list of names or of dicts with a `name`, the JSON, Python or R text of
    one, or text parted by commas or, except for effects, by spaces and signs. Leading
    ``#`` and ``@`` are dropped, and case is folded: the platform takes ``#FYP`` and
    ``#fyp`` for one. So are names that look the same, whatever their code points.
    A missing cell has no tags. Tags that `fit` did not see often enough are ignored by
    `transform`, so a new tag is no error.

    References
    ----------
    .. [1] The multimodal TikTok virality report, section 4: one-hot mentions, hashtags
       and effects gave a table of 2,115 columns for 975 videos.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.tabular import TagBinarizer
    >>> videos = pd.DataFrame({"hashtags": [["fyp", "cat"], "FYP, dog", None]})
    >>> binarizer = TagBinarizer(min_frequency=1, sparse_output=False)
    >>> binarizer.fit_transform(videos)
    array([[1., 0., 1.],
           [0., 1., 1.],
           [0., 0., 0.]])
    >>> binarizer.get_feature_names_out().tolist()
    ['hashtags_cat', 'hashtags_dog', 'hashtags_fyp']
    """

    def __init__(self, *, min_frequency: int = 2, sparse_output: bool = True) -> None:
        self.min_frequency = min_frequency
        self.sparse_output = sparse_output

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the frequent tags of each column.

        Parameters
        ----------
        X : pandas or polars table or Series, or array, of shape (n_samples, n_columns)
            Cells of tags, see Notes.
        y : None
            Ignored.

        Returns
        -------
        self : TagBinarizer
            The fitted binarizer.

        Raises
        ------
        ValueError
            If a cell cannot be read, or no tag is frequent enough.
        """
        check_count("min_frequency", self.min_frequency)
        columns = self._read(X, reset=True)
        self.tags_ = [_frequent(tags, self.min_frequency) for tags in columns.values()]
        if not any(len(tags) for tags in self.tags_):
            raise ValueError(
                f"X has no tag in at least min_frequency={self.min_frequency} of its "
                f"videos, in any of the columns {list(columns)}. Lower min_frequency, "
                "or drop the columns."
            )
        return self

    def transform(self, X: Any) -> Any:
        """Mark the tags of each video.

        Parameters
        ----------
        X : table, Series or array of shape (n_samples, n_columns)
            As in `fit`.

        Returns
        -------
        marks : CSR matrix or ndarray of shape (n_samples, n_features_out)
            1.0 where the video has the tag, else 0.0; float64.
        """
        check_is_fitted(self)
        columns = self._read(X, reset=False).values()
        marked = [
            _mark(tags, known)
            for tags, known in zip(columns, self.tags_, strict=True)
            if len(known)
        ]
        marks = sparse.hstack(marked, format="csr")
        return marks if self.sparse_output else marks.toarray()

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the output columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names for the columns of X, if `fit` saw none.

        Returns
        -------
        names : ndarray of shape (n_features_out,)
            ``{column}_{tag}``.
        """
        check_is_fitted(self)
        columns = _check_feature_names_in(self, input_features)
        pairs = zip(columns, self.tags_, strict=True)
        names = [f"{column}_{tag}" for column, tags in pairs for tag in tags]
        return np.array(names, dtype=object)

    def _read(self, X: Any, *, reset: bool) -> dict[str, Tags]:
        """Return the tags of each column of X by the column's name."""
        if hasattr(X, "columns"):
            frame = as_frame(X, "X")
            validate_data(self, X, reset=reset, skip_check_array=True)
        else:
            frame = _as_columns(X)
            validate_data(self, frame.to_numpy(), reset=reset, skip_check_array=True)
        return {str(c): _read_tags(frame[c], str(c)) for c in frame}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # cells are lists, not numbers
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        return tags


def _as_columns(X: Any) -> pd.DataFrame:
    """Make a table of a Series, a list of cells, or an array of objects."""
    if isinstance(X, np.ndarray) and X.ndim == 2:
        return pd.DataFrame(X).add_prefix("x")
    if isinstance(X, str) or sparse.issparse(X) or not hasattr(X, "__len__"):
        raise TypeError(
            f"X must be a table, or one column, of tags, got {type(X).__name__}."
        )
    cells = np.empty(len(X), dtype=object)
    cells[:] = X.to_list() if hasattr(X, "to_list") else list(X)  # polars nests Series
    return pd.DataFrame({"x0": cells})


def _read_tags(cells: "pd.Series[Any]", name: str) -> Tags:
    canonical = canonical_name(name)
    column = canonical if canonical in SEPARATORS else "hashtags"
    plain = pd.Series([_plain_cell(cell) for cell in cells], dtype=object)
    try:
        lists = to_tags(plain, column, "[].name")
    except ValueError as error:
        raise ValueError(f"X[{name!r}]: {error}") from error
    return [list(dict.fromkeys(fold_text(tag) for tag in tags)) for tags in lists]


def _plain_cell(cell: Any) -> Any:
    if isinstance(cell, tuple | set | frozenset | np.ndarray):
        return list(cell)
    return None if is_missing(cell) else cell


def read_tag_counts(cells: "pd.Series[Any]", name: str) -> NDArray[np.float64]:
    """Count the tags of each cell; a missing cell is NaN."""
    counts = [float(len(tags)) for tags in _read_tags(cells, name)]
    return np.where([is_missing(cell) for cell in cells], np.nan, counts)


def _frequent(lists: Tags, min_frequency: int) -> NDArray[np.object_]:
    n_videos = Counter(tag for tags in lists for tag in tags)
    kept = sorted(tag for tag, n in n_videos.items() if n >= min_frequency)
    return np.array(kept, dtype=object)


def _mark(lists: Tags, known: NDArray[np.object_]) -> Any:
    positions = {tag: j for j, tag in enumerate(known)}
    counter = CountVectorizer(
        analyzer=_as_it_is, vocabulary=positions, binary=True, dtype=np.float64
    )
    return counter.transform(lists)


def _as_it_is(tags: list[str]) -> list[str]:
    return tags
