"""Transcripts as text, JSON, tables, subtitles or a TextGrid, of one file or of several.

JSON is one object for one file:
`{"text", "language"?, "duration_s", "segments"?, "words", "tokens", "rtfx", "runtime", "model"}`, with words
`{"text", "start_s", "end_s", "confidence"}` and tokens `{"id", "text", "start_s"?, "end_s"?, "confidence"}`;
`language` is there only when the model tells it. A model without word times has segments
`{"text", "start_s", "end_s", "stop", "eos_margin"}` instead, the margin null where it is infinite, and its tokens have
no times. An alignment has `"zero_length"` after the words, always: the indices of the words whose start is their end.
Several files give an array of such objects, each with `file` first; a file that failed is `{"file", "error"}`. `jsonl`
has the same objects, one per line.

`tsv` is openai-whisper's table: start and end in milliseconds and text, a row per subtitle, or per segment where a
model has no word times. Subtitles and rows of several files follow one another in the order given, each with times from
its own start. A TextGrid holds one file (toolkit/output/textgrid.py). Subtitles and TextGrids need word times.
"""

from collections.abc import Callable, Iterable
from typing import Literal, get_args

from toolkit.errors import ToolkitError
from toolkit.output.cues import Cue, CueLimits, cues_from_transcript
from toolkit.output.objects import json_text, object_from_outcome
from toolkit.output.result import Outcome, Result
from toolkit.output.textgrid import textgrid_from_transcript

Format = Literal["txt", "json", "jsonl", "tsv", "srt", "vtt", "textgrid"]
FORMATS: tuple[Format, ...] = get_args(Format)
ONE_FILE_FORMATS: tuple[Format, ...] = ("textgrid",)
WORD_TIME_FORMATS: tuple[Format, ...] = ("srt", "vtt", "textgrid")
CUE_FORMATS: tuple[Format, ...] = ("tsv", "srt", "vtt")
SUFFIXES: dict[Format, str] = {form: f".{form}" for form in FORMATS} | {"textgrid": ".TextGrid"}


class Document:
    """The results of a run in one format, piece by piece: every piece can be written as soon as its file is done.

    Args:
        form: the format.
        limits: of subtitles and rows.
        several: whether the run has several files.
    """

    def __init__(self, form: Format, limits: CueLimits | None = None, *, several: bool = False) -> None:
        self._form, self._limits, self._several = form, limits, several
        self._pieces = self._cues = 0
        writers: dict[Format, Callable[[Result], str]] = {
            "txt": lambda result: f"{result.transcript.text}\n",
            "tsv": self._tsv,
            "srt": self._srt,
            "vtt": self._vtt,
            "textgrid": lambda result: textgrid_from_transcript(result.transcript),
        }
        self._writer = writers.get(form)

    def piece(self, outcome: Outcome) -> str:
        """What one more file adds; a file that failed adds an object to JSON, and nothing elsewhere.

        Raises:
            ToolkitError: a format of word times, and a model that has none.
        """
        if self._writer is None:
            text = self._object(outcome)
        elif isinstance(outcome, Result):
            _check_word_times(outcome, self._form)
            text = self._head() + self._writer(outcome)
        else:
            return ""
        self._pieces += 1
        return text

    def end(self) -> str:
        """What comes after the last file."""
        if self._form == "json" and self._several:
            return "\n]\n" if self._pieces else "[]\n"
        return "" if self._pieces else self._head()

    def _head(self) -> str:
        heads: dict[Format, str] = {"vtt": "WEBVTT\n", "tsv": "start\tend\ttext\n"}
        return "" if self._pieces else heads.get(self._form, "")

    def _object(self, outcome: Outcome) -> str:
        fields = object_from_outcome(outcome, named=self._several or self._form == "jsonl")
        if self._form == "jsonl":
            return json_text(fields, indent=None) + "\n"
        if not self._several:
            return json_text(fields) + "\n"
        indented = "\n".join(f"  {line}" for line in json_text(fields).splitlines())
        return (",\n" if self._pieces else "[\n") + indented

    def _tsv(self, result: Result) -> str:
        transcript = result.transcript
        if transcript.segments and not transcript.words:
            rows = [(round(1000 * s.start_s), round(1000 * s.end_s), s.text) for s in transcript.segments]
        else:
            rows = [(c.start_ms, c.end_ms, " ".join(c.lines)) for c in cues_from_transcript(transcript, self._limits)]
        return "".join(f"{start}\t{end}\t{' '.join(text.split())}\n" for start, end, text in rows)

    def _srt(self, result: Result) -> str:
        return "".join(self._srt_cue(cue) for cue in cues_from_transcript(result.transcript, self._limits))

    def _srt_cue(self, cue: Cue) -> str:
        self._cues += 1
        gap = "\n" if self._cues > 1 else ""
        return f"{gap}{self._cues}\n{_time(cue.start_ms, ',')} --> {_time(cue.end_ms, ',')}\n" + _text(cue.lines)

    def _vtt(self, result: Result) -> str:
        return "".join(
            f"\n{_time(cue.start_ms, '.')} --> {_time(cue.end_ms, '.')}\n" + _text(map(_escaped, cue.lines))
            for cue in cues_from_transcript(result.transcript, self._limits)
        )


def render(outcomes: Iterable[Outcome], form: Format, limits: CueLimits | None = None) -> str:
    """What a run gives in one of the formats, with a newline at the end.

    Raises:
        ToolkitError: a format of word times, and a model that has none.
        ValueError: several results in a format that holds one.
    """
    outcomes = list(outcomes)
    if form in ONE_FILE_FORMATS and len(outcomes) != 1:
        raise ValueError(f"{form} holds one file, not {len(outcomes)}")
    document = Document(form, limits, several=len(outcomes) > 1)
    return "".join(map(document.piece, outcomes)) + document.end()


def _check_word_times(result: Result, form: Format) -> None:
    if form in WORD_TIME_FORMATS and result.transcript.segments and not result.transcript.words:
        raise ToolkitError(f"{result.model} gives no word times, which {form} needs", "Use --format json, tsv or txt.")


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _escaped(line: str) -> str:
    """WebVTT cue text takes no bare `&` or `<`, nor the arrow."""
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(milliseconds: int, mark: str) -> str:
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{mark}{milliseconds % 1000:03d}"
