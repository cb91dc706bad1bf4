"""`compare`: hold a bundle against its PyTorch model, stage by stage, and name the first stage to blame."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from models import all_models, find_model
from toolkit.cli import demo_bundle, progress, run, step_reporter
from toolkit.model import ModelInfo
from toolkit.model_options import resolve_options, with_model_options

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

GATE_FAILED = 1


def main() -> None:
    """Entry point of the `compare` script."""
    run(app)


def compare(
    model: Annotated[str | None, typer.Argument(help="Model.  [default: all of them]", metavar="[MODEL]")] = None,
    num_files: Annotated[
        int | None, typer.Option(min=1, help="Clips to run, from the start of the data set.  [default: all]")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder that `convert` wrote.  [default: the demo bundle, made if needed]")
    ] = None,
    dataset: Annotated[
        str,
        typer.Option(
            help="demo, librispeech or fleurs:LANGUAGE (streamed; all is every language), "
            "or a folder: audio beside .txt, or a .jsonl."
        ),
    ] = "demo",
    runtime: Annotated[
        Literal["auto", "coreml", "portable", "eager"],
        typer.Option(help="What decodes; auto is coreml on macOS, portable elsewhere."),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (schema: toolkit/parity/report.py).")] = False,
    report: Annotated[Path | None, typer.Option(help="Write a report: out.html, or out.md.")] = None,
    blame: Annotated[
        bool, typer.Option("--blame", help="Walk from reference to task: each step's share of the error.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option(help="Write each component's inputs and outputs to this .safetensors file.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="Replay such a file, of another machine or day, in the stage device.")
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help="Only this: name the first op out of bounds of a component's package; all is every one.",
            metavar="COMPONENT[:FUNCTION]",
        ),
    ] = None,
    ranges: Annotated[
        bool, typer.Option("--ranges", help="Only this: the magnitude of every value, and what float16 cannot hold.")
    ] = False,
    *,
    extra: dict[str, Any],
) -> None:
    """Compare a bundle with its PyTorch model: features, wrappers, packages, device, decode, task.

    Exits with 1 when a gate fails, and names the first stage to blame.
    """
    from toolkit.output import write_text
    from toolkit.parity import report as reports
    from toolkit.parity.ladder import passed

    models = _models(model, bundle)
    if layers or ranges:
        return _look_inside(models, bundle, dataset, num_files, layers, ranges, as_json)
    options = _options(models, extra, asked=model is not None)
    _check_modes(models, runtime, blame, save, against)
    if report:
        reports.check_report(report)
    exhibits = reports.exhibits_wanted(report)
    modes = {"exhibits": exhibits, "save": save, "against": against}
    results = [_result(m, bundle, runtime, dataset, num_files, options[m.id], modes, blame) for m in models]
    if as_json:
        typer.echo(reports.json_from_results(results))
    else:
        reports.print_results(results)
    if report:
        write_text(report, reports.report_text(report, results))
    if not passed(results):
        raise typer.Exit(GATE_FAILED)


def _look_inside(
    models: list[ModelInfo],
    folder: Path | None,
    dataset: str,
    num_files: int | None,
    layers: str | None,
    ranges: bool,
    as_json: bool,
) -> None:
    """The first op out of bounds, and what float16 cannot hold; exits with 1 where an op is."""
    from toolkit.bundle.bundle import open_bundle
    from toolkit.parity.inside.look import json_from_insides, look_inside
    from toolkit.parity.inside.tables import print_insides
    from toolkit.parity.packages import CLIPS_EXERCISED

    found = []
    with progress() as bar:
        for model in models:
            bundle = open_bundle(folder or demo_bundle(model))
            clips = _clips(model, bundle.manifest.host["sample_rate"], dataset, num_files or CLIPS_EXERCISED, bar)
            found.append(look_inside(model, bundle, list(clips), layers, ranges))
    if as_json:
        typer.echo(json_from_insides(found))
    else:
        print_insides(found)
    if not all(one.passed for one in found):
        raise typer.Exit(GATE_FAILED)


def _models(name: str | None, bundle: Path | None) -> list[ModelInfo]:
    """The model asked for, that of the bundle, or all; a bundle must be of the model asked for."""
    asked = find_model(name) if name else None
    if bundle is None:
        return [asked] if asked else list(all_models().values())
    from toolkit.bundle.bundle import read_manifest

    found = find_model(read_manifest(bundle).model)
    if asked not in (None, found):
        raise typer.BadParameter(f"{bundle} is a bundle of {found.id}, not of {name}")
    return [found]


def _options(models: list[ModelInfo], given: dict[str, Any], *, asked: bool) -> dict[str, dict[str, Any]]:
    """Each model's options; where all models run, an option goes to those that have it."""
    if asked:
        return {m.id: resolve_options(m, "compare", given) for m in models}
    known = {m.id: {option.name for option in m.options.get("compare", ())} for m in models}
    return {m.id: resolve_options(m, "compare", {k: v for k, v in given.items() if k in known[m.id]}) for m in models}


def _check_modes(models: list[ModelInfo], runtime: str, blame: bool, save: Path | None, against: Path | None) -> None:
    """Refuse what does not go together, before any work is done."""
    from toolkit.output import check_output

    if blame and runtime == "eager":
        raise typer.BadParameter("--blame runs the packages too: leave --runtime eager out")
    if (save or against) and len(models) != 1:
        raise typer.BadParameter("a capture is of one model: name it")
    if save:
        check_output(save)


def _result(
    model: ModelInfo,
    folder: Path | None,
    runtime: Any,
    dataset: str,
    num_files: int | None,
    options: dict[str, Any],
    modes: dict[str, Any],
    blame: bool,
) -> Any:
    from toolkit.bundle.bundle import open_bundle
    from toolkit.parity.engine import open_subject, run_ladder

    folder = folder or demo_bundle(model)
    opened = open_bundle(folder)
    against = _capture(modes["against"], opened)
    with progress() as bar:

        def clips() -> Iterator[Any]:
            return _clips(model, opened.manifest.host["sample_rate"], dataset, num_files, bar)

        subject = open_subject(model, opened, runtime, clips(), options)
        about = {
            "bundle": str(folder),
            "checkpoint": opened.manifest.checkpoint.id,
            "precision": "/".join(sorted(set(subject.precision.values()))),
            "target": opened.manifest.target,
            "runtime": subject.runtime.name,
            "dataset": dataset,
        }
        result = run_ladder(subject, about, **modes | {"against": against})
        if not blame:
            return result
        from toolkit.parity.blame import walk_of_bundle

        reporter = step_reporter(bar, f"convert {model.id}")
        walk = walk_of_bundle(model, opened, subject.runtime.name, clips, options, result, reporter)
        return walk.added_to(result)


def _capture(file: Path | None, bundle: Any) -> Any:
    """The capture to replay, if it is one of this bundle's kind."""
    if file is None:
        return None
    from toolkit.parity.capture import check_capture, read_capture

    capture = read_capture(file)
    check_capture(capture, bundle)
    return capture


def _clips(model: ModelInfo, rate: int, dataset: str, num_files: int | None, bar: Any) -> Iterator[Any]:
    from toolkit.corpora.open import open_corpus
    from toolkit.parity.subject import Clip

    task = bar.add_task(f"compare {model.id}", total=num_files)
    for example in open_corpus(dataset, num_files, model.demo_clips):
        bar.update(task, description=f"compare {model.id}: {example.id}")
        yield Clip.from_example(example, rate)
        bar.advance(task)


app.command()(with_model_options(compare, "compare", all_models().values()))


if __name__ == "__main__":
    main()
