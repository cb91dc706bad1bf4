"""The interface of a compiled model: `coremldata.bin`.

Layout, as found in files of coremlc 3402.4.1 to 3520.5.1; numbers are little-endian, a string is its length in 8 bytes
and its bytes: 28 bytes, a string that names the kind, the specification's version in 8 bytes, 24 bytes, then

- of the kind `generic` (an ML Program, a neural network): another string, the serialised `ModelDescription`;
- of a pipeline: the same. Its kind lists the parts: `generic.model0v5.0.0generic.model1v1.0.0spec`;
- of the kind `spec` (what coremlc does not compile, such as non-maximum suppression): the serialised `Model`, to the
  file's end.
"""

import struct
from pathlib import Path
from typing import Any

from milrun.coreml_proto import DECODE_ERRORS, Model
from milrun.errors import PackageError
from milrun.unready import refuse_pointer

_GENERIC, _SPEC = b"generic", b"spec"
_KIND_AT = 28
_SKIPPED = 24
_LENGTH = struct.Struct("<Q")


def spec_in(file: Path) -> Any:
    """The `Model` in a `coremldata.bin`: whole of the kind `spec`, else its description alone.

    Raises:
        PackageError: the file cannot be read, or is of another layout.
    """
    refuse_pointer(file)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise PackageError(f"cannot read {file}: {error}") from error
    kind, start = _string(content, _KIND_AT)
    start += _LENGTH.size + _SKIPPED
    if kind == _SPEC:
        return _parsed(Model.Model, content[start:], file)
    if not kind.startswith(_GENERIC) or start + _LENGTH.size > len(content):
        raise PackageError(f"{file} is damaged, or of a layout that milrun does not know")
    description, end = _string(content, start)
    if end > len(content):
        raise PackageError(f"{file} ends before the interface that it promises: truncated?")
    return Model.Model(description=_parsed(Model.ModelDescription, description, file))


def _string(content: bytes, at: int) -> tuple[bytes, int]:
    """A string and where it should end; what is missing at the content's end is missing in it."""
    if at + _LENGTH.size > len(content):
        return b"", len(content)
    (size,) = _LENGTH.unpack_from(content, at)
    end = at + _LENGTH.size + size
    return content[at + _LENGTH.size : end], end


def _parsed(message: Any, content: bytes, file: Path) -> Any:
    try:
        return message.FromString(content)
    except DECODE_ERRORS as error:
        raise PackageError(f"{file} holds no model's interface: {error}") from error
