"""The runtime protocol: load a component, call it with arrays, get arrays.

`Component.predict` checks names, shapes, dtypes and finiteness on both sides; a runtime only implements `_predict`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.errors import RuntimeFault


@dataclass(frozen=True)
class TensorInfo:
    """dtype name (`float32`, `int32`, `float16`) and fixed shape of an input, output or state."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


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

    def predict(self, inputs: Mapping[str, np.ndarray], state: Any = None) -> dict[str, np.ndarray]:
        """Run once.

        Args:
            inputs: name -> array, exactly the declared names, shapes and dtypes.
            state: what `make_state` returned, changed by the call; None for a component without states.

        Returns:
            name -> array.

        Raises:
            RuntimeFault: an input or output breaks the component's description, or holds NaN or infinity.
        """
        self._check("input", inputs, self.inputs)
        outputs = self._predict(inputs, state)
        self._check("output", outputs, self.outputs)
        return outputs

    @abstractmethod
    def make_state(self) -> Any:
        """Fresh states, all zeros; None for a component without states."""

    @abstractmethod
    def _predict(self, inputs: Mapping[str, np.ndarray], state: Any) -> dict[str, np.ndarray]: ...

    def _check(self, side: str, values: Mapping[str, np.ndarray], declared: Mapping[str, TensorInfo]) -> None:
        if set(values) != set(declared):
            self._refuse(f"{side}s {sorted(values)} where {sorted(declared)} are declared")
        for name, info in declared.items():
            value = values[name]
            if tuple(value.shape) != info.shape or value.dtype.name != info.dtype:
                self._refuse(f"{side} '{name}' is {value.dtype.name} {list(value.shape)}, declared {info}")
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                self._refuse(f"{side} '{name}' holds {int((~np.isfinite(value)).sum())} NaN or infinite values")

    def _refuse(self, reason: str) -> None:
        raise RuntimeFault(
            f"component {self.name} ({self.function}): {reason}",
            "Run `compare --bundle DIR` to find the stage at fault.",
        )


class Runtime(ABC):
    """Loads the components of one bundle.

    Attributes:
        name: `eager`, `portable` or `coreml`.
    """

    name: str

    @abstractmethod
    def load(self, component: str, function: str = "main") -> Component:
        """Load one function of one component; the same object when asked again."""
