"""What `compare` prints and writes: a table, JSON, Markdown.

JSON (`--json`), schema 1. A number that is not finite is `null`: `psnr_db` is null where both sides are equal
(`max_abs` is 0), the others are null where nothing could be measured (the row then failed, and `note` says why).

    {"schema": 1, "passed": bool, "blame": [{"model", "stage"}],
     "models": [{"model", "about": {name: text}, "passed": bool, "blame": stage or null, "verdict": text,
       "stages": [{"stage", "question", "status": "passed" | "FAILED" | "SKIP",
         "rows": [{"output", "status", "metrics": {name: number or null}, "note", "headline",
                   "gate": {"at_most": {metric: limit}, "at_least": {metric: limit}, "reason", "measured"}
                           or null}]}]}]}
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from toolkit.parity.gates import Gate
from toolkit.parity.ladder import QUESTIONS, LadderResult, Row, StageResult, Status

SCHEMA = 1
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
_STYLES = {Status.PASSED: "green", Status.FAILED: "bold red", Status.SKIPPED: "yellow"}
_PIPE_WIDTH = 200


def passed(results: Sequence[LadderResult]) -> bool:
    """Whether something was compared and all of it passed."""
    return bool(results) and all(result.passed for result in results)


def json_from_results(results: Sequence[LadderResult]) -> str:
    """The documented JSON."""
    value = {
        "schema": SCHEMA,
        "passed": passed(results),
        "blame": [{"model": r.model, "stage": r.blame} for r in results if r.blame],
        "models": [_result_json(result) for result in results],
    }
    return json.dumps(value, indent=2, allow_nan=False)


def print_results(results: Sequence[LadderResult], console: Console | None = None) -> None:
    """Print tables, gates, headlines and verdicts: rich on a terminal, plain and unbroken in a pipe."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=_PIPE_WIDTH, no_color=True, highlight=False, soft_wrap=True)
    for result in results:
        _print_result(result, console)


def markdown_from_results(results: Sequence[LadderResult]) -> str:
    """The report as Markdown."""
    lines = ["# Parity report", "", f"Overall: **{'passed' if passed(results) else 'FAILED'}**", ""]
    for result in results:
        lines += [f"## {result.model}", "", result.verdict + ".", ""]
        lines += [f"- {name}: {value}" for name, value in result.about.items()] + [""]
        for stage in result.stages:
            lines += _stage_markdown(stage)
        lines += [f"- {row.headline}" for row in _rows(result) if row.headline] + [""]
    return "\n".join(lines)


def number(value: float) -> str:
    """A number as the tables show it."""
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e6):
        return str(int(value))
    if not math.isfinite(value):
        return str(value)
    return f"{value:.3g}" if abs(value) < 0.01 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.5g}"


def _print_result(result: LadderResult, console: Console) -> None:
    console.print(Text(result.model, style="bold"), Text(", ".join(f"{k} {v}" for k, v in result.about.items())))
    for stage in result.stages:
        _print_stage(stage, console)
    console.print()
    for row in _rows(result):
        if row.headline:
            console.print(Text(row.headline))
    console.print(Text(result.verdict, style=_STYLES[Status.PASSED if result.passed else Status.FAILED]))


def _print_stage(stage: StageResult, console: Console) -> None:
    title = Text(f"\n{stage.name}: {QUESTIONS[stage.name]} ")
    console.print(title.append(stage.status.value, style=_STYLES[stage.status]))
    measured = [row for row in stage.rows if row.metrics]
    if measured:
        console.print(_table(measured))
    for text in _gate_lines(measured):
        console.print(Text(text, style="dim"))
    for row in stage.rows:
        if row.note or not row.metrics:
            console.print(Text(f"  {row.status.value} {row.output}: {row.note}", style=_STYLES[row.status]))


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=True, header_style="dim")
    columns = _columns(rows)
    table.add_column("output", overflow="fold")
    for name in columns:
        table.add_column(_COLUMNS.get(name, name.replace("_", " ")), justify="right")
    for name in ("gate", "result"):
        table.add_column(name)
    gates = _gates(rows)
    for row in rows:
        table.add_row(
            row.output,
            *_cells(row, columns),
            _label(row.gate, gates),
            Text(row.status.value, style=_STYLES[row.status]),
        )
    return table


def _cells(row: Row, columns: Sequence[str]) -> list[str]:
    return [number(row.metrics[name]) if name in row.metrics else "" for name in columns]


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


def _gate_lines(rows: Sequence[Row]) -> list[str]:
    gates = _gates(rows)
    return [f"  gate {_label(gate, gates)}: {_gate_text(gate)}" for gate in gates]


def _gate_text(gate: Gate) -> str:
    measured = f" Measured when it was set: {gate.measured}." if gate.measured else ""
    return f"{gate}. Reason: {gate.reason}.{measured}"


def _stage_markdown(stage: StageResult) -> list[str]:
    lines = [f"### {stage.name}: {stage.status.value}", "", QUESTIONS[stage.name], ""]
    measured = [row for row in stage.rows if row.metrics]
    if measured:
        gates, columns = _gates(measured), _columns(measured)
        header = ["output", *(_COLUMNS.get(n, n.replace("_", " ")) for n in columns), "gate", "result"]
        lines += [_line(header), _line(["---"] * len(header))]
        for row in measured:
            lines.append(_line([row.output, *_cells(row, columns), _label(row.gate, gates), row.status.value]))
        lines += ["", *(f"- {text.strip()}" for text in _gate_lines(measured)), ""]
    notes = [f"- {r.status.value} {r.output}: {r.note}" for r in stage.rows if r.note or not r.metrics]
    return lines + ([*notes, ""] if notes else [])


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _rows(result: LadderResult) -> list[Row]:
    return [row for stage in result.stages for row in stage.rows]


def _result_json(result: LadderResult) -> dict[str, Any]:
    return {
        "model": result.model,
        "about": dict(result.about),
        "passed": result.passed,
        "blame": result.blame,
        "verdict": result.verdict,
        "stages": [
            {
                "stage": s.name,
                "question": QUESTIONS[s.name],
                "status": s.status.value,
                "rows": [_row_json(r) for r in s.rows],
            }
            for s in result.stages
        ],
    }


def _row_json(row: Row) -> dict[str, Any]:
    gate = row.gate and {
        "at_most": dict(row.gate.at_most),
        "at_least": dict(row.gate.at_least),
        "reason": row.gate.reason,
        "measured": row.gate.measured,
    }
    return {
        "output": row.output,
        "status": row.status.value,
        "metrics": _finite(row.metrics),
        "note": row.note,
        "headline": row.headline,
        "gate": gate,
    }


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
