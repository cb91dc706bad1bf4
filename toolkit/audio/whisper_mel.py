"""Whisper's mel front end in NumPy, as `Qwen3ASRFeatureExtractor` computes it for one clip (transformers 5.23).

The transform and all sums run in float64, which measured nearer to upstream on average than float32 does (its own
float32 rounding is what remains). Upstream pads a batch to its longest clip and masks the rest; a single clip has only
the zeros that fill its last group of frames, which come after the normalisation.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from toolkit.errors import AudioError

_CHUNK_FRAMES = 1024  # 3 MB of float64 at n_fft 400: five minutes need no more scratch than one
_POWER_FLOOR = 1e-10
_RANGE_DECADES = 8.0  # below the loudest bin of the clip


@dataclass(frozen=True)
class WhisperMelParameters:
    """What the front end needs to know, as the manifest's host section holds it.

    Attributes:
        n_fft: length of the transform and of the window in samples.
        hop_length: samples from one frame to the next.
        n_mels: mel bins.
        min_samples: a shorter clip is filled up with silence to this many samples, which count as valid.
        frame_multiple: the mel is filled up with zeros to a multiple of this many frames; 1 adds none.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    n_fft: int
    hop_length: int
    n_mels: int
    min_samples: int
    frame_multiple: int

    def frames(self, samples: int) -> int:
        """Valid frames of `samples` samples; the transform itself yields one more, which is dropped."""
        return max(samples, self.min_samples) // self.hop_length

    @property
    def shortest_samples(self) -> int:
        """Fewest samples that the reflections at both ends, and one frame, can be made of."""
        needed = max(self.n_fft // 2 + 1, self.hop_length)
        return 1 if self.min_samples >= needed else needed


class WhisperMel:
    """The front end for one set of parameters.

    Args:
        parameters: sizes.
        mel_filters: [n_fft // 2 + 1, n_mels], float32 or float64.
        window: analysis window [n_fft], float32; upstream's is the periodic Hann window.
        sample_rate: in Hz; used in messages only.
    """

    def __init__(
        self, parameters: WhisperMelParameters, mel_filters: np.ndarray, window: np.ndarray, sample_rate: int = 16000
    ) -> None:
        self.parameters = parameters
        self._sample_rate = sample_rate
        # Upstream casts the filters, which it makes in float64, to float32.
        self._filters = mel_filters.astype(np.float32).astype(np.float64).T.copy()  # [bins, n_mels] -> [n_mels, bins]
        self._window = window.astype(np.float64)

    def frames(self, samples: int) -> int:
        """Valid frames of `samples` samples."""
        return self.parameters.frames(samples)

    def __call__(self, audio: np.ndarray) -> tuple[np.ndarray, int]:
        """Log mel of one clip, within eight decades of its loudest bin, scaled to about -1..1.

        Args:
            audio: [samples], float32, at the model's rate.

        Returns:
            mel [n_mels, T] float32, T a multiple of `frame_multiple`, with zeros beyond the valid frames; and the
            number of valid frames.

        Raises:
            AudioError: no samples, fewer than a frame needs, or samples that are NaN or infinite.
        """
        self._check(audio)
        p = self.parameters
        length = p.frames(len(audio))
        mel = np.zeros((p.n_mels, -(-length // p.frame_multiple) * p.frame_multiple), np.float32)
        valid = mel[:, :length]
        self._log_mel(self._padded(audio), valid)
        np.maximum(valid, valid.max() - np.float32(_RANGE_DECADES), out=valid)
        valid += np.float32(4.0)
        valid /= np.float32(4.0)
        return mel, length

    def _check(self, audio: np.ndarray) -> None:
        shortest = self.parameters.shortest_samples
        if len(audio) < shortest:
            raise AudioError(
                f"the audio is too short: {len(audio)} samples ({len(audio) / self._sample_rate:.4f} s), "
                f"the shortest usable is {shortest} samples ({shortest / self._sample_rate:.4f} s)",
                "Give a longer recording.",
            )
        bad = len(audio) - int(np.isfinite(audio).sum())
        if bad:
            raise AudioError(f"the audio holds {bad} NaN or infinite samples", "Export the recording again.")

    def _padded(self, audio: np.ndarray) -> np.ndarray:
        """The clip, at least `min_samples` long, between the reflections that centre its first and last frame."""
        pad = self.parameters.n_fft // 2
        samples = max(len(audio), self.parameters.min_samples)
        padded = np.zeros(samples + 2 * pad, np.float32)
        padded[pad : pad + len(audio)] = audio
        padded[:pad] = padded[2 * pad : pad : -1]  # the sample at the edge is not repeated
        padded[pad + samples :] = padded[pad + samples - 2 : samples - 2 : -1]
        return padded

    def _log_mel(self, padded: np.ndarray, log_mel: np.ndarray) -> None:
        """Fill `log_mel` [n_mels, frames]."""
        p = self.parameters
        frames = np.lib.stride_tricks.sliding_window_view(padded, p.n_fft)[:: p.hop_length]  # [frames + 1, n_fft]
        for start in range(0, log_mel.shape[1], _CHUNK_FRAMES):
            chunk = slice(start, min(start + _CHUNK_FRAMES, log_mel.shape[1]))
            spectrum = np.fft.rfft(frames[chunk] * self._window)
            power = spectrum.real**2 + spectrum.imag**2  # [n, bins]
            log_mel[:, chunk] = np.log10(np.maximum(self._filters @ power.T, _POWER_FLOOR))
