"""Features of sound without weights: oracles, and sounds whose features are known."""

import numpy as np
import pytest
from media.sounds import RATE, beats, noise, tone
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from skchallenge.embed._logmel import LOGMEL_NAMES, log_mel, logmel_features


def features(sound):
    found = logmel_features(np.asarray(sound, np.float32))
    return dict(zip(LOGMEL_NAMES, found.tolist(), strict=True))


def bands(sound):
    frames = np.lib.stride_tricks.sliding_window_view(sound.astype(np.float32), 400)
    return log_mel(frames[::160])


def test_bands_are_those_of_transformers():
    sound = noise(50) + tone(50)
    window = window_function(400, "hann")
    expected = spectrogram(
        sound,
        window,
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        mel_filters=mel_filter_bank(257, 64, 125.0, 7500.0, RATE),
        log_mel="dB",
        reference=(window.sum() / 2) ** 2,
    )
    found = bands(sound)
    assert len(found) == 1 + (len(sound) - 400) // 160 > 4096  # more than a block
    np.testing.assert_allclose(found, expected.T + 100, atol=1e-3)


def test_mean_deviation_and_slope_are_over_time():
    sound = noise(3) * np.linspace(0.1, 1, 3 * RATE)
    found, expected = features(sound), bands(sound)
    time = np.arange(len(expected))
    for band in (0, 17, 63):
        own = expected[:, band]
        assert found[f"mel{band}_mean"] == pytest.approx(own.mean(), rel=1e-4)
        assert found[f"mel{band}_std"] == pytest.approx(own.std(), rel=1e-4)
        rise = np.polyfit(time, own, 1)[0] * (len(time) - 1)
        assert found[f"mel{band}_slope"] == pytest.approx(rise, rel=1e-3)


def test_a_full_tone_is_full_scale_in_its_band():
    found = features(tone(amplitude=1.0, hz=1000))
    means = [found[f"mel{band}_mean"] for band in range(64)]
    assert max(means) == pytest.approx(100, abs=3)
    assert found["loudness"] == pytest.approx(100 - 10 * np.log10(2), abs=0.01)
    quiet = features(tone(amplitude=0.1, hz=1000))
    assert quiet["loudness"] == pytest.approx(found["loudness"] - 20, abs=0.01)


def test_the_loudest_band_rises_with_the_tone():
    loudest = []
    for hz in (200, 400, 800, 1600, 3200, 6400):
        found = features(tone(hz=hz))
        loudest.append(
            max(range(64), key=lambda b: found[f"mel{b}_mean"])
        )  # used at once
    assert loudest == sorted(set(loudest))


def test_digital_silence_is_zero_but_for_its_share():
    found = features(np.zeros(RATE))
    assert found.pop("silence_share") == 1
    assert set(found.values()) == {0}


@pytest.mark.parametrize("each_s", [0.1, 0.25, 0.5, 1.0])
def test_beats_are_counted(each_s):
    found = features(beats(10, each_s))
    assert found["onset_rate"] == pytest.approx(1 / each_s, abs=0.15)


@pytest.mark.parametrize("steady", [tone(10), noise(10), np.zeros(10 * RATE)])
def test_what_is_steady_has_no_onsets(steady):
    assert features(steady)["onset_rate"] == 0


def test_beats_are_counted_over_a_steady_sound():
    found = features(beats(10) + 0.05 * tone(10, 1000) + noise(10, 0.005))
    assert found["onset_rate"] == pytest.approx(4, abs=0.5)


def test_silence_is_a_share_of_the_time():
    sound = np.r_[tone(3), np.zeros(RATE)]
    assert features(sound)["silence_share"] == pytest.approx(0.25, abs=0.01)


def test_one_frame_has_no_slope_and_no_onset():
    found = features(tone()[:400])
    assert found["onset_rate"] == found["mel5_slope"] == found["mel5_std"] == 0
    assert found["loudness"] > 50
