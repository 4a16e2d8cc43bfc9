"""How networks are trained: a scikit-learn classifier around a skorch net.

`_BaseTorchClassifier.fit` is the whole algorithm: read X, weight the rows, hold some
out, build the net, fit the line that it starts from, run its epochs, keep the best
weights. What it calls stands below it in the order of use; prediction and pickling
follow. Models differ in three places: what
X becomes (`_read`), which module reads it (`_module_options` and `_build_module`), and
what surrounds the epochs (`_train`).
"""

import copy
import hashlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from pandas.api.types import is_complex_dtype, is_numeric_dtype
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import (
    check_array,
    check_consistent_length,
    check_random_state,
    check_scalar,
)
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)
from skorch import NeuralNet
from skorch.callbacks import EpochTimer, PrintLog
from torch import Tensor, nn

from skchallenge._callbacks import CallbackSupportMixin, with_callbacks
from skchallenge._line import Line, tuned_line
from skchallenge._state import Versioned
from skchallenge._table import (
    check_count,
    check_flag,
    check_real,
    column_position,
    describe,
    read_table,
)
from skchallenge._torch import isolated_rng, no_autocast, resolve_device, threads_for
from skchallenge.nn import WideAndDeep

_FLOATS = (np.float64, np.float32)
_REAL = (Real, Decimal, np.bool_)
_AUTO_BATCH = 256
_PREDICT_ROWS = 8192  # rows a forward pass; fixed, so batch_size cannot change results
_TOLERANCE = 1e-4  # a loss that falls by less of itself has not improved


@dataclass(frozen=True)
class Inputs:
    """What X becomes for a network."""

    arrays: tuple[NDArray[Any], ...]
    """One entry a row, in the order of the module's `forward`. The first holds the
    features (n, F); its type is the type of training."""

    key: NDArray[Any]
    """(n, K) numbers that tell rows apart: rows of one key are held out together."""

    chunk_size: int
    """Rows that go through the module at once where nothing is trained."""

    shared: tuple[NDArray[Any], ...] = ()
    """Whole arrays that follow in `forward`, such as images that rows index into."""

    groups: tuple[NDArray[np.intp], ...] = ()
    """In `fit`, in place of `key`: codes (n,) of what is held out whole, such as users.
    Of several kinds some of each are."""


@dataclass(frozen=True)
class Batches:
    """Rows on the device, as batches (y, weight, *inputs).

    A DataLoader, which collates row by row, would cost a third of the time.
    """

    aligned: tuple[Tensor, ...]  # y, weight and the arrays of `Inputs`, one entry a row
    shared: tuple[Tensor, ...]  # stay where they are, and go whole with every batch
    batch_size: int
    shuffle: bool = False

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        y = self.aligned[0]
        order = torch.randperm(len(y)) if self.shuffle else torch.arange(len(y))
        for index in torch.split(order, self.batch_size):
            index = index.to(y.device)
            yield *(tensor[index] for tensor in self.aligned), *self.shared


def _print_line(name: str, line: str) -> None:
    sys.stdout.write(f"[{name}] {line}\n")


class _Net(NeuralNet):
    """A skorch net that takes batches (y, weight, *inputs) and keeps epoch means."""

    name = ""  # begins each line that is printed

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        # No method of this object: a circle would keep the weights until it is found.
        log = PrintLog(sink=partial(_print_line, self.name))
        return [
            ("epoch_timer", EpochTimer()),
            *[("print_log", log)] * bool(self.verbose),
        ]

    def train_step(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Take one gradient step; return the mean loss and the weight of the hits."""
        self.optimizer_.zero_grad()
        loss, hits = self.validation_step(batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.optimizer_.step()
        return loss.detach(), hits

    def validation_step(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the mean loss, and the weight of the rows that are right."""
        y, weight, *inputs = batch
        logits = self.module_(*inputs)  # (B, C)
        hits = ((logits.detach().argmax(dim=1) == y) * weight).sum()
        return (self.criterion_(logits, y) * weight).mean(), hits

    def run_epoch(self, batches: Batches, *, training: bool) -> None:
        """Go through all rows once; record their mean loss and weighted accuracy."""
        loss, accuracy = self._go_through(batches, training=training)
        name = "train" if training else "valid"
        self.history.record(f"{name}_loss", loss)
        self.history.record(f"{name}_accuracy", accuracy)

    def mean_loss(self, batches: Batches) -> float:
        """Go through all rows once; return their mean loss."""
        return self._go_through(batches, training=False)[0]

    def _go_through(self, batches: Batches, *, training: bool) -> tuple[float, float]:
        self.module_.train(training)
        step = self.train_step if training else self.validation_step
        total, right = 0.0, 0.0
        with torch.set_grad_enabled(training):
            for batch in batches:
                loss, hits = step(batch)
                # Summed on the device: reading every batch's loss would stall a GPU.
                total, right = total + loss * len(batch[0]), right + hits
        y, weight, *_ = batches.aligned
        return float(total) / len(y), float(right) / float(weight.sum())


class _BaseTorchClassifier(
    Versioned, CallbackSupportMixin, ClassifierMixin, BaseEstimator, ABC
):
    """Train a skorch net inside ``fit``; be a plain scikit-learn classifier outside.

    The net is held in ``net_``, never inherited from: skorch sets public
    attributes in its constructor, which scikit-learn forbids. Subclasses name
    every hyper-parameter in their own ``__init__``.
    """

    dropout: float
    lr: float
    batch_size: int | str
    max_iter: int
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    alpha: float = 0.0  # of the penalty; not every model has it, nor the next two
    linear_path: bool = False
    groups: str | int | Sequence[str | int] | None = None
    class_weight: dict[Any, float] | str | None
    random_state: int | np.random.RandomState | None
    device: str
    verbose: int

    @with_callbacks
    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training features; float32 stays float32, all else becomes float64.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights of the rows; a row of weight 0 is as good as absent.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If `y` holds a single class, if X holds NaN or infinite values, if a
            parameter is out of range, or if early stopping finds too few rows.
        """
        self._check_parameters()
        self.__dict__.pop("net_", None)  # never an old network under new labels
        given: dict[str, Any] = {"estimator": self, "X": X, "y": y}
        if sample_weight is not None:
            given["metadata"] = {"sample_weight": sample_weight}
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(**given)
        y = validate_data(self, X="no_validation", y=_labels(y))
        inputs = self._read(X, y)
        check_classification_targets(y)
        self.classes_, target = np.unique(y, return_inverse=True)
        features = inputs.arrays[0]
        n_features, dtype = features.shape[1], features.dtype
        self._module_options_ = self._module_options(n_features, len(self.classes_))
        self._linear_columns = self._find_linear_columns(n_features)

        # Rows of weight zero must not shape the batches either. Of the rest only the
        # ratio counts: with a mean of 1, `lr` means the same whatever the weights are.
        weight = _row_weights(features, y, sample_weight, self.class_weight)
        rows = np.flatnonzero(weight)
        target, weight = target[rows], weight[rows] / weight[rows].mean()

        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        groups = [kind[rows] for kind in inputs.groups]
        # Of a few groups a fraction is one or two, which tell nothing of the others.
        enough = 2 / self.validation_fraction
        groups = [kind for kind in groups if len(np.unique(kind)) >= enough]
        groups = groups or [identical_rows(inputs.key[rows])]
        is_held_out = np.zeros(len(rows), dtype=bool)
        if self.early_stopping:
            is_held_out = validation_rows(
                groups, target, self.validation_fraction, seed
            )
        n_train = int((~is_held_out).sum())
        is_auto = self.batch_size == "auto"
        batch_size = min(_AUTO_BATCH, n_train) if is_auto else int(self.batch_size)

        device = resolve_device(self.device)

        def batches_of(part: NDArray[np.bool_], **options: Any) -> Batches:
            chosen = [array[rows[part]] for array in inputs.arrays]
            arrays = target[part].astype(np.int64), weight[part].astype(dtype), *chosen
            aligned = tuple(_as_tensor(array).to(device) for array in arrays)
            shared = tuple(_as_tensor(array) for array in inputs.shared)
            return Batches(aligned, shared, **options)

        # One seed for the weights, the order of rows and dropout, in this order.
        # Training needs gradients, also where the caller has turned them off.
        with (
            isolated_rng(device, seed),
            torch.inference_mode(False),
            no_autocast(device),
        ):
            net = self._build_net(dtype.name, device)
            train = batches_of(~is_held_out, batch_size=batch_size, shuffle=True)
            held_out = None
            if self.early_stopping:
                held_out = batches_of(is_held_out, batch_size=inputs.chunk_size)
            watch = partial(self._watch_epoch, net, context, given)
            with threads_for(net.module_, batch_size):
                if self._linear_columns is None:
                    self._train(net, train, held_out, watch)
                else:
                    # Chosen on all rows, and at last fitted to all; but what is held
                    # out to judge the network must be new to the line, too.
                    columns = features[rows][:, self._linear_columns]
                    columns = columns.astype(np.float64)
                    line = tuned_line(columns, target, weight, groups, seed)
                    part = ~is_held_out
                    start = Line(line.strength, line.n_classes)
                    start.fit(columns[part], target[part], weight[part])
                    _set_line(net, start)
                    self._train_beside_line(net, train, held_out, watch)
                    _set_line(net, line)

        self.net_ = net
        self.n_iter_ = len(net.history)
        self.loss_curve_ = net.history[:, "train_loss"]
        self.accuracy_curve_ = net.history[:, "train_accuracy"]
        self.validation_loss_curve_ = self.validation_accuracy_curve_ = None
        if self.early_stopping:
            self.validation_loss_curve_ = net.history[:, "valid_loss"]
            self.validation_accuracy_curve_ = net.history[:, "valid_accuracy"]
        context.call_on_fit_task_end(**given, reconstruction_attributes={})
        return self

    def _check_parameters(self) -> None:
        check_scalar(self.max_iter, "max_iter", Integral, min_val=1)
        check_scalar(self.n_iter_no_change, "n_iter_no_change", Integral, min_val=1)
        check_real("dropout", self.dropout, "left", max_val=1)
        fraction = self.validation_fraction
        check_real("validation_fraction", fraction, "neither", max_val=1)
        check_real("lr", self.lr, "neither")
        check_real("alpha", self.alpha)
        check_count("batch_size", self.batch_size, auto=True)
        check_flag("early_stopping", self.early_stopping)
        check_flag("linear_path", self.linear_path)

    def _read(self, X: Any, y: NDArray[Any] | None = None) -> Inputs:
        """Validate X and turn it into what the module reads.

        `y` is given in `fit`, which also learns the columns of X.
        """
        fitting = y is not None
        if (self.groups if fitting else self._group_columns) in (None, ()):
            X = validate_data(self, X, dtype=_FLOATS, reset=fitting)
            groups: tuple[NDArray[np.intp], ...] = ()
            self._group_columns: tuple[int, ...] = ()
        else:
            table = read_table(self, X, reset=fitting)
            groups = self._read_groups(table) if fitting else ()
            X = read_numbers(table, self._feature_columns(), names_of(self), "groups")
        if fitting:
            check_consistent_length(X, y)
        return Inputs((X,), key=X, chunk_size=_PREDICT_ROWS, groups=groups)

    def _read_groups(self, table: pd.DataFrame) -> tuple[NDArray[np.intp], ...]:
        """Learn which columns are `groups`, and number their values."""
        names, n, given = names_of(self), table.shape[1], self.groups
        columns: Any = [given] if isinstance(given, str | Integral) else given or ()
        found = [column_position("groups", column, n, names) for column in columns]
        self._group_columns = tuple(found)
        for column, position in zip(columns, found, strict=True):
            if table.iloc[:, position].isna().any():
                raise ValueError(
                    f"groups={column!r} must have no missing values: which rows are "
                    "held out together?"
                )
        cells = [table.iloc[:, position] for position in found]
        return tuple(pd.factorize(column, sort=True)[0] for column in cells)

    def _feature_columns(self) -> list[int]:
        """Return the columns of X that are features."""
        columns = range(self.n_features_in_)
        return [i for i in columns if i not in self._group_columns]

    def _feature_names(self) -> list[str]:
        """Return the names of the features, none if X had no names."""
        names = names_of(self)
        return [names[i] for i in self._feature_columns()] if names else []

    def _find_linear_columns(self, n_features: int) -> list[int] | None:
        """Return the features that the linear path reads; None if there is no path."""
        return list(range(n_features)) if self.linear_path else None

    @abstractmethod
    def _module_options(self, n_features: int, n_classes: int) -> dict[str, Any]:
        """Options of `_build_module`; plain values only, for pickles hold them."""

    @abstractmethod
    def _build_module(self, *, dtype: torch.dtype, **options: Any) -> nn.Module:
        """Return a module with fresh weights, whatever was set since `fit`."""

    def _build_net(self, dtype: str, device: torch.device) -> _Net:
        """Return an initialised net whose module has fresh weights."""
        options: dict[str, Any] = {}
        if self.alpha:  # weight decay is the gradient of alpha / 2 * sum(weight ** 2)
            decay = {"weight_decay": self.alpha}
            options["optimizer__param_groups"] = [("*weight", decay)]
        module = self._build_module(
            dtype=getattr(torch, dtype), **self._module_options_
        )
        if self._linear_columns is not None:
            module = WideAndDeep(module, self._linear_columns)
        net = _Net(
            module,
            criterion=nn.CrossEntropyLoss,
            criterion__reduction="none",
            optimizer=torch.optim.Adam,
            optimizer__fused=device.type in {"cpu", "cuda"},
            **options,
            lr=self.lr,
            max_epochs=self.max_iter,
            train_split=None,
            device=device,
            verbose=self.verbose,
        )
        n_classes = len(self.classes_)
        net.name = f"{type(self).__name__}, {n_classes} classes"
        return net.initialize()

    def _train(
        self,
        net: _Net,
        train: Batches,
        held_out: Batches | None,
        watch: Callable[[], AbstractContextManager[list[bool]]],
    ) -> None:
        """Run the epochs; with held-out rows, stop early and restore the best weights.

        `watch` surrounds an epoch and returns whether a callback wants to stop. To
        extend: set the weights to start from before, or complete them after.
        """
        best_loss, best_weights, n_no_change = np.inf, None, 0
        for _ in range(self.max_iter):
            with watch() as stops:
                net.notify("on_epoch_begin")
                net.run_epoch(train, training=True)
                if held_out is not None:
                    net.run_epoch(held_out, training=False)
                net.notify("on_epoch_end")  # prints a line
            if held_out is None:
                if any(stops):
                    break
                continue
            loss = net.history[-1, "valid_loss"]
            if loss < best_loss * (1 - _TOLERANCE):
                best_loss, n_no_change = loss, 0
                best_weights = copy.deepcopy(net.module_.state_dict())
            else:
                n_no_change += 1
            if n_no_change == self.n_iter_no_change or any(stops):
                break
        if best_weights is not None:
            net.module_.load_state_dict(best_weights)
        net.module_.eval()
        first = (tensor[:_AUTO_BATCH] for tensor in train.aligned[2:])
        with torch.inference_mode():
            logits = net.module_(*first, *train.shared)
        if not logits.isfinite().all():
            raise ValueError(
                f"Training diverged to a loss of {net.history[-1, 'train_loss']:g} and "
                f"outputs that are no finite numbers. Lower lr, got lr={self.lr:g}, or "
                "scale X."
            )

    def _train_beside_line(
        self,
        net: _Net,
        train: Batches,
        held_out: Batches | None,
        watch: Callable[[], AbstractContextManager[list[bool]]],
    ) -> None:
        """Train the network; with held-out rows, drop it if the line alone is as good.

        The line is no bar to the epochs: those at first are worse than it.
        """
        if held_out is None:
            self._train(net, train, None, watch)
            return
        line_loss = net.mean_loss(held_out)
        self._train(net, train, held_out, watch)
        if net.mean_loss(held_out) >= line_loss * (1 - _TOLERANCE):
            net.module_.silence()

    @contextmanager
    def _watch_epoch(
        self, net: _Net, context: Any, given: dict[str, Any]
    ) -> Iterator[list[bool]]:
        """Tell callbacks of an epoch; its list tells whether one wants to stop."""
        stops: list[bool] = []
        epoch = context.subcontext(task_name="epoch")
        epoch.call_on_fit_task_begin(**given)
        yield stops

        def fitted() -> dict[str, Any]:  # called only if a callback asks for it
            return {"net_": self._net_of(net.module_.state_dict(), net.device)}

        stop = epoch.call_on_fit_task_end(**given, reconstruction_attributes=fitted)
        stops.append(bool(stop))

    def _net_of(self, weights: dict[str, Tensor], device: torch.device) -> _Net:
        """Return a net of its own with these weights."""
        dtype = str(next(iter(weights.values())).dtype).removeprefix("torch.")
        with isolated_rng(device, 0):
            net = self._build_net(dtype, device)
        net.module_.load_state_dict(weights)
        return net

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Compute the logits.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Log-odds of ``classes_[1]`` when there are two classes, else one logit
            per class.
        """
        logits = self._forward(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Estimate class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            Rows sum to one; columns follow `classes_`.
        """
        return torch.from_numpy(self._forward(X)).softmax(dim=1).numpy()

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict the most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        y_pred : ndarray of shape (n_samples,)
            Labels drawn from `classes_`.
        """
        best = self._forward(X).argmax(axis=1)
        return self.classes_[best]

    def _forward(self, X: ArrayLike, method: str = "forward") -> NDArray[Any]:
        """Run one method of the trained module over the rows of X."""
        check_is_fitted(self)
        inputs = self._read(X)
        module = self.net_.module_.eval()
        weight = next(module.parameters())
        run = getattr(module, method)
        shared = [_as_tensor(array) for array in inputs.shared]
        size = inputs.chunk_size
        chunks = [torch.split(_as_tensor(array), size) for array in inputs.arrays]
        with torch.inference_mode(), no_autocast(weight.device):
            outputs = torch.cat(
                [
                    run(*(_like(weight, part) for part in chunk), *shared).cpu()
                    for chunk in zip(*chunks, strict=True)
                ]
            )
        bad = ~outputs.isfinite().all(dim=1)
        if bad.any():
            raise ValueError(
                f"X holds numbers that are too large for the network: in "
                f"{int(bad.sum())} rows, first in row {int(bad.int().argmax())}, its "
                "outputs are no finite numbers. Scale X as it was scaled in training."
            )
        return outputs.numpy()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "net_")

    def __getstate__(self) -> dict[str, Any]:
        """Replace the net by its weights.

        A pickled skorch net holds a second pickle, which runs code on loading and
        which `skops` does not list.
        """
        state = dict(super().__getstate__())
        net = state.pop("net_", None)
        if net is not None:
            weights = net.module_.state_dict()
            state["_weights"] = {k: v.cpu().numpy() for k, v in weights.items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        weights = state.pop("_weights", None)
        super().__setstate__(state)
        if weights is None:
            return
        device = resolve_device(self.device, or_cpu=True)
        tensors = {k: torch.from_numpy(np.array(v)) for k, v in weights.items()}
        self.net_ = self._net_of(tensors, device)


def check_widths(name: str, widths: Any, example: str) -> None:
    """Raise unless a parameter is a sequence of widths of layers."""
    if isinstance(widths, Integral | str):
        raise TypeError(
            f"{name} must be a sequence of widths such as {example}, got {widths!r}."
        )
    for width in widths:
        check_scalar(width, name, Integral, min_val=1)


def _labels(y: Any) -> Any:
    """Turn nullable integers and booleans, none missing, into NumPy's.

    scikit-learn makes floats of them, which long ids of users do not survive.
    """
    dtype: Any = getattr(y, "dtype", None)
    if not pd.api.types.is_extension_array_dtype(dtype) or pd.isna(y).any():
        return y
    is_bool = pd.api.types.is_bool_dtype(dtype)
    is_label = is_bool or pd.api.types.is_integer_dtype(dtype)
    return np.asarray(y.tolist()) if is_label else y


def _row_weights(
    X: NDArray[Any], y: NDArray[Any], sample_weight: Any, class_weight: Any
) -> NDArray[np.float64]:
    """Multiply the weights of rows and classes; two classes must be left.

    The greatest is between 0.5 and 1, so that no sum overflows. What is zero beside it,
    in the type of X, is zero.
    """
    weight = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    weight = _scaled(weight)
    rows = weight > 0
    if class_weight is not None and rows.any():
        classes, code = np.unique(y[rows], return_inverse=True)
        per_class = compute_class_weight(
            class_weight, classes=classes, y=y[rows], sample_weight=weight[rows]
        )
        if not (np.isfinite(per_class) & (per_class >= 0)).all():
            raise ValueError(
                "class_weight must hold finite numbers that are not negative, got "
                f"one among these: {per_class.tolist()}."
            )
        weight[rows] *= _scaled(per_class)[code]
        weight = _scaled(weight)
    weight[weight.astype(X.dtype) == 0] = 0
    found = np.unique(y[weight > 0]).tolist()
    if len(found) < 2:
        number = "1 class" if found else "no class"
        raise ValueError(
            f"y must hold at least 2 classes, got {number}: {found}. Rows to which "
            "sample_weight or class_weight gives zero do not count, nor do those whose "
            "weight is lost beside the greatest."
        )
    return weight


def _scaled(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide by a power of two, which rounds nothing."""
    return np.ldexp(weights, -np.frexp(weights.max())[1])


def identical_rows(key: NDArray[Any]) -> NDArray[np.intp]:
    """Give rows the same number if they are identical.

    Otherwise an oversampled row would be trained on and watched at the same time. The
    order of the rows does not matter; nor, to speak of, how numbers were rounded.
    """
    # Adding zero makes the negative zero, which has other bytes, a zero.
    digests = [hashlib.blake2b(row + 0.0, digest_size=16).digest() for row in key]
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    order = np.argsort(random_projection(key)[first], kind="stable")
    return np.argsort(order)[group]


def validation_rows(
    groups: Sequence[NDArray[np.intp]],
    target: NDArray[Any],
    fraction: float,
    seed: int,
) -> NDArray[np.bool_]:
    """Mark the rows to hold out: whole groups, a fraction of those of each kind.

    Classes are stratified where each can be on both sides; in a group the smallest
    label counts.
    """
    is_held_out = np.zeros(len(target), dtype=bool)
    for group in groups:
        by_label = np.argsort(target, kind="stable")
        found, index = np.unique(group[by_label], return_index=True)
        label = target[by_label[index]]
        n_valid = int(np.ceil(fraction * len(found)))
        n_train = len(found) - n_valid
        if n_train < 1:
            raise ValueError(
                f"early_stopping=True with validation_fraction={fraction} leaves no "
                f"row to train on, got n_samples = {len(target)} with {len(found)} "
                "different. Give 2 at least, lower validation_fraction, or set "
                "early_stopping=False."
            )
        _, counts = np.unique(label, return_counts=True)
        can_stratify = counts.min() > 1 and len(counts) <= min(n_train, n_valid)
        _, valid = train_test_split(
            found,
            test_size=n_valid,
            stratify=label if can_stratify else None,
            random_state=seed,
        )
        is_held_out |= np.isin(group, valid)
    return is_held_out


def random_projection(X: NDArray[Any]) -> NDArray[np.float64]:
    """Give each row a number by which to sort: as good as random, and continuous."""
    direction = np.random.default_rng(0).standard_normal(X.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        return np.einsum("ij,j->i", X, direction, dtype=np.float64)


def _set_line(net: _Net, line: Line) -> None:
    """Put a linear model into the network's linear path."""
    parts = line.coefficients, line.intercept
    net.module_.set_line(*(torch.from_numpy(part) for part in parts))


def names_of(estimator: Any) -> list[str]:
    """Return the names of the columns of X, none if it had none."""
    return list(getattr(estimator, "feature_names_in_", ()))


def read_numbers(
    table: pd.DataFrame, columns: list[int], names: list[str], beside: str
) -> NDArray[np.float32]:
    """Return columns as numbers; raise where a cell is none: text of a number is none.

    Parameters
    ----------
    table : pandas.DataFrame of shape (n_samples, n_columns)
        The columns, among others.
    columns : list of int
        Positions of the columns.
    names : list of str of length n_columns or 0
        What error messages call them.
    beside : str
        What X holds beside numbers, for error messages.
    """
    numbers = np.empty((len(table), len(columns)), dtype=np.float32)
    for j, position in enumerate(columns):
        column = table.iloc[:, position]
        dtype = column.dtype
        is_real = is_numeric_dtype(dtype) and not is_complex_dtype(dtype)
        if not is_real or column.isna().any():
            cells = column.to_numpy(dtype=object)
            bad = pd.isna(cells) | [not isinstance(cell, _REAL) for cell in cells]
            if bad.any():
                name = names[position] if names else f"column {position}"
                row = bad.argmax()
                raise ValueError(
                    f"X must hold numbers beside {beside}, but {name} is "
                    f"{describe(cells[row])} in row {row}. Convert or impute the "
                    "column in an earlier step of the pipeline, or leave it out."
                )
        with np.errstate(over="ignore"):  # it becomes infinite, and is refused
            numbers[:, j] = column.to_numpy(dtype=np.float32)
    return check_array(numbers, dtype=np.float32, input_name="X", ensure_min_features=0)


def _as_tensor(array: NDArray[Any]) -> Tensor:
    """Share memory where torch allows it: it refuses read-only arrays."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _like(weight: Tensor, part: Tensor) -> Tensor:
    """Move features or indices to the weight's device; features take its type."""
    is_index = not part.is_floating_point()
    return part.to(weight.device, part.dtype if is_index else weight.dtype)
