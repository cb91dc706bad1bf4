"""Transcripts as text, JSON, subtitles or a TextGrid.

JSON is one object for one file:
`{"text", "language"?, "duration_s", "segments"?, "words", "tokens", "rtfx", "runtime", "model"}`, with words
`{"text", "start_s", "end_s", "confidence"}` and tokens `{"id", "text", "start_s"?, "end_s"?, "confidence"}`;
`language` is there only when the model tells it. A model without word times has segments
`{"text", "start_s", "end_s", "stop", "eos_margin"}` instead, the margin null where it is infinite, and its tokens have
no times. An alignment has `"zero_length"` after the words, always: the indices of the words whose start is their end.
Several files give an array of such objects, each with `file` first.
Subtitles of several files follow one another in the order given, each with times from its own start. A TextGrid holds
one file (toolkit/output/textgrid.py). Both need word times.
"""

import json
import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from toolkit.errors import ToolkitError
from toolkit.model import Task
from toolkit.output.textgrid import textgrid_from_transcript
from toolkit.transcript import Segment, Token, Transcript, Word

Format = Literal["txt", "json", "srt", "vtt", "textgrid"]
ONE_FILE_FORMATS: tuple[Format, ...] = ("textgrid",)
WORD_TIME_FORMATS: tuple[Format, ...] = ("srt", "vtt", "textgrid")

LINE_COLUMNS = 42  # the usual limit of broadcasters' subtitle guides; an East Asian wide character takes two
CUE_LINES = 2
CUE_S = 7.0
GAP_S = 1.0  # a pause this long ends a cue

# Unicode blocks whose words stand without blanks between them: Han, kana, their punctuation, full and half width forms.
_NO_SPACE_BLOCKS = (
    (0x2E80, 0x2FDF),
    (0x3000, 0x30FF),
    (0x31C0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFE30, 0xFE4F),
    (0xFF00, 0xFF9F),
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),
)


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
        ToolkitError: a format of word times, and a model that has none.
        ValueError: several results in a format that holds one.
    """
    if form in WORD_TIME_FORMATS:
        _check_word_times(results, form)
    writers: dict[Format, Callable[[Sequence[Result]], str]] = {
        "txt": _txt,
        "json": _json,
        "srt": _srt,
        "vtt": _vtt,
        "textgrid": _textgrid,
    }
    return writers[form](results)


def _check_word_times(results: Sequence[Result], form: Format) -> None:
    for result in results:
        if result.transcript.segments and not result.transcript.words:
            raise ToolkitError(f"{result.model} gives no word times, which {form} needs", "Use --format json or txt.")


def zero_length_words(words: Sequence[Word]) -> list[int]:
    """Indices of the words whose start is their end."""
    return [index for index, word in enumerate(words) if word.start_s == word.end_s]


def cues_from_words(words: Sequence[Word]) -> list[Cue]:
    """Cues of two lines of 42 columns and seven seconds at most, split where the speaker pauses.

    A single word that is longer than a line, or than seven seconds, stays whole. Between two words of Han or kana there
    is no blank.
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
        blank = "" if lines and _stand_together(lines[-1], word.text) else " "
        if lines and _columns(lines[-1]) + _columns(blank + word.text) <= LINE_COLUMNS:
            lines[-1] += blank + word.text
        else:
            lines.append(word.text)
    return lines


def _stand_together(before: str, after: str) -> bool:
    return all(
        any(first <= ord(character) <= last for first, last in _NO_SPACE_BLOCKS)
        for character in before[-1:] + after[:1]
    )


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


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
    fields["duration_s"] = transcript.duration_s
    if transcript.segments:
        fields["segments"] = [_segment(segment) for segment in transcript.segments]
    fields["words"] = [asdict(word) for word in transcript.words]
    if result.task == "alignment":
        fields["zero_length"] = zero_length_words(transcript.words)
    return fields | {
        "tokens": [_token(token) for token in transcript.tokens],
        "rtfx": result.rtfx,
        "runtime": result.runtime,
        "model": result.model,
    }


def _segment(segment: Segment) -> dict[str, Any]:
    fields = asdict(segment)
    return fields if math.isfinite(segment.eos_margin) else fields | {"eos_margin": None}


def _token(token: Token) -> dict[str, Any]:
    return {name: value for name, value in asdict(token).items() if value is not None}


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
