"""What is in a package, read from the file itself: ops, precision, weights."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from milrun.package import open_package
from milrun.program import Const, Function, Program, TensorType, parse_program

_COMPRESSED = "constexpr_"
_FLOAT_BITS = {"float16": "fp16", "float32": "fp32"}


@dataclass(frozen=True)
class PackageContents:
    """One package as found.

    Attributes:
        precision: dtype that most float ops compute in, `fp16` or `fp32`; `mixed` when neither has nine tenths.
        ops: function -> op type -> count.
        weight_bytes: dtype -> bytes of the constants of the default function.
        compressed_weights: weights that ops of the default function expand when it runs.
    """

    precision: str
    ops: dict[str, dict[str, int]]
    weight_bytes: dict[str, int]
    compressed_weights: int


def inspect_package(path: Path) -> PackageContents:
    """Read a package's program.

    Raises:
        PackageError: it cannot be read.
    """
    return contents_of(parse_program(open_package(path)))


def contents_of(program: Program) -> PackageContents:
    """What is in a program that was read already."""
    default = program.functions[program.default_function]
    return PackageContents(
        precision=_precision(program),
        ops={name: function.op_counts for name, function in sorted(program.functions.items())},
        weight_bytes=_weight_bytes(default),
        compressed_weights=sum(op.type.startswith(_COMPRESSED) for op in default.block.walk()),
    )


def found_precision(path: Path) -> str:
    """The precision of a package as its ops declare it: `fp16`, `fp32` or `mixed`."""
    return _precision(parse_program(open_package(path)))


def _precision(program: Program) -> str:
    counts: Counter[str] = Counter()
    for function in program.functions.values():
        for operation in function.block.walk():
            if operation.type in ("const", "cast", "read_state"):
                continue
            for _, declared in operation.outputs:
                if isinstance(declared, TensorType) and declared.dtype in _FLOAT_BITS:
                    counts[_FLOAT_BITS[declared.dtype]] += 1
    if not counts:
        return "fp32"
    name, most = counts.most_common(1)[0]
    return name if most >= 0.9 * counts.total() else "mixed"


def _weight_bytes(function: Function) -> dict[str, int]:
    total: Counter[str] = Counter()
    for operation in function.block.walk():
        for bindings in operation.inputs.values():
            for binding in bindings:
                if isinstance(binding, Const) and isinstance(binding.type, TensorType):
                    total[binding.type.dtype] += binding.numpy().nbytes
    return dict(total)
