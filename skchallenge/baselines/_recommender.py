"""A kept recommender as a peer: matrix factorisation of who uses what."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from skchallenge._optional import import_optional
from skchallenge._table import check_count, check_real
from skchallenge.baselines._estimators import Floats, HistoryBaseline, _check_texts
from skchallenge.datasets._catalog import VideoCatalog


class RecommenderBaseline(HistoryBaseline):
    """Recommend challenges as a shop recommends goods, by the package ``implicit``.

    Users are rows; words of their videos and the challenges that they joined are items.
    Alternating least squares [1]_ factorises who has what. A row's score is the product
    of the vectors of its user and its challenge. Users are always placed by their words
    before the cut-off, so that known and unseen ones are treated alike. A challenge
    that training has not seen is placed where those who started it are.

    Needs the package ``implicit``, of the extra ``bench``.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos. It is shared by clones and never copied.
    before : str, default="time"
        Column of X with the cut-off.
    max_videos : int, default=8
        Newest videos of either side that are read, under the rules of
        `HistoryEncoder`.
    factors : int, default=32
        Width of the vectors.
    alpha : float, default=10.0
        Weight of what a user has against what the user has not, above 0.
    max_iter : int, default=15
        Rounds of alternating least squares.
    random_state : int, RandomState instance or None, default=None
        Seed of the vectors to start from.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
        Labels seen in `fit`, sorted.
    vectorizer_ : sklearn.feature_extraction.text.CountVectorizer
        Knows the words that are items.
    items_ : ndarray of shape (n_words, factors)
        Vectors of the words.
    challenges_ : dict of challenge to ndarray of shape (factors,)
        Vectors of the challenges of the training rows.
    model_ : sklearn.linear_model.LogisticRegression
        Makes a probability of the score.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X.

    See Also
    --------
    TextBaseline : Reads the same words, one weight each.

    References
    ----------
    .. [1] Y. Hu, Y. Koren, C. Volinsky, "Collaborative filtering for implicit feedback
       datasets", ICDM 2008. https://doi.org/10.1109/ICDM.2008.22

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge import VideoCatalog
    >>> from skchallenge.baselines import RecommenderBaseline
    >>> catalog = VideoCatalog(pd.DataFrame({
    ...     "video_id": range(7), "user_id": ["a", "b", "c", "d", "e", "f", "s"],
    ...     "challenge": [None] * 6 + ["twist"], "create_time": 1,
    ...     "caption": ["dance"] * 3 + ["cake"] * 3 + ["dance"],
    ... }))
    >>> pairs = pd.DataFrame({
    ...     "user_id": ["a", "b", "d", "e"], "challenge": "twist", "time": 2,
    ... })
    >>> peer = RecommenderBaseline(catalog, factors=2, random_state=0)
    >>> peer.fit(pairs, [1, 1, 0, 0]).predict(pairs)
    array([1, 1, 0, 0])
    """

    def __init__(
        self,
        catalog: VideoCatalog,
        *,
        before: str = "time",
        max_videos: int = 8,
        factors: int = 32,
        alpha: float = 10.0,
        max_iter: int = 15,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.catalog = catalog
        self.before = before
        self.max_videos = max_videos
        self.factors = factors
        self.alpha = alpha
        self.max_iter = max_iter
        self.random_state = random_state

    def _fit(self, X: pd.DataFrame, y: NDArray[np.intp]) -> None:
        check_count("factors", self.factors)
        check_count("max_iter", self.max_iter)
        check_real("alpha", self.alpha, "neither")
        als = import_optional(
            "implicit.als", extra="bench", purpose="RecommenderBaseline"
        )
        user_side, challenge_side = self._sides()
        texts = self._texts(X, user_side)
        _check_texts(texts)
        self.vectorizer_ = CountVectorizer(binary=True, dtype=np.float32).fit(texts)
        words = self.vectorizer_.transform(texts)
        # One line a user: the words of the latest row, and the challenges joined.
        user, users = pd.factorize(X[user_side.by])
        latest = X.groupby(user)[self.before].idxmax()
        challenge, names = pd.factorize(X[challenge_side.by])
        yes = y == 1
        joined = sparse.csr_array(
            (np.ones(yes.sum(), np.float32), (user[yes], challenge[yes])),
            shape=(len(users), len(names)),
        )
        lines = sparse.hstack([words[latest.to_numpy()], joined], format="csr")
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        with threadpool_limits(1, "blas"):  # as implicit asks for; it has threads too
            model = als.AlternatingLeastSquares(
                factors=self.factors,
                alpha=self.alpha,
                iterations=self.max_iter,
                random_state=seed,
                num_threads=1,
                use_gpu=False,
            )
            model.fit(sparse.csr_matrix(lines), show_progress=False)
        n_words = words.shape[1]
        self.items_ = model.item_factors[:n_words].astype(np.float64)
        vectors = model.item_factors[n_words:].astype(np.float64)
        self.challenges_ = dict(zip(names, vectors, strict=True))
        self._length = float(np.linalg.norm(vectors, axis=1).mean())
        self._regularization = model.regularization
        score = self._scores(X)
        self._scale = float(score.std()) or 1.0
        self.model_ = LogisticRegression().fit(score[:, None] / self._scale, y)

    def _proba(self, X: pd.DataFrame) -> Floats:
        score = self._scores(X)[:, None] / self._scale
        return self.model_.predict_proba(score)[:, 1]

    def _scores(self, X: pd.DataFrame) -> Floats:
        user_side, challenge_side = self._sides()
        users = self._vectors(self._texts(X, user_side))
        known = X[challenge_side.by].isin(self.challenges_).to_numpy()
        challenges = np.empty_like(users)
        if known.any():
            names = X[challenge_side.by][known]
            challenges[known] = [self.challenges_[name] for name in names]
        if not known.all():
            texts = self._texts(X[~known], challenge_side)
            placed = self._vectors(texts)
            length = np.linalg.norm(placed, axis=1, keepdims=True)
            # As long as those of training, or the probabilities mean nothing.
            challenges[~known] = placed * self._length / np.where(length > 0, length, 1)
        return np.einsum("ij,ij->i", users, challenges)

    def _vectors(self, texts: list[str]) -> Floats:
        """Place texts among the items: one half of a round of least squares."""
        distinct, place = np.unique(texts, return_inverse=True)
        words = self.vectorizer_.transform(distinct).tocsr()
        gram = self.items_.T @ self.items_
        gram += self._regularization * np.eye(gram.shape[0])
        vectors = np.zeros((len(distinct), gram.shape[0]))
        for i in range(len(distinct)):
            items = self.items_[words.indices[words.indptr[i] : words.indptr[i + 1]]]
            # As in implicit: weight alpha where a user has an item, else 1.
            left = gram + (self.alpha - 1) * items.T @ items
            vectors[i] = np.linalg.solve(left, self.alpha * items.sum(axis=0))
        return vectors[place]
