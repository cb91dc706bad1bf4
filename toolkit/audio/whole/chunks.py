"""Files of chunks with a size each: WAV, RF64, AIFF, AVI, W64, CAF, ASF; and AU, which is one chunk.

Sources: Microsoft's RIFF and WAVE, EBU Tech 3306 (RF64), Apple's AIFF 1.3 and Core Audio Format, Sony Wave64, ASF 1.20.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from toolkit.audio.whole.link import DamagedError, Link, exactly, is_padding, read_at, size_of

# A writer that cannot seek leaves one of these sizes: 0, the largest signed or unsigned number, or up to a page less.
_SIGNED = range(0x7FFFEF00, 0x80000001)
_UNSIGNED = range(0xFFFFEF00, 0x100000000)
_HEADS = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN")


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    start: int  # of its content
    size: int
    next: int


@dataclass(frozen=True)
class _Form:
    """How a family writes its chunks: the layout of name and size, and whether the size counts those too."""

    layout: str
    align: int = 1
    counts_head: bool = False

    def chunk(self, stream: BinaryIO, position: int) -> _Chunk:
        head_bytes = struct.calcsize(self.layout)
        name, size = struct.unpack(self.layout, exactly(stream, position, head_bytes, "the head of a chunk"))
        size -= head_bytes if self.counts_head else 0
        end = position + head_bytes + size
        return _Chunk(name, position + head_bytes, size, end + -end % self.align)


_RIFF, _RIFX = _Form("<4sI", align=2), _Form(">4sI", align=2)
_W64, _ASF = _Form("<16sq", align=8, counts_head=True), _Form("<16sq", counts_head=True)
_CAF = _Form(">4sq")


def wav_links(stream: BinaryIO) -> tuple[Link, ...]:
    """WAV: the samples reach as far as the header says, or the header never knew; another WAV may follow."""
    end, start = size_of(stream), 0
    links = []
    while start < end:
        stop = _wav_end(stream, start, end)
        links.append(Link(start, stop))
        start = stop
    return tuple(links)


def _wav_end(stream: BinaryIO, start: int, end: int) -> int:
    """Where one WAV ends: at the end of the file, or where another begins."""
    form = _RIFX if read_at(stream, start, 4) == b"RIFX" else _RIFF
    data = _wav_data(stream, form, start + 12)
    if not data.size or _is_placeholder(data.size, end - start):
        return end
    return _after_samples(stream, form, data, end)


def _wav_data(stream: BinaryIO, form: _Form, position: int) -> _Chunk:
    wide = 0
    while (chunk := form.chunk(stream, position)).name != b"data":
        if chunk.name == b"ds64":
            wide = struct.unpack("<Q", exactly(stream, chunk.start + 8, 8, "its header"))[0]
        position = chunk.next
    if chunk.size == 0xFFFFFFFF and wide:
        return _Chunk(chunk.name, chunk.start, wide, chunk.start + wide + wide % 2)
    return chunk


def aiff_links(stream: BinaryIO) -> tuple[Link, ...]:
    """AIFF: every chunk is there."""
    return _reaching(stream, _RIFX, 12, b"SSND")


def avi_links(stream: BinaryIO) -> tuple[Link, ...]:
    """AVI: each of its RIFF lists is there; a recorder that crashed left sizes of 0."""
    end, position = size_of(stream), 0
    while position < end:
        chunk = _RIFF.chunk(stream, position)
        if not chunk.size or chunk.name != b"RIFF":
            break
        _check_fits(chunk, end)
        position = chunk.next
    return (Link(0, end),)


def w64_links(stream: BinaryIO) -> tuple[Link, ...]:
    """Wave64: every chunk is there."""
    return _reaching(stream, _W64, 40, bytes.fromhex("64617461f3acd3118cd100c04f8edb8a"))


def caf_links(stream: BinaryIO) -> tuple[Link, ...]:
    """CAF: every chunk is there; a size of -1 reaches to the end."""
    return _reaching(stream, _CAF, 8, b"data")


def asf_links(stream: BinaryIO) -> tuple[Link, ...]:
    """ASF, WMA: every object is there; a live stream leaves the size of its data open."""
    return _reaching(stream, _ASF, 0, bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c"))


def au_links(stream: BinaryIO) -> tuple[Link, ...]:
    """AU: one chunk, whose size may be unknown."""
    start, size = struct.unpack(">II", exactly(stream, 4, 8, "its header"))
    end = size_of(stream)
    if size and not _is_placeholder(size, end):
        end = _after_samples(stream, _RIFX, _Chunk(b"data", start, size, start + size), end)
    return (Link(0, end),)


def _reaching(stream: BinaryIO, form: _Form, position: int, audio: bytes) -> tuple[Link, ...]:
    """Walk all chunks; the one that holds the audio may be open-ended."""
    end, magic = size_of(stream), read_at(stream, 0, 4)
    while position < end and not is_padding(stream, position, end):
        chunk = form.chunk(stream, position)
        if position and chunk.name[:4] == magic:
            raise DamagedError(f"another recording begins at byte {position}, which is not read in this format")
        if chunk.size < 0 or (chunk.name == audio and chunk.size == 0):
            break
        _check_fits(chunk, end)
        position = chunk.next
    return (Link(0, end),)


def _is_placeholder(size: int, end: int) -> bool:
    return size > end and (size in _SIGNED or size in _UNSIGNED)


def _check_fits(chunk: _Chunk, end: int) -> None:
    if chunk.start + chunk.size > end:
        there = max(0, end - chunk.start)
        raise DamagedError(f"a chunk of it promises {chunk.size} bytes, {there} are there")


def _after_samples(stream: BinaryIO, form: _Form, data: _Chunk, end: int) -> int:
    """Where the file, or the next recording in it, ends what began before the samples."""
    there, after = end - data.start, data.start + data.size
    if data.size > there:
        raise DamagedError(f"its header promises {data.size} bytes of samples, {there} are there")
    for position in (after + after % 2, after):  # some writers leave out the byte of padding
        if rest := _end_of_rest(stream, form, min(position, end), end):
            return rest
    raise DamagedError(
        f"its header promises {data.size} bytes of samples, but {end - after} more follow that are no chunk"
    )


def _end_of_rest(stream: BinaryIO, form: _Form, position: int, end: int) -> int | None:
    """Where other chunks, tags or padding end; None where something else follows, which may be audio."""
    while position < end:
        head = read_at(stream, position, 11)
        if head.startswith(_HEADS):
            return position
        if head.startswith(_TAGS) or is_padding(stream, position, end):
            return end
        if len(head) < 8 or not all(0x20 <= byte < 0x7F for byte in head[:4]):
            return None
        chunk = form.chunk(stream, position)
        if chunk.start + chunk.size > end:
            return None
        position = chunk.next
    return end


WALKERS: dict[str, Callable[[BinaryIO], tuple[Link, ...]]] = {
    "wav": wav_links,
    "aiff": aiff_links,
    "avi": avi_links,
    "w64": w64_links,
    "caf": caf_links,
    "asf": asf_links,
    "au": au_links,
}
