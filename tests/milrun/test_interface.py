"""What the model's description allows: ranges, enumerated shapes, defaults, images; `predict` as the stand-in."""

import coremltools as ct
import numpy as np
import pytest
import torch
from PIL import Image

import milrun
from milrun import InputError
from milrun.__main__ import main

# coremltools names outputs itself and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Output, .* has been renamed:UserWarning")


class Sum(torch.nn.Module):
    def forward(self, x, y=None):
        return (x if y is None else x + y) * 2


def converted(path, inputs, examples, target=ct.target.iOS16):
    traced = torch.jit.trace(Sum(), examples)
    options = {"outputs": [ct.TensorType(name="out")], "minimum_deployment_target": target, "skip_model_load": True}
    ct.convert(traced, inputs=inputs, compute_precision=ct.precision.FLOAT32, **options).save(str(path))
    return path


@pytest.fixture(scope="module")
def ranged(tmp_path_factory):
    shape = ct.Shape((1, 2, ct.RangeDim(3, 5, default=4)))
    path = tmp_path_factory.mktemp("ranged") / "ranged.mlpackage"
    return converted(path, [ct.TensorType("x", shape)], (torch.zeros(1, 2, 4),))


@pytest.fixture(scope="module")
def enumerated(tmp_path_factory):
    shapes = ct.EnumeratedShapes([(1, 4), (1, 6)], default=(1, 6))  # which the description puts first
    path = tmp_path_factory.mktemp("enumerated") / "enumerated.mlpackage"
    return converted(path, [ct.TensorType("x", shapes)], (torch.zeros(1, 4),))


@pytest.fixture(scope="module")
def optional(tmp_path_factory):
    types = [ct.TensorType("x", (1, 4)), ct.TensorType("y", (1, 4), default_value=np.full((1, 4), 3, np.float32))]
    path = tmp_path_factory.mktemp("optional") / "optional.mlpackage"
    return converted(path, types, (torch.zeros(1, 4), torch.zeros(1, 4)))


def test_a_range_is_shown_and_held_to(ranged):
    model = milrun.load(ranged)
    assert str(model.inputs["x"]) == "float32 [1, 2, 3..5]"
    for size in (3, 5):
        assert model.predict({"x": np.ones((1, 2, size))})["out"].shape == (1, 2, size)
    for size in (0, 2, 6):
        with pytest.raises(InputError, match=rf"'x' is float32 \[1, 2, 3\.\.5\], got shape \[1, 2, {size}\]"):
            model.predict({"x": np.ones((1, 2, size))})


def test_enumerated_shapes_are_shown_and_held_to(enumerated):
    model = milrun.load(enumerated)
    assert str(model.inputs["x"]) == "float32 [1, 6] or [1, 4]"
    assert model.predict({"x": np.ones((1, 6))})["out"].shape == (1, 6)
    with pytest.raises(InputError, match=r"'x' is float32 \[1, 6\] or \[1, 4\], got shape \[1, 5\]"):
        model.predict({"x": np.ones((1, 5))})


def test_the_command_shows_what_is_allowed_and_makes_the_default(ranged, enumerated, capsys):
    for package, described, size in ((ranged, "[1, 2, 3..5]", "[1, 2, 4]"), (enumerated, "[1, 6] or [1, 4]", "[1, 6]")):
        assert main([str(package), "--random"]) == 0
        out = capsys.readouterr().out
        assert f"input  x: float32 {described}\n" in out
        assert size in out.splitlines()[-2]


def test_no_upper_limit_and_many_shapes():
    unlimited = milrun.interface.InputType("float32", (None,), ranges=(milrun.interface.Interval(2, None),))
    assert str(unlimited) == "float32 [2..]"
    assert not unlimited.fault((10**9,))
    assert unlimited.fault((1,))
    many = milrun.interface.InputType("float32", (None,), shapes=tuple((n,) for n in range(20)))
    assert str(many).endswith("[7] or 12 more")


def test_an_input_with_a_default_may_be_left_out(optional):
    model = milrun.load(optional)
    assert str(model.inputs["y"]) == "float32 [1, 4], 3 where left out"
    np.testing.assert_array_equal(model.predict({"x": np.ones((1, 4))})["out"], np.full((1, 4), 8, np.float32))
    np.testing.assert_array_equal(model.predict({"x": np.ones((1, 4)), "y": np.ones((1, 4))})["out"], [[4] * 4])
    with pytest.raises(InputError, match=r"wants inputs \['x', 'y'\] \(may be left out: \['y'\]\), got \['y'\]"):
        model.predict({"y": np.ones((1, 4))})
    with milrun.standin.predictions():
        (out,) = ct.models.MLModel(str(optional)).predict({"x": np.ones((1, 4))}).values()
    np.testing.assert_array_equal(out, np.full((1, 4), 8, np.float32))


def test_each_function_has_a_description_of_its_own(tmp_path):
    both = ct.utils.MultiFunctionDescriptor()
    for name, high in (("short", 5), ("long", 50)):
        shape = ct.Shape((1, ct.RangeDim(3, high, default=4)))
        path = converted(
            tmp_path / f"{name}.mlpackage", [ct.TensorType("x", shape)], (torch.zeros(1, 4),), ct.target.iOS18
        )
        both.add_function(str(path), "main", name)
    both.default_function_name = "short"
    ct.utils.save_multifunction(both, str(tmp_path / "both.mlpackage"))
    short = milrun.load(tmp_path / "both.mlpackage")
    with pytest.raises(InputError, match=r"\[1, 3\.\.5\], got shape \[1, 6\]"):
        short.predict({"x": np.ones((1, 6))})
    assert short.sibling("long").predict({"x": np.ones((1, 6))})["out"].shape == (1, 6)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    def flexible(path, shape):
        return converted(path, [ct.ImageType("im", shape)], (torch.zeros(1, 3, 8, 8),))

    folder = tmp_path_factory.mktemp("picture")
    side = ct.RangeDim(4, 9, default=8)
    return {
        "ranged": flexible(folder / "ranged.mlpackage", ct.Shape((1, 3, side, 8))),
        "enumerated": flexible(folder / "two.mlpackage", ct.EnumeratedShapes([(1, 3, 8, 8), (1, 3, 6, 4)])),
        "fixed": flexible(folder / "fixed.mlpackage", (1, 3, 8, 8)),
    }


@pytest.mark.parametrize(
    ("kind", "described", "good", "bad"),
    [
        ("fixed", r"\[1, 3, 8, 8\], RGB pixels", (8, 8), (4, 6)),
        ("ranged", r"\[1, 3, 4\.\.9, 8\], RGB pixels", (8, 4), (8, 3)),
        ("enumerated", r"\[1, 3, 8, 8\] or \[1, 3, 6, 4\], RGB pixels", (4, 6), (6, 4)),
    ],
)
def test_the_size_of_an_image(picture, kind, described, good, bad):
    model = milrun.load(picture[kind])
    with pytest.raises(InputError, match=described):
        model.predict({"im": np.zeros((1, 3, *bad[::-1]))})
    assert model.predict({"im": np.zeros((1, 3, *good[::-1]))})["out"].shape == (1, 3, *good[::-1])
    with milrun.standin.predictions():
        model = ct.models.MLModel(str(picture[kind]))
        model.predict({"im": Image.new("RGB", good)})
        with pytest.raises(RuntimeError, match="input 'im'"):
            model.predict({"im": Image.new("RGB", bad)})


def test_what_is_no_array_is_told_what_is_wanted(picture, ranged):
    with pytest.raises(InputError, match="give the pixels as an array, not a PIL image"):
        milrun.load(picture["fixed"]).predict({"im": Image.new("RGB", (8, 8))})
    model = milrun.load(ranged)
    for value in ([[1, 2], [3]], torch.ones(1, 2, 4, requires_grad=True)):
        with pytest.raises(
            InputError, match=r"'x' is float32 \[1, 2, 3\.\.5\], got a (list|Tensor) that is not an array"
        ):
            model.predict({"x": value})
    with pytest.raises(InputError, match="wants a mapping from name to array, got ndarray"):
        model.predict(np.ones((1, 2, 4)))
