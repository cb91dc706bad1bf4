"""What is measured for one number of flow steps, over all clips."""

from dataclasses import dataclass, field

from models.pocket_tts.pipeline import Pipeline
from parity.measures.drift import Drift
from parity.measures.flips import Flips
from parity.measures.margins import Margins


@dataclass
class FlowStepsRun:
    """One number of flow steps: the port on the runtime under test and on the wrappers, and figures of their speech."""

    steps: int
    pipeline: Pipeline
    wrapped: Pipeline
    ends: Flips = field(default_factory=Flips)
    end_margins: Margins = field(default_factory=Margins)
    latents: Drift = field(default_factory=Drift)
    audio: Drift = field(default_factory=Drift)
    texts: list[tuple[str, str, str]] = field(default_factory=list)  # said, understood of the reference, of ours
    log_mel_cosines: list[float] = field(default_factory=list)
    snrs_db: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)  # RMS of the teacher-forced latents, a chunk each
