"""The comparison with NeMo fails where something is wrong; the comparison itself is no part of `.ci/run`."""

import numpy as np
import pytest

from tests.oracles.environment import environment
from tests.oracles.nemo import DECISIONS, LIMITS, NAMES, Side, compared, problems, relative, without_blank_before


def side():
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((4, 5)).astype(np.float32) for name in NAMES}
    decisions = {"tokens": [1, 2], "frames": [0, 3], "durations": [1, 2], "text": "ten of"}
    return Side(arrays, decisions, [("ten", 0, 2), ("of", 3, 5)])


@pytest.mark.parametrize("precision", LIMITS)
def test_the_same_agrees(precision):
    found = compared(side(), side())
    assert problems(found, precision) == []
    assert found["first start"]
    assert found["other starts"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", LIMITS)
def test_a_perturbed_array_is_a_problem(name, precision):
    ours = side()
    ours.arrays[name] = ours.arrays[name] + 3 * LIMITS[precision][name]
    assert problems(compared(side(), ours), precision) == [name]


@pytest.mark.parametrize("wrong", [lambda a: a[:-1], lambda a: a * np.nan, lambda a: a[:0]])
def test_another_shape_and_nan_are_problems(wrong):
    ours = side()
    ours.arrays["mel"] = wrong(ours.arrays["mel"])
    assert problems(compared(side(), ours), "float16") == ["mel"]


def test_two_empty_arrays_do_not_agree():
    assert relative(np.zeros((0, 5)), np.zeros((0, 5))) == float("inf")


@pytest.mark.parametrize("name", DECISIONS)
def test_another_decision_is_a_problem(name):
    ours = side()
    ours.decisions[name] = ours.decisions[name][:1]
    assert problems(compared(side(), ours), "float16") == [name]


def test_starts_of_the_first_and_of_other_words_are_told_apart():
    ours = side()
    ours.words[0] = ("ten", 1, 2)
    found = compared(side(), ours)
    assert (found["first start"], found["other starts"]) == (False, True)
    ours.words[1] = ("of", 2, 5)
    assert not compared(side(), ours)["other starts"]
    ours.words.pop()
    assert not compared(side(), ours)["first start"]


def test_nemos_rule_of_the_blank():
    assert without_blank_before("a . b ,c -", [".", ","]) == "a. b,c -"
    assert without_blank_before("a .", []) == "a ."


def test_a_requirement_without_a_version_makes_no_environment(monkeypatch):
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("something was installed"))
    with pytest.raises(AttributeError):
        environment("nemo", "nemo_toolkit[asr]")
