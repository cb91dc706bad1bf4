"""A package or a compiled model in words: what `convert inspect` prints of one that is no bundle's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from milrun.errors import PackageError
from milrun.interface import input_types
from milrun.package import MODEL_SUFFIXES, Package, open_package
from milrun.program import Function, TensorType, parse_program
from toolkit.bundle.inspect import contents_of
from toolkit.errors import BundleError


def is_package(path: Path) -> bool:
    """Whether a path is named as a package or a compiled model is."""
    return path.suffix in MODEL_SUFFIXES


def describe_package(path: Path) -> dict[str, Any]:
    """Interface, ops and weights of an `.mlpackage`, `.mlmodelc` or `.mlmodel`, JSON-ready.

    Raises:
        BundleError: it cannot be read.
    """
    try:
        package = open_package(path)
        program = parse_program(package)
    except PackageError as error:
        raise BundleError(str(error), "Give a bundle, an .mlpackage or an .mlmodelc.") from error
    found = contents_of(program)
    metadata = package.spec.description.metadata
    return {
        "package": str(path),
        "author": metadata.author or None,
        "licence": metadata.license or None,
        "precision_found": found.precision,
        "weight_bytes": found.weight_bytes,
        "compressed_weights": found.compressed_weights,
        "functions": [_function(package, function) for _, function in sorted(program.functions.items())],
    }


def text_from_package(description: dict[str, Any]) -> str:
    """The description for a person."""
    total = sum(description["weight_bytes"].values())
    largest = max(description["weight_bytes"], key=lambda dtype: description["weight_bytes"][dtype], default="")
    weights = f"{total / 1e6:.2f} MB of constants, most of them {largest}" if total else "no constants"
    compressed = f", {n} weights compressed" if (n := description["compressed_weights"]) else ""
    lines = [f"{description['package']}: {description['precision_found']} as found, {weights}{compressed}"]
    for function in description["functions"]:
        lines.append(f"\n{function['name']} ({function['opset']}), {sum(function['ops'].values())} ops")
        for side in ("inputs", "outputs", "states"):
            lines += [f"  {side[:-1]:7}{name:26}{declared}" for name, declared in function[side].items()]
        lines.append("  " + ", ".join(f"{count} {op}" for op, count in function["ops"].items()))
    return "\n".join(lines)


def _function(package: Package, function: Function) -> dict[str, Any]:
    given = {name: kind for name, kind in function.block.inputs if isinstance(kind, TensorType)}
    wanted = {name: kind for name, kind in given.items() if not kind.is_state}
    made = dict(function.block.inputs) | {n: t for op in function.block.operations for n, t in op.outputs}
    return {
        "name": function.name,
        "opset": function.opset,
        "inputs": _shown(input_types(package.spec.description, function.name, wanted)),
        "outputs": {name: str(made[name]) for name in function.block.outputs},
        "states": _shown({name: kind for name, kind in given.items() if kind.is_state}),
        "ops": dict(sorted(function.op_counts.items(), key=lambda pair: (-pair[1], pair[0]))),
    }


def _shown(types: Mapping[str, TensorType]) -> dict[str, str]:
    return {name: str(declared) for name, declared in types.items()}
