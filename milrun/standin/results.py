"""Values that cross between coremltools and milrun: images in, and results out."""

from collections.abc import Callable
from typing import Any

import numpy as np

from milrun.coreml_proto import FeatureTypes

_ARRAY = FeatureTypes.ArrayFeatureType
_IMAGE = FeatureTypes.ImageFeatureType
# float16 leaves the binding as float32 (rdar://92239209 in its source).
_ARRAY_DTYPES: dict[int, Any] = {
    _ARRAY.FLOAT16: np.float32,
    _ARRAY.FLOAT32: np.float32,
    _ARRAY.DOUBLE: np.float64,
    _ARRAY.INT32: np.int32,
    _ARRAY.INT8: np.int8,
}


def array_from_image(item: Any, image: Any) -> np.ndarray:
    """PIL image -> float32 [1, 3 or 1, H, W] in the order of channels that the description names."""
    wanted = item.type.imageType
    if not hasattr(image, "getbands"):
        raise RuntimeError(f"input '{item.name}' is an image, got {type(image).__name__}")
    pixels = np.asarray(image, dtype=np.float32)
    if pixels.ndim == 2:
        return pixels[None, None]  # [H, W] -> [1, 1, H, W]
    pixels = pixels[:, :, :3].transpose(2, 0, 1)  # [H, W, 3] -> [3, H, W]
    return np.ascontiguousarray(pixels[::-1] if wanted.colorSpace == _IMAGE.BGR else pixels)[None]


def _image_from_array(item: Any, array: np.ndarray) -> Any:
    """[1, 3 or 1, H, W] -> PIL image: RGBA, L or F; eight-bit pixels are clipped and rounded."""
    from PIL import Image

    space = item.type.imageType.colorSpace
    planes = array.reshape(array.shape[-3:])
    if space == _IMAGE.GRAYSCALE_FLOAT16:
        return Image.fromarray(planes[0].astype(np.float32))
    pixels = np.clip(np.rint(planes), 0, 255).astype(np.uint8)
    if space == _IMAGE.GRAYSCALE:
        return Image.fromarray(pixels[0])
    if space == _IMAGE.BGR:
        pixels = pixels[::-1]
    opaque = np.full_like(pixels[:1], 255)
    return Image.fromarray(np.ascontiguousarray(np.concatenate([pixels, opaque]).transpose(1, 2, 0)))


def _array_from_result(item: Any, result: Any) -> np.ndarray:
    dtype = _ARRAY_DTYPES.get(item.type.multiArrayType.dataType, np.float32)
    array = np.asarray(result).astype(dtype)
    return array.reshape(1) if array.ndim == 0 else array


_FROM_RESULT: dict[str, Callable[[Any, Any], Any]] = {
    "multiArrayType": _array_from_result,
    "imageType": _image_from_array,
    "stringType": lambda item, result: str(result),
    "int64Type": lambda item, result: int(result),
    "doubleType": lambda item, result: float(result),
    "dictionaryType": lambda item, result: {key: float(value) for key, value in result.items()},
}


def value_from_result(item: Any, result: Any) -> Any:
    """An output as coremltools returns it, by the type in the model's description.

    Raises:
        RuntimeError: the description's type is one that no output of an ML Program has.
    """
    kind = item.type.WhichOneof("Type")
    if kind not in _FROM_RESULT:
        raise RuntimeError(f"output '{item.name}' is of kind {kind}, which milrun does not hand out")
    return _FROM_RESULT[kind](item, result)
