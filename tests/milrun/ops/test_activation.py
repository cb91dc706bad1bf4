"""Activations, by formulas written out from MIL's documentation, in float64.

Oracle: NumPy.
Oracle of gelu, leaky_relu, linear_activation: NumPy, literal.
"""

import math

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

from tests.milrun.harness import TOLERANCE, assert_op, run_op

X = np.array([[-30.0, -3.0, -1.0, -0.5, -0.0], [0.0, 0.25, 1.0, 5.9, 30.0]], dtype=np.float32)
ALPHA, BETA = np.float32(0.25), np.float32(1.5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def leaky(x, alpha):
    return np.where(x >= 0, x, alpha * x)


REFERENCES = {
    "clamped_relu": ({"alpha": ALPHA, "beta": BETA}, lambda x: np.minimum(leaky(x, 0.25), 1.5)),
    "elu": ({"alpha": ALPHA}, lambda x: np.where(x > 0, x, 0.25 * np.expm1(np.minimum(x, 0)))),
    "leaky_relu": ({"alpha": ALPHA}, lambda x: leaky(x, 0.25)),
    "linear_activation": ({"alpha": ALPHA, "beta": BETA}, lambda x: 0.25 * x + 1.5),
    "relu": ({}, lambda x: np.maximum(x, 0)),
    "relu6": ({}, lambda x: np.clip(x, 0, 6)),
    "scaled_tanh": ({"alpha": ALPHA, "beta": BETA}, lambda x: 0.25 * np.tanh(1.5 * x)),
    "sigmoid": ({}, sigmoid),
    "sigmoid_hard": ({"alpha": ALPHA, "beta": np.float32(0.5)}, lambda x: np.clip(0.25 * x + 0.5, 0, 1)),
    "silu": ({}, lambda x: x * sigmoid(x)),
    "softplus": ({}, lambda x: np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)),
    "softsign": ({}, lambda x: x / (1 + np.abs(x))),
    "thresholded_relu": ({"alpha": ALPHA}, lambda x: np.where(x >= 0.25, x, 0)),
}


@pytest.mark.parametrize(("dtype", "opset"), [(np.float32, "iOS15"), (np.float16, "iOS17")])
def test_every_activation(dtype, opset):
    """iOS17 also takes the float32 parameters beside a float16 x."""
    x = X.astype(dtype)
    build = [(name, parameters) for name, (parameters, _) in REFERENCES.items()]
    results = run_op(lambda x: tuple(getattr(mb, n)(x=x, **p) for n, p in build), {"x": x}, opset)
    for (name, (_, reference)), y in zip(REFERENCES.items(), results, strict=True):
        expected = reference(x.astype(np.float64)).astype(dtype)
        np.testing.assert_allclose(y, expected, **TOLERANCE[x.dtype.str[1:]], err_msg=name)


def test_nan_stays_nan():
    x = np.array([np.nan], dtype=np.float32)
    build = [(name, parameters) for name, (parameters, _) in REFERENCES.items()]
    results = run_op(lambda x: tuple(getattr(mb, n)(x=x, **p) for n, p in build), {"x": x})
    assert [name for (name, _), y in zip(build, results, strict=True) if not np.isnan(y).all()] == []


def test_gelu_modes():
    def exact(x):
        return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    def tanh(x):
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

    def build(x):
        modes = ("EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION")
        return (mb.gelu(x=x), *(mb.gelu(x=x, mode=m) for m in modes))

    x = X.astype(np.float64)
    assert_op(build, {"x": X}, exact(x), exact(x), tanh(x), x * sigmoid(1.702 * x))


def test_gelu_modes_differ():
    x = np.array([1.0], dtype=np.float32)

    def build(x):
        return tuple(mb.gelu(x=x, mode=m) for m in ("EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"))

    assert_op(build, {"x": x}, [0.8413447], [0.8411920], [0.8457957])


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_prelu_slopes_follow_channels(rank):
    x = np.linspace(-2, 2, 2 * 3 * 2 ** (rank - 2), dtype=np.float32).reshape(2, 3, *[2] * (rank - 2))
    alpha = np.array([0.5, 0.25, 2.0] if rank == 4 else [0.5] * 3, dtype=np.float32)
    slopes = alpha.reshape(1, 3, *[1] * (rank - 2))
    assert_op(lambda x: mb.prelu(x=x, alpha=alpha), {"x": x}, np.where(x > 0, x, slopes * x))


def test_softplus_parametric_does_not_overflow():
    x = np.array([[[1.0, 400.0], [-400.0, 0.5]]], dtype=np.float32)
    alpha, beta = np.array([2.0, 3.0], np.float32), np.array([1.0, -1.0], np.float32)
    expected = np.array([[[2 * np.log1p(np.e), 800.0], [1200.0, 3 * np.log1p(np.exp(-0.5))]]])
    assert_op(lambda x: mb.softplus_parametric(x=x, alpha=alpha, beta=beta), {"x": x}, expected)


def test_softmax_axes_at_rank_5():
    x = np.random.default_rng(0).normal(size=(2, 3, 1, 2, 4)).astype(np.float32)
    powers = np.exp(x.astype(np.float64))
    axes = [0, 1, -2, 4]
    expected = [powers / powers.sum(axis, keepdims=True) for axis in [-1, *axes]]
    assert_op(lambda x: (mb.softmax(x=x), *(mb.softmax(x=x, axis=a) for a in axes)), {"x": x}, *expected)


def test_softmax_of_large_and_infinite_logits():
    x = np.array([[60000.0, 60000.0, -np.inf], [-np.inf, -np.inf, -np.inf]], dtype=np.float16)
    (y,) = run_op(lambda x: mb.softmax(x=x), {"x": x})
    np.testing.assert_array_equal(y[0], [0.5, 0.5, 0.0])
    assert np.isnan(y[1]).all()


def test_float16_overflow_is_infinite():
    x = np.array([60000.0, -60000.0], dtype=np.float16)
    assert_op(lambda x: mb.linear_activation(x=x, alpha=np.float16(4), beta=np.float16(0)), {"x": x}, [np.inf, -np.inf])


def test_float16_inner_overflow_does_not_show():
    # x^3 is beyond float16, gelu(x) is not: an op computes in float32 and rounds once.
    x = np.array([100.0], dtype=np.float16)
    assert_op(lambda x: mb.gelu(x=x, mode="TANH_APPROXIMATION"), {"x": x}, [100.0])


def test_scalar():
    one = np.array([-2.0], dtype=np.float32)
    assert_op(lambda x: mb.leaky_relu(x=mb.reduce_sum(x=x), alpha=ALPHA), {"x": one}, np.float32(-0.5))
