"""Pictures and clips that are no single file: bytes, pixels, and lists of pictures."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from media.reading import HERE
from PIL import Image

from skchallenge.exceptions import MediaError
from skchallenge.media._frame_sampling import frame_positions
from skchallenge.media._limits import MediaLimits
from skchallenge.media._probe import probe_media
from skchallenge.media._read import read_clips, read_first_frames
from skchallenge.media._source import Content, Photos, content_key, read_source

LONG = 200  # letters of a message beside the path of a file


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (48, 40 + i, 3), dtype=np.uint8) for i in range(3)]


@pytest.fixture
def photos(pixels, tmp_path):
    paths = [tmp_path / f"7_{i + 1}.png" for i in range(3)]
    for path, picture in zip(paths, pixels, strict=True):
        Image.fromarray(picture).save(path)
    return [str(path) for path in paths]


def clip_of(cell, n_frames=5, limits=None, **options):
    [clip] = read_clips(
        [read_source(cell)], n_frames, 16, n_threads=1, limits=limits, **options
    )
    if isinstance(clip, MediaError):
        raise clip
    return clip


def frames_of(cell, n_frames=5, limits=None):
    clip = clip_of(cell, n_frames, limits)
    return clip.frames[clip.frame_index]


@pytest.mark.parametrize("limits", [None, HERE])
def test_a_picture_is_the_same_however_it_comes(photos, pixels, limits):
    expected = frames_of(photos[0], limits=limits)
    data = Path(photos[0]).read_bytes()
    with Image.open(photos[0]) as opened:
        for cell in (data, bytearray(data), memoryview(data), pixels[0], opened):
            np.testing.assert_array_equal(frames_of(cell, limits=limits), expected)


@pytest.mark.parametrize("limits", [None, HERE])
def test_a_clip_of_bytes_is_the_clip_of_the_file(clip_paths, limits):
    for path in clip_paths:
        data = Path(path).read_bytes()
        found, expected = clip_of(data, limits=limits), clip_of(path, limits=limits)
        np.testing.assert_array_equal(found.frames, expected.frames)
        np.testing.assert_array_equal(found.frame_index, expected.frame_index)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 5, 50])
def test_a_list_of_pictures_is_a_clip_of_them(photos, pixels, n_frames):
    pictures = np.stack([frames_of(path, 1)[0] for path in photos])
    expected = pictures[frame_positions(3, n_frames)]
    for cell in (photos, tuple(photos), np.array(photos, dtype=object), pixels):
        np.testing.assert_array_equal(frames_of(cell, n_frames), expected)
    mixed = [photos[0], pixels[1], Path(photos[2]).read_bytes()]
    np.testing.assert_array_equal(frames_of(mixed, n_frames), expected)


def test_a_list_of_clips_is_one_after_the_other(clip_paths, photos):
    """Frames are counted over all items, so that a long one has more of them."""
    counts = probe_media([clip_paths[0], clip_paths[1]])["n_frames"].tolist()
    all_frames = [
        frames_of(path, n) for path, n in zip(clip_paths[:2], counts, strict=True)
    ]
    expected = np.concatenate(all_frames)[frame_positions(sum(counts), 7)]
    np.testing.assert_array_equal(frames_of(clip_paths[:2], 7), expected)


def test_a_list_of_one_is_that_one(clip_paths):
    assert read_source([clip_paths[0]]) == read_source(clip_paths[0])
    assert read_source([]) is None


def test_pixels_of_a_clip_are_sampled_as_frames(pixels):
    clip = np.stack([picture[:40, :40] for picture in pixels] * 4)  # 12 frames
    each = np.concatenate([frames_of(picture, 1) for picture in clip])
    expected = each[frame_positions(12, 5)]
    np.testing.assert_array_equal(frames_of(clip), expected)


def test_grey_pixels_are_grey_pictures(pixels):
    grey = pixels[0][..., 0]
    expected = frames_of(np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(frames_of(grey), expected)
    np.testing.assert_array_equal(frames_of(Image.fromarray(grey)), expected)


def test_an_image_of_pil_is_turned_upright_as_its_file_is(pixels, tmp_path):
    path = tmp_path / "turned.jpg"
    image = Image.linear_gradient("L").resize((40, 48)).convert("RGB")
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn
    image.save(path, exif=exif)
    with Image.open(path) as turned:
        found = frames_of(turned, 1).astype(int)
    assert np.abs(found - frames_of(str(path), 1)).mean() < 8  # two JPEG decoders
    as_stored = Image.frombytes("RGB", image.size, image.tobytes())
    assert np.abs(found - frames_of(as_stored, 1)).mean() > 16


def test_equal_contents_are_one(pixels, photos):
    data = Path(photos[0]).read_bytes()
    same = {read_source(data), read_source(bytearray(data)), read_source([data])}
    assert len(same) == 1
    assert len({read_source(p) for p in (pixels[0], Image.fromarray(pixels[0]))}) == 1
    assert len({read_source(p) for p in (*pixels, data)}) == 4
    one, other = read_source(photos), read_source(photos[::-1])
    assert one == read_source(tuple(photos)) != other
    flat = pixels[0].reshape(1, -1, 3)  # the same numbers in another shape
    assert read_source(flat) != read_source(pixels[0])


def test_keys_are_those_of_what_was_read(photos, pixels):
    """Bytes have the key of a file that holds them; a list, one of its items."""
    keys = [clip_of(path, hashed=True).digest for path in photos]
    for path, key in zip(photos, keys, strict=True):
        assert clip_of(Path(path).read_bytes(), hashed=True).digest == key
    assert clip_of(photos, hashed=True).digest == content_key(keys)
    mixed = [Path(photos[0]).read_bytes(), *photos[1:]]
    assert clip_of(mixed, hashed=True).digest == content_key(keys)
    assert clip_of(photos[::-1], hashed=True).digest == content_key(keys[::-1])
    assert content_key(keys) not in keys
    assert content_key(keys) != content_key(keys[::-1])
    assert clip_of(pixels[0], hashed=True).digest == read_source(pixels[0]).digest


def test_sources_travel_to_workers(photos, pixels):
    for cell in (pixels[0], Path(photos[0]).read_bytes(), [photos[0], pixels[1]]):
        source = read_source(cell)
        assert pickle.loads(pickle.dumps(source)) == source


@pytest.mark.parametrize("limits", [MediaLimits(max_pixels=1000), None])
@pytest.mark.parametrize("kind", ["bytes", "pixels", "list"])
def test_limits_hold_for_what_is_in_memory(photos, pixels, kind, limits):
    data = Path(photos[0]).read_bytes()
    cell = {"bytes": data, "pixels": pixels[0], "list": [data, photos[1]]}[kind]
    if limits is None:
        assert len(frames_of(cell))
        return
    with pytest.raises(MediaError, match=r"more .*MediaLimits.max_pixels=1,000"):
        frames_of(cell, limits=limits)


def test_a_list_lasts_as_long_as_all_of_it(clip_paths):
    seconds = probe_media(clip_paths[:1])["duration_s"][0]
    limits = MediaLimits(max_duration_s=1.5 * seconds)
    assert len(frames_of(clip_paths[0], limits=limits))
    with pytest.raises(MediaError, match="lasts .* seconds, more than"):
        frames_of(clip_paths[:1] * 2, limits=limits)


def test_bytes_count_as_memory_and_a_worker_lives_on(photos):
    limits = MediaLimits(max_memory_bytes=64 * 2**20)
    sources = [read_source(cell) for cell in (photos[0], bytes(80 * 2**20), photos[1])]
    found = list(read_clips(sources, 1, 8, n_threads=1, limits=limits))
    assert [isinstance(clip, MediaError) for clip in found] == [False, True, False]
    assert "needs more memory than MediaLimits.max_memory_bytes" in str(found[1])


@pytest.mark.parametrize(
    "damage, reason",
    [
        (lambda paths: [paths[0], "gone.png"], "item 2 of 2 cannot be opened"),
        (lambda paths: [b"none" * 999, paths[0]], "item 1 of 2 cannot be decoded"),
        (lambda paths: [b"", paths[0]], "item 1 of 2 "),
        (lambda paths: b"none" * 999, "^bytes:[0-9a-f]{12}: cannot be decoded"),
        (lambda paths: np.zeros((0, 9, 3), np.uint8), "^pixels:.* is empty"),
        (lambda paths: np.zeros((0, 9, 9, 3), np.uint8), "^pixels:.* is empty"),
    ],
)
def test_a_bad_item_is_named_in_one_line(photos, damage, reason):
    with pytest.raises(MediaError, match=reason) as caught:
        frames_of(damage(photos))
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < LONG + len(photos[0])


class Odd:
    """Something with a long description of many lines."""

    def __repr__(self):
        return "odd\n" * 9999


@pytest.mark.parametrize(
    "cell, message",
    [
        (3.5, "a float: 3.5"),
        (np.zeros((9, 9)), r"a ndarray of shape \(9, 9\) and type float64; .*uint8"),
        (np.zeros((3, 64, 64), np.uint8), r"a ndarray of shape \(3, 64, 64\)"),
        (np.zeros(9, np.uint8), r"a ndarray of shape \(9,\)"),
        (np.zeros((9, 9, 9, 9, 3), np.uint8), r"a ndarray of shape \(9, 9, 9, 9, 3\)"),
        (np.bytes_(b"png"), "a bytes_: .*cut off zeros"),
        (Image.new("I;16", (4, 4)), "a PIL image of mode 'I;16'"),
        (Image.new("F", (4, 4)), "a PIL image of mode 'F'"),
        ({"bytes": b"a" * 9999}, "a dict: "),
        (Odd(), "a Odd: odd"),
        (io.BytesIO(b"a" * 9999), "a BytesIO: "),
        (["a.png", None], "a list whose item 2 is missing: None"),
        (["a.png", ["b.png"]], r"a list whose item 2 is a list: \['b.png'\]"),
        (["a.png", {"b.png": "c" * 9999}], "a list whose item 2 is a dict"),
        ([list(range(9999))] * 999, "a list whose item 1 is a list"),
    ],
)
def test_what_is_refused_is_described_in_one_line(cell, message):
    with pytest.raises(TypeError, match=f"^{message}") as caught:
        read_source(cell)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < LONG


def test_a_long_text_in_the_place_of_a_picture_is_cut(photos):
    with pytest.raises(TypeError) as caught:
        probe_media("a" * 9999)
    assert len(str(caught.value)) < LONG
    with pytest.raises(TypeError) as caught:
        probe_media(b"a" * 9999)
    assert len(str(caught.value)) < LONG


def test_only_the_first_of_a_list_is_a_cover(photos):
    sources = [read_source([photos[1], "gone.png"]), read_source(photos[1])]
    found, expected = read_first_frames(sources, 8, n_threads=1)
    np.testing.assert_array_equal(found, expected)


def test_what_is_probed(photos, pixels, clip_paths):
    data = Path(photos[0]).read_bytes()
    cells = [photos, data, pixels[1], [clip_paths[0], clip_paths[1]], [], photos[0]]
    table = probe_media(cells)
    assert table["kind"].tolist()[:4] == ["images", "image", "image", "video"]
    assert table["n_frames"].tolist()[:3] == [3, 1, 1]
    assert table["width"].tolist()[:3] == [40, 40, 41]
    assert table["path"][0] == photos
    assert table["path"][1] == f"bytes:{read_source(data).digest.hex()[:12]}"
    assert table["size_bytes"][0] == sum(Path(p).stat().st_size for p in photos)
    assert table["size_bytes"][1] == len(data)
    alone = probe_media(clip_paths[:2])
    assert table["n_frames"][3] == alone["n_frames"].sum()
    assert table["duration_s"][3] == pytest.approx(alone["duration_s"].sum())
    assert table["reason"][4] == "is missing: there is no path."


def test_names_are_short():
    source = read_source([b"a", "b.png", "c.png"])
    assert isinstance(source, Photos)
    assert isinstance(source.items[0], Content)
    assert str(source) == f"{source.items[0]} and 2 more"
    assert len(repr(source)) < LONG
