"""Will this video go viral: the classifier of columns and covers."""

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length, check_scalar
from sklearn.utils.validation import validate_data
from torch import nn

from skchallenge._base import Inputs, _BaseTorchClassifier
from skchallenge._cover_column import numbers_of, place_of, read_table
from skchallenge._cover_network import check_layers, cover_network
from skchallenge._rows import TensorData, cover_key
from skchallenge._table import check_option, check_real
from skchallenge._warn import warn
from skchallenge.embed._backbone import FrameEncoder, build_backbone, check_backbone
from skchallenge.exceptions import MediaWarning
from skchallenge.media._covers import load_covers
from skchallenge.nn import MLP, CoverFusion
from skchallenge.tabular._guard import check_nowcast, check_roles, warn_if_leaking

_ROWS_A_PASS = 256  # their first convolution takes 70 MB at 64 pixels
_SPARE = 8  # a cover is an eighth larger than the square that is cut out of it
_LEAST_SIZE = {"cnn": 4, "resnet50": 33}  # of a pixel left after all the halving


class MultimodalVirality(_BaseTorchClassifier):
    """Predict whether a video goes viral from columns, from its cover, or from both.

    All networks of the report [1]_ by parameters, trained with cross-entropy and Adam:

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
        ColumnTransformer, or its position, which may be negative. Its cells are paths
        of images, or of videos, of which the first frame counts; a null cell is a
        missing cover. None: X is numbers only.
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
    dropout : float, default=0.5
        Share of units dropped in training, in [0, 1): after each of `metadata_layers`
        and after the first linear layer of the CNN.
    lr : float, default=1e-3
        Step size of Adam, above 0.
    batch_size : int or "auto", default=32
        Rows per gradient step; ``"auto"`` is ``min(256, n_samples)``.
    max_iter : int, default=30
        Most passes over the training rows.
    early_stopping : bool, default=True
        Whether to hold rows out, stop when their loss no longer falls, and keep the
        weights of the best pass. Rows of the same numbers and the same cover are never
        on both sides. Where the cover is all there is, rows without one count as
        different.
    validation_fraction : float, default=0.1
        Share of the different rows that early stopping holds out, in (0, 1).
    n_iter_no_change : int, default=5
        Passes without improvement before early stopping.
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
        Whether to print one line a pass.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen during `fit`, sorted.
    net_ : skorch.NeuralNet
        The trained network. A pickle holds its weights as NumPy arrays and no
        optimizer state.
    n_iter_ : int
        Passes made.
    loss_curve_ : list of float
        Mean training loss of each pass, without the penalty.
    accuracy_curve_ : list of float
        Training accuracy of each pass, with dropout and cuts, in [0, 1].
    validation_loss_curve_ : list of float or None
        Mean loss of the held-out rows after each pass; None without early stopping.
    validation_accuracy_curve_ : list of float or None
        Accuracy on the held-out rows after each pass; None without early stopping.
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
        If a cell of the column of covers is neither a path nor null.

    Warns
    -----
    LeakageWarning
        If a column of unknown name tells y almost exactly, together with one that is
        half of the label. Looked at with two classes and 1,000 rows or more.
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
        dropout: float = 0.5,
        lr: float = 1e-3,
        batch_size: int | str = 32,
        max_iter: int = 30,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
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
        self.dropout = dropout
        self.lr = lr
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
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
        check_real("alpha", self.alpha)
        check_layers(self.metadata_layers)
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

    def _read_training(self, X: Any, y: Any) -> tuple[Inputs, NDArray[Any]]:
        self._place_: Any = None  # of the covers in X
        if self.image is None:
            inputs, y = super()._read_training(X, y)
            self._check_leaks(inputs[0][0], y, _names(self) or [])
            return inputs, y
        y = validate_data(self, X="no_validation", y=y)
        table = read_table(self, X, reset=True)
        check_consistent_length(table, y)
        self._place_ = place_of(self.image, table, _names(self))
        others = [i for i in range(table.shape[1]) if i != self._place_]
        self._used = None if self.metadata_layers is None else others
        metadata = self._numbers(table)
        names = _names(self)
        used = [names[i] for i in self._used or ()] if names else []
        self._check_leaks(metadata, y, used)
        return self._read_covers(table, metadata, int(self.image_size)), y

    def _read(self, X: Any) -> Inputs:
        """Read X as `fit` did, whatever parameters were set since."""
        if self._place_ is None:
            return super()._read(X)
        table = read_table(self, X, reset=False)
        size = self._module_options_["image_size"]
        return self._read_covers(table, self._numbers(table), size)

    def _check_leaks(
        self, metadata: NDArray[Any], y: NDArray[Any], names: list[str]
    ) -> None:
        """Refuse columns by name, and warn of those that have another name."""
        self.column_roles_ = check_roles(names, check_nowcast(self.nowcast, names))
        if names:
            table = pd.DataFrame(metadata, columns=names)
            warn_if_leaking(table, y, self.column_roles_, stacklevel=5)

    def _read_covers(
        self, table: pd.DataFrame, metadata: NDArray[np.float32], size: int
    ) -> Inputs:
        """Decode the covers beside the numbers."""
        covers, places, bad = load_covers(
            table.iloc[:, self._place_],
            size + size // _SPARE,
            n_threads=effective_n_jobs(self.n_jobs),
            skip_bad=self.on_error == "nan",
        )
        if bad:
            first = min(bad)
            warn(
                f"{len(bad)} covers cannot be read and count as missing, first in row "
                f"{first}: {bad[first]}",
                MediaWarning,
            )
        return (metadata, places), (covers,)

    def _numbers(self, table: pd.DataFrame) -> NDArray[np.float32]:
        if self._used is None:
            return np.empty((len(table), 0), dtype=np.float32)
        return numbers_of(table, self._used, _names(self))

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

    def _build_module(self, **options: Any) -> MLP | CoverFusion:
        module: MLP | CoverFusion
        if "encoder" in options:
            module, linear = cover_network(**options)
        else:
            module = linear = MLP(**options)
        if linear is not None and not options["hidden"]:
            nn.init.zeros_(linear.head.weight)
            nn.init.zeros_(linear.head.bias)
        return module

    def _split_key(self, inputs: Inputs) -> NDArray[Any]:
        if self.image is None:
            return super()._split_key(inputs)
        aligned, shared = inputs
        return cover_key(*aligned, *shared)

    def _optimizer_options(self) -> dict[str, Any]:
        decay = {"weight_decay": self.alpha}  # its gradient is that of the penalty
        return {"optimizer__param_groups": [("*weight", decay)]} if self.alpha else {}

    def _before_training(self, module: nn.Module) -> None:
        for layer in module.modules():
            if isinstance(layer, FrameEncoder) and self.weights is not None:
                trained = build_backbone("resnet50", self.weights, self.image_size)
                layer.backbone.load_state_dict(trained.state_dict())

    def _after_training(self, module: nn.Module, data: TensorData) -> None:
        """Let a missing cover be the mean cover, if training has shown no other."""
        if not isinstance(module, CoverFusion):
            return
        _, weight, _, places = data.aligned
        if (places < 0).any():
            return
        whole = weight / weight.sum(), places
        pieces = (torch.split(tensor, _ROWS_A_PASS) for tensor in whole)
        with torch.no_grad():
            mean = torch.zeros_like(module.missing)
            for share, part in zip(*pieces, strict=True):
                mean += share @ module.embed(part, *data.shared)
            module.missing.copy_(mean)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = self.image is not None
        return tags

    def _rows_a_pass(self) -> int:
        return super()._rows_a_pass() if self._place_ is None else _ROWS_A_PASS


def _names(estimator: Any) -> list[str] | None:
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else list(names)
