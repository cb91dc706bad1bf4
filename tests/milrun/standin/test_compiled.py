"""Compiling, loading what was compiled, functions by name, and failures that a test asks for."""

import os
import shutil
import signal
from pathlib import Path

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.models import CompiledMLModel, MLModel

import milrun.standin
from tests.milrun.compiled.mil_text import write_compiled
from tests.milrun.standin.models import add_one, two_functions

ONES = {"x": np.ones((2, 3), np.float32)}


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """TMPDIR of the test, to see what is left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def compiled_folders(temporary):
    return sorted(temporary.glob("*.mlmodelc"))


def test_a_model_compiles_into_a_folder_that_goes_with_it(tmp_path, temporary):
    with milrun.standin.predictions() as block:
        model = MLModel(add_one(tmp_path / "a"))
        assert [str(f) for f in compiled_folders(temporary)] == [model.get_compiled_model_path()]
        assert (block.loads, block.compiles) == (1, 1)
        del model
    assert compiled_folders(temporary) == []


def test_what_is_compiled_stays_and_loads_without_compiling(tmp_path, temporary):
    with milrun.standin.predictions() as block:
        target = str(tmp_path / "kept.mlmodelc")
        assert ct.utils.compile_model(add_one(tmp_path / "a"), target) == target
        assert (block.loads, block.compiles) == (0, 1)
        shutil.rmtree(tmp_path / "a")
        for _ in range(2):
            assert (CompiledMLModel(target).predict(dict(ONES))["y"] == 2).all()
        assert (block.loads, block.compiles) == (2, 1)
    assert Path(target).is_dir()
    assert compiled_folders(temporary) == []


def test_the_compiled_path_can_be_copied_and_loaded_as_mlmodel_cannot(tmp_path):
    with milrun.standin.predictions():
        model = MLModel(add_one(tmp_path / "a"))
        copy = shutil.copytree(model.get_compiled_model_path(), tmp_path / "copy.mlmodelc")
        del model
        loaded = CompiledMLModel(str(copy), ct.ComputeUnit.CPU_ONLY)
        assert (loaded.predict(dict(ONES))["y"] == 2).all()


def test_a_model_that_core_ml_compiled_runs(tmp_path):
    compiled = write_compiled(add_one(tmp_path), tmp_path / "real.mlmodelc")
    with milrun.standin.predictions():
        loaded = CompiledMLModel(str(compiled), ct.ComputeUnit.CPU_ONLY)
        assert (loaded.predict(dict(ONES))["y"] == 2).all()


def test_incomplete_compiled_models_are_refused(tmp_path):
    (tmp_path / "foreign.mlmodelc").mkdir()
    (tmp_path / "foreign.mlmodelc" / "coremldata.bin").write_bytes(b"\0")
    with milrun.standin.predictions() as block:
        for path in ("foreign.mlmodelc", "foreign.mlmodelc/", "missing.mlmodelc"):
            with pytest.raises(RuntimeError, match=r"is not a|no package at|is damaged"):
                CompiledMLModel(str(tmp_path / path))
        whole = Path(ct.utils.compile_model(add_one(tmp_path / "a"), str(tmp_path / "cut.mlmodelc")))
        next(whole.rglob("model.mlmodel")).write_bytes(b"cut")
        with pytest.raises(RuntimeError):
            CompiledMLModel(str(whole))
    assert block.loads == 0


def test_what_cannot_be_compiled_leaves_nothing(tmp_path, temporary):
    traced = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1, 2))
    named = {"inputs": [ct.TensorType("x", (1, 2))], "outputs": [ct.TensorType("y")]}
    network = ct.convert(traced, **named, convert_to="neuralnetwork", skip_model_load=True).get_spec()
    with milrun.standin.predictions() as block:
        with pytest.raises(milrun.standin.ModelKindError, match="ML Programs only"):
            ct.utils.compile_model(network)
        with pytest.raises(RuntimeError, match="Error compiling model"):
            ct.utils.compile_model(str(tmp_path / "missing.mlpackage"))
    assert block.compiles == 0
    assert compiled_folders(temporary) == []


@pytest.mark.parametrize("load", ["package", "compiled"])
def test_functions_by_name(tmp_path, load):
    package = two_functions(tmp_path)
    with milrun.standin.predictions():
        path = package if load == "package" else ct.utils.compile_model(package, str(tmp_path / "both.mlmodelc"))
        model_class = MLModel if load == "package" else CompiledMLModel
        for name, expected in ((None, 1), ("one", 1), ("two", 2)):
            model = model_class(path, function_name=name)
            assert model.predict({"x": np.zeros(2, np.float32)})["y"].tolist() == [expected] * 2
        with pytest.raises(RuntimeError, match="no function 'three'"):
            CompiledMLModel(ct.utils.compile_model(package), function_name="three")


def test_naming_the_only_function_needs_macos_15(tmp_path):
    package = add_one(tmp_path / "a")
    with milrun.standin.predictions(macos=(15, 0)):
        assert (MLModel(package, function_name="main").predict(dict(ONES))["y"] == 2).all()
    with milrun.standin.predictions(macos=(14, 5)):
        assert (MLModel(package).predict(dict(ONES))["y"] == 2).all()
        with pytest.warns(RuntimeWarning, match=r"functionName.*macOS >= 15.0"):
            assert MLModel(package, function_name="main").__proxy__ is None


def test_a_dollar_in_a_path_is_a_variable_for_mlmodel_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("standin_voice", "other")
    package = add_one(tmp_path / "$standin_voice")
    with milrun.standin.predictions():
        with pytest.raises(Exception, match=r"other/op\.mlpackage"):
            MLModel(package)
        compiled = ct.utils.compile_model(package, str(tmp_path / "$standin_voice" / "op.mlmodelc"))
        assert (CompiledMLModel(compiled).predict(dict(ONES))["y"] == 2).all()


def test_a_load_is_refused_on_request(tmp_path, temporary):
    asked = []

    def refuse(path, units, function):
        asked.append((Path(path).name, units, function))
        return "Failed to build the model execution plan, error code: -14" if units == "ALL" else None

    package = add_one(tmp_path / "a")
    with milrun.standin.predictions(refuse=refuse) as block:
        compiled = ct.utils.compile_model(package, str(tmp_path / "a.mlmodelc"))
        with pytest.raises(RuntimeError, match="error code: -14"):
            CompiledMLModel(compiled)
        with pytest.warns(RuntimeWarning, match="error code: -14"):
            assert MLModel(package).__proxy__ is None
        assert (CompiledMLModel(compiled, ct.ComputeUnit.CPU_AND_GPU).predict(dict(ONES))["y"] == 2).all()
        assert block.loads == 1
    assert asked == [
        ("a.mlmodelc", "ALL", "main"),
        ("op.mlpackage", "ALL", "main"),
        ("a.mlmodelc", "CPU_AND_GPU", "main"),
    ]
    # The binding's destructor does not run for a model whose load failed: what MLModel compiled is left behind.
    assert len(compiled_folders(temporary)) == 1


def test_a_prediction_fails_on_request(tmp_path):
    with milrun.standin.predictions() as block:
        model = MLModel(add_one(tmp_path / "a"))
        model.predict(dict(ONES))
        block.fail = lambda path, units, function: f"{Path(path).name} {units} {function}: E5RT"
        with pytest.raises(RuntimeError, match=r"op\.mlpackage ALL main: E5RT"):
            model.predict(dict(ONES))


def test_a_prediction_kills_its_process_on_request(tmp_path):
    with milrun.standin.predictions(crash=lambda path, units, function: "yes" if units == "CPU_AND_NE" else None):
        package = add_one(tmp_path / "a")
        model = MLModel(package, compute_units=ct.ComputeUnit.CPU_AND_NE)
        assert (MLModel(package).predict(dict(ONES))["y"] == 2).all()
        child = os.fork()
        if child == 0:
            model.predict(dict(ONES))
            os._exit(0)
        _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_blocks_inside_each_other_count_apart(tmp_path):
    package = add_one(tmp_path / "a")
    with milrun.standin.predictions() as outer:
        with milrun.standin.predictions(macos=(15, 2)) as inner:
            MLModel(package)
            assert ct.utils._macos_version() == (15, 2)
        MLModel(package)
        assert ct.utils._macos_version() == milrun.standin.MACOS_VERSION
    assert (outer.loads, inner.loads) == (1, 1)
