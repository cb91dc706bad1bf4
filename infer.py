"""`infer`: transcribe audio with a bundle."""

import time
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from models import all_models, find_model
from toolkit.cli import demo_bundle, progress, run, step_reporter
from toolkit.model import ModelInfo
from toolkit.model_options import resolve_options, with_model_options

DEFAULT_MODEL = "parakeet-tdt"
STDIN = "-"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def main() -> None:
    """Entry point of the `infer` script."""
    run(app)


def infer(
    audio: Annotated[
        list[str], typer.Argument(help="Audio files, any rate, channels and length; - is stdin.", metavar="AUDIO...")
    ],
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
    form: Annotated[Literal["txt", "json", "srt", "vtt"], typer.Option("--format", help="What to write.")] = "txt",
    output: Annotated[Path | None, typer.Option(help="File to write.  [default: stdout]")] = None,
    *,
    extra: dict[str, Any],
) -> None:
    """Transcribe audio: text, words and tokens with times.

    JSON is one object for one file, and an array of objects with a `file` key for several; the other formats follow
    each other in the order of the files.
    """
    from toolkit.audio.read import check_source
    from toolkit.decoding.formats import render
    from toolkit.output import check_output, write_text

    chosen = _model(model, bundle)
    options = resolve_options(chosen, "infer", extra)
    if audio.count(STDIN) > 1:
        raise typer.BadParameter("stdin (-) can be read once only")
    for source in audio:
        check_source(source)
    if output:
        check_output(output)
    text = render(_results(audio, chosen, bundle, runtime, options), form)
    if output:
        write_text(output, text)
    else:
        typer.echo(text, nl=False)


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


def _results(
    audio: list[str], model: ModelInfo, folder: Path | None, runtime_name: Any, options: dict[str, Any]
) -> list[Any]:
    from toolkit.bundle.bundle import open_bundle
    from toolkit.runtimes.open import open_runtime

    bundle = open_bundle(folder or demo_bundle(model))
    runtime = open_runtime(runtime_name, bundle, model)
    pipeline = model.module("pipeline").Pipeline(bundle, runtime, **options)
    return [_transcribe(source, pipeline, runtime.name, model.id) for source in audio]


def _transcribe(source: str, pipeline: Any, runtime: str, model: str) -> Any:
    from toolkit.audio.read import read_audio
    from toolkit.decoding.formats import Result
    from toolkit.errors import AudioError

    samples = read_audio(source, pipeline.sample_rate)
    with progress() as bar:
        report = step_reporter(bar, source)
        pipeline.load(len(samples))  # once a runtime; no part of the speed reported
        start = time.perf_counter()
        try:
            transcript = pipeline.transcribe(samples, lambda done, of: report("windows", done, of))
        except AudioError as error:
            raise AudioError(f"{source}: {error.message}", error.next_step) from error
        elapsed_s = time.perf_counter() - start
    return Result(source, transcript, transcript.duration_s / elapsed_s, runtime, model)


app.command()(with_model_options(infer, (o for m in all_models().values() for o in m.options.get("infer", ()))))


if __name__ == "__main__":
    main()
