"""What the model's description adds to the types of a function's inputs: shapes allowed, defaults, kinds of image.

A program says `float32 [1, 8, ?]`; the description says that `?` is 10 to 100, or that only [1, 8, 40] and [1, 8, 64]
may be given, and what an input that is left out is. Core ML holds a caller to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from milrun.coreml_proto import FeatureTypes
from milrun.errors import InputError
from milrun.program import TensorType

_IMAGE = FeatureTypes.ImageFeatureType
_COLORS = {_IMAGE.RGB: "RGB", _IMAGE.BGR: "BGR"}
_UNKNOWN_SIZE = 1
_SHAPES_SHOWN = 8


@dataclass(frozen=True)
class Interval:
    """The sizes that a dimension may have; `high` None is without limit."""

    low: int
    high: int | None

    def __contains__(self, size: int) -> bool:
        return self.low <= size and (self.high is None or size <= self.high)

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}..{'' if self.high is None else self.high}"


@dataclass(frozen=True)
class InputType(TensorType):
    """The type of an input, and what its description allows.

    Attributes:
        usual: the shape in the description, the default one where several are allowed; None where it says none.
        shapes: the only shapes allowed, where they are enumerated.
        ranges: one interval a dimension, where sizes are free within bounds.
        default: what fills an input that may be left out; None where it is required.
        image: the colours of an image, "RGB", "BGR" or "grayscale"; empty for an array.
    """

    usual: tuple[int, ...] | None = None
    shapes: tuple[tuple[int, ...], ...] = ()
    ranges: tuple[Interval, ...] = ()
    default: float | None = None
    image: str = ""

    def __str__(self) -> str:
        text = super().__str__()
        if self.ranges:
            text = f"{self.dtype} [{', '.join(str(interval) for interval in self.ranges)}]"
        if self.shapes:
            more = len(self.shapes) - _SHAPES_SHOWN
            listed = [str(list(shape)) for shape in self.shapes[:_SHAPES_SHOWN]] + [f"{more} more"] * (more > 0)
            text = f"{self.dtype} {' or '.join(listed)}"
        if self.image:
            text += f", {self.image} pixels"
        return text if self.default is None else f"{text}, {self.default:g} where left out"

    def fault(self, shape: tuple[int, ...]) -> str:
        """Why the description refuses a shape, in Core ML's words; empty where it allows it."""
        if self.shapes:
            if shape in self.shapes:
                return ""
            return f"MultiArray Shape ({_times(shape)}) was not in enumerated set of allowed shapes"
        if self.ranges:
            return self._range_fault(shape)
        if self.usual and shape != self.usual:
            return f"MultiArray shape ({_times(shape)}) does not match the model description ({_times(self.usual)})"
        return ""

    def _range_fault(self, shape: tuple[int, ...]) -> str:
        if len(shape) != len(self.ranges):
            dimensions = len(self.ranges)
            return f"MultiArray shape ({_times(shape)}) does not match the model description: {dimensions} dimensions"
        for dimension, (size, allowed) in enumerate(zip(shape, self.ranges, strict=True)):
            if size not in allowed:
                return (
                    f"Size ({size}) of dimension ({dimension}) is not in allowed range ({allowed.low}..{allowed.high})"
                )
        return ""

    @property
    def example_shape(self) -> tuple[int, ...]:
        """A shape that may be given: the program's where it is fixed, else the description's default."""
        if self.shape is not None and None not in self.shape:
            return tuple(size for size in self.shape if size is not None)
        if self.usual:
            return self.usual
        return tuple(_UNKNOWN_SIZE if size is None else size for size in self.shape or ())

    def filled(self) -> np.ndarray:
        """What stands for an input that is left out."""
        return np.full(self.example_shape, self.default or 0, dtype=self.dtype)


def input_types(description: Any, function: str, declared: Mapping[str, TensorType]) -> dict[str, InputType]:
    """The inputs of a function with what the model's description says of them.

    Args:
        description: `ModelDescription`; one of a multifunction package describes each function.
        function: name of the function.
        declared: name -> type in the program.
    """
    items = {item.name: item.type for item in function_description(description, function).input}
    return {name: _input_type(tensor, items.get(name)) for name, tensor in declared.items()}


def check_names(who: str, wanted: Mapping[str, InputType], inputs: Any) -> None:
    """Whether a call names the inputs that a model has.

    Raises:
        InputError: no mapping, an unknown name, or one that is missing and has no default.
    """
    if not isinstance(inputs, Mapping):
        raise InputError(f"{who} wants a mapping from name to array, got {type(inputs).__name__}")
    optional = {name for name, want in wanted.items() if want.default is not None}
    if not set(wanted) - optional <= set(inputs) <= set(wanted):
        leave = f" (may be left out: {sorted(optional)})" if optional else ""
        raise InputError(f"{who} wants inputs {sorted(wanted)}{leave}, got {sorted(inputs)}")


def array_of(name: str, value: Any, want: TensorType) -> np.ndarray:
    """A value given for an input as an array, of whatever dtype and shape.

    Raises:
        InputError: it is none.
    """
    if hasattr(value, "getbands"):
        raise InputError(
            f"input '{name}' is {want}: give the pixels as an array, not a PIL image (milrun.standin does)"
        )
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"input '{name}' is {want}, got a {type(value).__name__} that is not an array: {error}"
        ) from error


def function_description(description: Any, name: str) -> Any:
    """What describes a function: its own description, or the model's where there is one function."""
    return next((f for f in description.functions if f.name == name), description)


def _input_type(type: TensorType, item: Any) -> InputType:
    if item is None:
        return InputType(type.dtype, type.shape)
    if item.WhichOneof("Type") == "imageType":
        return _image_type(type, item.imageType)
    array = item.multiArrayType
    flexibility = array.WhichOneof("ShapeFlexibility")
    return InputType(
        type.dtype,
        type.shape,
        usual=tuple(array.shape) or None,
        shapes=tuple(tuple(s.shape) for s in array.enumeratedShapes.shapes),
        ranges=tuple(_interval(r) for r in array.shapeRange.sizeRanges) if flexibility == "shapeRange" else (),
        default=_default(array) if item.isOptional else None,
    )


def _image_type(type: TensorType, image: Any) -> InputType:
    color = _COLORS.get(image.colorSpace, "grayscale")
    channels = 1 if color == "grayscale" else 3
    sizes = [(image.height, image.width), *((s.height, s.width) for s in image.enumeratedSizes.sizes)]
    ranges: tuple[Interval, ...] = ()
    if image.WhichOneof("SizeFlexibility") == "imageSizeRange":
        free = image.imageSizeRange
        fixed = (Interval(1, 1), Interval(channels, channels))
        ranges = (*fixed, _interval(free.heightRange), _interval(free.widthRange))
    return InputType(
        type.dtype,
        type.shape,
        usual=(1, channels, image.height, image.width),
        shapes=tuple((1, channels, *size) for size in dict.fromkeys(sizes)) if len(sizes) > 1 else (),
        ranges=ranges,
        image=color,
    )


def _interval(range: Any) -> Interval:
    return Interval(range.lowerBound, None if range.upperBound < 0 else range.upperBound)


def _default(array: Any) -> float:
    chosen = array.WhichOneof("defaultOptionalValue")
    return 0 if chosen is None else getattr(array, chosen)


def _times(shape: Sequence[int]) -> str:
    return " x ".join(str(size) for size in shape)
