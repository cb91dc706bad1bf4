"""The commands of README.md run as they stand there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# The two commands that set everything up: the first takes minutes, the second is the one that runs this test.
MAIN_JOB, TESTS = "uv run compare --num-files 3", "uv run pytest"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("uv run ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the paths of the README are valid; what the commands write stays in it."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "demo").symlink_to(ROOT / "demo")
    return folder


def run(line, folder):
    """Run `uv run NAME ...` with the script of this environment."""
    name, *arguments = shlex.split(line.removeprefix("uv run "))
    program = Path(sys.executable).with_name(name)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_two_commands_come_first():
    assert COMMANDS[:2] == [MAIN_JOB, TESTS]


def test_the_others_run_in_their_order(folder):
    for line in COMMANDS[2:]:
        done = run(line, folder)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout or (folder / shlex.split(line)[-1]).is_file(), f"{line} printed and wrote nothing"


def test_the_python_examples_run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    ours, packages = blocks("python")
    exec(ours, values := {})
    assert values["transcript"].text == "go forward ten meters"
    exec(packages, values := {})
    assert all(array.size for array in values["outputs"].values())


@pytest.mark.slow
def test_the_main_job_passes(folder):
    done = run(MAIN_JOB, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 models: passed" in done.stdout
