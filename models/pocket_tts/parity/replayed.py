"""A run of the reference in the place of the backbone and the flow, so that only the host's loop is under test."""

import numpy as np

from models.pocket_tts.parity.reference import ReferenceRun


class Replayed:
    """A run of the reference that drives the loop; past its end it repeats the last frame.

    Args:
        run: of one chunk.
    """

    def __init__(self, run: ReferenceRun) -> None:
        self._run, self._index = run, -1

    def step(self, latent: np.ndarray | None) -> tuple[np.ndarray, float]:
        """hidden [D] and logit of the end, whatever the latent."""
        self._index = min(self._index + 1, len(self._run.latents) - 1)
        return self._run.hidden[self._index], float(self._run.eos_logits[self._index])

    def sample(self, hidden: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The latent [Z] of this step."""
        latent: np.ndarray = self._run.latents[self._index]
        return latent
