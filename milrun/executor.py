"""Running a function: bind every op once, then one loop.

Loading checks that every op is known, resolves names to slots, turns constants into the arguments that their op wants
and computes after which op each value is no longer needed. Running calls op after op, rounds each result to the dtype
the program declares, compares its shape with the declared one, and frees what is no longer needed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

import milrun.ops  # noqa: F401  (fills the table)
from milrun.errors import OpError, UnsupportedOpsError
from milrun.numerics import container_from_numpy, round_to
from milrun.program import Binding, Block, Const, Function, ListType, Operation, Ref, TensorType, ValueType
from milrun.registry import OpFn, find_op

_RUN_ERRORS = (RuntimeError, ValueError, IndexError, TypeError, KeyError, NotImplementedError, ArithmeticError)


@dataclass(frozen=True)
class TraceRow:
    """What one op's output looked like."""

    name: str
    op: str
    dtype: str
    shape: tuple[int, ...]
    minimum: float
    maximum: float
    non_finite: int


@dataclass
class Watch:
    """What a run should record beside its outputs.

    Attributes:
        keep: names of values to keep, or "all".
        stop_after: name of the value (or op type) after which to stop.
        trace: record one `TraceRow` an output.
        values: name -> container, filled by the run.
        rows: filled by the run.
    """

    keep: Iterable[str] | str = ()
    stop_after: str | None = None
    trace: bool = False
    values: dict[str, torch.Tensor] = field(default_factory=dict)
    rows: list[TraceRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._kept = None if self.keep == "all" else frozenset(self.keep)

    def see(self, name: str, op: str, type: ValueType, value: Any) -> None:
        """Record one output."""
        if not isinstance(value, torch.Tensor):
            return
        if self._kept is None or name in self._kept:
            self.values[name] = value
        if self.trace:
            self.rows.append(_trace_row(name, op, type, value))

    def stops(self, step: "Step") -> bool:
        """Whether the run ends after this step."""
        return self.stop_after is not None and self.stop_after in (step.operation.name, step.operation.type)


class StopRun(Exception):
    """Ends a run after `Watch.stop_after`, from any depth of blocks."""


@dataclass
class Step:
    """One op, ready to run: arguments known at load, slots to read, slots to write, slots to free."""

    operation: Operation
    call: Callable[..., Any]
    fixed: dict[str, Any]
    lazy: dict[str, "LazyConst"]
    slots: tuple[tuple[str, int, str], ...]
    variadic: tuple[tuple[str, tuple[Any, ...]], ...]
    outputs: tuple["Output", ...]
    free: tuple[int, ...] = ()

    def arguments(self, env: list[Any]) -> dict[str, Any]:
        """The keyword arguments of one call."""
        given = dict(self.fixed)
        for name, slot, kind in self.slots:
            given[name] = _from_container(env[slot], kind)
        for name, constant in self.lazy.items():
            given[name] = constant.get()
        for name, members in self.variadic:
            given[name] = [env[m] if isinstance(m, int) else m.get() for m in members]
        return given


@dataclass(frozen=True)
class Output:
    """Where an op's result goes and what it must be."""

    slot: int
    name: str
    type: ValueType
    finish: Callable[[torch.Tensor], torch.Tensor] | None


class LazyConst:
    """A value that needs no input: made at first use and then kept, or made anew at each use (`cache=False`).

    It is a constant's container, or an output of a `constexpr_` op: a weight that is stored compressed.
    """

    def __init__(self, make: Callable[[], Any], cache: bool) -> None:
        self.make = make
        self._cache = cache
        self._value: Any = None

    def get(self) -> Any:
        """The value."""
        if self._value is not None:
            return self._value
        value = self.make()
        if self._cache:
            self._value = value
        return value


class CompiledBlock:
    """A block bound to slots."""

    def __init__(self, block: Block, inputs: list[int], outputs: list[Any], steps: list[Step]) -> None:
        self.block, self.input_slots, self.outputs, self.steps = block, inputs, outputs, steps

    def run(self, env: list[Any], watch: Watch | None) -> list[Any]:
        """Run every step; returns the block's outputs."""
        for step in self.steps:
            _run_step(step, env, watch)
        return [env[o] if isinstance(o, int) else o.get() for o in self.outputs]


class CompiledFunction:
    """A function of a program, bound and ready to run.

    Args:
        function: the parsed function.
        cache_weights: keep weights as float32 containers after first use (fast), or convert them from the mapped file
            at every use (resident memory stays near the file's size).

    Raises:
        UnsupportedOpsError: names every op that `OPS` lacks.
    """

    def __init__(self, function: Function, cache_weights: bool = True) -> None:
        self.function = function
        self._slots: dict[str, int] = {}
        self._constants: dict[str, LazyConst] = {}
        self._raw: dict[str, Const] = {}
        self._cache = cache_weights
        self._env: list[Any] = []
        _require_known_ops(function)
        self.root = self._compile(function.block)
        self._free_after_last_use(self.root)

    def run(self, inputs: Mapping[str, Any], watch: Watch | None = None) -> list[Any]:
        """Run with containers (and state cells) by input name; returns containers in output order."""
        env: list[Any] = [None] * len(self._slots)
        for (name, _), slot in zip(self.function.block.inputs, self.root.input_slots, strict=True):
            env[slot] = inputs[name]
        with torch.inference_mode():
            return self.root.run(env, watch)

    def _slot(self, name: str) -> int:
        return self._slots.setdefault(name, len(self._slots))

    def _compile(self, block: Block) -> CompiledBlock:
        inputs = [self._slot(name) for name, _ in block.inputs]
        steps = []
        for operation in block.operations:
            if operation.type == "const":
                (binding,) = operation.inputs["val"]
                assert isinstance(binding, Const)
                self._raw[operation.name] = binding
                self._constants[operation.name] = LazyConst(partial(_container, binding), self._cache)
                continue
            step = self._step(operation)
            if operation.type.startswith("constexpr_") and not step.slots:
                for index, output in enumerate(step.outputs):
                    self._constants[output.name] = LazyConst(partial(_decompressed, step, index), self._cache)
            else:
                steps.append(step)
        outputs = [self._constants[name] if name in self._constants else self._slot(name) for name in block.outputs]
        return CompiledBlock(block, inputs, outputs, steps)

    def _step(self, operation: Operation) -> Step:
        known = find_op(operation.type, self.function.opset)
        assert known is not None
        fixed: dict[str, Any] = {}
        lazy: dict[str, LazyConst] = {}
        slots, variadic = [], []
        for name, bindings in operation.inputs.items():
            kind = known.kinds.get(name)
            if kind is None:
                raise OpError(operation.type, operation.name, f"parameter '{name}' is not one of {sorted(known.kinds)}")
            if kind == "tensors":
                variadic.append((name, tuple(self._constant(b) or self._slot(_ref(b).name) for b in bindings)))
            elif len(bindings) != 1:
                raise OpError(operation.type, operation.name, f"parameter '{name}' is given {len(bindings)} values")
            elif (constant := self._constant(bindings[0])) is None:
                slots.append((name, self._slot(_ref(bindings[0]).name), kind))
            elif kind == "tensor":
                lazy[name] = constant
            elif (raw := self._raw_const(bindings[0])) is None:
                lazy[name] = LazyConst(partial(_argument, constant, kind), cache=False)
            elif kind == "array":  # read at each use, so that compressed weights stay in the mapped file
                lazy[name] = LazyConst(raw.numpy, cache=False)
            else:
                fixed[name] = _python_value(raw, kind)
        self._add_special(operation, known, fixed)
        missing = known.required - set(fixed) - set(lazy) - {s[0] for s in slots} - {v[0] for v in variadic}
        if missing:
            raise OpError(operation.type, operation.name, f"required parameters are missing: {sorted(missing)}")
        outputs = tuple(self._output(name, declared, known) for name, declared in operation.outputs)
        return Step(operation, known.call, fixed, lazy, tuple(slots), tuple(variadic), outputs)

    def _add_special(self, operation: Operation, known: OpFn, fixed: dict[str, Any]) -> None:
        for name, kind in known.kinds.items():
            if kind == "blocks":
                fixed[name] = tuple(self._compile(block) for block in operation.blocks)
            elif kind == "output_types":
                fixed[name] = tuple(declared for _, declared in operation.outputs)

    def _output(self, name: str, type: ValueType, known: OpFn) -> Output:
        for constants in (self._raw, self._constants):  # a sibling block may have a constant of this name
            constants.pop(name, None)
        finish = None
        if isinstance(type, TensorType) and not known.exact and type.dtype not in ("string", "dictionary"):
            finish = round_to(type.dtype)
        return Output(self._slot(name), name, type, finish)

    def _raw_const(self, binding: Binding) -> Const | None:
        return self._raw.get(binding.name) if isinstance(binding, Ref) else binding

    def _constant(self, binding: Binding) -> LazyConst | None:
        """What stands behind a binding when no input is needed for it."""
        if isinstance(binding, Ref):
            return self._constants.get(binding.name)
        return LazyConst(partial(_container, binding), self._cache)

    def _free_after_last_use(self, root: CompiledBlock) -> None:
        """Free a slot after the last top-level step that reads it; nested blocks count as their op's reads."""
        keep = {o for o in root.outputs if isinstance(o, int)}
        last: dict[int, int] = {}
        for index, step in enumerate(root.steps):
            for slot in _reads(step):
                last[slot] = index
            for output in step.outputs:
                last.setdefault(output.slot, index)
        freed: dict[int, list[int]] = {}
        for slot, index in last.items():
            if slot not in keep:
                freed.setdefault(index, []).append(slot)
        for index, step in enumerate(root.steps):
            step.free = tuple(freed.get(index, ()))


def _run_step(step: Step, env: list[Any], watch: Watch | None) -> None:
    for output, value in zip(step.outputs, _results(step, env, watch), strict=True):
        env[output.slot] = value
        if watch is not None:
            watch.see(output.name, step.operation.type, output.type, value)
    for slot in step.free:
        env[slot] = None
    if watch is not None and watch.stops(step):
        raise StopRun


def _results(step: Step, env: list[Any], watch: Watch | None) -> list[Any]:
    """Call the op; its results, rounded and checked."""
    arguments = step.arguments(env)
    try:
        blocks = arguments.get("blocks")
        if blocks is not None and step.operation.blocks:
            arguments["blocks"] = tuple(_callable_block(block, env, watch) for block in blocks)
        result = step.call(**arguments)
    except _RUN_ERRORS as error:
        raise OpError(step.operation.type, step.operation.name, str(error), _describe(arguments)) from error
    results = result if isinstance(result, tuple) else (result,)
    if len(results) != len(step.outputs):
        reason = f"{len(results)} results for {len(step.outputs)} declared outputs"
        raise OpError(step.operation.type, step.operation.name, reason, _describe(arguments))
    finished = [o.finish(v) if o.finish is not None else v for o, v in zip(step.outputs, results, strict=True)]
    for output, value in zip(step.outputs, finished, strict=True):
        if isinstance(value, torch.Tensor) and not _fits(value, output.type):
            reason = f"result {list(value.shape)}, the program declares {output.type}"
            raise OpError(step.operation.type, step.operation.name, reason, _describe(arguments))
    return finished


def _decompressed(step: Step, index: int) -> Any:
    """One output of a `constexpr_` op whose inputs are all constants."""
    return _results(step, [], None)[index]


def _argument(constant: LazyConst, kind: str) -> Any:
    """What a `constexpr_` op yields, as an argument; not kept, so that only the last of a chain stays in memory."""
    return _from_container(constant.make(), kind)


def _callable_block(block: CompiledBlock, env: list[Any], watch: Watch | None) -> Callable[..., list[Any]]:
    def call(*values: Any) -> list[Any]:
        for slot, value in zip(block.input_slots, values, strict=True):
            env[slot] = value
        return block.run(env, watch)

    return call


def _reads(step: Step) -> set[int]:
    reads = {slot for _, slot, _ in step.slots}
    reads |= {m for _, members in step.variadic for m in members if isinstance(m, int)}
    for block in step.fixed.get("blocks", ()):
        reads |= {o for o in block.outputs if isinstance(o, int)}
        for inner in block.steps:
            reads |= _reads(inner)
    return reads


def _require_known_ops(function: Function) -> None:
    missing = Counter(
        operation.type
        for operation in function.block.walk()
        if operation.type != "const" and find_op(operation.type, function.opset) is None
    )
    if missing:
        raise UnsupportedOpsError(dict(missing))


def _ref(binding: Binding) -> Ref:
    assert isinstance(binding, Ref)
    return binding


def _container(constant: Const) -> Any:
    if isinstance(constant.type, ListType):
        return [container_from_numpy(np.asarray(item)) for item in constant.read()]
    value = constant.numpy()
    return str(value) if value.dtype.kind == "U" and value.ndim == 0 else container_from_numpy(value)


def _python_value(constant: Const, kind: str) -> Any:
    if kind == "array":
        return constant.numpy()
    value = constant.read()
    if kind == "any":
        return value
    if kind == "list":
        return np.asarray(value).reshape(-1).tolist()
    if kind == "scalar":
        return np.asarray(value).reshape(-1)[0].item() if np.asarray(value).size == 1 else np.asarray(value).tolist()
    raise TypeError(f"a constant cannot be a {kind}")


def _from_container(value: Any, kind: str) -> Any:
    if kind == "list":
        return value.reshape(-1).tolist()
    if kind == "scalar":
        return value.item()
    return value.numpy() if kind == "array" else value


def _fits(value: torch.Tensor, type: ValueType) -> bool:
    if not isinstance(type, TensorType) or type.shape is None:
        return True
    return len(type.shape) == value.ndim and all(
        want is None or want == got for want, got in zip(type.shape, value.shape, strict=True)
    )


def _describe(arguments: Mapping[str, Any]) -> list[str]:
    def one(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        return repr(value) if len(repr(value)) < 60 else type(value).__name__

    return [f"{name}: {one(value)}" for name, value in arguments.items() if name != "blocks"]


def _trace_row(name: str, op: str, type: ValueType, value: torch.Tensor) -> TraceRow:
    dtype = type.dtype if isinstance(type, TensorType) else "list"
    numbers = value.to(torch.float32)
    finite = numbers[torch.isfinite(numbers)]
    low, high = (finite.min().item(), finite.max().item()) if finite.numel() else (float("nan"), float("nan"))
    return TraceRow(name, op, dtype, tuple(value.shape), low, high, int(numbers.numel() - finite.numel()))
