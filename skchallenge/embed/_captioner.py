"""A column of media files -> sentences that describe what is seen."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skchallenge._state import Versioned
from skchallenge._table import check_count, check_option
from skchallenge._torch import isolated_rng, no_autocast, resolve_device
from skchallenge.embed._cached import Embedded, cached_embed, check_n_jobs
from skchallenge.embed._files import distinct, file_contents, fill_rows, read_files
from skchallenge.embed._keys import (
    fingerprint_of,
    network_digest,
    pretrained_files,
    pretrained_fingerprint,
)
from skchallenge.embed._networks import get_network, resolve_precision
from skchallenge.embed._pretrained import (
    from_pretrained,
    load_tokenizer,
    quiet_transformers,
)
from skchallenge.embed._store import Data, Session, StoreLike, check_store
from skchallenge.exceptions import MediaError
from skchallenge.media._file import absolute, file_stat, printable
from skchallenge.media._limits import MediaLimits, check_limits
from skchallenge.media._read import Clip, read_clips
from skchallenge.media._source import Source

_CPU = torch.device("cpu")
_KIND = "a model that describes images (BLIP, GIT, ViT-GPT2)"
_RULES = 1  # raise it when files become other texts by the same parameters
_FRAMES_A_BATCH = 8  # "auto"


class FrameCaptioner(Versioned, TransformerMixin, BaseEstimator):
    """Describe what is seen on videos and still images, in sentences.

    Frames are sampled as by `VideoFrameEmbedder`, a model of images and texts writes a
    sentence about each, and the sentences that differ are joined in order of time. The
    text is one cell, which `CaptionEmbedder` and models of words read: so the virality
    report [1]_ planned a "contextual summary" of a video.

    Parameters
    ----------
    model : str or path-like, default="Salesforce/blip-image-captioning-base"
        A local folder in the layout of Hugging Face transformers, or the name of a
        model on the Hugging Face Hub, taken from its cache or else downloaded: one that
        writes about an image without being asked a question, such as BLIP, GIT, or a
        pair of ViT and GPT-2. Code that comes with it is never run.
    n_frames : int, default=3
        Frames sampled from each file.
    max_new_tokens : int, default=30
        Tokens after which a sentence ends.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type in which the model runs. ``"auto"`` takes bfloat16 where the hardware
        multiplies it natively, float32 elsewhere.
    batch_size : int or "auto", default="auto"
        Frames that are described together; ``"auto"`` is 8. They are of one file.
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` takes CUDA where there is one.
    n_jobs : int or None, default=None
        Processes that work side by side, through joblib, as of `VideoFrameEmbedder`.
    store : None, path or EmbeddingStore, default=None
        Where texts are kept, so that none is written twice. It may be the one of
        embedders.
    limits : MediaLimits or None, default=None
        What a file may cost; None is ``MediaLimits()``.
    on_error : {"raise", "nan"}, default="raise"
        What becomes of a file that is missing, unreadable or without a picture, or of
        which the model says nothing: an error that names it, or a cell of NaN, which
        models of captions take for a missing one, and a `MediaWarning`.
    verbose : int, default=0
        Show a progress bar over files if not 0.

    Attributes
    ----------
    n_features_in_ : int
        Columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`, if all of them were strings.

    Raises
    ------
    MediaError
        By `transform` with ``on_error="raise"``, if there is a bad file.
    TypeError
        If `X` holds what is neither a picture nor a clip, or `model` is no name.
    ValueError
        If a parameter has a wrong value, or `model` does not describe images.

    See Also
    --------
    CaptionEmbedder : Makes vectors of the sentences.
    FrameTagger : Labels in place of sentences.
    VideoFrameEmbedder : Vectors in place of sentences.

    Notes
    -----
    Nothing is drawn at random: each token is the likeliest, or the best found by the
    beam search that the model's own settings ask for. What is written is a model's
    guess; it has never been told that it may be wrong, and it describes people. Look at
    some before you rely on them.

    References
    ----------
    .. [1] The multimodal TikTok virality report, "Future Work": frames captioned by an
       encoder and a decoder, their text embedded and joined to the metadata.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from skchallenge.embed import CaptionEmbedder, FrameCaptioner
    >>> summary = make_pipeline(FrameCaptioner(n_frames=5), CaptionEmbedder())
    >>> summary[0].n_frames
    5
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "Salesforce/blip-image-captioning-base",
        *,
        n_frames: int = 3,
        max_new_tokens: int = 30,
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        device: str | torch.device = "auto",
        n_jobs: int | None = None,
        store: StoreLike = None,
        limits: MediaLimits | None = None,
        on_error: Literal["raise", "nan"] = "raise",
        verbose: int = 0,
    ) -> None:
        self.model = model
        self.n_frames = n_frames
        self.max_new_tokens = max_new_tokens
        self.precision = precision
        self.batch_size = batch_size
        self.device = device
        self.n_jobs = n_jobs
        self.store = store
        self.limits = limits
        self.on_error = on_error
        self.verbose = verbose

    output = "text"  # of `fill_rows`; no parameter

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters; no file is opened, and no weights.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Files, as for `VideoFrameEmbedder`.
        y : None
            Ignored.

        Returns
        -------
        self : FrameCaptioner
            The fitted captioner.
        """
        self._check_parameters()
        read_files(self, X, reset=True, without="a picture")
        self._is_fitted = True
        return self

    def transform(self, X: Any) -> NDArray[np.object_]:
        """Describe the files.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Files, as in `fit`.

        Returns
        -------
        texts : ndarray of shape (n, n_columns), dtype object
            The sentences of each file, joined.

        Raises
        ------
        MediaError
            With ``on_error="raise"``, if there is a bad file.

        Warns
        -----
        MediaWarning
            With ``on_error="nan"``, if there is such a file.
        """
        check_is_fitted(self)
        self._check_parameters()
        table = read_files(self, X, reset=False, without="a picture")
        written = cached_embed(self, distinct(table), self.store)
        model = os.path.basename(os.fspath(self.model))
        return fill_rows(self, table, written, 1, model=model)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of the features: ``{column}_description``.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of `X`, which must be those seen during `fit`.

        Returns
        -------
        names : ndarray of str objects
            One a column.
        """
        check_is_fitted(self)
        columns = _check_feature_names_in(self, input_features)
        return np.array([f"{column}_description" for column in columns], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_is_fitted")

    def _check_parameters(self) -> None:
        if not isinstance(self.model, str | os.PathLike):
            raise TypeError(
                "model must be a folder or the name of a Hugging Face model, got an "
                f"instance of {type(self.model).__name__}."
            )
        check_count("n_frames", self.n_frames)
        check_count("max_new_tokens", self.max_new_tokens)
        check_option("precision", self.precision, ("auto", "float32", "bfloat16"))
        check_count("batch_size", self.batch_size, auto=True)
        check_option("on_error", self.on_error, ("raise", "nan"))
        resolve_device(self.device)
        check_n_jobs(self.n_jobs)
        check_store(self.store)
        check_limits(self.limits)
        _check_kind(self.model)

    # From here on: the model, and what `cached_embed` asks for.

    def _dtype(self) -> torch.dtype:
        return resolve_precision(self.precision, resolve_device(self.device))

    def _writer(self) -> "Writer":
        """Return the model; the clones of this estimator have the same one."""
        model, dtype = os.fspath(self.model), self._dtype()
        if os.path.isdir(model):
            model = absolute(model)
        # A file changed in place makes another model.
        stats = tuple(file_stat(path) for path in pretrained_files(model))
        device = resolve_device(self.device)
        key = ("captions", model, stats, dtype, device)
        return get_network(key, lambda: Writer(model, dtype, device))

    def _fingerprint(self, session: Session | None) -> bytes:
        """Return the digest of what shapes a text beside the file."""
        import transformers

        model: object = pretrained_fingerprint(session, self.model)
        if model is None:  # not downloaded yet
            writer = self._writer()
            model = pretrained_fingerprint(session, self.model) or writer.digest
        major = transformers.__version__.partition(".")[0]
        settings = (self.n_frames, self.max_new_tokens, str(self._dtype()), major)
        return fingerprint_of("sentences", _RULES, model, *settings)

    def _contents(
        self, session: Session, names: Sequence[Source]
    ) -> Iterator[tuple[Source, bytes | MediaError | None]]:
        return file_contents(session, names, self.limits)

    _chunk_size, _commit_size = 32, 8

    @staticmethod
    def _to_bytes(text: str) -> Data:
        return memoryview(text.encode())

    @staticmethod
    def _from_bytes(data: bytes) -> str:
        return bytes(data).decode()

    def _for_workers(self) -> Self:
        """Return a clone that means the same in another process and folder."""
        sent = clone(self).set_params(store=None, verbose=0, n_jobs=1)
        sent.precision = str(self._dtype()).removeprefix("torch.")  # shapes the texts
        if os.path.isdir(self.model):
            sent.model = absolute(os.fspath(self.model))
        return sent

    def _embed(
        self, names: Sequence[Source], n_items: int, *, hashed: bool
    ) -> Iterator[Embedded]:
        """Decode, describe the frames of one file after the other, and join."""
        writer = self._writer()
        size = _FRAMES_A_BATCH if isinstance(self.batch_size, str) else self.batch_size
        clips = read_clips(
            names,
            self.n_frames,
            None,
            n_threads=torch.get_num_threads(),
            limits=self.limits,
            hashed=hashed,
        )
        for name, clip in zip(names, clips, strict=True):
            if not isinstance(clip, Clip):
                yield Embedded(name, clip, None)
                continue
            sentences = [
                sentence
                for start in range(0, len(clip.frames), size)
                for sentence in writer.describe(
                    list(clip.frames[start : start + size]), self.max_new_tokens
                )
            ]
            # A model that sees the same twice says it twice.
            text = ". ".join(filter(None, dict.fromkeys(sentences)))
            if text:
                yield Embedded(name, text, clip.digest)
            else:
                error = f"{printable(name)}: {writer.name} says nothing of its frames."
                yield Embedded(name, MediaError(error), None)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False  # a 2-D array of numbers is refused
        tags.transformer_tags.preserves_dtype = []  # always texts
        return tags


class Writer:
    """A model of images and texts on a device; frames -> sentences."""

    def __init__(self, model: str, dtype: torch.dtype, device: torch.device) -> None:
        from transformers import AutoImageProcessor, AutoModelForImageTextToText

        self.name = f"model={model!r}"
        self.device = device
        with quiet_transformers(), isolated_rng(_CPU, seed=0):
            self.tokenizer = load_tokenizer(model, kind=_KIND)
            try:
                self.processor = from_pretrained(AutoImageProcessor, model, kind=_KIND)
            except ValueError as error:
                raise ValueError(
                    f"{self.name} comes without its processor "
                    "(preprocessor_config.json). Save the one it was trained with "
                    "beside it, by processor.save_pretrained(folder)."
                ) from error
            net = from_pretrained(
                AutoModelForImageTextToText, model, kind=_KIND, dtype=dtype
            )
        self.net: Any = net.eval().requires_grad_(False).to(device)

    @cached_property
    def digest(self) -> str:
        """A digest of the network and the vocabulary."""
        vocabulary = sorted(self.tokenizer.get_vocab().items())
        return f"{network_digest(self.net)} {self.processor!r} {vocabulary}"

    def describe(
        self, frames: Sequence[NDArray[np.uint8]], max_new_tokens: int
    ) -> list[str]:
        """Return a sentence about each frame; it may be empty."""
        images = [Image.fromarray(frame) for frame in frames]
        with (
            quiet_transformers(),
            isolated_rng(self.device, seed=0),
            no_autocast(_CPU),
            no_autocast(self.device),
            torch.inference_mode(),
        ):
            try:
                pixels = self.processor(images=images, return_tensors="pt")
                tokens = self.net.generate(
                    pixel_values=pixels["pixel_values"].to(self.device, self.net.dtype),
                    max_new_tokens=max_new_tokens,
                    do_sample=False,
                )
            except Exception as error:
                raise ValueError(
                    f"{self.name} failed to describe {len(frames)} frames: {error} "
                    f"Pass {_KIND}."
                ) from error
        sentences = self.tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(sentence.split()).rstrip(". ") for sentence in sentences]


def _check_kind(model: str | os.PathLike[str]) -> None:
    """Raise unless a model, by its configuration, writes about images."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as WRITERS,
    )

    with quiet_transformers():
        config = from_pretrained(AutoConfig, model, kind=_KIND)
    if config.model_type not in WRITERS:
        raise ValueError(
            f"model must be {_KIND}, got {os.fspath(model)!r}, a model of type "
            f"{config.model_type!r}, which writes nothing about images. FrameTagger "
            "and VideoFrameEmbedder take those that only see."
        )
