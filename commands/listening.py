"""`infer` for models that listen: transcribe audio files, or align one with its text."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import typer
from typer.exceptions import TyperException

from commands.infer_request import STDIN, InferRequest
from commands.terminal import progress, step_reporter
from toolkit.audio.read import check_source, read_audio
from toolkit.contract import Aligner, Progress, Transcriber, aligner, transcriber
from toolkit.errors import AudioError
from toolkit.output.files import check_output, write_text
from toolkit.output.formats import ONE_FILE_FORMATS, WORD_TIME_FORMATS, Format, Result, render, zero_length_words
from toolkit.transcript import Transcript

_ITEMS_LISTED = 5

Call = Callable[[np.ndarray, Progress], Transcript]


def transcribe(request: InferRequest) -> None:
    """Write the transcript of each file."""
    form = _checked_form(request)
    bundle, runtime = request.open()
    pipeline = transcriber(request.model, bundle, runtime, request.options)
    results = [_result(source, request, pipeline, pipeline.transcribe, runtime.name) for source in request.audio]
    request.report_loads(runtime)
    for result in results:
        _report_cut(result)
    _write(request, render(results, form))


def align(request: InferRequest) -> None:
    """Write the times of the words of a text in one file; the model declares `text`, `text_file` and `language`."""
    form = _checked_form(request)
    options = dict(request.options)
    _, file, language = (options.pop(name) for name in ("text", "text_file", "language"))
    if len(request.audio) > 1:
        raise typer.BadParameter(f"{request.model.id} aligns one file with its text; {len(request.audio)} were given")
    if file == STDIN == request.audio[0]:
        raise typer.BadParameter("standard input (-) can be read only once: give AUDIO or --text-file another way")
    text = request.text("the words of the recording")
    bundle, runtime = request.open()
    pipeline = aligner(request.model, bundle, runtime, options)

    def call(samples: np.ndarray, on_progress: Progress) -> Transcript:
        return pipeline.align(samples, text, language or None, on_progress)

    result = _result(request.audio[0], request, pipeline, call, runtime.name)
    request.report_loads(runtime)
    _report_zero_length(result)
    _write(request, render([result], form))


def _checked_form(request: InferRequest) -> Format:
    """The format to write, once audio files, output and format fit each other."""
    audio, form = request.audio, request.form or "txt"
    if not audio:
        raise TyperException("Missing argument 'AUDIO...'")
    if audio.count(STDIN) > 1:
        raise typer.BadParameter("standard input (-) can be read only once")
    if form in ONE_FILE_FORMATS and len(audio) > 1:
        raise typer.BadParameter(f"--format {form} is for one file; {len(audio)} were given")
    if form in WORD_TIME_FORMATS and not request.model.word_times:
        raise typer.BadParameter(f"--format {form} needs word times, which {request.model.id} does not give: txt, json")
    for source in audio:
        check_source(source)
    if request.output:
        check_output(request.output)
        if any(source != STDIN and request.output.resolve() == Path(source).resolve() for source in audio):
            raise typer.BadParameter(f"--output {request.output} is one of the audio files and would replace it")
    return form


def _result(source: str, request: InferRequest, pipeline: Transcriber | Aligner, call: Call, runtime: str) -> Result:
    samples = read_audio(source, pipeline.sample_rate, track=request.track)
    with progress() as bar:
        report = step_reporter(bar, source)
        pipeline.load(len(samples))  # once a runtime; no part of the speed reported
        start = time.perf_counter()
        try:
            transcript = call(samples, lambda done, of: report("windows", done, of))
        except AudioError as error:
            raise AudioError(f"{source}: {error.message}", error.next_step) from error
        elapsed_s = time.perf_counter() - start
    speed = transcript.duration_s / elapsed_s
    return Result(source, transcript, speed, runtime, request.model.id, request.model.task)


def _write(request: InferRequest, text: str) -> None:
    if request.output:
        write_text(request.output, text)
    else:
        typer.echo(text, nl=False)


def _report_cut(result: Result) -> None:
    """One line on stderr for the pieces whose text ended at a limit instead of at the model's own end."""
    cut = [segment for segment in result.transcript.segments if segment.stop != "eos"]
    if cut:
        pieces = _listed([f"{s.start_s:.1f} to {s.end_s:.1f} s ({s.stop})" for s in cut])
        typer.echo(f"note: {result.file}: the text of {pieces} may be incomplete", err=True)


def _report_zero_length(result: Result) -> None:
    """One line on stderr for the words whose start is their end: the model found no time for them."""
    words = result.transcript.words
    indices = zero_length_words(words)
    if indices:
        listed = _listed([f"{words[i].text} ({words[i].start_s:.2f} s)" for i in indices])
        typer.echo(f"note: {len(indices)} of {len(words)} words have zero duration: {listed}", err=True)


def _listed(items: list[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(items) - _ITEMS_LISTED} more" if len(items) > _ITEMS_LISTED else ""
    return ", ".join(items[:_ITEMS_LISTED]) + more
