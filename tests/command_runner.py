"""The commands, run in this process as a user runs them."""

import sys

import pytest


def command_runner(module, monkeypatch, capsys):
    """A function of command-line arguments: (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            module.main()
        out, err = capsys.readouterr()
        return leaving.value.code or 0, out, err

    return call


def own_lines(stderr):
    """What a command says of itself, without the lines on what Core ML prepares where the suite runs as on a Mac."""
    return "".join(line for line in stderr.splitlines(keepends=True) if not line.startswith("Core ML prepares "))
