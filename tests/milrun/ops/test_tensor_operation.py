"""tensor_operation ops: making, joining, padding and sorting.

Oracle: NumPy.
Oracle of argsort, cumsum, non_maximum_suppression, non_zero, one_hot, shape, topk: literal.
"""

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

from milrun import OpError
from tests.milrun.harness import assert_op, run_op


def ramp(*shape, dtype=np.float32):
    return np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)


def test_band_part():
    x = ramp(2, 3, 4) + 1
    x[0, 2, 0] = np.inf  # must become 0, not NaN
    below = np.arange(3)[:, None] - np.arange(4)
    assert_op(
        lambda x: (
            mb.band_part(x=x),
            mb.band_part(x=x, lower=0, upper=-1),
            mb.band_part(x=x, lower=-1, upper=0),
            mb.band_part(x=x, lower=1, upper=1),
        ),
        {"x": x},
        x,
        np.triu(x),
        np.tril(x),
        np.where((below <= 1) & (below >= -1), x, 0),
    )


def test_cumsum():
    x = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)
    assert_op(
        lambda x: (
            mb.cumsum(x=x),
            mb.cumsum(x=x, axis=-1),
            mb.cumsum(x=x, axis=1, exclusive=True),
            mb.cumsum(x=x, axis=1, reverse=True),
            mb.cumsum(x=x, axis=1, exclusive=True, reverse=True),
        ),
        {"x": x},
        np.array([[1, 2, 3], [5, 7, 9]]),
        np.array([[1, 3, 6], [4, 9, 15]]),
        np.array([[0, 1, 3], [0, 4, 9]]),
        np.array([[6, 5, 3], [15, 11, 6]]),
        np.array([[5, 3, 0], [11, 6, 0]]),
    )


def test_cumsum_of_ints_is_exact():
    x = np.array([2**24, 1, 1], dtype=np.int32)
    assert_op(lambda x: mb.cumsum(x=x, axis=0), {"x": x}, np.array([2**24, 2**24 + 1, 2**24 + 2]))


def test_fill_to_a_shape_computed_at_run_time():
    shape = np.array([2, 3], dtype=np.int32)
    results = run_op(
        lambda s: (
            mb.fill(shape=s),
            mb.fill(shape=s, value=np.float16(0.1)),
            mb.fill(shape=s, value=2**30 + 1),
            mb.fill(shape=s, value=True),
            mb.fill_like(ref_tensor=s, value=-1.5),
        ),
        {"s": shape},
    )
    expected = [np.zeros((2, 3), "f4"), np.full((2, 3), 0.1, "f2"), np.full((2, 3), 2**30 + 1), np.ones((2, 3), bool)]
    for got, want in zip(results, [*expected, np.full(2, -1.5, "f4")], strict=True):
        assert got.shape == want.shape
        np.testing.assert_array_equal(got.astype(want.dtype), want)


def test_non_zero():
    x = np.array([[3, 0, 0], [0, 4, 0], [5, 6, 0]], dtype=np.float32)
    assert_op(lambda x: mb.non_zero(x=x), {"x": x}, np.array([[0, 0], [1, 1], [2, 0], [2, 1]]))
    assert_op(lambda x: mb.non_zero(x=x), {"x": np.zeros((2, 3), bool)}, np.zeros((0, 2)))


def test_one_hot():
    indices, size = np.array([1, 0, -1, 4], dtype=np.int32), np.int32(4)
    hot = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert_op(
        lambda i, n: (
            mb.one_hot(indices=i, one_hot_vector_size=4),
            mb.one_hot(indices=i, one_hot_vector_size=4, axis=0),
            mb.one_hot(indices=i, one_hot_vector_size=mb.squeeze(x=n, axes=[0]), on_value=2.5, off_value=-1.0),
        ),
        {"i": indices, "n": np.array([size])},
        hot,
        hot.T,
        np.where(hot == 1, 2.5, -1.0),
    )


def test_one_hot_in_the_middle_and_as_bool():
    indices = np.array([[0, 2], [2, -1]], dtype=np.int32)
    middle = np.array([[[1, 0], [0, 0], [0, 1]], [[0, 0], [0, 0], [1, 0]]])  # [2, 2] -> [2, 3, 2]
    got = run_op(
        lambda i: (
            mb.one_hot(indices=i, one_hot_vector_size=3, axis=-2),
            mb.one_hot(indices=i, one_hot_vector_size=3, axis=1, on_value=False, off_value=True),
        ),
        {"i": indices},
    )
    np.testing.assert_array_equal(got[0], middle)
    np.testing.assert_array_equal(got[1], middle == 0)


PADS = {
    "last dimensions": [1, 0, 2, 3],
    "all dimensions": [1, 1, 0, 1, 2, 2],
    "nothing": [0, 0],
}


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate"])
@pytest.mark.parametrize("pad", PADS.values(), ids=PADS)
def test_pad(pad, mode):
    x = ramp(2, 3, 4)
    widths = [(0, 0)] * (3 - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))
    numpy_mode = {"replicate": "edge"}.get(mode, mode)
    options = {"constant_values": -0.5} if mode == "constant" else {}
    assert_op(
        lambda x: mb.pad(x=x, pad=pad, mode=mode, constant_val=np.float32(-0.5)),
        {"x": x},
        np.pad(x, widths, numpy_mode, **options),
    )


def test_pad_by_amounts_computed_at_run_time():
    x = ramp(2, 3)
    assert_op(
        lambda x, p: mb.pad(x=x, pad=p),
        {"x": x, "p": np.array([1, 0, 0, 2], dtype=np.int32)},
        np.pad(x, [(1, 0), (0, 2)]),
    )


def test_reflect_padding_as_long_as_the_dimension():
    with pytest.raises(OpError, match="reflect"):
        run_op(lambda x, p: mb.pad(x=x, pad=p, mode="reflect"), {"x": ramp(3), "p": np.array([3, 0], dtype=np.int32)})


@pytest.mark.parametrize(
    ("start", "end", "step"),
    [(0, 5, 1), (5, 0, -2), (2, 2, 1), (0, -3, 1), (0.0, 1.0, 0.3), (1.0, 0.0, -0.25)],
    ids=str,
)
def test_range_1d(start, end, step):
    dtype = np.int32 if isinstance(start, int) else np.float32
    given = {name: np.array([value], dtype=dtype) for name, value in {"a": start, "b": end, "c": step}.items()}
    assert_op(
        lambda a, b, c: mb.range_1d(
            start=mb.squeeze(x=a, axes=[0]), end=mb.squeeze(x=b, axes=[0]), step=mb.squeeze(x=c, axes=[0])
        ),
        given,
        np.arange(start, end, step, dtype=np.float64 if dtype == np.float32 else dtype),
    )


def test_tile():
    x = ramp(2, 3)
    assert_op(
        lambda x, r: (mb.tile(x=x, reps=[2, 1]), mb.tile(x=x, reps=r)),
        {"x": x, "r": np.array([1, 3], dtype=np.int32)},
        np.tile(x, (2, 1)),
        np.tile(x, (1, 3)),
    )


@pytest.mark.parametrize("times", [0, -1])
def test_tile_by_nothing_is_refused(times):
    """Where the repetitions are computed, nothing but the run can find it; coremltools wants them positive."""
    given = {"x": ramp(2, 3), "r": np.array([1, times], dtype=np.int32)}
    with pytest.raises(OpError, match=rf"tile.*repetitions \[1, {times}\]"):
        run_op(lambda x, r: mb.mul(x=mb.tile(x=x, reps=r), y=2.0), given)


def test_argsort_keeps_the_order_of_equals():
    x = np.array([[2, 7, 2, 7], [0, -1, 5, 0]], dtype=np.float32)
    assert_op(
        lambda x: (mb.argsort(x=x), mb.argsort(x=x, ascending=True), mb.argsort(x=x, axis=0)),
        {"x": x},
        np.array([[1, 3, 0, 2], [2, 0, 3, 1]]),
        np.array([[0, 2, 1, 3], [1, 0, 3, 2]]),
        np.array([[0, 0, 1, 0], [1, 1, 0, 1]]),
    )


@pytest.mark.parametrize("opset", ["iOS15", "iOS16", "iOS17"])
def test_topk(opset):
    x = np.array([[5, 9, 1, 9], [0, -1, 5, 0]], dtype=np.float32)
    assert_op(
        lambda x: (*mb.topk(x=x, k=2), *mb.topk(x=x, k=1, axis=0, ascending=True)),
        {"x": x},
        np.array([[9, 9], [5, 0]]),
        np.array([[1, 3], [2, 0]]),
        np.array([[0, -1, 1, 0]]),
        np.array([[1, 1, 0, 1]]),
        opset=opset,
    )


def test_topk_of_values_alone_and_of_large_ints():
    x = np.array([2**24, 2**24 + 1, -5], dtype=np.int32)
    assert_op(lambda x: mb.topk(x=x, k=2, return_indices=False, sort=False), {"x": x}, np.array([2**24 + 1, 2**24]))


def test_topk_with_uint16_indices():
    x = ramp(70000)[None]
    values, indices = run_op(lambda x: mb.topk(x=x, k=1, output_indices_dtype="uint16", axis=-1), {"x": x[:, :65535]})
    assert values.item() == indices.item() == 65534


@pytest.mark.parametrize("axis", [1, -1, 0, 2])
def test_flatten2d(axis):
    x = ramp(2, 3, 4)
    assert_op(lambda x: mb.flatten2d(x=x, axis=axis), {"x": x}, x.reshape(int(np.prod(x.shape[:axis])), -1))


def test_shape_concat_stack_split_and_identity():
    x, y = ramp(2, 4), 10 + ramp(2, 4)
    interleaved = np.stack([x, y], 2).reshape(2, 8)
    assert_op(
        lambda x, y: (
            mb.shape(x=x),
            mb.concat(values=(x, y), axis=-1),
            mb.concat(values=(x, y, x), axis=0),
            mb.concat(values=(x, y), axis=-1, interleave=True),
            mb.stack(values=(x, y), axis=-1),
            mb.stack(values=(x, y), axis=0),
            mb.identity(x=x),
            *mb.split(x=x, num_splits=2, axis=-1),
            *mb.split(x=x, split_sizes=[1, 3], axis=1),
        ),
        {"x": x, "y": y},
        np.array([2, 4]),
        np.concatenate([x, y], 1),
        np.concatenate([x, y, x]),
        interleaved,
        np.stack([x, y], 2),
        np.stack([x, y]),
        x,
        x[:, :2],
        x[:, 2:],
        x[:, :1],
        x[:, 1:],
    )


def test_concat_of_scalars_makes_a_vector():
    x = np.array([7, 2**24 + 1], dtype=np.int32)

    def build(x):
        first, second = mb.split(x=x, num_splits=2, axis=0)
        return mb.concat(values=(mb.squeeze(x=second, axes=[0]), mb.squeeze(x=first, axes=[0])), axis=0)

    assert_op(build, {"x": x}, x[::-1])


# boxes as centre x, centre y, width, height: the first two overlap, the third stands alone.
BOXES = np.array([[[5, 5, 10, 10], [6, 5, 10, 10], [50, 50, 4, 4], [80, 80, 1, 1]]], dtype=np.float32)


def test_non_maximum_suppression():
    scores = np.array([[[0.6, 0.1], [0.1, 0.9], [0.5, 0.2], [0.1, 0.05]]], dtype=np.float32)
    nowhere = [0, 0, 0, 0]
    assert_op(
        lambda b, s: mb.non_maximum_suppression(boxes=b, scores=s, iou_threshold=0.5, score_threshold=0.2, max_boxes=3),
        {"b": BOXES, "s": scores},
        np.array([[BOXES[0, 1], BOXES[0, 2], nowhere]]),
        np.array([[scores[0, 1], scores[0, 2], [0, 0]]]),
        np.array([[1, 2, -1]]),
        np.array([2]),
        opset="iOS15",
    )


def test_non_maximum_suppression_where_no_score_passes_keeps_the_best():
    scores = np.array([[[0.1, 0.2], [0.3, 0.1], [0.2, 0.1], [0.0, 0.1]]], dtype=np.float32)
    _, kept, indices, count = run_op(
        lambda b, s: mb.non_maximum_suppression(boxes=b, scores=s, iou_threshold=0.5, score_threshold=0.5, max_boxes=2),
        {"b": BOXES, "s": scores},
        "iOS15",
    )
    np.testing.assert_array_equal(kept, [[scores[0, 1], [0, 0]]])
    assert (indices.tolist(), count.tolist()) == ([[1, -1]], [1])


def test_non_maximum_suppression_per_class_keeps_overlaps_of_other_classes():
    scores = np.array([[[0.6, 0.1], [0.1, 0.9], [0.5, 0.2], [0.1, 0.05]]], dtype=np.float32)
    _, _, indices, count = run_op(
        lambda b, s: mb.non_maximum_suppression(
            boxes=b, scores=s, iou_threshold=0.5, score_threshold=0.2, max_boxes=3, per_class_suppression=True
        ),
        {"b": BOXES, "s": scores},
        "iOS15",
    )
    assert indices.tolist() == [[1, 0, 2]]
    assert count.tolist() == [3]


def test_non_maximum_suppression_from_ios17_has_the_boxes_last():
    scores = np.array([[[0.6, 0.9, 0.5, 0.1]]], dtype=np.float32)
    boxes, kept, indices = run_op(
        lambda b, s: mb.non_maximum_suppression(boxes=b, scores=s, iou_threshold=0.5, max_boxes=2),
        {"b": BOXES.swapaxes(1, 2).copy(), "s": scores},
        "iOS17",
    )
    assert indices.tolist() == [[1, 2]]
    np.testing.assert_array_equal(boxes, BOXES[:, [1, 2]].swapaxes(1, 2))
    np.testing.assert_array_equal(kept, scores[:, :, [1, 2]])
