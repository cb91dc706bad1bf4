"""Speech as an array, with a way into a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.output.audio import check_audio_output, write_audio


@dataclass(frozen=True)
class Speech:
    """A text as audio.

    Attributes:
        samples: [n] float32, mono.
        sample_rate: in Hz.
        notes: what the caller should know about the result, one sentence each.
    """

    samples: np.ndarray
    sample_rate: int
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    def save(self, path: str | Path) -> None:
        """Write a .wav or .flac of 16 bits.

        Raises:
            OutputError: another suffix, or the disk refuses it.
        """
        check_audio_output(Path(path))
        write_audio(Path(path), self.samples, self.sample_rate)
