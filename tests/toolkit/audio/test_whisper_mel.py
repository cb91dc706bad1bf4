"""The Whisper front end against `Qwen3ASRFeatureExtractor`, called as its processor does."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import Qwen3ASRFeatureExtractor

from tests.gates import MEL, assert_within
from toolkit.audio.whisper_mel import WhisperMel, WhisperMelParameters
from toolkit.errors import AudioError

CLIPS = sorted((Path(__file__).resolve().parents[3] / "demo" / "clips").rglob("*.wav"))
RATE = 16000


def both(audio, **sizes):
    """(ours, reference's mel, reference's valid frames)."""
    extractor = Qwen3ASRFeatureExtractor(**sizes)
    expected = extractor(
        [audio], sampling_rate=RATE, padding=True, return_attention_mask=True, return_tensors="pt", truncation=False
    )
    return front_end(extractor)(audio), expected.input_features[0].numpy(), int(expected.attention_mask.sum())


def front_end(extractor):
    parameters = WhisperMelParameters(
        n_fft=extractor.n_fft,
        hop_length=extractor.hop_length,
        n_mels=extractor.feature_size,
        min_samples=extractor.min_length,
        frame_multiple=2 * extractor.n_window or 1,
    )
    return WhisperMel(parameters, extractor.mel_filters, torch.hann_window(extractor.n_fft).numpy(), RATE)


def noise(samples):
    return (np.random.default_rng(samples).standard_normal(samples) * 0.1).astype(np.float32)


def assert_equal(audio, **sizes):
    (mel, length), expected, valid = both(audio, **sizes)
    assert (mel.dtype, length) == (np.float32, valid)
    assert_within(MEL, mel, expected)


def test_there_are_clips():
    assert CLIPS


@pytest.mark.parametrize("clip", CLIPS, ids=lambda p: p.stem)
def test_real_speech(clip):
    audio, rate = soundfile.read(clip, dtype="float32")
    assert rate == RATE
    assert_equal(audio)


@pytest.mark.parametrize("seconds", [1 / RATE, 0.05, 0.3, 0.5, 1.0, 7.99, 8.01, 30.0])
def test_lengths(seconds):
    assert_equal(noise(round(seconds * RATE)))


@pytest.mark.parametrize("samples", [7999, 8000, 8001, 8159, 8160, 8161, 16000, 16159, 16160])
def test_lengths_around_a_frame_and_a_group_of_frames(samples):
    assert_equal(noise(samples))


@pytest.mark.parametrize(
    "sizes",
    [
        {"feature_size": 80, "hop_length": 100, "n_fft": 256, "min_length": 300},
        {"feature_size": 40, "hop_length": 77, "n_fft": 401, "n_window": 7},
        {"feature_size": 64, "n_window": 0, "min_length": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("samples", [420, 12345])
def test_other_sizes(sizes, samples):
    assert_equal(noise(samples), **sizes)


def test_a_loud_moment_lifts_the_floor_of_the_whole_clip():
    audio = noise(3 * RATE) * np.float32(1e-6)
    audio[RATE] = 1.0
    assert_equal(audio)
    (mel, _), _, _ = both(audio)
    assert (mel[:, 250] == mel[:, :300].min()).all()


def test_silence():
    assert_equal(np.zeros(RATE, np.float32))


def test_frames_are_those_of_the_call():
    extract = front_end(Qwen3ASRFeatureExtractor())
    for samples in (1, 8000, 8159, 8160, 20000):
        mel, length = extract(noise(samples))
        assert length == extract.frames(samples) == extract.parameters.frames(samples)
        assert mel.shape[1] % 100 == 0
        assert not mel[:, length:].any()


def test_no_samples():
    with pytest.raises(AudioError, match=r"too short: 0 samples .* the shortest usable is 1 samples"):
        front_end(Qwen3ASRFeatureExtractor())(np.zeros(0, np.float32))


def test_too_few_to_reflect():
    extract = front_end(Qwen3ASRFeatureExtractor(min_length=0))
    with pytest.raises(AudioError, match=r"shortest usable is 201 samples \(0.0126 s\)"):
        extract(np.ones(200, np.float32))
    assert extract(np.ones(201, np.float32))[1] == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(value):
    audio = noise(RATE)
    audio[[3, 700]] = value
    with pytest.raises(AudioError, match="2 NaN or infinite samples"):
        front_end(Qwen3ASRFeatureExtractor())(audio)


def test_the_seams_of_the_chunked_transform_do_not_show():
    assert_equal(noise(160 * 2100))


def test_memory_is_bounded():
    """Five minutes need the audio once more, the mel, and scratch that does not grow."""
    audio = noise(300 * RATE)
    extract = front_end(Qwen3ASRFeatureExtractor())
    tracemalloc.start()
    mel, _ = extract(audio)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < audio.nbytes + mel.nbytes + 24e6
