"""Conversions and inferences of one output, started two at a time and killed at random; only whole bundles may be left.

`python -m tests.two_at_once --starts 200` does it at length. The processes are real and are killed with SIGKILL; a fork
server spares each one the import of torch.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import convert
import infer
from tests.models.parakeet_tdt.tiny import save_tiny_checkpoint
from toolkit.bundle.bundle import open_bundle
from toolkit.errors import BundleError
from toolkit.export import checkpoint

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "demo" / "clips" / "ps_goforward.wav"
PRELOADED = ["tests.models.parakeet_tdt.tiny", "commands.convert_model", "commands.listening", "commands.demo"]
DEMO = Path("build") / "parakeet-tdt"  # where infer without a bundle makes one
# What a killed writer may leave for the next one.
LEFTOVERS = {"demo", "demo.partial", ".demo.lock", ".demo.old"}
CONVERT = ("convert", "parakeet-tdt", "--checkpoint", "demo")
INFER = ("infer", str(CLIP), "--max-symbols", "10")  # a random checkpoint does not end by itself
COMMANDS = (
    (*CONVERT, "--only", "joint", "--only", "prediction"),
    (*CONVERT, "--only", "joint"),
    (*CONVERT, "--only", "joint", "--only", "prediction", "--precision", "fp32"),
    (*CONVERT, "--only", "joint", "--force"),
    (*CONVERT, "--only", "prediction"),
    ("convert", "inspect", str(DEMO / "demo")),
    INFER,
)


@dataclass
class Tally:
    """What became of the starts: how they ended, how often a reader found a bundle, and what was wrong."""

    starts: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def main() -> int:
    """Run as a script; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop early")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        tally = stress(Path(folder), arguments.starts, arguments.seed, arguments.seconds)
    print(f"{tally.starts} starts: {dict(tally.ends)}; bundle afterwards: {dict(tally.seen)}", *tally.wrong, sep="\n")
    return int(bool(tally.wrong))


def stress(folder: Path, starts: int, seed: int = 0, seconds: float = float("inf")) -> Tally:
    """Start pairs of commands on one output; kill about half of them.

    Args:
        folder: empty.
        starts: in all, two at a time.
        seed: of what is started and killed.
        seconds: stop earlier than that.
    """
    save_tiny_checkpoint(folder / "demo" / "checkpoints" / "parakeet-tdt")
    (folder / "demo" / "clips").symlink_to(ROOT / "demo" / "clips")
    (folder / "work" / DEMO).mkdir(parents=True)
    rng, tally, until = random.Random(seed), Tally(), time.monotonic() + seconds
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    while tally.starts < starts and time.monotonic() < until:
        _round(context, folder, rng, tally)
    _last(context, folder, tally)
    return tally


def _round(context: Any, folder: Path, rng: random.Random, tally: Tally) -> None:
    if rng.random() < 0.3:  # a first run again, with whatever else is left there
        shutil.rmtree(folder / "work" / DEMO / "demo", ignore_errors=True)
    pair = [_start(context, folder, rng.choice(COMMANDS), i) for i in range(2)]
    for process in pair:
        process.join(rng.uniform(0.05, 6) if rng.random() < 0.5 else None)
        process.kill()
    for i, process in enumerate(pair):
        process.join()
        _note_end(folder / f"{i}.err", process.exitcode, tally)
    _note_bundle(folder / "work" / DEMO, tally)


def _last(context: Any, folder: Path, tally: Tally) -> None:
    """An undisturbed command takes up what is there, and leaves nothing beside the bundle."""
    process = _start(context, folder, INFER, 0)
    process.join()
    _note_end(folder / "0.err", process.exitcode, tally)
    _note_bundle(folder / "work" / DEMO, tally)
    if (left := _names(folder / "work" / DEMO)) != {"demo"}:
        tally.wrong.append(f"left at the end: {left}")


def _note_end(err: Path, code: int, tally: Tally) -> None:
    said = err.read_text(encoding="utf-8") if err.exists() else ""
    err.unlink(missing_ok=True)
    tally.starts += 1
    tally.ends["killed" if code == -signal.SIGKILL else f"exit {code}"] += 1
    tally.ends["of which waited"] += "another process is writing" in said
    expected = (code == 2 and "no bundle at" in said) or (code == 2 and "--only would drop them" in said)
    if code not in (0, -signal.SIGKILL) and not expected:
        tally.wrong.append(f"exit {code}: {said[-300:]}")


def _note_bundle(place: Path, tally: Tally) -> None:
    """What stands there before anyone has taken up what was killed, as the next reader finds it."""
    left = _names(place)
    if left - LEFTOVERS:
        tally.wrong.append(f"left behind: {left - LEFTOVERS}")
    if not left & {"demo", ".demo.old"}:
        tally.seen["none yet"] += 1
        return
    try:
        open_bundle(place / "demo")
        tally.seen["whole" if "demo" in left else "whole, taken back"] += 1
    except BundleError as error:
        tally.wrong.append(f"not whole: {error}")


def _names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()}


def _start(context: Any, folder: Path, command: tuple[str, ...], number: int) -> Any:
    process = context.Process(target=_command, args=(folder, command, f"{number}.err"))
    process.start()
    return process


def _command(folder: Path, command: tuple[str, ...], err: str) -> None:
    """One command, in a process of its own, with its words in a file."""
    os.chdir(folder / "work")
    checkpoint.DEMO_FOLDER = folder / "demo"
    sys.argv = list(command)
    module = {"convert": convert, "infer": infer}[command[0]]
    with (
        (folder / err).open("w", buffering=1, encoding="utf-8") as stream,
        contextlib.redirect_stderr(stream),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        module.main()


if __name__ == "__main__":
    raise SystemExit(main())
