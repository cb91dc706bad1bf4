"""Looking inside a run: constants, branches that are not taken, labels, lists, and inputs that are not finite."""

import json

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb

import milrun
from milrun import InputError
from milrun.__main__ import main
from milrun.watch import NotReachedWarning
from tests.milrun.harness import save_program

# coremltools names outputs itself and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Output, .* has been renamed:UserWarning")
X = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
STORED = {"quantized_data": np.full((2, 4), 5, np.int8), "zero_point": np.int8(0), "scale": np.float32(1), "axis": 0}


def branches(x):
    """A weight that is decompressed, a constant output, and two branches."""
    weight = mb.constexpr_affine_dequantize(**STORED, name="weight")
    positive = mb.greater(x=mb.reduce_sum(x=x), y=np.float32(0))
    true, false = (lambda f=f, n=n: f(x=x, name=n) for f, n in ((mb.relu, "taken"), (mb.abs, "other")))
    y = mb.cond(pred=positive, _true_fn=true, _false_fn=false, name="branch")
    return mb.linear(x=y, weight=weight, name="y"), mb.const(val=np.array([1, 2], np.float32), name="k")


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return save_program(branches, {"x": X}, tmp_path_factory.mktemp("branches"), "iOS17")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    model = ct.convert(
        torch.jit.trace(torch.nn.Softmax(-1), torch.zeros(1, 3)),
        inputs=[ct.TensorType(name="x", shape=(1, 3))],
        classifier_config=ct.ClassifierConfig(["ace", "king", "queen"], predicted_feature_name="card"),
        skip_model_load=True,
    )
    path = tmp_path_factory.mktemp("cards") / "cards.mlpackage"
    model.save(str(path))
    return path


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    return code, *capsys.readouterr()


def test_constants_and_inputs_can_be_kept(package):
    values, rows = milrun.load(package).inspect({"x": X}, keep={"weight", "k", "x", "y"}, trace=True)
    np.testing.assert_array_equal(values["weight"], np.full((2, 4), 5))
    np.testing.assert_array_equal(values["k"], [1, 2])
    np.testing.assert_array_equal(values["x"], X)
    assert [(row.name, row.op) for row in rows][:3] == [
        ("x", "input"),
        ("weight", "constexpr_affine_dequantize"),
        ("k", "const"),
    ]


@pytest.mark.parametrize("stop", ["weight", "constexpr_affine_dequantize", "const", "k", "x"])
def test_no_run_stops_after_what_is_there_before_it(package, stop):
    with pytest.raises(InputError, match=f"cannot stop after {stop}: it is there before the run"):
        milrun.load(package).inspect({"x": X}, stop_after=stop)


@pytest.mark.parametrize("arguments", [{"keep": ["other"]}, {"stop_after": "other"}, {"stop_after": "abs"}])
def test_what_is_not_reached_is_said(package, arguments):
    model = milrun.load(package)
    with pytest.warns(NotReachedWarning, match=r"not reached: (other|abs) \(in a branch that was not taken"):
        model.inspect({"x": X}, **arguments)
    model.inspect({"x": -X}, **arguments)  # here it is


def test_not_reached_in_the_command_is_exit_2_after_all_else(package, tmp_path, capsys):
    np.save(tmp_path / "x.npy", X)
    arguments = ("--input", f"x={tmp_path / 'x.npy'}", "--keep", "other", "--output", tmp_path / "values")
    code, out, err = run(capsys, package, *arguments)
    assert code == 2
    assert "values are finite" in out
    assert err.startswith("milrun: not reached: other")
    assert sorted(p.name for p in (tmp_path / "values").iterdir()) == ["k.npy", "y.npy"]


def test_random_inputs_of_a_program_with_a_constant_output(package, capsys):
    code, out, _ = run(capsys, package, "--random")
    assert code == 0
    assert [row.split()[:2] for row in out.splitlines()[-3:-1]] == [["k", "const"], ["y", "linear"]]


def test_a_classifier_prints_and_saves_label_and_probabilities(classifier, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.array([[0, 5, 1]], np.float32))
    code, out, _ = run(capsys, classifier, "--input", f"x={tmp_path / 'x.npy'}", "--output", tmp_path / "values")
    assert code == 0
    assert "\ncard: king\n" in out
    assert "king 0.97" in out
    saved = {p.stem: json.loads(p.read_text()) for p in (tmp_path / "values").iterdir()}
    assert saved.pop("card") == "king"
    (probabilities,) = saved.values()
    assert sorted(probabilities) == ["ace", "king", "queen"]
    assert milrun.load(classifier).inspect({"x": np.array([[0, 5, 1]])}, keep=["card"])[0] == {"card": "king"}


def test_a_list_is_kept_as_arrays(tmp_path, capsys):
    def build(x):
        ls = mb.list_write(ls=mb.make_list(init_length=2, elem_shape=(1, 4)), index=1, value=x, name="written")
        return mb.list_read(ls=ls, index=1, name="y")

    path = save_program(build, {"x": X}, tmp_path, "iOS17")
    values, _ = milrun.load(path).inspect({"x": X}, keep=["written"])
    np.testing.assert_array_equal(values["written"], [np.zeros((1, 4)), X])
    code, _, _ = run(capsys, path, "--random", "--keep", "written", "--output", tmp_path / "values")
    assert code == 0
    saved = sorted(p.name for p in (tmp_path / "values").iterdir())
    assert saved == ["written.0.npy", "written.1.npy", "y.npy"]


@pytest.mark.parametrize(("dtype", "value", "bad"), [(np.float32, np.nan, 1), (np.float16, 1e6, 1)])
def test_an_input_that_is_not_finite_is_not_blamed_on_an_op(tmp_path, capsys, dtype, value, bad):
    path = save_program(lambda x: mb.relu(x=x, name="y"), {"x": X.astype(dtype)}, tmp_path, "iOS17")
    x = X.copy()
    x[0, 1] = value  # 1e6 is beyond float16
    np.save(tmp_path / "x.npy", x)
    _, out, _ = run(capsys, path, "--input", f"x={tmp_path / 'x.npy'}")
    assert f"first non-finite: {bad} in 'x' (input, {np.dtype(dtype)} [1, 4])" in out
