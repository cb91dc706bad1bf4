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
    assert "PyTorch module" not in out  # the package says nothing of modules
    assert "first non-finite: 1 in 'power' (exp, float16 [2, 3])" in out


def test_keep_stop_and_save(package, tmp_path, capsys):
    arguments = ("--random", "--seed", "3", "--keep", "power", "--output", tmp_path / "values")
    code, out, _ = run(capsys, package, *arguments)
    assert code == 0
    assert "all 4 values are finite" in out
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
        (["--input", "y=EMPTY"], "not a .npy file"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_exit_2(package, tmp_path, arguments, message, capsys):
    (tmp_path / "empty.npy").touch()
    arguments = [a.replace("PACKAGE", str(package)).replace("EMPTY", str(tmp_path / "empty.npy")) for a in arguments]
    code, out, err = run(capsys, package, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("seed", ["-1", "x"])
def test_a_seed_is_a_whole_number(package, seed, capsys):
    with pytest.raises(SystemExit) as caught:
        main([str(package), "--random", "--seed", seed])
    assert caught.value.code == 2
    assert f"a whole number from 0 on, got {seed}" in capsys.readouterr().err


def test_it_ends_quietly_when_the_reader_has_left(package):
    command = f"'{sys.executable}' -m milrun '{package}'; echo $? >&2"
    shell = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    shell.stdout.close()
    with shell.stderr as errors:
        assert errors.read() == "141\n"
    shell.wait()


def test_no_package(tmp_path):
    command = [sys.executable, "-m", "milrun", str(tmp_path / "none.mlpackage")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("milrun: no package at")
