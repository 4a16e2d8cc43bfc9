"""Classifiers of (user, challenge) pairs that a model should beat."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from skchallenge._adoption import AdoptionHistory
from skchallenge._rules import ParticipationRules, challenge_column, check_catalog
from skchallenge._state import FramesAsBytes, Versioned
from skchallenge._table import (
    as_frame,
    check_columns,
    check_count,
    check_ids,
    check_option,
    check_real,
)
from skchallenge.datasets._catalog import VideoCatalog, snapshot

Floats = NDArray[np.float64]


class PairClassifier(Versioned, ClassifierMixin, BaseEstimator):
    """A classifier of a table of pairs into two classes: what all baselines share."""

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Fit the baseline.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            The columns that the baseline reads; others are ignored.
        y : array-like of shape (n_samples,)
            Labels of two classes.

        Returns
        -------
        self : estimator
            The fitted baseline.

        Raises
        ------
        TypeError
            If X is no table with named columns, or ids or times are of another type
            than the catalog's.
        ValueError
            If a column is missing, a parameter is out of range, or y does not hold two
            classes.
        """
        frame = self._read(X, reset=True)
        labels = column_or_1d(y, warn=True)
        check_consistent_length(frame, labels)
        check_classification_targets(labels)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(
                f"y must hold two classes, got {len(self.classes_)}: "
                f"{self.classes_.tolist()[:5]}."
            )
        self._fit(frame, encoded)
        return self

    def predict_proba(self, X: Any) -> Floats:
        """Predict the probability of each class.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            The columns seen in `fit`.

        Returns
        -------
        proba : ndarray of shape (n_samples, 2)
            Probabilities, in the order of `classes_`.
        """
        check_is_fitted(self)
        one = self._proba(self._read(X, reset=False))
        return np.column_stack([1 - one, one])

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the more probable class.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            The columns seen in `fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Members of `classes_`.
        """
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def _read(self, X: Any, *, reset: bool) -> pd.DataFrame:
        frame = as_frame(X, "X")
        validate_data(self, X, reset=reset, skip_check_array=True)
        return self._check(frame, fitting=reset)

    @abstractmethod
    def _check(self, X: pd.DataFrame, *, fitting: bool) -> pd.DataFrame:
        """Check parameters and columns; return X with ids in NumPy's types."""

    @abstractmethod
    def _fit(self, X: pd.DataFrame, y: NDArray[np.intp]) -> None:
        """Fit to labels 0 and 1."""

    @abstractmethod
    def _proba(self, X: pd.DataFrame) -> Floats:
        """Return the probability of the second class."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # ids and times in named columns
        tags.input_tags.string = True
        tags.classifier_tags.multi_class = False
        return tags


class RateBaseline(FramesAsBytes, PairClassifier):
    """Predict the rate of the training pairs of the same challenge, or user.

    It knows nothing but that some challenges are large and some users busy. Of a
    challenge that training has not seen it says the rate of all pairs.

    Parameters
    ----------
    by : str
        Column of X whose rates to learn, such as ``"challenge"`` or ``"user_id"``.
    smoothing : float, default=10.0
        Number of pairs with the rate of all that are added to each group, 0 or more.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Labels seen in `fit`, sorted.
    rates_ : pandas.Series
        Smoothed rate of the second class, by group.
    overall_rate_ : float
        Rate of the second class among all training pairs.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.baselines import RateBaseline
    >>> pairs = pd.DataFrame({"challenge": ["dance", "dance", "sing", "sing"]})
    >>> rate = RateBaseline("challenge", smoothing=2).fit(pairs, [1, 1, 0, 0])
    >>> rate.rates_.to_dict()
    {'dance': 0.75, 'sing': 0.25}
    """

    def __init__(self, by: str, *, smoothing: float = 10.0) -> None:
        self.by = by
        self.smoothing = smoothing

    def _check(self, X: pd.DataFrame, *, fitting: bool) -> pd.DataFrame:
        check_real("smoothing", self.smoothing)
        check_columns(X.columns, [self.by], "X")
        like = None if fitting else self.rates_.index
        ids = check_ids(X[self.by], self.by, like, "the same column in fit")
        return X.assign(**{self.by: ids})

    def _fit(self, X: pd.DataFrame, y: NDArray[np.intp]) -> None:
        groups = pd.Series(y).groupby(X[self.by].to_numpy())
        self.overall_rate_ = float(y.mean())
        added = self.smoothing * self.overall_rate_
        self.rates_ = (groups.sum() + added) / (groups.size() + self.smoothing)

    def _proba(self, X: pd.DataFrame) -> Floats:
        rate = X[self.by].map(self.rates_).fillna(self.overall_rate_)
        return rate.to_numpy(dtype=np.float64)


class HistoryBaseline(PairClassifier):
    """A baseline that looks up the videos of each row's user and challenge."""

    catalog: VideoCatalog
    before: str
    max_videos: int

    def _check(self, X: pd.DataFrame, *, fitting: bool) -> pd.DataFrame:
        check_catalog(self.catalog)
        check_count("max_videos", self.max_videos)
        if self.before is None:
            raise ValueError(
                "before=None has no meaning here: name the column of cut-off times."
            )
        user_side, challenge_side = self._sides()
        X = challenge_side.read(user_side.read(X))
        n_own = challenge_side.n_own(X)
        if fitting and n_own.any():
            raise ValueError(challenge_side.early_birds(X, n_own))
        return X

    def _sides(self) -> tuple[ParticipationRules, ParticipationRules]:
        """Return the rules of users and of challenges, for one call."""
        catalog = snapshot(self.catalog)
        users = ParticipationRules(catalog, catalog.user, self.before, exclude=None)
        challenges = ParticipationRules(
            catalog, challenge_column(catalog), self.before, exclude=catalog.user
        )
        return users, challenges

    def _texts(self, X: pd.DataFrame, rules: ParticipationRules) -> list[str]:
        """Join what is written of each row's videos, without studied tags."""
        catalog = rules.catalog
        written = [catalog.caption, catalog.tags, catalog.sound]
        columns = [c for c in written if c in catalog.videos]
        if not columns:
            raise ValueError(
                f"catalog has no text, none of the columns {written}. Name them in "
                "VideoCatalog(caption=..., tags=..., sound=...)."
            )
        history = rules.history(X, self.max_videos, rules.n_own(X))
        rows = np.unique(history[history >= 0])
        seen = catalog.encoder_view(rows)
        cells = [map(_text, seen[column]) for column in columns]
        videos = [*map(" ".join, zip(*cells, strict=True)), ""]
        place = np.where(history >= 0, np.searchsorted(rows, history), len(rows))
        return [" ".join(videos[i] for i in row) for row in place]


def _text(cell: Any) -> str:
    """Return a caption or a sound as it is, and a list of tags as words."""
    if isinstance(cell, str):
        return cell
    return " ".join(map(str, cell)) if isinstance(cell, Iterable) else ""


def _check_texts(texts: list[str]) -> None:
    if not any(text.strip() for text in texts):
        raise ValueError(
            "No row of X has any text: the videos of its users before their times have "
            "neither captions nor tags nor sounds. Check the ids and times of X."
        )


class TextBaseline(HistoryBaseline):
    """Logistic regression on the words of the user's videos.

    Captions, tags and sounds of the newest videos become one text, its words a sparse
    row of TF-IDF. Token identity is what predicts: the same text as a dense vector of
    a sentence encoder does worse. The challenge plays no part.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos. It is shared by clones and never copied.
    before : str, default="time"
        Column of X with the cut-off.
    max_videos : int, default=8
        Newest videos of the user that are read, under the rules of `HistoryEncoder`.
    C : float, default=1.0
        Inverse strength of the penalty, above 0.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Labels seen in `fit`, sorted.
    model_ : sklearn.pipeline.Pipeline
        The fitted vectorizer and regression.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X.

    See Also
    --------
    AdoptionBaseline : Reads when tags were taken up, not which.

    Notes
    -----
    X has the catalog's columns of users and of challenges, and `before`. A word counts
    if two texts of the training rows have it.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge import VideoCatalog
    >>> from skchallenge.baselines import TextBaseline
    >>> catalog = VideoCatalog(pd.DataFrame({
    ...     "video_id": [1, 2, 3, 4], "user_id": ["ann", "bob", "cy", "dee"],
    ...     "challenge": None, "create_time": 1,
    ...     "caption": ["my dance", "a dance", "my cake", "a cake"],
    ... }))
    >>> pairs = pd.DataFrame({
    ...     "user_id": ["ann", "bob", "cy", "dee"], "challenge": "twist", "time": 2,
    ... })
    >>> text = TextBaseline(catalog).fit(pairs, [1, 1, 0, 0])
    >>> text.predict(pairs)
    array([1, 1, 0, 0])
    """

    def __init__(
        self,
        catalog: VideoCatalog,
        *,
        before: str = "time",
        max_videos: int = 8,
        C: float = 1.0,
    ) -> None:
        self.catalog = catalog
        self.before = before
        self.max_videos = max_videos
        self.C = C

    def _fit(self, X: pd.DataFrame, y: NDArray[np.intp]) -> None:
        check_real("C", self.C, "neither")
        texts = self._texts(X, self._sides()[0])
        _check_texts(texts)
        self.model_ = make_pipeline(
            TfidfVectorizer(sublinear_tf=True, min_df=min(2, len(texts))),
            LogisticRegression(C=self.C, max_iter=1000),
        ).fit(texts, y)

    def _proba(self, X: pd.DataFrame) -> Floats:
        texts = self._texts(X, self._sides()[0])
        return self.model_.predict_proba(texts)[:, 1]


class CosineBaseline(HistoryBaseline):
    """Logistic regression on how alike the words of user and challenge are.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos. It is shared by clones and never copied.
    before : str, default="time"
        Column of X with the cut-off.
    max_videos : int, default=8
        Newest videos of either side that are read, under the rules of
        `HistoryEncoder`.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Labels seen in `fit`, sorted.
    vectorizer_ : sklearn.feature_extraction.text.TfidfVectorizer
        Fitted on the texts of both sides of the training rows.
    model_ : sklearn.linear_model.LogisticRegression
        Fitted on the cosine.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X.

    See Also
    --------
    TextBaseline : Reads which words a user has.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge import VideoCatalog
    >>> from skchallenge.baselines import CosineBaseline
    >>> catalog = VideoCatalog(pd.DataFrame({
    ...     "video_id": [1, 2, 3], "user_id": ["ann", "bob", "cy"],
    ...     "challenge": [None, None, "twist"], "create_time": 1,
    ...     "caption": ["my dance", "a cake", "we dance"],
    ... }))
    >>> pairs = pd.DataFrame({
    ...     "user_id": ["ann", "bob"], "challenge": "twist", "time": 2,
    ... })
    >>> alike = CosineBaseline(catalog).fit(pairs, [1, 0])
    >>> alike.cosine(pairs).round(2)
    array([0.34, 0.  ])
    """

    def __init__(
        self, catalog: VideoCatalog, *, before: str = "time", max_videos: int = 8
    ) -> None:
        self.catalog = catalog
        self.before = before
        self.max_videos = max_videos

    def cosine(self, X: Any) -> Floats:
        """Return the cosine of the two texts of each row.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            The columns seen in `fit`.

        Returns
        -------
        cosine : ndarray of shape (n_samples,)
            In [0, 1]; 0 where a side has no text.
        """
        check_is_fitted(self)
        return self._cosine(self._read(X, reset=False))

    def _cosine(self, X: pd.DataFrame) -> Floats:
        sides = [self.vectorizer_.transform(self._texts(X, s)) for s in self._sides()]
        return np.asarray(sides[0].multiply(sides[1]).sum(axis=1)).ravel()

    def _fit(self, X: pd.DataFrame, y: NDArray[np.intp]) -> None:
        texts = [text for side in self._sides() for text in self._texts(X, side)]
        _check_texts(texts)
        self.vectorizer_ = TfidfVectorizer(sublinear_tf=True).fit(texts)
        self.model_ = LogisticRegression().fit(self._cosine(X)[:, None], y)

    def _proba(self, X: pd.DataFrame) -> Floats:
        return self.model_.predict_proba(self._cosine(X)[:, None])[:, 1]


class AdoptionBaseline(HistoryBaseline):
    """Logistic regression on the columns of `AdoptionHistory`.

    With one column it asks one thing: do users who picked up tags while they spread do
    so again? With all columns of both sides, and which challenge it is, it is the
    strongest plain model that we know of for these pairs.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos, with tags. It is shared by clones and never copied.
    column : str or None, default="burst_mean"
        Column of the user's side, without prefix. None takes all columns of users and
        challenges, and one of zeros and ones for each challenge.
    before : str, default="time"
        Column of X with the cut-off.
    window : str, pandas.Timedelta or number, default="14D"
        See `AdoptionHistory`.
    max_videos : int, default=8
        Newest videos of either side that are read.
    C : float, default=0.1
        Inverse strength of the penalty on standardised columns, above 0.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Labels seen in `fit`, sorted.
    histories_ : list of AdoptionHistory
        Of users, and of challenges if all columns are taken.
    model_ : sklearn.pipeline.Pipeline
        The fitted scaler and regression.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X.

    See Also
    --------
    skchallenge.AdoptionHistory : The columns, and what they may know.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge import VideoCatalog
    >>> from skchallenge.baselines import AdoptionBaseline
    >>> catalog = VideoCatalog(pd.DataFrame({
    ...     "video_id": range(6), "user_id": ["a", "b", "c", "ann", "bob", "s"],
    ...     "challenge": [None] * 5 + ["twist"], "create_time": [1, 2, 3, 4, 4, 4],
    ...     "hashtags": [["wave"]] * 4 + [["cats"], ["twist"]],
    ... }))
    >>> pairs = pd.DataFrame({
    ...     "user_id": ["ann", "bob"], "challenge": "twist", "time": 5,
    ... })
    >>> adoption = AdoptionBaseline(catalog, window=9).fit(pairs, [1, 0])
    >>> adoption.predict(pairs)
    array([1, 0])
    """

    def __init__(
        self,
        catalog: VideoCatalog,
        *,
        column: str | None = "burst_mean",
        before: str = "time",
        window: str | pd.Timedelta | float = "14D",
        max_videos: int = 8,
        C: float = 0.1,
    ) -> None:
        self.catalog = catalog
        self.column = column
        self.before = before
        self.window = window
        self.max_videos = max_videos
        self.C = C

    def _fit(self, X: pd.DataFrame, y: NDArray[np.intp]) -> None:
        check_real("C", self.C, "neither")
        catalog = self.catalog
        by = [catalog.user] + [challenge_column(catalog)] * (not self.column)
        self.histories_ = [
            AdoptionHistory(
                catalog,
                before=self.before,
                by=side,
                window=self.window,
                max_videos=self.max_videos,
            ).fit(X)
            for side in by
        ]
        names = self.histories_[0].get_feature_names_out()
        known = [name.removeprefix(f"{catalog.user}_") for name in names]
        check_option("column", self.column, [None, *known])
        self._place = None if self.column is None else known.index(self.column)
        self._challenges = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        self._challenges.fit(X[[challenge_column(catalog)]])
        regression = LogisticRegression(C=self.C, max_iter=1000)
        self.model_ = make_pipeline(StandardScaler(), regression)
        self.model_.fit(self._columns(X), y)

    def _proba(self, X: pd.DataFrame) -> Floats:
        return self.model_.predict_proba(self._columns(X))[:, 1]

    def _columns(self, X: pd.DataFrame) -> Floats:
        columns = [np.asarray(side.transform(X)) for side in self.histories_]
        if self._place is not None:
            return columns[0][:, [self._place]]
        which = self._challenges.transform(X[[challenge_column(self.catalog)]])
        return np.hstack([*columns, which])


def default_baselines(
    catalog: VideoCatalog,
    *,
    before: str = "time",
    window: str | pd.Timedelta | float = "14D",
    max_videos: int = 8,
) -> dict[str, PairClassifier]:
    """Make the baselines that `compare` puts beside a model.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos. One without tags has no adoption, and one without any
        text no baseline that reads it.
    before : str, default="time"
        Column of X with the cut-off.
    window : str, pandas.Timedelta or number, default="14D"
        See `AdoptionHistory`; a number where the catalog's times are numbers.
    max_videos : int, default=8
        Newest videos that are read.

    Returns
    -------
    baselines : dict of str to estimator
        Unfitted, from the weakest to what is usually the strongest.

    See Also
    --------
    compare : Scores them.
    RecommenderBaseline : A peer that needs another package, and so is not among them.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge import VideoCatalog
    >>> from skchallenge.baselines import default_baselines
    >>> catalog = VideoCatalog(pd.DataFrame({
    ...     "video_id": [1], "user_id": ["ann"], "challenge": None, "create_time": 1,
    ...     "hashtags": [["cats"]],
    ... }))
    >>> list(default_baselines(catalog))
    ['challenge rate', 'user rate', 'cosine', 'text', 'adoption, one column',
     'adoption']
    """
    check_catalog(catalog)
    found: dict[str, PairClassifier] = {
        "challenge rate": RateBaseline(challenge_column(catalog)),
        "user rate": RateBaseline(catalog.user),
    }
    options: dict[str, Any] = {"before": before, "max_videos": max_videos}
    columns = {catalog.caption, catalog.tags, catalog.sound}
    if columns & set(catalog.videos):
        found["cosine"] = CosineBaseline(catalog, **options)
        found["text"] = TextBaseline(catalog, **options)
    if catalog.tags in catalog.videos:
        options["window"] = window
        found["adoption, one column"] = AdoptionBaseline(catalog, **options)
        found["adoption"] = AdoptionBaseline(catalog, column=None, **options)
    return found
