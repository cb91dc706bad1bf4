"""MPEG transport streams: a whole number of packets; what misses inside a packet of sound, FFmpeg marks itself."""

from typing import BinaryIO

from toolkit.audio.whole.link import DamagedError, Link, read_at, size_of

_SYNC = 0x47
_LAYOUTS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet, and where its sync byte stands


def mpegts_links(stream: BinaryIO) -> tuple[Link, ...]:
    """The one link of a transport stream.

    Raises:
        DamagedError: the last packet is not whole.
    """
    end = size_of(stream)
    head = read_at(stream, 0, 3 * 204)
    for size, at in _LAYOUTS:
        if all(head[k] == _SYNC for k in range(at, len(head), size)) and end % size:
            raise DamagedError(f"its last packet has {size} bytes, {end % size} are there")
    return (Link(0, end),)
