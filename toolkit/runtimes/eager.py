"""The eager runtime: the wrapper itself in PyTorch, so that host and wrapper faults show apart from conversion's."""

from collections.abc import Mapping

import numpy as np
import torch

from toolkit.component import Component, Runtime
from toolkit.export.binding import check_parameters
from toolkit.spec import ComponentSpec, ExportPlan


class EagerRuntime(Runtime):
    """Runs the wrapper modules of an export plan in float32.

    It is the model before any rounding, so states too stay in the dtype of the wrapper's buffers from call to call;
    only `read_state` and `make_state(values)` pass through the declared dtype.

    Args:
        plan: what the model's export module returned for the checkpoint.
    """

    name = "eager"

    def __init__(self, plan: ExportPlan) -> None:
        self._plan = plan
        self._loaded: dict[tuple[str, str], Component] = {}

    def load(self, component: str, function: str = "main") -> Component:
        """The wrapper of one function.

        Raises:
            RuntimeFault: the names of its parameters are not those of the declared inputs.
        """
        key = (component, function)
        if key not in self._loaded:
            self._loaded[key] = _EagerComponent(self._plan.component(component), function)
        return self._loaded[key]


class _EagerComponent(Component):
    """A wrapper; its buffers named in the spec hold one utterance's states during a call, and nothing between calls."""

    def __init__(self, spec: ComponentSpec, function: str) -> None:
        self.name, self.function = spec.name, function
        self._spec = spec.function(function)
        self._module = spec.build(function).eval()
        check_parameters(self._module, self._spec)
        self.inputs = {t.name: t.info for t in self._spec.inputs}
        self.outputs = {t.name: t.info for t in self._spec.outputs}
        self.states = {t.name: t.info for t in self._spec.states}

    def _make_state(self, values: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        state = {name: torch.zeros_like(self._module.get_buffer(name)) for name in self.states}
        for name, value in values.items():
            state[name].copy_(torch.tensor(value))
        return state

    def _read_state(self, state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
        with np.errstate(over="ignore"):  # beyond the dtype's range is infinite, which the caller refuses
            return {name: state[name].numpy().astype(info.dtype) for name, info in self.states.items()}

    def _predict(
        self, inputs: Mapping[str, np.ndarray], state: dict[str, torch.Tensor] | None
    ) -> dict[str, np.ndarray]:
        states = state or {}
        for name, value in states.items():
            self._module.get_buffer(name).copy_(value)
        with torch.no_grad():
            result = self._module(*(torch.from_numpy(inputs[t.name].copy()) for t in self._spec.inputs))
        for name in states:
            states[name] = self._module.get_buffer(name).clone()
        values = result if isinstance(result, tuple) else (result,)
        # Copies: an output may be a view of a buffer, which the next call overwrites.
        return {t.name: v.numpy().astype(t.dtype) for t, v in zip(self._spec.outputs, values, strict=True)}
