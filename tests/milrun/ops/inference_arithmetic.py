"""Examples of value_inference: elementwise ops, activations, reductions, normalisations and matrix products."""

import numpy as np

from tests.milrun.ops.inference import Example, alike, case

INF, NAN = np.inf, np.nan
LOW, HIGH = -(2**31), 2**31 - 1


def f4(*values):
    return np.array(values, np.float32)


def f2(*values):
    return np.array(values, np.float16)


def i4(*values):
    return np.array(values, np.int32)


def ramp(*shape, dtype=np.float32):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


LEFT, RIGHT = [[-7, 7, -8, 3, 0, 5]], [[2], [-2], [3]]  # broadcast: [1, 6] with [3, 1]


def binary() -> list[Example]:
    found = []
    for op in ("add", "sub", "mul", "maximum", "minimum", "floor_div", "mod", "real_div"):
        found += alike("f4 f2 i4", op, "signs, broadcast", {"x": LEFT, "y": RIGHT})
    for op in ("equal", "not_equal", "greater", "greater_equal", "less", "less_equal"):
        found += alike("f4 f2 i4", op, "broadcast", {"x": LEFT, "y": [[-7], [0], [5]]})
        found += alike("f4 f2", op, "NaN, infinity, signed zero", {"x": [NAN, INF, 0, 1], "y": [NAN, INF, -0.0, NAN]})
        found += case(op, "int32 beyond float32", {"x": i4(2**24 + 1, LOW), "y": i4(2**24, HIGH)})
    for op in ("logical_and", "logical_or", "logical_xor"):
        found += case(op, "truth table", {"x": np.array([[True], [False]]), "y": np.array([True, False])})
    for op in ("add", "sub", "mul"):
        found += case(op, "int32 wraps", {"x": i4(LOW, HIGH, 2**24 + 1), "y": i4(-1, 2, 2**10)})
        found += case(op, "float16 overflows", {"x": f2(60000, -60000), "y": f2(60000, 60000)})
    for op in ("maximum", "minimum"):
        found += alike("f4 f2", op, "NaN wins", {"x": [NAN, 1, INF], "y": [1, NAN, -INF]})
    for op in ("floor_div", "mod", "real_div"):
        zeros = {"x": [1, -1, 0, 5, -5, INF], "y": [0, 0, 0, INF, INF, 2]}
        found += alike("f4 f2", op, "zero, infinity", zeros)
        found += case(op, "int32 beyond float32", {"x": i4(2**24 + 1, HIGH, LOW), "y": i4(1, 2, 3)})
        found += case(op, "scalars", {"x": np.array(-7, np.int32), "y": np.array(2, np.int32)})
    for op in ("floor_div", "mod"):
        # real_div: value_inference divides in float64 and leaves 2**31 to the processor's conversion.
        found += case(op, "the lowest int32 by -1 wraps", {"x": i4(LOW, 6), "y": i4(-1, -1)})
    found += alike("f4 f2", "pow", "domain", {"x": [2, -2, -2, 0, 4, 0, INF], "y": [3, 3, 0.5, 0, -0.5, -1, 0]})
    found += case("pow", "int32 wraps", {"x": i4(3, -2, 0, 2), "y": i4(19, 31, 0, 32)})
    return found


SIGNED = [[-4.5, -2.5, -1.5, -0.5, -0.0], [0.0, 0.5, 1.5, 2.5, 3.75]]
INSIDE = [-1.0, -0.5, -0.0, 0.25, 1.0]


def unary() -> list[Example]:
    found = []
    for op in ("abs", "atan", "ceil", "cos", "cosh", "erf", "exp", "exp2", "floor", "round", "sign", "sin", "sinh"):
        found += alike("f4 f2", op, "signs, halves", {"x": SIGNED})
    for op in ("square", "tan", "tanh"):
        found += alike("f4 f2", op, "signs, halves", {"x": SIGNED})
    for op in ("acos", "asin", "atanh"):
        found += alike("f4 f2", op, "the whole domain", {"x": INSIDE})
    for op in ("acos", "asin", "atanh", "sqrt"):
        found += alike("f4 f2", op, "outside of the domain", {"x": [-1.5, -2.0, -INF]})
    found += alike("f4 f2", "sqrt", "squares and others", {"x": [0, 0.25, 2, 100, INF]})
    for op in ("abs", "sign", "exp", "sqrt", "floor", "round", "tanh", "cosh"):
        found += alike("f4 f2", op, "NaN, infinity", {"x": [NAN, INF, -INF]})
        found += case(op, "a scalar", {"x": np.array(0.5, np.float32)})
    for op in ("cosh", "exp", "exp2", "sinh", "square"):
        found += case(op, "float16 overflows", {"x": f2(300, -300)})
    for op in ("abs", "sign", "square"):
        found += case(op, "int32 wraps", {"x": i4(LOW, -(2**24) - 1, 0, 3)})
    found += case("exp2", "int32 cut to integers", {"x": i4(-3, -1, 0, 1, 30)})
    found += case("logical_not", "both", {"x": np.array([[True, False]])})
    found += alike("f4 f2", "clip", "infinity, NaN", {"x": [-INF, -1, 0.25, 2, INF, NAN]}, alpha=-0.5, beta=1.0)
    found += alike("f4 f2", "threshold", "infinity, NaN", {"x": [-INF, -1, 0.25, INF, NAN]}, alpha=0.25)
    found += case("threshold", "int32", {"x": i4(LOW, 2, 3, HIGH)}, alpha=np.int32(3))
    for op in ("inverse", "log", "rsqrt"):
        found += alike("f4 f2", op, "default epsilon", {"x": [0.0, 1e-3, 0.25, 1, 100]})
        found += alike("f4 f2", op, "a large epsilon", {"x": [0.0, 0.5, 1.5]}, epsilon=0.5)
        found += alike("f4 f2", op, "minus epsilon", {"x": [-0.5]}, epsilon=0.5)
        wide = np.float32(2e-7)
        found += case(op, "float32 epsilon beside float16", {"x": f2(0.0, 1.0)}, epsilon=wide, opsets="iOS18")
    return found + casts()


def casts() -> list[Example]:
    found = []
    for dtype in ("int32", "fp16", "fp32", "bool"):
        found += case("cast", f"float32 to {dtype}", {"x": f4(-3.9, -0.5, 0, 0.4, 3.9, 1.0002)}, dtype=dtype)
        found += case("cast", f"int32 to {dtype}", {"x": i4(-1, 0, 2049, 2**24 + 1)}, dtype=dtype)
        found += case("cast", f"float16 to {dtype}", {"x": f2(-3.9, 0, 0.4, 65504)}, dtype=dtype)
        found += case("cast", f"bool to {dtype}", {"x": np.array([True, False])}, dtype=dtype)
    found += case("cast", "float16 overflows", {"x": f4(65519, 65520, -1e9, 1e-8, NAN)}, dtype="fp16")
    for dtype in ("int8", "uint8", "int16", "uint16"):
        found += case("cast", f"int32 wraps to {dtype}", {"x": i4(-1, 300, 70000, LOW)}, dtype=dtype, opsets="iOS18")
        narrow = np.array([0, 1, 200], np.dtype(dtype) if dtype != "int8" else np.int16).astype(dtype)
        found += case("cast", f"{dtype} to fp32", {"x": narrow}, dtype="fp32", opsets="iOS18")
    return found


POINTS = [[-30.0, -3.0, -1.0, -0.5, -0.0], [0.0, 0.25, 1.0, 5.5, 30.0]]
CHANNELS = [[[-2, -1, -0.5], [0, 0.5, 1]], [[2, -4, 1], [-1, 3, -3]]]  # [B, C, D]


def activations() -> list[Example]:
    found = []
    for op in ("relu", "relu6", "sigmoid", "softplus", "softsign", "softmax"):
        found += alike("f4 f2", op, "signs, large", {"x": POINTS})
    for op in ("relu", "relu6", "softsign"):
        found += alike("f4", op, "NaN", {"x": [NAN, 7, -7]})
    for op in ("elu", "leaky_relu", "thresholded_relu"):
        found += alike("f4 f2", op, "signs, alpha itself", {"x": POINTS}, alpha=0.25)
    for op in ("clamped_relu", "linear_activation", "scaled_tanh", "sigmoid_hard"):
        found += alike("f4 f2", op, "signs, large", {"x": POINTS}, alpha=0.25, beta=0.5)
    found += alike("f4", "clamped_relu", "negative alpha", {"x": POINTS}, alpha=-1.0, beta=2.0)
    for mode in ("EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"):
        found += alike("f4 f2", "gelu", mode, {"x": POINTS}, mode=mode)
    for dtype in ("f4", "f2"):
        alpha, beta = np.array([0.5, 2], dtype), np.array([1, -1], dtype)
        found += alike(dtype, "prelu", "a slope a channel", {"x": [CHANNELS]}, alpha=alpha)
        found += alike(dtype, "prelu", "rank 3, one slope", {"x": CHANNELS}, alpha=np.array([0.25, 0.25], dtype))
        slopes = {"alpha": alpha, "beta": beta}
        found += alike(dtype, "softplus_parametric", "rank 3", {"x": CHANNELS}, **slopes)
        found += alike(dtype, "softplus_parametric", "rank 4", {"x": np.reshape(CHANNELS, (2, 2, 3, 1))}, **slopes)
    wide = {"alpha": np.float32(0.1), "beta": np.float32(0.3)}
    for op, given in (("linear_activation", wide), ("scaled_tanh", wide), ("elu", {"alpha": np.float32(0.1)})):
        found += case(op, "float32 parameters beside float16", {"x": f2(-1, 0.5)}, opsets="iOS18", **given)
    for axis in (0, 1, -2):
        found += alike("f4", "softmax", f"axis {axis}", {"x": CHANNELS}, axis=axis)
    found += case("softplus", "float16 sum", {"x": f2(-8)})  # 1 + e^-8 is 1 in float16
    found += alike("f4 f2", "softmax", "infinite logits", {"x": [[60000, 60000, -INF], [-INF, -INF, -INF]]})
    return found


REDUCTIONS = ("l1_norm", "l2_norm", "log_sum", "log_sum_exp", "max", "mean", "min", "prod", "sum", "sum_square")


def reductions() -> list[Example]:
    found = []
    block = 0.5 + ramp(2, 3, 2) / 8
    for op in (f"reduce_{name}" for name in REDUCTIONS):
        found += alike("f4 f2", op, "middle axis", {"x": block}, axes=[1])
        found += alike("f4", op, "negative axes kept", {"x": block}, axes=[-1, 0], keep_dims=True)
        found += alike("f4 f2", op, "all by default", {"x": block})
        # No NaN among integers: what it becomes is left to the processor.
        rows = i4([3, 4], [-1, 2], [5, 1]) if op == "reduce_log_sum" else i4([3, 4], [-1, 2], [5, 1], [-5, 2])
        found += case(op, "int32 cut towards zero", {"x": rows}, axes=[-1])
        found += alike("f4", op, "NaN", {"x": [[NAN, 1], [2, 3]]}, axes=[1])
        found += alike("f4", op, "no axes", {"x": [[0.5, 2], [4, 1]]}, axes=np.zeros(0, np.int32))
    for op in ("reduce_sum", "reduce_prod", "reduce_l1_norm", "reduce_sum_square"):
        found += case(op, "int32 wraps", {"x": i4([HIGH, 1, 1], [2**24 + 1, 3, 2**20])}, axes=[1])
    for op in ("reduce_max", "reduce_min"):
        found += case(op, "int32 beyond float32", {"x": i4(2**24, 2**24 + 1, LOW, HIGH)})
    for op in ("reduce_mean", "reduce_log_sum"):
        found += alike("f2", op, "sum beyond float16", {"x": [[60000, 60000]]}, axes=[1])
    found += alike("f2", "reduce_l2_norm", "squares beyond float16", {"x": [300, 400]}, axes=[-1])
    found += alike("f2", "reduce_log_sum_exp", "large", {"x": [[1000, 1000]]}, axes=[1])
    ties = [[1, 3, 3], [2, 0, 0]]
    for op in ("reduce_argmax", "reduce_argmin"):
        found += alike("f4 f2 i4", op, "the first of ties", {"x": ties})
        found += alike("f4", op, "negative axis kept", {"x": ties}, axis=-2, keep_dims=True)
        found += alike("f4", op, "NaN", {"x": [1, NAN, 3, NAN]})
        found += case(op, "uint16", {"x": f4(ties)}, output_dtype="uint16", opsets="iOS18")
        found += case(op, "int32 beyond float32", {"x": i4(2**24, 2**24 + 1, 2**24)})
    return found


def products() -> list[Example]:
    found = []
    weight = [[1, 2, -1], [0.5, -2, 4]]
    for dtype in ("f4", "f2"):
        given = {"weight": np.array(weight, dtype), "bias": np.array([1, -1], dtype)}
        found += alike(dtype, "linear", "bias", {"x": [[1, 2, 3], [-1, 0.5, 2]]}, **given)
        found += alike(dtype, "linear", "a vector", {"x": [1, 2, 3]}, weight=given["weight"])
    whole = i4([1, 2], [3, -1])
    found += case("linear", "int32 beyond float32", {"x": i4([2**24 + 1, 1])}, weight=whole, bias=i4(1, 0))
    found += alike("f4 f2 i4", "matmul", "batches broadcast", {"x": ramp(2, 1, 2, 3) - 5, "y": ramp(2, 3, 2) - 4})
    both = {"transpose_x": True, "transpose_y": True}
    found += alike("f4 f2 i4", "matmul", "both transposed", {"x": ramp(3, 2) - 2, "y": ramp(4, 3) - 5}, **both)
    found += alike("f4", "matmul", "vector and matrix", {"x": [1, 2], "y": [[1, 2], [3, 4]]})
    found += case("matmul", "int32 wraps", {"x": i4([2**30, 2**30]), "y": i4([2], [3])})
    found += case("matmul", "float16 overflows", {"x": f2([300, 300]), "y": f2([300], [300])})
    for dtype in (np.float32, np.float16):
        four = (ramp(2, 3, 2, 2, dtype=dtype) - 5, ramp(2, 2, 2, 3, dtype=dtype) - 7)
        found += case("einsum", f"rank 4 {dtype.__name__}", {"values": four}, equation="nchw,nwhu->nchu")
    three = (ramp(3, 2, 2), ramp(2, 2, 3))
    found += case("einsum", "rank 3", {"values": three}, equation="chw,whr->chr")
    wide = (ramp(1, 3, 2, 2), ramp(2, 2, 1, 3))
    found += case("einsum", "batches broadcast", {"values": wide}, equation="abcd,adce->abce")
    return found


def normalisations() -> list[Example]:
    found = []
    x = np.sin(ramp(2, 3, 4))
    for shape in ((2, 3, 4), (2, 1, 3, 4), (2, 1, 1, 3, 4)):
        found += alike("f4", "l2_norm", f"rank {len(shape)}", {"x": x.reshape(shape)})
    found += alike("f4 f2", "l2_norm", "a large epsilon", {"x": x}, epsilon=2.0)
    found += alike("f4", "layer_norm", "last axis", {"x": x}, axes=[-1], epsilon=0.5)
    found += alike("f2", "layer_norm", "last axis", {"x": [[1, 2, 3, 4], [5, 5, 5, 5]]}, axes=[-1])
    for op, options in (("layer_norm", {"axes": [-1]}), ("l2_norm", {})):
        found += alike("f2", op, "squares beyond float16", {"x": [[[-3000, 3000, -3000, 3000]]]}, **options)
    for axes, shape in (([0, 2], (2, 4)), ([1, 2], (3, 4)), ([-2], (3,))):
        scale = {"gamma": 0.5 + ramp(*shape), "beta": -ramp(*shape)}
        found += alike("f4", "layer_norm", f"gamma and beta along {axes}", {"x": x}, axes=axes, **scale)
    return found


ARITHMETIC = [*binary(), *unary(), *activations(), *reductions(), *products(), *normalisations()]
