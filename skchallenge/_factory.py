"""The paper's whole pipeline in one call."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skchallenge._history import HistoryEncoder
from skchallenge._participation import DeepChallenger
from skchallenge._proxy import ProxyEncoder
from skchallenge._rules import check_catalog
from skchallenge.datasets._catalog import VideoCatalog
from skchallenge.embed import CaptionEmbedder, VideoFrameEmbedder
from skchallenge.embed._store import StoreLike


def make_deep_challenger(
    catalog: VideoCatalog,
    user_features: Any = None,
    challenge_features: Any = None,
    *,
    before: str | None = "time",
    embedding_size: int = 128,
    max_videos: int = 8,
    cross_fit: int | None = None,
    hidden_layer_sizes: Sequence[int] = (128,),
    fusion: Literal["concat", "attention"] = "concat",
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
    """Make the participation model: pairs of ids in, probabilities out.

    By default this is deepChallenger as published [1]_: 50 frames of each video
    through ResNet-50 (user side) or VGG16 (challenge side), put side by side, beside
    the caption's BERT [CLS] vector; a proxy task on each side that learns video
    embeddings; the newest 8 videos of the user and of the challenge; one hidden
    layer; batches of 4. Any other features may take the place of the first step.
    Features are standardised before the proxy task, which the paper does not mention;
    without it images and captions of different scale do not meet on equal terms.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos, with file names in a column `path` if the default
        features are used.
    user_features : transformer or None, default=None
        Turns catalog columns into dense vectors on the user's side, for example
        ``make_column_transformer((CaptionEmbedder(), "caption"))``. It never sees user
        ids nor the tags of studied challenges. None is the paper's.
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
    fusion : {"concat", "attention"}, default="concat"
        How the two sides meet, see `DeepChallenger`.
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
        Where a side has only a few dozen videos, these rows are too few to tell.
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
        ``classifier``; a nested parameter is
        ``sides__user__encoder__proxyencoder__embedding_size``.

    Raises
    ------
    TypeError
        If `catalog` is no VideoCatalog.

    See Also
    --------
    make_participation : Makes the catalog and the pairs.

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
    check_catalog(catalog)
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
    encoders = [
        Pipeline(
            [
                *make_pipeline(features).steps,
                ("standardscaler", _DenseScaler()),
                ("proxyencoder", ProxyEncoder(embedding_size, **network)),
            ]
        )
        for features in _features(user_features, challenge_features, frozen)
    ]
    sides = _sides(
        catalog,
        *encoders,
        before=before,
        max_videos=max_videos,
        cross_fit=cross_fit,
        random_state=random_state,
    )
    classifier = DeepChallenger(
        hidden_layer_sizes, fusion=fusion, class_weight=class_weight, **network
    )
    return Pipeline([("sides", sides), ("classifier", classifier)])


class _DenseScaler(StandardScaler):
    """Standardise features; refuse sparse ones in words of `make_deep_challenger`."""

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Learn mean and deviation; `fit` does it by this method."""
        if sparse.issparse(X):
            raise ValueError(
                "user_features and challenge_features must return dense numbers, got "
                "a sparse matrix. End them with TruncatedSVD, for example "
                "make_pipeline(TfidfVectorizer(), TruncatedSVD(100))."
            )
        return super().partial_fit(X, y, sample_weight)


def _features(user: Any, challenge: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """Fill in what is not given: the other side's features, or the paper's."""

    def paper(backbone: str) -> ColumnTransformer:
        frames = VideoFrameEmbedder(backbone, pooling="concat", **options)
        captions = CaptionEmbedder(**options)
        return make_column_transformer((frames, "path"), (captions, "caption"))

    if challenge is None:
        challenge = paper("vgg16") if user is None else clone(user)
    return (paper("resnet50") if user is None else user), challenge


def _sides(
    catalog: VideoCatalog,
    user_encoder: Any,
    challenge_encoder: Any,
    *,
    before: str | None,
    **options: Any,
) -> ColumnTransformer:
    """Encode the user and the challenge of each row; names reach the classifier."""
    user, challenge = catalog.user, catalog.challenge
    times = [] if before is None else [before]
    exclude = None if before is None else user
    user_side = HistoryEncoder(catalog, user_encoder, by=user, before=before, **options)
    challenge_side = HistoryEncoder(
        catalog,
        challenge_encoder,
        by=challenge,
        before=before,
        exclude=exclude,
        **options,
    )
    excluded = [] if exclude is None else [exclude]
    sides = ColumnTransformer(
        [
            ("user", user_side, [user, *times]),
            ("challenge", challenge_side, [challenge, *excluded, *times]),
        ]
    )
    return sides.set_output(transform="pandas")  # fusion="attention" reads names
