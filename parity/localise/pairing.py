"""Which value of a package is which value of the eager wrapper.

coremltools names an op after the torch value that it makes, and puts a suffix behind it where it casts. Ops that its
passes made new (`linear_3`) are paired by module, kind and shape, in order. Values that find no partner (halves of a
fused op, casts) stay without one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from milrun.program import Function, Ref, TensorType
from parity.localise.eager_graph import EagerOp

_CAST = re.compile(r"(_(cast|to)_(fp16|fp32|bool|u?int\d+))+$")
# MIL op -> torch ops that it may come from, where the names differ.
_KINDS = {
    "linear": {"linear", "addmm", "matmul"},
    "conv": {"_convolution", "convolution"},
    "transpose": {"transpose", "permute", "t"},
    "reshape": {"reshape", "view", "flatten"},
    "expand_dims": {"unsqueeze"},
    "slice_by_index": {"slice", "select"},
    "concat": {"cat"},
    "stack": {"stack"},
    "split": {"ConstantChunk", "split", "split_with_sizes", "chunk"},
    "real_div": {"div"},
    "reduce_mean": {"mean"},
    "reduce_sum": {"sum"},
    "reduce_max": {"amax", "max"},
    "reduce_argmax": {"argmax"},
    "less": {"lt"},
    "greater_equal": {"ge"},
    "matmul": {"matmul", "bmm"},
    "gather": {"embedding", "index_select"},
    "pow": {"pow"},
    "square": {"pow", "square"},
}
# They change the form of a value alone.
_LAYOUT = {"transpose", "reshape", "expand_dims", "squeeze"}
# Below this share of numbered names that fit, the package was made from other Python: its numbers say nothing.
_NUMBERS_TRUSTED = 0.8
_MAX_PERMUTED_RANK = 5


@dataclass(frozen=True)
class PackageOp:
    """One value of a package.

    Attributes:
        name: of the value.
        type: MIL op.
        scope: path of the module, as the package says it: names of module lists are left out.
        dtype: as declared.
        shape: as declared.
        reads: names of the values it is made from.
        index: place in the order of execution.
    """

    name: str
    type: str
    scope: str
    dtype: str
    shape: tuple[int, ...]
    reads: tuple[str, ...]
    index: int


def package_ops(function: Function) -> dict[str, PackageOp]:
    """Every tensor that the ops of a function make; nested blocks are left out, constants too."""
    ops: dict[str, PackageOp] = {}
    for operation in function.block.operations:
        if operation.type == "const":
            continue
        reads = tuple(b.name for bindings in operation.inputs.values() for b in bindings if isinstance(b, Ref))
        for name, declared in operation.outputs:
            if isinstance(declared, TensorType):
                shape = tuple(d for d in declared.shape or () if d is not None)
                ops[name] = PackageOp(name, operation.type, operation.scope, declared.dtype, shape, reads, len(ops))
    return ops


def align(ops: Mapping[str, PackageOp], eager: Mapping[str, EagerOp], outputs: Mapping[str, str]) -> dict[str, str]:
    """Value of the package -> value of the wrapper.

    Args:
        ops: of the package, in order.
        eager: of the wrapper, in order.
        outputs: name of an output -> value of the wrapper, from `EagerGraph.outputs`.
    """
    pairs = {ours: theirs for ours, theirs in outputs.items() if ours in ops and theirs in eager}
    pairs |= {ours: theirs for ours, theirs in _by_name(ops, eager).items() if ours not in pairs}
    pairs |= dict(_by_kind(ops, eager, pairs))
    return dict(sorted(pairs.items(), key=lambda pair: ops[pair[0]].index))


def in_shape(value: np.ndarray, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The forms of a value that have a shape: itself, transposed, reshaped."""
    if value.shape == shape:
        yield value
        return
    if value.size != np.prod(shape, dtype=np.int64):
        return
    squeezed, wanted = value.squeeze(), [d for d in shape if d != 1]
    if list(squeezed.shape) != wanted and squeezed.ndim <= _MAX_PERMUTED_RANK:
        for axes in permutations(range(squeezed.ndim)):
            if [squeezed.shape[a] for a in axes] == wanted:
                yield squeezed.transpose(axes).reshape(shape)
    yield value.reshape(shape)


def _mil_name(name: str) -> str:
    clean = re.sub(r"\W", "_", name)
    return f"var_{clean}" if clean[0].isdigit() else clean


def _by_name(ops: Mapping[str, PackageOp], eager: Mapping[str, EagerOp]) -> dict[str, str]:
    named = {_mil_name(name): op for name, op in eager.items()}
    found, numbered = {}, Counter[bool]()
    for name, op in ops.items():
        stem = _CAST.sub("", name)
        if (theirs := named.get(stem)) is None:
            continue
        fits = _fits(op, theirs)
        if stem.startswith("var_"):
            numbered[fits] += 1
        if fits:
            found[name] = theirs.name
    if numbered.total() and numbered[True] < _NUMBERS_TRUSTED * numbered.total():
        return {ours: theirs for ours, theirs in found.items() if not theirs[0].isdigit()}
    return found


def _by_kind(
    ops: Mapping[str, PackageOp], eager: Mapping[str, EagerOp], pairs: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Pair what is left: same module, kind and extents, made of the same value, the next in order of its like.

    Passes move transposes about: the queries' may stand before the keys' where the wrapper has it behind. So what only
    lays a value out anew has no partner where none is made of the same value.
    """
    known = dict(pairs)
    taken = set(pairs.values())
    left = [op for op in eager.values() if op.name not in taken]
    for op in ops.values():
        if op.name in known:
            continue
        kinds, read = _KINDS.get(op.type, {op.type}), {known[name] for name in op.reads if name in known}
        fitting = [e for e in left if _torch_name(e) in kinds and _fits(op, e) and _extents(op) == _extents(e)]
        of_the_same = [e for e in fitting if read & set(e.parents)]
        if read and op.type in _LAYOUT:
            fitting = of_the_same
        if chosen := next(iter(of_the_same or fitting), None):
            left.remove(chosen)
            known[op.name] = chosen.name
            yield op.name, chosen.name


def _torch_name(op: EagerOp) -> str:
    return op.kind.rpartition("::")[2].removesuffix("_")


def _extents(op: PackageOp | EagerOp) -> list[int]:
    return sorted(d for d in op.shape if d != 1)


def _fits(ours: PackageOp, theirs: EagerOp) -> bool:
    """Same number of elements, and the package's module path is the wrapper's with some parts left out."""
    parts: Iterable[str] = iter(theirs.module.split("."))
    inside = not ours.scope or all(part in parts for part in ours.scope.split("."))
    return inside and np.prod(ours.shape, dtype=np.int64) == np.prod(theirs.shape, dtype=np.int64)
