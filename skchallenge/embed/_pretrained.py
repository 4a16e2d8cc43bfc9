"""Load models of Hugging Face transformers: a folder, the cache, or the Hub."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from skchallenge._optional import import_optional
from skchallenge._torch import isolated_rng, one_at_a_time

# In names of weights: not used, or by those only who are told that they are missing.
_UNUSED = ("pooler", "mask_token", "masked_spec_embed")


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
    it, and whatever stands on stdin may say yes. Its settings may also name a kernel on
    the Hub, which is code: the usual one is taken instead.

    Raises
    ------
    ValueError
        If there is none, or its files are broken; `kind` tells what was wanted, with
        its article.
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
    except MemoryError:
        raise
    except Exception as error:  # files of strangers may be broken in any way
        raise ValueError(
            f"{parameter} must be a folder with {kind} or the name of one on the "
            f"Hugging Face Hub, got {name!r}: {error} Without a network, pass the path "
            "of a local folder or a name that is in the Hub's cache."
        ) from error


def load_config(
    model: str | os.PathLike[str], *, kind: str, parameter: str = "model"
) -> Any:
    """Load the configuration of a model, in which no kernel is named."""
    from transformers import AutoConfig

    config = from_pretrained(AutoConfig, model, kind=kind, parameter=parameter)
    parts = [config, *vars(config).values()]
    for part in parts:
        if "/" in str(getattr(part, "_attn_implementation", None)):
            part._attn_implementation = None
    return config


def load_net(
    loader: Any,
    model: str | os.PathLike[str],
    dtype: torch.dtype,
    *,
    kind: str,
    parameter: str = "model",
) -> tuple[Any, list[str]]:
    """Load a network for evaluation, and the names of weights that its file lacks.

    Those are drawn at random. Only what is not used may be among them: a pooler, of
    which the caller is told, and what replaces parts of the input in training.

    Raises
    ------
    ValueError
        If it cannot be loaded, or lacks weights that are used.
    """
    config = load_config(model, kind=kind, parameter=parameter)
    settings: dict[str, Any] = {"dtype": dtype, "output_loading_info": True}
    with quiet_transformers(), isolated_rng(torch.device("cpu"), seed=0):
        net, info = from_pretrained(
            loader, model, kind=kind, parameter=parameter, config=config, **settings
        )
    missing = sorted(info["missing_keys"])
    used = [name for name in missing if not any(part in name for part in _UNUSED)]
    if used:
        raise ValueError(
            f"{parameter}={os.fspath(model)!r} lacks {len(used)} of the weights of a "
            f"{type(net).__name__}, such as {used[0]!r}. They would be random. Pass "
            f"{kind} with all of them."
        )
    return net.eval().requires_grad_(False), missing


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
    """Tell a model of sentence-transformers from other folders or names.

    The Hub is asked of a name whose files are not in its cache.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    name = os.fspath(model)
    if os.path.isdir(name):
        return os.path.exists(os.path.join(name, "modules.json"))
    try:
        found = try_to_load_from_cache(name, "modules.json")
        if found is None:  # it is not known whether there is one
            found = hf_hub_download(name, "modules.json")
    except (OSError, ValueError):  # there is none, no such name, or no network
        return False
    return isinstance(found, str)


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
