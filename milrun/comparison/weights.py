"""The constants that two aligned ops read, compared as the ops read them: dense, whatever their compression."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from milrun.comparison.difference import Difference, difference
from milrun.model import Model
from milrun.numerics import FLOATS
from milrun.program import Binding, Const, Operation, Ref, TensorType


@dataclass(frozen=True)
class Weight:
    """A constant of both programs.

    Attributes:
        names: in each program; op and parameter where the constant has no name of its own.
        reader: the op of the first program that reads it, and `parameter` of that op.
        stored: dtype in each program, and how it is compressed.
        shape: in the first program.
        precision: key of `difference.LIMITS`.
        difference: between the values.
    """

    names: tuple[str, str]
    reader: str
    parameter: str
    stored: tuple[str, str]
    shape: tuple[int, ...]
    precision: str
    difference: Difference

    @property
    def differs(self) -> bool:
        """Beyond rounding."""
        return not self.difference.within(self.precision)


class Constants:
    """The constants of a model, by their names."""

    def __init__(self, model: Model) -> None:
        self._model = model
        made = (o for o in model.function.block.walk() for name, _ in o.outputs if model.is_constant(name))
        self._makers = {name: operation for operation in made for name, _ in operation.outputs}

    def has(self, binding: Binding) -> bool:
        """Whether the binding is a constant tensor."""
        if isinstance(binding, Ref):
            maker = self._makers.get(binding.name)
            return maker is not None and isinstance(dict(maker.outputs)[binding.name], TensorType)
        return isinstance(binding.type, TensorType)

    def stored(self, binding: Binding) -> str:
        """Its dtype, and the op that decompresses it."""
        if isinstance(binding, Const):
            return str(binding.type).split()[0]
        maker = self._makers[binding.name]
        dtype = str(dict(maker.outputs)[binding.name]).split()[0]
        return dtype if maker.type == "const" else f"{dtype} by {maker.type}"

    def value(self, binding: Binding) -> np.ndarray:
        """Its elements; those of a compressed constant in float32."""
        if isinstance(binding, Const):
            return binding.numpy()
        maker = self._makers[binding.name]
        if maker.type == "const":
            (constant,) = maker.inputs["val"]
            assert isinstance(constant, Const)
            return constant.numpy()
        return self._model.constant(binding.name)


def compare_weights(a: Constants, b: Constants, pairs: Iterable[tuple[Operation, Operation]]) -> Iterator[Weight]:
    """Compare the constants that each pair of ops reads under the same parameter; two that pair often, once."""
    seen: set[tuple[Ref, Ref]] = set()
    for one, two in pairs:
        for parameter in one.inputs:
            for m, n in zip(one.inputs[parameter], two.inputs.get(parameter, ()), strict=False):
                if not (a.has(m) and b.has(n)):
                    continue
                if isinstance(m, Ref) and isinstance(n, Ref):
                    if (m, n) in seen:
                        continue
                    seen.add((m, n))
                yield _weight(a, b, (m, n), one, parameter)


def _weight(a: Constants, b: Constants, bindings: tuple[Binding, Binding], reader: Operation, parameter: str) -> Weight:
    stored = a.stored(bindings[0]), b.stored(bindings[1])
    value = a.value(bindings[0])
    names = tuple(m.name if isinstance(m, Ref) else f"{reader.name}.{parameter}" for m in bindings)
    dtypes = [text.split()[0] for text in stored]
    floats = [dtype for dtype in dtypes if dtype in FLOATS]
    precision = "exact" if not floats else "float16" if "float16" in floats else "float32"
    apart = difference(value, b.value(bindings[1]))
    return Weight((names[0], names[1]), reader.name, parameter, stored, value.shape, precision, apart)
