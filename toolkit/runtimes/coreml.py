"""The Core ML runtime: the saved packages on Apple's own framework, through coremltools. macOS only.

A package is compiled once (toolkit/runtimes/compiled.py) and each function of it loaded once. Where Core ML refuses a
function on its compute units, or its first prediction kills a process, the next units of the chain are tried
(toolkit/compute_units.py). What happens is said as it happens, since it can take minutes.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.bundle.bundle import Bundle
from toolkit.bundle.manifest import ComponentEntry, FunctionEntry
from toolkit.component import Component, Runtime
from toolkit.compute_units import UnitsChoice, fallback_chain
from toolkit.errors import LoadRefused, RuntimeFault, UnsupportedError
from toolkit.runtimes.compiled import CompiledModel, CompiledModels
from toolkit.runtimes.framework import CoremlFramework, Example, Framework, FrameworkError
from toolkit.runtimes.system import check_system
from toolkit.spec import ComputeUnits, TensorInfo

Say = Callable[[str], None]


def need_macos() -> None:
    """Refuse to run Core ML elsewhere.

    Raises:
        UnsupportedError: not on macOS.
    """
    if sys.platform != "darwin":
        raise UnsupportedError(
            "the runtime coreml needs macOS", "Use `--runtime portable`, which runs the same packages anywhere."
        )


def _check_mac(target: str) -> None:
    """Refuse a Mac on which no bundle of this target can run.

    Raises:
        UnsupportedError: says what is in the way.
    """
    if problem := check_system(target):
        raise UnsupportedError(problem.rstrip("."), "Or use `--runtime portable`.")


@dataclass(frozen=True)
class Load:
    """One function that was loaded.

    Attributes:
        component: its name.
        function: entry point.
        units: what it runs on.
        seconds: from the request to the end of the first prediction, compiling included.
        cold: whether this Mac had to prepare it, which later starts need not.
    """

    component: str
    function: str
    units: ComputeUnits
    seconds: float
    cold: bool


class CoremlRuntime(Runtime):
    """Runs the packages of a bundle with Core ML.

    Args:
        bundle: an opened bundle.
        units: what the run asked for; a component's own units come from the manifest.
        say: told what takes long, and what falls back; stderr when left out.
        framework: Core ML; another one for tests off macOS.

    Attributes:
        loads: every function that was loaded, in order.

    Raises:
        UnsupportedError: not on macOS.
        OptionError: units for a component that the bundle lacks.
    """

    name = "coreml"

    def __init__(
        self,
        bundle: Bundle,
        units: UnitsChoice | None = None,
        say: Say | None = None,
        framework: Framework | None = None,
    ) -> None:
        if framework is None:
            need_macos()
            _check_mac(bundle.manifest.target)
        self._units, self._say = units or UnitsChoice(), say or _on_stderr
        self._units.check_components(c.name for c in bundle.manifest.components)
        self._bundle, self._framework = bundle, framework or CoremlFramework()
        self._compiled = CompiledModels(bundle, self._framework.system(), self._framework.compile_package)
        self._loaded: dict[tuple[str, str], Component] = {}
        self.loads: list[Load] = []

    def load(self, component: str, function: str = "main") -> Component:
        """Load one function of a package, and call it once, so that later calls only compute.

        Raises:
            BundleError: the bundle has no such component or function.
            LoadRefused: Core ML on this machine cannot load the package on any units.
        """
        key = (component, function)
        if key not in self._loaded:
            self._loaded[key] = self._open(component, function)
        return self._loaded[key]

    def release(self, component: str, function: str = "main") -> None:
        """Let a function go; the memory is Core ML's to free, once nobody holds the component."""
        self._loaded.pop((component, function), None)

    def load_summary(self) -> str:
        """What loading took, cold and warm apart; empty where nothing was loaded."""
        said = []
        for cold, what in ((True, "prepared for this Mac and loaded"), (False, "loaded")):
            loads = [load for load in self.loads if load.cold is cold]
            if loads:
                functions = "1 function" if len(loads) == 1 else f"{len(loads)} functions"
                said.append(f"{functions} {what} in {sum(load.seconds for load in loads):.1f} s")
        return f"Core ML: {', '.join(said)}" if said else ""

    def _open(self, component: str, function: str) -> Component:
        _, inner = self._bundle.locate(component, function)
        entry = self._bundle.manifest.component(component)
        assert entry is not None
        started = time.perf_counter()
        package = entry.package(function)
        try:
            compiled = self._compile(component, entry, function)
        except FrameworkError as error:
            raise _refused(component, function, str(error)) from error
        # A package whose one function is `main` is loaded without a name: naming it needs macOS 15.
        named = inner if inner != "main" or len(package.functions) > 1 else None
        described = entry.function(function)
        units, model, cold = self._first_that_runs(component, described, compiled, named, entry.compute_units)
        elapsed = time.perf_counter() - started
        self.loads.append(Load(component, function, units, elapsed, compiled.fresh or cold))
        return _CoremlComponent(component, described, model)

    def _compile(self, component: str, entry: ComponentEntry, function: str) -> CompiledModel:
        return self._compiled.get(entry.package(function), lambda: self._prepares(component))

    def _prepares(self, component: str) -> None:
        self._say(f"Core ML prepares {component} for this Mac (once; can take minutes)")

    def _first_that_runs(
        self, component: str, entry: FunctionEntry, compiled: CompiledModel, named: str | None, default: ComputeUnits
    ) -> tuple[ComputeUnits, Any, bool]:
        """The first units of the chain on which the function loads and predicts, and whether one is tried anew."""
        example = Example({t.name: t.info for t in entry.inputs}, stateful=bool(entry.states))
        reasons, cold = list[str](), False
        for units in fallback_chain(self._units.units(component, default)):
            reason = compiled.tried(entry.name, units)
            if reason is None:
                cold = True
                if not compiled.fresh:
                    self._prepares(f"{component} ({entry.name}) on {units}")
                reason = self._framework.probe(compiled.path, units, named, example)
                compiled.remember(entry.name, units, reason)
            if not reason:
                try:
                    model = self._framework.load(compiled.path, units, named)
                    example.predict(model)
                    if reasons:
                        self._say(f"{component} ({entry.name}) runs on {units} instead: {reasons[0]}")
                    return units, model, cold
                except (FrameworkError, RuntimeError) as error:
                    reason = " ".join(str(error).split())
            reasons.append(f"Core ML refuses it on {units} ({reason})")
        raise _refused(component, entry.name, "; ".join(reasons))


def _refused(component: str, function: str, reason: str) -> LoadRefused:
    step = "Convert with an older --target, update macOS, or use `--runtime portable`."
    return LoadRefused(component, function, f"Core ML cannot load it: {reason}", step)


def _on_stderr(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


class _CoremlComponent(Component):
    def __init__(self, name: str, entry: FunctionEntry, model: Any) -> None:
        self.name, self.function = name, entry.name
        self.inputs = {t.name: t.info for t in entry.inputs}
        self.outputs = {t.name: t.info for t in entry.outputs}
        self.states = {t.name: t.info for t in entry.states}
        self._model = model

    def _make_state(self, values: Mapping[str, np.ndarray]) -> Any:
        with self._faults():
            state = self._model.make_state()
            for name, value in values.items():
                # As float32, which every version of the binding takes; Core ML rounds to the state's dtype.
                state.write_state(name, np.require(value, np.float32, ("C", "W", "O")))
        return state

    def _read_state(self, state: Any) -> dict[str, np.ndarray]:
        with self._faults():
            values = {name: np.array(state.read_state(name)) for name in self.states}
        return {name: _declared(value, self.states[name]) for name, value in values.items()}

    def _predict(self, inputs: Mapping[str, np.ndarray], state: Any) -> dict[str, np.ndarray]:
        # predict changes its dict, and the binding asks for arrays that can be written.
        data = {name: np.require(value, None, ("C", "W", "O")) for name, value in inputs.items()}
        with self._faults():
            outputs = self._model.predict(data, state)
        return {name: _declared(np.asarray(value), self.outputs.get(name)) for name, value in outputs.items()}

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RuntimeFault(
                f"component {self.name} ({self.function}): Core ML: {error}", "Use `--runtime portable` to compare."
            ) from error


def _declared(value: np.ndarray, info: TensorInfo | None) -> np.ndarray:
    """Core ML may hand float16 over as float32; any other difference is for the check to refuse."""
    if info and info.dtype == "float16" and value.dtype == np.float32:
        return value.astype(np.float16)
    return value
