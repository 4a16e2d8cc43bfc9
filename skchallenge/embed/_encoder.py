"""Text encoders of the BERT family, from a folder or the Hugging Face Hub."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skchallenge._torch import isolated_rng, no_autocast, one_at_a_time
from skchallenge.embed._identity import network_digest

_TOKENS_A_BATCH = {"cuda": 16384}  # "auto"; elsewhere 2,048 tokens, best on a CPU


def encoder_width(model: str | os.PathLike[str], max_length: int) -> int:
    """Return the features of a token, from the configuration alone.

    Raises
    ------
    ValueError
        If there is no such model or it takes fewer than `max_length` tokens.
    """
    from transformers import AutoConfig

    with _quiet():
        config = _from_pretrained(AutoConfig, model)
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"model must be an encoder of the BERT family, got {model!r}.")
    limit = getattr(config, "max_position_embeddings", max_length)
    if max_length > limit:
        raise ValueError(
            f"max_length must be at most {limit}, the positions of model={model!r}, "
            f"got {max_length}."
        )
    return config.hidden_size


class TextEncoder:
    """A tokenizer and its network; texts -> vectors."""

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        pooling: str,
        max_length: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        from transformers import AutoModel, AutoTokenizer

        # Layers that a checkpoint lacks are drawn at random; none of them is used.
        with _quiet(), isolated_rng(device, seed=0):
            self.tokenizer = _from_pretrained(AutoTokenizer, model)
            # Casting here would round what a model keeps in float32: angles, say.
            net = _from_pretrained(AutoModel, model, dtype=dtype)
        self.net: nn.Module = net.eval().requires_grad_(False).to(device)
        self.pooling = pooling
        self.max_length = min(max_length, self.tokenizer.model_max_length)
        self.device = device

    def digest(self) -> str:
        """Return a digest of the network and the vocabulary."""
        vocabulary = sorted(self.tokenizer.get_vocab().items())
        return f"{network_digest(self.net)} {self.tokenizer!r} {vocabulary}"

    def encode(
        self, texts: list[str], batch_size: int | None
    ) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Yield batches of distinct texts with their (B, D) vectors.

        The batches depend on the set of texts alone, not on their order.
        """
        texts = sorted(texts)
        budget = _TOKENS_A_BATCH.get(self.device.type, 2048)
        ids = self._tokenize(texts)
        lengths = np.array([len(tokens) for tokens in ids])
        for batch in length_batches(lengths, batch_size, budget):
            yield [texts[i] for i in batch], self._embed([ids[i] for i in batch])

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        tokens = self.tokenizer(texts, truncation=True, max_length=self.max_length)
        return tokens["input_ids"]

    def _embed(self, ids: list[list[int]]) -> NDArray[np.float32]:
        width = max(len(tokens) for tokens in ids)
        padding = self.tokenizer.pad_token_id or 0
        table = np.full((len(ids), width), padding)  # (B, T)
        is_token = np.zeros((len(ids), width), dtype=np.int64)
        for row, tokens in enumerate(ids):
            table[row, : len(tokens)] = tokens
            is_token[row, : len(tokens)] = 1
        padded = torch.from_numpy(table).to(self.device)
        mask = torch.from_numpy(is_token).to(self.device)
        with torch.inference_mode(), no_autocast(self.device):
            output = self.net(input_ids=padded, attention_mask=mask)
            states = output.last_hidden_state.float()  # (B, T, D)
            return pool_tokens(states, mask, self.pooling).cpu().numpy()


def pool_tokens(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Reduce (B, T, D) token states to (B, D); padded tokens do not count."""
    if pooling == "cls":
        return states[:, 0]
    weight = mask.unsqueeze(-1).float()  # (B, T) -> (B, T, 1)
    return (states * weight).sum(dim=1) / weight.sum(dim=1)


def length_batches(
    lengths: NDArray[np.intp], batch_size: int | None, token_budget: int
) -> Iterator[NDArray[np.intp]]:
    """Yield indices of texts, longest first, so that little is padded.

    A batch holds `batch_size` texts, or as many as fit `token_budget` when padded.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        size = batch_size or max(1, token_budget // longest)
        yield order[start : start + size]
        start += size


def _from_pretrained(
    loader: Any, model: str | os.PathLike[str], **settings: Any
) -> Any:
    """Load from a folder, from the cache, or else from the Hub."""
    name = os.fspath(model)
    local = os.path.isdir(name)
    try:
        if os.path.isabs(name) or name.startswith("."):
            os.stat(name)  # a folder is meant: do not ask the Hub
        try:
            return loader.from_pretrained(name, local_files_only=True, **settings)
        except OSError:
            if local:
                raise
            return loader.from_pretrained(name, **settings)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model must be a folder with a BERT-family encoder or the name of one on "
            f"the Hugging Face Hub, got {name!r}: {error} Without a network, pass the "
            "path of a local folder or a name that is in the Hub's cache."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the loading reports of transformers; restore its settings after."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
    )
    from transformers.utils import logging

    with one_at_a_time:
        level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
        hub_bar_off = are_progress_bars_disabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(level)
            if bar:
                logging.enable_progress_bar()
            if hub_bar_off:
                disable_progress_bars()
