"""Where a recording is loud: the sound that words can be in, and the pauses between."""

from dataclasses import dataclass

import numpy as np

FRAME_S = 0.02
_QUIETEST_DB, _LOUDEST_DB = -35.0, -20.0  # limits of the threshold, from the level of loud speech
_SPEECH, _FLOOR = 0.95, 0.10  # quantiles of the levels that are taken for loud speech and for the noise


@dataclass(frozen=True)
class Loudness:
    """Loud frames of a recording.

    Attributes:
        counts: [frames + 1], the loud frames before each one.
    """

    counts: np.ndarray

    def between(self, start_s: float, end_s: float) -> float:
        """Loud seconds from one time to another; 0 where the second is not the later one."""
        first, last = (min(max(int(time_s / FRAME_S), 0), len(self.counts) - 1) for time_s in (start_s, end_s))
        return FRAME_S * max(0, int(self.counts[last] - self.counts[first]))

    def next_loud(self, time_s: float) -> float:
        """Start of the first loud frame at or after a time; the end of the recording where there is none."""
        first = min(max(int(time_s / FRAME_S), 0), len(self.counts) - 1)
        return FRAME_S * (int(np.searchsorted(self.counts, self.counts[first], side="right")) - 1)


def loudness(audio: np.ndarray, sample_rate: int) -> Loudness:
    """The frames of 20 ms that are louder than half way, in dB, from the recording's noise to its speech.

    Args:
        audio: [samples] float32, finite.
        sample_rate: in Hz.
    """
    hop = max(1, round(FRAME_S * sample_rate))
    frames = audio[: len(audio) // hop * hop].reshape(-1, hop)
    levels = 10 * np.log10(np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-12)
    if not len(levels):
        return Loudness(np.zeros(1, np.int64))
    speech, floor = np.quantile(levels, (_SPEECH, _FLOOR))
    threshold = speech + np.clip((floor - speech) / 2, _QUIETEST_DB, _LOUDEST_DB)
    return Loudness(np.concatenate([[0], np.cumsum(levels > threshold)]))
