"""The eager runtime: the wrapper itself in PyTorch, so that host and wrapper faults show apart from conversion's."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from toolkit.export.spec import ComponentSpec, ExportPlan, Tensor
from toolkit.runtimes.base import Component, Runtime, TensorInfo


class EagerRuntime(Runtime):
    """Runs the wrapper modules of an export plan in float32.

    Args:
        plan: what the model's export module returned for the checkpoint.
    """

    name = "eager"

    def __init__(self, plan: ExportPlan) -> None:
        self._plan = plan
        self._loaded: dict[tuple[str, str], Component] = {}

    def load(self, component: str, function: str = "main") -> Component:
        """The wrapper of one function."""
        key = (component, function)
        if key not in self._loaded:
            self._loaded[key] = _EagerComponent(self._plan.component(component), function)
        return self._loaded[key]


class _EagerComponent(Component):
    def __init__(self, spec: ComponentSpec, function: str) -> None:
        self.name, self.function = spec.name, function
        self._spec = spec.function(function)
        self._module = spec.build(function).eval()
        self.inputs = _infos(self._spec.inputs)
        self.outputs = _infos(self._spec.outputs)
        self.states = _infos(self._spec.states)

    def make_state(self) -> Any:
        return {t.name: torch.zeros(t.shape) for t in self._spec.states} or None

    def _predict(self, inputs: Mapping[str, np.ndarray], state: Any) -> dict[str, np.ndarray]:
        buffers = dict(self._module.named_buffers())
        for name, value in (state or {}).items():
            buffers[name].copy_(value)
        with torch.no_grad():
            result = self._module(*(torch.from_numpy(inputs[t.name].copy()) for t in self._spec.inputs))
        for name in state or {}:
            state[name] = buffers[name].clone()
        values = result if isinstance(result, tuple) else (result,)
        return {t.name: v.numpy().astype(t.dtype, copy=False) for t, v in zip(self._spec.outputs, values, strict=True)}


def _infos(tensors: tuple[Tensor, ...]) -> dict[str, TensorInfo]:
    return {t.name: TensorInfo(t.dtype, t.shape) for t in tensors}
