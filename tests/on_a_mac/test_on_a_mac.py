"""The questions for a Mac, asked of the stand-in: each has an answer, and none fails for a mistake of ours."""

import platform

import pytest

import milrun.standin
from commands.demo import demo_bundle
from models import find_model
from tests.matrix.mac import probe_here
from tests.on_a_mac.__main__ import summary
from tests.on_a_mac.assumptions import QUESTIONS, Answer
from toolkit.bundle.bundle import open_bundle
from toolkit.runtimes.framework import CoremlFramework


@pytest.fixture
def bundles(monkeypatch, tmp_path, parakeet_bundle):
    """Parakeet under every name, which is enough for the questions about it."""
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(platform, "mac_ver", lambda: ("26.0", ("", "", ""), "arm64"))
    monkeypatch.setattr(CoremlFramework, "probe", probe_here)
    with milrun.standin.predictions():
        yield {"parakeet-tdt": open_bundle(parakeet_bundle)}


def test_every_question_about_parakeet_has_its_answer(bundles):
    answers = [question(bundles) for question in QUESTIONS]
    assert len(answers) >= 7
    about_others = [answer for answer in answers if answer.held is None]
    assert all(answer.detail.startswith("KeyError") for answer in about_others), about_others
    held = {answer.assumption: answer.held for answer in answers if answer.held is not None}
    assert held["The binding refuses arrays of int64, bool and uint8, and read-only ones."] is True
    assert held["A path with a blank, an accent and a dollar sign works."] is True
    assert held["Every function loads on the units that its manifest names, without falling back."] is True


@pytest.mark.slow
def test_every_question_has_its_answer(bundles):
    for name in ("cohere-transcribe", "pocket-tts"):
        bundles[name] = open_bundle(demo_bundle(find_model(name)))
    assert [a for q in QUESTIONS if (a := q(bundles)).held is None] == []


def test_what_did_not_hold_is_marked():
    answers = [Answer("A holds.", True, "yes"), Answer("B holds.", False, "no"), Answer("C holds.", None, "OSError")]
    lines = summary(answers).splitlines()
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["held", "**did not hold**", "could not be asked"]
