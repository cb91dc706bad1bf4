"""`compare --layers` and `compare --ranges`: inside the packages of a bundle, on calls recorded from real audio.

JSON, schema 1. A number that is not finite is `null`.

    {"schema": 1, "passed": bool,
     "layers": [{"model", "component", "function", "verdict", "values", "aligned", "runs", "eager_runs", "kept",
       "bounds": {"precision", "program"},
       "fault": null or {"op", "type", "module", "source", "cause": "precision" | "program", "missing": bool},
       "ops": [{"op", "type", "module", "source", "dtype", "error": rel. L2 or null, "added", "added_unrounded",
                "max_abs", "non_finite", "eager_non_finite"}]}],
     "ranges": [{"model", "component", "function", "calls", "fp32_ops": [type], "selector": text,
       "ops": [{"op", "type", "module", "largest", "tiny", "risk": null or text}]}]}
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

import milrun
from parity.ladder.packages import record_calls
from parity.ladder.subject import Clip
from parity.localise.bisection import bisect
from parity.localise.layers import FP16_BOUNDS, FP32_BOUNDS, Bounds, Localised, difference, localise
from parity.localise.ranges import Ranges, measure_ranges
from toolkit.bundle.bundle import Bundle
from toolkit.errors import RuntimeFault, ToolkitError
from toolkit.export.checkpoint import plan_of_bundle
from toolkit.model import ModelInfo
from toolkit.runtimes.recording import Call
from toolkit.spec import ExportPlan

SCHEMA = 1
EVERY = "all"
# Calls of a function among which the one with the largest error is looked into.
_CALLS_TRIED = 8
# Values of the wrapper that may be held at once; a component with more is searched by bisection.
_HELD_BYTES = 1 << 30


@dataclass(frozen=True)
class Findings:
    """What was found inside the packages of one model."""

    model: str
    layers: tuple[Localised, ...] = ()
    ranges: tuple[Ranges, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no op is out of bounds."""
        return all(found.fault is None for found in self.layers)


def check_functions(bundles: Mapping[str, Bundle], layers: str | None) -> set[str]:
    """The models whose bundle has what `layers` names, before anything is loaded.

    Args:
        bundles: model -> opened bundle.
        layers: as `look_inside` takes it.

    Raises:
        ToolkitError: none has it.
    """
    held = {m: [(c.name, f.name) for c in b.manifest.components for f in c.functions] for m, b in bundles.items()}
    found = {model for model, keys in held.items() if layers is None or any(_matches(layers, *key) for key in keys)}
    if not found:
        component = str(layers).partition(":")[0]
        known = [f"{component}:{function}" for keys in held.values() for name, function in keys if name == component]
        raise ToolkitError(f"no such function '{layers}'", f"Give one of: {', '.join(known or [EVERY])}.")
    return found


def look_inside(model: ModelInfo, bundle: Bundle, clips: Sequence[Clip], layers: str | None, ranges: bool) -> Findings:
    """Record calls on the eager wrappers and run the saved packages op by op on them.

    Args:
        model: the family.
        bundle: opened.
        clips: real audio.
        layers: `COMPONENT`, `COMPONENT:FUNCTION` or `all`: which to compare with their wrappers; None for none.
        ranges: also measure the magnitude of every value.

    Raises:
        ToolkitError: the bundle holds no such function.
        RuntimeFault: a package cannot be run.
    """
    plan = plan_of_bundle(bundle, model)
    calls = _by_function(record_calls(plan, bundle, model, clips), bundle)
    chosen = [key for key in calls if layers and _matches(layers, *key)]
    if layers and not chosen:
        known = ", ".join(f"{component}:{function}" for component, function in calls)
        raise ToolkitError(f"{model.id}: no calls of '{layers}' were recorded", f"Give one of: {EVERY}, {known}.")
    try:
        return Findings(
            model.id,
            tuple(_localised(plan, bundle, *key, calls[key]) for key in chosen),
            tuple(measure_ranges(_open(bundle, *key), found) for key, found in calls.items()) if ranges else (),
        )
    except milrun.MilrunError as error:
        raise RuntimeFault(str(error), "Convert the model again.") from error


def json_from_findings(found: Sequence[Findings]) -> str:
    """The documented JSON."""
    value = {
        "schema": SCHEMA,
        "passed": all(one.passed for one in found),
        "layers": [_layers_json(one.model, layers) for one in found for layers in one.layers],
        "ranges": [_ranges_json(one.model, ranges) for one in found for ranges in one.ranges],
    }
    return json.dumps(value, indent=2, allow_nan=False)


def bounds_of(bundle: Bundle, component: str, gate_rel_l2: float) -> Bounds:
    """What one op of a package may add; compressed weights are off by as much as their gate allows."""
    entry = next(c for c in bundle.manifest.components if c.name == component)
    bounds = FP16_BOUNDS if entry.precision == "fp16" else FP32_BOUNDS
    if entry.compression == "none":
        return bounds
    return Bounds(max(bounds.precision, gate_rel_l2), max(bounds.program, gate_rel_l2))


def _by_function(calls: Sequence[Call], bundle: Bundle) -> dict[tuple[str, str], list[Call]]:
    held = {c.name for c in bundle.manifest.components}
    ordered = sorted((c for c in calls if c.component in held), key=lambda call: (call.component, call.function))
    return {key: list(group) for key, group in groupby(ordered, key=lambda call: (call.component, call.function))}


def _matches(wanted: str, component: str, function: str) -> bool:
    return wanted in (EVERY, component, f"{component}:{function}")


def _open(bundle: Bundle, component: str, function: str) -> milrun.Model:
    package, name = bundle.locate(component, function)
    return milrun.load(package, name, cache_weights=False)


def _localised(plan: ExportPlan, bundle: Bundle, component: str, function: str, calls: Sequence[Call]) -> Localised:
    spec, package = plan.component(component), _open(bundle, component, function)
    entry = next(c for c in bundle.manifest.components if c.name == component)
    bounds = bounds_of(bundle, component, spec.gates[entry.precision].at_most["rel_l2"])
    step = max(1, len(calls) // _CALLS_TRIED)
    call = max(calls[::step], key=lambda one: _error(package, one))
    find = bisect if _bytes(package) > _HELD_BYTES else localise
    return find(spec, function, package, call, bounds)


def _bytes(package: milrun.Model) -> int:
    types = [t for op in package.function.block.operations if op.type != "const" for _, t in op.outputs]
    shapes = [getattr(t, "shape", None) or () for t in types]
    return 4 * sum(math.prod(d or 1 for d in shape) for shape in shapes)


def _error(package: milrun.Model, call: Call) -> float:
    """Of the worst output; infinite where one is not finite."""
    state = package.make_state() if package.states else None
    for name, value in call.states_before.items():
        assert state is not None
        state.write_state(name, value)
    outputs = package.predict(call.inputs, state)
    found = [difference(outputs[name], value)[0] for name, value in call.outputs.items() if name in outputs]
    return max((math.inf if d.non_finite else d.rel_l2 for d in found), default=0.0)


def _layers_json(model: str, found: Localised) -> dict[str, Any]:
    fault = found.fault and {
        "op": found.fault.eager.name if found.fault.missing else found.fault.op.name,
        "type": found.fault.missing.kind if found.fault.missing else found.fault.op.type,
        "module": found.fault.eager.module,
        "source": found.fault.eager.source,
        "cause": found.fault.cause,
        "missing": found.fault.missing is not None,
    }
    return {
        "model": model,
        "component": found.component,
        "function": found.function,
        "verdict": found.verdict,
        "values": found.values,
        "aligned": found.aligned,
        "runs": found.runs,
        "eager_runs": found.eager_runs,
        "kept": found.kept,
        "bounds": {"precision": found.bounds.precision, "program": found.bounds.program},
        "fault": fault,
        "ops": [
            {
                "op": row.op.name,
                "type": row.op.type,
                "module": row.eager.module,
                "source": row.eager.source,
                "dtype": row.op.dtype,
                "error": _finite(row.error.rel_l2) if row.error else None,
                "added": _finite(row.added.rel_l2),
                "added_unrounded": _finite(row.added_unrounded.rel_l2),
                "max_abs": _finite((row.error or row.added).max_abs),
                "non_finite": (row.error or row.added).non_finite,
                "eager_non_finite": row.added.eager_non_finite,
            }
            for row in found.rows
        ],
    }


def _ranges_json(model: str, found: Ranges) -> dict[str, Any]:
    return {
        "model": model,
        "component": found.component,
        "function": found.function,
        "calls": found.calls,
        "fp32_ops": list(found.fp32_ops),
        "selector": found.selector,
        "ops": [
            {
                "op": row.op.name,
                "type": row.op.type,
                "module": row.op.scope,
                "largest": _finite(row.largest),
                "tiny": row.tiny,
                "risk": row.risk and row.risk.value,
            }
            for row in found.rows
        ],
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
