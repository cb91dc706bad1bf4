"""Reading audio: whatever libsndfile or ffmpeg decodes, as mono float32 at the rate a model wants."""

import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from toolkit.errors import AudioError

STDIN = "-"
_BLOCK_FRAMES = 1 << 20
_FFMPEG_STEP = "Give WAV, FLAC, OGG, MP3 or another format that libsndfile reads, or install ffmpeg."
# Writers that cannot seek leave a placeholder this large or larger in a WAV header; it says nothing of the length.
_WAV_PLACEHOLDER_BYTES = 0x7FFF0000
_WAV_DATA_SIZE = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)


def read_audio(source: str | Path, sample_rate: int) -> np.ndarray:
    """Read a whole file, or all of standard input.

    Args:
        source: path, or `-` for standard input.
        sample_rate: rate wanted, in Hz; another rate is resampled (soxr, HQ).

    Returns:
        [samples] float32, the mean of the channels.

    Raises:
        AudioError: missing, a folder, empty, no audio, damaged, no samples, NaN or infinite samples.
    """
    name = "standard input" if str(source) == STDIN else str(source)
    samples, rate = _decode(source, name)
    if not len(samples):
        raise AudioError(f"{name} contains 0 samples", "Give a recording that is not empty.")
    bad = len(samples) - int(np.isfinite(samples).sum())
    if bad:
        raise AudioError(f"{name} holds {bad} NaN or infinite samples", "Export the recording again.")
    return samples if rate == sample_rate else soxr.resample(samples, rate, sample_rate, quality="HQ")


def check_source(source: str | Path) -> None:
    """Refuse what is not there, without reading it.

    Raises:
        AudioError: there is no such file, or it is a folder.
    """
    path = Path(source)
    if str(source) == STDIN:
        return
    if not path.exists():
        raise AudioError(f"{source} does not exist", "Check the path.")
    if path.is_dir():
        raise AudioError(f"{source} is a folder, not a file", "Give the audio files in it.")


def _decode(source: str | Path, name: str) -> tuple[np.ndarray, int]:
    path = Path(source)
    try:
        if str(source) == STDIN:
            return _decode_bytes(sys.stdin.buffer.read(), name)
        check_source(source)
        if not path.is_file():  # a pipe: libsndfile needs to seek
            return _decode_bytes(path.read_bytes(), name)
        with path.open("rb") as stream:
            return _decode_stream(stream, path, name)
    except OSError as error:
        raise AudioError(
            f"{name} cannot be read: {error.strerror or error}", "Check the file's permissions."
        ) from error


def _decode_bytes(content: bytes, name: str) -> tuple[np.ndarray, int]:
    with tempfile.NamedTemporaryFile(prefix="infer-") as file:
        file.write(content)
        file.flush()
        return _decode_stream(io.BytesIO(content), Path(file.name), name)


def _decode_stream(stream: BinaryIO, path: Path, name: str) -> tuple[np.ndarray, int]:
    """Decode with libsndfile; what it does not recognise goes to ffmpeg as `path`."""
    head = stream.read(512)
    stream.seek(0)
    if not head:
        raise AudioError(f"{name} is an empty file (0 bytes)", "Give a recording that is not empty.")
    try:
        file = soundfile.SoundFile(stream)
    except soundfile.LibsndfileError as error:
        if _is_text(head):
            raise AudioError(f"{name} contains text, not audio", "Give an audio file.") from error
        return _decode_with_ffmpeg(path, name, error.error_string)
    with file:
        return _samples(file, name), file.samplerate


def _samples(file: soundfile.SoundFile, name: str) -> np.ndarray:
    """All frames, or an error: a damaged file is never read in part."""
    size = _WAV_DATA_SIZE.search(file.extra_info)
    if size and int(size[2]) < int(size[1]) < _WAV_PLACEHOLDER_BYTES:
        raise _damaged(name, f"its header promises {size[1]} bytes of samples, {size[2]} are there")
    try:
        blocks = [block.mean(axis=1) for block in _blocks(file)]  # [n, channels] -> [n]
    except soundfile.LibsndfileError as error:
        raise _damaged(name, error.error_string) from error
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
    if len(samples) < file.frames < np.iinfo(np.int64).max:
        raise _damaged(name, f"{len(samples)} of {file.frames} frames can be decoded")
    return samples


def _blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
        yield block


def _damaged(name: str, reason: str) -> AudioError:
    reason = reason.removeprefix("Error : ").strip(" .") or "it cannot be decoded to its end"
    return AudioError(f"{name} is damaged: {reason}", "Copy or record it again.")


def _is_text(head: bytes) -> bool:
    """Whether the first bytes are printable text; a character cut at the end does not matter."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text) and all(c.isprintable() or c in "\r\n\t" for c in text)


def _decode_with_ffmpeg(path: Path, name: str, reason: str) -> tuple[np.ndarray, int]:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        why = f"libsndfile cannot read it ({reason.strip(' .')}) and there is no ffmpeg on this machine"
        raise AudioError(f"{name} is not audio that can be read here: {why}", _FFMPEG_STEP)
    with tempfile.TemporaryDirectory(prefix="infer-") as folder:
        wav = Path(folder) / "audio.wav"
        command = [ffmpeg, "-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file"]
        command += ["-i", f"file:{path.resolve()}", "-vn", "-c:a", "pcm_f32le", "-rf64", "auto", "-f", "wav", str(wav)]
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603  the path is an argument, no shell
        if done.returncode or not wav.exists():
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            said = lines[-1] if lines else f"exit code {done.returncode}"
            raise AudioError(
                f"{name} is not audio: neither libsndfile nor ffmpeg reads it ({said})", "Give another file."
            )
        with soundfile.SoundFile(wav) as file:
            return _samples(file, name), file.samplerate
