"""Which compute units a run asks for."""

import pytest

from toolkit.compute_units import VARIABLE, UnitsChoice, chosen_units, fallback_chain, units_of_states
from toolkit.errors import OptionError, UnsupportedError
from toolkit.runtimes.open import units_of_option
from toolkit.spec import Tensor


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("CI", VARIABLE):
        monkeypatch.delenv(name, raising=False)


def units(choice, component="encoder", default="CPU_AND_NE"):
    return choice.units(component, default)


@pytest.mark.parametrize(
    ("text", "encoder", "joint"),
    [
        ("auto", "CPU_AND_NE", "CPU_AND_NE"),
        ("", "CPU_AND_NE", "CPU_AND_NE"),
        ("all", "ALL", "ALL"),
        ("encoder=cpu-and-gpu", "CPU_AND_GPU", "CPU_AND_NE"),
        ("CPU_ONLY, encoder=ALL", "ALL", "CPU_ONLY"),
    ],
)
def test_choices(text, encoder, joint):
    choice = UnitsChoice(text)
    assert (units(choice), units(choice, "joint")) == (encoder, joint)


@pytest.mark.parametrize("text", ["GPU", "encoder=", "encoder=fast", "ALL;CPU_ONLY"])
def test_a_wrong_name_is_refused(text):
    with pytest.raises(OptionError, match="is none of auto, ALL, CPU_ONLY"):
        UnitsChoice(text)


def test_the_option_goes_before_the_environment_and_that_before_the_runner(monkeypatch):
    assert units(chosen_units(None)) == "CPU_AND_NE"
    monkeypatch.setenv("CI", "true")
    assert units(chosen_units(None)) == "CPU_ONLY"
    monkeypatch.setenv(VARIABLE, "ALL")
    assert units(chosen_units(None)) == "ALL"
    assert units(chosen_units("CPU_AND_GPU")) == "CPU_AND_GPU"


def test_every_chain_ends_on_the_cpu_and_goes_back_to_nothing():
    for first in ("ALL", "CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY"):
        chain = fallback_chain(first)
        assert (chain[0], chain[-1], len(set(chain))) == (first, "CPU_ONLY", len(chain))


@pytest.mark.parametrize(("width", "expected"), [(32, "ALL"), (128, "ALL"), (36, "CPU_AND_GPU")])
def test_states_of_an_odd_width_keep_off_the_neural_engine(width, expected):
    assert units_of_states([Tensor("cache", (2, 4, 8, width), "float16", "")]) == expected
    assert units_of_states([]) == "ALL"


def test_off_macos_the_option_is_refused(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(UnsupportedError, match="needs macOS"):
        units_of_option("ALL")
    assert units(units_of_option(None)) == "CPU_AND_NE"
