"""Reports as files: the name says whether it is HTML or Markdown."""

from collections.abc import Sequence
from pathlib import Path

from parity.ladder.ladder import LadderResult
from parity.report.html.page import html_from_results
from parity.report.markdown import markdown_from_results
from toolkit.errors import OutputError
from toolkit.output.files import check_output

EXHIBITS_SHOWN = 3

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


def check_page(path: Path) -> None:
    """Refuse a path that no page of tables could be written to; such a page is HTML only.

    Raises:
        OutputError: the name does not end in .html; or as `check_output`.
    """
    if path.suffix.lower() != ".html":
        raise OutputError(f"cannot write {path}: this page is HTML", "Give a name that ends in .html.")
    check_output(path)


def exhibits_wanted(path: Path | None) -> int:
    """How many exhibits of each kind the report at this path shows."""
    return EXHIBITS_SHOWN if path and path.suffix.lower() == ".html" else 0


def report_text(path: Path, results: Sequence[LadderResult]) -> str:
    """The report in the form that the name of its file asks for."""
    return WRITERS[path.suffix.lower()](results)
