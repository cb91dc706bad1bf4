"""Notes on stderr."""

import pytest

from commands.terminal import note
from commands.voice import detail, info, start_voice


def lines(capsys):
    return capsys.readouterr().err.splitlines()


def test_a_note_is_one_line_and_is_said_once(capsys):
    start_voice()
    note("a\nb")
    note("a\nb")
    note("c")
    assert lines(capsys) == ["note: a b", "note: c"]
    start_voice()
    note("c")
    assert lines(capsys) == ["note: c"]


@pytest.mark.parametrize(
    ("level", "said"), [("quiet", []), ("normal", ["note: a", "b"]), ("verbose", ["note: a", "b", "c"])]
)
def test_levels(capsys, level, said):
    start_voice(level)
    note("a")
    info("b")
    detail("c")
    assert lines(capsys) == said
