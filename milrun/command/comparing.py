"""`--compare`: load two artefacts, run both, print and save what separates them."""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from milrun.command.inputs import read_inputs
from milrun.command.programs import load_program
from milrun.command.table import print_table
from milrun.comparison import Comparison, Difference, Row, Weight, compare
from milrun.comparison.interfaces import example_input, require_inputs
from milrun.errors import InputError, MilrunError
from milrun.model import Model

_SHOWN = 10  # rows of a list; --output-json has all
_NUMBERS = ("max abs", "rel L2", "cosine", "non-finite", "")
_HEADER = ("name", "op", "dtype", "shape", *_NUMBERS)


def run_comparison(options: argparse.Namespace) -> int:
    """Compare two artefacts; 0 when they are equal within rounding, 1 when they differ."""
    if not (options.input or options.random):
        raise InputError("there is nothing to run: give --input NAME=FILE.npy, or --random")
    a, b = (_loaded(path, options.function, options.part) for path in (options.package, options.compare))
    pairs = require_inputs(a, b).pairs
    declared = {name: example_input(a.inputs[name], b.inputs[pairs[name]]) for name in pairs}
    rng = np.random.default_rng(options.seed) if options.random else None
    comparison = compare(a, b, read_inputs(declared, options.input, rng))
    if options.output_json:  # what cannot be written is an error, with nothing on stdout
        options.output_json.write_text(json.dumps(as_json(a, b, comparison), indent=1), encoding="utf-8")
    _print(a, b, comparison, every_value=options.trace)
    return int(comparison.differs)


def as_json(a: Model, b: Model, comparison: Comparison) -> dict[str, Any]:
    """Everything that was compared; numbers that are not finite are null."""
    first = comparison.first
    return {
        "a": str(a.path),
        "b": str(b.path),
        "verdict": _verdict(comparison),
        "interface": list(comparison.interface),
        "missing": list(comparison.missing),
        "outputs": [_row_json(row) for row in comparison.outputs],
        "states": [_row_json(row) for row in comparison.states],
        "first_difference": None if first is None else _row_json(first),
        "values": [_row_json(row) for row in comparison.values],
        "aligned_by_name": comparison.by_name,
        "only_in_a": list(comparison.only[0]),
        "only_in_b": list(comparison.only[1]),
        "unpaired": list(comparison.unpaired),
        "weights_compared": comparison.weights_compared,
        "weights": [_weight_json(weight) for weight in comparison.weights],
    }


def _loaded(path: Path, function: str | None, part: str | None) -> Model:
    try:
        return load_program(path, function, part, cache_weights=False)
    except MilrunError as error:
        error.add_note(f"while loading {path}")
        raise


def _print(a: Model, b: Model, comparison: Comparison, every_value: bool) -> None:
    for side, model in (("A", a), ("B", b)):
        ops = sum(model.function.op_counts.values())
        print(f"{side}: {model.path}: function '{model.function.name}' ({model.function.opset}), {ops} ops")
    print("interface: " + ("differs, A | B" if comparison.interface else "the same"))
    for line in comparison.interface:
        print(f"  {line}")
    _print_rows("outputs", comparison.outputs)
    _print_rows("states after the run", comparison.states)
    for line in comparison.missing:
        print(line)
    _print_weights(comparison)
    _print_values(comparison, every_value)
    print(f"verdict: {_verdict(comparison)}")


def _print_rows(title: str, rows: Sequence[Row]) -> None:
    if rows:
        print(f"{title}:")
        print_table([_HEADER, *(_cells(row) for row in rows)])


def _print_weights(comparison: Comparison) -> None:
    rows = sorted(comparison.weights, key=_importance)
    beyond = [w for w in rows if w.differs]
    numbers = f"{comparison.weights_compared} compared, {comparison.weights_compared - len(rows)} bit-identical"
    print(f"constants: {numbers}, {len(beyond)} differ beyond rounding")
    if beyond:
        print_table([("name", "read by", "stored", "shape", *_NUMBERS), *(_weight_cells(w) for w in beyond[:_SHOWN])])
        _print_more(len(beyond))


def _importance(weight: Weight) -> tuple[bool, bool, float]:
    """Weights first, the largest difference first; then sizes and axes, and last what an op writes in words."""
    apart = weight.difference
    return weight.precision == "exact", bool(apart.fault), -apart.rel_l2 if not apart.fault else 0.0


def _print_values(comparison: Comparison, every_value: bool) -> None:
    rows = comparison.values
    identical = sum(row.difference.identical for row in rows)
    beyond = [row for row in rows if row.differs]
    counts = f"{identical} bit-identical, {len(rows) - identical - len(beyond)} within rounding, {len(beyond)} beyond"
    print(f"inner values: {len(rows)} compared ({comparison.by_name} aligned by name): {counts}")
    if every_value and rows:
        print_table([_HEADER, *(_cells(row) for row in rows)])
    for side, only in zip("AB", comparison.only, strict=True):
        if only:
            more = f" and {len(only) - _SHOWN} more" if len(only) > _SHOWN else ""
            print(f"  only in {side}: {', '.join(only[:_SHOWN])}{more}")
    if comparison.unpaired:
        print(f"  computed more often by one run: {', '.join(comparison.unpaired[:_SHOWN])}")
    if comparison.first is not None:
        print("first difference:")
        print_table([_HEADER, _cells(comparison.first)])
        if comparison.first.scope:
            print(f"  in {comparison.first.scope}")


def _print_more(count: int) -> None:
    if count > _SHOWN:
        print(f"  {count - _SHOWN} more: --output-json FILE has all")


def _verdict(comparison: Comparison) -> str:
    if comparison.differs:
        return "they differ"
    return "bit-identical" if comparison.identical else "equal within rounding"


def _both(pair: tuple[str, str]) -> str:
    return pair[0] if pair[0] == pair[1] else f"{pair[0]} | {pair[1]}"


def _cells(row: Row) -> tuple[str, ...]:
    numbers = _number_cells(row.difference, row.precision)
    return _both(row.names), _both(row.ops), _both(row.dtypes), str(list(row.shape)), *numbers


def _weight_cells(weight: Weight) -> tuple[str, ...]:
    reader = f"{weight.reader}.{weight.parameter}"
    numbers = _number_cells(weight.difference, weight.precision)
    return _both(weight.names), reader, _both(weight.stored), str(list(weight.shape)), *numbers


def _number_cells(apart: Difference, precision: str) -> tuple[str, ...]:
    bad = str(apart.non_finite[0]) if len(set(apart.non_finite)) == 1 else "{} | {}".format(*apart.non_finite)
    if apart.fault:
        return "-", "-", "-", bad, apart.fault
    judged = "differs" if not apart.within(precision) else "within rounding"
    judged = "bit-identical" if apart.identical else judged
    return f"{apart.max_abs:.3g}", f"{apart.rel_l2:.3g}", f"{apart.cosine:.6f}", bad, judged


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "names": row.names,
        "ops": row.ops,
        "dtypes": row.dtypes,
        "shape": row.shape,
        "precision": row.precision,
        "scope": row.scope,
        **_difference_json(row.difference, row.differs),
    }


def _weight_json(weight: Weight) -> dict[str, Any]:
    return {
        "names": weight.names,
        "read_by": weight.reader,
        "parameter": weight.parameter,
        "stored": weight.stored,
        "shape": weight.shape,
        "precision": weight.precision,
        **_difference_json(weight.difference, weight.differs),
    }


def _difference_json(apart: Difference, differs: bool) -> dict[str, Any]:
    return {
        "identical": apart.identical,
        "differs": differs,
        "max_abs": _number(apart.max_abs),
        "rel_l2": _number(apart.rel_l2),
        "cosine": _number(apart.cosine),
        "non_finite": apart.non_finite,
        "unlike": apart.unlike,
        "fault": apart.fault,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
