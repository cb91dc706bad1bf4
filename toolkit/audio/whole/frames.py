"""Streams of frames without a container: MP3 (layers I to III), ADTS AAC, AC-3 and E-AC-3.

Each frame has a head that gives its size, so a part of a frame at the end is found. How many frames there should be is
known from a Xing, Info or VBRI head alone. Sources: ISO/IEC 11172-3 and 13818-3, ISO/IEC 14496-3, ETSI TS 102 366.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from toolkit.audio.whole.link import DamagedError, Link, id3v2_size, is_padding, read_at, size_of

_SEARCHED_BYTES = 1 << 16
_SURE = 3  # frames in a row that are no accident
_TAGS = {b"TAG": 128, b"LYR": None, b"APE": None}  # ID3v1; Lyrics3 and APE go on to the end or to an ID3v1

_KBPS = {  # (MPEG 1, layer) -> kbit/s by index
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES = (44100, 48000, 32000)
_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


@dataclass(frozen=True)
class _Counted:
    """What a Xing, Info or VBRI head promises."""

    frames: int
    bytes: int


def mpeg_frame_bytes(head: bytes) -> int:
    """Size of an MPEG audio frame from its first 4 bytes; 0 where it is none, or of free bit rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)  # version 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5
    index, rate_index, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or index in (0, 15) or rate_index == 3:
        return 0
    rate = _MPEG_RATES[rate_index] >> (0 if version == 3 else 1 if version == 2 else 2)
    bits = 1000 * _KBPS[version == 3, layer][index]
    if layer == 1:
        return (12 * bits // rate + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // rate + padding


def adts_frame_bytes(head: bytes) -> int:
    """Size of an ADTS frame from its first 6 bytes; 0 where it is none."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if size > 7 else 0


def ac3_frame_bytes(head: bytes) -> int:
    """Size of an AC-3 or E-AC-3 frame from its first 6 bytes; 0 where it is none."""
    if len(head) < 6 or head[:2] != b"\x0b\x77":
        return 0
    if head[5] >> 3 > 10:  # bsid: E-AC-3
        return 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    rate_code, size_code = head[4] >> 6, head[4] & 0x3F
    if rate_code == 3 or size_code >= 2 * len(_AC3_KBPS):
        return 0
    kbps = _AC3_KBPS[size_code // 2]
    return (4 * kbps, 2 * (kbps * 1536000 // (44100 * 16) + size_code % 2), 6 * kbps)[rate_code]


def frame_links(stream: BinaryIO, frame_bytes: Callable[[bytes], int]) -> tuple[Link, ...]:
    """The links of a stream of frames: each begins with a head that counts its frames.

    Raises:
        DamagedError: a part of a frame, something else between frames, or fewer frames than a head promises.
    """
    end = size_of(stream)
    position = _first_frame(stream, frame_bytes)
    if position is None:
        raise DamagedError("it does not go on as it begins")
    links = [_Walked(position)]
    while position < end:
        head = read_at(stream, position, 6)
        size = frame_bytes(head)
        if not size:
            position = _after_tag(stream, position, end)
            links.append(_Walked(position))  # what follows a tag was another file
            continue
        if position + size > end:
            raise DamagedError(f"its last frame has {size} bytes, {end - position} are there")
        counted = _counted(stream, position, head) if frame_bytes is mpeg_frame_bytes else None
        if counted and links[-1].frames:
            links.append(_Walked(position))
        position += size
        links[-1].take(counted, position)
    links = [link for link in links if link.end > link.start]
    for link in links:
        link.check()
    return tuple(Link(link.start, link.end) for link in links)


class _Walked:
    """One link while its frames are counted."""

    def __init__(self, start: int) -> None:
        self.start = self.end = start
        self.frames = 0
        self.counted: _Counted | None = None

    def take(self, counted: _Counted | None, end: int) -> None:
        self.end = end
        if counted and not self.frames and not self.counted:
            self.counted = counted  # this frame holds the head, no audio
        else:
            self.frames += 1

    def check(self) -> None:
        promise = self.counted
        if promise and self.frames < promise.frames and self.end - self.start < (promise.bytes or self.end):
            raise DamagedError(f"its header promises {promise.frames} frames, {self.frames} are there")


def _first_frame(stream: BinaryIO, frame_bytes: Callable[[bytes], int]) -> int | None:
    """Where frames begin: after a tag, or after the rest of a frame, where a broadcast was joined."""
    start = id3v2_size(stream, 0)
    end = size_of(stream)
    window = read_at(stream, start, _SEARCHED_BYTES)
    return next((start + k for k in range(len(window)) if _is_row(stream, start + k, end, frame_bytes)), None)


def _is_row(stream: BinaryIO, position: int, end: int, frame_bytes: Callable[[bytes], int]) -> bool:
    """Whether frames follow each other here: enough of them, or all up to the end of the file."""
    for _ in range(_SURE):
        size = frame_bytes(read_at(stream, position, 6))
        if not size:
            return False
        position += size
        if position >= end:
            return True
    return True


def _after_tag(stream: BinaryIO, position: int, end: int) -> int:
    """Behind a tag or padding between frames or after them."""
    if tag := id3v2_size(stream, position):
        return position + tag
    kind = read_at(stream, position, 3)
    if kind in _TAGS:
        return min(end, position + (_TAGS[kind] or end))
    if end - position < 4 or is_padding(stream, position, end):
        return end
    raise DamagedError(f"byte {position} begins no frame")


def _counted(stream: BinaryIO, position: int, head: bytes) -> _Counted | None:
    """The promise in a frame that is a Xing, Info or VBRI head."""
    mono, mpeg1 = head[3] >> 6 == 3, head[1] >> 3 & 3 == 3
    side_bytes = (17 if mono else 32) if mpeg1 else (9 if mono else 17)
    content = read_at(stream, position, 4 + 36 + 26)
    xing = content[4 + side_bytes :]
    if xing[:4] in (b"Xing", b"Info"):
        flags = int.from_bytes(xing[4:8])
        frames = int.from_bytes(xing[8:12]) if flags & 1 else 0
        after = 12 if flags & 1 else 8
        return _Counted(frames, int.from_bytes(xing[after : after + 4]) if flags & 2 else 0)
    if content[36:40] == b"VBRI":
        size, frames = struct.unpack(">II", content[46:54])
        return _Counted(frames, size)
    return None
