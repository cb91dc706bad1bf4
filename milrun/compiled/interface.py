"""The interface of a compiled model: `coremldata.bin`.

Layout, as found in files of coremlc 3402.4.1 to 3520.5.1; numbers are little-endian, a string is its length in 8 bytes
and its bytes: 28 bytes, the string `generic`, the specification's version in 8 bytes, 24 bytes, and as another string
the serialised `ModelDescription`.
"""

import struct
from pathlib import Path
from typing import Any

from milrun.coreml_proto import Model
from milrun.errors import PackageError

_KIND = b"generic"
_KIND_AT = 28
_SKIPPED = 24
_LENGTH = struct.Struct("<Q")


def description_in(file: Path) -> Any:
    """The `ModelDescription` of a compiled model.

    Raises:
        PackageError: the file cannot be read, or is of another layout.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise PackageError(f"cannot read {file}: {error}") from error
    start = _KIND_AT + _LENGTH.size + len(_KIND) + 2 * _LENGTH.size + _SKIPPED
    if not content[_KIND_AT:].startswith(_LENGTH.pack(len(_KIND)) + _KIND) or len(content) < start:
        raise PackageError(f"{file} is damaged, or of a layout that milrun does not know")
    (size,) = _LENGTH.unpack_from(content, start - _LENGTH.size)
    if start + size > len(content):
        raise PackageError(f"{file} ends before the interface that it promises: truncated?")
    try:
        return Model.ModelDescription.FromString(content[start : start + size])
    except Exception as error:  # protobuf's DecodeError, of a class that depends on its implementation
        raise PackageError(f"{file} holds no model's interface: {error}") from error
