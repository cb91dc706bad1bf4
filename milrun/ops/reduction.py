"""MIL's reduction ops. Oracle: NumPy.

`axes=None` reduces everything, `axes=[]` reduces nothing (PyTorch takes an empty list for everything). Integers are
summed in int64 and a fractional result is cut towards zero, as NumPy's `astype(int32)` does.
"""

from collections.abc import Callable

import torch

from milrun.registry import Ints, Tensor, op

_Reduce = Callable[[Tensor, list[int], bool], Tensor]


def _reduce(function: _Reduce, x: Tensor, axes: Ints | None, keep_dims: bool) -> Tensor:
    dims = list(range(x.ndim)) if axes is None else axes
    if not dims:
        return function(x.unsqueeze(-1), [-1], False)
    return function(x, dims, keep_dims)


def _wide(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.double()


@op()
def reduce_argmax(x: Tensor, axis: int = -1, keep_dims: bool = False) -> Tensor:
    """Index of the largest element, the first one among equals; NaN counts as largest."""
    return torch.argmax(x, axis, keep_dims)


@op("reduce_argmax", since="iOS17")
def reduce_argmax_ios17(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """As before, as `output_dtype` int32 or uint16, which the program also declares."""
    return reduce_argmax(x, axis, keep_dims)  # type: ignore[no-any-return]


@op()
def reduce_argmin(x: Tensor, axis: int = -1, keep_dims: bool = False) -> Tensor:
    """Index of the smallest element, the first one among equals; NaN counts as smallest."""
    return torch.argmin(x, axis, keep_dims)


@op("reduce_argmin", since="iOS17")
def reduce_argmin_ios17(x: Tensor, axis: int = -1, keep_dims: bool = False, output_dtype: str = "int32") -> Tensor:
    """As before, as `output_dtype` int32 or uint16, which the program also declares."""
    return reduce_argmin(x, axis, keep_dims)  # type: ignore[no-any-return]


@op()
def reduce_l1_norm(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """sum(|x|)."""
    return _reduce(lambda v, dims, keep: v.abs().sum(dims, keep), x, axes, keep_dims)


@op()
def reduce_l2_norm(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """sqrt(sum(x^2))."""
    return _reduce(lambda v, dims, keep: v.square().sum(dims, keep).sqrt(), _wide(x), axes, keep_dims)


@op()
def reduce_log_sum(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """log(sum(x))."""
    return _reduce(lambda v, dims, keep: v.sum(dims, keep).log(), _wide(x), axes, keep_dims)


@op()
def reduce_log_sum_exp(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """log(sum(e^x)) without overflow; -inf where every element is -inf."""
    return _reduce(torch.logsumexp, _wide(x), axes, keep_dims)


@op()
def reduce_max(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """The largest element."""
    return _reduce(torch.amax, x, axes, keep_dims)


@op()
def reduce_mean(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """The mean; of integers it is cut towards zero."""
    return _reduce(torch.mean, _wide(x), axes, keep_dims)


@op()
def reduce_min(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """The smallest element."""
    return _reduce(torch.amin, x, axes, keep_dims)


def _prod(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    for dim in dims:  # torch.prod takes one dimension at a time
        x = x.prod(dim, keepdim=True)
    return x if keep else x.squeeze(dims)


@op()
def reduce_prod(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """The product; int32 wraps."""
    return _reduce(_prod, x, axes, keep_dims)


@op()
def reduce_sum(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """The sum; int32 wraps."""
    return _reduce(torch.sum, x, axes, keep_dims)


@op()
def reduce_sum_square(x: Tensor, axes: Ints | None = None, keep_dims: bool = False) -> Tensor:
    """sum(x^2)."""
    return _reduce(lambda v, dims, keep: v.square().sum(dims, keep), x, axes, keep_dims)
