"""Matroska and WebM: every element lies whole in its parent (RFC 8794, RFC 9559).

Segments and clusters of unknown size are legal: a recorder that cannot seek writes them. They end where the file ends;
a cut between two elements of such a file is the same file, recorded for a shorter time.
"""

from dataclasses import dataclass
from typing import BinaryIO

from toolkit.audio.whole.link import DamagedError, Link, exactly, size_of

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
# SeekHead, Info, Tracks, Cues, Attachments, Chapters, Tags, Cluster: they end a cluster of unknown size.
_OF_SEGMENT = {0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, _CLUSTER}


@dataclass(frozen=True)
class _Element:
    id: int
    start: int  # of its content
    end: int | None  # None is unknown


def matroska_links(stream: BinaryIO) -> tuple[Link, ...]:
    """The links of a Matroska file: each begins with an EBML header."""
    end, position = size_of(stream), 0
    starts: list[int] = []
    while position < end:
        element = _element(stream, position)
        if element.id == _EBML:
            starts.append(position)
        position = _walk(stream, element, end) if element.id == _SEGMENT else _within(element, end)
    return tuple(Link(start, stop) for start, stop in zip(starts, [*starts[1:], end], strict=True))


def _walk(stream: BinaryIO, parent: _Element, end: int) -> int:
    """Walk the children of a segment or a cluster; the position after it."""
    stop = end if parent.end is None else _within(parent, end)
    position = parent.start
    while position < stop:
        child = _element(stream, position)
        if parent.end is None and _ends(child.id, parent.id):
            return position
        position = _walk(stream, child, stop) if child.id == _CLUSTER else _within(child, stop)
    return position


def _ends(child: int, parent: int) -> bool:
    return child in (_EBML, _SEGMENT) or (parent == _CLUSTER and child in _OF_SEGMENT)


def _within(element: _Element, end: int) -> int:
    if element.end is None:
        raise DamagedError(f"the element before byte {element.start} has no size")
    if element.end > end:
        raise DamagedError(
            f"an element of it promises {element.end - element.start} bytes, {end - element.start} are there"
        )
    return element.end


def _element(stream: BinaryIO, position: int) -> _Element:
    first = exactly(stream, position, 1, "a Matroska element")[0]
    id_bytes = 9 - first.bit_length()
    if id_bytes > 4:
        raise DamagedError(f"byte {position} begins no Matroska element")
    ident = int.from_bytes(exactly(stream, position, id_bytes, "a Matroska element"))
    position += id_bytes
    size_bytes = 9 - exactly(stream, position, 1, "a Matroska element")[0].bit_length()
    if size_bytes > 8:
        raise DamagedError(f"byte {position} is no size of a Matroska element")
    mask = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(exactly(stream, position, size_bytes, "a Matroska element")) & mask
    start = position + size_bytes
    return _Element(ident, start, None if size == mask else start + size)
