"""Networks that read blocks of videos: who watches whom."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skchallenge.nn._mlp import MLP


class AttentionFusion(nn.Module):
    """Let each side of a pair attend over the videos of the other side.

    A block holds up to S videos of width D and one fill. A challenge's
    videos ask which of the user's videos matter to it, and the other way round;
    the answers meet in interaction terms (their product and their distance).

    The input is flat: `plain` columns and, from the given columns on, the blocks'
    ``S * D + 1`` columns each (videos, newest first, then the fill: the fraction of
    slots that hold a video).

    Parameters
    ----------
    in_features : int
        Width of the input, F.
    out_features : int
        Number of logits, C.
    blocks : sequence of (start, slots, width)
        First column, S and D of each block.
    hidden : sequence of int, default=(128,)
        Widths of the layers after the interaction; the first is also the width
        of the attention, H.
    dropout : float, default=0.0
        Fraction of units dropped in training, in [0, 1).
    dtype : torch.dtype, default=torch.float32
        Type of the weights.

    Examples
    --------
    >>> import torch
    >>> from skchallenge.nn import AttentionFusion
    >>> user, challenge = (0, 8, 2), (17, 3, 2)  # 8 and 3 videos of width 2
    >>> net = AttentionFusion(24, 2, blocks=[user, challenge])
    >>> net(torch.ones(5, 24)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        blocks: Sequence[tuple[int, int, int]],
        hidden: Sequence[int] = (128,),
        dropout: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.blocks = tuple(blocks)
        taken = {i for s, n, d in self.blocks for i in range(s, s + n * d)}
        plain = [i for i in range(in_features) if i not in taken]  # fills stay in
        self.plain = plain
        h = hidden[0]
        self.value = nn.ModuleList(
            nn.Linear(d, h, dtype=dtype) for _, _, d in self.blocks
        )
        self.key = nn.ModuleList(nn.Linear(h, h, dtype=dtype) for _ in self.blocks)
        self.query = nn.ModuleList(nn.Linear(h, h, dtype=dtype) for _ in self.blocks)
        n_pairs = len(self.blocks) * (len(self.blocks) - 1) // 2
        joint = h * (len(self.blocks) + 2 * n_pairs) + len(plain)
        self.drop = nn.Dropout(dropout)
        self.classify = MLP(joint, out_features, hidden, dropout, dtype)

    @property
    def head(self) -> nn.Linear:
        """The last layer."""
        return self.classify.head

    def forward(self, x: Tensor) -> Tensor:
        """Map flat rows to logits, (B, F) -> (B, C)."""
        seen = [self._read(x, i) for i in range(len(self.blocks))]
        means = [_masked_mean(videos, mask) for videos, mask in seen]
        sides = [
            self._attend(i, videos, mask, _others(means, i))
            for i, (videos, mask) in enumerate(seen)
        ]
        pairs = [
            term
            for i, a in enumerate(sides)
            for b in sides[i + 1 :]
            for term in (a * b, (a - b).abs())
        ]
        joint = torch.cat([*sides, *pairs, x[:, self.plain]], dim=1)
        return self.classify(joint)

    def _read(self, x: Tensor, i: int) -> tuple[Tensor, Tensor]:
        """Cut block i out of the row and project its videos to a common width."""
        start, slots, width = self.blocks[i]
        end = start + slots * width
        videos = x[:, start:end].reshape(-1, slots, width)  # (B, S, D)
        # Slot k holds a video iff k < fill * S; the margin is for float32's sake.
        mask = torch.arange(slots, device=x.device) < x[:, end, None] * slots - 1e-3
        return self.drop(torch.relu(self.value[i](videos))), mask  # (B, S, H), (B, S)

    def _attend(self, i: int, videos: Tensor, mask: Tensor, asker: Tensor) -> Tensor:
        """Sum the videos of block i, weighted by what the other side asks for."""
        query = self.query[i](asker)[:, None]  # (B, 1, H)
        scores = (query * self.key[i](videos)).sum(2) / videos.shape[2] ** 0.5
        # -1e9 and a final mask, not -inf: a row without videos must give zeros.
        weights = scores.masked_fill(~mask, -1e9).softmax(dim=1) * mask  # (B, S)
        return (weights[..., None] * videos).sum(1)  # (B, H)


def _masked_mean(videos: Tensor, mask: Tensor) -> Tensor:
    """Average the valid slots, (B, S, H) -> (B, H); none gives zeros."""
    total = (videos * mask[..., None]).sum(1)
    return total / mask.sum(1, keepdim=True).clamp(min=1)


def _others(means: list[Tensor], i: int) -> Tensor:
    """Average what all blocks but i show; a lone block asks itself."""
    rest = [m for j, m in enumerate(means) if j != i] or means
    return torch.stack(rest).mean(0)
