"""Run the matrix: one line per row, then what failed.

uv run python -m tests.matrix [--list] [--only NAME]... [-- PYTEST ARGUMENTS]
"""

import argparse
import os
import re
import subprocess
import sys
import time

from tests.matrix.settings import SETTINGS, Setting

_COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")


def main() -> int:
    """Exit code 1 when a row failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__.split("\n\n")[0])
    names = [setting.name for setting in SETTINGS]
    parser.add_argument("--list", action="store_true", help="print the rows and run nothing")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help="one row; may be repeated")
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --; a path replaces the selection")
    arguments = parser.parse_args()
    chosen = [setting for setting in SETTINGS if setting.name in (arguments.only or names)]
    if arguments.list:
        for setting in chosen:
            print(f"{setting.name:<16}{setting.about}")
        return 0
    print(f"{'row':<16}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}", flush=True)
    results = [run(setting, arguments.pytest) for setting in chosen]
    return int(not all(results))


def run(setting: Setting, extra: list[str]) -> bool:
    """Run one row and print its line; whether it passed."""
    started = time.monotonic()
    environment = os.environ | setting.environment
    done = subprocess.run(command(setting, extra), env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    counts = dict.fromkeys(("passed", "failed", "error", "skipped"), 0)
    for count, kind in _COUNT.findall(done.stdout.rstrip().rpartition("\n")[2]):
        counts[kind.removesuffix("s") if kind == "errors" else kind] = int(count)
    failed = counts["failed"] + counts["error"]
    print(f"{setting.name:<16}{counts['passed']:>8}{failed:>8}{counts['skipped']:>9}{seconds:>9.0f}", flush=True)
    if done.returncode:
        lines = done.stdout.splitlines()
        named = [line for line in lines if line.startswith(("FAILED", "ERROR"))] or lines[-20:]
        print(*named, done.stderr[-2000:], sep="\n", flush=True)
    return done.returncode == 0


def command(setting: Setting, extra: list[str]) -> list[str]:
    """How pytest is called for a row."""
    python = [sys.executable]
    if setting.python:
        python = ["uv", "run", "--quiet", "--isolated", "--python", setting.python, "python"]
    plugin = ["-p", setting.plugin] if setting.plugin else []
    tests = [] if any(os.path.exists(word.partition("::")[0]) for word in extra) else setting.tests
    return [*python, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", *plugin, *extra, *tests]


if __name__ == "__main__":
    raise SystemExit(main())
