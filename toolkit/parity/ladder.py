"""The parity ladder: stages in order, the rows each yields, and the first stage out of its gate.

The engine knows no model and no runtime. A model declares its stages as data (`models/<model>/reference.py: STAGES`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from toolkit.errors import RuntimeFault
from toolkit.parity.gates import Gate
from toolkit.parity.metrics import Metrics, NotComparableError, compare_arrays, worst

QUESTIONS: Mapping[str, str] = {
    "features": "is the host's front end right?",
    "wrappers": "is the split model still the model?",
    "packages": "did conversion or precision break it?",
    "device": "does the hardware agree?",
    "decode": "do the loops agree?",
    "task": "does the user notice?",
}


class Status(StrEnum):
    """What became of a row, a stage or a ladder."""

    PASSED = "passed"
    FAILED = "FAILED"
    SKIPPED = "SKIP"


class SkipStage(Exception):  # noqa: N818 - no error: the stage says why it cannot run here
    """Raised by a stage that cannot run here, with the reason."""


@dataclass(frozen=True)
class Row:
    """One output of one stage.

    Attributes:
        output: what was compared, e.g. `encoder audio_5s: encoder`.
        status: passed, failed or skipped.
        metrics: name -> number.
        gate: the limits, or None where the row is skipped or only informs.
        note: what is out of bounds, what was excused, or why it was skipped.
        headline: a line for the summary under the table, e.g. the word error rates.
    """

    output: str
    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    gate: Gate | None = None
    note: str = ""
    headline: str = ""


@dataclass(frozen=True)
class Stage:
    """A rung: `run` takes the subject under test and yields rows, or raises `SkipStage`."""

    name: str
    run: Callable[[Any], Iterable[Row]]


@dataclass(frozen=True)
class StageResult:
    """What one stage found."""

    name: str
    rows: tuple[Row, ...]

    @property
    def status(self) -> Status:
        """Failed by one failed row; skipped when nothing ran."""
        statuses = {row.status for row in self.rows}
        if Status.FAILED in statuses:
            return Status.FAILED
        return Status.PASSED if Status.PASSED in statuses else Status.SKIPPED


@dataclass(frozen=True)
class LadderResult:
    """What all stages of one model found.

    Attributes:
        model: its id.
        about: facts to print: bundle, runtime, dataset, files.
        stages: in the ladder's order.
    """

    model: str
    about: Mapping[str, str]
    stages: tuple[StageResult, ...]

    @property
    def blame(self) -> str | None:
        """The first stage out of its gate."""
        return next((s.name for s in self.stages if s.status is Status.FAILED), None)

    @property
    def passed(self) -> bool:
        """No stage failed and at least one ran."""
        return self.blame is None and any(s.status is Status.PASSED for s in self.stages)

    @property
    def verdict(self) -> str:
        """One line."""
        if self.blame:
            first = next(s for s in self.stages if s.name == self.blame)
            row = next(r for r in first.rows if r.status is Status.FAILED)
            return f"{self.model}: FAILED, the first stage to blame is '{self.blame}' ({row.output}: {row.note})"
        skipped = [s.name for s in self.stages if s.status is Status.SKIPPED]
        if not self.passed:
            return f"{self.model}: FAILED, every stage was skipped, nothing was compared"
        ran = f"{self.model}: passed, {len(self.stages) - len(skipped)} stages"
        return f"{ran}, not run: {', '.join(skipped)}" if skipped else ran


def run_ladder(model: str, stages: Sequence[Stage], subject: Any, about: Mapping[str, str]) -> LadderResult:
    """Run every stage in the ladder's order; a stage that fails does not keep the later ones from running.

    Args:
        model: id, for the report.
        stages: what the model declares; stages of the ladder that it leaves out are shown as skipped.
        subject: handed to each stage.
        about: facts for the report.
    """
    declared = {stage.name: stage for stage in stages}
    unknown = set(declared) - set(QUESTIONS)
    if unknown:
        raise ValueError(f"no such stages: {sorted(unknown)}")
    return LadderResult(model, about, tuple(_run_stage(name, declared.get(name), subject) for name in QUESTIONS))


def row_from_metrics(output: str, metrics: Mapping[str, float], gate: Gate, note: str = "", headline: str = "") -> Row:
    """A row that passes when its metrics keep the gate."""
    breaches = gate.breaches(metrics)
    text = "; ".join([*breaches, note] if note else breaches)
    return Row(output, Status.FAILED if breaches else Status.PASSED, metrics, gate, text, headline)


def row_from_arrays(output: str, pairs: Iterable[tuple[np.ndarray, np.ndarray]], gate: Gate, note: str = "") -> Row:
    """A row from (reference, candidate) pairs, the worst of each figure; fails when they cannot be compared."""
    try:
        metrics: Metrics = worst([compare_arrays(reference, candidate) for reference, candidate in pairs])
    except NotComparableError as error:
        return Row(output, Status.FAILED, {}, gate, str(error))
    return row_from_metrics(output, metrics.shown(), gate, note)


def _run_stage(name: str, stage: Stage | None, subject: Any) -> StageResult:
    if stage is None:
        return StageResult(name, (Row("-", Status.SKIPPED, note="the model declares no such stage"),))
    rows: list[Row] = []
    try:
        rows.extend(stage.run(subject))
    except SkipStage as skip:
        rows.append(Row("-", Status.SKIPPED, note=str(skip)))
    except RuntimeFault as fault:
        rows.append(Row("-", Status.FAILED, note=str(fault)))
    return StageResult(name, tuple(rows) or (Row("-", Status.FAILED, note="no common output"),))
