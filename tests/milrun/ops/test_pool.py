"""Pooling, window by window, with the output sizes that coremltools declares.

Oracle: loops, literal.
"""

import itertools
import math

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

from tests.milrun.harness import assert_op

RNG = np.random.default_rng(0)


def windows(x, kernel, strides, pads, ceil_mode):
    """(output index, values of x inside, how many elements of x and padding inside) of each window."""
    counts = []
    for n, k, s, (before, after) in zip(x.shape[2:], kernel, strides, pads, strict=True):
        room = n + before + after - k
        count = (math.ceil(room / s) if ceil_mode else room // s) + 1
        if ceil_mode and before + after > 0 and (count - 1) * s >= n + before:
            count -= 1
        counts.append(count)
    for index in itertools.product(*map(range, counts)):
        inside, padded = [], 1
        for i, n, k, s, (before, after) in zip(index, x.shape[2:], kernel, strides, pads, strict=True):
            start, stop = i * s - before, min(i * s - before + k, n + after)
            inside.append(slice(max(start, 0), max(min(stop, n), 0)))
            padded *= stop - start
        yield (slice(None), slice(None), *index), counts, x[(slice(None), slice(None), *inside)], padded


def pooled(x, kernel, strides, pads, ceil_mode=False):
    """mean with padding, mean without, root of the sum of squares, maximum."""
    results = None
    for index, counts, values, padded in windows(x.astype(np.float64), kernel, strides, pads, ceil_mode):
        if results is None:
            results = [np.zeros((*x.shape[:2], *counts)) for _ in range(4)]
        flat = values.reshape(*x.shape[:2], -1)
        total = flat.sum(-1)
        results[0][index], results[1][index] = total / padded, total / flat.shape[-1]
        results[2][index], results[3][index] = np.sqrt(np.square(flat).sum(-1)), flat.max(-1)
    return results


def check(x, pads, opset="iOS17", **parameters):
    mean, valid_mean, root, largest = pooled(
        x, parameters["kernel_sizes"], parameters["strides"], pads, parameters.get("ceil_mode", False)
    )
    expected = [mean, valid_mean, largest]
    if x.ndim < 5:
        expected.append(root)

    def build(x):
        means = [mb.avg_pool(x=x, exclude_padding_from_average=e, **parameters) for e in (False, True)]
        largest = mb.max_pool(x=x, **parameters)
        return (*means, largest, *([mb.l2_pool(x=x, **parameters)] if x.rank < 5 else []))

    assert_op(build, {"x": x}, *expected, opset=opset, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_custom_padding_in_every_rank(rank):
    x = RNG.normal(size=(2, 3, *[7, 5, 4][:rank])).astype(np.float32) - 2  # below zero: padding must not win a maximum
    kernel, strides, pad = [3, 2, 2][:rank], [2, 1, 2][:rank], [1, 2, 0, 1, 1, 0][: 2 * rank]
    pads = list(zip(pad[::2], pad[1::2], strict=True))
    check(x, pads, kernel_sizes=kernel, strides=strides, pad_type="custom", pad=pad)


@pytest.mark.parametrize("pad_type", ["valid", "same", "same_lower"])
def test_pad_types(pad_type):
    x = RNG.normal(size=(1, 2, 6, 5)).astype(np.float32)
    kernel, strides = [3, 2], [2, 1]
    totals = [max(0, (math.ceil(n / s) - 1) * s + k - n) for n, k, s in zip((6, 5), kernel, strides, strict=True)]
    halves = [(t // 2, t - t // 2) for t in totals]
    pads = {"valid": [(0, 0)] * 2, "same": halves, "same_lower": [pair[::-1] for pair in halves]}[pad_type]
    check(x, pads, kernel_sizes=kernel, strides=strides, pad_type=pad_type)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad"),
    [(6, 3, 2, 0), (6, 3, 2, 1), (5, 2, 2, 1), (4, 2, 3, 1), (7, 3, 2, 0)],
)
def test_ceil_mode(size, kernel, stride, pad):
    """(4, 2, 3, 1): the last window would begin in the padding, and is left out."""
    x = RNG.normal(size=(1, 2, size)).astype(np.float32)
    check(
        x,
        [(pad, pad)],
        kernel_sizes=[kernel],
        strides=[stride],
        pad_type="custom",
        pad=[pad, pad],
        ceil_mode=True,
    )


def test_strides_default_to_one():
    x = np.array([[[1, 5, 2, 4]]], np.float32)
    assert_op(lambda x: mb.max_pool(x=x, kernel_sizes=[2], pad_type="valid"), {"x": x}, [[[5, 5, 4]]], opset="iOS15")


def test_average_golden_with_and_without_padding():
    x = np.array([[[3, 6]]], np.float32)
    given = {"kernel_sizes": [3], "pad_type": "custom", "pad": [1, 1]}
    assert_op(
        lambda x: (mb.avg_pool(x=x, **given), mb.avg_pool(x=x, exclude_padding_from_average=True, **given)),
        {"x": x},
        [[[3, 3]]],
        [[[4.5, 4.5]]],
    )


def test_float16_sum_beyond_its_range():
    x = np.full((1, 1, 4), 60000, np.float16)
    given = {"kernel_sizes": [4], "pad_type": "valid"}
    assert_op(lambda x: (mb.avg_pool(x=x, **given), mb.l2_pool(x=x, **given)), {"x": x}, [[[60000.0]]], [[[np.inf]]])


def test_nan_and_infinity_in_a_maximum():
    x = np.array([[[np.nan, 1, -np.inf, -np.inf]]], np.float32)
    expected = [[[np.nan, 1, -np.inf]]]
    assert_op(lambda x: mb.max_pool(x=x, kernel_sizes=[2], pad_type="valid"), {"x": x}, expected)
