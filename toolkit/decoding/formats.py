"""Transcripts as text, JSON, subtitles or a TextGrid.

JSON is one object for one file:
`{"text", "language"?, "duration_s", "words", "tokens", "rtfx", "runtime", "model"}`, with words
`{"text", "start_s", "end_s", "confidence"}` and tokens `{"id", "text", "start_s", "end_s", "confidence"}`;
`language` is there only when the model tells it. An alignment has `"zero_length"` after the words, always: the indices
of the words whose start is their end. Several files give an array of such objects, each with `file` first.
Subtitles of several files follow one another in the order given, each with times from its own start. A TextGrid holds
one file (toolkit/decoding/textgrid.py).
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from toolkit.decoding.textgrid import textgrid_from_transcript
from toolkit.decoding.transcript import Transcript, Word
from toolkit.model import Task

Format = Literal["txt", "json", "srt", "vtt", "textgrid"]
ONE_FILE_FORMATS: tuple[Format, ...] = ("textgrid",)

LINE_CHARACTERS = 42  # the usual limit of broadcasters' subtitle guides
CUE_LINES = 2
CUE_S = 7.0
GAP_S = 1.0  # a pause this long ends a cue


@dataclass(frozen=True)
class Result:
    """The transcript of one file, and how it was made.

    Attributes:
        file: as it was given.
        transcript: text, words, tokens.
        rtfx: seconds of audio per second of work.
        runtime: `coreml`, `portable` or `eager`.
        model: id.
        task: the model's.
    """

    file: str
    transcript: Transcript
    rtfx: float
    runtime: str
    model: str
    task: Task = "transcription"


@dataclass(frozen=True)
class Cue:
    """One subtitle: at most two lines, shown from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]


def render(results: Sequence[Result], form: Format) -> str:
    """Results in one of the formats, with a newline at the end.

    Raises:
        ValueError: several results in a format that holds one.
    """
    writers: dict[Format, Callable[[Sequence[Result]], str]] = {
        "txt": _txt,
        "json": _json,
        "srt": _srt,
        "vtt": _vtt,
        "textgrid": _textgrid,
    }
    return writers[form](results)


def zero_length_words(words: Sequence[Word]) -> list[int]:
    """Indices of the words whose start is their end."""
    return [index for index, word in enumerate(words) if word.start_s == word.end_s]


def cues_from_words(words: Sequence[Word]) -> list[Cue]:
    """Cues of two lines of 42 characters and seven seconds at most, split where the speaker pauses.

    A single word that is longer than a line, or than seven seconds, stays whole.
    """
    cues: list[Cue] = []
    group: list[Word] = []
    for word in words:
        if group and not _joins(group, word):
            cues.append(_cue(group))
            group = []
        group.append(word)
    return [*cues, _cue(group)] if group else cues


def _joins(group: list[Word], word: Word) -> bool:
    fits = len(_lines([*group, word])) <= CUE_LINES
    return fits and word.start_s - group[-1].end_s < GAP_S and word.end_s - group[0].start_s <= CUE_S


def _cue(group: list[Word]) -> Cue:
    return Cue(group[0].start_s, max(word.end_s for word in group), tuple(_lines(group)))


def _lines(words: list[Word]) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word.text) <= LINE_CHARACTERS:
            lines[-1] += f" {word.text}"
        else:
            lines.append(word.text)
    return lines


def _txt(results: Sequence[Result]) -> str:
    return "".join(f"{result.transcript.text}\n" for result in results)


def _json(results: Sequence[Result]) -> str:
    objects = [_object(result) for result in results]
    if len(results) == 1:
        return json.dumps(objects[0], ensure_ascii=False, indent=2) + "\n"
    named = [{"file": result.file, **fields} for result, fields in zip(results, objects, strict=True)]
    return json.dumps(named, ensure_ascii=False, indent=2) + "\n"


def _object(result: Result) -> dict[str, Any]:
    transcript = result.transcript
    fields: dict[str, Any] = {"text": transcript.text}
    if transcript.language is not None:
        fields["language"] = transcript.language
    fields |= {"duration_s": transcript.duration_s, "words": [asdict(word) for word in transcript.words]}
    if result.task == "alignment":
        fields["zero_length"] = zero_length_words(transcript.words)
    return fields | {
        "tokens": [asdict(token) for token in transcript.tokens],
        "rtfx": result.rtfx,
        "runtime": result.runtime,
        "model": result.model,
    }


def _srt(results: Sequence[Result]) -> str:
    blocks = (
        f"{number}\n{_time(cue.start_s, ',')} --> {_time(cue.end_s, ',')}\n" + "\n".join(cue.lines) + "\n"
        for number, cue in enumerate(_cues(results), start=1)
    )
    return "\n".join(blocks)


def _vtt(results: Sequence[Result]) -> str:
    blocks = (
        f"\n{_time(cue.start_s, '.')} --> {_time(cue.end_s, '.')}\n" + "\n".join(_escaped(cue.lines)) + "\n"
        for cue in _cues(results)
    )
    return "WEBVTT\n" + "".join(blocks)


def _textgrid(results: Sequence[Result]) -> str:
    (result,) = results
    return textgrid_from_transcript(result.transcript)


def _cues(results: Sequence[Result]) -> Iterator[Cue]:
    for result in results:
        yield from cues_from_words(result.transcript.words)


def _escaped(lines: Sequence[str]) -> list[str]:
    """WebVTT cue text takes no bare `&` or `<`, nor the arrow."""
    return [line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in lines]


def _time(seconds: float, mark: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{mark}{milliseconds % 1000:03d}"
