"""Folds that keep sibling challenges together."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import BaseCrossValidator, GroupKFold
from sklearn.utils import check_random_state

from skchallenge._rules import challenge_column, check_catalog
from skchallenge._table import (
    as_frame,
    check_columns,
    check_count,
    check_ids,
    check_real,
)
from skchallenge._time_index import Rows
from skchallenge.datasets._catalog import VideoCatalog, snapshot


def challenge_clusters(catalog: VideoCatalog, overlap: float) -> "pd.Series[int]":
    """Return the number of the cluster of each of a catalog's challenges.

    Two challenges are siblings if the videos that they share are at least a fraction
    `overlap` of the smaller one's; siblings of siblings are of one cluster.
    """
    members = catalog.memberships
    code, names = pd.factorize(members["challenge"], sort=True)
    shape = (len(catalog.videos), len(names))
    is_in = sparse.csr_array((np.ones(len(code)), (members["row"], code)), shape=shape)
    shared = (is_in.T @ is_in).toarray()  # (challenges, challenges)
    size = shared.diagonal()
    siblings = shared >= overlap * np.minimum.outer(size, size)
    _, cluster = connected_components(siblings & (shared > 0), directed=False)
    return pd.Series(cluster, index=names)


class _ClusterFolds(BaseCrossValidator):
    """What the two splitters share: whose each row is, and folds of these."""

    def __init__(
        self,
        catalog: VideoCatalog,
        n_splits: int,
        overlap: float,
        shuffle: bool,
        random_state: int | np.random.RandomState | None,
    ) -> None:
        self.catalog = catalog
        self.n_splits = n_splits
        self.overlap = overlap
        self.shuffle = shuffle
        self.random_state = random_state

    def clusters(self) -> "pd.Series[int]":
        """Return the number of the cluster of each of the catalog's challenges.

        Returns
        -------
        clusters : pandas.Series of int
            One number a challenge, by its name; siblings have the same.
        """
        check_catalog(self.catalog)
        check_real("overlap", self.overlap, "right", max_val=1)
        return challenge_clusters(snapshot(self.catalog), self.overlap)

    def _read(self, X: Any) -> pd.DataFrame:
        """Return X with the ids of its challenges in NumPy's types."""
        check_count("n_splits", self.n_splits, min_val=2)
        check_catalog(self.catalog)
        frame, column = as_frame(X, "X"), challenge_column(self.catalog)
        check_columns(frame.columns, [column], "X")
        known = self.catalog.memberships["challenge"]
        return frame.assign(**{column: check_ids(frame[column], column, known)})

    def clusters_of(self, frame: pd.DataFrame) -> NDArray[np.intp]:
        """Return the cluster of each row; an unknown challenge is its own."""
        name = frame[challenge_column(self.catalog)]
        clusters = self.clusters()
        unknown = pd.Index(name[~name.isin(clusters.index)].unique())
        new = pd.Series(np.arange(len(unknown)) + len(clusters), index=unknown)
        return pd.concat([clusters, new]).loc[name].to_numpy()

    def _folds(self, groups: Any, what: str, seed: Any) -> list[Rows]:
        """Return the rows of each fold of whole groups."""
        n_groups = len(np.unique(groups))
        if n_groups < self.n_splits:
            raise ValueError(
                f"n_splits={self.n_splits} makes more folds than X has {what}, which "
                f"is {n_groups}. Take fewer folds."
            )
        options = {"random_state": seed} if self.shuffle else {}
        splitter = GroupKFold(self.n_splits, shuffle=self.shuffle, **options)
        return [test for _, test in splitter.split(groups, groups=groups)]


class ChallengeClusterKFold(_ClusterFolds):
    """Split by challenges, with sibling challenges on one side.

    Tags come in families: much of what is tagged ``#halloween2020`` is tagged
    ``#halloween``, too. With folds by tag, the very video that is a training positive
    of the one is a held-out positive of the other. Here challenges that share videos
    are held out together.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table that knows which videos take part in which challenges.
    n_splits : int, default=3
        Number of folds, at least 2.
    overlap : float, default=0.2
        Two challenges are siblings if the videos that they share are at least this
        fraction of the smaller one's, in (0, 1]; siblings of siblings are of one
        cluster.
    shuffle : bool, default=False
        Whether clusters are drawn into folds at random; else folds have rows as equal
        in number as can be.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling.

    See Also
    --------
    ColdBothKFold : Holds out users at the same time.
    audit_split : Says what the two sides of a split share.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge import VideoCatalog
    >>> from skchallenge.model_selection import ChallengeClusterKFold
    >>> catalog = VideoCatalog(pd.DataFrame({
    ...     "video_id": [1, 2, 3], "user_id": ["ann", "bob", "cy"],
    ...     "challenge": [["spooky", "spooky2020"], "spooky", "dance"],
    ...     "create_time": [1, 2, 3],
    ... }))
    >>> splitter = ChallengeClusterKFold(catalog, n_splits=2)
    >>> splitter.clusters().to_dict()
    {'dance': 0, 'spooky': 1, 'spooky2020': 1}
    >>> pairs = pd.DataFrame({"challenge": ["dance", "spooky", "spooky2020", "dance"]})
    >>> [test.tolist() for _, test in splitter.split(pairs)]
    [[1, 2], [0, 3]]
    """

    def __init__(
        self,
        catalog: VideoCatalog,
        n_splits: int = 3,
        *,
        overlap: float = 0.2,
        shuffle: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(catalog, n_splits, overlap, shuffle, random_state)

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[Rows, Rows]]:
        """Generate the row numbers of training and test sets.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            Has the catalog's column of challenges.
        y : None
            Ignored.
        groups : None
            Ignored.

        Yields
        ------
        train : ndarray of int
            Rows of the other clusters, ascending.
        test : ndarray of int
            Rows of some clusters, ascending.

        Raises
        ------
        TypeError
            If X has no named columns, or its ids are not of the catalog's type.
        ValueError
            If the column is missing, or there are fewer clusters than folds.
        """
        frame = self._read(X)
        cluster = self.clusters_of(frame)
        for test in self._folds(cluster, "clusters of challenges", self.random_state):
            yield np.setdiff1d(np.arange(len(frame)), test), test

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : None
            Ignored.

        Returns
        -------
        n_splits : int
            The parameter.
        """
        return self.n_splits


class ColdBothKFold(_ClusterFolds):
    """Split so that neither the user nor a sibling of the challenge was seen.

    Users are cut into folds, and so are clusters of challenges. Each fold of users
    meets each fold of clusters: their pairs are the test set, and the training set
    holds what is of neither. Every row is in one test set.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table that knows which videos take part in which challenges.
    n_splits : int, default=3
        Number of folds of users and of clusters, at least 2; so there are
        ``n_splits ** 2`` splits.
    overlap : float, default=0.2
        When two challenges are siblings, see `ChallengeClusterKFold`.
    shuffle : bool, default=False
        Whether users and clusters are drawn into folds at random.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling.

    See Also
    --------
    ChallengeClusterKFold : Holds out challenges only.
    sklearn.model_selection.GroupKFold : Holds out users only, given their column.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge import VideoCatalog
    >>> from skchallenge.model_selection import ColdBothKFold
    >>> catalog = VideoCatalog(pd.DataFrame({
    ...     "video_id": [1, 2], "user_id": ["cy", "dee"],
    ...     "challenge": ["dance", "sing"], "create_time": [1, 2],
    ... }))
    >>> pairs = pd.DataFrame({
    ...     "user_id": ["ann", "ann", "bob", "bob"],
    ...     "challenge": ["dance", "sing", "dance", "sing"],
    ... })
    >>> for train, test in ColdBothKFold(catalog, n_splits=2).split(pairs):
    ...     print(train, test)
    [0] [3]
    [1] [2]
    [2] [1]
    [3] [0]
    """

    def __init__(
        self,
        catalog: VideoCatalog,
        n_splits: int = 3,
        *,
        overlap: float = 0.2,
        shuffle: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(catalog, n_splits, overlap, shuffle, random_state)

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[Rows, Rows]]:
        """Generate the row numbers of training and test sets.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            Has the catalog's columns of users and challenges.
        y : None
            Ignored.
        groups : None
            Ignored.

        Yields
        ------
        train : ndarray of int
            Rows of other users in other clusters, ascending.
        test : ndarray of int
            Rows of some users in some clusters, ascending.

        Raises
        ------
        TypeError
            If X has no named columns, or its ids are not of the catalog's type.
        ValueError
            If a column is missing, there are fewer users or clusters than folds, or no
            row is left on a side.
        """
        frame, column = self._read(X), self.catalog.user
        check_columns(frame.columns, [column], "X")
        user = check_ids(frame[column], column, like=self.catalog.videos[column])
        rng = check_random_state(self.random_state)
        users = self._folds(pd.factorize(user)[0], "users", rng)
        of_cluster = self.clusters_of(frame)
        clusters = self._folds(of_cluster, "clusters of challenges", rng)
        everything = np.arange(len(frame))
        splits = []
        for rows in users:
            for others in clusters:
                test = np.intersect1d(rows, others)
                train = np.setdiff1d(everything, np.union1d(rows, others))
                if not (len(test) and len(train)):
                    raise ValueError(
                        f"n_splits={self.n_splits} leaves no row of X to train on, or "
                        "none to test, where a fold of users meets one of clusters. "
                        "Take fewer folds, or shuffle them."
                    )
                splits.append((train, test))
        yield from splits

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : None
            Ignored.

        Returns
        -------
        n_splits : int
            The square of the parameter.
        """
        return self.n_splits**2
