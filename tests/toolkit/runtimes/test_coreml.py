"""The Core ML runtime on a framework that does as it is told."""

import re
import sys
import threading
import time

import numpy as np
import pytest

from tests.toolkit.runtimes.frameworks import FakeFramework
from toolkit.bundle.bundle import Bundle
from toolkit.bundle.manifest import CheckpointEntry, ComponentEntry, FunctionEntry, Manifest, PackageEntry, TensorEntry
from toolkit.cache import CACHE_VARIABLE
from toolkit.compute_units import UnitsChoice
from toolkit.errors import BundleError, LoadRefused, OptionError, RuntimeFault, UnsupportedError
from toolkit.runtimes.compiled import FOLDER
from toolkit.runtimes.coreml import CoremlRuntime


@pytest.fixture
def framework():
    return FakeFramework()


def tensor(name, dtype="float32"):
    return TensorEntry(name=name, dtype=dtype, shape=(2, 3), meaning="")


def function(name, output="float32", states=()):
    return FunctionEntry(name=name, inputs=(tensor("x"),), outputs=(tensor("y", output),), states=states)


def bundle_of(folder, functions, packages, units="ALL", sha256="0" * 64):
    component = ComponentEntry(
        name="part",
        packages=tuple(
            PackageEntry(file=f, sha256=sha256, size_bytes=1, functions=names) for f, names in packages.items()
        ),
        fingerprint="0",
        sources={"wrappers": "0"},
        precision="fp16",
        compression="none",
        compute_units=units,
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
    return Bundle(folder, manifest)


@pytest.fixture
def runtime(tmp_path, framework):
    """A runtime for a bundle of one component, and what it said."""

    def make(functions=None, packages=None, *, units="auto", **settings):
        bundle = bundle_of(tmp_path, functions or (function("main"),), packages or ONE, **settings)
        made = CoremlRuntime(bundle, UnitsChoice(units), said.append, framework)
        return made

    said = []
    make.said = said
    return make


ONE = {"part.mlpackage": {"main": "main"}}
X = {"x": np.ones((2, 3), np.float32)}


def test_a_single_function_is_loaded_without_a_name(runtime, framework, tmp_path):
    part = runtime().load("part")
    assert (part.predict(X)["y"] == 2).all()
    ((compiled, units, name),) = framework.loads
    assert (compiled.name, units, name) == ("part.mlmodelc", "ALL", None)
    assert framework.compiled == [tmp_path / "part.mlpackage"]


SEVERAL = {"part.mlpackage": {"audio_5s": "audio_5s", "audio_15s": "audio_15s"}}


def test_functions_of_one_package_are_compiled_once_and_loaded_once_by_name(runtime, framework):
    loaded = runtime((function("audio_5s"), function("audio_15s")), SEVERAL)
    assert loaded.load("part", "audio_15s") is loaded.load("part", "audio_15s")
    loaded.load("part", "audio_5s")
    assert [name for _, _, name in framework.loads] == ["audio_15s", "audio_5s"]
    assert len(framework.compiled) == 1


def test_a_function_that_was_let_go_is_loaded_again(runtime, framework):
    loaded = runtime()
    first = loaded.load("part")
    loaded.release("part")
    assert loaded.load("part") is not first
    assert (len(framework.compiled), len(framework.loads)) == (1, 2)


def test_functions_in_packages_of_their_own_have_no_name(runtime, framework):
    packages = {"part_5s.mlpackage": {"audio_5s": "main"}, "part_15s.mlpackage": {"audio_15s": "main"}}
    runtime((function("audio_5s"), function("audio_15s")), packages).load("part", "audio_15s")
    ((compiled, _, name),) = framework.loads
    assert (compiled.name, name) == ("part_15s.mlmodelc", None)


class TestCompiledOnce:
    """The cache beside the bundle."""

    def test_a_later_start_compiles_and_probes_nothing(self, runtime, framework):
        runtime().load("part")
        assert runtime.said == ["Core ML prepares part for this Mac (once; can take minutes)"]
        later = runtime()
        later.load("part")
        assert (len(framework.compiled), framework.probes, len(runtime.said)) == (1, ["ALL"], 1)
        assert [load.cold for load in later.loads] == [False]
        assert re.fullmatch(r"Core ML: 1 function loaded in \d+\.\d s", later.load_summary())

    @pytest.mark.parametrize("what", ["package", "system"])
    def test_what_has_changed_is_compiled_anew_and_the_old_one_dropped(self, runtime, framework, tmp_path, what):
        runtime().load("part")
        if what == "system":
            framework.build = "24B2"
        runtime(sha256="1" * 64 if what == "package" else "0" * 64).load("part")
        assert len(framework.compiled) == 2
        assert len(list((tmp_path / FOLDER).iterdir())) == 1

    @pytest.mark.parametrize("damage", ["half-written", "gone"])
    def test_a_damaged_one_is_made_anew(self, runtime, framework, tmp_path, damage):
        runtime().load("part")
        (folder,) = (tmp_path / FOLDER).iterdir()
        if damage == "half-written":
            (folder / "complete.json").unlink()
        else:
            (folder / "part.mlmodelc").rmdir()
        runtime().load("part")
        assert len(framework.compiled) == 2

    def test_what_another_process_is_compiling_is_waited_for_and_taken(self, tmp_path):
        started = threading.Event()

        class Slow(FakeFramework):
            def compile_package(self, package, compiled):
                started.set()
                time.sleep(0.3)
                super().compile_package(package, compiled)

        first, second = Slow(), FakeFramework()
        runtimes = [
            CoremlRuntime(bundle_of(tmp_path, (function("main"),), ONE), say=lambda text: None, framework=framework)
            for framework in (first, second)
        ]
        other = threading.Thread(target=runtimes[0].load, args=("part",))
        other.start()
        started.wait()
        runtimes[1].load("part")
        other.join()
        assert (len(first.compiled), len(second.compiled)) == (1, 0)
        assert len(list((tmp_path / FOLDER).iterdir())) == 1

    def test_a_failure_leaves_nothing(self, runtime, framework, tmp_path):
        framework.uncompilable = "unknown op"
        with pytest.raises(LoadRefused, match="unknown op"):
            runtime().load("part")
        assert list((tmp_path / FOLDER).iterdir()) == []

    def test_a_bundle_that_cannot_be_written_is_cached_elsewhere(self, runtime, framework, tmp_path, monkeypatch):
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
        (tmp_path / FOLDER).write_text("in the way")
        runtime().load("part")
        runtime().load("part")
        assert len(framework.compiled) == 1
        assert len(list((tmp_path / "cache/compiled").iterdir())) == 1


class TestComputeUnits:
    """Where a component runs."""

    def units(self, framework):
        return [units for _, units, _ in framework.loads]

    def test_the_manifest_decides(self, tmp_path, framework):
        bundle = bundle_of(tmp_path, (function("main"),), ONE, "CPU_AND_NE")
        CoremlRuntime(bundle, say=lambda text: None, framework=framework).load("part")
        assert self.units(framework) == ["CPU_AND_NE"]

    @pytest.mark.parametrize("text", ["cpu-only", "CPU_ONLY", "part=cpu_only", "ALL,part=CPU_ONLY"])
    def test_the_run_may_choose_others(self, runtime, framework, text):
        runtime(units=text).load("part")
        assert self.units(framework) == ["CPU_ONLY"]

    def test_what_is_refused_falls_back_and_says_so(self, runtime, framework):
        framework.refused = {"ALL": "width 36"}
        loaded = runtime()
        loaded.load("part")
        assert self.units(framework) == ["CPU_AND_GPU"]
        assert runtime.said[-1] == "part (main) runs on CPU_AND_GPU instead: Core ML refuses it on ALL (width 36)"
        assert [load.units for load in loaded.loads] == ["CPU_AND_GPU"]

    def test_a_crash_is_met_once_and_remembered(self, runtime, framework):
        framework.crashing = ("CPU_AND_NE", "CPU_AND_GPU")
        for _ in range(2):
            runtime(units="CPU_AND_NE").load("part")
        assert framework.probes == ["CPU_AND_NE", "CPU_AND_GPU", "CPU_ONLY"]
        assert self.units(framework) == ["CPU_ONLY", "CPU_ONLY"]
        assert "signal 11" in runtime.said[-1]

    def test_what_is_refused_everywhere_is_a_fault_of_its_component(self, runtime, framework):
        framework.refused = dict.fromkeys(("ALL", "CPU_AND_GPU", "CPU_ONLY"), "compiler says no")
        with pytest.raises(LoadRefused, match=r"component part \(main\): Core ML cannot load it") as caught:
            runtime().load("part")
        assert caught.value.exit_code == 3
        assert isinstance(caught.value, RuntimeFault)

    def test_a_component_that_the_bundle_lacks_is_refused(self, runtime):
        with pytest.raises(OptionError, match="no component other"):
            runtime(units="other=ALL")


@pytest.fixture
def stateful(runtime):
    return lambda name="cache": runtime((function("main", states=(tensor(name, "float16"),)),)).load("part")


def test_state_passes_through(stateful):
    part = stateful()
    state = part.make_state({"cache": np.full((3, 2), 5, np.float16).T})
    part.predict(X, state)
    values = part.read_state(state)
    part.predict(X, state)
    assert values["cache"].dtype == np.float16
    assert (values["cache"] == 6).all()
    assert (part.read_state(state)["cache"] == 7).all()
    assert (part.read_state(part.make_state())["cache"] == 0).all()


def test_a_component_without_states_has_none(runtime, stateful):
    part = runtime().load("part")
    assert part.make_state() is None
    assert part.read_state(None) == {}
    with pytest.raises(RuntimeFault, match="keeps no states and was given one"):
        part.predict(X, stateful().make_state())


def test_a_state_that_core_ml_refuses_is_a_fault(stateful):
    with pytest.raises(RuntimeFault, match="Core ML: no state other"):
        stateful("other").make_state({"other": np.zeros((2, 3), np.float16)})


def test_inputs_are_neither_changed_nor_need_be_contiguous_or_writable(runtime):
    part = runtime().load("part")
    inputs = {"x": np.ones((3, 2), np.float32).T}
    inputs["x"].flags.writeable = False
    part.predict(inputs)
    assert set(inputs) == {"x"}


def test_float16_outputs_come_as_declared(runtime):
    part = runtime((function("main", "float16"),)).load("part")
    assert part.predict(X)["y"].dtype == np.float16


def test_an_integer_output_is_not_cast_in_silence(runtime):
    part = runtime((function("main", "int32"),)).load("part")
    with pytest.raises(RuntimeFault, match="float32"):
        part.predict(X)


def test_a_failing_prediction_is_a_fault(runtime):
    part = runtime().load("part")
    with pytest.raises(RuntimeFault, match="Core ML: Unable to compute"):
        part.predict({"x": np.full((2, 3), -1, np.float32)})


@pytest.mark.parametrize(("component", "name"), [("other", "main"), ("part", "other")])
def test_what_the_bundle_does_not_hold_is_refused(runtime, component, name):
    with pytest.raises(BundleError, match="has no"):
        runtime().load(component, name)


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is there")
def test_off_macos_it_names_portable():
    with pytest.raises(UnsupportedError, match="--runtime portable"):
        CoremlRuntime(None)
