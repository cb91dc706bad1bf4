"""What `infer` was asked to do, and what its tasks share: the pipeline's runtime, and the text to align or to speak."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from commands.output_options import OutputOptions
from commands.voice import info
from speech_coreml.model import OF_A_CALL, SpeechModel
from toolkit.bundle.bundle import open_bundle
from toolkit.component import Runtime
from toolkit.compute_units import UnitsChoice
from toolkit.errors import ToolkitError
from toolkit.model import ModelInfo
from toolkit.runtimes.coreml import CoremlRuntime
from toolkit.runtimes.open import RuntimeChoice, open_runtime

STDIN = "-"


@dataclass(frozen=True)
class InferRequest:
    """What `infer` was asked to do.

    Attributes:
        audio: files, folders, or `-` for standard input.
        model: the family.
        bundle: folder; None is the model's demo bundle.
        runtime: its name, or `auto`.
        output: where to write, and in which formats.
        options: the model's own options, resolved.
        given: names of those options that were given on the command line.
        units: compute units that the run asked for, on Core ML.
        track: audio track to read, from 1; None is the file's own choice.
    """

    audio: list[str]
    model: ModelInfo
    bundle: Path | None
    runtime: RuntimeChoice
    output: OutputOptions
    options: dict[str, Any]
    given: frozenset[str]
    units: UnitsChoice
    track: int | None = None

    def open(self) -> SpeechModel:
        """The model, ready to work."""
        bundle = open_bundle(self.bundle or _demo_bundle(self.model))
        runtime = open_runtime(self.runtime, bundle, self.model, units=self.units)
        own = {name: value for name, value in self.options.items() if name not in OF_A_CALL[self.model.task]}
        return SpeechModel(self.model, bundle, runtime, own)

    def report_loads(self, runtime: Runtime) -> None:
        """One line on stderr for what Core ML took to load, which is no part of the speed reported."""
        if isinstance(runtime, CoremlRuntime) and (line := runtime.load_summary()):
            info(line)

    def text(self, what: str) -> str:
        """The text of --text or --text-file.

        Args:
            what: what the text is, for messages.

        Raises:
            typer.BadParameter: neither or both options were given.
            ToolkitError: the text is empty, or its file cannot be read.
        """
        given = self.given & {"text", "text_file"}
        if len(given) != 1:
            count = "both were given" if given else "neither was given"
            raise typer.BadParameter(f"give {what} with one of --text and --text-file; {count}")
        file = None if "text" in given else self.options["text_file"]
        text = self.options["text"] if file is None else _read_text(file)
        if not text.strip():
            shown = "--text" if file is None else _name(file)
            raise ToolkitError(f"{shown} {'has no words' if text else 'is empty'}", f"Give {what}.")
        if not _is_unicode(text):
            raise ToolkitError("--text is not UTF-8 text", "Save it as UTF-8 in a file, and give --text-file.")
        return str(text.strip())


def _demo_bundle(model: ModelInfo) -> Path:
    # Converting brings torch and transformers, which a bundle of one's own does not need.
    from commands.demo import demo_bundle

    return demo_bundle(model)


def _read_text(file: str) -> str:
    if not file:
        raise ToolkitError("--text-file has an empty path", "Give its path, or - for standard input.")
    try:
        content = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ToolkitError(
            f"--text-file {file} cannot be read: {error.strerror or error}", "Check the path and its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise ToolkitError(f"{_name(file)} is not UTF-8 text (byte {error.start})", "Save it as UTF-8.") from error


def _is_unicode(text: str) -> bool:
    """Whether all of an argument could be decoded; what could not would be written nowhere."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(file: str) -> str:
    return "standard input" if file == STDIN else f"--text-file {file}"
