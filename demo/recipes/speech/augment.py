"""Features of one utterance, with every distortion that makes one voice sound like many.

Distortions of the waveform: resampling (pitch, formants and tempo together), reverberation, noise.
Distortions of the power spectrogram: tempo, equaliser, bandwidth, vocal-tract length (a warped mel bank), SpecAugment.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.signal
import soxr
import torch
from speech.bank import RATE, Clip, Span

WARPS = np.linspace(0.82, 1.18, 21)


@dataclass(frozen=True)
class FrontEnd:
    """How a model turns sound into features: the sizes of its spectrum, its mel bank, what it makes of the mels."""

    n_fft: int
    hop_length: int
    window: torch.Tensor  # float32 [window length]
    pad_mode: str
    preemphasis: float
    mels: torch.Tensor  # float32 [mels, bins]
    finished: Callable[[torch.Tensor], torch.Tensor]  # mel powers [T, mels] -> features [T, mels]


@dataclass(frozen=True)
class Example:
    """One training example: features float32 [T, mels] (10 ms a frame), words and their spans in seconds."""

    features: torch.Tensor
    words: list[str]
    spans: list[Span]


def warped_mels(bank: torch.Tensor, factor: float) -> torch.Tensor:
    """Return the mel bank [mels, bins] reading its spectrum at `factor` times the frequency."""
    bins = torch.arange(bank.shape[1], dtype=torch.float32)
    at = (bins * factor).clamp(max=bank.shape[1] - 1)
    low = at.floor().long()
    part = at - low
    moved = torch.zeros_like(bank)
    moved.index_add_(1, low, bank * (1 - part))
    moved.index_add_(1, (low + 1).clamp(max=bank.shape[1] - 1), bank * part)
    return moved


class Augmenter:
    """Turns clips into features; the part `strength` (0..1) of them is distorted, each time another way."""

    def __init__(self, front_end: FrontEnd, seed: int, strength: float = 1.0) -> None:
        self.front_end, self.strength = front_end, strength
        self.rng, self.noise = random.Random(seed), np.random.default_rng(seed)
        self.mels = [warped_mels(front_end.mels, factor) for factor in WARPS]

    def __call__(self, clip: Clip) -> Example:
        """Return the features of one clip, distorted anew; its spans follow the tempo."""
        samples, spans, human = clip.samples, clip.spans, "human" in clip.voice
        distorted = self.rng.random() < self.strength
        if distorted:
            samples, spans = self._resampled(samples, spans)
            samples = self._noisy(self._reverberant(samples))
        power = self._power(samples)
        mels = self.front_end.mels
        if distorted:
            power, spans = self._stretched(power, spans, human)
            power = self._band_limited(self._equalised(power))
            mels = self.mels[round(self.rng.triangular(0, len(self.mels) - 1))]
        features = self.front_end.finished(power @ mels.T)
        return Example(self._masked(features) if distorted else features, clip.words, spans)

    def _resampled(self, samples: np.ndarray, spans: list[Span]) -> tuple[np.ndarray, list[Span]]:
        if self.rng.random() < 0.25:
            return samples, spans
        factor = self.rng.triangular(0.84, 1.2, 1.0)
        samples = soxr.resample(samples, RATE, RATE * factor, quality="QQ")
        return samples, [(start * factor, end * factor) for start, end in spans]

    def _reverberant(self, samples: np.ndarray) -> np.ndarray:
        if self.rng.random() > 0.35:
            return samples
        decay_s = self.rng.uniform(0.03, 0.25)
        times = np.arange(int(decay_s * 1.5 * RATE)) / RATE
        tail = self.noise.standard_normal(len(times)) * np.exp(-6.9 * times / decay_s)
        tail *= self.rng.uniform(0.1, 0.7) / (np.sqrt((tail**2).sum()) + 1e-8)
        tail[0] = 1.0
        return scipy.signal.oaconvolve(samples, tail.astype(np.float32))[: len(samples)].astype(np.float32)

    def _noisy(self, samples: np.ndarray) -> np.ndarray:
        if self.rng.random() < 0.1:
            return samples
        noise = self.noise.standard_normal(len(samples)).astype(np.float32)
        colour = self.rng.choice((0.0, 0.5, 0.9, 0.97))
        noise = scipy.signal.lfilter([1.0], [1.0, -colour], noise).astype(np.float32)
        level = 0.05 * 10 ** (-self.rng.uniform(10, 60) / 20)
        return samples + noise * (level / noise.std())

    def _power(self, samples: np.ndarray) -> torch.Tensor:
        ear, wave = self.front_end, torch.from_numpy(samples)
        wave = torch.cat([wave[:1], wave[1:] - ear.preemphasis * wave[:-1]])
        sizes = (ear.n_fft, ear.hop_length, len(ear.window))
        spectrum = torch.stft(wave, *sizes, window=ear.window, return_complex=True, pad_mode=ear.pad_mode)
        frames = len(samples) // ear.hop_length
        return spectrum.abs().square().T[:frames]  # [bins, T + 1] -> [T, bins]

    def _stretched(self, power: torch.Tensor, spans: list[Span], human: bool) -> tuple[torch.Tensor, list[Span]]:
        if self.rng.random() < 0.2:
            return power, spans
        factor = self.rng.uniform(0.6, 1.15) if human else self.rng.uniform(0.75, 1.25)
        frames = max(24, round(len(power) * factor))
        stretched = torch.nn.functional.interpolate(power.T[None], size=frames, mode="linear")[0].T
        factor = frames / len(power)
        return stretched, [(start * factor, end * factor) for start, end in spans]

    def _equalised(self, power: torch.Tensor) -> torch.Tensor:
        knots = torch.tensor([[[self.rng.gauss(0, 5) for _ in range(6)]]])
        gain_db = torch.nn.functional.interpolate(knots, size=power.shape[1], mode="linear", align_corners=True)
        return power * 10 ** ((gain_db[0, 0] + self.rng.uniform(-12, 12)) / 10)

    def _band_limited(self, power: torch.Tensor) -> torch.Tensor:
        if self.rng.random() > 0.4:
            return power
        gain = torch.ones(power.shape[1])
        gain[int(self.rng.uniform(0.42, 0.8) * len(gain)) :] = 10 ** self.rng.uniform(-8, -3)
        if self.rng.random() < 0.4:
            gain[: self.rng.randint(1, 10)] = 10 ** self.rng.uniform(-4, -1)
        return power * gain

    def _masked(self, features: torch.Tensor) -> torch.Tensor:
        blank = float(features.mean())
        for _ in range(2):
            width = self.rng.randint(0, 14)
            low = self.rng.randint(0, features.shape[1] - width)
            features[:, low : low + width] = blank
        for _ in range(1 + len(features) // 150):
            width = self.rng.randint(0, 12)
            start = self.rng.randint(0, max(0, len(features) - width))
            features[start : start + width] = blank
        return features
