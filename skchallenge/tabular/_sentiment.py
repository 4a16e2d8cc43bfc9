"""The tone of captions."""

import warnings
from collections.abc import Sequence
from functools import cache
from threading import Lock
from typing import Any, Literal, Self

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skchallenge._optional import import_optional
from skchallenge._state import Versioned
from skchallenge._table import check_option, indices_of, read_columns, text_or_none

Output = Literal["compound", "pos", "neu", "neg"]
_OUTPUTS = ("compound", "pos", "neu", "neg")
_FEWEST_A_JOB = 256  # fewer captions take less time than sending them
_LONGEST = 10_000  # letters; the platform's captions have 4,000 at most


class SentimentFeaturizer(Versioned, TransformerMixin, BaseEstimator):
    """Score the tone of captions with VADER.

    VADER [1]_ adds up the weights of known words, and minds negation, emphasis,
    capitals and emoji. Its lexicon is English; other languages score about zero.

    Parameters
    ----------
    outputs : sequence of {"compound", "pos", "neu", "neg"}, default=("compound",)
        The scores to return: the sum squeezed into [-1, 1], and the shares of words
        that are positive, neutral and negative, in [0, 1].
    n_jobs : int or None, default=None
        Processes that share the captions. None is one, unless a
        `joblib.parallel_config` says otherwise; -1 is all.

    Attributes
    ----------
    n_features_in_ : int
        Columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`, if all of them were strings.

    Raises
    ------
    ImportError
        If the package vaderSentiment is not installed (extra ``sentiment``).

    See Also
    --------
    MetadataFeaturizer : The length of a caption, and numbers of other columns.
    skchallenge.CaptionEmbedder : What a language model makes of captions.

    Notes
    -----
    The scores are those of the package vaderSentiment, bit for bit; its lexicon ships
    with it. NLTK, which a report [2]_ used, splits captions into words differently, so
    about half of its scores differ on the same lexicon: see the user guide.

    A missing caption scores 0 everywhere, as an empty one does. Values that are not
    strings are scored as ``str(value)``. A caption that stands in several rows is
    scored once. Of a longer text, the first 10,000 letters count, for VADER takes
    quadratic time.

    References
    ----------
    .. [1] C. J. Hutto, E. Gilbert, "VADER: A Parsimonious Rule-based Model for
       Sentiment Analysis of Social Media Text", ICWSM 2014.
    .. [2] "Multimodal TikTok virality prediction", a student report.

    Examples
    --------
    >>> from skchallenge.tabular import SentimentFeaturizer
    >>> captions = ["I love this dance!!", "not good at all", "", None]
    >>> SentimentFeaturizer().fit_transform(captions).ravel().tolist()
    [0.6988, -0.3412, 0.0, 0.0]
    """

    def __init__(
        self,
        *,
        outputs: Sequence[Output] = ("compound",),
        n_jobs: int | None = None,
    ) -> None:
        self.outputs = outputs
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the input; there is nothing to learn.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Captions.
        y : None
            Ignored.

        Returns
        -------
        self : SentimentFeaturizer
            The fitted featurizer.
        """
        if isinstance(self.outputs, str) or not len(self.outputs):
            raise TypeError(
                f"outputs must be a sequence such as ('compound',), got "
                f"{self.outputs!r}. It may hold any of {list(_OUTPUTS)}."
            )
        for output in self.outputs:
            check_option("outputs", output, _OUTPUTS)
        _analyzer()  # says at once what is not installed
        read_columns(self, X, reset=True)
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Score the captions.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Captions, as in `fit`.

        Returns
        -------
        scores : ndarray of shape (n, n_columns * n_outputs), dtype float64
            The columns' scores stand side by side.
        """
        check_is_fitted(self, "n_features_in_")
        table = read_columns(self, X, reset=False)
        rows = indices_of(text_or_none(cell) for cell in table.flat)
        scores = np.zeros((table.size, len(self.outputs)))
        known = _score(list(rows), tuple(self.outputs), self.n_jobs)
        for indices, score in zip(rows.values(), known, strict=True):
            scores[indices] = score
        return scores.reshape(len(table), -1)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Name the output columns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names for the columns of X, if `fit` saw none.

        Returns
        -------
        names : ndarray of shape (n_features_out,)
            ``{column}_{output}``.
        """
        check_is_fitted(self, "n_features_in_")
        columns = _check_feature_names_in(self, input_features)
        names = [f"{column}_{output}" for column in columns for output in self.outputs]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True  # False would skip 44 of 45 checks
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []  # always float64
        return tags


# Threads of joblib may ask for the lexicon together, and Python has one list of warning
# filters for all of them.
_loading = Lock()


@cache
def _analyzer() -> Any:
    """Read the lexicon, once a process."""
    vader = import_optional(
        "vaderSentiment.vaderSentiment",
        extra="sentiment",
        purpose="SentimentFeaturizer",
    )
    with _loading, warnings.catch_warnings():
        # It opens its lexicon in a way that Python 3.14 calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        return _linear(vader.SentimentIntensityAnalyzer)()


def _linear(analyzer: Any) -> Any:
    """Return VADER's class, which looks at the words near each word only.

    It makes a copy of the whole text for each word, then looks at three words before it
    and two after it: the scores are the same, in linear time.
    """

    class Linear(analyzer):
        def _negation_check(
            self, valence: float, words: list[str], start: int, i: int
        ) -> float:
            first = max(0, i - 3)
            near = words[first : i + 3]
            return super()._negation_check(valence, near, start, i - first)

        def _special_idioms_check(
            self, valence: float, words: list[str], i: int
        ) -> float:
            first = max(0, i - 3)
            near = words[first : i + 3]
            return super()._special_idioms_check(valence, near, i - first)

    return Linear


def _score(
    texts: list[str], outputs: tuple[str, ...], n_jobs: int | None
) -> list[list[float]]:
    n_parts = min(4 * effective_n_jobs(n_jobs), len(texts) // _FEWEST_A_JOB)
    if effective_n_jobs(n_jobs) == 1 or n_parts < 2:
        return _score_part(texts, outputs)
    parts = [texts[i::n_parts] for i in range(n_parts)]
    done = Parallel(n_jobs=n_jobs)(delayed(_score_part)(p, outputs) for p in parts)
    rows: list[list[float]] = [[]] * len(texts)
    for i, part in enumerate(done):
        rows[i::n_parts] = part
    return rows


def _score_part(texts: list[str], outputs: tuple[str, ...]) -> list[list[float]]:
    polarity = _analyzer().polarity_scores
    found = (polarity(text[:_LONGEST]) for text in texts)
    return [[scores[o] for o in outputs] for scores in found]
