"""The NeMo front end against `ParakeetFeatureExtractor`, and `CohereAsrFeatureExtractor` for a chunk without dither."""

import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import CohereAsrFeatureExtractor, ParakeetFeatureExtractor

from tests.toolkit.audio.float32_mel import assert_near
from toolkit.audio.nemo_mel import NemoMel, NemoMelParameters
from toolkit.errors import AudioError

CLIPS = sorted((Path(__file__).resolve().parents[3] / "demo" / "clips").rglob("*.wav"))
REFERENCES = {"parakeet": ParakeetFeatureExtractor, "cohere": partial(CohereAsrFeatureExtractor, dither=0.0)}


@pytest.fixture(params=REFERENCES)
def reference(request):
    return REFERENCES[request.param]


def assert_near_reference(audio, reference=ParakeetFeatureExtractor, **sizes):
    """Ours against the reference's, within what a float32 front end may be off; the number of valid frames."""
    extractor = reference(**sizes)
    expected = extractor(audio, sampling_rate=extractor.sampling_rate, return_tensors="pt")
    mel, length = front_end(extractor)(audio)
    assert length == int(expected.attention_mask.sum())
    assert_near(mel, expected.input_features[0].numpy(), audio, extractor)
    return length


def front_end(extractor):
    parameters = NemoMelParameters(
        n_fft=extractor.n_fft,
        win_length=extractor.win_length,
        hop_length=extractor.hop_length,
        n_mels=extractor.feature_size,
        preemphasis=extractor.preemphasis,
        log_guard=2**-24,
        eps=1e-5,
    )
    window = torch.hann_window(extractor.win_length, periodic=False).numpy()
    return NemoMel(parameters, extractor.mel_filters.numpy(), window, extractor.sampling_rate)


def test_there_are_clips():
    assert CLIPS


@pytest.mark.parametrize("clip", CLIPS, ids=lambda p: p.stem)
@pytest.mark.parametrize("n_mels", [80, 128])
def test_real_speech(clip, n_mels, reference):
    audio, rate = soundfile.read(clip, dtype="float32")
    assert rate == 16000
    assert_near_reference(audio, reference, feature_size=n_mels)


@pytest.mark.parametrize(
    "sizes",
    [
        {"feature_size": 40, "hop_length": 80, "win_length": 256, "n_fft": 256},
        {"feature_size": 64, "hop_length": 200, "win_length": 512, "n_fft": 512, "preemphasis": 0.0},
        {"feature_size": 80, "hop_length": 160, "win_length": 401, "n_fft": 512},
        {"feature_size": 23, "hop_length": 77, "win_length": 200, "n_fft": 256, "sampling_rate": 8000},
        {"feature_size": 32, "hop_length": 100, "win_length": 300, "n_fft": 401},
    ],
    ids=str,
)
@pytest.mark.parametrize("samples", [12345, 16000, 16001])
def test_other_sizes(sizes, samples, reference):
    audio = (np.random.default_rng(samples).standard_normal(samples) * 0.1).astype(np.float32)
    assert_near_reference(audio, reference, **sizes)


@pytest.mark.parametrize("samples", [320, 321, 479, 480, 800, 1600])
def test_very_short(samples, reference):
    audio = (np.random.default_rng(0).standard_normal(samples) * 0.1).astype(np.float32)
    assert_near_reference(audio, reference, feature_size=80)


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 319])
def test_fewer_than_two_frames_cannot_be_normalised(samples):
    with pytest.raises(AudioError, match=r"too short.*shortest usable is 320 samples \(0.0200 s\)"):
        front_end(ParakeetFeatureExtractor())(np.zeros(samples, np.float32))


def test_a_whole_chunk_of_cohere_is_3500_frames(reference):
    audio = (np.random.default_rng(35).standard_normal(35 * 16000) * 0.1).astype(np.float32)
    assert assert_near_reference(audio, reference, feature_size=128) == 3500


def test_digital_silence_is_zero():
    mel, length = front_end(ParakeetFeatureExtractor())(np.zeros(16000, np.float32))
    assert length == 100
    assert not mel.any()


def test_the_row_beyond_the_valid_frames_is_zero():
    mel, length = front_end(ParakeetFeatureExtractor())(np.ones(5000, np.float32))
    assert len(mel) == length + 1
    assert not mel[length:].any()


def test_the_seams_of_the_chunked_transform_do_not_show():
    audio = (np.random.default_rng(1).standard_normal(160 * 4100) * 0.1).astype(np.float32)
    assert assert_near_reference(audio, feature_size=80) == 4100


def test_memory_is_bounded():
    """Ten minutes need the audio once more, the mel, and scratch that does not grow."""
    audio = np.random.default_rng(0).standard_normal(600 * 16000, dtype=np.float32)
    extract = front_end(ParakeetFeatureExtractor())
    tracemalloc.start()
    mel, _ = extract(audio)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < audio.nbytes + mel.nbytes + 64e6
