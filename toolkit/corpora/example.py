"""One utterance with its transcript."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from toolkit.audio.read import read_audio


@dataclass(frozen=True)
class WordTime:
    """A word with its boundaries in seconds, as the corpus has them."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Example:
    """One utterance of a corpus; its audio is read when asked for.

    Attributes:
        id: unique within the corpus.
        text: the transcript.
        audio: a file, or samples [N] or [N, channels] float32.
        sample_rate: of the samples, in Hz; None for a file, which knows its own.
        words: times of the words, where the corpus has them.
        language: code such as `en`, where the corpus tells it.
    """

    id: str
    text: str
    audio: Path | np.ndarray
    sample_rate: int | None = None
    words: tuple[WordTime, ...] | None = None
    language: str | None = None

    def samples(self, sample_rate: int) -> np.ndarray:
        """Mono float32 samples [N] at `sample_rate` Hz.

        Raises:
            AudioError: the audio cannot be used.
        """
        if isinstance(self.audio, Path):
            return read_audio(self.audio, sample_rate)
        samples: np.ndarray = (self.audio if self.audio.ndim == 1 else self.audio.mean(axis=1)).astype(np.float32)
        if self.sample_rate in (None, sample_rate):
            return samples
        resampled: np.ndarray = soxr.resample(samples, self.sample_rate, sample_rate, quality="HQ")
        return resampled
