"""Reading MIL's weight files (`weights/weight.bin`), mapped into memory and never copied.

Layout (coremltools `milstoragepython/MilStorage`, storage version 2): a 64-byte file header (uint32 count, uint32
version), then for each blob a 64-byte record at the offset that the program names: uint32 sentinel 0xDEADBEEF,
uint32 dtype, uint64 size in bytes, uint64 offset of the data, uint64 padding in bits.
"""

import math
import struct
from pathlib import Path

import numpy as np

from milrun.errors import PackageError
from milrun.numerics import SUB_BYTE_BITS, numpy_dtype
from milrun.unready import refuse_pointer

_RECORD = struct.Struct("<IIQQQ")
_RECORD_BYTES = 64
_SENTINEL = 0xDEADBEEF


def unpack_bits(packed: np.ndarray, dtype: str, count: int) -> np.ndarray:
    """Unpack `count` little-endian sub-byte integers.

    Args:
        packed: uint8 [bytes].
        dtype: one of `int4 uint4 uint1 uint2 uint3 uint6`.
        count: how many elements to read.

    Returns:
        int8 or uint8 [count], one element a byte.
    """
    bits = SUB_BYTE_BITS[dtype]
    if packed.size * 8 < count * bits:
        raise PackageError(f"{count} {dtype} elements need {count * bits} bits, the file holds {packed.size * 8}")
    each = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
    values = np.packbits(each, axis=1, bitorder="little")[:, 0]
    if dtype == "int4":
        return (values.astype(np.int8) ^ 8) - np.int8(8)  # sign-extend from bit 3
    return values


class WeightFile:
    """One mapped weight file.

    Raises:
        PackageError: the file cannot be mapped, or is a Git LFS pointer.
    """

    def __init__(self, path: Path) -> None:
        refuse_pointer(path)
        self.path = path
        try:
            # Copy-on-write: torch wants writable memory, the file stays untouched.
            self._bytes: np.ndarray = np.memmap(path, dtype=np.uint8, mode="c")
        except (OSError, ValueError) as error:
            raise PackageError(f"cannot map the weight file {path}: {error}") from error

    def read(self, offset: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        """The array whose record stands at `offset`.

        Args:
            offset: byte offset of the 64-byte record.
            dtype: MIL dtype name the program declares.
            shape: declared shape.

        Returns:
            A read-only array of `shape`; a view of the mapped file but for sub-byte dtypes.

        Raises:
            PackageError: the record is missing, or points outside the file.
        """
        start, size = self.locate(offset, dtype, shape)
        raw = self._bytes[start : start + size]
        if dtype in SUB_BYTE_BITS:
            return unpack_bits(raw, dtype, math.prod(shape)).reshape(shape)
        return raw.view(numpy_dtype(dtype)).reshape(shape)

    def locate(self, offset: int, dtype: str, shape: tuple[int, ...]) -> tuple[int, int]:
        """First byte and size of the data whose record stands at `offset`, without reading it.

        Raises:
            PackageError: the record is missing, points outside the file, or holds another number of elements.
        """
        start, size = self._record(offset)
        count = math.prod(shape)
        if dtype in SUB_BYTE_BITS:
            needed = math.ceil(count * SUB_BYTE_BITS[dtype] / 8)
            fits = size >= needed
        else:
            needed = count * numpy_dtype(dtype).itemsize
            fits = size == needed
        if not fits:
            raise PackageError(
                f"{self.path.name}: the blob at {offset} holds {size} bytes, {dtype} {list(shape)} needs {needed}"
            )
        return start, size

    def _record(self, offset: int) -> tuple[int, int]:
        if offset < 0 or offset + _RECORD_BYTES > self._bytes.size:
            raise PackageError(
                f"{self.path.name}: offset {offset} lies outside the file ({self._bytes.size} bytes): truncated?"
            )
        record = self._bytes[offset : offset + _RECORD.size].tobytes()
        sentinel, _, size, start, _ = _RECORD.unpack(record)
        if sentinel != _SENTINEL:
            raise PackageError(f"{self.path.name}: no blob record at offset {offset}")
        if start + size > self._bytes.size:
            raise PackageError(
                f"{self.path.name}: a blob of {size} bytes at {start} ends outside the file "
                f"({self._bytes.size} bytes): truncated?"
            )
        return start, size
