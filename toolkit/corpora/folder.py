"""A folder of your own: a manifest .jsonl, or audio beside .txt files of the same stem."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.corpora.example import Example, WordTime
from toolkit.errors import ToolkitError
from toolkit.mac_files import is_clutter

# What lies beside a recording and its transcript: other forms of the transcript, notes, tables, pictures.
_NO_AUDIO = frozenset(
    {".txt", ".json", ".jsonl", ".srt", ".vtt", ".textgrid", ".lab", ".md", ".csv", ".tsv", ".png", ".jpg", ".pdf"}
)
_NEXT_STEP = "Give a folder with audio beside .txt files of the same stem, or with a manifest.jsonl."
_PATH_KEYS = ("file", "audio", "audio_filepath", "path")
_TEXT_KEYS = ("text", "transcript", "sentence")


def folder_examples(folder: Path) -> Iterator[Example]:
    """The utterances of a folder in a stable order: the manifest's, or that of the file names.

    Args:
        folder: holds `manifest.jsonl` (or one other .jsonl), or audio beside .txt; or is itself a .jsonl file. A line
            of a manifest has the audio's path relative to it (`file`, `audio`, `audio_filepath` or `path`), its
            transcript (`text`, `transcript` or `sentence`) and, if known, `words` as [text, start_s, end_s] and
            `language` as a code.

    Raises:
        ToolkitError: there is no such folder, or nothing in it that can be used.
    """
    if folder.is_file() and folder.suffix == ".jsonl":
        return _from_manifest(folder)
    if not folder.is_dir():
        raise ToolkitError(f"no folder {folder}", _NEXT_STEP)
    manifests = sorted(file for file in folder.glob("*.jsonl") if not is_clutter(Path(file.name)))
    if len(manifests) > 1 and folder / "manifest.jsonl" not in manifests:
        raise ToolkitError(
            f"{folder} contains several .jsonl files", "Name one of them manifest.jsonl, or give the file."
        )
    if manifests:
        return _from_manifest(folder / "manifest.jsonl" if len(manifests) > 1 else manifests[0])
    return iter(_pairs(folder))


def _pairs(folder: Path) -> list[Example]:
    files = (file for file in folder.iterdir() if not is_clutter(Path(file.name)))
    audio = sorted(file for file in files if file.suffix.lower() not in _NO_AUDIO and not file.name.startswith("."))
    found = [
        (file, file.with_suffix(".txt")) for file in audio if file.is_file() and file.with_suffix(".txt").is_file()
    ]
    if not found:
        raise ToolkitError(f"{folder} contains no audio file with a .txt beside it", _NEXT_STEP)
    return [Example(file.stem, _text(text), file) for file, text in found]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ToolkitError(f"{file} cannot be read as UTF-8 text", "Save the transcript as UTF-8.") from error


def _from_manifest(file: Path) -> Iterator[Example]:
    lines = _text(file).splitlines()
    if not any(line.strip() for line in lines):
        raise ToolkitError(f"{file} is empty", _NEXT_STEP)
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _from_line(line, file, number)


def _from_line(line: str, file: Path, number: int) -> Example:
    try:
        entry = json.loads(line)
        path = file.parent / next(entry[key] for key in _PATH_KEYS if key in entry)
        text = str(next(entry[key] for key in _TEXT_KEYS if key in entry))
        words, language = _words(entry.get("words")), entry.get("language")
    except (ValueError, TypeError, StopIteration, AttributeError, KeyError) as error:
        raise ToolkitError(
            f"{file} line {number} is not a JSON object with an audio path and a text",
            f"Use the keys {_PATH_KEYS[0]} and {_TEXT_KEYS[0]}.",
        ) from error
    return Example(path.stem, text, path, words=words, language=str(language) if language else None)


def _words(value: Any) -> tuple[WordTime, ...] | None:
    return tuple(WordTime(str(text), float(start), float(end)) for text, start, end in value) if value else None
