"""Channels that cancel each other are found; all others become their mean."""

import numpy as np
import pytest

from tests.toolkit.audio.carriers import CARRIERS, encoded, speech
from toolkit.audio.channels import Mixer
from toolkit.audio.read import read_audio

ONE, OTHER = speech(1.0, seed=0), speech(1.0, seed=5)
ZERO = np.zeros_like(ONE)


@pytest.mark.parametrize(
    ("channels", "cancels"),
    [
        ([ONE], False),
        ([ONE, ONE], False),
        ([ONE, -ONE], True),
        ([ONE, -0.8 * ONE], True),
        ([ONE, ZERO], False),
        ([ONE, OTHER], False),
        ([ONE, -0.3 * ONE + OTHER], False),
        ([ZERO, ZERO], False),
        ([ZERO, ZERO, ONE, ZERO, ZERO, ZERO], False),
        ([*[ZERO] * 31, ONE], False),
    ],
)
def test_which_channels_cancel(channels, cancels):
    mixer = Mixer()
    mixed = np.concatenate([mixer.mono(block) for block in np.array_split(np.stack(channels), 3, axis=1)])
    assert mixer.cancels == cancels
    np.testing.assert_allclose(mixed, np.mean(channels, axis=0), atol=1e-6)


def test_one_channel_is_read_and_noted(tmp_path):
    notes = []
    (tmp_path / "a.wav").write_bytes(encoded(CARRIERS["wav_float"], np.stack([0.9 * ONE, -ONE])))
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", 16000, notes=notes.append), -ONE)
    assert [note.partition(": ")[2] for note in notes] == [
        "its channels cancel each other (opposite phase); channel 2 is read"
    ]
