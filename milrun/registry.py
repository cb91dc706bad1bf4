"""The table of ops: one MIL op = one plain function.

An op function bears the op's name; its parameters bear MIL's names and defaults. Its annotations say how each
parameter reaches it, and they are read once, when a program is loaded:

| annotation              | receives                                                                        |
|-------------------------|---------------------------------------------------------------------------------|
| `Tensor`, `Tensor|None` | a container (float32, int32 or bool tensor; see numerics.py)                    |
| `Tensors`               | a list of containers (MIL's variadic parameters, e.g. `values` of concat)       |
| `int float bool str`    | a Python value                                                                  |
| `Ints Floats Bools`     | a flat list of Python values, whether constant or computed by the program       |
| `Array`, `Array|None`   | a NumPy array in its stored dtype (compressed constants)                        |
| `StateCell`             | a state: `.value` to read, `.write(tensor)` to replace                          |
| `Blocks`                | the op's nested blocks as callables: tensors in, list of tensors out            |
| `OutputTypes`           | the types the program declares for the op's outputs                             |

A function returns one tensor, or a tuple with one tensor an output; the executor rounds it to the declared dtype.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from milrun.program import ValueType
from milrun.state import StateCell

Tensor = torch.Tensor
Tensors = list[torch.Tensor]
Ints = list[int]
Floats = list[float]
Bools = list[bool]
Array = np.ndarray
Blocks = tuple[Callable[..., list[Any]], ...]
OutputTypes = tuple[ValueType, ...]

OPSET_ORDER = ("iOS15", "iOS16", "iOS17", "iOS18", "iOS26")

# Annotation -> the kind of argument that the executor prepares.
_KINDS: dict[Any, str] = {
    Tensor: "tensor",
    Tensor | None: "tensor",
    Tensors: "tensors",
    int: "scalar",
    float: "scalar",
    bool: "scalar",
    str: "scalar",
    int | None: "scalar",
    float | None: "scalar",
    bool | None: "scalar",
    str | None: "scalar",
    Ints: "list",
    Floats: "list",
    Bools: "list",
    Ints | None: "list",
    Floats | None: "list",
    Bools | None: "list",
    Array: "array",
    Array | None: "array",
    StateCell: "state",
    Blocks: "blocks",
    OutputTypes: "output_types",
    Any: "any",
}


@dataclass(frozen=True)
class OpFn:
    """One op's implementation.

    Attributes:
        name: MIL op type.
        since: the first opset this implementation is right for.
        call: the plain function.
        kinds: parameter name -> kind of argument (see the module's table).
        required: parameters without a default.
        exact: the outputs hold only values of the inputs, so no rounding is needed (reshape, gather, concat ...).
    """

    name: str
    since: str
    call: Callable[..., Any]
    kinds: dict[str, str]
    required: frozenset[str]
    exact: bool


# `gather` is the oldest implementation, `gather@iOS17` the one that holds from iOS17 on.
OPS: dict[str, OpFn] = {}


def op(name: str | None = None, *, since: str = "iOS15", exact: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Register a function as the implementation of a MIL op.

    Args:
        name: MIL op type; the function's name when left out.
        since: first opset the function is right for; a later registration with a newer `since` takes over from there.
        exact: see `OpFn.exact`.

    Raises:
        ValueError: the op is registered already, or a parameter's annotation is not in the table.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        op_name = name or function.__name__
        key = op_name if since == "iOS15" else f"{op_name}@{since}"
        if key in OPS:
            raise ValueError(f"op {key} is registered twice: {OPS[key].call.__module__} and {function.__module__}")
        parameters = inspect.signature(function).parameters
        unknown = [p.name for p in parameters.values() if p.annotation not in _KINDS]
        if unknown:
            raise ValueError(f"op {key}: no argument kind for the annotation of {unknown}")
        OPS[key] = OpFn(
            name=op_name,
            since=since,
            call=function,
            kinds={p.name: _KINDS[p.annotation] for p in parameters.values()},
            required=frozenset(p.name for p in parameters.values() if p.default is p.empty),
            exact=exact,
        )
        return function

    return register


def find_op(name: str, opset: str) -> OpFn | None:
    """The newest implementation of `name` that is not newer than `opset`; None when there is none."""
    for candidate in reversed(OPSET_ORDER[1 : OPSET_ORDER.index(opset) + 1]):
        if (found := OPS.get(f"{name}@{candidate}")) is not None:
            return found
    return OPS.get(name)
