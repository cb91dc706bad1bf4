"""`--profile`: where the time of a run goes."""

import argparse
from collections.abc import Sequence

import numpy as np

from milrun.command.inputs import read_inputs
from milrun.command.programs import load_program
from milrun.command.table import print_table
from milrun.errors import InputError
from milrun.profile import Cost, profile

_RUNS = 5
_SHOWN = 30


def run_profile(options: argparse.Namespace) -> None:
    """Print time and bytes by op type, and by PyTorch module where the package says it; the longest first."""
    if not (options.input or options.random):
        raise InputError("there is nothing to run: give --input NAME=FILE.npy, or --random")
    model = load_program(options.package, options.function, options.part)
    rng = np.random.default_rng(options.seed) if options.random else None
    measured = profile(model, read_inputs(model.inputs, options.input, rng), options.runs or _RUNS)
    print(f"{model.path}: function '{model.function.name}', median of {measured.runs} runs after one that warms up")
    ops_s = sum(cost.seconds for cost in measured.by_op)
    print(f"a run: {_ms(measured.untimed_s)}; with every op timed: {_ms(measured.timed_s)}, its ops {_ms(ops_s)}")
    _print_costs("op type", measured.by_op)
    if any(cost.name for cost in measured.by_module):
        _print_costs("PyTorch module", measured.by_module)
    else:
        print("by PyTorch module: the package does not say which op came from which")


def _print_costs(title: str, costs: Sequence[Cost]) -> None:
    total = sum(cost.seconds for cost in costs) or 1.0
    lines = [(title, "calls", "ms", "share", "MB")]
    for cost in costs[:_SHOWN]:
        share = f"{100 * cost.seconds / total:.1f} %"
        lines.append(
            (cost.name or "-", str(cost.calls), f"{1000 * cost.seconds:.3f}", share, f"{cost.bytes / 1e6:.3f}")
        )
    print()
    print_table(lines)
    if len(costs) > _SHOWN:
        rest = sum(cost.seconds for cost in costs[_SHOWN:])
        print(f"{len(costs) - _SHOWN} more: {_ms(rest)}")


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3f} ms"
