"""scaled_dot_product_attention, by its formula in float64.

Oracle: NumPy.
"""

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

from tests.milrun.harness import assert_op

B, HEADS, L, S, E, EV = 2, 3, 4, 5, 8, 6


def random(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def attention(q, k, v, mask=None):
    scores = q.astype(np.float64) @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True) @ v


def given(rank):
    heads = (HEADS,) * (rank - 3)
    return {"q": random(B, *heads, L, E), "k": random(B, *heads, S, E), "v": random(B, *heads, S, EV)}


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_without_a_mask(rank):
    inputs = given(rank)
    assert_op(
        lambda q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v),
        inputs,
        attention(*inputs.values()),
        rtol=1e-5,
        atol=1e-6,
    )


causal = np.tri(L, S, dtype=bool)
MASKS = {
    "bool [L, S]": causal,
    "bool [1, 1, L, S]": causal[None, None],
    "bool [B, 1, 1, S]": np.arange(S) < np.array([3, 5]).reshape(B, 1, 1, 1),
    "float [L, S]": random(L, S),
    "float with -inf": np.where(causal, 0, -np.inf).astype(np.float32),
    "float [B, H, L, S]": random(B, HEADS, L, S),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_with_a_mask(mask):
    inputs = given(4)
    assert_op(
        lambda q, k, v, m: mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=m),
        inputs | {"m": mask},
        attention(*inputs.values(), mask),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.parametrize("mask", [np.arange(S)[None] < 3, np.float32([[0, 0, -1e4, 1, 0]])], ids=["bool", "float"])
def test_a_mask_of_rank_2_for_a_batch_without_heads(mask):
    inputs = given(3)
    assert_op(
        lambda q, k, v, m: mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=m),
        inputs | {"m": mask},
        attention(*inputs.values(), mask),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_row_with_nothing_to_attend_to_is_nan():
    inputs, mask = given(4), causal.copy()
    mask[1] = False
    expected = attention(*inputs.values(), mask)
    assert np.isnan(expected[:, :, 1]).all()
    assert_op(
        lambda q, k, v, m: mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=m),
        inputs | {"m": mask},
        expected,
        rtol=1e-5,
        atol=1e-6,
    )


def test_float16_rounds_the_result_alone():
    inputs = {name: value.astype(np.float16) for name, value in given(4).items()}
    assert_op(
        lambda q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v), inputs, attention(*inputs.values())
    )
