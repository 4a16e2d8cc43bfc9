"""Will this video go viral: the classifier of columns and covers."""

import math
import os
import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
import torch
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length, check_scalar
from torch import Tensor, nn

from skchallenge._base import (
    Batches,
    Inputs,
    _BaseTorchClassifier,
    check_widths,
    names_of,
    random_projection,
    read_numbers,
)
from skchallenge._guard import check_nowcast, check_roles, warn_if_leaking
from skchallenge._table import (
    check_option,
    column_position,
    read_table,
)
from skchallenge.embed._backbone import FrameEncoder, build_backbone, check_backbone
from skchallenge.exceptions import MediaWarning
from skchallenge.media._covers import load_covers
from skchallenge.nn import MLP, CoverCNN, CoverFusion, WideAndDeep

_CHUNK_SIZE = 256  # rows whose first convolution takes 70 MB at 64 pixels
_MARGIN = 8  # a cover is an eighth larger than the square that is cut out of it
_RESNET_WIDTH = 2048
_LEAST_SIZE = {"cnn": 4, "resnet50": 33}  # of a pixel left after all the halving


class MultimodalVirality(_BaseTorchClassifier):
    """Predict whether a video goes viral from columns, from its cover, or from both.

    All networks of the report [1]_ by parameters, trained with cross-entropy and Adam,
    each with ``linear_path=False``:

    ==============================  =================================================
    the report's model              parameters
    ==============================  =================================================
    logistic regression             ``metadata_layers=()``
    metadata network (META_DL)      none
    CNN of the cover                ``image="cover", metadata_layers=None``
    ResNet-50 of the cover          and ``image_encoder="resnet50"``
    multimodal                      ``image="cover"``
    complex multimodal (MM_FULL)    ``image="cover", fusion="full"``
    ==============================  =================================================

    Parameters
    ----------
    image : str, int or None, default=None
        The column of covers: its name, with or without the prefix of a
        ColumnTransformer, or its position, which may be negative. Its cells are
        images, or videos, of which the first frame counts: paths, bytes, PIL images or
        uint8 arrays. Of a list of them, such as the pictures of a photo post, the first
        counts; a null cell is a missing cover. None: X is numbers only.
    image_encoder : {"cnn", "resnet50"}, default="cnn"
        The network that reads covers: two convolutions and five linear layers, or a
        ResNet-50 of which all layers are trained.
    image_size : int, default=64
        Height and width, in pixels, of what the network sees of a cover: covers are
        resized to 9/8 of it, and a square is cut out, at random in training and from
        the middle in prediction. A multiple of 4.
    fusion : {"concat", "full"}, default="concat"
        Where cover and columns meet. ``"concat"``: the 32 features of the cover and
        the columns go through `metadata_layers` together. ``"full"``: the columns go
        through `metadata_layers` first, then both through a layer of 64.
    metadata_layers : sequence of int or None, default=(512, 64)
        Widths of the layers that read the columns. ``()`` is one linear layer that
        starts at zero: logistic regression. None: the cover is all that is looked at.
    linear_path : bool, default=True
        Whether a logistic regression of the columns, its penalty tuned by
        cross-validation, is fitted first, and the network, which starts at zero, only
        adds to its logits [2]_. With `early_stopping` the network adds nothing if no
        epoch is better than none on the held-out rows. The report has no such path.
    dropout : float, default=0.5
        Fraction of units dropped in training, in [0, 1): after each of
        `metadata_layers` and after the first linear layer of the CNN.
    lr : float, default=1e-3
        Learning rate of Adam, above 0.
    batch_size : int or "auto", default=32
        Rows per gradient step; ``"auto"`` is ``min(256, n_samples)``.
    max_iter : int, default=30
        Maximum number of epochs.
    early_stopping : bool, default=True
        Whether to hold rows out, stop when their loss no longer falls, and keep the
        weights of the best epoch. Rows of the same numbers and the same cover are never
        on both sides. Where the cover is all there is, rows without one count as
        different.
    validation_fraction : float, default=0.1
        Fraction of the distinct rows that early stopping holds out, in (0, 1).
    n_iter_no_change : int, default=5
        Epochs without improvement before early stopping.
    groups : str, int, sequence of these or None, default=None
        Columns of X that are no features: early stopping and the tuning of the linear
        path hold whole groups out, such as all videos of a creator, where the question
        is about creators that training has not seen. Named as `image` is. With several,
        some of each kind are held out; a kind of which there are fewer than
        ``2 / validation_fraction`` is passed over.
    alpha : float, default=0.0
        Penalty, at least 0: ``alpha / 2`` times the sum of all squared weights, biases
        excepted, is added to the mean cross-entropy that is minimised.
        ``alpha=2 / (C * n_samples)`` is scikit-learn's ``LogisticRegression(C=C)``.
    weights : str, path-like or None, default="DEFAULT"
        Where a ResNet-50 starts: torchvision's name, the path of a state dict, or None
        for random weights, as in `VideoFrameEmbedder`. The CNN does not look at it.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, as in scikit-learn.
    nowcast : str or sequence of str, default=()
        Columns that are let in although they are only known after posting, to describe
        videos that are online rather than predict: see `column_roles`.
    on_error : {"raise", "nan"}, default="raise"
        What to do about an unreadable cover: raise a `MediaError`, or count it as
        missing and warn once.
    n_jobs : int or None, default=None
        Covers that are decoded side by side; None is 1, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of the weights, the dropout, the cuts, the shuffling and the held-out
        rows.
    device : str, default="auto"
        Torch device; ``"auto"`` is CUDA where there is one, else the CPU.
    verbose : int, default=0
        Whether to print one line per epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen during `fit`, sorted.
    net_ : skorch.NeuralNet
        The trained network. A pickle holds its weights as NumPy arrays and no
        optimizer state.
    n_iter_ : int
        Number of epochs run.
    loss_curve_ : list of float
        Mean training loss of each epoch, without the penalty.
    accuracy_curve_ : list of float
        Training accuracy of each epoch, with dropout and cuts, in [0, 1].
    validation_loss_curve_ : list of float or None
        Mean loss of the held-out rows after each epoch; None without early stopping.
    validation_accuracy_curve_ : list of float or None
        Accuracy on the held-out rows after each epoch; None without early stopping.
    column_roles_ : dict of str to str
        The role of each column that is read as numbers, see `column_roles`. Look for
        ``label_part``, half of the label, and ``scrape_aggregate``, which knows later
        videos. Empty where X has no names: then nothing is checked.
    n_features_in_ : int
        Number of columns seen during `fit`, the cover included.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, when all are strings.

    Raises
    ------
    LeakageError
        If a column tells what happened after posting, or how long ago that was, and
        `nowcast` does not list it.
    MediaError
        If a cover is unreadable and `on_error` is "raise".
    ValueError
        If a parameter is out of range, `image` or a name in `nowcast` is no column of
        X, or another column holds no numbers.
    TypeError
        If a cell of the column of covers is neither an image nor null.

    Warns
    -----
    LeakageWarning
        If a column tells y almost exactly, alone or together with one that is half of
        the label. Looked at with two classes and 1,000 rows or more.
    MediaWarning
        If covers are unreadable and `on_error` is "nan", or no row of `fit` has one.

    See Also
    --------
    skchallenge.tabular.column_roles : What is known when.
    skchallenge.metrics.TrainingCurvesDisplay : Draws the curves.
    VideoFrameEmbedder : Frozen features of covers, for any other classifier.

    Notes
    -----
    Scale the columns before, as the report does, with a StandardScaler. X may have any
    number of columns beside the cover. With covers the network runs in float32.

    Files that hold the same pixels are kept once. Covers are decoded in each `fit` and
    each prediction, and kept as bytes: 15.6 KB a cover at 64 pixels. Above 512 MB they
    are in a temporary file, which the system deletes.

    A row without a cover gets a learned vector in place of the cover's features, or
    their weighted mean over the rows trained on if each of those has a cover. Where
    the cover is all there is, that vector is not learned: it is zero, or that mean.

    References
    ----------
    .. [1] "Multimodal TikTok virality prediction", a student report: metadata,
       caption sentiment and cover image of 975 videos. Layers whose sizes it does not
       state have sizes chosen here.
    .. [2] Cheng, H.-T. et al. "Wide & Deep Learning for Recommender Systems", DLRS
       2016. https://doi.org/10.1145/2988450.2988454

    Examples
    --------
    >>> import numpy as np
    >>> from skchallenge import MultimodalVirality
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 3))  # three columns that are known before posting
    >>> y = X[:, 0] + 0.5 * rng.normal(size=300) > 0
    >>> model = MultimodalVirality(metadata_layers=(16,), lr=0.01, random_state=0)
    >>> model.fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.8
    True
    """

    def __init__(
        self,
        *,
        image: str | int | None = None,
        image_encoder: Literal["cnn", "resnet50"] = "cnn",
        image_size: int = 64,
        fusion: Literal["concat", "full"] = "concat",
        metadata_layers: Sequence[int] | None = (512, 64),
        linear_path: bool = True,
        dropout: float = 0.5,
        lr: float = 1e-3,
        batch_size: int | str = 32,
        max_iter: int = 30,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        groups: str | int | Sequence[str | int] | None = None,
        alpha: float = 0.0,
        weights: str | os.PathLike[str] | None = "DEFAULT",
        class_weight: dict[Any, float] | str | None = None,
        nowcast: str | Sequence[str] = (),
        on_error: Literal["raise", "nan"] = "raise",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.image = image
        self.image_encoder = image_encoder
        self.image_size = image_size
        self.fusion = fusion
        self.metadata_layers = metadata_layers
        self.linear_path = linear_path
        self.dropout = dropout
        self.lr = lr
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.groups = groups
        self.alpha = alpha
        self.weights = weights
        self.class_weight = class_weight
        self.nowcast = nowcast
        self.on_error = on_error
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_option("image_encoder", self.image_encoder, _LEAST_SIZE)
        check_option("fusion", self.fusion, ("concat", "full"))
        check_option("on_error", self.on_error, ("raise", "nan"))
        if self.metadata_layers is not None:
            example = "(512, 64) or None"
            check_widths("metadata_layers", self.metadata_layers, example)
        if self.image is None:
            if self.metadata_layers is None:
                raise ValueError(
                    "metadata_layers=None looks at the cover alone, and image=None "
                    "says that there is none. Set one of them."
                )
            return
        least = _LEAST_SIZE[self.image_encoder]
        check_scalar(self.image_size, "image_size", Integral, min_val=least)
        if self.image_size % 4:
            raise ValueError(
                f"image_size must be a multiple of 4, got {self.image_size}."
            )
        if self.image_encoder == "resnet50":
            check_backbone("resnet50", self.weights)

    def _read(self, X: Any, y: NDArray[Any] | None = None) -> Inputs:
        """Split X into numbers and covers as `fit` did, whatever was set since."""
        if y is not None:
            self._image_index: Any = None
        if (self._image_index if y is None else self.image) is None:
            inputs = super()._read(X, y)
            if y is not None:
                self._check_leaks(inputs.arrays[0], y, self._feature_names())
            return inputs

        table = read_table(self, X, reset=y is not None)
        names, groups = names_of(self), ()
        if y is not None:
            check_consistent_length(table, y)
            groups = self._read_groups(table)
            self._find_columns(table, names)
        metadata = read_numbers(table, self._numeric, names, "the cover")
        if y is not None:  # before covers are decoded, which takes longest
            used = [names[i] for i in self._numeric] if names else []
            self._check_leaks(metadata, y, used)

        covers, cover_index, bad = load_covers(
            table.iloc[:, self._image_index],
            self._image_size + self._image_size // _MARGIN,
            n_threads=effective_n_jobs(self.n_jobs),
            skip_bad=self.on_error == "nan",
        )
        if bad:
            first = min(bad)
            warnings.warn(
                f"{len(bad)} covers cannot be read and count as missing, first in row "
                f"{first}: {bad[first]}",
                MediaWarning,
                stacklevel=4,  # past `fit` and its wrapper, or `_forward` and `predict`
            )
        key = metadata
        if y is not None and (
            self.early_stopping and not groups
        ):  # it looks at all pixels
            key = _cover_key(metadata, cover_index, covers)
        arrays = metadata, cover_index
        return Inputs(
            arrays, key=key, chunk_size=_CHUNK_SIZE, shared=(covers,), groups=groups
        )

    def _find_columns(self, table: pd.DataFrame, names: list[str]) -> None:
        """Learn which column holds covers and which are numbers."""
        n_columns, image = table.shape[1], cast(str | int, self.image)
        position = column_position("image", image, n_columns, names)
        others = [i for i in self._feature_columns() if i != position]
        self._image_index, self._image_size = position, int(self.image_size)
        self._numeric = [] if self.metadata_layers is None else others
        if not others and self.metadata_layers is not None:
            raise ValueError(
                "X has no column beside the cover. Set metadata_layers=None to use the "
                "cover alone."
            )
        if table.iloc[:, position].isna().all():
            warnings.warn(
                f"No row of X has a cover: all cells of image={self.image!r} are "
                "missing, so it tells nothing. Fill the column, or set image=None.",
                MediaWarning,
                stacklevel=5,  # past `_read`, `fit` and its wrapper for callbacks
            )

    def _check_leaks(
        self, metadata: NDArray[Any], y: NDArray[Any], names: list[str]
    ) -> None:
        """Refuse columns by name, and warn of those that have another name."""
        nowcast = check_nowcast(self.nowcast, names)
        self.column_roles_ = check_roles(names, nowcast)
        if names:
            table = pd.DataFrame(metadata, columns=names)
            warn_if_leaking(table, y, self.column_roles_, 6, nowcast=nowcast)

    def _module_options(self, n_features: int, n_classes: int) -> dict[str, Any]:
        options = {
            "out_features": n_classes,
            "hidden": tuple(int(width) for width in self.metadata_layers or ()),
            "dropout": float(self.dropout),
        }
        if self.image is None:
            return {**options, "in_features": n_features}
        return {
            **options,
            "encoder": self.image_encoder,
            "image_size": int(self.image_size),
            "n_metadata": n_features,
            "fusion": self.fusion,
        }

    def _find_linear_columns(self, n_features: int) -> list[int] | None:
        """Leave out the line where the network is one, or sees covers alone."""
        is_line = self.image is None and not self.metadata_layers
        return (
            None
            if is_line or not n_features
            else super()._find_linear_columns(n_features)
        )

    def _build_module(self, *, dtype: torch.dtype, **options: Any) -> MLP | CoverFusion:
        if "encoder" in options:  # with covers, in float32
            return _cover_network(**options)
        module = MLP(dtype=dtype, **options)
        if not options["hidden"]:
            _start_at_zero(module)
        return module

    def _train(
        self, net: Any, train: Batches, held_out: Batches | None, watch: Any
    ) -> None:
        """Start a ResNet from `weights`; afterwards fill in what a missing cover is."""
        module = net.module_
        module = module.deep if isinstance(module, WideAndDeep) else module
        for layer in module.modules():
            if isinstance(layer, FrameEncoder) and self.weights is not None:
                trained = build_backbone("resnet50", self.weights, self.image_size)
                layer.backbone.load_state_dict(trained.state_dict())
        super()._train(net, train, held_out, watch)
        if isinstance(module, CoverFusion):
            _, weight, _, cover_index = train.aligned
            if (cover_index >= 0).all():  # training has shown no missing one
                _set_missing_to_mean(module, weight, cover_index, *train.shared)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = self.image is not None
        return tags


def _cover_key(
    metadata: NDArray[np.float32],
    cover_index: NDArray[np.int64],
    covers: NDArray[np.uint8],
) -> NDArray[np.float64]:
    """Return what tells rows apart: their numbers, and the pixels of their cover.

    Where rows have no numbers, those that lack a cover are no copies of one video.
    """
    pixels = covers.reshape(len(covers), math.prod(covers.shape[1:]))
    numbers = random_projection(pixels)
    none = numbers.min(initial=0) - 1
    key = np.column_stack([metadata, np.append(numbers, none)[cover_index]])
    if not metadata.shape[1]:
        key[cover_index < 0] -= np.arange((cover_index < 0).sum())[:, None]
    return key


def _cover_network(
    encoder: str,
    image_size: int,
    n_metadata: int,
    hidden: tuple[int, ...],
    fusion: str,
    dropout: float,
    out_features: int,
) -> CoverFusion:
    """Return the network of covers, alone or beside columns, with random weights."""
    reader: nn.Module
    width = CoverCNN.width
    if encoder == "cnn":
        reader = CoverCNN(image_size, dropout)
    elif n_metadata:  # 2,048 features become as many as those of the CNN
        squeeze = nn.Linear(_RESNET_WIDTH, width)
        reader = nn.Sequential(_resnet50(), squeeze, nn.ReLU())
    else:
        reader, width = _resnet50(), _RESNET_WIDTH
    module = CoverFusion(
        reader, width, image_size, n_metadata, out_features, hidden, fusion, dropout
    )
    if n_metadata and fusion == "concat" and not hidden:
        _start_at_zero(module.classify)
    return module


def _resnet50() -> FrameEncoder:
    """Return a ResNet-50 of random weights without its last layer."""
    from torchvision.models import resnet50

    net = resnet50(weights=None)
    net.fc = nn.Identity()
    return FrameEncoder(net, torch.float32)


@torch.no_grad()
def _set_missing_to_mean(
    module: CoverFusion, weight: Tensor, cover_index: Tensor, covers: Tensor
) -> None:
    """Let a missing cover have the mean features of all rows, by weight."""
    mean = torch.zeros_like(module.missing)  # (W,)
    fractions = torch.split(weight / weight.sum(), _CHUNK_SIZE)
    chunks = torch.split(cover_index, _CHUNK_SIZE)
    for fraction, chunk in zip(fractions, chunks, strict=True):
        mean += fraction @ module.embed(chunk, covers)  # (B,) @ (B, W)
    module.missing.copy_(mean)


def _start_at_zero(linear: MLP) -> None:
    """Let a network without hidden layers start where logistic regression does."""
    nn.init.zeros_(linear.head.weight)
    nn.init.zeros_(linear.head.bias)
