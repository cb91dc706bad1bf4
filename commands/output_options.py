"""Where `infer` writes and in which formats: the options as given, and what they come to for a model that listens."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import typer

from commands.stdout import check_stdout
from toolkit.model import ModelInfo
from toolkit.output.cues import CueLimits
from toolkit.output.files import check_output
from toolkit.output.formats import CUE_FORMATS, FORMATS, ONE_FILE_FORMATS, WORD_TIME_FORMATS, Document, Format
from toolkit.output.sinks import STDIN, FolderSink, Sink, file_sink, output_names, stream_sink

ALL = "all"


@dataclass(frozen=True)
class OutputOptions:
    """The options as given.

    Attributes:
        form: of --format, comma-separated; None is the default.
        file: of --output; None is standard output.
        folder: of --output-dir.
        columns: of --max-line-width.
        lines: of --max-lines.
        words: of --max-words.
    """

    form: str | None = None
    file: Path | None = None
    folder: Path | None = None
    columns: int | None = None
    lines: int | None = None
    words: int | None = None

    @property
    def limited(self) -> list[str]:
        """The limits of subtitles that were given, as flags."""
        flags = {"--max-line-width": self.columns, "--max-lines": self.lines, "--max-words": self.words}
        return [flag for flag, value in flags.items() if value is not None]

    @property
    def for_transcripts(self) -> list[str]:
        """What was given that speech has no use for, as flags."""
        given = {"--format": self.form, "--output-dir": self.folder}
        return [flag for flag, value in given.items() if value is not None] + self.limited

    def limits(self) -> CueLimits:
        """The limits of subtitles."""
        default = CueLimits()
        return CueLimits(self.columns or default.columns, self.lines or default.lines, self.words)


@dataclass(frozen=True)
class Output:
    """Where the transcripts of some files go, checked.

    Attributes:
        sources: the files.
        forms: the formats.
        file: one file for all; None is standard output.
        folder: a folder of files instead.
        limits: of subtitles.
    """

    sources: list[str]
    forms: tuple[Format, ...]
    file: Path | None
    folder: FolderSink | None
    limits: CueLimits

    def sink(self) -> AbstractContextManager[Sink]:
        """What takes the outcomes, in the order of the sources."""
        if self.folder:
            return nullcontext(self.folder)
        document = Document(self.forms[0], self.limits, several=len(self.sources) > 1)
        return file_sink(self.file, document) if self.file else _stdout_sink(document)


@contextmanager
def _stdout_sink(document: Document) -> Iterator[Sink]:
    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    with stream_sink(document, write) as sink:
        yield sink


def checked_output(options: OutputOptions, sources: list[str], model: ModelInfo) -> Output:
    """What the options come to, before any work is done.

    Raises:
        typer.BadParameter: they do not go together, or not with the files or the model.
        OutputError: a file or the folder cannot be written, or stdout is closed.
    """
    forms = _formats(options.form or "txt", model)
    if options.limited and not set(forms) & set(CUE_FORMATS):
        raise typer.BadParameter(f"{options.limited[0]} is for --format {', '.join(CUE_FORMATS)}")
    if options.folder is not None:
        return _folder_output(options, options.folder, sources, forms)
    if len(forms) > 1:
        raise typer.BadParameter(f"--format {options.form} is {len(forms)} formats, which need --output-dir")
    if forms[0] in ONE_FILE_FORMATS and len(sources) > 1:
        raise typer.BadParameter(f"--format {forms[0]} is for one file; {len(sources)} were given: add --output-dir")
    if options.file is None:
        check_stdout()
    else:
        check_output(options.file)
        _check_apart(options.file, sources, "--output")
    return Output(sources, forms, options.file, None, options.limits())


def _folder_output(options: OutputOptions, folder: Path, sources: list[str], forms: tuple[Format, ...]) -> Output:
    if options.file is not None:
        raise typer.BadParameter("--output and --output-dir cannot be combined")
    sink = FolderSink(folder, output_names(sources), forms, options.limits())
    sink.check()
    for index in range(len(sources)):
        for form in forms:
            _check_apart(sink.path(index, form), sources, "--output-dir:")
    return Output(sources, forms, None, sink, options.limits())


def _formats(given: str, model: ModelInfo) -> tuple[Format, ...]:
    """The formats of a comma-separated list, each once; `all` is every one that the model gives."""
    names = [name.strip() for name in given.split(",")]
    if unknown := [name for name in names if name not in (*FORMATS, ALL)]:
        raise typer.BadParameter(f"--format is one or more of {', '.join(FORMATS)}, or {ALL}; not '{unknown[0]}'")
    missing = () if model.word_times else WORD_TIME_FORMATS
    if ALL in names:  # a line of JSON would say what the object says
        return tuple(form for form in FORMATS if form not in (*missing, "jsonl"))
    for form in missing:
        if form in names:
            there = ", ".join(f for f in FORMATS if f not in missing)
            raise typer.BadParameter(f"--format {form} needs word times, which {model.id} does not give: {there}")
    return tuple(cast(Format, name) for name in dict.fromkeys(names))


def _check_apart(path: Path, sources: list[str], option: str) -> None:
    if any(source != STDIN and path.resolve() == Path(source).resolve() for source in sources):
        raise typer.BadParameter(f"{option} {path} is one of the audio files and would replace it")
