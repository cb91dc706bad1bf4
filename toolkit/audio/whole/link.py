"""What the walkers of containers share: the links of a file, damage, and reading an exact number of bytes."""

from dataclasses import dataclass
from typing import BinaryIO


class DamagedError(Exception):
    """The file is not what its own structure promises; the message completes "FILE is damaged: "."""


@dataclass(frozen=True)
class Link:
    """One recording in a file; a chained file holds several, one after the other.

    Attributes:
        start: first byte.
        end: byte after the last.
        samples: how many per channel the header promises, at its own rate; None where it promises none.
    """

    start: int
    end: int
    samples: int | None = None


def size_of(stream: BinaryIO) -> int:
    """Size of a file in bytes; the position is left at its end."""
    return stream.seek(0, 2)


def read_at(stream: BinaryIO, position: int, count: int) -> bytes:
    """Up to `count` bytes from a position; fewer at the end of the file."""
    stream.seek(position)
    return stream.read(count)


def exactly(stream: BinaryIO, position: int, count: int, what: str) -> bytes:
    """`count` bytes from a position.

    Raises:
        DamagedError: the file ends before; names `what`.
    """
    content = read_at(stream, position, count)
    if len(content) < count:
        raise DamagedError(f"it ends in the middle of {what}, at byte {position + len(content)}")
    return content


def id3v2_size(stream: BinaryIO, position: int) -> int:
    """Bytes of an ID3v2 tag at a position; 0 where there is none. Source: ID3v2.4, section 3.1."""
    head = read_at(stream, position, 10)
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:]) > 0x7F:
        return 0
    size = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    return size + 10 * (head[5] >> 4 & 1)  # a footer


def is_padding(stream: BinaryIO, position: int, end: int) -> bool:
    """Whether only zeros stand between two positions."""
    count = 16  # mostly something else begins here
    while position < end:
        block = read_at(stream, position, min(count, end - position))
        if not block or block.strip(b"\0"):
            return False
        position, count = position + len(block), 1 << 20
    return True
