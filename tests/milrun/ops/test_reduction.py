"""Reductions, in float64, cut towards zero for integers.

Oracle: NumPy.
Oracle of reduce_argmax, reduce_argmin: literal.
Oracle of reduce_log_sum_exp, reduce_max, reduce_mean, reduce_min, reduce_prod, reduce_sum: NumPy, literal.
"""

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

from tests.milrun.harness import TOLERANCE, assert_op, run_op


def log_sum_exp(x, axis, keepdims):
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


REFERENCES = {
    "reduce_l1_norm": lambda x, axis, keepdims: np.sum(np.abs(x), axis=axis, keepdims=keepdims),
    "reduce_l2_norm": lambda x, axis, keepdims: np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims)),
    "reduce_log_sum": lambda x, axis, keepdims: np.log(np.sum(x, axis=axis, keepdims=keepdims)),
    "reduce_log_sum_exp": log_sum_exp,
    "reduce_max": np.max,
    "reduce_mean": np.mean,
    "reduce_min": np.min,
    "reduce_prod": np.prod,
    "reduce_sum": np.sum,
    "reduce_sum_square": lambda x, axis, keepdims: np.sum(x * x, axis=axis, keepdims=keepdims),
}


def run_all(x, **parameters):
    return run_op(lambda x: tuple(getattr(mb, n)(x=x, **parameters) for n in REFERENCES), {"x": x}, "iOS15")


@pytest.mark.parametrize(
    ("shape", "axes", "keep_dims"),
    [
        ((4,), None, False),
        ((2, 3), None, True),
        ((2, 3), [], False),
        ((2, 3, 4), [1], False),
        ((2, 3, 4), [-1, 0], True),
        ((2, 1, 3, 2, 2), [-2, 0, 4], False),
    ],
)
def test_axes(shape, axes, keep_dims):
    x = np.random.default_rng(0).uniform(0.5, 1.5, size=shape).astype(np.float32)
    parameters = {"keep_dims": keep_dims} | ({} if axes is None else {"axes": np.array(axes, np.int32)})
    axis = None if axes is None else tuple(axes)
    for (name, reference), got in zip(REFERENCES.items(), run_all(x, **parameters), strict=True):
        expected = reference(x.astype(np.float64), axis=axis, keepdims=keep_dims)
        assert got.shape == expected.shape, name
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_float16():
    x = np.random.default_rng(0).uniform(0.5, 1.5, size=(3, 5)).astype(np.float16)
    for (name, reference), got in zip(REFERENCES.items(), run_all(x, axes=[1]), strict=True):
        expected = reference(x.astype(np.float64), axis=1, keepdims=False).astype(np.float16)
        np.testing.assert_allclose(got, expected, **TOLERANCE["f2"], err_msg=name)


def test_integers_are_cut_towards_zero():
    x = np.array([[3, 4], [-1, 2], [5, 1]], np.int32)
    for (name, reference), got in zip(REFERENCES.items(), run_all(x, axes=[1]), strict=True):
        expected = np.trunc(reference(x.astype(np.float64), axis=1, keepdims=False))
        np.testing.assert_array_equal(got, expected, err_msg=name)


def test_integer_sums_beyond_float32_are_exact_and_wrap():
    x = np.array([[2**24 + 1, 1, 1], [2**31 - 1, 1, 0]], np.int32)

    def build(x):
        return mb.reduce_sum(x=x, axes=[1]), mb.reduce_max(x=x, axes=[1]), mb.reduce_prod(x=x, axes=[1])

    assert_op(build, {"x": x}, [2**24 + 3, -(2**31)], [2**24 + 1, 2**31 - 1], [2**24 + 1, 0])


def test_float16_sums_are_rounded_once():
    x = np.full((1, 5000), 1.0, np.float16)
    assert_op(lambda x: (mb.reduce_sum(x=x), mb.reduce_mean(x=x)), {"x": x}, np.float16(5000), np.float16(1))
    x = np.full((1, 2), 60000, np.float16)
    assert_op(
        lambda x: (mb.reduce_sum(x=x), mb.reduce_mean(x=x), mb.reduce_l2_norm(x=x)),
        {"x": x},
        np.float16(np.inf),
        np.float16(60000),
        np.float16(np.inf),
    )


def test_log_sum_exp_of_large_and_infinite_values():
    x = np.array([[1000.0, 1000.0], [-np.inf, -np.inf], [-np.inf, 3.0]], np.float32)
    assert_op(lambda x: mb.reduce_log_sum_exp(x=x, axes=[-1]), {"x": x}, [1000 + np.log(2), -np.inf, 3.0])


@pytest.mark.parametrize("opset", ["iOS15", "iOS17"])
def test_arguments(opset):
    x = np.array([[[1, 3, 3], [2, 0, 0]]], np.float32)

    def build(x):
        return (
            mb.reduce_argmax(x=x),
            mb.reduce_argmin(x=x),
            mb.reduce_argmax(x=x, axis=1, keep_dims=True),
            mb.reduce_argmin(x=x, axis=-2),
        )

    assert_op(build, {"x": x}, [[1, 0]], [[0, 1]], [[[1, 0, 0]]], [[0, 1, 1]], opset=opset)


def test_argument_of_integers_as_uint16():
    x = np.array([2**24, 2**24 + 1], np.int32)
    assert_op(lambda x: mb.cast(x=mb.reduce_argmax(x=x, output_dtype="uint16"), dtype="int32"), {"x": x}, 1)


def test_nan_is_found():
    x = np.array([1.0, np.nan, 3.0], np.float32)
    nan = np.float32(np.nan)
    assert_op(lambda x: (mb.reduce_max(x=x), mb.reduce_min(x=x), mb.reduce_argmax(x=x)), {"x": x}, nan, nan, 1)
