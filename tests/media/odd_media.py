"""A corpus of odd and bad media: one small file a kind, and what becomes of it.

`make_corpus` writes the files; `ODD_MEDIA` says of each kind whether it is embedded
(how many frames, of what size) or why it is refused. Encoders that this build of PyAV
lacks are listed by `make_corpus`, not passed over in silence.
"""

import os
import struct
import wave
import zlib
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
from av.stream import Disposition
from PIL import Image, features

PILLOWS_AVIF = "avif of Pillow"
ENDED = "Invalid data found when processing input"
KINDS = {}


class Kind(NamedTuple):
    """A maker of one file, and the outcome: frames and size, or a reason."""

    make: object  # folder -> path
    encoder: str | None
    n_frames: int | None
    size: tuple[int, int] | None
    reason: str | None
    media: str | None


def ok(n_frames, size=(64, 48), *, encoder=None, media="video"):
    """Register a kind that is embedded; `n_frames` None is any number above zero."""
    return _register(encoder, n_frames, size, None, media)


def bad(reason, *, encoder=None):
    """Register a kind that is refused; `reason` is searched for in the message."""
    return _register(encoder, None, None, reason, None)


def _register(*outcome):
    def register(make):
        name = make.__name__.replace("_", " ")
        KINDS[name] = Kind(make, *outcome)
        return make

    return register


def make_corpus(folder):
    """Return {kind: path} of the files made, and {kind: encoder} of those that cannot.

    The folder must be empty.
    """
    paths, lacking = {}, {}
    for name, kind in KINDS.items():
        if kind.encoder and not has_encoder(kind.encoder):
            lacking[name] = kind.encoder
            continue
        place = folder / name
        place.mkdir()
        paths[name] = str(kind.make(place))
    return paths, lacking


def has_encoder(name):
    if name == PILLOWS_AVIF:
        return features.check("avif")
    try:
        av.codec.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def pictures(n, size=(64, 48)):
    """A gradient with a bright bar that moves; every frame differs."""
    width, height = size
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    frame[..., 0] = np.linspace(0, 200, width, dtype=np.uint8)
    frame[..., 1] = np.linspace(0, 200, height, dtype=np.uint8)[:, None]
    frames = []
    for number in range(n):
        moved = frame.copy()
        moved[:, number * width // n : number * width // n + max(1, width // 8)] = 250
        frames.append(moved)
    return frames


def write(
    path,
    n=12,
    *,
    size=(64, 48),
    codec="libx264",
    pix_fmt="yuv420p",
    times=None,
    matrix=None,
    options=None,
    muxer=None,
    alpha=False,
    interlaced=False,
):
    """Encode `n` pictures; the container follows the name of `path`."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=30, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.time_base = Fraction(1, 30)
        if matrix:
            stream.set_display_matrix(matrix)
        for number, picture in enumerate(pictures(n, size)):
            if alpha:
                picture = np.dstack([picture, picture[..., 0]])
            frame = av.VideoFrame.from_ndarray(
                picture, format="rgba" if alpha else "rgb24"
            )
            frame = frame.reformat(format=pix_fmt)
            frame.pts = number if times is None else times[number]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def animate(path, n=12, mode="RGB", **options):
    first, *others = [Image.fromarray(p).convert(mode) for p in pictures(n)]
    first.save(path, save_all=True, append_images=others, duration=50, **options)
    return path


def still(path, size=(64, 48), mode="RGB", **options):
    Image.fromarray(pictures(1, size)[0]).convert(mode).save(path, **options)
    return path


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def patch(path, old, new):
    data = path.read_bytes()
    assert old in data, f"{path.name} has no {old!r}"
    path.write_bytes(data.replace(old, new))
    return path


def patch_at(path, tag, offset, value):
    """Overwrite bytes at `offset` behind the first `tag`."""
    data = bytearray(path.read_bytes())
    start = data.index(tag) + len(tag) + offset
    data[start : start + len(value)] = value
    path.write_bytes(data)
    return path


def png_chunk(tag, data):
    return (
        struct.pack(">I", len(data))
        + tag
        + data
        + struct.pack(">I", zlib.crc32(tag + data))
    )


def png_bomb(path, side):
    """Write a black square that compresses a thousand times."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows + packer.flush()), (b"IEND", b"")]
    body = b"".join(png_chunk(tag, data) for tag, data in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


# Codecs and containers


@ok(12)
def h264_mp4(folder):
    return write(folder / "a.mp4")


@ok(12)
def h264_mkv(folder):
    return write(folder / "a.mkv")


@ok(12)
def h264_transport_stream(folder):
    return write(folder / "a.ts")


@ok(12)
def h264_raw_stream(folder):
    return write(folder / "a.h264")


@ok(12)
def h264_fragmented_mp4(folder):
    return write(folder / "a.mp4", muxer={"movflags": "frag_keyframe+empty_moov"})


@ok(12, encoder="libx265")
def hevc_mp4(folder):
    quiet = {"x265-params": "log-level=none:pools=none"}
    return write(folder / "a.mp4", codec="libx265", options=quiet)


@ok(12, encoder="libvpx")
def vp8_webm(folder):
    return write(folder / "a.webm", codec="libvpx")


@ok(12, encoder="libvpx-vp9")
def vp9_webm(folder):
    return write(folder / "a.webm", codec="libvpx-vp9")


@ok(12, (64, 64), encoder="libsvtav1")
def av1_mp4(folder):
    return write(
        folder / "a.mp4", size=(64, 64), codec="libsvtav1", options={"preset": "12"}
    )


@ok(12)
def mjpeg_avi(folder):
    return write(folder / "a.avi", codec="mjpeg", pix_fmt="yuvj420p")


@ok(12)
def mpeg4_avi(folder):
    return write(folder / "a.avi", codec="mpeg4")


@ok(12)
def animated_gif(folder):
    return animate(folder / "a.gif")


@ok(12)
def animated_png(folder):
    return animate(folder / "a.png")


@ok(1, media="image")
def gif_picture(folder):
    return still(folder / "a.gif")


@ok(1, media="image")
def png_picture(folder):
    return still(folder / "a.png")


@ok(1, media="image")
def jpeg_picture(folder):
    return still(folder / "a.jpg")


@ok(1, media="image")
def cmyk_jpeg(folder):
    return still(folder / "a.jpg", mode="CMYK")


@ok(1, media="image")
def webp_picture(folder):
    return still(folder / "a.webp")


@bad("no frame of it decodes")  # FFmpeg's decoder knows still WebP only
def animated_webp(folder):
    return animate(folder / "a.webp")


@ok(1, media="image", encoder=PILLOWS_AVIF)
def avif_picture(folder):
    return still(folder / "a.avif")


@ok(12, encoder=PILLOWS_AVIF)
def animated_avif(folder):
    return animate(folder / "a.avif")


@bad("is a picture in tiles", encoder=PILLOWS_AVIF)
def picture_in_tiles(folder):
    """Two pictures side by side that a third item joins, as a telephone writes HEIC."""
    names = [folder / "0.avif", folder / "1.avif"]
    tiles = [still(name, (64, 64)).read_bytes() for name in names]
    boxes = [dict(boxes_of(tile)) for tile in tiles]
    meta = dict(boxes_of(boxes[0][b"meta"][4:]))
    properties = boxes_of(dict(boxes_of(meta[b"iprp"]))[b"ipco"])
    path = folder / "a.avif"
    path.write_bytes(join_tiles(boxes, properties))
    return path


def boxes_of(data):
    """Split an ISO media file, or a box of it, into its boxes."""
    found, start = [], 0
    while start < len(data):
        (size,) = struct.unpack_from(">I", data, start)
        found.append((data[start + 4 : start + 8], data[start + 8 : start + size]))
        start += size
    return found


def box(kind, *parts, version=None, flags=0):
    head = b"" if version is None else bytes([version, 0, 0, flags])
    data = head + b"".join(parts)
    return struct.pack(">I", 8 + len(data)) + kind + data


def join_tiles(tiles, properties, size=(64, 64)):
    """Return a file whose item 1 is a grid of the tiles, items 2 and 3."""
    n, (width, height) = len(tiles), size
    kinds = [kind for kind, _ in properties]
    of_grid = [len(kinds) + 1, *(kinds.index(k) + 1 for k in (b"pixi", b"colr"))]
    of_tile = [i + 1 + 128 * (kind == b"av1C") for i, kind in enumerate(kinds)]
    owners = [of_grid] + [of_tile] * n
    listed = [box(kind, data) for kind, data in properties]
    listed.append(box(b"ispe", struct.pack(">II", n * width, height), version=0))
    owned = [
        struct.pack(">HB", item, len(own)) + bytes(own)
        for item, own in enumerate(owners, 1)
    ]
    items = [
        box(b"infe", struct.pack(">HH5s", i, 0, k), version=2, flags=int(i > 1))
        for i, k in enumerate([b"grid"] + [b"av01"] * n, 1)
    ]
    from_tiles = struct.pack(f">HH{n}H", 1, n, *range(2, n + 2))
    grid = struct.pack(">4B2H", 0, 0, 0, n - 1, n * width, height)
    data = [tile[b"mdat"] for tile in tiles]

    def before_the_data(start):
        places = struct.pack(">BBH", 0x44, 0, n + 1)
        places += struct.pack(">4HII", 1, 1, 0, 1, 0, len(grid))
        for item, tile in enumerate(data, 2):
            places += struct.pack(">4HII", item, 0, 0, 1, start, len(tile))
            start += len(tile)
        return box(b"ftyp", tiles[0][b"ftyp"]) + box(
            b"meta",
            box(b"hdlr", bytes(4), b"pict", bytes(13), version=0),
            box(b"pitm", struct.pack(">H", 1), version=0),
            box(b"iloc", places, version=1),
            box(b"iinf", struct.pack(">H", n + 1), *items, version=0),
            box(b"iref", box(b"dimg", from_tiles), version=0),
            box(
                b"iprp",
                box(b"ipco", *listed),
                box(b"ipma", struct.pack(">I", n + 1), *owned, version=0),
            ),
            box(b"idat", grid),
            version=0,
        )

    start = len(before_the_data(0)) + 8
    return before_the_data(start) + box(b"mdat", *data)


# Pixels


@ok(12)
def ten_bit_h264(folder):
    return write(folder / "a.mp4", pix_fmt="yuv420p10le")


@ok(12)
def full_chroma_h264(folder):
    return write(folder / "a.mp4", pix_fmt="yuv444p")


@ok(1, media="image")
def sixteen_bit_png(folder):
    grey = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    Image.fromarray(grey).save(folder / "a.png")
    return folder / "a.png"


@ok(1, media="image")
def palette_png(folder):
    return still(folder / "a.png", mode="P")


@ok(1, media="image")
def one_bit_png(folder):
    return still(folder / "a.png", mode="1")


@ok(1, media="image")
def transparent_png(folder):
    return still(folder / "a.png", mode="RGBA")


@ok(1, media="image")
def transparent_webp(folder):
    picture = np.dstack([pictures(1)[0], pictures(1)[0][..., 0]])
    Image.fromarray(picture).save(folder / "a.webp")
    return folder / "a.webp"


@ok(12, encoder="prores_ks")
def transparent_prores(folder):
    return write(
        folder / "a.mov",
        codec="prores_ks",
        pix_fmt="yuva444p10le",
        options={"profile": "4444"},
        alpha=True,
    )


@ok(12, encoder="qtrle")
def transparent_qtrle(folder):
    return write(folder / "a.mov", codec="qtrle", pix_fmt="argb", alpha=True)


@ok(12, encoder="libvpx-vp9")
def transparent_vp9(folder):
    return write(folder / "a.webm", codec="libvpx-vp9", pix_fmt="yuva420p", alpha=True)


@ok(12)
def interlaced(folder):
    options = {"flags": "+ildct+ilme", "x264-params": "tff=1"}
    return write(folder / "a.mp4", options=options)


@ok(12)
def colours_without_meaning(folder):
    """Primaries, transfer and matrix are numbers that the standard reserves."""
    values = "colour_primaries=3:transfer_characteristics=3"
    with av.open(str(write(folder / "a.h264"))) as source:
        filters = f"{values}:matrix_coefficients=3"
        marker = av.BitStreamFilterContext(
            f"h264_metadata={filters}", source.streams.video[0]
        )
        packets = [p for p in source.demux(video=0) if p.size]
        changed = [bytes(q) for p in packets for q in marker.filter(p)]
    (folder / "b.h264").write_bytes(b"".join(changed))
    return folder / "b.h264"


# Sizes


@ok(3, (2, 2))
def two_by_two_pixels(folder):
    return write(folder / "a.mp4", 3, size=(2, 2))


@ok(1, (1, 1), media="image")
def one_pixel(folder):
    return still(folder / "a.png", (1, 1))


@ok(12, (31, 17))
def odd_size(folder):
    return write(folder / "a.mkv", size=(31, 17), codec="ffv1", pix_fmt="yuv444p")


@ok(5, (31, 17))
def odd_size_half_chroma(folder):
    return write(folder / "a.mkv", 5, size=(31, 17), codec="ffv1")


@ok(1, (3000, 2), media="image")
def very_wide(folder):
    return still(folder / "a.png", (3000, 2))


@ok(2, (7680, 4320))
def eight_k(folder):
    fast = {"preset": "ultrafast"}
    return write(folder / "a.mp4", 2, size=(7680, 4320), options=fast)


@bad(r"max_pixels=67,108,864", encoder="qtrle")
def more_than_eight_k(folder):
    path = write(folder / "a.mov", codec="qtrle", pix_fmt="rgb24")
    return patch_at(path, b"rle ", 24, struct.pack(">HH", 16000, 16000))


@bad(r"max_pixels=67,108,864")
def decompression_bomb(folder):
    return png_bomb(folder / "a.png", 12_000)


@bad(r"max_pixels=67,108,864")
def gif_of_65535_squared(folder):
    return patch_at(still(folder / "a.gif"), b"GIF87a", 0, b"\xff\xff\xff\xff")


# Time


@ok(1)
def one_frame(folder):
    return write(folder / "a.mp4", 1)


@ok(12)
def variable_frame_rate(folder):
    times = [0, 1, 2, 3, 4, 50, 100, 150, 151, 400, 401, 402]
    return write(folder / "a.mp4", times=times)


@ok(12)
def rotated(folder):
    one = 1 << 16
    return write(folder / "a.mp4", matrix=[0, one, 0, -one, 0, 0, 0, 0, 1 << 30])


@ok(12)
def wrong_duration(folder):
    """The header of the film says an hour more than it has (mvhd and mdhd)."""
    path = write(folder / "a.mp4")
    patch_at(path, b"mvhd", 16, struct.pack(">I", 9_999_999))
    return patch_at(path, b"mdhd", 16, struct.pack(">I", 99_999_999))


@ok(12)
def wrong_frame_count(folder):
    path = write(folder / "a.avi", codec="mpeg4")
    return patch_at(path, b"strh", 36, struct.pack("<I", 100_000))


@ok(8)
def first_frames_edited_out(folder):
    """The film starts at its fifth frame, says the edit list."""
    path = write(folder / "a.mp4", codec="mpeg4")
    return patch_at(path, b"elst", 12, struct.pack(">I", 4 * 512))


@bad(r"lasts 36,\d+ seconds, more than MediaLimits.max_duration_s=3,600")
def ten_hours(folder):
    return write(folder / "a.mkv", times=[3600 * 300 * i // 11 for i in range(12)])


# Damage


@bad(r"cannot be decoded \(Invalid data")
def truncated_before_the_index(folder):
    return cut(write(folder / "a.mp4"), 0.3)


@bad("holds no video stream")
def truncated_in_the_index(folder):
    return cut(write(folder / "a.mp4"), 0.7)


@ok(None)
def truncated_behind_the_index(folder):
    return cut(write(folder / "a.mp4", muxer={"movflags": "faststart"}), 0.8)


@ok(None)
def truncated_mkv(folder):
    return cut(write(folder / "a.mkv", 60), 0.7)


@bad("cannot be decoded|no frame of it decodes")
def truncated_to_a_header(folder):
    return cut(write(folder / "a.mkv"), 0.02)


@ok(None)
def truncated_gif(folder):
    return cut(animate(folder / "a.gif"), 0.6)


@bad("no frame of it decodes|cannot be decoded")
def truncated_png(folder):
    return cut(still(folder / "a.png"), 0.05)


@bad(r"cannot be decoded \(Invalid data")
def missing_index(folder):
    path = write(folder / "a.mp4")
    path.write_bytes(path.read_bytes().partition(b"moov")[0][:-4])
    return path


@ok(12)
def index_named_free(folder):
    return patch(write(folder / "a.mp4"), b"moov", b"free")


@ok(12)
def mkv_without_cues(folder):
    return patch(write(folder / "a.mkv"), b"\x1c\x53\xbb\x6b", b"\xec\x53\xbb\x6b")


@ok(None)
def noise_in_the_middle(folder):
    path = write(folder / "a.mkv", 30)
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(0).bytes(200)
    data[len(data) // 2 : len(data) // 2 + 200] = noise
    path.write_bytes(data)
    return path


@bad("is empty")
def zero_bytes(folder):
    (folder / "a.mp4").touch()
    return folder / "a.mp4"


@bad(r"cannot be decoded|no frame of it decodes")
def only_zeros(folder):
    (folder / "a.mp4").write_bytes(bytes(100_000))
    return folder / "a.mp4"


@bad(r"cannot be decoded|no frame of it decodes")
def only_noise(folder):
    (folder / "a.mp4").write_bytes(np.random.default_rng(1).bytes(100_000))
    return folder / "a.mp4"


# Not a film


@bad("holds no video stream")
def audio_only(folder):
    with wave.open(str(folder / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16_000))
    return folder / "a.wav"


def with_cover(path, cover, film=()):
    """Write a cover picture in stream 0, and a film behind it if there is one."""
    with av.open(str(path), "w") as container:
        art = container.add_stream("mjpeg", rate=1)
        art.height, art.width = cover.shape[:2]
        art.pix_fmt = "yuvj420p"
        art.disposition = Disposition.attached_pic
        todo = [(art, cover)]
        if film:
            stream = container.add_stream("libx264", rate=30)
            stream.height, stream.width = film[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            todo += [(stream, picture) for picture in film]
        for stream, picture in todo:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        for stream in container.streams.video:
            container.mux(stream.encode())
    return path


@ok(12)
def film_with_cover_art(folder):
    return with_cover(folder / "a.mp4", pictures(1, (32, 32))[0], pictures(12))


@ok(1, (32, 32), media="image")
def cover_art_alone(folder):
    return with_cover(folder / "a.mp4", pictures(1, (32, 32))[0])


@bad("cannot be decoded")
def text_renamed_to_mp4(folder):
    (folder / "a.mp4").write_text("this is a text, not a film\n" * 100)
    return folder / "a.mp4"


@bad("cannot be decoded")
def concat_playlist(folder):
    write(folder / "secret.mp4")
    (folder / "a.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    return folder / "a.mp4"


@bad("cannot be decoded|holds no video|no frame")
def hls_playlist(folder):
    write(folder / "secret.ts")
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:1,", "secret.ts"]
    (folder / "a.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    return folder / "a.m3u8"


@bad("FFmpeg has no decoder|cannot be decoded")
def svg_that_reads_a_file(folder):
    text = '<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>'
    (folder / "a.svg").write_text(text)
    return folder / "a.svg"


# Names and kinds of file


@ok(12)
def wrong_extension(folder):
    return write(folder / "a.mkv").rename(folder / "a.jpg")


@ok(1, media="image")
def picture_named_as_film(folder):
    return still(folder / "a.png").rename(folder / "a.mp4")


@ok(12)
def no_extension(folder):
    return write(folder / "a.mp4").rename(folder / "a")


@ok(12)
def unicode_name(folder):
    return write(folder / "a.mp4").rename(folder / "été 舞蹈 💃 \u202e.mp4")


@ok(12)
def name_that_is_no_text(folder):
    path = os.fsdecode(os.fsencode(folder / "a") + b"\xff\xfe.mp4")
    write(folder / "a.mp4").rename(path)
    return path


@ok(12)
def very_long_name(folder):
    return write(folder / "a.mp4").rename(folder / ("a" * 251 + ".mp4"))


@bad("cannot be opened .File name too long")
def too_long_name(folder):
    return folder / ("a" * 300 + ".mp4")


@ok(12)
def name_like_a_pattern(folder):
    return write(folder / "a.mp4").rename(folder / "%03d?*[a]:{b}\n.mp4")


@ok(12)
def name_like_an_option(folder):
    return write(folder / "a.mp4").rename(folder / "-i.mp4")


@ok(12)
def symbolic_link(folder):
    write(folder / "a.mp4")
    (folder / "b.mp4").symlink_to("a.mp4")
    return folder / "b.mp4"


@bad("cannot be opened .No such file")
def dangling_link(folder):
    (folder / "a.mp4").symlink_to("nowhere.mp4")
    return folder / "a.mp4"


@bad("cannot be opened .Too many levels")
def link_to_itself(folder):
    (folder / "a.mp4").symlink_to("a.mp4")
    return folder / "a.mp4"


@bad("is not a regular file")
def named_pipe(folder):
    os.mkfifo(folder / "a.mp4")
    return folder / "a.mp4"


@bad("is not a regular file")
def endless_device(folder):
    (folder / "a.mp4").symlink_to("/dev/zero")
    return folder / "a.mp4"


@bad("is a directory")
def directory(folder):
    (folder / "a.mp4").mkdir()
    return folder / "a.mp4"


@bad("cannot be opened .No such file")
def missing_file(folder):
    return folder / "a.mp4"


@bad("cannot be opened .Not a directory")
def file_as_directory(folder):
    return write(folder / "a.mp4") / "b.mp4"


@bad("cannot be opened .embedded null")
def null_byte_in_the_name(folder):
    return f"{folder}/a\0.mp4"


# The superuser may read everything, and Windows has no such permission.
@(bad("cannot be opened .Permission denied") if os.geteuid() else ok(12))
def no_permission(folder):
    path = write(folder / "a.mp4")
    path.chmod(0)
    return path
