"""Matrix products, in float64, integers exactly.

Oracle: NumPy, literal.
Oracle of einsum: NumPy.
"""

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

from tests.milrun.harness import assert_op

RNG = np.random.default_rng(0)


def normal(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (2, 1, 3, 5)])
def test_linear_ranks(shape):
    x, weight, bias = normal(*shape), normal(4, 5), normal(4)
    product = x.astype(np.float64) @ weight.T
    assert_op(
        lambda x: (mb.linear(x=x, weight=weight, bias=bias), mb.linear(x=x, weight=weight)),
        {"x": x},
        product + bias,
        product,
        rtol=1e-5,
        atol=1e-5,
    )


def test_linear_of_integers_is_exact():
    x = np.array([[2**24 + 1, 1]], np.int32)
    weight, bias = np.array([[1, 2], [3, -1]], np.int32), np.array([1, 0], np.int32)
    assert_op(lambda x: mb.linear(x=x, weight=weight, bias=bias), {"x": x}, [[2**24 + 4, 3 * 2**24 + 2]])


def test_linear_float16_sums_in_float32():
    # Added up in float16 the ones would be lost behind 2048.
    x = np.ones((1, 4097), np.float16)
    x[0, 0] = 2048
    weight = np.ones((1, 4097), np.float16)
    assert_op(lambda x: mb.linear(x=x, weight=weight), {"x": x}, [[6144.0]])


def test_linear_iOS17_takes_float32_weights_beside_float16_inputs():
    x, weight = normal(2, 3, dtype=np.float16), normal(4, 3)
    expected = (x.astype(np.float64) @ weight.T).astype(np.float16)
    assert_op(lambda x: mb.linear(x=x, weight=weight), {"x": x}, expected, opset="iOS17")


@pytest.mark.parametrize("transposed", ["", "x", "y", "xy"])
def test_matmul_broadcasts_batches_and_transposes(transposed):
    x, y = normal(3, 1, 4, 5), normal(2, 5, 6)
    given_x = np.ascontiguousarray(x.swapaxes(-1, -2)) if "x" in transposed else x
    given_y = np.ascontiguousarray(y.swapaxes(-1, -2)) if "y" in transposed else y
    assert_op(
        lambda x, y: mb.matmul(x=x, y=y, transpose_x="x" in transposed, transpose_y="y" in transposed),
        {"x": given_x, "y": given_y},
        np.einsum("abij,bjk->abik", x.astype(np.float64), y),
        rtol=1e-5,
        atol=1e-5,
    )


def test_matmul_of_a_vector_and_of_integers():
    assert_op(
        lambda x, y: mb.matmul(x=x, y=y),
        {"x": np.array([1, 2], np.int32), "y": np.array([[1, 2**24], [10, 1]], np.int32)},
        [21, 2**24 + 2],
    )


def test_matmul_overflows_to_infinity_in_float16():
    x = np.full((1, 2), 300, np.float16)
    assert_op(lambda x: mb.matmul(x=x, y=x, transpose_y=True), {"x": x}, [[np.inf]])


@pytest.mark.parametrize(
    ("equation", "x_shape", "y_shape"),
    [
        ("nchw,nwhu->nchu", (2, 3, 4, 5), (2, 5, 4, 6)),
        ("nchw,nwhu->nchu", (1, 3, 4, 5), (2, 5, 1, 6)),
        ("abcd,adce->abce", (2, 3, 1, 5), (1, 5, 4, 6)),
        ("chw,whr->chr", (3, 4, 5), (5, 4, 6)),
    ],
)
def test_einsum(equation, x_shape, y_shape):
    x, y = normal(*x_shape), normal(*y_shape)
    # out[.., c, h, u] = sum over w of x[.., c, h, w] * y[.., w, h, u], written as a broadcast product
    across = np.swapaxes(y, -3, -2)[..., None, :, :, :].astype(np.float64)  # [.., 1, h, w, u]
    expected = (x[..., None] * across).sum(-2)
    assert_op(
        lambda x, y: mb.einsum(values=(x, y), equation=equation), {"x": x, "y": y}, expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int32])
def test_matmul_with_a_constant_of_another_dtype(dtype):
    x, y = np.arange(10).reshape(2, 5).astype(dtype), np.arange(10, dtype=np.float16).reshape(5, 2)
    assert_op(lambda x: mb.matmul(x=x, y=y), {"x": x}, (x.astype(np.float32) @ y.astype(np.float32)), opset="iOS17")
    assert_op(lambda x: mb.matmul(x=y, y=x), {"x": x}, (y.astype(np.float32) @ x.astype(np.float32)), opset="iOS17")
