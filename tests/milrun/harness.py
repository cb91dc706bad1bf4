"""One oracle for every op: build a one-op program with coremltools' builder, save it, run it with milrun."""

import gc
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

import milrun

# `ct.convert` ends with a full collection; it need not walk the imported packages, half a second, each time.
gc.collect()
gc.freeze()

_TYPES = {"f2": types.fp16, "f4": types.fp32, "i4": types.int32, "b1": types.bool}
TARGETS = {
    "iOS15": ct.target.iOS15,
    "iOS16": ct.target.iOS16,
    "iOS17": ct.target.iOS17,
    "iOS18": ct.target.iOS18,
}
# One rounding of the result to its dtype: 2**-11 of it in float16, and in float32 the order of a sum of up to 80 terms,
# each of which rounds by 2**-23 with its product, or the 2 to 4 units of a processor's own exp, tanh or sine.
TOLERANCE = {"f2": {"rtol": 1e-3, "atol": 1e-5}, "f4": {"rtol": 1e-5, "atol": 1e-6}}


def save_program(build: Callable[..., Any], inputs: Mapping[str, np.ndarray], folder: Path, opset: str) -> Path:
    """Build a program with `build(**placeholders)` and save it as a package; nothing is folded or fused.

    Args:
        build: called with one MIL variable an input; returns a variable or a tuple of them.
        inputs: name -> example array; float16, float32, int32 or bool, as the program's input types.
        folder: where to write.
        opset: `iOS15` .. `iOS18`.

    Returns:
        The path of the package.
    """
    specs = [mb.TensorSpec(shape=a.shape, dtype=_TYPES[a.dtype.str[1:]]) for a in inputs.values()]
    parameters = ", ".join(inputs)
    scope: dict[str, Any] = {"build": build}
    exec(f"def program({parameters}):\n    return build({', '.join(f'{n}={n}' for n in inputs)})", scope)
    program = mb.program(input_specs=specs, opset_version=TARGETS[opset])(scope["program"])
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=TARGETS[opset],
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    path = folder / "op.mlpackage"
    model.save(str(path))
    return path


def save_stateful(folder: Path, shape: tuple[int, ...]) -> Path:
    """A package that adds its input to the state `kv`, both float16, and yields the sum."""

    def build(x, kv):
        return mb.coreml_update_state(state=kv, value=mb.add(x=mb.read_state(input=kv), y=x))

    specs = [mb.TensorSpec(shape=shape, dtype=types.fp16), mb.StateTensorSpec(shape=shape, dtype=types.fp16)]
    program = mb.program(input_specs=specs, opset_version=TARGETS["iOS18"])(build)
    path = folder / "op.mlpackage"
    ct.convert(program, minimum_deployment_target=TARGETS["iOS18"], skip_model_load=True).save(str(path))
    return path


def run_op(build: Callable[..., Any], inputs: Mapping[str, np.ndarray], opset: str = "iOS18") -> list[np.ndarray]:
    """The outputs of a one-op program, run by milrun, in order."""
    with tempfile.TemporaryDirectory() as folder:
        model = milrun.load(save_program(build, inputs, Path(folder), opset))
        return list(model.predict(dict(inputs)).values())


def assert_op(
    build: Callable[..., Any],
    inputs: Mapping[str, np.ndarray],
    *expected: np.ndarray,
    opset: str = "iOS18",
    **tolerance: float,
) -> None:
    """Run a one-op program and compare every output in dtype, shape and value."""
    actual = run_op(build, inputs, opset)
    assert len(actual) == len(expected)
    for got, want in zip(actual, expected, strict=True):
        want = np.asarray(want)
        assert got.shape == want.shape, f"shape {got.shape}, expected {want.shape}"
        if got.dtype.kind in "ib":
            np.testing.assert_array_equal(got, want)
        else:
            np.testing.assert_allclose(got, want, **(tolerance or TOLERANCE[got.dtype.str[1:]]))
