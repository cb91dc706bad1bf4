"""MP4, M4A, MOV, 3GP: every box is there, and one of them is the index (ISO/IEC 14496-12)."""

import struct
from typing import BinaryIO

from toolkit.audio.whole.link import DamagedError, Link, exactly, is_padding, size_of


def mp4_links(stream: BinaryIO) -> tuple[Link, ...]:
    """The links of an MP4 file: a second one begins with a second `ftyp`."""
    end, position = size_of(stream), 0
    starts: list[int] = []
    indexed = False
    while position < end and not is_padding(stream, position, end):
        kind, size = _box(stream, position, end)
        if kind == b"ftyp" or not starts:
            starts.append(position)
        indexed |= kind == b"moov"
        if position + size > end:
            raise DamagedError(f"its box '{_shown(kind)}' promises {size} bytes, {end - position} are there")
        position += size
    if not indexed:
        raise DamagedError("its index (the box 'moov') is missing")
    return tuple(Link(start, stop) for start, stop in zip(starts, [*starts[1:], end], strict=True))


def _box(stream: BinaryIO, position: int, end: int) -> tuple[bytes, int]:
    size, kind = struct.unpack(">I4s", exactly(stream, position, 8, "a box"))
    if size == 1:
        size = struct.unpack(">Q", exactly(stream, position + 8, 8, "a box"))[0]
    elif size == 0:  # reaches to the end of the file
        size = end - position
    if size < 8:
        raise DamagedError(f"byte {position} begins no box")
    return kind, size


def _shown(kind: bytes) -> str:
    return kind.decode("ascii", errors="replace")
