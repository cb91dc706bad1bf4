"""What two functions take, give and keep: how their names correspond, and in what they differ."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from milrun.comparison.values import shapes_meet
from milrun.errors import InputError
from milrun.interface import InputType
from milrun.model import Model
from milrun.program import TensorType


@dataclass(frozen=True)
class Names:
    """Names of the first function -> names of the second, and the names of each that have no partner."""

    pairs: dict[str, str]
    only: tuple[tuple[str, ...], tuple[str, ...]]

    @property
    def by_position(self) -> list[tuple[str, str]]:
        """Pairs of two names."""
        return [(a, b) for a, b in self.pairs.items() if a != b]


def corresponding(a: Mapping[str, TensorType], b: Mapping[str, TensorType]) -> Names:
    """Pair by name, and what is left by position where as many are left and all their dtypes and shapes agree."""
    pairs = {name: name for name in a if name in b}
    left, right = ([name for name in side if name not in pairs] for side in (a, b))
    if len(left) == len(right) and all(_alike(a[m], b[n]) for m, n in zip(left, right, strict=True)):
        pairs |= zip(left, right, strict=True)
        left, right = [], []
    return Names({name: pairs[name] for name in a if name in pairs}, (tuple(left), tuple(right)))


def require_inputs(a: Model, b: Model) -> Names:
    """The names of both models' inputs; one that may be left out needs no partner.

    Raises:
        InputError: the inputs do not correspond, or the shapes of two exclude each other.
    """
    names = corresponding(a.inputs, b.inputs)
    needed = [
        [f"{name}: {model.inputs[name]}" for name in only if model.inputs[name].default is None]
        for model, only in zip((a, b), names.only, strict=True)
    ]
    if any(needed):
        lists = (f"{', '.join(items) or 'none'} in {side}" for items, side in zip(needed, "AB", strict=True))
        raise InputError(
            f"the inputs do not correspond: without a partner are {'; '.join(lists)}."
            " Names must agree, or the dtypes and shapes of those left over, in order"
        )
    for m, n in names.pairs.items():
        if not shapes_meet(a.inputs[m], b.inputs[n]):
            raise InputError(f"no array fits both: input '{m}' is {a.inputs[m]} in A, '{n}' is {b.inputs[n]} in B")
    return names


def example_input(a: InputType, b: InputType) -> InputType:
    """The type to make an example of for both: the one that leaves fewer sizes open."""
    return min((a, b), key=_open_sizes)


def interface_differences(a: Model, b: Model) -> list[str]:
    """One line for each input, output and state that differs, for the opset and for the counts of ops."""
    lines = []
    for title in ("input", "output", "state"):
        of_a, of_b = ({n: str(t) for n, t in getattr(model, f"{title}s").items()} for model in (a, b))
        names = corresponding(getattr(a, f"{title}s"), getattr(b, f"{title}s"))
        lines += [f"{title} {m} is called {n} in B: aligned by position" for m, n in names.by_position]
        lines += [f"{title} {m}: {of_a[m]} | {of_b[n]}" for m, n in names.pairs.items() if of_a[m] != of_b[n]]
        lines += [f"{title} {name}: {of_a[name]} | none" for name in names.only[0]]
        lines += [f"{title} {name}: none | {of_b[name]}" for name in names.only[1]]
    if a.function.opset != b.function.opset:
        lines.append(f"opset: {a.function.opset} | {b.function.opset}")
    counts = a.function.op_counts, b.function.op_counts
    for op in sorted(counts[0].keys() | counts[1].keys()):
        if counts[0].get(op, 0) != counts[1].get(op, 0):
            lines.append(f"op {op}: x{counts[0].get(op, 0)} | x{counts[1].get(op, 0)}")
    return lines


def given_to_second(names: Names, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The first function's inputs under the names of the second."""
    return {names.pairs[name]: value for name, value in given.items() if name in names.pairs}


def _alike(a: TensorType, b: TensorType) -> bool:
    return (a.dtype, a.shape) == (b.dtype, b.shape)


def _open_sizes(declared: TensorType) -> float:
    return float("inf") if declared.shape is None else declared.shape.count(None)
