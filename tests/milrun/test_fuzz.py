"""Packages come from strangers: whatever stands in them, the answer is a result or a MilrunError, never a crash."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import milrun
from milrun.package import open_package
from tests.milrun.harness import save_program, save_stateful

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


def loop(x):
    """A list, written in a loop."""
    made = mb.make_list(init_length=2, elem_shape=(1, 8), dynamic_length=True)

    def body(i, made, x):
        y = mb.mul(x=x, y=np.float32(1.5))
        return mb.add(x=i, y=1), mb.list_write(ls=made, index=i, value=y), y

    loop_vars = (mb.const(val=0), made, x)
    _, made, x = mb.while_loop(_cond=lambda i, made, x: mb.less(x=i, y=4), _body=body, loop_vars=loop_vars)
    gathered = mb.squeeze(x=mb.list_gather(ls=made, indices=np.array([0, 3], np.int32)), axes=[1])
    return mb.concat(values=[gathered, mb.list_read(ls=made, index=2)], axis=0), mb.list_length(ls=made)


def layers(x):
    """What speech models are made of."""
    weight = np.random.default_rng(0).standard_normal((16, 4, 3)).astype(np.float32)
    x = mb.reshape(x=x, shape=[1, 4, 2])
    x = mb.conv(x=x, weight=weight, pad_type="custom", pad=[2, 1], strides=[1])
    x = mb.layer_norm(x=mb.transpose(x=x, perm=[0, 2, 1]), axes=[-1])
    x = mb.slice_by_index(
        x=mb.pad(x=x, pad=[0, 0, 1, 0, 0, 0]), begin=[0, 1, 0], end=[1, 0, -1], end_mask=[False, True, False]
    )
    x = mb.split(x=mb.avg_pool(x=x, kernel_sizes=[2], strides=[1], pad_type="valid"), num_splits=2, axis=2)[0]
    values, indices = mb.topk(x=mb.softmax(x=mb.matmul(x=x, y=x, transpose_y=True)), k=1, axis=-1)
    return mb.tile(x=values, reps=[1, 2, 1]), mb.gather(x=mb.cumsum(x=x, axis=1), indices=indices, axis=1)


def test_mutated_programs(package, tmp_path):
    """`MILRUN_FUZZ_CASES=5000` for a long run, `MILRUN_FUZZ_FIRST` for other seeds than the usual ones."""
    packages = [package]
    for name, build in {"loop": loop, "layers": layers}.items():
        (tmp_path / name).mkdir()
        packages.append(save_program(build, INPUTS, tmp_path / name, "iOS16"))
    (tmp_path / "state").mkdir()
    packages.append(save_stateful(tmp_path / "state", (1, 8)))
    cases, first = os.environ.get("MILRUN_FUZZ_CASES", "150"), os.environ.get("MILRUN_FUZZ_FIRST", "0")
    command = [sys.executable, "-m", "tests.milrun.fuzz", *map(str, packages), "--cases", cases, "--first", first]
    # macOS ends a child that is forked from a process with Objective-C in it, unless told not to.
    environment = os.environ | {"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr[-4000:]
    assert "'result': " in run.stdout
    assert "'PackageError': " in run.stdout
    assert "'OpError': " in run.stdout
