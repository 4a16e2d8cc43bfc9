"""What counts as viral."""

import warnings
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from skchallenge._parse import numbers_of, plain_cells, read_counts
from skchallenge._schema import find_columns
from skchallenge._state import Versioned
from skchallenge._table import (
    as_frame,
    check_columns,
    check_ids,
    check_option,
    check_real,
)

Kind = Literal["views_per_follower", "log_residual", "creator_relative", "views"]
_NEEDS: dict[str, tuple[str, ...]] = {
    "views_per_follower": ("n_plays", "n_followers"),
    "log_residual": ("n_plays", "n_followers"),
    "creator_relative": ("n_plays", "user_id"),
    "views": ("n_plays",),
}
_ONCE_A_VIEWER = ("n_likes", "n_saves")
_FEWEST_VIDEOS = 5  # of a creator, to say what is usual

Floats = NDArray[np.float64]


class ViralityLabeler(Versioned, BaseEstimator):
    """Label videos as viral or not, by a cut-off learnt on other videos.

    It is no step of a pipeline, because it makes y, not X. Fit it on the development
    set, label both sides with it, and y is an ordinary label. `virality_report` does so
    in each fold.

    Parameters
    ----------
    kind : {"views_per_follower", "log_residual", "creator_relative", "views"}, \
default="views_per_follower"
        What is compared with the cut-off:

        - ``"views_per_follower"``: views over followers, the score of the report [1]_;
        - ``"log_residual"``: how far log(1 + views) is above what the followers let
          expect, by a line fitted in `fit`;
        - ``"creator_relative"``: how far log(1 + views) is above the median of the
          creator's videos in `catalog`;
        - ``"views"``: the views.
    quantile : float, default=0.5
        Share of the videos of `fit` that is not viral, in (0, 1): 0.5 cuts at the
        median, 0.9 makes the top 10 % viral.
    catalog : VideoCatalog or None, default=None
        Side table of all videos; ``"creator_relative"`` needs it.

    Attributes
    ----------
    cutoff_ : float
        A video is viral if its score is above it.
    line_ : ndarray of shape (2,)
        Intercept and slope of log(1 + views) on log(1 + followers); only with
        ``"log_residual"``.

    See Also
    --------
    skchallenge.metrics.virality_report : Fits the labeler anew in each fold.
    MetadataFeaturizer : Keeps the views out of X.

    Notes
    -----
    Columns have the names of `load_tiktok_export` or of the known scrapers; names that
    `column_roles` only reads word by word are not trusted with the label. Counts may be
    text, also the rounded text of the platform; negative ones raise. Zero views are a
    score like any other. A video has no label if a count is missing, if it has no
    followers and the kind divides by them, or if the catalog holds fewer than five
    videos of its creator. `fit` and `transform` raise on such rows; `labelable` tells
    which to keep.

    A creator-relative label looks at all of the creator's videos. Keep a creator's
    videos on one side of each split, or the labels of one side look at the other.

    References
    ----------
    .. [1] The multimodal TikTok virality report, sections 4 and 12: the ratio between
       a video's views and the followers that the user has.

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge.tabular import ViralityLabeler
    >>> videos = pd.DataFrame({
    ...     "n_plays": ["1.2K", 90, 500, 0], "n_followers": [100, 100, 100, 0],
    ... })
    >>> labeler = ViralityLabeler()
    >>> known = labeler.labelable(videos)
    >>> known
    array([ True,  True,  True, False])
    >>> labeler.fit(videos[known]).transform(videos[known])
    array([1, 0, 0])
    >>> labeler.cutoff_
    5.0
    """

    def __init__(
        self,
        kind: Kind = "views_per_follower",
        *,
        quantile: float = 0.5,
        catalog: Any = None,
    ) -> None:
        self.kind = kind
        self.quantile = quantile
        self.catalog = catalog

    def fit(self, videos: Any, y: Any = None) -> Self:
        """Learn the cut-off.

        Parameters
        ----------
        videos : pandas or polars DataFrame of shape (n_videos, n_columns)
            The development set.
        y : None
            Ignored.

        Returns
        -------
        self : ViralityLabeler
            The fitted labeler.

        Raises
        ------
        ValueError
            If a column is missing, a video has no label, a count is no count, or all
            videos would get the same label.

        Warns
        -----
        UserWarning
            If videos have fewer views than likes or saves, of which a viewer gives one.
        """
        check_real("quantile", self.quantile, "neither", max_val=1)
        parts = self._labelable_parts(videos)
        if self.kind == "log_residual":
            self.line_ = _fit_line(parts)
        scores = self._scores(parts)
        cutoff = float(np.quantile(scores, self.quantile))
        if not (scores > cutoff).any():
            raise ValueError(
                f"kind={self.kind!r} with quantile={self.quantile} puts all "
                f"{len(scores)} videos into one class: no score is above the cut-off "
                f"{cutoff:g}. Lower quantile, or choose another kind."
            )
        self.cutoff_, self._fitted_kind = cutoff, self.kind
        if not getattr(self, "_has_warned", False):  # a report of many folds warns once
            _warn_of_contradictions(as_frame(videos, "videos"))
        return self

    def transform(self, videos: Any) -> NDArray[np.int64]:
        """Label videos.

        Parameters
        ----------
        videos : pandas or polars DataFrame of shape (n_videos, n_columns)
            Videos that `labelable` lets pass.

        Returns
        -------
        y : ndarray of int of shape (n_videos,)
            1 where the score is above the cut-off, else 0.

        Raises
        ------
        ValueError
            As in `score_values`.
        """
        return (self.score_values(videos) > self.cutoff_).astype(np.int64)

    def score_values(self, videos: Any) -> Floats:
        """Return what is compared with the cut-off.

        Parameters
        ----------
        videos : pandas or polars DataFrame of shape (n_videos, n_columns)
            Videos that `labelable` lets pass.

        Returns
        -------
        scores : ndarray of shape (n_videos,)
            One float a video.

        Raises
        ------
        ValueError
            If `kind` was set to another one after `fit`.
        """
        check_is_fitted(self)
        if self.kind != self._fitted_kind:
            raise ValueError(
                f"kind was set to {self.kind!r} after fit, which learnt the cut-off of "
                f"kind={self._fitted_kind!r}. Call fit again."
            )
        return self._scores(self._labelable_parts(videos))

    def labelable(self, videos: Any) -> NDArray[np.bool_]:
        """Tell which videos can be labelled; works before `fit`.

        Parameters
        ----------
        videos : pandas or polars DataFrame of shape (n_videos, n_columns)
            Any videos.

        Returns
        -------
        mask : ndarray of bool of shape (n_videos,)
            Whether all that the label needs is known.

        Raises
        ------
        ValueError
            If a column that the label needs is absent or empty. The message names the
            kinds that are possible.
        """
        return _has_label(self._parts(videos), self.kind)

    def _labelable_parts(self, videos: Any) -> pd.DataFrame:
        parts = self._parts(videos)
        bad = ~_has_label(parts, self.kind)
        if bad.any():
            raise ValueError(
                f"{bad.sum()} of {len(bad)} videos have no label of "
                f"kind={self.kind!r}, first row {int(bad.argmax())}: "
                f"{_WHY_NOT[self.kind]}. Keep videos[labeler.labelable(videos)]."
            )
        return parts

    def _parts(self, videos: Any) -> pd.DataFrame:
        """Return what the label is made of, one column a part."""
        check_option("kind", self.kind, list(_NEEDS))
        frame = as_frame(videos, "videos")
        columns = find_columns(frame)
        missing = [c for c in _NEEDS[self.kind] if c not in columns]
        if missing:
            possible = [k for k in _NEEDS if set(_NEEDS[k]) <= set(columns)]
            raise ValueError(
                f"kind={self.kind!r} needs {list(_NEEDS[self.kind])}, but videos holds "
                f"no value of {missing}. Kinds that are possible with these videos: "
                f"{possible}."
            )
        parts = pd.DataFrame(index=frame.index)
        for name in set(_NEEDS[self.kind]) - {"user_id"}:
            parts[name] = read_counts(frame[columns[name]], columns[name])
        if self.kind == "creator_relative":
            parts["usual"] = self._usual_views(frame[columns["user_id"]])
        return parts

    def _usual_views(self, creators: "pd.Series[Any]") -> "pd.Series[Any]":
        """Return each creator's median log views, NaN where there are few videos."""
        if not hasattr(self.catalog, "videos"):
            raise TypeError(
                "kind='creator_relative' needs a catalog, to say what is usual for a "
                f"creator; got {type(self.catalog).__name__}. Pass "
                "catalog=VideoCatalog(videos, challenge=None)."
            )
        videos = self.catalog.videos
        check_columns(videos.columns, ["n_plays"], "catalog")
        known = videos[self.catalog.user]
        creators = creators.dropna()
        creators = check_ids(creators, str(creators.name), like=known)
        counts = pd.Series(np.log1p(read_counts(videos["n_plays"], "n_plays")))
        by_creator = counts.groupby(known.to_numpy())
        usual = by_creator.median().where(by_creator.count() >= _FEWEST_VIDEOS)
        return creators.map(usual)

    def _scores(self, parts: pd.DataFrame) -> Floats:
        views = parts["n_plays"].to_numpy()
        if self.kind == "views":
            return views
        if self.kind == "views_per_follower":
            return views / parts["n_followers"].to_numpy()
        if self.kind == "creator_relative":
            return np.log1p(views) - parts["usual"].to_numpy()
        intercept, slope = self.line_
        expected = intercept + slope * np.log1p(parts["n_followers"].to_numpy())
        return np.log1p(views) - expected


_WHY_NOT = {
    "views_per_follower": "a count is missing, or the user has no followers",
    "log_residual": "a count is missing",
    "creator_relative": (
        "the views are missing, or the catalog holds fewer than "
        f"{_FEWEST_VIDEOS} videos of the user"
    ),
    "views": "the views are missing",
}


def _has_label(parts: pd.DataFrame, kind: str) -> NDArray[np.bool_]:
    known = parts.notna().all(axis=1)
    if kind == "views_per_follower":
        known &= parts["n_followers"] > 0
    return known.to_numpy(dtype=bool)


def _warn_of_contradictions(videos: pd.DataFrame) -> None:
    """Warn of views that are fewer than what each viewer gives once."""
    columns = find_columns(videos)
    if "n_plays" not in columns:
        return
    views = numbers_of(plain_cells(videos[columns["n_plays"]]))
    found = []
    for name in _ONCE_A_VIEWER:
        column = columns.get(name)
        if column is not None:
            fewer = views < numbers_of(plain_cells(videos[column]))
            found += [(column, fewer)] if fewer.any() else []
    if found:
        parts = [
            f"below {column!r} in {fewer.sum()} of {len(videos)} videos, first row "
            f"{int(fewer.argmax())}"
            for column, fewer in found
        ]
        warnings.warn(
            f"{columns['n_plays']!r} is {'; '.join(parts)}. Views that are fewer are "
            "unknown, rounded or of another day, and the label is made of them: drop "
            "these rows, or set their views to missing and keep those that "
            "labelable() lets pass.",
            UserWarning,
            stacklevel=3,
        )


def _fit_line(parts: pd.DataFrame) -> Floats:
    followers = np.log1p(parts["n_followers"].to_numpy())
    A = np.column_stack([np.ones(len(followers)), followers])
    line, *_ = np.linalg.lstsq(A, np.log1p(parts["n_plays"].to_numpy()), rcond=None)
    return line
