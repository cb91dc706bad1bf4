"""MIL's scatter_gather ops.

An index out of range raises, whatever `validate_indices` says: without it Core ML leaves the result undefined.
Negative indices count from the end up to iOS16 and are out of range from iOS17 on.
"""

import math
from typing import Any

import numpy as np
import torch

from milrun.registry import Tensor, op

_COMBINE = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
}
_SIGN = {"add": 1, "sub": -1}


@op(exact=True)
def gather(x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0) -> Tensor:
    """The slices of `x` at `indices` along `axis`: x.shape[:axis] + indices.shape[batch_dims:] + x.shape[axis+1:]."""
    return _gather(x, _from_start(indices, x.shape[axis]), axis % x.ndim, batch_dims)


@op("gather", since="iOS17", exact=True)
def gather_ios17(
    x: Tensor, indices: Tensor, axis: int = 0, batch_dims: int = 0, validate_indices: bool = False
) -> Tensor:
    """As `gather`, without negative indices."""
    return _gather(x, _checked(indices, x.shape[axis]), axis % x.ndim, batch_dims)


@op(exact=True)
def gather_along_axis(x: Tensor, indices: Tensor, axis: int = 0) -> Tensor:
    """Element by element: output[..., i, ...] = x[..., indices[..., i, ...], ...]."""
    return x.gather(axis, _from_start(indices, x.shape[axis]))


@op("gather_along_axis", since="iOS17", exact=True)
def gather_along_axis_ios17(x: Tensor, indices: Tensor, axis: int = 0, validate_indices: bool = False) -> Tensor:
    """As `gather_along_axis`, without negative indices."""
    return x.gather(axis, _checked(indices, x.shape[axis]))


@op(exact=True)
def gather_nd(x: Tensor, indices: Tensor, batch_dims: int = 0) -> Tensor:
    """The slices of `x` at the index tuples in the last dimension of `indices`."""
    return _gather_nd(x, [_from_start(i, size) for i, size in _columns(indices, x, batch_dims)], batch_dims)


@op("gather_nd", since="iOS17", exact=True)
def gather_nd_ios17(x: Tensor, indices: Tensor, batch_dims: int = 0, validate_indices: bool = False) -> Tensor:
    """As `gather_nd`, without negative indices."""
    return _gather_nd(x, [_checked(i, size) for i, size in _columns(indices, x, batch_dims)], batch_dims)


@op()
def scatter(data: Tensor, indices: Tensor, updates: Tensor, axis: int = 0, mode: str = "add") -> Tensor:
    """A copy of `data` whose slices at `indices` along `axis` are combined with `updates`, one after the other."""
    return _scatter(data, _on_axis(data, _from_start(indices, data.shape[axis]), axis), updates, mode)


@op("scatter", since="iOS17")
def scatter_ios17(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    """As `scatter`, without negative indices."""
    return _scatter(data, _on_axis(data, _checked(indices, data.shape[axis]), axis), updates, mode)


@op()
def scatter_along_axis(data: Tensor, indices: Tensor, updates: Tensor, axis: int = 0, mode: str = "add") -> Tensor:
    """Element by element: output[..., indices[..., i, ...], ...] is combined with updates[..., i, ...]."""
    return _scatter(data, _along_axis(_from_start(indices, data.shape[axis]), axis), updates, mode)


@op("scatter_along_axis", since="iOS17")
def scatter_along_axis_ios17(
    data: Tensor,
    indices: Tensor,
    updates: Tensor,
    axis: int = 0,
    mode: str = "add",
    validate_indices: bool = False,
) -> Tensor:
    """As `scatter_along_axis`, without negative indices."""
    return _scatter(data, _along_axis(_checked(indices, data.shape[axis]), axis), updates, mode)


@op()
def scatter_nd(data: Tensor, indices: Tensor, updates: Tensor, mode: str = "add") -> Tensor:
    """A copy of `data` whose slices at the index tuples in the last dimension of `indices` meet `updates`."""
    index = [_from_start(i, size) for i, size in _columns(indices, data, 0)]
    return _scatter(data, tuple(i.numpy() for i in index), updates, mode)


@op("scatter_nd", since="iOS17")
def scatter_nd_ios17(
    data: Tensor, indices: Tensor, updates: Tensor, mode: str = "add", validate_indices: bool = False
) -> Tensor:
    """As `scatter_nd`, without negative indices."""
    index = [_checked(i, size) for i, size in _columns(indices, data, 0)]
    return _scatter(data, tuple(i.numpy() for i in index), updates, mode)


def _checked(indices: Tensor, size: int, lowest: int = 0) -> Tensor:
    """The indices as int64; raises when one is out of range."""
    if indices.numel():
        low, high = (int(limit) for limit in indices.aminmax())
        if low < lowest or high >= size:
            raise IndexError(f"an index of [{low}, {high}] is outside of [{lowest}, {size})")
    return indices.long()


def _from_start(indices: Tensor, size: int) -> Tensor:
    """The indices as int64 with the negative ones counted from the end; raises when one is out of range."""
    indices = _checked(indices, size, -size)
    return torch.where(indices < 0, indices + size, indices)


def _gather(x: Tensor, indices: Tensor, axis: int, batch_dims: int) -> Tensor:
    shape = x.shape[:axis] + indices.shape[batch_dims:] + x.shape[axis + 1 :]
    if batch_dims == 0:
        return x.index_select(axis, indices.flatten()).reshape(shape)
    batch, before = math.prod(x.shape[:batch_dims]), math.prod(x.shape[batch_dims:axis])
    after = math.prod(x.shape[axis + 1 :])
    picked = indices.reshape(batch, 1, math.prod(indices.shape[batch_dims:]), 1)
    # [batch, before, d, after] -> [batch, before, picks, after]
    cells = x.reshape(batch, before, x.shape[axis], after)
    return cells.gather(2, picked.expand(batch, before, -1, after)).reshape(shape)


def _columns(indices: Tensor, x: Tensor, batch_dims: int) -> list[tuple[Tensor, int]]:
    """Each component of the index tuples, with the size of the dimension it points into."""
    return [(column, x.shape[batch_dims + i]) for i, column in enumerate(indices.unbind(-1))]


def _gather_nd(x: Tensor, index: list[Tensor], batch_dims: int) -> Tensor:
    rank = index[0].ndim
    batch = [torch.arange(n).reshape((n,) + (1,) * (rank - 1 - i)) for i, n in enumerate(x.shape[:batch_dims])]
    return x[tuple(batch + index)]


def _on_axis(data: Tensor, indices: Tensor, axis: int) -> tuple[Any, ...]:
    return (slice(None),) * (axis % data.ndim) + (indices.numpy(),)


def _along_axis(indices: Tensor, axis: int) -> tuple[np.ndarray, ...]:
    grid = list(np.ogrid[tuple(slice(size) for size in indices.shape)])
    grid[axis] = indices.numpy()
    return tuple(grid)


def _scatter(data: Tensor, index: tuple[Any, ...], updates: Tensor, mode: str) -> Tensor:
    """NumPy's in-place `at`: repeated indices take effect one after the other, in order."""
    result = data.clone(memory_format=torch.contiguous_format)
    if mode in _SIGN and updates.dtype == data.dtype != torch.bool:
        # The same, four times as fast: on one dimension torch adds one element after the other, too.
        cells = torch.from_numpy(np.arange(data.numel()).reshape(data.shape)[index])
        terms = updates.expand(cells.shape).reshape(-1)
        result.view(-1).index_add_(0, cells.reshape(-1), terms, alpha=_SIGN[mode])
        return result
    target, given = result.numpy(), updates.numpy()
    with np.errstate(all="ignore"):
        if mode == "update":
            target[index] = given
        elif mode == "div" and target.dtype.kind == "i":
            np.floor_divide.at(target, index, given)
        elif mode in _COMBINE:
            _COMBINE[mode].at(target, index, given)
        else:
            raise ValueError(f"unknown scatter mode '{mode}'")
    return result
