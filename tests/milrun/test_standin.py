"""coremltools' MLModel predicts through milrun inside `standin.predictions()`, and is itself again after it."""

import sys

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb
from coremltools.models import MLModel
from coremltools.models import model as model_module
from coremltools.models import utils as model_utils
from PIL import Image

import milrun.standin
from tests.milrun.harness import save_program
from tests.milrun.standin.models import Accumulate

# coremltools names outputs itself and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Output, .* has been renamed:UserWarning")


def native():
    """What coremltools predicts with: nothing off macOS."""
    return (
        (model_module._MLModelProxy, model_module._macos_version, model_utils._is_macos),
        (sys.modules.get("coremltools.libcoremlpython"), vars(ct).get("libcoremlpython")),
    )


BEFORE = native()


@pytest.fixture
def standing_in():
    with milrun.standin.predictions():
        yield


def add_one(folder, shape=(2, 3), dtype=np.float32):
    folder.mkdir(exist_ok=True)
    return str(
        save_program(lambda x: mb.add(x=x, y=dtype(1), name="y"), {"x": np.zeros(shape, dtype)}, folder, "iOS17")
    )


def test_predicts_inside_and_everything_is_restored(tmp_path):
    package = add_one(tmp_path)
    with milrun.standin.predictions():
        assert model_utils._macos_version() == milrun.standin.MACOS_VERSION
        model = MLModel(package)
        (y,) = model.predict({"x": np.ones((2, 3))}).values()
        batch = model.predict([{"x": np.zeros((2, 3))}, {"x": np.ones((2, 3))}])
    np.testing.assert_array_equal(y, np.full((2, 3), 2, np.float32))
    assert [b["y"][0, 0] for b in batch] == [1, 2]
    assert native() == BEFORE


def test_restored_after_an_error():
    with pytest.raises(ZeroDivisionError), milrun.standin.predictions():
        raise ZeroDivisionError
    assert native() == BEFORE


@pytest.mark.usefixtures("standing_in")
def test_values_cross_as_with_core_ml(tmp_path):
    half = MLModel(add_one(tmp_path / "half", dtype=np.float16)).predict({"x": np.ones((2, 3), np.float16)})["y"]
    assert half.dtype == np.float32  # float16 leaves as float32
    whole = MLModel(add_one(tmp_path / "int", shape=(1,), dtype=np.int32)).predict({"x": np.array([2.0])})["y"]
    assert whole.dtype == np.int32
    assert whole.tolist() == [3]


@pytest.mark.usefixtures("standing_in")
@pytest.mark.parametrize(
    ("inputs", "message"), [({"x": np.zeros((3, 2))}, "does not match the model description"), ({}, "required")]
)
def test_what_core_ml_refuses_is_a_runtime_error(tmp_path, inputs, message):
    with pytest.raises(RuntimeError, match=message):
        MLModel(add_one(tmp_path)).predict(inputs)


@pytest.mark.usefixtures("standing_in")
@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        (ct.Shape(shape=(1, ct.RangeDim(2, 4, default=2))), [(1, 2), (1, 4)], [(1, 5), (1, 1)]),
        (ct.EnumeratedShapes(shapes=[(1, 2), (1, 4)]), [(1, 2), (1, 4)], [(1, 3)]),
    ],
)
def test_flexible_shapes_follow_the_description(shape, good, bad):
    traced = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1, 2))
    model = ct.convert(traced, inputs=[ct.TensorType(name="x", shape=shape)], outputs=[ct.TensorType(name="y")])
    for size in good:
        assert model.predict({"x": np.ones(size, np.float32)})["y"].shape == size
    for size in bad:
        with pytest.raises(RuntimeError, match="allowed"):
            model.predict({"x": np.ones(size, np.float32)})


@pytest.mark.usefixtures("standing_in")
@pytest.mark.parametrize("layout", ["RGB", "BGR", "GRAYSCALE"])
def test_images_in_and_out(layout):
    channels = 1 if layout == "GRAYSCALE" else 3
    traced = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1, channels, 4, 5))
    color = getattr(ct.colorlayout, layout)
    model = ct.convert(
        traced,
        inputs=[ct.ImageType(name="x", shape=(1, channels, 4, 5), color_layout=color)],
        outputs=[ct.ImageType(name="y", color_layout=color)],
    )
    pixels = np.arange(4 * 5 * channels, dtype=np.uint8).reshape((4, 5, 3) if channels == 3 else (4, 5))
    out = model.predict({"x": Image.fromarray(pixels)})["y"]
    assert out.mode == ("RGBA" if channels == 3 else "L")
    np.testing.assert_array_equal(np.asarray(out.convert("RGB") if channels == 3 else out), pixels)


@pytest.mark.usefixtures("standing_in")
def test_a_classifier_gives_label_and_probabilities():
    traced = torch.jit.trace(torch.nn.Softmax(-1), torch.zeros(1, 3))
    model = ct.convert(
        traced,
        inputs=[ct.TensorType(name="x", shape=(1, 3))],
        classifier_config=ct.ClassifierConfig(["ace", "king", "queen"], predicted_feature_name="card"),
    )
    result = model.predict({"x": np.array([[0, 5, 1]], np.float32)})
    assert result.pop("card") == "king"
    (probabilities,) = result.values()
    assert sorted(probabilities) == ["ace", "king", "queen"]
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-3)


@pytest.mark.usefixtures("standing_in")
def test_states_are_read_and_written():
    traced = torch.jit.trace(Accumulate(), torch.zeros(2))
    model = ct.convert(
        traced,
        inputs=[ct.TensorType(name="x", shape=(2,))],
        outputs=[ct.TensorType(name="y")],
        states=[ct.StateType(ct.TensorType(shape=(2,), dtype=np.float16), name="total")],
        minimum_deployment_target=ct.target.iOS18,
    )
    one, two = model.make_state(), model.make_state()
    for _ in range(3):
        y = model.predict({"x": np.array([1, 2], np.float32)}, one)["y"]
    np.testing.assert_array_equal(y, [3, 6])
    np.testing.assert_array_equal(one.read_state("total"), [3, 6])
    np.testing.assert_array_equal(two.read_state("total"), [0, 0])
    two.write_state("total", np.array([10, 10], np.float32))
    np.testing.assert_array_equal(model.predict({"x": np.array([1, 2], np.float32)}, two)["y"], [11, 12])
    with pytest.raises(RuntimeError, match="no state"):
        one.read_state("sum")


@pytest.mark.usefixtures("standing_in")
def test_functions_of_one_package(tmp_path):
    for name, value in (("one", 1), ("two", 2)):
        build = lambda x, value=value: mb.add(x=x, y=np.float32(value), name="y")  # noqa: E731
        (tmp_path / name).mkdir()
        save_program(build, {"x": np.zeros(2, np.float32)}, tmp_path / name, "iOS18")
    both = ct.utils.MultiFunctionDescriptor()
    for name in ("one", "two"):
        both.add_function(str(tmp_path / name / "op.mlpackage"), "main", name)
    both.default_function_name = "one"
    ct.utils.save_multifunction(both, str(tmp_path / "both.mlpackage"))
    for name, expected in (("one", 1), ("two", 2), (None, 1)):
        model = MLModel(str(tmp_path / "both.mlpackage"), function_name=name)
        assert model.predict({"x": np.zeros(2)})["y"].tolist() == [expected] * 2


@pytest.mark.usefixtures("standing_in")
def test_other_kinds_of_models_do_not_load():
    traced = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1, 2))
    options = {"inputs": [ct.TensorType(name="x", shape=(1, 2))], "convert_to": "neuralnetwork"}
    with pytest.warns(RuntimeWarning, match="milrun's stand-in runs ML Programs only"):
        model = ct.convert(traced, **options)
    with pytest.raises(milrun.standin.ModelKindError):
        model.predict({"x": np.zeros((1, 2))})
