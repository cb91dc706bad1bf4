"""States: values that live between calls of `predict`, one set an utterance."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch

from milrun.errors import InputError
from milrun.numerics import container_dtype, container_from_numpy, numpy_from_container
from milrun.program import TensorType


class StateCell:
    """One state tensor. Values are replaced, never changed in place, so a value that was read stays as it was."""

    def __init__(self, type: TensorType, value: torch.Tensor) -> None:
        self.type = type
        self.value = value

    def write(self, value: torch.Tensor) -> None:
        """Replace the value.

        Raises:
            ValueError: it has another shape.
        """
        if value.shape != self.type.shape:
            raise ValueError(f"a state of {self.type} is given {list(value.shape)}")
        self.value = value


class State(Mapping[str, np.ndarray]):
    """The states of one utterance: a mapping name -> ndarray in the declared dtype, zeros when fresh.

    Raises:
        InputError: there is no memory for a state as large as the program declares.
    """

    def __init__(self, types: Mapping[str, TensorType]) -> None:
        self.cells = {name: StateCell(declared, _zeros(name, declared)) for name, declared in types.items()}

    def read_state(self, name: str) -> np.ndarray:
        """A copy of one state.

        Raises:
            InputError: there is no state of this name.
        """
        cell = self._cell(name)
        return numpy_from_container(cell.value, cell.type.dtype)

    def write_state(self, name: str, value: np.ndarray) -> None:
        """Replace one state; `value` has the declared shape and is rounded to the declared dtype.

        Raises:
            InputError: unknown name or wrong shape.
        """
        cell = self._cell(name)
        array = np.asarray(value)
        if array.shape != cell.type.shape:
            raise InputError(f"state '{name}' is {cell.type}, got shape {list(array.shape)}")
        with np.errstate(over="ignore"):  # beyond the dtype's range is infinite
            cell.write(container_from_numpy(array.astype(cell.type.dtype)))

    def only(self, names: Iterable[str]) -> "State":
        """Some of the states, the same and not copies: what changes one changes the other."""
        shared = State({})
        shared.cells = {name: self.cells[name] for name in names}
        return shared

    def _cell(self, name: str) -> StateCell:
        if name not in self.cells:
            raise InputError(f"no state '{name}'; the model has {sorted(self.cells)}")
        return self.cells[name]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.cells:
            raise KeyError(name)
        return self.read_state(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)


def _zeros(name: str, type: TensorType) -> torch.Tensor:
    shape = [d for d in (type.shape or ()) if d is not None]
    try:
        return torch.zeros(shape, dtype=container_dtype(type.dtype))
    except (RuntimeError, TypeError) as error:  # no memory, or a size beyond what torch can count
        raise InputError(f"no memory for the state '{name}', {type}: {error}") from error
