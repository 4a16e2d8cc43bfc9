"""Ways to run a frozen network on batches of frames: torch, compiled, OpenVINO."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from skchallenge._optional import import_optional
from skchallenge._torch import no_autocast, one_at_a_time
from skchallenge.embed._backbone import FrameEncoder

Matrix = NDArray[np.float32]
Pending = Callable[[], Matrix]
Compile = bool | Literal["auto", "openvino"]

# Operations after which a compilation, half a minute to a minute, has paid twice:
# 12,000 frames of ResNet-50 on a CPU, or 600,000 on a GPU.
_REPAYING_FLOPS = {"cpu": 1e14, "cuda": 5e15}
_NOISY = ("torch._dynamo", "torch._inductor", "torch.utils.cpp_extension")


class Engine(Protocol):
    """Runs batches of one shape; `n_pending` may be under way when one is started."""

    n_pending: int

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        """Start a (B, H, W, 3) batch; call what is returned, in order, for (B, D)."""


def make_engine(
    encoder: FrameEncoder,
    device: torch.device,
    dtype: torch.dtype,
    *,
    compile: bool | Literal["openvino"],
    shape: tuple[int, int],
    fall_back: bool,
) -> Engine:
    """Return the engine that `compile` asks for.

    Parameters
    ----------
    encoder : FrameEncoder
        On `device`, of type `dtype`; for OpenVINO on the CPU and of type float32.
    device : torch.device
    dtype : torch.dtype
        In which OpenVINO computes.
    compile : bool or "openvino"
    shape : tuple of int
        Frames a batch, and their height and width.
    fall_back : bool
        Run as it is what does not compile.

    Raises
    ------
    ImportError
        If OpenVINO is asked for and not installed.
    RuntimeError
        If compilation is asked for and fails.
    """
    black = _black(*shape)
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


def may_repay(device: torch.device, n_frames: int, flops: float) -> bool:
    """Tell whether `n_frames` of so many operations are worth a compilation."""
    return n_frames * flops >= _REPAYING_FLOPS.get(device.type, float("inf"))


def flops_of(encoder: FrameEncoder, device: torch.device, image_size: int) -> float:
    """Count the operations of a frame; 0 where that fails, as compiling would."""
    from torch.utils.flop_counter import FlopCounterMode

    black = torch.from_numpy(_black(1, image_size)).to(device)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            encoder(black)
    except Exception:
        return 0.0
    return counter.get_total_flops()


def _black(n_frames: int, image_size: int) -> NDArray[np.uint8]:
    return np.zeros((n_frames, image_size, image_size, 3), dtype=np.uint8)


class TorchEngine:
    """Runs the encoder, or a compiled form of it, on its device."""

    def __init__(
        self, run: Callable[[torch.Tensor], torch.Tensor], device: torch.device
    ) -> None:
        self.run = run
        self.device = device
        self.n_pending = 0 if device.type == "cpu" else 1

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
        """Start a batch; on a CPU it is done at once."""
        if self.device.type == "cuda":
            return self._submit_to_cuda(frames)
        with torch.no_grad(), no_autocast(self.device):
            features = self.run(torch.from_numpy(frames).to(self.device))  # (B, D)
        return lambda: features.cpu().numpy()

    def _submit_to_cuda(self, frames: NDArray[np.uint8]) -> Pending:
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
        self, encoder: FrameEncoder, dtype: torch.dtype, black: NDArray[np.uint8]
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

    def submit(self, frames: NDArray[np.uint8]) -> Pending:
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


def _openvino_model(encoder: FrameEncoder, black: NDArray[np.uint8]) -> Any:
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


def _compiled(
    encoder: FrameEncoder, device: torch.device, black: NDArray[np.uint8]
) -> Engine:
    # Freezing folds batch normalisation and lays weights out for the processor.
    run = torch.compile(encoder, dynamic=False, options={"freezing": True})
    engine = TorchEngine(run, device)
    with _quiet():
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
