"""Words as subtitles: what stands in a cue, how its lines are broken, and when it is shown."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from toolkit.transcript import Transcript, Word

CUE_S = 7.0
GAP_S = 1.0  # a pause this long ends a cue
FRAME_MS = 40  # of a video at 25 frames a second: what is shorter may never be seen
UNTIMED_MS = 500  # of a cue whose words have no length, if the next cue leaves room

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
class CueLimits:
    """What one subtitle may hold.

    Attributes:
        columns: of a line; 42 is the usual limit of broadcasters' guides. An East Asian wide character takes two.
        lines: in a cue.
        words: in a cue; None is as many as fit.
    """

    columns: int = 42
    lines: int = 2
    words: int | None = None


@dataclass(frozen=True)
class Cue:
    """One subtitle: lines shown from `start_ms` to `end_ms`, in milliseconds from the start of the file."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues_from_transcript(transcript: Transcript, limits: CueLimits | None = None) -> list[Cue]:
    """Cues within the limits and of seven seconds at most, split where the speaker pauses.

    A single word that is longer than a line, or than seven seconds, stays whole. Between two words of Han or kana there
    is no blank. Every cue has a length, none overlaps the next, and none reaches beyond the end of the audio: players
    drop or refuse such cues. Words keep their order.
    """
    limits = limits or CueLimits()
    groups: list[list[Word]] = []
    for word in transcript.words:
        if groups and _joins(groups[-1], word, limits):
            groups[-1].append(word)
        else:
            groups.append([word])
    spans = _spans(groups, transcript.duration_s)
    return [Cue(*span, tuple(_lines(group, limits))) for span, group in zip(spans, groups, strict=True)]


def _joins(group: list[Word], word: Word, limits: CueLimits) -> bool:
    fits = len(_lines([*group, word], limits)) <= limits.lines and len(group) != limits.words
    return fits and word.start_s - group[-1].end_s < GAP_S and word.end_s - group[0].start_s <= CUE_S


def _spans(groups: Sequence[Sequence[Word]], duration_s: float) -> list[tuple[int, int]]:
    """Start and end of each cue in milliseconds: as spoken, moved no more than the cues before and behind it need."""
    end_ms = max(int(duration_s * 1000), len(groups))  # a millisecond each, if the audio is that short
    shortest_ms = min(FRAME_MS, end_ms // max(len(groups), 1))
    starts = [round(group[0].start_s * 1000) for group in groups]
    spans: list[tuple[int, int]] = []
    reached_ms = 0
    for index, group in enumerate(groups):
        latest_ms = end_ms - shortest_ms * (len(groups) - index - 1)  # leaves room for those behind
        start_ms = _clipped(starts[index], reached_ms, latest_ms - shortest_ms)
        next_ms = starts[index + 1] if index + 1 < len(groups) else end_ms
        spoken_ms = round(max(word.end_s for word in group) * 1000)
        wanted_ms = spoken_ms if spoken_ms > starts[index] else start_ms + UNTIMED_MS
        reached_ms = _clipped(min(wanted_ms, next_ms), start_ms + shortest_ms, latest_ms)
        spans.append((start_ms, reached_ms))
    return spans


def _clipped(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


def _lines(words: list[Word], limits: CueLimits) -> list[str]:
    lines: list[str] = []
    for word in words:
        blank = "" if lines and _stand_together(lines[-1], word.text) else " "
        if lines and _columns(lines[-1]) + _columns(blank + word.text) <= limits.columns:
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
