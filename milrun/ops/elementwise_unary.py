"""MIL's elementwise unary ops. Oracles: NumPy, coremltools' value_inference."""

import torch

from milrun.registry import Tensor, op

# MIL's cast target -> the range that a float is clamped to on its way to an integer.
_INT_RANGES = {
    "int8": (-(2**7), 2**7 - 1),
    "uint8": (0, 2**8 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
}


@op()
def abs(x: Tensor) -> Tensor:
    """|x|."""
    return torch.abs(x)


@op()
def acos(x: Tensor) -> Tensor:
    """Inverse cosine; NaN outside [-1, 1]."""
    return torch.acos(x)


@op()
def asin(x: Tensor) -> Tensor:
    """Inverse sine; NaN outside [-1, 1]."""
    return torch.asin(x)


@op()
def atan(x: Tensor) -> Tensor:
    """Inverse tangent."""
    return torch.atan(x)


@op()
def atanh(x: Tensor) -> Tensor:
    """Inverse hyperbolic tangent."""
    return torch.atanh(x)


@op()
def cast(x: Tensor, dtype: str) -> Tensor:
    """Change the dtype: floats are cut towards zero and clamped to the integer's range, NaN is 0; integers wrap.

    C leaves the float cases undefined; this is what Apple's processors do (FCVTZS, saturating) for int32.
    """
    if dtype not in _INT_RANGES or not x.is_floating_point():
        return x  # the executor converts to the declared dtype
    low, high = _INT_RANGES[dtype]
    # float64, because float32 cannot hold 2**31 - 1.
    return x.double().nan_to_num(0.0, float("inf"), float("-inf")).clamp(low, high).to(torch.int32)


@op()
def ceil(x: Tensor) -> Tensor:
    """The next integer upwards."""
    return torch.ceil(x)


@op()
def clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    """min(max(x, alpha), beta); NaN stays NaN."""
    return x.clamp(alpha, beta)


@op()
def cos(x: Tensor) -> Tensor:
    """Cosine."""
    return torch.cos(x)


@op()
def cosh(x: Tensor) -> Tensor:
    """Hyperbolic cosine."""
    return torch.cosh(x)


@op()
def erf(x: Tensor) -> Tensor:
    """Gauss error function."""
    return torch.erf(x)


@op()
def exp(x: Tensor) -> Tensor:
    """e^x."""
    return torch.exp(x)


@op()
def exp2(x: Tensor) -> Tensor:
    """2^x; on int32 the result is cut to an integer, exact up to 2^30."""
    return torch.exp2(x) if x.is_floating_point() else torch.exp2(x.double())


@op()
def floor(x: Tensor) -> Tensor:
    """The next integer downwards."""
    return torch.floor(x)


@op()
def inverse(x: Tensor, epsilon: float = 1e-4) -> Tensor:
    """1 / (x + epsilon)."""
    return torch.reciprocal(x + epsilon)


@op()
def log(x: Tensor, epsilon: float = 1e-45) -> Tensor:
    """log(x + epsilon); the default epsilon is the smallest float32 and 0 in float16, as the program stores it."""
    return torch.log(x + epsilon)


@op()
def logical_not(x: Tensor) -> Tensor:
    """Not x."""
    return torch.logical_not(x)


@op()
def round(x: Tensor) -> Tensor:
    """The nearest integer, halves to even."""
    return torch.round(x)


@op()
def rsqrt(x: Tensor, epsilon: float = 1e-12) -> Tensor:
    """1 / sqrt(x + epsilon)."""
    return torch.rsqrt(x + epsilon)


@op()
def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; NaN stays NaN."""
    return torch.sign(x).masked_fill(torch.isnan(x), float("nan")) if x.is_floating_point() else torch.sign(x)


@op()
def sin(x: Tensor) -> Tensor:
    """Sine."""
    return torch.sin(x)


@op()
def sinh(x: Tensor) -> Tensor:
    """Hyperbolic sine."""
    return torch.sinh(x)


@op()
def sqrt(x: Tensor) -> Tensor:
    """Square root; NaN below zero."""
    return torch.sqrt(x)


@op()
def square(x: Tensor) -> Tensor:
    """x^2."""
    return x * x


@op()
def tan(x: Tensor) -> Tensor:
    """Tangent."""
    return torch.tan(x)


@op()
def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(x)


@op()
def threshold(x: Tensor, alpha: float) -> Tensor:
    """max(x, alpha)."""
    return x.clamp(min=alpha)
