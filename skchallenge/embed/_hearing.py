"""Models of sound: what they are given, and vectors of windows of it."""

import itertools
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skchallenge._torch import isolated_rng, no_autocast
from skchallenge.embed._backbone import build_called
from skchallenge.embed._keys import network_digest
from skchallenge.embed._logmel import LOGMEL_NAMES, RATE, logmel_features
from skchallenge.embed._pretrained import (
    from_pretrained,
    load_config,
    load_net,
    quiet_transformers,
)

Matrix = NDArray[np.float32]
Samples = NDArray[np.int16]

LEAST_S = 0.1  # sound that is shorter is padded: networks need some samples
USUAL_WINDOW_S = 10.0
_KIND = "a model of sound (AST, CLAP, wav2vec 2, Whisper)"
_CPU = torch.device("cpu")


class SoundFormat(NamedTuple):
    """What a model is given, and how much it gives.

    Attributes
    ----------
    rate : int
        Samples a second.
    longest_s : float or None
        Seconds that it hears at once; None if any number.
    width : int
        Features of a window.
    is_raw : bool
        Whether it is given the samples, not a spectrogram of them.
    """

    rate: int
    longest_s: float | None
    width: int
    is_raw: bool = True


class SoundModel(Protocol):
    """Turns windows of sound into vectors."""

    format: SoundFormat
    is_windowed: bool  # or takes the whole sound, however long

    @property
    def digest(self) -> str:
        """Tell it from other models."""

    def embed(self, windows: Sequence[Samples], batch_size: int) -> Matrix:
        """Return one vector a window, (n, `width`)."""


def cut(sound: Samples, rate: int, window_s: float | None) -> list[Samples]:
    """Cut sound into as few windows as none is longer than `window_s`, of one length.

    So there is no short rest, and the mean over windows is that over time. None is one
    window.
    """
    n_windows = 1 if window_s is None else -(-len(sound) // int(window_s * rate))
    length = max(-(-len(sound) // n_windows), int(LEAST_S * rate))
    padded = np.pad(sound, (0, max(0, n_windows * length - len(sound))))
    return list(padded.reshape(n_windows, length))


def to_float(window: Samples) -> NDArray[np.float32]:
    """Return samples in [-1, 1)."""
    return window.astype(np.float32) / np.float32(2**15)


class LogMel:
    """The features of `_logmel`."""

    format = SoundFormat(RATE, None, len(LOGMEL_NAMES))
    is_windowed = False
    digest = "logmel"

    def embed(self, windows: Sequence[Samples], batch_size: int) -> Matrix:
        """Return one vector a window; there are no batches."""
        return np.array([logmel_features(to_float(window)) for window in windows])


class SoundNetwork:
    """A network on a device; subclasses tell its inputs and its output."""

    net: nn.Module
    format: SoundFormat
    is_windowed = True

    def __init__(self, name: str, device: torch.device) -> None:
        self.name = name
        self.device = device

    @cached_property
    def digest(self) -> str:
        """A digest of all that the network computes with."""
        return network_digest(self.net)

    def embed(self, windows: Sequence[Samples], batch_size: int) -> Matrix:
        """Return one vector a window, (n, `width`).

        What is in a batch has one shape, so nothing is padded for the sake of others.
        """
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        vectors = np.empty((len(windows), self.format.width), np.float32)
        # Feature extractors draw, and make what the caller's defaults of torch say.
        with isolated_rng(_CPU, seed=0), no_autocast(_CPU), no_autocast(self.device):
            inputs = ((i, self.inputs(windows[i])) for i in order)
            for _, alike in itertools.groupby(inputs, key=lambda item: _shape(item[1])):
                while batch := list(itertools.islice(alike, batch_size)):
                    rows = [i for i, _ in batch]
                    joined = {
                        name: torch.cat([one[name] for _, one in batch])
                        for name in batch[0][1]
                    }
                    lengths = [len(windows[i]) for i in rows]
                    vectors[rows] = self.run(joined, lengths)
        return vectors

    def run(self, inputs: dict[str, Tensor], lengths: list[int]) -> Matrix:
        """Pass a batch through the network, (B, ...) -> (B, D)."""
        moved = {name: tensor.to(self.device) for name, tensor in inputs.items()}
        try:
            with torch.inference_mode():
                found = self.forward(moved, lengths)
        except Exception as error:
            raise ValueError(
                f"model={self.name} failed on windows of {lengths[0]} samples at "
                f"{self.format.rate:,} Hz: {error} {self.remedy}"
            ) from error
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found)
        if shape != (len(lengths), self.format.width):
            raise ValueError(
                f"model={self.name} must give vectors of shape "
                f"{(len(lengths), self.format.width)} for {len(lengths)} windows, got "
                f"{shape}. {self.remedy}"
            )
        return found.float().cpu().numpy()

    remedy = ""

    def inputs(self, window: Samples) -> dict[str, Tensor]:
        """Return what the network is given of one window, (1, ...) each."""
        raise NotImplementedError

    def forward(self, inputs: dict[str, Tensor], lengths: list[int]) -> Tensor:
        """Return (B, D) of inputs on the device, of windows of so many samples."""
        raise NotImplementedError


def _shape(inputs: dict[str, Tensor]) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in inputs.values()]


class CalledNetwork(SoundNetwork):
    """The network of a user's function: samples (B, n) -> features (B, d)."""

    remedy = (
        "It must map samples (B, n), float32 in [-1, 1], to features (B, d), for any n "
        "from a tenth of a second to window_s."
    )

    def __init__(
        self,
        function: Callable[[], nn.Module],
        rate: int,
        window_s: float,
        device: torch.device,
    ) -> None:
        super().__init__(repr(function), device)
        with isolated_rng(_CPU, seed=0):
            net = build_called(function, "model")
        self.net = net.eval().requires_grad_(False).to(device)
        silence = torch.zeros(1, int(window_s * rate), device=_CPU, dtype=torch.float32)
        with isolated_rng(_CPU), no_autocast(device), torch.inference_mode():
            try:
                found = self.net(silence.to(device))
            except Exception as error:
                raise ValueError(
                    f"model={self.name} failed on silence of shape "
                    f"{tuple(silence.shape)}: {error} {self.remedy}"
                ) from error
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found)
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != 1:
            raise ValueError(
                f"model={self.name} gave {shape} for one window. {self.remedy}"
            )
        self.format = SoundFormat(rate, None, found.shape[1])

    def inputs(self, window: Samples) -> dict[str, Tensor]:
        """Return the samples, (1, n)."""
        return {"samples": torch.from_numpy(to_float(window))[None]}

    def forward(self, inputs: dict[str, Tensor], lengths: list[int]) -> Tensor:
        """Return (B, D)."""
        return self.net(inputs["samples"])


class PretrainedNetwork(SoundNetwork):
    """A model of transformers with its own feature extractor."""

    net: Any
    remedy = f"Pass {_KIND}, or a function that returns a module."

    def __init__(self, model: str, dtype: torch.dtype, device: torch.device) -> None:
        from transformers import AutoModel

        super().__init__(repr(model), device)
        self.format, self.extractor = pretrained_format(model)
        self.dtype = dtype
        net, _ = load_net(AutoModel, model, dtype, kind=_KIND)
        if net.config.is_encoder_decoder:  # Whisper: it is the encoder that hears
            net = net.get_encoder()
        self.net = net.to(device)

    def inputs(self, window: Samples) -> dict[str, Tensor]:
        """Return what the model's own feature extractor makes of a window.

        It is called for one at a time: some of them draw at random among several.
        """
        made = self.extractor(
            to_float(window), sampling_rate=self.format.rate, return_tensors="pt"
        )
        return {
            name: tensor.to(self.dtype) if tensor.is_floating_point() else tensor
            for name, tensor in made.items()
        }

    def forward(self, inputs: dict[str, Tensor], lengths: list[int]) -> Tensor:
        """Return the model's own vector, or the mean of its states over the sound."""
        if hasattr(self.net, "get_audio_features"):  # CLAP: in the space of its texts
            found: Any = self.net.get_audio_features(**inputs)
            return getattr(found, "pooler_output", found)
        found = self.net(**inputs)
        pooled = getattr(found, "pooler_output", None)
        if pooled is not None:
            return pooled
        states = found.last_hidden_state.float()  # (B, T, D)
        padded_to = getattr(self.extractor, "n_samples", None)  # Whisper: half a minute
        if padded_to is None:
            return states.mean(dim=1)
        n_states = states.shape[1]
        heard = [-(-n_states * length // padded_to) for length in lengths]
        return torch.stack(
            [own[:n].mean(dim=0) for own, n in zip(states, heard, strict=True)]
        )


def pretrained_format(model: str | os.PathLike[str]) -> tuple[SoundFormat, Any]:
    """Return what a model of transformers is given, and its feature extractor.

    Its weights are not loaded.

    Raises
    ------
    ValueError
        If there is no such model, it is none of sound, or its extractor is missing.
    """
    from transformers import (
        FEATURE_EXTRACTOR_MAPPING,
        AutoFeatureExtractor,
        Wav2Vec2FeatureExtractor,
    )

    with quiet_transformers():
        config = load_config(model, kind=_KIND)
        if type(config) not in FEATURE_EXTRACTOR_MAPPING:
            raise ValueError(
                f"model must be {_KIND}, got {os.fspath(model)!r}, a model of type "
                f"{config.model_type!r}, which hears nothing. Texts are for "
                "CaptionEmbedder, pictures for VideoFrameEmbedder."
            )
        try:
            extractor = from_pretrained(AutoFeatureExtractor, model, kind=_KIND)
        except ValueError as error:
            cls = FEATURE_EXTRACTOR_MAPPING[type(config)].__name__
            raise ValueError(
                f"model={os.fspath(model)!r} comes without its feature extractor "
                "(preprocessor_config.json), which tells how to prepare sound. Save "
                f"the one it was trained with beside it: {cls}(...)."
                "save_pretrained(folder)."
            ) from error
    is_clap = config.model_type == "clap"
    width = getattr(config, "projection_dim" if is_clap else "hidden_size", None)
    rate = getattr(extractor, "sampling_rate", None)
    if width is None or rate is None:
        raise ValueError(
            f"model={os.fspath(model)!r}, a model of type {config.model_type!r}, "
            f"states no width or no sampling rate. {PretrainedNetwork.remedy}"
        )
    format = SoundFormat(
        int(rate),
        _longest_s(extractor, rate),
        int(width),
        is_raw=isinstance(extractor, Wav2Vec2FeatureExtractor),
    )
    return format, extractor


def _longest_s(extractor: Any, rate: int) -> float | None:
    """Return the seconds after which an extractor cuts sound off; None if it does not.

    Whisper's and CLAP's count samples, AST's frames of 10 ms.
    """
    for name in ("n_samples", "nb_max_samples"):
        if hasattr(extractor, name):
            return getattr(extractor, name) / rate
    is_ast = type(extractor).__name__ == "ASTFeatureExtractor"
    return extractor.max_length / 100 if is_ast else None
