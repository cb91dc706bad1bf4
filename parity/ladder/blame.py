"""Blame: the same measurement with one more source of error at a time, and how much each step adds.

    reference fp32 -> wrappers -> package fp32 -> package fp16 -> compressed package -> device -> host loop -> task

The model's own `measure` runs once on the eager wrappers and once on the packages of each kind, always behind the same
host, so that the rows of its stage `decode` (what stands at the end of the chain) can be laid side by side by name. The
package of a kind that is not under test is converted into a bundle of its own beside it (`NAME.fp32`, `NAME.fp16`) and
kept for the next time.

A step's share is the squared error that it adds, of the sum over all steps: errors of independent sources add in
squares. Where a step makes the error smaller its share is 0; where it makes it NaN or infinite, its share is all.

Which step owns a row that left its gate: the rows of `features`, `wrappers`, `packages`, `device` and `task` belong to
their own step; a row of `decode` to the first run in which it fails, the run on the wrappers being the host loop's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from parity.ladder.ladder import LadderResult, Row, Status
from parity.ladder.tables import TitledTable, number

FEATURES, WRAPPERS, FP32, FP16 = "features", "wrappers", "package fp32", "package fp16"
COMPRESSED, DEVICE, LOOP, TASK = "compressed package", "device", "host loop", "task"
STEPS = (FEATURES, WRAPPERS, FP32, FP16, COMPRESSED, DEVICE, LOOP, TASK)
RUNS = (WRAPPERS, FP32, FP16, COMPRESSED, DEVICE)  # the steps that have a run of their own
PACKAGES = (FP32, FP16, COMPRESSED)
_MAX_NAMED_ROWS = 2


@dataclass(frozen=True)
class BlameStep:
    """One step of the walk: whether it kept its gates, and what left them or why it does not apply."""

    name: str
    status: Status
    note: str = ""


@dataclass(frozen=True)
class OutputErrors:
    """One output along the walk.

    Attributes:
        output: its row's name.
        chain: whether it stands at the end of the whole chain; else it is one component on recorded inputs.
        errors: step -> relative L2 error against the reference after it; inf where there was no finite result.
        shares: step -> its share of the squared error, 0 to 1.
    """

    output: str
    chain: bool
    errors: Mapping[str, float]
    shares: Mapping[str, float]


@dataclass(frozen=True)
class BlameWalk:
    """What the walk found."""

    steps: tuple[BlameStep, ...]
    outputs: tuple[OutputErrors, ...]

    @property
    def first(self) -> BlameStep | None:
        """The first step that left its gate."""
        return next((step for step in self.steps if step.status is Status.FAILED), None)

    @property
    def shares(self) -> dict[str, float]:
        """Step -> mean share over the outputs at the end of the chain; over the components' where there are none."""
        shown = [o for o in self.outputs if o.chain] or list(self.outputs)
        return {step.name: sum(o.shares.get(step.name, 0.0) for o in shown) / max(len(shown), 1) for step in self.steps}

    @property
    def verdict(self) -> str:
        """One line."""
        shares = self.shares
        if self.first:
            share = f", {100 * shares[self.first.name]:.0f} % of the error" if shares[self.first.name] else ""
            return f"blame: the first step that fails its gate is '{self.first.name}'{share} ({self.first.note})"
        name = max(shares, key=shares.__getitem__)
        if not shares[name]:
            return "blame: no step fails its gate, and no step adds an error"
        return f"blame: no step fails its gate; the largest share of the error is '{name}', {100 * shares[name]:.0f} %"

    def added_to(self, result: LadderResult) -> LadderResult:
        """The ladder of the bundle with the walk's table, and its key in JSON."""
        return replace(result.with_table(self.table()), walk=self.json())

    def table(self) -> TitledTable:
        """A row an output, a column a step: the error after it and its share; then each step's result."""
        outputs = sorted(self.outputs, key=lambda o: not o.chain)
        rows = [(("chain: " if o.chain else "") + o.output, *(_cell(o, step) for step in self.steps)) for o in outputs]
        rows.append(("result", *(step.status.value for step in self.steps)))
        notes = [f"{step.status.value} {step.name}: {step.note}" for step in self.steps if step.note]
        return TitledTable(
            title="blame: rel. L2 error after each step, and its share of the squared error",
            headers=("output", *(step.name for step in self.steps)),
            rows=tuple(rows),
            notes=(*notes, self.verdict),
        )

    def json(self) -> dict[str, Any]:
        """The key `walk` of `compare --json`, as parity/report/json_form.py documents it."""
        return {
            "first": self.first.name if self.first else None,
            "verdict": self.verdict,
            "shares": self.shares,
            "steps": [{"step": s.name, "status": s.status.value, "note": s.note} for s in self.steps],
            "outputs": [
                {
                    "output": o.output,
                    "chain": o.chain,
                    "errors": {k: v if math.isfinite(v) else None for k, v in o.errors.items()},
                    "shares": dict(o.shares),
                }
                for o in self.outputs
            ],
        }


def walk_from_runs(runs: Mapping[str, LadderResult | str]) -> BlameWalk:
    """The walk of runs that are done.

    Args:
        runs: step of `RUNS` -> its ladder, or why it does not apply; `wrappers` is always there.
    """
    done = {name: run for name in RUNS if isinstance(run := runs[name], LadderResult)}
    steps = tuple(_step(name, runs[name] if name in RUNS else "", done) for name in STEPS)
    failed = {step.name for step in steps if step.status is Status.FAILED}
    return BlameWalk(steps, (*_chain(done, failed), *_components(done)))


def _step(name: str, run: LadderResult | str, done: Mapping[str, LadderResult]) -> BlameStep:
    if isinstance(run, str) and run:
        return BlameStep(name, Status.SKIPPED, run)
    last = list(done.values())[-1]
    stage, of = {
        FEATURES: ("features", done[WRAPPERS]),
        WRAPPERS: ("wrappers", done[WRAPPERS]),
        LOOP: ("decode", done[WRAPPERS]),
        TASK: ("task", last),
    }.get(name) or ("device" if name == DEVICE else "packages", done[name])
    rows = [*_rows(of, stage).values()]
    if name in (*PACKAGES, DEVICE):
        rows += _newly_failed(name, done)
    broken = [row for row in rows if row.status is Status.FAILED]
    if broken:
        more = f"; and {len(broken) - _MAX_NAMED_ROWS} more" if len(broken) > _MAX_NAMED_ROWS else ""
        notes = "; ".join(f"{row.output}: {row.note}" for row in broken[:_MAX_NAMED_ROWS])
        return BlameStep(name, Status.FAILED, notes + more)
    if all(row.status is Status.SKIPPED for row in rows):
        return BlameStep(name, Status.SKIPPED, "; ".join(dict.fromkeys(row.note for row in rows)))
    return BlameStep(name, Status.PASSED)


def _newly_failed(name: str, done: Mapping[str, LadderResult]) -> list[Row]:
    """Rows of decode that fail in this run and in none before it."""
    earlier = [run for step, run in done.items() if RUNS.index(step) < RUNS.index(name)]
    known = {row.output for run in earlier for row in _failed(run)}
    return [row for row in _failed(done[name]) if row.output not in known]


def _failed(run: LadderResult) -> list[Row]:
    return [row for row in _rows(run, "decode").values() if row.status is Status.FAILED]


def _rows(run: LadderResult, stage: str) -> dict[str, Row]:
    return {row.output: row for s in run.stages if s.name == stage for row in s.rows}


def _chain(done: Mapping[str, LadderResult], failed: set[str]) -> list[OutputErrors]:
    """The outputs at the end of the chain: rows of decode that hold one tensor against another."""
    rows = {name: _rows(run, "decode") for name, run in done.items()}
    names = dict.fromkeys(output for found in rows.values() for output, row in found.items() if _measured(row))
    found = []
    for output in names:
        errors = {name: _error(rows[name].get(output)) for name in done}
        first = rows[WRAPPERS].get(output)
        broken = first is None or first.status is Status.FAILED
        if not broken and len(errors) > 1 and len(set(errors.values())) == 1:
            continue  # a row of the wrappers in every run: no package has a part in it
        origin = FEATURES if FEATURES in failed else WRAPPERS if WRAPPERS in failed or not broken else LOOP
        shares = shares_of(errors)
        if origin != WRAPPERS:  # what the run on the wrappers shows is not the wrappers' own
            errors = {origin: errors.pop(WRAPPERS), **errors}
            shares = {origin: shares.pop(WRAPPERS), **shares}
        found.append(OutputErrors(output, True, errors, shares))
    return found


def _components(done: Mapping[str, LadderResult]) -> list[OutputErrors]:
    """Each package against its wrapper on recorded inputs, with the wrapper's own error where it has the row."""
    wrapped = _rows(done[WRAPPERS], "wrappers")
    rows = {name: _rows(run, "packages") for name, run in done.items() if name in PACKAGES}
    names = dict.fromkeys(output for found in rows.values() for output, row in found.items() if _is_tensor(row))
    found = []
    for output in names:
        own = _error(wrapped[output]) if output in wrapped else 0.0
        errors = {name: math.hypot(own, _error(of.get(output))) for name, of in rows.items()}
        if output in wrapped:
            errors = {WRAPPERS: own, **errors}
        found.append(OutputErrors(output, False, errors, shares_of(errors)))
    return found


def shares_of(errors: Mapping[str, float]) -> dict[str, float]:
    """Step -> share of the sum of added squared errors; all of it for the first step that is not finite."""
    broken = next((name for name, error in errors.items() if not math.isfinite(error)), None)
    if broken is not None:
        return {name: float(name == broken) for name in errors}
    added, before = {}, 0.0
    for name, error in errors.items():
        added[name], before = max(error**2 - before**2, 0.0), error
    total = sum(added.values())
    return {name: value / total if total else 0.0 for name, value in added.items()}


def _measured(row: Row) -> bool:
    """Whether a row of decode holds float tensors against the reference's, or should have."""
    return "psnr_db" in row.metrics


def _is_tensor(row: Row) -> bool:
    return row.gate is not None and ("psnr_db" in row.gate.at_least)


def _error(row: Row | None) -> float:
    """inf where there is no row, no number or something that is not finite."""
    if row is None or row.metrics.get("non_finite"):
        return math.inf
    error = row.metrics.get("rel_l2", math.inf)
    return error if math.isfinite(error) else math.inf


def _cell(output: OutputErrors, step: BlameStep) -> str:
    if step.name not in output.errors:
        return ""
    error, share = output.errors[step.name], output.shares[step.name]
    text = number(error) if math.isfinite(error) else "not finite"
    return f"{text} ({100 * share:.0f} %)"
