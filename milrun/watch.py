"""Looking inside a run: values to keep, where to stop, one row an op."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from milrun.program import Operation, TensorType, ValueType


class NotReachedWarning(UserWarning):
    """The run ended without a value that it was asked to keep, or to stop after."""


@dataclass(frozen=True)
class TraceRow:
    """What one op's output looked like; `scope` is the PyTorch module it came from, where the package says so."""

    name: str
    op: str
    dtype: str
    shape: tuple[int, ...]
    minimum: float
    maximum: float
    non_finite: int
    scope: str


@dataclass
class Watch:
    """What a run should record beside its outputs.

    Attributes:
        keep: names of values to keep, or "all" for every tensor.
        stop_after: name of the value (or op type) after which to stop.
        trace: record one `TraceRow` an output.
        visit: shown each output; what it returns takes the value's place, None leaves it.
        values: name -> container (of a classifier: label and probabilities), filled by the run.
        rows: filled by the run.
    """

    keep: Iterable[str] | str = ()
    stop_after: str | None = None
    trace: bool = False
    visit: Callable[[str, torch.Tensor], torch.Tensor | None] | None = None
    values: dict[str, Any] = field(default_factory=dict)
    rows: list[TraceRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._kept = None if self.keep == "all" else frozenset(self.keep)
        self._stopped = False

    def begins(self, operation: Operation) -> None:
        """Told of each op before it runs; `milrun.profile` starts a clock here."""

    def see(self, name: str, operation: Operation, type: ValueType, value: Any) -> torch.Tensor | None:
        """Record one output; returns what takes its place, if anything does."""
        self.record(name, operation, type, value)
        return self.visit(name, value) if self.visit and isinstance(value, torch.Tensor) else None

    def record(self, name: str, operation: Operation, type: ValueType, value: Any) -> None:
        """Keep a value and describe it in a row, as asked."""
        is_tensor = isinstance(value, torch.Tensor)
        if is_tensor if self._kept is None else name in self._kept:
            self.values[name] = value
        if self.trace and is_tensor:
            self.rows.append(_trace_row(name, operation, type, value))

    def stops(self, name: str, op: str) -> bool:
        """Whether the run ends after the op of this name and type."""
        self._stopped |= self.stop_after in (name, op)
        return self._stopped

    def missed(self) -> list[str]:
        """What was asked for and did not come up in the run."""
        missed = sorted((self._kept or frozenset()) - set(self.values))
        return missed if self.stop_after is None or self._stopped else [*missed, self.stop_after]


class StopRun(Exception):
    """Ends a run after `Watch.stop_after`, from any depth of blocks."""


def array_row(name: str, op: str, value: np.ndarray) -> TraceRow:
    """A row about an array, of any shape and numeric dtype, that is not of one op."""
    numbers = value.astype(np.float64)
    return _row(name, op, str(value.dtype), value.shape, numbers[np.isfinite(numbers)], "")


def _trace_row(name: str, operation: Operation, type: ValueType, value: torch.Tensor) -> TraceRow:
    dtype = type.dtype if isinstance(type, TensorType) else "list"
    numbers = value.to(torch.float32)
    finite = numbers[torch.isfinite(numbers)]
    return _row(name, operation.type, dtype, tuple(value.shape), finite, operation.scope)


def _row(name: str, op: str, dtype: str, shape: tuple[int, ...], finite: Any, scope: str) -> TraceRow:
    count = len(finite)
    low, high = (finite.min().item(), finite.max().item()) if count else (float("nan"), float("nan"))
    return TraceRow(name, op, dtype, shape, low, high, math.prod(shape) - count, scope)
