"""One screen per run: one line per model and stage, the figures that a user asks for, the verdict, the next step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

from rich.console import Console
from rich.text import Text

from parity.ladder.ladder import LadderResult, Row, StageResult, Status, passed
from parity.ladder.tables import number
from parity.measures.words import NORMALISER
from parity.report.verbose import STYLES, print_table, print_tables

_PIPE_WIDTH = 200
_NOTE_CHARACTERS = 100
_OUTPUT_COLUMNS = 52
_NORMALISED = f" ({NORMALISER})"


@dataclass(frozen=True)
class Margin:
    """How much of a gate one row uses, at the limit that is nearest.

    Attributes:
        used: 0 for no error, 1 at the limit, above 1 beyond it; infinite where there is no number.
        text: the figure, its limit, and the distance between them.
    """

    used: float
    text: str


def margin_of(row: Row) -> Margin | None:
    """The margin of a measured row with a gate; None for a row without one."""
    if row.gate is None or not row.metrics:
        return None
    limits = [(_used_at_most, "<=", name, limit) for name, limit in row.gate.at_most.items()]
    limits += [(_used_at_least, ">=", name, limit) for name, limit in row.gate.at_least.items()]
    found = []
    for rule, relation, name, limit in limits:
        value = row.metrics.get(name, math.nan)
        used, distance = rule(name, value, limit)
        found.append(Margin(used, f"{name} {number(value)} {relation} {number(limit)}{distance and f', {distance}'}"))
    if row.metrics.get("non_finite"):
        found.append(Margin(math.inf, f"{number(row.metrics['non_finite'])} values are not finite"))
    return max(found, key=lambda margin: margin.used, default=None)


def _used_at_most(name: str, value: float, limit: float) -> tuple[float, str]:
    if math.isnan(value):
        return math.inf, "not measured"
    if limit <= 0:
        return (0.0, "") if value <= limit else (math.inf, "exact match required")
    used = value / limit
    return used, f"{max(100 * used, 0):.0f} % of the limit"


def _used_at_least(name: str, value: float, limit: float) -> tuple[float, str]:
    if math.isnan(value):
        return math.inf, "not measured"
    if name.endswith("_db"):  # decibels of error: 20 dB more are a tenth of the error
        return 10 ** ((limit - value) / 20), f"{value - limit:+.1f} dB"
    if limit < 1 and value <= 1:  # a share or a cosine: what counts is the distance from 1
        used = (1 - value) / (1 - limit)
        return used, f"{100 * used:.0f} % of the limit"
    return (limit / value if value > 0 else math.inf), ""


def worst_row(stage: StageResult) -> tuple[Row, Margin | None] | None:
    """The row of a stage that is nearest to its gate, or beyond it; None where nothing with a gate was measured."""
    failed = [row for row in stage.rows if row.status is Status.FAILED]
    rows = failed or [row for row in stage.rows if row.status is Status.PASSED and margin_of(row)]
    measured = [(row, margin_of(row)) for row in rows]
    return max(measured, key=lambda pair: pair[1].used if pair[1] else math.inf, default=None)


def next_command(result: LadderResult) -> str:
    """The command that leads from a failed ladder to the fault; empty where no gate failed."""
    row = result.failed_row
    if row is None:
        return ""
    where = f" --bundle {quote(result.about['bundle'])}" if "bundle" in result.about else ""
    data = f" --dataset {quote(result.about['dataset'])}" if result.about.get("dataset", "demo") != "demo" else ""
    if row.component and result.blame == "packages":
        return f"uv run compare {result.model}{where}{data} --layers {row.component}"
    return f"uv run compare {result.model}{where}{data} --{'verbose' if result.walk else 'blame'}"


class Screen:
    """Prints each model when it is done: rich on a terminal, plain and unbroken in a pipe.

    Args:
        console: to print on; standard output when left out.
        verbose: print every table too.
    """

    def __init__(self, console: Console | None = None, *, verbose: bool = False) -> None:
        console = console or Console()
        if not console.is_terminal:
            console = Console(file=console.file, width=_PIPE_WIDTH, no_color=True, highlight=False, soft_wrap=True)
        self._console, self._verbose = console, verbose

    def show(self, result: LadderResult) -> None:
        """Print one model."""
        if result.stages and self._verbose:
            print_tables(result, self._console)
        elif result.stages:
            self._summary(result)
        self._print(result.verdict, STYLES[result.status])
        if command := next_command(result):
            self._print(f"  next: {command}")

    def finish(self, results: Sequence[LadderResult]) -> None:
        """Print the verdict over several models; on one screen only the models that did not pass are named again."""
        if len(results) < 2:
            return
        self._print(f"\n{len(results)} models: {'passed' if passed(results) else 'FAILED'}", "bold")
        for result in results:
            if self._verbose or not result.passed:
                self._print(f"  {result.verdict}", STYLES[result.status])
        if not self._verbose and any(_NORMALISED in line for result in results for line in result.headlines):
            self._print(f"  error rates: {NORMALISER}", "dim")

    def _summary(self, result: LadderResult) -> None:
        about = result.about
        clips = f"{about.get('clips', '?')} clips of {about.get('dataset', '?')}"
        facts = [about[name] for name in ("bundle", "precision", "runtime") if name in about]
        self._line(Text.assemble((result.model, "bold"), f": {', '.join([*facts, clips])}"))
        for stage in result.stages:
            output, text = _worst(stage)
            line = Text(f"  {stage.name:10}").append(f"{stage.status.value:8}", style=STYLES[stage.status])
            self._line(line.append(f"{output:{_OUTPUT_COLUMNS}}{text}" if output else text))
        for headline in result.headlines:
            self._print(f"  {headline.replace(_NORMALISED, '')}")
        for table in (table for table in result.tables if not table.stage):  # made on request, such as --blame's
            print_table(table, self._console)

    def _line(self, text: Text) -> None:
        """One line, cut where a terminal is too narrow for it."""
        text.rstrip()
        self._console.print(text, no_wrap=True, overflow="ellipsis", crop=self._console.is_terminal)

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style))


def _worst(stage: StageResult) -> tuple[str, str]:
    """The name of the worst row, and its figure against its gate; what was skipped in the place of both."""
    found = worst_row(stage)
    if found is None:
        notes = dict.fromkeys(row.text for row in stage.rows if row.note)
        return "", _short("; ".join(notes)) or "nothing has a gate"
    row, margin = found
    if margin is None:
        return row.output, _short(row.note)
    if margin.used == 0:
        return f"all outputs{_counts(stage)}" if _gated(stage) > 1 else row.output, "exact"
    return f"{row.output}{_counts(stage)}", margin.text


def _gated(stage: StageResult) -> int:
    return sum(margin_of(row) is not None for row in stage.rows)


def _counts(stage: StageResult) -> str:
    """How many rows the worst was found among, and how many were skipped."""
    skipped = sum(row.status is Status.SKIPPED for row in stage.rows)
    counts = [f"of {_gated(stage)}"] if _gated(stage) > 1 else []
    counts += [f"{skipped} skipped"] if skipped else []
    return f" ({', '.join(counts)})" if counts else ""


def _short(text: str) -> str:
    return text if len(text) <= _NOTE_CHARACTERS else f"{text[: _NOTE_CHARACTERS - 3]}..."
