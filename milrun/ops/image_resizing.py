"""MIL's image resizing ops. Oracles: the formulas and goldens in coremltools' docstrings, PyTorch's interpolate.

Grid points are computed in float64 and used as float32 weights. A nearest neighbour in the DEFAULT mode is the grid
point rounded down in `resize_nearest_neighbor` and `upsample_nearest_neighbor`, as in PyTorch, but rounded to nearest
in iOS17's `resize` (golden: coremltools' test_resize_nearest_neighbor; halves down, so that doubling repeats each
element, is our choice). In the other modes it is rounded to nearest, halves up, as TensorFlow's resize ops do.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

from milrun.registry import Ints, Tensor, op


def grid_points(low: Tensor, high: Tensor, count: int, mode: str) -> Tensor:
    """Where `count` samples of the interval [low, high] lie.

    Args:
        low: first coordinates, float64 [N].
        high: last coordinates, float64 [N].
        count: samples an interval.
        mode: MIL's sampling mode.

    Returns:
        float64 [N, count], within the interval, whichever of its ends is the smaller.
    """
    i = torch.arange(count, dtype=torch.float64)
    low, high = low[:, None], high[:, None]
    span = high - low
    if mode == "ALIGN_CORNERS" and count == 1:
        points = low + span / 2
    elif mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        points = low + i * span / max(1, count - 1)
    elif mode == "DEFAULT":
        points = low + i * (span + 1) / count
    elif mode == "OFFSET_CORNERS":
        points = low + (i + 0.5) * span.clamp(min=1) / count
    elif mode == "UNALIGN_CORNERS":
        points = low + (i + 0.5) * (span + 1) / count - 0.5
    else:
        raise ValueError(f"unknown sampling_mode {mode}")
    # An interval may run backwards: a box whose first corner lies below or right of its second.
    return torch.minimum(torch.maximum(points, torch.minimum(low, high)), torch.maximum(low, high))


def _axis_grid(size: int, count: int, mode: str) -> Tensor:
    ends = torch.tensor([0, size - 1], dtype=torch.float64)
    return grid_points(ends[:1], ends[1:], count, mode)[0]


def _linear(x: Tensor, axis: int, count: int, mode: str) -> Tensor:
    points = _axis_grid(x.shape[axis], count, mode)
    below = points.floor().long()
    above = (below + 1).clamp(max=x.shape[axis] - 1)
    weight = (points - below).to(torch.float32).reshape(-1, *[1] * (x.ndim - 1 - axis % x.ndim))
    x = x.to(torch.float32)
    return torch.lerp(x.index_select(axis, below), x.index_select(axis, above), weight)


def _nearest(x: Tensor, axis: int, count: int, mode: str) -> Tensor:
    size = int(x.shape[axis])
    if mode == "DEFAULT" and size and count % size == 0:
        return _repeated(x, axis, count // size)
    if mode == "DEFAULT":  # in integers: a grid point just below a whole number would fall to the wrong neighbour
        return x.index_select(axis, torch.arange(count) * size // count)
    return x.index_select(axis, (_axis_grid(size, count, mode) + 0.5).floor().long().clamp(max=size - 1))


def _repeated(x: Tensor, axis: int, times: int) -> Tensor:
    """Each element `times` times: as `index_select` would, four times as fast."""
    axis %= x.ndim
    wide = x.unsqueeze(axis + 1)
    return wide.expand(*x.shape[: axis + 1], times, *x.shape[axis + 1 :]).flatten(axis, axis + 1)


def _resize_nearest(x: Tensor, axis: int, count: int, mode: str) -> Tensor:
    size = int(x.shape[axis])
    if mode != "DEFAULT" or count == 2 * size:  # doubling is the same under both rules
        return _nearest(x, axis, count, mode)
    i = torch.arange(count)  # the nearest whole number to i * size / count, halves down
    return x.index_select(axis, (-((count - 2 * i * size) // (2 * count))).clamp(max=size - 1))


def _scaled_size(size: int, factor: float) -> int:
    # coremltools multiplies the float32 factor in float32: 2.3 * 10 is 23 there, 22.99 in float64.
    return math.floor(np.float32(factor) * np.float32(size))


@op(exact=True)
def upsample_nearest_neighbor(x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1) -> Tensor:
    """Scale the last two dimensions by repeating elements; factors may be fractional."""
    height, width = _scaled_size(x.shape[-2], scale_factor_height), _scaled_size(x.shape[-1], scale_factor_width)
    return _nearest(_nearest(x, -1, width, "DEFAULT"), -2, height, "DEFAULT")


@op(exact=True)
def resize_nearest_neighbor(x: Tensor, target_size_height: int, target_size_width: int) -> Tensor:
    """Resize the last two dimensions by repeating or dropping elements."""
    return _nearest(_nearest(x, -1, target_size_width, "DEFAULT"), -2, target_size_height, "DEFAULT")


@op()
def upsample_bilinear(
    x: Tensor, scale_factor_height: float = 1, scale_factor_width: float = 1, align_corners: bool = True
) -> Tensor:
    """Scale the last two dimensions bilinearly; the scale used is that of the rounded sizes."""
    mode = "STRICT_ALIGN_CORNERS" if align_corners else "UNALIGN_CORNERS"
    height, width = _scaled_size(x.shape[-2], scale_factor_height), _scaled_size(x.shape[-1], scale_factor_width)
    return _linear(_linear(x, -2, height, mode), -1, width, mode)


@op("upsample_bilinear", since="iOS16")
def upsample_bilinear_ios16(
    x: Tensor,
    scale_factor_height: float = 1,
    scale_factor_width: float = 1,
    align_corners: bool = True,
    half_pixel_centers: bool | None = None,
) -> Tensor:
    """As before; neither aligned corners nor half-pixel centres is the DEFAULT grid of `resize_bilinear`."""
    if half_pixel_centers is None or half_pixel_centers == (not align_corners):
        result: Tensor = upsample_bilinear(x, scale_factor_height, scale_factor_width, align_corners)
        return result
    if align_corners:
        raise NotImplementedError("align_corners together with half_pixel_centers: no grid is documented for it")
    height, width = _scaled_size(x.shape[-2], scale_factor_height), _scaled_size(x.shape[-1], scale_factor_width)
    return _linear(_linear(x, -2, height, "DEFAULT"), -1, width, "DEFAULT")


@op()
def resize_bilinear(
    x: Tensor, target_size_height: int = 1, target_size_width: int = 1, sampling_mode: str = "DEFAULT"
) -> Tensor:
    """Resize the last two dimensions bilinearly."""
    return _linear(_linear(x, -2, target_size_height, sampling_mode), -1, target_size_width, sampling_mode)


@op(since="iOS17")
def resize(
    x: Tensor, shape: Ints, resized_dims: int, interpolation_mode: str = "LINEAR", sampling_mode: str = "DEFAULT"
) -> Tensor:
    """Resize the last `resized_dims` dimensions to the last entries of `shape`; an entry of 0 keeps x's size."""
    one = {"LINEAR": _linear, "NEAREST_NEIGHBOR": _resize_nearest}[interpolation_mode]
    for axis in range(-resized_dims, 0):
        x = one(x, axis, shape[axis] or x.shape[axis], sampling_mode)
    return x


@op(exact=True)
def crop(x: Tensor, crop_height: Ints, crop_width: Ints) -> Tensor:
    """Cut (top, bottom) and (left, right) off the last two dimensions."""
    (top, bottom), (left, right) = crop_height, crop_width
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def _corners(boxes: Tensor, mode: str) -> Tensor:
    """Boxes [N, 4] in any of MIL's conventions -> [top, left, bottom, right]."""
    first, second, third, fourth = boxes.unbind(1)
    if mode.endswith("WIDTH_FIRST"):
        first, second, third, fourth = second, first, fourth, third
    if mode.startswith("CENTER_SIZE"):
        first, second, third, fourth = first - third / 2, second - fourth / 2, first + third / 2, second + fourth / 2
    return torch.stack([first, second, third, fourth], 1)


def _crop_boxes(
    x: Tensor,
    boxes: Tensor,
    image_of_box: Tensor,
    size: tuple[int, int],
    normalized: bool,
    scale: float,
    box_mode: str,
    sampling_mode: str,
    pad_value: float,
) -> Tensor:
    """Boxes [N, 4] of images [B, C, H, W] -> [N, C, *size]; a sample outside the image is `pad_value` (TensorFlow)."""
    height, width = x.shape[2:]
    corners = _corners(boxes.double() * scale, box_mode)
    if normalized:
        corners = corners * torch.tensor([height - 1, width - 1] * 2, dtype=torch.float64)
    rows = grid_points(corners[:, 0], corners[:, 2], size[0], sampling_mode)  # [N, h]
    columns = grid_points(corners[:, 1], corners[:, 3], size[1], sampling_mode)  # [N, w]
    shape = (len(boxes), *size)
    grid = torch.stack([columns[:, None, :].expand(shape), rows[:, :, None].expand(shape)], -1)  # [N, h, w, 2]
    values = _sample(x[image_of_box], grid, "bilinear", "border", 0.0)
    inside = ((grid >= 0) & (grid <= torch.tensor([width - 1, height - 1]))).all(-1)
    return torch.where(inside[:, None], values, pad_value)


@op()
def crop_resize(
    x: Tensor,
    roi: Tensor,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
) -> Tensor:
    """Cut boxes out of images and resize them; x [B, C, H, W], roi [N, 1, 4 or 5, 1, 1] (5: the image's index first).

    Without an index each box is cut out of every image: [N, B, C, h, w]; with one [N, 1, C, h, w], which coremltools
    declares wrongly for B > 1. Samples outside the image are 0.
    """
    result: Tensor = crop_resize_ios16(
        x,
        roi,
        target_height,
        target_width,
        normalized_coordinates,
        spatial_scale,
        box_coordinate_mode,
        sampling_mode,
    )
    return result


@op("crop_resize", since="iOS16")
def crop_resize_ios16(
    x: Tensor,
    roi: Tensor,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float = 0.0,
) -> Tensor:
    """As before; samples outside the image are `pad_value`."""
    count, batch = len(roi), len(x)
    boxes = roi.reshape(count, -1)
    if boxes.shape[1] == 5:
        images, boxes = boxes[:, 0].long(), boxes[:, 1:]
    else:  # box n with image b -> row n * B + b
        images, boxes = torch.arange(batch).repeat(count), boxes.repeat_interleave(batch, 0)
    size = (target_height, target_width)
    crops = _crop_boxes(
        x, boxes, images, size, normalized_coordinates, spatial_scale, box_coordinate_mode, sampling_mode, pad_value
    )
    return crops.reshape(count, -1, *crops.shape[1:])  # [N * B, C, h, w] -> [N, B, C, h, w]


@op("crop_resize", since="iOS17")
def crop_resize_ios17(
    x: Tensor,
    boxes: Tensor,
    box_indices: Tensor | None = None,
    target_height: int = 1,
    target_width: int = 1,
    normalized_coordinates: bool = False,
    spatial_scale: float = 1.0,
    box_coordinate_mode: str = "CORNERS_HEIGHT_FIRST",
    sampling_mode: str = "DEFAULT",
    pad_value: float = 0.0,
) -> Tensor:
    """Cut box n, boxes [N, 4], out of image `box_indices[n]` (n by default): [N, C, h, w]."""
    images = torch.arange(len(boxes)) if box_indices is None else box_indices.long()
    size = (target_height, target_width)
    return _crop_boxes(
        x, boxes, images, size, normalized_coordinates, spatial_scale, box_coordinate_mode, sampling_mode, pad_value
    )


def _inside_index(index: Tensor, size: int, padding: str) -> Tensor:
    """The element that stands for an index outside: |1, 2, 3| reads on as 3 2 1 (symmetric) or 2 1 (reflection)."""
    if padding == "symmetric":
        index = index.remainder(2 * size)
        return torch.minimum(index, 2 * size - 1 - index)
    if padding == "reflection" and size > 1:
        index = index.remainder(2 * size - 2)
        return torch.minimum(index, 2 * size - 2 - index)
    return index.clamp(0, size - 1)


def _fetch(x: Tensor, columns: Tensor, rows: Tensor, padding: str, value: float) -> Tensor:
    """x [B, C, H, W] at whole coordinates [B, h, w] -> [B, C, h, w]."""
    batch, channels, height, width = x.shape
    flat = _inside_index(rows, height, padding) * width + _inside_index(columns, width, padding)
    index = flat.reshape(batch, 1, -1).expand(-1, channels, -1)
    values = x.flatten(2).gather(2, index).reshape(batch, channels, *flat.shape[1:])
    if padding != "constant":
        return values
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    return torch.where(inside[:, None], values, value)


def _sample(x: Tensor, points: Tensor, sampling: str, padding: str, value: float) -> Tensor:
    """x [B, C, H, W] at pixel coordinates (column, row) [B, h, w, 2] -> [B, C, h, w]."""
    if sampling == "nearest":
        nearest = (points + 0.5).floor().long()
        return _fetch(x, nearest[..., 0], nearest[..., 1], padding, value)
    below = points.floor()
    across, down = (points - below).to(torch.float32)[:, None].unbind(-1)
    left, top = below.long().unbind(-1)
    upper = torch.lerp(_fetch(x, left, top, padding, value), _fetch(x, left + 1, top, padding, value), across)
    top = top + 1
    lower = torch.lerp(_fetch(x, left, top, padding, value), _fetch(x, left + 1, top, padding, value), across)
    return torch.lerp(upper, lower, down)


def _pixels(points: Tensor, sizes: tuple[int, int], mode: str, align_corners: bool) -> Tensor:
    """Coordinates (x, y) in MIL's conventions -> pixels, whole numbers at the pixels' centres."""
    if mode == "unnormalized":
        return points
    unit = (points + 1) / 2 if mode == "normalized_minus_one_to_one" else points
    extent = torch.tensor(sizes, dtype=points.dtype)
    return unit * (extent - 1) if align_corners else unit * extent - 0.5


@op()
def resample(
    x: Tensor,
    coordinates: Tensor,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """x [B, C, H, W] at coordinates (x, y) [B, h, w, 2] -> [B, C, h, w]; `nearest` rounds halves up."""
    points = _pixels(coordinates.double(), (x.shape[3], x.shape[2]), coordinates_mode, align_corners)
    return _sample(x, points, sampling_mode, padding_mode, padding_value)


@op()
def affine(
    x: Tensor,
    transform_matrix: Tensor,
    output_height: int,
    output_width: int,
    sampling_mode: str,
    padding_mode: str,
    padding_value: float,
    coordinates_mode: str,
    align_corners: bool,
) -> Tensor:
    """Sample x [B, C, H, W] where the matrices [B or 1, 6] send the points of the output's grid."""
    batch = len(x)
    matrix = transform_matrix.double().expand(batch, 6).reshape(batch, 2, 3)
    grid = F.affine_grid(matrix, [batch, 1, output_height, output_width], align_corners)
    points = _pixels(grid, (x.shape[3], x.shape[2]), coordinates_mode.lower(), align_corners)
    return _sample(x, points, sampling_mode.lower(), padding_mode.lower(), padding_value)
