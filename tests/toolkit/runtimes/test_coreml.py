"""The Core ML runtime through a stand-in for coremltools' MLModel, as its documentation describes that class."""

import sys
from typing import ClassVar

import numpy as np
import pytest

from toolkit.bundle.bundle import Bundle
from toolkit.bundle.manifest import CheckpointEntry, ComponentEntry, FunctionEntry, Manifest, PackageEntry, TensorEntry
from toolkit.errors import BundleError, RuntimeFault, UnsupportedError
from toolkit.runtimes.coreml import CoremlRuntime


class FakeState:
    """MLState as coremltools has it: float16 leaves it as float32."""

    def __init__(self):
        self.values = {"cache": np.zeros((2, 3), np.float32)}

    def read_state(self, name):
        return self.values[name]

    def write_state(self, name, value):
        if name not in self.values:
            raise RuntimeError(f"no state {name}")
        assert value.dtype == np.float32
        assert value.flags["C_CONTIGUOUS"]
        self.values[name] = value


class FakeModel:
    """Records how it was made; doubles its input and counts in its state."""

    made: ClassVar[list["FakeModel"]] = []
    framework_error: RuntimeError | None = None
    loads = True

    def __init__(self, model, compute_units, function_name):
        self.model, self.compute_units, self.function_name = model, compute_units, function_name
        self.__proxy__ = object() if self.loads else None
        self._framework_error = self.framework_error
        FakeModel.made.append(self)

    def make_state(self):
        return FakeState()

    def predict(self, data, state=None):
        assert type(data) is dict, "MLModel takes a dict, no other mapping"
        assert all(value.flags["C_CONTIGUOUS"] for value in data.values())
        x = data.pop("x")
        if not x.any():
            raise RuntimeError("Unable to compute the prediction")
        if state is not None:
            state.values["cache"] += 1
        return {"y": np.asarray(2 * x, np.float32)}


@pytest.fixture(autouse=True)
def fresh():
    FakeModel.made, FakeModel.loads, FakeModel.framework_error = [], True, None


def tensor(name, dtype="float32"):
    return TensorEntry(name=name, dtype=dtype, shape=(2, 3), meaning="")


def function(name, output="float32", states=()):
    return FunctionEntry(name=name, inputs=(tensor("x"),), outputs=(tensor("y", output),), states=states)


def runtime(tmp_path, functions, packages, units="ALL"):
    component = ComponentEntry(
        name="part",
        packages=tuple(
            PackageEntry(file=f, sha256="0", size_bytes=1, functions=names) for f, names in packages.items()
        ),
        fingerprint="0",
        sources={"wrappers": "0"},
        precision="fp16",
        compression="none",
        functions=functions,
    )
    manifest = Manifest(
        schema_version=1,
        model="parakeet-tdt",
        task="transcription",
        checkpoint=CheckpointEntry(id="demo", kind="demo", revision=None, sha256="0", location="demo"),
        target="iOS18",
        options={},
        components=(component,),
        assets=(),
        host={},
        versions={},
    )
    return CoremlRuntime(Bundle(tmp_path, manifest), units, model_class=FakeModel)


ONE = {"part.mlpackage": {"main": "main"}}
X = {"x": np.ones((2, 3), np.float32)}


def test_a_single_function_is_loaded_without_a_name(tmp_path):
    part = runtime(tmp_path, (function("main"),), ONE, "CPU_ONLY").load("part")
    assert (part.predict(X)["y"] == 2).all()
    (model,) = FakeModel.made
    assert (model.model, model.function_name) == (str(tmp_path / "part.mlpackage"), None)
    assert model.compute_units.name == "CPU_ONLY"


def test_functions_of_one_package_are_loaded_by_name(tmp_path):
    packages = {"part.mlpackage": {"audio_5s": "audio_5s", "audio_15s": "audio_15s"}}
    loaded = runtime(tmp_path, (function("audio_5s"), function("audio_15s")), packages)
    assert loaded.load("part", "audio_15s") is loaded.load("part", "audio_15s")
    loaded.load("part", "audio_5s")
    assert [m.function_name for m in FakeModel.made] == ["audio_15s", "audio_5s"]


def test_functions_in_packages_of_their_own_have_none(tmp_path):
    packages = {"part_5s.mlpackage": {"audio_5s": "main"}, "part_15s.mlpackage": {"audio_15s": "main"}}
    runtime(tmp_path, (function("audio_5s"), function("audio_15s")), packages).load("part", "audio_15s")
    assert FakeModel.made[0].model.endswith("part_15s.mlpackage")
    assert FakeModel.made[0].function_name is None


def stateful(tmp_path, name="cache"):
    return runtime(tmp_path, (function("main", states=(tensor(name, "float16"),)),), ONE).load("part")


def test_state_passes_through(tmp_path):
    part = stateful(tmp_path)
    state = part.make_state({"cache": np.full((3, 2), 5, np.float16).T})
    part.predict(X, state)
    values = part.read_state(state)
    part.predict(X, state)
    assert values["cache"].dtype == np.float16
    assert (values["cache"] == 6).all()
    assert (part.read_state(state)["cache"] == 7).all()
    assert (part.read_state(part.make_state())["cache"] == 0).all()


def test_a_component_without_states_has_none(tmp_path):
    part = runtime(tmp_path, (function("main"),), ONE).load("part")
    assert part.make_state() is None
    assert part.read_state(None) == {}
    with pytest.raises(RuntimeFault, match="keeps no states and was given one"):
        part.predict(X, stateful(tmp_path).make_state())


def test_a_state_that_core_ml_refuses_is_a_fault(tmp_path):
    with pytest.raises(RuntimeFault, match="Core ML: no state other"):
        stateful(tmp_path, "other").make_state({"other": np.zeros((2, 3), np.float16)})


def test_inputs_are_neither_changed_nor_need_be_contiguous(tmp_path):
    part = runtime(tmp_path, (function("main"),), ONE).load("part")
    inputs = {"x": np.ones((3, 2), np.float32).T}
    part.predict(inputs)
    assert set(inputs) == {"x"}


def test_float16_outputs_come_as_declared(tmp_path):
    part = runtime(tmp_path, (function("main", "float16"),), ONE).load("part")
    assert part.predict(X)["y"].dtype == np.float16


def test_an_integer_output_is_not_cast_in_silence(tmp_path):
    part = runtime(tmp_path, (function("main", "int32"),), ONE).load("part")
    with pytest.raises(RuntimeFault, match="float32"):
        part.predict(X)


def test_a_failing_prediction_is_a_fault(tmp_path):
    part = runtime(tmp_path, (function("main"),), ONE).load("part")
    with pytest.raises(RuntimeFault, match="Core ML: Unable to compute"):
        part.predict({"x": np.zeros((2, 3), np.float32)})


@pytest.mark.parametrize("error", [None, RuntimeError("compiler says no")])
def test_a_package_that_core_ml_cannot_load_is_unsupported(tmp_path, error):
    FakeModel.loads, FakeModel.framework_error = False, error
    with pytest.raises(UnsupportedError, match="compiler says no" if error else "newer than this macOS"):
        runtime(tmp_path, (function("main"),), ONE).load("part")


@pytest.mark.parametrize(("component", "name"), [("other", "main"), ("part", "other")])
def test_what_the_bundle_does_not_hold_is_refused(tmp_path, component, name):
    with pytest.raises(BundleError, match="has no"):
        runtime(tmp_path, (function("main"),), ONE).load(component, name)


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is there")
def test_off_macos_it_names_portable():
    with pytest.raises(UnsupportedError, match="--runtime portable"):
        CoremlRuntime(None)
