"""Image resizing: goldens in coremltools' docstrings and tests, PyTorch's interpolate and grid_sample.

Oracle: PyTorch, literal.
Oracle of affine, resize_nearest_neighbor, upsample_bilinear, upsample_nearest_neighbor: PyTorch.
Oracle of crop: NumPy.
Oracle of crop_resize, upsample_bilinear@iOS16: literal.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from coremltools.converters.mil import Builder as mb

from milrun import OpError
from tests.milrun.harness import assert_op, run_op

RNG = np.random.default_rng(0)
LOOSE = {"rtol": 1e-5, "atol": 1e-5}
X = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
MODES = ["STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS"]


def torched(function, x, *arguments, **parameters):
    return function(torch.from_numpy(x), *arguments, **parameters).numpy()


@pytest.mark.parametrize(
    ("size", "mode", "points"),
    [  # the docstring of resize_bilinear, Xin = 2
        (5, "UNALIGN_CORNERS", [0.0, 0.1, 0.5, 0.9, 1.0]),
        (5, "STRICT_ALIGN_CORNERS", [0.0, 0.25, 0.5, 0.75, 1.0]),
        (5, "DEFAULT", [0.0, 0.4, 0.8, 1.0, 1.0]),
        (5, "OFFSET_CORNERS", [0.1, 0.3, 0.5, 0.7, 0.9]),
        (6, "ALIGN_CORNERS", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (1, "STRICT_ALIGN_CORNERS", [0.0]),
        (1, "ALIGN_CORNERS", [0.5]),
    ],
)
def test_grid_points(size, mode, points):
    x = np.array([[[0, 1]]], np.float32)

    def build(x):
        return mb.resize_bilinear(x=x, target_size_height=1, target_size_width=size, sampling_mode=mode)

    assert_op(build, {"x": x}, [[points]])


def test_bilinear_against_pytorch():
    def build(x):
        return (
            mb.resize_bilinear(x=x, target_size_height=7, target_size_width=3, sampling_mode="UNALIGN_CORNERS"),
            mb.upsample_bilinear(x=x, scale_factor_height=2, scale_factor_width=3),
            mb.upsample_bilinear(
                x=x, scale_factor_height=np.float32(1.5), scale_factor_width=np.float32(2.5), align_corners=False
            ),
        )

    assert_op(
        build,
        {"x": X},
        torched(F.interpolate, X, (7, 3), mode="bilinear", align_corners=False),
        torched(F.interpolate, X, (10, 12), mode="bilinear", align_corners=True),
        torched(F.interpolate, X, (7, 10), mode="bilinear", align_corners=False),
        opset="iOS15",
        **LOOSE,
    )


def test_upsample_bilinear_iOS16_without_half_pixel_centers():
    x = np.array([[[0, 1]]], np.float32)
    given = {"scale_factor_height": 1, "scale_factor_width": 3, "align_corners": False}
    assert_op(
        lambda x: (mb.upsample_bilinear(x=x, half_pixel_centers=False, **given), mb.upsample_bilinear(x=x, **given)),
        {"x": x},
        [[[0, 1 / 3, 2 / 3, 1, 1, 1]]],
        [[[0, 0, 1 / 3, 2 / 3, 1, 1]]],
        opset="iOS16",
    )


def test_upsample_bilinear_of_an_undocumented_grid_is_an_error():
    with pytest.raises(OpError, match="half_pixel_centers"):
        run_op(lambda x: mb.upsample_bilinear(x=x, align_corners=True, half_pixel_centers=True), {"x": X}, "iOS16")


def test_nearest_neighbor_against_pytorch():
    def build(x):
        return (
            mb.resize_nearest_neighbor(x=x, target_size_height=7, target_size_width=3),
            mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=3),
            mb.upsample_nearest_neighbor(x=x, scale_factor_width=np.float32(2.5), scale_factor_height=np.float32(1)),
        )

    assert_op(
        build,
        {"x": X},
        torched(F.interpolate, X, (7, 3), mode="nearest"),
        X.repeat(2, -2).repeat(3, -1),
        torched(F.interpolate, X, (5, 10), mode="nearest"),
    )


def test_fractional_scales_are_multiplied_in_float32():
    x = np.zeros((1, 1, 10), np.float32)
    (y,) = run_op(lambda x: mb.upsample_nearest_neighbor(x=x, scale_factor_width=np.float32(2.3)), {"x": x})
    assert y.shape == (1, 1, 23)


def test_resize_takes_sizes_from_x_and_any_number_of_dimensions():
    def build(x):
        return (
            mb.resize(x=x, shape=[1, 0, 8], resized_dims=np.uint32(2), sampling_mode="UNALIGN_CORNERS"),
            mb.resize(
                x=x,
                shape=[6, 10, 0],
                resized_dims=np.uint32(3),
                interpolation_mode="NEAREST_NEIGHBOR",
                sampling_mode="DEFAULT",
            ),
        )

    assert_op(
        build,
        {"x": X},
        torched(F.interpolate, X, (5, 8), mode="bilinear", align_corners=False),
        X.repeat(2, 1).repeat(2, 2),
        opset="iOS17",
        **LOOSE,
    )


def test_resize_nearest_of_integers_by_sampling_mode():
    x = np.array([2**24 + 1, 20, 30], np.int32)

    def build(x):
        given = {"x": x, "shape": [5], "resized_dims": np.uint32(1), "interpolation_mode": "NEAREST_NEIGHBOR"}
        return tuple(mb.resize(sampling_mode=mode, **given) for mode in MODES)

    big = 2**24 + 1
    corners = [big, 20, 20, 30, 30]  # grid 0, 0.5, 1, 1.5, 2: halves up
    assert_op(
        build,
        {"x": x},
        corners,
        corners,
        [big, 20, 20, 30, 30],  # 0, 0.6, 1.2, 1.8, 2.4
        [big, 20, 20, 20, 30],  # 0.2, 0.6, 1, 1.4, 1.8
        [big, big, 20, 30, 30],  # -0.2, 0.4, 1, 1.6, 2.2
        opset="iOS17",
    )


def test_crop():
    assert_op(lambda x: mb.crop(x=x, crop_height=[1, 2], crop_width=[0, 1]), {"x": X}, X[:, :, 1:3, :3])
    assert_op(lambda x: mb.crop(x=x, crop_height=[0, 0], crop_width=[0, 0]), {"x": X[0]}, X[0])


RAMP = np.arange(20, dtype=np.float32).reshape(1, 1, 4, 5)  # value = 5 * row + column
BOXES = {  # the box with the corners (row 1, column 0) and (row 3, column 4) in every convention
    "CORNERS_HEIGHT_FIRST": [1, 0, 3, 4],
    "CORNERS_WIDTH_FIRST": [0, 1, 4, 3],
    "CENTER_SIZE_HEIGHT_FIRST": [2, 2, 2, 4],
    "CENTER_SIZE_WIDTH_FIRST": [2, 2, 4, 2],
}
CORNERS = [[5, 7, 9], [10, 12, 14], [15, 17, 19]]


@pytest.mark.parametrize("mode", BOXES)
def test_crop_resize_box_conventions(mode):
    boxes = np.array([BOXES[mode]], np.float32)
    given = {
        "target_height": 3,
        "target_width": 3,
        "sampling_mode": "ALIGN_CORNERS",
        "box_coordinate_mode": mode,
        "spatial_scale": np.float32(0.5),
    }
    assert_op(
        lambda x, b: mb.crop_resize(x=x, boxes=b, **given), {"x": RAMP, "b": boxes * 2}, [[CORNERS]], opset="iOS17"
    )


def test_crop_resize_normalized_and_one_point():
    boxes = np.array([[1 / 3, 0, 1, 1]], np.float32)
    given = {"normalized_coordinates": True, "sampling_mode": "ALIGN_CORNERS"}
    assert_op(
        lambda x, b: (
            mb.crop_resize(x=x, boxes=b, target_height=3, target_width=3, **given),
            mb.crop_resize(x=x, boxes=b, **given),
        ),
        {"x": RAMP, "b": boxes},
        [[CORNERS]],
        [[[[12]]]],
        opset="iOS17",
        **LOOSE,
    )


def test_crop_resize_of_a_box_that_runs_backwards():
    # Golden of coremltools' TestCropResize (iOS17): rows 1.5 and 3, columns 5.4 (outside) and 0.9.
    x = np.arange(1, 17, dtype=np.float32).reshape(1, 1, 4, 4)
    boxes = np.array([[0.5, 1.8, 1.0, 0.3]], np.float32)
    given = {"target_height": 2, "target_width": 2, "normalized_coordinates": True, "pad_value": np.float32(10)}
    assert_op(
        lambda x, b: mb.crop_resize(x=x, boxes=b, sampling_mode="ALIGN_CORNERS", **given),
        {"x": x, "b": boxes},
        [[[[10, 7.9], [10, 13.9]]]],
        opset="iOS17",
    )


def test_resize_nearest_rounds_the_default_grid():
    # Golden of coremltools' TestResize.test_resize_nearest_neighbor: grid 0, 0.67, 1.33.
    given = {"shape": [3], "resized_dims": np.uint32(1), "interpolation_mode": "NEAREST_NEIGHBOR"}
    x = np.array([-6.174, 9.371], np.float32)
    assert_op(lambda x: mb.resize(x=x, sampling_mode="DEFAULT", **given), {"x": x}, x[[0, 1, 1]], opset="iOS17")


def test_resample_nearest_rounds_halves_up():
    # Golden of coremltools' TestResample: (3.5, 1.2) of two pixels is (6.5, 1.9), whose column is 7, mirrored to 0.
    x = np.array([[[[11, 22], [33, 44]]]], np.float32)
    coordinates = np.array([[[[-1, -2], [-3.7, -1]], [[0, 0], [3.5, 1.2]]]], np.float32)
    build = resample(
        sampling_mode="nearest",
        padding_mode="symmetric",
        coordinates_mode="normalized_zero_to_one",
        align_corners=False,
    )
    assert_op(build, {"x": x, "c": coordinates}, [[[[22, 33], [11, 33]]]])


def test_crop_resize_outside_the_image_is_the_pad_value():
    boxes = np.array([[-1, 0, 1, 0]], np.float32)
    given = {"target_height": 3, "sampling_mode": "ALIGN_CORNERS", "pad_value": np.float32(-9)}
    assert_op(
        lambda x, b: mb.crop_resize(x=x, boxes=b, **given), {"x": RAMP, "b": boxes}, [[[[-9], [0], [5]]]], opset="iOS17"
    )


def test_crop_resize_indices_choose_the_image():
    x = np.concatenate([RAMP, RAMP + 100])
    boxes = np.array([BOXES["CORNERS_HEIGHT_FIRST"]] * 3, np.float32)
    given = {"target_height": 3, "target_width": 3, "sampling_mode": "STRICT_ALIGN_CORNERS"}
    high = np.add(CORNERS, 100)
    assert_op(
        lambda x, b: mb.crop_resize(x=x, boxes=b, box_indices=[1, 0, 1], **given),
        {"x": x, "b": boxes},
        [[high], [CORNERS], [high]],
        opset="iOS17",
    )


@pytest.mark.parametrize("opset", ["iOS15", "iOS16"])
def test_crop_resize_of_every_image_and_of_one(opset):
    x = np.concatenate([RAMP, RAMP + 100])
    roi = np.array(BOXES["CORNERS_HEIGHT_FIRST"], np.float32).reshape(1, 1, 4, 1, 1)
    given = {"target_height": 3, "target_width": 3, "sampling_mode": "ALIGN_CORNERS"}
    assert_op(
        lambda x, r: mb.crop_resize(x=x, roi=r, **given),
        {"x": x, "r": roi},
        [[[CORNERS], [np.add(CORNERS, 100)]]],
        opset=opset,
    )
    indexed = np.concatenate([np.zeros((1, 1, 1, 1, 1), np.float32), roi], 2)
    assert_op(lambda x, r: mb.crop_resize(x=x, roi=r, **given), {"x": RAMP, "r": indexed}, [[[CORNERS]]], opset=opset)


def resample(**parameters):
    given = {
        "sampling_mode": "bilinear",
        "padding_mode": "constant",
        "padding_value": np.float32(0),
        "coordinates_mode": "normalized_minus_one_to_one",
        "align_corners": True,
    } | parameters
    return lambda x, c: mb.resample(x=x, coordinates=c, **given)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(("mode", "padding"), [("bilinear", "constant"), ("bilinear", "border"), ("nearest", "border")])
def test_resample_against_grid_sample(mode, padding, align_corners):
    coordinates = RNG.uniform(-1.3, 1.3, size=(2, 3, 6, 2)).astype(np.float32)
    torch_padding = {"constant": "zeros", "border": "border"}[padding]
    expected = F.grid_sample(
        torch.from_numpy(X), torch.from_numpy(coordinates), mode, torch_padding, align_corners
    ).numpy()
    build = resample(sampling_mode=mode, padding_mode=padding, align_corners=align_corners)
    assert_op(build, {"x": X, "c": coordinates}, expected, opset="iOS16", rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [  # the docstring's |1, 2, 3|
        ("constant", [0, 0, 0, 1, 2, 3, 0, 0, 0]),
        ("border", [1, 1, 1, 1, 2, 3, 3, 3, 3]),
        ("reflection", [2, 3, 2, 1, 2, 3, 2, 1, 2]),
        ("symmetric", [3, 2, 1, 1, 2, 3, 3, 2, 1]),
    ],
)
def test_resample_padding_goldens(padding, expected):
    x = np.array([[[[1, 2, 3]]]], np.float32)
    coordinates = np.stack([np.arange(-3, 6), np.zeros(9)], -1).astype(np.int32)[None, None]
    build = resample(padding_mode=padding, coordinates_mode="unnormalized")
    assert_op(build, {"x": x, "c": coordinates}, [[[expected]]])


def test_resample_zero_to_one_and_padding_value():
    x = np.array([[[[1, 2, 3]]]], np.float32)
    coordinates = np.array([[[[0, 0], [0.25, 0], [1, 0], [-0.25, 0], [2, 0]]]], np.float32)
    build = resample(coordinates_mode="normalized_zero_to_one", padding_value=np.float32(5))
    assert_op(build, {"x": x, "c": coordinates}, [[[[1, 1.5, 3, 3, 5]]]])


def test_affine_identity_and_shift_against_pytorch():
    matrices = np.array([[1, 0, 0, 0, 1, 0], [0.5, 0.2, 0.1, -0.3, 1.2, 0]], np.float32)
    grid = F.affine_grid(torch.from_numpy(matrices.reshape(2, 2, 3)), [2, 3, 5, 4], align_corners=True)
    expected = F.grid_sample(torch.from_numpy(X), grid, align_corners=True).numpy()
    np.testing.assert_allclose(expected[0], X[0], **LOOSE)

    def build(x, m):
        return mb.affine(
            x=x,
            transform_matrix=m,
            output_height=5,
            output_width=4,
            sampling_mode="bilinear",
            padding_mode="constant",
            padding_value=np.float32(0),
            coordinates_mode="normalized_minus_one_to_one",
            align_corners=True,
        )

    assert_op(build, {"x": X, "m": matrices}, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("times", [1, 2, 3, 4])
def test_whole_scales_repeat_every_element(times):
    x = np.arange(2 * 3 * 5, dtype=np.float32).reshape(1, 2, 3, 5)
    assert_op(
        lambda x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=times, scale_factor_width=2),
        {"x": x},
        x.repeat(times, -2).repeat(2, -1),
    )
