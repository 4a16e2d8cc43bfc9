"""A column of captions -> one vector a caption."""

import os
from collections.abc import Iterable
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted
from tqdm import tqdm

from skchallenge._table import (
    check_count,
    check_option,
    places_of,
    read_columns,
    text_or_none,
)
from skchallenge._torch import resolve_device
from skchallenge.embed._built import Built
from skchallenge.embed._database import Session
from skchallenge.embed._encoder import TextEncoder, encoder_width
from skchallenge.embed._identity import text_model_files, text_model_identity
from skchallenge.embed._keys import recipe_of, stamp_of, text_items
from skchallenge.embed._matrix import check_width
from skchallenge.embed._precision import resolve_precision
from skchallenge.embed._recall import Results, embed_all
from skchallenge.embed._spread import check_n_jobs, spread
from skchallenge.embed._store import StoreLike, check_store
from skchallenge.embed._text_model import TextModel
from skchallenge.media._file import absolute

_RULES = 2  # raise it when texts become other vectors by the same parameters
_TEXTS_A_GROUP = 1024


class CaptionEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Embed short texts with a frozen encoder of the BERT family.

    Parameters
    ----------
    model : str or path-like, default="bert-base-uncased"
        A local folder in the layout of Hugging Face transformers, which is read without
        a network; or the name of an encoder on the Hugging Face Hub, taken from its
        cache or else downloaded.
    pooling : {"cls", "mean"}, default="cls"
        The state of the first token, ``[CLS]``, or the mean over the tokens of the
        caption, special tokens included.
    max_length : int, default=128
        Tokens, special tokens included, after which a caption is cut.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type in which the encoder runs. ``"auto"`` takes bfloat16 where the hardware
        multiplies it natively, float32 elsewhere. The output is float32 in any case.
    batch_size : int or "auto", default="auto"
        Captions a forward pass; ``"auto"`` takes as many as make 2,048 tokens on a CPU.
        Captions of similar length share a batch.
    device : str or torch.device, default="auto"
        Where the encoder runs; ``"auto"`` takes CUDA where there is one.
    n_jobs : int or None, default=None
        Processes that embed side by side, through joblib: None is 1 unless
        `joblib.parallel_config` says otherwise, which may also name a cluster. One
        process uses all cores already; more of them are for several machines or GPUs.
    store : None, path or EmbeddingStore, default=None
        Where vectors are kept, so that none is computed twice; a path is that of an
        `EmbeddingStore`.
    verbose : int, default=0
        Show a progress bar over distinct captions if not 0.

    Attributes
    ----------
    width_ : int
        Features of one caption.
    n_features_in_ : int
        Columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`, if all of them were strings.

    Raises
    ------
    ValueError
        If there is no such model, or a parameter has a wrong value.
    OSError
        If the store cannot be opened or written.

    See Also
    --------
    VideoFrameEmbedder : The same for videos and images.
    EmbeddingStore : Keeps the vectors.
    demo_caption_model : An encoder that pip installs.

    Notes
    -----
    A missing caption (None, NaN, NaT, pandas.NA) becomes a row of zeros. An empty one
    is a text like any other: the encoder's vector for no words. So "no caption was
    exported" and "the creator wrote nothing" stay apart. Values that are not strings
    are embedded as ``str(value)``.

    `fit` reads the configuration of the model, not its weights. These are loaded at the
    first `transform` and kept, but neither `clone` nor pickle copies them.

    A caption that stands in several rows is embedded once a call. Neither the order of
    the rows nor duplicates change a row; which other captions are there, and
    `batch_size`, may change float32 features by 1e-5, and bfloat16 features by
    3e-2, of the largest feature. With a store, a second `transform` gives the bits of
    the first, and loads no weights.

    References
    ----------
    .. [1] J. Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for
       Language Understanding", NAACL 2019, https://arxiv.org/abs/1810.04805.

    Examples
    --------
    The encoder of this example is tiny and random; `demo_caption_model` and
    ``"bert-base-uncased"`` are real ones.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import torch
    >>> from transformers import BertConfig, BertModel, BertTokenizerFast
    >>> from skchallenge.embed import CaptionEmbedder
    >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "let", "us", "dance"]
    >>> sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    >>> with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
    ...     _ = torch.manual_seed(0)
    ...     vocabulary = {word: i for i, word in enumerate(words)}
    ...     tokenizer = BertTokenizerFast(vocab=vocabulary)
    ...     _ = tokenizer.save_pretrained(folder)
    ...     config = BertConfig(vocab_size=len(words), **sizes)
    ...     BertModel(config).save_pretrained(folder)
    ...     embedder = CaptionEmbedder(folder)
    ...     rows = embedder.fit_transform(["let us dance", "", None])
    >>> rows.shape
    (3, 16)
    >>> rows.any(axis=1)
    array([ True,  True, False])
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "bert-base-uncased",
        *,
        pooling: Literal["cls", "mean"] = "cls",
        max_length: int = 128,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        device: str | torch.device = "auto",
        n_jobs: int | None = None,
        store: StoreLike = None,
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.pooling = pooling
        self.max_length = max_length
        self.precision = precision
        self.batch_size = batch_size
        self.device = device
        self.n_jobs = n_jobs
        self.store = store
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the width of the output; no weights are loaded.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Captions. A pandas or polars table is embedded column by column.
        y : None
            Ignored.

        Returns
        -------
        self : CaptionEmbedder
            The fitted embedder.
        """
        self._check_parameters()
        read_columns(self, X, reset=True)
        self.width_ = encoder_width(self.model, self.max_length)
        self._fitted_as = self._shaping()
        self._built = getattr(self, "_built", Built())
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed the captions.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Captions, as in `fit`.

        Returns
        -------
        embeddings : ndarray of shape (n, n_columns * `width_`), dtype float32
            The columns' blocks stand side by side. Missing captions are zeros.

        Raises
        ------
        TypeError
            If a caption is bytes, which may be of any encoding.
        ValueError
            If `model` was set to one of another width after `fit`.
        """
        check_is_fitted(self)
        self._check_width()
        table = read_columns(self, X, reset=False)
        places = places_of(text_or_none(cell) for cell in table.flat)
        embeddings = np.zeros((table.size, self.width_), dtype=np.float32)

        with tqdm(total=len(places), unit="caption", disable=not self.verbose) as bar:
            embed_all(
                dict(sorted(places.items())),
                embeddings,
                self.store,
                recipe=self._recipe,
                find=text_items,
                compute=self._compute,
                group_size=_TEXTS_A_GROUP,
                bar=bar,
            )
        return embeddings.reshape(len(table), -1)

    def _check_parameters(self) -> None:
        if not isinstance(self.model, str | os.PathLike):
            raise TypeError(
                f"model must be a folder or the name of a Hugging Face encoder, got "
                f"an instance of {type(self.model).__name__}."
            )
        check_option("pooling", self.pooling, ("cls", "mean"))
        check_option("precision", self.precision, ("auto", "float32", "bfloat16"))
        check_count("max_length", self.max_length)
        check_count("batch_size", self.batch_size, auto=True)
        resolve_device(self.device)
        check_n_jobs(self.n_jobs)
        check_store(self.store)

    def _shaping(self) -> tuple[object, ...]:
        return self.model, self.max_length, self.pooling

    def _check_width(self) -> None:
        """Raise if parameters were set after `fit` that make `width_` wrong."""
        if self._shaping() != self._fitted_as:
            self._check_parameters()
            width = encoder_width(self.model, self.max_length)
            check_width(width, self.width_, f"model={self.model!r}")

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_ * self.width_

    def _text_model(self) -> TextModel:
        device = resolve_device(self.device)
        dtype = resolve_precision(self.precision, device)
        model = os.fspath(self.model)
        if os.path.isdir(model):  # workers may be in another folder
            model = absolute(model)
        files = [stamp_of(path) for path in text_model_files(model)]
        key = (model, files, self.pooling, self.max_length, dtype, device)
        return TextModel(
            token=self._built.token(key),
            model=model,
            pooling=self.pooling,
            max_length=self.max_length,
            dtype=dtype,
            device=self.device,
            batch_size=self.batch_size,
        )

    def _compute(self, groups: Iterable[list[str]], n_texts: int) -> Results:
        return spread(
            self._text_model(), groups, n_texts, built=self._built, n_jobs=self.n_jobs
        )

    def _recipe(self, session: Session) -> bytes:
        """Return the digest of what shapes a vector beside the text.

        The major release of transformers is in it: the tokenizer's files do not tell
        all that its code does.
        """
        import transformers

        model = text_model_identity(session, self.model)
        if model is None:  # not downloaded yet
            self._text_model().encoder(self._built)
            model = text_model_identity(session, self.model)
        if model is None:
            model = self._built.digest(TextEncoder.digest)
        major = transformers.__version__.partition(".")[0]
        dtype = resolve_precision(self.precision, resolve_device(self.device))
        settings = (self.pooling, self.max_length, str(dtype), major)
        return recipe_of("captions", _RULES, model, *settings)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True  # False would skip 44 of 45 checks
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags
