"""Turn a user or a challenge into a block of learned video embeddings."""

from functools import partial
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_scalar
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_is_fitted,
    validate_data,
)

from skchallenge._proxy_task import CrossFit, Encode, embed_videos, fit_encoder
from skchallenge._rules import Protocol, check_catalog
from skchallenge._table import as_frame, check_option, plain_ids
from skchallenge._time_index import Rows
from skchallenge._warn import warn
from skchallenge.datasets._catalog import VideoCatalog, snapshot
from skchallenge.exceptions import EmptyHistoryWarning


class HistoryEncoder(TransformerMixin, BaseEstimator):
    """Encode ids as blocks of the learned embeddings of their videos.

    `encoder` is trained on the proxy task "whose video is this?" with videos from a
    side table. Each row's user (or challenge) then becomes the embeddings of its
    newest videos, side by side [1]_. What may be seen is fixed by rules that keep
    the answer out of the features; see Notes.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos. It is shared by clones and never copied.
    encoder : estimator
        A classifier that is also a transformer, such as a pipeline that ends in
        `ProxyEncoder`, or any transformer. It is cloned, fitted on catalog rows with
        the proxy label as `y`, and transforms catalog rows. It never sees the
        catalog's `hidden_columns` nor the tags of studied challenges.
    by : str
        The catalog's user or challenge column, which X has too: whose videos to take.
    before : str or None
        Column of X with the time before which videos count. None must be written
        out: it is the timeless setting of the paper, in which a challenge is known by
        the videos of users outside ``catalog.candidates`` only.
    exclude : str or None, default=None
        On the challenge side, the catalog's user column, which X has too: the user
        whose own videos do not count, and whose videos may train `encoder`. None
        leaves own videos in; `fit` sees that there are none only if X has that column.
    max_videos : int, default=8
        Number of newest videos that are taken. The paper took 8. If it is more
        than some users have, the fill tells how many videos the catalog holds of them.
    aggregation : {"concat", "mean", "max"}, default="concat"
        Whether to put the videos side by side or to average or maximise over them.
    cross_fit : int or None, default=None
        Folds, at least 2, by which `fit_transform` encodes each entity with an encoder
        that was not trained on it, as `sklearn.preprocessing.TargetEncoder` does.
        Each fold's encoder is mapped linearly onto the space of the final one.
    random_state : int, RandomState instance or None, default=None
        Shuffles the entities into folds; only `cross_fit` uses it.

    Attributes
    ----------
    encoder_ : estimator
        The encoder fitted on all rows of X.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X.

    See Also
    --------
    ProxyEncoder : The last step of the encoder.
    DeepChallenger : Reads the blocks.
    make_participation : Makes pairs whose cut-offs do not leak.

    Notes
    -----
    The columns are ``{by}_video{k}_{j}`` (``"concat"``) or ``{by}_{j}``, then one
    ``{by}_fill``, the number of videos over `max_videos`. Slot k is valid if and only
    if ``k < fill * max_videos``; slot 0 is the newest, and empty slots are zero.

    **History of a row.** Videos of the row's entity, strictly before the row's time,
    newest first, ties by video id. On the user side none of a studied challenge and
    none with a studied challenge's own sound; on the challenge side none by the
    excluded user.

    **Fit set.** Videos of entities in X, before the latest time in X; on the user
    side of no studied challenge; on the challenge side by users in X's `exclude`
    column or by users that are not among the catalog's candidates. So a split by
    users, by challenges or by time is honest with nothing but X.

    `exclude` is a safeguard, not a filter: pairs whose user took part before the
    cut-off must not exist, because the missing video would be the label. `fit`
    raises where it finds one.

    References
    ----------
    .. [1] Ng, L. H. X., Tan, J. Y. H., Tan, D. J. H., Lee, R. K.-W. "Will you
       dance to the challenge? Predicting user participation of TikTok challenges",
       ASONAM 2021, section IV.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.pipeline import make_pipeline
    >>> from skchallenge import HistoryEncoder, ProxyEncoder, VideoCatalog
    >>> catalog = VideoCatalog(pd.DataFrame({
    ...     "video_id": [1, 2, 3, 4, 5, 6],
    ...     "user_id": ["ann", "ann", "ann", "bob", "bob", "bob"],
    ...     "challenge": None,
    ...     "create_time": [10, 20, 30, 10, 20, 30],
    ...     "tempo": [0.9, 0.8, 0.7, 0.1, 0.2, 0.3],
    ... }))
    >>> learned = make_pipeline(
    ...     make_column_transformer(("passthrough", ["tempo"])),
    ...     ProxyEncoder(2, random_state=0),
    ... )
    >>> encoder = HistoryEncoder(
    ...     catalog, learned, by="user_id", before="time", max_videos=2
    ... ).set_output(transform="pandas")
    >>> pairs = pd.DataFrame({"user_id": ["ann", "bob"], "time": [40, 20]})
    >>> blocks = encoder.fit_transform(pairs)
    >>> blocks.columns.tolist()
    ['user_id_video0_0', 'user_id_video0_1', 'user_id_video1_0', 'user_id_video1_1',
     'user_id_fill']
    >>> blocks["user_id_fill"].tolist()
    [1.0, 0.5]
    """

    def __init__(
        self,
        catalog: VideoCatalog,
        encoder: Any,
        *,
        by: str,
        before: str | None,
        exclude: str | None = None,
        max_videos: int = 8,
        aggregation: Literal["concat", "mean", "max"] = "concat",
        cross_fit: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.catalog = catalog
        self.encoder = encoder
        self.by = by
        self.before = before
        self.exclude = exclude
        self.max_videos = max_videos
        self.aggregation = aggregation
        self.cross_fit = cross_fit
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the encoder on the videos that X entitles it to.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            Has the columns named by `by`, `before` and `exclude`; others are ignored.
        y : None
            Ignored.

        Returns
        -------
        self : HistoryEncoder
            The fitted encoder.

        Raises
        ------
        TypeError
            If X is no table with named columns, or its ids or times are of another
            type than the catalog's.
        ValueError
            If a column is missing, if every history is empty, if there is no video
            to train on, or if a row's user took part before the row's time.

        Warns
        -----
        LeakageWarning
            If slots are empty and the catalog seems to hold users' latest videos only.
        """
        self._check_parameters()
        protocol = self._protocol()
        X = self._check_table(X, protocol, reset=True)
        n_own = protocol.n_own(X)
        protocol.check_own_videos(X, n_own)
        history = protocol.history(X, self.max_videos, n_own)
        if (history < 0).all():
            raise ValueError(
                f"No row of X has any video in the catalog: every history by "
                f"{self.by!r} is empty. Check the ids and times of X and the catalog."
            )
        protocol.warn_of_cut_histories(X, history)
        self.encoder_ = fit_encoder(self.encoder, protocol, X)[0]
        self._width = _width(self.encoder_, self.catalog, history)
        self._rules = self._rules_of_now()  # last: of this encoder, and no other
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Encode each row's history.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            The columns seen in `fit`. An unknown entity has an empty block.

        Returns
        -------
        blocks : ndarray of shape (n_samples, n_features_out)
            float32 blocks, see Notes.

        Raises
        ------
        TypeError, ValueError
            As in `fit`; ValueError, too, if `by`, `before` or `exclude` was set after
            `fit`.

        Warns
        -----
        EmptyHistoryWarning
            If every row's history is empty.
        LeakageWarning
            If X holds users who took part before the cut-off.
        """
        check_is_fitted(self)
        protocol = self._protocol()
        X = self._check_table(X, protocol, reset=False)
        n_own = protocol.n_own(X)
        protocol.warn_of_own_videos(n_own)
        history = protocol.history(X, self.max_videos, n_own)
        if len(X) and (history < 0).all():
            warn(
                f"Every history by {self.by!r} is empty: no row of X has a video in "
                "the catalog before its time.",
                EmptyHistoryWarning,
            )
        return self._encode(protocol, history, partial(embed_videos, self.encoder_))

    def fit_transform(self, X: Any, y: Any = None) -> NDArray[np.float32]:
        """Fit, then encode the same rows, across folds if `cross_fit` is set.

        Parameters
        ----------
        X : pandas or polars DataFrame of shape (n_samples, n_features)
            As in `fit`.
        y : None
            Ignored.

        Returns
        -------
        blocks : ndarray of shape (n_samples, n_features_out)
            As in `transform`; differs from ``fit(X).transform(X)`` if `cross_fit` is
            set.

        Raises
        ------
        TypeError, ValueError
            As in `fit`; ValueError, too, if there are fewer entities than folds or if
            no encoder can be trained on what is outside of a fold.
        """
        self.fit(X)
        if self.cross_fit is None:
            return self.transform(X)
        protocol = self._protocol()
        X = self._check_table(X, protocol, reset=False)
        blocks = np.zeros((len(X), self._n_features_out), dtype=np.float32)
        none = np.zeros(len(X), dtype=np.intp)  # `fit` has seen to that
        history = protocol.history(X, self.max_videos, none)
        crossed = CrossFit(
            self.encoder, self.encoder_, protocol, self.cross_fit, self.random_state
        )
        for held_out, encode in crossed.folds(X):
            blocks[held_out] = self._encode(protocol, history[held_out], encode)
        return blocks

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the output columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against `feature_names_in_`.

        Returns
        -------
        names : ndarray of shape (n_features_out,)
            ``{by}_video{k}_{j}`` or ``{by}_{j}``, then ``{by}_fill``.
        """
        check_is_fitted(self)
        _check_feature_names_in(self, input_features)
        columns = range(self._width)
        if self.aggregation == "concat":
            slots = range(self.max_videos)
            names = [f"{self.by}_video{k}_{j}" for k in slots for j in columns]
        else:
            names = [f"{self.by}_{j}" for j in columns]
        return np.array([*names, f"{self.by}_fill"], dtype=object)

    @property
    def _n_features_out(self) -> int:
        slots = self.max_videos if self.aggregation == "concat" else 1
        return slots * self._width + 1

    def _protocol(self) -> Protocol:
        """Return the rules, for one call: videos may be appended meanwhile."""
        return Protocol(snapshot(self.catalog), self.by, self.before, self.exclude)

    def _check_parameters(self) -> None:
        check_catalog(self.catalog)
        check_option("aggregation", self.aggregation, ("concat", "mean", "max"))
        check_scalar(self.max_videos, "max_videos", Integral, min_val=1)
        if self.cross_fit is not None:
            check_scalar(self.cross_fit, "cross_fit", Integral, min_val=2)
        self._protocol().check()

    def _check_table(self, X: Any, protocol: Protocol, *, reset: bool) -> pd.DataFrame:
        frame = as_frame(X, "X")
        rules = self._rules_of_now()
        if not reset and rules != self._rules:
            raise ValueError(
                f"{rules} were set after fit with {self._rules}, but they say what the "
                "encoder may be trained on. Call fit again."
            )
        validate_data(self, X, reset=reset, skip_check_array=True)
        protocol.check_table(frame)
        ids = [c for c in (self.catalog.user, self.catalog.challenge) if c in frame]
        return frame.assign(**{c: plain_ids(frame[c]) for c in ids})

    def _rules_of_now(self) -> dict[str, str | None]:
        return {name: getattr(self, name) for name in ("by", "before", "exclude")}

    def _encode(
        self, protocol: Protocol, history: Rows, encode: Encode
    ) -> NDArray[np.float32]:
        """Embed every needed video once and gather the blocks."""
        filled = history >= 0
        rows, place = np.unique(history[filled], return_inverse=True)
        vectors = np.zeros((len(rows) + 1, self._width), dtype=np.float32)
        if len(rows):
            vectors[:-1] = encode(protocol.catalog.encoder_view(rows))
        slot = np.full(history.shape, len(rows))  # the last vector stays zero
        slot[filled] = place
        videos = vectors[slot]  # (n, max_videos, width)
        fill = filled.mean(axis=1, dtype=np.float32, keepdims=True)
        return np.hstack([self._aggregate(videos, filled), fill])

    def _aggregate(
        self, videos: NDArray[np.float32], filled: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        if self.aggregation == "concat":
            return videos.reshape(len(videos), self.max_videos * self._width)
        count = filled.sum(axis=1, keepdims=True).astype(np.float32)
        if self.aggregation == "mean":
            return videos.sum(axis=1) / count.clip(1)
        highest = np.where(filled[..., None], videos, -np.inf).max(axis=1)
        return np.where(count > 0, highest, np.float32(0)).astype(np.float32)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # a table with named columns, not numbers
        tags.input_tags.string = True
        return tags


def _width(encoder: Any, catalog: VideoCatalog, history: Rows) -> int:
    """Find the embedding width, without media where the encoder knows its names."""
    try:
        return len(encoder.get_feature_names_out())
    except (AttributeError, ValueError):
        one = history[history >= 0][:1]
        return embed_videos(encoder, catalog.encoder_view(one)).shape[1]
