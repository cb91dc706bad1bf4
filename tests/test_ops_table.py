"""docs/ops.md is what its command writes, and every op in it is verified."""

from tests.ops_table import PAGE, page


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: uv run python -m tests.ops_table"


def test_every_op_is_verified():
    assert "**no**" not in page()
