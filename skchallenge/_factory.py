"""Whole models of participation in one call: what predicts best, and the paper's."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.validation import validate_data

from skchallenge._adoption import AdoptionHistory
from skchallenge._callbacks import CallbackSupportMixin, with_callbacks
from skchallenge._history import HistoryEncoder
from skchallenge._participation import DeepChallenger
from skchallenge._proxy import ProxyEncoder
from skchallenge._rules import challenge_column, check_catalog
from skchallenge._state import Versioned
from skchallenge._table import as_frame, check_columns, check_option
from skchallenge.datasets._catalog import VideoCatalog
from skchallenge.embed import CaptionEmbedder, VideoFrameEmbedder
from skchallenge.embed._store import StoreLike
from skchallenge.model_selection import ChallengeClusterKFold


def make_deep_challenger(
    catalog: VideoCatalog,
    user_features: Any = None,
    challenge_features: Any = None,
    *,
    before: str | None = "time",
    adoption: bool | Literal["auto"] = "auto",
    window: str | pd.Timedelta | float = "14D",
    embedding_size: int = 128,
    max_videos: int = 8,
    cross_fit: int | None = None,
    hidden_layer_sizes: Sequence[int] = (128,),
    fusion: Literal["concat", "attention"] = "attention",
    linear_path: bool = True,
    held_out: Literal["both", "users", "challenges", "rows"] = "both",
    dropout: float = 0.2,
    lr: float = 1e-3,
    batch_size: int | str = "auto",
    max_iter: int = 30,
    early_stopping: bool = True,
    class_weight: dict[Any, float] | str | None = None,
    random_state: int | np.random.RandomState | None = None,
    device: str = "auto",
    verbose: int = 0,
) -> Pipeline:
    """Make the participation model: pairs of ids in, probabilities out.

    Three parts, of which the first two are as old as 2021 [1]_, and the last is what
    tells most on real creators:

    - of each side's newest videos, embeddings that are learned from `user_features` and
      `challenge_features` by a proxy task (`HistoryEncoder`, `ProxyEncoder`);
    - a network in which each side attends over the other's videos;
    - a line: a tuned logistic regression of how far the user's tags were spreading when
      taken up (`AdoptionHistory`), and of which challenge it is. The network starts
      from it, and adds nothing unless whole users and whole challenges that it was not
      trained on are predicted better.

    Without features the network has the columns of the line alone: no file is opened.
    The paper's own model is `make_paper_challenger`.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos.
    user_features : transformer or None, default=None
        Turns catalog columns into dense vectors on the user's side, for example
        ``make_column_transformer((CaptionEmbedder(), "caption"))``. It never sees user
        ids nor the tags of studied challenges. Features are standardised. None: the
        network looks at no videos of users.
    challenge_features : transformer or None, default=None
        The same for the challenge's side. None is a clone of `user_features`.
    before : str or None, default="time"
        Column of X with the cut-off. None is the paper's timeless setting, which
        needs ``catalog.candidates`` and has no adoption.
    adoption : bool or "auto", default="auto"
        Whether to read the columns of `AdoptionHistory`, of both sides, and the
        challenge. ``"auto"`` does where the catalog has tags and X a cut-off.
    window : str, pandas.Timedelta or number, default="14D"
        Of adoption: a number where the catalog's times are numbers.
    embedding_size : int, default=128
        Width of the learned video embeddings.
    max_videos : int, default=8
        Newest videos of each side.
    cross_fit : int or None, default=None
        Folds by which training rows are encoded, see `HistoryEncoder`.
    hidden_layer_sizes : sequence of int, default=(128,)
        Hidden layers of the classifier.
    fusion : {"concat", "attention"}, default="attention"
        How the two sides meet, see `DeepChallenger`. Without features they meet in the
        hidden layers.
    linear_path : bool, default=True
        Whether the network starts from the line.
    held_out : {"both", "users", "challenges", "rows"}, default="both"
        What early stopping and the tuning of the line hold out whole: what is to be
        new where the model is used. Challenges that share videos are held out together
        (`ChallengeClusterKFold`). With "both", a tenth of the users and a tenth of the
        challenges; of users or challenges fewer than 20, none are.
    dropout : float, default=0.2
        Fraction of hidden units dropped in training, in [0, 1), in all networks.
    lr : float, default=1e-3
        Learning rate of Adam, above 0, in all networks.
    batch_size : int or "auto", default="auto"
        Rows per gradient step, in all networks; ``"auto"`` is 256 at most.
    max_iter : int, default=30
        Maximum number of epochs, in all networks.
    early_stopping : bool, default=True
        Whether networks stop when what is held out is no longer predicted better.
        Where a side has only a few dozen videos, these are too few to tell.
    class_weight : dict, "balanced" or None, default=None
        Class weights of the final classifier.
    random_state : int, RandomState instance or None, default=None
        Seed of all networks.
    device : str, default="auto"
        Torch device of all networks.
    verbose : int, default=0
        Whether networks print one line per epoch.

    Returns
    -------
    model : sklearn.pipeline.Pipeline
        Steps ``sides`` (a ColumnTransformer with ``user`` and ``challenge``, if there
        are features, ``user_adoption``, ``challenge_adoption`` and ``which_challenge``,
        if adoption is read, and ``held_out``) and ``classifier``; a nested parameter is
        ``sides__user__encoder__proxyencoder__embedding_size``.

    Raises
    ------
    TypeError
        If `catalog` is no VideoCatalog, or features are no transformers.
    ValueError
        If the catalog has no challenges, if there is nothing to read, or features hand
        a table to a vectorizer of text. `fit` raises if features return anything but
        dense, finite numbers, or X is no table of pairs.

    See Also
    --------
    make_participation : Makes the catalog and the pairs.
    make_paper_challenger : The model of the paper.
    skchallenge.baselines.compare : Puts it beside the strongest simple models.

    References
    ----------
    .. [1] Ng, L. H. X., Tan, J. Y. H., Tan, D. J. H., Lee, R. K.-W. "Will you
       dance to the challenge? Predicting user participation of TikTok challenges",
       ASONAM 2021. https://doi.org/10.1145/3487351.3488276

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.decomposition import TruncatedSVD
    >>> from skchallenge import make_challenge_clips, make_deep_challenger
    >>> with TemporaryDirectory() as folder:
    ...     data = make_challenge_clips(
    ...         folder, n_users=6, n_challenges=2, random_state=0
    ...     )
    >>> words = make_pipeline(TfidfVectorizer(), TruncatedSVD(8, random_state=0))
    >>> model = make_deep_challenger(
    ...     data.catalog, make_column_transformer((words, "caption")),
    ...     embedding_size=4, max_iter=2, random_state=0,
    ... )
    >>> model.fit(data.pairs, data.y).predict_proba(data.pairs).shape
    (12, 2)
    """
    _check_challenges(catalog)
    _check_features("user_features", user_features)
    _check_features("challenge_features", challenge_features)
    check_option("adoption", adoption, (True, False, "auto"))
    check_option("fusion", fusion, ("concat", "attention"))
    check_option("held_out", held_out, ("both", "users", "challenges", "rows"))
    has_tags = catalog.tags in catalog.videos
    if adoption == "auto":
        adoption = has_tags and before is not None
    if adoption and (not has_tags or before is None):
        what = f"catalog has no column {catalog.tags!r}" if before else "before=None"
        raise ValueError(
            f"adoption=True needs tags and a cut-off, but {what}. Set adoption=False, "
            "or 'auto'."
        )
    if not adoption and user_features is None and challenge_features is None:
        raise ValueError(
            "There is nothing to read: user_features is None, and adoption "
            f"(adoption={adoption}) is not read. Pass features, such as {_EXAMPLE}, or "
            "make_paper_challenger(catalog), which has the paper's."
        )
    user, challenge = catalog.user, challenge_column(catalog)
    network: dict[str, Any] = {
        "dropout": dropout,
        "lr": lr,
        "batch_size": batch_size,
        "max_iter": max_iter,
        "early_stopping": early_stopping,
        "random_state": random_state,
        "device": device,
        "verbose": verbose,
    }
    sides = _sides(
        catalog,
        user_features,
        challenge_features,
        ProxyEncoder(embedding_size, **network),
        before=before,
        max_videos=max_videos,
        cross_fit=cross_fit,
        random_state=random_state,
    )
    if not sides:
        fusion = "concat"
    if adoption:
        read: dict[str, Any] = {"before": before, "window": window}
        for side, by in (("user", user), ("challenge", challenge)):
            history = AdoptionHistory(catalog, by=by, max_videos=max_videos, **read)
            scaled = make_pipeline(history, StandardScaler())
            sides.append((f"{side}_adoption", scaled, [by, before]))
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        sides.append(("which_challenge", one_hot, [challenge]))
    groups = {"users": [user], "challenges": ["cluster"], "rows": []}
    groups["both"] = groups["users"] + groups["challenges"]
    if groups[held_out]:
        codes = _HeldOut(catalog, held_out)
        sides.append(("held_out", codes, [user, challenge]))
    classifier = DeepChallenger(
        hidden_layer_sizes,
        fusion=fusion,
        linear_path=linear_path,
        groups=groups[held_out] or None,
        class_weight=class_weight,
        **network,
    )
    return _pipeline(sides, classifier)


def make_paper_challenger(
    catalog: VideoCatalog,
    user_features: Any = None,
    challenge_features: Any = None,
    *,
    before: str | None = "time",
    embedding_size: int = 128,
    max_videos: int = 8,
    cross_fit: int | None = None,
    hidden_layer_sizes: Sequence[int] = (128,),
    dropout: float = 0.2,
    lr: float = 1e-3,
    batch_size: int | str = 4,
    max_iter: int = 30,
    early_stopping: bool = True,
    class_weight: dict[Any, float] | str | None = None,
    random_state: int | np.random.RandomState | None = None,
    device: str = "auto",
    store: StoreLike = None,
    verbose: int = 0,
) -> Pipeline:
    """Make the participation model of the paper: pairs of ids in, probabilities out.

    It is deepChallenger as published [1]_: 50 frames of each video
    through ResNet-50 (user side) or VGG16 (challenge side), put side by side, beside
    the caption's BERT [CLS] vector; a proxy task on each side that learns video
    embeddings; the newest 8 videos of the user and of the challenge; one hidden
    layer; batches of 4. Any other features may take the place of the first step.
    Features are standardised before the proxy task, which the paper does not mention;
    without it images and captions of different scale do not meet on equal terms.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos, with file names in a column `path` if the paper's
        features are used.
    user_features : transformer or None, default=None
        Turns catalog columns into dense vectors on the user's side, as in
        `make_deep_challenger`. None is the paper's.
    challenge_features : transformer or None, default=None
        The same for the challenge's side. None is a clone of `user_features`, or the
        paper's if that is None too.
    before : str or None, default="time"
        Column of X with the cut-off. None is the paper's timeless setting, which
        needs ``catalog.candidates``.
    embedding_size : int, default=128
        Width of the learned video embeddings.
    max_videos : int, default=8
        Newest videos of each side.
    cross_fit : int or None, default=None
        Folds by which training rows are encoded, see `HistoryEncoder`.
    hidden_layer_sizes : sequence of int, default=(128,)
        Hidden layers of the classifier.
    dropout : float, default=0.2
        Fraction of hidden units dropped in training, in [0, 1), in all networks.
    lr : float, default=1e-3
        Learning rate of Adam, above 0, in all networks.
    batch_size : int or "auto", default=4
        Rows per gradient step, in all networks. 4 is the paper's; ``"auto"``
        (at most 256) is many times faster, but needs more epochs on small tables.
    max_iter : int, default=30
        Maximum number of epochs, in all networks.
    early_stopping : bool, default=True
        Whether networks stop when rows held out from training no longer improve.
    class_weight : dict, "balanced" or None, default=None
        Class weights of the final classifier.
    random_state : int, RandomState instance or None, default=None
        Seed of all networks.
    device : str, default="auto"
        Torch device of all networks.
    store : None, path or EmbeddingStore, default=None
        Where the paper's features are kept, so that a search embeds each video once.
        Features of your own have a `store` of their own.
    verbose : int, default=0
        Whether embedders show progress and networks print one line per epoch.

    Returns
    -------
    model : sklearn.pipeline.Pipeline
        Steps ``sides`` (a ColumnTransformer with ``user`` and ``challenge``) and
        ``classifier``.

    Raises
    ------
    TypeError, ValueError
        As `make_deep_challenger`.

    See Also
    --------
    make_deep_challenger : What predicts best.

    References
    ----------
    .. [1] Ng, L. H. X., Tan, J. Y. H., Tan, D. J. H., Lee, R. K.-W. "Will you
       dance to the challenge? Predicting user participation of TikTok challenges",
       ASONAM 2021. https://doi.org/10.1145/3487351.3488276

    Examples
    --------
    >>> import pandas as pd
    >>> from skchallenge import VideoCatalog, make_paper_challenger
    >>> catalog = VideoCatalog(pd.DataFrame({
    ...     "video_id": [1], "user_id": ["ann"], "challenge": ["dance"],
    ...     "create_time": [1], "path": ["1.mp4"], "caption": ["I dance"],
    ... }))
    >>> make_paper_challenger(catalog).named_steps["classifier"]
    DeepChallenger(batch_size=4)
    """
    _check_challenges(catalog)
    _check_features("user_features", user_features)
    _check_features("challenge_features", challenge_features)
    network: dict[str, Any] = {
        "dropout": dropout,
        "lr": lr,
        "batch_size": batch_size,
        "max_iter": max_iter,
        "early_stopping": early_stopping,
        "random_state": random_state,
        "device": device,
        "verbose": verbose,
    }
    frozen: dict[str, Any] = {"device": device, "store": store, "verbose": verbose}
    is_paper = user_features is None and challenge_features is None
    sides = _sides(
        catalog,
        _paper("resnet50", frozen) if user_features is None else user_features,
        _paper("vgg16", frozen) if is_paper else challenge_features,
        ProxyEncoder(embedding_size, **network),
        before=before,
        max_videos=max_videos,
        cross_fit=cross_fit,
        random_state=random_state,
    )
    classifier = DeepChallenger(
        hidden_layer_sizes, class_weight=class_weight, **network
    )
    return _pipeline(sides, classifier)


def _pipeline(sides: list[Any], classifier: DeepChallenger) -> Pipeline:
    """Put the parts of a model together."""
    encode = PairColumns(sides).set_output(transform="pandas")  # names are read
    return Pipeline([("sides", encode), ("classifier", classifier)])


def _check_challenges(catalog: Any) -> None:
    check_catalog(catalog)
    if catalog.challenge is None:
        raise ValueError(
            "catalog must have a column of challenges, got one with challenge=None. "
            "Pass make_participation(videos).catalog, which finds them."
        )


class _DenseScaler(Versioned, StandardScaler):
    """Standardise features; refuse what is none in words of `make_deep_challenger`.

    Parameters
    ----------
    parameter : str
        The parameter that the features come from.
    """

    def __init__(self, parameter: str = "user_features") -> None:
        super().__init__()
        self.parameter = parameter

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Learn mean and deviation; `fit` does it by this method."""
        self._check(X)
        return super().partial_fit(X, y, sample_weight)

    def transform(self, X: Any, copy: bool | None = None) -> Any:
        """Standardise."""
        self._check(X)
        return super().transform(X, copy)

    def _check(self, X: Any) -> None:
        """Raise unless X is dense, of numbers, and complete."""
        if sparse.issparse(X):
            raise ValueError(
                f"{self.parameter} must return dense numbers, got a sparse matrix. End "
                "it with TruncatedSVD, for example "
                "make_pipeline(TfidfVectorizer(), TruncatedSVD(100))."
            )
        try:
            numbers = np.asarray(X, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self.parameter} must return dense numbers, but: {error}. Turn text "
                "into vectors, for example with CaptionEmbedder(), and leave out or "
                "encode what is no number."
            ) from error
        if not np.isfinite(numbers).all():
            raise ValueError(
                f"{self.parameter} must return finite numbers, got NaN or infinity. "
                "End it with SimpleImputer, for example "
                "make_pipeline(MetadataFeaturizer(), SimpleImputer())."
            )


_EXAMPLE = 'make_column_transformer((CaptionEmbedder(), "caption"))'
_READ_TEXT = (CountVectorizer, HashingVectorizer)  # TfidfVectorizer is one


def _check_features(parameter: str, features: Any) -> None:
    """Raise unless `features` can turn columns of a catalog into vectors."""
    if features is None:
        return
    if isinstance(features, type) or not (
        hasattr(features, "fit") and hasattr(features, "transform")
    ):
        what = repr(features) if isinstance(features, str) else type(features).__name__
        what = f"the class {features.__name__}" if isinstance(features, type) else what
        raise TypeError(
            f"{parameter} must be a transformer of columns of the catalog, such as "
            f"{_EXAMPLE}, got {what}."
        )
    parts = list(features.transformers) if hasattr(features, "transformers") else []
    for _, part, columns in (part for part in parts if len(part) == 3):
        first = part[0] if hasattr(part, "steps") else part
        if isinstance(first, _READ_TEXT) and isinstance(columns, list | tuple):
            name = type(first).__name__
            column = columns[0] if columns else "caption"
            raise ValueError(
                f"{parameter} hands {name} the table {list(columns)!r}, but it reads "
                "one column of text and returns a sparse matrix, where "
                f"{parameter} must return dense numbers: end it with TruncatedSVD, and "
                "name the column without brackets, as in make_column_transformer(("
                f"make_pipeline({name}(), TruncatedSVD(100)), {column!r}))."
            )


class PairColumns(Versioned, CallbackSupportMixin, ColumnTransformer):
    """Encode users and challenges side by side, and say what X must be.

    It is scikit-learn's ColumnTransformer, to whose parts callbacks listen.
    """

    @with_callbacks
    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Fit all encoders, and encode the same rows."""
        self._check_pairs(X)
        encoders = [p for p in self.transformers if isinstance(p[1], HistoryEncoder)]
        context = self._init_callback_context(max_subtasks=len(encoders))
        context.call_on_fit_task_begin(estimator=self, X=X, y=y)
        with ExitStack() as stack:
            for name, encoder, _ in encoders:
                task = context.subcontext(task_name=f"fit-transform-{name}")
                stack.enter_context(task.propagate_callback_context(encoder))
                task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            blocks = super().fit_transform(X, y, **params)
        for _, encoder, _ in self.transformers_:  # clones: no task outlives its fit
            for left in ("_parent_callback_ctx", "_skl_callbacks"):
                getattr(encoder, "__dict__", {}).pop(left, None)
        context.call_on_fit_task_end(estimator=self, X=X, y=y)
        return blocks

    def transform(self, X: Any, **params: Any) -> Any:
        """Encode rows."""
        self._check_pairs(X)
        return super().transform(X, **params)

    def _check_pairs(self, X: Any) -> None:
        frame = as_frame(X, "X")
        needed = [c for *_, columns in self.transformers for c in columns]
        hint = (
            " Pass the pairs of make_participation, one row a user and challenge; the "
            "videos are in the catalog."
        )
        check_columns(frame.columns, dict.fromkeys(needed), "X", hint)


def _paper(backbone: str, options: dict[str, Any]) -> ColumnTransformer:
    """Return the features of one side in the paper."""
    frames = VideoFrameEmbedder(backbone, pooling="concat", **options)
    captions = CaptionEmbedder(**options)
    return make_column_transformer((frames, "path"), (captions, "caption"))


def _sides(
    catalog: VideoCatalog,
    user_features: Any,
    challenge_features: Any,
    proxy: ProxyEncoder,
    *,
    before: str | None,
    **options: Any,
) -> list[Any]:
    """Encode the videos of the user, and of the challenge, of each row.

    The challenge's side takes what the user's takes, if it has no features of its own;
    a side without features is left out.
    """
    user, challenge = catalog.user, challenge_column(catalog)
    times = [] if before is None else [before]
    # On the challenge's side; without cut-offs nobody is excluded.
    exclude = None if before is None else user
    given = "challenge_features"  # what errors name: a parameter that was written
    if challenge_features is None and user_features is not None:
        given, challenge_features = "user_features", clone(user_features)

    def encoder(parameter: str, features: Any, by: str, rule: str | None) -> Any:
        steps = [
            *make_pipeline(features).steps,
            ("standardscaler", _DenseScaler(parameter)),
            ("proxyencoder", clone(proxy)),
        ]
        return HistoryEncoder(
            catalog, Pipeline(steps), by=by, before=before, exclude=rule, **options
        )

    sides: list[Any] = []
    if user_features is not None:
        side = encoder("user_features", user_features, user, None)
        sides.append(("user", side, [user, *times]))
    if challenge_features is not None:
        side = encoder(given, challenge_features, challenge, exclude)
        excluded = [] if exclude is None else [exclude]
        sides.append(("challenge", side, [challenge, *excluded, *times]))
    return sides


class _HeldOut(Versioned, TransformerMixin, BaseEstimator):
    """Say of each pair what it is held out with: its user, its cluster of challenges.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos.
    held_out : {"both", "users", "challenges"}
        What is asked for.
    """

    def __init__(self, catalog: VideoCatalog, held_out: str = "both") -> None:
        self.catalog = catalog
        self.held_out = held_out

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the columns of X alone."""
        validate_data(self, X, skip_check_array=True)
        return self

    def transform(self, X: Any) -> NDArray[np.intp]:
        """Return the columns, as numbers."""
        frame, found = as_frame(X, "X"), []
        if self.held_out != "challenges":
            found.append(pd.factorize(frame[self.catalog.user], sort=True)[0])
        if self.held_out != "users":
            found.append(ChallengeClusterKFold(self.catalog).clusters_of(frame))
        return np.column_stack(found)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the columns."""
        names = [self.catalog.user] * (self.held_out != "challenges")
        names += ["cluster"] * (self.held_out != "users")
        return np.array(names, dtype=object)
