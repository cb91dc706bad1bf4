"""Running a function: bind every op once, then one loop.

Loading checks that every op is known, resolves names to slots, turns constants into the arguments that their op wants
and computes after which op each value is no longer needed. Running calls op after op, rounds each result to the dtype
the program declares, compares its shape with the declared one, and frees what is no longer needed.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

import milrun.ops  # noqa: F401  (fills the table)
from milrun.errors import OpError, UnsupportedOpsError
from milrun.numerics import round_to
from milrun.program import Binding, Block, Const, Function, Operation, Ref, TensorType, ValueType
from milrun.registry import OpFn, find_op
from milrun.step import LazyConst, Output, Step, argument_from_container, container_from_const, python_value
from milrun.values import TensorList
from milrun.watch import StopRun, Watch

# Kinds of parameter that the program's structure fills, not an input.
_STRUCTURAL = frozenset({"blocks", "output_types"})
_BLOCKS = 2  # of a `cond` and of a `while_loop`; no other op has blocks


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
        weights: what was made of the program's constants so far, shared by the functions of one program.
        rounding: round results to the dtype the program declares; False leaves those declared float16 in float32.

    Raises:
        UnsupportedOpsError: names every op that `OPS` lacks.
    """

    def __init__(
        self,
        function: Function,
        cache_weights: bool = True,
        weights: dict[int, LazyConst] | None = None,
        *,
        rounding: bool = True,
    ) -> None:
        self.function = function
        self._weights = {} if weights is None else weights
        self._slots: dict[str, int] = {}
        self._constants: dict[str, LazyConst] = {}
        self._raw: dict[str, Const] = {}
        self._types: dict[str, ValueType] = {}
        self._cache, self._rounding = cache_weights, rounding
        _require_known_ops(function)
        self.root = self._compile(function.block)
        _free_after_last_use(self.root, set())

    def run(self, inputs: Mapping[str, Any], watch: Watch | None = None) -> list[Any]:
        """Run with containers (and state cells) by input name; returns containers in output order."""
        env: list[Any] = [None] * len(self._slots)
        for (name, _), slot in zip(self.function.block.inputs, self.root.input_slots, strict=True):
            env[slot] = inputs[name]
        with torch.inference_mode():
            return self.root.run(env, watch)

    def constant(self, name: str) -> LazyConst | None:
        """A constant of the program, or what a `constexpr_` op makes of constants; None for what a run computes."""
        return self._constants.get(name)

    def _slot(self, name: str) -> int:
        return self._slots.setdefault(name, len(self._slots))

    def _compile(self, block: Block) -> CompiledBlock:
        inputs = [self._computed(name, declared) for name, declared in block.inputs]
        steps = []
        for operation in block.operations:
            if operation.type == "const":
                (binding,) = operation.inputs["val"]
                assert isinstance(binding, Const)
                self._raw[operation.name], self._types[operation.name] = binding, binding.type
                self._constants[operation.name] = self._weight(binding)
                continue
            step = self._step(operation)
            if operation.type.startswith("constexpr_") and step.is_constant:
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
        tensors, converted, variadic = [], [], []
        for name, bindings in operation.inputs.items():
            kind = known.kinds.get(name)
            if kind is None or kind in _STRUCTURAL:
                raise OpError(operation.type, operation.name, f"parameter '{name}' is not one of {sorted(known.kinds)}")
            self._require_kind(operation, name, kind)
            if kind == "tensors":
                variadic.append((name, tuple(self._constant(b) or self._slot(_ref(b).name) for b in bindings)))
            elif len(bindings) != 1:
                raise OpError(operation.type, operation.name, f"parameter '{name}' is given {len(bindings)} values")
            elif (constant := self._constant(bindings[0])) is None:
                slot = self._slot(_ref(bindings[0]).name)
                if kind in ("tensor", "state"):
                    tensors.append((name, slot))
                else:
                    converted.append((name, slot, kind))
            elif kind == "tensor":
                lazy[name] = constant
            elif (raw := self._raw_const(bindings[0])) is None:
                lazy[name] = LazyConst(partial(_argument, constant, kind), cache=False)
            elif kind == "array":  # read at each use, so that compressed weights stay in the mapped file
                lazy[name] = LazyConst(raw.numpy, cache=False)
            else:
                fixed[name] = python_value(raw, kind)
        self._add_special(operation, known, fixed)
        missing = known.required - set(operation.inputs) - set(fixed)
        if missing:
            raise OpError(operation.type, operation.name, f"required parameters are missing: {sorted(missing)}")
        stored = operation.type.startswith("constexpr_")
        outputs = tuple(self._output(name, declared, known, stored) for name, declared in operation.outputs)
        return Step(operation, known.call, fixed, lazy, tuple(tensors), tuple(converted), tuple(variadic), outputs)

    def _require_kind(self, operation: Operation, parameter: str, kind: str) -> None:
        for binding in operation.inputs[parameter]:
            declared = self._types[binding.name] if isinstance(binding, Ref) else binding.type
            if not _may_be(declared, kind):
                raise OpError(operation.type, operation.name, f"parameter '{parameter}' cannot be {declared}")

    def _add_special(self, operation: Operation, known: OpFn, fixed: dict[str, Any]) -> None:
        wanted = _BLOCKS if "blocks" in known.kinds.values() else 0
        if len(operation.blocks) != wanted:
            raise OpError(operation.type, operation.name, f"{len(operation.blocks)} blocks where it has {wanted}")
        for name, kind in known.kinds.items():
            if kind == "blocks":
                fixed[name] = tuple(self._compile(block) for block in operation.blocks)
            elif kind == "output_types":
                fixed[name] = tuple(declared for _, declared in operation.outputs)

    def _output(self, name: str, type: ValueType, known: OpFn, stored: bool) -> Output:
        """`stored`: it is a weight that is only decompressed, which stays as stored."""
        finish = None
        if isinstance(type, TensorType) and not known.exact and type.dtype not in ("string", "dictionary"):
            wide = type.dtype == "float16" and not self._rounding and not stored
            finish = round_to("float32" if wide else type.dtype)
        shape = None
        if isinstance(type, TensorType) and type.shape is not None and type.dtype != "string":
            known_dims = [d for d in type.shape if d is not None]
            shape = torch.Size(known_dims) if len(known_dims) == len(type.shape) else None
        return Output(self._computed(name, type), name, type, _python_type(type), shape, finish)

    def _computed(self, name: str, type: ValueType) -> int:
        """The slot of a value that is known at run time only."""
        for constants in (self._raw, self._constants):  # a sibling block may have a constant of this name
            constants.pop(name, None)
        self._types[name] = type
        return self._slot(name)

    def _raw_const(self, binding: Binding) -> Const | None:
        return self._raw.get(binding.name) if isinstance(binding, Ref) else binding

    def _constant(self, binding: Binding) -> LazyConst | None:
        """What stands behind a binding when no input is needed for it."""
        if isinstance(binding, Ref):
            return self._constants.get(binding.name)
        return self._weight(binding)

    def _weight(self, constant: Const) -> LazyConst:
        made = partial(container_from_const, constant)
        return self._weights.setdefault(id(constant), LazyConst(made, self._cache))


def _free_after_last_use(block: CompiledBlock, outer: set[int]) -> None:
    """Let every step free the slots that no later step of its block reads; those of `outer` outlive the block."""
    kept = {slot for slot in block.outputs if isinstance(slot, int)}
    made = (output.slot for step in block.steps for output in step.outputs)
    own = set(block.input_slots).union(made) - outer
    outer |= own
    last: dict[int, int] = {}
    for index, step in enumerate(block.steps):
        for nested in step.fixed.get("blocks", ()):
            _free_after_last_use(nested, outer)
        for slot in _reads(step).union(output.slot for output in step.outputs):
            last[slot] = index
    outer -= own
    freed: dict[int, list[int]] = {}
    for slot, index in last.items():
        if slot not in kept and slot not in outer:
            freed.setdefault(index, []).append(slot)
    for index, slots in freed.items():
        block.steps[index].free = tuple(slots)


def _run_step(step: Step, env: list[Any], watch: Watch | None) -> None:
    if watch is not None:
        watch.begins(step.operation)
    blocks: tuple[Callable[..., list[Any]], ...] = ()
    if step.operation.blocks:
        blocks = tuple(_callable_block(block, env, watch) for block in step.fixed["blocks"])
    for output, value in zip(step.outputs, step.results(env, blocks), strict=True):
        instead = None if watch is None else watch.see(output.name, step.operation, output.type, value)
        env[output.slot] = value if instead is None else output.accept(instead)
    for slot in step.free:
        env[slot] = None
    if watch is not None and watch.stops(step.operation.name, step.operation.type):
        raise StopRun


def _decompressed(step: Step, index: int) -> Any:
    """One output of a `constexpr_` op whose inputs are all constants."""
    return step.results([])[index]


def _argument(constant: LazyConst, kind: str) -> Any:
    """What a `constexpr_` op yields, as an argument; not kept, so that only the last of a chain stays in memory."""
    return argument_from_container(constant.make(), kind)


def _callable_block(block: CompiledBlock, env: list[Any], watch: Watch | None) -> Callable[..., list[Any]]:
    def call(*values: Any) -> list[Any]:
        if len(values) != len(block.input_slots):
            raise ValueError(f"{len(values)} values for a block of {len(block.input_slots)} inputs")
        for slot, value in zip(block.input_slots, values, strict=True):
            env[slot] = value
        return block.run(env, watch)

    return call


def _reads(step: Step) -> set[int]:
    reads = {slot for _, slot in step.tensors} | {slot for _, slot, _ in step.converted}
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


def _may_be(declared: ValueType, kind: str) -> bool:
    """Whether a value of this type can reach a parameter of this kind (`registry.py`)."""
    if kind in ("any", "tensors"):
        return True
    if not isinstance(declared, TensorType) or declared.is_state != (kind == "state"):
        return False
    return kind in ("scalar", "list", "state") or declared.dtype not in ("string", "dictionary")


def _python_type(declared: ValueType) -> type | tuple[type, ...]:
    """What a value of this type is while it travels between ops."""
    if not isinstance(declared, TensorType):
        return (TensorList, list)
    return {"string": str, "dictionary": dict}.get(declared.dtype, torch.Tensor)


def _ref(binding: Binding) -> Ref:
    assert isinstance(binding, Ref)
    return binding
