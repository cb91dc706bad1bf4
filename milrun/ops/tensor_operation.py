"""MIL's tensor_operation ops: making, joining, splitting, sorting and padding tensors."""

import math
from typing import Any

import torch
import torch.nn.functional as F

from milrun.registry import Ints, Tensor, Tensors, op


@op(exact=True)
def band_part(x: Tensor, lower: int = -1, upper: int = -1) -> Tensor:
    """Zero what lies more than `lower` below or `upper` above the diagonal of the last two dimensions."""
    rows, columns = torch.arange(x.shape[-2])[:, None], torch.arange(x.shape[-1])
    keep = torch.ones(x.shape[-2:], dtype=torch.bool)
    if lower >= 0:
        keep &= rows - columns <= lower
    if upper >= 0:
        keep &= columns - rows <= upper
    return torch.where(keep, x, torch.zeros((), dtype=x.dtype))


@op()
def cumsum(x: Tensor, axis: int = 0, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Running sum along `axis`; `exclusive` starts at 0, `reverse` runs from the end."""
    ordered = x.flip([axis]) if reverse else x
    total = ordered.cumsum(axis)
    if exclusive and x.shape[axis]:
        total = torch.cat([torch.zeros_like(total.narrow(axis, 0, 1)), total.narrow(axis, 0, x.shape[axis] - 1)], axis)
    return total.flip([axis]) if reverse else total


@op()
def fill(shape: Ints, value: float = 0.0) -> Tensor:
    """A tensor of `shape` full of `value`, whose dtype is the result's."""
    return torch.full(shape, value)


@op(since="iOS16")
def fill_like(ref_tensor: Tensor, value: float = 0.0) -> Tensor:
    """A tensor of the shape of `ref_tensor` full of `value`, whose dtype is the result's."""
    return torch.full(ref_tensor.shape, value)


@op()
def non_maximum_suppression(
    boxes: Tensor,
    scores: Tensor,
    iou_threshold: float,
    score_threshold: float,
    max_boxes: int,
    per_class_suppression: bool = False,
) -> tuple[Tensor, ...]:
    """Boxes [N, B, 4] as centre x, centre y, width, height; scores [N, B, K]. A box scores its best class.

    Yields boxes, scores, indices and counts, padded to `max_boxes` with 0, 0 and -1. When no box passes the score
    threshold the best one is kept, as in coremltools' tests against Core ML.
    """
    picked = []
    for box, score in zip(boxes, scores, strict=True):
        best, kind = score.max(dim=-1)
        kept = _suppress(box, best, kind if per_class_suppression else torch.zeros_like(kind), iou_threshold)
        kept = kept[best[kept] > score_threshold]
        picked.append((kept if len(kept) else best.argmax()[None])[:max_boxes])
    shown_boxes = torch.stack([_padded(box[kept], max_boxes) for box, kept in zip(boxes, picked, strict=True)])
    shown_scores = torch.stack([_padded(score[kept], max_boxes) for score, kept in zip(scores, picked, strict=True)])
    indices = torch.stack([_padded(kept, max_boxes, -1) for kept in picked])
    return shown_boxes, shown_scores, indices, torch.tensor([len(kept) for kept in picked])


@op("non_maximum_suppression", since="iOS17")
def non_maximum_suppression_ios17(
    boxes: Tensor, scores: Tensor, iou_threshold: float, max_boxes: int, per_class_suppression: bool = False
) -> tuple[Tensor, ...]:
    """As `non_maximum_suppression` with the boxes last, [N, 4, B] and [N, K, B], without score threshold and counts."""
    shown_boxes, shown_scores, indices, _ = non_maximum_suppression(
        boxes.mT, scores.mT, iou_threshold, -math.inf, max_boxes, per_class_suppression
    )
    return shown_boxes.mT, shown_scores.mT, indices


@op()
def non_zero(x: Tensor) -> Tensor:
    """The indices of the elements that are not zero: [N, rank]."""
    return x.nonzero()


@op()
def one_hot(
    indices: Tensor, one_hot_vector_size: int, axis: int = -1, on_value: float = 1, off_value: float = 0
) -> Tensor:
    """`on_value` where the new dimension's position is the index; an index outside of the size gives all off."""
    axis = axis % (indices.ndim + 1)
    shape = [1] * (indices.ndim + 1)
    shape[axis] = one_hot_vector_size
    hot = indices.unsqueeze(axis) == torch.arange(one_hot_vector_size).reshape(shape)
    return torch.where(hot, on_value, off_value)


@op(exact=True)
def pad(x: Tensor, pad: Ints, mode: str = "constant", constant_val: float = 0.0) -> Tensor:
    """Pad the last N dimensions by `pad` = [before, after, before, after, ...], the outermost of them first."""
    if len(pad) % 2 or len(pad) > 2 * x.ndim or any(amount < 0 for amount in pad):
        raise ValueError(f"pad {pad} for an input of rank {x.ndim}")
    amounts = list(zip(pad[::2], pad[1::2], strict=True))
    if mode == "constant":
        # PyTorch counts from the last dimension.
        return F.pad(x, [amount for pair in reversed(amounts) for amount in pair], value=constant_val)
    for axis, (before, after) in enumerate(amounts, start=x.ndim - len(amounts)):
        if before or after:
            x = x.index_select(axis, _mirrored(x.shape[axis], before, after, mode))
    return x


@op()
def range_1d(end: float, start: float, step: float) -> Tensor:
    """start, start + step, ... up to `end`, which is left out."""
    count = max(0, math.ceil((end - start) / step))
    dtype = torch.int64 if isinstance(start, int) else torch.float64
    return start + step * torch.arange(count, dtype=dtype)


@op(exact=True)
def tile(x: Tensor, reps: Ints) -> Tensor:
    """Repeat `x` reps[i] times along dimension i; coremltools wants every reps[i] positive."""
    if len(reps) != x.ndim:
        raise ValueError(f"reps {reps} for an input of rank {x.ndim}")
    if any(times <= 0 for times in reps):
        raise ValueError(f"repetitions {list(reps)}: each must be positive")
    return x.repeat(reps)


@op()
def argsort(x: Tensor, axis: int = -1, ascending: bool = False) -> Tensor:
    """The indices that sort `x` along `axis`, the largest first by default; equal elements keep their order."""
    return x.sort(dim=axis, descending=not ascending, stable=True).indices


@op()
def topk(x: Tensor, k: int = 1, axis: int = -1, ascending: bool = False) -> tuple[Tensor, ...]:
    """The `k` largest (smallest when `ascending`) along `axis` and their indices, the first of equals first."""
    if not 0 <= k <= x.shape[axis]:
        raise ValueError(f"k={k} of {x.shape[axis]} elements")
    values, indices = x.sort(dim=axis, descending=not ascending, stable=True)
    return values.narrow(axis, 0, k), indices.narrow(axis, 0, k)


@op("topk", since="iOS16")
def topk_ios16(
    x: Tensor,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    sort: bool = True,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> tuple[Tensor, ...]:
    """As `topk`; sorted with or without `sort`, and from iOS17 on k = -1 takes all elements."""
    found: tuple[Tensor, ...] = topk(x, x.shape[axis] if k == -1 else k, axis, ascending)
    return found if return_indices else found[:1]


@op(exact=True)
def flatten2d(x: Tensor, axis: int = 1) -> Tensor:
    """[d0, d1, ...] -> [product before `axis`, product from `axis` on]."""
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@op(exact=True)
def shape(x: Tensor) -> Tensor:
    """The shape of `x`: int32 [rank]."""
    return torch.tensor(x.shape, dtype=torch.int32)


@op(exact=True)
def concat(values: Tensors, axis: int, interleave: bool = False) -> Tensor:
    """Join along `axis`, scalars into a vector; `interleave` takes one slice of each in turn."""
    if values[0].ndim == 0:
        return torch.stack(values)
    if interleave:
        axis = axis % values[0].ndim
        return torch.stack(values, dim=axis + 1).flatten(axis, axis + 1)
    return torch.cat(values, dim=axis)


@op(exact=True)
def split(x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Ints | None = None) -> tuple[Tensor, ...]:
    """Cut along `axis` into `num_splits` equal parts, or into parts of `split_sizes`."""
    size = x.shape[axis]
    if split_sizes is None:
        if num_splits is None or num_splits < 1 or size % num_splits:
            raise ValueError(f"{size} elements cannot be split into {num_splits} equal parts")
        split_sizes = [size // num_splits] * num_splits
    return x.split_with_sizes(split_sizes, dim=axis)


@op(exact=True)
def stack(values: Tensors, axis: int) -> Tensor:
    """Join along a new dimension at `axis`."""
    return torch.stack(values, dim=axis)


@op(exact=True)
def identity(x: Any) -> Any:
    """The input itself, a tensor or a list."""
    return x


def _mirrored(size: int, before: int, after: int, mode: str) -> Tensor:
    """Which element of a dimension stands at each place after padding."""
    places = torch.arange(-before, size + after)
    if mode == "replicate":
        return places.clamp(0, size - 1)
    if mode != "reflect":
        raise ValueError(f"unknown pad mode '{mode}'")
    if max(before, after) >= size:
        raise ValueError(f"reflect padding of {before}, {after} needs more than {size} elements")
    # Away from 0 by its absolute value, then back from the last element.
    return (places.abs() - (size - 1)).abs().sub(size - 1).abs()


def _suppress(boxes: Tensor, scores: Tensor, kinds: Tensor, iou_threshold: float) -> Tensor:
    """Indices of the boxes that no better box of their kind overlaps by more than the threshold, the best first."""
    overlaps, kept = _intersection_over_union(boxes), torch.zeros(len(boxes), dtype=torch.bool)
    order = scores.sort(descending=True, stable=True).indices
    for i in order.tolist():
        rivals = kept & (kinds == kinds[i]) & (overlaps[i] > iou_threshold)
        kept[i] = not bool(rivals.any())
    return order[kept[order]]


def _intersection_over_union(boxes: Tensor) -> Tensor:
    """[B, 4] as centre x, centre y, width, height -> [B, B]."""
    centre, size = boxes[:, :2], boxes[:, 2:]
    low, high = centre - size / 2, centre + size / 2
    sides = (torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)).clamp(min=0)
    shared, area = sides.prod(-1), size.prod(-1)
    return shared / (area[:, None] + area - shared)


def _padded(rows: Tensor, count: int, value: float = 0) -> Tensor:
    padding = rows.new_full((count - len(rows), *rows.shape[1:]), value)
    return torch.cat([rows, padding])
