"""Several audio tracks: one is chosen, and the user learns of the others."""

import numpy as np
import pytest

from tests.toolkit.audio.carriers import CARRIERS, frames_of, muxed, speech
from toolkit.audio.read import read_audio
from toolkit.errors import AudioError

RATE = 16000
TRACKS = [speech(1.0, seed=seed) for seed in (0, 5)]


@pytest.fixture
def film(tmp_path):
    told = [{"language": "eng"}, {"language": "ger", "title": "Comments"}]
    path = tmp_path / "a.mka"
    path.write_bytes(muxed(CARRIERS["mka_pcm"], [frames_of(t[None], RATE) for t in TRACKS], RATE, metadata=told))
    return path


@pytest.mark.parametrize("track", [1, 2])
def test_a_track_by_number(film, track):
    notes = []
    np.testing.assert_allclose(
        read_audio(film, RATE, track=track, notes=notes.append), TRACKS[track - 1], atol=1 / 32768
    )
    assert notes == []


def test_without_a_number_the_first_is_read_and_noted(film):
    notes = []
    np.testing.assert_allclose(read_audio(film, RATE, notes=notes.append), TRACKS[0], atol=1 / 32768)
    assert notes == [
        f"{film} has 2 audio tracks (1 eng, 2 ger Comments); track 1 is read, infer --track N reads another"
    ]


@pytest.mark.parametrize("track", [0, 3])
def test_there_is_no_such_track(film, track):
    with pytest.raises(AudioError, match=rf"has 2 audio tracks, and no track {track}\. Give --track another number"):
        read_audio(film, RATE, track=track)
