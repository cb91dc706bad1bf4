"""Plots as inline SVG: curves over frames or layers, and words in time. Colours are those of report.css."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from parity.ladder.exhibits import Axis, Curves, Timeline
from parity.ladder.tables import number
from parity.measures.words import paired_words
from parity.report.html.markup import Markup, element, joined
from toolkit.transcript import Word

_WIDTH, _HEIGHT = 640, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 12, 42
_MAX_DECADES = 12
_TICK_NAMES, _TICK_NAME_CHARACTERS = 6, 16
LINE_S, MAX_LINES = 5.0, 12  # a timeline is broken into lines, as text is
_LANE_HEIGHT, _LANE_GAP, _LANE_LABEL, _LINE_GAP = 22, 3, 70, 26
_CHARACTER_WIDTH = 6.8
_SAME_S = 1e-6  # left to rounding


@dataclass(frozen=True)
class _Scale:
    """Values to places of the plot: `low` at `start`, `high` at `end`; by decade where `log`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Within the plot, whatever the value; not for NaN."""
        position = math.log10(max(value, 10**self.low)) if self.log else value
        share = (position - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * min(1.0, max(0.0, share))

    def ticks(self) -> list[tuple[float, str]]:
        """Places with what to write there."""
        if not self.log:
            return [(self.place(v), number(v)) for v in round_ticks(self.low, self.high, 5)]
        every = max(1, math.ceil((self.high - self.low) / 6))
        powers = range(math.ceil(self.low), math.floor(self.high) + 1, every)
        return [(self.place(10.0**power), f"1e{power}") for power in powers]


def round_ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers from `low` to `high`."""
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next((unit * factor for factor in (1, 2, 5) if unit * factor >= rough * 0.999), unit * 10)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def svg_of_curves(curves: Curves, title: str) -> Markup:
    """All series in one plot; a value that is not finite breaks its line and is marked at the top."""
    longest = max((len(s.values) for s in curves.series), default=0)
    x = _Scale(0, max(1, longest - 1) * curves.x_step, _LEFT, _WIDTH - _RIGHT)
    y = _value_scale(curves)
    lines = [_line(k, s.values, curves.x_step, x, y) for k, s in enumerate(curves.series)]
    return _svg(_WIDTH, _HEIGHT, title, _grid(y), _x_axis(curves, x), _axis_names(curves.x, curves.y), *lines)


def svg_of_timeline(timeline: Timeline, title: str) -> Markup:
    """A lane each for reference, ours and corpus; words that moved, and words that one side alone has, stand out."""
    lanes = _lanes(timeline)
    width, count = 900, lines_of_timeline(timeline)
    line_height = len(lanes) * (_LANE_HEIGHT + _LANE_GAP) + _LINE_GAP
    parts: list[str] = []
    line_s = min(LINE_S, max(1.0, math.ceil(_end_s(timeline))))
    for line in range(count):
        scale = _Scale(line * line_s, (line + 1) * line_s, _LANE_LABEL, width - _RIGHT)
        parts += _time_axis(scale, line * line_height, line_height)
        for k, lane in enumerate(lanes):
            parts += _lane_of_line(lane, scale, line * line_height + k * (_LANE_HEIGHT + _LANE_GAP))
    return _svg(width, count * line_height, title, *parts)


def lines_of_timeline(timeline: Timeline) -> int:
    """How many lines of `LINE_S` are drawn, at most `MAX_LINES`."""
    return min(MAX_LINES, max(1, math.ceil(_end_s(timeline) / LINE_S)))


def _end_s(timeline: Timeline) -> float:
    words = (*timeline.reference, *timeline.ours, *timeline.truth)
    return max((word.end_s for word in words if math.isfinite(word.end_s)), default=0.0)


def _svg(width: float, height: float, title: str, *parts: str) -> Markup:
    box = f"0 0 {width:g} {height:g}"
    return element("svg", element("title", title), *parts, viewBox=box, role="img", width=width, height=height)


def _text(x: float, y: float, text: str, anchor: str = "middle", class_: str | None = None, **more: str) -> Markup:
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=class_, **more)


def _value_scale(curves: Curves) -> _Scale:
    values = np.concatenate([s.values[np.isfinite(s.values)] for s in curves.series] or [np.zeros(0)])
    bottom, top = _HEIGHT - _BOTTOM, _TOP + 8
    if not curves.log:
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
        low = min(low, 0.0) if low < 0.5 * high else low
        return _Scale(low, high if high > low else low + 1, bottom, top)
    positive = values[values > 0]
    if not positive.size:
        return _Scale(-1, 0, bottom, top, log=True)
    high = math.ceil(math.log10(float(positive.max())) + 1e-9)
    low = max(math.floor(math.log10(float(positive.min()))), high - _MAX_DECADES)
    return _Scale(min(low, high - 1), high, bottom, top, log=True)


def _grid(y: _Scale) -> Markup:
    right = _WIDTH - _RIGHT
    lines = [element("path", d=f"M{_LEFT} {place:.1f}H{right}", class_="grid") for place, _ in y.ticks()]
    return joined(*lines, *(_text(_LEFT - 6, place + 4, name, "end") for place, name in y.ticks()))


def _x_axis(curves: Curves, x: _Scale) -> Markup:
    bottom = _HEIGHT - _BOTTOM
    every = max(1, math.ceil(len(curves.ticks) / _TICK_NAMES))
    named = [(x.place(k * curves.x_step), _short(name)) for k, name in enumerate(curves.ticks)][::every]
    ticks = named or x.ticks()
    path = element("path", d=f"M{_LEFT} {bottom}H{_WIDTH - _RIGHT}", class_="axis")
    return joined(path, *(_text(place, bottom + 15, name) for place, name in ticks))


def _short(name: str) -> str:
    """The end of a name, which tells layers apart."""
    return name if len(name) <= _TICK_NAME_CHARACTERS else "\u2026" + name[1 - _TICK_NAME_CHARACTERS :]


def _axis_names(x: Axis, y: Axis) -> Markup:
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    upright = _text(12, middle, str(y), class_="name", transform=f"rotate(-90 12 {middle:g})")
    return joined(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, str(x), class_="name"), upright)


def _line(index: int, values: np.ndarray, step: float, x: _Scale, y: _Scale) -> Markup:
    finite = np.isfinite(values)
    stretches = (_stretch(values, start, stop, step, x, y) for start, stop in _runs(finite))
    path = element("path", d="".join(stretches) or f"M{_LEFT} {_TOP}", class_=f"series series-{index % 6}")
    marks = "".join(f"M{x.place(k * step):.1f} {_TOP}v6" for k in np.flatnonzero(~finite))
    return joined(path, element("path", d=marks, class_="not-finite") if marks else "")


def _stretch(values: np.ndarray, start: int, stop: int, step: float, x: _Scale, y: _Scale) -> str:
    points = [f"{x.place(k * step):.1f} {y.place(float(values[k])):.1f}" for k in range(start, stop)]
    return f"M{points[0]}h0" if len(points) == 1 else "M" + "L".join(points)  # a round cap makes a dot of no length


def _runs(flags: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and end of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    yield from ((int(a), int(b)) for a, b in list(pairwise(edges))[::2])


@dataclass(frozen=True)
class _Lane:
    name: str
    words: Sequence[Word]
    marked: Sequence[str]  # class of each word


def _lanes(timeline: Timeline) -> list[_Lane]:
    theirs, ours = timeline.reference, timeline.ours
    their_marks, our_marks = ["alone"] * len(theirs), ["alone"] * len(ours)
    for i, j in paired_words(theirs, ours):
        shift = max(abs(theirs[i].start_s - ours[j].start_s), abs(theirs[i].end_s - ours[j].end_s))
        their_marks[i] = our_marks[j] = "same" if shift <= _SAME_S else "moved"
    lanes = [_Lane("reference", theirs, their_marks), _Lane("ours", ours, our_marks)]
    return [*lanes, _Lane("corpus", timeline.truth, ["truth"] * len(timeline.truth))] if timeline.truth else lanes


def _time_axis(scale: _Scale, top: float, height: float) -> Iterator[Markup]:
    bottom = top + height - _LINE_GAP
    for place, name in scale.ticks():
        yield element("path", d=f"M{place:.1f} {top:g}V{bottom:g}", class_="grid")
        yield _text(place, bottom + 13, f"{name} s")


def _lane_of_line(lane: _Lane, scale: _Scale, top: float) -> Iterator[Markup]:
    yield _text(_LANE_LABEL - 6, top + 15, lane.name, "end", "name")
    for word, mark in zip(lane.words, lane.marked, strict=True):
        if scale.low <= word.start_s < scale.high or scale.low < word.end_s <= scale.high:  # no NaN passes
            yield _word(word, mark, scale, top)


def _word(word: Word, mark: str, scale: _Scale, top: float) -> Markup:
    start, end = scale.place(word.start_s), scale.place(word.end_s)
    width = max(end - start, 2.0)
    says = element("title", f"{word.text}: {word.start_s:.3f} to {word.end_s:.3f} s")
    block = element("rect", says, x=start, y=top, width=width, height=_LANE_HEIGHT, rx=3, class_=f"word {mark}")
    fits = len(word.text) * _CHARACTER_WIDTH + 4 <= width
    return joined(block, _text(start + width / 2, top + 15, word.text, class_="spoken") if fits else "")
