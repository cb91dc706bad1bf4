"""`convert MODEL`: convert a checkpoint, or show the plan, and print the result."""

from pathlib import Path
from typing import Any

import typer

from commands.conversion import ConvertRequest, convert, prepare
from commands.describe import describe_bundle, describe_plan, text_from_description
from commands.describe_package import describe_package, is_package, text_from_package
from commands.terminal import GATE_FAILED, complain, note, print_json, print_text, progress, step_reporter
from toolkit.lint.placement import placement_notes

__all__ = ["ConvertRequest", "convert_model", "inspect_path"]


def convert_model(request: ConvertRequest, *, dry_run: bool, as_json: bool) -> None:
    """Convert, or with `dry_run` only plan, and print a description.

    Raises:
        ToolkitError: the request cannot be carried out.
        typer.Exit: a package is out of its gate.
    """
    prepared = prepare(request)
    for text in prepared.plan.notes:
        note(text)
    if dry_run:
        _print(describe_plan(prepared), as_json)
        return
    with progress() as bar:
        result = convert(prepared, step_reporter(bar, f"convert {request.model.id}"))
    if not result.converted:
        note(f"{result.bundle.path} is whole and up to date; nothing was converted")
    for text in placement_notes(result.bundle.manifest, request.model):
        note(text)
    _print(describe_bundle(result.bundle.path) | {"converted": result.converted, "kept": result.kept}, as_json)
    if not result.passed:
        complain("a package fails its gate (FAILED above); see docs/debugging-accuracy.md")
        raise typer.Exit(GATE_FAILED)


def inspect_path(path: Path, *, as_json: bool) -> None:
    """Print what is in a bundle, a package or a compiled model.

    Raises:
        BundleError: it cannot be opened.
    """
    if not is_package(path):
        _print(describe_bundle(path), as_json)
    elif as_json:
        print_json(describe_package(path))
    else:
        print_text(text_from_package(describe_package(path)))


def _print(description: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(description)
    else:
        print_text(text_from_description(description))
