"""The paper's whole pipeline in one call."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skchallenge._history import HistoryEncoder
from skchallenge._participation import DeepChallenger
from skchallenge._proxy import ProxyEncoder
from skchallenge.datasets._catalog import VideoCatalog
from skchallenge.embed import CaptionEmbedder, VideoFrameEmbedder


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
    verbose: int = 0,
) -> Pipeline:
    """Make the participation model: pairs of ids in, probabilities out.

    By default this is deepChallenger as published [1]_: 50 frames of each video
    through ResNet-50 (user side) or VGG16 (challenge side), put side by side, beside
    the caption's BERT [CLS] vector; a proxy task on each side that learns video
    embeddings; the newest 8 videos of the user and of the challenge; one hidden
    layer; batches of 4. Any other features may take the place of the first step.
    Features are standardised before the proxy task, which the paper does not mention;
    without it pictures and captions of different scale do not meet on equal terms.

    Parameters
    ----------
    catalog : VideoCatalog
        Side table of all videos, with file names in a column `path` if the default
        features are used.
    user_features : transformer or None, default=None
        Turns catalog columns into dense vectors on the user's side, for example
        ``make_column_transformer((CaptionEmbedder(), "caption"))``. It never sees
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
        Share of hidden units dropped in training, in all networks.
    lr : float, default=1e-3
        Step size of Adam, in all networks.
    batch_size : int or "auto", default=4
        Rows per gradient step, in all networks. 4 is the paper's; ``"auto"``
        (at most 256) is many times faster, but needs more passes on small tables.
    max_iter : int, default=30
        Most passes over the training rows, in all networks.
    early_stopping : bool, default=True
        Whether networks stop when rows held out from training no longer improve.
        Where a side has only a few dozen videos, these rows are too few to tell.
    class_weight : dict, "balanced" or None, default=None
        Class weights of the final classifier.
    random_state : int, RandomState instance or None, default=None
        Seed of all networks.
    device : str, default="auto"
        Torch device of all networks.
    verbose : int, default=0
        Whether embedders show progress and networks print one line a pass.

    Returns
    -------
    model : sklearn.pipeline.Pipeline
        Steps ``sides`` (a ColumnTransformer with ``user`` and ``challenge``) and
        ``classifier``; a nested parameter is
        ``sides__user__encoder__proxyencoder__embedding_size``.

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
    >>> from sklearn.feature_extraction.text import HashingVectorizer
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.decomposition import TruncatedSVD
    >>> from skchallenge import make_challenge_clips, make_deep_challenger
    >>> with TemporaryDirectory() as folder:
    ...     data = make_challenge_clips(
    ...         folder, n_users=6, n_challenges=2, random_state=0
    ...     )
    >>> words = make_pipeline(HashingVectorizer(), TruncatedSVD(8, random_state=0))
    >>> model = make_deep_challenger(
    ...     data.catalog, make_column_transformer((words, "caption")),
    ...     embedding_size=4, max_iter=2, random_state=0,
    ... )
    >>> model.fit(data.pairs, data.y).predict_proba(data.pairs).shape
    (12, 2)
    """
    if challenge_features is None:
        challenge_features = (
            _paper_features("vgg16", device, verbose)
            if user_features is None
            else clone(user_features)
        )
    if user_features is None:
        user_features = _paper_features("resnet50", device, verbose)
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
    history: dict[str, Any] = {
        "before": before,
        "max_videos": max_videos,
        "cross_fit": cross_fit,
        "random_state": random_state,
    }
    user, challenge = catalog.user, catalog.challenge
    timeless = before is None
    user_side = HistoryEncoder(
        catalog,
        _learned(user_features, embedding_size, network),
        by=user,
        **history,
    )
    challenge_side = HistoryEncoder(
        catalog,
        _learned(challenge_features, embedding_size, network),
        by=challenge,
        exclude=None if timeless else user,
        **history,
    )
    sides = ColumnTransformer(
        [
            ("user", user_side, [user] if timeless else [user, before]),
            (
                "challenge",
                challenge_side,
                [challenge] if timeless else [challenge, user, before],
            ),
        ]
    )
    classifier = DeepChallenger(
        hidden_layer_sizes, fusion=fusion, class_weight=class_weight, **network
    )
    # Names must reach the classifier: fusion="attention" finds its blocks by them.
    sides.set_output(transform="pandas")
    return Pipeline([("sides", sides), ("classifier", classifier)])


def _learned(features: Any, embedding_size: int, network: dict[str, Any]) -> Pipeline:
    proxy = ProxyEncoder(embedding_size, **network)
    return make_pipeline(features, StandardScaler(), proxy)


def _paper_features(backbone: str, device: str, verbose: int) -> ColumnTransformer:
    frames = VideoFrameEmbedder(
        backbone, pooling="concat", device=device, verbose=verbose
    )
    captions = CaptionEmbedder(device=device, verbose=verbose)
    return make_column_transformer((frames, "path"), (captions, "caption"))
