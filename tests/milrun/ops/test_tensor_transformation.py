"""tensor_transformation ops: the same elements in another order, shape or extent.

Oracle: NumPy.
Oracle of pixel_shuffle, pixel_unshuffle: PyTorch.
"""

import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb

from milrun import OpError
from milrun.registry import find_op
from tests.milrun.harness import assert_op, run_op


def ramp(*shape, dtype=np.float32):
    return np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)


def test_shapes_of_one_input():
    x = ramp(1, 2, 1, 3)
    assert_op(
        lambda x: (
            mb.expand_dims(x=x, axes=[-1]),
            mb.expand_dims(x=x, axes=[0]),
            mb.squeeze(x=x),
            mb.squeeze(x=x, axes=[-2]),
            mb.squeeze(x=x, axes=[0, 2]),
            mb.transpose(x=x, perm=[-1, 1, 0, 2]),
            mb.reverse(x=x),
            mb.reverse(x=x, axes=[-1]),
            mb.reshape(x=x, shape=[3, -1]),
            mb.reshape(x=x, shape=[0, 0, -1, 1]),
        ),
        {"x": x},
        x[..., None],
        x[None],
        x.squeeze(),
        x.squeeze(2),
        x.squeeze((0, 2)),
        x.transpose(3, 1, 0, 2),
        x[::-1, ::-1, ::-1, ::-1],
        x[..., ::-1],
        x.reshape(3, 2),
        x.reshape(1, 2, 3, 1),
    )


def test_expand_dims_of_several_axes_counts_in_the_result():
    x = ramp(2, 3)
    assert_op(
        lambda x: (mb.expand_dims(x=x, axes=[0, -1]), mb.expand_dims(x=x, axes=[3, 1])),
        {"x": x},
        x.reshape(1, 2, 3, 1),
        x.reshape(2, 1, 3, 1),
    )


def test_rank_5_and_bool():
    x = ramp(1, 2, 3, 1, 2) % 2 == 0
    assert_op(lambda x: mb.transpose(x=x, perm=[4, 2, 0, 1, 3]), {"x": x}, x.transpose(4, 2, 0, 1, 3))


def test_ints_stay_exact():
    x = np.array([[2**31 - 1, -(2**31)], [2**24 + 1, -7]], dtype=np.int32)
    assert_op(lambda x: mb.transpose(x=x, perm=[1, 0]), {"x": x}, x.T)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [([1, 0, -1, 0], (1, 1, 2, 50)), ([0, 0], (2, 50)), ([-1, 0], (2, 50)), ([0], (50,))],
    ids=["from the right", "all kept", "minus one", "fewer"],
)
def test_reshape_zero_from_ios17(shape, expected):
    x = ramp(2, 50) if np.prod(expected) == 100 else ramp(1, 50)
    assert_op(lambda x: mb.reshape(x=x, shape=shape), {"x": x}, x.reshape(expected), opset="iOS17")


def test_reshape_zero_before_ios17():
    x = ramp(4, 3, 2)
    assert_op(lambda x: mb.reshape(x=x, shape=[0, -1, 1]), {"x": x}, x.reshape(4, 6, 1), opset="iOS15")


def test_reshape_to_a_shape_computed_at_run_time():
    x, shape = ramp(4, 3, 2), np.array([-1, 12], dtype=np.int32)
    assert_op(lambda x, shape: mb.reshape(x=x, shape=shape), {"x": x, "shape": shape}, x.reshape(2, 12))


def test_reshape_that_does_not_fit():
    with pytest.raises(OpError, match="reshape"):
        run_op(
            lambda x, shape: mb.reshape(x=x, shape=shape),
            {"x": ramp(4), "shape": np.array([3, 2], dtype=np.int32)},
        )


def test_reshape_like():
    x, a, b = ramp(5, 12), ramp(2, 3, 4), ramp(1, 5, 2)
    assert_op(
        lambda x, a, b: mb.reshape_like(x=x, ref_tensors=(a, b), begins=(0, 1), ends=(2, 0), end_masks=(False, True)),
        {"x": x, "a": a, "b": b},
        x.reshape(2, 3, 5, 2),
    )


def test_reverse_sequence():
    x = ramp(3, 4, 2)
    expected = x.copy()
    expected[1, :3] = x[1, 2::-1]
    expected[2] = x[2, ::-1]
    lengths = np.array([0, 3, 4], dtype=np.int32)
    assert_op(
        lambda x, n: mb.reverse_sequence(x=x, lengths=n, seq_axis=-2, batch_axis=0), {"x": x, "n": lengths}, expected
    )
    assert_op(
        lambda x, n: mb.reverse_sequence(x=x, lengths=n, seq_axis=0, batch_axis=1),
        {"x": x.swapaxes(0, 1).copy(), "n": lengths},
        expected.swapaxes(0, 1),
    )


def test_reverse_sequence_longer_than_the_axis():
    with pytest.raises(OpError, match="lengths"):
        run_op(
            lambda x, n: mb.reverse_sequence(x=x, lengths=n, seq_axis=1),
            {"x": ramp(1, 2), "n": np.array([3], dtype=np.int32)},
        )


SLICES = {
    "positive": {"begin": [1, 0, 2], "end": [3, 2, 4]},
    "negative": {"begin": [-3, 0, -2], "end": [-1, 3, 4]},
    "strided": {"begin": [0, 1, 0], "end": [4, 3, 5], "stride": [2, 1, 3]},
    "backwards": {"begin": [3, 2, 4], "end": [0, 0, 1], "stride": [-1, -2, -1]},
    "masked": {
        "begin": [1, 1, 1],
        "end": [2, 2, 2],
        "begin_mask": [True, False, True],
        "end_mask": [False, True, True],
    },
    "backwards, masked": {
        "begin": [0, 0, 0],
        "end": [0, 0, 0],
        "stride": [-1, -2, 1],
        "begin_mask": [True] * 3,
        "end_mask": [True] * 3,
    },
    "squeezed": {"begin": [-1, 0, 2], "end": [0, 3, 0], "squeeze_mask": [True, False, True]},
    "all squeezed": {"begin": [1, 2, 3], "end": [0, 0, 0], "squeeze_mask": [True] * 3},
    "past the end": {"begin": [2, 0, 0], "end": [9, 3, 5]},
}


def numpy_slices(rank, begin, end, stride=None, begin_mask=None, end_mask=None, squeeze_mask=None):
    slices = []
    for i in range(rank):
        if squeeze_mask and squeeze_mask[i]:
            slices.append(begin[i])
            continue
        start = None if begin_mask and begin_mask[i] else begin[i]
        stop = None if end_mask and end_mask[i] else end[i]
        slices.append(slice(start, stop, stride[i] if stride else None))
    return tuple(slices)


@pytest.mark.parametrize("arguments", SLICES.values(), ids=SLICES)
def test_slice_by_index(arguments):
    x = ramp(4, 3, 5)
    assert_op(lambda x: mb.slice_by_index(x=x, **arguments), {"x": x}, x[numpy_slices(3, **arguments)])


def test_slice_by_index_with_bounds_computed_at_run_time():
    x, begin, end = ramp(4, 5), np.array([1, -3], dtype=np.int32), np.array([4, -1], dtype=np.int32)
    assert_op(
        lambda x, begin, end: mb.slice_by_index(x=x, begin=begin, end=end),
        {"x": x, "begin": begin, "end": end},
        x[1:4, -3:-1],
    )


def test_slice_by_index_squeezing_an_index_out_of_range():
    with pytest.raises(OpError, match="outside"):
        run_op(
            lambda x, begin: mb.slice_by_index(x=x, begin=begin, end=begin, squeeze_mask=[True, True]),
            {"x": ramp(2, 3), "begin": np.array([0, 3], dtype=np.int32)},
        )


def random_slice(rng, size):
    """(begin, end, stride, begin_mask, end_mask, squeeze_mask) of one dimension."""
    squeeze = rng.random() < 0.2
    begin = rng.integers(-size, size) if squeeze else rng.integers(-size - 1, size + 1)
    masks = rng.random() < 0.3, rng.random() < 0.3, squeeze
    return int(begin), int(rng.integers(-size - 1, size + 2)), int(rng.choice([1, 2, 3, -1, -2])), *masks


@pytest.mark.parametrize("seed", range(20))
def test_slices_of_any_kind_are_numpys(seed):
    """Calls the functions themselves: 20 x 25 random slices of rank 1 to 5, read and updated."""
    rng = np.random.default_rng(seed)
    read, write = find_op("slice_by_index", "iOS18").call, find_op("slice_update", "iOS18").call
    for _ in range(25):
        x = ramp(*rng.integers(1, 5, rng.integers(1, 6)))
        arguments = [list(column) for column in zip(*(random_slice(rng, size) for size in x.shape), strict=True)]
        begin, end, stride, begin_mask, end_mask, squeeze = arguments
        place = tuple(
            (0 if begin_mask[i] else begin[i])
            if squeeze[i]
            else slice(None if begin_mask[i] else begin[i], None if end_mask[i] else end[i], stride[i])
            for i in range(x.ndim)
        )
        wanted = np.asarray(x[place])
        np.testing.assert_array_equal(read(torch.from_numpy(x), *arguments).numpy(), wanted)
        update, expected = np.asarray(-1 - ramp(*wanted.shape)), x.copy()
        expected[place] = update
        np.testing.assert_array_equal(write(torch.from_numpy(x), torch.from_numpy(update), *arguments), expected)


NOTHING, ONE = torch.zeros(2, 0, 3), torch.tensor(5.0)
EDGES = {
    "reshape of nothing with -1": ("reshape", (NOTHING, [-1, 3]), (0, 3)),
    "reshape of a scalar": ("reshape", (ONE, [1, 1]), (1, 1)),
    "squeeze of a scalar": ("squeeze", (ONE,), ()),
    "expand_dims of a scalar": ("expand_dims", (ONE, [0, -1]), (1, 1)),
    "transpose of a scalar": ("transpose", (ONE, []), ()),
    "reverse of a scalar": ("reverse", (ONE,), ()),
    "slice_by_index of nothing": ("slice_by_index", (NOTHING, [0, 0, 0], [1, 0, 3], [1, 1, -1]), (1, 0, 0)),
    "slice_by_size of nothing": ("slice_by_size", (NOTHING, [0, 0, 1], [-1, 0, -1]), (2, 0, 2)),
    "windows as long as the axis": ("sliding_windows", (torch.zeros(2, 5), 1, 5, 2), (2, 1, 5)),
    "reverse_sequence of nothing": ("reverse_sequence", (torch.zeros(2, 0), [0, 0], 1, 0), (2, 0)),
    "shape of a scalar": ("shape", (ONE,), (0,)),
    "concat of nothing": ("concat", ([NOTHING, NOTHING], 1), (2, 0, 3)),
    "cumsum of nothing": ("cumsum", (NOTHING, 1, True, True), (2, 0, 3)),
    "pad of nothing": ("pad", (NOTHING, [1, 1, 0, 0]), (2, 2, 3)),
    "non_zero of nothing": ("non_zero", (NOTHING,), (0, 3)),
    "one_hot of a scalar": ("one_hot", (torch.tensor(1), 3), (3,)),
    "topk of none": ("topk", (torch.zeros(3), 0, 0, False, True, False), (0,)),
    "gather from nothing": ("gather", (torch.zeros(0, 3), torch.zeros(0, dtype=torch.int32)), (0, 3)),
    "batched gather of nothing": ("gather", (NOTHING, torch.zeros(2, 0, dtype=torch.int32), 1, 1), (2, 0, 3)),
}


@pytest.mark.parametrize(("name", "arguments", "shape"), EDGES.values(), ids=EDGES)
def test_scalars_and_empty_tensors(name, arguments, shape):
    """Calls the functions themselves: coremltools builds no program with an empty tensor."""
    result = find_op(name, "iOS18").call(*arguments)
    assert (result[0] if isinstance(result, tuple) else result).shape == shape


@pytest.mark.parametrize("name", ["negative", "backwards", "squeezed"])
def test_slice_update(name):
    x = ramp(4, 3, 5)
    place = numpy_slices(3, **SLICES[name])
    update = -1 - ramp(*x[place].shape)
    expected = x.copy()
    expected[place] = update
    got = run_op(lambda x, u: (mb.slice_update(x=x, update=u, **SLICES[name]), mb.identity(x=x)), {"x": x, "u": update})
    np.testing.assert_array_equal(got[0], expected)
    np.testing.assert_array_equal(got[1], x)  # the input is not changed


def test_slice_update_at_a_position_computed_at_run_time():
    x, update = ramp(1, 8, 2), -np.ones((1, 1, 2), dtype=np.float32)
    expected = x.copy()
    expected[:, 5:6] = update
    assert_op(
        lambda x, u, p: mb.slice_update(x=x, update=u, begin=p, end=mb.add(x=p, y=np.array([1, 1, 2], dtype=np.int32))),
        {"x": x, "u": update, "p": np.array([0, 5, 0], dtype=np.int32)},
        expected,
    )


def test_slice_update_past_the_end_does_not_pass_silently():
    with pytest.raises(OpError, match=r"slice_update.*axis 0: 3\.\.5 is out of range of size 4"):
        run_op(
            lambda x, u, p: mb.slice_update(x=x, update=u, begin=p, end=mb.add(x=p, y=np.int32(2))),
            {"x": ramp(4), "u": ramp(2), "p": np.array([3], dtype=np.int32)},
        )


def test_slice_by_size():
    x = ramp(4, 5)
    assert_op(
        lambda x, b: (mb.slice_by_size(x=x, begin=[1, 2], size=[-1, 2]), mb.slice_by_size(x=x, begin=b, size=[1, 2])),
        {"x": x, "b": np.array([3, 0], dtype=np.int32)},
        x[1:, 2:4],
        x[3:4, :2],
    )


def test_slice_by_size_past_the_end():
    with pytest.raises(OpError, match="do not fit"):
        run_op(
            lambda x, b: mb.slice_by_size(x=x, begin=b, size=[2]), {"x": ramp(4), "b": np.array([3], dtype=np.int32)}
        )


@pytest.mark.parametrize(("axis", "size", "stride"), [(1, 3, 2), (-1, 2, 1), (0, 1, 1)])
def test_sliding_windows(axis, size, stride):
    x = ramp(3, 8, 4)
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis)
    windows = np.moveaxis(windows, -1, axis % 3 + 1)
    windows = windows[(slice(None),) * (axis % 3) + (slice(None, None, stride),)]
    assert_op(lambda x: mb.sliding_windows(x=x, axis=axis, size=size, stride=stride), {"x": x}, windows)


def test_depth_and_space():
    x = ramp(2, 8, 2, 3)
    deep = np.zeros((2, 2, 4, 6), dtype=np.float32)
    for i in range(2):
        for j in range(2):
            deep[:, :, i::2, j::2] = x[:, (2 * i + j) * 2 : (2 * i + j) * 2 + 2]
    assert_op(
        lambda x: (
            mb.depth_to_space(x=x, block_size=2),
            mb.space_to_depth(x=mb.depth_to_space(x=x, block_size=2), block_size=2),
        ),
        {"x": x},
        deep,
        x,
    )


def test_pixel_shuffle():
    x = ramp(2, 8, 2, 3)
    shuffled = torch.nn.PixelShuffle(2)(torch.from_numpy(x)).numpy()
    assert_op(
        lambda x: (
            mb.pixel_shuffle(x=x, upscale_factor=2),
            mb.pixel_unshuffle(x=mb.pixel_shuffle(x=x, upscale_factor=2), downscale_factor=np.uint32(2)),
        ),
        {"x": x},
        shuffled,
        x,
    )


def test_space_to_batch_and_back():
    x = ramp(1, 2, 3, 4)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 0), (0, 2)])
    batches = np.concatenate([padded[:, :, i::2, j::3] for i in range(2) for j in range(3)])
    assert_op(
        lambda x: (
            mb.space_to_batch(x=x, block_shape=[2, 3], paddings=[[1, 0], [0, 2]]),
            mb.batch_to_space(
                x=mb.space_to_batch(x=x, block_shape=[2, 3], paddings=[[1, 0], [0, 2]]),
                block_shape=[2, 3],
                crops=[[1, 0], [0, 2]],
            ),
        ),
        {"x": x},
        batches,
        x,
    )
