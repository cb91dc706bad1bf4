"""An environment of its own for each vendor's implementation, from PyPI, below build/oracles."""

import re
import subprocess
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "build" / "oracles"


def environment(name, requirement):
    """The Python of an environment that holds the requirement at its pinned version; made where it is not there.

    Args:
        name: of the folder.
        requirement: `package==version`, with or without extras.
    """
    package, version = re.fullmatch(r"([\w.-]+)(?:\[[\w,]*\])?==([\w.]+)", requirement).groups()
    python = FOLDER / name / "bin" / "python"
    if not _holds(python, package, version):
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run(["uv", "venv", "--clear", "--python", "3.11", FOLDER / name], check=True)
        subprocess.run(["uv", "pip", "install", "--python", python, requirement], check=True)
    return python


def _holds(python, package, version):
    if not python.exists():
        return False
    code = f"from importlib.metadata import version; print(version({package!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return done.stdout.strip() == version
