"""What turns media files into vectors: parameters without weights, and a network."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, tee
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from skchallenge._locks import ForkSafeLock
from skchallenge._torch import isolated_rng, resolve_device
from skchallenge.embed._backbone import (
    Backbone,
    FrameEncoder,
    Weights,
    build_backbone,
    is_weights_path,
    named_width,
    probe_width,
)
from skchallenge.embed._batches import encode_clips
from skchallenge.embed._built import Built
from skchallenge.embed._engine import (
    Compile,
    Engine,
    check_openvino,
    flops_of,
    make_engine,
    may_repay,
)
from skchallenge.embed._fold import fold_batch_norms
from skchallenge.embed._identity import (
    network_digest,
    tensors_digest,
    weights_identity,
)
from skchallenge.embed._keys import stamp_of
from skchallenge.exceptions import MediaError
from skchallenge.media._file import absolute
from skchallenge.media._limits import MediaLimits
from skchallenge.media._read import read_clips

Matrix = NDArray[np.float32]

POOLING: dict[str, Callable[[Matrix], Matrix]] = {
    "mean": lambda features: features.mean(axis=0),
    "max": lambda features: features.max(axis=0),
    "concat": lambda features: features.ravel(),
}
_MOST_FLOPS = 1e12  # of a frame: no network does more
_FRAMES_A_BATCH = {"cuda": 64}  # "auto"; elsewhere 16 frames, the best of a CPU


class FrameNetwork:
    """A frame encoder, and the engines that were made of it."""

    def __init__(self, encoder: FrameEncoder) -> None:
        self.encoder = encoder
        self._engines: dict[object, Engine] = {}
        self._flops: float | None = None  # of a frame
        self._mutex = ForkSafeLock()

    def digest(self) -> str:
        """Return a digest of all that the network computes with."""
        return network_digest(self.encoder)

    def tensors_digest(self) -> str:
        """Return a digest of its weights alone."""
        return tensors_digest(self.encoder)

    def repays_compiling(
        self, device: torch.device, image_size: int, n_frames: int
    ) -> bool:
        """Tell whether so many frames take so long that compiling is worth it."""
        if not may_repay(device, n_frames, _MOST_FLOPS):
            return False
        with self._mutex:
            if self._flops is None:
                self._flops = flops_of(self.encoder, device, image_size)
        return may_repay(device, n_frames, self._flops)

    def engine(self, key: object, make: Callable[[], Engine]) -> Engine:
        """Return the engine for `key`, which is made once."""
        with self._mutex:
            if key not in self._engines:
                self._engines[key] = make()
            return self._engines[key]


@dataclass(frozen=True)
class FrameModel:
    """The parameters of a video embedder; it pickles to any machine.

    Attributes
    ----------
    device : str or torch.device
        ``"auto"`` is resolved where the model runs.
    dtype : torch.dtype
        Resolved where the estimator is: it shapes the vectors.

    token : str
        Names the network, in all processes.

    The others are as in `VideoFrameEmbedder`.
    """

    token: str
    backbone: Backbone
    weights: Weights
    n_frames: int
    image_size: int
    pooling: str
    dtype: torch.dtype
    device: str | torch.device
    batch_size: int | str
    compile: Compile
    limits: MediaLimits | None

    def network(self, built: Built) -> FrameNetwork:
        """Return the network, built anew only if a parameter of it has changed."""

        def build() -> FrameNetwork:
            net = build_backbone(self.backbone, self.weights, self.image_size)
            dtype = network_dtype(self.compile, self.dtype)
            with isolated_rng(torch.device("cpu")):  # for the defaults
                if isinstance(self.backbone, str) and dtype == torch.float32:
                    net = fold_batch_norms(net)
                encoder = FrameEncoder(net, dtype)
            return FrameNetwork(encoder.to(self._device()))

        return built.get(self.token, build)

    def width(self, built: Built) -> int:
        """Return the number of features of a frame; named weights are not opened."""
        if isinstance(self.backbone, str):
            return named_width(self.backbone, self.weights, self.image_size)
        shape = (1, self.image_size, self.image_size, 3)
        black = torch.zeros(shape, dtype=torch.uint8, device=self._device())
        return probe_width(self.network(built).encoder, black, repr(self.backbone))

    def weights_here(self, built: Built) -> dict[str, str]:
        """Tell which weights this process has; without loading, where that goes."""
        found = None
        if isinstance(self.backbone, str):
            found = weights_identity(None, self.backbone, self.weights)
        if found is None:
            self.network(built)
            found = built.digest(FrameNetwork.tensors_digest)
        return {f"weights={str(self.weights)!r}": found}

    def _device(self) -> torch.device:
        return device_of(self.device, self.compile)

    def embed(
        self, groups: Iterable[list[str]], n_files: int, built: Built
    ) -> Iterator[tuple[str, Matrix | MediaError]]:
        """Yield each path with its pooled vector; groups are taken when needed.

        `n_files` is how many there may be.
        """
        device = self._device()
        batch_size = self._frames_a_batch(device)
        engine = self._engine(built, n_files)
        to_read, to_name = tee(chain.from_iterable(groups))
        clips = read_clips(
            to_read,
            self.n_frames,
            self.image_size,
            n_threads=torch.get_num_threads(),
            limits=self.limits,
            ahead=device.type != "cpu",
        )
        pool = POOLING[self.pooling]
        features = encode_clips(clips, engine, batch_size)
        for path, frames in zip(to_name, features, strict=True):
            yield path, frames if isinstance(frames, MediaError) else pool(frames)

    def _frames_a_batch(self, device: torch.device) -> int:
        if isinstance(self.batch_size, str):
            return _FRAMES_A_BATCH.get(device.type, 16)
        return self.batch_size

    def _engine(self, built: Built, n_files: int) -> Engine:
        device, network = self._device(), self.network(built)
        kind = self.compile
        if kind == "auto":
            n_frames = n_files * self.n_frames
            kind = network.repays_compiling(device, self.image_size, n_frames)
        shape = (self._frames_a_batch(device), self.image_size)
        make = partial(
            make_engine,
            network.encoder,
            device,
            self.dtype,
            compile=kind,
            shape=shape,
            fall_back=self.compile == "auto",
        )
        key = (kind, shape, self.dtype, torch.get_num_threads())
        return network.engine(key, make)


def check_compile(compile: object, device: str | torch.device) -> None:
    """Raise unless `compile` is one of its options, and can be had."""
    if not (isinstance(compile, bool) or compile in ("auto", "openvino")):
        raise ValueError(
            f"compile must be 'auto', True, False or 'openvino', got {compile!r}."
        )
    if compile == "openvino":
        check_openvino(device_of(device, compile))


def device_of(device: str | torch.device, compile: object) -> torch.device:
    """Resolve ``"auto"``: OpenVINO runs on the CPU, whatever else there is."""
    is_free = device == "auto" and compile == "openvino"
    return resolve_device("cpu" if is_free else device)


def network_dtype(compile: Compile, dtype: torch.dtype) -> torch.dtype:
    """Return the type of the network's weights; OpenVINO casts by itself."""
    return torch.float32 if compile == "openvino" else dtype


def bound_weights(weights: Weights) -> Weights:
    """Bind a path to the folder of the moment: workers may be in another one."""
    return Path(absolute(str(weights))) if is_weights_path(weights) else weights


def network_key(
    backbone: Backbone,
    weights: Weights,
    image_size: int,
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[object, ...]:
    """Return all that a network is built from; a file of weights with its stamp."""
    file = stamp_of(str(weights)) if is_weights_path(weights) else None
    return backbone, weights, file, image_size, dtype, device
