"""MIL's elementwise binary ops, with NumPy's broadcasting. Oracle: NumPy.

Integers stay in int32 from end to end: sums and products wrap, and a division by zero is an error.
"""

import torch

from milrun.registry import Tensor, op


@op()
def add(x: Tensor, y: Tensor) -> Tensor:
    """x + y."""
    return x + y


@op()
def equal(x: Tensor, y: Tensor) -> Tensor:
    """x == y."""
    return x == y


@op()
def floor_div(x: Tensor, y: Tensor) -> Tensor:
    """x / y, rounded towards negative infinity."""
    return torch.div(*_divisible(x, y), rounding_mode="floor")


@op()
def greater(x: Tensor, y: Tensor) -> Tensor:
    """x > y."""
    return x > y


@op()
def greater_equal(x: Tensor, y: Tensor) -> Tensor:
    """x >= y."""
    return x >= y


@op()
def less(x: Tensor, y: Tensor) -> Tensor:
    """x < y."""
    return x < y


@op()
def less_equal(x: Tensor, y: Tensor) -> Tensor:
    """x <= y."""
    return x <= y


@op()
def logical_and(x: Tensor, y: Tensor) -> Tensor:
    """x and y."""
    return torch.logical_and(x, y)


@op()
def logical_or(x: Tensor, y: Tensor) -> Tensor:
    """x or y."""
    return torch.logical_or(x, y)


@op()
def logical_xor(x: Tensor, y: Tensor) -> Tensor:
    """Exactly one of x and y."""
    return torch.logical_xor(x, y)


@op()
def maximum(x: Tensor, y: Tensor) -> Tensor:
    """The larger of x and y; NaN wins."""
    return torch.maximum(x, y)


@op()
def minimum(x: Tensor, y: Tensor) -> Tensor:
    """The smaller of x and y; NaN wins."""
    return torch.minimum(x, y)


@op()
def mod(x: Tensor, y: Tensor) -> Tensor:
    """x - y * floor(x / y): the sign follows y."""
    return torch.remainder(*_divisible(x, y))


@op()
def mul(x: Tensor, y: Tensor) -> Tensor:
    """x * y."""
    return x * y


@op()
def not_equal(x: Tensor, y: Tensor) -> Tensor:
    """x != y."""
    return x != y


@op()
def pow(x: Tensor, y: Tensor) -> Tensor:
    """x ^ y; a negative base with a fractional exponent yields NaN."""
    return torch.pow(x, y)


@op()
def real_div(x: Tensor, y: Tensor) -> Tensor:
    """x / y; MIL declares the quotient of two int32 as int32, so it is rounded towards zero, exactly."""
    if x.is_floating_point() or y.is_floating_point():
        return torch.div(x, y)
    return torch.div(*_divisible(x, y), rounding_mode="trunc")


@op()
def sub(x: Tensor, y: Tensor) -> Tensor:
    """x - y."""
    return x - y


def _divisible(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Integers as int64: the processor's division of -2**31 by -1 in int32 ends the process (SIGFPE on x86)."""
    return (x, y) if x.is_floating_point() or y.is_floating_point() else (x.long(), y.long())
