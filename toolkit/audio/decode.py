"""Decoding with FFmpeg's libraries (PyAV): the whole of one audio track, in blocks, or an error."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np

from toolkit.audio.timeline import Timeline
from toolkit.audio.tracks import chosen_track
from toolkit.audio.whole.link import DamagedError, Link
from toolkit.audio.whole.links import OGG, container_by_magic, links_of

_OPTIONS = {"protocol_whitelist": "none"}  # no file may name another one to be opened
# Their frames have checksums: what fails is an error. To the others FFmpeg is kind by default, and must be: the first
# frame of an MP3 may need the one before, which a broadcast that was joined late does not have.
_CHECKED_CODECS = ("ac3", "ape", "dca", "eac3", "flac", "mlp", "truehd", "tta", "wavpack")
_STRICT = {"err_detect": "crccheck+explode"}
_BLOCK_SAMPLES = 1 << 16
_SILENCE_SAMPLES = 1 << 20
# Their headers give the length of the audio, and none of ours reads them.
_DURATION_IS_PROMISE = ("aiff", "ape", "caf", "nistsphere", "w64", "wv")
_LONGEST_VORBIS_BLOCK = 8192
# A WAV whose header does not know its size ends in the middle of a packet.
_PARTIAL_PACKETS = ("wav",)

Notes = Callable[[str], None]


class UnknownFormat(Exception):
    """FFmpeg knows no such file."""


@dataclass(frozen=True)
class Block:
    """Some samples of a track.

    Attributes:
        samples: [channels, n] float32, full scale is 1.
        rate: in Hz.
    """

    samples: np.ndarray
    rate: int


class _Window:
    """A part of a file as a file of its own, without a name: the content decides what it is."""

    def __init__(self, stream: BinaryIO, link: Link) -> None:
        self._stream, self._link, self._at = stream, link, 0

    def read(self, count: int = -1) -> bytes:
        left = self._link.end - self._link.start - self._at
        if left <= 0:
            return b""
        self._stream.seek(self._link.start + self._at)
        content = self._stream.read(left if count < 0 else min(count, left))
        self._at += len(content)
        return content

    def seek(self, offset: int, whence: int = 0) -> int:
        position = offset + (0, self._at, self._link.end - self._link.start)[whence]
        if position < 0:
            return -1  # which FFmpeg takes for an error of its own making
        self._at = position
        return position

    def tell(self) -> int:
        return self._at


def decoded(stream: BinaryIO, track: int | None, name: str, notes: Notes) -> Iterator[Block]:
    """All blocks of a track; the links of a chained file follow each other.

    Args:
        stream: a file that can seek.
        track: number of the audio track, from 1; None is the file's default.
        name: of the file, for messages.
        notes: takes a line for each thing that the user should know.

    Raises:
        UnknownFormat: FFmpeg knows no such file.
        NoAudioTrack: it has no sound.
        DamagedError: a part is missing, or cannot be decoded.
        AudioError: no such track.
    """
    for number, link in enumerate(_links(stream)):
        yield from _gathered(_decoded_link(stream, link, track, name, notes if number == 0 else _say_nothing))


def _links(stream: BinaryIO) -> tuple[Link, ...]:
    whole = Link(0, stream.seek(0, 2))
    try:
        with _open(stream, whole) as container:
            name = container.format.name
    except (av.FFmpegError, UnicodeError) as error:
        links_of(stream, container_by_magic(stream))  # may know better what is wrong
        raise UnknownFormat(error.strerror if isinstance(error, av.FFmpegError) else str(error)) from error
    return links_of(stream, name)


def _open(stream: BinaryIO, link: Link) -> av.container.InputContainer:
    return av.open(_Window(stream, link), "r", options=dict(_OPTIONS), metadata_errors="replace")


def _decoded_link(stream: BinaryIO, link: Link, track: int | None, name: str, notes: Notes) -> Iterator[Block]:
    try:
        with _open(stream, link) as container:
            audio = chosen_track(container, track, name, notes)
            if audio.codec_context.name in _CHECKED_CODECS:
                audio.codec_context.options = dict(_STRICT)
            timeline = Timeline(container.format.name, Fraction(container.start_time or 0, av.time_base))
            samples = 0
            for frame in _frames(container, audio):
                tick_s = frame.time_base or Fraction(0)
                start_s = None if frame.pts is None else frame.pts * tick_s
                silence = timeline.silence_before(start_s, tick_s, frame.samples, frame.sample_rate)
                yield from _silence(silence, frame)
                yield Block(_float(frame)[:, : _kept(samples, frame.samples, audio, container)], frame.sample_rate)
                samples += frame.samples
            _check_length(samples, link, container, audio)
    except av.FFmpegError as error:
        raise DamagedError(f"it cannot be decoded to its end ({error.strerror})") from error
    for line in timeline.notes():
        notes(f"{name}: {line}")


def _frames(container: av.container.InputContainer, audio: av.AudioStream) -> Iterator[av.AudioFrame]:
    partial = container.format.name in _PARTIAL_PACKETS
    for packet in container.demux(audio):
        if packet.is_corrupt and not partial:
            raise DamagedError("a packet of it is incomplete")
        for frame in packet.decode():
            if frame.samples:
                yield frame


def _kept(before: int, samples: int, audio: av.AudioStream, container: av.container.InputContainer) -> int:
    """How many samples of a frame count: a last Vorbis block is longer than what the last page of an Ogg numbers."""
    if (container.format.name, audio.codec_context.name) != (OGG, "vorbis") or not (audio.duration and audio.time_base):
        return samples
    over = before + samples - round(audio.duration * audio.time_base * audio.codec_context.sample_rate)
    if over > _LONGEST_VORBIS_BLOCK:
        raise DamagedError("it has more samples than its last page numbers")
    return min(samples, max(0, samples - over))


def _check_length(samples: int, link: Link, container: av.container.InputContainer, audio: av.AudioStream) -> None:
    rate = audio.codec_context.sample_rate
    promised = link.samples
    if promised is None and container.format.name in _DURATION_IS_PROMISE and audio.duration and audio.time_base:
        promised = int(audio.duration * audio.time_base * rate)
    if promised is not None and samples < promised:
        raise DamagedError(
            f"its header promises {promised / rate:.2f} s ({promised} samples), {samples / rate:.2f} s ({samples}) "
            "can be decoded"
        )


def _float(frame: av.AudioFrame) -> np.ndarray:
    """Samples of a frame, [channels, n] float32: integers become fractions of their full scale."""
    samples = frame.to_ndarray()  # [channels, n] planar, [1, n * channels] packed
    if not frame.format.is_planar:
        samples = samples.reshape(frame.samples, -1).T
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) * np.float32(2.0 ** (1 - 8 * samples.dtype.itemsize))
    return samples.astype(np.float32)


def _silence(count: int, frame: av.AudioFrame) -> Iterator[Block]:
    channels = len(frame.layout.channels)
    while count > 0:
        yield Block(np.zeros((channels, min(count, _SILENCE_SAMPLES)), np.float32), frame.sample_rate)
        count -= _SILENCE_SAMPLES


def _gathered(blocks: Iterator[Block]) -> Iterator[Block]:
    """Fewer and longer blocks: frames are short."""
    held: list[Block] = []
    for block in blocks:
        if held and (block.rate, len(block.samples)) != (held[0].rate, len(held[0].samples)):
            yield _joined(held)
            held = []
        held.append(block)
        if sum(part.samples.shape[1] for part in held) >= _BLOCK_SAMPLES:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(blocks: list[Block]) -> Block:
    return Block(np.concatenate([block.samples for block in blocks], axis=1), blocks[0].rate)


def _say_nothing(_: str) -> None: ...
