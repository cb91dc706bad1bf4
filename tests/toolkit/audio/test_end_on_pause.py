"""Recordings ended on a pause against `PocketTTSFeatureExtractor`."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PocketTTSFeatureExtractor

from toolkit.audio.end_on_pause import PauseParameters, ended_on_pause

CLIPS = sorted((Path(__file__).resolve().parents[3] / "demo" / "clips").rglob("*.wav"))
RATE = 24000
# torch counts a fade up in the lanes of the machine's vectors: the step, its multiple and the faded sample are each
# rounded to float32, by 2**-24 of full gain at most.
MAX_ABS = 3 * 2**-24


def parameters_of(extractor):
    """What export reads from an extractor."""
    return PauseParameters(
        end_on_pause=extractor.end_on_pause,
        analysis_frame_s=extractor.analysis_frame_duration,
        silence_floor_db=extractor.silence_floor_db,
        fade_out_s=extractor.fade_out_duration,
        pause_s=extractor.pause_duration,
        frame_samples=extractor.frame_size,
    )


def assert_equal(audio, **sizes):
    """Ours, which is the extractor's input values and whose length is its frames."""
    extractor = PocketTTSFeatureExtractor(**sizes)
    before = audio.copy()
    ours = ended_on_pause(audio, extractor.sampling_rate, parameters_of(extractor))
    features = extractor(audio, sampling_rate=extractor.sampling_rate)
    expected = features["input_values"][0, 0].numpy()
    assert ours.dtype == np.float32
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=0, atol=MAX_ABS * max(1, np.abs(audio).max(initial=0)))
    assert len(ours) // extractor.frame_size == int(extractor.get_num_frames(features["padding_mask"]))
    assert np.array_equal(audio, before)
    return ours


def noise(samples, seed=0):
    """Noise that swells and fades, down to silence."""
    rng = np.random.default_rng(seed)
    swell = np.repeat(10 ** rng.uniform(-4, 0, samples // 300 + 1), 300)[:samples]
    return (rng.standard_normal(samples) * swell * 0.1).astype(np.float32)


def speech(clip):
    audio, rate = soundfile.read(clip, dtype="float32")
    return soxr.resample(audio, rate, RATE)


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.stem)
@pytest.mark.parametrize("cut_s", [0, 0.5])
def test_real_speech(clip, cut_s):
    audio = speech(clip)
    assert_equal(audio[: len(audio) - int(cut_s * RATE)])


def test_trailing_silence_becomes_the_pause():
    """One second of sound, one of silence: 0.08 s of silence are left, and 1.12 s are 14 frames of 0.08 s."""
    audio = np.concatenate([np.full(RATE, 0.5), np.zeros(RATE)]).astype(np.float32)
    ended = assert_equal(audio)
    assert len(ended) == 14 * 1920
    assert np.all(ended[: RATE - 480] == 0.5)
    assert ended[RATE - 1] == 0
    assert not ended[RATE:].any()


def test_only_silence_is_kept():
    assert len(assert_equal(np.zeros(RATE, np.float32))) == 14 * 1920


@pytest.mark.parametrize("samples", [0, 1, 479, 480, 481, 959, 1919, 1920, 1921, 3840, 48000])
def test_lengths(samples):
    assert_equal(noise(samples))


@pytest.mark.parametrize("level_db", [-34.9, -35.1])
def test_levels_around_the_floor(level_db):
    audio = np.concatenate([np.full(4800, 0.5), np.full(4800, 0.5 * 10 ** (level_db / 20))]).astype(np.float32)
    kept = assert_equal(audio)[4800 : 4800 + 100]
    assert kept.any() == (level_db > -35)


def test_without_a_pause():
    audio = noise(5000)
    assert np.array_equal(assert_equal(audio, end_on_pause=False)[:5000], audio)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 6000),
    st.integers(0, 2**32),
    st.sampled_from([100, 8000, 24000, 44100]),
    st.floats(0, 0.3),
    st.floats(0, 0.3),
    st.floats(0, 0.3),
    st.floats(1, 80),
    st.integers(1, 3000),
)
def test_any_sizes(samples, seed, rate, analysis_s, fade_s, pause_s, floor_db, frame):
    assert_equal(
        noise(samples, seed),
        sampling_rate=rate,
        analysis_frame_duration=analysis_s,
        fade_out_duration=fade_s,
        pause_duration=pause_s,
        silence_floor_db=floor_db,
        frame_size=frame,
        pad_to_multiple_of=frame,
    )
