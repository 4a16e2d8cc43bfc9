"""The classes that a saved model may name: the library's own, inert on loading."""

_TRUSTED = (
    "numpy.dtype",  # of a fitted SimpleImputer
    "sklearn.utils._bunch.Bunch",  # of a fitted StackingClassifier
    "skchallenge._adoption.AdoptionHistory",
    "skchallenge._factory.PairColumns",
    "skchallenge._factory._DenseScaler",
    "skchallenge._factory._HeldOut",
    "skchallenge._history.HistoryEncoder",
    "skchallenge._participation.DeepChallenger",
    "skchallenge._proxy.ProxyEncoder",
    "skchallenge._virality.MultimodalVirality",
    "skchallenge._virality_stack.CaptionTfidfVectorizer",
    "skchallenge._virality_stack.GroupColumnKFold",
    "skchallenge._virality_stack.NamedPipeline",
    "skchallenge._virality_stack.TunedLogisticRegression",
    "skchallenge._virality_stack._ColumnsBut",
    "skchallenge._virality_stack._PathColumn",
    "skchallenge._virality_stack._Texts",
    "skchallenge.baselines._estimators.AdoptionBaseline",
    "skchallenge.baselines._estimators.CosineBaseline",
    "skchallenge.baselines._estimators.RateBaseline",
    "skchallenge.baselines._estimators.TextBaseline",
    "skchallenge.baselines._recommender.RecommenderBaseline",
    "skchallenge.datasets._catalog.VideoCatalog",
    "skchallenge.embed._audio.AudioEmbedder",
    "skchallenge.embed._caption.CaptionEmbedder",
    "skchallenge.embed._captioner.FrameCaptioner",
    "skchallenge.embed._store.EmbeddingStore",
    "skchallenge.embed._tagger.FrameTagger",
    "skchallenge.embed._video.VideoFrameEmbedder",
    "skchallenge.feed._authority.CreatorAuthority",
    "skchallenge.feed._counts.Counts",
    "skchallenge.feed._counts.Rates",
    "skchallenge.feed._duplicates.DuplicateFinder",
    "skchallenge.feed._engagement.EngagementScorer",
    "skchallenge.feed._profile.GenreProfiler",
    "skchallenge.feed._review.ReviewGate",
    "skchallenge.feed._rollout.BatchRollout",
    "skchallenge.feed._similarity.PointIndex",
    "skchallenge.feed._viewers.LogResponse",
    "skchallenge.feed._workflow.FeedWorkflow",
    "skchallenge.media._limits.MediaLimits",
    "skchallenge.model_selection._clusters.ChallengeClusterKFold",
    "skchallenge.model_selection._clusters.ColdBothKFold",
    "skchallenge.model_selection._time.TimeSplit",
    "skchallenge.tabular._creator.PastCreatorStats",
    "skchallenge.tabular._guard.LeakageGuard",
    "skchallenge.tabular._label.ViralityLabeler",
    "skchallenge.tabular._metadata.MetadataFeaturizer",
    "skchallenge.tabular._sentiment.SentimentFeaturizer",
    "skchallenge.tabular._tags.TagBinarizer",
)


def trusted_types() -> list[str]:
    """Return the classes that may be trusted in a file of skops, by name.

    A closed list: this library's estimators and what they hold, and what their parts
    of scikit-learn and NumPy hold that skops does not trust by itself. Making one of
    these from a file runs no command, opens no file, imports nothing beside its own
    module and calls nothing that the file names, whatever state the file gives it.

    Returns
    -------
    names : list of str
        Full names, for the parameter `trusted` of `skops.io.load`.

    See Also
    --------
    DeepChallenger : An estimator that can be saved so.

    Notes
    -----
    Never trust names because they begin with ``skchallenge.``: a module has whatever
    it imports under its own name too, functions that import modules among it.

    Inert on loading is not honest in use. A loaded model may predict anything; when it
    is used, an embedder reads the folder of weights and writes the store that the file
    names. Look at `get_params` of a stranger's model before.

    `make_virality_stack` with boosted trees needs one name more,
    ``sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor``. It runs
    nothing on loading, but numbers that were tampered with can crash the process that
    predicts, so it is not on the list.

    Examples
    --------
    >>> import skchallenge
    >>> from skchallenge.feed import EngagementScorer
    >>> scorer = EngagementScorer().fit([[0.1, 0.8, 0.0, 0.0, 1.0]])
    >>> names = skchallenge.trusted_types()
    >>> f"{type(scorer).__module__}.{type(scorer).__name__}" in names
    True

    With skops, ``skops.io.load("scorer.skops", trusted=names)`` loads it, and refuses
    a file that names anything else.
    """
    return list(_TRUSTED)
