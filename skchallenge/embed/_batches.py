"""Frames to features, in batches that run across files."""

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skchallenge.embed._frames import Clip

Matrix = NDArray[np.float32]


def encode_clips(
    clips: Iterable[Clip],
    encoder: nn.Module,
    batch_size: int,
    device: torch.device,
) -> Iterator[Matrix]:
    """Yield one (n_frames, D) matrix a clip; batches run across clips.

    All batches have the same size, the last one by padding, so that a frame's features
    do not depend on how many frames there are.
    """
    waiting: deque[Clip] = deque()  # clips whose features are not all there
    frames: list[NDArray[np.uint8]] = []  # single frames, not yet encoded
    features: list[Matrix] = []  # one (D,) vector a frame, not yet given out
    for clip in clips:
        waiting.append(clip)
        frames.extend(clip.frames)
        while len(frames) >= batch_size:
            features.extend(_encode(frames[:batch_size], encoder, device))
            del frames[:batch_size]
        while waiting and len(features) >= len(waiting[0].frames):
            yield _take(waiting.popleft(), features)
    if frames:
        padded = frames + frames[-1:] * (batch_size - len(frames))
        features.extend(_encode(padded, encoder, device)[: len(frames)])
    while waiting:
        yield _take(waiting.popleft(), features)


def _encode(
    frames: list[NDArray[np.uint8]], encoder: nn.Module, device: torch.device
) -> Matrix:
    with torch.inference_mode():
        batch = torch.from_numpy(np.stack(frames)).to(device)  # (B, H, W, 3)
        return encoder(batch).cpu().numpy()  # (B, D)


def _take(clip: Clip, features: list[Matrix]) -> Matrix:
    """Remove a clip's features from the front and put one in each of its slots."""
    distinct = np.stack(features[: len(clip.frames)])
    del features[: len(clip.frames)]
    return distinct[clip.slots]  # (k, D) -> (n_frames, D)
