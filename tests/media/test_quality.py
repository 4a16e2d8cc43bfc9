"""What FFmpeg's filters say of files whose quality is known."""

import numpy as np
import pytest
from media.qualities import RATE, noise, tone, write
from media.reading import read_quality


def quality(*arguments, **options):
    return read_quality(write(*arguments, **options))


@pytest.mark.parametrize("decibels", [0, -20, -40])
def test_loudness_of_a_tone_is_that_of_the_standard(tmp_path, decibels):
    """A sine of 997 Hz at 0 dB full scale has -3.01 LUFS (ITU-R BS.1770-4)."""
    sound = tone(amplitude=10 ** (decibels / 20))
    found = quality(tmp_path / "a.mkv", noise(30), sound)
    assert found.loudness_lufs == pytest.approx(-3.01 + decibels, abs=0.05)


def test_two_channels_add_up(tmp_path):
    sound = np.vstack([tone(), tone()])
    found = quality(tmp_path / "a.mkv", noise(30), sound, layout="stereo")
    assert found.loudness_lufs == pytest.approx(0.0, abs=0.05)


def test_silence_and_no_sound_differ(tmp_path):
    silence = np.zeros((1, 2 * RATE))
    assert quality(tmp_path / "a.mkv", noise(20), silence).loudness_lufs == -np.inf
    assert quality(tmp_path / "b.mkv", noise(20)).loudness_lufs is None
    short = quality(tmp_path / "c.mkv", noise(20), tone(0.2))
    assert short.loudness_lufs == -np.inf  # the standard's blocks last 0.4 s


def test_sound_that_does_not_decode_is_unknown(tmp_path, monkeypatch):
    path = write(tmp_path / "a.mkv", noise(20), tone())
    data = bytearray((tmp_path / "a.mkv").read_bytes())
    start = data.index(b"fLaC")
    data[start + 8 : start + 42] = bytes(34)  # the header of the sound
    (tmp_path / "a.mkv").write_bytes(data)
    found = read_quality(path)
    assert np.isnan(found.loudness_lufs)
    assert found.width == 96


def test_black_parts_count_by_their_time(tmp_path):
    black = [np.zeros((64, 96), np.uint8)]
    found = quality(tmp_path / "a.mp4", noise(15) + black * 5)
    assert found.black_share == pytest.approx(0.25, abs=0.01)
    found = quality(tmp_path / "b.mp4", black * 5 + noise(10) + black * 5)
    assert found.black_share == pytest.approx(0.5, abs=0.01)
    assert quality(tmp_path / "c.mp4", black * 10).black_share == 1
    assert quality(tmp_path / "d.mp4", noise(10)).black_share == 0


def test_frozen_parts_count_if_they_last_a_second(tmp_path):
    still = noise(1, seed=1)
    found = quality(tmp_path / "a.mp4", noise(20) + still * 20)
    # The codec takes some frames to settle.
    assert found.frozen_share == pytest.approx(0.5, abs=0.1)
    assert quality(tmp_path / "b.mp4", noise(20) + still * 8).frozen_share == 0
    assert quality(tmp_path / "c.mp4", still * 30).frozen_share == 1


def test_sizes_and_duration(tmp_path):
    found = quality(tmp_path / "a.mp4", noise(25))
    assert (found.width, found.height) == (96, 64)
    assert found.duration_s == pytest.approx(2.5)


def test_a_still_image_has_no_duration(clip_paths):
    found = read_quality(clip_paths[-1])
    assert (found.duration_s, found.black_share, found.frozen_share) == (0, 0, 0)
