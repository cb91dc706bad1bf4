"""Two functions on the same inputs: interface, weights, outputs, and every inner value that both compute."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from milrun.comparison.align import Alignment, align
from milrun.comparison.difference import Difference, difference
from milrun.comparison.interfaces import (
    corresponding,
    given_to_second,
    interface_differences,
    require_inputs,
)
from milrun.comparison.lockstep import Lockstep, Visit
from milrun.comparison.values import Value, inner_values, precision
from milrun.comparison.weights import Constants, Weight, compare_weights
from milrun.errors import MilrunError
from milrun.model import Model
from milrun.program import Const, Operation, TensorType


@dataclass(frozen=True)
class Row:
    """A value of both programs.

    Attributes:
        names: in each program.
        ops: what computes it in each program; "output" or "state" where that does not matter.
        dtypes: declared in each program.
        shape: in the first program, as computed.
        precision: key of `difference.LIMITS` that judges it.
        scope: the PyTorch module, where a program says it.
        difference: between the values; the largest of all turns of a loop.
    """

    names: tuple[str, str]
    ops: tuple[str, str]
    dtypes: tuple[str, str]
    shape: tuple[int, ...]
    precision: str
    scope: str
    difference: Difference

    @property
    def differs(self) -> bool:
        """Beyond rounding."""
        return not self.difference.within(self.precision)


@dataclass(frozen=True)
class Comparison:
    """What separates two functions, A and B.

    Attributes:
        interface: one line a difference.
        outputs: of A and B, in A's order.
        states: after the run, from zeros.
        missing: outputs and states that only one has.
        values: inner values, in A's order.
        weights: constants that are not bit-identical.
        weights_compared: how many constants were compared.
        by_name: how many values are aligned by name; the others by sequence.
        only: values without a partner, "name (op)", of A and of B.
        unpaired: values that one run computed more often than the other, as in a branch that only it took.
    """

    interface: tuple[str, ...]
    outputs: tuple[Row, ...]
    states: tuple[Row, ...]
    missing: tuple[str, ...]
    values: tuple[Row, ...]
    weights: tuple[Weight, ...]
    weights_compared: int
    by_name: int
    only: tuple[tuple[str, ...], tuple[str, ...]]
    unpaired: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Outputs and states are the same to the last bit, and weights are equal."""
        rows = (*self.outputs, *self.states)
        weights = (w for w in self.weights if w.precision != "exact")
        return (
            not self.missing
            and all(row.difference.identical for row in rows)
            and all(w.difference.max_abs == 0 and not w.difference.unlike for w in weights)
        )

    @property
    def differs(self) -> bool:
        """An output, a state or a weight differs beyond rounding. Inner values and integer constants do not decide."""
        weights = any(w.differs for w in self.weights if w.precision != "exact")
        return bool(self.missing) or weights or any(row.differs for row in (*self.outputs, *self.states))

    @property
    def first(self) -> Row | None:
        """The first inner value that differs beyond rounding, in A's order."""
        return next((row for row in self.values if row.differs), None)


def compare(a: Model, b: Model, inputs: Mapping[str, np.ndarray]) -> Comparison:
    """Run two functions on the same inputs, with fresh states, and compare all that both compute.

    Neither run is more than one compared value ahead of the other, so few tensors are in memory at a time. What an op
    draws at random without a seed is drawn once, for both.

    Args:
        a: the first function, which differences are told in the order of.
        b: the second.
        inputs: as for `a.predict`, by its names.

    Raises:
        InputError: the inputs of the two do not correspond, or are not those of both.
        OpError: an op of either failed; a note of the error says whose.
    """
    names = require_inputs(a, b)
    values = inner_values(a), inner_values(b)
    alignment = align(*values)
    aligned = [(values[0][i], values[1][j]) for i, j in alignment.pairs]
    weights = list(compare_weights(Constants(a), Constants(b), _operations(aligned)))
    found: dict[int, tuple[tuple[int, ...], Difference]] = {}

    def see(pair: int, one: np.ndarray, two: np.ndarray) -> None:
        apart = difference(one, two)
        if pair not in found or _worse(apart, found[pair][1]):
            found[pair] = one.shape, apart

    numbers = [{pair[side].name: n for n, pair in enumerate(aligned)} for side in (0, 1)]
    drawn = {n for n, pair in enumerate(aligned) if all(_drawn_anew(value.operation) for value in pair)}
    lockstep = Lockstep(numbers, see, drawn)
    results = lockstep.run([_runner(a, inputs), _runner(b, given_to_second(names, inputs))])
    rounded = any(v.rounded for v in (*values[0], *values[1]))
    return Comparison(
        interface=tuple(interface_differences(a, b)),
        outputs=_rows("output", a.outputs, b.outputs, [r[0] for r in results], rounded),
        states=_rows("state", a.states, b.states, [r[1] for r in results], rounded),
        missing=tuple(_missing(a, b)),
        values=tuple(_row(*aligned[n], *found[n]) for n in sorted(found)),
        weights=tuple(w for w in weights if not w.difference.identical),
        weights_compared=len(weights),
        by_name=alignment.by_name,
        only=_without_partner(values, alignment),
        unpaired=tuple(aligned[pair][0].name for pair in sorted(lockstep.unpaired)),
    )


def _runner(model: Model, inputs: Mapping[str, np.ndarray]) -> Callable[[Visit], Any]:
    """A run that returns the outputs and the states after it."""

    def run(visit: Visit) -> Any:
        state = model.make_state() if model.states else None
        try:
            outputs, _ = model.inspect(inputs, state, keep=set(model.outputs), visit=visit)
        except MilrunError as error:
            error.add_note(f"while running {model.path}")
            raise
        return outputs, dict(state or {})

    return run


def _operations(aligned: Sequence[tuple[Value, Value]]) -> list[tuple[Operation, Operation]]:
    return list({(a.operation.name, b.operation.name): (a.operation, b.operation) for a, b in aligned}.values())


def _drawn_anew(operation: Operation) -> bool:
    """Whether an op yields other values at each call."""
    if not operation.type.startswith("random_"):
        return False
    (seed,) = operation.inputs.get("seed", (None,))
    return not isinstance(seed, Const) or int(seed.numpy().reshape(-1)[0]) < 0


def _worse(one: Difference, two: Difference) -> bool:
    if one.fault or two.fault:
        return bool(one.fault) and not two.fault
    return (one.unlike, one.rel_l2, two.identical) > (two.unlike, two.rel_l2, one.identical)


def _row(a: Value, b: Value, shape: tuple[int, ...], apart: Difference) -> Row:
    return Row(
        (a.name, b.name),
        (a.operation.type, b.operation.type),
        (a.type.dtype, b.type.dtype),
        shape,
        precision(a, b),
        a.operation.scope or b.operation.scope,
        apart,
    )


def _rows(
    what: str, a: Mapping[str, TensorType], b: Mapping[str, TensorType], results: Sequence[Any], rounded: bool
) -> tuple[Row, ...]:
    """Outputs or states; any float16 in either program may have rounded them."""
    rows = []
    for m, n in corresponding(a, b).pairs.items():
        dtypes = tuple(str(declared[name]).split()[0] for declared, name in ((a, m), (b, n)))
        judged = "exact" if not any(d.startswith("float") or d == "dictionary" for d in dtypes) else "float32"
        judged = "float16" if rounded and judged == "float32" else judged
        one, two = results[0][m], results[1][n]
        shape = one.shape if isinstance(one, np.ndarray) else ()
        rows.append(Row((m, n), (what, what), (dtypes[0], dtypes[1]), shape, judged, "", _apart(one, two)))
    return tuple(rows)


def _apart(one: Any, two: Any) -> Difference:
    """Arrays; or what a classifier yields, a label or label -> probability; or a list of arrays."""
    if isinstance(one, dict) and isinstance(two, dict):
        if one.keys() != two.keys():
            return replace(difference(np.zeros(1), np.zeros(2)), fault="other labels")
        return difference(np.array([one[k] for k in one]), np.array([two[k] for k in one]))
    if isinstance(one, list) and isinstance(two, list):
        if len(one) != len(two):
            return replace(difference(np.zeros(1), np.zeros(2)), fault=f"lists of {len(one)} and {len(two)}")
        worst = difference(np.zeros(0), np.zeros(0))
        for m, n in zip(one, two, strict=True):
            apart = _apart(m, n)
            worst = apart if _worse(apart, worst) else worst
        return worst
    return difference(np.asarray(one), np.asarray(two))


def _missing(a: Model, b: Model) -> list[str]:
    lines = []
    for title in ("output", "state"):
        names = corresponding(getattr(a, f"{title}s"), getattr(b, f"{title}s"))
        lines += [
            f"{title} {name} is only in {side}" for side, only in zip("AB", names.only, strict=True) for name in only
        ]
    return lines


def _without_partner(
    values: tuple[Sequence[Value], Sequence[Value]], alignment: Alignment
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    taken = [{pair[side] for pair in alignment.pairs} for side in (0, 1)]
    return (_listed(values[0], taken[0]), _listed(values[1], taken[1]))


def _listed(values: Sequence[Value], taken: set[int]) -> tuple[str, ...]:
    return tuple(f"{v.name} ({v.operation.type})" for place, v in enumerate(values) if place not in taken)
