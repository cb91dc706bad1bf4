"""A pytest plug-in: NumPy's functions are as inexact in float16 as a processor's own kernels may be.

On a Xeon with AVX512-FP16 NumPy 2.3 gives tanh(inf) = 0.9985. An oracle must not depend on it: it computes in float32
or float64 and rounds once. Here every function beyond arithmetic that is called on float16 is off by 3 units.
"""

import numpy as np

UNITS = 3
FUNCTIONS = ("arccos", "arcsin", "arctan", "arctanh", "cos", "cosh", "exp", "exp2", "expm1", "log", "log1p", "log2")
FUNCTIONS += ("power", "sin", "sinh", "tan", "tanh")


class Coarse:
    """A ufunc, inexact where its result is float16."""

    def __init__(self, exact):
        self._exact = exact

    def __call__(self, *arguments, **options):
        result = self._exact(*arguments, **options)
        if getattr(result, "dtype", None) != np.float16:
            return result
        return result * np.float16(1 - UNITS * np.finfo(np.float16).eps)

    def __getattr__(self, name):
        return getattr(self._exact, name)


def pytest_configure():
    for name in FUNCTIONS:
        setattr(np, name, Coarse(getattr(np, name)))
