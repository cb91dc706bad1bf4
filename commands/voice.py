"""What a run says on stderr beside errors: notes, each text once, and how much of it the user asked for."""

import contextlib
import os
import sys
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["quiet", "normal", "verbose"]


@dataclass
class _Voice:
    level: Level = "normal"
    noted: set[str] = field(default_factory=set)


_VOICE: ContextVar[_Voice] = ContextVar("voice")


def start_voice(level: Level = "normal") -> None:
    """Begin a run: nothing was noted yet."""
    _VOICE.set(_Voice(level))


def _voice() -> _Voice:
    try:
        return _VOICE.get()
    except LookupError:  # outside of a command
        return _Voice()


def level() -> Level:
    """How much this run says."""
    return _voice().level


def note(text: str) -> None:
    """One line on stderr, `note: TEXT`; a text that was noted before is not repeated, and --quiet is silent.

    Args:
        text: what the user should know about the result; without a dot at the end.
    """
    voice = _voice()
    if text not in voice.noted:
        voice.noted.add(text)
        info(f"note: {one_line(text)}")


def info(text: str) -> None:
    """One line on stderr, unless the run is --quiet."""
    if level() != "quiet":
        say(text)


def detail(text: str) -> None:
    """One line on stderr in a --verbose run."""
    if level() == "verbose":
        say(text)


def one_line(text: str) -> str:
    """The text without line breaks and repeated blanks."""
    return " ".join(text.split())


def say(text: str) -> None:
    """One line on stderr, whatever the level; a stderr that takes nothing is no reason to stop."""
    if sys.stderr is None:  # closed; print would take stdout instead
        return
    try:
        print(text, file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        discard(sys.stderr)


def discard(stream: Any) -> None:
    """Drop what a stream that failed still holds: Python would write it once more at the end, and exit with 120."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
