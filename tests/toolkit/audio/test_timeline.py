"""The time line of a container: late starts and holes are silence, jitter is nothing."""

from fractions import Fraction

import numpy as np
import pytest

from tests.toolkit.audio.carriers import CARRIERS, frames_of, lag_of, muxed, speech
from toolkit.audio.read import read_audio
from toolkit.audio.timeline import Timeline
from toolkit.audio.whole.link import DamagedError
from toolkit.audio.whole.links import FLAC, MATROSKA, MPEG_TS

RATE = 16000
MS = Fraction(1, 1000)


def read_tracks(tmp_path, name, pieces):
    frames = [frame for samples, start_s in pieces for frame in frames_of(samples[None], RATE, start_s)]
    (tmp_path / "a").write_bytes(muxed(CARRIERS[name], [frames], RATE))
    notes = []
    return read_audio(tmp_path / "a", RATE, notes=notes.append), notes


@pytest.mark.parametrize("name", ["mka_pcm", "mka_aac", "webm"])
def test_a_late_start_is_silence(tmp_path, name):
    audio, notes = read_tracks(tmp_path, name, [(speech(), 2.0)])
    assert abs(lag_of(audio, speech()) - 2 * RATE) <= RATE // 1000
    assert "it has no sound at 0.00 s, " in notes[0]


def test_a_hole_is_silence(tmp_path):
    audio, notes = read_tracks(tmp_path, "mka_pcm", [(speech(seed=0), 0.0), (speech(seed=5), 6.5)])
    assert len(audio) == 8 * RATE
    np.testing.assert_allclose(audio[-len(speech()) :], speech(seed=5), atol=1 / 32768)
    assert not audio[len(speech()) : -len(speech())].any()
    assert notes == [f"{tmp_path / 'a'}: it has no sound at 1.50 s, 5.00 s in all, which is read as silence"]


def test_jitter_inserts_nothing_and_does_not_add_up():
    timeline = Timeline(MATROSKA, Fraction(0))
    rng = np.random.default_rng(0)
    starts = [Fraction(round(k * 21.333 + rng.uniform(-20, 20))) * MS for k in range(5000)]
    assert not any(timeline.silence_before(start, MS, 1024, 48000) for start in starts)
    assert timeline.notes() == []


def test_clocks_that_drift_stay_within_two_packets():
    timeline = Timeline(MATROSKA, Fraction(0))
    total = 0
    for k in range(5000):  # a clock that is 1 % slow
        start = Fraction(20 * k) * MS * Fraction(101, 100)
        total += timeline.silence_before(start, MS, 960, 48000)
        assert abs(float(start) - (total + 960 * k) / 48000) <= 0.0401


def test_time_stamps_that_jump_back_count_on():
    timeline = Timeline(MPEG_TS, Fraction(10))
    starts = [*range(10, 13), *range(10, 13)]
    assert not any(timeline.silence_before(Fraction(start), MS, 16000, RATE) for start in starts)
    assert timeline.notes() == ["its time stamps jump back at 3.00 s, and times count on from there"]


def test_broken_time_stamps_are_refused():
    timeline = Timeline(MATROSKA, Fraction(0))
    with pytest.raises(DamagedError, match="jump by 100 hours"):
        timeline.silence_before(Fraction(360000), MS, 1024, RATE)


def test_flac_numbers_its_samples():
    timeline = Timeline(FLAC, Fraction(0))
    assert timeline.silence_before(Fraction(7), MS, RATE, RATE) == 0  # a part of a longer stream
    assert timeline.silence_before(Fraction(8), MS, RATE, RATE) == 0
    with pytest.raises(DamagedError, match=r"samples are missing before 3\.00 s"):
        timeline.silence_before(Fraction(10), MS, RATE, RATE)
