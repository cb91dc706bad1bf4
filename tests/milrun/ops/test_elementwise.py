"""Elementwise binary and unary ops, on the same values.

Oracle: NumPy.
Oracle of abs, add, cast, exp2, floor_div, maximum, minimum, mod, mul, real_div, round, sign: NumPy, literal.
Oracle of square, sub: NumPy, literal.
Oracle of clip, logical_not, pow, threshold: literal.
"""

import math

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

from milrun import OpError
from tests.milrun.harness import TOLERANCE, assert_op, run_op

ARITHMETIC = {
    "add": np.add,
    "floor_div": np.floor_divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mod": np.mod,
    "mul": np.multiply,
    "sub": np.subtract,
}
COMPARISONS = {
    "equal": np.equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "not_equal": np.not_equal,
}
LOGICAL = {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}


def run_binary(names, x, y):
    return run_op(lambda x, y: tuple(getattr(mb, n)(x=x, y=y) for n in names), {"x": x, "y": y}, "iOS15")


def run_unary(calls, x, opset="iOS15"):
    return run_op(lambda x: tuple(getattr(mb, n)(x=x, **p) for n, p in calls), {"x": x}, opset)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int32])
def test_binary(dtype):
    x = np.array([[-7, 7, -8, 3, 0, 5]], dtype=dtype)
    y = np.array([[2], [-2], [3]], dtype=dtype)  # broadcast: [1, 6] with [3, 1]
    table = ARITHMETIC | COMPARISONS | ({} if dtype == np.int32 else {"real_div": np.true_divide})
    for name, got in zip(table, run_binary(table, x, y), strict=True):
        np.testing.assert_array_equal(got, table[name](x, y), err_msg=name)


def test_logical():
    x, y = np.array([True, True, False, False]), np.array([True, False, True, False])
    for name, got in zip(LOGICAL, run_binary(LOGICAL, x, y), strict=True):
        np.testing.assert_array_equal(got, LOGICAL[name](x, y), err_msg=name)


def test_integers_beyond_float32_stay_exact():
    x, y = np.array([2**24 + 1, -(2**31), 2**31 - 1], np.int32), np.array([1, 1, 2], np.int32)
    names = ["add", "sub", "mul", "floor_div", "mod", "maximum", "equal", "real_div"]
    results = dict(zip(names, run_binary(names, x, y), strict=True))
    np.testing.assert_array_equal(results["add"], [2**24 + 2, -(2**31) + 1, -(2**31) + 1])  # the last one wraps
    np.testing.assert_array_equal(results["sub"], [2**24, 2**31 - 1, 2**31 - 3])
    np.testing.assert_array_equal(results["mul"], [2**24 + 1, -(2**31), -2])
    np.testing.assert_array_equal(results["floor_div"], [2**24 + 1, -(2**31), 2**30 - 1])
    np.testing.assert_array_equal(results["mod"], [0, 0, 1])
    np.testing.assert_array_equal(results["maximum"], [2**24 + 1, 1, 2**31 - 1])
    np.testing.assert_array_equal(results["equal"], [False, False, False])
    np.testing.assert_array_equal(results["real_div"], [2**24 + 1, -(2**31), 2**30 - 1])


def test_real_div_of_integers_is_cut_towards_zero_and_floor_div_is_not():
    x, y = np.array([-7, 7, -7], np.int32), np.array([2, 2, -2], np.int32)
    real, floor = run_binary(["real_div", "floor_div"], x, y)
    np.testing.assert_array_equal(real, [-3, 3, 3])
    np.testing.assert_array_equal(floor, [-4, 3, 3])


def test_the_lowest_integer_divided_by_minus_one_wraps():
    x, y = np.array([-(2**31), 6], np.int32), np.array([-1, -1], np.int32)
    real, floor, mod = run_binary(["real_div", "floor_div", "mod"], x, y)
    np.testing.assert_array_equal(real, [-(2**31), -6])
    np.testing.assert_array_equal(floor, [-(2**31), -6])
    np.testing.assert_array_equal(mod, [0, 0])


def test_integer_division_by_zero_names_the_op():
    with pytest.raises(OpError, match="floor_div"):
        run_binary(["floor_div"], np.array([1], np.int32), np.array([0], np.int32))


def test_pow():
    x, y = np.array([2.0, -2.0, -2.0, 0.0, 9.0], np.float32), np.array([3.0, 3.0, 0.5, 0.0, -0.5], np.float32)
    assert_op(lambda x, y: mb.pow(x=x, y=y), {"x": x, "y": y}, [8.0, -8.0, np.nan, 1.0, 1 / 3])
    x, y = np.array([3, -2, 0], np.int32), np.array([19, 31, 0], np.int32)
    assert_op(lambda x, y: mb.pow(x=x, y=y), {"x": x, "y": y}, [3**19, -(2**31), 1])


def test_float_divisions_by_zero_and_infinity():
    x, y = np.array([1, -1, 0, 5, np.inf], np.float32), np.array([0, 0, 0, np.inf, np.inf], np.float32)
    with np.errstate(all="ignore"):
        expected = [np.true_divide(x, y), np.mod(x, y)]
    for got, want in zip(run_binary(["real_div", "mod"], x, y), expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_maximum_and_minimum_pass_nan_on():
    x, y = np.array([np.nan, 1], np.float32), np.array([1, np.nan], np.float32)
    for got in run_binary(["maximum", "minimum"], x, y):
        assert np.isnan(got).all()


def test_float16_overflow_and_rounding():
    x, y = np.array([60000, 2048], np.float16), np.array([60000, 1], np.float16)
    assert_op(lambda x, y: mb.add(x=x, y=y), {"x": x, "y": y}, [np.inf, 2048])  # 2049 is a tie, to even


UNARY = {
    "abs": np.abs,
    "atan": np.arctan,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": np.vectorize(math.erf),
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "round": np.round,
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_unary(dtype):
    x = np.array([[[[[-4.5, -2.5, -1.0, -0.5]]], [[[0.0, 0.5, 1.5, 3.75]]]]], dtype=dtype)  # rank 5
    with np.errstate(all="ignore"):
        for (name, reference), got in zip(UNARY.items(), run_unary([(n, {}) for n in UNARY], x), strict=True):
            expected = reference(x.astype(np.float64)).astype(dtype)
            np.testing.assert_allclose(got, expected, **TOLERANCE[x.dtype.str[1:]], err_msg=name)


def test_unary_outside_the_domain_is_nan():
    x = np.array([-1.5, 1.0, 0.5], np.float32)
    names = {"acos": np.arccos, "asin": np.arcsin, "atanh": np.arctanh, "sqrt": np.sqrt}
    with np.errstate(all="ignore"):
        for (name, reference), got in zip(names.items(), run_unary([(n, {}) for n in names], x), strict=True):
            np.testing.assert_allclose(got, reference(x.astype(np.float64)), rtol=1e-5, err_msg=name)


def test_round_halves_to_even():
    x = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
    assert_op(lambda x: mb.round(x=x), {"x": x}, [-2, -2, -0.0, 0, 2, 2])


def test_unary_on_integers():
    x = np.array([-(2**24) - 1, -1, 0, 3, 30], np.int32)
    calls = [("abs", {}), ("exp2", {}), ("sign", {}), ("square", {}), ("threshold", {"alpha": np.int32(2)})]
    absolute, exp2, sign, square, threshold = run_unary(calls, x)
    np.testing.assert_array_equal(absolute, [2**24 + 1, 1, 0, 3, 30])
    np.testing.assert_array_equal(exp2, [0, 0, 1, 8, 2**30])
    np.testing.assert_array_equal(sign, [-1, -1, 0, 1, 1])
    np.testing.assert_array_equal(square, [(2**24 + 1) ** 2 % 2**32, 1, 0, 9, 900])  # wraps
    np.testing.assert_array_equal(threshold, [2, 2, 2, 3, 30])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_epsilons_and_their_defaults(dtype):
    x = np.array([0.0, 1e-4, 0.25], dtype)
    half = dtype(0.5)
    calls = [(n, p) for n in ("inverse", "log", "rsqrt") for p in ({}, {"epsilon": half})]
    wide = x.astype(np.float64)
    with np.errstate(divide="ignore"):
        expected = [
            1 / (wide + np.float64(dtype(1e-4))),
            1 / (wide + 0.5),
            np.log(wide + np.float64(dtype(1e-45))),  # 0 in float16
            np.log(wide + 0.5),
            1 / np.sqrt(wide + np.float64(dtype(1e-12))),
            1 / np.sqrt(wide + 0.5),
        ]
    for got, want, call in zip(run_unary(calls, x), expected, calls, strict=True):
        want = np.where(np.abs(want) > np.finfo(dtype).max, np.sign(want) * np.inf, want)
        np.testing.assert_allclose(got, want, **TOLERANCE[x.dtype.str[1:]], err_msg=str(call))


def test_iOS17_epsilon_keeps_its_own_dtype():
    x = np.array([0.0], np.float16)
    assert_op(lambda x: mb.log(x=x, epsilon=np.float32(1e-10)), {"x": x}, [math.log(1e-10)], opset="iOS17")


def test_clip_threshold_and_nan():
    x = np.array([-np.inf, -1.0, 0.3, 2.0, np.inf, np.nan], np.float32)
    calls = [("clip", {"alpha": np.float32(-0.5), "beta": np.float32(1)}), ("threshold", {"alpha": np.float32(0)})]
    clip, threshold = run_unary(calls, x)
    np.testing.assert_array_equal(clip, np.array([-0.5, -0.5, 0.3, 1, 1, np.nan], np.float32))
    np.testing.assert_array_equal(threshold, np.array([0, 0, 0.3, 2, np.inf, np.nan], np.float32))


def test_logical_not():
    x = np.array([True, False])
    assert_op(lambda x: mb.logical_not(x=x), {"x": x}, [False, True])


def test_cast_of_floats_cuts_towards_zero_and_clamps():
    x = np.array([-3.9, 3.9, 300.0, -300.0, 3e9, -3e9, np.inf, np.nan], np.float32)
    # Back to int32, because a Core ML model has no outputs of the narrow types.
    names = ["int8", "uint8", "int16", "uint16"]

    def build(x):
        narrow = [mb.cast(x=mb.cast(x=x, dtype=n), dtype="int32") for n in names]
        return (mb.cast(x=x, dtype="int32"), *narrow)

    low, high = -(2**31), 2**31 - 1
    assert_op(
        build,
        {"x": x},
        [-3, 3, 300, -300, high, low, high, 0],
        [-3, 3, 127, -128, 127, -128, 127, 0],
        [0, 3, 255, 0, 255, 0, 255, 0],
        [-3, 3, 300, -300, 32767, -32768, 32767, 0],
        [0, 3, 300, 0, 65535, 0, 65535, 0],
    )


def test_cast_of_integers_wraps_and_booleans_are_zero_or_one():
    x = np.array([-1, 0, 300, 70000], np.int32)

    def build(x):
        narrow = [mb.cast(x=mb.cast(x=x, dtype=n), dtype="int32") for n in ("int8", "uint8", "int16", "uint16")]
        flag = mb.cast(x=x, dtype="bool")
        return (
            *narrow,
            flag,
            mb.cast(x=flag, dtype="int32"),
            mb.cast(x=flag, dtype="fp16"),
            mb.cast(x=x, dtype="fp32"),
        )

    wrapped = [x.astype(t).astype(np.int32) for t in (np.int8, np.uint8, np.int16, np.uint16)]
    assert_op(build, {"x": x}, *wrapped, x != 0, [1, 0, 1, 1], [1.0, 0.0, 1.0, 1.0], x.astype(np.float32))


def test_cast_to_float16_rounds_and_overflows():
    x = np.array([1.0002, 65519.0, 65520.0, -1e9, 1e-8], np.float32)
    assert_op(lambda x: mb.cast(x=x, dtype="fp16"), {"x": x}, [1.0, 65504.0, np.inf, -np.inf, 0.0])


def test_scalars():
    x = np.array([2.0], np.float32)
    assert_op(lambda x: mb.exp(x=mb.sub(x=mb.reduce_sum(x=x), y=np.float32(2))), {"x": x}, np.float32(1))
