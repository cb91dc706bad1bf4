"""The runtime protocol: load a component, call it with arrays, get arrays.

`Component.predict` checks names, shapes, dtypes and finiteness on both sides; a runtime only implements `_predict`, and
`_make_state` and `_read_state` where it runs components with states.

A state belongs to one utterance and to the function that made it: Core ML allocates a state for one loaded model, and
each function is one. What a prefill wrote goes on in the step function by value:

    state = step.make_state(prefill.read_state(state))
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from toolkit.errors import FIND_STAGE, ComponentFault
from toolkit.spec import TensorInfo


@dataclass(frozen=True, eq=False)
class State:
    """The states of one utterance. Only the component that made it runs on it or reads it.

    Attributes:
        owner: that component.
        value: the runtime's own.
    """

    owner: "Component"
    value: Any


class Component(ABC):
    """One function of one component, ready to run.

    Attributes:
        name: component, e.g. `encoder`.
        function: function of a multifunction package, e.g. `audio_15s`; `main` where there is one only.
        inputs: name -> `TensorInfo`.
        outputs: name -> `TensorInfo`.
        states: name -> `TensorInfo`.
    """

    name: str
    function: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    states: Mapping[str, TensorInfo]

    def predict(self, inputs: Mapping[str, np.ndarray], state: State | None = None) -> dict[str, np.ndarray]:
        """Run once.

        Args:
            inputs: name -> array, exactly the declared names, shapes and dtypes.
            state: what `make_state` returned, changed by the call; None for a component without states.

        Returns:
            name -> array.

        Raises:
            RuntimeFault: an input or output breaks the component's description, or holds NaN or infinity; no state
                where one is needed, or one that this component did not make.
        """
        self._check("input", inputs, self.inputs)
        outputs = self._predict(inputs, self._value(state))
        self._check("output", outputs, self.outputs)
        return outputs

    def make_state(self, values: Mapping[str, np.ndarray] | None = None) -> State | None:
        """States for one utterance.

        Args:
            values: name -> array, exactly the declared names, shapes and dtypes; all zeros when left out.

        Returns:
            What `predict` takes and changes; None for a component without states.

        Raises:
            RuntimeFault: the values break the component's description, or hold NaN or infinity.
        """
        if values is not None:
            self._check("state", values, self.states)
        return State(self, self._make_state(values or {})) if self.states else None

    def read_state(self, state: State | None) -> dict[str, np.ndarray]:
        """Copies of the states in their declared dtype; empty for a component without states.

        Raises:
            RuntimeFault: no state where one is needed, one that this component did not make, or one that holds NaN or
                infinity: a value beyond what the declared dtype can hold.
        """
        value = self._value(state)
        values = self._read_state(value) if self.states else {}
        self._check("state", values, self.states)
        return values

    @abstractmethod
    def _predict(self, inputs: Mapping[str, np.ndarray], state: Any) -> dict[str, np.ndarray]: ...

    def _make_state(self, values: Mapping[str, np.ndarray]) -> Any:
        """The runtime's own states: copies of the values, or all zeros when there are none."""
        raise NotImplementedError(f"{type(self).__name__} runs no component with states")

    def _read_state(self, state: Any) -> dict[str, np.ndarray]:
        """Copies of what `_make_state` returned, as the calls since have left it."""
        raise NotImplementedError(f"{type(self).__name__} runs no component with states")

    def _value(self, state: State | None) -> Any:
        """The runtime's own states inside a state that belongs here."""
        next_step = "Pass what this component's make_state() returned; make_state(values) takes over another's values."
        if state is None:
            if self.states:
                self._refuse(f"it keeps states {sorted(self.states)} and was given none", next_step)
            return None
        if not self.states:
            self._refuse("it keeps no states and was given one", next_step)
        if state.owner is not self:
            owner = f"{state.owner.name} ({state.owner.function})"
            self._refuse(f"it was given a state that another component made, {owner}", next_step)
        return state.value

    def _check(self, side: str, values: Mapping[str, np.ndarray], declared: Mapping[str, TensorInfo]) -> None:
        if set(values) != set(declared):
            self._refuse(f"{side}s {sorted(values)} where {sorted(declared)} are declared")
        for name, info in declared.items():
            value = values[name]
            if tuple(value.shape) != info.shape or value.dtype.name != info.dtype:
                self._refuse(f"{side} '{name}' is {value.dtype.name} {list(value.shape)}, declared {info}")
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                reason = f"{side} '{name}' holds {int((~np.isfinite(value)).sum())} NaN or infinite values"
                self._refuse(reason, tensor={"output": name, "state": f"state {name}"}.get(side, ""))

    def _refuse(self, reason: str, next_step: str = FIND_STAGE, tensor: str = "") -> NoReturn:
        raise ComponentFault(self.name, self.function, reason, next_step, tensor)


class Runtime(ABC):
    """Loads the components of one bundle.

    Attributes:
        name: `eager`, `portable` or `coreml`.
    """

    name: str

    @abstractmethod
    def load(self, component: str, function: str = "main") -> Component:
        """Load one function of one component; the same object when asked again."""
