"""From the name of a container to what it promises: one table."""

from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from toolkit.audio.whole.chunks import WALKERS as CHUNK_WALKERS
from toolkit.audio.whole.flac import flac_links
from toolkit.audio.whole.frames import ac3_frame_bytes, adts_frame_bytes, frame_links, mpeg_frame_bytes
from toolkit.audio.whole.link import Link, id3v2_size, read_at, size_of
from toolkit.audio.whole.matroska import matroska_links
from toolkit.audio.whole.mp4 import mp4_links
from toolkit.audio.whole.mpegts import mpegts_links
from toolkit.audio.whole.ogg import ogg_links
from toolkit.audio.whole.tta import tta_links

MATROSKA, MP4, OGG, FLAC, MPEG_TS = "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "ogg", "flac", "mpegts"

# By FFmpeg's names of its demuxers.
WALKERS: dict[str, Callable[[BinaryIO], tuple[Link, ...]]] = {
    **CHUNK_WALKERS,
    MATROSKA: matroska_links,
    MP4: mp4_links,
    OGG: ogg_links,
    FLAC: flac_links,
    MPEG_TS: mpegts_links,
    "tta": tta_links,
    "mp3": partial(frame_links, frame_bytes=mpeg_frame_bytes),
    "aac": partial(frame_links, frame_bytes=adts_frame_bytes),
    "ac3": partial(frame_links, frame_bytes=ac3_frame_bytes),
    "eac3": partial(frame_links, frame_bytes=ac3_frame_bytes),
}
_MAGIC = (
    (0, b"RIFF", "wav"),
    (0, b"OggS", OGG),
    (0, b"fLaC", FLAC),
    (0, b"\x1a\x45\xdf\xa3", MATROSKA),
    (4, b"ftyp", MP4),
    (0, b"FORM", "aiff"),
    (0, b"caff", "caf"),
)


def links_of(stream: BinaryIO, container: str) -> tuple[Link, ...]:
    """The recordings in a file, one after the other; one for most files.

    Args:
        stream: the file, seekable; its position is not kept.
        container: FFmpeg's name of it; one that is not known here promises nothing.

    Raises:
        DamagedError: the file is not what its structure promises.
    """
    walker = WALKERS.get(container)
    return walker(stream) if walker else (Link(0, size_of(stream)),)


def container_by_magic(stream: BinaryIO) -> str:
    """The container that the first bytes stand for, of a file that FFmpeg could not open; empty where none is known."""
    start = id3v2_size(stream, 0)
    head = read_at(stream, start, 12)
    return next((name for at, magic, name in _MAGIC if head[at : at + len(magic)] == magic), "")
