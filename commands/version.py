"""`--version` of the three commands."""

import importlib.metadata
import platform
import sys
from typing import Annotated

import typer

from commands.terminal import print_text

PACKAGE = "speech-coreml"
# What decides results; read from the packages' own metadata, since importing torch takes seconds.
_BESIDE = ("torch", "coremltools", "transformers")


def version_text() -> str:
    """One line: this project, Python, the libraries that are installed, the machine."""
    parts = [f"{PACKAGE} {_version(PACKAGE) or 'not installed'}", f"Python {platform.python_version()}"]
    parts += [f"{name} {version}" for name in _BESIDE if (version := _version(name))]
    return ", ".join([*parts, f"{sys.platform} {platform.machine()}"])


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _print_version(asked: bool) -> None:
    if asked:
        print_text(version_text())
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the versions and exit."),
]
