"""MIL's tensor_transformation ops: the same elements in another order, shape or extent.

Every op is exact: the outputs hold values of the inputs and nothing else.
"""

import math
from itertools import repeat

import torch
import torch.nn.functional as F

from milrun.registry import Bools, Ints, Tensor, Tensors, op


@op(exact=True)
def expand_dims(x: Tensor, axes: Ints) -> Tensor:
    """Insert a dimension of size 1 at each of `axes`, which count in the result."""
    rank = x.ndim + len(axes)
    for axis in sorted(_positive(axis, rank) for axis in axes):
        x = x.unsqueeze(axis)
    return x


@op(exact=True)
def squeeze(x: Tensor, axes: Ints | None = None) -> Tensor:
    """Drop the dimensions of size 1 among `axes` (all when left out); larger ones stay, as in PyTorch."""
    return x.squeeze() if axes is None else x.squeeze(tuple(_positive(axis, x.ndim) for axis in axes))


@op(exact=True)
def transpose(x: Tensor, perm: Ints) -> Tensor:
    """Permute the dimensions."""
    return x.permute(perm)


@op(exact=True)
def reshape(x: Tensor, shape: Ints) -> Tensor:
    """Same elements, new shape; 0 keeps a dimension of `x` (equal ranks only), -1 is what remains."""
    if 0 in shape and len(shape) != x.ndim and x.numel():
        raise ValueError(f"0 in shape {shape} needs an input of rank {len(shape)}, got {list(x.shape)}")
    if len(shape) == x.ndim:
        shape = [size or kept for size, kept in zip(shape, x.shape, strict=True)]
    return x.reshape(_without_minus_one(x, shape))


@op("reshape", since="iOS17", exact=True)
def reshape_ios17(x: Tensor, shape: Ints) -> Tensor:
    """As `reshape`, but 0 keeps the dimension of `x` counted from the right, and is 1 where `x` has none."""
    kept = [1] * (len(shape) - x.ndim) + list(x.shape)[max(0, x.ndim - len(shape)) :]
    return x.reshape(_without_minus_one(x, [size or old for size, old in zip(shape, kept, strict=True)]))


@op(exact=True)
def reshape_like(x: Tensor, ref_tensors: Tensors, begins: Tensors, ends: Tensors, end_masks: Tensors) -> Tensor:
    """Reshape to the joined slices `ref.shape[begin:end]` (`[begin:]` where masked)."""
    shape: list[int] = []
    for ref, begin, end, to_the_end in zip(ref_tensors, begins, ends, end_masks, strict=True):
        shape += ref.shape[int(begin) :] if bool(to_the_end) else ref.shape[int(begin) : int(end)]
    return x.reshape(shape)


@op(exact=True)
def reverse(x: Tensor, axes: Ints | None = None) -> Tensor:
    """Flip along `axes` (all when left out)."""
    return x.flip(list(range(x.ndim)) if axes is None else axes)


@op(exact=True)
def reverse_sequence(x: Tensor, lengths: Ints, seq_axis: int = 0, batch_axis: int = 0) -> Tensor:
    """Flip the first `lengths[i]` elements along `seq_axis` of each slice i along `batch_axis`."""
    seq_axis, batch_axis = _positive(seq_axis, x.ndim), _positive(batch_axis, x.ndim)
    if len(lengths) != x.shape[batch_axis] or any(not 0 <= n <= x.shape[seq_axis] for n in lengths):
        raise ValueError(f"lengths {lengths} do not fit {list(x.shape)} with seq_axis {seq_axis}")
    axis = seq_axis - (batch_axis < seq_axis)
    slices = []
    for part, length in zip(x.unbind(batch_axis), lengths, strict=True):
        head, tail = part.narrow(axis, 0, length), part.narrow(axis, length, part.shape[axis] - length)
        slices.append(torch.cat([head.flip([axis]), tail], dim=axis))
    return torch.stack(slices, dim=batch_axis)


@op(exact=True)
def slice_by_index(
    x: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Bools | None = None,
    end_mask: Bools | None = None,
    squeeze_mask: Bools | None = None,
) -> Tensor:
    """`x[begin:end:stride]` in each dimension, as NumPy slices; squeezed dimensions take the element at `begin`."""
    squeezed = squeeze_mask or [False] * x.ndim
    for axis, indices in enumerate(_slices(x, begin, end, stride, begin_mask, end_mask, squeezed)):
        x = _take(x, axis, indices)
    return x.squeeze(tuple(axis for axis, drop in enumerate(squeezed) if drop))


@op(since="iOS18", exact=True)
def slice_update(
    x: Tensor,
    update: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None = None,
    begin_mask: Bools | None = None,
    end_mask: Bools | None = None,
    squeeze_mask: Bools | None = None,
) -> Tensor:
    """A copy of `x` whose slice, chosen as in `slice_by_index`, is replaced by `update`."""
    squeezed = squeeze_mask or [False] * x.ndim
    chosen = _slices(x, begin, end, stride, begin_mask, end_mask, squeezed)
    shape = [len(indices) for indices, drop in zip(chosen, squeezed, strict=True) if not drop]
    if list(update.shape) != shape:
        limits = enumerate(zip(begin, end, x.shape, end_mask or repeat(False), strict=False))
        past = [
            f"; axis {i}: {a}..{b} is out of range of size {n}" for i, (a, b, n, free) in limits if b > n and not free
        ]
        raise ValueError(f"update {list(update.shape)} for a slice of {shape}{''.join(past)}")
    result = x.clone()
    region, reversed_axes = result, []
    for axis, indices in enumerate(chosen):
        if indices.step < 0:
            indices = indices[::-1]
            reversed_axes.append(axis)
        region = _take(region, axis, indices)
    region.copy_(update.reshape(region.shape).flip(reversed_axes))
    return result


@op(exact=True)
def slice_by_size(x: Tensor, begin: Ints, size: Ints) -> Tensor:
    """`size` elements from `begin` in each dimension; size -1 takes all that remain."""
    for axis, (start, count) in enumerate(zip(begin, size, strict=True)):
        start += x.shape[axis] if start < 0 else 0
        count = x.shape[axis] - start if count == -1 else count
        if start < 0 or count < 0 or start + count > x.shape[axis]:
            raise IndexError(f"axis {axis}: {count} elements from {start} do not fit size {x.shape[axis]}")
        x = x.narrow(axis, start, count)
    return x


@op(exact=True)
def sliding_windows(x: Tensor, axis: int, size: int, stride: int = 1) -> Tensor:
    """[.., d, ..] -> [.., windows, size, ..]: all windows of `size` along `axis`, `stride` apart."""
    axis = _positive(axis, x.ndim)
    return x.unfold(axis, size, stride).movedim(-1, axis + 1)


@op(exact=True)
def depth_to_space(x: Tensor, block_size: int) -> Tensor:
    """[N, C, H, W] -> [N, C/b², H·b, W·b]; the block is the outer part of the channels (as TensorFlow's DCR)."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, block_size, block_size, c // block_size**2, h, w)
    # [N, b, b, C/b², H, W] -> [N, C/b², H, b, W, b]
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, c // block_size**2, h * block_size, w * block_size)


@op(exact=True)
def space_to_depth(x: Tensor, block_size: int) -> Tensor:
    """[N, C, H, W] -> [N, C·b², H/b, W/b], the inverse of `depth_to_space`."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // block_size, block_size, w // block_size, block_size)
    # [N, C, H/b, b, W/b, b] -> [N, b, b, C, H/b, W/b]
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, c * block_size**2, h // block_size, w // block_size)


@op(exact=True)
def pixel_shuffle(x: Tensor, upscale_factor: int) -> Tensor:
    """[N, C·f², H, W] -> [N, C, H·f, W·f]; the block is the inner part of the channels (PyTorch's PixelShuffle)."""
    return F.pixel_shuffle(x, upscale_factor)


@op(exact=True)
def pixel_unshuffle(x: Tensor, downscale_factor: int) -> Tensor:
    """[N, C, H·f, W·f] -> [N, C·f², H, W], the inverse of `pixel_shuffle`."""
    return F.pixel_unshuffle(x, downscale_factor)


@op(exact=True)
def space_to_batch(x: Tensor, block_shape: Ints, paddings: Ints) -> Tensor:
    """[N, C, H, W] -> [N·b0·b1, C, H'/b0, W'/b1] after zero padding; the block is the outer part of the batch."""
    (top, bottom, left, right), (rows, columns) = paddings, block_shape
    padded = F.pad(x, (left, right, top, bottom))
    n, c, h, w = padded.shape
    blocks = padded.reshape(n, c, h // rows, rows, w // columns, columns)
    # [N, C, H/b0, b0, W/b1, b1] -> [b0, b1, N, C, H/b0, W/b1]
    return blocks.permute(3, 5, 0, 1, 2, 4).reshape(n * rows * columns, c, h // rows, w // columns)


@op(exact=True)
def batch_to_space(x: Tensor, block_shape: Ints, crops: Ints) -> Tensor:
    """[N·b0·b1, C, H, W] -> [N, C, H·b0, W·b1], then cropped: the inverse of `space_to_batch`."""
    (top, bottom, left, right), (rows, columns) = crops, block_shape
    n, c, h, w = x.shape
    blocks = x.reshape(rows, columns, n // (rows * columns), c, h, w)
    # [b0, b1, N, C, H, W] -> [N, C, H, b0, W, b1]
    full = blocks.permute(2, 3, 4, 0, 5, 1).reshape(n // (rows * columns), c, h * rows, w * columns)
    return full[:, :, top : full.shape[2] - bottom, left : full.shape[3] - right]


def _positive(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise IndexError(f"axis {axis} is outside of rank {rank}")
    return axis % rank


def _without_minus_one(x: Tensor, shape: list[int]) -> list[int]:
    """Resolve -1 by hand: PyTorch calls it ambiguous when `x` is empty."""
    if -1 not in shape:
        return shape
    known = math.prod(size for size in shape if size != -1)
    return [(x.numel() // known if known else 0) if size == -1 else size for size in shape]


def _slices(
    x: Tensor,
    begin: Ints,
    end: Ints,
    stride: Ints | None,
    begin_mask: Bools | None,
    end_mask: Bools | None,
    squeezed: Bools,
) -> list[range]:
    """The indices that are taken along each dimension."""
    chosen = []
    steps, no_begin, no_end = stride or repeat(1), begin_mask or repeat(False), end_mask or repeat(False)
    rows = zip(x.shape, begin, end, steps, no_begin, no_end, squeezed, strict=False)
    for size, start, stop, step, open_start, open_stop, squeeze_it in rows:
        if squeeze_it:
            start = 0 if open_start else start
            if not -size <= start < size:
                raise IndexError(f"index {start} is outside of size {size}")
            chosen.append(range(start % size, start % size + 1))
        else:
            wanted = slice(None if open_start else start, None if open_stop else stop, step)
            chosen.append(range(*wanted.indices(size)))
    return chosen


def _take(x: Tensor, axis: int, indices: range) -> Tensor:
    """The elements `indices` along `axis`; a view unless the step is negative."""
    if indices == range(x.shape[axis]):
        return x
    if indices.step < 0:
        return _take(x, axis, indices[::-1]).flip([axis])
    return x[(slice(None),) * axis + (slice(indices.start, indices.stop, indices.step),)]
