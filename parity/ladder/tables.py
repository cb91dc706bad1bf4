"""Titled tables: what every form of a report shows alike, in the terminal, in Markdown, in HTML and in JSON."""

import math
from dataclasses import dataclass

Cell = str | float


@dataclass(frozen=True)
class TitledTable:
    """A table to show beside, or in place of, the rows of a stage. Text is data: every form escapes it.

    Attributes:
        title: what it shows, without a full stop.
        headers: of the columns; the first column names the row.
        rows: a cell each; a number is written by `number`, and stands on the right; an empty text where there is none.
        notes: a line each, under the table.
        stage: the stage it belongs to; empty for the model as a whole.
    """

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    stage: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.headers):
                raise ValueError(f"table '{self.title}': {len(row)} cells under {len(self.headers)} headers")

    @property
    def full_title(self) -> str:
        """The title after its stage, if it has one."""
        return f"{self.stage}: {self.title}" if self.stage else self.title

    @property
    def numeric(self) -> tuple[bool, ...]:
        """For each column, whether it holds numbers."""
        columns = ([row[k] for row in self.rows] for k in range(len(self.headers)))
        return tuple(any(not isinstance(cell, str) for cell in column) for column in columns)


def number(value: float) -> str:
    """A number as the tables show it."""
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e6):
        return str(int(value))
    if not math.isfinite(value):
        return str(value)
    return f"{value:.3g}" if abs(value) < 0.01 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.5g}"


def cell_text(cell: Cell) -> str:
    """A cell as text, on one line."""
    return " ".join(cell.split()) if isinstance(cell, str) else number(cell)
