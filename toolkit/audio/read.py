"""Reading audio: the whole of any recording that FFmpeg knows, as mono float32 at the rate a model wants.

docs/audio.md says what is read, what is refused, and why.
"""

import functools
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soxr

from toolkit.audio.channels import Mixer
from toolkit.audio.decode import Notes, UnknownFormat, decoded
from toolkit.audio.source import check_source, name_of, opened
from toolkit.audio.tracks import NoAudioTrack
from toolkit.audio.whole.link import DamagedError, read_at
from toolkit.errors import AudioError

__all__ = ["check_source", "read_audio", "show_note"]

# The second formant, which tells vowels apart, lies up to 2.5 kHz; below this rate not even 2 kHz are kept.
LOWEST_RATE = 4000
_HIGHEST_RATE = 10_000_000
_HEAD_BYTES = 512
_WRAP_STEP = "Give another file; headerless samples need a header: ffmpeg -f s16le -ar 16000 -ac 1 -i FILE out.wav."


@functools.cache
def show_note(line: str) -> None:
    """One line on stderr; the same line is shown once, however often a file is read."""
    print(f"note: {line}", file=sys.stderr)  # noqa: T201


def read_audio(
    source: str | Path, sample_rate: int, *, track: int | None = None, notes: Notes = show_note
) -> np.ndarray:
    """Read a whole file, or all of standard input.

    Args:
        source: path, or `-` for standard input.
        sample_rate: rate wanted, in Hz; another rate is resampled (soxr, HQ).
        track: number of the audio track, from 1; None is the file's default track, or the first.
        notes: takes a line for each thing that the user should know: several tracks, pauses, silence.

    Returns:
        [samples] float32, the mean of the channels; one channel where they cancel each other. Only this array is
        kept in memory, whatever the size of the file.

    Raises:
        AudioError: missing, a folder, empty, no audio, damaged, no samples, NaN or infinite samples, no such track, a
            rate too low for speech.
    """
    name = name_of(source)
    with opened(source) as stream:
        try:
            mixer = Mixer()
            samples = _read(stream, sample_rate, track, name, notes, mixer)
            if mixer.cancels:
                notes(f"{name}: its channels cancel each other (opposite phase); channel {mixer.loudest + 1} is read")
                samples = _read(stream, sample_rate, track, name, lambda _: None, Mixer(mixer.loudest))
        except DamagedError as error:
            raise AudioError(f"{name} is damaged: {error}", "Copy or record it again.") from error
        except (UnknownFormat, NoAudioTrack) as error:
            raise _not_audio(stream, name, error) from error
    if not samples.any():
        notes(f"{name} is silent: all its samples are 0")
    return samples


def _read(stream: BinaryIO, sample_rate: int, track: int | None, name: str, notes: Notes, mixer: Mixer) -> np.ndarray:
    content = bytearray()  # grows in place: pieces joined at the end would need twice the memory
    for piece in _resampled(_mono(stream, track, name, notes, mixer), sample_rate):
        content += piece.tobytes()
    return np.frombuffer(content, np.float32)


def _mono(
    stream: BinaryIO, track: int | None, name: str, notes: Notes, mixer: Mixer
) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of the recording with their rates.

    Raises:
        AudioError: no samples, NaN or infinite samples, or a rate too low for speech.
    """
    count = bad = 0
    for block in decoded(stream, track, name, notes):
        if not LOWEST_RATE <= block.rate <= _HIGHEST_RATE:
            raise AudioError(f"{name} has {block.rate} samples per second", f"Give {LOWEST_RATE} to {_HIGHEST_RATE}.")
        samples = mixer.mono(block.samples)
        count, bad = count + len(samples), bad + len(samples) - int(np.isfinite(samples).sum())
        if not bad:
            yield block.rate, samples
    if not count:
        raise AudioError(f"{name} contains 0 samples", "Give a recording that is not empty.")
    if bad:
        raise AudioError(f"{name} holds {bad} NaN or infinite samples", "Export the recording again.")


def _resampled(blocks: Iterable[tuple[int, np.ndarray]], sample_rate: int) -> Iterator[np.ndarray]:
    for rate, group in groupby(blocks, key=itemgetter(0)):
        if rate == sample_rate:
            yield from (samples for _, samples in group)
            continue
        resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
        for _, samples in group:
            yield resampler.resample_chunk(np.ascontiguousarray(samples))
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _not_audio(stream: BinaryIO, name: str, error: UnknownFormat | NoAudioTrack) -> AudioError:
    if _is_text(read_at(stream, 0, _HEAD_BYTES)):
        return AudioError(f"{name} contains text, not audio", "Give an audio file.")
    if isinstance(error, NoAudioTrack):
        return AudioError(f"{name} contains no audio track", "Give a file with sound.")
    return AudioError(f"{name} is not audio in a format that can be read ({error})", _WRAP_STEP)


def _is_text(head: bytes) -> bool:
    """Whether the first bytes are printable text; a character cut at the end does not matter."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text) and all(c.isprintable() or c in "\r\n\t" for c in text)
