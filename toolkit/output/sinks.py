"""Where the results of a run go, each as soon as its file is done: one stream, one file, or a folder of files."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol

from toolkit.errors import OutputError, ToolkitError
from toolkit.mac_files import folded
from toolkit.output.cues import CueLimits
from toolkit.output.files import check_folder, check_output, disk_errors, replacing, write_text
from toolkit.output.formats import SUFFIXES, Document, Format, render
from toolkit.output.result import Failure, Outcome, Result

STDIN = "-"


class Sink(Protocol):
    """Takes what each file of a run ends with, in order."""

    def add(self, index: int, outcome: Outcome) -> Outcome:
        """Write one file's outcome.

        Args:
            index: of the file in the run.
            outcome: its result, or what prevented it.

        Returns:
            The outcome; a failure if the files of this one result cannot be written.

        Raises:
            OutputError: nothing can be written any more.
        """


class DocumentSink:
    """One document, written piece by piece.

    Args:
        document: its format.
        write: takes text.
    """

    def __init__(self, document: Document, write: Callable[[str], object]) -> None:
        self._document, self._write = document, write
        self.begun = False

    def add(self, index: int, outcome: Outcome) -> Outcome:
        """Write one file's piece."""
        self._write(self._document.piece(outcome))
        self.begun = True
        return outcome

    def end(self) -> None:
        """Write what comes after the last file."""
        self._write(self._document.end())


@contextmanager
def stream_sink(document: Document, write: Callable[[str], object]) -> Iterator[DocumentSink]:
    """A stream, such as standard output; if the run is interrupted, what was begun is still ended as it must be."""
    sink = DocumentSink(document, write)
    try:
        yield sink
    except BaseException:
        if sink.begun:
            sink.end()
        raise
    sink.end()


@contextmanager
def file_sink(path: Path, document: Document) -> Iterator[DocumentSink]:
    """One file that appears, whole, when the context ends well; what was there before stays when it does not.

    Raises:
        OutputError: the disk refuses it.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:

        def write(text: str) -> None:
            with disk_errors(path):
                file.write(text)
                file.flush()

        sink = DocumentSink(document, write)
        yield sink
        sink.end()


@dataclass(frozen=True)
class FolderSink:
    """A folder with one file per input and format, each written when its input is done.

    Attributes:
        folder: made when the first file is written.
        names: of the files without suffix, by index of the input.
        forms: the formats.
        limits: of subtitles and rows.
    """

    folder: Path
    names: Sequence[str]
    forms: Sequence[Format]
    limits: CueLimits

    def add(self, index: int, outcome: Outcome) -> Outcome:
        """Write one input's files; nothing for an input that failed."""
        if not isinstance(outcome, Result):
            return outcome
        try:
            with disk_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            for form in self.forms:
                write_text(self.path(index, form), render([outcome], form, self.limits))
        except ToolkitError as error:
            return Failure(outcome.file, error)
        return outcome

    def path(self, index: int, form: Format) -> Path:
        """The file of one input in one format."""
        return self.folder / f"{self.names[index]}{SUFFIXES[form]}"

    def check(self) -> None:
        """Refuse a folder that could not be written to, before any work is done.

        Raises:
            OutputError: it cannot be made, is read-only or no folder, or a folder stands where a file goes.
        """
        check_folder(self.folder)
        for path in (self.path(index, form) for index in range(len(self.names)) for form in self.forms):
            if self.folder.is_dir():
                check_output(path)


def output_names(sources: Sequence[str]) -> list[str]:
    """The names without suffix for the results of some files: `talk` for `talk.wav`, `stdin` for standard input.

    Files of one stem keep their suffix, so `talk.wav` and `talk.mp3` become `talk.wav` and `talk.mp3`.

    Raises:
        OutputError: two results would still have one name, on a volume that ignores case.
    """
    paths = [PurePath("stdin" if source == STDIN else source) for source in sources]
    count = Counter(folded(path.stem) for path in paths)
    names = [path.name if count[folded(path.stem)] > 1 else path.stem for path in paths]
    seen: dict[str, str] = {}
    for name, source in zip(names, sources, strict=True):
        if folded(name) in seen:
            both = f"{seen[folded(name)]} and {source}"
            raise OutputError(f"the results of {both} would have one name, {name}", "Give them in two runs.")
        seen[folded(name)] = source
    return names
