"""`infer`: transcribe audio, align it with its text, or speak a text, with a bundle."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.exceptions import TyperException

from commands.demo import demo_bundle
from commands.options import resolve_options, with_model_options
from commands.terminal import progress, run, step_reporter
from models import all_models, find_model
from toolkit.errors import AudioError, ToolkitError
from toolkit.model import ModelInfo, Task
from toolkit.output.formats import ONE_FILE_FORMATS, WORD_TIME_FORMATS, Format, Result, render, zero_length_words

if TYPE_CHECKING:
    import numpy as np

    from toolkit.transcript import Transcript

DEFAULT_MODEL = "parakeet-tdt"
STDIN = "-"
LISTED = 5
BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells report it

Progress = Callable[[int, int], None]
Call = Callable[[Any, "np.ndarray", Progress], "Transcript"]  # pipeline, samples, progress

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def main() -> None:
    """Entry point of the `infer` script."""
    run(app)


def infer(
    audio: Annotated[
        list[str] | None,
        typer.Argument(
            help="Audio files, any rate, channels and length; - is stdin. None for a model that speaks.",
            metavar="AUDIO",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help=f"Model.  [default: the bundle's, else {DEFAULT_MODEL}]", metavar="MODEL")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Folder that `convert` wrote.  [default: the demo bundle, made if needed]")
    ] = None,
    runtime: Annotated[
        Literal["auto", "coreml", "portable", "eager"],
        typer.Option(help="What runs the packages; auto is coreml on macOS, portable elsewhere."),
    ] = "auto",
    form: Annotated[
        Format | None, typer.Option("--format", help="What to write; textgrid is Praat's.  [default: txt]")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write; .wav or .flac for a model that speaks.  [default: stdout]")
    ] = None,
    *,
    extra: dict[str, Any],
) -> None:
    """Transcribe audio, align it with its text, or speak a text.

    Words have times, and tokens come with them where the model has them. JSON is one object for one file, and an array
    of objects with a `file` key for several; the other formats follow each other in the order of the files.

    Speech is written to a file, or with --stream as it is made: to a WAV that grows, or to stdout as raw PCM (signed
    16 bits, little endian, mono).
    """
    from toolkit.runtimes.open import check_runtime

    chosen = _model(model, bundle)
    options = resolve_options(chosen, "infer", extra)
    check_runtime(runtime)
    TASKS[chosen.task](_Request(audio or [], chosen, bundle, runtime, form, output, options, frozenset(extra)))


def _model(name: str | None, bundle: Path | None) -> ModelInfo:
    """The model asked for; it must be the bundle's."""
    asked = find_model(name) if name else None
    if bundle is None:
        return asked or find_model(DEFAULT_MODEL)
    from toolkit.bundle.bundle import read_manifest

    found = find_model(read_manifest(bundle).model)
    if asked not in (None, found):
        raise typer.BadParameter(f"{bundle} is a bundle of {found.id}, not of {name}")
    return found


@dataclass(frozen=True)
class _Request:
    """What a task is asked to do, as it was given; a bundle that is None is the demo's.

    Attributes:
        options: of the model, those that were not given as it declares them.
        given: names of those that were.
    """

    audio: list[str]
    model: ModelInfo
    bundle: Path | None
    runtime: Any
    form: Format | None
    output: Path | None
    options: dict[str, Any]
    given: frozenset[str]


def _transcribe(request: _Request) -> None:
    """Write what is said in each file."""
    form = _checked_form(request)
    results = _results(request, request.options, lambda pipeline, *args: pipeline.transcribe(*args))
    for result in results:
        _report_cut(result)
    _write(request, render(results, form))


def _align(request: _Request) -> None:
    """Write when each word of a text is said in the one file; the model declares `text`, `text_file`, `language`."""
    form = _checked_form(request)
    options = dict(request.options)
    _, file, language = (options.pop(name) for name in ("text", "text_file", "language"))
    if len(request.audio) > 1:
        raise typer.BadParameter(f"{request.model.id} aligns one file with its text, {len(request.audio)} are given")
    if file == STDIN == request.audio[0]:
        raise typer.BadParameter("stdin (-) can be read once only: give AUDIO or --text-file another way")
    text = _text(request, "the words that are said")
    (result,) = _results(
        request,
        options,
        lambda pipeline, samples, progress: pipeline.align(samples, text, language or None, progress),
    )
    _report_zero_length(result)
    _write(request, render([result], form))


def _speak(request: _Request) -> None:
    """Write the speech of a text; the model declares `text`, `text_file` and `stream`."""
    from commands.speaking import destination, speak

    if request.audio:
        raise typer.BadParameter(f"{request.model.id} speaks: it takes --text or --text-file, not AUDIO")
    if request.form:
        raise typer.BadParameter(f"{request.model.id} speaks: --format is for models that listen")
    options = dict(request.options)
    _, _, stream = (options.pop(name) for name in ("text", "text_file", "stream"))
    to = destination(request.output, stream)
    text = _text(request, "the words to say")
    pipeline, runtime = _pipeline(request, options)
    try:
        speech = speak(pipeline, text, to)
    except BrokenPipeError as error:  # who reads stdout has enough
        raise typer.Exit(BROKEN_PIPE) from error
    notes = list(pipeline.notes)
    if speech.clipped:
        notes.append(f"{speech.clipped} samples were too loud and are clipped")
    for line in [*(f"note: {note}" for note in notes), speech.summary(runtime)]:
        typer.echo(line, err=True)


# A task does what was asked for, and writes it.
TASKS: dict[Task, Callable[[_Request], None]] = {
    "transcription": _transcribe,
    "alignment": _align,
    "synthesis": _speak,
}


def _checked_form(request: _Request) -> Format:
    """The format to write, once the audio files, the output and it go together."""
    from toolkit.audio.read import check_source
    from toolkit.output.files import check_output

    audio, form = request.audio, request.form or "txt"
    if not audio:
        raise TyperException("Missing argument 'AUDIO...'")
    if audio.count(STDIN) > 1:
        raise typer.BadParameter("stdin (-) can be read once only")
    if form in ONE_FILE_FORMATS and len(audio) > 1:
        raise typer.BadParameter(f"--format {form} holds one file, {len(audio)} are given")
    if form in WORD_TIME_FORMATS and not request.model.word_times:
        raise typer.BadParameter(
            f"--format {form} needs the time of every word, {request.model.id} has txt and json only"
        )
    for source in audio:
        check_source(source)
    if request.output:
        check_output(request.output)
        if any(source != STDIN and request.output.resolve() == Path(source).resolve() for source in audio):
            raise typer.BadParameter(f"--output {request.output} is one of the audio files, which it would replace")
    return form


def _write(request: _Request, text: str) -> None:
    from toolkit.output.files import write_text

    if request.output:
        write_text(request.output, text)
    else:
        typer.echo(text, nl=False)


def _text(request: _Request, what: str) -> str:
    """The text of --text or --text-file, of which one must be there."""
    given = request.given & {"text", "text_file"}
    if len(given) != 1:
        count = "both are given" if given else "neither is given"
        raise typer.BadParameter(f"give {what} with one of --text and --text-file: {count}")
    file = None if "text" in given else request.options["text_file"]
    text = request.options["text"] if file is None else _read_text(file)
    if not text.strip():
        shown = "--text" if file is None else _shown(file)
        raise ToolkitError(f"{shown} {'holds no words' if text else 'is empty'}", f"Give {what}.")
    return text.strip()


def _read_text(file: str) -> str:
    if not file:
        raise ToolkitError("--text-file names no file", "Give its path, or - for standard input.")
    try:
        content = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ToolkitError(
            f"--text-file {file} cannot be read: {error.strerror or error}", "Check the path and its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise ToolkitError(f"{_shown(file)} is not UTF-8 text (byte {error.start})", "Save it as UTF-8.") from error


def _shown(file: str) -> str:
    return "standard input" if file == STDIN else f"--text-file {file}"


def _report_cut(result: Result) -> None:
    """One line on stderr for the pieces whose text a limit ended, and not the model."""
    cut = [segment for segment in result.transcript.segments if segment.stop != "eos"]
    if cut:
        pieces = _listed([f"{s.start_s:.1f} to {s.end_s:.1f} s ({s.stop})" for s in cut])
        typer.echo(f"note: {result.file}: the text of {pieces} may be cut", err=True)


def _report_zero_length(result: Result) -> None:
    """One line on stderr for the words whose start is their end: the model found no time for them."""
    words = result.transcript.words
    indices = zero_length_words(words)
    if indices:
        listed = _listed([f"{words[i].text} ({words[i].start_s:.2f} s)" for i in indices])
        typer.echo(f"note: {len(indices)} of {len(words)} words have no length: {listed}", err=True)


def _listed(items: list[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more


def _results(request: _Request, options: dict[str, Any], call: Call) -> list[Result]:
    pipeline, runtime = _pipeline(request, options)
    return [_result(source, pipeline, call, runtime, request.model) for source in request.audio]


def _pipeline(request: _Request, options: dict[str, Any]) -> tuple[Any, str]:
    """The model's pipeline, and the name of the runtime below it."""
    from toolkit.bundle.bundle import open_bundle
    from toolkit.runtimes.open import open_runtime

    bundle = open_bundle(request.bundle or demo_bundle(request.model))
    runtime = open_runtime(request.runtime, bundle, request.model)
    return request.model.module("pipeline").Pipeline(bundle, runtime, **options), runtime.name


def _result(source: str, pipeline: Any, call: Call, runtime: str, model: ModelInfo) -> Result:
    from toolkit.audio.read import read_audio

    samples = read_audio(source, pipeline.sample_rate)
    with progress() as bar:
        report = step_reporter(bar, source)
        pipeline.load(len(samples))  # once a runtime; no part of the speed reported
        start = time.perf_counter()
        try:
            transcript = call(pipeline, samples, lambda done, of: report("windows", done, of))
        except AudioError as error:
            raise AudioError(f"{source}: {error.message}", error.next_step) from error
        elapsed_s = time.perf_counter() - start
    return Result(source, transcript, transcript.duration_s / elapsed_s, runtime, model.id, model.task)


app.command()(with_model_options(infer, "infer", all_models().values()))


if __name__ == "__main__":
    main()
