"""Normalisations, by MIL's formulas in float64.

Oracle: NumPy.
Oracle of layer_norm: NumPy, literal.
"""

import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb

from milrun.ops.normalization import layer_norm
from tests.milrun.harness import assert_op

RNG = np.random.default_rng(0)
GAMMA, BETA = np.array([0.5, 2.0, -1.0], np.float32), np.array([0.1, -0.2, 3.0], np.float32)
LOOSE = {"rtol": 1e-5, "atol": 1e-5}


def normal(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


def standardised(x, axes, epsilon):
    x = x.astype(np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def channels(values, rank):
    return values.reshape(-1, *[1] * (rank - 2))


@pytest.mark.parametrize("spatial", [(4,), (4, 2), (4, 2, 3)])
def test_batch_norm(spatial):
    x = normal(2, 3, *spatial)
    mean, variance = np.array([0.0, 1.0, -1.0], np.float32), np.array([1e-6, 1.0, 4.0], np.float32)

    def expected(epsilon):
        m, v = channels(mean, x.ndim).astype(np.float64), channels(variance, x.ndim).astype(np.float64)
        return (x - m) / np.sqrt(v + epsilon)

    assert_op(
        lambda x: (
            mb.batch_norm(x=x, mean=mean, variance=variance),
            mb.batch_norm(x=x, mean=mean, variance=variance, gamma=GAMMA, beta=BETA, epsilon=np.float32(0.1)),
        ),
        {"x": x},
        expected(1e-5),
        channels(GAMMA, x.ndim) * expected(0.1) + channels(BETA, x.ndim),
        **LOOSE,
    )


@pytest.mark.parametrize("spatial", [(6,), (4, 2), (1,)])
def test_instance_norm(spatial):
    x = normal(2, 3, *spatial)
    axes = tuple(range(2, x.ndim))
    assert_op(
        lambda x: (
            mb.instance_norm(x=x),
            mb.instance_norm(x=x, gamma=GAMMA, beta=BETA, epsilon=np.float32(0.1)),
        ),
        {"x": x},
        standardised(x, axes, 1e-5),
        channels(GAMMA, x.ndim) * standardised(x, axes, 0.1) + channels(BETA, x.ndim),
        **LOOSE,
    )


@pytest.mark.parametrize("axes", [[-1], [1, 2], [1], [-2, 0], [2, 1], [0, 1, 2]])
def test_layer_norm_axes(axes):
    x = normal(2, 3, 4)
    over = tuple(axes)
    kept = [x.shape[d] if d in {a % 3 for a in over} else 1 for d in range(3)]
    gamma, beta = normal(*[k for k in kept if k > 1]), normal(*[k for k in kept if k > 1])
    scaled = standardised(x, over, 0.01) * gamma.reshape(kept)
    assert_op(
        lambda x: (
            mb.layer_norm(x=x, axes=axes),
            mb.layer_norm(x=x, gamma=gamma, beta=beta, epsilon=np.float32(0.01), axes=axes),
            mb.layer_norm(x=x, gamma=gamma, epsilon=np.float32(0.01), axes=axes),
        ),
        {"x": x},
        standardised(x, over, 1e-5),
        scaled + beta.reshape(kept),
        scaled,
        **LOOSE,
    )


def test_layer_norm_over_everything_by_default():
    x = torch.from_numpy(normal(2, 3))  # called directly: coremltools 9.0 cannot build its own default (a range)
    np.testing.assert_allclose(layer_norm(x).numpy(), standardised(x.numpy(), (0, 1), 1e-5), **LOOSE)


def test_layer_norm_float16_squares_beyond_its_range():
    x = np.array([[-3000.0, 3000.0, -3000.0, 3000.0]], np.float16)  # 9e6 is no float16
    assert_op(lambda x: mb.layer_norm(x=x, axes=[-1]), {"x": x}, [[-1.0, 1.0, -1.0, 1.0]])


def test_layer_norm_of_a_constant_row_is_beta():
    x = np.full((1, 3), 7, np.float32)
    assert_op(lambda x: mb.layer_norm(x=x, axes=[-1], gamma=GAMMA, beta=BETA), {"x": x}, BETA[None])


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 2, 3, 4), (2, 1, 2, 3, 4)])
def test_l2_norm_covers_the_last_three_dimensions(shape):
    x = normal(*shape)
    squares = np.square(x.astype(np.float64)).sum((-3, -2, -1), keepdims=True)
    assert_op(
        lambda x: (mb.l2_norm(x=x), mb.l2_norm(x=x, epsilon=np.float32(2))),
        {"x": x},
        x / np.sqrt(squares + 1e-6),
        x / np.sqrt(squares + 2),
    )


@pytest.mark.parametrize("size", [1, 3, 4])
def test_local_response_norm(size):
    x = normal(2, 6, 3, 2)
    before = size // 2
    squares = np.pad(np.square(x.astype(np.float64)), [(0, 0), (before, size - 1 - before), (0, 0), (0, 0)])
    total = sum(squares[:, i : i + 6] for i in range(size))
    assert_op(
        lambda x: (
            mb.local_response_norm(x=x, size=size),
            mb.local_response_norm(x=x, size=size, alpha=np.float32(0.5), beta=np.float32(2), k=np.float32(0.25)),
        ),
        {"x": x},
        x / (1 + 1e-4 / size * total) ** 0.75,
        x / (0.25 + 0.5 / size * total) ** 2,
        **LOOSE,
    )


def test_iOS17_float32_parameters_beside_float16_inputs():
    x = normal(2, 3, 4, dtype=np.float16)
    mean, variance = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert_op(
        lambda x: mb.batch_norm(x=x, mean=mean, variance=variance, epsilon=np.float32(1e-12)),
        {"x": x},
        x,
        opset="iOS17",
    )
