"""What estimators share that show the frames of a file to a frozen network."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skchallenge._state import Versioned
from skchallenge._table import Cells, check_count, check_option
from skchallenge._torch import resolve_device
from skchallenge.embed._backbone import (
    check_backbone,
    is_pretrained,
    is_weights_path,
    named_width,
)
from skchallenge.embed._cached import (
    Embedded,
    cached_embed,
    check_n_jobs,
    vector_from_bytes,
    vector_to_bytes,
)
from skchallenge.embed._engine import check_openvino
from skchallenge.embed._files import (
    FILLERS,
    distinct,
    file_contents,
    read_files,
)
from skchallenge.embed._keys import (
    fingerprint_of,
    pretrained_fingerprint,
    pretrained_stats,
    weights_fingerprint,
)
from skchallenge.embed._networks import (
    check_width,
    get_network,
    resolve_precision,
    token_of,
)
from skchallenge.embed._pretrained import is_sentence_model
from skchallenge.embed._sight import (
    SentenceSight,
    Sight,
    pretrained_sight,
    pretrained_width,
    sight_format,
    square_sight,
)
from skchallenge.embed._store import Session, StoreLike, check_store
from skchallenge.exceptions import MediaError
from skchallenge.media._file import absolute, file_stat
from skchallenge.media._limits import MediaLimits, check_limits
from skchallenge.media._read import Clip, read_clips
from skchallenge.media._source import Source

Matrix = NDArray[np.float32]

POOLING: dict[str, Callable[[Matrix], Matrix]] = {
    "mean": lambda features: features.mean(axis=0),
    "max": lambda features: features.max(axis=0),
    "concat": lambda features: features.ravel(),
}
_RULES = 3  # raise it when files become other vectors by the same parameters
_FRAMES_A_BATCH = {"cuda": 64}  # "auto"; elsewhere 16 frames, the best of a CPU
_SIZE = 224  # "auto"


class FrameTransformer(Versioned, TransformerMixin, BaseEstimator):
    """Base class: sample frames, pass them through a frozen network, and pool.

    Subclasses have the constructor, of which all that is annotated here is a parameter.
    """

    backbone: str | os.PathLike[str] | Callable[[], nn.Module]
    weights: str | os.PathLike[str] | None
    n_frames: int
    image_size: int | Literal["auto"]
    pooling: str
    precision: str
    compile: bool | Literal["auto", "openvino"]
    batch_size: int | Literal["auto"]
    device: str | torch.device
    n_jobs: int | None
    store: StoreLike
    limits: MediaLimits | None
    on_error: str
    output: str = "array"
    verbose: int
    _poolings: tuple[str, ...]

    def _fit(self, X: Any) -> Self:
        self._check_parameters()
        read_files(self, X, reset=True, without="a picture")
        self.width_ = self._width()
        self._fitted_as = self._shaping()
        return self

    def _embedded(self, X: Any) -> tuple[Cells, Any]:
        """Return the files, and what yields each with its vector or its error."""
        check_is_fitted(self)
        if self._shaping() != self._fitted_as:  # parameters were set after `fit`
            self._check_parameters()
            check_width(self._width(), self.width_, f"backbone={self.backbone!r}")
        table = read_files(self, X, reset=False, without="a picture")
        return table, cached_embed(self, distinct(table), self.store)

    def _named(self) -> dict[str, Any]:
        """Return what `fill_rows` calls the network and says of bad files."""
        model = getattr(self.backbone, "__name__", self.backbone)
        return {"model": model, "hint": "; probe_media tells the reasons"}

    def _check_parameters(self) -> None:
        check_backbone(self.backbone, self.weights)
        check_count("n_frames", self.n_frames)
        check_count("image_size", self.image_size, auto=True)
        if is_pretrained(self.backbone) and self.image_size != "auto":
            raise ValueError(
                f"image_size must be 'auto' for backbone={str(self.backbone)!r}, whose "
                f"own processor resizes frames, got {self.image_size!r}."
            )
        check_count("batch_size", self.batch_size, auto=True)
        check_option("pooling", self.pooling, self._poolings)
        check_option("precision", self.precision, ("auto", "float32", "bfloat16"))
        is_switch = isinstance(self.compile, bool)
        if not (is_switch or self.compile in ("auto", "openvino")):
            raise ValueError(
                f"compile must be 'auto', True, False or 'openvino', got "
                f"{self.compile!r}."
            )
        check_option("on_error", self.on_error, FILLERS)
        device = self._device()
        if self.compile == "openvino":
            check_openvino(device)
        check_n_jobs(self.n_jobs)
        check_store(self.store)
        check_limits(self.limits)

    def _shaping(self) -> tuple[object, ...]:
        """Return the parameters that shape a vector."""
        network = self.backbone, self.weights, self.image_size
        return *network, self.n_frames, self.pooling

    def _features_a_file(self) -> int:
        if self.pooling != "concat":
            return self.width_
        return self.width_ * (self.n_frames // self._n_at_once())

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_ * self._features_a_file()

    # From here on: the network, and what `cached_embed` asks for.

    def _device(self) -> torch.device:
        """Resolve ``"auto"``: OpenVINO runs on the CPU, whatever else there is."""
        is_free = self.device == "auto" and self.compile == "openvino"
        return resolve_device("cpu" if is_free else self.device)

    def _dtype(self) -> torch.dtype:
        return resolve_precision(self.precision, self._device())

    def _size(self) -> int:
        return _SIZE if isinstance(self.image_size, str) else int(self.image_size)

    def _pretrained(self) -> tuple[str, object]:
        """Return the name or absolute folder of a model, and the stats of its files.

        Changed in place, it is another model.
        """
        backbone: Any = self.backbone
        model = os.fspath(backbone)
        if os.path.isdir(model):
            model = absolute(model)
        return model, pretrained_stats(model)

    def _n_at_once(self) -> int:
        """Return how many frames the network sees at once, and check `n_frames`."""
        if not is_pretrained(self.backbone):
            return 1
        model, stats = self._pretrained()
        if is_sentence_model(model):
            return 1
        item = sight_format(model, stats)[1].item
        if item.ndim == 3:
            return 1
        if self.n_frames % len(item):
            remedy = max(1, self.n_frames // len(item)) * len(item)
            raise ValueError(
                f"n_frames must be a multiple of {len(item)}, the frames that "
                f"backbone={str(self.backbone)!r} sees at once, got {self.n_frames!r}. "
                f"Pass n_frames={remedy}."
            )
        return len(item)

    def _width(self) -> int:
        """Return the features of a frame or window; named weights are not opened."""
        self._n_at_once()
        if is_pretrained(self.backbone):
            model, stats = self._pretrained()
            if not is_sentence_model(model):
                return pretrained_width(model, stats)
        elif isinstance(self.backbone, str):
            is_name = not is_weights_path(self.weights)
            name = str(self.weights) if self.weights is not None and is_name else None
            return named_width(self.backbone, name, self._size())
        return self._sight().width

    def _sight(self) -> Sight | SentenceSight:
        """Return the network; the clones of this estimator have the same one."""
        device = self._device()
        # OpenVINO casts by itself, from float32.
        dtype = torch.float32 if self.compile == "openvino" else self._dtype()
        if is_pretrained(self.backbone):
            model, stats = self._pretrained()
            key = (*self._head(), model, stats, dtype, device)
            return get_network(
                key, lambda: self._build_pretrained(model, stats, dtype, device)
            )
        weights, stat = self.weights, None
        if is_weights_path(weights):  # changed in place, it is another one
            weights = Path(absolute(str(weights)))
            stat = file_stat(str(weights))
        name: Any = getattr(self, "_token", None) or self.backbone
        if not isinstance(name, str):
            name = token_of(name)
        size = self._size()
        key = (*self._head(), name, weights, stat, size, dtype, device)
        return get_network(key, lambda: self._build(weights, size, dtype, device))

    def _head(self) -> tuple[object, ...]:
        """Return what tells this network from others of the same backbone."""
        return ("frames",)

    def _build(
        self, weights: Any, size: int, dtype: torch.dtype, device: torch.device
    ) -> Sight:
        backbone: Any = self.backbone
        return square_sight(backbone, weights, size, dtype, device)

    def _build_pretrained(
        self, model: str, stats: object, dtype: torch.dtype, device: torch.device
    ) -> Sight | SentenceSight:
        if is_sentence_model(model):
            return SentenceSight(model, dtype, device)
        return pretrained_sight(model, stats, dtype, device)

    def _fingerprint(self, session: Session | None) -> bytes:
        """Return the digest of what shapes a vector beside the file.

        Library versions are not in it, but for the major one of transformers, whose
        processors' files do not tell all: decoders of a standard give the same frames,
        and kernels differ by rounding.
        """
        backbone: Any = self.backbone
        name: object = None
        size: object = self._size()
        if is_pretrained(backbone):
            import transformers

            only = self._files_that_count
            name = pretrained_fingerprint(session, backbone, only)
            if name is None:  # not downloaded yet
                sight = self._sight()
                name = pretrained_fingerprint(session, backbone, only) or sight.digest
            size = f"transformers {transformers.__version__.partition('.')[0]}"
        elif isinstance(backbone, str):
            weights = weights_fingerprint(session, backbone, self.weights)
            name = weights and f"{backbone} {weights}"
        if name is None:
            name = self._sight().digest
        dtype = self._dtype()
        settings = (self.n_frames, size, self.pooling, str(dtype))
        if self.compile == "openvino" and dtype != torch.float32:
            settings += ("openvino",)  # it rounds where torch does not
        return fingerprint_of(*self._head(), _RULES, name, *settings)

    # What else a folder holds, a tokenizer, says nothing of a vector of pictures.
    _files_that_count: str | None = r"(config|modules|.*processor_config)\.json"

    def _contents(
        self, session: Session, names: Sequence[Source]
    ) -> Iterator[tuple[Source, bytes | MediaError | None]]:
        return file_contents(session, names, self.limits)

    _chunk_size, _commit_size = 32, 8
    _to_bytes = staticmethod(vector_to_bytes)
    _from_bytes = staticmethod(vector_from_bytes)

    def _for_workers(self) -> Self:
        """Return a clone that means the same in another process and folder."""
        sent = clone(self).set_params(store=None, verbose=0, n_jobs=1)
        sent.precision = str(self._dtype()).removeprefix("torch.")  # shapes the vectors
        if is_weights_path(self.weights):
            sent.weights = Path(absolute(str(self.weights)))
        if is_pretrained(self.backbone):
            sent.backbone = self._pretrained()[0]
        elif callable(self.backbone):
            sent._token = token_of(self.backbone)
        return sent

    def _embed(
        self, names: Sequence[Source], n_items: int, *, hashed: bool
    ) -> Iterator[Embedded]:
        """Decode, run the network in batches across files, and pool."""
        sight, device = self._sight(), self._device()
        batch_size = self.batch_size
        if isinstance(batch_size, str):
            batch_size = _FRAMES_A_BATCH.get(device.type, 16)
        digests: list[bytes | None] = []  # of the files that were decoded, in order

        def clips() -> Iterator[Clip | MediaError]:
            for clip in read_clips(
                names,
                self.n_frames,
                sight.decoded_size,
                n_threads=torch.get_num_threads(),
                limits=self.limits,
                ahead=device.type != "cpu",
                hashed=hashed,
            ):
                digests.append(clip.digest if isinstance(clip, Clip) else None)
                yield clip

        pool = POOLING[self.pooling]
        encoded = sight.encode(
            clips(),
            self._dtype(),
            self.compile,
            batch_size=batch_size,
            n_frames=n_items * self.n_frames,
        )
        for number, (name, frames) in enumerate(zip(names, encoded, strict=True)):
            if not isinstance(frames, MediaError):
                frames = pool(frames)  # (n_frames, D) -> (d,)
            yield Embedded(name, frames, digests[number])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False  # a 2-D array of numbers is refused
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags
