"""Look inside a package: `python -m milrun PACKAGE --random --trace`; A and B may also be compiled, `.mlmodelc`.

- `PACKAGE` prints what a function takes, gives and keeps (`--part`: of one part of a pipeline); with inputs it runs the
  function and prints the ranges of the outputs, or of every value (`--trace`), and where the first non-finite value
  arose.
- `A --compare B` runs both on the same inputs and prints what separates them.
- `PACKAGE --profile` prints where the time of a run goes, by op type and by PyTorch module.

A failure is one line on stderr and nothing on stdout. Exit codes: 0 fine, 1 the two packages differ, 2 the arguments
cannot be used (or a value named was not reached), 3 the program holds ops that milrun lacks, 4 an op failed, 141 the
process that reads the output has left.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from milrun import InputError, MilrunError, OpError, UnsupportedOpsError
from milrun.command.comparing import run_comparison
from milrun.command.look import look
from milrun.command.profiling import run_profile

BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells report it
# Options -> the modes that they mean something in.
_MODES = {
    "trace": ("look", "compare"),
    "keep": ("look",),
    "stop_after": ("look",),
    "output": ("look",),
    "output_json": ("compare",),
    "runs": ("profile",),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parse(arguments)
    if sys.stdout is None:
        print("milrun: standard output is closed", file=sys.stderr)
        return 2
    try:
        code = _run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads stdout has enough; Python would flush it once more, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (MilrunError, OSError) as error:
        text = "; ".join([str(error), *getattr(error, "__notes__", ())])
        print(f"milrun: {' '.join(text.split())}", file=sys.stderr)
        return _exit_code(error)
    return code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m milrun",
        description="Look inside an ML Program and run it, compare two, or measure where the time goes.",
    )
    parser.add_argument("package", type=Path, help="an .mlpackage or .mlmodelc folder")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--compare", type=Path, metavar="B", help="run B too, and print what separates the two")
    mode.add_argument("--profile", action="store_true", help="time and bytes by op type and PyTorch module")
    parser.add_argument("--function", metavar="F", help="which function of a multifunction package")
    parser.add_argument("--part", metavar="P", help="one part of a pipeline, by name or index")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE.npy", help="one input; repeatable")
    parser.add_argument("--random", action="store_true", help="random values for the inputs that are not given")
    parser.add_argument("--seed", type=_seed, default=0, help="of the random inputs (default: 0)")
    parser.add_argument("--trace", action="store_true", help="one line a value: op, shape, range or difference")
    parser.add_argument("--keep", action="append", default=[], metavar="NAME", help="save this value too; repeatable")
    parser.add_argument("--stop-after", metavar="NAME", help="end after this value, or after the first op of this type")
    parser.add_argument("--output", type=Path, metavar="DIR", help="save the outputs and what --keep names as .npy")
    parser.add_argument("--output-json", type=Path, metavar="FILE", help="with --compare: write every row as JSON")
    parser.add_argument("--runs", type=_runs, metavar="N", help="with --profile: runs that are timed (default: 5)")
    return parser.parse_args(arguments)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number from 0 on, got {text}")
    return int(text)


def _runs(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, got {text}")
    return int(text)


def _run(options: argparse.Namespace) -> int:
    mode = "compare" if options.compare else "profile" if options.profile else "look"
    for name, modes in _MODES.items():
        if getattr(options, name) and mode not in modes:
            wanted = " or ".join("no --compare or --profile" if m == "look" else f"--{m}" for m in modes)
            raise InputError(f"--{name.replace('_', '-')} goes with {wanted}")
    if mode == "compare":
        return run_comparison(options)
    (run_profile if mode == "profile" else look)(options)
    return 0


def _exit_code(error: Exception) -> int:
    if isinstance(error, UnsupportedOpsError):
        return 3
    return 4 if isinstance(error, OpError) else 2


if __name__ == "__main__":
    sys.exit(main())
