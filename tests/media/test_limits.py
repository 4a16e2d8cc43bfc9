"""What a media file may cost."""

import base64
import math
import sys
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from media.qualities import noise, tone, write
from media.reading import HERE, read_clip, read_luma, read_quality

from skchallenge.exceptions import MediaError
from skchallenge.media import _frame_sampling, _quality, _worker
from skchallenge.media._limits import MediaLimits
from skchallenge.media._probe import probe_media
from skchallenge.media._read import read_clips


@pytest.mark.parametrize(
    "limits, message",
    [
        ({"max_pixels": 64 * 64 - 1}, "has 64 x 64 pixels, more than .*=4,095"),
        ({"max_duration_s": 1.5}, "lasts 2 seconds, more than .*max_duration_s=2"),
    ],
)
@pytest.mark.parametrize("timeout_s", [None, 60])
def test_a_file_beyond_a_limit_is_refused(tmp_path, media, limits, message, timeout_s):
    path = str(media.write_video(tmp_path / "a.mp4", media.grey_frames(50)))
    (name,) = limits
    fits = {"max_pixels": 64 * 64, "max_duration_s": 50 / 30}[name]
    assert read_clip(path, 2, 8, MediaLimits(**{name: fits}, timeout_s=timeout_s))
    with pytest.raises(MediaError, match=f"a.mp4: {message}"):
        read_clip(path, 2, 8, MediaLimits(**limits, timeout_s=timeout_s))


@pytest.mark.parametrize(
    "limits, error, message",
    [
        ({"max_pixels": 0}, ValueError, "max_pixels must be positive and finite"),
        ({"max_pixels": 1e6}, TypeError, "max_pixels must be an integer, got 1000000"),
        ({"max_duration_s": math.inf}, ValueError, "max_duration_s must be positive"),
        ({"max_duration_s": "1"}, TypeError, "max_duration_s must be a number"),
        ({"timeout_s": -1}, ValueError, "timeout_s must be positive and finite"),
        ({"timeout_s": math.nan}, ValueError, "timeout_s must be positive and finite"),
        ({"max_memory_bytes": 2e9}, TypeError, "max_memory_bytes must be an integer"),
        (
            {"max_memory_bytes": 1},
            ValueError,
            "must be at least 67,108,864",
        ),
        ({"timeout_s": True}, TypeError, "timeout_s must be a number or None"),
    ],
)
def test_wrong_limits(limits, error, message):
    with pytest.raises(error, match=message):
        MediaLimits(**limits)


def test_limits_are_limits(clip_paths):
    with pytest.raises(TypeError, match="limits must be a MediaLimits or None, got 60"):
        probe_media(clip_paths, limits=60)


def test_limits_take_numbers_of_numpy(clip_paths):
    limits = MediaLimits(np.int64(10_000), np.float32(60), np.float64(60))
    assert (probe_media(clip_paths, limits=limits)["status"] == "ok").all()


def no_time_stamps(path, n_frames=12, seconds_a_frame=40_000):
    """MPEG-TS of H.264 that has frames and a frame rate, but no time stamps."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(1, seconds_a_frame))
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for level in range(n_frames):
            picture = np.full((64, 64, 3), 20 * level, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data, start = bytearray(path.read_bytes()), -1
    while (start := data.find(b"\0\0\1\xe0", start + 1)) >= 0:  # a PES header
        data[start + 7] &= 0x3F  # it has no time stamps
        length = data[start + 8]
        data[start + 9 : start + 9 + length] = b"\xff" * length
    path.write_bytes(data)
    return path


READERS = [
    lambda path, limits: read_clip(path, 3, 8, limits),
    lambda path, limits: read_luma(path, fps=10, size=8, limits=limits),
    lambda path, limits: read_quality(path, limits=limits),
]


@pytest.mark.parametrize("read", READERS)
def test_frames_without_time_stamps_last_as_the_frame_rate_says(tmp_path, read):
    path = no_time_stamps(tmp_path / "a.ts")
    with pytest.raises(MediaError, match="lasts 480,000 seconds, more than MediaLim"):
        read(path, HERE)
    read(no_time_stamps(tmp_path / "b.ts", seconds_a_frame=1), HERE)


def test_the_decoders_times_are_held_to_the_limit_too(tmp_path, monkeypatch):
    """Even if the packets' were within it."""
    path = no_time_stamps(tmp_path / "a.ts")
    for module in (_frame_sampling, _quality):
        monkeypatch.setattr(module, "measure_span", lambda file, limits: (12, None))
    for read in READERS[1:]:
        with pytest.raises(MediaError, match="lasts 40,000 seconds, more than"):
            read(path, HERE)


@pytest.mark.parametrize("jump_s", [1_790, 10**11])
def test_few_frames_far_apart(tmp_path, media, jump_s):
    """Half an hour is legitimate, three thousand years are not."""
    times = [*range(9), jump_s * 30]
    path = media.write_video(tmp_path / "a.mkv", media.grey_frames(10), times=times)
    if jump_s < 3600:
        assert len(read_luma(path, fps=10, size=8)) == pytest.approx(17_900, abs=2)
        assert read_quality(path).duration_s == pytest.approx(1790, abs=1)
    else:
        for read in READERS:
            with pytest.raises(MediaError, match="more than MediaLimits.max_duration"):
                read(path, HERE)


def test_thousands_of_frames_a_second_last_no_longer(tmp_path, media):
    """FFmpeg's detectors count in milliseconds."""
    frames = media.grey_frames(2) * 550
    path = media.write_video(tmp_path / "a.mp4", frames, rate=4000)
    assert read_quality(path).duration_s == pytest.approx(0.275, abs=0.005)
    assert len(read_luma(path, fps=10, size=8)) == 3


def test_sound_is_held_to_the_limit_of_duration(tmp_path):
    path = write(tmp_path / "a.mkv", noise(10), tone(3.0))  # 1 s of frames
    assert read_quality(path).loudness_lufs == pytest.approx(-3, abs=0.1)
    with pytest.raises(
        MediaError, match=r"has sound that lasts longer than MediaL.*=2"
    ):
        read_quality(path, limits=MediaLimits(max_duration_s=2, timeout_s=None))
    read_clip(path, 1, 8, MediaLimits(max_duration_s=2, timeout_s=None))


@pytest.mark.parametrize(
    "suffix, codec", [("h264", "libx264"), ("ts", "libx264"), ("hevc", "libx265")]
)
def test_frames_that_grow_beyond_the_limit_of_pixels_are_not_built(
    tmp_path, media, suffix, codec
):
    small, large = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    media.write_video(small, media.grey_frames(6, step=20), codec=codec)
    media.write_video(large, media.grey_frames(6, step=20, size=256), codec=codec)
    grown = tmp_path / f"c.{suffix}"
    grown.write_bytes(small.read_bytes() + large.read_bytes())
    tight = MediaLimits(max_pixels=64 * 64, timeout_s=None)
    assert probe_media([grown], limits=HERE)["n_frames"].tolist() == [12]
    (n_built,) = probe_media([grown], limits=tight)["n_frames"]
    assert 4 <= n_built <= 6  # HEVC's decoder drops two that it holds back
    [found] = read_clips([str(grown)], n_built, 16, n_threads=1, limits=tight)
    assert media.frame_numbers(found.frames, step=20) == list(range(n_built))


# H.264, 8192 x 8192, 40 frames, of which sixteen refer to each other: 4.6 KB
BOMB = (
    "eNq1mA9sE1Ucx99t3SwMtg4mEhjxhMQQhPZayoLTYtutgSUbnbQDTQzldr3+sX+uu7uxzZDYtxVW/ihT"
    "jJIOw0YJYlhgYBDC1DURTY0hLmZmkBAdSBiIwhAJ0xDxvfaRiS4I8bhcX3+/937v8373fb97aTrL9kMy"
    "ad0EKest9PkVqqw3oNraGg+xsihIAdbajro2wpyZjqiXAvgqvlxc0ymn+mMJrfqJmr6tjgOxx6s+9Dh6"
    "YHfWm+E8GEDe9Zq+bcib5vzc6+hppd7JuqWOPjTYWnzq5ywNOIDyF87n6/7YK18V6BYMHW4rspprom9U"
    "s+s9ZQatHt2MYY3lXl/a23H47eGfvg0W1M481T00dKXaWbk5bj5kzvDwE5nf749pjl7THCR5vzkEKemL"
    "+M0d3pING3e7d0Ew9+iutsawOw7Bpu2rXTW1tuVGXZXDrrOsrmiD1Lwf22J5N8+B4Z290HwCmhMwx3kE"
    "qup643XHIFV3HObUXYXgrio5AHB7DlDW1LI758BsL/reVwxooKK6AcgFFG5KiqY9XRylQJ4vbS1KY5m/"
    "74/tu1bokaQuLhX1phO2ZLttZYW90raqsv0fjysd4VJbufH0veluWzJeWbfK4qyyr6xs38Ew5fg2apm7"
    "F3iy4uNG+0B/7AN57R8jECStb0EAoijZ++WHhrMJomdanp93507FWdvlTy+eWXHs3YWn6TPzrl5rNpQZ"
    "6UU0J4g8rS9bgswVWtSlwwIuMtJIPTTm5jk0UCFEWoK8R6YNDLN4kYEx4GifLEfKdbqmpibter+bF4Js"
    "WCuIXh3man1yKIhihIjsF8JSOc2x9SxnYmiR95j0ZbSbrw8KXMCEnrScodkwG2yReOzRId7k9rO01FiP"
    "LIaOSC0mPW5dotuk12JpUEOH/M2824VheIZLZMNeHnM5nyiEWBeaqqdlkQ8G/RKKWNq81M3JyOAaQqh1"
    "86z7NSHMmwz6hXo97WEl2RWRAv4ImkQADRGX4PFIPJ4k+0Q0QUKDQUEIsD7kuMb7pKCf48c7GDosZpbg"
    "/OhNxmn4wzIvBlkUhPrrg40i2+LihFCEzSSExJFF1h9GCBQosjjGI7IhHqOaeL/XJ0eQFeBb0LBJz9w1"
    "XSF/GLm0xPFhnmvErMx8rInISz4sNWfiRA8dqkdCYCmRYzIs1jJ0A17exGjLkBnBnMw322wqexYZksxH"
    "TEbaH0Gqos1DohvRDjWYmEzJzeDjrXOmlwAVdF+4cOXgiew9mhyEwI3fn2pLolT1zJc2kPuiGQzWgiUl"
    "YOoDOvUb7Jtv/H77z9df2P3NSMZIfgdBGlNrLIkF1OSxdBd4dT6YtQXk74lS+x/M6bFvvr5sHImMYYSl"
    "FhLscwpiRyDVgbEuS6IKWD8zzAdqYEPvpLoL0BSSDMyNgqiqFmjAFnTOFJuBOee/Q3Knn99g/9syIzfG"
    "cP6/kfxfNmcWerjkkROYEJvzEsH6o4piPyHYlpSS2FyaYONRzaFtD8vEzsmx3dNH7qk5jI0R7M4O5bAj"
    "MPcSqY39XRnsA1fAfUImzF9VTfI/3qukLKpegk2nlMTmlRDs6QFFsc0Ee2lYUexZgh0bVQ47CPPN2bOz"
    "E6jXKHV2XoT5ezF1raVTk6H+z4MoEzLBOoPwMTXJnlYue0QNEiqjKHWAUM3KUfdCtRFTSy2dtWrnSqTT"
    "nPP/jkpC9U4cNdvSuS4TNWOCUrgI1bfJpkUe7aZNWkeEiCop76SThNqhJHXyfELtUpS6jVB7FaWOEmpK"
    "SWqBk1AHlDwgCo6TWht+tLU2pZRkP6qkJlOi5AcnUJR6gVA1SlKnriBURY/IqT2EyihZFYWabFUkzI+2"
    "Kgplkn2tkpoUnibUdUpSi54n1IhiVPyHzHv9sV82PjWvb/tHEBzbcgtS11upW6Nw0l+aAQzH"
)


@pytest.fixture
def bomb(tmp_path):
    path = tmp_path / "bomb.mkv"
    path.write_bytes(zlib.decompress(base64.b64decode(BOMB)))
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the system has no such limit")
def test_a_file_that_needs_too_much_memory_is_refused_by_the_system(bomb):
    match = r"needs more memory than MediaLimits.max_memory_bytes=\d.* raise it"
    for read in READERS:
        with pytest.raises(MediaError, match=match):
            read(bomb, MediaLimits(max_memory_bytes=200 * 2**20))
    with pytest.raises(MediaError, match="max_memory_bytes=2,147,483,648"):
        read_clip(bomb, 1, 8)


@pytest.mark.skipif(sys.platform != "linux", reason="the system has no such limit")
def test_the_limit_of_memory_changes_no_frame(bomb, clip_paths):
    """A file is refused, or read as without a limit, never in part."""
    tight = MediaLimits(max_memory_bytes=64 * 2**20)
    for path in clip_paths:
        expected = read_clip(path, 5, 16, HERE)
        np.testing.assert_array_equal(
            read_clip(path, 5, 16, tight).frames, expected.frames
        )
    small = MediaLimits(max_memory_bytes=200 * 2**20)
    found = list(
        read_clips(
            [clip_paths[0], str(bomb), clip_paths[1]], 3, 8, n_threads=1, limits=small
        )
    )
    assert [isinstance(clip, MediaError) for clip in found] == [False, True, False]


def test_memory_that_is_not_there(clip_paths, monkeypatch):
    def starving(*arguments):
        raise MemoryError

    monkeypatch.setattr(_worker, "sample_frames", starving)
    with pytest.raises(MediaError, match="needs more memory to decode than is free"):
        read_clip(clip_paths[0], 3, 8, HERE)
