"""True Audio: one frame after the other, as long as the seek table says (TTA1 format description)."""

import struct
from typing import BinaryIO

from toolkit.audio.whole.link import DamagedError, Link, exactly, id3v2_size, read_at, size_of

_LARGEST_TAGS = 1 << 24  # after the frames; a cover picture is among them
_HEAD = struct.Struct("<4sHHHIII")  # TTA1, format, channels, bits, rate, samples, CRC


def tta_links(stream: BinaryIO) -> tuple[Link, ...]:
    """The links of a TTA file; a second one begins with a second header."""
    end, start = size_of(stream), 0
    links = []
    while start < end:
        stop = _end(stream, start + id3v2_size(stream, start))
        if stop > end:
            raise DamagedError(f"its seek table promises {stop - start} bytes, {end - start} are there")
        another = read_at(stream, stop, _LARGEST_TAGS).find(b"TTA1")
        stop = stop + another if another >= 0 else end
        links.append(Link(start, stop))
        start = stop
    return tuple(links)


def _end(stream: BinaryIO, position: int) -> int:
    rate: int
    samples: int
    _, _, _, _, rate, samples, _ = _HEAD.unpack(exactly(stream, position, _HEAD.size, "its header"))
    frames: int = -(-samples // (max(1, rate) * 256 // 245 or 1))
    position += _HEAD.size
    sizes: tuple[int, ...] = struct.unpack(f"<{frames}I", exactly(stream, position, 4 * frames, "its seek table"))
    return position + 4 * frames + 4 + sum(sizes)
