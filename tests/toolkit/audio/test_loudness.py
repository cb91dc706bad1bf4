"""Loud frames of recordings made up of noise, silence and tones, whose pauses are known."""

import numpy as np
import pytest

from toolkit.audio.loudness import FRAME_S, loudness

RATE = 16000


def spoken(*parts, noise=0.0):
    """Seconds of a tone (positive) and of a pause (negative), over noise of a level."""
    pieces = [(part > 0) * np.sin(0.2 * np.arange(round(abs(part) * RATE))) for part in parts]
    audio = np.concatenate(pieces) * 0.3
    return (audio + noise * np.random.default_rng(0).standard_normal(len(audio))).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_sound_and_pauses(noise):
    found = loudness(spoken(-0.5, 1.0, -0.4, 0.6, noise=noise), RATE)
    assert found.between(0, 2.5) == pytest.approx(1.6)
    assert found.between(0.6, 1.2) == pytest.approx(0.6)
    assert found.between(1.5, 1.9) == 0.0


def test_the_next_sound_after_a_time():
    found = loudness(spoken(-0.5, 1.0, -0.4, 0.6), RATE)
    assert [found.next_loud(time_s) for time_s in (0.0, 0.7, 1.6)] == pytest.approx([0.5, 0.7, 1.9])


def test_no_sound_after_a_time_is_the_end():
    assert loudness(spoken(1.0, -0.5), RATE).next_loud(1.2) == pytest.approx(1.5)


def test_times_outside_of_the_recording_are_its_ends():
    found = loudness(spoken(1.0, -0.5, 1.0), RATE)
    assert found.between(-3.0, 99.0) == pytest.approx(2.0)
    assert found.next_loud(99.0) == pytest.approx(2.5)


def test_no_seconds_lie_between_a_time_and_an_earlier_one():
    assert loudness(spoken(1.0), RATE).between(0.8, 0.2) == 0.0


@pytest.mark.parametrize("samples", [0, round(FRAME_S * RATE) - 1])
def test_audio_shorter_than_a_frame_holds_no_sound(samples):
    found = loudness(np.ones(samples, np.float32), RATE)
    assert (found.between(0, 1), found.next_loud(0)) == (0.0, 0.0)
