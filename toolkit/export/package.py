"""One component: trace its wrapper, convert, name and describe everything, save one package (or one a function)."""

import importlib
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from milrun.package import SCOPES, read_scopes, write_scopes
from toolkit.errors import RuntimeFault, ToolkitError
from toolkit.export.binding import check_parameters
from toolkit.export.compress import compress_model, refuse_compression
from toolkit.quiet import coremltools, quiet
from toolkit.spec import ComponentSpec, Compression, FunctionSpec, Precision, Tensor

# Multifunction packages and states both came with them.
MULTIFUNCTION_TARGETS = frozenset({"iOS18", "macOS15"})
_NUMPY = {"float32": np.float32, "float16": np.float16, "int32": np.int32}


def export_component(
    spec: ComponentSpec,
    folder: Path,
    precision: Precision,
    target: str,
    on_function: Callable[[str], None] = lambda name: None,
    compression: Compression = "none",
) -> dict[str, Mapping[str, str]]:
    """Convert a component and write its packages.

    Args:
        spec: the component.
        folder: where the packages go; nothing of theirs may stand there.
        precision: `fp16` or `fp32`.
        target: `iOS17`, `iOS18`, `macOS14` or `macOS15`; several functions share one package from iOS18/macOS15 on.
        on_function: told the name of each function once it is converted.
        compression: of the weights, `none`, `int8` or `palette4`.

    Returns:
        Package file name -> our function name -> name of the function in the file.

    Raises:
        ToolkitError: the component keeps states, and the target has none; or it cannot read the compression.
        RuntimeFault: a wrapper writes a buffer that is not declared as a state.
    """
    refuse_states(spec, target)
    refuse_compression(compression, target)

    def convert(function: FunctionSpec, path: Path) -> None:
        _save(compress_model(convert_function(spec, function, precision, target), compression), path)
        on_function(function.name)

    if len(spec.functions) == 1:
        file = f"{spec.name}.mlpackage"
        convert(spec.functions[0], folder / file)
        return {file: {spec.functions[0].name: "main"}}
    if target not in MULTIFUNCTION_TARGETS:
        return _export_separately(spec, folder, convert)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for function in spec.functions:
            convert(function, Path(scratch) / f"{function.name}.mlpackage")
        file = f"{spec.name}.mlpackage"
        _merge(spec, Path(scratch), folder / file)
    return {file: {function.name: function.name for function in spec.functions}}


def refuse_states(spec: ComponentSpec, target: str) -> None:
    """Refuse a component with states on a target that has none.

    Raises:
        ToolkitError: names both.
    """
    if target not in MULTIFUNCTION_TARGETS and any(function.states for function in spec.functions):
        raise ToolkitError(
            f"{spec.name} keeps states, which {target} does not have",
            "Give --target iOS18 or macOS15, or choose a form without states (`convert MODEL --help`).",
        )


def _export_separately(
    spec: ComponentSpec, folder: Path, convert: Callable[[FunctionSpec, Path], None]
) -> dict[str, Mapping[str, str]]:
    files: dict[str, Mapping[str, str]] = {}
    for function in spec.functions:
        file = f"{spec.name}.{function.name}.mlpackage"
        convert(function, folder / file)
        files[file] = {function.name: "main"}
    return files


def convert_function(spec: ComponentSpec, function: FunctionSpec, precision: Precision, target: str) -> Any:
    """Trace and convert one function; returns coremltools' MLModel with every name and description set.

    A state is a registered buffer of the wrapper, of the same name and shape, that `forward` writes in place. Core ML's
    states are float16: coremltools casts where the package computes in float32.
    """
    ct = coremltools()
    module = spec.build(function.name).eval()
    traced = trace(module, function)
    with quiet(), torch.no_grad():
        model = ct.convert(
            traced,
            convert_to="mlprogram",
            inputs=[ct.TensorType(name=t.name, shape=t.shape, dtype=_NUMPY[t.dtype]) for t in function.inputs],
            outputs=[ct.TensorType(name=t.name, dtype=_NUMPY[t.dtype]) for t in function.outputs],
            states=[_state_type(ct, t) for t in function.states] or None,
            compute_precision=_precision(ct, precision, spec.fp32_ops),
            minimum_deployment_target=getattr(ct.target, target),
            skip_model_load=True,
        )
    _describe(model, spec, function)
    model.user_defined_metadata[SCOPES] = json.dumps({"main": _scopes(model)})
    return model


def trace(module: torch.nn.Module, function: FunctionSpec) -> Any:
    """`torch.jit.trace` at the function's fixed shapes.

    Tracing warns where Python reads a tensor's value; our wrappers compute with Python integers that never change at a
    fixed shape, and the tests that every input influences an output would catch a folded one.

    Raises:
        RuntimeFault: the names of its parameters are not those of the inputs, or it writes a buffer that is not
            declared as a state.
    """
    check_parameters(module, function)
    example = tuple(_example(t) for t in function.inputs)
    undeclared = {n: b for n, b in module.named_buffers() if n not in {t.name for t in function.states}}
    versions = {name: buffer._version for name, buffer in undeclared.items()}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
    if written := sorted(name for name, buffer in undeclared.items() if buffer._version != versions[name]):
        # The package would hold the buffer as a constant and lose the write at the end of each call.
        raise RuntimeFault(
            f"the wrapper of {function.name} writes its buffers {', '.join(written)}, which are not states",
            "Declare them as states in the model's export.py.",
        )
    return traced


def _example(tensor: Tensor) -> torch.Tensor:
    if tensor.example is not None:
        return torch.from_numpy(tensor.example)
    if tensor.dtype == "int32":
        return torch.ones(tensor.shape, dtype=torch.int32)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(tensor.shape, generator=generator)


def _state_type(ct: Any, tensor: Tensor) -> Any:
    return ct.StateType(wrapped_type=ct.TensorType(shape=tensor.shape, dtype=_NUMPY[tensor.dtype]), name=tensor.name)


def _precision(ct: Any, precision: Precision, fp32_ops: tuple[str, ...]) -> Any:
    if precision == "fp32":
        return ct.precision.FLOAT32
    if not fp32_ops:
        return ct.precision.FLOAT16
    return ct.transform.FP16ComputePrecision(op_selector=lambda op: op.op_type not in fp32_ops)


def _describe(model: Any, spec: ComponentSpec, function: FunctionSpec) -> None:
    model.short_description = f"{spec.name} ({function.name})"
    for tensor in function.inputs:
        model.input_description[tensor.name] = tensor.meaning
    for tensor in function.outputs:
        model.output_description[tensor.name] = tensor.meaning
    meanings = {tensor.name: tensor.meaning for tensor in function.states}
    for feature in model._spec.description.state:  # coremltools 9.0 has no `state_description`
        feature.shortDescription = meanings[feature.name]


def _scopes(model: Any) -> dict[str, str]:
    """Op name -> path of the PyTorch module it came from, e.g. `encoder.0.attention.q_proj`.

    coremltools leaves the names of module lists out (`encoder.layers.0` is `encoder.0`).
    """
    source = importlib.import_module("coremltools.converters.mil.mil.scope").ScopeSource.TORCHSCRIPT_MODULE_NAME
    scopes = {}
    for operation in model._mil_program.functions["main"].operations:
        # The last part names the value inside the module, not a module.
        path = [str(part) for part in (operation.scopes.get(source) or [])[:-1]]
        if operation.op_type != "const" and path:
            scopes[operation.outputs[0].name] = ".".join(path)
    return scopes


def _save(model: Any, path: Path) -> None:
    with quiet():
        model.save(str(path))


def _merge(spec: ComponentSpec, scratch: Path, path: Path) -> None:
    """Join single-function packages into one; equal weights are stored once."""
    ct = coremltools()
    description = ct.utils.MultiFunctionDescriptor()
    for function in spec.functions:
        description.add_function(str(scratch / f"{function.name}.mlpackage"), "main", function.name)
    description.default_function_name = spec.functions[0].name
    with quiet():
        ct.utils.save_multifunction(description, str(path))
    scopes = {f.name: read_scopes(scratch / f"{f.name}.mlpackage")["main"] for f in spec.functions}
    write_scopes(path, scopes)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(exist_ok=True)
