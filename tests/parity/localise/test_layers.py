"""Planted faults: the comparison op by op names the op, the module and the line, and bisection agrees."""

import numpy as np
import pytest
import torch

import milrun
from parity.localise.bisection import bisect
from parity.localise.eager_graph import EagerGraph, EagerOp
from parity.localise.layers import FP16_BOUNDS, FP32_BOUNDS, localise
from parity.localise.pairing import PackageOp, align, in_shape
from tests.gates import FLOAT32_SUMS
from tests.parity.localise.damage import Blocks, Damage, Squares, SwappedPairs, call, component, line_of, saved

LAYERS = 4
SPEC = component(lambda: Blocks(LAYERS))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return saved(SPEC, tmp_path_factory.mktemp("blocks"))


@pytest.fixture
def damage(package, tmp_path):
    return Damage(package, tmp_path)


def found(model, spec=SPEC, bounds=FP16_BOUNDS, given=None):
    """The fault of the full run, which bisection finds too."""
    given = given or call()
    full = localise(spec, "main", model, given, bounds)
    parts = bisect(spec, "main", model, given, bounds, parts=4, stretch=12)
    assert full.fault is not None
    assert parts.fault is not None
    assert (parts.fault.row.op, parts.fault.op, parts.fault.cause) == (
        full.fault.row.op,
        full.fault.op,
        full.fault.cause,
    )
    assert parts.fault.missing == full.fault.missing
    assert parts.kept < full.kept
    return full.fault


def test_a_healthy_package_has_no_fault(package):
    full = localise(SPEC, "main", milrun.load(package), call(), FP16_BOUNDS)
    assert full.fault is None
    assert full.verdict == "blocks: no op is out of bounds"
    assert (full.runs, full.eager_runs) == (3, 1)
    assert full.aligned > 0.9 * full.values
    errors = [row.error.rel_l2 for row in full.rows]
    assert max(row.added_unrounded.rel_l2 for row in full.rows) < 5e-4
    assert errors[-1] > 2 * full.rows[-1].added.rel_l2  # what it shows was mostly inherited
    assert bisect(SPEC, "main", milrun.load(package), call(), FP16_BOUNDS, stretch=12).fault is None


def test_a_float32_package_has_bounds_of_its_own(tmp_path):
    spec = component(lambda: Blocks(1))
    package = saved(spec, tmp_path / "wide", "fp32")
    assert localise(spec, "main", milrun.load(package), call(), FP32_BOUNDS).fault is None
    damage = Damage(package, tmp_path)
    damage.constant(damage.op("layer_norm", "0.norm"), "epsilon").immediateValue.tensor.floats.values[:] = [1e-3]
    fault = localise(spec, "main", damage.save(), call(), FP32_BOUNDS).fault
    assert (fault.op.type, fault.cause) == ("layer_norm", "program")


def test_a_scaled_weight(damage):
    damage.scale_weight(damage.op("linear", "2.up"), "weight", 1.05)
    fault = found(damage.save())
    assert (fault.op.type, fault.op.scope, fault.cause, fault.missing) == ("linear", "2.up", "program", None)
    assert fault.eager.module == "layers.2.up"
    assert fault.eager.source == line_of("up")
    assert fault.row.added.rel_l2 == pytest.approx(0.05, abs=0.02)


def test_another_epsilon(damage):
    epsilon = damage.constant(damage.op("layer_norm", "1.norm"), "epsilon")
    epsilon.immediateValue.tensor.bytes.values = np.float16(0.02).tobytes()
    fault = found(damage.save())
    assert (fault.op.type, fault.eager.module, fault.cause) == ("layer_norm", "layers.1.norm", "program")


def test_rope_pairs_swapped_in_the_package(damage):
    concat = damage.op("concat", "2.attention")
    halves = concat.inputs["values"].arguments
    first, second = halves[0].name, halves[1].name
    halves[0].name, halves[1].name = second, first
    fault = found(damage.save())
    assert (fault.op.type, fault.eager.module, fault.cause) == ("concat", "layers.2.attention", "program")
    assert fault.eager.source == line_of("rope")


def test_rope_pairs_swapped_in_the_wrapper_of_a_package_made_before(package):
    fault = localise(component(lambda: Blocks(LAYERS, SwappedPairs)), "main", milrun.load(package), call(), FP16_BOUNDS)
    assert fault.fault.eager.module == "layers.0.attention"
    assert fault.fault.cause == "program"
    assert int(fault.fault.eager.source.rpartition(":")[2]) in range(*swapped_lines())


def swapped_lines():
    start = int(line_of("swapped").rpartition(":")[2])
    return start, start + 2


@pytest.mark.parametrize(("type", "place", "line"), [("add", 2, "mask"), ("mul", 0, "valid")])
def test_a_dropped_mask(damage, type, place, line):
    scope = "1.attention" if line == "mask" else "1"
    damage.drop(damage.op(type, scope, place))
    fault = found(damage.save())
    assert fault.missing is not None
    assert fault.missing.kind == f"aten::{type}"
    assert fault.eager.source == line_of(line)
    assert fault.cause == "program"
    assert "is missing in front of" in str(fault)


def test_softmax_over_the_wrong_axis_has_its_line(damage):
    damage.constant(damage.op("softmax", "3.attention"), "axis").immediateValue.tensor.ints.values[:] = [-2]
    fault = found(damage.save())
    assert (fault.op.type, fault.eager.module, fault.eager.source) == (
        "softmax",
        "layers.3.attention",
        line_of("softmax"),
    )


def test_overflow_in_a_square_is_a_fault_of_precision(tmp_path):
    spec = component(Squares)
    model = milrun.load(saved(spec, tmp_path / "squares"))
    given = call(length=3000)
    assert np.isnan(model.predict(given.inputs)["y"]).any()
    fault = localise(spec, "main", model, given, FP16_BOUNDS).fault
    assert (fault.op.type, fault.cause) == ("mul", "precision")
    assert fault.eager.source == line_of("squares")
    assert fault.row.added.non_finite > 0
    assert "non-finite values; cause: precision" in str(fault)
    assert bisect(spec, "main", model, given, FP16_BOUNDS, parts=2, stretch=3).fault.op == fault.op
    assert localise(spec, "main", model, call(), FP16_BOUNDS).fault is None


def test_nan_from_a_weight_does_not_hide_what_comes_before_it(damage):
    damage.scale_weight(damage.op("linear", "2.down"), "weight", np.nan)
    damage.scale_weight(damage.op("linear", "1.up"), "weight", 1.05)
    model = damage.save()
    fault = found(model)
    assert fault.op.scope == "1.up"
    rows = localise(SPEC, "main", model, call(), FP16_BOUNDS).rows
    bad = [row.op.scope for row in rows if row.cause(FP16_BOUNDS)]
    assert bad == ["1.up", "2.down"]


def test_bisection_needs_few_runs_and_holds_few_values(damage):
    damage.scale_weight(damage.op("linear", "3.up"), "weight", 1.05)
    model = damage.save()
    full = localise(SPEC, "main", model, call(), FP16_BOUNDS)
    parts = bisect(SPEC, "main", model, call(), FP16_BOUNDS, parts=8, stretch=8)
    assert parts.fault.op == full.fault.op
    assert (parts.runs, parts.eager_runs) == (4, 3)
    assert parts.kept <= full.kept / 4


def test_the_traced_wrapper_computes_what_the_wrapper_does():
    given = call()
    graph = EagerGraph(SPEC, "main")
    wrapper = SPEC.build("main").eval()
    with torch.no_grad():
        expected = wrapper(*(torch.from_numpy(given.inputs[name]) for name in ("x", "length")))
    np.testing.assert_allclose(graph.run(given.inputs, {})["y"], expected.numpy(), **FLOAT32_SUMS)
    assert {op.module for op in graph.ops.values()} >= {"", "layers.0.attention", "layers.3.down"}


def test_forms_of_another_layout():
    value = np.arange(6.0).reshape(1, 2, 3)
    assert [form.tolist() for form in in_shape(value, (1, 2, 3))] == [value.tolist()]
    assert [[0, 3], [1, 4], [2, 5]] in [form.tolist() for form in in_shape(value, (3, 2))]
    assert list(in_shape(value, (4, 2))) == []


def test_transposes_that_a_pass_moved_are_paired_by_what_they_are_made_of():
    """Queries and keys of one shape: the package lays the keys out first, the wrapper the queries."""

    def eager_op(name, kind, parents, index):
        return EagerOp(name, f"aten::{kind}", "attention", "wrappers/x.py:1", (1, 4, 8, 2), parents, index)

    def package_op(name, kind, reads, index):
        return PackageOp(name, kind, "attention", "fp16", (1, 4, 8, 2), reads, index)

    eager = [eager_op("query", "linear", (), 0), eager_op("key", "linear", (), 1)]
    eager += [eager_op("q", "transpose", ("query",), 2), eager_op("k", "transpose", ("key",), 3)]
    ours = [package_op("query", "linear", (), 0), package_op("key", "linear", (), 1)]
    ours += [package_op("transpose_7", "transpose", ("key",), 2), package_op("transpose_8", "transpose", ("query",), 3)]
    ours += [package_op("transpose_9", "transpose", ("key",), 4)]  # no second one in the wrapper
    pairs = align({op.name: op for op in ours}, {op.name: op for op in eager}, {})
    assert pairs == {"query": "query", "key": "key", "transpose_7": "k", "transpose_8": "q"}
