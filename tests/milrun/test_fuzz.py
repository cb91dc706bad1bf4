"""Packages come from strangers: whatever stands in them, the answer is a result or a MilrunError, never a crash."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import milrun
from milrun.package import open_package
from tests.milrun.harness import save_program

INPUTS = {"x": np.ones((1, 8), np.float32)}
# A damaged program may ask for anything; what it may take is bounded here so that a failure shows as one.
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A small program with a weight file, control flow and a reshape."""

    def build(x):
        weight = np.arange(64 * 8, dtype=np.float32).reshape(64, 8)
        hidden = mb.linear(x=x, weight=weight)
        positive = mb.greater(x=mb.reduce_sum(x=hidden), y=np.float32(0))
        hidden = mb.cond(pred=positive, _true_fn=lambda: mb.relu(x=hidden), _false_fn=lambda: mb.abs(x=hidden))
        return mb.reshape(x=hidden, shape=[8, 8])

    return save_program(build, INPUTS, tmp_path_factory.mktemp("fuzz"), "iOS16")


def attempt(package):
    """Load and run; only milrun's own errors may come out."""
    with contextlib.suppress(milrun.MilrunError):
        model = milrun.load(package)
        model.predict({name: np.ones([d or 1 for d in t.shape], np.float32) for name, t in model.inputs.items()})


def changed(package, relative, change):
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(package, Path(folder) / "copy.mlpackage")
        file = next(copy.rglob(relative))
        file.write_bytes(change(file.read_bytes()))
        attempt(copy)


@SETTINGS
@given(data=st.data())
@pytest.mark.parametrize("relative", ["model.mlmodel", "weight.bin", "Manifest.json"])
def test_damaged_bytes(package, relative, data):
    def change(content):
        content = bytearray(content)
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        return bytes(content)

    changed(package, relative, change)


@SETTINGS
@given(data=st.data())
@pytest.mark.parametrize("relative", ["model.mlmodel", "weight.bin", "Manifest.json"])
def test_truncated_files(package, relative, data):
    changed(package, relative, lambda content: content[: data.draw(st.integers(0, len(content) - 1))])


def edited(package, folder, edit):
    copy = shutil.copytree(package, folder / "edited.mlpackage")
    file = next(copy.rglob("model.mlmodel"))
    spec = open_package(copy).spec
    function = spec.mlProgram.functions["main"]
    edit(function.block_specializations[function.opset])
    file.write_bytes(spec.SerializeToString())
    return copy


def refused(package, match):
    with pytest.raises(milrun.MilrunError, match=match):
        milrun.load(package).predict(INPUTS)


def test_a_cycle_is_a_value_that_is_not_there_yet(package, tmp_path):
    def edit(block):
        names = {op.outputs[0].name for op in block.operations if op.type == "linear"}
        (linear,) = (op for op in block.operations if op.outputs and op.outputs[0].name in names)
        linear.inputs["x"].arguments[0].name = block.outputs[0]

    refused(edited(package, tmp_path, edit), "before it is made")


def test_a_name_that_nobody_makes(package, tmp_path):
    def edit(block):
        block.outputs[0] = "nobody"

    refused(edited(package, tmp_path, edit), "nobody")


def test_a_huge_declared_constant_is_refused_before_it_is_made(package, tmp_path):
    def edit(block):
        weight = next(op for op in block.operations if op.type == "const" and "blob" in str(op.attributes["val"]))
        weight.attributes["val"].type.tensorType.dimensions[0].constant.size = 2**40

    refused(edited(package, tmp_path, edit), "needs|outside")


def test_a_huge_result_is_an_error(package, tmp_path):
    def edit(block):
        reshape = next(op for op in block.operations if op.type == "reshape")
        reshape.outputs[0].type.tensorType.dimensions[0].constant.size = 2**40

    refused(edited(package, tmp_path, edit), "declares")
