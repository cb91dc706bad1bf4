"""Each rule with a tiny program that triggers it, and a near miss that does not."""

from dataclasses import replace

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb

from milrun.program import TensorType
from tests.milrun.harness import save_program, save_stateful
from tests.toolkit.lint.programs import conv, findings_in, half, rules_of, views_of, weights
from toolkit.lint import programs, target
from toolkit.lint.forecast import RULES, findings_of
from toolkit.lint.target import Target
from toolkit.lint.view import FunctionView

X = {"x": half(1, 4, 32, 32)}
LINE = {"x": half(1, 4, 512)}
LSTM = {"weight_ih": weights(32, 8), "weight_hh": weights(32, 8)}
TABLE = weights(64, 32)


def fill(value):
    return lambda x: mb.add(x=x, y=np.full((1, 4, 32, 32), value, dtype=np.float16))


def lstm(x):
    return mb.lstm(x=x, initial_h=weights(1, 8), initial_c=weights(1, 8), **LSTM)[0]


def slice_last(begin):
    return lambda x: mb.slice_by_index(x=x, begin=[0, 0, 0, begin], end=[1, 4, 32, begin + 16])


def tall(height):
    return {"x": half(1, 1, height, 32)}


def pool(size, stride):
    sides = {"kernel_sizes": [size, size], "strides": [stride, stride]}
    return lambda x: mb.max_pool(x=x, pad_type="valid", **sides)


# rule -> (program, inputs) that triggers it, and a near miss
CASES = {
    "float32-program": ((mb.relu, {"x": np.zeros((1, 32), np.float32)}), (mb.relu, {"x": half(1, 32)})),
    "float32-op": (
        (lambda x: (mb.relu(x=x), mb.relu(x=mb.cast(x=x, dtype="fp32"))), X),
        (lambda x: mb.cast(x=mb.relu(x=x), dtype="fp32"), X),
    ),
    "recurrent": ((lstm, {"x": half(3, 1, 8)}), (lambda x: mb.tanh(x=x), {"x": half(3, 1, 8)})),
    "lookup": (
        (lambda i: mb.gather(x=TABLE, indices=i, axis=0), {"i": np.zeros(4, np.int32)}),
        (lambda x: mb.matmul(x=x, y=TABLE), {"x": half(4, 64)}),
    ),
    "no-kernel": (
        (lambda x: mb.reduce_argmax(x=x, axis=-1), X),
        (lambda x: mb.reduce_max(x=x, axes=[-1]), X),
    ),
    "cast": ((lambda x: mb.cast(x=x, dtype="fp32"), X), (mb.relu, X)),
    "state": (
        (lambda x: mb.slice_update(x=x, update=weights(1, 4, 1, 32), begin=[0, 0, 0, 0], end=[1, 4, 1, 32]), X),
        (lambda x: mb.concat(values=[x, weights(1, 4, 1, 32)], axis=2), X),
    ),
    "control-flow": (
        (lambda x: mb.argsort(x=x, axis=-1), X),
        (lambda x: mb.reduce_max(x=x, axes=[-1]), X),
    ),
    "attention-op": (
        (lambda x: mb.scaled_dot_product_attention(query=x, key=x, value=x), X),
        (lambda x: mb.matmul(x=mb.softmax(x=mb.matmul(x=x, y=x, transpose_y=True)), y=x), X),
    ),
    "square-width": (
        (lambda x: mb.sqrt(x=mb.square(x=x)), {"x": half(1, 100)}),
        (lambda x: mb.sqrt(x=mb.square(x=x)), {"x": half(1, 64)}),
    ),
    "reflect-pad": (
        (lambda x: mb.pad(x=x, pad=[0, 0, 1, 1], mode="reflect"), X),
        (lambda x: mb.pad(x=x, pad=[0, 0, 1, 1], mode="constant"), X),
    ),
    "mask": ((fill(-np.inf), X), (fill(-1e4), X)),
    "rank-5": ((lambda x: mb.expand_dims(x=x, axes=[0]), X), (mb.relu, X)),
    "dimension": ((mb.relu, tall(16_385)), (mb.relu, tall(16_384))),
    "zero-length": (
        (lambda x: mb.slice_by_size(x=x, begin=[0, 0, 0, 0], size=[1, 4, 0, 32]), X),
        (lambda x: mb.slice_by_size(x=x, begin=[0, 0, 0, 0], size=[1, 4, 1, 32]), X),
    ),
    "narrow-last-axis": ((mb.relu, {"x": half(1, 4, 33)}), (mb.relu, {"x": half(1, 4, 64)})),
    "last-axis-move": (
        (lambda x: mb.transpose(x=x, perm=[0, 1, 3, 2]), X),
        (lambda x: mb.transpose(x=x, perm=[0, 2, 1, 3]), X),
    ),
    "last-axis-slice": ((slice_last(16), X), (slice_last(0), X)),
    "kernel-width": ((lambda x: conv(x, 14), LINE), (lambda x: conv(x, 13), LINE)),
    "stride": (
        (lambda x: conv(x, 3, 3, strides=(5, 5)), X),
        (lambda x: conv(x, 3, 3, strides=(6, 6)), X),
    ),
    "large-kernel": ((lambda x: conv(x, 3, dilations=(4,)), LINE), (lambda x: conv(x, 3, dilations=(3,)), LINE)),
    "pooling": ((pool(3, 3), X), (pool(3, 2), X)),
    "feedback": (
        (lambda h_in: mb.relu(x=h_in, name="h_out"), {"h_in": half(1, 32)}),
        (lambda h_in: mb.relu(x=h_in, name="g_out"), {"h_in": half(1, 32)}),
    ),
}
# These need more than a program: a chip, a state, a description, a size.
APART = {"rank-6", "trigonometry", "topk", "dynamic-shape", "enumerated-shapes", "size", "small-graph", "state-width"}


def named(build):
    """`mb.relu` itself takes no positional argument."""
    return (lambda x: mb.relu(x=x)) if build == mb.relu else build


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_and_its_near_miss(rule, tmp_path):
    (build, inputs), (miss, other) = CASES[rule]
    assert rule in rules_of(named(build), inputs, tmp_path)
    assert rule not in rules_of(named(miss), other, tmp_path)


def test_every_rule_has_its_case():
    assert {rule.id for rule in RULES} == CASES.keys() | APART
    assert len({rule.id for rule in RULES}) == len(RULES)


@pytest.mark.parametrize(
    ("build", "rule", "old", "new"),
    [
        (lambda x: mb.sin(x=x), "trigonometry", "M2", "M3"),
        (lambda x: mb.topk(x=x, k=5, axis=-1)[0], "topk", "M1", "M2"),
        (lambda x: conv(x, 1, 15), "kernel-width", "M3", "M4"),
        (lambda x: mb.tile(x=x, reps=[1, 1, 1000, 1]), "dimension", "M3", "M4"),
    ],
)
def test_limits_of_chips(build, rule, old, new, tmp_path):
    assert rule in rules_of(build, X, tmp_path, Target(chip=old))
    assert rule not in rules_of(build, X, tmp_path, Target(chip=new))
    assert rule in rules_of(build, X, tmp_path)  # any chip: the oldest


def test_rank_6_which_coremltools_does_not_write(tmp_path):
    view = views_of(save_program(lambda x: mb.expand_dims(x=x, axes=[0]), X, tmp_path, "iOS18"))[0]
    last = view.function.block.operations[-1]
    higher = replace(last, outputs=((last.name, TensorType("float16", (1, 1, 1, 4, 32, 32))),))
    block = replace(view.function.block, operations=(*view.function.block.operations[:-1], higher))
    seen = FunctionView(replace(view.function, block=block), view.inputs)
    assert {"rank-6"} == {f.rule.id for f in findings_of("op", seen, Target())} & {"rank-5", "rank-6"}


def test_topk_of_3_on_any_chip(tmp_path):
    assert "topk" in rules_of(lambda x: mb.topk(x=x, k=3, axis=-1)[0], X, tmp_path, Target(chip="M5"))


def test_a_masks_nan(tmp_path):
    assert "mask" in rules_of(fill(np.nan), X, tmp_path)


def test_channels_may_be_more(tmp_path):
    def wide(x):
        return mb.conv(x=x, weight=weights(20_000, 4, 1, 1))

    assert "dimension" not in rules_of(wide, X, tmp_path)


def test_a_palettised_kernel_strides_by_2_at_most(tmp_path):
    def palettised(stride):
        indices, lut = np.arange(16, dtype=np.uint8) % 16, weights(16)
        packed = (indices[0::2] | indices[1::2] << 4).astype(np.uint8)
        shape = np.array([4, 4, 1, 1], dtype=np.uint32)
        return lambda x: mb.conv(
            x=x, weight=mb.constexpr_lut_to_dense(indices=packed, lut=lut, shape=shape), strides=[stride, stride]
        )

    assert "stride" in rules_of(palettised(4), X, tmp_path, opset="iOS16")
    assert "stride" not in rules_of(palettised(2), X, tmp_path, opset="iOS16")


@pytest.mark.parametrize(("width", "found"), [(36, True), (32, False)])
def test_width_of_a_state(width, found, tmp_path):
    rules = {finding.rule.id for finding in findings_in(save_stateful(tmp_path, (1, 4, 8, width)))}
    assert ("state-width" in rules) is found
    assert {"state", "feedback"} <= rules


@pytest.mark.parametrize(
    ("shapes", "rule"),
    [
        (ct.RangeDim(8, 64, default=8), "dynamic-shape"),
        (ct.EnumeratedShapes([(1, 8, 32), (1, 16, 32)]), "enumerated-shapes"),
        (None, None),
    ],
)
def test_shapes_that_are_not_fixed(shapes, rule, tmp_path):
    shape = ct.Shape((1, shapes, 32)) if isinstance(shapes, ct.RangeDim) else shapes or (1, 8, 32)
    traced = torch.jit.trace(torch.nn.LayerNorm(32).eval(), torch.zeros(1, 8, 32))
    inputs = [ct.TensorType("x", shape=shape)]
    outputs = [ct.TensorType("normed")]
    options = {"minimum_deployment_target": ct.target.iOS17, "skip_model_load": True}
    model = ct.convert(traced, inputs=inputs, outputs=outputs, **options)
    model.save(str(tmp_path / "norm.mlpackage"))
    found = {finding.rule.id for finding in findings_in(tmp_path / "norm.mlpackage")}
    assert found & {"dynamic-shape", "enumerated-shapes"} == ({rule} if rule else set())


def test_sizes_by_system(tmp_path, monkeypatch):
    """4 * 4 * 3 * 3 weights of 2 bytes, and the small parameters."""
    path = save_program(lambda x: conv(x, 3, 3), X, tmp_path, "iOS18")
    monkeypatch.setattr(target, "_MODEL_BYTES", {14: 10_000, 27: 288})
    sizes = {m: [f.rule.id for f in findings_in(path, Target(macos=m))] for m in ("macOS26", "macOS27")}
    assert "size" in sizes["macOS27"]
    assert "size" not in sizes["macOS26"]


@pytest.mark.parametrize(("small", "found"), [(10_000, True), (288, False)])
def test_small_graphs(small, found, tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "_SMALL_BYTES", small)
    assert ("small-graph" in rules_of(lambda x: conv(x, 3, 3), X, tmp_path)) is found


def test_the_limits_are_those_of_the_sources():
    assert [Target(macos=m).model_bytes for m in ("macOS26", "macOS27", None)] == [2**31, 2**30, 2**30]
    assert [(t.extent, t.kernel_width) for t in (Target("M1"), Target("M4"))] == [(16_384, 13), (65_536, 15)]


def test_a_finding_names_its_op(tmp_path):
    path = save_program(lambda x: mb.reduce_argmax(x=x, axis=-1, name="best"), X, tmp_path, "iOS18")
    finding = next(f for f in findings_in(path) if f.rule.id == "no-kernel")
    assert (finding.op, finding.op_type, finding.function) == ("best", "reduce_argmax", "main")
