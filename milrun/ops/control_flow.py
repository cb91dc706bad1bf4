"""MIL's control_flow ops: branches, loops, selection, and lists of tensors.

A list travels as a `TensorList`, which is never changed in place.
"""

from typing import Any

import torch

from milrun.registry import Blocks, Ints, Tensor, Tensors, op
from milrun.values import TensorList

_NO_SHAPE: Tensors = []


@op(exact=True)
def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """`a` where `cond` is true, `b` elsewhere, broadcast."""
    return torch.where(cond, a, b)


@op(exact=True)
def cond(pred: bool, blocks: Blocks) -> tuple[Any, ...]:
    """Run the first block when `pred` is true, else the second; only one of them runs."""
    return tuple(blocks[0 if pred else 1]())


@op(exact=True)
def while_loop(loop_vars: Tensors, blocks: Blocks) -> tuple[Any, ...]:
    """Run the second block on the loop variables as long as the first one yields true."""
    condition, body = blocks
    values = list(loop_vars)
    while condition(*values)[0].item():
        values = body(*values)
    return tuple(values)


@op(exact=True)
def make_list(
    init_length: int = 1, dynamic_length: bool = True, elem_shape: Tensors = _NO_SHAPE, dtype: str = "fp32"
) -> TensorList:
    """A list of `init_length` elements, all zero; a dimension that is named, not numbered, is known when written."""
    blank = None
    if all(isinstance(size, torch.Tensor) for size in elem_shape):
        kind = torch.float32 if dtype.startswith("fp") else torch.bool if dtype == "bool" else torch.int32
        blank = torch.zeros([int(size) for size in elem_shape], dtype=kind)
    return TensorList((None,) * init_length, dynamic_length, blank)


@op()
def list_length(ls: Any) -> Tensor:
    """The number of elements."""
    return torch.tensor(len(ls))


@op(exact=True)
def list_write(ls: Any, index: int, value: Tensor) -> Any:
    """A list with `value` at `index`; a list of dynamic length grows to hold it."""
    return ls.written([index], [value])


@op(exact=True)
def list_read(ls: Any, index: int) -> Tensor:
    """The element at `index`."""
    value: Tensor = ls.read(index)
    return value


@op(exact=True)
def list_gather(ls: Any, indices: Ints) -> Tensor:
    """The elements at `indices`, stacked along a new first dimension."""
    return torch.stack([ls.read(index) for index in indices])


@op(exact=True)
def list_scatter(ls: Any, indices: Ints, value: Tensor) -> Any:
    """A list with the slices of `value` along its first dimension at `indices`."""
    return ls.written(indices, list(value.unbind(0)))
