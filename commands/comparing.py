"""`compare`: the ladder of one or all models, a screen on the terminal, and the report in a file."""

from collections.abc import Iterable, Iterator

import typer
from rich.progress import Progress

from commands.blaming import walk_of_bundle
from commands.compare_request import CompareRequest
from commands.demo import demo_bundle, demo_recogniser
from commands.terminal import GATE_FAILED, print_text, progress, step_reporter
from parity.ladder.capture import Capture, check_capture, check_capture_output, check_model, read_capture
from parity.ladder.engine import open_subject, run_ladder
from parity.ladder.ladder import LadderResult, passed
from parity.ladder.subject import Clip
from parity.report.files import check_report, exhibits_wanted, report_text
from parity.report.json_form import json_from_results
from parity.report.screen import Screen
from toolkit.bundle.bundle import open_bundle
from toolkit.corpora.example import Example
from toolkit.corpora.open import check_corpus, open_corpus
from toolkit.errors import Interrupted, NoDemo, ToolkitError
from toolkit.model import ModelInfo
from toolkit.output.files import write_text
from toolkit.runtimes.open import check_runtime, units_of_option


def compare_models(request: CompareRequest) -> None:
    """Run the ladder of every model and print each when it is done; an error in one model is that model's result.

    Raises:
        typer.BadParameter: options that do not go together.
        ToolkitError: the one model asked for cannot be compared.
        typer.Exit: a gate failed, or a model could not be compared; with the code of the worst.
    """
    capture = _checked(request)
    screen = None if request.as_json else Screen(verbose=request.verbose)
    results, code = list[LadderResult](), 0
    for model in request.models:
        result, model_code = _outcome(request, model, capture)
        results.append(result)
        code = max(code, model_code)
        if screen:
            screen.show(result)
    if screen:
        screen.finish(results)
    else:
        print_text(json_from_results(results))
    if request.report:
        write_text(request.report, report_text(request.report, results))
    if code or not passed(results):
        raise typer.Exit(code or GATE_FAILED)


def _outcome(request: CompareRequest, model: ModelInfo, capture: Capture | None) -> tuple[LadderResult, int]:
    """A model's ladder and its exit code; where several models run, an error becomes the result of its model."""
    try:
        result = _result(request, model, capture)
    except ToolkitError as error:
        if len(request.models) == 1 or isinstance(error, Interrupted):
            raise
        if isinstance(error, NoDemo):
            return LadderResult(model.id, skip=error.message), 0
        return LadderResult(model.id, error=str(error)), error.exit_code
    return result, 0 if result.passed else GATE_FAILED


def _checked(request: CompareRequest) -> Capture | None:
    """Refuse bad requests before any work is done; the capture to replay, if any."""
    if request.blame and request.runtime == "eager":
        raise typer.BadParameter("--blame runs the packages too: leave --runtime eager out")
    if (request.save or request.against) and len(request.models) != 1:
        raise typer.BadParameter("a capture belongs to one model: give MODEL")
    if request.report:
        check_report(request.report)
    check_corpus(request.dataset, request.num_files)
    check_runtime(request.runtime)
    units_of_option(request.compute_units)
    if request.save:
        check_capture_output(request.save)
    if not request.against:
        return None
    capture = read_capture(request.against)
    check_model(capture, request.models[0].id)
    return capture


def _result(request: CompareRequest, model: ModelInfo, capture: Capture | None) -> LadderResult:
    folder = request.bundle or demo_bundle(model)
    opened, options = open_bundle(folder), request.options[model.id]
    if capture:
        check_capture(capture, opened)
    with progress() as bar:

        def clips(*, quiet: bool = True) -> Iterator[Clip]:
            examples = open_corpus(request.dataset, request.num_files, model.demo_clips, quiet=quiet)
            return clips_of(examples, model, opened.manifest.host["sample_rate"], request.num_files, bar)

        subject = open_subject(
            model,
            opened,
            request.runtime,
            clips(quiet=False),
            options,
            demo_recogniser,
            units_of_option(request.compute_units),
        )
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
        reporter = step_reporter(bar, f"convert {model.id}")
        walk = walk_of_bundle(model, opened, subject.runtime.name, clips, options, result, reporter)
        return walk.added_to(result)


def clips_of(
    examples: Iterable[Example], model: ModelInfo, rate: int, num_files: int | None, bar: Progress
) -> Iterator[Clip]:
    """The clips of a corpus at a model's rate, each counted by a progress bar."""
    task = bar.add_task(f"compare {model.id}", total=num_files)
    for example in examples:
        bar.update(task, description=f"compare {model.id}: {example.id}")
        yield Clip.from_example(example, rate)
        bar.advance(task)
