"""docs/lint.md is what its command writes."""

from tests.lint_table import PAGE, page


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: uv run python -m tests.lint_table"
