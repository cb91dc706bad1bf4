"""The tables of `compare --layers` and `compare --ranges`."""

import math
from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from parity.localise.command import Findings
from parity.localise.layers import Difference, Localised, OpRow
from parity.localise.ranges import Range, Ranges

_PIPE_WIDTH = 200
_WORST = 5
_SHOWN = 20


def print_findings(found: Sequence[Findings], console: Console | None = None) -> None:
    """Print every table: rich on a terminal, plain and unbroken in a pipe."""
    console = console or Console()
    if not console.is_terminal:
        console = Console(file=console.file, width=_PIPE_WIDTH, no_color=True, highlight=False, soft_wrap=True)
    for one in found:
        console.print(Text(one.model, style="bold"))
        for layers in one.layers:
            _print_layers(layers, console)
        for ranges in one.ranges:
            _print_ranges(ranges, console)


def layer_of(module: str) -> str:
    """The path up to its first number, which is a layer's: `encoder.layers.3.norm` -> `encoder.layers.3`."""
    parts = module.split(".")
    end = next((i + 1 for i, part in enumerate(parts) if part.isdigit()), min(len(parts), 2))
    return ".".join(parts[:end]) or "(itself)"


def _print_layers(found: Localised, console: Console) -> None:
    title = found.component if found.function == "main" else f"{found.component} ({found.function})"
    runs = f"{found.runs} runs of the package, {found.eager_runs} of the wrapper, {found.kept} values in memory"
    console.print(Text(f"\n{title}: {found.aligned} of {found.values} values aligned, {runs}"))
    table = Table(box=None, header_style="dim")
    for name in ("layer", "ops", "error at its end", "largest added", "unrounded", "by", "source"):
        table.add_column(name, justify="right" if name in ("ops", "error at its end") else "left")
    for layer, group in groupby(found.rows, key=lambda row: layer_of(row.eager.module)):
        rows = list(group)
        worst = max(rows, key=lambda row: _size(row.added))
        style = "bold red" if any(row.cause(found.bounds) for row in rows) else ""
        end = _text(rows[-1].error) if rows[-1].error else ""
        table.add_row(layer, str(len(rows)), end, *_cells(worst), style=style)
    console.print(table)
    if found.fault:
        table = Table(box=None, header_style="dim", title="ops that add most", title_justify="left")
        for name in ("module", "error", "added", "unrounded", "op", "source"):
            table.add_column(name)
        for row in sorted(found.rows, key=lambda row: -_size(row.added))[:_WORST]:
            table.add_row(row.eager.module, _text(row.error) if row.error else "", *_cells(row))
        console.print(table)
    bounds = f"one op may add {found.bounds.precision:g}, without rounding {found.bounds.program:g}"
    console.print(Text(f"  bounds: {bounds} (rel. L2)", style="dim"))
    console.print(Text(found.verdict, style="bold red" if found.fault else "green"))


def _cells(row: OpRow) -> list[str]:
    return [_text(row.added), _text(row.added_unrounded), f"{row.op.name} ({row.op.type})", row.eager.source]


def _text(difference: Difference) -> str:
    if difference.non_finite:
        return f"{difference.non_finite} non-finite"
    return f"{difference.rel_l2:.2g}"


def _size(difference: Difference) -> float:
    return math.inf if difference.non_finite else difference.rel_l2


def _print_ranges(found: Ranges, console: Console) -> None:
    title = found.component if found.function == "main" else f"{found.component} ({found.function})"
    largest = max(found.rows, key=lambda row: row.largest, default=None)
    console.print(Text(f"\n{title}: {len(found.rows)} values over {found.calls} calls"))
    if largest:
        console.print(
            Text(f"  largest: {largest.largest:.4g}, {largest.op.name} ({largest.op.type}), {_where(largest)}")
        )
    if not found.risky:
        console.print(Text("  float16 holds every value", style="green"))
        return
    table = Table(box=None, header_style="dim")
    for name in ("in float16", "largest", "subnormal", "op", "module"):
        table.add_column(name)
    for row in found.risky[:_SHOWN]:
        assert row.risk
        op = f"{row.op.name} ({row.op.type})"
        table.add_row(row.risk.value, f"{row.largest:.4g}", f"{100 * row.tiny:.0f} %", op, _where(row))
    console.print(table)
    if len(found.risky) > _SHOWN:
        console.print(Text(f"  and {len(found.risky) - _SHOWN} more"))
    if found.selector:
        console.print(Text(f"  ComponentSpec: fp32_ops={found.fp32_ops!r}"))
        console.print(Text(f"  coremltools:   {found.selector}"))


def _where(row: Range) -> str:
    return row.op.scope or "the wrapper itself"
