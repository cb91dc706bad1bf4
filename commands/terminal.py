"""What the three commands share: exit codes, one-line errors, and progress bars that are silent in a pipe."""

import json
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
from commands.voice import note as note
from commands.voice import say, start_voice
from toolkit.errors import ToolkitError

GATE_FAILED = 1
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
USAGE = 2
INTERNAL_FAULT = 4


def new_app(help_text: str | None = None) -> typer.Typer:
    """A command line with the project's settings."""
    return typer.Typer(
        help=help_text, add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False
    )


def run(app: typer.Typer) -> None:
    """Run a command line and leave with the documented exit code."""
    start_voice()
    with _ExitCodes():
        if sys.platform == "darwin":
            divert_native_output()
        # Outside standalone mode typer returns the code of an Exit, and 130 for Ctrl-C.
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        raise SystemExit(code)


class _ExitCodes:
    """Maps what leaves a command to one line on stderr and an exit code."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None or isinstance(error, SystemExit):
            return
        raise SystemExit(_code(error)) from None


def _code(error: BaseException) -> int:
    """Report an error, and the code to leave with."""
    if isinstance(error, Exit):
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, Abort)):
        _complain("interrupted")
        return INTERRUPTED
    if isinstance(error, ToolkitError):
        _complain(str(error))
        return error.exit_code
    if isinstance(error, TyperException):
        message = error.format_message().rstrip(".")
        _complain(f"{message}{'' if message.endswith('?') else '.'} See --help.")
        return USAGE
    traceback.print_exception(error)
    _complain("internal fault: please report it with the lines above")
    return INTERNAL_FAULT


def _complain(message: str) -> None:
    say(f"error: {message}")


def print_json(value: Any) -> None:
    """Print a JSON value on stdout."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def progress() -> Progress:
    """A progress bar on stderr; nothing at all where stderr is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal, transient=True)


def step_reporter(bar: Progress, title: str) -> Callable[[str, int, int], None]:
    """A callback (what is being done, steps done, steps in all) that moves one line of a progress bar."""
    task = bar.add_task(title, total=None)

    def report(what: str, done: int, of: int) -> None:
        bar.update(task, description=f"{title}: {what}", completed=done, total=of)

    return report
