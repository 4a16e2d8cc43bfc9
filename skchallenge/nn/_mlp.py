"""Feed-forward networks."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MLP(nn.Module):
    """Feed-forward classifier whose last hidden layer can be read.

    Parameters
    ----------
    in_features : int
        Width of the input, F.
    out_features : int
        Number of logits, C.
    hidden : sequence of int, default=(128,)
        Widths of the hidden layers; the last one is the embedding width, D. An
        empty sequence makes the network linear.
    dropout : float, default=0.0
        Fraction of hidden units dropped in training, in [0, 1).
    dtype : torch.dtype, default=torch.float32
        Type of the weights.

    Examples
    --------
    >>> import torch
    >>> from skchallenge.nn import MLP
    >>> net, x = MLP(in_features=20, out_features=3, hidden=(64, 16)), torch.ones(5, 20)
    >>> net(x).shape, net.embed(x).shape
    (torch.Size([5, 3]), torch.Size([5, 16]))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (128,),
        dropout: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(in_features, width, dtype=dtype), nn.ReLU()]
            layers += [nn.Dropout(dropout)]
            in_features = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(in_features, out_features, dtype=dtype)

    def embed(self, x: Tensor) -> Tensor:
        """Map features to the last hidden layer, (B, F) -> (B, D)."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map features to logits, (B, F) -> (B, C); softmax belongs to the loss."""
        return self.head(self.embed(x))
