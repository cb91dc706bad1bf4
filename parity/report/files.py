"""What `compare` prints and writes: a table, JSON, Markdown; HTML is parity/report/html/page.py.

JSON (`--json`), schema 2. A number that is not finite is `null`: `psnr_db` is null where both sides are equal
(`max_abs` is 0), the others are null where nothing could be measured (the row then failed, and `note` says why).

    {"schema": 2, "passed": bool, "blame": [{"model", "stage"}],
     "models": [{"model", "about": {name: text}, "passed": bool, "blame": stage or null, "verdict": text,
       "stages": [{"stage", "question", "status": "passed" | "FAILED" | "SKIP",
         "rows": [{"output", "status", "metrics": {name: number or null}, "note", "headline",
                   "rung", "reference", "candidate",
                   "gate": {"at_most": {metric: limit}, "at_least": {metric: limit}, "reason", "measured"}
                           or null}]}],
       "tables": [TABLE], "facts": [TABLE], "walk": WALK or null}]}

`reference` made the reference value, `candidate` is what of ours was compared with it, `rung` is the row's name in
docs/ladder.md; all are empty where a row compares nothing.

TABLE is {"title", "stage": stage or "", "headers": [text], "rows": [[text or number or null]], "notes": [text]};
`facts` are those of the bundle and of this run.

WALK is what `--blame` found (parity/ladder/blame.py), null without it: {"first": step or null, "verdict": text,
"shares": {step: 0 to 1}, "steps": [{"step", "status", "note"}], "outputs": [{"output", "chain": bool,
"errors": {step: rel. L2 after it, or null where it is not finite}, "shares": {step: 0 to 1}}]}.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from parity.ladder.ladder import QUESTIONS, LadderResult, Row, StageResult, Status, passed
from parity.ladder.stage_tables import gate_lines, noted_rows, side_lines, tables_of_stage
from parity.ladder.tables import Cell, TitledTable, cell_text
from parity.report.html.page import html_from_results
from toolkit.errors import OutputError
from toolkit.output.files import check_output

SCHEMA = 2
EXHIBITS_SHOWN = 3
_STYLES: Mapping[str, str] = {Status.PASSED: "green", Status.FAILED: "bold red", Status.SKIPPED: "yellow"}
_PIPE_WIDTH = 200


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
    if len(results) > 1:
        console.print(Text(f"\n{len(results)} models: {'passed' if passed(results) else 'FAILED'}", style="bold"))
        for result in results:
            console.print(Text(f"  {result.verdict}", style=_verdict_style(result)))


def markdown_from_results(results: Sequence[LadderResult]) -> str:
    """The report as Markdown."""
    lines = ["# Parity report", "", f"Overall: **{'passed' if passed(results) else 'FAILED'}**", ""]
    for result in results:
        lines += [f"## {result.model}", "", result.verdict + ".", ""]
        lines += [f"- {name}: {value}" for name, value in result.about.items()] + [""]
        for stage in result.stages:
            lines += _stage_markdown(stage)
        lines += [f"- {text}" for text in result.headlines] + [""]
        for table in (*result.tables, *result.facts):
            lines += [f"### {_titled(table)}", "", *_table_markdown(table)]
    return "\n".join(lines)


WRITERS = {".html": html_from_results, ".md": markdown_from_results}


def check_report(path: Path) -> None:
    """Refuse a path that no report could be written to, before any work is done.

    Raises:
        OutputError: the name ends in nothing that a report is written as; or as `check_output`.
    """
    if path.suffix.lower() not in WRITERS:
        raise OutputError(
            f"cannot write {path}: a report is HTML or Markdown", "Give a name that ends in .html or .md."
        )
    check_output(path)


def exhibits_wanted(path: Path | None) -> int:
    """How many exhibits of each kind the report at this path shows."""
    return EXHIBITS_SHOWN if path and path.suffix.lower() == ".html" else 0


def report_text(path: Path, results: Sequence[LadderResult]) -> str:
    """The report in the form that the name of its file asks for."""
    return WRITERS[path.suffix.lower()](results)


def _print_result(result: LadderResult, console: Console) -> None:
    console.print(Text(result.model, style="bold"), Text(", ".join(f"{k} {v}" for k, v in result.about.items())))
    for stage in result.stages:
        _print_stage(stage, console)
    for table in result.tables:
        console.print(Text(f"\n{_titled(table)}"))
        _print_table(table, console)
    console.print()
    for headline in result.headlines:
        console.print(Text(headline))
    console.print(Text(result.verdict, style=_verdict_style(result)))


def _verdict_style(result: LadderResult) -> str:
    return _STYLES[Status.PASSED if result.passed else Status.FAILED]


def _print_stage(stage: StageResult, console: Console) -> None:
    title = Text(f"\n{stage.name}: {QUESTIONS[stage.name]} ")
    console.print(title.append(stage.status.value, style=_STYLES[stage.status]))
    for table in tables_of_stage(stage):
        _print_table(table, console)
    for text in gate_lines(stage):
        console.print(Text(f"  gate {text}", style="dim"))
    for text in side_lines(stage):
        console.print(Text(f"  {text}", style="dim"))
    for row in noted_rows(stage):
        console.print(Text(f"  {_noted(row)}", style=_STYLES[row.status]))


def _print_table(table: TitledTable, console: Console) -> None:
    shown = Table(box=None, pad_edge=True, header_style="dim")
    for name, numeric in zip(table.headers, table.numeric, strict=True):
        shown.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(cell_text(cell), style=_cell_style(cell)) for cell in row))
    console.print(shown)
    for note in table.notes:
        console.print(Text(f"  {note}", style="dim"))


def _cell_style(cell: Cell) -> str:
    return _STYLES.get(cell, "") if isinstance(cell, str) else ""


def _titled(table: TitledTable) -> str:
    return f"{table.stage}: {table.title}" if table.stage else table.title


def _noted(row: Row) -> str:
    return f"{row.status.value} {row.text}"


def _stage_markdown(stage: StageResult) -> list[str]:
    lines = [f"### {stage.name}: {stage.status.value}", "", QUESTIONS[stage.name].capitalize(), ""]
    tables = tables_of_stage(stage)
    for table in tables:
        lines += _table_markdown(table)
    if tables:
        lines += [*(f"- gate {text}" for text in gate_lines(stage)), *(f"- {text}" for text in side_lines(stage)), ""]
    notes = [f"- {_noted(row)}" for row in noted_rows(stage)]
    return lines + ([*notes, ""] if notes else [])


def _table_markdown(table: TitledTable) -> list[str]:
    rows = [_line(map(cell_text, row)) for row in table.rows]
    notes = [*(f"- {note}" for note in table.notes), ""] if table.notes else []
    return [_line(table.headers), _line(["---"] * len(table.headers)), *rows, "", *notes]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


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
        "tables": [_table_json(table) for table in result.tables],
        "facts": [_table_json(table) for table in result.facts],
        "walk": dict(result.walk) if result.walk else None,
    }


def _table_json(table: TitledTable) -> dict[str, Any]:
    return {
        "title": table.title,
        "stage": table.stage,
        "headers": list(table.headers),
        "rows": [[cell if isinstance(cell, str) else _finite_or_none(cell) for cell in row] for row in table.rows],
        "notes": list(table.notes),
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
        "rung": row.rung.label if row.rung else "",
        "reference": row.rung.reference if row.rung else "",
        "candidate": row.rung.candidate if row.rung else "",
        "gate": gate,
    }


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _finite_or_none(value) for name, value in metrics.items()}


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
