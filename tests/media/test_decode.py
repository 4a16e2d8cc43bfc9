"""Which frames are taken, from which files, and what is said of bad ones."""

import os
from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest
from av.stream import Disposition
from media.odd_media import with_cover
from media.reading import HERE, read_clip  # test_probe.py compares HERE to workers
from PIL import Image, ImageOps

from skchallenge.exceptions import MediaError
from skchallenge.media import _file, _read
from skchallenge.media._frame_sampling import _packets, frame_positions
from skchallenge.media._read import FILES_IN_MEMORY, read_clips


def full_row(path, n_frames=5, image_size=16):
    clip = read_clip(str(path), n_frames, image_size, HERE)
    assert clip.frames.dtype == np.uint8
    assert len(clip.frames) == len(set(clip.frame_index.tolist()))
    row = clip.frames[clip.frame_index]
    assert row.shape == (n_frames, image_size, image_size, 3)
    return row


def decode_plainly(path):
    """The usual loop: every frame that decodes, errors passed over."""
    numbers = []
    with av.open(str(path)) as container:
        packets = container.demux(video=0)
        while True:
            try:
                for frame in next(packets).decode():
                    numbers.append(frame.to_ndarray(format="rgb24"))
            except StopIteration:
                return numbers
            except av.FFmpegError:
                continue


@pytest.mark.parametrize("n_frames", [1, 2, 7, 50])
@pytest.mark.parametrize("n_decodable", [1, 2, 3, 49, 50, 51, 100, 30_000])
def test_positions_are_the_centres_of_equal_bins(n_decodable, n_frames):
    positions = frame_positions(n_decodable, n_frames)
    exact = [(Fraction(2 * i + 1, 2)) * n_decodable / n_frames for i in range(n_frames)]
    assert positions.tolist() == [int(centre) for centre in exact]
    mirrored = n_decodable - 1 - positions[::-1]  # no end of the video is favoured
    assert np.abs(positions - mirrored).max() <= 1


@pytest.mark.parametrize(
    "name, codec, pix_fmt",
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mkv", "libx264", "yuv420p"),
        ("a.mov", "mjpeg", "yuvj420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.mp4", "libx264", "yuv420p10le"),
    ],
)
def test_the_right_frames_are_taken(tmp_path, media, name, codec, pix_fmt):
    path = tmp_path / name
    media.write_video(path, media.grey_frames(47), codec=codec, pix_fmt=pix_fmt)
    expected = [4, 14, 23, 32, 42]  # floor((i + 0.5) * 47 / 5), by hand
    assert media.frame_numbers(full_row(path)) == expected


def test_matroska_declares_no_frame_count(tmp_path, media):
    path = media.write_video(tmp_path / "a.mkv", media.grey_frames(30))
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 0
    assert media.frame_numbers(full_row(path, n_frames=3)) == [5, 15, 25]


def test_a_wrong_declared_frame_count_is_not_believed(tmp_path, media):
    path = tmp_path / "a.avi"
    media.write_video(path, media.grey_frames(30, step=8), codec="mpeg4")
    data = bytearray(path.read_bytes())
    header = data.index(b"strh")
    data[header + 40 : header + 44] = (1000).to_bytes(4, "little")  # dwLength
    path.write_bytes(data)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 1000
    assert media.frame_numbers(full_row(path, n_frames=3), step=8) == [5, 15, 25]


def test_variable_frame_rate_is_uniform_over_frames(tmp_path, media):
    times = [0, 1, 2, 3, 4, 50, 100, 150, 151, 400]
    frames = media.grey_frames(10, step=20)
    path = media.write_video(tmp_path / "a.mp4", frames, times=times)
    assert media.frame_numbers(full_row(path), step=20) == [1, 3, 5, 7, 9]


def test_short_videos_repeat_frames(tmp_path, media):
    frames = media.grey_frames(3, step=60)
    path = media.write_video(tmp_path / "a.mp4", frames)
    clip = read_clip(str(path), 7, 16)
    assert clip.frame_index.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert media.frame_numbers(clip.frames, step=60) == [0, 1, 2]


def test_a_slide_show_is_a_few_frames(tmp_path, media):
    """Only neighbours that are the same to the bit are one; the row stays as it is."""
    slides = media.grey_frames(3, step=60)
    shown = [slides[i] for i in np.repeat([0, 1, 0, 2], 10)]
    path = media.write_video(
        tmp_path / "a.mp4", shown, codec="mjpeg", pix_fmt="yuvj420p"
    )
    [clip] = read_clips([str(path)], 40, 16, n_threads=1, limits=HERE)
    assert media.frame_numbers(clip.frames, step=60) == [0, 1, 0, 2]
    assert np.array_equal(clip.frames[clip.frame_index], full_row(path, n_frames=40))


def test_one_pixel_makes_another_frame(tmp_path, media):
    frames = np.zeros((4, 16, 16, 3), dtype=np.uint8)
    frames[1:, 1, 1, 2] = 1
    path = tmp_path / "a.mov"
    media.write_video(path, frames, codec="png", pix_fmt="rgb24")
    clip = read_clip(path, 8, 16, HERE)
    assert np.array_equal(clip.frames, frames[:2])
    assert clip.frame_index.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]


def test_a_video_of_one_frame(tmp_path, media):
    path = media.write_video(tmp_path / "a.mp4", media.grey_frames(1))
    assert media.frame_numbers(full_row(path)) == [0] * 5


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.gif", "é %02d:a.png"])
def test_still_images_are_videos_of_one_frame(tmp_path, name):
    colour = (200, 60, 30)
    Image.new("RGB", (50, 30), colour).save(tmp_path / name)
    row = full_row(tmp_path / name)
    assert len(read_clip(str(tmp_path / name), 5, 16).frames) == 1
    assert np.abs(row.astype(int) - colour).max() <= 4


def test_an_animated_gif_is_a_video(tmp_path, media):
    pictures = [Image.fromarray(frame) for frame in media.grey_frames(10, step=20)]
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    assert media.frame_numbers(full_row(path), step=20) == [1, 3, 5, 7, 9]


TURNS = {  # (a, b, c, d) of x' = a x + c y, y' = b x + d y, and the upright picture
    "none": ((1, 0, 0, 1), lambda p: p),
    "quarter counterclockwise": ((0, -1, 1, 0), np.rot90),
    "half": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "quarter clockwise": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "mirror": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "upside down": ((1, 0, 0, -1), lambda p: p[::-1]),
    "transpose": ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_frames_come_out_upright(tmp_path, media, turn):
    (a, b, c, d), upright = TURNS[turn]
    one, unit = 1 << 16, 1 << 30
    matrix = [a * one, b * one, 0, c * one, d * one, 0, 0, 0, unit]
    stored = media.quadrants()
    path = media.write_video(tmp_path / "a.mp4", [stored] * 2, matrix=matrix)
    row = full_row(path, n_frames=1, image_size=64)
    difference = np.abs(row[0].astype(int) - upright(stored))
    assert np.median(difference) <= 6


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_follow_their_exif_orientation(tmp_path, media, orientation, kind):
    exif = Image.Exif()
    exif[0x112] = orientation
    path = tmp_path / f"a.{kind}"
    Image.fromarray(media.quadrants()).save(path, exif=exif, quality=95)
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored)).astype(int)
    row = full_row(path, n_frames=1, image_size=64)
    assert np.median(np.abs(row[0] - expected)) <= 4


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.9])
def test_truncated_files_use_what_decodes(tmp_path, media, kept):
    options = {"movflags": "faststart"}
    whole = tmp_path / "whole.mp4"
    noise = np.random.default_rng(0).integers(0, 100, (47, 64, 64, 3), dtype=np.uint8)
    frames = [f // 2 + n for f, n in zip(media.grey_frames(47), noise, strict=True)]
    media.write_video(whole, frames, options=options)
    data = whole.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: int(len(data) * kept)])
    decodable = decode_plainly(path)
    assert 0 < len(decodable) < 47
    expected = np.stack(decodable)[frame_positions(len(decodable), 5)]
    small = full_row(path, image_size=64)
    assert np.abs(small.astype(int) - expected).mean() < 1


def test_a_damaged_packet_is_passed_over(tmp_path, media):
    path = tmp_path / "a.mov"
    frames = media.grey_frames(11, step=20)
    media.write_video(path, frames, codec="png", pix_fmt="rgb24")
    data = path.read_bytes()
    starts = [i for i in range(len(data)) if data.startswith(b"\x89PNG", i)]
    assert len(starts) == 11
    data = bytearray(data)
    data[starts[4] : starts[4] + 40] = bytes(40)
    path.write_bytes(data)
    assert media.frame_numbers(full_row(path), step=20) == [1, 3, 6, 8, 10]


def test_what_comes_before_a_damaged_end_counts():
    class Container:
        def demux(self, stream):
            yield from (SimpleNamespace(size=3), SimpleNamespace(size=0))
            raise av.error.InvalidDataError(1094995529, "Invalid data")

    assert [packet.size for packet in _packets(Container(), None)] == [3]


def test_cover_art_is_not_the_film(tmp_path, media):
    white = np.full((64, 64, 3), 255, dtype=np.uint8)
    path = with_cover(tmp_path / "a.mp4", white, media.grey_frames(10, step=20))
    with av.open(str(path)) as container:
        kinds = [s.disposition for s in container.streams.video]
    assert sum(bool(kind & Disposition.attached_pic) for kind in kinds) == 1
    assert media.frame_numbers(full_row(path), step=20) == [1, 3, 5, 7, 9]


def test_cover_art_is_better_than_nothing(tmp_path):
    white = np.full((64, 64, 3), 255, dtype=np.uint8)
    path = with_cover(tmp_path / "a.mp4", white)
    assert full_row(path).min() >= 250


def test_only_the_sampled_frames_are_kept(tmp_path, media):
    path = media.write_video(tmp_path / "a.mp4", media.grey_frames(47))
    clip = read_clip(str(path), 5, 16)
    assert clip.frames.nbytes == 5 * 16 * 16 * 3


def bad_text(path, media):
    path.write_text("this is a text, not a film\n" * 100)


def bad_playlist(path, media):
    target = media.write_video(path.with_name("target.mp4"), media.grey_frames(3))
    path.write_text(f"ffconcat version 1.0\nfile {target.name}\n")


def bad_codec(path, media):
    media.write_video(path.with_suffix(".mkv"), media.grey_frames(3))
    data = path.with_suffix(".mkv").read_bytes()
    path.write_bytes(data.replace(b"V_MPEG4/ISO/AVC", b"V_UNKNOWN/1/AVC"))


def bad_pictures(path, media):
    whole = path.with_suffix(".mov")
    frames = media.grey_frames(3)
    media.write_video(whole, frames, codec="png", pix_fmt="rgb24")
    path.write_bytes(whole.read_bytes().replace(b"\x89PNG", b"xxxx"))


def bad_index(path, media):
    media.write_video(path, media.grey_frames(30))
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path, media: None, "cannot be opened .No such file"),
        (lambda path, media: path.mkdir(), "is a directory, not a media file"),
        (lambda path, media: path.touch(), "is empty .0 bytes."),
        (lambda path, media: os.mkfifo(path), "is not a regular file"),
        (lambda path, media: media.write_audio(path), "holds no video stream .audio"),
        (bad_text, "cannot be decoded .Invalid data"),
        (bad_playlist, "cannot be decoded"),
        (bad_codec, "FFmpeg has no decoder"),
        (bad_pictures, "no frame of it decodes .Invalid data"),
        (bad_index, "cannot be decoded .Invalid data"),
    ],
)
def test_bad_files_are_named_with_their_cause(tmp_path, media, make, message):
    path = tmp_path / "bad.mp4"
    make(path, media)
    with pytest.raises(MediaError, match=f"bad.mp4: {message}"):
        read_clip(str(path), 5, 16, HERE)


def test_a_file_that_may_not_be_read(monkeypatch, clip_paths):
    def forbidden(path, flags):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(_file.os, "open", forbidden)
    with pytest.raises(MediaError, match="cannot be opened .Permission denied"):
        read_clip(clip_paths[0], 5, 16, HERE)


def test_a_null_byte_is_no_path():
    with pytest.raises(MediaError, match=r"cannot be opened \(embedded null"):
        read_clip("a\0b.mp4", 5, 16, HERE)


def test_a_link_is_no_path():
    with pytest.raises(MediaError, match="Links are not followed: download it first"):
        read_clip("https://example.org/a.mp4", 5, 16, HERE)


def test_many_files_come_in_order_and_errors_as_values(clip_paths, tmp_path):
    paths = [*clip_paths, str(tmp_path / "missing.mp4"), *clip_paths[::-1]] * 2
    clips = list(read_clips(paths, 4, 16, n_threads=2))
    alone = {p: read_clip(p, 4, 16) for p in clip_paths}
    for path, clip in zip(paths, clips, strict=True):
        if path in alone:
            np.testing.assert_array_equal(clip.frames, alone[path].frames)
        else:
            assert isinstance(clip, MediaError)


def test_ahead_means_beside_the_model_and_changes_no_clip(clip_paths, monkeypatch):
    paths = clip_paths * 4
    plain = [clip.frames for clip in read_clips(paths, 4, 16, n_threads=2)]
    begun, perform = [], _read.perform

    def noting(request, contents):
        begun.append(request["items"])
        return perform(request, contents)

    monkeypatch.setattr(_read, "perform", noting)
    n_begun = []
    clips = read_clips(paths, 4, 16, n_threads=2, limits=HERE, ahead=True)
    for number, clip in enumerate(clips):
        np.testing.assert_array_equal(clip.frames, plain[number])
        n_begun.append(len(begun))
    assert max(n - i for i, n in enumerate(n_begun)) <= FILES_IN_MEMORY
    assert len(begun) == len(paths)


@pytest.mark.parametrize("ahead", [False, True])
def test_what_is_not_wanted_any_more_is_not_read(clip_paths, ahead, monkeypatch):
    begun, perform = [], _read.perform

    def noting(request, contents):
        begun.append(request["items"])
        return perform(request, contents)

    monkeypatch.setattr(_read, "perform", noting)
    clips = read_clips(clip_paths * 100, 4, 16, n_threads=2, limits=HERE, ahead=ahead)
    next(clips)
    clips.close()
    assert len(begun) <= FILES_IN_MEMORY
