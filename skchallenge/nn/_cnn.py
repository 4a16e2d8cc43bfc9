"""Networks that read covers, alone or beside the columns of a table."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skchallenge.nn._mlp import MLP

_CHANNELS = (16, 32)
_WIDTHS = (256, 128, 64, 32)


class CoverCNN(nn.Module):
    """Two convolutions and four linear layers: an image becomes 32 features.

    Parameters
    ----------
    image_size : int, default=64
        Height and width of the images in pixels, S, a multiple of 4.
    dropout : float, default=0.0
        Fraction of units dropped in training after the first linear layer, in [0, 1).

    Examples
    --------
    >>> import torch
    >>> from skchallenge.nn import CoverCNN
    >>> net = CoverCNN(image_size=64)
    >>> net(torch.zeros(5, 64, 64, 3, dtype=torch.uint8)).shape
    torch.Size([5, 32])
    """

    width = _WIDTHS[-1]

    def __init__(self, image_size: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        first, second = _CHANNELS
        self.see = nn.Sequential(
            nn.Conv2d(3, first, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        layers: list[nn.Module] = []
        n_inputs = second * (image_size // 4) ** 2
        for width in _WIDTHS:
            layers += [nn.Linear(n_inputs, width), nn.ReLU()]
            n_inputs = width
        layers.insert(2, nn.Dropout(dropout))
        self.read = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Map RGB images to features, (B, S, S, 3) uint8 -> (B, 32)."""
        dtype = next(self.parameters()).dtype
        x = images.permute(0, 3, 1, 2).to(dtype) / 127.5 - 1  # (B, 3, S, S), [-1, 1]
        return self.read(self.see(x))


class CoverFusion(nn.Module):
    """Classify rows by a cover, beside the columns of a table or alone.

    In training a random square is cut out of each cover, else the middle one. A row
    without a cover gets `missing` in place of the cover's features: a learned vector,
    or, where the cover is all there is, a constant.

    Parameters
    ----------
    encoder : torch.nn.Module
        Maps images (B, S, S, 3) uint8 to features (B, W).
    width : int
        Number of its features, W.
    image_size : int
        Pixels of the square that the encoder sees, S.
    n_metadata : int
        Columns of the table, F; with 0 the cover is all there is.
    out_features : int
        Number of logits, C.
    hidden : sequence of int, default=(512, 64)
        Widths of the layers that read the columns.
    fusion : {"concat", "full"}, default="concat"
        ``"concat"``: features and columns go through `hidden` together.
        ``"full"``: the columns go through `hidden`, and meet the features in a layer
        of 64.
    dropout : float, default=0.0
        Fraction of units dropped in training after each of these layers, in [0, 1).

    Examples
    --------
    >>> import torch
    >>> from skchallenge.nn import CoverCNN, CoverFusion
    >>> net = CoverFusion(CoverCNN(16), 32, image_size=16, n_metadata=3, out_features=2)
    >>> covers = torch.zeros(4, 18, 18, 3, dtype=torch.uint8)
    >>> net(torch.zeros(2, 3), torch.tensor([3, -1]), covers).shape  # row 2 has none
    torch.Size([2, 2])
    """

    missing: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        image_size: int,
        n_metadata: int,
        out_features: int,
        hidden: Sequence[int] = (512, 64),
        fusion: str = "concat",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.classify: MLP
        self.image_size = image_size
        self.n_metadata = n_metadata
        self.columns: nn.Module = nn.Identity()
        if n_metadata == 0:
            self.classify = MLP(width, out_features, ())
            self.register_buffer("missing", torch.zeros(width))
            return
        self.missing = nn.Parameter(torch.zeros(width))
        if fusion == "full":
            self.columns = MLP(n_metadata, out_features, hidden, dropout).body
            joint = width + (hidden[-1] if len(hidden) else n_metadata)
            self.classify = MLP(joint, out_features, (64,), dropout)
        else:
            self.classify = MLP(width + n_metadata, out_features, hidden, dropout)

    @property
    def head(self) -> nn.Linear:
        """The last layer."""
        return self.classify.head

    def forward(self, metadata: Tensor, cover_index: Tensor, covers: Tensor) -> Tensor:
        """Map rows to logits.

        Parameters
        ----------
        metadata : Tensor of shape (B, F)
            Columns of the table; not looked at where the cover is all there is.
        cover_index : Tensor of shape (B,), dtype int64
            Which of `covers` each row shows; -1 is none.
        covers : Tensor of shape (N, H, W, 3), dtype uint8
            All images, at least S pixels high and wide.

        Returns
        -------
        logits : Tensor of shape (B, C)
        """
        features = self.embed(cover_index, covers)
        if self.n_metadata == 0:
            return self.classify(features)
        joint = torch.cat([features, self.columns(metadata)], dim=1)  # (B, W + F')
        return self.classify(joint)

    def embed(self, cover_index: Tensor, covers: Tensor) -> Tensor:
        """Map indices of covers to their features or to `missing`, (B,) -> (B, W)."""
        features = self.missing.expand(len(cover_index), -1)
        (rows,) = torch.nonzero(cover_index >= 0, as_tuple=True)
        if len(rows) == 0:
            return features
        # Covers may lie on another device, or in a file: take them there.
        images = covers[cover_index[rows].to(covers.device)].to(cover_index.device)
        seen = self.encoder(self._cut(images))
        return features.index_put((rows,), seen.to(features.dtype))

    def _cut(self, images: Tensor) -> Tensor:
        """Cut one square out of each image, (B, H, W, 3) -> (B, S, S, 3)."""
        size = self.image_size
        margin = images.shape[1] - size, images.shape[2] - size
        if not self.training:
            top, left = margin[0] // 2, margin[1] // 2
            return images[:, top : top + size, left : left + size]
        one_each, device = (len(images), 1), images.device
        along = torch.arange(size, device=device)
        rows = torch.randint(margin[0] + 1, one_each, device=device) + along  # (B, S)
        columns = torch.randint(margin[1] + 1, one_each, device=device) + along
        image = torch.arange(len(images), device=device)[:, None, None]
        return images[image, rows[:, :, None], columns[:, None, :]]
