"""The log-mel spectrogram that speech is compared by."""

import librosa
import numpy as np
import pytest

from parity.measures.arrays import compare_arrays
from parity.measures.sound import FLOOR, log_mel

RATE = 24000


def tone(hz, level=0.5, seconds=0.5):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def test_silence_is_zero():
    spectrum = log_mel(np.zeros(RATE, np.float32), RATE)
    assert spectrum.shape == (80, 94)
    assert spectrum.dtype == np.float32
    assert not spectrum.any()


def test_what_lies_below_the_floor_is_silence():
    assert not log_mel(tone(1000, FLOOR / 100), RATE).any()


def test_equal_recordings_are_equal():
    spectrum = log_mel(tone(440), RATE)
    assert compare_arrays(spectrum, log_mel(tone(440), RATE)).max_abs == 0


@pytest.mark.parametrize("hz", [250, 1000, 4000])
def test_a_tone_is_loudest_in_the_band_around_it(hz):
    centres = librosa.mel_frequencies(82, fmin=0, fmax=RATE / 2)[1:-1]
    middle = log_mel(tone(hz), RATE)[:, 20]
    assert np.abs(centres - hz).argmin() == middle.argmax()


def test_ten_times_as_loud_is_one_natural_logarithm_of_ten_more():
    quiet, loud = (log_mel(tone(1000, level), RATE) for level in (0.05, 0.5))
    peak = np.unravel_index(loud.argmax(), loud.shape)
    assert loud[peak] - quiet[peak] == pytest.approx(np.log(10), abs=1e-4)


def test_another_tone_is_heard():
    assert compare_arrays(log_mel(tone(440), RATE), log_mel(tone(880), RATE)).cosine < 0.9
