"""MIL's pooling ops over one to three spatial dimensions of x [B, C, *D]. Oracle: NumPy loops, PyTorch."""

import math

import torch
import torch.nn.functional as F

from milrun.ops.conv import paddings, torch_pad
from milrun.registry import Ints, Tensor, op

_AVG = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_Pairs = list[tuple[int, int]]


def _window(
    x: Tensor, kernel: Ints, strides: Ints | None, pad_type: str, pad: Ints | None, ceil_mode: bool
) -> tuple[list[int], _Pairs, _Pairs]:
    """Strides, padding, and how far the last window of `ceil_mode` reaches beyond it (negative: falls short)."""
    sizes = list(x.shape[2:])
    steps = strides or [1] * len(sizes)
    pairs = paddings(pad_type.lower(), pad, sizes, kernel, steps)
    overhang: _Pairs = [(0, 0)] * len(sizes)
    if ceil_mode:
        overhang = [(0, _overhang(*one)) for one in zip(sizes, kernel, steps, pairs, strict=True)]
    return steps, pairs, overhang


def _overhang(size: int, kernel: int, stride: int, pair: tuple[int, int]) -> int:
    # coremltools `_utils.spatial_dimensions_out_shape`: a last window that would begin in the padding is left out.
    padded = size + sum(pair)
    count = math.ceil((padded - kernel) / stride) + 1
    if sum(pair) > 0 and (count - 1) * stride >= size + sum(pair) / 2:
        count -= 1
    return (count - 1) * stride + kernel - padded


@op()
def avg_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None = None,
    pad: Ints | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    """Mean of each window; padding counts as zeros unless excluded, what lies beyond the padding never counts."""
    steps, pairs, overhang = _window(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    pool = _AVG[x.ndim - 2]
    means = pool(F.pad(F.pad(x, torch_pad(pairs)), torch_pad(overhang)), kernel_sizes, steps)
    outside = [*pairs, *overhang] if exclude_padding_from_average else overhang
    if not any(side > 0 for pair in outside for side in pair):
        return means
    counted = F.pad(torch.ones_like(x[:1, :1]), torch_pad(pairs), value=0.0 if exclude_padding_from_average else 1.0)
    return means / pool(F.pad(counted, torch_pad(overhang)), kernel_sizes, steps)


@op()
def l2_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None = None,
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Square root of the sum of squares in each window."""
    steps, pairs, overhang = _window(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    padded = F.pad(F.pad(x.square(), torch_pad(pairs)), torch_pad(overhang))
    return torch.sqrt(_AVG[x.ndim - 2](padded, kernel_sizes, steps) * math.prod(kernel_sizes))


@op(exact=True)
def max_pool(
    x: Tensor,
    kernel_sizes: Ints,
    pad_type: str,
    strides: Ints | None = None,
    pad: Ints | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Largest element of each window; padding never wins."""
    steps, pairs, overhang = _window(x, kernel_sizes, strides, pad_type, pad, ceil_mode)
    padded = F.pad(F.pad(x, torch_pad(pairs), value=-math.inf), torch_pad(overhang), value=-math.inf)
    return _MAX[x.ndim - 2](padded, kernel_sizes, steps)
