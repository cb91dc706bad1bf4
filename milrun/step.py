"""One op, ready to run: its arguments, its results, and the constants that need no input."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from milrun.errors import OpError, PackageError
from milrun.numerics import container_from_numpy
from milrun.program import Const, ListType, Operation, ValueType
from milrun.state import StateCell

# RuntimeError is also torch's own for memory that cannot be had; AttributeError comes of an argument of another kind.
_RUN_ERRORS = (
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    NotImplementedError,
    ArithmeticError,
    MemoryError,
)
# Arguments that an error's text shows, where they are short.
_SHOWN = (bool, int, float, str, list, type(None))
_MOST_SHOWN = 60


@dataclass(frozen=True)
class Output:
    """Where an op's result goes and what it must be.

    Attributes:
        slot: index into the environment.
        name: of the value.
        type: as the program declares it.
        holds: the Python type, or types, that a value of that type has.
        shape: the declared shape where it is static, else None.
        finish: rounds a result to its dtype; None where there is nothing to round.
    """

    slot: int
    name: str
    type: ValueType
    holds: Any
    shape: tuple[int, ...] | None
    finish: Callable[[torch.Tensor], torch.Tensor] | None

    def accept(self, value: Any) -> Any:
        """Round a result and compare its shape with the declared one.

        Raises:
            ValueError: the shape, or the kind of value, is not the declared one.
        """
        if not isinstance(value, self.holds):
            raise ValueError(f"result is a {type(value).__name__}, the program declares {self.type}")
        if self.finish is not None:
            value = self.finish(value)
        if self.shape is not None:
            if value.shape != self.shape:
                raise ValueError(f"result {list(value.shape)}, the program declares {self.type}")
        elif isinstance(value, torch.Tensor) and not self._fits(value):
            raise ValueError(f"result {list(value.shape)}, the program declares {self.type}")
        return value

    def _fits(self, value: torch.Tensor) -> bool:
        if isinstance(self.type, ListType) or self.type.shape is None:
            return True
        return len(self.type.shape) == value.ndim and all(
            want is None or want == got for want, got in zip(self.type.shape, value.shape, strict=True)
        )


class LazyConst:
    """A value that needs no input: made at first use and then kept, or made anew at each use (`cache=False`).

    It is a constant's container, or an output of a `constexpr_` op: a weight that is stored compressed.
    """

    def __init__(self, make: Callable[[], Any], cache: bool) -> None:
        self.make = make
        self._cache = cache
        self._value: Any = None

    def get(self) -> Any:
        """The value."""
        if self._value is not None:
            return self._value
        value = self.make()
        if self._cache:
            self._value = value
        return value


@dataclass
class Step:
    """One op: arguments known at load, slots to read, slots to write, slots to free."""

    operation: Operation
    call: Callable[..., Any]
    fixed: dict[str, Any]
    lazy: dict[str, LazyConst]
    tensors: tuple[tuple[str, int], ...]
    converted: tuple[tuple[str, int, str], ...]
    variadic: tuple[tuple[str, tuple[int | LazyConst, ...]], ...]
    outputs: tuple[Output, ...]
    free: tuple[int, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether the op reads nothing that a run computes."""
        return not (self.tensors or self.converted or self.variadic)

    def results(self, env: list[Any], blocks: tuple[Callable[..., list[Any]], ...] = ()) -> list[Any]:
        """Call the op; its results, rounded and checked.

        Raises:
            OpError: the op failed, or broke the type the program declares.
        """
        arguments = self.fixed.copy()
        if blocks:
            arguments["blocks"] = blocks
        try:
            self._gather(env, arguments)
            result = self.call(**arguments)
            if not isinstance(result, tuple):
                result = (result,)
            if len(result) != len(self.outputs):
                raise ValueError(f"{len(result)} results for {len(self.outputs)} declared outputs")
            return [output.accept(value) for output, value in zip(self.outputs, result, strict=True)]
        except _RUN_ERRORS as error:
            op, reason = self.operation, str(error) or type(error).__name__
            raise OpError(op.type, op.name, reason, _describe(arguments), op.scope) from error

    def _gather(self, env: list[Any], given: dict[str, Any]) -> None:
        """Add the arguments that are not known before the run."""
        for name, slot in self.tensors:
            given[name] = env[slot]
        for name, constant in self.lazy.items():
            given[name] = constant.get()
        for name, slot, kind in self.converted:
            given[name] = argument_from_container(env[slot], kind)
        for name, members in self.variadic:
            given[name] = [env[m] if isinstance(m, int) else m.get() for m in members]


def container_from_const(constant: Const) -> Any:
    """A constant as the executor holds it.

    Raises:
        PackageError: it holds several strings, of which nothing can be computed.
    """
    if isinstance(constant.type, ListType):
        return [_container(np.asarray(item)) for item in constant.read()]
    return _container(constant.numpy())


def _container(value: np.ndarray) -> Any:
    if value.dtype.kind != "U":
        return container_from_numpy(value)
    if value.ndim:
        raise PackageError(f"a tensor of strings, {list(value.shape)}, is given where a tensor of numbers is wanted")
    return str(value)


def python_value(constant: Const, kind: str) -> Any:
    """A constant as a Python value of the kind that its parameter wants (`registry.py`)."""
    if kind == "array":
        return constant.numpy()
    value = constant.read()
    if kind == "any":
        return value
    if kind == "list":
        return np.asarray(value).reshape(-1).tolist()
    if kind == "scalar":
        return np.asarray(value).reshape(-1)[0].item() if np.asarray(value).size == 1 else np.asarray(value).tolist()
    raise TypeError(f"a constant cannot be a {kind}")


def argument_from_container(value: Any, kind: str) -> Any:
    """A computed value in the form that its parameter wants."""
    if kind == "list":
        return value.reshape(-1).tolist()
    if kind == "scalar":
        return value.item()
    return value.numpy() if kind == "array" else value


def _describe(arguments: Mapping[str, Any]) -> list[str]:
    def one(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        if isinstance(value, StateCell):
            return f"state {value.type}"
        text = repr(value) if isinstance(value, _SHOWN) else ""
        return text if 0 < len(text) < _MOST_SHOWN else type(value).__name__

    return [f"{name}: {one(value)}" for name, value in arguments.items() if name != "blocks"]
