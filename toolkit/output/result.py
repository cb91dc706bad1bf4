"""What one file of a batch ends with: its transcript, or the error that prevented it."""

from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.errors import ToolkitError
from toolkit.model import Task
from toolkit.transcript import Transcript, Word

INTERNAL_FAULT = 4


@dataclass(frozen=True)
class Result:
    """The transcript of one file, and how it was made.

    Attributes:
        file: as it was given.
        transcript: text, words, tokens.
        rtfx: seconds of audio per second of work.
        runtime: `coreml`, `portable` or `eager`.
        model: id.
        task: the model's.
    """

    file: str
    transcript: Transcript
    rtfx: float
    runtime: str
    model: str
    task: Task = "transcription"


@dataclass(frozen=True)
class Failure:
    """A file without a transcript.

    Attributes:
        file: as it was given.
        error: why; what is no ToolkitError is an internal fault.
    """

    file: str
    error: Exception

    @property
    def exit_code(self) -> int:
        """The code that a command ends with if this is the worst that happened."""
        return self.error.exit_code if isinstance(self.error, ToolkitError) else INTERNAL_FAULT

    @property
    def message(self) -> str:
        """What is wrong, and the next step, in one line."""
        if isinstance(self.error, ToolkitError):
            return str(self.error)
        return f"internal fault: {type(self.error).__name__}: {' '.join(str(self.error).split())}"


Outcome = Result | Failure


def zero_length_words(words: Sequence[Word]) -> list[int]:
    """Indices of the words whose start is their end."""
    return [index for index, word in enumerate(words) if word.start_s == word.end_s]


def printable(name: str) -> str:
    """The name of a file as text that can be written as UTF-8: bytes of it that are no UTF-8 as `\\xNN`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
