"""How long a bundle's functions take on a runtime: to prepare, to load, and to run."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from toolkit.bundle.bundle import Bundle
from toolkit.component import Component, Runtime
from toolkit.compute_units import UnitsChoice
from toolkit.errors import LoadRefused
from toolkit.runtimes.coreml import CoremlRuntime
from toolkit.runtimes.portable import PortableRuntime
from toolkit.spec import ComputeUnits, TensorInfo

WARM_UP_CALLS = 2


@dataclass(frozen=True)
class Timing:
    """One function of one component on one runtime.

    Attributes:
        component: its name.
        function: entry point.
        runs_on: compute units, or the name of the runtime.
        prepare_s: compiling and the first load on this machine; None where that had been done before.
        load_s: a later load, which every start pays.
        first_ms: the first call after it.
        median_ms: of the measured calls.
        p95_ms: of the measured calls.
        refused: why it does not run there; empty where it does, and then all figures are there.
    """

    component: str
    function: str
    runs_on: str
    prepare_s: float | None = None
    load_s: float | None = None
    first_ms: float | None = None
    median_ms: float | None = None
    p95_ms: float | None = None
    refused: str = ""


def time_on_core_ml(
    bundle: Bundle, units: ComputeUnits, runs: int, runtime: CoremlRuntime | None = None
) -> Iterator[Timing]:
    """Every function on one choice of compute units, without falling back.

    Args:
        bundle: an opened bundle.
        units: to measure.
        runs: calls that are measured, after a few that are not.
        runtime: with these units; made here when left out.
    """
    runtime = runtime or CoremlRuntime(bundle, UnitsChoice(units))
    for component, function in functions_of(bundle):
        try:
            runtime.load(component, function)
        except LoadRefused as error:
            yield Timing(component, function, units, refused=error.reason)
            continue
        first = runtime.loads[-1]
        if first.units != units:
            yield Timing(component, function, units, refused=f"Core ML refuses it; it runs on {first.units}")
            continue
        prepared = first.seconds if first.cold else None
        yield _timed(runtime, component, function, units, prepared, runs)


def time_on_portable(bundle: Bundle, runs: int) -> Iterator[Timing]:
    """Every function on the portable runtime; it prepares nothing."""
    for component, function in functions_of(bundle):
        yield _timed(PortableRuntime(bundle.locate), component, function, "portable", None, runs)


def functions_of(bundle: Bundle) -> list[tuple[str, str]]:
    """(component, function) of all packages, in the order of the manifest."""
    return [(c.name, f.name) for c in bundle.manifest.components for f in c.functions]


def example_inputs(component: Component) -> dict[str, np.ndarray]:
    """Inputs of a component: noise for floats, ones for integers, which are positions and lengths."""
    rng = np.random.default_rng(0)
    return {name: _example(info, rng) for name, info in component.inputs.items()}


def _example(info: TensorInfo, rng: np.random.Generator) -> np.ndarray:
    if info.dtype.startswith("int"):
        return np.ones(info.shape, info.dtype)
    return rng.standard_normal(info.shape).astype(info.dtype)


def _timed(runtime: Runtime, component: str, function: str, runs_on: str, prepare_s: float | None, runs: int) -> Timing:
    if isinstance(runtime, CoremlRuntime):
        runtime.release(component, function)
    started = time.perf_counter()
    loaded = runtime.load(component, function)
    load_s = time.perf_counter() - started
    inputs, calls_ms = example_inputs(loaded), list[float]()
    for _ in range(WARM_UP_CALLS + runs):
        state = loaded.make_state()
        started = time.perf_counter()
        loaded.predict(inputs, state)
        calls_ms.append((time.perf_counter() - started) * 1000)
    measured = calls_ms[WARM_UP_CALLS:]
    if isinstance(runtime, CoremlRuntime):
        runtime.release(component, function)
    return Timing(
        component,
        function,
        runs_on,
        prepare_s,
        load_s,
        calls_ms[0],
        statistics.median(measured),
        float(np.percentile(measured, 95)),
    )
