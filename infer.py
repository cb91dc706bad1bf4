"""`infer`: transcribe audio, align it with its text, or speak a text, with a bundle."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from commands.options import UnitsOption, with_model_options
from commands.terminal import new_app, run, set_level
from commands.version import VersionOption
from models import all_models

app = new_app()

EXAMPLES = """
Examples:

    infer demo/clips/ps_cards_001.wav

    infer talk.m4a --bundle build/parakeet --format srt --output talk.srt

    infer recordings/ --format txt,json,srt --output-dir transcripts/

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
            help="Audio files (any format, rate or length), folders of them, or - for stdin. "
            "Omit for speech synthesis.",
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
        str | None,
        typer.Option(
            "--format",
            help="txt, json, jsonl, tsv, srt, vtt or textgrid (Praat's), comma-separated, or all; several need "
            "--output-dir (default: txt).",
            metavar="FORMAT,...",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Output file; .wav or .flac for speech synthesis (default: stdout).")
    ] = None,
    track: Annotated[
        int | None,
        typer.Option(help="Audio track to read, from 1 (default: the file's default track, or the first).", min=1),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder for one file per input and format; made if it does not exist.")
    ] = None,
    max_line_width: Annotated[
        int | None, typer.Option(min=1, help="Columns of a line of srt, vtt and tsv (default: 42).")
    ] = None,
    max_lines: Annotated[int | None, typer.Option(min=1, help="Lines of a subtitle (default: 2).")] = None,
    max_words: Annotated[int | None, typer.Option(min=1, help="Words of a subtitle (default: as many as fit).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but the result and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Also print the speed of each file.")] = False,
    version: VersionOption = False,
    *,
    extra: dict[str, Any],
) -> None:
    """Transcribe audio, align audio with its text, or speak a text.

    Each file's result is written when it is done. A file that fails is an error line, the others go on, and the exit
    code is that of the worst (docs/batches.md). JSON is one object for one file, and an array of objects with a `file`
    key for several files. The other formats follow each other in the order of the files. Words have times where the
    model gives them.

    Speech is written to a file. With --stream it is written while it is made: to a growing WAV file, or to stdout as
    raw PCM (signed 16 bits, little endian, mono).
    """
    from commands.inference import run_inference
    from commands.output_options import OutputOptions

    set_level(quiet=quiet, verbose=verbose)
    wanted = OutputOptions(form, output, output_dir, max_line_width, max_lines, max_words)
    run_inference(audio or [], model, bundle, runtime, wanted, compute_units, track, extra)


app.command(epilog=EXAMPLES)(with_model_options(infer, "infer", all_models().values()))


if __name__ == "__main__":
    main()
