"""docs/ops.md is what its command writes, and every op in it is verified."""

from milrun.registry import OPS
from tests.ops_table import PAGE, declared, own_file, own_oracles, page


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: uv run python -m tests.ops_table"


def test_every_op_is_verified():
    assert "**no**" not in page()


def test_every_op_is_in_its_familys_test():
    assert [key for key, operation in OPS.items() if not own_oracles(key, operation)] == []


def test_an_oracle_is_declared_for_ops_of_the_family():
    names = {}
    for key, operation in OPS.items():
        names.setdefault(own_file(operation), {""}).update((key, operation.name))
    for file, known in names.items():
        assert "" in declared(file), file.name
        assert set(declared(file)) <= known, file.name
