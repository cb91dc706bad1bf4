"""Writing audio: mono, 16 bits, as WAV or FLAC that is there whole or not at all, or as it is made.

A sample x of [-1, 1] becomes round(32768 x), halves to the even neighbour, so that reading divides exactly by what
writing multiplied with. Full scale, 1.0, is 32767. What lies outside [-1, 1] is clipped, and counted.
"""

import contextlib
import io
import os
import stat
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile

from toolkit.errors import Interrupted, OutputError, RuntimeFault
from toolkit.output.files import check_output, disk_errors, replacing

SUFFIXES = (".wav", ".flac")
FULL_SCALE = 32768
SAMPLE_BYTES = 2
_WAV_HEADER_BYTES = 44
_WAV_LARGEST_BYTES = 0xFFFFFFFF - _WAV_HEADER_BYTES
_SUFFIX_STEP = "Give a name that ends in .wav or .flac."


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        samples: how many.
        clipped: how many of them lay outside [-1, 1].
    """

    samples: int
    clipped: int


def check_audio_output(path: Path) -> None:
    """Refuse a path that audio could not be written to, before any work is done.

    Raises:
        OutputError: the name does not end in .wav or .flac, the folder is missing or read-only, the path is a folder.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"cannot write {path}: audio is written as WAV or FLAC", _SUFFIX_STEP)
    check_output(path)


def check_growing_output(path: Path) -> None:
    """Refuse a path that a growing WAV could not be written to, before any work is done.

    Raises:
        OutputError: as `check_audio_output`; or FLAC; or what is there is read-only, or no plain file.
    """
    check_audio_output(path)
    if path.suffix.lower() != ".wav":
        raise OutputError(
            f"cannot stream to {path}: only a WAV can be read while it grows", "Give a name that ends in .wav."
        )
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise OutputError(f"cannot stream to {path}: it is not a regular file", "Give a file, or stream to stdout.")
    if path.exists() and not os.access(path, os.W_OK):
        raise OutputError(f"cannot stream to {path}: it is read-only", "Give another file.")


def pcm_from_float(samples: np.ndarray) -> tuple[np.ndarray, int]:
    """Samples as 16-bit integers.

    Args:
        samples: [n] float32, full scale is 1.

    Returns:
        [n] little-endian int16, and how many samples lay outside [-1, 1].

    Raises:
        RuntimeFault: NaN or infinite samples.
    """
    bad = len(samples) - int(np.isfinite(samples).sum())
    if bad:
        raise RuntimeFault(f"{bad} samples to write are NaN or infinite", "Report it with the command that was run.")
    scaled = np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    return scaled.astype("<i2"), int(np.count_nonzero(np.abs(samples) > 1))


def write_audio(path: Path, audio: np.ndarray | Iterable[np.ndarray], sample_rate: int) -> Written:
    """Write a file through a temporary one beside it: a fault or Ctrl-C at any time leaves what was there before.

    Args:
        path: name that ends in .wav or .flac.
        audio: [n] float32, or an iterable of such blocks.
        sample_rate: in Hz.

    Raises:
        OutputError: as `check_audio_output`; or the disk refused it.
        RuntimeFault: NaN or infinite samples.
    """
    check_audio_output(path)
    with replacing(path) as temporary:
        kind: type[GrowingWav | _Flac] = GrowingWav if path.suffix.lower() == ".wav" else _Flac
        with kind(temporary, sample_rate, shown=path) as file:
            return _copy([audio] if isinstance(audio, np.ndarray) else audio, file.write)


def stream_wav(path: Path, blocks: Iterable[np.ndarray], sample_rate: int) -> Written:
    """Write a WAV in place, each block as soon as it is there; see `GrowingWav`.

    The file is made, or emptied, when the first block is there: a fault before it leaves what was there.

    Args:
        path: name that ends in .wav.
        blocks: [n] float32 each.
        sample_rate: in Hz.

    Raises:
        OutputError: as `check_growing_output`; or the disk refused it.
        Interrupted: Ctrl-C, and the file holds a part.
        RuntimeFault: NaN or infinite samples.
    """
    check_growing_output(path)
    iterator = iter(blocks)
    first = next(iterator, np.zeros(0, np.float32))
    with GrowingWav(path, sample_rate) as file:
        try:
            begun = _copy([first], file.write)
            rest = _copy(iterator, file.write)
        except KeyboardInterrupt as error:
            kept = f"interrupted: {path} holds the first {file.samples / sample_rate:.2f} s"
            raise Interrupted(kept, "Run the same command again for all of it.") from error
    return Written(begun.samples + rest.samples, begun.clipped + rest.clipped)


def stream_pcm(descriptor: int, blocks: Iterable[np.ndarray], shown: str = "standard output") -> Written:
    """Write raw samples to an open file or pipe, unbuffered: signed 16 bits, little endian, mono.

    Args:
        descriptor: of the file, e.g. `sys.stdout.fileno()`.
        blocks: [n] float32 each.
        shown: name of the file in errors.

    Raises:
        BrokenPipeError: the reader has left.
        OutputError: anything else refused it.
        RuntimeFault: NaN or infinite samples.
    """

    def write(pcm: np.ndarray) -> None:
        with disk_errors(shown):
            _write_all(descriptor, pcm.tobytes())

    return _copy(blocks, write)


class GrowingWav:
    """A mono WAV of 16 bits that is valid at all times while it grows.

    After each block the sizes in the header are set to what is there: first the samples are written, then the header,
    so it never promises more than the file holds. The convention of streams, a size of 0xFFFFFFFF, is for pipes, which
    cannot be rewound: players take it for a length of a day, and a killed run would leave it behind for good. The
    price is that a player which reads the header once plays no further than it said then; open it again, or read a pipe
    (`stream_pcm`) to follow the speech.

    Args:
        path: the file, made or emptied; it must be able to seek.
        sample_rate: in Hz.
        shown: name of the file in errors, if it is another.
    """

    def __init__(self, path: Path, sample_rate: int, *, shown: Path | None = None) -> None:
        self._shown, self._rate = shown or path, sample_rate
        with disk_errors(self._shown):
            self._file = path.open("wb", buffering=0)
            try:
                self._write_header(0)
            except OSError:
                self._file.close()
                path.unlink()
                raise
        self.samples = 0

    def write(self, pcm: np.ndarray) -> None:
        """Append [n] int16.

        Raises:
            OutputError: the disk refused it, or the WAV is full: its sizes have 32 bits.
        """
        if (self.samples + len(pcm)) * SAMPLE_BYTES > _WAV_LARGEST_BYTES:
            raise OutputError(f"{self._shown} is full: a WAV holds 4 GiB", "Speak the text in parts, or write FLAC.")
        with disk_errors(self._shown):
            self._file.seek(_WAV_HEADER_BYTES + self.samples * SAMPLE_BYTES)
            _write_all(self._file.fileno(), pcm.astype("<i2", copy=False).tobytes())
            self._write_header(self.samples + len(pcm))
        self.samples += len(pcm)

    def _write_header(self, samples: int) -> None:
        size = samples * SAMPLE_BYTES
        riff = struct.pack("<4sI4s", b"RIFF", _WAV_HEADER_BYTES - 8 + size, b"WAVE")
        # format 1 is PCM, one channel
        form = struct.pack(
            "<4sIHHIIHH", b"fmt ", 16, 1, 1, self._rate, self._rate * SAMPLE_BYTES, SAMPLE_BYTES, 8 * SAMPLE_BYTES
        )
        self._file.seek(0)
        _write_all(self._file.fileno(), riff + form + struct.pack("<4sI", b"data", size))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Cut off the block whose writing failed or was interrupted, if there is one."""
        with self._file, disk_errors(self._shown):
            if error:
                self._write_header(self.samples)
                self._file.truncate(_WAV_HEADER_BYTES + self.samples * SAMPLE_BYTES)


class _Flac:
    """A mono FLAC of 16 bits, complete when its context ends well.

    libsndfile says nothing of a disk that is full when the last frames are written, so the writing is done here.
    """

    def __init__(self, path: Path, sample_rate: int, *, shown: Path | None = None) -> None:
        self._shown = shown or path
        with disk_errors(self._shown):
            self._disk = _Disk(path, "wb")
        with contextlib.ExitStack() as undo:
            undo.callback(self._disk.close)
            with self._watched():
                self._sound = soundfile.SoundFile(self._disk, "w", sample_rate, 1, "PCM_16", format="FLAC")
            undo.pop_all()

    def write(self, pcm: np.ndarray) -> None:
        """Append [n] int16.

        Raises:
            OutputError: the disk refused it.
        """
        with self._watched():
            self._sound.write(pcm)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Raise what the disk said; libsndfile says less, or nothing."""
        with disk_errors(self._shown):
            try:
                yield
            finally:
                if self._disk.refusal:
                    raise self._disk.refusal

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> None:
        with self._disk:
            if error:
                with contextlib.suppress(soundfile.LibsndfileError):
                    self._sound.close()
            else:
                with self._watched():
                    self._sound.close()


class _Disk(io.FileIO):
    """A file that keeps the error of a write: none can pass through libsndfile, which calls this."""

    refusal: OSError | None = None

    def write(self, data: bytes) -> int:  # type: ignore[override]  # bytes are all that comes
        try:
            _write_all(self.fileno(), data)
        except OSError as error:
            self.refusal = self.refusal or error
            return 0
        return len(data)


def _copy(blocks: Iterable[np.ndarray], write: Callable[[np.ndarray], None]) -> Written:
    samples = clipped = 0
    for block in blocks:
        pcm, outside = pcm_from_float(block)
        write(pcm)
        samples, clipped = samples + len(pcm), clipped + outside
    return Written(samples, clipped)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
