"""Timing, and running a measurement in a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def seconds(call: Callable[[], Any], repeats: int = 3) -> float:
    """Shortest wall time of a few calls, in seconds, after one call to warm up."""
    call()
    return min(_timed(call) for _ in range(repeats))


def alternately(calls: Mapping[str, Callable[[], Any]], repeats: int = 5) -> dict[str, float]:
    """Shortest wall time of each call, in seconds, taken in turn so that all share what else goes on."""
    for call in calls.values():
        call()
    times = [{name: _timed(call) for name, call in calls.items()} for _ in range(repeats)]
    return {name: min(turn[name] for turn in times) for name in calls}


def _timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# Runs `module.function(*arguments)` and prints its result with the process' peak resident memory.
_CHILD = """
import importlib, json, resource, sys
module, function, arguments = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
result = getattr(importlib.import_module(module), function)(*arguments)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print("RESULT " + json.dumps(result | {"peak_gib": peak}))
"""


def in_process(module: str, function: str, *arguments: Any) -> dict[str, Any]:
    """Call a function that returns a dict in a fresh Python process; adds `peak_gib`."""
    command = [sys.executable, "-c", _CHILD, module, function, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not lines:
        raise RuntimeError(f"{module}.{function} failed:\n{done.stdout}\n{done.stderr}")
    return dict(json.loads(lines[-1].removeprefix("RESULT ")))


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a Markdown table."""
    print(f"### {title}\n")
    for row in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    print(flush=True)
