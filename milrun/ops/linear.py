"""MIL's linear ops: matrix products. Oracle: NumPy."""

import torch
import torch.nn.functional as F

from milrun.registry import Tensor, Tensors, op


@op()
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias; weight [out, in], bias [out]."""
    if x.is_floating_point() or weight.is_floating_point():
        return F.linear(x.float(), weight.float(), bias if bias is None else bias.float())
    product = x @ weight.T
    return product if bias is None else product + bias


@op()
def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """Batched matrix product with broadcasting; transposing has no effect on a vector.

    From iOS17 on one side may be a constant of another dtype than the other.
    """
    if x.dtype != y.dtype:
        x, y = x.float(), y.float()
    return (x.mT if transpose_x and x.ndim > 1 else x) @ (y.mT if transpose_y and y.ndim > 1 else y)


@op()
def einsum(values: Tensors, equation: str) -> Tensor:
    """`nchw,nwhu->nchu` or `chw,whr->chr`, whatever the letters; batch dimensions of size 1 broadcast."""
    return torch.einsum(equation, values)
