"""Rows of training: weighted, split for early stopping, and as tensors in batches."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import _check_sample_weight
from torch import Tensor


class TensorData(torch.utils.data.Dataset[tuple[Tensor, ...]]):
    """Aligned tensors that are indexed a batch at a time.

    Tensors in `shared` go whole with every batch: rows may hold places in them.
    """

    def __init__(self, aligned: Sequence[Tensor], shared: Sequence[Tensor] = ()):
        self.aligned = tuple(aligned)
        self.shared = tuple(shared)

    def __len__(self) -> int:
        return len(self.aligned[0])

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return *(t[index] for t in self.aligned), *self.shared


class TensorBatches:
    """Yield whole batches; a DataLoader's per-row collation would cost a third."""

    def __init__(
        self, dataset: TensorData, batch_size: int, shuffle: bool = False
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        n = len(self.dataset)
        order = torch.randperm(n) if self.shuffle else torch.arange(n)
        for index in torch.split(order, self.batch_size):
            yield self.dataset[index.to(self.dataset.aligned[0].device)]


def plain_labels(y: Any) -> Any:
    """Make NumPy's integers and booleans of nullable ones, of which none is missing.

    scikit-learn makes floats of them, which long ids of users do not survive.
    """
    dtype: Any = getattr(y, "dtype", None)
    if not pd.api.types.is_extension_array_dtype(dtype) or pd.isna(y).any():
        return y
    is_bool = pd.api.types.is_bool_dtype(dtype)
    is_label = is_bool or pd.api.types.is_integer_dtype(dtype)
    return np.asarray(y.tolist()) if is_label else y


def row_weights(
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


def validation_rows(
    X: NDArray[Any], target: NDArray[Any], fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Mark the rows that early stopping watches; identical rows stay together.

    Otherwise an oversampled row would be trained on and watched at the same time.
    Classes are stratified where each can be on both sides; among identical rows the
    smallest label counts. The order of the rows does not matter; nor, to speak of, how
    numbers were rounded.
    """
    # Adding zero makes the negative zero, which has other bytes, a zero.
    digests = [hashlib.blake2b(row + 0.0, digest_size=16).digest() for row in X]
    _, group = np.unique(digests, return_inverse=True)
    by_label = np.argsort(target, kind="stable")
    first = by_label[np.unique(group[by_label], return_index=True)[1]]
    order = np.argsort(_projection(X)[first], kind="stable")
    n_valid = int(np.ceil(fraction * len(first)))
    n_train = len(first) - n_valid
    if n_train < 1:
        raise ValueError(
            f"early_stopping=True with validation_fraction={fraction} leaves no row to "
            f"train on, got n_samples = {len(X)} with {len(first)} different. Give 2 "
            "at least, lower validation_fraction, or set early_stopping=False."
        )
    label = target[first][order]
    _, counts = np.unique(label, return_counts=True)
    can_stratify = counts.min() > 1 and len(counts) <= min(n_train, n_valid)
    _, valid = train_test_split(
        order,
        test_size=n_valid,
        stratify=label if can_stratify else None,
        random_state=seed,
    )
    return np.isin(group, valid)


def cover_key(
    metadata: NDArray[np.float32], places: NDArray[np.int64], covers: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Return what tells rows apart: their numbers, and the pixels of their cover.

    Where rows have no numbers, those that lack a cover are no copies of one video.
    """
    pixels = covers.reshape(len(covers), math.prod(covers.shape[1:]))
    numbers = _projection(pixels)
    none = numbers.min(initial=0) - 1
    key = np.column_stack([metadata, np.append(numbers, none)[places]])
    if not metadata.shape[1]:
        key[places < 0] -= np.arange((places < 0).sum())[:, None]
    return key


def _projection(X: NDArray[Any]) -> NDArray[np.float64]:
    """Give each row a number by which to sort: as good as random, and continuous."""
    direction = np.random.default_rng(0).standard_normal(X.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        return np.einsum("ij,j->i", X, direction, dtype=np.float64)


def tensors_of(
    arrays: Sequence[NDArray[Any]],
    shared: Sequence[NDArray[Any]],
    rows: NDArray[np.bool_],
    device: torch.device,
) -> TensorData:
    """Put the chosen rows on the device; what is shared stays where it is."""
    chosen = arrays if rows.all() else [a[rows] for a in arrays]
    aligned = [as_tensor(a).to(device) for a in chosen]
    return TensorData(aligned, [as_tensor(a) for a in shared])


def finite_outputs(outputs: Tensor) -> NDArray[Any]:
    """Return what a network makes of X; raise where that is no finite number."""
    bad = ~outputs.isfinite().all(dim=1)
    if bad.any():
        raise ValueError(
            f"X holds numbers that are too large for the network: in {int(bad.sum())} "
            f"rows, first in row {int(bad.int().argmax())}, its outputs are no finite "
            "numbers. Scale X as it was scaled in training."
        )
    return outputs.numpy()


def as_tensor(array: NDArray[Any]) -> Tensor:
    """Share memory where torch allows it: it refuses read-only arrays."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))
