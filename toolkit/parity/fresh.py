"""A saved package against a fresh conversion of its wrapper, op by op: what was changed after it was saved.

The conversion is deterministic, so names agree, and every difference is a finding. It costs what converting costs.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import milrun
from milrun.program import Const, Function, Operation, Ref
from toolkit.bundle.manifest import Precision
from toolkit.export.component import convert_function
from toolkit.export.spec import ComponentSpec


def compare_with_fresh(
    package: milrun.Model, spec: ComponentSpec, function: str, precision: Precision, target: str
) -> list[str]:
    """Convert a function again and name every op of the saved package that differs, in order.

    Args:
        package: the saved function.
        spec: the component.
        function: entry point.
        precision: of the package; its weights must not be compressed.
        target: deployment target that it was made for.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fresh.mlpackage"
        convert_function(spec, spec.function(function), precision, target).save(str(path))
        return list(program_differences(package.function, milrun.load(path).function))


def program_differences(saved: Function, fresh: Function) -> Iterator[str]:
    """One line an op that was dropped, added or changed; says whether a constant or the wiring differs."""
    ours = {op.name: op for op in saved.block.operations if op.type != "const"}
    theirs = {op.name: op for op in fresh.block.operations if op.type != "const"}
    values, fresh_values = _constants(saved), _constants(fresh)
    for name, op in theirs.items():
        if name not in ours:
            yield f"{name} ({op.type} from {op.scope or 'the wrapper itself'}) is missing"
        elif changed := list(_changes(ours[name], op, values, fresh_values)):
            yield f"{name} ({op.type} from {op.scope or 'the wrapper itself'}): {'; '.join(changed)}"
    for name in ours.keys() - theirs.keys():
        yield f"{name} ({ours[name].type}) is not in a fresh conversion"


def _constants(function: Function) -> dict[str, Const]:
    made = {op.name: op.inputs["val"][0] for op in function.block.operations if op.type == "const"}
    return {name: value for name, value in made.items() if isinstance(value, Const)}


def _changes(
    saved: Operation, fresh: Operation, values: dict[str, Const], fresh_values: dict[str, Const]
) -> Iterator[str]:
    if saved.type != fresh.type:
        yield f"is a {saved.type}"
        return
    for parameter in sorted(saved.inputs.keys() | fresh.inputs.keys()):
        ours, theirs = saved.inputs.get(parameter, ()), fresh.inputs.get(parameter, ())
        pairs = zip(ours, theirs, strict=False)
        same = len(ours) == len(theirs) and all(_same(_value(a, values), _value(b, fresh_values)) for a, b in pairs)
        if not same:
            constant = all(isinstance(_value(b, fresh_values), Const) for b in theirs)
            yield f"the {'constant' if constant else 'input'} {parameter} differs"


def _value(binding: Ref | Const, constants: dict[str, Const]) -> Ref | Const:
    return constants.get(binding.name, binding) if isinstance(binding, Ref) else binding


def _same(ours: Ref | Const, theirs: Ref | Const) -> bool:
    if isinstance(ours, Ref) or isinstance(theirs, Ref):
        return ours == theirs
    a, b = ours.numpy(), theirs.numpy()
    return a.shape == b.shape and a.dtype == b.dtype and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
