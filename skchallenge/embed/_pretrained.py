"""Load models of Hugging Face transformers: a folder, the cache, or the Hub."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from skchallenge._torch import one_at_a_time


def from_pretrained(
    loader: Any, model: str | os.PathLike[str], *, kind: str, **settings: Any
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
    from transformers import AutoConfig, AutoModel

    name = os.fspath(model)
    settings = {**settings, "trust_remote_code": False}
    if loader is AutoModel:
        config = from_pretrained(AutoConfig, model, kind=kind)
        if "/" in str(config._attn_implementation):
            config._attn_implementation = None
        settings["config"] = config
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
            f"model must be a folder with {kind} or the name of one on the Hugging "
            f"Face Hub, got {name!r}: {error} Without a network, pass the path of a "
            "local folder or a name that is in the Hub's cache."
        ) from error


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
