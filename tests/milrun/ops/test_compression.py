"""Compressed weights: the examples of MIL's descriptions, and models compressed with coremltools.optimize.

Oracle: literal, decompress_weights.
Oracle of constexpr_affine_dequantize: literal.
Oracle of constexpr_cast: NumPy.
Oracle of constexpr_lut_to_dense@iOS16: NumPy, literal.
Oracle of constexpr_lut_to_dense@iOS18: NumPy, literal, decompress_weights.
Oracle of constexpr_sparse_to_dense@iOS16: literal.
Oracle of constexpr_blockwise_shift_scale: NumPy, decompress_weights.
"""

from dataclasses import replace

import coremltools as ct
import coremltools.optimize.coreml as cto
import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil.types.type_mapping import string_to_nptype

import milrun
from tests.milrun.harness import assert_op


def stored(values, dtype):
    """An array that coremltools stores as `dtype`, sub-byte ones included."""
    return np.array(values).astype(string_to_nptype(dtype))


def check(weight, expected, opset="iOS18", dtype=np.float32):
    """A compressed weight reads back as `expected`: it is added to zeros."""
    zeros = np.zeros(np.shape(expected), dtype)
    assert_op(lambda x: mb.add(x=x, y=weight()), {"x": zeros}, np.asarray(expected), opset=opset)


@pytest.mark.parametrize(
    ("axis", "scale", "zero_point", "expected"),
    [
        (0, np.float32(0.5), np.int8(2), [[-65, -1, 0], [0.5, 1, 62.5]]),
        (-1, np.float32([1, 10, 0.5]), np.int8([0, 1, 2]), [[-128, -10, 0], [3, 30, 62.5]]),
        (0, np.float32([1, 2]), np.int8([0, 0]), [[-128, 0, 2], [6, 8, 254]]),
    ],
)
def test_affine_dequantize(axis, scale, zero_point, expected):
    data = np.array([[-128, 0, 2], [3, 4, 127]], np.int8)
    check(
        lambda: mb.constexpr_affine_dequantize(quantized_data=data, zero_point=zero_point, scale=scale, axis=axis),
        expected,
        "iOS16",
    )


def test_affine_dequantize_of_uint8_to_float16():
    data, scale = np.array([0, 128, 255], np.uint8), np.float16(0.1)
    check(
        lambda: mb.constexpr_affine_dequantize(quantized_data=data, zero_point=np.uint8(128), scale=scale, axis=0),
        (np.array([-128, 0, 127]) * np.float32(scale)).astype(np.float16),
        "iOS16",
        np.float16,
    )


@pytest.mark.parametrize("opset", ["iOS16", "iOS18"])
def test_cast(opset):
    source = np.array([0.1, -65504], np.float16)
    check(lambda: mb.constexpr_cast(source_val=source, output_dtype="fp32"), source.astype(np.float32), opset)


def test_packed_table_of_ios16():
    # Four 2-bit indices a byte, the lowest bits first, as in MIL's description: 0, 3, 2, 1 | 3.
    indices, lut = np.array([0b01101100, 0b11], np.uint8), np.array([10, 11, 12, 13], np.float32)
    check(
        lambda: mb.constexpr_lut_to_dense(indices=indices, lut=lut, shape=np.array([5], np.uint32)),
        [10, 13, 12, 11, 13],
        "iOS16",
    )


def test_packed_table_whose_indices_cross_bytes():
    numbers = np.random.default_rng(0).integers(0, 64, 12)
    bits = np.unpackbits(numbers.astype(np.uint8)[:, None], axis=1, bitorder="little")[:, :6]
    lut = np.arange(64, dtype=np.float32) - 20
    check(
        lambda: mb.constexpr_lut_to_dense(
            indices=np.packbits(bits, bitorder="little"), lut=lut, shape=np.array([3, 4], np.uint32)
        ),
        lut[numbers].reshape(3, 4),
        "iOS16",
    )


def test_packed_sparse_of_ios16():
    # Bits 2 and 3 of five are set.
    check(
        lambda: mb.constexpr_sparse_to_dense(
            nonzero_data=np.float32([7, 8]), mask=np.array([0b01100], np.uint8), shape=np.array([5], np.uint32)
        ),
        [0, 0, 7, 8, 0],
        "iOS16",
    )


def test_a_table_a_group():
    """Case 1 of MIL's description."""
    indices = stored([[2, 3], [3, 0], [1, 0], [3, 0], [2, 1], [0, 3]], "uint2")
    lut = np.float16([1, 5, 9, 13, 2, 10, 18, 26]).reshape(2, 1, 4, 1)
    check(
        lambda: mb.constexpr_lut_to_dense(indices=indices, lut=lut),
        np.float16([[9, 13], [13, 1], [5, 1], [26, 2], [18, 10], [2, 26]]),
        dtype=np.float16,
    )


A, B = [1, 2, 3], [10, 20, 30]
VECTORS = {
    1: [[[1, 1], [2, 2], [3, 3], [10, 1], [20, 2], [30, 3]], [[10, 10], [20, 20], [30, 30], [1, 1], [2, 2], [3, 3]]],
    2: [[A + A, B + A], [B + B, A + A]],
}


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_a_table_of_vectors(axis):
    """Case 2 of MIL's description."""
    indices = stored([[[0, 0], [1, 0]], [[1, 1], [0, 0]]], "uint1")
    lut = np.float32([A, B]).reshape(1, 1, 1, 2, 3)
    check(lambda: mb.constexpr_lut_to_dense(indices=indices, lut=lut, vector_axis=axis), VECTORS[axis % 3])


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8])
def test_every_width_of_index(bits):
    rng = np.random.default_rng(bits)
    numbers, lut = rng.integers(0, 2**bits, (4, 5)), rng.normal(size=(2, 5, 2**bits, 1)).astype(np.float32)
    expected = [[lut[i // 2, j, numbers[i, j], 0] for j in range(5)] for i in range(4)]
    check(lambda: mb.constexpr_lut_to_dense(indices=stored(numbers, f"uint{bits}"), lut=lut), expected)


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int8", "uint8"])
@pytest.mark.parametrize("shifted", [False, True])
def test_blockwise_shift_scale(dtype, shifted):
    low, high = {"int4": (-8, 8), "uint4": (0, 16), "int8": (-128, 128), "uint8": (0, 256)}[dtype]
    rng = np.random.default_rng(high)
    data, scale = rng.integers(low, high, (4, 6)), rng.uniform(0.1, 1, (2, 3)).astype(np.float32)
    data[0, :2] = low, high - 1
    offset = rng.integers(low, high, (2, 3)) if shifted else np.zeros((2, 3), int)
    spread = (np.repeat(np.repeat(value, 2, 0), 2, 1) for value in (scale, offset))
    factor, shift = spread
    options = {"offset": stored(offset, dtype)} if shifted else {}
    check(
        lambda: mb.constexpr_blockwise_shift_scale(data=stored(data, dtype), scale=scale, **options),
        factor * (data - shift),
    )


def test_sparse_to_dense():
    mask = stored([[0, 1, 0], [1, 0, 1]], "uint1")
    check(lambda: mb.constexpr_sparse_to_dense(nonzero_data=np.float32([5, 6, 7]), mask=mask), [[0, 5, 0], [6, 0, 7]])


MASK = [[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 1], [0, 1, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0]]


@pytest.mark.parametrize("vectors", [False, True])
def test_a_table_under_a_mask(vectors):
    """The examples of MIL's description of constexpr_lut_to_sparse."""
    dense = np.array([[2, 3, 0, 0, 0, 0], [3, 2, 0, 0, 0, 3], [0, 3, 2, 0, 2, 0], [0, 0, 0, 3, 0, 0]], np.float32)
    lut = np.float32([[2, 2], [3, 3]] if vectors else [[2], [3]])[None, None]

    def weight():
        mask, values = mb.constexpr_lut_to_sparse(
            indices_mask=stored(MASK, "uint1"),
            indices_nonzero_data=stored([0, 1, 1, 0, 1, 1, 0, 0, 1], "uint1"),
            lut=lut,
            **({"vector_axis": 0} if vectors else {}),
        )
        return mb.constexpr_sparse_to_dense(nonzero_data=values, mask=mask)

    check(weight, np.repeat(dense, 2, 0) if vectors else dense)


def test_shift_scale_under_a_mask():
    """The example of MIL's description of constexpr_sparse_blockwise_shift_scale."""

    def weight():
        mask, values = mb.constexpr_sparse_blockwise_shift_scale(
            data_mask=stored([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]], "uint1"),
            nonzero_data=stored([10, 11, 3, 4, 5, 6, 7, 8, 9], "int8"),
            scale=np.float32([[0.1, 0.2, 0.3, 0.4]]),
            offset=stored([[1, 2, 3, 4]], "int8"),
        )
        return mb.constexpr_sparse_to_dense(nonzero_data=values, mask=mask)

    check(weight, [[0.9, 1.8, 0, 0], [0.2, 0.4, 0.6, 0], [0, 0, 0.9, 1.2], [0.7, 1.4, 0, 0]])


def tiny():
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 64))
    return ct.convert(
        torch.jit.trace(layers.eval(), torch.zeros(2, 64)),
        inputs=[ct.TensorType("x", (2, 64))],
        outputs=[ct.TensorType("y")],
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )


def palettize(**options):
    config = cto.OpPalettizerConfig(mode="kmeans", weight_threshold=0, **options)
    return lambda model, **more: cto.palettize_weights(model, cto.OptimizationConfig(config), **more)


def quantize(**options):
    config = cto.OpLinearQuantizerConfig(weight_threshold=0, **options)
    return lambda model, **more: cto.linear_quantize_weights(model, cto.OptimizationConfig(config), **more)


def prune(model, **more):
    config = cto.OpMagnitudePrunerConfig(target_sparsity=0.6, weight_threshold=0)
    return cto.prune_weights(model, cto.OptimizationConfig(config), **more)


RECIPES = {
    "4-bit palette": [palettize(nbits=4)],
    "3-bit palettes by group": [palettize(nbits=3, granularity="per_grouped_channel", group_size=8)],
    "int8 by channel": [quantize(dtype="int8")],
    "uint4 by block": [quantize(dtype="uint4", granularity="per_block", block_size=16, mode="linear")],
    "pruned": [prune],
    "pruned, then a palette": [prune, palettize(nbits=4)],
    "pruned, then int8": [prune, quantize(dtype="int8")],
    "a palette of int8": [palettize(nbits=4), quantize(dtype="int8", granularity="per_tensor")],
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_compressed_model_is_its_decompressed_self(recipe, tmp_path):
    model = tiny()
    for index, compress in enumerate(recipe):
        model = compress(model, **({"joint_compression": True} if index else {}))
    model.save(str(tmp_path / "small.mlpackage"))
    cto.decompress_weights(model).save(str(tmp_path / "dense.mlpackage"))
    small, dense = milrun.load(tmp_path / "small.mlpackage"), milrun.load(tmp_path / "dense.mlpackage")
    assert any(name.startswith("constexpr_") for name in small.function.op_counts)
    assert not any(name.startswith("constexpr_") for name in dense.function.op_counts)
    x = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    expected = dense.predict({"x": x})["y"]
    for _ in range(2):
        np.testing.assert_allclose(small.predict({"x": x})["y"], expected, rtol=1e-5, atol=1e-6)
    uncached = milrun.load(tmp_path / "small.mlpackage", cache_weights=False)
    np.testing.assert_array_equal(uncached.predict({"x": x})["y"], small.predict({"x": x})["y"])


@pytest.mark.parametrize(("cached", "times"), [(True, 2), (False, 6)])
def test_weights_are_decompressed_once_when_they_are_kept(cached, times, tmp_path, monkeypatch):
    palettize(nbits=4)(tiny()).save(str(tmp_path / "small.mlpackage"))
    key, calls = "constexpr_lut_to_dense@iOS18", []
    call = milrun.OPS[key].call

    def counted(**arguments):
        calls.append(arguments)
        return call(**arguments)

    monkeypatch.setitem(milrun.OPS, key, replace(milrun.OPS[key], call=counted))
    model = milrun.load(tmp_path / "small.mlpackage", cache_weights=cached)
    assert calls == []
    for _ in range(3):
        model.predict({"x": np.zeros((2, 64), np.float32)})
    assert len(calls) == times
