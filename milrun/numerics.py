"""Dtypes of MIL and how milrun holds them.

A value travels between ops in a *container*: float32 for every float, int32 for every integer, bool for bool. An op
computes in its container; the executor then rounds the result once to the declared dtype (`round_to`). A float16 value
is therefore a float32 tensor whose every element is representable in float16, which is what makes a float16 package
behave as one while every kernel stays a float32 kernel.
"""

from collections.abc import Callable

import numpy as np
import torch

# MIL DataType numbers (MIL.proto) -> dtype names.
DTYPE_NAMES = {
    1: "bool",
    2: "string",
    10: "float16",
    11: "float32",
    12: "float64",
    21: "int8",
    22: "int16",
    23: "int32",
    24: "int64",
    25: "int4",
    31: "uint8",
    32: "uint16",
    33: "uint32",
    34: "uint64",
    35: "uint4",
    36: "uint2",
    37: "uint1",
    38: "uint6",
    39: "uint3",
}
SUB_BYTE_BITS = {"int4": 4, "uint4": 4, "uint2": 2, "uint1": 1, "uint6": 6, "uint3": 3}
FLOATS = frozenset({"float16", "float32", "float64"})
INTS = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})


def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype that stores `name`; sub-byte integers are stored a byte an element."""
    if name in SUB_BYTE_BITS:
        return np.dtype(np.uint8 if name.startswith("u") else np.int8)
    return np.dtype(np.str_ if name == "string" else name)


def container_dtype(name: str) -> torch.dtype:
    """The torch dtype of the container for a value declared as `name`."""
    if name in FLOATS:
        return torch.float32
    return torch.bool if name == "bool" else torch.int32


def container_from_numpy(array: np.ndarray) -> torch.Tensor:
    """Copy an array (any MIL dtype) into its container."""
    if array.dtype.kind == "f":
        # Not `ascontiguousarray`, which makes a rank 0 array one of rank 1.
        return torch.from_numpy(np.asarray(array, order="C")).to(torch.float32)
    if array.dtype.kind == "b":
        return torch.from_numpy(np.array(array))
    return torch.from_numpy(array.astype(np.int32))


def numpy_from_container(value: torch.Tensor, dtype: str) -> np.ndarray:
    """Copy a container into an array of the declared dtype."""
    return value.detach().numpy().astype(numpy_dtype(dtype), copy=True)


def _to_float16(value: torch.Tensor) -> torch.Tensor:
    return value.to(torch.float16).to(torch.float32)


def _to_float32(value: torch.Tensor) -> torch.Tensor:
    return value.to(torch.float32)


def _to_bool(value: torch.Tensor) -> torch.Tensor:
    return value.to(torch.bool)


def _to_int32(value: torch.Tensor) -> torch.Tensor:
    return value.to(torch.int32)


def _wrap_to(dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda value: value.to(dtype).to(torch.int32)


def _to_uint16(value: torch.Tensor) -> torch.Tensor:
    return value.to(torch.int32) & 0xFFFF


_ROUND: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "float16": _to_float16,
    "float32": _to_float32,
    "float64": _to_float32,
    "bool": _to_bool,
    "int8": _wrap_to(torch.int8),
    "uint8": _wrap_to(torch.uint8),
    "int16": _wrap_to(torch.int16),
    "uint16": _to_uint16,
}


def round_to(dtype: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function that rounds an op's result to its declared dtype and puts it into its container."""
    return _ROUND.get(dtype, _to_int32)
