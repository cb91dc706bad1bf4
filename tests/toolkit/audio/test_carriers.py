"""Every carrier is read whole, at the right time, or refused: never in part."""

import contextlib
import io
import sys

import numpy as np
import pytest

from tests.toolkit.audio.carriers import CARRIERS, encoded, lag_of, speech
from toolkit.audio.read import read_audio
from toolkit.errors import AudioError

RATE = 16000
SECONDS = 1.5
# An encoder rounds up to whole frames: 2 of 1152 samples and the decoder's delay.
PADDING = 4 * 1152


def quiet_read(path):
    return read_audio(path, RATE, notes=lambda line: None)


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def contents():
    return {name: encoded(carrier, speech(SECONDS)[None]) for name, carrier in CARRIERS.items()}


@pytest.mark.parametrize("name", CARRIERS)
def test_the_whole_recording_at_its_time(tmp_path, contents, name):
    carrier, reference, notes = CARRIERS[name], speech(SECONDS), []
    audio = read_audio(written(tmp_path / "a.bin", contents[name]), RATE, notes=notes.append)
    assert notes == []
    assert lag_of(audio, reference) == carrier.delay
    assert len(reference) - 600 <= len(audio) <= len(reference) + PADDING
    if carrier.exact:
        np.testing.assert_allclose(audio, reference, rtol=0, atol=1 / 32768)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (48000, 2), (48000, 6)])
@pytest.mark.parametrize("name", ["wav", "flac_pipe", "mka_pcm", "webm", "m4a"])
def test_rates_and_channels(tmp_path, name, channels, rate):
    one = speech(SECONDS, rate)
    gains = np.linspace(1, 0.5, channels, dtype=np.float32)
    content = encoded(CARRIERS[name], one * gains[:, None], rate)
    audio = quiet_read(written(tmp_path / "a", content))
    expected = quiet_read(written(tmp_path / "b", encoded(CARRIERS["wav_float"], one[None] * gains.mean(), rate)))
    assert abs(lag_of(audio, expected)) <= 1
    assert len(expected) - 2 <= len(audio) <= len(expected) + PADDING
    if CARRIERS[name].exact:
        np.testing.assert_allclose(audio, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", CARRIERS)
def test_a_cut_file_is_refused(tmp_path, contents, name):
    content, carrier = contents[name], CARRIERS[name]
    whole = len(quiet_read(written(tmp_path / "a", content)))
    somewhere = np.random.default_rng(1).integers(1, len(content), 12)
    read = []
    for keep in sorted({*somewhere.tolist(), *range(len(content) - 3, len(content))}):
        with contextlib.suppress(AudioError):
            read.append(len(quiet_read(written(tmp_path / "a", content[:keep]))))
    shorter = [count for count in read if count < whole]
    # What does not know its end is found when a frame is cut, which is nearly always; raw samples are never.
    allowed = len(read) if name == "wav_pipe" else 4 if carrier.open_ended else 0
    assert len(shorter) <= allowed


@pytest.mark.parametrize("name", CARRIERS)
def test_a_hole_in_a_file_is_no_silence(tmp_path, contents, name):
    """Bytes lost in the middle: refused, or no sample fewer."""
    content = contents[name]
    if name == "wav_pipe":
        pytest.skip("raw samples to the end of the file: nothing tells that some are missing")
    whole = len(quiet_read(written(tmp_path / "a", content)))
    middle = len(content) // 2
    try:
        audio = quiet_read(written(tmp_path / "a", content[:middle] + content[middle + 333 :]))
    except AudioError:
        return
    assert len(audio) >= whole


@pytest.mark.parametrize("name", CARRIERS)
def test_one_after_the_other_is_read_whole_or_refused(tmp_path, contents, name):
    whole = len(quiet_read(written(tmp_path / "a", contents[name])))
    try:
        audio = quiet_read(written(tmp_path / "a", contents[name] * 2))
    except AudioError:
        assert name in ("aiff", "au", "caf", "w64", "tta", "wavpack", "wma")
        return
    assert len(audio) >= 2 * whole - 2


@pytest.mark.parametrize("name", CARRIERS)
def test_standard_input_gives_the_same(tmp_path, contents, name, monkeypatch):
    from_file = quiet_read(written(tmp_path / "a", contents[name]))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(contents[name])))
    np.testing.assert_array_equal(quiet_read("-"), from_file)
