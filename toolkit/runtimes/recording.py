"""A runtime that remembers every call: real inputs for the packages stage, and captures; and calls run again."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from toolkit.component import Component, Runtime, State

# One call of a published decoder takes up to 100 MB with its caches, and a call keeps its states twice.
BYTES_KEPT = 1 << 29


@dataclass(frozen=True)
class Call:
    """One recorded call of a component.

    Attributes:
        component: its name.
        function: entry point.
        inputs: name -> array.
        outputs: name -> array.
        states_before: name -> array in the declared dtype; empty for a component without states.
        states_after: likewise, as the call left them.
    """

    component: str
    function: str
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    states_before: dict[str, np.ndarray] = field(default_factory=dict)
    states_after: dict[str, np.ndarray] = field(default_factory=dict)


def replay(call: Call, runtime: Runtime) -> Call:
    """The same call, with the same states before it, on another runtime.

    Returns:
        The call with this runtime's outputs and states after it.

    Raises:
        RuntimeFault: the runtime's component has other inputs, outputs or states, or yields NaN or infinity.
    """
    component = runtime.load(call.component, call.function)
    state = component.make_state(call.states_before)
    outputs = component.predict(call.inputs, state)
    return replace(call, outputs=outputs, states_after=component.read_state(state))


class RecordingRuntime(Runtime):
    """Passes every call on to another runtime and keeps copies of what went in and out.

    Args:
        inner: the runtime that does the work.
        limit: calls to keep of each (component, function), in order; later ones are passed on only.
        most_bytes: arrays to keep of each (component, function); a call that would exceed it is passed on only, save
            the first.
    """

    def __init__(self, inner: Runtime, limit: int = 64, most_bytes: int = BYTES_KEPT) -> None:
        self.name = inner.name
        self.calls: list[Call] = []
        self._inner, self._limit, self._most_bytes = inner, limit, most_bytes
        self._loaded: dict[tuple[str, str], Component] = {}

    def load(self, component: str, function: str = "main") -> Component:
        """The component, wrapped."""
        key = (component, function)
        if key not in self._loaded:
            self._loaded[key] = _Recorded(self._inner.load(component, function), self)
        return self._loaded[key]

    def wants(self, component: Component) -> bool:
        """Whether another call of this component would be kept."""
        kept = sum((c.component, c.function) == (component.name, component.function) for c in self.calls)
        sides = (component.inputs, component.outputs, component.states, component.states)
        infos = [info for side in sides for info in side.values()]
        call_bytes = sum(math.prod(info.shape) * np.dtype(info.dtype).itemsize for info in infos)
        return kept < self._limit and (kept == 0 or (kept + 1) * call_bytes <= self._most_bytes)


class _Recorded(Component):
    def __init__(self, inner: Component, owner: RecordingRuntime) -> None:
        self.name, self.function = inner.name, inner.function
        self.inputs, self.outputs, self.states = inner.inputs, inner.outputs, inner.states
        self._inner, self._owner = inner, owner

    def _make_state(self, values: Mapping[str, np.ndarray]) -> State | None:
        return self._inner.make_state(values or None)

    def _read_state(self, state: State | None) -> dict[str, np.ndarray]:
        return self._inner.read_state(state)

    def _predict(self, inputs: Mapping[str, np.ndarray], state: State | None) -> dict[str, np.ndarray]:
        if not self._owner.wants(self):
            return self._inner.predict(inputs, state)
        copies = {name: value.copy() for name, value in inputs.items()}
        before = self._inner.read_state(state)
        outputs = self._inner.predict(inputs, state)
        after = self._inner.read_state(state)
        self._owner.calls.append(Call(self.name, self.function, copies, outputs, before, after))
        return outputs
