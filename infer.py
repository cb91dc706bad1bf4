"""`infer`: transcribe audio, align it with its text, or speak a text, with a bundle."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from commands.options import UnitsOption, with_model_options
from commands.terminal import new_app, run
from models import all_models
from toolkit.output.formats import Format

app = new_app()

EXAMPLES = """
Examples:

    infer demo/clips/ps_cards_001.wav

    infer talk.m4a --bundle build/parakeet --format srt --output talk.srt

    infer clip.wav --model qwen3-forced-aligner --text "Go forward ten meters." --format textgrid

    infer --model pocket-tts --text "Go forward ten meters." --output out.wav
"""


def main() -> None:
    """Entry point of the `infer` script."""
    run(app)


def infer(
    audio: Annotated[
        list[str] | None,
        typer.Argument(
            help="Audio files (any format, rate or length), or - for stdin. Omit for speech synthesis.",
            metavar="AUDIO",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model (default: the bundle's, or parakeet-tdt).", metavar="MODEL")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Folder written by `convert`, or hub:OWNER/NAME[@REVISION] (default: the model's demo bundle)."
        ),
    ] = None,
    runtime: Annotated[
        Literal["auto", "coreml", "portable", "eager"],
        typer.Option(help="Runtime for the packages; auto means coreml on macOS, portable elsewhere."),
    ] = "auto",
    compute_units: UnitsOption = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="Output format; textgrid is Praat's (default: txt).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Output file; .wav or .flac for speech synthesis (default: stdout).")
    ] = None,
    track: Annotated[
        int | None,
        typer.Option(help="Audio track to read, from 1 (default: the file's default track, or the first).", min=1),
    ] = None,
    *,
    extra: dict[str, Any],
) -> None:
    """Transcribe audio, align audio with its text, or speak a text.

    JSON is one object for one file, and an array of objects with a `file` key for several files. The other formats
    follow each other in the order of the files. Words have times where the model gives them.

    Speech is written to a file. With --stream it is written while it is made: to a growing WAV file, or to stdout as
    raw PCM (signed 16 bits, little endian, mono).
    """
    from commands.inference import run_inference

    run_inference(audio or [], model, bundle, runtime, form, output, compute_units, track, extra)


app.command(epilog=EXAMPLES)(with_model_options(infer, "infer", all_models().values()))


if __name__ == "__main__":
    main()
