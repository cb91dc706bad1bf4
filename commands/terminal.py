"""What the three commands share: exit codes, one-line errors, and progress bars that are silent in a pipe."""

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from typer.exceptions import Abort, Exit, TyperException

from commands.native_output import divert_native_output
from commands.stdout import check_stdout, guarded_stdout
from commands.voice import level, one_line, say, start_voice
from commands.voice import note as note
from toolkit.errors import ToolkitError

GATE_FAILED = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
USAGE = 2
_END_SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # 143 and 129, as shells report them
INTERNAL_FAULT = 4


def new_app() -> typer.Typer:
    """A command line with the project's settings."""
    return typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)


def set_level(*, quiet: bool, verbose: bool) -> None:
    """Take --quiet and --verbose.

    Raises:
        typer.BadParameter: both were given.
    """
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose cannot be combined")
    start_voice("quiet" if quiet else "verbose" if verbose else "normal")


def run(app: typer.Typer, *, prints: bool = False) -> None:
    """Run a command line and leave with the documented exit code.

    Args:
        app: the command line.
        prints: whether it always prints its result, so that a closed stdout is refused before the work.
    """
    start_voice()
    if sys.platform == "darwin":
        divert_native_output()
    with _ExitCodes(), guarded_stdout():
        if prints:
            check_stdout()
        # Outside standalone mode typer returns the code of an Exit, and 130 for Ctrl-C.
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if code:
            raise Exit(code)
    raise SystemExit(0)


class _ExitCodes:
    """Maps what leaves a command to one line on stderr and an exit code; a signal to end is handled as Ctrl-C is."""

    def __init__(self) -> None:
        self._ended_by: int | None = None

    def __enter__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in _END_SIGNALS}
        for number, handler in self._before.items():
            if handler is signal.SIG_DFL:  # nohup ignores SIGHUP
                signal.signal(number, self._end)

    def _end(self, number: int, frame: object) -> None:
        self._ended_by = number
        raise KeyboardInterrupt

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if error is None or isinstance(error, SystemExit):
            return
        code = _code(error)
        ended = code == INTERRUPTED and self._ended_by is not None
        raise SystemExit(128 + (self._ended_by or 0) if ended else code) from None


def _code(error: BaseException) -> int:
    """Report an error, and the code to leave with."""
    if isinstance(error, Exit):
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, Abort)):
        complain("interrupted")
        return INTERRUPTED
    if isinstance(error, ToolkitError):
        complain(str(error))
        return error.exit_code
    if isinstance(error, TyperException):
        message = error.format_message().rstrip(".")
        complain(f"{message}{'' if message.endswith('?') else '.'} {_dashed_file() or 'See --help.'}")
        return USAGE
    with contextlib.suppress(OSError):
        traceback.print_exception(error)
    complain("internal fault: please report it with the lines above")
    return INTERNAL_FAULT


def _dashed_file() -> str:
    """The next step if an argument that was read as an option is a file."""
    files = [a for a in sys.argv[1:] if a.startswith("-") and a != "-" and os.path.lexists(a)]
    return f"For the file {files[0]}, write ./{files[0]}" if files else ""


def complain(message: str) -> None:
    """One line on stderr, `error: MESSAGE`."""
    say(f"error: {one_line(message)}")


def print_text(text: str) -> None:
    """Print text on stdout, and hand it on at once.

    Args:
        text: whole lines; a newline at the end is added if there is none.

    Raises:
        ReaderLeft: the reader has left.
        OutputError: stdout is closed, or the system refuses the text.
    """
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def print_json(value: Any) -> None:
    """Print a JSON value on stdout; raises as `print_text`."""
    print_text(json.dumps(value, ensure_ascii=False, indent=2))


def progress() -> Progress:
    """A progress bar on stderr; nothing at all where stderr is no terminal."""
    console = Console(stderr=True)
    shown = console.is_terminal and level() != "quiet"
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console, disable=not shown, transient=True)


def step_reporter(bar: Progress, title: str) -> Callable[[str, int, int], None]:
    """A callback (what is being done, steps done, steps in all) that moves one line of a progress bar."""
    task = bar.add_task(title, total=None)

    def report(what: str, done: int, of: int) -> None:
        bar.update(task, description=f"{title}: {what}", completed=done, total=of)

    return report
