"""One file read as the readers of many files read it."""

from skchallenge.exceptions import MediaError
from skchallenge.media._limits import MediaLimits
from skchallenge.media._read import read_clips, read_luma_thumbnails, read_qualities

HERE = MediaLimits(timeout_s=None)  # decode in this process


def only(results):
    """Return the one result, or raise its error."""
    [result] = results
    if isinstance(result, MediaError):
        raise result
    return result


def read_clip(path, n_frames, image_size, limits=None):
    return only(
        read_clips([str(path)], n_frames, image_size, n_threads=1, limits=limits)
    )


def read_luma(path, *, fps, size, limits=HERE):
    thumbnails = read_luma_thumbnails(
        [str(path)], fps=fps, size=size, n_threads=1, limits=limits
    )
    return only(thumbnails).luma


def read_quality(path, *, limits=HERE):
    return only(read_qualities([str(path)], n_threads=1, limits=limits))
