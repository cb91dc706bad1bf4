"""Two artefacts compared: what `milrun.comparison` and `python -m milrun A --compare B` find."""

import json
import time

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb

import milrun
from milrun.__main__ import main
from milrun.comparison import compare
from milrun.comparison.align import align
from milrun.comparison.difference import difference
from milrun.comparison.values import Value
from milrun.program import Operation, TensorType
from tests.milrun.compiled.mil_text import write_compiled
from tests.milrun.harness import save_program, save_stateful

X = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((64, 4)).astype(np.float32)
SECOND = RNG.standard_normal((4, 64)).astype(np.float32)


def layers(x, weight=WEIGHT, activation=mb.relu, names=("hidden", "active", "y"), between=None):
    hidden = mb.linear(x=x, weight=mb.const(val=weight, name=f"{names[0]}_weight"), name=names[0])
    active = activation(x=hidden, name=names[1])
    if between is not None:
        active = between(active)
    return mb.linear(x=active, weight=mb.const(val=SECOND, name=f"{names[2]}_weight"), name=names[2])


@pytest.fixture
def save(tmp_path):
    """Save a variant of the program under a name of its own."""

    def write(name, build=layers, inputs=None, opset="iOS17", **changes):
        folder = tmp_path / name
        folder.mkdir()
        inputs = {"x": X} if inputs is None else inputs
        return save_program(lambda **given: build(*given.values(), **changes), inputs, folder, opset)

    return write


def run(a, b, inputs=None):
    return compare(milrun.load(a), milrun.load(b), {"x": X} if inputs is None else inputs)


def command(capsys, *arguments):
    capsys.readouterr()  # what coremltools printed
    code = main([str(a) for a in arguments])
    return code, *capsys.readouterr()


def test_a_package_and_its_compiled_form_are_bit_identical(save, tmp_path, capsys):
    package = save("a")
    compiled = write_compiled(package, tmp_path / "a.mlmodelc")
    found = run(package, compiled)
    assert found.identical
    assert not found.differs
    assert (found.interface, found.weights, found.only, found.first) == ((), (), ((), ()), None)
    assert [row.names[0] for row in found.values] == ["hidden", "active", "y"]
    code, out, _ = command(capsys, compiled, "--compare", package, "--random")
    assert code == 0
    assert "verdict: bit-identical" in out
    assert "3 bit-identical, 0 within rounding, 0 beyond" in out


def test_one_weight_that_differs_is_named_with_the_first_value_it_moves(save, capsys):
    changed = WEIGHT.copy()
    changed[3, 1] += 0.5
    a, b = save("a"), save("b", weight=changed)
    found = run(a, b)
    assert found.differs
    (weight,) = found.weights
    assert weight.names == ("hidden_weight", "hidden_weight")
    assert (weight.reader, weight.parameter, weight.shape) == ("hidden", "weight", (64, 4))
    assert weight.difference.max_abs == pytest.approx(0.5)
    assert weight.difference.rel_l2 == pytest.approx(0.5 / np.linalg.norm(changed), rel=1e-2)
    assert found.first.names == ("hidden", "hidden")
    code, out, _ = command(capsys, a, "--compare", b, "--random")
    assert code == 1
    assert "1 differ beyond rounding" in out
    assert "first difference:" in out
    assert out.endswith("verdict: they differ\n")


def test_a_weight_decides_though_no_output_shows_it(save):
    def masked(x, k):
        return mb.mul(x=mb.mul(x=x, y=mb.const(val=np.float32(k), name="k")), y=np.float32(0), name="y")

    found = run(save("a", masked, k=2), save("b", masked, k=3))
    assert found.outputs[0].difference.identical
    assert found.differs


def test_precisions_are_equal_within_the_rounding_of_the_coarser(save):
    def half(x):
        narrow = mb.cast(x=x, dtype="fp16", name="x_to_fp16")
        hidden = mb.linear(x=narrow, weight=WEIGHT.astype(np.float16), name="hidden_cast_fp16")
        active = mb.relu(x=hidden, name="active_cast_fp16")
        out = mb.linear(x=active, weight=SECOND.astype(np.float16), name="y_cast_fp16")
        return mb.cast(x=out, dtype="fp32", name="y")

    found = run(save("a"), save("b", half))
    assert not found.identical
    assert not found.differs, found
    assert [row.names for row in found.values][:2] == [("hidden", "hidden_cast_fp16"), ("active", "active_cast_fp16")]
    assert {row.precision for row in (*found.values, *found.outputs)} == {"float16"}
    assert "op cast: x0 | x2" in found.interface
    assert any(line.startswith("x_to_fp16") for line in found.only[1])
    stored = {weight.stored for weight in found.weights}
    assert stored == {("float32", "float16")}


def test_text_that_differs_is_shown():
    assert difference(np.array("fp16"), np.array("fp32")).fault == "'fp16' and 'fp32'"
    assert difference(np.array("fp16"), np.array("fp16")).identical


def test_one_op_in_the_place_of_another(save):
    found = run(save("a"), save("b", activation=mb.sigmoid))
    assert found.first.names == ("active", "active")
    assert found.first.ops == ("relu", "sigmoid")
    assert found.interface == ("op relu: x1 | x0", "op sigmoid: x0 | x1")


def test_one_op_in_the_place_of_another_under_other_names(save):
    found = run(save("a"), save("b", activation=mb.sigmoid, names=("p", "q", "y")))
    assert found.first.names == ("active", "q")
    assert found.first.ops == ("relu", "sigmoid")


def test_an_op_more_leaves_the_others_aligned(save):
    found = run(save("a"), save("b", between=lambda x: mb.identity(x=x, name="same")))
    assert found.identical
    assert found.only == ((), ("same (identity)",))
    assert len(found.values) == 3


def test_renamed_values_align_in_sequence(save):
    found = run(save("a"), save("b", names=("op_7", "op_8", "z")))
    assert found.identical
    assert found.by_name == 0
    assert [row.names for row in found.values] == [("hidden", "op_7"), ("active", "op_8"), ("y", "z")]
    assert "output y is called z in B: aligned by position" in found.interface


def test_another_opset_is_told_and_does_not_decide(save, capsys):
    code, out, _ = command(capsys, save("a"), "--compare", save("b", opset="iOS18"), "--random")
    assert code == 0
    assert "opset: iOS17 | iOS18" in out


def test_inputs_under_other_names_align_by_position(save, capsys):
    code, out, _ = command(capsys, save("a"), "--compare", save("b", inputs={"audio": X}), "--random")
    assert code == 0
    assert "input x is called audio in B: aligned by position" in out


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": X, "length": X}, "length: float32 [2, 4] in B"),
        ({"audio": X.astype(np.int32)}, "the inputs do not correspond"),
        ({"x": X[:1]}, "no array fits both: input 'x' is float32 [2, 4] in A, 'x' is float32 [1, 4] in B"),
    ],
)
def test_inputs_that_do_not_correspond_are_exit_2(save, capsys, inputs, message):
    def first(x, other=None):
        return layers(mb.cast(x=x, dtype="fp32"))

    code, out, err = command(capsys, save("a"), "--compare", save("b", first, inputs), "--random")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_compressed_weights_are_compared_as_they_are_read(save, tmp_path):
    plain = save("a")
    config = ct.optimize.coreml.OptimizationConfig(
        global_config=ct.optimize.coreml.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0)
    )
    model = ct.models.MLModel(str(plain), skip_model_load=True)
    ct.optimize.coreml.linear_quantize_weights(model, config).save(str(tmp_path / "int8.mlpackage"))
    found = run(plain, tmp_path / "int8.mlpackage")
    assert found.differs
    assert [row.names[0] for row in found.values] == ["hidden", "active", "y"]
    weight = next(weight for weight in found.weights if weight.names[0] == "hidden_weight")
    assert weight.stored[0] == "float32"
    assert weight.stored[1].startswith("float32 by constexpr_")
    assert 1e-4 < weight.difference.rel_l2 < 1e-2
    assert found.first.names[0] == "hidden"


def test_a_compiled_form_of_compressed_weights_is_identical(save, tmp_path):
    plain = save("a", opset="iOS16")
    model = ct.models.MLModel(str(plain), skip_model_load=True)
    config = ct.optimize.coreml.OptimizationConfig(
        global_config=ct.optimize.coreml.OpPalettizerConfig(mode="uniform", nbits=4, weight_threshold=0)
    )
    ct.optimize.coreml.palettize_weights(model, config).save(str(tmp_path / "lut.mlpackage"))
    found = run(tmp_path / "lut.mlpackage", write_compiled(tmp_path / "lut.mlpackage", tmp_path / "lut.mlmodelc"))
    assert found.identical
    assert found.weights_compared >= 2


def test_states_begin_at_zero_and_are_compared_after_the_run(tmp_path):
    package = save_stateful(tmp_path, (2, 3))
    found = run(package, package, {"x": np.ones((2, 3), np.float16)})
    assert found.identical
    assert [row.names for row in found.states] == [("kv", "kv")]


def test_branches_in_another_order_align_by_name(save):
    def branches(x, first):
        made = {}
        for name in (first, "right" if first == "left" else "left"):
            made[name] = mb.exp(x=mb.mul(x=x, y=np.float32(len(name)), name=f"{name}_scaled"), name=name)
        return mb.add(x=made["left"], y=made["right"], name="y")

    found = run(save("a", branches, first="left"), save("b", branches, first="right"))
    assert found.identical
    assert found.by_name == len(found.values) == 5


def test_noise_is_drawn_once_for_both(save):
    def noisy(x):
        return mb.add(x=x, y=mb.random_normal(shape=[2, 4], name="noise"), name="y")

    package = save("a", noisy)
    assert run(package, package).identical


def test_loops_are_compared_turn_by_turn(save):
    def loop(x, turns):
        def body(i, value):
            return mb.add(x=i, y=np.float32(1), name="next"), mb.mul(x=value, y=np.float32(1.5), name="grown")

        start = np.float32(0)
        return mb.while_loop(
            _cond=lambda i, value: mb.less(x=i, y=np.float32(turns)), _body=body, loop_vars=(start, x)
        )[1]

    three, four = save("a", loop, turns=3), save("b", loop, turns=4)
    assert run(three, three).identical
    found = run(three, four)
    assert found.differs
    assert set(found.unpaired) >= {"grown", "next"}


def test_an_attribute_that_differs_is_shown_and_does_not_decide(save, capsys):
    def turned(x, axes):
        return mb.transpose(x=x, perm=mb.const(val=np.array(axes, np.int32), name="axes"), name="y")

    square = {"x": np.eye(2, dtype=np.float32)}
    a, b = save("a", turned, square, axes=[0, 1]), save("b", turned, square, axes=[1, 0])
    found = run(a, b, square)
    assert not found.differs
    assert [weight.names for weight in found.weights] == [("axes", "axes")]
    code, out, _ = command(capsys, a, "--compare", b, "--random")
    assert code == 1
    assert "y.perm" in out


@pytest.mark.filterwarnings("ignore:Output, .* has been renamed")
def test_what_a_classifier_yields_is_compared_by_label(tmp_path):
    model = ct.convert(
        torch.jit.trace(torch.nn.Softmax(-1), torch.zeros(1, 3)),
        inputs=[ct.TensorType(name="x", shape=(1, 3))],
        classifier_config=ct.ClassifierConfig(["ace", "king", "queen"], predicted_feature_name="card"),
        skip_model_load=True,
    )
    model.save(str(tmp_path / "cards.mlpackage"))
    package = milrun.load(tmp_path / "cards.mlpackage")
    found = compare(package, package, {"x": np.array([[1, 2, 3]], np.float32)})
    assert found.identical
    assert len(found.outputs) == 2


def test_non_finite_values_differ_where_only_one_has_them():
    apart = difference(np.array([1, np.inf, np.nan], np.float32), np.array([1, 2, np.nan], np.float32))
    assert (apart.non_finite, apart.unlike, apart.max_abs) == ((2, 1), 1, 0)
    assert not apart.within("float16")


def test_rounding_of_whole_numbers_explains_nothing():
    assert not difference(np.array([1000]), np.array([1001])).within("exact")
    assert difference(np.zeros(0, np.float32), np.zeros(0, np.float32)).identical


def test_an_op_that_fails_is_exit_4_and_says_whose(save, capsys):
    def picks(x, index):
        return mb.gather(x=x, indices=mb.cast(x=mb.mul(x=x, y=np.float32(index)), dtype="int32"), axis=0)

    a, b = save("a", picks, index=0), save("b", picks, index=1000)
    code, out, err = command(capsys, a, "--compare", b, "--random")
    assert (code, out) == (4, "")
    assert f"while running {b}" in err


def test_the_report_as_json(save, tmp_path, capsys):
    a, b = save("a"), save("b", activation=mb.sigmoid)
    code, _, _ = command(capsys, a, "--compare", b, "--random", "--output-json", tmp_path / "report.json")
    assert code == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"] == "they differ"
    assert report["first_difference"]["names"] == ["active", "active"]
    assert len(report["values"]) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--random"),
        (["--random", "--keep", "y"], "--keep goes with no --compare or --profile"),
        (["--random", "--runs", "3"], "--runs goes with --profile"),
    ],
)
def test_arguments_that_mean_nothing_here_are_exit_2(save, capsys, arguments, message):
    package = save("a")
    code, out, err = command(capsys, package, "--compare", package, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def values_of(ops, prefix):
    """One value for each (op, name)."""
    declared = TensorType("float32", (1, 64))
    return [Value(f"{prefix}{n}", declared, Operation(op, n, {}, (), ()), 0, False) for op, n in ops]


def test_ten_thousand_ops_of_layers_alike_align_in_seconds():
    layer = ("linear", "add", "layer_norm", "matmul", "softmax", "transpose", "reshape", "gelu")
    ops = [(op, f"{index}_{op}") for index in range(1250) for op in layer]
    edited = [
        pair
        for number, pair in enumerate(ops)
        for pair in ([("cast", f"c{number}"), pair] if number % 50 == 7 else [pair])
    ]
    edited = [pair for number, pair in enumerate(edited) if number % 97 != 3]
    began = time.monotonic()
    pairs = align(values_of(ops, "a"), values_of(edited, "b")).pairs
    assert time.monotonic() - began < 20
    right = sum(ops[i][1] == edited[j][1] for i, j in pairs)
    assert right > 0.99 * (len(ops) * 96 / 97)


def test_names_that_are_numbers_are_not_believed():
    ops = ["linear", "add", "gelu", "mul", "softmax"] * 20
    a = values_of([(op, f"op_{n}") for n, op in enumerate(ops)], "")
    b = values_of([(op, f"op_{n}") for n, op in enumerate(["cast", *ops])], "")
    assert align(a, b).pairs == tuple((n, n + 1) for n in range(100))
