"""A column of captions -> one vector a caption."""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from tqdm import tqdm

from skchallenge._state import Versioned
from skchallenge._table import (
    check_count,
    check_option,
    indices_of,
    read_columns,
    text_or_none,
)
from skchallenge._torch import (
    isolated_rng,
    no_autocast,
    resolve_device,
)
from skchallenge.embed._cached import (
    Embedded,
    cached_embed,
    check_n_jobs,
    vector_from_bytes,
    vector_to_bytes,
)
from skchallenge.embed._keys import (
    fingerprint_of,
    network_digest,
    pretrained_files,
    pretrained_fingerprint,
)
from skchallenge.embed._networks import check_width, get_network, resolve_precision
from skchallenge.embed._pretrained import (
    from_pretrained,
    is_sentence_model,
    load_sentence_model,
    load_tokenizer,
    quiet_transformers,
)
from skchallenge.embed._store import Session, StoreLike, check_store
from skchallenge.exceptions import MediaError
from skchallenge.media._file import absolute, file_stat

_KIND = "a BERT-family encoder"
_RULES = 2  # raise it when texts become other vectors by the same parameters
_TEXTS_A_GROUP = 1024  # sorted by length together
_TOKENS_A_BATCH = {"cuda": 16384}  # "auto"; elsewhere 2,048 tokens, best on a CPU


class CaptionEmbedder(
    Versioned, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Embed short texts with a frozen encoder of the BERT family.

    Parameters
    ----------
    model : str or path-like, default="bert-base-uncased"
        A local folder in the layout of Hugging Face transformers, which is read without
        a network; or the name of an encoder on the Hugging Face Hub, taken from its
        cache or else downloaded. Code that comes with it is never run: an encoder that
        needs its own is an error.
    pooling : {"cls", "mean", "model"}, default="cls"
        The state of the first token, ``[CLS]``; or the mean over the tokens of the
        caption, special tokens included; or what a model of sentence-transformers does
        by itself, its pooling, its further layers and its normalisation among it (extra
        ``sentence``).
    max_length : int, default=128
        Tokens, special tokens included, after which a caption is cut. A model of
        sentence-transformers may cut sooner.
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
        pooling: Literal["cls", "mean", "model"] = "cls",
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
        self.width_ = self._width()
        self._fitted_as = self._shaping()
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
        if self._shaping() != self._fitted_as:  # parameters were set after `fit`
            self._check_parameters()
            check_width(self._width(), self.width_, f"model={self.model!r}")
        table = read_columns(self, X, reset=False)
        positions = indices_of(text_or_none(cell) for cell in table.flat)
        embeddings = np.zeros((table.size, self.width_), dtype=np.float32)

        # Batches depend on the set of texts alone, not on their order.
        embedded = cached_embed(self, sorted(positions), self.store)
        name = f"{type(self).__name__}, {os.path.basename(self.model)}"
        bar = tqdm(
            desc=name, total=len(positions), unit="caption", disable=not self.verbose
        )
        with bar, closing(embedded):
            for text, vector in embedded:
                for index in positions[text]:
                    embeddings[index] = vector
                bar.update()
        return embeddings.reshape(len(table), -1)

    def _check_parameters(self) -> None:
        if not isinstance(self.model, str | os.PathLike):
            raise TypeError(
                f"model must be a folder or the name of a Hugging Face encoder, got "
                f"an instance of {type(self.model).__name__}."
            )
        check_option("pooling", self.pooling, ("cls", "mean", "model"))
        if self.pooling == "model" and not is_sentence_model(self.model):
            raise ValueError(
                "pooling must be 'cls' or 'mean' for model="
                f"{os.fspath(self.model)!r}, which is none of sentence-transformers "
                "(modules.json is not there), got 'model'."
            )
        check_option("precision", self.precision, ("auto", "float32", "bfloat16"))
        check_count("max_length", self.max_length)
        check_count("batch_size", self.batch_size, auto=True)
        resolve_device(self.device)
        check_n_jobs(self.n_jobs)
        check_store(self.store)

    def _shaping(self) -> tuple[object, ...]:
        return self.model, self.max_length, self.pooling

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_ * self.width_

    # From here on: the encoder, and what `cached_embed` asks for.

    def _width(self) -> int:
        if self.pooling == "model":
            return self._encoder().width
        return encoder_width(self.model, self.max_length)

    def _encoder(self) -> "TextEncoder":
        """Return the encoder; the clones of this estimator have the same one."""
        device = resolve_device(self.device)
        dtype = resolve_precision(self.precision, device)
        model = os.fspath(self.model)
        if os.path.isdir(model):
            model = absolute(model)
        stats = tuple(file_stat(path) for path in pretrained_files(model))
        kind = SentenceEncoder if self.pooling == "model" else TextEncoder
        # A file changed in place makes another encoder.
        key = (kind.__name__, model, stats, dtype, device)
        return get_network(key, lambda: kind(model, dtype, device))

    def _fingerprint(self, session: Session | None) -> bytes:
        """Return the digest of what shapes a vector beside the text.

        The major release of transformers is in it: the tokenizer's files do not tell
        all that its code does.
        """
        import transformers

        model: object = pretrained_fingerprint(session, self.model)
        if model is None:  # not downloaded yet
            encoder = self._encoder()
            model = pretrained_fingerprint(session, self.model) or encoder.digest
        major = transformers.__version__.partition(".")[0]
        dtype = resolve_precision(self.precision, resolve_device(self.device))
        settings = (self.pooling, self.max_length, str(dtype), major)
        return fingerprint_of("captions", _RULES, model, *settings)

    def _contents(
        self, session: Session, names: Sequence[str]
    ) -> Iterator[tuple[str, bytes | MediaError | None]]:
        return ((text, text.encode("utf-8", "surrogatepass")) for text in names)

    _chunk_size, _commit_size = 4096, 1024
    _to_bytes = staticmethod(vector_to_bytes)
    _from_bytes = staticmethod(vector_from_bytes)

    def _for_workers(self) -> Self:
        """Return a clone that means the same in another process and folder."""
        sent = clone(self).set_params(store=None, verbose=0, n_jobs=1)
        dtype = resolve_precision(self.precision, resolve_device(self.device))
        sent.precision = str(dtype).removeprefix("torch.")  # shapes the vectors
        if os.path.isdir(self.model):
            sent.model = absolute(os.fspath(self.model))
        return sent

    def _embed(
        self, names: Sequence[str], n_items: int, *, hashed: bool
    ) -> Iterator[Embedded]:
        """Tokenize, run the encoder on texts of similar length, and pool."""
        encoder = self._encoder()
        batch_size = None if isinstance(self.batch_size, str) else self.batch_size
        budget = _TOKENS_A_BATCH.get(encoder.device.type, 2048)
        for start in range(0, len(names), _TEXTS_A_GROUP):
            texts = names[start : start + _TEXTS_A_GROUP]
            ids = encoder.tokenize(texts, self.max_length)
            lengths = np.array([len(tokens) for tokens in ids])
            for batch in length_batches(lengths, batch_size, budget):
                vectors = encoder.embed([ids[i] for i in batch], self.pooling)  # (B, D)
                for i, vector in zip(batch, vectors, strict=True):
                    content = texts[i].encode("utf-8", "surrogatepass")
                    yield Embedded(texts[i], vector, content)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True  # False would skip 44 of 45 checks
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags


class TextEncoder:
    """A tokenizer and its network on a device; texts -> vectors."""

    def __init__(self, model: str, dtype: torch.dtype, device: torch.device) -> None:
        from transformers import AutoModel

        # Layers that a checkpoint lacks are drawn at random; none of them is used.
        with quiet_transformers(), isolated_rng(device, seed=0):
            self.tokenizer = load_tokenizer(model, kind=_KIND)
            # Casting here would round what a model keeps in float32: angles, say.
            net = from_pretrained(AutoModel, model, kind=_KIND, dtype=dtype)
        self.net: Any = net.eval().requires_grad_(False).to(device)
        self.device = device

    @cached_property
    def digest(self) -> str:
        """A digest of the network and the vocabulary."""
        vocabulary = sorted(self.tokenizer.get_vocab().items())
        return f"{network_digest(self.net)} {self.tokenizer!r} {vocabulary}"

    def tokenize(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Return the tokens of each text, special ones included, cut at a length."""
        most = min(max_length, self.tokenizer.model_max_length)
        tokens = self.tokenizer(list(texts), truncation=True, max_length=most)
        return tokens["input_ids"]

    @property
    def width(self) -> int:
        """Features of a text."""
        return self.embed([[0]], "mean").shape[1]

    def embed(self, ids: list[list[int]], pooling: str) -> NDArray[np.float32]:
        """Return one vector a list of tokens, (B, D)."""
        width = max(len(tokens) for tokens in ids)
        padding = self.tokenizer.pad_token_id or 0
        table = np.full((len(ids), width), padding)  # (B, T)
        is_token = np.zeros((len(ids), width), dtype=np.int64)
        for row, tokens in enumerate(ids):
            table[row, : len(tokens)] = tokens
            is_token[row, : len(tokens)] = 1
        padded = torch.from_numpy(table).to(self.device)
        mask = torch.from_numpy(is_token).to(self.device)
        with torch.inference_mode(), no_autocast(self.device):
            return self._pooled(padded, mask, pooling).float().cpu().numpy()

    def _pooled(self, ids: Tensor, mask: Tensor, pooling: str) -> Tensor:
        output = self.net(input_ids=ids, attention_mask=mask)
        return pool_tokens(output.last_hidden_state.float(), mask, pooling)


class SentenceEncoder(TextEncoder):
    """A model of sentence-transformers, which pools by itself."""

    def __init__(self, model: str, dtype: torch.dtype, device: torch.device) -> None:
        self.net = load_sentence_model(model, dtype, device, parameter="model")
        self.tokenizer = self.net.tokenizer
        self.device = device

    def tokenize(self, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Return the tokens of each text, cut also where the model cuts them."""
        longest = self.net.max_seq_length or max_length
        return super().tokenize(texts, min(max_length, longest))

    def _pooled(self, ids: Tensor, mask: Tensor, pooling: str) -> Tensor:
        return self.net({"input_ids": ids, "attention_mask": mask})[
            "sentence_embedding"
        ]


def encoder_width(model: str | os.PathLike[str], max_length: int) -> int:
    """Return the features of a token, from the configuration alone.

    Raises
    ------
    ValueError
        If there is no such model or it takes fewer than `max_length` tokens.
    """
    from transformers import AutoConfig

    with quiet_transformers():
        config = from_pretrained(AutoConfig, model, kind=_KIND)
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"model must be an encoder of the BERT family, got {model!r}.")
    limit = getattr(config, "max_position_embeddings", max_length)
    if max_length > limit:
        raise ValueError(
            f"max_length must be at most {limit}, the positions of model={model!r}, "
            f"got {max_length}."
        )
    return config.hidden_size


def pool_tokens(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Reduce (B, T, D) token states to (B, D); padded tokens do not count."""
    if pooling == "cls":
        return states[:, 0]
    weight = mask.unsqueeze(-1).float()  # (B, T) -> (B, T, 1)
    return (states * weight).sum(dim=1) / weight.sum(dim=1)


def length_batches(
    lengths: NDArray[np.intp], batch_size: int | None, token_budget: int
) -> Iterator[NDArray[np.intp]]:
    """Yield indices of texts, longest first, so that little is padded.

    A batch holds `batch_size` texts, or as many as fit `token_budget` when padded.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        size = batch_size or max(1, token_budget // longest)
        yield order[start : start + size]
        start += size
