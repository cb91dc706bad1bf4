"""Convolutions, by the sums written out over the kernel, in float64.

Oracle: loops.
Oracle of conv: loops, literal.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb

from milrun.ops.conv import conv, conv_quantized
from tests.milrun.harness import assert_op

RNG = np.random.default_rng(0)
LOOSE = {"rtol": 1e-5, "atol": 1e-5}


def normal(*shape, dtype=np.float32):
    return RNG.normal(size=shape).astype(dtype)


def convolve(x, weight, pads, strides, dilations, groups=1):
    """x [B, C_in, *D], weight [C_out, C_in / groups, *K], pads [(before, after), ...]."""
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *pads])
    kernel, per_in, per_out = weight.shape[2:], weight.shape[1], weight.shape[0] // groups
    sizes = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True)]
    out = np.zeros((x.shape[0], weight.shape[0], *sizes))
    for tap in itertools.product(*map(range, kernel)):
        starts = [t * d for t, d in zip(tap, dilations, strict=True)]
        window = tuple(slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, sizes, strides, strict=True))
        part = x[(slice(None), slice(None), *window)]
        for g in range(groups):
            rows = slice(g * per_out, (g + 1) * per_out)
            one = weight[(rows, slice(None), *tap)]
            out[:, rows] += np.einsum("oc,bc...->bo...", one, part[:, g * per_in : (g + 1) * per_in])
    return out


def transposed(x, weight, strides, dilations, groups=1):
    """Scatter: x [B, C_in, *D], weight [C_in, C_out / groups, *K] -> every element the kernel reaches."""
    kernel, per_out, per_in = weight.shape[2:], weight.shape[1], weight.shape[0] // groups
    sizes = [(n - 1) * s + (k - 1) * d + 1 for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True)]
    out = np.zeros((x.shape[0], per_out * groups, *sizes))
    for tap in itertools.product(*map(range, kernel)):
        starts = [t * d for t, d in zip(tap, dilations, strict=True)]
        window = tuple(slice(a, a + (n - 1) * s + 1, s) for a, n, s in zip(starts, x.shape[2:], strides, strict=True))
        for g in range(groups):
            rows = slice(g * per_in, (g + 1) * per_in)
            part = np.einsum("co,bc...->bo...", weight[(rows, slice(None), *tap)].astype(np.float64), x[:, rows])
            out[(slice(None), slice(g * per_out, (g + 1) * per_out), *window)] += part
    return out


def same_pads(size, kernel, stride):
    total = max(0, (math.ceil(size / stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv_ranks_strides_dilations_groups(rank):
    x, weight, bias = normal(2, 4, *[9, 7, 6][:rank]), normal(6, 2, *[3, 2, 1][:rank]), normal(6)
    strides, dilations, pad = [2, 1, 3][:rank], [2, 3, 1][:rank], [1, 1, 2, 0, 0, 1][: 2 * rank]
    pads = list(zip(pad[::2], pad[1::2], strict=True))
    expected = convolve(x, weight, pads, strides, dilations, groups=2) + bias.reshape(-1, *[1] * rank)
    assert_op(
        lambda x: mb.conv(
            x=x,
            weight=weight,
            bias=bias,
            strides=strides,
            dilations=dilations,
            pad_type="custom",
            pad=pad,
            groups=2,
        ),
        {"x": x},
        expected,
        **LOOSE,
    )


def test_conv_defaults_are_valid_and_ones():
    x, weight = normal(1, 2, 6), normal(3, 2, 3)
    assert_op(lambda x: mb.conv(x=x, weight=weight), {"x": x}, convolve(x, weight, [(0, 0)], [1], [1]), **LOOSE)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(7, 4, 2), (8, 4, 1), (8, 3, 2), (5, 1, 3)])
def test_conv_same_is_heavier_after_and_same_lower_before(size, kernel, stride):
    x, weight = normal(1, 2, size), normal(3, 2, kernel)
    before, after = same_pads(size, kernel, stride)
    assert_op(
        lambda x: (
            mb.conv(x=x, weight=weight, strides=[stride], pad_type="same"),
            mb.conv(x=x, weight=weight, strides=[stride], pad_type="same_lower"),
        ),
        {"x": x},
        convolve(x, weight, [(before, after)], [stride], [1]),
        convolve(x, weight, [(after, before)], [stride], [1]),
        **LOOSE,
    )


def test_conv_of_too_short_an_input_says_what_is_too_short():
    x, weight = torch.zeros(1, 8, 0), torch.zeros(16, 8, 3)
    with pytest.raises(ValueError, match=r"x \[1, 8, 0\], padded by \[\(1, 1\)\], is smaller than the kernel, \[3\]"):
        conv(x, weight, pad_type="custom", pad=[1, 1])


def test_conv_same_golden():
    x = np.array([[[1, 2, 3]]], np.float32)
    weight = np.array([[[10, 1]]], np.float32)
    assert_op(lambda x: mb.conv(x=x, weight=weight, pad_type="same"), {"x": x}, [[[12, 23, 30]]])
    assert_op(lambda x: mb.conv(x=x, weight=weight, pad_type="same_lower"), {"x": x}, [[[1, 12, 23]]])


def test_conv_depthwise_with_a_computed_weight():
    x, weight = normal(1, 3, 6), normal(3, 1, 2)
    expected = convolve(x, weight, [(0, 0)], [1], [1], groups=3)
    assert_op(lambda x, w: mb.conv(x=x, weight=w, groups=3), {"x": x, "w": weight}, expected, **LOOSE)


def test_conv_float16_overflow_and_float32_sums():
    weight = np.ones((1, 4097, 1), np.float16)
    x = np.ones((1, 4097, 2), np.float16)
    x[0, 0] = [2048, 65504]
    assert_op(lambda x: mb.conv(x=x, weight=weight), {"x": x}, [[[6144.0, np.inf]]])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv_transpose_ranks(rank):
    x, weight, bias = normal(2, 4, *[4, 3, 2][:rank]), normal(4, 3, *[3, 2, 2][:rank]), normal(6)
    strides, dilations, pad = [2, 1, 3][:rank], [2, 2, 1][:rank], [1, 0, 0, 1, 1, 1][: 2 * rank]
    whole = transposed(x, weight, strides, dilations, groups=2) + bias.reshape(-1, *[1] * rank)
    cut = tuple(slice(a, n - b) for a, b, n in zip(pad[::2], pad[1::2], whole.shape[2:], strict=True))
    given = {"weight": weight, "bias": bias, "strides": strides, "dilations": dilations, "groups": 2}
    assert_op(
        lambda x: (mb.conv_transpose(x=x, **given), mb.conv_transpose(x=x, pad_type="custom", pad=pad, **given)),
        {"x": x},
        whole,
        whole[(slice(None), slice(None), *cut)],
        **LOOSE,
    )


@pytest.mark.parametrize(("kernel", "stride"), [(5, 2), (4, 2), (2, 3)])
def test_conv_transpose_same(kernel, stride):
    x, weight, bias = normal(1, 2, 4), normal(2, 3, kernel), normal(3)
    whole = transposed(x, weight, [stride], [1])
    before = max(0, kernel - stride) // 2
    reach = np.zeros((1, 3, 4 * stride))
    kept = whole[..., before : before + 4 * stride]
    reach[..., : kept.shape[-1]] = kept
    assert_op(
        lambda x: mb.conv_transpose(x=x, weight=weight, bias=bias, strides=[stride], pad_type="same"),
        {"x": x},
        reach + bias[:, None],  # what no tap reaches holds the bias alone
        **LOOSE,
    )


def test_conv_transpose_same_is_the_gradient_of_conv_same():
    # forward: 7 -> 4 with stride 2; the output shape 7 is not 4 * 2
    x, weight = normal(1, 2, 4), normal(2, 3, 4)
    before, _ = same_pads(7, 4, 2)
    expected = transposed(x, weight, [2], [1])[..., before : before + 7]
    assert_op(
        lambda x: mb.conv_transpose(x=x, weight=weight, strides=[2], pad_type="same", output_shape=[1, 3, 7]),
        {"x": x},
        expected,
        **LOOSE,
    )


def test_conv_transpose_output_shape_beyond_the_kernel():
    x, weight = normal(1, 2, 3), normal(2, 1, 2)
    whole = transposed(x, weight, [2], [1])
    expected = np.concatenate([whole[..., 1:], np.zeros((1, 1, 2))], -1)
    assert_op(
        lambda x: mb.conv_transpose(
            x=x, weight=weight, strides=[2], pad_type="custom", pad=[1, 0], output_shape=[1, 1, 7]
        ),
        {"x": x},
        expected,
        **LOOSE,
    )


def test_conv_quantized():
    x, weight = normal(1, 2, 5), RNG.integers(0, 256, (3, 2, 2)).astype(np.uint8)
    scale, offset = np.array([0.1, 0.2, 0.3], np.float32), np.array([-1, 0, 1], np.float32)
    expected = convolve(x, weight * scale[:, None, None] + offset[:, None, None], [(0, 0)], [1], [1])
    got = conv_quantized(
        torch.from_numpy(x), weight, "linear", torch.from_numpy(scale), torch.from_numpy(offset), pad_type="valid"
    )
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(NotImplementedError, match="lut"):
        conv_quantized(torch.from_numpy(x), weight, "lut", torch.from_numpy(scale), torch.from_numpy(offset))
