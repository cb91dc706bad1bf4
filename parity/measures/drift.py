"""How far a loop that feeds on its own output drifts, against how far its reference drifts under noise of that size.

Where every frame is fed back, rounding adds up, and a model may amplify it until two runs share no frame. That alone
says nothing of the port. So the reference is run again with noise in each of its latents, as large as the error that
the port shows when it is fed the reference's own latents; up to the frame where the reference has moved by `PARTED`
itself, the port may not be further from it than a few times that control. A fault of the loop (a position off by one, a
stale cache, the wrong latent fed back) shows in the second frame, long before.
"""

from dataclasses import dataclass

import numpy as np

from parity.measures.totals import Totals

PARTED = 0.1  # relative L2 of one frame of the control: from here on the paths are different utterances


@dataclass
class Drift:
    """Totals over several utterances.

    Attributes:
        frames: compared.
        of: frames of the utterances.
        rel_l2: worst of the utterances' relative L2 errors.
        control_rel_l2: of the control, in the utterance where the two are furthest apart.
        times_control: worst ratio of the two.
    """

    frames: int = 0
    of: int = 0
    rel_l2: float = 0.0
    control_rel_l2: float = 0.0
    times_control: float = 0.0

    def add(self, reference: np.ndarray, control: np.ndarray, ours: np.ndarray, of: int, noise: float = 0.0) -> None:
        """Compare one utterance, up to where the control has parted from the reference.

        Args:
            reference: [n, ...] frame by frame, at least one.
            control: likewise, of the reference under noise.
            ours: likewise.
            of: frames of the whole utterance.
            noise: relative L2 that ours may have beside, of what the control does not pass through.
        """
        size = float(np.linalg.norm(reference.astype(np.float64))) or 1.0
        error, allowed = (float(np.linalg.norm((x - reference).astype(np.float64))) / size for x in (ours, control))
        self.frames, self.of = self.frames + len(reference), self.of + of
        times = error / max(np.hypot(allowed, noise), np.finfo(np.float32).eps)
        error, times = (float(np.nan_to_num(x, nan=np.inf)) for x in (error, times))  # a NaN is as far as it gets
        self.rel_l2 = max(self.rel_l2, error)
        if times >= self.times_control:
            self.times_control, self.control_rel_l2 = times, allowed

    def totals(self) -> Totals:
        """For the rung of these frames."""
        return Totals(
            {
                "frames": self.frames,
                "of": self.of,
                "rel_l2": self.rel_l2,
                "control_rel_l2": self.control_rel_l2,
                "times_control": self.times_control,
            }
        )


def frames_before_divergence(reference: np.ndarray, control: np.ndarray) -> int:
    """Frames before the control has parted from the reference: both [n, ...]."""
    axes = tuple(range(1, reference.ndim))
    size = np.sqrt((reference.astype(np.float64) ** 2).mean(axis=axes).mean()) or 1.0
    moved = np.sqrt(((control - reference).astype(np.float64) ** 2).mean(axis=axes)) / size  # [n]
    parted = np.flatnonzero(moved > PARTED)
    return int(parted[0]) if len(parted) else len(reference)
