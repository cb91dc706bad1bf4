"""Write docs/ladder.md, which lists every rung with its gate: `uv run python -m tests.ladder_table`."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from models import all_models
from parity.ladder.contract import parity_of
from parity.ladder.ladder import QUESTIONS
from parity.ladder.shared_rungs import SHARED
from toolkit.spec import Gate

PAGE = Path(__file__).resolve().parents[1] / "docs" / "ladder.md"

_HEAD = """# The rungs of the ladder

`uv run python -m tests.ladder_table` writes this page from `models/<model>/parity/rungs.py` and
`parity/ladder/shared_rungs.py`, and a test checks that it is up to date. If a rung fails, see
[debugging-accuracy.md](debugging-accuracy.md).

- A rung compares an output of the reference (or of an earlier stage) with ours. Words in capitals stand for a function,
  a form or a number.
- The letter names the rung's gate in the table below. Rungs with `-` have no limit: they inform.
- Some gates depend on the packages under test: on their precision (fp32, fp16) or on the compression of their weights
  (int8, palette4).
- *Measured* is the value seen when the gate was set. A number in brackets refers to the notes below the model's tables.

## Gates
"""
_GATES = ("gate", "packages", "limits", "reason")
_RUNGS = ("output", "reference", "ours", "gate", "measured")


def cases(rung):
    """[(`fp16`, gate)], or one pair without a name if all packages have the same gate."""
    if isinstance(rung.gate, Mapping):
        return list(rung.gate.items())
    return [("", rung.gate or Gate("informs"))]


def limits(rung):
    """A gate without what was measured: ((case, limits, reason), ...); empty if the rung only informs."""
    return tuple((case, str(gate), gate.reason) for case, gate in cases(rung)) if rung.gate else ()


def letters(rungs):
    """Gate -> its letter, in the order of the page."""
    gates = list(dict.fromkeys(gate for rung in rungs if (gate := limits(rung))))
    return {gate: _letter(place) for place, gate in enumerate(gates)}


def _letter(place):
    """A, B, ... Z, AA, AB, ..."""
    first, last = divmod(place, 26)
    return (chr(64 + first) if first else "") + chr(65 + last)


def line(cells):
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


def table(columns, rows):
    return "\n".join([line(columns), line(["---"] * len(columns)), *map(line, rows)]) + "\n"


def gate_rows(named):
    """One row per gate and case."""
    for gate, letter in named.items():
        for place, (case, text, reason) in enumerate(gate):
            yield (f"**{letter}**" if place == 0 else "", case or "all", text, reason)


def measured(rung):
    """What was measured, by case where it depends on the packages."""
    lines = [f"{case}: {gate.measured}" if case else gate.measured for case, gate in cases(rung) if gate.measured]
    return "<br>".join(lines)


def conditions(rung):
    """The notes of a rung: the components that it needs, and when it is compared."""
    needs = [f"needs {', '.join(rung.needs)}"] if rung.needs else []
    return tuple(needs + ([f"only {rung.only}"] if rung.only else []))


def rung_rows(rungs, named, notes):
    """One row for neighbours that share everything but the output."""

    def shared(rung):
        numbers = "".join(f" [{number}]" for number in sorted(notes.index(text) + 1 for text in conditions(rung)))
        return rung.reference, rung.candidate, named.get(limits(rung), "-") + numbers, measured(rung)

    for cells, group in groupby(rungs, key=shared):
        yield ("<br>".join(rung.label for rung in group), *cells)


def section(title, rungs, named):
    """A model: a table per stage, and the notes."""
    notes = list(dict.fromkeys(text for rung in rungs for text in conditions(rung)))
    parts = [f"## {title}\n"]
    for stage in QUESTIONS:
        if rows := list(rung_rows([rung for rung in rungs if rung.stage == stage], named, notes)):
            parts.append(f"### {title}: {stage}\n\n{table(_RUNGS, rows)}")
    if notes:
        parts.append("\n".join(f"- [{number}] {text}" for number, text in enumerate(notes, 1)) + "\n")
    return "\n".join(parts)


def page():
    """The Markdown page."""
    sections = {"Every model": SHARED} | {model.id: parity_of(model).rungs for model in all_models().values()}
    named = letters([rung for rungs in sections.values() for rung in rungs])
    parts = [_HEAD, table(_GATES, gate_rows(named))]
    return "\n".join([*parts, *(section(title, rungs, named) for title, rungs in sections.items())])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
