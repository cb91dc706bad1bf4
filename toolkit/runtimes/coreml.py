"""The Core ML runtime: the saved package on Apple's own framework, through coremltools' MLModel. macOS only."""

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from toolkit.bundle.bundle import Bundle
from toolkit.bundle.manifest import FunctionEntry
from toolkit.component import Component, Runtime
from toolkit.errors import RuntimeFault, UnsupportedError
from toolkit.quiet import coremltools
from toolkit.spec import TensorInfo

ComputeUnits = Literal["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]


def need_macos() -> None:
    """Refuse to run Core ML elsewhere.

    Raises:
        UnsupportedError: not on macOS.
    """
    if sys.platform != "darwin":
        raise UnsupportedError(
            "the runtime coreml needs macOS", "Use `--runtime portable`, which runs the same packages anywhere."
        )


class CoremlRuntime(Runtime):
    """Runs the packages of a bundle with Core ML.

    Args:
        bundle: an opened bundle.
        compute_units: where Core ML may run it, by coremltools' name.
        model_class: stand-in for `coremltools.models.MLModel`, for tests off macOS.

    Raises:
        UnsupportedError: not on macOS.
    """

    name = "coreml"

    def __init__(self, bundle: Bundle, compute_units: ComputeUnits = "ALL", model_class: Any = None) -> None:
        if model_class is None:
            need_macos()
        self.compute_units = compute_units
        self._bundle, self._model_class = bundle, model_class
        self._loaded: dict[tuple[str, str], Component] = {}

    def load(self, component: str, function: str = "main") -> Component:
        """Load one function of a package.

        Raises:
            BundleError: the bundle has no such component or function.
            UnsupportedError: Core ML on this machine cannot load the package.
        """
        key = (component, function)
        if key not in self._loaded:
            self._loaded[key] = self._open(component, function)
        return self._loaded[key]

    def _open(self, component: str, function: str) -> Component:
        package, inner = self._bundle.locate(component, function)
        entry = self._bundle.manifest.component(component)
        assert entry is not None
        # A package whose one function is `main` is loaded without a name: naming it needs macOS 15.
        named = inner != "main" or len(entry.package(function).functions) > 1
        model = self._load(component, str(package), inner if named else None)
        return _CoremlComponent(component, entry.function(function), model)

    def _load(self, component: str, package: str, function: str | None) -> Any:
        ct = coremltools()
        model_class = self._model_class or ct.models.MLModel
        units = ct.ComputeUnit[self.compute_units]
        with warnings.catch_warnings():
            # What the warning says is raised below, as one error.
            warnings.filterwarnings("ignore", "You will not be able to run predict", RuntimeWarning)
            model = model_class(package, compute_units=units, function_name=function)
        if model.__proxy__ is None:
            # coremltools keeps the framework's error instead of raising it (models/model.py, 9.0).
            reason = model._framework_error or "the package is newer than this macOS"
            raise UnsupportedError(
                f"Core ML cannot load {component}: {reason}",
                "Convert with an older --target, update macOS, or use `--runtime portable`.",
            )
        return model


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
                state.write_state(name, np.ascontiguousarray(value, dtype=np.float32))
        return state

    def _read_state(self, state: Any) -> dict[str, np.ndarray]:
        with self._faults():
            values = {name: np.array(state.read_state(name)) for name in self.states}
        return {name: _declared(value, self.states[name]) for name, value in values.items()}

    def _predict(self, inputs: Mapping[str, np.ndarray], state: Any) -> dict[str, np.ndarray]:
        data = {name: np.ascontiguousarray(value) for name, value in inputs.items()}  # predict changes its dict
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
