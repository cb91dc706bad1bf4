"""MIL's convolutions. x [B, C_in, *D] with one to three spatial dimensions. Oracle: NumPy loops, PyTorch.

`same` puts the odd element of padding at the end (as TensorFlow does), `same_lower` at the start; both depend on the
input's length when the stride is above one.
"""

import math
from itertools import chain

import torch
import torch.nn.functional as F

from milrun.registry import Array, Ints, Tensor, op

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def paddings(
    pad_type: str, pad: Ints | None, sizes: list[int], kernel: list[int], strides: list[int]
) -> list[tuple[int, int]]:
    """Elements to add (before, after) each spatial dimension.

    Args:
        pad_type: valid, same, same_lower or custom.
        pad: `custom` only: before and after the first dimension, then the second ...; zeros when None.
        sizes: spatial sizes of the input.
        kernel: kernel sizes, dilation included.
        strides: one a dimension.
    """
    if pad_type == "valid" or (pad_type == "custom" and pad is None):
        return [(0, 0)] * len(sizes)
    if pad_type == "custom":
        assert pad is not None
        return list(zip(pad[::2], pad[1::2], strict=True))
    pairs = []
    for size, k, stride in zip(sizes, kernel, strides, strict=True):
        total = max(0, (math.ceil(size / stride) - 1) * stride + k - size)
        less, more = total // 2, total - total // 2
        pairs.append({"same": (less, more), "same_lower": (more, less)}[pad_type])
    return pairs


def torch_pad(pairs: list[tuple[int, int]]) -> list[int]:
    """The argument of `F.pad`, which begins at the last dimension."""
    return list(chain.from_iterable(reversed(pairs)))


def dilated(kernel: list[int], dilations: list[int]) -> list[int]:
    """Kernel sizes, dilation included."""
    return [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]


@op()
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    """Convolution; weight [C_out, C_in / groups, *K], constant or computed; strides and dilations default to ones."""
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    kernel = dilated(list(weight.shape[2:]), dilations)
    pairs = paddings(pad_type, pad, list(x.shape[2:]), kernel, strides)
    if any(size + sum(pair) < k for size, pair, k in zip(x.shape[2:], pairs, kernel, strict=True)):
        raise ValueError(f"x {list(x.shape)}, padded by {pairs}, is smaller than the kernel, {kernel} with dilation")
    if all(before == after >= 0 for before, after in pairs):
        return _CONV[rank](x, weight, bias, strides, [before for before, _ in pairs], dilations, groups)
    return _CONV[rank](F.pad(x, torch_pad(pairs)), weight, bias, strides, 0, dilations, groups)


@op()
def conv_quantized(
    x: Tensor,
    weight: Array,
    quantization_type: str,
    quant_scale: Tensor,
    quant_bias: Tensor,
    bias: Array | None = None,
    nbits: int = 8,
    strides: Ints | None = None,
    pad_type: str = "valid",
    pad: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    """`conv` with weight * quant_scale + quant_bias; coremltools calls it experimental.

    Only linear 8-bit weights are run: nothing published says how packed bits or a look-up table are laid out.
    """
    if quantization_type != "linear" or nbits != 8:
        raise NotImplementedError(f"conv_quantized with quantization_type={quantization_type}, nbits={nbits}")
    numbers = torch.from_numpy(weight.astype("float32"))
    scale, offset = (v.reshape(-1, *[1] * (numbers.ndim - 1)) if v.ndim == 1 else v for v in (quant_scale, quant_bias))
    added = None if bias is None else torch.from_numpy(bias.astype("float32"))
    result: Tensor = conv(x, numbers * scale + offset, added, strides, pad_type, pad, dilations, groups)
    return result


def _crop(
    pad_type: str, pad: Ints | None, output: Ints | None, sizes: list[int], kernel: list[int], strides: list[int]
) -> list[tuple[int, int]]:
    """(first element kept, length) of each spatial dimension of the whole transposed convolution."""
    crops = []
    for r, (size, k, stride) in enumerate(zip(sizes, kernel, strides, strict=True)):
        whole = (size - 1) * stride + k
        before, after = (pad[2 * r], pad[2 * r + 1]) if pad_type == "custom" and pad is not None else (0, 0)
        length = size * stride if pad_type == "same" else whole - before - after
        if output is not None:
            length = output[2 + r]
        if pad_type != "custom":
            before = max(0, whole - length) // 2
        crops.append((before, length))
    return crops


@op()
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    pad: Ints | None = None,
    output_shape: Ints | None = None,
    pad_type: str = "valid",
    strides: Ints | None = None,
    dilations: Ints | None = None,
    groups: int = 1,
) -> Tensor:
    """Transposed convolution; weight [C_in, C_out / groups, *K].

    `same` yields size * stride, `custom` crops `pad`, `output_shape` ([B, C_out, *D]) overrides the length; what the
    kernel does not reach holds the bias alone.
    """
    rank = x.ndim - 2
    strides, dilations = strides or [1] * rank, dilations or [1] * rank
    kernel = dilated(list(weight.shape[2:]), dilations)
    crops = _crop(pad_type, pad, output_shape, list(x.shape[2:]), kernel, strides)
    whole = _CONV_TRANSPOSE[rank](x, weight, None, strides, 0, 0, groups, dilations)
    ends = [length + before - size for (before, length), size in zip(crops, whole.shape[2:], strict=True)]
    y = F.pad(whole, torch_pad([(-before, end) for (before, _), end in zip(crops, ends, strict=True)]))
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)
