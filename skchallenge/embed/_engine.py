"""Run a frozen network on batches of frames: by torch, compiled, or by OpenVINO."""

import logging
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skchallenge._optional import import_optional
from skchallenge._torch import no_autocast, one_at_a_time
from skchallenge.exceptions import MediaError
from skchallenge.media._read import Clip

Matrix = NDArray[np.float32]
Pending = Callable[[], Matrix]
Compile = bool | Literal["auto", "openvino"]

# Frames of 224 x 224 pixels after which compiling, half a minute to a minute, has paid
# about twice for ResNet-50: it saves 7 ms a frame on a CPU, with bfloat16 units or
# without, and some 0.2 ms on a GPU.
_REPAYING_FRAMES = {"cpu": 16_000, "cuda": 500_000}
_NOISY = ("torch._dynamo", "torch._inductor", "torch.utils.cpp_extension")


class Engine(Protocol):
    """Runs batches of one shape; `n_pending` may be under way when one is started."""

    n_pending: int

    def submit(self, frames: NDArray[Any]) -> Pending:
        """Start a (B, ...) batch; call what is returned, in order, for (B, D)."""


def make_engine(
    encoder: nn.Module,
    device: torch.device,
    dtype: torch.dtype,
    *,
    compile: bool | Literal["openvino"],
    black: NDArray[Any],
    fall_back: bool,
) -> Engine:
    """Return the engine that `compile` asks for.

    Parameters
    ----------
    encoder : nn.Module
        On `device`, of type `dtype`; for OpenVINO on the CPU and of type float32.
    device : torch.device
    dtype : torch.dtype
        In which OpenVINO computes.
    compile : bool or "openvino"
    black : ndarray of shape (B, ...)
        A batch of frames, as all batches will be.
    fall_back : bool
        Run as it is what does not compile.

    Raises
    ------
    ImportError
        If OpenVINO is asked for and not installed.
    RuntimeError
        If compilation is asked for and fails.
    """
    if compile == "openvino":
        return OpenVinoEngine(encoder, dtype, black)
    if not compile:
        return TorchEngine(encoder, device)
    try:
        return _compiled(encoder, device, black)
    except Exception as error:
        if fall_back:
            return TorchEngine(encoder, device)
        raise RuntimeError(
            f"compile=True failed: {error} Install a C++ compiler such as g++, or pass "
            "compile=False."
        ) from error


def repays_compiling(device: torch.device, n_frames: int, image_size: int) -> bool:
    """Tell whether so many frames take so long that compiling is worth it."""
    n_usual = n_frames * (image_size / 224) ** 2  # work grows with the pixels
    return n_usual >= _REPAYING_FRAMES.get(device.type, float("inf"))


def encode_clips(
    clips: Iterable[Clip | MediaError], engine: Engine, batch_size: int
) -> Iterator[Matrix | MediaError]:
    """Yield one (n_frames, D) matrix a clip, in order; errors pass through.

    Batches run across clips. All have the same size, the last one by padding: nothing
    is compiled twice, and a frame's features do not depend on how many frames there
    are.
    """
    waiting: deque[Clip | MediaError] = deque()  # not given out yet
    frames: list[NDArray[Any]] = []  # not in a batch yet
    pending: deque[Pending] = deque()  # batches under way
    features: list[NDArray[np.float32]] = []  # (D,) a frame, of the first that wait

    def submit(batch: list[NDArray[Any]], n_pending: int) -> None:
        if batch:
            pending.append(engine.submit(np.stack(batch)))  # (B, ...)
        while len(pending) > n_pending:
            features.extend(pending.popleft()())  # (B, D)

    def complete() -> Iterator[Matrix | MediaError]:
        while waiting and len(features) >= _n_distinct(waiting[0]):
            clip = waiting.popleft()
            if isinstance(clip, MediaError):
                yield clip
                continue
            distinct = np.stack(features[: len(clip.frames)])  # (k, D)
            del features[: len(clip.frames)]
            yield distinct[clip.frame_index]  # (k, D) -> (n_frames, D)

    for clip in clips:
        waiting.append(clip)
        if isinstance(clip, Clip):
            frames.extend(clip.frames)
        while len(frames) >= batch_size:
            submit(frames[:batch_size], engine.n_pending)
            del frames[:batch_size]
        yield from complete()
    padding = frames[-1:] * (batch_size - len(frames))
    submit(frames + padding, n_pending=0)
    yield from complete()


def _n_distinct(clip: Clip | MediaError) -> int:
    return 0 if isinstance(clip, MediaError) else len(clip.frames)


class TorchEngine:
    """Runs the encoder, or a compiled form of it, on its device."""

    def __init__(
        self, run: Callable[[torch.Tensor], torch.Tensor], device: torch.device
    ) -> None:
        self.run = run
        self.device = device
        self.n_pending = 0 if device.type == "cpu" else 1

    def submit(self, frames: NDArray[Any]) -> Pending:
        """Start a batch; on a CPU it is done at once."""
        if self.device.type == "cuda":
            return self._submit_to_cuda(frames)
        with torch.no_grad(), no_autocast(self.device):
            features = self.run(torch.from_numpy(frames).to(self.device))  # (B, D)
        return lambda: features.cpu().numpy()

    def _submit_to_cuda(self, frames: NDArray[Any]) -> Pending:
        """Queue the way there, the work and the way back, and wait for none of them.

        To fetch the features later would wait for the batches that are queued by then.
        """
        batch = torch.from_numpy(frames).pin_memory()
        with torch.no_grad(), no_autocast(self.device):
            features = self.run(batch.to(self.device, non_blocking=True))
            fetched = features.to("cpu", non_blocking=True)
        done = torch.cuda.current_stream(self.device).record_event()

        def result() -> Matrix:
            done.synchronize()
            return fetched.numpy()

        return result


class OpenVinoEngine:
    """Runs the encoder by OpenVINO on the CPU, one batch a thread."""

    def __init__(
        self, encoder: nn.Module, dtype: torch.dtype, black: NDArray[Any]
    ) -> None:
        n_threads = torch.get_num_threads()
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": n_threads,
            "NUM_STREAMS": n_threads,
        }
        openvino = import_optional(
            "openvino", extra="openvino", purpose="compile='openvino'"
        )
        model = _openvino_model(encoder, black)
        self.compiled = openvino.Core().compile_model(model, "CPU", settings)
        _check_precision(self.compiled, settings["INFERENCE_PRECISION_HINT"])
        self.n_pending = n_threads
        self._free: list[Any] = []  # requests, each with the memory for a batch

    def submit(self, frames: NDArray[Any]) -> Pending:
        """Start a batch; as many run as there are streams, the others wait."""
        try:
            request = self._free.pop()
        except IndexError:
            request = self.compiled.create_infer_request()
        request.start_async([frames], share_inputs=True)

        def result() -> Matrix:
            request.wait()
            features: Matrix = request.get_output_tensor().data.copy()
            self._free.append(request)
            return features

        return result


def check_openvino(device: torch.device) -> None:
    """Raise unless OpenVINO is installed and is to run on the CPU."""
    import_optional("openvino", extra="openvino", purpose="compile='openvino'")
    if device.type != "cpu":
        raise ValueError(
            f"compile='openvino' runs on the CPU, got device={str(device)!r}. Pass "
            "device='cpu', or another compile."
        )


def _check_precision(compiled: Any, wanted: object) -> None:
    """Raise if OpenVINO has silently taken another type."""
    found = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if found != wanted:
        raise ValueError(
            f"precision={wanted} is not to be had with compile='openvino' on this "
            f"processor, which computes in {found}. Pass precision='auto'."
        )


def _openvino_model(encoder: nn.Module, black: NDArray[Any]) -> Any:
    """Translate the encoder; `openvino.convert_model` would report its use as well."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    with _quiet(), torch.no_grad(), no_autocast(torch.device("cpu")):
        example = torch.from_numpy(black[:1])
        decoder = TorchScriptPythonDecoder(encoder, example_input=(example,))
        model = frontend.convert(frontend.load(decoder))
    model.reshape(list(black.shape))
    return model


def _compiled(encoder: nn.Module, device: torch.device, black: NDArray[Any]) -> Engine:
    """Compile, and run once, as the network is compiled at its first call.

    Freezing folds batch normalisation and lays weights out for the processor: it makes
    ResNet-50 in bfloat16 1.7 times as fast as compiling without. It must be on around
    both steps; as an option of `torch.compile` it is passed over.
    """
    from torch._inductor import config

    engine = TorchEngine(torch.compile(encoder, dynamic=False), device)
    with _quiet(), config.patch(freezing=True):
        engine.submit(black)()
    return engine


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what compilers print and warn of from the caller; restore it after."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    with one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        levels = [logger.level for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
