"""`compare`: compare a bundle with its PyTorch model, stage by stage, and name the first stage that fails."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from commands.options import UnitsOption, with_model_options
from commands.terminal import new_app, run
from commands.version import VersionOption
from models import all_models

app = new_app()

EXAMPLES = """
Examples:

    compare --num-files 3

    compare parakeet-tdt --bundle build/parakeet --dataset clips/ --report parity.html

    compare parakeet-tdt --bundle build/parakeet --layers encoder
"""


def main() -> None:
    """Entry point of the `compare` script."""
    run(app, prints=True)


def compare(
    model: Annotated[str | None, typer.Argument(help="Model (default: all models).", metavar="MODEL")] = None,
    num_files: Annotated[
        int | None, typer.Option(min=1, help="Number of clips, from the start of the data set (default: all).")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Folder written by `convert`, or hub:OWNER/NAME[@REVISION] (default: the model's demo bundle)."
        ),
    ] = None,
    dataset: Annotated[
        str,
        typer.Option(
            help="demo, librispeech or fleurs:LANGUAGE (streamed; fleurs:all is every language), "
            "or a folder: audio beside .txt, or a .jsonl."
        ),
    ] = "demo",
    runtime: Annotated[
        Literal["auto", "coreml", "portable", "eager"],
        typer.Option(help="Runtime to test; auto means coreml on macOS, portable elsewhere."),
    ] = "auto",
    compute_units: UnitsOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print every table, not only one screen.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (schema: parity/report/json_form.py).")] = False,
    report: Annotated[Path | None, typer.Option(help="Write a report to this .html or .md file.")] = None,
    blame: Annotated[
        bool, typer.Option("--blame", help="Also measure each step's share of the error, from reference to task.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option(help="Write the inputs and outputs of each component to this .safetensors file.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Replay a file written by --save (on another machine or earlier) as the device stage."),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Instead of the ladder: find the first op whose error is out of bounds. "
            "COMPONENT, COMPONENT:FUNCTION, or all.",
            metavar="COMPONENT[:FUNCTION]",
        ),
    ] = None,
    ranges: Annotated[
        bool,
        typer.Option(
            "--ranges", help="Instead of the ladder: the magnitude of every value, and what float16 cannot represent."
        ),
    ] = False,
    version: VersionOption = False,
    *,
    extra: dict[str, Any],
) -> None:
    """Compare a bundle with its PyTorch model: features, wrappers, packages, device, decode, task.

    Exits with 1 when a gate fails, and names the first stage that fails.
    """
    from commands.comparison import CompareRequest, chosen_models, options_of, run_comparison

    models = chosen_models(model, bundle)
    options = options_of(models, extra, asked=model is not None)
    request = CompareRequest(
        models,
        bundle,
        dataset,
        num_files,
        runtime,
        options,
        as_json,
        verbose,
        report,
        blame,
        save,
        against,
        compute_units,
    )
    run_comparison(request, layers, ranges=ranges, given=extra)


app.command(epilog=EXAMPLES)(with_model_options(compare, "compare", all_models().values()))


if __name__ == "__main__":
    main()
