"""What float16 cannot hold: the magnitude of every value of a package over real calls.

The package runs without rounding, so that an overflow shows its true magnitude instead of infinity.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

import milrun
from parity.localise.pairing import PackageOp, package_ops
from toolkit.runtimes.recording import Call

FLOAT16_MAX = 65504.0
FLOAT16_SMALLEST_NORMAL = 2.0**-14  # 6.1e-5: below it, bits are lost
NEAR = 0.25  # of the largest
MOSTLY = 0.5
# Beside a value of this size float16 rounds by more than what a subnormal loses: the tail of a softmax does not matter.
_HIDES_TINY = FLOAT16_SMALLEST_NORMAL * 2**11
_FLOATS = ("float16", "float32")


class Risk(StrEnum):
    """What float16 would do to a value."""

    OVERFLOW = "overflows"
    NEAR = "comes near"
    TINY = "loses precision"


@dataclass(frozen=True)
class Range:
    """One value of a package over all calls.

    Attributes:
        op: that makes it.
        largest: magnitude.
        tiny: share of its non-zero elements below float16's smallest normal number.
        non_finite: elements that are NaN or infinite even in float32.
    """

    op: PackageOp
    largest: float
    tiny: float
    non_finite: int

    @property
    def risk(self) -> Risk | None:
        """The first that applies."""
        if self.non_finite or self.largest > FLOAT16_MAX:
            return Risk.OVERFLOW
        if self.largest > NEAR * FLOAT16_MAX:
            return Risk.NEAR
        return Risk.TINY if self.tiny > MOSTLY and self.largest < _HIDES_TINY else None


@dataclass(frozen=True)
class Ranges:
    """What a function's calls showed.

    Attributes:
        component: package.
        function: entry point.
        calls: how many were run.
        rows: every float value, in the order of execution.
    """

    component: str
    function: str
    calls: int
    rows: tuple[Range, ...]

    @property
    def risky(self) -> tuple[Range, ...]:
        """Those that float16 harms or may harm."""
        return tuple(row for row in self.rows if row.risk)

    @property
    def fp32_ops(self) -> tuple[str, ...]:
        """Types of the ops to keep in float32: those that overflow or lose precision, and those that read an overflow.

        A value over float16's limit must not be cast in front of its reader either.
        """
        return tuple(sorted({op.type for op in self._wide() if op.type != "cast"}))

    @property
    def selector(self) -> str:
        """The same as coremltools takes it; empty where nothing is to be kept."""
        if not self.fp32_ops:
            return ""
        types = ", ".join(repr(t) for t in self.fp32_ops)
        return f"ct.transform.FP16ComputePrecision(op_selector=lambda op: op.op_type not in {{{types}}})"

    def _wide(self) -> list[PackageOp]:
        over = {row.op.name for row in self.rows if row.risk is Risk.OVERFLOW}
        tiny = {row.op.name for row in self.rows if row.risk is Risk.TINY}
        return [r.op for r in self.rows if r.op.name in over | tiny or over.intersection(r.op.reads)]


def measure_ranges(package: milrun.Model, calls: Sequence[Call]) -> Ranges:
    """Run recorded calls of one function and measure every float value that its ops make.

    Args:
        package: the function; run without rounding, whatever it was loaded with.
        calls: of this one function, at least one.
    """
    ops = {name: op for name, op in package_ops(package.function).items() if op.dtype in _FLOATS}
    wide = package.sibling(package.function.name, rounding=False)
    largest, small, nonzero, bad = (dict.fromkeys(ops, 0.0) for _ in range(4))

    def visit(name: str, value: np.ndarray) -> None:
        if name not in ops:
            return
        magnitudes = np.abs(value[np.isfinite(value)])
        bad[name] += value.size - magnitudes.size
        largest[name] = max(largest[name], float(magnitudes.max(initial=0.0)))
        nonzero[name] += int(np.count_nonzero(magnitudes))
        small[name] += int(((magnitudes > 0) & (magnitudes < FLOAT16_SMALLEST_NORMAL)).sum())

    for call in calls:
        state = wide.make_state() if wide.states else None
        for name, value in call.states_before.items():
            assert state is not None
            state.write_state(name, value)
        wide.inspect(call.inputs, state, visit=visit)
    rows = (Range(op, largest[n], small[n] / max(nonzero[n], 1), int(bad[n])) for n, op in ops.items())
    return Ranges(calls[0].component, calls[0].function, len(calls), tuple(rows))
