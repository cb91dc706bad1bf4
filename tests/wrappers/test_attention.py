"""The shared attention against `torch.nn.functional.scaled_dot_product_attention`, and its masks."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from tests.wrappers.toy_decoder import HEAD_DIM, WIDTH, grouped
from wrappers.attention import MASKED, CachedAttention, GroupedAttention, causal_mask, mask_from

SIZES = [(1, 1), (1, 4), (2, 1), (2, 3)]
LENGTH, KEYS = 5, 7


def heads(projected, count):
    return projected.view(1, -1, count, HEAD_DIM).transpose(1, 2)


def oracle(reference, hidden, others, seen):
    """[1, S, D]; `seen` bool [S, C]. Torch copies each key for the queries of its group."""
    key_heads = reference.k_proj.out_features // HEAD_DIM
    query = heads(reference.q_proj(hidden), key_heads * reference.num_key_value_groups)
    key, value = heads(reference.k_proj(others), key_heads), heads(reference.v_proj(others), key_heads)
    context = scaled_dot_product_attention(query, key, value, seen, scale=reference.scaling, enable_gqa=True)
    return reference.o_proj(context.transpose(1, 2).flatten(2))


@pytest.mark.parametrize(("key_heads", "groups"), SIZES)
def test_causal_self_attention(key_heads, groups):
    reference, hidden = grouped(1, key_heads, groups), torch.randn(1, LENGTH, WIDTH)
    attention = CachedAttention(reference)
    ours = attention(hidden, *attention.keys_values(hidden), causal_mask(LENGTH)[None, None])
    seen = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril()
    torch.testing.assert_close(ours, oracle(reference, hidden, hidden, seen), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("key_heads", "groups"), SIZES)
@pytest.mark.parametrize("length", [1, LENGTH])
def test_attention_to_the_valid_keys_of_another_sequence(key_heads, groups, length):
    """One row of mask for all queries."""
    reference = grouped(2, key_heads, groups)
    hidden, others = torch.randn(1, length, WIDTH), torch.randn(1, KEYS, WIDTH)
    attention = CachedAttention(reference)
    mask = mask_from(torch.arange(KEYS, dtype=torch.int32), torch.tensor([4], dtype=torch.int32))
    ours = attention(hidden, *attention.keys_values(others), mask)
    seen = (torch.arange(KEYS) < 4).expand(length, KEYS)
    torch.testing.assert_close(ours, oracle(reference, hidden, others, seen), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("key_heads", "groups"), SIZES)
@pytest.mark.parametrize("length", [1, LENGTH])
def test_rows_are_those_of_rank_5_and_joined_again(key_heads, groups, length):
    attention = GroupedAttention(grouped(3, key_heads, groups))
    query = torch.randn(1, length, key_heads * groups, HEAD_DIM)
    rows = attention._rows(query, length)
    split = query.view(1, length, key_heads, groups, HEAD_DIM)
    by_groups = split.permute(0, 2, 3, 1, 4).reshape(1, key_heads, groups * length, HEAD_DIM)
    assert torch.equal(rows, by_groups)
    assert torch.equal(attention._joined(rows, length), query.flatten(2))


def test_one_row_is_not_transposed():
    attention = GroupedAttention(grouped(3, 2, 3))
    query = torch.randn(1, 1, 6, HEAD_DIM)
    traced = torch.jit.trace(lambda q: attention._joined(attention._rows(q, 1), 1), query)
    assert "transpose" not in str(traced.graph)


def test_masks_are_of_finite_numbers_in_float16():
    assert torch.isfinite(torch.tensor(2 * MASKED).half())
    assert (causal_mask(3) / MASKED).tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    slots = torch.arange(4, dtype=torch.int32)
    for position, expected in ((0, [1, 1, 1, 1]), (3, [0, 0, 0, 1]), (4, [0, 0, 0, 0])):
        mask = mask_from(slots, torch.tensor([position], dtype=torch.int32))
        assert (mask / MASKED).tolist() == [[[expected]]]
