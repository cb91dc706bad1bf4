"""What coremltools' binding and Core ML refuse on a Mac is refused by the stand-in, with the same kind of error."""

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.models import CompiledMLModel, MLModel

import milrun.standin
from tests.milrun.standin.models import accumulate, add_one, embedding


@pytest.fixture(scope="module", autouse=True)
def block():
    with milrun.standin.predictions() as block:
        yield block


@pytest.fixture(scope="module")
def lookup(tmp_path_factory):
    return MLModel(embedding(tmp_path_factory.mktemp("lookup")))


@pytest.fixture(scope="module")
def adder(tmp_path_factory):
    return MLModel(add_one(tmp_path_factory.mktemp("adder"), shape=(3,)))


@pytest.fixture(scope="module")
def running_sum(tmp_path_factory):
    return MLModel(accumulate(tmp_path_factory.mktemp("sum")))


def read_only(values):
    array = np.array(values, np.float32)
    array.flags.writeable = False
    return array


REFUSED = {
    "int64": np.array([1, 2, 3]),
    "list of ints": [1, 2, 3],
    "uint8": np.array([1, 2, 3], np.uint8),
    "int16": np.array([1, 2, 3], np.int16),
    "bool": np.array([True, False, True]),
    "int64 beyond int32": np.array([1, 2, 2**40]),
    "read-only": read_only([1, 2, 3]),
    "rank 0": np.array(1, np.float32),
    "scalar": 1.5,
    "torch int64": torch.tensor([1, 2, 3]),
    "words": np.array(["a", "b", "c"]),
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
def test_the_binding_takes_no(lookup, capsys, value):
    with pytest.raises(RuntimeError, match="value type not convertible"):
        lookup.predict({"i": value})
    # The binding prints the value to stdout, among what a command prints there.
    assert capsys.readouterr().out.startswith("Error: value type not convertible:\n")


@pytest.mark.parametrize("dtype", [np.int32, np.int8, np.float32, np.float64])
def test_the_binding_takes(lookup, dtype):
    (rows,) = lookup.predict({"i": np.array([1, 2, 3], dtype)}).values()
    (expected,) = lookup.predict({"i": np.array([1, 2, 3], np.int32)}).values()
    np.testing.assert_array_equal(rows, expected)


def test_int8_came_with_macos_26(lookup, block, monkeypatch):
    monkeypatch.setattr(block, "macos", (15, 6))
    with pytest.raises(RuntimeError, match="int8 array"):
        lookup.predict({"i": np.array([1, 2, 3], np.int8)})


def test_float16_is_converted_before_the_binding(adder):
    """By `MLModel` and by `CompiledMLModel`; the binding itself would refuse it."""
    for model in (adder, CompiledMLModel(adder.get_compiled_model_path())):
        assert model.predict({"x": np.ones(3, np.float16)})["y"].tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="float16 array"):
            (adder.__proxy__ if model is adder else model._proxy).predict({"x": np.ones(3, np.float16)})


@pytest.mark.parametrize("bad", [np.nan, np.inf, 2.0**31, -(2.0**40)])
def test_what_an_int32_input_cannot_hold(lookup, bad):
    with pytest.raises(RuntimeError, match="input 'i' is int32, which cannot hold"):
        lookup.predict({"i": np.array([1, 2, bad])})


def test_nan_is_a_float(adder):
    assert np.isnan(adder.predict({"x": np.array([1, np.nan, 3])})["y"]).tolist() == [False, True, False]


def test_missing_and_unknown_inputs(adder):
    x = np.ones(3, np.float32)
    with pytest.raises(RuntimeError, match="'x' is required but not given"):
        adder.predict({})
    with pytest.raises(KeyError, match="does not match any of the model input"):
        adder.predict({"x": x, "z": x})
    compiled = CompiledMLModel(adder.get_compiled_model_path())
    with pytest.raises(RuntimeError, match="no input z"):
        compiled.predict({"x": x, "z": x})


def test_a_compiled_model_converts_nothing(adder):
    """`MLModel` makes arrays of lists and tensors, `CompiledMLModel` does not; the binding drops a list silently."""
    compiled = CompiledMLModel(adder.get_compiled_model_path())
    assert adder.predict({"x": [1.0, 2.0, 3.0]})["y"].tolist() == [2, 3, 4]
    with pytest.raises(RuntimeError, match="'x' is required but not given"):
        compiled.predict({"x": [1.0, 2.0, 3.0]})
    with pytest.raises(RuntimeError, match="not convertible \\(Tensor\\)"):
        compiled.predict({"x": torch.ones(3)})
    with pytest.raises(RuntimeError, match="to be an array, but the input is a float"):
        compiled.predict({"x": 1.0})


X = {"x": np.ones(2, np.float32)}


def test_a_stateful_model_needs_its_own_state(running_sum, tmp_path):
    with pytest.raises(RuntimeError, match="keeps states"):
        running_sum.predict(dict(X))
    other = MLModel(accumulate(tmp_path))
    with pytest.raises(RuntimeError, match="another model"):
        running_sum.predict(dict(X), other.make_state())
    with pytest.raises(TypeError, match="no state"):
        running_sum.__proxy__.predict(dict(X), {"total": np.zeros(2)})
    state = running_sum.make_state()
    assert running_sum.predict(dict(X), state)["y"].tolist() == [1, 1]


def test_a_stateless_model_makes_states_without_content(adder):
    x = {"x": np.ones(3, np.float32)}
    assert adder.predict(x, adder.make_state())["y"].tolist() == [2, 2, 2]
    with pytest.raises(RuntimeError, match="no state"):
        adder.make_state().read_state("total")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("total", np.zeros(2, np.float16), "float16 array"),
        ("total", np.zeros(2, np.int64), "int64 array"),
        ("total", read_only([0, 0]), "read-only"),
        ("total", np.zeros(3, np.float32), "got shape"),
        ("total", [0.0, 0.0], "only multi-array value is supported"),
        ("sum", np.zeros(2, np.float32), "no state 'sum'"),
    ],
)
def test_what_a_state_refuses(running_sum, name, value, message):
    state = running_sum.make_state()
    running_sum.predict(dict(X), state)
    with pytest.raises(RuntimeError, match=message):
        state.write_state(name, value)
    assert state.read_state("total").tolist() == [1, 1]


def test_states_need_macos_15(running_sum, block, monkeypatch):
    monkeypatch.setattr(block, "macos", (14, 7))
    assert ct.utils._macos_version() == (14, 7)
    with pytest.raises(Exception, match="only supported on macOS 15"):
        running_sum.make_state()
