"""The one bridge between scikit-learn estimators and skorch nets."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)
from skorch import NeuralNet
from skorch.callbacks import EarlyStopping, EpochTimer, PrintLog
from skorch.helper import predefined_split
from torch import Tensor, nn

from skchallenge._torch import isolated_rng, resolve_device, threads_for

_FLOATS = (np.float64, np.float32)
_AUTO_BATCH = 256
_PREDICT_ROWS = 8192  # rows a forward pass; fixed, so batch_size cannot change results


class _TensorData(torch.utils.data.Dataset[tuple[Tensor, ...]]):
    """Aligned tensors that are indexed a batch at a time."""

    def __init__(self, *tensors: Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)


class _TensorBatches:
    """Yield whole batches; a DataLoader's per-row collation would cost a third."""

    def __init__(
        self, dataset: _TensorData, batch_size: int, shuffle: bool = False
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        n = len(self.dataset)
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        for index in torch.split(order, self.batch_size):
            yield self.dataset[index.to(self.dataset.tensors[0].device)]


class _Net(NeuralNet):
    """A skorch net that takes (X, y, weight) batches and keeps epoch losses only."""

    @property
    def _default_callbacks(self) -> list[tuple[str, Any]]:
        return [("epoch_timer", EpochTimer()), ("print_log", PrintLog())]

    def _batch_loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        X, y, weight = batch
        return (self.criterion_(self.module_(X), y) * weight).mean()

    def train_step(self, batch: tuple[Tensor, ...], **fit_params: Any) -> Tensor:
        self.optimizer_.zero_grad()
        loss = self._batch_loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.optimizer_.step()
        return loss.detach()

    @torch.no_grad()
    def validation_step(self, batch: tuple[Tensor, ...], **fit_params: Any) -> Tensor:
        return self._batch_loss(batch)

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **kwargs: Any
    ) -> None:
        if iterator is None:
            return
        self.module_.train(training)
        # Summed on the device: reading every batch's loss would stall a GPU.
        total = sum(step_fn(batch) * len(batch[0]) for batch in iterator)
        self.history.record(f"{prefix}_loss", float(total) / len(iterator.dataset))


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
        X, y = validate_data(self, X, y, dtype=_FLOATS)
        check_classification_targets(y)
        self.classes_, target = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must hold at least 2 classes, got 1 class: {self.classes_[0]!r}."
            )
        weight = self._row_weight(X, y, target, sample_weight)
        keep = weight > 0  # a row of weight 0 must not shape the batches either
        X, target, weight = X[keep], target[keep], weight[keep]
        self._module_options_ = self._module_options(X.shape[1], len(self.classes_))
        self._train(X, target, (weight / weight.mean()).astype(X.dtype))
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

    def _check_parameters(self) -> None:
        check_scalar(self.max_iter, "max_iter", Integral, min_val=1)
        check_scalar(self.n_iter_no_change, "n_iter_no_change", Integral, min_val=1)
        _check_share(self.dropout, "dropout", "left")
        _check_share(self.validation_fraction, "validation_fraction", "neither")
        check_scalar(self.lr, "lr", Real, min_val=0, include_boundaries="neither")
        if not np.isfinite(self.lr):
            raise ValueError(f"lr must be finite, got {self.lr!r}.")
        if self.batch_size != "auto":
            check_scalar(self.batch_size, "batch_size", Integral, min_val=1)

    def _row_weight(
        self, X: NDArray[Any], y: NDArray[Any], target: NDArray[Any], weight: Any
    ) -> NDArray[np.float64]:
        weight = _check_sample_weight(
            weight, X, dtype=np.float64, ensure_non_negative=True
        )
        if not weight.any():
            raise ValueError(
                "sample_weight must hold a positive value, got zeros only."
            )
        if self.class_weight is None:
            return weight
        per_class = compute_class_weight(
            self.class_weight, classes=self.classes_, y=y, sample_weight=weight
        )
        return weight * per_class[target]

    def _train(
        self, X: NDArray[Any], target: NDArray[Any], weight: NDArray[Any]
    ) -> None:
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        device = resolve_device(self.device)
        valid = np.zeros(len(X), dtype=bool)
        if self.early_stopping:
            valid = _validation_rows(X, target, self.validation_fraction, seed)
        arrays = (X, target.astype(np.int64), weight)
        with isolated_rng(device, seed):
            net = self._build_net(X.dtype.name, device, int((~valid).sum()))
            held_out = _tensors(arrays, valid, device) if self.early_stopping else None
            net.train_split = held_out and predefined_split(held_out)
            with threads_for(net.module_, net.batch_size):
                _run(net, _tensors(arrays, ~valid, device))
        self.net_ = net
        self.n_iter_ = len(net.history)
        self.loss_curve_ = net.history[:, "train_loss"]
        self.validation_loss_curve_ = (
            net.history[:, "valid_loss"] if self.early_stopping else None
        )

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
            lr=self.lr,
            max_epochs=self.max_iter,
            batch_size=(
                min(_AUTO_BATCH, n_rows)
                if self.batch_size == "auto"
                else self.batch_size
            ),
            iterator_train=_TensorBatches,
            iterator_train__shuffle=True,
            iterator_valid=_TensorBatches,
            iterator_valid__batch_size=_PREDICT_ROWS,
            callbacks=[("stop", stop)] if self.early_stopping else None,
            device=device,
            verbose=self.verbose,
        ).initialize()

    def _forward(self, X: ArrayLike, method: str = "forward") -> NDArray[Any]:
        """Run one method of the trained module over the rows of X."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_FLOATS, reset=False)
        module = self.net_.module_.eval()
        weight = next(module.parameters())
        run = getattr(module, method)
        with torch.inference_mode():
            parts = [
                run(part.to(weight.device, weight.dtype)).cpu()
                for part in torch.split(_as_tensor(X), _PREDICT_ROWS)
            ]
        return torch.cat(parts).numpy()

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


def _run(net: _Net, data: _TensorData) -> None:
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


def _validation_rows(
    X: NDArray[Any], target: NDArray[Any], fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Mark the rows that early stopping watches; identical rows stay together.

    Otherwise an oversampled row would be trained on and watched at the same time.
    Classes are stratified where each can be on both sides.
    """
    digests = [hashlib.blake2b(row, digest_size=16).digest() for row in X]
    _, first, group = np.unique(digests, return_index=True, return_inverse=True)
    n_valid = int(np.ceil(fraction * len(first)))
    n_train = len(first) - n_valid
    if n_train < 1:
        raise ValueError(
            f"early_stopping=True needs at least 2 different rows, got n_samples = "
            f"{len(X)} with {len(first)} different. Set early_stopping=False."
        )
    _, counts = np.unique(target[first], return_counts=True)
    can_stratify = counts.min() > 1 and len(counts) <= min(n_train, n_valid)
    _, valid = train_test_split(
        np.arange(len(first)),
        test_size=n_valid,
        stratify=target[first] if can_stratify else None,
        random_state=seed,
    )
    return np.isin(group, valid)


def _tensors(
    arrays: tuple[NDArray[Any], ...], rows: NDArray[np.bool_], device: torch.device
) -> _TensorData:
    chosen = arrays if rows.all() else tuple(a[rows] for a in arrays)
    return _TensorData(*(_as_tensor(a).to(device) for a in chosen))


def _as_tensor(array: NDArray[Any]) -> Tensor:
    """Share memory where torch allows it: it refuses read-only arrays."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _check_share(value: float, name: str, boundaries: str) -> None:
    check_scalar(value, name, Real, min_val=0, max_val=1, include_boundaries=boundaries)


def _discard(text: str) -> None:
    """Take skorch's early-stopping message, which ignores `verbose`."""
