"""The portable runtime: the saved package, run by milrun."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import milrun
from milrun.program import TensorType
from milrun.state import State
from toolkit.component import Component, Runtime
from toolkit.errors import BundleError, RuntimeFault, UnsupportedError
from toolkit.spec import TensorInfo


class PortableRuntime(Runtime):
    """Runs the packages of a bundle through milrun.

    Args:
        locate: (component, function) -> (package, name of the function inside it), e.g. `Bundle.locate`.
        cache_weights: keep weights in float32 after their first use; False converts them at each use.
    """

    name = "portable"

    def __init__(self, locate: Callable[[str, str], tuple[Path, str]], *, cache_weights: bool = True) -> None:
        self._locate, self._cache_weights = locate, cache_weights
        self._loaded: dict[tuple[str, str], Component] = {}
        self._opened: dict[Path, milrun.Model] = {}

    def load(self, component: str, function: str = "main") -> Component:
        """Load one function of a package.

        Raises:
            BundleError: the package is missing or damaged.
            UnsupportedError: the package holds ops that milrun lacks.
        """
        key = (component, function)
        if key not in self._loaded:
            self._loaded[key] = _PortableComponent(component, function, self._open(*self._locate(component, function)))
        return self._loaded[key]

    def _open(self, package: Path, function: str) -> milrun.Model:
        """A function of a package; functions of one package share their weights."""
        try:
            if package not in self._opened:
                self._opened[package] = milrun.load(package, function, cache_weights=self._cache_weights)
            opened = self._opened[package]
            return opened if opened.function.name == function else opened.sibling(function)
        except milrun.PackageError as error:
            raise BundleError(str(error), "Convert the model again.") from error
        except milrun.UnsupportedOpsError as error:
            raise UnsupportedError(str(error), "Add the op, or run with --runtime eager or coreml.") from error


class _PortableComponent(Component):
    def __init__(self, name: str, function: str, model: milrun.Model) -> None:
        self.name, self.function, self.model = name, function, model
        self.inputs = {n: _info(t) for n, t in self.model.inputs.items()}
        self.outputs = {n: _info(t) for n, t in self.model.outputs.items()}
        self.states = {n: _info(t) for n, t in self.model.states.items()}

    def _make_state(self, values: Mapping[str, np.ndarray]) -> State:
        state = self.model.make_state()
        for name, value in values.items():
            state.write_state(name, value)
        return state

    def _read_state(self, state: State) -> dict[str, np.ndarray]:
        return {name: state.read_state(name) for name in self.states}

    def _predict(self, inputs: Mapping[str, np.ndarray], state: State | None) -> dict[str, np.ndarray]:
        try:
            return self.model.predict(inputs, state)
        except milrun.MilrunError as error:
            raise RuntimeFault(f"component {self.name} ({self.function}): {error}", "Please report it.") from error


def _info(type: TensorType) -> TensorInfo:
    return TensorInfo(type.dtype, tuple(d for d in (type.shape or ()) if d is not None))
