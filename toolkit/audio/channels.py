"""From channels to mono: their mean, and how to see that it cancels what they hold."""

import numpy as np

# With M the mean of two channels and S half their difference, the measure is 2 |M|^2 / (|M|^2 + |S|^2): 2 for equal
# channels, 1 where they share nothing or all but one are silent, 0 for opposite phase. Below 0.1, M is 13 dB below S,
# and each channel holds both, M + S and M - S: one channel loses nothing that the mean kept.
_CANCELLED = 0.1


class Mixer:
    """Mixes blocks to mono, and measures whether the channels cancel each other.

    Args:
        channel: the one to take, from 0; None is the mean of all.
    """

    def __init__(self, channel: int | None = None) -> None:
        self._channel = channel
        self._of_mean = 0.0
        self._of_channels = np.zeros(0)

    def mono(self, samples: np.ndarray) -> np.ndarray:
        """Mix one block.

        Args:
            samples: [channels, n] float32.

        Returns:
            [n] float32.
        """
        if self._channel is not None:
            chosen: np.ndarray = samples[min(self._channel, len(samples) - 1)]
            return chosen
        mean: np.ndarray = samples.mean(axis=0)
        if len(samples) > 1:
            self._measure(samples, mean)
        return mean

    def _measure(self, samples: np.ndarray, mean: np.ndarray) -> None:
        if len(samples) > len(self._of_channels):
            self._of_channels = np.pad(self._of_channels, (0, len(samples) - len(self._of_channels)))
        self._of_channels[: len(samples)] += [float(channel @ channel) for channel in samples]
        self._of_mean += float(mean @ mean) * len(samples) ** 2

    @property
    def loudest(self) -> int:
        """The channel with the most energy, from 0."""
        return int(self._of_channels.argmax())

    @property
    def cancels(self) -> bool:
        """Whether the mean has lost what the channels hold."""
        return bool(self._of_mean < _CANCELLED * self._of_channels.sum())
