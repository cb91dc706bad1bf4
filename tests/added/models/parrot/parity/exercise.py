"""Exercise: the host side run on real audio."""

from collections.abc import Sequence

from models.parrot.pipeline import Pipeline
from parity.ladder.subject import Clip
from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.spec import ExportPlan


def exercise(plan: ExportPlan, bundle: Bundle, runtime: Runtime, clips: Sequence[Clip]) -> None:
    """Transcribe every clip."""
    pipeline = Pipeline(bundle, runtime)
    for clip in clips:
        pipeline.transcribe(clip.audio)
