"""The rows of one stage as tables, with its gates and notes in words."""

from collections.abc import Iterable, Sequence

from parity.ladder.ladder import Row, StageResult
from parity.ladder.tables import Cell, TitledTable
from toolkit.spec import Gate

_COLUMNS = {
    "max_abs": "max abs",
    "mean_abs": "mean abs",
    "rel_l2": "rel. L2",
    "psnr_db": "PSNR dB",
    "cosine": "cosine",
    "non_finite": "non-finite",
    "mismatches": "differ",
}
_HIDDEN = {"elements", "calls", "flip_share"}


def tables_of_stage(stage: StageResult) -> list[TitledTable]:
    """The measured rows, those of the same figures in a table; a row's gate is a letter that `gate_lines` explains."""
    measured = _measured(stage)
    gates, alike = _gates(measured), dict[bool | tuple[str, ...], list[Row]]()
    for row in measured:
        # Compared arrays share a table, of floats and of integers; of what was counted, each kind has its own.
        alike.setdefault("max_abs" in row.metrics or tuple(row.metrics), []).append(row)
    return [_table(stage, rows, gates) for rows in alike.values()]


def _table(stage: StageResult, rows: Sequence[Row], gates: Sequence[Gate]) -> TitledTable:
    columns = _columns(rows)
    headers = ("output", *(_COLUMNS.get(name, name.replace("_", " ")) for name in columns), "gate", "result")
    lines = tuple((row.output, *_figures(row, columns), _label(row.gate, gates), row.status) for row in rows)
    return TitledTable(f"{stage.name}, output by output", headers, lines, stage=stage.name)


def gate_lines(stage: StageResult) -> list[str]:
    """`A: limits. Reason: why.`, one a gate."""
    gates = _gates(_measured(stage))
    return [f"{_label(gate, gates)}: {_gate_text(gate)}" for gate in gates]


def side_lines(stage: StageResult) -> list[str]:
    """`CANDIDATE against REFERENCE: rungs`, one a pair of them; the rungs are left out where there is one pair."""
    pairs: dict[str, dict[str, None]] = {}
    for row in stage.rows:
        if row.rung:
            pairs.setdefault(f"{row.rung.candidate} against {row.rung.reference}", {})[row.rung.label] = None
    if len(pairs) == 1:
        return list(pairs)
    return [f"{pair}: {'; '.join(rungs)}" for pair, rungs in pairs.items()]


def noted_rows(stage: StageResult) -> list[Row]:
    """Rows that say something in words: what is out of bounds or excused, or why nothing was measured."""
    return [row for row in stage.rows if row.note or not row.metrics]


def noted(row: Row) -> str:
    """The status and the note of a row in words."""
    return f"{row.status.value} {row.text}"


def _measured(stage: StageResult) -> list[Row]:
    return [row for row in stage.rows if row.metrics]


def _figures(row: Row, columns: Sequence[str]) -> list[Cell]:
    return [row.metrics.get(name, "") for name in columns]


def _columns(rows: Sequence[Row]) -> list[str]:
    present = {name for row in rows for name in row.metrics} - _HIDDEN
    others = dict.fromkeys(name for row in rows for name in row.metrics if name in present - set(_COLUMNS))
    return [name for name in _COLUMNS if name in present] + list(others)


def _gates(rows: Iterable[Row]) -> list[Gate]:
    """The different gates of a stage, in order of appearance; a row's label is its gate's place among them."""
    found: list[Gate] = []
    for row in rows:
        if row.gate and row.gate not in found:
            found.append(row.gate)
    return found


def _label(gate: Gate | None, gates: Sequence[Gate]) -> str:
    return chr(ord("A") + gates.index(gate)) if gate else ""


def _gate_text(gate: Gate) -> str:
    measured = f" Measured when it was set: {gate.measured}." if gate.measured else ""
    return f"{gate}. Reason: {gate.reason}.{measured}"
