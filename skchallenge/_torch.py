"""Small torch helpers shared by every layer."""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

_PARALLEL_WORK = 10_000_000  # multiplications a step, see `threads_for`

# Where threads meet: fits and predictions in a joblib threading backend change what
# torch keeps once for the whole process, such as its random generator.
one_at_a_time = threading.RLock()

# A forked child has none of its parent's threads, but torch counts on them: its first
# parallel operation would wait for ever (multiprocessing.Pool, Celery, gunicorn with
# --preload). On one thread it answers. Nothing is promised to a child that was forked
# in the midst of a call: use spawn or loky.
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def resolve_device(device: str | torch.device, *, or_cpu: bool = False) -> torch.device:
    """Turn ``"auto"`` into CUDA where there is one and the CPU elsewhere.

    With `or_cpu`, so does a device that this machine lacks, whatever its kind: a model
    may be loaded where there is none.
    """
    if device == "auto" or (or_cpu and not _is_here(device)):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be 'auto' or a torch device such as 'cpu' or 'cuda:0', "
            f"got {device!r}."
        ) from error


def _is_here(device: str | torch.device) -> bool:
    """Tell whether a tensor can be put on a device.

    Each kind of accelerator says in its own way that it is absent: as RuntimeError,
    NotImplementedError, AssertionError or ImportError.
    """
    try:
        torch.empty(1, device=device)
    except Exception:
        return False
    return True


@contextmanager
def threads_for(module: nn.Module, batch_size: int) -> Iterator[None]:
    """Train on one thread where a step is too small to share; restore the count after.

    Measured on 2 cores: two threads win nothing below some ten million multiplications
    a step, and where another process takes a core they wait for each other most of the
    time.
    """
    n_threads = torch.get_num_threads()
    work = batch_size * sum(p.numel() for p in module.parameters())
    try:
        torch.set_num_threads(1 if work < _PARALLEL_WORK else n_threads)
        yield
    finally:
        torch.set_num_threads(n_threads)


@contextmanager
def isolated_rng(device: torch.device, seed: int | None = None) -> Iterator[None]:
    """Seed torch inside the block and leave the caller's generators as found.

    What is made inside is float32 and on the CPU, whatever the caller's defaults are.
    Threads wait for each other: torch has one generator for all of them.
    """
    cuda = [device] if device.type == "cuda" else []
    with one_at_a_time, _own_defaults(), torch.random.fork_rng(devices=cuda):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        if seed is not None and cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def _own_defaults() -> Iterator[None]:
    dtype, is_cpu = torch.get_default_dtype(), torch.get_default_device().type == "cpu"
    torch.set_default_dtype(torch.float32)
    try:
        # Naming a device makes each call of torch slower.
        with nullcontext() if is_cpu else torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


def no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Compute in the types of weights and inputs, also where the caller has them cast.

    A vector in a store must not depend on who computed it.
    """
    is_known = torch.amp.is_autocast_available(device.type)
    is_on = is_known and torch.is_autocast_enabled(device.type)
    return torch.autocast(device.type, enabled=False) if is_on else nullcontext()
