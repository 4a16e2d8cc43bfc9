"""Learn video embeddings from a proxy label."""

from numbers import Integral
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_scalar

from skchallenge._base import _BaseTorchClassifier
from skchallenge.nn import MLP


class ProxyEncoder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, _BaseTorchClassifier
):
    """Embed rows by learning to tell a proxy label.

    A feed-forward network learns "which user made this video?" or "which
    challenge does it belong to?"; its hidden layer is the learned embedding [1]_.
    It is a classifier (`predict`, `predict_proba`, `score`) and a transformer
    (`transform`), as linear discriminant analysis is.

    Parameters
    ----------
    embedding_size : int, default=128
        Width of the hidden layer, which `transform` returns.
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
        Proxy labels seen during `fit`, sorted.
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
    HistoryEncoder : Turns a user or a challenge into a block of such embeddings.
    sklearn.discriminant_analysis.LinearDiscriminantAnalysis : The linear relative.

    References
    ----------
    .. [1] Ng, L. H. X., Tan, J. Y. H., Tan, D. J. H., Lee, R. K.-W. "Will you
       dance to the challenge? Predicting user participation of TikTok challenges",
       ASONAM 2021, section IV.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skchallenge import ProxyEncoder
    >>> X, y = load_iris(return_X_y=True)
    >>> encoder = ProxyEncoder(16, lr=0.01, max_iter=50, random_state=0).fit(X, y)
    >>> encoder.transform(X).shape
    (150, 16)
    >>> encoder.score(X, y) > 0.9
    True
    """

    def __init__(
        self,
        embedding_size: int = 128,
        *,
        dropout: float = 0.2,
        lr: float = 1e-3,
        batch_size: int | str = "auto",
        max_iter: int = 30,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: dict[Any, float] | str | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.embedding_size = embedding_size
        self.dropout = dropout
        self.lr = lr
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Compute the learned embeddings.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        embeddings : ndarray of shape (n_samples, embedding_size)
            Activations of the hidden layer, non-negative, in the training dtype.
        """
        return self._forward(X, "embed")

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_scalar(self.embedding_size, "embedding_size", Integral, min_val=1)

    def _module_options(self, n_features: int, n_classes: int) -> dict[str, Any]:
        return {
            "in_features": n_features,
            "out_features": n_classes,
            "hidden": (int(self.embedding_size),),
            "dropout": self.dropout,
        }

    def _build_module(self, *, dtype: torch.dtype, **options: Any) -> MLP:
        return MLP(dtype=dtype, **options)

    @property
    def _n_features_out(self) -> int:
        return self._module_options_["hidden"][0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
