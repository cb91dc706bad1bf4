"""The control: the reference run again with noise in its latents, to see how far noise alone moves it."""

import numpy as np

from models.pocket_tts.parity.reference import UNREACHABLE_LOGIT, Reference, ReferenceRun, VoicePrompt
from parity.measures.arrays import rms
from parity.measures.drift import frames_before_divergence

CONTROLS = 3  # runs under noise: how far one moves is chance


def run_under_noise(
    reference: Reference, run: ReferenceRun, voice: VoicePrompt, *, flow_steps: int, error: float
) -> tuple[ReferenceRun, int]:
    """Repeat a run several times with noise added to its latents, and return the one that moved most.

    Args:
        reference: makes the runs.
        run: the run to repeat, of one chunk of text.
        voice: the voice that the run speaks in.
        flow_steps: the flow steps per frame of the run.
        error: standard deviation of the noise.

    Returns:
        That run, and the number of frames before the first of all runs diverges from the given one.
    """
    controls = [
        reference.run(
            run.text,
            voice,
            iter(run.noise),
            flow_steps=flow_steps,
            eos_threshold=UNREACHABLE_LOGIT,
            max_frames=len(run.latents),
            nudge=error,
            nudge_seed=seed,
        )
        for seed in range(CONTROLS)
    ]
    parted = min(frames_before_divergence(run.latents, control.latents) for control in controls)
    moved = [rms((control.latents - run.latents)[: max(parted, 1)]) for control in controls]
    return controls[int(np.argmax(moved))], parted
