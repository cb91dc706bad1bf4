"""`infer` for models that listen: transcribe audio files, or align one with its text."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from typer.exceptions import TyperException

from commands.infer_request import STDIN, InferRequest
from commands.output_options import Output, checked_output
from commands.terminal import complain, note, progress, step_reporter
from commands.voice import detail
from toolkit.audio.folders import expand_sources
from toolkit.audio.read import check_source
from toolkit.batch import Listener
from toolkit.component import Runtime
from toolkit.contract import Progress
from toolkit.errors import ToolkitError
from toolkit.output.result import Failure, Result, zero_length_words

_ITEMS_LISTED = 5


def transcribe(request: InferRequest) -> None:
    """Write the transcript of each file."""
    output = _checked(request)
    model = request.open()
    _listen(request, output, model.listener(track=request.track, notes=note), model.runtime)


def align(request: InferRequest) -> None:
    """Write the times of the words of a text in one file; the model declares `text`, `text_file` and `language`."""
    output = _checked(request)
    if len(output.sources) > 1:
        raise typer.BadParameter(f"{request.model.id} aligns one file with its text; {len(output.sources)} were given")
    if request.options["text_file"] == STDIN == output.sources[0]:
        raise typer.BadParameter("standard input (-) can be read only once: give AUDIO or --text-file another way")
    text = request.text("the words of the recording")
    model = request.open()
    listener = model.listener(text, request.options["language"] or None, track=request.track, notes=note)
    _listen(request, output, listener, model.runtime)


def _checked(request: InferRequest) -> Output:
    """The files and where their results go, once audio files, output and format fit each other."""
    if not request.audio:
        raise TyperException("Missing argument 'AUDIO...'")
    if request.audio.count(STDIN) > 1:
        raise typer.BadParameter("standard input (-) can be read only once")
    sources = expand_sources(request.audio, note)
    output = checked_output(request.output, sources, request.model)
    if len(sources) == 1:
        check_source(sources[0])
    return output


def _listen(request: InferRequest, output: Output, listener: Listener, runtime: Runtime) -> None:
    """Write each file's result when it is done, and say what failed.

    Raises:
        ToolkitError: of the one file.
        typer.Exit: some of several files failed, with the code of the worst.
    """
    failures: list[Failure] = []
    with output.sink() as sink:
        for index, outcome in enumerate(listener.outcomes(output.sources, _watched)):
            if isinstance(outcome, Result) or len(output.sources) > 1:
                outcome = sink.add(index, outcome)
            if isinstance(outcome, Result):
                _report(outcome)
                continue
            if len(output.sources) == 1:
                raise outcome.error
            _report_failure(outcome)
            failures.append(outcome)
        if len(failures) == len(output.sources):
            _leave(failures, output)  # within the context: an --output stays as it was
    request.report_loads(runtime)
    _leave(failures, output)


def _leave(failures: list[Failure], output: Output) -> None:
    if failures:
        complain(f"{len(failures)} of {len(output.sources)} files failed")
        raise typer.Exit(max(failure.exit_code for failure in failures))


@contextmanager
def _watched(source: str) -> Iterator[Progress]:
    with progress() as bar:
        report = step_reporter(bar, source)
        yield lambda done, of: report("windows", done, of)


def _report(result: Result) -> None:
    """What the user should know of one file, on stderr."""
    for text in result.transcript.notes:
        note(f"{_shown(result.file)}: {text}")
    _report_cut(result)
    if result.task == "alignment":
        _report_zero_length(result)
    elif not result.transcript.text.strip():
        note(f"no speech was found in {_shown(result.file)}")
    duration_s = result.transcript.duration_s
    detail(f"{_shown(result.file)}: {duration_s:.2f} s of audio, RTFx {result.rtfx:.2f}, {result.runtime}")


def _report_failure(failure: Failure) -> None:
    if not isinstance(failure.error, ToolkitError):
        traceback.print_exception(failure.error)
    file, message = _shown(failure.file), failure.message
    complain(message if file in message else f"{file}: {message}")


def _shown(file: str) -> str:
    return "standard input" if file == STDIN else file


def _report_cut(result: Result) -> None:
    """One line on stderr for the pieces whose text ended at a limit instead of at the model's own end."""
    cut = [segment for segment in result.transcript.segments if segment.stop != "eos"]
    if cut:
        pieces = _listed([f"{s.start_s:.1f} to {s.end_s:.1f} s ({s.stop})" for s in cut])
        note(f"{result.file}: the text of {pieces} may be incomplete")


def _report_zero_length(result: Result) -> None:
    """One line on stderr for the words whose start is their end: the model found no time for them."""
    words = result.transcript.words
    indices = zero_length_words(words)
    if indices:
        listed = _listed([f"{words[i].text} ({words[i].start_s:.2f} s)" for i in indices])
        note(f"{len(indices)} of {len(words)} words have zero duration: {listed}")


def _listed(items: list[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(items) - _ITEMS_LISTED} more" if len(items) > _ITEMS_LISTED else ""
    return ", ".join(items[:_ITEMS_LISTED]) + more
