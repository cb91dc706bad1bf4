"""Let coremltools predict on any machine: `MLModel(path).predict(...)` through milrun, without macOS.

    with milrun.standin.predictions():
        model = coremltools.models.MLModel("encoder.mlpackage")
        outputs = model.predict({"mel": mel})

Inside the block milrun stands in for coremltools' native module `libcoremlpython`, and coremltools is told that it runs
on macOS. Values cross as they do with Core ML (coremltools `coremlpython/CoreMLPythonUtils.mm`): a float16 output
arrives as float32, a scalar as an array of shape [1], a class label as str or int, class probabilities as a dict, an
image as a PIL image; shapes are checked against the model's description, fixed, ranged or enumerated. What the binding
or Core ML refuses is a `RuntimeError` here too: an array of int64, uint8, bool or float16, a read-only one, one
without a dimension; a state that another model made. Where Core ML's answer is not known the stand-in refuses: NaN or
a number out of range for an integer input, an input that the model does not have.

Only ML Programs run: for another kind of model coremltools warns while loading and raises in `predict`, as it does
where Core ML cannot load a model. Compiling (`compile_model`, `get_compiled_model_path`, `CompiledMLModel`) copies the
package into a `.mlmodelc` folder that only the stand-in runs. Compute plans follow a rule of `milrun.standin.plan`.
"""

import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from milrun.standin import plan
from milrun.standin.block import MACOS_VERSION, Ask, Predictions
from milrun.standin.compiled import ModelKindError
from milrun.standin.proxy import ModelProxy, StateProxy

_NATIVE = "coremltools.libcoremlpython"


@contextmanager
def predictions(
    *,
    macos: tuple[int, ...] = MACOS_VERSION,
    refuse: Ask | None = None,
    fail: Ask | None = None,
    crash: Ask | None = None,
) -> Iterator[Predictions]:
    """Make coremltools predict through milrun inside the block; everything is restored on exit.

    Names that other modules imported from coremltools inside the block (`from ... import _macos_version`) keep what
    they got. Models loaded inside the block go on predicting after it. Not meant for several threads at once.

    Args:
        macos: the version that coremltools is told of.
        refuse: called at each load with the path, the compute units and the function; a text is why Core ML refuses.
        fail: called likewise at each prediction; a text is the error that it ends with.
        crash: called likewise at each prediction; a text kills the process.

    Returns:
        The block's `Predictions`: how often something was loaded and compiled; what was given here can be changed.
    """
    import coremltools

    block = Predictions(macos, refuse, fail, crash)
    ours = _native_names(block)
    module = types.ModuleType(_NATIVE)
    vars(module).update(ours)
    ours |= {"_IS_MACOS": True, "_is_macos": lambda: True, "_macos_version": lambda: block.macos}
    loaded, attribute = sys.modules.get(_NATIVE), vars(coremltools).get("libcoremlpython")
    before = {name: vars(m)[name] for m in _coremltools_modules() for name in ours if name in vars(m)}
    sys.modules[_NATIVE] = module
    vars(coremltools)["libcoremlpython"] = module
    _put(ours)
    try:
        yield block
    finally:
        _put(before)  # also in modules of coremltools that were imported inside the block
        _restore(sys.modules, _NATIVE, loaded)
        _restore(vars(coremltools), "libcoremlpython", attribute)


def _native_names(block: Predictions) -> dict[str, Any]:
    """What coremltools imports from its native module."""
    return {
        "_MLModelProxy": type("_MLModelProxy", (ModelProxy,), {"predictions": block}),
        "_MLComputePlanProxy": plan.PlanProxy,
        "_MLCPUComputeDeviceProxy": plan.CPUProxy,
        "_MLGPUComputeDeviceProxy": plan.GPUProxy,
        "_MLNeuralEngineComputeDeviceProxy": plan.NeuralEngineProxy,
    }


def _coremltools_modules() -> list[types.ModuleType]:
    return [m for name, m in list(sys.modules.items()) if name.split(".")[0] == "coremltools" and m is not None]


def _put(values: Mapping[str, Any]) -> None:
    for module in _coremltools_modules():
        for name, value in values.items():
            if name in vars(module):
                setattr(module, name, value)


def _restore(where: Any, name: str, value: Any) -> None:
    if value is None:
        where.pop(name, None)
    else:
        where[name] = value


__all__ = ["MACOS_VERSION", "ModelKindError", "ModelProxy", "Predictions", "StateProxy", "predictions"]
