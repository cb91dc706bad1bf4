"""Which op is to blame: a package and its eager wrapper on the same call, value by value.

Two runs of the package answer two questions. The free run lets errors travel: what is off, layer by layer. In the
forced run each value that has a partner in the wrapper is compared and then *replaced by it*, so that an op shows only
the error that it adds itself: what it inherits is never blamed, and NaN does not hide what comes after it. The forced
run is repeated without rounding to float16. An error that goes away is one of precision; one that stays is in the
program or its weights.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch

import milrun
from parity.localise.eager_graph import EagerGraph, EagerOp
from parity.localise.pairing import PackageOp, align, in_shape, package_ops
from toolkit.runtimes.recording import Call
from toolkit.spec import ComponentSpec

Cause = Literal["precision", "program"]

# Ops that move values and compute nothing: behind one of them stands the op that did.
_MOVES = {"cast", "concat", "expand_dims", "identity", "read_state", "reshape", "slice_by_index"}
_MOVES |= {"split", "squeeze", "stack", "transpose"}


@dataclass(frozen=True)
class Bounds:
    """What one op may add to the error, as relative L2.

    Attributes:
        precision: in a run as the package declares it.
        program: in a run without rounding to float16, where only stored weights are rounded.
    """

    precision: float
    program: float


# The worst single op of the healthy demo packages adds 0.0044 (a softmax of large logits) and, unrounded, 0.0008.
FP16_BOUNDS = Bounds(precision=0.01, program=0.002)
FP32_BOUNDS = Bounds(precision=1e-4, program=1e-4)


@dataclass(frozen=True)
class Difference:
    """How far a value of the package is from the wrapper's.

    Attributes:
        rel_l2: L2 norm of the error over that of the wrapper's value, where both are finite; inf if only that is 0.
        max_abs: largest absolute error, where both sides are finite.
        non_finite: NaN and infinite elements of the package's value where the wrapper's are finite.
        eager_non_finite: NaN and infinite elements of the wrapper's value.
    """

    rel_l2: float
    max_abs: float
    non_finite: int
    eager_non_finite: int

    def exceeds(self, bound: float) -> bool:
        """Whether it is out of bounds; a NaN where the wrapper has a number always is."""
        return self.non_finite > 0 or self.rel_l2 > bound


@dataclass(frozen=True)
class OpRow:
    """One value that both sides have.

    Attributes:
        op: of the package.
        eager: of the wrapper; its `module` and `source` say where it is.
        error: in the free run, with what it inherits; None where only a part of the package was run.
        added: by this op alone.
        added_unrounded: by this op alone, without rounding to float16.
    """

    op: PackageOp
    eager: EagerOp
    error: Difference | None
    added: Difference
    added_unrounded: Difference

    def cause(self, bounds: Bounds) -> Cause | None:
        """Why it is out of bounds; None where it is not."""
        if self.added_unrounded.exceeds(bounds.program):
            return "program"
        exact = self.op.dtype not in ("float16", "float32")  # a decision may turn on rounded logits
        return "precision" if not exact and self.added.exceeds(bounds.precision) else None


@dataclass(frozen=True)
class Fault:
    """The first op out of bounds.

    Attributes:
        row: the value where it shows.
        op: the package's op at fault: the row's own, or the one that computes what the row only moves.
        cause: whether rounding to float16 is to blame, or the program and its weights.
        missing: an op of the wrapper that the package does not have; then `op` is the one behind the gap.
    """

    row: OpRow
    op: PackageOp
    cause: Cause
    missing: EagerOp | None = None

    @property
    def eager(self) -> EagerOp:
        """The wrapper's op: where to look in Python."""
        return self.missing or self.row.eager

    def __str__(self) -> str:
        added = self.row.added_unrounded if self.cause == "program" else self.row.added
        where = f"{self.eager.module or 'the wrapper itself'}, {self.eager.source}"
        what = f"{self.op.name} ({self.op.type})"
        if self.missing:
            what = f"{self.missing.name} ({self.missing.kind}) is missing in front of {what}"
        bad = f"{added.non_finite} non-finite values" if added.non_finite else f"adds rel. L2 {added.rel_l2:.3g}"
        return f"{what} in {where}: {bad}; cause: {self.cause}"


@dataclass(frozen=True)
class Localised:
    """What a comparison op by op found.

    Attributes:
        component: package.
        function: entry point.
        bounds: of one op.
        rows: in the order of execution; only those of the last segment after a bisection.
        fault: the first op out of bounds.
        values: values of the package.
        aligned: how many of them have a partner.
        runs: of the package.
        eager_runs: of the wrapper.
        kept: most values of the wrapper held at once.
    """

    component: str
    function: str
    bounds: Bounds
    rows: tuple[OpRow, ...]
    fault: Fault | None
    values: int
    aligned: int
    runs: int
    eager_runs: int
    kept: int

    @property
    def verdict(self) -> str:
        """One line."""
        name = self.component if self.function == "main" else f"{self.component} ({self.function})"
        return f"{name}: first op out of bounds: {self.fault}" if self.fault else f"{name}: no op is out of bounds"


@dataclass
class PairedGraphs:
    """A package and its wrapper on one call; counts what was run.

    Attributes:
        graph: the wrapper.
        model: the package.
        unrounded: the package without rounding.
        call: inputs, and states before it.
        bounds: of one op.
        ops: of the package.
        pairs: value of the package -> value of the wrapper.
        runs: of the package, so far.
        eager_runs: of the wrapper, so far.
        kept: most values of the wrapper held at once.
    """

    graph: EagerGraph
    model: milrun.Model
    call: Call
    bounds: Bounds
    unrounded: milrun.Model = field(init=False)
    ops: dict[str, PackageOp] = field(init=False)
    pairs: dict[str, str] = field(init=False)
    runs: int = 0
    eager_runs: int = 0
    kept: int = 0

    def __post_init__(self) -> None:
        self.unrounded = self.model.sibling(self.model.function.name, rounding=False)
        self.ops = package_ops(self.model.function)
        self.pairs = align(self.ops, self.graph.ops, self.graph.outputs)

    def eager_values(self, names: Collection[str], skip: EagerOp | None = None) -> dict[str, np.ndarray]:
        """Values of the wrapper.

        Args:
            names: which.
            skip: an op that is left out: its first input of its own shape passes through.
        """
        wanted, values, kept_inputs = set(names), dict[str, np.ndarray](), dict[str, torch.Tensor]()

        def visit(op: EagerOp, value: torch.Tensor) -> torch.Tensor | None:
            instead = None
            if skip and op.name == skip.name:
                alike = (v for v in kept_inputs.values() if v.shape == value.shape and v.dtype == value.dtype)
                instead = next(alike, None)
            elif skip and op.name in skip.parents:
                kept_inputs[op.name] = value.clone()
            if op.name in wanted:
                values[op.name] = (value if instead is None else instead).numpy().copy()
            return instead

        if skip:
            named = {n: v for n, v in self.call.inputs.items() if n in skip.parents}
            kept_inputs.update({n: torch.from_numpy(np.array(v)) for n, v in named.items()})
        self.graph.run(self.call.inputs, self.call.states_before, visit)
        self.eager_runs += 1
        self.kept = max(self.kept, len(values))
        return values

    def differences(
        self, eager: Mapping[str, np.ndarray], *, force: Collection[str] = (), rounding: bool = True
    ) -> dict[str, Difference]:
        """Run the package and compare each value whose partner is in `eager`.

        Args:
            eager: values of the wrapper.
            force: values of the package that are replaced by their partners once compared.
            rounding: as the package declares; False leaves float16 results in float32.
        """
        found: dict[str, Difference] = {}

        def visit(name: str, value: np.ndarray) -> np.ndarray | None:
            partner = eager.get(self.pairs.get(name, ""))
            if partner is None:
                return None
            found[name], fitting = difference(value, partner)
            if name not in force or not np.isfinite(fitting).all():
                return None
            if rounding and self.ops[name].dtype == "float16":
                largest = np.finfo(np.float16).max
                return np.clip(fitting, -largest, largest).astype(np.float16)
            return fitting

        model = self.model if rounding else self.unrounded
        state = model.make_state() if model.states else None
        for name, value in self.call.states_before.items():
            assert state is not None
            state.write_state(name, value)
        model.inspect(self.call.inputs, state, visit=visit)
        self.runs += 1
        return found


def localise(spec: ComponentSpec, function: str, package: milrun.Model, call: Call, bounds: Bounds) -> Localised:
    """Find the first op of a package that is out of bounds, with every value that has a partner held in memory.

    Args:
        spec: the component; its wrapper is built and traced.
        function: entry point.
        package: the saved package's function, in milrun.
        call: a recorded call of it.
        bounds: what one op may add.
    """
    graphs = PairedGraphs(EagerGraph(spec, function), package, call, bounds)
    eager = graphs.eager_values(graphs.pairs.values())
    free = graphs.differences(eager)
    rows = forced_rows(graphs, eager, graphs.pairs)
    rows = [replace(row, error=free[row.op.name]) for row in rows]
    return result_of(graphs, call, rows, first_fault(graphs, rows))


def forced_rows(graphs: PairedGraphs, eager: Mapping[str, np.ndarray], force: Collection[str]) -> list[OpRow]:
    """The error that each op adds by itself, of those whose partners are in `eager`."""
    rounded = graphs.differences(eager, force=force)
    unrounded = graphs.differences(eager, force=force, rounding=False)
    pairs, ops, theirs = graphs.pairs, graphs.ops, graphs.graph.ops
    return [OpRow(ops[n], theirs[pairs[n]], None, rounded[n], unrounded[n]) for n in rounded]


def first_fault(graphs: PairedGraphs, rows: Collection[OpRow]) -> Fault | None:
    """The first row out of bounds, and the op that made it so."""
    for row in rows:
        if cause := row.cause(graphs.bounds):
            missing = _missing(graphs, row) if cause == "program" else None
            return Fault(row, row.op if missing else _computing(graphs, row.op), cause, missing)
    return None


def result_of(graphs: PairedGraphs, call: Call, rows: Collection[OpRow], fault: Fault | None) -> Localised:
    """Put the findings together."""
    return Localised(
        call.component,
        call.function,
        graphs.bounds,
        tuple(rows),
        fault,
        len(graphs.ops),
        len(graphs.pairs),
        graphs.runs,
        graphs.eager_runs,
        graphs.kept,
    )


def difference(value: np.ndarray, reference: np.ndarray) -> tuple[Difference, np.ndarray]:
    """Compare a package's value with the wrapper's; also returns the latter in the form of the former.

    Where shapes differ, the transposed or reshaped form that is nearest counts.
    """
    compared = [(_difference(value, form), form) for form in in_shape(reference, value.shape)]
    if not compared:
        return Difference(math.inf, math.inf, value.size, 0), value
    return min(compared, key=lambda pair: pair[0].rel_l2)


def _difference(value: np.ndarray, reference: np.ndarray) -> Difference:
    a, b = reference.astype(np.float64), value.astype(np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    error = b[both] - a[both]
    norm, scale = float(np.linalg.norm(error)), float(np.linalg.norm(a[both]))
    return Difference(
        rel_l2=norm / scale if scale else (math.inf if norm else 0.0),
        max_abs=float(np.abs(error).max(initial=0.0)),
        non_finite=int((np.isfinite(a) & ~np.isfinite(b)).sum()),
        eager_non_finite=int((~np.isfinite(a)).sum()),
    )


def _computing(graphs: PairedGraphs, op: PackageOp) -> PackageOp:
    """The op itself, or, where it only moves values, the last op without a partner in front of it that computes."""
    if op.type not in _MOVES:
        return op
    hidden = _between(op.reads, graphs.ops, set(graphs.pairs))
    computing = [graphs.ops[name] for name in hidden if graphs.ops[name].type not in _MOVES]
    return max(computing, key=lambda found: found.index, default=op)


def _missing(graphs: PairedGraphs, row: OpRow) -> EagerOp | None:
    """An op of the wrapper that has no partner, and without which the wrapper computes what the package does."""
    theirs, partners = graphs.graph.ops, set(graphs.pairs.values())
    candidates = [theirs[name] for name in _between(row.eager.parents, theirs, partners)]
    for candidate in sorted(candidates, key=lambda op: op.index):
        if _without(graphs, candidate, row):
            return candidate
    return None


def _without(graphs: PairedGraphs, candidate: EagerOp, row: OpRow) -> bool:
    """Whether leaving a wrapper's op out makes the package's value right."""
    name = graphs.pairs[row.op.name]
    inputs = _partners(graphs, row)
    forced = graphs.eager_values(inputs)
    skipped = graphs.eager_values({name}, skip=candidate)
    force = [ours for ours, theirs in graphs.pairs.items() if theirs in inputs]
    found = graphs.differences(forced | skipped, force=force, rounding=False)
    return not found[row.op.name].exceeds(graphs.bounds.program)


def _partners(graphs: PairedGraphs, row: OpRow) -> set[str]:
    """The wrapper's values in front of a row, through ops without a partner."""
    ours = graphs.ops
    hidden = _between(row.op.reads, ours, set(graphs.pairs))
    read = {name for op in (row.op, *(ours[h] for h in hidden)) for name in op.reads}
    return {graphs.pairs[name] for name in read if name in graphs.pairs}


def _between(
    names: Collection[str], ops: Mapping[str, PackageOp] | Mapping[str, EagerOp], known: Collection[str]
) -> set[str]:
    """Values without a partner that lie behind others, up to those that have one."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found or name in known or name not in ops:
            continue
        found.add(name)
        op = ops[name]
        waiting += op.reads if isinstance(op, PackageOp) else op.parents
    return found
