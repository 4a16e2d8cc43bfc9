"""Load models of Hugging Face transformers: a folder, the cache, or the Hub."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from skchallenge._optional import import_optional
from skchallenge._torch import isolated_rng, one_at_a_time


def from_pretrained(
    loader: Any,
    model: str | os.PathLike[str],
    *,
    kind: str,
    parameter: str = "model",
    **settings: Any,
) -> Any:
    """Load from a folder, from the cache, or else from the Hub; run no code of theirs.

    Without `trust_remote_code`, a folder with code asks on the terminal whether to run
    it, and whatever stands on stdin may say yes.

    Raises
    ------
    ValueError
        If there is none; `kind` tells what was wanted, with its article.
    """
    name = os.fspath(model)
    settings = {**settings, "trust_remote_code": False}
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
            f"{parameter} must be a folder with {kind} or the name of one on the "
            f"Hugging Face Hub, got {name!r}: {error} Without a network, pass the path "
            "of a local folder or a name that is in the Hub's cache."
        ) from error


def load_tokenizer(
    model: str | os.PathLike[str], *, kind: str, parameter: str = "model"
) -> Any:
    """Load a tokenizer; without its files, transformers makes one that knows no word.

    Raises
    ------
    ValueError
        If there is none, or none that knows a word.
    """
    from transformers import AutoTokenizer

    tokenizer = from_pretrained(AutoTokenizer, model, kind=kind, parameter=parameter)
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ValueError(
            f"{parameter}={os.fspath(model)!r} comes without its tokenizer "
            "(tokenizer.json). Save the one it was trained with beside it, by "
            "tokenizer.save_pretrained(folder)."
        )
    return tokenizer


def load_sentence_model(
    model: str, dtype: torch.dtype, device: torch.device, *, parameter: str
) -> Any:
    """Load a model of sentence-transformers for evaluation; run no code of its own.

    Raises
    ------
    ImportError
        If sentence-transformers is not installed.
    ValueError
        If it cannot be loaded.
    """
    purpose = f"{parameter}={model!r}, a model of sentence-transformers,"
    library = import_optional(
        "sentence_transformers", extra="sentence", purpose=purpose
    )
    settings = {"dtype": dtype} if dtype != torch.float32 else {}
    with quiet_transformers(), isolated_rng(torch.device("cpu"), seed=0):
        try:
            net = library.SentenceTransformer(
                model,
                device=str(device),
                local_files_only=os.path.isdir(model),
                trust_remote_code=False,
                model_kwargs=settings,
            )
        except Exception as error:
            raise ValueError(
                f"{parameter}={model!r} cannot be loaded by sentence-transformers: "
                f"{error}"
            ) from error
    return net.eval().requires_grad_(False)


def is_sentence_model(model: str | os.PathLike[str]) -> bool:
    """Tell a model of sentence-transformers from other folders or names."""
    from huggingface_hub import try_to_load_from_cache

    name = os.fspath(model)
    if os.path.isdir(name):
        return os.path.exists(os.path.join(name, "modules.json"))
    try:
        return isinstance(try_to_load_from_cache(name, "modules.json"), str)
    except ValueError:  # no name that the Hub has
        return False


@contextmanager
def quiet_transformers() -> Iterator[None]:
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
