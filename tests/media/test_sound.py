"""Sound of files: what decodes, how loud, how long; odd and damaged files."""

import av
import numpy as np
import pytest
from media.reading import HERE, only
from media.sounds import ODD, RATE, damaged, noise, tone, write_sound

from skchallenge.exceptions import MediaError
from skchallenge.media._limits import MediaLimits
from skchallenge.media._read import read_sounds


def read(path, rate=RATE, max_s=60.0, limits=HERE):
    return only(
        read_sounds([str(path)], rate, max_s, n_threads=1, limits=limits)
    ).samples


def level(samples):
    return np.sqrt(np.mean((samples / 2**15) ** 2))


def pitch(samples, rate=RATE):
    spectrum = np.abs(np.fft.rfft(samples))
    return spectrum.argmax() * rate / len(samples)


def test_16_bits_at_the_rate_pass_to_the_bit(tmp_path):
    sound = np.random.default_rng(0).integers(-32768, 32768, 5000).astype(np.int16)
    path = write_sound(tmp_path / "a.wav", sound / 2**15)
    np.testing.assert_array_equal(read(path), sound)


@pytest.mark.parametrize("kind", ODD)
def test_any_sound_is_the_same_sound(tmp_path, kind):
    """The same in all channels is as loud in one, whatever the number."""
    name, codec, format, layout, rate = ODD[kind]
    sound = tone(2.0, 1000, rate=rate)
    options = {"codec": codec, "format": format, "layout": layout, "rate": rate}
    found = read(write_sound(tmp_path / name, sound, **options))
    assert len(found) == pytest.approx(2 * RATE, abs=0.06 * RATE)  # codecs pad
    assert pitch(found) == pytest.approx(1000, abs=2)
    assert level(found[RATE // 2 : -RATE // 2]) == pytest.approx(
        0.5 / 2**0.5,
        rel=0.06,  # encoders of MP3 make it a little quieter
    )


@pytest.mark.parametrize("seconds", [0.3, 4.0])
def test_sound_may_be_shorter_or_longer_than_the_picture(tmp_path, seconds):
    path = write_sound(tmp_path / "a.mkv", tone(seconds), n_pictures=20, codec="flac")
    assert len(read(path)) == seconds * RATE


def test_no_sound_is_none(tmp_path, media, clip_paths):
    assert read(clip_paths[0]) is None  # a video
    assert read(clip_paths[-1]) is None  # a picture


def test_an_empty_track_is_no_sound(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=10)
        video.width, video.height = 64, 48
        container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
            container.mux(video.encode(frame))
        container.mux(video.encode())
    assert read(path) is None


def test_nothing_is_read_beyond_the_limit(tmp_path):
    sound = noise(20.0)
    path = write_sound(tmp_path / "a.wav", sound)
    whole = read(path)
    np.testing.assert_array_equal(read(path, max_s=3.0), whole[: 3 * RATE])
    short = MediaLimits(max_duration_s=5.0, timeout_s=None)
    np.testing.assert_array_equal(read(path, max_s=5.0, limits=short), whole[:80_000])
    match = r"has sound that lasts longer than MediaLimits.max_duration_s=5\."
    with pytest.raises(MediaError, match=match):
        read(path, max_s=6.0, limits=short)


def test_one_frame_that_claims_days_is_refused(tmp_path):
    path = write_sound(tmp_path / "a.wav", noise(1.0))
    data = bytearray((tmp_path / "a.wav").read_bytes())
    start = data.index(b"fmt ") + 12
    data[start : start + 4] = (1).to_bytes(4, "little")  # one sample a second
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(MediaError, match="lasts longer than"):
        read(path, max_s=4000.0, limits=MediaLimits(max_duration_s=600.0))


def test_sound_that_changes_its_kind_is_read_on(tmp_path):
    """A stream of MPEG may go on in other frames: mono after stereo, another rate."""
    mono = write_sound(
        tmp_path / "a.mp3", tone(2.0, 1000), codec="libmp3lame", format="s16p"
    )
    stereo = write_sound(
        tmp_path / "b.mp3",
        tone(2.0, 1000, rate=44_100),
        codec="libmp3lame",
        format="s16p",
        layout="stereo",
        rate=44_100,
    )
    joined = tmp_path / "c.mp3"
    with open(joined, "wb") as file:
        for path in (mono, stereo):
            with open(path, "rb") as part:
                file.write(part.read())
    found = read(joined)
    assert len(found) == pytest.approx(4 * RATE, abs=0.3 * RATE)
    assert pitch(found[-RATE:]) == pytest.approx(1000, abs=5)
    assert level(found[RATE // 2 : RATE]) == pytest.approx(
        level(found[-RATE:-8000]), rel=0.05
    )


def test_too_many_channels_are_named(tmp_path):
    import wave

    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((9, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(18 * RATE))
    with pytest.raises(MediaError, match="its sound of 9 channels cannot be mixed"):
        read(tmp_path / "a.wav")


def test_damaged_sound_beside_good_pictures_is_an_error(tmp_path):
    path = damaged(tmp_path / "a.mp4")
    with av.open(path) as container:
        assert len(list(container.decode(video=0))) == 20
    with pytest.raises(MediaError, match=r"none of its sound decodes \(.*is damaged"):
        read(path)


def test_a_damaged_packet_is_passed_over(tmp_path):
    path = write_sound(tmp_path / "a.mp4", noise(4.0), codec="aac", format="fltp")
    whole = read(path)
    with av.open(path) as container:
        packet = [p for p in container.demux(audio=0) if p.size][20]
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    (tmp_path / "a.mp4").write_bytes(data)
    assert 0.9 * len(whole) < len(read(path)) <= len(whole)


def test_workers_give_what_this_process_gives(tmp_path, clip_paths):
    paths = [write_sound(tmp_path / f"{i}.wav", noise(1.0, seed=i)) for i in range(9)]
    paths[4:4] = ["gone.wav", clip_paths[0]]
    here = list(read_sounds(paths, RATE, 60.0, n_threads=1, limits=HERE))
    apart = list(read_sounds(paths, RATE, 60.0, n_threads=2, hashed=True))
    assert [type(s) for s in here] == [type(s) for s in apart]
    assert "gone.wav: cannot be opened" in str(apart[4])
    assert apart[5].samples is None
    for one, other in zip(here[6:], apart[6:], strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        assert one.digest is None
        assert len(other.digest) == 32


def test_a_file_that_needs_too_much_memory_is_refused(tmp_path):
    path = write_sound(tmp_path / "a.wav", noise(600.0, rate=8_000), rate=8_000)
    small = MediaLimits(max_memory_bytes=64 * 2**20)
    assert len(read(path, max_s=10.0, limits=small)) == 10 * RATE
    with pytest.raises(MediaError, match="needs more memory than MediaLimits.max_mem"):
        read(path, rate=192_000, max_s=600.0, limits=small)


def test_long_sound_is_held_a_few_files_at_a_time(tmp_path, monkeypatch):
    from skchallenge.media import _read as module

    held = []

    def noting(*args, n_held, **options):
        held.append(n_held)
        return iter(())

    monkeypatch.setattr(module, "map_in_order", noting)
    for max_s in (60.0, 3600.0, 36_000.0):
        list(read_sounds([], RATE, max_s, n_threads=2, limits=HERE))
    assert held == [8, 2, 1]
