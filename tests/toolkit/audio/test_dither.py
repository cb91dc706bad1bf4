"""Dither against torch's generator, and the NeMo front end with it against `CohereAsrFeatureExtractor` as it comes."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import CohereAsrFeatureExtractor

from tests.toolkit.audio.test_nemo_mel import front_end
from toolkit.audio.dither import dithered, torch_normal

CLIPS = sorted((Path(__file__).resolve().parents[3] / "demo" / "clips").rglob("*.wav"))
AMOUNT = 1e-5


@pytest.mark.parametrize("samples", [16, 17, 31, 32, 1000, 16001, 560_000])
@pytest.mark.parametrize("seed", [0, 1, 16000, 2**32 - 1])
def test_the_noise_is_torchs(samples, seed):
    expected = torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(torch_normal(samples, seed), expected.numpy(), atol=3e-6, rtol=0)


def both(audio):
    extractor = CohereAsrFeatureExtractor()
    expected = extractor(audio, sampling_rate=16000, return_tensors="pt").input_features[0].numpy()
    return front_end(extractor)(dithered(audio, extractor.dither))[0], expected


@pytest.mark.parametrize("clip", CLIPS, ids=lambda p: p.stem)
def test_real_speech(clip):
    mel, expected = both(soundfile.read(clip, dtype="float32")[0])
    # Measured: 1.5e-4 on a clip with digital silence, 7e-5 on the others; without dither up to 0.25.
    np.testing.assert_allclose(mel, expected, atol=5e-4, rtol=0)
    assert np.abs(mel - expected).mean() < 2e-6


def test_silence():
    """All that varies is the noise: in the low bins by less than upstream's float32 logarithms resolve."""
    mel, expected = both(np.zeros(16000, np.float32))
    assert np.abs(expected).max() > 5
    difference = np.abs(mel - expected)
    assert difference[:, 23:].max() < 1e-2
    assert difference.max() < 0.5
    assert difference.mean() < 5e-3


def test_audio_stays_as_it_is():
    audio = np.full(100, 0.5, np.float32)
    noisy = dithered(audio, AMOUNT)
    assert noisy.dtype == np.float32
    assert (audio == 0.5).all()
    assert 0 < np.abs(noisy - audio).max() < 6 * AMOUNT
    assert dithered(audio, 0.0) is audio
    assert len(dithered(audio[:0], AMOUNT)) == 0
