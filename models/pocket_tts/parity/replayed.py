"""A run of the reference in the place of the backbone and the flow, so that only the host's loop is under test."""

import numpy as np

from models.pocket_tts.parity.reference import ReferenceRun


class Replayed:
    """A run of the reference that drives the loop; past its end it repeats the last frame.

    Args:
        run: the reference's run of one chunk of text.
    """

    def __init__(self, run: ReferenceRun) -> None:
        self._run, self._index = run, -1

    def step(self, latent: np.ndarray | None) -> tuple[np.ndarray, float]:
        """The next hidden state [D] and logit of the end; the latent is ignored."""
        self._index = min(self._index + 1, len(self._run.latents) - 1)
        return self._run.hidden[self._index], float(self._run.eos_logits[self._index])

    def sample(self, hidden: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The reference's latent [Z] of the current step; hidden state and noise are ignored."""
        latent: np.ndarray = self._run.latents[self._index]
        return latent
