"""The packages stage: real calls, recorded from the eager wrappers, replayed on the saved packages.

Integer outputs (token ids, durations) are decisions. A float32 package with whole weights may turn none. A float16
package, or one with compressed weights, may turn one only where the eager wrapper itself was near a tie: its margin is
at most twice the largest error that the package shows on the very logits that the decision was taken from
(`parity.measures.margins`). Those logits are an output with its own gate, so that a damaged package cannot
excuse itself. Excused flips are counted and shown, never silent.

States are compared after each call, on what the call wrote on either side: the rest is what both were given, and a
cache that is mostly empty or old would hide one wrong row.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from parity.ladder.contract import DecisionLogits, parity_of
from parity.ladder.ladder import Row, Status, note_of_fault, row_from_metrics
from parity.ladder.subject import Clip
from parity.measures.arrays import Metrics, NotComparableError, compare_arrays, worst
from parity.measures.margins import is_near_tie, top_two
from toolkit.bundle.bundle import Bundle
from toolkit.bundle.manifest import ParityEntry
from toolkit.component import Runtime
from toolkit.corpora.open import open_corpus
from toolkit.errors import BundleError, ComponentFault, RuntimeFault
from toolkit.model import ModelInfo
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.open import open_runtime
from toolkit.runtimes.recording import Call, RecordingRuntime, replay
from toolkit.spec import FLOAT_METRICS, INTEGER_METRICS, Compression, ExportPlan, FunctionSpec, Gate, Precision

# Clips that the packages stage runs, and calls that it keeps of each function: enough to fill every window and to see
# blanks and tokens, and no more memory than a few hundred MB at the published size.
CLIPS_EXERCISED = 3
CALLS_KEPT = 64

# What the row of a state begins with.
_STATE = "state "

# An output of a single number (a probability) has no spread of its own: its calls are pooled into one array.
_POOLED_ELEMENTS = 1


@dataclass(frozen=True)
class OutputParity:
    """One output or state of one function of one package against its eager wrapper, worst of all calls.

    Attributes:
        component: package.
        function: entry point.
        output: its name; `state NAME` for a state.
        calls: how many were compared.
        metrics: the worst of each figure.
        near_ties: flips that were excused.
        gate: limits.
        fault: why it could not be compared; empty otherwise.
        skipped: whether the fault is another output's, whose row has failed.
    """

    component: str
    function: str
    output: str
    calls: int
    metrics: Metrics | None
    near_ties: int
    gate: Gate
    fault: str = ""
    skipped: bool = False

    def row(self) -> Row:
        """The form the ladder shows."""
        only = "" if self.function == "main" else f" {self.function}"
        label = f"{self.component}{only}: {self.output}"
        if self.metrics is None:
            status = Status.SKIPPED if self.skipped else Status.FAILED
            return Row(label, status, {}, self.gate, self.fault, component=self.component)
        numbers = self.metrics.shown()
        if self.metrics.integer:
            numbers["flip_share"] = (self.metrics.mismatches - self.near_ties) / self.metrics.elements
        excused = f"{self.near_ties} of {self.metrics.mismatches} flips are near ties" if self.near_ties else ""
        row = row_from_metrics(label, numbers | {"calls": self.calls}, self.gate, excused)
        return replace(row, component=self.component)

    def entry(self) -> ParityEntry:
        """The form the manifest keeps."""
        row = self.row()
        m = self.metrics or Metrics(0, math.nan, math.nan, math.nan, math.nan, math.nan)
        return ParityEntry(
            function=self.function,
            output=self.output,
            calls=self.calls,
            max_abs=_finite(m.max_abs),
            mean_abs=_finite(m.mean_abs),
            rel_l2=_finite(m.rel_l2),
            psnr_db=_finite(m.psnr_db),
            cosine=_finite(m.cosine),
            non_finite=m.non_finite,
            mismatches=m.mismatches,
            gate=f"{self.gate}: {self.gate.reason}" + (f"; {row.note}" if row.note else ""),
            passed=row.status is Status.PASSED,
        )


def _finite(value: float) -> float | None:
    """JSON has no infinity and no NaN."""
    return value if math.isfinite(value) else None


def record_calls(plan: ExportPlan, bundle: Bundle, model: ModelInfo, clips: Sequence[Clip]) -> list[Call]:
    """Run a model's host side on the eager wrappers, in every form, and keep what each component was given.

    Args:
        plan: the model's components.
        bundle: constants and host files.
        model: the family; `exercise` of its parity module makes the calls.
        clips: real audio with its text, at the model's rate.
    """
    recording = RecordingRuntime(EagerRuntime(plan), CALLS_KEPT)
    parity_of(model).exercise(plan, bundle, recording, clips)
    return recording.calls


def measure_bundle(
    model: ModelInfo, bundle: Bundle, plan: ExportPlan, components: Collection[str]
) -> dict[str, list[ParityEntry]]:
    """The parity of freshly saved packages on the demo clips: what `convert` ends with.

    Args:
        model: the family.
        bundle: holds the packages; need not be published yet.
        plan: what they were made from.
        components: which to measure.

    Returns:
        Component -> an entry for each output of each of its functions.
    """
    rate = int(plan.host["sample_rate"])
    clips = [Clip.from_example(example, rate) for example in open_corpus("demo", CLIPS_EXERCISED, model.demo_clips)]
    calls = [c for c in record_calls(plan, bundle, model, clips) if c.component in components]
    entries = [c for c in bundle.manifest.components if c.name in components]
    precision = {c.name: c.precision for c in entries}
    compression = {c.name: c.compression for c in entries}
    # The eager model is in memory too: weights kept in float32 would double what a large model takes.
    packages = open_runtime("portable", bundle, model, cache_weights=False)
    hook = parity_of(model).decision_logits
    found = compare_packages(plan, calls, packages, EagerRuntime(plan), precision, hook, compression=compression)
    return {name: [p.entry() for p in found if p.component == name] for name in precision}


def compare_packages(
    plan: ExportPlan,
    calls: Sequence[Call],
    runtime: Runtime,
    eager: Runtime,
    precision: Mapping[str, Precision],
    decision_logits: DecisionLogits | None = None,
    on_call: Callable[[], None] = lambda: None,
    compression: Mapping[str, Compression] | None = None,
) -> list[OutputParity]:
    """Replay recorded calls on another runtime and compare output by output.

    Args:
        plan: declares the components, their functions and gates.
        calls: from `record_calls`; their outputs and states after the call are the reference.
        runtime: runs the saved packages.
        eager: the wrappers; asked again only where a decision differs.
        precision: of each package; only components named here are compared.
        decision_logits: the model's hook for integer outputs.
        on_call: called once a replayed call.
        compression: of the weights of each package; none where it names none.

    Returns:
        One entry an output and a state. A function that was never called is a failed entry, and so is a state that no
        call changed, so that no package passes unseen.
    """
    replay = _Replay(plan, runtime, eager, precision, compression or {}, decision_logits, on_call)
    ordered = sorted(calls, key=lambda call: (call.component, call.function))
    grouped = {key: list(group) for key, group in groupby(ordered, key=lambda call: (call.component, call.function))}
    return [
        parity
        for component in plan.components
        if component.name in precision
        for function in component.functions
        for parity in replay.function(component.name, function.name, grouped.get((component.name, function.name), []))
    ]


@dataclass(frozen=True)
class _Replay:
    plan: ExportPlan
    runtime: Runtime
    eager: Runtime
    precision: Mapping[str, Precision]
    compression: Mapping[str, Compression]
    decision_logits: DecisionLogits | None
    on_call: Callable[[], None]

    def function(self, component: str, function: str, calls: Sequence[Call]) -> Iterator[OutputParity]:
        """Every output and state of one function."""
        declared = self.plan.component(component).function(function)
        blanks = list(self._blanks(component, declared, len(calls)))
        if not calls:
            yield from (replace(blank, fault="never called on real audio") for blank in blanks)
            return
        try:
            replayed = [self._run(call) for call in calls]
        except RuntimeFault as error:
            yield from _faulty(blanks, error)
            return
        for blank in blanks:
            if blank.output.startswith(_STATE):
                yield _state(blank, calls, replayed)
            else:
                yield self._output(blank, calls, [call.outputs for call in replayed])

    def _blanks(self, component: str, function: FunctionSpec, calls: int) -> Iterator[OutputParity]:
        names = {t.name: t.dtype for t in function.outputs} | {_STATE + t.name: t.dtype for t in function.states}
        for name, dtype in names.items():
            gate = self._gate(component, integer=dtype == "int32")
            yield OutputParity(component, function.name, name, calls, None, 0, gate)

    def _run(self, call: Call) -> Call:
        replayed = replay(call, self.runtime)
        self.on_call()
        return replayed

    def _gate(self, component: str, *, integer: bool) -> Gate:
        compression = self.compression.get(component, "none")
        gate = self.plan.component(component).gate(self.precision[component], compression)
        return gate.limited_to(INTEGER_METRICS if integer else FLOAT_METRICS)

    def _output(
        self, blank: OutputParity, calls: Sequence[Call], outputs: Sequence[Mapping[str, np.ndarray]]
    ) -> OutputParity:
        name = blank.output
        if any(name not in values for values in outputs):
            return replace(blank, fault=f"the package has no output '{name}'")
        pairs = [(call.outputs[name], values[name]) for call, values in zip(calls, outputs, strict=True)]
        try:
            metrics = _measure(pairs, pooled=self._is_piece(blank))
        except NotComparableError as error:
            return replace(blank, fault=str(error))
        if not metrics.integer:
            return replace(blank, metrics=metrics)
        near_ties = sum(self._near_ties(call, name, b != a) for call, (a, b) in zip(calls, pairs, strict=True))
        return replace(blank, metrics=metrics, near_ties=near_ties)

    def _is_piece(self, blank: OutputParity) -> bool:
        declared = self.plan.component(blank.component).function(blank.function)
        return next(output.piece for output in declared.outputs if output.name == blank.output)

    def _near_ties(self, call: Call, output: str, flipped: np.ndarray) -> int:
        """How many of a call's flipped decisions are near ties."""
        exact = self.precision[call.component] == "fp32" and self.compression.get(call.component, "none") == "none"
        if not flipped.any() or exact or self.decision_logits is None:
            return 0
        try:
            ours = self.decision_logits(call, self.runtime).get(output)
            theirs = self.decision_logits(call, self.eager).get(output)
        except (BundleError, RuntimeFault):  # the bundle lacks the component that shows its logits
            return 0
        if ours is None or theirs is None:
            return 0
        noise = float(np.abs(theirs - ours).max())
        rows = theirs.reshape(flipped.size, -1)[flipped.ravel()]  # [decisions, candidates]
        return sum(is_near_tie(top_two(row).margin, noise) for row in rows)


def _faulty(blanks: Sequence[OutputParity], fault: RuntimeFault) -> Iterator[OutputParity]:
    """Rows of a function that could not be run: where one tensor is at fault, the others were only not measured."""
    tensor = fault.tensor if isinstance(fault, ComponentFault) else ""
    if tensor not in {blank.output for blank in blanks}:
        yield from (replace(blank, fault=note_of_fault(fault, fault.message)) for blank in blanks)
        return
    assert isinstance(fault, ComponentFault)
    for blank in blanks:
        if blank.output == tensor:
            yield replace(blank, fault=note_of_fault(fault, fault.reason))
        else:
            yield replace(blank, fault=f"not measured: '{tensor}' of the same call is not finite", skipped=True)


def _state(blank: OutputParity, calls: Sequence[Call], replayed: Sequence[Call]) -> OutputParity:
    name = blank.output.removeprefix(_STATE)
    if not any((call.states_after[name] != call.states_before[name]).any() for call in calls):
        return replace(blank, fault="never written")
    pairs = []
    for call, again in zip(calls, replayed, strict=True):
        before, ours, theirs = call.states_before[name], call.states_after[name], again.states_after[name]
        written = (ours != before) | (theirs != before)
        if written.any():
            pairs.append((ours[written], theirs[written]))
    return replace(blank, metrics=_measure(pairs))


def _measure(pairs: Sequence[tuple[np.ndarray, np.ndarray]], *, pooled: bool = False) -> Metrics:
    pooled = pooled or bool(pairs and pairs[0][0].size <= _POOLED_ELEMENTS)
    if pairs and pooled and all(a.shape == b.shape for a, b in pairs):
        pairs = [(np.stack([a for a, _ in pairs]), np.stack([b for _, b in pairs]))]
    return worst([compare_arrays(reference, candidate) for reference, candidate in pairs])
