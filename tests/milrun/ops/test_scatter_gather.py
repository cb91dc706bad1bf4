"""scatter_gather ops: NumPy's indexing, and scattering one element after the other.

Oracle: loops.
Oracle of gather: NumPy.
Oracle of gather@iOS17: NumPy, loops.
Oracle of gather_along_axis, gather_nd: NumPy.
"""

import itertools

import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb

from milrun import OpError
from milrun.registry import find_op
from tests.milrun.harness import assert_op, run_op

ALL = ["iOS15", "iOS16", "iOS17"]


def ramp(*shape, dtype=np.float32):
    return np.arange(int(np.prod(shape)), dtype=dtype).reshape(shape)


def ints(*values):
    return np.array(values, dtype=np.int32)


@pytest.mark.parametrize("opset", ALL)
def test_gather(opset):
    x, i = ramp(3, 4, 2), ints([2, 0], [1, 1])
    assert_op(
        lambda x, i: (
            mb.gather(x=x, indices=i),
            mb.gather(x=x, indices=i, axis=-2),
            mb.gather(x=x, indices=1, axis=2),
        ),
        {"x": x, "i": i},
        x[i],
        x[:, i],
        x[..., 1],
        opset=opset,
    )


def test_gather_of_ints_and_from_a_vector():
    x = ints(2**24 + 1, -5, 7)
    assert_op(
        lambda x, i: (mb.gather(x=x, indices=i), mb.gather(x=x, indices=mb.squeeze(x=i, axes=[0]))),
        {"x": x, "i": ints(0)},
        np.array([2**24 + 1]),
        np.array(2**24 + 1),
    )


def test_gather_with_batch_dims():
    x, i = ramp(2, 3, 4, 2), ints([[1, 0], [3, 3], [0, 1]], [[2, 2], [0, 1], [1, 0]])
    expected = np.zeros((2, 3, 2, 2), np.float32)
    for a, b in itertools.product(range(2), range(3)):
        expected[a, b] = x[a, b][i[a, b]]
    shallow = np.stack([x[a][:, i[a]] for a in range(2)])
    last = np.stack([np.stack([x[a, b][:, i[a, b] % 2] for b in range(3)]) for a in range(2)])
    assert_op(
        lambda x, i: (
            mb.gather(x=x, indices=i, axis=2, batch_dims=2),
            mb.gather(x=x, indices=i, axis=-2, batch_dims=1),
            mb.gather(x=x, indices=mb.mod(x=i, y=2), axis=-1, batch_dims=2),
        ),
        {"x": x, "i": i},
        expected,
        shallow,
        last,
    )


@pytest.mark.parametrize("opset", ["iOS15", "iOS16"])
def test_negative_indices_before_ios17_count_from_the_end(opset):
    x, i = ramp(3, 2), ints(-1, 0, -3)
    assert_op(
        lambda x, i: (
            mb.gather(x=x, indices=i),
            mb.gather_along_axis(x=x, indices=mb.concat(values=(mb.expand_dims(x=i, axes=[1]),) * 2, axis=1)),
            mb.gather_nd(x=x, indices=mb.expand_dims(x=i, axes=[1])),
            mb.scatter(data=x, indices=i, updates=x),
        ),
        {"x": x, "i": i},
        x[i],
        x[i],
        x[i],
        x + np.stack([x[1] + x[2], [0, 0], x[0]]),
        opset=opset,
    )


BAD = {
    "past the end": ("iOS16", 3),
    "before the start": ("iOS16", -4),
    "past the end, iOS17": ("iOS17", 3),
    "negative from iOS17 on": ("iOS17", -1),
}
THREE, ONES = torch.ones(3), torch.ones(1)
USES = {
    "gather": lambda op, i: op(THREE, i),
    "gather_along_axis": lambda op, i: op(THREE, i),
    "gather_nd": lambda op, i: op(THREE, i[:, None]),
    "scatter": lambda op, i: op(THREE, i, ONES),
    "scatter_along_axis": lambda op, i: op(THREE, i, ONES),
    "scatter_nd": lambda op, i: op(THREE, i[:, None], ONES),
}


@pytest.mark.parametrize("name", USES)
@pytest.mark.parametrize("case", BAD)
def test_an_index_out_of_range_raises(name, case):
    opset, index = BAD[case]
    with pytest.raises(IndexError, match="outside"):
        USES[name](find_op(name, opset).call, torch.tensor([index]))


def test_an_index_out_of_range_names_the_op():
    with pytest.raises(OpError, match=r"gather.*outside of \[0, 3\)"):
        run_op(lambda x, i: mb.gather(x=x, indices=i), {"x": ramp(3), "i": ints(3)})


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_along_axis(axis):
    x = ramp(3, 2, 4)
    i = np.random.default_rng(0).integers(0, x.shape[axis], x.shape).astype(np.int32)
    assert_op(
        lambda x, i: mb.gather_along_axis(x=x, indices=i, axis=axis),
        {"x": x, "i": i},
        np.take_along_axis(x, i.astype(np.int64), axis),
    )


def test_gather_nd():
    x = ramp(2, 3, 4)
    pairs = ints([[0, 2], [1, 1]], [[1, 0], [0, 0]])
    assert_op(
        lambda x, i: (mb.gather_nd(x=x, indices=i), mb.gather_nd(x=x, indices=i, batch_dims=1)),
        {"x": x, "i": pairs},
        x[pairs[..., 0], pairs[..., 1]],
        np.stack([x[b][pairs[b, :, 0], pairs[b, :, 1]] for b in range(2)]),
    )


def test_gather_nd_of_whole_slices_and_of_one_element():
    x = ramp(2, 3)
    assert_op(
        lambda x, i, j: (mb.gather_nd(x=x, indices=i), mb.gather_nd(x=x, indices=j)),
        {"x": x, "i": ints([1], [0], [1]), "j": ints([1, 2], [0, 0])},
        x[[1, 0, 1]],
        np.array([5, 0]),
    )


MODES = {
    "update": lambda old, new: new,
    "add": lambda old, new: old + new,
    "sub": lambda old, new: old - new,
    "mul": lambda old, new: old * new,
    "div": lambda old, new: old / new,
    "max": max,
    "min": min,
}


def scattered(data, cells, updates, mode):
    """One element after the other."""
    result = data.copy()
    for cell, update in zip(cells, updates, strict=True):
        result[cell] = MODES[mode](result[cell], update)
    return result


@pytest.mark.parametrize("opset", ["iOS15", "iOS17"])
@pytest.mark.parametrize("mode", MODES)
def test_scatter_modes_with_repeated_indices(mode, opset):
    data, indices = ramp(3, 4) + 1, ints(2, 0, 2)
    updates = np.array([[2, 4], [3, 5], [7, 0.5]], np.float32)[:, [0, 1, 0, 1]]
    by_row = [(i, j) for i in indices for j in range(4)]
    along = ints([2, 0, 1, 2], [2, 1, 1, 0], [0, 0, 1, 1])
    by_element = [(along[i, j], j) for i in range(3) for j in range(4)]
    pairs = ints([2, 1], [0, 0], [2, 1])
    assert_op(
        lambda d, i, u, a, p: (
            mb.scatter(data=d, indices=i, updates=u, axis=0, mode=mode),
            mb.scatter_along_axis(data=d, indices=a, updates=u, axis=0, mode=mode),
            mb.scatter_nd(
                data=d,
                indices=p,
                updates=mb.squeeze(x=mb.slice_by_size(x=u, begin=[0, 0], size=[3, 1]), axes=[1]),
                mode=mode,
            ),
        ),
        {"d": data, "i": indices, "u": updates, "a": along, "p": pairs},
        scattered(data, by_row, updates.reshape(-1), mode),
        scattered(data, by_element, updates.reshape(-1), mode),
        scattered(data, [tuple(pair) for pair in pairs], updates[:, 0], mode),
        opset=opset,
    )


def test_scatter_along_other_axes_leaves_the_input_alone():
    data, indices, updates = ramp(2, 4), ints(3, 0), -ramp(2, 2) - 1
    expected = data.copy()
    expected[:, indices] = updates
    assert_op(
        lambda d, i, u: (mb.scatter(data=d, indices=i, updates=u, axis=-1, mode="update"), mb.identity(x=d)),
        {"d": data, "i": indices, "u": updates},
        expected,
        data,
    )


def test_scatter_adds_by_default_and_exactly():
    data = ints(2**24, 1)
    assert_op(
        lambda d, i, u: mb.scatter(data=d, indices=i, updates=u),
        {"d": data, "i": ints(0, 0), "u": ints(1, 2)},
        np.array([2**24 + 3, 1]),
    )


def test_scatter_nd_of_whole_slices():
    data, updates = ramp(3, 2), np.array([[10, 20]], np.float32)
    assert_op(
        lambda d, i, u: mb.scatter_nd(data=d, indices=i, updates=u, mode="update"),
        {"d": data, "i": ints([1]), "u": updates},
        np.array([[0, 1], [10, 20], [4, 5]]),
    )


@pytest.mark.parametrize("mode", ["add", "sub"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_repeated_indices_are_summed_in_their_order_to_the_bit(axis, mode):
    random = np.random.default_rng(0)
    shape, many = (6, 5, 7), [6, 5, 7]
    many[axis] = 300
    data, updates = (random.standard_normal(s) * 10.0 ** random.integers(-8, 8, s) for s in (shape, many))
    data, updates = data.astype(np.float32), updates.astype(np.float32)
    indices = random.integers(0, shape[axis], 300).astype(np.int32)
    want = data.copy()
    at = np.add.at if mode == "add" else np.subtract.at
    at(want, (slice(None),) * (axis % 3) + (indices,), updates)
    scatter = find_op("scatter", "iOS17").call
    got = scatter(torch.from_numpy(data), torch.from_numpy(indices), torch.from_numpy(updates), axis, mode)
    np.testing.assert_array_equal(got.numpy(), want)
