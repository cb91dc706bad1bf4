"""Timing, and running a measurement in a process of its own."""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def seconds(call: Callable[[], Any], repeats: int = 3) -> float:
    """Shortest wall time of a few calls, in seconds, after one call to warm up."""
    call()
    return min(_timed(call) for _ in range(repeats))


def alternately(
    calls: Mapping[str, Callable[[], Any]], repeats: int = 5, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Shortest time of each call, in seconds, taken in turn so that all share what else goes on."""
    for call in calls.values():
        call()
    times = [{name: _timed(call, clock) for name, call in calls.items()} for _ in range(repeats)]
    return {name: min(turn[name] for turn in times) for name in calls}


def _timed(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    call()
    return clock() - start


# Runs `module.function(*arguments)` and prints its result with the process' peak resident memory.
_CHILD = """
import importlib, json, resource, sys
module, function, arguments = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
result = getattr(importlib.import_module(module), function)(*arguments)
unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
print("RESULT " + json.dumps(result | {"peak_gib": peak}))
"""


def in_process(module: str, function: str, *arguments: Any) -> dict[str, Any]:
    """Call a function that returns a dict in a fresh Python process.

    Adds `peak_gib`, its largest resident memory, and `peak_own_gib`, the largest part of it that no file backs
    (sampled; NaN where there is no /proc): pages of a mapped checkpoint count in the first, and the system takes them
    back when it needs room.
    """
    command = [sys.executable, "-c", _CHILD, module, function, json.dumps(arguments)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err, text=True)
        own = 0.0
        while child.poll() is None:
            own = max(_anonymous_gib(child.pid), own)  # NaN stays
            time.sleep(0.05)
        out.seek(0), err.seek(0)
        printed, complaints = out.read(), err.read()
    lines = [line for line in printed.splitlines() if line.startswith("RESULT ")]
    if child.returncode or not lines:
        raise RuntimeError(f"{module}.{function} failed:\n{printed}\n{complaints}")
    return dict(json.loads(lines[-1].removeprefix("RESULT "))) | {"peak_own_gib": own}


def _anonymous_gib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    if not Path("/proc").exists():
        return math.nan  # macOS does not tell one process about another
    try:
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines() if ":" in line)
    except OSError:  # it has just ended
        return 0.0
    return float(lines.get("RssAnon", "0 kB").split()[0]) / 2**20


def resident_gib() -> float:
    """Memory that this process holds now."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**30
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True)
    return int(shown.stdout) / 2**20


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a Markdown table."""
    print(f"### {title}\n")
    for row in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    print(flush=True)
