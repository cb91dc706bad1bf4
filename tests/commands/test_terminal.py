"""Exit codes and one line on stderr."""

import pytest
import typer

from commands.terminal import progress, run, step_reporter
from toolkit.errors import AudioError, RuntimeFault, ToolkitError, UnsupportedError


def left_with(error, monkeypatch, arguments=()):
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)

    @app.command()
    def command(number: int = 0):
        if error:
            raise error

    monkeypatch.setattr("sys.argv", ["command", *arguments])
    with pytest.raises(SystemExit) as caught:
        run(app)
    return caught.value.code


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (None, 0, ""),
        (typer.Exit(1), 1, ""),
        (typer.BadParameter("no such thing"), 2, "error: Invalid value: no such thing. See --help.\n"),
        (AudioError("bad\naudio", "Record it again."), 2, "error: bad audio. Record it again.\n"),
        (ToolkitError("what", "Do so."), 2, "error: what. Do so.\n"),
        (UnsupportedError("no Core ML", "Use portable."), 3, "error: no Core ML. Use portable.\n"),
        (RuntimeFault("it broke", "Report it."), 4, "error: it broke. Report it.\n"),
        (typer.Abort(), 130, "error: interrupted\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (SystemExit(7), 7, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_codes(monkeypatch, capsys, error, code, line):
    assert left_with(error, monkeypatch) == code
    assert capsys.readouterr().err == line


def test_anything_else_is_an_internal_fault_with_its_traceback(monkeypatch, capsys):
    assert left_with(ValueError("oops"), monkeypatch) == 4
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "ValueError: oops" in err
    assert err.endswith("error: internal fault: please report it with the lines above\n")


@pytest.mark.parametrize("arguments", [["--bogus"], ["--number", "x"], ["surplus"]])
def test_usage_is_one_line(monkeypatch, capsys, arguments):
    assert left_with(None, monkeypatch, arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_progress_is_silent_where_there_is_no_terminal(capsys):
    with progress() as bar:
        step_reporter(bar, "title")("what", 1, 2)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
