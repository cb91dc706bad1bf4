"""`compare`: hold a bundle against its PyTorch model, stage by stage, and name the first stage to blame."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from commands.demo import demo_bundle
from commands.options import resolve_options, with_model_options
from commands.terminal import progress, run, step_reporter
from models import all_models, find_model
from toolkit.model import ModelInfo

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
            help="demo, librispeech or fleurs:LANGUAGE (streamed; fleurs:all is every language), "
            "or a folder: audio beside .txt, or a .jsonl."
        ),
    ] = "demo",
    runtime: Annotated[
        Literal["auto", "coreml", "portable", "eager"],
        typer.Option(help="What decodes; auto is coreml on macOS, portable elsewhere."),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (schema: parity/report/files.py).")] = False,
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
    models = _models(model, bundle)
    options = _options(models, extra, asked=model is not None)
    request = _Request(models, bundle, dataset, num_files, runtime, options, as_json, report, blame, save, against)
    if layers is not None or ranges:
        _check_inside(request, extra)
        _look_inside(request, layers, ranges)
    else:
        _climb(request)


@dataclass(frozen=True)
class _Request:
    """What was asked for, as it was given; a bundle that is None is each model's demo bundle."""

    models: list[ModelInfo]
    bundle: Path | None
    dataset: str
    num_files: int | None
    runtime: Any
    options: dict[str, dict[str, Any]]
    as_json: bool
    report: Path | None
    blame: bool
    save: Path | None
    against: Path | None


def _climb(request: _Request) -> None:
    """The ladder of every model; exits with 1 when a gate fails."""
    from parity.ladder.ladder import passed
    from parity.report import files as reports
    from toolkit.output.files import write_text

    capture = _checked(request)
    results = [_result(request, model, capture) for model in request.models]
    if request.as_json:
        typer.echo(reports.json_from_results(results))
    else:
        reports.print_results(results)
    if request.report:
        write_text(request.report, reports.report_text(request.report, results))
    if not passed(results):
        raise typer.Exit(GATE_FAILED)


def _checked(request: _Request) -> Any:
    """Refuse what cannot be, or does not go together, before any work is done; the capture to replay, if any."""
    from toolkit.corpora.open import check_corpus
    from toolkit.runtimes.open import check_runtime

    if request.blame and request.runtime == "eager":
        raise typer.BadParameter("--blame runs the packages too: leave --runtime eager out")
    if (request.save or request.against) and len(request.models) != 1:
        raise typer.BadParameter("a capture is of one model: name it")
    if request.report:
        from parity.report.files import check_report

        check_report(request.report)
    check_corpus(request.dataset, request.num_files)
    check_runtime(request.runtime)
    if request.save:
        from parity.ladder.capture import check_capture_output

        check_capture_output(request.save)
    if not request.against:
        return None
    from parity.ladder.capture import check_model, read_capture

    capture = read_capture(request.against)
    check_model(capture, request.models[0].id)
    return capture


def _check_inside(request: _Request, extra: dict[str, Any]) -> None:
    """Refuse what belongs to the ladder: the packages are run here op by op, on calls recorded from the wrappers."""
    from toolkit.corpora.open import check_corpus

    ladders = {"report": request.report, "blame": request.blame, "save": request.save, "against": request.against}
    given = [name for name, value in (ladders | extra).items() if value not in (None, False)]
    flags = [f"--{name.replace('_', '-')}" for name in given]
    if request.runtime not in ("auto", "portable"):
        flags.append(f"--runtime {request.runtime}")
    if flags:
        raise typer.BadParameter(f"--layers and --ranges run the packages alone: leave {', '.join(flags)} out")
    check_corpus(request.dataset, request.num_files)


def _look_inside(request: _Request, layers: str | None, ranges: bool) -> None:
    """The first op out of bounds, and what float16 cannot hold; exits with 1 where an op is."""
    models = _models_with(layers, request)
    from parity.ladder.packages import CLIPS_EXERCISED
    from parity.localise.command import check_functions, json_from_insides, look_inside
    from parity.localise.terminal import print_insides
    from toolkit.bundle.bundle import open_bundle
    from toolkit.corpora.open import open_corpus

    bundles = {model.id: open_bundle(request.bundle or demo_bundle(model)) for model in models}
    meant = check_functions(bundles, layers)
    found = []
    with progress() as bar:
        for model in (m for m in models if m.id in meant):
            bundle, num_files = bundles[model.id], request.num_files or CLIPS_EXERCISED
            examples = open_corpus(request.dataset, num_files, model.demo_clips)
            clips = _clips(examples, model, bundle.manifest.host["sample_rate"], num_files, bar)
            found.append(look_inside(model, bundle, list(clips), layers, ranges))
    if request.as_json:
        typer.echo(json_from_insides(found))
    else:
        print_insides(found)
    if not all(one.passed for one in found):
        raise typer.Exit(GATE_FAILED)


def _models_with(layers: str | None, request: _Request) -> list[ModelInfo]:
    """The models that have the component of --layers; all of them where it names none."""
    wanted = (layers if layers is not None else "all").partition(":")[0]
    if wanted == "all":
        return request.models
    held = {model.id: _components(model, request.bundle) for model in request.models}
    if not any(wanted in names for names in held.values()):
        there = "; ".join(f"{model} has {', '.join(names)}" for model, names in held.items())
        raise typer.BadParameter(f"no such component '{wanted}' for --layers: give all or one that is there; {there}")
    return [model for model in request.models if wanted in held[model.id]]


def _components(model: ModelInfo, folder: Path | None) -> tuple[str, ...]:
    """Those of a bundle; a demo bundle has all that the model declares."""
    if folder is None:
        return model.components
    from toolkit.bundle.bundle import read_manifest

    return tuple(component.name for component in read_manifest(folder).components)


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


def _result(request: _Request, model: ModelInfo, capture: Any) -> Any:
    from parity.ladder.engine import open_subject, run_ladder
    from parity.report.files import exhibits_wanted
    from toolkit.bundle.bundle import open_bundle
    from toolkit.corpora.open import open_corpus

    folder = request.bundle or demo_bundle(model)
    opened, options = open_bundle(folder), request.options[model.id]
    if capture:
        from parity.ladder.capture import check_capture

        check_capture(capture, opened)
    with progress() as bar:

        def clips(*, quiet: bool = True) -> Iterator[Any]:
            examples = open_corpus(request.dataset, request.num_files, model.demo_clips, quiet=quiet)
            return _clips(examples, model, opened.manifest.host["sample_rate"], request.num_files, bar)

        subject = open_subject(model, opened, request.runtime, clips(quiet=False), options)
        about = {
            "bundle": str(folder),
            "checkpoint": opened.manifest.checkpoint.id,
            "precision": "/".join(sorted(set(subject.precision.values()))),
            "target": opened.manifest.target,
            "runtime": subject.runtime.name,
            "dataset": request.dataset,
        }
        exhibits = exhibits_wanted(request.report)
        result = run_ladder(subject, about, exhibits=exhibits, save=request.save, against=capture)
        if not request.blame:
            return result
        from parity.ladder.blame import walk_of_bundle

        reporter = step_reporter(bar, f"convert {model.id}")
        walk = walk_of_bundle(model, opened, subject.runtime.name, clips, options, result, reporter)
        return walk.added_to(result)


def _clips(examples: Iterable[Any], model: ModelInfo, rate: int, num_files: int | None, bar: Any) -> Iterator[Any]:
    from parity.ladder.subject import Clip

    task = bar.add_task(f"compare {model.id}", total=num_files)
    for example in examples:
        bar.update(task, description=f"compare {model.id}: {example.id}")
        yield Clip.from_example(example, rate)
        bar.advance(task)


app.command()(with_model_options(compare, "compare", all_models().values()))


if __name__ == "__main__":
    main()
