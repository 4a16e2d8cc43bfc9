"""A network beside a line: wide and deep."""

from collections.abc import Sequence

from torch import Tensor, nn


class WideAndDeep(nn.Module):
    """Add the logits of a linear model of some columns to those of a network [1]_.

    The linear model, the wide part, is fitted elsewhere, put in by `set_line`, and not
    trained. The network, the deep part, starts at zero: before the first step the
    whole is the linear model.

    Parameters
    ----------
    deep : torch.nn.Module
        Maps rows, and whatever follows them, to logits, (B, F) -> (B, C). Its `head`,
        a linear layer, is set to zero.
    columns : sequence of int
        Columns of the rows that the linear model reads, P of them.

    References
    ----------
    .. [1] Cheng, H.-T. et al. "Wide & Deep Learning for Recommender Systems", DLRS
       2016. https://doi.org/10.1145/2988450.2988454 (They train both parts together.)

    Examples
    --------
    >>> import torch
    >>> from skchallenge.nn import MLP, WideAndDeep
    >>> net = WideAndDeep(MLP(3, 2), columns=[0, 2])
    >>> net.set_line(torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.tensor([0.0, 5.0]))
    >>> net(torch.ones(1, 3))
    tensor([[0., 8.]], grad_fn=<AddBackward0>)
    """

    coefficients: Tensor
    intercept: Tensor

    def __init__(self, deep: nn.Module, columns: Sequence[int]) -> None:
        super().__init__()
        self.deep, self.columns = deep, list(columns)
        head = self._head()
        shape = head.out_features, len(self.columns)
        self.register_buffer("coefficients", head.weight.new_zeros(shape))
        self.register_buffer("intercept", head.weight.new_zeros(shape[0]))
        self.silence()

    def silence(self) -> None:
        """Let the deep part add nothing."""
        head = self._head()
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)

    def _head(self) -> nn.Linear:
        head = self.deep.head
        assert isinstance(head, nn.Linear)
        return head

    def set_line(self, coefficients: Tensor, intercept: Tensor) -> None:
        """Put in the linear model: coefficients (C, P) and intercepts (C,)."""
        self.coefficients.copy_(coefficients)
        self.intercept.copy_(intercept)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """Map rows to logits, (B, F) -> (B, C)."""
        wide = nn.functional.linear(
            x[:, self.columns], self.coefficients, self.intercept
        )
        return wide + self.deep(x, *others)
