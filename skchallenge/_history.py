"""Turn a user or a challenge into a block of learned video embeddings."""

import warnings
from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold
from sklearn.utils import check_scalar
from sklearn.utils.validation import (
    _check_feature_names_in,
    check_is_fitted,
    validate_data,
)

from skchallenge._callbacks import CallbackSupportMixin, with_callbacks
from skchallenge._rules import ParticipationRules, check_catalog
from skchallenge._state import Versioned
from skchallenge._table import as_frame, check_option
from skchallenge._time_index import Rows
from skchallenge.datasets._catalog import VideoCatalog, snapshot
from skchallenge.exceptions import EmptyHistoryWarning, MediaError

Encode = Callable[[pd.DataFrame], NDArray[np.float32]]  # catalog rows -> embeddings


class HistoryEncoder(Versioned, CallbackSupportMixin, TransformerMixin, BaseEstimator):
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

    @with_callbacks
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
        EmptyHistoryWarning
            If X names users whom the catalog does not know, such as deleted ones.
        LeakageWarning
            If slots are empty and the catalog seems to hold users' latest videos only.
        """
        context = self._init_callback_context(max_subtasks=1)
        context.call_on_fit_task_begin(estimator=self, X=X)
        self._fit(X, context)
        context.call_on_fit_task_end(estimator=self, X=X)
        return self

    def _fit(self, X: Any, context: Any) -> None:
        self._check_parameters()
        rules = self._rules_of_call()
        X = self._read(X, rules, reset=True)
        n_own = rules.n_own(X)
        rules.check_own_videos(X, n_own)
        history = rules.history(X, self.max_videos, n_own)
        if (history < 0).all():
            raise ValueError(
                f"No row of X has any video in the catalog: every history by "
                f"{self.by!r} is empty. Check the ids and times of X and the catalog."
            )
        rules.warn_of_unknown_users(X)
        rules.warn_of_cut_histories(X, history, f"{self.by}_fill")
        self.encoder_ = self._fit_encoder(rules, X, context, f"fit-by-{self.by}")[0]
        self._width = _width(self.encoder_, self.catalog, history)
        self._fitted_rules = self._rule_parameters()  # last: of this encoder only

    def _fit_encoder(
        self, rules: ParticipationRules, X: pd.DataFrame, context: Any, task: str
    ) -> tuple[Any, Rows]:
        """Train a clone of the encoder, to whose progress callbacks listen."""
        encoder, part = clone(self.encoder), context.subcontext(task_name=task)
        with part.propagate_callback_context(encoder):
            part.call_on_fit_task_begin(estimator=self, X=X)
            fitted = _fit_encoder(encoder, rules, X)
            part.call_on_fit_task_end(estimator=self, X=X)
        return fitted

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
        rules = self._rules_of_call()
        X = self._read(X, rules, reset=False)
        n_own = rules.n_own(X)
        rules.warn_of_own_videos(n_own)
        history = rules.history(X, self.max_videos, n_own)
        if len(X) and (history < 0).all():
            warnings.warn(
                f"Every history by {self.by!r} is empty: no row of X has a video in "
                "the catalog before its time.",
                EmptyHistoryWarning,
                stacklevel=3,  # scikit-learn wraps `transform`
            )
        return self._encode(rules, history, partial(_embed, self.encoder_))

    @with_callbacks
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
        self._check_parameters()
        context = self._init_callback_context(max_subtasks=1 + (self.cross_fit or 0))
        context.call_on_fit_task_begin(estimator=self, X=X)
        self._fit(X, context)
        if self.cross_fit is None:
            blocks = self.transform(X)
        else:
            blocks = self._cross_fit_transform(X, self.cross_fit, context)
        context.call_on_fit_task_end(estimator=self, X=X)
        return blocks

    def _cross_fit_transform(
        self, X: Any, n_folds: int, context: Any
    ) -> NDArray[np.float32]:
        """Encode each fold's entities by an encoder that was not trained on them.

        Networks trained apart have different latent spaces. So each fold's encoder is
        mapped linearly onto the space of the final one, by the videos that it was
        fitted on.
        """
        rules = self._rules_of_call()
        X = self._read(X, rules, reset=False)
        n_entities = X[self.by].nunique()
        remedy = (
            f"Give X more of {self.by!r} that have videos, take fewer folds, or set "
            "cross_fit=None."
        )
        if n_entities < n_folds:
            raise ValueError(
                f"cross_fit={n_folds} makes more folds than X has of {self.by!r}, "
                f"which is {n_entities}. {remedy}"
            )
        splitter = GroupKFold(n_folds, shuffle=True, random_state=self.random_state)
        folds = [
            (X.iloc[rest].reset_index(drop=True), held_out)
            for rest, held_out in splitter.split(X, groups=X[self.by])
        ]
        for number, (rest, _) in enumerate(folds, start=1):  # before any training
            if rules.fit_set(rest).empty:
                raise ValueError(
                    f"cross_fit={n_folds}: outside of fold {number} of {n_folds} X has "
                    "no video in the catalog that may train the fold's encoder. "
                    f"{remedy}"
                )
        no_own = np.zeros(len(X), dtype=np.intp)  # `fit` has seen to that
        history = rules.history(X, self.max_videos, no_own)
        blocks = np.zeros((len(X), self._n_features_out), dtype=np.float32)
        for number, (rest, held_out) in enumerate(folds, start=1):
            try:
                task = f"fit-fold-{number}-of-{n_folds}"
                encoder, rows = self._fit_encoder(rules, rest, context, task)
                videos = rules.catalog.encoder_view(np.unique(rows))
                source, target = _embed(encoder, videos), _embed(self.encoder_, videos)
                bridge = Ridge(alpha=1e-3 * len(videos)).fit(source, target)
            except MediaError:  # of one file: the folds are not at fault
                raise
            except ValueError as error:
                raise ValueError(
                    f"cross_fit={n_folds}: no encoder can be fitted on what is outside "
                    f"of fold {number} of {n_folds}, though one can on all of X. "
                    f"{remedy} It said: {error}"
                ) from error
            encode = partial(_embed_and_map, encoder, bridge)
            blocks[held_out] = self._encode(rules, history[held_out], encode)
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

    def _rules_of_call(self) -> ParticipationRules:
        """Return the rules, for one call: videos may be appended meanwhile."""
        catalog = snapshot(self.catalog)
        return ParticipationRules(catalog, self.by, self.before, self.exclude)

    def _check_parameters(self) -> None:
        check_catalog(self.catalog)
        check_option("aggregation", self.aggregation, ("concat", "mean", "max"))
        check_scalar(self.max_videos, "max_videos", Integral, min_val=1)
        if self.cross_fit is not None:
            check_scalar(self.cross_fit, "cross_fit", Integral, min_val=2)
        self._rules_of_call().check()

    def _read(self, X: Any, rules: ParticipationRules, *, reset: bool) -> pd.DataFrame:
        """Return X as a table that fits the catalog."""
        frame = as_frame(X, "X")
        now = self._rule_parameters()
        if not reset and now != self._fitted_rules:
            raise ValueError(
                f"{now} were set after fit with {self._fitted_rules}, but they say "
                "what the encoder may be trained on. Call fit again."
            )
        validate_data(self, X, reset=reset, skip_check_array=True)
        return rules.read(frame)

    def _rule_parameters(self) -> dict[str, str | None]:
        return {name: getattr(self, name) for name in ("by", "before", "exclude")}

    def _encode(
        self, rules: ParticipationRules, history: Rows, encode: Encode
    ) -> NDArray[np.float32]:
        """Embed every needed video once and gather the blocks."""
        filled = history >= 0
        rows, index = np.unique(history[filled], return_inverse=True)
        vectors = np.zeros((len(rows) + 1, self._width), dtype=np.float32)
        if len(rows):
            vectors[:-1] = encode(rules.catalog.encoder_view(rows))
        slot = np.full(history.shape, len(rows))  # the last vector stays zero
        slot[filled] = index
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

    def __sklearn_clone__(self) -> Self:
        copy = super().__sklearn_clone__()
        # A ColumnTransformer fits a clone, whose task is part of the same fit.
        parent = vars(self).get("_parent_callback_ctx")
        if parent is not None:
            copy._parent_callback_ctx = parent
        return copy

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # a table with named columns, not numbers
        tags.input_tags.string = True
        return tags


def _fit_encoder(
    encoder: Any, rules: ParticipationRules, X: pd.DataFrame
) -> tuple[Any, Rows]:
    """Train on the proxy task; also return the catalog rows that were given."""
    members, catalog = rules.fit_set(X), rules.catalog
    if members.empty:
        raise ValueError(
            f"No video of the catalog may train the encoder by {rules.by!r}: none "
            "belongs to an entity of X, before the latest time in X, made by users "
            f"whom X or the catalog's candidates allow. Pass exclude={catalog.user!r}, "
            "or give the catalog its candidates."
        )
    row = members["row"].to_numpy()
    labels = members["entity"].infer_objects().to_numpy()
    try:
        return encoder.fit(catalog.encoder_view(row), labels), row
    except MediaError:  # of one file: the labels are not at fault
        raise
    except (KeyError, ValueError) as error:
        if isinstance(error, KeyError) or len(np.unique(labels)) > 1:
            error.add_note(
                f"This is the encoder by {rules.by!r}, which was given {len(row)} "
                f"videos to fit. No encoder sees {catalog.hidden_columns}: who made "
                "the video, and what is known as of the scrape only."
            )
            raise
        raise ValueError(
            f"The proxy task by {rules.by!r} needs videos of at least two to tell "
            f"apart, but X entitles it to those of {labels[0]!r} only. Add another "
            f"to X, or take an encoder that needs no label. It said: {error}"
        ) from error


def _embed(encoder: Any, videos: pd.DataFrame) -> NDArray[np.float32]:
    """Return the dense float32 embeddings of catalog rows."""
    vectors = encoder.transform(videos)
    if hasattr(vectors, "toarray"):
        vectors = vectors.toarray()
    return np.asarray(vectors, dtype=np.float32)


def _embed_and_map(
    encoder: Any, bridge: Ridge, videos: pd.DataFrame
) -> NDArray[np.float32]:
    mapped = bridge.predict(_embed(encoder, videos))
    return mapped.reshape(len(videos), -1)  # Ridge flattens a width of 1


def _width(encoder: Any, catalog: VideoCatalog, history: Rows) -> int:
    """Find the embedding width, without media where the encoder knows its names."""
    try:
        return len(encoder.get_feature_names_out())
    except (AttributeError, ValueError):
        one = history[history >= 0][:1]
        return _embed(encoder, catalog.encoder_view(one)).shape[1]
