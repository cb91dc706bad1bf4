"""The noise that a front end adds to audio before its transform, as torch draws it.

Sources: transformers 5.23, models/cohere_asr/feature_extraction_cohere_asr.py, `_apply_dither`; torch 2.7,
aten/src/ATen/native/cpu/DistributionTemplates.h, `normal_fill`.
"""

import numpy as np

_BLOCK = 16  # samples that torch makes of as many uniform numbers
_MANTISSA = 24


def dithered(audio: np.ndarray, amount: float) -> np.ndarray:
    """Audio with the noise of its length: the same length always has the same noise, whatever else is in a batch.

    It matters where a mel bin hardly varies, since normalisation blows it up: 0.25 of a standard deviation on a clean
    clip, 7.6 on digital silence, at 1e-5. The noise is upstream's to 2e-6 of its deviation.

    Args:
        audio: [N], float32; one chunk.
        amount: standard deviation of the noise; 0 is none.

    Returns:
        [N] float32; fewer samples than 16, too few for any front end here, stay as they are.
    """
    if amount <= 0 or len(audio) < _BLOCK:
        return audio
    noisy: np.ndarray = audio + np.float32(amount) * torch_normal(len(audio), len(audio))
    return noisy


def torch_normal(samples: int, seed: int) -> np.ndarray:
    """`torch.randn(samples, generator=torch.Generator().manual_seed(seed))` on a CPU, to 2e-6.

    Blocks of 16 are made of 8 pairs of uniform numbers by Box and Muller's transform. Where the samples are no whole
    number of blocks, the last 16 are drawn again.

    Args:
        samples: 16 at least.
        seed: 0 to 2**32 - 1.

    Returns:
        [samples] float32.
    """
    twister = np.random.RandomState(seed)
    uniform = _uniform(twister, samples)
    whole = samples // _BLOCK * _BLOCK
    normal = np.empty(samples, np.float32)
    normal[:whole] = _box_muller(uniform[:whole])
    if whole < samples:
        normal[-_BLOCK:] = _box_muller(_uniform(twister, _BLOCK))
    return normal


def _uniform(twister: np.random.RandomState, count: int) -> np.ndarray:
    """[count] float64 in [0, 1), of 24 bits each."""
    words = np.frombuffer(twister.bytes(4 * count), "<u4")
    uniform: np.ndarray = (words & (2**_MANTISSA - 1)) / 2**_MANTISSA
    return uniform


def _box_muller(uniform: np.ndarray) -> np.ndarray:
    pairs = uniform.reshape(-1, 2, _BLOCK // 2)  # [n * 16] -> [n, 2, 8]
    radius, angle = np.sqrt(-2 * np.log(1 - pairs[:, 0])), 2 * np.pi * pairs[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
