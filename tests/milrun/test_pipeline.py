"""Pipelines as packages and compiled: what runs, which part is blamed, and what is refused."""

import shutil

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb

import milrun
from milrun import InputError, OpError, PackageError, UnsupportedOpsError
from milrun.__main__ import main
from milrun.coreml_proto import Model
from tests.milrun.compiled.mil_text import write_compiled
from tests.milrun.harness import save_stateful
from tests.milrun.test_suppression import naive, suppression_spec

# As on a Mac, coremltools loads what it has put together, and the stand-in for Core ML takes no pipeline.
pytestmark = pytest.mark.filterwarnings("ignore:You will not be able to run predict:RuntimeWarning")

WEIGHT = np.random.default_rng(1).standard_normal((7, 4)).astype(np.float32)
SCALE = WEIGHT.T[:1] * 2
X = np.random.default_rng(2).standard_normal((5, 4)).astype(np.float32)


def program(build, inputs, outputs, folder, name, **options):
    """An ML Program, as coremltools holds it: `inputs` are name -> shape."""
    specs = [mb.TensorSpec(shape=shape) for shape in inputs.values()]
    scope = {"build": build}
    exec(f"def program({', '.join(inputs)}):\n    return build({', '.join(inputs)})", scope)
    made = mb.program(input_specs=specs, opset_version=ct.target.iOS16)(scope["program"])
    outputs = [ct.TensorType(name) for name in outputs]
    model = ct.convert(made, minimum_deployment_target=ct.target.iOS16, compute_precision=ct.precision.FLOAT32,
                       skip_model_load=True, **options)  # fmt: skip
    for item, wanted in zip(list(model.get_spec().description.output), outputs, strict=True):
        spec = model.get_spec()
        ct.utils.rename_feature(spec, item.name, wanted.name)
        model = ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)
    model.save(str(folder / f"{name}.mlpackage"))
    return ct.models.MLModel(str(folder / f"{name}.mlpackage"), skip_model_load=True)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """y = x W^T, then z = y + bias and w = max(y, 0); the second reads an input of the pipeline too."""
    folder = tmp_path_factory.mktemp("two")
    first = program(lambda x: mb.linear(x=x, weight=WEIGHT), {"x": (5, 4)}, ["y"], folder, "first")
    second = program(
        lambda y, bias: (mb.add(x=y, y=bias), mb.relu(x=mb.mul(x=y, y=SCALE))),
        {"y": (5, 7), "bias": (7,)},
        ["z", "w"],
        folder,
        "second",
    )
    ct.utils.make_pipeline(first, second).save(str(folder / "two.mlpackage"))
    return folder / "two.mlpackage"


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """Scores and boxes of one linear layer each, then suppression."""
    folder = tmp_path_factory.mktemp("detector")
    boxes = program(
        lambda x: (mb.sigmoid(x=mb.linear(x=x, weight=WEIGHT[:3])), mb.sigmoid(x=mb.linear(x=x, weight=WEIGHT[3:]))),
        {"x": (5, 4)}, ["scores", "boxes"], folder, "boxes")  # fmt: skip
    nms = suppression_spec(iou=0.2, labels=["a", "b", "c"])
    nms.description.input.add(name="iou").type.doubleType.SetInParent()
    model = ct.utils.make_pipeline(boxes, ct.models.MLModel(nms, skip_model_load=True))
    model.save(str(folder / "detector.mlpackage"))
    return folder / "detector.mlpackage"


def spec_file(package):
    return package / "Data" / "com.apple.CoreML" / "model.mlmodel"


def rewritten(package, target, change):
    shutil.copytree(package, target)
    spec = Model.Model.FromString(spec_file(target).read_bytes())
    spec_file(target).write_bytes((change(spec) or spec).SerializeToString())
    return target


@pytest.fixture(params=["package", "compiled"])
def form(request, tmp_path):
    """The same pipeline in both forms."""
    if request.param == "package":
        return lambda package: package
    return lambda package: write_compiled(package, tmp_path / "whole.mlmodelc")


def test_two_programs(two, form):
    model = milrun.load(form(two))
    assert {n: str(t) for n, t in model.inputs.items()} == {"x": "float32 [5, 4]", "bias": "float32 [7]"}
    assert {n: str(t) for n, t in model.outputs.items()} == {"z": "float32 [5, 7]", "w": "float32 [5, 7]"}
    bias = np.arange(7, dtype=np.float32)
    found = model.predict({"x": X, "bias": bias})
    y = torch.from_numpy(X) @ torch.from_numpy(WEIGHT).T
    assert set(found) == {"z", "w"}
    np.testing.assert_allclose(found["z"], y.numpy() + bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["w"], (y * torch.from_numpy(SCALE)).relu(), rtol=1e-5, atol=1e-6)


def test_one_part(two, form):
    path = form(two)
    by_name, by_index = milrun.load(path, part="model1"), milrun.load(path, part=1)
    given = {"y": np.ones((5, 7), np.float32), "bias": np.zeros(7, np.float32)}
    _, rows = by_name.inspect(given, keep="all", trace=True)
    assert {row.op for row in rows} >= {"add", "relu"}
    np.testing.assert_array_equal(by_index.predict(given)["z"], given["y"])
    assert list(milrun.load(path).parts) == ["model0", "model1"]
    assert milrun.load(path, "main", part="0").function.op_counts == {"linear": 1}
    for wanted in ("model2", 2, -1, "nobody"):
        with pytest.raises(
            PackageError, match=r"no part .*it has part 'model0' \(index 0\), part 'model1' \(index 1\)"
        ):
            milrun.load(path, part=wanted)
    with pytest.raises(PackageError, match="name the part too"):
        milrun.load(path, "main")


def test_a_program_and_suppression(detector, form):
    path = form(detector)
    model = milrun.load(path)
    raw = milrun.load(path, part=0).predict({"x": X})
    for given, iou in (({}, 0.2), ({"iou": 0.9}, 0.9)):
        found = model.predict({"x": X, **given})
        kept = naive(raw["scores"], raw["boxes"], iou, 0.25, False)
        np.testing.assert_array_equal(found["confidence"], raw["scores"][kept])
        np.testing.assert_array_equal(found["coordinates"], raw["boxes"][kept])
    assert milrun.load(path, part=1).labels == ("a", "b", "c")


def test_names_of_parts_and_a_pipeline_in_a_pipeline(two, tmp_path, form):
    def nest(spec):
        outer = Model.Model(specificationVersion=spec.specificationVersion, description=spec.description)
        spec.pipeline.names.extend(["encoder", "decoder"])
        outer.pipelineClassifier.pipeline.models.append(spec)
        outer.pipelineClassifier.pipeline.names.append("both")
        return outer

    package = rewritten(two, tmp_path / "nested.mlpackage", nest)
    given = {"x": X, "bias": np.ones(7, np.float32)}
    nested = milrun.load(form(package))
    np.testing.assert_array_equal(nested.predict(given)["z"], milrun.load(two).predict(given)["z"])
    assert milrun.load(package).parts["both"].parts.keys() == {"encoder", "decoder"}
    assert list(milrun.load(package, part="both").outputs) == list(nested.outputs)


def test_a_regressor_and_a_pipeline_that_does_not_describe_itself(two, tmp_path, form):
    def regress(spec):
        spec.pipelineRegressor.pipeline.CopyFrom(spec.pipeline)
        spec.ClearField("description")

    model = milrun.load(form(rewritten(two, tmp_path / "bare.mlpackage", regress)))
    assert (list(model.inputs), list(model.outputs)) == (["x", "bias"], ["z", "w"])


def test_without_a_top_interface(two, tmp_path):
    compiled = write_compiled(two, tmp_path / "bare.mlmodelc")
    (compiled / "coremldata.bin").unlink()
    assert list(milrun.load(compiled).inputs) == ["x", "bias"]


def test_states_of_a_part(tmp_path):
    keeper = ct.models.MLModel(str(save_stateful(tmp_path, (5, 7))), skip_model_load=True)
    first = program(lambda a: mb.mul(x=a, y=2.0), {"a": (5, 7)}, ["x"], tmp_path, "first")
    ct.utils.make_pipeline(first, keeper).save(str(tmp_path / "kept.mlpackage"))
    model = milrun.load(tmp_path / "kept.mlpackage")
    state = model.make_state()
    for count in (1, 2, 3):
        (total,) = model.predict({"a": np.ones((5, 7))}, state).values()
        np.testing.assert_array_equal(total, np.full((5, 7), 2 * count))
    np.testing.assert_array_equal(state["kv"], total)
    with pytest.raises(InputError, match="pass what make_state"):
        model.predict({"a": np.ones((5, 7))})


def test_a_tree_is_refused_by_name_index_and_kind(two, tmp_path, form):
    def plant(spec):
        spec.pipeline.names.extend(["mel", "classes"])
        part = spec.pipeline.models[1]
        part.treeEnsembleClassifier.SetInParent()

    path = form(rewritten(two, tmp_path / "tree.mlpackage", plant))
    name = "classes" if path.suffix == ".mlpackage" else "model1"
    with pytest.raises(PackageError, match=rf"part '{name}' \(index 1\) is treeEnsembleClassifier: milrun runs"):
        milrun.load(path)
    with pytest.raises(PackageError, match="is treeEnsembleClassifier"):
        milrun.load(path, part=1)
    np.testing.assert_allclose(milrun.load(path, part=0).predict({"x": X})["y"], X @ WEIGHT.T, rtol=1e-5, atol=1e-6)


def test_a_compiled_neural_network_in_a_pipeline(two, tmp_path):
    compiled = write_compiled(two, tmp_path / "old.mlmodelc")
    (compiled / "model0" / "model.mil").rename(compiled / "model0" / "model.espresso.net")
    with pytest.raises(PackageError, match=r"'model0' \(index 0\) is a neural network .*convert_to='mlprogram'"):
        milrun.load(compiled)
    (compiled / "model1" / "model.mil").unlink()
    with pytest.raises(PackageError, match=r"'model1' \(index 1\) is an empty model"):
        milrun.load(compiled)


def test_ops_that_milrun_lacks_in_all_parts(two, tmp_path):
    def unknown(spec):
        for part in spec.pipeline.models:
            (function,) = part.mlProgram.functions.values()
            (block,) = function.block_specializations.values()
            block.operations[-1].type = "fly"

    with pytest.raises(UnsupportedOpsError) as caught:
        milrun.load(rewritten(two, tmp_path / "odd.mlpackage", unknown))
    assert caught.value.missing == {"fly": 2}


def drop_bias(spec):
    del spec.description.input[1]


def other_output(spec):
    spec.description.output[0].name = "nothing"


def swapped(spec):
    first, second = (Model.Model.FromString(m.SerializeToString()) for m in spec.pipeline.models)
    del spec.pipeline.models[:]
    spec.pipeline.models.extend([second, first])


def other_shape(spec):
    (function,) = spec.pipeline.models[1].mlProgram.functions.values()
    function.inputs[0].type.tensorType.dimensions[1].constant.size = 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_bias, r"part 'model1' \(index 1\) reads 'bias', which is no input of the pipeline"),
        (other_output, r"should give \['nothing'\], which no part makes"),
        (swapped, r"part 'model0' \(index 0\) reads 'y'"),
        (other_shape, r"reads 'y' as float32 \[5, 8\], part 'model0' \(index 0\) makes float32 \[5, 7\]"),
        (lambda spec: spec.pipeline.names.append("one"), r"2 models with the names \['one'\]"),
        (lambda spec: spec.pipeline.ClearField("models"), "is an empty model|pipeline of 0 models"),
    ],
)
def test_parts_that_do_not_fit(two, tmp_path, change, message):
    with pytest.raises(PackageError, match=message):
        milrun.load(rewritten(two, tmp_path / "odd.mlpackage", change))


def test_a_call_that_does_not_fit_and_an_op_that_fails_name_the_part(two, tmp_path):
    bias = np.zeros(7, np.float32)
    with pytest.raises(InputError, match=r"two\.mlpackage wants inputs \['bias', 'x'\], got \['x'\]"):
        milrun.load(two).predict({"x": X})
    with pytest.raises(InputError, match=r"part 'model1' \(index 1\): input 'bias' is float32 \[7\], got shape \[6\]"):
        milrun.load(two).predict({"x": X, "bias": bias[:6]})
    table = np.ones(3, np.float32)
    picks = program(
        lambda i: mb.gather(x=table, indices=mb.cast(x=i, dtype="int32")), {"i": (2,)}, ["x"], tmp_path, "picks"
    )
    after = program(lambda x: mb.exp(x=x), {"x": (2,)}, ["y"], tmp_path, "after")
    ct.utils.make_pipeline(picks, after).save(str(tmp_path / "picks.mlpackage"))
    with pytest.raises(OpError, match=r"gather.*in part 'model0' \(index 0\)"):
        milrun.load(tmp_path / "picks.mlpackage").predict({"i": np.array([1.0, 9.0])})


def test_weights_of_a_part_do_not_leave_its_folder(two, tmp_path):
    compiled = write_compiled(two, tmp_path / "whole.mlmodelc")
    text = (compiled / "model0" / "model.mil").read_text()
    (compiled / "model0" / "model.mil").write_text(text.replace("@model_path/", "@model_path/../model1/"))
    with pytest.raises(PackageError, match=r"part 'model0' \(index 0\): .*outside the package"):
        milrun.load(compiled)


def run(capsys, *arguments):
    code = main([str(a) for a in arguments])
    return code, *capsys.readouterr()


def test_the_command_prints_a_pipeline(detector, form, capsys):
    code, out, _ = run(capsys, form(detector))
    assert code == 0
    assert "a pipeline of 2 parts" in out
    assert "  input  x: float32 [5, 4]\n" in out
    assert "  output confidence: float32 [?, ?]\n" in out
    assert "  part 0 'model0': function 'main' (iOS16), 4 ops\n" in out
    assert "  part 1 'model1': non-maximum suppression, 3 labels\n" in out


def test_the_command_runs_a_pipeline(detector, tmp_path, capsys):
    code, out, _ = run(capsys, detector, "--random", "--output", tmp_path / "saved")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines() if "  pipeline  " in line] == [
        ["confidence", "pipeline", "float32"],
        ["coordinates", "pipeline", "float32"],
    ]
    assert "all 2 values are finite" in out
    assert np.load(tmp_path / "saved" / "coordinates.npy").shape[1] == 4


def test_the_command_looks_into_one_part(detector, tmp_path, capsys):
    code, out, _ = run(capsys, detector, "--part", "model0", "--random", "--trace")
    assert code == 0
    assert "sigmoid" in out
    np.save(tmp_path / "scores.npy", np.ones((1, 3)))
    np.save(tmp_path / "boxes.npy", np.full((1, 4), np.nan))
    given = [f"--input={name}={tmp_path / name}.npy" for name in ("scores", "boxes")]
    code, out, _ = run(capsys, detector, "--part", "1", *given)
    assert code == 0
    assert "first non-finite: 4 in 'coordinates'" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--random", "--trace"], "--trace, --keep and --stop-after look into one ML Program: name it with --part"),
        (["--random", "--keep", "y"], "name it with --part (part 0 'model0', part 1 'model1')"),
        (["--part", "7"], "no part '7'"),
        (["--function", "main"], "name the part too"),
        (["--output", "x"], "there is nothing to run"),
    ],
)
def test_what_the_command_refuses(two, options, message, capsys):
    code, out, error = run(capsys, two, *options)
    assert (code, out) == (2, "")
    assert error.count("\n") == 1
    assert message in error
