"""`python -m milrun`: what it prints and saves, and its exit codes."""

import subprocess
import sys

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb

from milrun.__main__ import main
from tests.milrun.harness import save_program


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    def build(x, y):
        return mb.mul(x=mb.exp(x=x, name="power"), y=y, name="scaled")

    inputs = {"x": np.zeros((2, 3), np.float16), "y": np.zeros(3, np.float16)}
    return save_program(build, inputs, tmp_path_factory.mktemp("command"), "iOS17")


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    return code, *capsys.readouterr()


def test_without_inputs_it_prints_the_interface(package, capsys):
    code, out, _ = run(capsys, package)
    assert code == 0
    assert "function 'main'" in out
    assert "input  x: float16 [2, 3]" in out
    assert "output scaled: float16 [2, 3]" in out
    assert "exp x1, mul x1" in out


def test_trace_of_given_and_random_inputs(package, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.array([[0, 1, 2], [0, 0, 12]], np.float16))
    code, out, _ = run(capsys, package, "--input", f"x={tmp_path / 'x.npy'}", "--random", "--trace")
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    (power,) = (row for row in rows if row[0] == "power")
    assert power[1:3] == ["exp", "float16"]
    assert power[-3:] == ["1", "7.39062", "1"]  # exp(12) is beyond float16
    assert "first non-finite: 1 in 'power' (exp, float16 [2, 3])" in out


def test_keep_stop_and_save(package, tmp_path, capsys):
    arguments = ("--random", "--seed", "3", "--keep", "power", "--output", tmp_path / "values")
    code, out, _ = run(capsys, package, *arguments)
    assert code == 0
    assert "all 2 values are finite" in out
    assert sorted(p.name for p in (tmp_path / "values").iterdir()) == ["power.npy", "scaled.npy"]
    assert np.load(tmp_path / "values/power.npy").shape == (2, 3)
    code, out, _ = run(capsys, package, "--random", "--stop-after", "exp", "--trace")
    assert code == 0
    assert "scaled  " not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--random", "--keep", "nothing"], "yields nothing"),
        (["--function", "other"], "no function 'other'"),
        (["--trace"], "--random"),
        (["--input", "x"], "NAME=FILE.npy"),
        (["--input", "x=missing.npy"], "missing.npy"),
        (["--input", "y=PACKAGE/Manifest.json"], "not a .npy file"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_2(package, arguments, message, capsys):
    code, _, err = run(capsys, package, *(a.replace("PACKAGE", str(package)) for a in arguments))
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_no_package(tmp_path):
    command = [sys.executable, "-m", "milrun", str(tmp_path / "none.mlpackage")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("milrun: no package at")
