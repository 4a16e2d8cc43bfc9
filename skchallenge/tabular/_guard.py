"""A guard against leaks at the head of any pipeline."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from skchallenge._guard import check_nowcast, check_table, warn_if_leaking
from skchallenge._state import Versioned
from skchallenge._table import as_frame


class LeakageGuard(Versioned, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Refuse columns that are not known when a video is posted; pass the others on.

    It can head any pipeline, whatever estimator follows, and changes nothing of X.

    Parameters
    ----------
    nowcast : str or sequence of str, default=()
        Columns of X that are let through although they are not known in time, to
        describe videos that are online rather than predict: any known name of theirs.

    Attributes
    ----------
    column_roles_ : dict of str to str
        The role of each column of X, see `column_roles`. ``label_part`` and
        ``scrape_aggregate`` pass: look here for what a good score may rest on.
    unrecognised_ : list of str
        Columns of role ``unknown``: nobody but you knows when they are known.
    n_features_in_ : int
        Columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`.

    See Also
    --------
    MetadataFeaturizer : Guards too, and makes numbers of the columns.
    skchallenge.metrics.virality_report : Guards what it scores; it has the views at
        hand.
    column_roles : What each column may be used for.

    Notes
    -----
    **By name.** Outcomes, such as views and likes, raise. So do times of posting and
    ids that are numbers. As text or datetimes they pass, because a later step has to
    make something of them: a second guard behind that step sees what.

    **By what they hold.** With two classes in y and 1,000 rows or more, columns of
    numbers are compared with y by rank. One that has the order of y (an AUC of .995 or
    more), or that tells it together with followers (.95), is named in a
    `LeakageWarning`. Beside followers that finds renamed views and likes.

    **What no test sees.** Renamed likes without followers, and renamed comments and
    shares, score like honest columns. Names are the stronger guard.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from skchallenge.tabular import LeakageGuard
    >>> X = pd.DataFrame({"duration_s": [9, 8, 30, 20], "n_words": [3, 1, 2, 2]})
    >>> model = make_pipeline(LeakageGuard(), HistGradientBoostingClassifier())
    >>> model.fit(X, [1, 0, 1, 0])["leakageguard"].unrecognised_
    ['n_words']
    >>> model.fit(X.assign(vistas=[90, 5, 80, 7]), [1, 0, 1, 0])
    Traceback (most recent call last):
        ...
    skchallenge.exceptions.LeakageError: X has the column 'vistas' (n_plays), whose role
    is 'post_outcome': it is counted after the video was posted. Drop it. To describe
    videos that are online rather than predict, pass nowcast=('vistas',).
    """

    def __init__(self, *, nowcast: str | Sequence[str] = ()) -> None:
        self.nowcast = nowcast

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the columns, by their names and beside y.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            Any named columns.
        y : array-like of shape (n_samples,) or None, default=None
            Labels, for the search for leaks only.

        Returns
        -------
        self : LeakageGuard
            The fitted guard.

        Raises
        ------
        LeakageError
            If a column is not known in time and `nowcast` does not list it.
        TypeError
            If X has no named columns, or `nowcast` holds other things than strings.
        ValueError
            If X has no column that `nowcast` lists.

        Warns
        -----
        LeakageWarning
            If columns give y away by what they hold.
        """
        self._fit(X, y)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Check the columns, and return X.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            As in `fit`.
        y : array-like of shape (n_samples,) or None, default=None
            As in `fit`.

        Returns
        -------
        X : the same table
            As it came.
        """
        self._fit(X, y)
        return X

    def _fit(self, X: Any, y: Any) -> None:
        frame = as_frame(X, "X")
        validate_data(self, X, reset=True, skip_check_array=True)
        nowcast = check_nowcast(self.nowcast, frame.columns)
        self.column_roles_ = check_table(frame, nowcast)
        roles = self.column_roles_
        self.unrecognised_ = [c for c in roles if roles[c] == "unknown"]
        if y is not None:
            # The user's line calls `fit` or `fit_transform`, and these this.
            warn_if_leaking(frame, y, roles, stacklevel=4, nowcast=nowcast)

    def transform(self, X: Any) -> Any:
        """Return X.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            The columns seen in `fit`.

        Returns
        -------
        X : the same table
            As it came.
        """
        check_is_fitted(self)
        as_frame(X, "X")
        validate_data(self, X, reset=False, skip_check_array=True)
        return X

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against `feature_names_in_`.

        Returns
        -------
        names : ndarray of shape (n_features,)
            Those of X.
        """
        check_is_fitted(self)
        return super().get_feature_names_out(input_features)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # a table with named columns, not numbers
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        return tags
