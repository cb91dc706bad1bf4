"""Titled tables as HTML: headers with scopes, numbers on the right, wide ones scroll by themselves."""

from parity.ladder.ladder import Status
from parity.ladder.tables import Cell, TitledTable, cell_text
from parity.report.html.markup import Markup, element

_SHORT_CHARACTERS = 24  # stay on one line


def html_of_table(table: TitledTable) -> Markup:
    """The table with its title as caption, and its notes."""
    numeric = table.numeric
    heads = [element("th", name, scope="col", class_=_align(n)) for name, n in zip(table.headers, numeric, strict=True)]
    rows = [_row(row, numeric) for row in table.rows]
    whole = element(
        "table",
        element("caption", table.title),
        element("thead", element("tr", *heads)),
        element("tbody", *rows),
    )
    region = element("div", whole, class_="scrolled", role="region", tabindex=0, aria_label=table.title)
    return Markup(region + _notes(table.notes))


def status_html(status: str) -> Markup:
    """A status as a badge, told by its word as well as by its colour."""
    return element("span", status, class_=f"status {status.lower()}")


def _row(row: tuple[Cell, ...], numeric: tuple[bool, ...]) -> Markup:
    cells = [element("td", _cell(cell), class_=_class(cell, n)) for cell, n in zip(row[1:], numeric[1:], strict=True)]
    first = element("th", _cell(row[0]), scope="row") if row else ""
    return element("tr", first, *cells)


def _cell(cell: Cell) -> str:
    return status_html(cell.value) if isinstance(cell, Status) else cell_text(cell)


def _class(cell: Cell, numeric: bool) -> str | None:
    return _align(numeric) or ("short" if len(cell_text(cell)) <= _SHORT_CHARACTERS else None)


def _align(numeric: bool) -> str | None:
    return "number" if numeric else None


def _notes(notes: tuple[str, ...]) -> Markup:
    return element("ul", *(element("li", note) for note in notes), class_="notes") if notes else Markup("")
