"""MIL's compression ops: weights that are stored compressed and made dense when the program is loaded.

From iOS18 on sub-byte integers reach these functions with one element a byte; the iOS16 ops pack bits themselves. The
result is rounded once to its declared dtype, where coremltools' NumPy helpers round after every step in that dtype.
"""

import math
from typing import Any

import numpy as np
import torch

from milrun.registry import Array, Tensor, op


@op(since="iOS16")
def constexpr_affine_dequantize(quantized_data: Array, zero_point: Array, scale: Array, axis: int) -> Tensor:
    """scale * (quantized_data - zero_point); vectors of scales and zero points lie along `axis`."""
    shape = [1] * quantized_data.ndim
    shape[axis] = -1
    offset, factor = (value.reshape(shape if value.ndim else ()) for value in (zero_point, scale))
    return _float(quantized_data).sub_(_float(offset)).mul_(_float(factor))


@op(since="iOS16")
def constexpr_cast(source_val: Array, output_dtype: str) -> Tensor:
    """The same values in another dtype."""
    return _float(source_val)


@op(since="iOS16")
def constexpr_lut_to_dense(indices: Array, lut: Array, shape: Array) -> Tensor:
    """lut[indices]; the indices are packed bits, log2(len(lut)) of them each, lowest bit first."""
    count = math.prod(int(size) for size in shape)
    unpacked = _unpacked(indices, int(lut.size).bit_length() - 1, count)
    return _tensor(lut.reshape(-1)[unpacked].reshape(_sizes(shape)))


@op("constexpr_lut_to_dense", since="iOS18")
def constexpr_lut_to_dense_ios18(indices: Array, lut: Array, vector_axis: int | None = None) -> Tensor:
    """A table for each block of `indices`; an entry is a scalar, or a vector laid out along `vector_axis`.

    `lut` is [blocks in each dimension of indices.., palettes, vector size].
    """
    return _tensor(_look_up(indices, lut, vector_axis))


@op(since="iOS16")
def constexpr_sparse_to_dense(nonzero_data: Array, mask: Array, shape: Array) -> Tensor:
    """The values where the mask's bits are set, lowest bit first, and zeros elsewhere."""
    bits = np.unpackbits(mask.reshape(-1).astype(np.uint8), count=math.prod(_sizes(shape)), bitorder="little")
    return _tensor(_spread(nonzero_data, bits.reshape(_sizes(shape))))


@op("constexpr_sparse_to_dense", since="iOS18")
def constexpr_sparse_to_dense_ios18(nonzero_data: Array, mask: Array) -> Tensor:
    """The values where the mask is 1, and zeros elsewhere."""
    return _tensor(_spread(nonzero_data, mask))


@op(since="iOS18")
def constexpr_blockwise_shift_scale(data: Array, scale: Array, offset: Array | None = None) -> Tensor:
    """scale * (data - offset), one scale and offset a block; the block size is data.shape / scale.shape."""
    return _shift_scale(data, scale, offset)


@op(since="iOS18")
def constexpr_lut_to_sparse(
    indices_mask: Array, indices_nonzero_data: Array, lut: Array, vector_axis: int | None = None
) -> tuple[Tensor, Tensor]:
    """As `constexpr_lut_to_dense` for the elements under the mask alone; yields the mask and the values."""
    mask = indices_mask
    if lut.shape[-1] > 1:
        mask = np.repeat(mask, lut.shape[-1], axis=_vector_axis(vector_axis))
    dense = _look_up(_spread(indices_nonzero_data, indices_mask), lut, vector_axis)
    return _tensor(mask), _tensor(dense[mask != 0])


@op(since="iOS18")
def constexpr_sparse_blockwise_shift_scale(
    data_mask: Array, nonzero_data: Array, scale: Array, offset: Array | None = None
) -> tuple[Tensor, Tensor]:
    """As `constexpr_blockwise_shift_scale` for the elements under the mask alone; yields the mask and the values."""
    dense = _shift_scale(_spread(nonzero_data, data_mask), scale, offset)
    return _tensor(data_mask), dense[torch.from_numpy(data_mask != 0)]


def _float(array: Array) -> Tensor:
    """A float32 copy."""
    return torch.from_numpy(array.astype(np.float32))


def _tensor(array: Array) -> Tensor:
    """A container of the values."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32 if array.dtype.kind == "f" else np.int32))


def _sizes(shape: Array) -> tuple[int, ...]:
    return tuple(int(size) for size in shape)


def _unpacked(packed: Array, bits: int, count: int) -> Array:
    """`count` numbers of `bits` bits each, lowest bit first: uint8 [count]."""
    each = np.unpackbits(packed.reshape(-1), count=count * bits, bitorder="little").reshape(count, bits)
    return np.packbits(each, axis=1, bitorder="little")[:, 0]


def _spread(values: Array, mask: Array) -> Array:
    chosen = mask != 0
    if np.count_nonzero(chosen) != values.size:
        raise ValueError(f"{values.size} values for {np.count_nonzero(chosen)} places in the mask")
    dense = np.zeros(mask.shape, dtype=values.dtype)
    dense[chosen] = values
    return dense


def _shift_scale(data: Array, scale: Array, offset: Array | None) -> Tensor:
    """Block sizes become dimensions of their own, so that broadcasting does the rest: [d] -> [d / block, block]."""
    blocked = [size for d, n in zip(data.shape, scale.shape, strict=True) for size in (n, d // n)]
    per_block = [size for n in scale.shape for size in (n, 1)]
    dense = _float(data).reshape(blocked)
    if offset is not None:
        dense = dense.sub_(_float(offset).reshape(per_block))
    return dense.mul_(_float(scale).reshape(per_block)).reshape(data.shape)


def _vector_axis(axis: int | None) -> int:
    if axis is None:
        raise ValueError("a table of vectors needs vector_axis")
    return axis


def _look_up(indices: Array, lut: Array, vector_axis: int | None) -> Array:
    """Entries of a block's own table; the table's number is worked out from the element's place."""
    *blocks, palettes, size = lut.shape
    table: Any = 0
    for axis, (d, n) in enumerate(zip(indices.shape, blocks, strict=True)):
        if n > 1:
            place = np.arange(d).reshape((-1,) + (1,) * (indices.ndim - axis - 1))
            table = table * n + place // (d // n)
    values: Array = lut.reshape(-1, palettes, size)[table, indices]  # [*indices.shape, vector size]
    if size == 1:
        return values[..., 0]
    axis = _vector_axis(vector_axis) % indices.ndim
    shape = [d * size if i == axis else d for i, d in enumerate(indices.shape)]
    return np.moveaxis(values, -1, axis + 1).reshape(shape)
