"""`convert MODEL`: convert a checkpoint, or show the plan, and print the result."""

from pathlib import Path
from typing import Any

import typer

from commands.conversion import ConvertRequest, convert, prepare
from commands.describe import describe_bundle, describe_plan, text_from_description
from commands.terminal import GATE_FAILED, print_json, progress, step_reporter
from toolkit.lint.placement import placement_notes

__all__ = ["ConvertRequest", "convert_model", "inspect_bundle"]


def convert_model(request: ConvertRequest, *, dry_run: bool, as_json: bool) -> None:
    """Convert, or with `dry_run` only plan, and print a description.

    Raises:
        ToolkitError: the request cannot be carried out.
        typer.Exit: a package is out of its gate.
    """
    prepared = prepare(request)
    for note in prepared.plan.notes:
        typer.echo(f"note: {note}", err=True)
    if dry_run:
        _print(describe_plan(prepared), as_json)
        return
    with progress() as bar:
        result = convert(prepared, step_reporter(bar, f"convert {request.model.id}"))
    if not result.converted:
        typer.echo(f"note: {result.bundle.path} is whole and up to date; nothing was converted", err=True)
    for note in placement_notes(result.bundle.manifest, request.model):
        typer.echo(f"note: {note}", err=True)
    _print(describe_bundle(result.bundle.path) | {"converted": result.converted, "kept": result.kept}, as_json)
    if not result.passed:
        typer.echo("error: a package fails its gate (FAILED above); see docs/debugging-accuracy.md", err=True)
        raise typer.Exit(GATE_FAILED)


def inspect_bundle(bundle: Path, *, as_json: bool) -> None:
    """Print what is in a bundle.

    Raises:
        BundleError: it cannot be opened.
    """
    _print(describe_bundle(bundle), as_json)


def _print(description: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(description)
    else:
        typer.echo(text_from_description(description))
