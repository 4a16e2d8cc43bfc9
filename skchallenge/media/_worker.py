"""What is done with one item, a media file or several, and the process that does it.

A decoder may hang, crash, or take all memory. So it runs in a process apart, which
`_read` starts as ``python -m skchallenge.media._worker``; it imports no torch. Messages
are lines of JSON, and bytes after them: unpickling would run what a decoder that was
taken over by a file sends.
"""

import contextlib
import faulthandler
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from skchallenge.exceptions import MediaError
from skchallenge.media._file import hash_open, open_media_file, stat_of_open
from skchallenge.media._frame_sampling import (
    Part,
    first_frame,
    luma_thumbnails,
    media_errors,
    sample_frames,
)
from skchallenge.media._limits import MediaLimits
from skchallenge.media._quality import measure_quality
from skchallenge.media._sound import decode_sound

Message = dict[str, Any]
Buffer = bytes | bytearray | memoryview
Reply = tuple[Message, Buffer]
READY = b"skchallenge decodes\n"  # a line, after all that libraries print at import
_LONGEST_LINE = 2**24  # bytes; the numbers of a million frames take half of it
_SIDE = 32  # a file that is probed must also be possible to convert, to this size


def _clip(
    parts: Sequence[Part], limits: MediaLimits, n_frames: int, image_size: int | None
) -> tuple[Message, NDArray[np.uint8]]:
    frames, frame_index, _ = sample_frames(parts, n_frames, image_size, limits)
    header = {"frame_index": frame_index.tolist()}
    if image_size is not None:
        return header, np.stack(frames)
    header["shapes"] = [frame.shape for frame in frames]
    return header, np.concatenate([frame.ravel() for frame in frames])


def _first_frame(
    parts: Sequence[Part], limits: MediaLimits, image_size: int
) -> tuple[Message, NDArray[np.uint8]]:
    return {}, first_frame(parts[0], image_size, limits)


def _luma(
    parts: Sequence[BinaryIO], limits: MediaLimits, fps: float, size: int
) -> tuple[Message, NDArray[np.uint8]]:
    luma, aspect = luma_thumbnails(parts[0], fps, size, limits)
    return {"aspect": aspect}, luma


def _metadata(parts: Sequence[Part], limits: MediaLimits) -> tuple[Message, None]:
    return asdict(sample_frames(parts, 1, _SIDE, limits)[2]), None


def _quality(parts: Sequence[BinaryIO], limits: MediaLimits) -> tuple[Message, None]:
    return measure_quality(parts[0], limits)._asdict(), None


def _sound(
    parts: Sequence[Part], limits: MediaLimits, rate: int, max_s: float
) -> tuple[Message, NDArray[np.int16] | None]:
    samples = decode_sound(parts, rate, max_s, limits)
    return {"has_sound": samples is not None}, samples


_TASKS: dict[str, Callable[..., tuple[Message, NDArray[Any] | None]]] = {
    "clip": _clip,
    "first_frame": _first_frame,
    "luma": _luma,
    "metadata": _metadata,
    "quality": _quality,
    "sound": _sound,
}


def perform(request: Message, contents: Sequence[Buffer] = ()) -> Reply:
    """Do a task with an item: in a worker process, or in a thread of the caller's.

    Parameters
    ----------
    request : dict
        ``"task"`` and its ``"settings"``, ``"limits"``, ``"hashed"``, and ``"items"``:
        of a file its ``"path"``; of what is in memory its ``"digest"`` in hex and, if
        it is pixels, their ``"shape"``.
    contents : sequence of bytes-like
        What is in memory, in order.

    Returns
    -------
    reply : tuple of dict and bytes
        With ``"hashed"``, ``"digests"`` are the items', in order. A file is opened
        once: what is hashed is what is decoded, also where a link is changed meanwhile.

    Raises
    ------
    MediaError
        If an item is bad; states the reason, not the path.
    MemoryError
        If there is not enough memory.
    """
    limits, items = MediaLimits(**request["limits"]), request["items"]
    in_memory = iter(contents)
    parts: list[Any] = []
    digests: list[str | None] = []
    with contextlib.ExitStack() as stack:
        stats = []  # of files, before they are read
        for number, item in enumerate(items, 1):
            digests.append(item.get("digest"))
            if "path" not in item:
                content = next(in_memory)
                if "shape" in item:
                    pixels = np.frombuffer(content, np.uint8).reshape(item["shape"])
                    parts.append(pixels)
                else:
                    parts.append(io.BytesIO(content))  # of bytes, it is no copy
                continue
            with media_errors(number, len(items)):
                file = stack.enter_context(open_media_file(item["path"]))
                stats.append((file, stat_of_open(file)))
                parts.append(file)
                if request["hashed"]:
                    digest = hash_open(file, timeout_s=None)
                    digests[-1] = None if digest is None else digest.hex()
        with media_errors():
            task = _TASKS[request["task"]]
            header, array = task(parts, limits, **request["settings"])
        if any(stat_of_open(file) != before for file, before in stats):
            raise MediaError(
                "was changed while it was read. Try again when it is complete."
            )
    if request["hashed"]:
        header["digests"] = digests
    return header, b"" if array is None else np.ascontiguousarray(array).data.cast("B")


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until there are no more."""
    replies.write(b"\n" + READY)
    replies.flush()
    for line in requests:  # it ends with the process that asks
        request = json.loads(line)
        payload: Buffer = b""
        is_worn = False
        try:
            contents = [requests.read(n) for n in request.pop("n_bytes")]
            # That process may be killed while a file hangs here: then end by the clock,
            # which needs no lock that a decoder may hold.
            faulthandler.dump_traceback_later(request.pop("give_up_s"), exit=True)
            header, payload = perform(request, contents)
        except MediaError as error:
            header = {"error": str(error)}
        except MemoryError:
            header = {"error": _out_of_memory(request["limits"])}
            is_worn = True  # FFmpeg may have left some of it behind
        except Exception as error:  # of any kind: the caller must hear of it
            reason = f"{type(error).__name__}: {error}"
            header = {"crash": f"crashes the decoder ({reason})."}
        faulthandler.cancel_dump_traceback_later()
        write_message(replies, header, payload)
        if is_worn:
            return


def _out_of_memory(limits: Message) -> str:
    most = limits["max_memory_bytes"]
    return (
        f"needs more memory than MediaLimits.max_memory_bytes={most:,} to decode. "
        "If it is sound, raise it."
    )


def write_message(pipe: BinaryIO, header: Message, payload: Buffer = b"") -> None:
    """Send a message and the bytes that belong to it."""
    line = json.dumps({**header, "n_bytes": len(payload)})
    pipe.write(line.encode() + b"\n")
    pipe.write(payload)
    pipe.flush()


def read_message(pipe: BinaryIO, max_bytes: int) -> Reply | None:
    """Return what `write_message` sent; None if it was cut short or is no message.

    A decoder that a file has taken over may send whatever it likes. It must not take
    more memory here than it may have itself: neither by a line nor by its bytes.
    """
    line = pipe.readline(_LONGEST_LINE)
    try:
        header = json.loads(line)
        n_bytes = header.pop("n_bytes")
    except (ValueError, RecursionError, AttributeError, LookupError, TypeError):
        return None
    if type(n_bytes) is not int or not 0 <= n_bytes <= max_bytes:
        return None
    payload = bytearray(n_bytes)
    n_read = pipe.readinto(payload)  # type: ignore[attr-defined]  # buffered: it has
    return (header, payload) if n_read == len(payload) else None


def _limit_memory(max_bytes: int) -> None:
    """Have the system refuse more memory than so many bytes beyond those in use.

    It counts address space. macOS knows the limit by name only, Windows not at all.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as file:
            in_use = int(file.read().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = in_use + max_bytes
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def main() -> None:
    """Serve the process that started this one, by its pipes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller
    # What a library prints, or reads, must not be taken for a message.
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    _limit_memory(int(sys.argv[1]))
    serve(requests, replies)


if __name__ == "__main__":
    main()
