"""The one bridge between scikit-learn estimators and skorch nets."""

from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, EpochTimer, PrintLog
from skorch.helper import predefined_split
from torch import Tensor, nn

from skchallenge._rows import (
    TensorBatches,
    TensorData,
    as_tensor,
    finite_outputs,
    plain_labels,
    row_weights,
    tensors_of,
    validation_rows,
)
from skchallenge._table import check_count, check_flag, check_real
from skchallenge._torch import isolated_rng, no_autocast, resolve_device, threads_for

# Arrays that have one entry a row, the features first; arrays that all rows share.
Inputs = tuple[tuple[NDArray[Any], ...], tuple[NDArray[Any], ...]]

_FLOATS = (np.float64, np.float32)
_AUTO_BATCH = 256
_PREDICT_ROWS = 8192  # rows a forward pass; fixed, so batch_size cannot change results


class _Net(NeuralNet):
    """A skorch net that takes (y, weight, *inputs) batches and keeps epoch means."""

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return [("epoch_timer", EpochTimer()), ("print_log", PrintLog())]

    def _batch_loss(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the mean loss and the weight of the rows that are right."""
        y, weight, *inputs = batch
        logits = self.module_(*inputs)
        hits = ((logits.detach().argmax(dim=1) == y) * weight).sum()
        return (self.criterion_(logits, y) * weight).mean(), hits

    def train_step(
        self, batch: tuple[Tensor, ...], **fit_params: Any
    ) -> tuple[Tensor, Tensor]:
        self.optimizer_.zero_grad()
        loss, hits = self._batch_loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.optimizer_.step()
        return loss.detach(), hits

    @torch.no_grad()
    def validation_step(
        self, batch: tuple[Tensor, ...], **fit_params: Any
    ) -> tuple[Tensor, Tensor]:
        return self._batch_loss(batch)

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **kwargs: Any
    ) -> None:
        if iterator is None:
            return
        self.module_.train(training)
        total, right = 0.0, 0.0
        for batch in iterator:
            loss, hits = step_fn(batch)
            # Summed on the device: reading every batch's loss would stall a GPU.
            total, right = total + loss * len(batch[0]), right + hits
        n_rows, weight = len(iterator.dataset), iterator.dataset.aligned[1]
        self.history.record(f"{prefix}_loss", float(total) / n_rows)
        self.history.record(f"{prefix}_accuracy", float(right) / float(weight.sum()))


class _BaseTorchClassifier(ClassifierMixin, BaseEstimator, ABC):
    """Train a skorch net inside ``fit``; be a plain scikit-learn classifier outside.

    The net is held in ``net_``, never inherited from: skorch sets public
    attributes in its constructor, which scikit-learn forbids. Subclasses name
    every hyper-parameter in their own ``__init__`` and say how to build the module.
    """

    dropout: float
    lr: float
    batch_size: int | str
    max_iter: int
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    class_weight: dict[Any, float] | str | None
    random_state: int | np.random.RandomState | None
    device: str
    verbose: int

    @abstractmethod
    def _module_options(self, n_features: int, n_classes: int) -> dict[str, Any]:
        """Keyword arguments of `_build_module`, plain Python values only."""

    @abstractmethod
    def _build_module(self, **options: Any) -> nn.Module:
        """Return a module with fresh weights of the type ``options["dtype"]``."""

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
        (aligned, shared), y = self._read_training(X, plain_labels(y))
        check_classification_targets(y)
        self.classes_, target = np.unique(y, return_inverse=True)
        weight = row_weights(aligned[0], y, sample_weight, self.class_weight)
        keep = weight > 0  # a row of weight 0 must not shape the batches either
        aligned = tuple(part[keep] for part in aligned)
        target, weight = target[keep], weight[keep]
        n_features = aligned[0].shape[1]
        self._module_options_ = self._module_options(n_features, len(self.classes_))
        weight = (weight / weight.mean()).astype(aligned[0].dtype)
        self._train((aligned, shared), target, weight)
        return self

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

    def _read_training(self, X: Any, y: Any) -> tuple[Inputs, NDArray[Any]]:
        """Validate what `fit` is given."""
        X, y = validate_data(self, X, y, dtype=_FLOATS)
        return ((X,), ()), y

    def _read(self, X: Any) -> Inputs:
        """Validate what a fitted estimator is given."""
        return (validate_data(self, X, dtype=_FLOATS, reset=False),), ()

    def _split_key(self, inputs: Inputs) -> NDArray[Any]:
        """Return what tells rows apart: those alike are on one side of the split."""
        aligned, _ = inputs
        return np.column_stack(aligned)

    def _optimizer_options(self) -> dict[str, Any]:
        """Further options of the optimizer, by skorch's names."""
        return {}

    def _before_training(self, module: nn.Module) -> None:
        """Change fresh weights, which are then trained."""

    def _after_training(self, module: nn.Module, data: TensorData) -> None:
        """Change trained weights; `data` holds target, weight and the inputs."""

    def _check_parameters(self) -> None:
        check_scalar(self.max_iter, "max_iter", Integral, min_val=1)
        check_scalar(self.n_iter_no_change, "n_iter_no_change", Integral, min_val=1)
        check_real("dropout", self.dropout, "left", max_val=1)
        fraction = self.validation_fraction
        check_real("validation_fraction", fraction, "neither", max_val=1)
        check_real("lr", self.lr, "neither")
        check_count("batch_size", self.batch_size, auto=True)
        check_flag("early_stopping", self.early_stopping)

    def _train(
        self, inputs: Inputs, target: NDArray[Any], weight: NDArray[Any]
    ) -> None:
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        device = resolve_device(self.device)
        aligned, shared = inputs
        valid = np.zeros(len(target), dtype=bool)
        if self.early_stopping:
            key = self._split_key(inputs)
            valid = validation_rows(key, target, self.validation_fraction, seed)
        arrays = (target.astype(np.int64), weight, *aligned)
        # Training needs gradients, also where the caller has turned them off.
        with (
            isolated_rng(device, seed),
            torch.inference_mode(False),
            no_autocast(device),
        ):
            net = self._build_net(weight.dtype.name, device, int((~valid).sum()))
            self._before_training(net.module_)
            held_out = tensors_of(arrays, shared, valid, device)
            net.train_split = predefined_split(held_out) if valid.any() else None
            rest = tensors_of(arrays, shared, ~valid, device)
            with threads_for(net.module_, net.batch_size):
                _run(net, rest)
                _check_outputs(net, rest)
                self._after_training(net.module_.eval(), rest)
        net.train_split = None  # it holds the held-out rows, and all covers
        self.net_ = net
        self._keep_history(net)

    def _keep_history(self, net: _Net) -> None:
        self.n_iter_ = len(net.history)
        self.loss_curve_ = net.history[:, "train_loss"]
        self.accuracy_curve_ = net.history[:, "train_accuracy"]
        self.validation_loss_curve_ = self.validation_accuracy_curve_ = None
        if self.early_stopping:
            self.validation_loss_curve_ = net.history[:, "valid_loss"]
            self.validation_accuracy_curve_ = net.history[:, "valid_accuracy"]

    def _build_net(self, dtype: str, device: torch.device, n_rows: int) -> _Net:
        """Return an initialized net whose module has fresh weights."""
        module = self._build_module(
            dtype=getattr(torch, dtype), **self._module_options_
        )
        stop = EarlyStopping(
            patience=self.n_iter_no_change, load_best=True, sink=_discard
        )
        return _Net(
            module,
            criterion=nn.CrossEntropyLoss,
            criterion__reduction="none",
            optimizer=torch.optim.Adam,
            optimizer__fused=device.type in {"cpu", "cuda"},
            **self._optimizer_options(),
            lr=self.lr,
            max_epochs=self.max_iter,
            batch_size=(
                min(_AUTO_BATCH, n_rows)
                if self.batch_size == "auto"
                else int(self.batch_size)  # torch takes no number of NumPy
            ),
            iterator_train=TensorBatches,
            iterator_train__shuffle=True,
            iterator_valid=TensorBatches,
            iterator_valid__batch_size=self._rows_a_pass(),
            callbacks=[("stop", stop)] if self.early_stopping else None,
            device=device,
            verbose=self.verbose,
        ).initialize()

    def _forward(self, X: ArrayLike, method: str = "forward") -> NDArray[Any]:
        """Run one method of the trained module over the rows of X."""
        check_is_fitted(self)
        aligned, shared = self._read(X)
        module = self.net_.module_.eval()
        weight = next(module.parameters())
        run = getattr(module, method)
        whole = [as_tensor(part) for part in shared]
        pieces = [torch.split(as_tensor(part), self._rows_a_pass()) for part in aligned]
        with torch.inference_mode(), no_autocast(weight.device):
            logits = [
                run(*(_like(weight, part) for part in parts), *whole).cpu()
                for parts in zip(*pieces, strict=True)
            ]
        return finite_outputs(torch.cat(logits))

    def _rows_a_pass(self) -> int:
        return _PREDICT_ROWS

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
        dtype = next(iter(weights.values())).dtype.name
        with isolated_rng(device, 0):
            self.net_ = self._build_net(dtype, device, n_rows=1)
        self.net_.module_.load_state_dict(tensors)


def _run(net: _Net, data: TensorData) -> None:
    """Train as `net.fit` does, but let a real Ctrl-C through.

    skorch ends early stopping with the same KeyboardInterrupt that it swallows.
    """
    net.notify("on_train_begin", X=data, y=None)
    try:
        net.fit_loop(data)
    except KeyboardInterrupt:
        stop = dict(net.callbacks_).get("stop")
        if stop is None or stop.misses_ < stop.patience:
            raise
        dict(net.callbacks_)["print_log"].on_epoch_end(net)  # stopping cut it off
    net.notify("on_train_end", X=data, y=None)


def _check_outputs(net: _Net, data: TensorData) -> None:
    """Raise if training has driven the outputs beyond what numbers can hold."""
    _, _, *inputs = data[:_AUTO_BATCH]
    with torch.inference_mode():
        logits = net.module_.eval()(*inputs)
    if not logits.isfinite().all():
        loss = net.history[-1]["train_loss"]
        raise ValueError(
            f"Training diverged to a loss of {loss:g} and outputs that are no finite "
            f"numbers. Lower lr, got lr={net.lr:g}, or scale X."
        )


def _like(weight: Tensor, part: Tensor) -> Tensor:
    """Move features or places to the weight's device; features take its type."""
    is_places = not part.is_floating_point()
    return part.to(weight.device, part.dtype if is_places else weight.dtype)


def _discard(text: str) -> None:
    """Take skorch's early-stopping message, which ignores `verbose`."""
