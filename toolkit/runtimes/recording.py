"""A runtime that remembers every call: real inputs for the packages stage, and captures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.runtimes.base import Component, Runtime


@dataclass(frozen=True)
class Call:
    """One recorded call of a component."""

    component: str
    function: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


class RecordingRuntime(Runtime):
    """Passes every call on to another runtime and keeps copies of what went in and out.

    Args:
        inner: the runtime that does the work.
        limit: calls to keep of each (component, function), in order; later ones are passed on only.
    """

    def __init__(self, inner: Runtime, limit: int = 64) -> None:
        self.name = inner.name
        self.calls: list[Call] = []
        self._inner, self._limit = inner, limit
        self._loaded: dict[tuple[str, str], Component] = {}

    def load(self, component: str, function: str = "main") -> Component:
        """The component, wrapped."""
        key = (component, function)
        if key not in self._loaded:
            self._loaded[key] = _Recorded(self._inner.load(component, function), self)
        return self._loaded[key]

    def record(self, call: Call) -> None:
        """Keep a call unless the limit of its function is reached."""
        same = sum((c.component, c.function) == (call.component, call.function) for c in self.calls)
        if same < self._limit:
            self.calls.append(call)


class _Recorded(Component):
    def __init__(self, inner: Component, owner: RecordingRuntime) -> None:
        self.name, self.function = inner.name, inner.function
        self.inputs, self.outputs, self.states = inner.inputs, inner.outputs, inner.states
        self._inner, self._owner = inner, owner

    def make_state(self) -> Any:
        return self._inner.make_state()

    def _predict(self, inputs: Mapping[str, np.ndarray], state: Any) -> dict[str, np.ndarray]:
        outputs = self._inner.predict(inputs, state)
        copies = {name: value.copy() for name, value in inputs.items()}
        self._owner.record(Call(self.name, self.function, copies, outputs))
        return outputs
