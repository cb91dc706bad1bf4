"""The parity ladder: stages in order, the rows each yields, and the first stage out of its gate.

The engine knows no model and no runtime. A model declares its rungs (parity/ladder/rungs.py), and its `reference`
module fills a `Ladder` with what it found for each of them (parity/ladder/engine.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from parity.ladder.exhibits import Exhibit, KeptExhibit
from parity.ladder.rungs import LadderPlan, Rung
from parity.ladder.tables import TitledTable
from parity.measures.arrays import Metrics, NotComparableError, compare_arrays, worst
from parity.measures.totals import Totals
from toolkit.errors import FIND_STAGE, ComponentFault, RuntimeFault
from toolkit.spec import Gate

QUESTIONS: Mapping[str, str] = {
    "features": "is the host's front end right?",
    "wrappers": "is the split model still the model?",
    "packages": "did conversion or precision break it?",
    "device": "does the hardware agree?",
    "decode": "do the loops agree?",
    "task": "does the user notice?",
}


# The output of a row that speaks of its stage as a whole.
WHOLE_STAGE = "-"


class Status(StrEnum):
    """What became of a row, a stage or a ladder."""

    PASSED = "passed"
    FAILED = "FAILED"
    SKIPPED = "SKIP"


class SkipStage(Exception):
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
        rung: the declaration it belongs to; None for a row that compares nothing.
        component: the package that the row is about; empty where it is about more than one.
    """

    output: str
    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    gate: Gate | None = None
    note: str = ""
    headline: str = ""
    rung: Rung | None = None
    component: str = ""

    @property
    def text(self) -> str:
        """Its note, after its name unless it speaks of the whole stage."""
        return self.note if self.output == WHOLE_STAGE else f"{self.output}: {self.note}"


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
        tables: shown beside the stages' rows, in every form of the report.
        facts: of the bundle and of this run; in files and JSON, not in the terminal.
        exhibits: what a report shows beside numbers.
        walk: what `--blame` found, JSON-ready; None where it was not asked for.
        error: why the ladder could not be run; empty where it was.
        skip: why the ladder was not run, where that is no failure.
    """

    model: str
    about: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[StageResult, ...] = ()
    tables: tuple[TitledTable, ...] = ()
    facts: tuple[TitledTable, ...] = ()
    exhibits: tuple[KeptExhibit, ...] = ()
    walk: Mapping[str, Any] | None = None
    error: str = ""
    skip: str = ""

    def with_table(self, table: TitledTable) -> "LadderResult":
        """The same with one more table; where its stage is not of the ladder, it stands for the model as a whole."""
        return replace(self, tables=(*self.tables, table))

    @property
    def blame(self) -> str | None:
        """The first stage out of its gate."""
        return next((s.name for s in self.stages if s.status is Status.FAILED), None)

    @property
    def status(self) -> Status:
        """Failed by a failed stage, an error, or because nothing was compared."""
        return Status.SKIPPED if self.skip else Status.PASSED if self.passed else Status.FAILED

    @property
    def failed_row(self) -> Row | None:
        """The first failed row of the stage to blame."""
        rows = next((s.rows for s in self.stages if s.name == self.blame), ())
        return next((row for row in rows if row.status is Status.FAILED), None)

    @property
    def passed(self) -> bool:
        """No stage failed and at least one ran."""
        return self.blame is None and any(s.status is Status.PASSED for s in self.stages)

    @property
    def headlines(self) -> list[str]:
        """What the rows say for the summary, in their order."""
        return [row.headline for stage in self.stages for row in stage.rows if row.headline]

    @property
    def verdict(self) -> str:
        """One line."""
        if self.error:
            return f"{self.model}: error: {self.error}"
        if self.skip:
            return f"{self.model}: SKIP, {self.skip}"
        if row := self.failed_row:
            return f"{self.model}: FAILED, the first stage to blame is '{self.blame}' ({row.text})"
        skipped = [s.name for s in self.stages if s.status is Status.SKIPPED]
        if not self.passed:
            return f"{self.model}: FAILED, every stage was skipped, nothing was compared"
        ran = f"{self.model}: passed, {len(self.stages) - len(skipped)} stages"
        return f"{ran}, not run: {', '.join(skipped)}" if skipped else ran


class Ladder:
    """Collects what the stages find, clip by clip, and keeps numbers only; arrays of the first few exhibits alone.

    Args:
        model: its id.
        declared: its rungs; a stage that has one and yields nothing has failed.
        about: facts for the report.
        exhibits: how many to keep of each kind, for a report that shows them.
    """

    def __init__(self, model: str, declared: LadderPlan, about: Mapping[str, str], *, exhibits: int = 0) -> None:
        if unknown := declared.stages - set(QUESTIONS):
            raise ValueError(f"no such stages: {sorted(unknown)}")
        self._model, self._declared = model, declared
        self.about = dict(about)
        self._metrics: dict[tuple[str, str], list[Metrics]] = {}
        self._rungs: dict[tuple[str, str], Rung] = {}
        self._faults: dict[tuple[str, str], str] = {}
        self._rows: dict[str, list[Row]] = {name: [] for name in QUESTIONS}
        self._compared: dict[str, set[str]] = {name: set() for name in QUESTIONS}
        self._max_exhibits = exhibits
        self._exhibits: dict[tuple[str, str], list[KeptExhibit]] = {}
        self.facts: list[TitledTable] = []

    def compare(self, rung: Rung, reference: np.ndarray, candidate: np.ndarray, /, **fields: object) -> None:
        """Compare one pair of arrays; the row shows the worst of each figure over all its pairs.

        Args:
            rung: a declared one.
            reference: array of the rung's reference.
            candidate: array of the rung's candidate, of the same shape.
            fields: of its name.

        Raises:
            ValueError: the rung is not declared, or has other fields.
        """
        self._declared.gate(rung)
        key = (rung.stage, rung.named(**fields))
        self._rungs[key] = rung
        self._compared[rung.stage].add(rung.output)
        self._metrics.setdefault(key, [])
        try:
            self._metrics[key].append(compare_arrays(reference, candidate))
        except NotComparableError as error:
            self._faults.setdefault(key, str(error))

    def judge(self, rung: Rung, counted: Totals, /, **fields: object) -> None:
        """Judge what was counted over all clips by the gate of a rung; without a gate it informs.

        Raises:
            ValueError: the rung is not declared, or has other fields.
        """
        gate, output = self._declared.gate(rung), rung.named(**fields)
        if gate:
            row = row_from_metrics(output, counted.metrics, gate, counted.note, counted.headline)
        else:
            row = Row(output, Status.PASSED, counted.metrics, None, counted.note, counted.headline)
        self.add_row(rung.stage, row, rung)

    def skip(self, rung: Rung, why: str, /, **fields: object) -> None:
        """Say why a rung cannot be compared; without its fields, none of its rows."""
        output = rung.named(**fields) if fields else rung.label
        self.add_row(rung.stage, Row(output, Status.SKIPPED, note=why), rung)

    def add_row(self, stage: str, row: Row, rung: Rung | None = None) -> None:
        """Add a finished row, of a rung where it holds something against something."""
        if rung:
            self._compared[stage].add(rung.output)
            row = replace(row, rung=rung)
        self._rows[stage].append(row)

    def wants(self, stage: str, title: str) -> bool:
        """Whether one more exhibit of this title would be kept; to be asked before work is done for it alone."""
        return len(self._exhibits.get((stage, title), ())) < self._max_exhibits

    def exhibit(self, stage: str, title: str, exhibit: Exhibit, clip: str = "") -> None:
        """Show something under a stage; the first few of each title are kept, none where no report wants them."""
        if self.wants(stage, title):
            self._exhibits.setdefault((stage, title), []).append(KeptExhibit(stage, title, exhibit.reduced(), clip))

    @contextmanager
    def attempt(self, stage: str, what: str) -> Iterator[None]:
        """Turn a fault of a component, or the reason for a skip, into a row of the stage that met it."""
        try:
            yield
        except SkipStage as skip:
            self.add_row(stage, Row(what, Status.SKIPPED, note=str(skip)))
        except RuntimeFault as fault:
            self.add_row(stage, Row(what, Status.FAILED, note=note_of_fault(fault, fault.message)))

    def result(self) -> LadderResult:
        """All stages in the ladder's order."""
        stages = tuple(self._stage(name) for name in QUESTIONS)
        exhibits = tuple(shown for kept in self._exhibits.values() for shown in kept)
        return LadderResult(self._model, self.about, stages, facts=tuple(self.facts), exhibits=exhibits)

    def _stage(self, name: str) -> StageResult:
        rows = [self._row(key) for key in self._metrics if key[0] == name] + self._rows[name]
        if any(row.status is not Status.SKIPPED for row in rows):
            missing = self._declared.missing(name, self._compared[name])
            rows += [Row(output, Status.SKIPPED, note=why) for output, why in missing.items()]
        if rows:
            return StageResult(name, tuple(rows))
        if name not in self._declared.stages:
            return StageResult(name, (Row(WHOLE_STAGE, Status.SKIPPED, note="the model has no such stage"),))
        return StageResult(name, (Row(WHOLE_STAGE, Status.FAILED, note="no common output"),))

    def _row(self, key: tuple[str, str]) -> Row:
        metrics, rung, output = self._metrics[key], self._rungs[key], key[1]
        gate, found = self._declared.gate(rung), worst(metrics).shown() if metrics else {}
        if key in self._faults:
            return Row(output, Status.FAILED, found, gate, self._faults[key], rung=rung)
        if gate is None:
            return Row(output, Status.PASSED, found, rung=rung)
        return replace(row_from_metrics(output, found, gate), rung=rung)


def passed(results: Sequence[LadderResult]) -> bool:
    """Whether something was compared and all of it passed; a model that was skipped does not count."""
    ran = [result for result in results if not result.skip]
    return bool(ran) and all(result.passed for result in ran)


def note_of_fault(fault: RuntimeFault, what: str) -> str:
    """What a row says of a fault: the way to `compare` has been taken, the next step leads into the component."""
    if fault.next_step != FIND_STAGE:
        return f"{what}. {fault.next_step}"
    if isinstance(fault, ComponentFault):
        return f"{what}; `compare --bundle DIR --layers {fault.component}` names the op"
    return what


def row_from_metrics(output: str, metrics: Mapping[str, float], gate: Gate, note: str = "", headline: str = "") -> Row:
    """A row that passes when its metrics keep the gate."""
    breaches = gate.breaches(metrics)
    text = "; ".join([*breaches, note] if note else breaches)
    return Row(output, Status.FAILED if breaches else Status.PASSED, metrics, gate, text, headline)
