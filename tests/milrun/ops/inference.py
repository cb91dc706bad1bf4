"""Run one op twice: coremltools folds it over constants (`value_inference`), milrun executes it over inputs.

NumPy's float16 kernels are a processor's own (with AVX512-FP16 tanh(inf) is 0.9985), and round at every step. So
value_inference computes on the float32 images of float16 inputs and parameters, and its result is rounded once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

from tests.milrun.harness import TARGETS, run_op


@dataclass(frozen=True)
class Difference:
    """Where coremltools and milrun are known to differ.

    Attributes:
        cause: why, and what says that milrun is right.
        inferred: what value_inference gives: an array an output, or the exception it raises.
        ours: what milrun gives: an array an output, or the exception it raises.
    """

    cause: str
    inferred: Any
    ours: Any


@dataclass(frozen=True)
class Example:
    """One op with its inputs.

    Attributes:
        op: MIL op type.
        label: the edge that it is about.
        inputs: name -> array, or a tuple of arrays for a variadic parameter; constants in one program, inputs of the
            other. An array of rank 0 is a scalar.
        parameters: the arguments that are constants in both.
        opsets: where to build it: the last opset of each definition of the op, unless the example needs another.
        differs: what is expected where the two do not agree.
        build: replaces the plain call of the op, for blocks and lists.
    """

    op: str
    label: str
    inputs: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    opsets: tuple[str, ...] = ()
    differs: Difference | None = None
    build: Callable[..., Any] | None = None

    def outputs(self, given: dict[str, Any]) -> tuple[Any, ...]:
        """The op's outputs as variables of the program that is being built."""
        result = (self.build or getattr(mb, self.op))(**given, **self.parameters)
        return tuple(result) if isinstance(result, tuple | list) else (result,)


def case(op: str, label: str, inputs: dict[str, Any], **options: Any) -> list[Example]:
    """One example; `opsets`, `differs` and `build` are the example's, the rest are the op's parameters."""
    own = {key: options.pop(key) for key in ("differs", "build") if key in options}
    opsets = options.pop("opsets", None)
    return [Example(op, label, inputs, options, tuple(opsets.split()) if opsets else versions(op), **own)]


def alike(dtypes: str, op: str, label: str, inputs: dict[str, Any], **options: Any) -> list[Example]:
    """The same values in several dtypes; Python floats among the parameters follow them."""
    examples = []
    for name in dtypes.split():
        dtype = np.dtype(name)
        given = {key: np.array(value, dtype) for key, value in inputs.items()}
        follow = {key: dtype.type(value) if isinstance(value, float) else value for key, value in options.items()}
        examples += case(op, f"{label} {dtype.name}", given, **follow)
    return examples


def versions(op: str) -> tuple[str, ...]:
    """The last opset of each of coremltools' definitions of the op."""
    last: dict[type, str] = {}
    for target, definition in SSAOpRegistry.core_ops[op].items():
        if target.name in TARGETS:
            last[definition] = target.name
    return tuple(last.values())


def inferred(example: Example, opset: str) -> list[Any]:
    """The outputs as variables; value_inference has filled in their `.val`, or left it None."""
    found: list[Any] = []

    def constant(value: np.ndarray) -> Any:
        # A copy, because thresholded_relu.value_inference changes its constant in place.
        return mb.const(val=value.copy() if value.ndim else value[()])

    @mb.program(input_specs=[mb.TensorSpec((1,))], opset_version=TARGETS[opset])
    def program(unused):
        given = {key: _each(value, constant) for key, value in example.inputs.items()}
        with np.errstate(all="ignore"):
            found.extend(example.outputs(given))
        return mb.identity(x=unused)

    return _rounded_once(found)


def _rounded_once(outputs: list[Any]) -> list[Any]:
    """The outputs of an op with float16 inputs, inferred again in float32; those of another op as they are."""
    op = outputs[0].op
    given = [var for value in op.inputs.values() for var in _members(value)]
    narrow = [var for var in given if var is not None and getattr(var.val, "dtype", None) == np.float16]
    if not narrow or any(output.op is not op for output in outputs):
        return outputs
    for var in narrow:
        var._sym_val = SimpleNamespace(val=var.val.astype(np.float32))  # `Var.val` reads it
    with np.errstate(all="ignore"):
        results = op.value_inference()
        results = results if isinstance(results, tuple | list) else (results,)
        dtypes = [types.nptype_from_builtin(output.dtype) for output in outputs]
        rounded = [np.asarray(value).astype(dtype) for value, dtype in zip(results, dtypes, strict=True)]
    return [SimpleNamespace(val=value, dtype=out.dtype) for value, out in zip(rounded, outputs, strict=True)]


def executed(example: Example, opset: str) -> list[np.ndarray]:
    """The outputs as milrun computes them from inputs that nothing can fold."""
    arrays = {f"{key}_{i}": value for key, values in example.inputs.items() for i, value in enumerate(_members(values))}

    def build(**placeholders):
        def given(key: str, values: Any) -> Any:
            members = [_restored(placeholders[f"{key}_{i}"], value) for i, value in enumerate(_members(values))]
            return tuple(members) if isinstance(values, tuple) else members[0]

        outputs = example.outputs({key: given(key, values) for key, values in example.inputs.items()})
        return tuple(_converted(x, travelling(types.nptype_from_builtin(x.dtype), opset)) for x in outputs)

    return run_op(build, {name: _fed(value, opset) for name, value in arrays.items()}, opset)


def travelling(dtype: Any, opset: str) -> np.dtype:
    """How values of a dtype enter and leave an ML Program: as its nearest input type, with a cast in the program."""
    if np.dtype(dtype).kind == "f":
        return np.dtype(np.float32) if opset == "iOS15" else np.dtype(dtype)
    return np.dtype(np.int32)


def _members(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, tuple | list) else (values,)


def _each(values: Any, function: Callable[[np.ndarray], Any]) -> Any:
    return tuple(map(function, values)) if isinstance(values, tuple) else function(values)


def _fed(value: np.ndarray, opset: str) -> np.ndarray:
    value = value.astype(travelling(value.dtype, opset))
    return value.reshape(1) if value.ndim == 0 else value  # an input has at least one dimension


def _restored(placeholder: Any, value: np.ndarray) -> Any:
    """The input in the dtype and rank of the example's array."""
    x = _converted(placeholder, value.dtype)
    return mb.squeeze(x=x, axes=[0]) if value.ndim == 0 else x


def _converted(x: Any, dtype: Any) -> Any:
    wanted = types.numpy_type_to_builtin_type(np.dtype(dtype))
    return x if x.dtype == wanted else mb.cast(x=x, dtype=types.builtin_to_string(wanted))
