"""`convert inspect` of a package and a compiled model that are in no bundle."""

import json

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

import convert
from tests.command_runner import command_runner
from tests.milrun.compiled.mil_text import write_compiled
from tests.milrun.harness import save_program

WEIGHT = np.arange(4096, dtype=np.float32).reshape(64, 64)


@pytest.fixture
def run(monkeypatch, capsys):
    return command_runner(convert, monkeypatch, capsys)


@pytest.fixture
def package(tmp_path, capsys):
    given = {"x": np.ones((1, 64), np.float32)}
    path = save_program(lambda x: mb.relu(x=mb.linear(x=x, weight=WEIGHT)), given, tmp_path, "iOS17")
    capsys.readouterr()  # the converter's progress bars
    return path


def test_a_package_and_its_compiled_form_say_the_same(run, package, tmp_path):
    compiled = write_compiled(package, tmp_path / "op.mlmodelc")
    (code, out, err), (_, other, _) = (run("inspect", path, "--json") for path in (package, compiled))
    said, of_compiled = json.loads(out), json.loads(other)
    assert (code, err) == (0, "")
    (function,) = said["functions"]
    assert function["inputs"] == {"x": "float32 [1, 64]"}
    assert function["ops"] == {"linear": 1, "relu": 1}
    assert said["precision_found"] == "fp32"
    assert said["weight_bytes"]["float32"] >= WEIGHT.nbytes
    assert of_compiled == said | {"package": str(compiled)}


def test_for_a_person(run, package):
    code, out, _ = run("inspect", package)
    assert code == 0
    assert "0.02 MB of constants, most of them float32" in out
    assert "main (iOS17), 2 ops" in out


def test_what_cannot_be_read(run, tmp_path):
    (tmp_path / "a.mlmodelc").mkdir()
    code, out, err = run("inspect", tmp_path / "a.mlmodelc")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "has no model.mil" in err
