"""One function of a package as the rules look at it: constants by name, readers of a value, shapes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from milrun.interface import InputType, input_types
from milrun.numerics import SUB_BYTE_BITS, numpy_dtype
from milrun.package import Package
from milrun.program import Const, Function, Operation, Ref, TensorType

# Ops that hold or expand weights: they are folded before anything runs.
_STORED = ("const", "constexpr_")


@dataclass(frozen=True)
class FunctionView:
    """A function and what its description says.

    Attributes:
        function: as parsed.
        inputs: name -> type with the shapes that the description allows; states are not among them.
    """

    function: Function
    inputs: Mapping[str, InputType]

    @classmethod
    def of(cls, package: Package, function: Function) -> "FunctionView":
        """The view of a package's function."""
        declared = {
            name: kind for name, kind in function.block.inputs if isinstance(kind, TensorType) and not kind.is_state
        }
        return cls(function, input_types(package.spec.description, function.name, declared))

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """The ops that run, nested blocks included."""
        return tuple(op for op in self.function.block.walk() if not op.type.startswith(_STORED))

    @cached_property
    def states(self) -> dict[str, TensorType]:
        """Name -> type of each state."""
        items = self.function.block.inputs
        return {name: kind for name, kind in items if isinstance(kind, TensorType) and kind.is_state}

    @cached_property
    def types(self) -> dict[str, TensorType]:
        """Name -> type of every tensor."""
        made = (output for op in self.function.block.walk() for output in op.outputs)
        return {name: kind for name, kind in (*self.function.block.inputs, *made) if isinstance(kind, TensorType)}

    @cached_property
    def makers(self) -> dict[str, Operation]:
        """Name of a value -> the op that makes it."""
        return {name: op for op in self.function.block.walk() for name, _ in op.outputs}

    @cached_property
    def readers(self) -> dict[str, list[Operation]]:
        """Name of a value -> the ops that read it."""
        found: dict[str, list[Operation]] = {}
        for op in self.operations:
            for name in read_names(op):
                found.setdefault(name, []).append(op)
        return found

    def constant(self, op: Operation, parameter: str) -> Const | None:
        """The constant that a parameter is bound to; None where it is left out or made by an op."""
        bindings = op.inputs.get(parameter, ())
        return self._const(bindings[0]) if len(bindings) == 1 else None

    def value(self, op: Operation, parameter: str) -> Any:
        """The value of a small constant parameter, as a number, string or list; None as in `constant`."""
        const = self.constant(op, parameter)
        return None if const is None else np.asarray(const.read()).tolist()

    def type_of(self, op: Operation, parameter: str) -> TensorType | None:
        """The type of what a parameter is bound to."""
        bindings = op.inputs.get(parameter, ())
        if len(bindings) != 1:
            return None
        kind = bindings[0].type if isinstance(bindings[0], Const) else self.types.get(bindings[0].name)
        return kind if isinstance(kind, TensorType) else None

    def shapes(self, op: Operation) -> Iterator[tuple[int | None, ...]]:
        """The shapes of an op's outputs, where they have one."""
        for _, kind in op.outputs:
            if isinstance(kind, TensorType) and kind.shape is not None:
                yield kind.shape

    @cached_property
    def stored_bytes(self) -> int:
        """Bytes of the function's constants as they are stored; a constant that several ops read counts once."""
        consts = {
            id(b): b
            for op in self.function.block.walk()
            for bs in op.inputs.values()
            for b in bs
            if isinstance(b, Const)
        }
        return sum(_bytes(const) for const in consts.values())

    def _const(self, binding: Ref | Const) -> Const | None:
        if isinstance(binding, Const):
            return binding
        maker = self.makers.get(binding.name)
        if maker is None or maker.type != "const":
            return None
        value = maker.inputs["val"][0]
        return value if isinstance(value, Const) else None


def read_names(op: Operation) -> tuple[str, ...]:
    """Names of the values that an op reads."""
    return tuple(b.name for bindings in op.inputs.values() for b in bindings if isinstance(b, Ref))


def _bytes(const: Const) -> int:
    kind = const.type
    if not isinstance(kind, TensorType) or kind.shape is None or kind.dtype == "string":
        return 0
    bits = SUB_BYTE_BITS.get(kind.dtype) or 8 * numpy_dtype(kind.dtype).itemsize
    return (prod(size or 0 for size in kind.shape) * bits + 7) // 8
