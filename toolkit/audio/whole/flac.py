"""FLAC: the links of a chained file, and how many samples each promises (RFC 9639)."""

from typing import BinaryIO

from toolkit.audio.whole.link import Link, exactly, read_at, size_of

# The marker and the head of STREAMINFO, 34 bytes, which is always the first block; it may be the last block, too.
_MARKERS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")
_BLOCK_BYTES = 1 << 20
_TOTAL_BITS = 36


def flac_links(stream: BinaryIO) -> tuple[Link, ...]:
    """The links of a FLAC file; a total of 0 in a header is an unknown one."""
    end, markers = size_of(stream), _markers(stream)
    if not markers:
        return (Link(0, end),)
    bounds = [0, *markers[1:], end]  # what stands before the first marker is a tag
    return tuple(Link(bounds[k], bounds[k + 1], _total(stream, marker)) for k, marker in enumerate(markers))


def _markers(stream: BinaryIO) -> list[int]:
    found, position, keep = [], 0, len(_MARKERS[0]) - 1
    while len(block := read_at(stream, position, _BLOCK_BYTES)) > keep:
        for marker in _MARKERS:
            at = block.find(marker)
            while at >= 0:
                found.append(position + at)
                at = block.find(marker, at + 1)
        position += len(block) - keep
    return sorted(found)


def _total(stream: BinaryIO, marker: int) -> int | None:
    info = exactly(stream, marker + 8, 34, "its header")
    return int.from_bytes(info[10:18]) & ((1 << _TOTAL_BITS) - 1) or None
