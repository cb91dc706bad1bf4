"""MIL's quantization ops: affine quantization of activations."""

from milrun.registry import Tensor, op

_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int4": (-8, 7), "uint4": (0, 15)}


@op(since="iOS17")
def quantize(
    input: Tensor, scale: Tensor, output_dtype: str, zero_point: Tensor | None = None, axis: int | None = None
) -> Tensor:
    """clip(round(input / scale) + zero_point) to the range of `output_dtype`; halves round to even."""
    low, high = _LIMITS[output_dtype]
    levels = (input / _along(scale, input, axis)).round()
    if zero_point is not None:
        levels = levels + _along(zero_point, input, axis)
    return levels.clamp(low, high)


@op(since="iOS17")
def dequantize(input: Tensor, scale: Tensor, zero_point: Tensor | None = None, axis: int | None = None) -> Tensor:
    """scale * (input - zero_point)."""
    shifted = input if zero_point is None else input - _along(zero_point, input, axis)
    return shifted * _along(scale, input, axis)


def _along(value: Tensor, input: Tensor, axis: int | None) -> Tensor:
    """A scalar as it is; a vector laid along `axis`."""
    if value.ndim == 0:
        return value
    if axis is None:
        raise ValueError("a vector of scales or zero points needs an axis")
    shape = [1] * input.ndim
    shape[axis] = -1
    return value.reshape(shape)
