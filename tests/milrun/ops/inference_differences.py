"""Where coremltools' value_inference and milrun differ, with what each gives and why milrun is right."""

import numpy as np

from milrun import OpError
from tests.milrun.ops.inference import Difference, Example, case
from tests.milrun.ops.inference_arithmetic import INF, LOW, NAN, f2, f4, i4


def differ(op, label, inputs, cause, inferred, ours, **options) -> list[Example]:
    """An example whose results are known on both sides; one array or an exception a side."""
    sides = [side if isinstance(side, type | tuple) else (side,) for side in (inferred, ours)]
    return case(op, label, inputs, differs=Difference(cause, *sides), **options)


def formulas() -> list[Example]:
    """value_inference's formula is not the documented one, or overflows where the result does not."""
    found = []
    cause = "the squares wrap in int32; milrun squares in float64 and cuts the result towards zero"
    found += differ("reduce_l2_norm", "int32 squares", {"x": i4([65537, 0])}, cause, i4(362), i4(65537), axes=[-1])
    cause = "the docstring: min(beta, x) where x >= 0; value_inference adds beta twice when it is negative"
    limits = {"alpha": np.float32(1), "beta": np.float32(-1)}
    found += differ(
        "clamped_relu", "negative beta", {"x": f4(-3, -0.5, 2)}, cause, f4(-4, -2, -2), f4(-3, -1, -1), **limits
    )
    cause = "exp overflows; log(1 + e^x) is x for a large x, as in PyTorch's softplus"
    pair = {"alpha": f4(2), "beta": f4(1)}
    found += differ("softplus_parametric", "large", {"x": f4([[400]])}, cause, f4([[INF]]), f4([[800]]), **pair)
    cause = "-inf - -inf; the sum of no probability at all is 0, whose logarithm is -inf, as in PyTorch and SciPy"
    empty = f4([-INF, -INF])
    found += differ("reduce_log_sum_exp", "all -inf", {"x": empty}, cause, f4(NAN), f4(-INF), axes=[-1])
    cause = "0 * inf; outside of the band the result is 0 by the docstring"
    x = f4([1, INF], [INF, 2])
    found += differ(
        "band_part", "infinity outside", {"x": x}, cause, f4([1, NAN], [NAN, 2]), f4([1, 0], [0, 2]), lower=0, upper=0
    )
    cause = "NumPy yields 0 with a warning for an integer divided by zero; milrun refuses, as PyTorch does"
    for op in ("floor_div", "mod"):
        found += differ(op, "int32 by zero", {"x": i4(5), "y": i4(0)}, cause, i4(0), OpError)
    cause = "NumPy refuses negative integer exponents; PyTorch cuts 1 / x^y towards zero"
    found += differ(
        "pow", "int32, negative exponents", {"x": i4(2, 1, -1), "y": i4(-1, -2, -3)}, cause, ValueError, i4(0, 1, -1)
    )
    return found


def ignored() -> list[Example]:
    """value_inference leaves out a parameter, or fails on it."""
    found = []
    cause = "value_inference does not read `interleave`"
    pair = (i4([1, 2]), i4([3, 4]))
    found += differ(
        "concat", "interleaved", {"values": pair}, cause, i4([1, 2, 3, 4]), i4([1, 3, 2, 4]), axis=1, interleave=True
    )
    cause = "value_inference does not read `mode`, whose default is add: it always updates"
    given = {"data": f4(1, 2, 30), "indices": i4(2, 0), "updates": f4(10, 20)}
    modes = {"add": f4(21, 2, 40), "sub": f4(-19, 2, 20), "mul": f4(20, 2, 300), "div": f4(0.05, 2, 3)}
    for mode, ours in (modes | {"max": f4(20, 2, 30), "min": f4(1, 2, 10)}).items():
        found += differ("scatter_along_axis", mode, given, cause, f4(20, 2, 10), ours, mode=mode)
    cause = "np.zeros(shape, data) fails; the docstring: exclusive starts at 0"
    for reverse, ours in ((False, f4(0, 1, 3)), (True, f4(5, 3, 0))):
        options = {"exclusive": True, "reverse": reverse}
        found += differ(
            "cumsum", f"exclusive, reverse {reverse}", {"x": f4(1, 2, 3)}, cause, TypeError, ours, **options
        )
    return found


def shapes() -> list[Example]:
    """value_inference fails, or gives another shape than the one it declares."""
    found = []
    cause = "np.prod of no sizes is a float, which is no size"
    found += differ("flatten2d", "axis 0", {"x": f4([1, 2])}, cause, TypeError, f4([1, 2]), axis=0)
    cause = "a negative axis points elsewhere once the batch dimensions are taken off it, so the shape is wrong too"
    deep = {"x": f4([[1, 2], [3, 4]]), "indices": i4([1])}
    options = {"axis": -1, "batch_dims": 1, "opsets": "iOS16 iOS18"}
    found += differ("gather", "batched, negative axis", deep, cause, f4([[3, 4]]), f4([[2], [4]]), **options)
    cause = "only int32 and float32 are known to it; the declared type is a scalar of x's dtype"
    every = {"begin": [1], "end": [0], "squeeze_mask": [True]}
    found += differ("slice_by_index", "all squeezed float16", {"x": f2(1, 2)}, cause, ValueError, f2(2)[0], **every)
    cause = "np.squeeze refuses an axis longer than 1; the op declares that it stays, as in PyTorch"
    found += differ("squeeze", "an axis of 2", {"x": f4([1, 2])}, cause, ValueError, f4(1, 2), axes=[0, 1])
    return found


def orders() -> list[Example]:
    """value_inference sorts -x in descending order."""
    found = []
    cause = "-x wraps for the lowest of an integer type"
    x = i4(5, LOW, 7)
    found += differ("argsort", "descending, the lowest int32", {"x": x}, cause, i4(1, 2, 0), i4(2, 0, 1))
    found += differ("topk", "descending, the lowest int32", {"x": x}, cause, (i4(LOW), i4(1)), (i4(7), i4(2)))
    cause = "-x wraps for an unsigned integer, so that 0 comes first"
    found += differ(
        "topk", "descending uint8", {"x": np.uint8([0, 5])}, cause, (i4(0), i4(0)), (i4(5), i4(1)), opsets="iOS18"
    )
    cause = "NumPy sorts NaN last in either direction; to PyTorch it is the largest"
    x = f4(1, NAN, 3)
    found += differ("argsort", "descending NaN", {"x": x}, cause, i4(2, 0, 1), i4(1, 2, 0))
    found += differ("topk", "descending NaN", {"x": x}, cause, (f4(3), i4(2)), (f4(NAN), i4(1)))
    return found


DIFFERENT = [*formulas(), *ignored(), *shapes(), *orders()]
