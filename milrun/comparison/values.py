"""The inner values of a function, in the order of a run, with what aligns and judges them."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from milrun.model import Model
from milrun.numerics import FLOATS
from milrun.program import Block, Const, Operation, Ref, TensorType, ValueType

_NO_NUMBERS = ("string", "dictionary")
_PRECISION_SUFFIX = re.compile(r"_cast_fp(16|32)$")


@dataclass(frozen=True)
class Value:
    """A tensor that an op computes.

    Attributes:
        name: in the program.
        type: as declared.
        operation: what computes it.
        output: its place among the op's outputs.
        rounded: float16 lies on the way to it.
    """

    name: str
    type: TensorType
    operation: Operation
    output: int
    rounded: bool

    @property
    def kind(self) -> str:
        """float, int or bool: two precisions of one program have the same."""
        return "float" if self.type.dtype in FLOATS else "bool" if self.type.dtype == "bool" else "int"

    @property
    def key(self) -> str:
        """The name without what a precision adds, and as a compiled model spells it."""
        return re.sub(r"\W", "_", _PRECISION_SUFFIX.sub("", self.name))


def inner_values(model: Model) -> list[Value]:
    """What a run computes, in its order; names that two blocks use are left out, for a run does not tell them apart."""
    rounded = {name for name, declared in model.function.block.inputs if _is_half(declared)}
    values = list(_walk(model.function.block, rounded))
    counts = Counter(value.name for value in values)
    return [value for value in values if counts[value.name] == 1 and not model.is_constant(value.name)]


def precision(a: Value, b: Value) -> str:
    """The key of `difference.LIMITS` that two values are judged by."""
    if "float" not in (a.kind, b.kind):
        return "exact"
    return "float16" if a.rounded or b.rounded else "float32"


def shapes_meet(a: TensorType, b: TensorType) -> bool:
    """Whether one tensor can be of both shapes."""
    if a.shape is None or b.shape is None:
        return True
    sizes = zip(a.shape, b.shape, strict=False)
    return len(a.shape) == len(b.shape) and all(None in pair or pair[0] == pair[1] for pair in sizes)


def _walk(block: Block, rounded: set[str]) -> Iterator[Value]:
    """Post-order: an op's blocks run before it yields. Adds to `rounded` the names that float16 leads to."""
    for operation in block.operations:
        reads = _reads_half(operation, rounded)
        for nested in operation.blocks:
            rounded.update(name for name, _ in nested.inputs if reads)
            yield from _walk(nested, rounded)
            reads |= any(name in rounded for name in nested.outputs)
        for index, (name, declared) in enumerate(operation.outputs):
            if reads or _is_half(declared):
                rounded.add(name)
            if operation.type != "const" and isinstance(declared, TensorType) and declared.dtype not in _NO_NUMBERS:
                yield Value(name, declared, operation, index, name in rounded)


def _reads_half(operation: Operation, rounded: set[str]) -> bool:
    bindings = (binding for given in operation.inputs.values() for binding in given)
    return any(
        (isinstance(b, Ref) and b.name in rounded) or (isinstance(b, Const) and _is_half(b.type)) for b in bindings
    )


def _is_half(declared: ValueType) -> bool:
    return isinstance(declared, TensorType) and declared.dtype == "float16"
