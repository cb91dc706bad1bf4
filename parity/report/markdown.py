"""The ladder as Markdown."""

from collections.abc import Iterable, Sequence

from parity.ladder.ladder import QUESTIONS, LadderResult, StageResult, passed
from parity.ladder.stage_tables import gate_lines, noted, noted_rows, side_lines, tables_of_stage
from parity.ladder.tables import TitledTable, cell_text


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
            lines += [f"### {table.full_title}", "", *_table_markdown(table)]
    return "\n".join(lines)


def _stage_markdown(stage: StageResult) -> list[str]:
    lines = [f"### {stage.name}: {stage.status.value}", "", QUESTIONS[stage.name].capitalize(), ""]
    tables = tables_of_stage(stage)
    for table in tables:
        lines += _table_markdown(table)
    if tables:
        lines += [*(f"- gate {text}" for text in gate_lines(stage)), *(f"- {text}" for text in side_lines(stage)), ""]
    notes = [f"- {noted(row)}" for row in noted_rows(stage)]
    return lines + ([*notes, ""] if notes else [])


def _table_markdown(table: TitledTable) -> list[str]:
    rows = [_line(map(cell_text, row)) for row in table.rows]
    notes = [*(f"- {note}" for note in table.notes), ""] if table.notes else []
    return [_line(table.headers), _line(["---"] * len(table.headers)), *rows, "", *notes]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
