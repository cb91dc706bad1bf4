"""Cuts at quiet points against `CohereAsrFeatureExtractor`: its chunks, and which of them its call makes."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CohereAsrFeatureExtractor

from toolkit.audio.quiet_cuts import cut_at_quiet_points

CLIPS = sorted((Path(__file__).resolve().parents[3] / "demo" / "clips").rglob("*.wav"))
RATE = 16000
SMALL = {"sampling_rate": 100, "max_audio_clip_s": 3.5, "overlap_chunk_second": 0.5, "min_energy_window_samples": 10}


def stock(**sizes):
    return CohereAsrFeatureExtractor(feature_size=8, dither=0.0, **sizes)


def ours(audio, extractor):
    return cut_at_quiet_points(
        audio,
        extractor.sampling_rate,
        extractor.max_audio_clip_s,
        extractor.overlap_chunk_second,
        extractor.min_energy_window_samples,
    )


def assert_equal(audio, extractor):
    cuts = ours(audio, extractor)
    chunks = extractor._split_audio_chunks_energy(torch.from_numpy(audio))
    assert [cut.stop - cut.start for cut in cuts] == [len(chunk) for chunk in chunks]
    assert np.array_equal(np.concatenate([audio[cut] for cut in cuts]), audio)
    return cuts


def speech(seconds):
    joined = np.concatenate([soundfile.read(clip, dtype="float32")[0] for clip in CLIPS])
    return np.resize(joined, seconds * RATE)


def noise(samples, seed=0):
    """Noise that swells and fades."""
    rng = np.random.default_rng(seed)
    swell = np.repeat(rng.uniform(0.01, 1, samples // 700 + 1), 700)[:samples]
    return (rng.standard_normal(samples) * swell * 0.1).astype(np.float32)


@pytest.mark.parametrize("seconds", [40, 75, 140])
def test_real_speech(seconds):
    cuts = assert_equal(speech(seconds), stock())
    assert len(cuts) == {40: 2, 75: 3, 140: 5}[seconds]
    assert all(30 * RATE <= cut.stop - cut.start < 35 * RATE for cut in cuts[:-1])


@pytest.mark.parametrize("seconds", [36, 71, 300])
def test_noise(seconds):
    assert_equal(noise(seconds * RATE, seconds), stock())


@pytest.mark.parametrize("name", ["silence", "constant", "square", "sine"])
def test_equal_levels_are_cut_where_the_search_begins(name):
    time = np.arange(80 * RATE)
    audio = {
        "silence": np.zeros(len(time)),
        "constant": np.full(len(time), 0.3),
        "square": np.where(time // 7 % 2, 0.1, -0.1),
        "sine": 0.3 * np.sin(2 * np.pi * time / 1600),
    }[name].astype(np.float32)
    assert [cut.start // RATE for cut in assert_equal(audio, stock())] == [0, 30, 60]


@pytest.mark.parametrize("seconds", [30, 35])
@pytest.mark.parametrize("beyond", [-1, 0, 1, 1600, 1601])
def test_lengths_around_the_limits(seconds, beyond):
    cuts = assert_equal(noise(seconds * RATE + beyond), stock())
    assert len(cuts) == (1 if seconds == 30 or beyond <= 0 else 2)


@pytest.mark.parametrize("samples", [1, 299, 300, 301, 349, 350, 351, 700, 1234])
def test_the_chunks_of_the_call(samples):
    """The fast path of `__call__` included, which leaves an audio without chunks' numbers."""
    extractor, audio = stock(hop_length=1, **SMALL), noise(samples)
    features = extractor(audio, sampling_rate=100, return_tensors="pt")
    lengths = features["attention_mask"].sum(1).tolist()
    assert [cut.stop - cut.start for cut in ours(audio, extractor)] == lengths
    assert (features["audio_chunk_index"] == [(0, None)]) == (samples <= 300)


def test_no_samples():
    assert cut_at_quiet_points(np.zeros(0, np.float32), RATE, 35.0, 5.0, 1600) == [slice(0, 0)]


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 2000),
    st.floats(0.004, 5),
    st.floats(0, 6),
    st.integers(1, 200),
    st.integers(0, 2**32),
)
def test_any_sizes(samples, longest_s, search_s, window, seed):
    """Searches longer than a chunk and windows longer than a search too."""
    sizes = {"max_audio_clip_s": longest_s, "overlap_chunk_second": search_s, "min_energy_window_samples": window}
    assert_equal(noise(samples, seed), stock(sampling_rate=100, hop_length=1, **sizes))
