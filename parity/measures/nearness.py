"""How far a front end is from the truth, against how far its reference is from the truth itself.

A normalised log mel has no fixed tolerance. In a mel bin that is all but silent (above 4 kHz on the telephone, anywhere
at -80 dB) the logarithm and the division by a small deviation make float32's rounding as large as speech. So the
reference's own code is also run in float64 (parity/measures/float64.py), and the two errors are compared bin by bin.
Where the reference is certain, ours must be too.
"""

from dataclasses import dataclass

import numpy as np

# Below this, an error is the rounding of the result itself: half a unit of float32 at 1 for each of the two.
_FLOOR = float(np.finfo(np.float32).eps)


@dataclass
class Nearness:
    """Totals over several clips.

    Attributes:
        bins: mel bins compared, of all clips.
        times_reference: worst ratio of the two RMS errors of a bin.
        rms_error: RMS error of ours in that bin.
        reference_rms_error: RMS error of the reference in it.
    """

    bins: int = 0
    times_reference: float = 0.0
    rms_error: float = 0.0
    reference_rms_error: float = 0.0

    def add(self, truth: np.ndarray, reference: np.ndarray, ours: np.ndarray, *, frames_axis: int = 0) -> None:
        """Compare one clip; arrays of other shapes are left to the rung that compares the two mels.

        Args:
            truth: mel in float64, of the reference's own code.
            reference: the same in float32, as the reference makes it.
            ours: the port's.
            frames_axis: the axis of a mel that counts frames: 0 for [T, M], 1 for [M, T].
        """
        if not truth.shape == reference.shape == ours.shape:
            return
        error, allowed = (np.sqrt(((x - truth) ** 2).mean(axis=frames_axis)) for x in (ours, reference))  # [M]
        floor = _FLOOR * np.maximum(1.0, np.abs(truth).max(axis=frames_axis))
        times = np.nan_to_num(error / (allowed + floor), nan=np.inf)  # a NaN is as far as it gets
        worst = int(times.argmax())
        self.bins += len(times)
        if times[worst] >= self.times_reference:
            self.times_reference = float(times[worst])
            self.rms_error, self.reference_rms_error = float(error[worst]), float(allowed[worst])

    @property
    def metrics(self) -> dict[str, float]:
        """For the rung of this front end."""
        return {
            "bins": self.bins,
            "times_reference": self.times_reference,
            "rms_error": self.rms_error,
            "reference_rms_error": self.reference_rms_error,
        }
