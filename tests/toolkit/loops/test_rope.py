"""Rotary tables against the stock embeddings."""

import numpy as np
import pytest
import torch
from transformers import Qwen3Config, Qwen3VLTextConfig
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRotaryEmbedding

from toolkit.loops.rope import _frequencies, rotary_tables

LONG = np.array([0, 1, 2, 63, 1000, 4095, 8191, 8999, 9000])
# The sine or cosine of one and the same angle, by two float32 kernels: each is off by 2 units of what is at most 1.
MAX_ABS = 2 * 2 * 2**-23


def stock(cls, config_cls, positions, head_dim, theta, **parameters):
    """(cos, sin, how far off they may be): an angle is as far off as its frequency, position times.

    A processor's own `pow` may round a frequency the other way, and the reciprocal once more.
    """
    rope = {"rope_type": "default", "rope_theta": theta, **parameters}
    config = config_cls(head_dim=head_dim, rope_parameters=rope, max_position_embeddings=16384)
    module = cls(config)
    cos, sin = module(torch.zeros(1), torch.from_numpy(positions))
    theirs, ours = module.inv_freq.numpy().astype(np.float64), _frequencies(head_dim, theta)
    np.testing.assert_allclose(ours, theirs, rtol=2 * 2**-23)
    off = np.abs(ours - theirs) * positions.max()  # [D / 2]
    return cos[0].numpy(), sin[0].numpy(), MAX_ABS + np.concatenate([off, off])


def plain(positions, head_dim, theta):
    return stock(Qwen3RotaryEmbedding, Qwen3Config, positions[None], head_dim, theta)


def interleaved(positions, head_dim, theta, sections):
    rows = positions[:, None]  # [3, S] -> [3, 1, S]
    args = (rows, head_dim, theta)
    return stock(Qwen3VLTextRotaryEmbedding, Qwen3VLTextConfig, *args, mrope_section=list(sections))


def assert_tables(ours, expected):
    *expected, tolerance = expected
    for table, other in zip(ours, expected, strict=True):
        assert (table.shape, table.dtype) == (other.shape, np.float32)
        assert np.all(np.abs(table - other) <= tolerance)


@pytest.mark.parametrize(("head_dim", "theta"), [(64, 1e4), (128, 1e4), (64, 1e6), (128, 1e6), (16, 1e6), (128, 5e5)])
def test_plain(head_dim, theta):
    assert_tables(rotary_tables(LONG, head_dim, theta), plain(LONG, head_dim, theta))


def test_every_position():
    positions = np.arange(9001)
    assert_tables(rotary_tables(positions, 128, 1e6), plain(positions, 128, 1e6))


def test_the_rounding_of_the_angles_is_upstreams_and_not_nothing():
    true = LONG[:, None] * 1e6 ** (-np.arange(0, 128, 2) / 128)
    cos, _ = rotary_tables(LONG, 128, 1e6)
    assert 1e-5 < np.abs(cos[:, :64] - np.cos(true)).max() < 1e-3


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize(("head_dim", "sections"), [(128, (24, 20, 20)), (32, (6, 5, 5)), (24, (8, 2, 2))])
def test_three_rows(head_dim, sections, dtype):
    positions = np.stack([LONG, LONG[::-1], LONG * 2 // 3]).astype(dtype)
    assert_tables(
        rotary_tables(positions, head_dim, 1e6, sections), interleaved(positions.astype(int), head_dim, 1e6, sections)
    )


def test_three_equal_rows_are_one():
    ours = rotary_tables(np.stack([LONG] * 3), 128, 1e6, (24, 20, 20))
    for table, other in zip(ours, rotary_tables(LONG, 128, 1e6), strict=True):
        np.testing.assert_array_equal(table, other)


def test_no_positions():
    assert [table.shape for table in rotary_tables(np.zeros(0, int), 64, 1e4)] == [(0, 64)] * 2


@pytest.mark.parametrize(
    ("shape", "sections"), [((3, 4), None), ((4,), (24, 20, 20)), ((2, 4), (24, 20, 20)), ((3, 4), (24, 20, 19))]
)
def test_rows_and_sections_that_do_not_belong_together(shape, sections):
    with pytest.raises(ValueError, match="sections"):
        rotary_tables(np.zeros(shape, int), 128, 1e6, sections)
