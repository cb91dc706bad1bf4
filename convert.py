"""`convert`: turn a checkpoint into a bundle of Core ML packages."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from commands.options import resolve_options, with_model_options
from commands.terminal import new_app, print_json, print_text, run
from commands.version import VersionOption
from models import all_models
from toolkit.model import ModelInfo

app = new_app()


def main() -> None:
    """Entry point of the `convert` script."""
    run(app, prints=True)


@app.callback()
def convert(version: VersionOption = False) -> None:
    """Convert speech models to Core ML packages."""


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
        print_text(f"{row['model']:24}{row['task']:16}{row['checkpoint']}\n{'':24}{row['summary']}")


@app.command(epilog="Example:  convert inspect build/parakeet-tdt/demo")
def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            help="Folder written by `convert`, hub:OWNER/NAME[@REVISION], an .mlpackage or an .mlmodelc.",
            metavar="PATH",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what is in a bundle: components, inputs and outputs, ops, sizes, precision as found, parity.

    Of a package or a compiled model that is in no bundle, its interface, ops and weights are shown.
    """
    from commands.convert_model import inspect_path

    inspect_path(path, as_json=as_json)


@app.command(epilog="Example:  convert plan build/parakeet-tdt/demo")
def plan(
    bundle: Annotated[Path, typer.Argument(help="Folder written by `convert`.", metavar="BUNDLE")],
    compute_units: Annotated[
        str,
        typer.Option(
            help="auto (each component's own), ALL, CPU_ONLY, CPU_AND_GPU or CPU_AND_NE, or COMPONENT=UNITS, "
            "comma-separated.",
            metavar="UNITS",
        ),
    ] = "auto",
    report: Annotated[Path | None, typer.Option(help="Also write the tables to this .html file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show where Core ML plans to run each op, beside the forecast of `lint` (macOS only)."""
    from commands.planning import plan_bundle

    plan_bundle(bundle, compute_units, as_json=as_json, report=report)


@app.command(epilog="Example:  convert bench build/parakeet-tdt/demo --runs 20")
def bench(
    bundle: Annotated[Path, typer.Argument(help="Folder written by `convert`.", metavar="BUNDLE")],
    compute_units: Annotated[
        str,
        typer.Option(
            help="Core ML only: every, or ALL, CPU_ONLY, CPU_AND_GPU, CPU_AND_NE, comma-separated.", metavar="UNITS"
        ),
    ] = "every",
    runs: Annotated[int, typer.Option(min=1, help="Calls measured of each function.")] = 20,
    report: Annotated[Path | None, typer.Option(help="Also write the tables to this .html file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how long each function takes to prepare, load and run here: on macOS by compute units."""
    from commands.benching import bench_bundle

    bench_bundle(bundle, compute_units, runs, as_json=as_json, report=report)


@app.command(epilog="Example:  convert publish build/parakeet-tdt/demo --repo OWNER/NAME --dry-run")
def publish(
    bundle: Annotated[Path, typer.Argument(help="Folder written by `convert`.", metavar="BUNDLE")],
    repo: Annotated[
        str, typer.Option(help="Repository on the hub; created if it does not exist.", metavar="OWNER/NAME")
    ],
    private: Annotated[bool, typer.Option("--private", help="Create a private repository.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the model card, list the files, send nothing.")
    ] = False,
    card: Annotated[
        Path | None, typer.Option(help="Write the model card to this file; in a dry run, instead of stdout.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Add the accuracy of the whole model from this file of `compare --json`.")
    ] = None,
    allow_failed: Annotated[
        bool, typer.Option("--allow-failed", help="Publish even if an output fails its gate; the card names it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Publish a bundle on the Hugging Face hub, with a model card made from its manifest.

    `infer --bundle hub:OWNER/NAME` then uses it on any machine. Needs a token that may write (`hf auth login`, or
    HF_TOKEN).
    """
    from commands.publishing import PublishRequest, publish_bundle

    publish_bundle(PublishRequest(bundle, repo, private, dry_run, card, results, allow_failed, as_json))


@app.command(epilog="Example:  convert lint build/parakeet-tdt/demo --chip M1")
def lint(
    path: Annotated[
        Path, typer.Argument(help="Folder written by `convert`, an .mlpackage or an .mlmodelc.", metavar="PATH")
    ],
    target: Annotated[
        Literal["macOS14", "macOS15", "macOS26", "macOS27"] | None,
        typer.Option(help="System whose limits count (default: the strictest)."),
    ] = None,
    chip: Annotated[
        Literal["M1", "M2", "M3", "M4", "M5"] | None,
        typer.Option(help="Chip whose limits count (default: the strictest)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Forecast what keeps ops or components off the Neural Engine, from the files alone (docs/lint.md).

    A forecast is no gate: the exit code is 0 whatever it finds, and 2 only if PATH cannot be read.
    """
    from commands.lint import lint_path

    lint_path(path, target, chip, as_json=as_json)


def _model_command(model: ModelInfo) -> Callable[..., None]:
    def command(
        checkpoint: Annotated[
            str, typer.Option(help="Hub id, folder, file, hf://OWNER/REPO/FILE, or demo (docs/checkpoints.md).")
        ] = model.default_checkpoint,
        revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub id.")] = None,
        output: Annotated[Path | None, typer.Option(help="Folder to write (default: build/MODEL/CHECKPOINT).")] = None,
        only: Annotated[list[str] | None, typer.Option(help="Convert only this component; repeatable.")] = None,
        precision: Annotated[Literal["fp16", "fp32"], typer.Option(help="Compute precision of the packages.")] = "fp16",
        compress: Annotated[
            Literal["none", "int8", "palette4"],
            typer.Option(help="Weight compression: int8 per channel, or 4-bit palettes (needs iOS18/macOS15)."),
        ] = "none",
        target: Annotated[
            Literal["iOS17", "iOS18", "macOS14", "macOS15"],
            typer.Option(
                help="Minimum deployment target; before iOS18/macOS15, each audio length becomes a separate package."
            ),
        ] = "iOS18",
        force: Annotated[bool, typer.Option("--force", help="Convert again even if the bundle is up to date.")] = False,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and write nothing.")] = False,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        *,
        extra: dict[str, Any],
    ) -> None:
        from commands.convert_model import ConvertRequest, convert_model

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
        convert_model(request, dry_run=dry_run, as_json=as_json)

    command.__doc__ = f"Convert {model.id}: {model.summary}."
    return with_model_options(command, "convert", [model])


for _model in all_models().values():
    _example = f"Example:  convert {_model.id} --checkpoint demo --output build/demo"
    for _name in (_model.id, *_model.aliases):
        app.command(_name, hidden=_name != _model.id, epilog=_example)(_model_command(_model))


if __name__ == "__main__":
    main()
