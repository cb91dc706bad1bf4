"""The ladder as tables on the terminal: every row of every stage, with its gates and notes (`compare --verbose`)."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from parity.ladder.ladder import QUESTIONS, LadderResult, StageResult, Status
from parity.ladder.stage_tables import gate_lines, noted, noted_rows, side_lines, tables_of_stage
from parity.ladder.tables import Cell, TitledTable, cell_text

STYLES: Mapping[str, str] = {Status.PASSED: "green", Status.FAILED: "bold red", Status.SKIPPED: "yellow"}


def print_tables(result: LadderResult, console: Console) -> None:
    """Print everything of one ladder but its verdict."""
    console.print(Text(result.model, style="bold"), Text(", ".join(f"{k} {v}" for k, v in result.about.items())))
    for stage in result.stages:
        _print_stage(stage, console)
    for table in result.tables:
        print_table(table, console)
    console.print()
    for headline in result.headlines:
        console.print(Text(headline))


def _print_stage(stage: StageResult, console: Console) -> None:
    title = Text(f"\n{stage.name}: {QUESTIONS[stage.name]} ")
    console.print(title.append(stage.status.value, style=STYLES[stage.status]))
    for table in tables_of_stage(stage):
        print_table(table, console, titled=False)
    for text in gate_lines(stage):
        console.print(Text(f"  gate {text}", style="dim"))
    for text in side_lines(stage):
        console.print(Text(f"  {text}", style="dim"))
    for row in noted_rows(stage):
        console.print(Text(f"  {noted(row)}", style=STYLES[row.status]))


def print_table(table: TitledTable, console: Console, *, titled: bool = True) -> None:
    """Print one table with its notes, under its title."""
    if titled:
        console.print(Text(f"\n{table.full_title}"))
    shown = Table(box=None, pad_edge=True, header_style="dim")
    for name, numeric in zip(table.headers, table.numeric, strict=True):
        shown.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(cell_text(cell), style=_cell_style(cell)) for cell in row))
    console.print(shown)
    for note in table.notes:
        console.print(Text(f"  {note}", style="dim"))


def _cell_style(cell: Cell) -> str:
    return STYLES.get(cell, "") if isinstance(cell, str) else ""
