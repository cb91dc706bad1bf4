"""What coremltools' binding makes of the values given to `predict` and `write_state`, and what it refuses.

Follows `convertValueToObjC` and `PybindCompatibleArray` of coremltools 9.0 (coremlpython/CoreMLPythonUtils.mm and
CoreMLPythonArray.mm). Whatever goes wrong in there ends in the same error, whose cause the binding prints to stdout.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

# kind and size of the items: int32, float32, float64; int8 came with the SDK of macOS 26.
_ARRAYS = {("i", 4), ("f", 4), ("f", 8)}
_INT8 = ("i", 1)
_INT8_SINCE = (26, 0)


def features(data: Mapping[str, Any], macos: tuple[int, ...]) -> dict[str, Any]:
    """The values of a dict as the binding hands them on; a list or a tuple is dropped without a word, as there.

    Raises:
        RuntimeError: a value cannot be converted.
    """
    found = {name: feature(value, macos) for name, value in data.items()}
    return {name: value for name, value in found.items() if value is not None}


def feature(value: Any, macos: tuple[int, ...]) -> Any:
    """One value: an array, a number, a text, a dict or an image; None for a list or a tuple.

    Args:
        value: of any type.
        macos: what the binding runs on.

    Raises:
        RuntimeError: an array of another dtype than int32, float32, float64 and, from macOS 26 on, int8; one that is
            read-only or has no dimension; anything else that Core ML has no type for.
    """
    if isinstance(value, (list, tuple)):
        return None
    if isinstance(value, (int, float, np.integer, str, bytes, dict)) or hasattr(value, "getbands"):
        return value
    if isinstance(value, np.ndarray) and _is_taken(value, macos):
        return value
    sys.stdout.write(f"Error: value type not convertible:\n{value}\n")
    raise RuntimeError(f"value type not convertible ({_described(value)})")


def whole(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    """An array for an input of whole numbers; a fraction is cut off.

    Raises:
        RuntimeError: NaN, infinity or a number beyond the dtype. What Core ML makes of them is not documented, so
            here they are refused.
    """
    limits = np.iinfo(dtype)
    if array.size and not (np.isfinite(array).all() and array.min() >= limits.min and array.max() <= limits.max):
        raise RuntimeError(f"input '{name}' is {dtype}, which cannot hold values from {array.min()} to {array.max()}")
    return array.astype(dtype)


def _is_taken(array: np.ndarray, macos: tuple[int, ...]) -> bool:
    kind = (array.dtype.kind, array.dtype.itemsize)
    known = kind in _ARRAYS or (kind == _INT8 and macos >= _INT8_SINCE)
    return known and array.ndim > 0 and array.flags.writeable  # the binding takes its `mutable_data`


def _described(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return f"{'' if value.flags.writeable else 'read-only '}{value.dtype} array of rank {value.ndim}"
