"""Will this user take part in this challenge: the classifier."""

import re
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch
from sklearn.utils import check_scalar

from skchallenge._base import _BaseTorchClassifier, check_widths
from skchallenge._table import check_option
from skchallenge.nn import MLP, AttentionFusion

# "historyencoder-1__user_id_video3_17" -> ("historyencoder-1__user_id", 3, 17)
_SLOT = re.compile(r"(?P<block>.+)_video(?P<slot>\d+)_(?P<column>\d+)")


class DeepChallenger(_BaseTorchClassifier):
    """Predict whether a user takes part in a challenge.

    Reads the blocks that two `HistoryEncoder` write, one of the user's videos and
    one of the challenge's. ``fusion="concat"`` is the paper's network [1]_: all
    videos side by side through a feed-forward layer. ``fusion="attention"`` lets
    each side attend over the videos of the other, so that the order of the slots
    and their number do not matter, and gives the classifier their product and
    distance.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int, default=(128,)
        Widths of the hidden layers.
    blocks : mapping of str to (slots, width) or None, default=None
        What the columns of X are. None reads it from `feature_names_in_`
        (``{by}_video{k}_{j}`` and ``{by}_fill``, after any prefix); other columns
        form a plain block. A mapping gives, in column order, the number of slots and
        the width of each block, which takes ``slots * width + 1`` columns, the fill
        last; columns that are left are plain. Only ``fusion="attention"``
        looks at it.
    fusion : {"concat", "attention"}, default="concat"
        How the two sides meet.
    linear_path : bool, default=False
        Whether a logistic regression of the columns that are no videos, nor fills, is
        fitted first, its penalty tuned by cross-validation, and the network, which
        starts at zero, only adds to its logits [2]_. With `early_stopping` the network
        adds nothing if no epoch is better than none on the held-out rows. X without
        such columns has no such path. The paper has none.
    dropout : float, default=0.2
        Fraction of hidden units dropped in training, in [0, 1).
    lr : float, default=1e-3
        Learning rate of Adam, above 0.
    batch_size : int or "auto", default="auto"
        Rows per gradient step; ``"auto"`` is ``min(256, n_samples)``. The paper
        used 4.
    max_iter : int, default=30
        Maximum number of epochs.
    early_stopping : bool, default=True
        Whether to hold rows out, stop when their loss no longer falls, and keep the
        weights of the best epoch. Identical rows are never on both sides.
    validation_fraction : float, default=0.1
        Fraction of the distinct rows that early stopping holds out, in (0, 1).
    n_iter_no_change : int, default=5
        Epochs without improvement before early stopping.
    groups : str, int, sequence of these or None, default=None
        Columns of X that are no features, by name (with or without the prefix of a
        ColumnTransformer) or position: early stopping and the tuning of the linear path
        hold whole groups out, such as users, instead of rows. With several, such as
        users and challenges, `validation_fraction` of each kind are held out, and the
        network trains on what is of no held-out group. A kind of which there are fewer
        than ``2 / validation_fraction`` is passed over. Numbers are float32 then.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, as in scikit-learn.
    random_state : int, RandomState instance or None, default=None
        Seed of the weights, the dropout, the shuffling and the held-out rows.
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
        Mean training loss of each epoch.
    accuracy_curve_ : list of float
        Training accuracy of each epoch, with dropout, in [0, 1].
    validation_loss_curve_ : list of float or None
        Mean loss of the held-out rows after each epoch; None without early stopping.
    validation_accuracy_curve_ : list of float or None
        Accuracy on the held-out rows after each epoch; None without early stopping.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, when all are strings.

    See Also
    --------
    make_deep_challenger : The whole pipeline, from ids to probabilities.
    HistoryEncoder : Writes the blocks.

    Notes
    -----
    Do not scale the columns between `HistoryEncoder` and this classifier when
    ``fusion="attention"``: the fills say which slots hold a video.

    References
    ----------
    .. [1] Ng, L. H. X., Tan, J. Y. H., Tan, D. J. H., Lee, R. K.-W. "Will you
       dance to the challenge? Predicting user participation of TikTok challenges",
       ASONAM 2021, section IV.C.
    .. [2] Cheng, H.-T. et al. "Wide & Deep Learning for Recommender Systems", DLRS
       2016. https://doi.org/10.1145/2988450.2988454

    Examples
    --------
    >>> import numpy as np
    >>> from skchallenge import DeepChallenger
    >>> rng = np.random.default_rng(0)
    >>> user, challenge = rng.choice([-1.0, 1.0], size=(2, 400))
    >>> noise = rng.normal(size=(2, 400, 3))  # two sides of three videos of width 1
    >>> fill = np.ones((400, 1))  # all three slots hold a video
    >>> X = np.hstack(
    ...     [user[:, None] + noise[0], fill, challenge[:, None] + noise[1], fill]
    ... )
    >>> model = DeepChallenger(
    ...     blocks={"user_id": (3, 1), "challenge": (3, 1)},
    ...     fusion="attention", lr=0.01, random_state=0,
    ... )
    >>> model.fit(X, user == challenge).score(X, user == challenge) > 0.8
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (128,),
        *,
        blocks: Mapping[str, tuple[int, int]] | None = None,
        fusion: Literal["concat", "attention"] = "concat",
        linear_path: bool = False,
        dropout: float = 0.2,
        lr: float = 1e-3,
        batch_size: int | str = "auto",
        max_iter: int = 30,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        groups: str | int | Sequence[str | int] | None = None,
        class_weight: dict[Any, float] | str | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.blocks = blocks
        self.fusion = fusion
        self.linear_path = linear_path
        self.dropout = dropout
        self.lr = lr
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.groups = groups
        self.class_weight = class_weight
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_option("fusion", self.fusion, ("concat", "attention"))
        check_widths("hidden_layer_sizes", self.hidden_layer_sizes, "(128,)")
        if self.fusion == "attention" and not len(self.hidden_layer_sizes):
            raise ValueError(
                "fusion='attention' needs at least one width in hidden_layer_sizes, "
                f"got {self.hidden_layer_sizes!r}."
            )

    def _module_options(self, n_features: int, n_classes: int) -> dict[str, Any]:
        options = {
            "in_features": n_features,
            "out_features": n_classes,
            "hidden": tuple(int(width) for width in self.hidden_layer_sizes),
            "dropout": self.dropout,
        }
        if self.fusion == "attention":
            options["blocks"] = self._find_blocks(n_features)
        return options

    def _build_module(
        self, *, dtype: torch.dtype, **options: Any
    ) -> MLP | AttentionFusion:
        network = AttentionFusion if "blocks" in options else MLP
        return network(dtype=dtype, **options)

    def _find_linear_columns(self, n_features: int) -> list[int] | None:
        """Leave out the videos, and the fills, which say where there are any."""
        columns = super()._find_linear_columns(n_features)
        if columns is None:
            return None
        named = self.blocks is not None
        blocks = self._find_blocks(n_features) if named else self._named_blocks()
        ends = [(start, start + slots * width) for start, slots, width in blocks]
        plain = [i for i in columns if not any(a <= i <= b for a, b in ends)]
        return plain or None

    def _named_blocks(self) -> tuple[tuple[int, int, int], ...]:
        return _blocks_from_names(self._feature_names())

    def _find_blocks(self, n_features: int) -> tuple[tuple[int, int, int], ...]:
        if self.blocks is not None:
            return _blocks_from_mapping(self.blocks, n_features)
        found = self._named_blocks()
        if not found:
            raise ValueError(
                "fusion='attention' must know which columns are videos: fit on a "
                "DataFrame with the names that HistoryEncoder gives (call "
                "set_output(transform='pandas') on the step before), or pass "
                "blocks={name: (slots, width), ...}; got blocks=None and no such names."
            )
        return found


def _blocks_from_mapping(
    blocks: Mapping[str, tuple[int, int]], n_features: int
) -> tuple[tuple[int, int, int], ...]:
    """Lay the named blocks side by side: name -> (start, slots, width)."""
    _check_blocks(blocks)
    found, start = [], 0
    for slots, width in blocks.values():
        found.append((start, slots, width))
        start += slots * width + 1
    if not found or start > n_features:
        raise ValueError(
            f"blocks={dict(blocks)!r} takes {start} columns (slots * width + 1 each), "
            f"but X has {n_features}."
        )
    return tuple(found)


def _check_blocks(blocks: Any) -> None:
    sizes = blocks.values() if isinstance(blocks, Mapping) else [None]
    if not all(isinstance(size, Sequence) and len(size) == 2 for size in sizes):
        raise TypeError(f"blocks must map names to (slots, width), got {blocks!r}.")
    for name, (slots, width) in blocks.items():
        check_scalar(slots, f"slots of blocks[{name!r}]", Integral, min_val=1)
        check_scalar(width, f"width of blocks[{name!r}]", Integral, min_val=1)


def _blocks_from_names(names: Sequence[str]) -> tuple[tuple[int, int, int], ...]:
    """Find runs of ``{by}_video{k}_{j}`` columns that end in ``{by}_fill``."""
    index_of = {name: i for i, name in enumerate(names)}
    last: dict[str, re.Match[str]] = {}
    for name in names:
        match = _SLOT.fullmatch(name)
        if match and f"{match['block']}_fill" in index_of:
            last[match["block"]] = match
    found = []
    for block, match in last.items():
        slots, width = int(match["slot"]) + 1, int(match["column"]) + 1
        expected = [f"{block}_video{k}_{j}" for k in range(slots) for j in range(width)]
        expected += [f"{block}_fill"]
        start = index_of.get(expected[0], 0)
        if list(names[start : start + len(expected)]) != expected:
            raise ValueError(
                f"The columns of block {block!r} are incomplete or out of order: "
                f"expected {expected[0]!r} to {expected[-1]!r} side by side."
            )
        found.append((start, slots, width))
    return tuple(found)
