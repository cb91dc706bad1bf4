"""Looking into one package: its interface, and with inputs the values of a run."""

import argparse
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from milrun.command.inputs import read_inputs
from milrun.command.programs import only_a_program, part_names
from milrun.command.table import print_table
from milrun.errors import InputError
from milrun.loading import load
from milrun.model import Model
from milrun.pipeline import Pipeline
from milrun.suppression import Suppression
from milrun.watch import NotReachedWarning, TraceRow, array_row

_CLASSES_SHOWN = 5
_HEADER = ("name", "op", "dtype", "shape", "min", "max", "non-finite", "PyTorch module")


def look(options: argparse.Namespace) -> None:
    """Print what a package takes and gives, and run it where inputs are given."""
    model = load(options.package, options.function, part=options.part)
    if not (options.input or options.random):
        if options.trace or options.keep or options.stop_after or options.output:
            raise InputError("there is nothing to run: give --input NAME=FILE.npy, or --random")
        _print_interface(model)
        return
    inputs = read_inputs(model.inputs, options.input, np.random.default_rng(options.seed) if options.random else None)
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
        raise InputError(f"--trace, --keep and --stop-after look into one ML Program: {only_a_program(model)}")
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
        for title, part in zip(part_names(model), model.parts.values(), strict=True):
            ops = f", {_op_count(part)} ops" if isinstance(part, Model) else ""
            print(f"  {title}: {_what(part)}{ops}")


def _what(model: Model | Pipeline | Suppression) -> str:
    if isinstance(model, Pipeline):
        return f"a pipeline of {len(model.parts)} parts"
    if isinstance(model, Suppression):
        return f"non-maximum suppression, {len(model.labels) or 'no'} labels"
    several = f" of {', '.join(model.functions)}" if len(model.functions) > 1 else ""
    return f"function '{model.function.name}'{several} ({model.function.opset})"


def _op_count(model: Model) -> int:
    return sum(model.function.op_counts.values())


def _cells(row: TraceRow) -> tuple[str, ...]:
    numbers = f"{row.minimum:.6g}", f"{row.maximum:.6g}", str(row.non_finite)
    return row.name, row.op, row.dtype, str(list(row.shape)), *numbers, row.scope


def _print_rows(rows: Sequence[TraceRow]) -> None:
    if not rows:  # a classifier yields no tensor
        return
    columns = len(_HEADER) - (not any(row.scope for row in rows))  # few packages say which PyTorch module
    table = [line[:columns] for line in (_HEADER, *(_cells(row) for row in rows))]
    print_table(table)


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
