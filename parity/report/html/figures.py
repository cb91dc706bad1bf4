"""Exhibits as figures of a page: images, plots and players, each with its words."""

import math
from typing import assert_never

import numpy as np

from parity.ladder.exhibits import Audio, Curves, KeptExhibit, Recording, Spectrograms, Timeline
from parity.ladder.tables import Cell, TitledTable, number
from parity.measures.words import paired_words
from parity.report.html.markup import Markup, element
from parity.report.html.media import data_uri, finite_range, png_of_spectrogram, wav
from parity.report.html.plots import LINE_S, MAX_LINES, lines_of_timeline, svg_of_curves, svg_of_timeline
from parity.report.html.tables import html_of_table
from toolkit.transcript import Word


def figure_of(shown: KeptExhibit) -> Markup:
    """One exhibit with its title."""
    title = f"{shown.title}: {shown.clip}" if shown.clip else shown.title
    kind = type(shown.exhibit).__name__.lower()
    return element("figure", element("figcaption", title), *_parts(shown, title), class_=f"exhibit {kind}")


def _parts(shown: KeptExhibit, title: str) -> list[Markup]:
    match shown.exhibit:
        case Curves():
            return _curves(shown.exhibit, title)
        case Spectrograms():
            return _spectrograms(shown.exhibit, title)
        case Timeline():
            return _timeline(shown.exhibit, title)
        case Audio():
            return [_player(recording, title) for recording in shown.exhibit.recordings]
        case _ as never:
            assert_never(never)


def _curves(curves: Curves, title: str) -> list[Markup]:
    if not any(s.values.size for s in curves.series):
        return [_remark("nothing to draw: there are no values, or no shape that both sides have")]
    said = f"{title}: {curves.y} over {curves.x}"
    keys = [
        element("li", element("span", class_=f"key series-{k % 6}"), s.name, " ", _extent(s.values))
        for k, s in enumerate(curves.series)
    ]
    return [_scrolled(svg_of_curves(curves, said), said), element("ul", *keys, class_="keys")]


def _extent(values: np.ndarray) -> Markup:
    bad = int((~np.isfinite(values)).sum())
    low, high = finite_range(values)
    text = f"{number(low)} to {number(high)}" if bad < values.size else "no finite value"
    return element("small", text + (f", not finite at {bad} of {values.size} places" if bad else ""))


def _spectrograms(shown: Spectrograms, title: str) -> list[Markup]:
    if not (shown.reference.size and shown.ours.size):
        return [_remark("nothing to draw: one side is empty")]
    both, apart = finite_range(shown.reference, shown.ours), finite_range(shown.difference)
    images = (
        ("reference", shown.reference, both),
        ("ours", shown.ours, both),
        ("difference", shown.difference, (0.0, apart[1])),
    )
    panels = [_image(name, values, *limits, shown, title) for name, values, limits in images]
    return [element("div", *panels, class_="panels"), _remark(_scales(shown, both, apart[1]))]


def _image(name: str, values: np.ndarray, low: float, high: float, shown: Spectrograms, title: str) -> Markup:
    bad = int((~np.isfinite(values)).sum())
    said = f"{name}, {number(low)} to {number(high)}" + (f", {bad} dots not finite" if bad else "")
    source = data_uri(png_of_spectrogram(values, low, high), "image/png")
    bins, frames = values.shape
    widest = max(shown.reference.shape[1], shown.ours.shape[1])
    drawn = f"width: {100 * frames / widest:.2f}%"  # one scale of time for all three
    image = element("img", src=source, alt=f"{title}: {said}", width=frames, height=bins, style=drawn)
    return element("div", image, element("p", element("strong", name), said.removeprefix(name)), class_="panel")


def _scales(shown: Spectrograms, both: tuple[float, float], apart: float) -> str:
    frames = max(shown.reference.shape[1], shown.ours.shape[1])
    along = f"{frames * shown.x_step:.4g} {shown.x.unit or 'frames'}"
    colours = f"dark to bright is {number(both[0])} to {number(both[1])}, in the difference 0 to {number(apart)}"
    each = f"; a dot is up to {shown.frames_each} x {shown.bins_each}, of the difference its largest"
    dots = each if shown.frames_each * shown.bins_each > 1 else ""
    return f"{shown.y} upwards, {along} from left to right; {colours}; pink is not finite{dots}"


def _timeline(timeline: Timeline, title: str) -> list[Markup]:
    if not (timeline.reference or timeline.ours):
        return [_remark("no words on either side")]
    keys = (("same", "at the same time"), ("moved", "moved"), ("alone", "on one side only"))
    legend = [element("li", element("span", class_=f"key word {name}"), text) for name, text in keys]
    drawn_s = MAX_LINES * LINE_S if lines_of_timeline(timeline) == MAX_LINES else math.inf
    left = [f"drawn up to {drawn_s:g} s"] if drawn_s < math.inf else []
    left += [f"{timeline.left_out} words left out"] if timeline.left_out else []
    details = element("details", element("summary", "Times in numbers"), html_of_table(_times(timeline, title)))
    remark = [_remark("; ".join(left))] if left else []
    return [_scrolled(svg_of_timeline(timeline, title), title), element("ul", *legend, class_="keys"), *remark, details]


def _times(timeline: Timeline, title: str) -> TitledTable:
    ours = dict(paired_words(timeline.reference, timeline.ours))
    rows = [
        _times_row(word, timeline.ours[ours[i]] if i in ours else None) for i, word in enumerate(timeline.reference)
    ]
    left = (word for j, word in enumerate(timeline.ours) if j not in set(ours.values()))
    rows += [(word.text, "", _span(word), "", "") for word in left]
    headers = ("word", "reference, s", "ours, s", "start moved, ms", "end moved, ms")
    return TitledTable(f"word times, {title}", headers, tuple(rows))


def _times_row(word: Word, other: Word | None) -> tuple[Cell, ...]:
    if other is None:
        return word.text, _span(word), "", "", ""
    shifts = (other.start_s - word.start_s, other.end_s - word.end_s)
    return word.text, _span(word), _span(other), *(round(1000 * shift, 1) for shift in shifts)


def _span(word: Word) -> str:
    return f"{word.start_s:.3f} to {word.end_s:.3f}"


def _player(recording: Recording, title: str) -> Markup:
    seconds = len(recording.samples) / recording.rate
    cut = f", the first of {recording.cut_from_s:.1f} s" if recording.cut_from_s else ""
    bad = int((~np.isfinite(recording.samples)).sum())
    loud = int((np.abs(recording.samples) > 1).sum())
    odd = [f"{n} samples {what}" for n, what in ((bad, "not finite, silent here"), (loud, "beyond full scale")) if n]
    said = "; ".join([f"{recording.title}, {seconds:.2f} s{cut}, {recording.rate} Hz", *odd])
    source = data_uri(wav(recording.samples, recording.rate), "audio/wav")
    player = element("audio", controls=True, preload="metadata", src=source, aria_label=f"{title}, {recording.title}")
    return element("div", element("p", said), player, class_="recording")


def _scrolled(content: Markup, label: str) -> Markup:
    """Wide content that scrolls by itself, by keyboard too."""
    return element("div", content, class_="scrolled", role="region", tabindex=0, aria_label=label)


def _remark(text: str) -> Markup:
    return element("p", text, class_="remark")
