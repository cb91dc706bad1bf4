"""Standard output of the commands: a failure to write is a documented exit code, and what is not ASCII is UTF-8."""

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from typer.exceptions import Exit

from commands.voice import discard, note
from toolkit.errors import OutputError

READER_LEFT = 141  # 128 + SIGPIPE, as shells report it
NAME = "standard output"
_CLOSED_STEP = "Redirect it, to /dev/null if need be."


class ReaderLeft(Exit):
    """The process reading standard output closed its end; no fault, and nothing more can be written."""

    def __init__(self) -> None:
        super().__init__(READER_LEFT)


class Stdout:
    """Python's stdout for the length of one command.

    Python itself would print a traceback, or exit with 1 or 120; typer and rich exit with 1 for a reader that has left.

    Args:
        stream: Python's; None where the descriptor is closed.
    """

    def __init__(self, stream: Any) -> None:
        self.closed_descriptor = stream is None
        self._stream = io.StringIO() if stream is None else stream
        if hasattr(stream, "reconfigure"):  # a name of a file may hold bytes that are no UTF-8
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write text; after the first that is not ASCII, everything is UTF-8.

        Raises:
            ReaderLeft: the reader has left.
            OutputError: stdout is closed, or the system refuses the text.
        """
        if self.closed_descriptor:
            raise _closed()
        if not text.isascii():
            self._become_utf8()
        with _failures(self._stream):
            written: int = self._stream.write(text)
            return written

    def flush(self) -> None:
        """Hand on what was written; raises as `write`."""
        with _failures(self._stream):
            self._stream.flush()

    def _become_utf8(self) -> None:
        """What was written before is ASCII, so no text is in two encodings."""
        encoding = self._stream.encoding or "ascii"
        if codecs.lookup(encoding).name == "utf-8" or not hasattr(self._stream, "reconfigure"):
            return
        note(f"{NAME} is written as UTF-8, not as {encoding}, the encoding of this locale")
        with _failures(self._stream):
            self._stream.reconfigure(encoding="utf-8")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def check_stdout() -> None:
    """Refuse a closed stdout, before any work is done.

    Raises:
        OutputError: it is closed.
    """
    if sys.stdout is None or getattr(sys.stdout, "closed_descriptor", False):
        raise _closed()


@contextlib.contextmanager
def guarded_stdout() -> Iterator[None]:
    """Make `sys.stdout` a `Stdout`; what is still buffered is written before the context ends."""
    _fill_descriptors()
    before = sys.stdout
    sys.stdout = guarded = Stdout(before)
    try:
        try:
            yield
        except SystemExit:  # completion's way to end
            guarded.flush()
            raise
        guarded.flush()
    finally:
        sys.stdout = before


def _fill_descriptors() -> None:
    """Let no file that is opened later take the place of a closed stdin, stdout or stderr."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


@contextlib.contextmanager
def _failures(stream: Any) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        discard(stream)
        raise ReaderLeft from error
    except OSError as error:
        discard(stream)
        step = "Write to a file, or make room."
        raise OutputError(f"cannot write {NAME}: {error.strerror or error}", step) from error


def _closed() -> OutputError:
    return OutputError(f"{NAME} is closed", _CLOSED_STEP)
