"""Where the time of a run goes: each op is timed as the executor runs it.

A clock is read before and after each op, which costs about a microsecond an op; `Profile.untimed_s` is what a run takes
without it. An op with blocks is charged for what its blocks' own ops do not take.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod
from time import perf_counter
from typing import Any

import numpy as np
import torch

from milrun.model import Model
from milrun.numerics import SUB_BYTE_BITS, numpy_dtype
from milrun.program import Const, Operation, Ref, TensorType, ValueType
from milrun.watch import Watch

_NO_NUMBERS = ("string", "dictionary")


@dataclass(frozen=True)
class Cost:
    """What the ops of one kind cost in a run.

    Attributes:
        name: op type, or path of a PyTorch module; empty for ops of which the package does not say it.
        calls: how often such ops ran.
        seconds: sum over the ops of each one's median over the runs.
        bytes: inputs and outputs of each call in their declared dtypes; lists, states and strings count as none.
    """

    name: str
    calls: int
    seconds: float
    bytes: int


@dataclass(frozen=True)
class Profile:
    """Costs by op type and by PyTorch module, the longest first, and the medians of a run's time with and without
    timing."""

    by_op: tuple[Cost, ...]
    by_module: tuple[Cost, ...]
    timed_s: float
    untimed_s: float
    runs: int


@dataclass
class Stopwatch(Watch):
    """Times each op; `seconds` is filled by the run, op name -> time without that of its blocks' ops."""

    seconds: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._open: list[list[float]] = []  # of each op that runs: when it began, and its blocks' ops' time

    def begins(self, operation: Operation) -> None:
        """Start the clock for an op."""
        self._open.append([perf_counter(), 0.0])

    def see(self, name: str, operation: Operation, type: ValueType, value: Any) -> torch.Tensor | None:
        """Nothing: a run is timed as it is."""
        return None

    def stops(self, name: str, op: str) -> bool:
        """Stop the clock of the op that began last."""
        began, inner = self._open.pop()
        whole = perf_counter() - began
        self.seconds[name] += whole - inner  # type: ignore[assignment]
        if self._open:
            self._open[-1][1] += whole
        return False


@dataclass
class Meter(Watch):
    """Counts calls and bytes of each op, by its name."""

    calls: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, int] = field(default_factory=dict)  # of each value as computed last

    def begins(self, operation: Operation) -> None:
        """Add what an op reads."""
        bindings = (binding for given in operation.inputs.values() for binding in given)
        self.calls[operation.name] += 1
        self.bytes[operation.name] += sum(self._size(binding) for binding in bindings)

    def see(self, name: str, operation: Operation, type: ValueType, value: Any) -> torch.Tensor | None:
        """Add what an op yields."""
        self.sizes[name] = _bytes(type, tuple(value.shape)) if isinstance(value, torch.Tensor) else 0
        self.bytes[operation.name] += self.sizes[name]
        return None

    def _size(self, binding: Ref | Const) -> int:
        if isinstance(binding, Ref):
            return self.sizes.get(binding.name, 0)
        return _bytes(binding.type, None)


def profile(model: Model, inputs: Mapping[str, np.ndarray], runs: int = 5) -> Profile:
    """Time `runs` runs, each with fresh states, after one that warms up.

    Args:
        model: what to run, weights cached as `load` does.
        inputs: as for `model.predict`.
        runs: how many; times are medians over them.

    Raises:
        InputError: as for `model.predict`.
        OpError: an op failed.
    """
    meter = Meter()
    meter.sizes |= {name: _bytes(t, inputs[name].shape) for name, t in model.inputs.items() if name in inputs}
    for operation in model.function.block.walk():
        if operation.type == "const" or model.is_constant(operation.name):
            meter.sizes |= {name: _bytes(declared, None) for name, declared in operation.outputs}
        for block in operation.blocks:
            meter.sizes |= {name: _bytes(declared, None) for name, declared in block.inputs}
    model.watched(inputs, meter)
    watches, timed, untimed = [], [], []
    for _ in range(runs):
        watch = Stopwatch()
        untimed.append(_seconds(partial(model.watched, inputs, None)))
        timed.append(_seconds(partial(model.watched, inputs, watch)))
        watches.append(watch)
    operations = {operation.name: operation for operation in model.function.block.walk()}
    return Profile(
        _costs(meter, watches, {name: operations[name].type for name in meter.calls}),
        _costs(meter, watches, {name: operations[name].scope for name in meter.calls}),
        statistics.median(timed),
        statistics.median(untimed),
        runs,
    )


def _costs(meter: Meter, watches: list[Stopwatch], groups: Mapping[str, str]) -> tuple[Cost, ...]:
    """Sum over the ops of each group; the time is the sum of each op's median, so that both tables have one total."""
    calls, sizes, seconds = Counter[str](), Counter[str](), dict.fromkeys(groups.values(), 0.0)
    for name, group in groups.items():
        calls[group] += meter.calls[name]
        sizes[group] += meter.bytes[name]
        seconds[group] += statistics.median(watch.seconds[name] for watch in watches)
    costs = [Cost(group, calls[group], time, sizes[group]) for group, time in seconds.items()]
    return tuple(sorted(costs, key=lambda cost: -cost.seconds))


def _bytes(declared: ValueType, shape: tuple[int, ...] | None) -> int:
    """Of a tensor of this type; `shape` where the run decides it."""
    if not isinstance(declared, TensorType) or declared.dtype in _NO_NUMBERS:
        return 0
    sizes = declared.shape if shape is None else shape
    count = prod(size or 0 for size in sizes or ())
    if declared.dtype in SUB_BYTE_BITS:
        return -(-count * SUB_BYTE_BITS[declared.dtype] // 8)
    return count * numpy_dtype(declared.dtype).itemsize


def _seconds(run: Callable[[], Any]) -> float:
    began = perf_counter()
    run()
    return perf_counter() - began
