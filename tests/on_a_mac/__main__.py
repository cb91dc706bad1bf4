"""Run everything that only a Mac can answer, and write one folder to send back.

`uv run python -m tests.on_a_mac [--quick]` converts the demos, asks the assumptions, measures every function on every
choice of compute units, keeps Core ML's plans and a capture of each model, and compares. It takes about half an hour.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from commands.demo import demo_bundle
from models import all_models
from tests.on_a_mac.assumptions import QUESTIONS, Answer
from toolkit.bundle.bundle import Bundle, open_bundle
from toolkit.compute_units import ALL_UNITS
from toolkit.runtimes.measuring import functions_of, time_on_core_ml
from toolkit.runtimes.plans import plan_function

FOLDER = Path("build/on-a-mac")


def main() -> int:
    """Write the folder; 0 where every assumption held."""
    parser = argparse.ArgumentParser(prog="python -m tests.on_a_mac", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one model, few calls, no comparison")
    quick = parser.parse_args().quick
    if sys.platform != "darwin":
        print("error: this asks Core ML, which runs on macOS only", file=sys.stderr)
        return 3
    folder = FOLDER / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    bundles = {model.id: open_bundle(demo_bundle(model)) for model in all_models().values()}
    write(folder / "machine.json", machine())
    answers = [question(bundles) for question in QUESTIONS]
    write(folder / "assumptions.json", [asdict(answer) for answer in answers])
    measured = dict(list(bundles.items())[:1]) if quick else bundles
    write(folder / "bench.json", bench(measured, runs=2 if quick else 20))
    write(folder / "plans.json", plans(measured))
    if not quick:
        compare(folder)
    (folder / "summary.md").write_text(summary(answers), encoding="utf-8")
    print(summary(answers))
    print(f"Send back the folder {folder}")
    return 0 if all(answer.held for answer in answers) else 1


def machine():
    """What this Mac is."""
    asked = {"chip": "machdep.cpu.brand_string", "model": "hw.model", "memory_bytes": "hw.memsize"}
    found = {what: _output("/usr/sbin/sysctl", "-n", key) for what, key in asked.items()}
    return found | {"macos": _output("/usr/bin/sw_vers"), "python": platform.python_version()}


def bench(bundles: dict[str, Bundle], runs: int):
    """Every function on every choice of units."""
    return {
        model: [asdict(timing) for units in ALL_UNITS for timing in time_on_core_ml(bundle, units, runs)]
        for model, bundle in bundles.items()
    }


def plans(bundles: dict[str, Bundle]):
    """Core ML's plan of every function, with all units allowed."""
    return {
        model: [asdict(plan_function(bundle, *function, "ALL")) for function in functions_of(bundle)]
        for model, bundle in bundles.items()
    }


def compare(folder: Path) -> None:
    """`compare` of every model on Core ML, with a capture to replay elsewhere."""
    for model in all_models():
        command = [sys.executable, "compare.py", model, "--num-files", "3", "--json"]
        done = subprocess.run([*command, "--save", folder / f"{model}.safetensors"], capture_output=True, text=True)
        (folder / f"compare-{model}.json").write_text(done.stdout, encoding="utf-8")
        (folder / f"compare-{model}.log").write_text(f"{done.stderr}\nexit {done.returncode}\n", encoding="utf-8")


def summary(answers: list[Answer]) -> str:
    """The assumptions as a table in Markdown."""
    said = {True: "held", False: "**did not hold**", None: "could not be asked"}
    rows = [f"| {a.assumption} | {said[a.held]} | {a.detail} |" for a in answers]
    return "\n".join(["| assumption | on this Mac | what it said |", "|---|---|---|", *rows, ""])


def write(file: Path, content) -> None:
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
