"""Sound in numbers that need no weights: log-mel bands, loudness, onsets, silence."""

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.fft import rfft
from scipy.signal import find_peaks, get_window

RATE = 16_000  # Hz
FRAME, HOP = 400, 160  # samples: 25 ms every 10 ms, as in VGGish
_N_FFT, _N_BANDS = 512, 64
_BAND_HZ = 125.0, 7500.0
_FLOOR_DB = 100.0  # below full scale; 16 bits reach to 98
_SILENT_DB = 40.0  # above the floor, 60 below full scale
_FRAMES_A_BLOCK = 4096  # 40 s: memory does not grow with the sound
_TOP_DB = 60.0  # noise so far below the loudest band makes no onset
_ONSET_DB, _ONSET_GAP = 4.0, 5  # least mean rise of the bands; frames between two

LOGMEL_NAMES = [
    *(f"mel{band}_{what}" for what in ("mean", "std", "slope") for band in range(64)),
    *("loudness", "onset_rate", "silence_share"),
]


def logmel_features(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features of `LOGMEL_NAMES`, of at least one frame of samples.

    Everything in dB is above a floor of 100 dB below full scale, so that digital
    silence is 0.
    """
    frames = sliding_window_view(sound, FRAME)[::HOP]  # (T, 400), no copy
    bands = log_mel(frames)  # (T, 64)
    time = np.arange(len(bands)) - (len(bands) - 1) / 2
    slope = time @ bands / (time @ time or 1) * (len(bands) - 1)  # rise over the sound
    levels = _decibels(np.einsum("tn,tn->t", frames, frames) / FRAME)
    loudness = _decibels(np.mean(sound * sound))
    rest = [loudness, onset_rate(bands), np.mean(levels < _SILENT_DB)]
    found = np.r_[bands.mean(axis=0), bands.std(axis=0), slope, rest]
    return found.astype(np.float32)


def log_mel(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the power of each band in each frame, (T, 64), in dB above the floor."""
    window = get_window("hann", FRAME).astype(np.float32)
    full_scale = (window.sum() / 2) ** 2  # the power of the loudest sine
    blocks = []
    for start in range(0, len(frames), _FRAMES_A_BLOCK):
        spectrum = rfft(frames[start : start + _FRAMES_A_BLOCK] * window, _N_FFT)
        power = spectrum.real**2 + spectrum.imag**2  # (t, 257)
        blocks.append(_decibels(power @ _mel_filters() / full_scale))
    return np.concatenate(blocks)  # (T, 64)


def onset_rate(bands: NDArray[np.float32]) -> float:
    """Return how many sounds a second begin: peaks of the mean rise of the bands."""
    if len(bands) < 2:
        return 0.0
    heard = np.maximum(bands, bands.max() - _TOP_DB)
    rise = np.maximum(np.diff(heard, axis=0), 0).mean(axis=1)  # (T - 1,)
    # The first and last may be peaks, too.
    peaks, _ = find_peaks(np.r_[0, rise, 0], prominence=_ONSET_DB, distance=_ONSET_GAP)
    return len(peaks) * RATE / (HOP * len(bands))


def _decibels(power: ArrayLike) -> NDArray[np.float32]:
    decibels = 10 * np.log10(np.maximum(power, 1e-20)) + _FLOOR_DB
    return np.asarray(np.maximum(decibels, 0), np.float32)


@cache
def _mel_filters() -> NDArray[np.float32]:
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(_N_FFT // 2 + 1, _N_BANDS, *_BAND_HZ, RATE)
    return filters.astype(np.float32)  # (257, 64)
