"""Random ops: their distributions, and the contract in the module's docstring.

Oracle: moments.
"""

import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb

from milrun.ops.random import random_categorical, random_normal
from tests.milrun.harness import run_op

X = np.zeros(1, np.float32)
SHAPE = [4, 5000]


@pytest.fixture(scope="module")
def draws():
    def build(x):
        return (
            mb.random_bernoulli(shape=SHAPE, prob=np.float32(0.2), seed=1),
            mb.random_normal(shape=SHAPE, mean=np.float32(3), stddev=np.float32(2), seed=1),
            mb.random_uniform(shape=SHAPE, low=np.float32(-1), high=np.float32(3), seed=1),
            mb.random_normal(shape=SHAPE, mean=np.float16(0), stddev=np.float16(1), seed=2),
        )

    return run_op(build, {"x": X})


def test_bernoulli(draws):
    assert draws[0].shape == (4, 5000)
    assert set(np.unique(draws[0])) == {0.0, 1.0}
    assert abs(draws[0].mean() - 0.2) < 0.02


def test_normal(draws):
    assert abs(draws[1].mean() - 3) < 0.08
    assert abs(draws[1].std() - 2) < 0.08
    assert abs(np.mean(np.abs(draws[1] - 3) < 2) - 0.6827) < 0.02


def test_uniform(draws):
    assert draws[2].min() >= -1
    assert draws[2].max() < 3
    assert abs(draws[2].mean() - 1) < 0.05
    assert abs(draws[2].std() - 4 / np.sqrt(12)) < 0.05


def test_float16_holds_float16_values(draws):
    np.testing.assert_array_equal(draws[3], draws[3].astype(np.float16))


@pytest.mark.parametrize("mode", ["logits", "probs"])
def test_categorical(mode):
    probabilities = np.array([[0.1, 0.0, 0.9], [0.5, 0.5, 0.0]], np.float32)
    with np.errstate(divide="ignore"):
        x = np.log(probabilities) if mode == "logits" else probabilities
    (y,) = run_op(lambda x: mb.random_categorical(x=x, mode=mode, size=4000, seed=3), {"x": x})
    assert y.shape == (2, 4000)
    for row, expected in zip(y, probabilities, strict=True):
        shares = [(row == k).mean() for k in range(3)]
        np.testing.assert_allclose(shares, expected, atol=0.03)


def test_categorical_of_a_vector_and_of_rank_3():
    assert random_categorical(torch.zeros(4), size=2, seed=0).shape == (2,)
    assert random_categorical(torch.zeros(2, 3, 4), seed=0).shape == (2, 3, 1)


def test_a_seed_repeats_itself_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    assert torch.equal(random_normal([3], seed=7), random_normal([3], seed=7))
    assert not torch.equal(random_normal([3], seed=7), random_normal([3], seed=8))
    assert torch.equal(before, torch.get_rng_state())


def test_without_a_seed_the_global_generator_decides():
    state = torch.get_rng_state()
    try:
        torch.manual_seed(0)
        first, second = random_normal([3]), random_normal([3])
        torch.manual_seed(0)
        assert torch.equal(first, random_normal([3]))
        assert not torch.equal(first, second)
    finally:
        torch.set_rng_state(state)
