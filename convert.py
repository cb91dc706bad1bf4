"""`convert`: turn a checkpoint into a bundle of Core ML packages."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from commands.options import resolve_options, with_model_options
from commands.terminal import print_json, progress, run, step_reporter
from models import all_models
from toolkit.model import ModelInfo

app = typer.Typer(
    help="Convert speech models to Core ML packages.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point of the `convert` script."""
    run(app)


@app.command("list")
def list_models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models that can be converted."""
    rows = [
        {"model": m.id, "aliases": m.aliases, "task": m.task, "checkpoint": m.default_checkpoint, "summary": m.summary}
        for m in all_models().values()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['model']:24}{row['task']:16}{row['checkpoint']}\n{'':24}{row['summary']}")


@app.command()
def inspect(
    bundle: Annotated[Path, typer.Argument(help="Folder that `convert` wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is in a bundle: components, inputs and outputs, ops, sizes, precision as found, parity."""
    from commands.describe import describe_bundle, text_from_description

    description = describe_bundle(bundle)
    if as_json:
        print_json(description)
    else:
        typer.echo(text_from_description(description))


def _model_command(model: ModelInfo) -> Callable[..., None]:
    def command(
        checkpoint: Annotated[
            str, typer.Option(help="Hub id, folder in the hub's layout, or demo.")
        ] = model.default_checkpoint,
        revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None,
        output: Annotated[
            Path | None, typer.Option(help="Folder to write.  [default: build/<model>/<checkpoint>]")
        ] = None,
        only: Annotated[list[str] | None, typer.Option(help="Convert this component only; repeatable.")] = None,
        precision: Annotated[Literal["fp16", "fp32"], typer.Option(help="What the packages compute in.")] = "fp16",
        compress: Annotated[
            Literal["none", "int8", "palette4"],
            typer.Option(help="Store weights in fewer bits: int8 by channel, or 4-bit palettes (iOS18/macOS15)."),
        ] = "none",
        target: Annotated[
            Literal["iOS17", "iOS18", "macOS14", "macOS15"],
            typer.Option(help="Oldest system; before iOS18/macOS15 each audio length is a package of its own."),
        ] = "iOS18",
        force: Annotated[bool, typer.Option("--force", help="Convert again what is already there.")] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, write nothing.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        *,
        extra: dict[str, Any],
    ) -> None:
        from commands.conversion import ConvertRequest, prepare

        request = ConvertRequest(
            model=model,
            checkpoint=checkpoint,
            revision=revision,
            output=output,
            only=tuple(only or ()),
            precision=precision,
            compression=compress,
            target=target,
            force=force,
            options=resolve_options(model, "convert", extra),
        )
        prepared = prepare(request)
        if dry_run:
            _show_plan(prepared, as_json)
        else:
            _convert(prepared, as_json)

    command.__doc__ = f"Convert {model.id}: {model.summary}."
    return with_model_options(command, "convert", [model])


def _show_plan(prepared: Any, as_json: bool) -> None:
    from commands.describe import describe_plan, text_from_description

    description = describe_plan(prepared)
    if as_json:
        print_json(description)
    else:
        typer.echo(text_from_description(description))


def _convert(prepared: Any, as_json: bool) -> None:
    from commands.conversion import convert
    from commands.describe import describe_bundle, text_from_description

    with progress() as bar:
        result = convert(prepared, step_reporter(bar, f"convert {prepared.request.model.id}"))
    description = describe_bundle(result.bundle.path) | {"converted": result.converted, "kept": result.kept}
    if as_json:
        print_json(description)
    else:
        typer.echo(text_from_description(description))
    if not result.passed:
        typer.echo(
            "error: a package is out of its gate (marked FAILED above); see docs/debugging-accuracy.md", err=True
        )
        raise typer.Exit(1)


for _model in all_models().values():
    app.command(_model.id)(_model_command(_model))
    for _alias in _model.aliases:
        app.command(_alias, hidden=True)(_model_command(_model))


if __name__ == "__main__":
    main()
