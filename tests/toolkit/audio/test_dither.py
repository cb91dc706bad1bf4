"""Dither against torch's generator, and the NeMo front end with it against `CohereAsrFeatureExtractor` as it comes."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import CohereAsrFeatureExtractor

from tests.toolkit.audio.float32_mel import assert_near
from tests.toolkit.audio.test_nemo_mel import front_end
from toolkit.audio.dither import dithered, torch_normal

CLIPS = sorted((Path(__file__).resolve().parents[3] / "demo" / "clips").rglob("*.wav"))
AMOUNT = 1e-5
# torch makes a normal of two uniforms, r * cos(2 pi u), in the float32 kernels of the machine. r is at most
# sqrt(-2 ln 2**-24) = 5.8. Roundings of half a unit, 2**-24: the angle, up to 2 pi, twice; its cosine twice; r three
# times; the product once.
NORMAL_MAX_ABS = 5.8 * (2 * 2 * np.pi + 2 + 3 + 1) * 2**-24


@pytest.mark.parametrize("samples", [16, 17, 31, 32, 1000, 16001, 560_000])
@pytest.mark.parametrize("seed", [0, 1, 16000, 2**32 - 1])
def test_the_noise_is_torchs(samples, seed):
    expected = torch.randn(samples, generator=torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(torch_normal(samples, seed), expected.numpy(), atol=NORMAL_MAX_ABS, rtol=0)


def assert_near_reference(audio):
    """The reference's mel of audio with its own dither, which ours of the same noise is near."""
    extractor = CohereAsrFeatureExtractor()
    expected = extractor(audio, sampling_rate=16000, return_tensors="pt").input_features[0].numpy()
    noisy = dithered(audio, extractor.dither)
    assert_near(front_end(extractor)(noisy)[0], expected, noisy, extractor)
    return expected


@pytest.mark.parametrize("clip", CLIPS, ids=lambda p: p.stem)
def test_real_speech(clip):
    assert_near_reference(soundfile.read(clip, dtype="float32")[0])


def test_silence():
    """All that varies is the noise: in the low bins by less than upstream's float32 logarithms resolve."""
    assert np.abs(assert_near_reference(np.zeros(16000, np.float32))).max() > 5


def test_audio_stays_as_it_is():
    audio = np.full(100, 0.5, np.float32)
    noisy = dithered(audio, AMOUNT)
    assert noisy.dtype == np.float32
    assert (audio == 0.5).all()
    assert 0 < np.abs(noisy - audio).max() < 6 * AMOUNT
    assert dithered(audio, 0.0) is audio
    assert len(dithered(audio[:0], AMOUNT)) == 0
