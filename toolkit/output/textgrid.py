"""Transcripts as Praat TextGrids, in the long text format.

An interval tier "words" covers the file from 0 to its end without gaps; where nobody speaks an interval is empty. Praat
knows no interval without length. Words that have none, and what overlaps, are therefore written like this:

- A word that begins before the word before it ends, begins where that one ends.
- A word of which no length is left, or that had none, is a point of a second tier, "zero-length", at its own start. The
  tier is there only when there is such a word; those at the same time share a point, since Praat keeps one a time.
- Nothing reaches beyond the end of the file.

Times are in seconds, rounded to microseconds. Source: Praat's manual, "TextGrid file formats".
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from toolkit.transcript import Transcript, Word

_DECIMALS = 6


@dataclass(frozen=True)
class _Interval:
    start_s: float
    end_s: float
    text: str


def textgrid_from_transcript(transcript: Transcript) -> str:
    """The TextGrid of one file, with a newline at the end."""
    end_s = round(transcript.duration_s, _DECIMALS)
    intervals, points = _tiers(transcript.words, end_s)
    tiers = [_interval_tier(intervals, end_s)] + ([_point_tier(points, end_s)] if points else [])
    head = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", *_span(0, end_s)]
    lines = [*head, "tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, tier in enumerate(tiers, start=1):
        lines += [f"    item [{number}]:", *(f"        {line}" for line in tier)]
    return "\n".join(lines) + "\n"


def _tiers(words: Iterable[Word], end_s: float) -> tuple[list[_Interval], dict[float, str]]:
    """Intervals from 0 to the end, and what has no length, by time."""
    intervals: list[_Interval] = []
    points: dict[float, str] = {}
    reached_s = 0.0
    for word in sorted(words, key=lambda word: word.start_s):
        own_s = _clipped(word.start_s, 0.0, end_s)
        start_s = max(own_s, reached_s)
        stop_s = _clipped(word.end_s, start_s, end_s)
        if stop_s == start_s:
            points[own_s] = f"{points[own_s]} {word.text}" if own_s in points else word.text
            continue
        if start_s > reached_s:
            intervals.append(_Interval(reached_s, start_s, ""))
        intervals.append(_Interval(start_s, stop_s, word.text))
        reached_s = stop_s
    if reached_s < end_s:
        intervals.append(_Interval(reached_s, end_s, ""))
    return intervals, points


def _clipped(time_s: float, low_s: float, high_s: float) -> float:
    return min(max(round(time_s, _DECIMALS), low_s), high_s)


def _interval_tier(intervals: Sequence[_Interval], end_s: float) -> list[str]:
    lines = ['class = "IntervalTier"', 'name = "words"', *_span(0, end_s), f"intervals: size = {len(intervals)}"]
    for number, interval in enumerate(intervals, start=1):
        entry = [*_span(interval.start_s, interval.end_s), f"text = {_quoted(interval.text)}"]
        lines += [f"intervals [{number}]:", *(f"    {line}" for line in entry)]
    return lines


def _point_tier(points: dict[float, str], end_s: float) -> list[str]:
    lines = ['class = "TextTier"', 'name = "zero-length"', *_span(0, end_s), f"points: size = {len(points)}"]
    for number, (time_s, text) in enumerate(points.items(), start=1):
        lines += [f"points [{number}]:", f"    number = {_number(time_s)}", f"    mark = {_quoted(text)}"]
    return lines


def _span(start_s: float, end_s: float) -> list[str]:
    return [f"xmin = {_number(start_s)}", f"xmax = {_number(end_s)}"]


def _number(time_s: float) -> str:
    """Without an exponent, which not every reader takes."""
    return f"{time_s:.{_DECIMALS}f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"'
