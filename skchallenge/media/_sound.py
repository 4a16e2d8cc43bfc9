"""From open media files to their sound: one channel, at one rate, in 16 bits."""

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from skchallenge.exceptions import MediaError
from skchallenge.media._frame_sampling import (
    Part,
    decoded_frames,
    media_errors,
    open_container,
)
from skchallenge.media._limits import MediaLimits

Samples = NDArray[np.int16]

# FFmpeg mixes channels into whole numbers so that they cannot overflow: a voice in the
# middle of stereo is as loud as in mono. Into floats it would be 3 dB louder.
_FORMAT = "s16"


def decode_sound(
    parts: Sequence[Part], rate: int, max_s: float, limits: MediaLimits
) -> Samples | None:
    """Decode at most the first `max_s` seconds, mixed to mono and resampled to `rate`.

    The sound of several parts, such as the clips of a post, stands in a row; pixels
    make none. Time stamps are not looked at, so sound may be longer or shorter than the
    picture. Nothing beyond `max_s` is decoded, so how long a file lasts does not
    matter, unless `max_s` is beyond the limit of duration.

    Returns
    -------
    samples : ndarray of shape (n,), dtype int16, or None
        None if no part has sound.

    Raises
    ------
    MediaError
        If none of a part's sound decodes, or there is more of it than `limits` allow;
        states the reason, not the path.
    """
    n_wanted = max(1, round(max_s * rate))
    pieces: list[Samples] = []
    n_samples = 0
    for number, part in enumerate(parts, 1):
        if isinstance(part, np.ndarray):
            continue
        with media_errors(number, len(parts)):
            for piece in _resampled(part, rate, limits):
                pieces.append(piece)
                n_samples += len(piece)
                if n_samples >= n_wanted:
                    return np.concatenate(pieces)[:n_wanted]
                if n_samples > limits.max_duration_s * rate:
                    raise _too_long(limits)
    return np.concatenate(pieces) if pieces else None


def _resampled(file: BinaryIO, rate: int, limits: MediaLimits) -> Iterator[Samples]:
    """Yield the sound of a file in order, a piece a frame that decodes."""
    errors: list[av.FFmpegError] = []
    with open_container(file, limits) as container:
        stream = container.streams.best("audio")
        if stream is None:
            return
        if stream.codec_context is None:
            raise MediaError("FFmpeg has no decoder for its sound.")
        stream.codec_context.thread_count = 1  # more would reserve memory
        frames = decoded_frames(container, stream, errors, limits)
        n_pieces = 0
        for piece in _converted(frames, rate, limits):
            n_pieces += 1
            yield piece
        # Recorders leave a track without a sample where there was no microphone.
        is_declared = bool(errors or stream.frames)
    if not n_pieces and is_declared:
        reason = f" ({errors[-1].strerror})" if errors else ""
        raise MediaError(f"none of its sound decodes{reason}: it is damaged.")


def _converted(
    frames: Iterator[Any], rate: int, limits: MediaLimits
) -> Iterator[Samples]:
    """Mix and resample; what comes in another format needs another resampler."""
    resampler, kind = None, None
    for frame in frames:
        if frame.samples > limits.max_duration_s * frame.sample_rate:
            raise _too_long(limits)
        # A resampler takes frames in a row, whatever a damaged file says of times.
        frame.pts = None
        layout = frame.layout.name, frame.layout.nb_channels
        if kind != (kind := (frame.format.name, *layout, frame.sample_rate)):
            if resampler is not None:
                yield from _pieces(resampler, None)
            resampler = av.AudioResampler(_FORMAT, "mono", rate)
        yield from _pieces(resampler, frame)
    if resampler is not None:
        yield from _pieces(resampler, None)


def _pieces(resampler: Any, frame: Any) -> Iterator[Samples]:
    try:
        converted = resampler.resample(frame)
    except MemoryError:
        raise
    except (av.FFmpegError, ValueError) as error:
        n_channels = "?" if frame is None else frame.layout.nb_channels
        raise MediaError(
            f"its sound of {n_channels} channels cannot be mixed to one ({error})."
        ) from error
    for part in converted:
        if part.samples:
            yield part.to_ndarray()[0]  # (1, n) -> (n,)


def _too_long(limits: MediaLimits) -> MediaError:
    return MediaError(
        "has sound that lasts longer than "
        f"MediaLimits.max_duration_s={limits.max_duration_s:,.0f}."
    )
