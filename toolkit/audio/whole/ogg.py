"""Ogg: every page is there, in order and unchanged, and each stream reaches its end-of-stream page (RFC 3533)."""

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from toolkit.audio.whole.link import DamagedError, Link, exactly, is_padding, size_of

_HEAD = struct.Struct("<4sBBqIIIB")  # capture, version, flags, granule position, serial, sequence, CRC, segments
_FIRST, _LAST = 2, 4
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class _Page:
    flags: int
    serial: int
    sequence: int
    next: int


def ogg_links(stream: BinaryIO) -> tuple[Link, ...]:
    """The links of an Ogg file: a new one begins where a stream begins after all others have ended."""
    end, position = size_of(stream), 0
    starts: list[int] = []
    open_streams: dict[int, int] = {}  # serial -> sequence of its last page
    while position < end and not is_padding(stream, position, end):
        page = _page(stream, position)
        if page.flags & _FIRST:
            if not open_streams:
                starts.append(position)
        elif page.sequence != open_streams.get(page.serial, -2) + 1:
            raise DamagedError(f"pages are missing before byte {position}")
        open_streams[page.serial] = page.sequence
        if page.flags & _LAST:
            del open_streams[page.serial]
        position = page.next
    if open_streams:
        raise DamagedError(f"it has no end-of-stream page: what follows byte {position} is missing")
    return tuple(Link(start, stop) for start, stop in zip(starts, [*starts[1:], end], strict=True))


def _page(stream: BinaryIO, position: int) -> _Page:
    head = exactly(stream, position, _HEAD.size, "an Ogg page")
    capture, _, flags, _, serial, sequence, checksum, segments = _HEAD.unpack(head)
    if capture != b"OggS":
        raise DamagedError(f"byte {position} begins no Ogg page")
    table = exactly(stream, position + _HEAD.size, segments, "an Ogg page")
    body = exactly(stream, position + _HEAD.size + segments, sum(table), "an Ogg page")
    if _crc(head[:22] + bytes(4) + head[26:] + table + body) != checksum:
        raise DamagedError(f"the Ogg page at byte {position} has changed (its checksum differs)")
    return _Page(flags, serial, sequence, position + len(head) + len(table) + len(body))


def _crc(page: bytes) -> int:
    """Ogg's CRC-32: zlib's polynomial with the bits of each byte in the other order, from 0 and not inverted."""
    value = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{value:032b}"[::-1], 2)
