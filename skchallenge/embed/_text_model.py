"""What turns captions into vectors: parameters without weights, and an encoder."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from skchallenge._torch import resolve_device
from skchallenge.embed._built import Built
from skchallenge.embed._encoder import TextEncoder
from skchallenge.embed._identity import text_model_identity


@dataclass(frozen=True)
class TextModel:
    """The parameters of a caption embedder; it pickles to any machine.

    They are as in `CaptionEmbedder`, but for `token`, which names the encoder in all
    processes, and `dtype`, which is resolved where the estimator is, as it shapes the
    vectors. ``device="auto"`` is resolved where the encoder runs.
    """

    token: str
    model: str | os.PathLike[str]
    pooling: str
    max_length: int
    dtype: torch.dtype
    device: str | torch.device
    batch_size: int | str

    def encoder(self, built: Built) -> TextEncoder:
        """Return the encoder, loaded anew only if a parameter of it has changed."""

        def build() -> TextEncoder:
            return TextEncoder(
                self.model,
                pooling=self.pooling,
                max_length=self.max_length,
                dtype=self.dtype,
                device=resolve_device(self.device),
            )

        return built.get(self.token, build)

    def weights_here(self, built: Built) -> dict[str, str]:
        """Tell which files of the encoder this process has; it need not be loaded."""
        parts = text_model_identity(None, self.model) or ()
        return {file: digest for file, _, digest in (p.rpartition(" ") for p in parts)}

    def embed(
        self, groups: Iterable[list[str]], n_items: int, built: Built
    ) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Yield each text with its vector."""
        batch_size = None if isinstance(self.batch_size, str) else self.batch_size
        encoder = self.encoder(built)
        for group in groups:
            for texts, vectors in encoder.encode(group, batch_size):
                yield from zip(texts, vectors, strict=True)
