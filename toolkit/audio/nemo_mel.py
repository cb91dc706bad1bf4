"""NeMo's mel front end in NumPy, as `ParakeetFeatureExtractor` computes it (transformers 5.23, models/parakeet).

Pre-emphasis and the final normalisation run in float32 as upstream's do; the transform and all sums run in float64,
which measured nearer to upstream than float32 does (its own float32 rounding is what remains).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from toolkit.errors import AudioError

_CHUNK_FRAMES = 2048  # 8 MB of float64 at n_fft 512: an hour needs no more scratch than a minute
_SHORTEST_FRAMES = 2  # the variance over frames divides by frames - 1


@dataclass(frozen=True)
class NemoMelParameters:
    """What the front end needs to know, as the manifest's host section holds it.

    Attributes:
        n_fft: length of the transform in samples.
        win_length: length of the window in samples, centred in `n_fft`.
        hop_length: samples from one frame to the next.
        n_mels: mel bins.
        preemphasis: coefficient of `x[n] - a * x[n - 1]`; 0 is none.
        log_guard: added to the mel power before the logarithm.
        eps: added to the standard deviation.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    n_fft: int
    win_length: int
    hop_length: int
    n_mels: int
    preemphasis: float
    log_guard: float
    eps: float

    def frames(self, samples: int) -> int:
        """Valid frames of `samples` samples; the transform itself yields one more, which is masked."""
        return (samples + self.n_fft // 2 * 2 - self.n_fft) // self.hop_length

    @property
    def shortest_samples(self) -> int:
        """Fewest samples whose frames can be normalised."""
        return _SHORTEST_FRAMES * self.hop_length + self.n_fft % 2


class NemoMel:
    """The front end for one set of parameters.

    Args:
        parameters: sizes and constants.
        filters: mel filters [n_mels, n_fft // 2 + 1], float32.
        window: analysis window [win_length], float32.
        sample_rate: in Hz; used in messages only.
    """

    def __init__(
        self, parameters: NemoMelParameters, filters: np.ndarray, window: np.ndarray, sample_rate: int = 16000
    ) -> None:
        self.parameters = parameters
        self._sample_rate = sample_rate
        self._filters = filters.astype(np.float64).T  # [n_mels, bins] -> [bins, n_mels]
        left = (parameters.n_fft - parameters.win_length) // 2
        self._window = np.zeros(parameters.n_fft)
        self._window[left : left + parameters.win_length] = window

    def __call__(self, audio: np.ndarray) -> tuple[np.ndarray, int]:
        """Normalised log mel of one utterance.

        Args:
            audio: [samples], float32, at the model's rate.

        Returns:
            mel [T, n_mels] float32 with zeros beyond the valid frames, and the number of valid frames (T - 1).

        Raises:
            AudioError: fewer than two valid frames, over which nothing can be normalised.
        """
        length = self.parameters.frames(len(audio))
        if length < _SHORTEST_FRAMES:
            shortest = self.parameters.shortest_samples
            raise AudioError(
                f"the audio is too short: {len(audio)} samples ({len(audio) / self._sample_rate:.4f} s), "
                f"the shortest usable is {shortest} samples ({shortest / self._sample_rate:.4f} s)",
                "Give a longer recording.",
            )
        log_mel = self._log_mel(self._emphasised(audio.astype(np.float32, copy=False)), length)
        return _normalised(log_mel, length, self.parameters.eps), length

    def _emphasised(self, audio: np.ndarray) -> np.ndarray:
        """Pre-emphasised audio between the zeros that centre its first and last frame."""
        pad = self.parameters.n_fft // 2
        padded = np.zeros(len(audio) + 2 * pad, np.float32)
        body = padded[pad : pad + len(audio)]
        np.multiply(audio[:-1], np.float32(self.parameters.preemphasis), out=body[1:])
        np.subtract(audio[1:], body[1:], out=body[1:])
        body[0] = audio[0]
        return padded

    def _log_mel(self, padded: np.ndarray, length: int) -> np.ndarray:
        p = self.parameters
        frames = np.lib.stride_tricks.sliding_window_view(padded, p.n_fft)[:: p.hop_length]  # [T, n_fft]
        log_mel = np.zeros((length + 1, p.n_mels), np.float32)
        for start in range(0, length, _CHUNK_FRAMES):
            chunk = slice(start, min(start + _CHUNK_FRAMES, length))
            spectrum = np.fft.rfft(frames[chunk] * self._window)
            power = spectrum.real**2 + spectrum.imag**2
            log_mel[chunk] = np.log(power @ self._filters + p.log_guard)
        return log_mel


def _normalised(log_mel: np.ndarray, length: int, eps: float) -> np.ndarray:
    """Zero mean and unit variance (ddof 1) per mel bin over the valid frames, in place."""
    valid = log_mel[:length]
    mean = valid.mean(axis=0, dtype=np.float64)
    square = np.zeros_like(mean)
    for start in range(0, length, _CHUNK_FRAMES):
        square += ((valid[start : start + _CHUNK_FRAMES] - mean) ** 2).sum(axis=0)
    std = np.sqrt(square / (length - 1))
    valid -= mean.astype(np.float32)
    valid /= (std + eps).astype(np.float32)
    return log_mel
