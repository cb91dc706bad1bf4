"""One component's conversion, plain and ours, each to be run in a process of its own (`_measure.in_process`)."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

MODULE = "bench._conversion"


def component_spec(model: str, checkpoint: str, options: dict[str, Any], component: str) -> Any:
    """A component of a model's plan; with `name/function`, that function of it alone."""
    from models import find_model

    name, _, function = component.partition("/")
    chosen = find_model(model)
    defaults = {o.name: o.default for o in chosen.options.get("convert", ())}
    spec = chosen.module("export").plan(Path(checkpoint), defaults | options).component(name)
    return replace(spec, functions=tuple(f for f in spec.functions if function in ("", f.name)))


def plain_convert(
    model: str, checkpoint: str, options: dict[str, Any], component: str, folder: str, precision: str
) -> dict[str, Any]:
    """`ct.convert` on a traced wrapper, and save, with nothing of ours around it."""
    import torch

    from toolkit.quiet import coremltools, quiet

    ct = coremltools()
    spec = component_spec(model, checkpoint, options, component)
    (function,) = spec.functions
    start = _clocks()
    examples = tuple(torch.ones(t.shape, dtype=getattr(torch, t.dtype)) for t in function.inputs)
    with quiet():
        traced = torch.jit.trace(spec.build(function.name).eval(), examples)
        converted = ct.convert(
            traced,
            inputs=[ct.TensorType(name=t.name, shape=t.shape, dtype=getattr(np, t.dtype)) for t in function.inputs],
            compute_precision=ct.precision.FLOAT16 if precision == "fp16" else ct.precision.FLOAT32,
            minimum_deployment_target=ct.target.iOS18,
            skip_model_load=True,
        )
        converted.save(f"{folder}/plain-{precision}.mlpackage")
    return _since(start)


def our_convert(
    model: str, checkpoint: str, options: dict[str, Any], component: str, folder: str, precision: str
) -> dict[str, Any]:
    """A component through `export_component`: trace, convert, name, describe, save."""
    from toolkit.export.package import export_component

    spec = component_spec(model, checkpoint, options, component)
    out = Path(folder) / precision
    out.mkdir(exist_ok=True)
    start = _clocks()
    files = export_component(spec, out, "fp32" if precision == "fp32" else "fp16", "iOS18")
    return {**_since(start), "bytes": sum(size_of(out / file) for file in files)}


def whole_convert(model: str, checkpoint: str, options: dict[str, Any], folder: str) -> dict[str, Any]:
    """`convert` as a user runs it, parity on real audio included."""
    from commands.conversion import ConvertRequest, convert, prepare
    from models import find_model

    start = _clocks()
    request = ConvertRequest(find_model(model), checkpoint, output=Path(folder) / "bundle", options=options)
    done = convert(prepare(request))
    sizes = {p.file: p.size_bytes for c in done.bundle.manifest.components for p in c.packages}
    return {**_since(start), "bytes": size_of(done.bundle.path), "sizes": sizes, "passed": done.passed}


def _clocks() -> dict[str, float]:
    return {"seconds": time.perf_counter(), "cpu_seconds": time.process_time()}


def _since(start: dict[str, float]) -> dict[str, float]:
    """Wall and CPU seconds; the latter of all threads, and not of what waits for a busy machine."""
    return {name: now - start[name] for name, now in _clocks().items()}


def size_of(path: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
