"""Where a recording comes from: a file, or what a pipe or standard input delivers, kept in a temporary file."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, cast

from toolkit.errors import AudioError

STDIN = "-"
_COPIED_BYTES = 1 << 20


def name_of(source: str | Path) -> str:
    """How messages call a source."""
    return "standard input" if str(source) == STDIN else str(source)


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


@contextlib.contextmanager
def opened(source: str | Path) -> Iterator[BinaryIO]:
    """A source as a file that can seek, at its start.

    Args:
        source: path, or `-` for standard input.

    Raises:
        AudioError: missing, a folder, unreadable, empty, or no room for a temporary file.
    """
    with contextlib.ExitStack() as stack, _unreadable(source):
        check_source(source)
        if str(source) == STDIN:
            if not sys.stdin:
                raise AudioError("standard input is closed", "Give a file, or pipe the recording into the command.")
            stream = _spooled(sys.stdin.buffer, source, stack)
        else:
            file = stack.enter_context(Path(source).open("rb"))
            stream = file if Path(source).is_file() else _spooled(file, source, stack)
        if not stream.seek(0, 2):
            raise AudioError(f"{name_of(source)} is an empty file (0 bytes)", "Give a recording that is not empty.")
        stream.seek(0)
        yield stream


@contextlib.contextmanager
def _unreadable(source: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AudioError(
            f"{name_of(source)} cannot be read: {error.strerror or error}", "Check the file's permissions."
        ) from error


def _spooled(stream: IO[bytes], source: str | Path, stack: contextlib.ExitStack) -> BinaryIO:
    with _no_room(source):
        file = stack.enter_context(tempfile.TemporaryFile(prefix="infer-"))  # noqa: SIM115  the stack closes it
    while block := stream.read(_COPIED_BYTES):
        with _no_room(source):
            file.write(block)
    with _no_room(source):
        file.flush()
    return cast(BinaryIO, file)  # a wrapper on some systems, with the same methods


@contextlib.contextmanager
def _no_room(source: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AudioError(
            f"{name_of(source)} is kept in a temporary file while it is read, which failed: {error.strerror or error}",
            "Set TMPDIR to a folder with more room.",
        ) from error
