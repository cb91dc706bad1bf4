"""Look inside a package: `python -m milrun PACKAGE --random --trace`; of a pipeline, inside one part (`--part`).

Prints what a function takes, gives and keeps; with inputs it runs the function and prints the ranges of the outputs,
or of every value on the way (`--trace`), and where the first non-finite value arose. A failure is one line on stderr
and nothing on stdout. Exit codes: 0 fine, 2 what was given cannot be used (or a value named was not reached), 3 the
program holds ops that milrun lacks, 4 an op failed, 141 who reads the output has left.
"""

import argparse
import json
import os
import sys
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from milrun import InputError, MilrunError, Model, OpError, Pipeline, Suppression, TraceRow, UnsupportedOpsError, load
from milrun.interface import InputType
from milrun.watch import NotReachedWarning, array_row

BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells report it
_CLASSES_SHOWN = 5
_HEADER = ("name", "op", "dtype", "shape", "min", "max", "non-finite", "PyTorch module")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parse(arguments)
    if sys.stdout is None:
        print("milrun: standard output is closed", file=sys.stderr)
        return 2
    try:
        _run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads stdout has enough; Python would flush it once more, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (MilrunError, OSError) as error:
        print(f"milrun: {' '.join(str(error).split())}", file=sys.stderr)
        return _exit_code(error)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m milrun", description="Look inside an ML Program and run it.")
    parser.add_argument("package", type=Path, help="an .mlpackage or .mlmodelc folder")
    parser.add_argument("--function", metavar="F", help="which function of a multifunction package")
    parser.add_argument("--part", metavar="P", help="one part of a pipeline, by name or index")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE.npy", help="one input; repeatable")
    parser.add_argument("--random", action="store_true", help="random values for the inputs that are not given")
    parser.add_argument("--seed", type=_seed, default=0, help="of the random inputs (default: 0)")
    parser.add_argument("--trace", action="store_true", help="one line a value: op, shape, range, non-finite")
    parser.add_argument("--keep", action="append", default=[], metavar="NAME", help="save this value too; repeatable")
    parser.add_argument("--stop-after", metavar="NAME", help="end after this value, or after the first op of this type")
    parser.add_argument("--output", type=Path, metavar="DIR", help="save the outputs and what --keep names as .npy")
    return parser.parse_args(arguments)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number from 0 on, got {text}")
    return int(text)


def _run(options: argparse.Namespace) -> None:
    model = load(options.package, options.function, part=options.part)
    if not (options.input or options.random):
        if options.trace or options.keep or options.stop_after or options.output:
            raise InputError("there is nothing to run: give --input NAME=FILE.npy, or --random")
        _print_interface(model)
        return
    inputs = _inputs(model, options.input, np.random.default_rng(options.seed) if options.random else None)
    if isinstance(model, Model):
        _run_program(model, inputs, options)
    else:
        _run_whole(model, inputs, options)


def _run_program(model: Model, inputs: Mapping[str, np.ndarray], options: argparse.Namespace) -> None:
    wanted = set(options.keep) | (set() if options.stop_after else set(model.outputs))
    state = model.make_state() if model.states else None
    keep = wanted | set(model.inputs)
    with warnings.catch_warnings(record=True) as missed:
        warnings.simplefilter("always", NotReachedWarning)
        values, rows = model.inspect(inputs, state, keep=keep, stop_after=options.stop_after, trace=True)
    values = {name: value for name, value in values.items() if name in wanted}
    _print_interface(model)
    _print_rows(rows if options.trace else [row for row in rows if row.name in wanted])
    _print_labels(values)
    print(_first_non_finite(rows))
    if options.output:
        _save(values, options.output)
    if missed:
        raise InputError(str(missed[0].message))


def _run_whole(model: Pipeline | Suppression, inputs: Mapping[str, np.ndarray], options: argparse.Namespace) -> None:
    if options.trace or options.keep or options.stop_after:
        parts = ", ".join(_part_names(model)) if isinstance(model, Pipeline) else "this one is none"
        raise InputError(f"--trace, --keep and --stop-after look into one ML Program: name it with --part ({parts})")
    values = model.predict(inputs, model.make_state() if model.states else None)
    op = "pipeline" if isinstance(model, Pipeline) else "suppression"
    rows = [array_row(name, op, value) for name, value in values.items() if isinstance(value, np.ndarray)]
    _print_interface(model)
    _print_rows(rows)
    _print_labels(values)
    print(_first_non_finite(rows))
    if options.output:
        _save(values, options.output)


def _print_interface(model: Model | Pipeline | Suppression) -> None:
    print(f"{model.path}: {_what(model)}")
    for title, types in (("input", model.inputs), ("output", model.outputs), ("state", model.states)):
        for name, declared in types.items():
            print(f"  {title:6} {name}: {declared}")
    if isinstance(model, Model):
        counts = sorted(model.function.op_counts.items(), key=lambda pair: (-pair[1], pair[0]))
        print(f"  {_op_count(model)} ops: {', '.join(f'{op} x{count}' for op, count in counts)}")
    elif isinstance(model, Pipeline):
        for title, part in zip(_part_names(model), model.parts.values(), strict=True):
            ops = f", {_op_count(part)} ops" if isinstance(part, Model) else ""
            print(f"  {title}: {_what(part)}{ops}")


def _what(model: Model | Pipeline | Suppression) -> str:
    if isinstance(model, Pipeline):
        return f"a pipeline of {len(model.parts)} parts"
    if isinstance(model, Suppression):
        return f"non-maximum suppression, {len(model.labels) or 'no'} labels"
    several = f" of {', '.join(model.functions)}" if len(model.functions) > 1 else ""
    return f"function '{model.function.name}'{several} ({model.function.opset})"


def _part_names(model: Pipeline) -> list[str]:
    return [f"part {index} '{name}'" for index, name in enumerate(model.parts)]


def _op_count(model: Model) -> int:
    return sum(model.function.op_counts.values())


def _inputs(
    model: Model | Pipeline | Suppression, given: Sequence[str], rng: np.random.Generator | None
) -> dict[str, np.ndarray]:
    inputs = {}
    for item in given:
        name, separator, file = item.partition("=")
        if not separator:
            raise InputError(f"--input wants NAME=FILE.npy, got '{item}'")
        inputs[name] = _read_array(Path(file))
    if rng is not None:
        for name, declared in model.inputs.items():
            if name not in inputs and not _is_setting(declared):
                inputs[name] = _random_array(declared, rng)
    return inputs


def _is_setting(declared: InputType) -> bool:
    """Whether an input is a number with a usual value, such as a threshold, for which a random one is of no use."""
    return declared.default is not None and declared.shape == ()


def _read_array(file: Path) -> np.ndarray:
    try:
        loaded = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, MemoryError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} is not a .npy file: {error}") from error
    if not isinstance(loaded, np.ndarray):
        raise InputError(f"{file} holds several arrays: give one .npy file an input")
    return loaded


def _random_array(declared: InputType, rng: np.random.Generator) -> np.ndarray:
    """Normal floats, integers 0 and 1 (an index or a length that is rarely out of range), in the default shape."""
    shape = declared.example_shape
    if declared.dtype.startswith("float"):
        return rng.standard_normal(shape).astype(declared.dtype)
    return rng.integers(0, 2, shape).astype(declared.dtype)


def _cells(row: TraceRow) -> tuple[str, ...]:
    numbers = f"{row.minimum:.6g}", f"{row.maximum:.6g}", str(row.non_finite)
    return row.name, row.op, row.dtype, str(list(row.shape)), *numbers, row.scope


def _print_rows(rows: Sequence[TraceRow]) -> None:
    if not rows:  # a classifier yields no tensor
        return
    columns = len(_HEADER) - (not any(row.scope for row in rows))  # few packages say which PyTorch module
    table = [line[:columns] for line in (_HEADER, *(_cells(row) for row in rows))]
    widths = [max(len(line[column]) for line in table) for column in range(columns)]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_labels(values: Mapping[str, Any]) -> None:
    """What a classifier yields: a label, and the likeliest classes."""
    for name, value in values.items():
        if isinstance(value, str):
            print(f"{name}: {value}")
        elif isinstance(value, dict):
            best = sorted(value.items(), key=lambda pair: -pair[1])[:_CLASSES_SHOWN]
            listed = ", ".join(f"{label} {share:.6g}" for label, share in best)
            print(f"{name}: {listed} ({len(value)} classes)")


def _first_non_finite(rows: Sequence[TraceRow]) -> str:
    for row in rows:
        if row.non_finite:
            where = f"'{row.name}' ({row.op}, {row.dtype} {list(row.shape)}) {row.scope}".rstrip()
            return f"first non-finite: {row.non_finite} in {where}"
    return f"all {len(rows)} values are finite"


def _save(values: Mapping[str, Any], folder: Path) -> None:
    """Arrays as .npy, one file for each element of a list; a label or its probabilities as .json."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        file = folder / f"{name.replace('/', '_')}"
        for index, element in enumerate(value if isinstance(value, list) else [value]):
            place = f"{file}.{index}" if isinstance(value, list) else f"{file}"
            if isinstance(element, np.ndarray):
                place += ".npy"
                np.save(place, element)
            else:
                place += ".json"
                Path(place).write_text(json.dumps(element, ensure_ascii=False), encoding="utf-8")
            print(f"saved {place}")


def _exit_code(error: Exception) -> int:
    if isinstance(error, UnsupportedOpsError):
        return 3
    return 4 if isinstance(error, OpError) else 2


if __name__ == "__main__":
    sys.exit(main())
