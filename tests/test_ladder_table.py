"""docs/ladder.md is what its command writes, and every model declares its rungs in full."""

import importlib
import importlib.util
from pathlib import Path

import pytest

from models import all_models
from parity.ladder.ladder import QUESTIONS
from parity.ladder.rungs import Rung
from parity.ladder.shared_rungs import SHARED
from tests.ladder_table import PAGE, cases, page
from tests.test_layers import imports
from toolkit.bundle.sources import find_module

ROOT = Path(__file__).resolve().parents[1]
MODELS = all_models()


def rungs_of(model):
    return importlib.import_module(f"{MODELS[model].package}.parity.rungs")


def constants(module):
    """The rungs that a module names, one by one or in a mapping."""
    for value in vars(module).values():
        yield from (v for v in (value.values() if isinstance(value, dict) else [value]) if isinstance(v, Rung))


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: uv run python -m tests.ladder_table"


@pytest.mark.parametrize("model", MODELS)
def test_every_rung_of_the_module_is_declared_in_the_ladders_order(model):
    module = rungs_of(model)
    assert list(module.RUNGS) == list(constants(module))
    stages = [list(QUESTIONS).index(rung.stage) for rung in module.RUNGS]
    assert stages == sorted(stages)
    assert {rung.stage for rung in (*module.RUNGS, *SHARED)} == set(QUESTIONS)


@pytest.mark.parametrize("model", MODELS)
def test_every_rung_names_both_sides_and_the_reason_for_its_gate(model):
    for rung in rungs_of(model).RUNGS:
        assert rung.reference
        assert rung.candidate
        assert rung.label
        assert all(gate.reason for _, gate in cases(rung))


@pytest.mark.parametrize("model", MODELS)
def test_what_a_rung_needs_is_a_component_of_the_model(model):
    needed = {name for rung in rungs_of(model).RUNGS for name in rung.needs}
    folder = Path(find_module(MODELS[model].package)).parent
    files = [*folder.glob("*.py"), *(ROOT / "toolkit" / "loops").glob("*.py")]  # the product, and what it shares
    sources = "".join(file.read_text(encoding="utf-8") for file in files)
    assert [name for name in needed if f'"{name}"' not in sources] == []


@pytest.mark.parametrize("model", MODELS)
def test_the_declarations_are_data(model):
    """They need no torch and no model: nothing but gates, rungs and the names of measures."""
    file = Path(importlib.util.find_spec(f"{MODELS[model].package}.parity.rungs").origin)
    assert {name.split(".")[0] for name in imports(file)} <= {
        "collections",
        "dataclasses",
        "parity",
        "toolkit",
        "models",
    }
