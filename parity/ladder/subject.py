"""What is put to the test: one bundle, its checkpoint, a runtime, and clips of real audio."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit.bundle.bundle import Bundle
from toolkit.component import Runtime
from toolkit.compute_units import UnitsChoice
from toolkit.contract import Transcriber
from toolkit.corpora.example import Example, WordTime
from toolkit.export.checkpoint import Checkpoint
from toolkit.model import ModelInfo
from toolkit.spec import Compression, ExportPlan, Precision

COARSEST_FIRST: tuple[Compression, ...] = ("palette4", "int8")


@dataclass(frozen=True)
class Clip:
    """One utterance at the model's rate.

    Attributes:
        id: of the corpus.
        audio: [samples] float32.
        text: the transcript.
        words: their known times, where the corpus has them.
        language: code, where the corpus tells it.
    """

    id: str
    audio: np.ndarray
    text: str
    words: tuple[WordTime, ...] = ()
    language: str | None = None

    @classmethod
    def from_example(cls, example: Example, sample_rate: int) -> "Clip":
        """An utterance of a corpus, read and resampled.

        Raises:
            AudioError: the audio cannot be used.
        """
        return cls(example.id, example.samples(sample_rate), example.text, example.words or (), example.language)


class ClipStream:
    """Clips read one by one, once; the first few are kept for the packages stage.

    Args:
        clips: lazily read.
        keep: how many to keep.
    """

    def __init__(self, clips: Iterable[Clip], keep: int) -> None:
        self._clips, self._keep = clips, keep
        self.first: list[Clip] = []
        self.count = 0

    def __iter__(self) -> Iterator[Clip]:
        for clip in self._clips:
            self.count += 1
            if len(self.first) < self._keep:
                self.first.append(clip)
            yield clip


@dataclass(frozen=True)
class Subject:
    """The bundle under test, and everything that it is compared with.

    Attributes:
        model: the family.
        bundle: opened and checked.
        checkpoint: what the bundle was made from; the reference loads it.
        plan: the model's components, from the checkpoint.
        eager: runs the wrappers of the plan.
        runtime: under test in the stages decode and task.
        packages: runs the saved packages; None where only the wrappers are under test.
        clips: real audio.
        options: the model's own options of `compare`, as they were resolved.
        recogniser: opens a recogniser that judges whether speech is understood; None where there is none.
        units: compute units that the run asked for, on Core ML.
    """

    model: ModelInfo
    bundle: Bundle
    checkpoint: Checkpoint
    plan: ExportPlan
    eager: Runtime
    runtime: Runtime
    packages: Runtime | None
    clips: ClipStream
    options: Mapping[str, Any] = field(default_factory=dict)
    recogniser: Callable[[], Transcriber] | None = None
    units: UnitsChoice | None = None

    @property
    def decodes_in(self) -> Precision:
        """Precision of what is under test in the stages decode and task; fp16 where one package is."""
        half = self.runtime.name != "eager" and "fp16" in self.precision.values()
        return "fp16" if half else "fp32"

    @property
    def decodes_compressed(self) -> Compression:
        """Compression of what is under test in the stages decode and task; the coarsest where packages differ."""
        held = self.compression.values() if self.runtime.name != "eager" else ()
        return next((c for c in COARSEST_FIRST if c in held), "none")

    @property
    def gate_case(self) -> str:
        """Which gate of a rung holds in the stages decode and task: the compression, else the precision."""
        compression = self.decodes_compressed
        return compression if compression != "none" else self.decodes_in

    @property
    def compression(self) -> dict[str, Compression]:
        """Component -> compression of its package's weights."""
        return {c.name: c.compression for c in self.bundle.manifest.components}

    @property
    def precision(self) -> dict[str, Precision]:
        """Component -> precision of its package."""
        return {c.name: c.precision for c in self.bundle.manifest.components}
