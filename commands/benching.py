"""`convert bench`: how long the functions of a bundle take here, by compute units."""

import platform
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from commands.terminal import print_json, print_text, progress
from parity.ladder.tables import TitledTable
from parity.report.files import check_page
from parity.report.html.page import html_from_tables
from toolkit.bundle.bundle import Bundle, open_bundle
from toolkit.compute_units import ALL_UNITS, UnitsChoice
from toolkit.output.files import write_text
from toolkit.runtimes.measuring import Timing, functions_of, time_on_core_ml, time_on_portable
from toolkit.runtimes.open import resolve
from toolkit.spec import ComputeUnits

_COLUMNS = ("prepare_s", "load_s", "first_ms", "median_ms", "p95_ms")


def bench_bundle(folder: Path, units: str, runs: int, *, as_json: bool, report: Path | None = None) -> None:
    """Measure every function, and print a table.

    Args:
        folder: of the bundle.
        units: `every`, or names of compute units, comma-separated; Core ML only.
        runs: calls measured of each function.
        as_json: print JSON, one object per function and units.
        report: HTML file to write as well.

    Raises:
        BundleError: it cannot be opened.
        OptionError: no such units.
    """
    if report:
        check_page(report)
    bundle = open_bundle(folder)
    chosen = _chosen(units)
    rounds = len(chosen) if resolve("auto") == "coreml" else 1
    timings = []
    with progress() as bar:
        task = bar.add_task("bench", total=rounds * len(functions_of(bundle)))
        for timing in _timings(bundle, chosen, runs):
            timings.append(timing)
            bar.update(task, description=f"bench: {timing.component} ({timing.function})", advance=1)
    if report:
        title = f"Timings of {bundle.manifest.model} on {platform.system()}, {runs} calls each"
        write_text(report, html_from_tables(title, [titled(timings)]))
    if as_json:
        print_json([asdict(timing) for timing in timings])
    else:
        print_text(table(timings))


def titled(timings: list[Timing]) -> TitledTable:
    """The timings for a page."""
    rows = [
        (t.component, t.function, t.runs_on, *(_shown(getattr(t, column)) for column in _COLUMNS), t.refused)
        for t in timings
    ]
    headers = ("component", "function", "on", *(column.replace("_", ", ") for column in _COLUMNS), "refused")
    return TitledTable("Functions, by compute units", headers, tuple(rows))


def table(timings: list[Timing]) -> str:
    """The timings for a person, the fastest units of each function marked with *."""
    header = f"{'component':18}{'function':16}{'on':14}" + "".join(f"{column:>11}" for column in _COLUMNS)
    return "\n".join([header, *(_line(timing, timings) for timing in timings)])


def _line(timing: Timing, timings: list[Timing]) -> str:
    begin = f"{timing.component:18}{timing.function:16}{timing.runs_on:14}"
    if timing.refused:
        return f"{begin}  refused: {timing.refused}"
    rivals = [t.median_ms for t in timings if _same(t, timing) and t.median_ms is not None]
    mark = " *" if len(rivals) > 1 and timing.median_ms == min(rivals) else ""
    return begin + "".join(f"{_shown(getattr(timing, column)):>11}" for column in _COLUMNS) + mark


def _same(one: Timing, other: Timing) -> bool:
    return (one.component, one.function) == (other.component, other.function)


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2f}"


def _timings(bundle: Bundle, chosen: list[ComputeUnits], runs: int) -> Iterator[Timing]:
    if resolve("auto") != "coreml":
        yield from time_on_portable(bundle, runs)
        return
    for units in chosen:
        yield from time_on_core_ml(bundle, units, runs)


def _chosen(units: str) -> list[ComputeUnits]:
    if units.lower() == "every":
        return list(ALL_UNITS)
    return [UnitsChoice(name).units("", "ALL") for name in units.split(",")]
