"""What a media file may cost before it is refused."""

import math
from dataclasses import dataclass
from numbers import Integral, Real

_LEAST_MEMORY_BYTES = 64 * 2**20  # a small video takes some 20 MB


@dataclass(frozen=True)
class MediaLimits:
    """Limits of one media file; a file beyond one of them is a bad file.

    Parameters
    ----------
    max_pixels : int, default=67_108_864
        Pixels (width times height) of a frame. A larger frame is refused from its
        header, before it is decoded; in the midst of a video it is passed over, as one
        that is damaged. The default, 8192 x 8192, lets 8K video pass.
    max_duration_s : float, default=3600.0
        Seconds from the first frame to the end of the last one. They are measured by
        the time stamps of all frames, not taken from the file's header. Where frames
        have no time stamps, their number and the declared frame rate count. Where
        sound is measured or embedded, what is read of it may last no longer either.
    timeout_s : float or None, default=120.0
        Seconds to decode one file. Files are decoded in worker processes; one that
        is not ready in time is ended, and one that a file makes crash is replaced:
        neither stops the run. With None, files are decoded in threads of this process,
        without a time limit, and a decoder that crashes takes the process down.
    max_memory_bytes : int, default=2_147_483_648
        Bytes of memory that decoding one file may take. A file that needs more is
        refused by the system, which counts the worker's address space beyond that of
        an idle one. On macOS and Windows, where the system does not, and with
        ``timeout_s=None``, pixels and duration alone bound memory.

    Raises
    ------
    TypeError
        If a limit is no number.
    ValueError
        If a limit is not positive and finite, or `max_memory_bytes` is below 64 MiB.

    See Also
    --------
    probe_media : Tell which files are within the limits.
    VideoFrameEmbedder : Embeds the files.
    AudioEmbedder : Embeds their sound.

    Notes
    -----
    A worker process imports no torch, so it starts at once; there is one for each file
    that is decoded at the same time, and they end with the call.

    The memory of a decoder grows with `max_pixels`: it may hold some twenty frames.
    8K video (8192 x 4320; H.264, HEVC in 10 bits, VP9, AV1 in 10 bits) took 0.9 to
    1.3 GB. Frames of 8192 x 8192 of which sixteen refer to each other take 2.5 GB: they
    are refused unless `max_memory_bytes` is raised.

    Examples
    --------
    >>> from skchallenge.embed import MediaLimits
    >>> MediaLimits(max_duration_s=7200)
    MediaLimits(max_pixels=67108864, max_duration_s=7200, timeout_s=120.0,
                max_memory_bytes=2147483648)
    """

    max_pixels: int = 8192 * 8192
    max_duration_s: float = 3600.0
    timeout_s: float | None = 120.0
    max_memory_bytes: int = 2 * 2**30

    def __post_init__(self) -> None:
        _check_limit("max_pixels", self.max_pixels, Integral, "an integer")
        _check_limit("max_duration_s", self.max_duration_s, Real, "a number")
        if self.timeout_s is not None:
            _check_limit("timeout_s", self.timeout_s, Real, "a number or None")
        _check_limit("max_memory_bytes", self.max_memory_bytes, Integral, "an integer")
        if self.max_memory_bytes < _LEAST_MEMORY_BYTES:
            raise ValueError(
                f"max_memory_bytes must be at least {_LEAST_MEMORY_BYTES:,}, what a "
                f"decoder needs for any file, got {self.max_memory_bytes!r}."
            )


def check_limits(limits: object) -> None:
    """Raise unless `limits` are limits, or None."""
    if limits is not None and not isinstance(limits, MediaLimits):
        raise TypeError(f"limits must be a MediaLimits or None, got {limits!r}.")


def _check_limit(name: str, value: object, kind: type, wanted: str) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{name} must be {wanted}, got {value!r}.")
    if not 0 < float(value) < math.inf:  # type: ignore[arg-type]  # a Real
        raise ValueError(f"{name} must be positive and finite, got {value!r}.")
