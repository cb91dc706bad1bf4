"""quantize and dequantize.

Oracle: NumPy.
Oracle of quantize: NumPy, literal.
"""

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

from tests.milrun.harness import assert_op

X = np.array([[-1.0, 0.25, 0.75, 1.25], [100.0, -100.0, 0.5, 3.0]], np.float32)


def back(x, **options):
    """The levels as a float, since int8 cannot be an output: dequantized with scale 1."""
    return mb.dequantize(input=x, scale=np.float32(1), **options)


@pytest.mark.parametrize(
    ("dtype", "zero_point", "expected"),
    [
        ("int8", None, [[-2, 0, 2, 2], [127, -128, 1, 6]]),
        ("int8", 10, [[8, 10, 12, 12], [127, -128, 11, 16]]),
        ("uint8", 100, [[98, 100, 102, 102], [255, 0, 101, 106]]),
    ],
)
def test_quantize_rounds_halves_to_even_and_clips(dtype, zero_point, expected):
    options = {} if zero_point is None else {"zero_point": np.dtype(dtype).type(zero_point)}
    assert_op(
        lambda x: back(mb.quantize(input=x, scale=np.float32(0.5), output_dtype=dtype, **options)),
        {"x": X},
        np.array(expected, np.float32),
        opset="iOS17",
    )


@pytest.mark.parametrize("axis", [1, -1])
def test_one_scale_and_zero_point_a_column(axis):
    scale, zero = np.array([1, 0.25, 0.5, 2], np.float32), np.array([0, 1, -1, 5], np.int8)
    levels = np.clip(np.round(X / scale) + zero, -128, 127)

    def build(x):
        quantized = mb.quantize(input=x, scale=scale, zero_point=zero, axis=axis, output_dtype="int8")
        return back(quantized), mb.dequantize(input=quantized, scale=scale, zero_point=zero, axis=axis)

    assert_op(build, {"x": X}, levels, (levels - zero) * scale, opset="iOS17")
