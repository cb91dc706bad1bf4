"""Compute plans and model structures of the stand-in, in coremltools' own classes."""

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil import Builder as mb
from coremltools.models.compute_device import MLComputeDevice
from coremltools.models.compute_plan import MLComputePlan, MLModelStructure

import milrun.standin
from tests.milrun.harness import save_program
from tests.milrun.standin.models import two_functions


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A gather, a product and a softmax."""

    def build(x):
        rows = mb.gather(x=x, indices=np.array([0, 2], np.int32), axis=0, name="rows")
        return mb.softmax(x=mb.mul(x=rows, y=np.float32(2), name="twice"), axis=-1, name="y")

    folder = tmp_path_factory.mktemp("plan")
    package = save_program(build, {"x": np.zeros((4, 8), np.float32)}, folder, "iOS17")
    with milrun.standin.predictions():
        yield ct.utils.compile_model(str(package), str(folder / "op.mlmodelc"))


def planned(path, units):
    """Name of each op that is planned -> (class of the preferred device, number of devices, cost)."""
    plan = MLComputePlan.load_from_path(path, ct.ComputeUnit[units])
    found = {}
    for op in plan.model_structure.program.functions["main"].block.operations:
        usage = plan.get_compute_device_usage_for_mlprogram_operation(op)
        cost = plan.get_estimated_cost_for_mlprogram_operation(op)
        assert (usage is None) == (cost is None) == (op.operator_name == "const")
        if usage:
            preferred = type(usage.preferred_compute_device).__name__
            found[op.operator_name] = (preferred, len(usage.supported_compute_devices), cost.weight)
    return found


@pytest.mark.parametrize(
    ("units", "preferred", "count"),
    [
        ("ALL", "MLNeuralEngineComputeDevice", 3),
        ("CPU_AND_NE", "MLNeuralEngineComputeDevice", 2),
        ("CPU_AND_GPU", "MLGPUComputeDevice", 2),
        ("CPU_ONLY", "MLCPUComputeDevice", 1),
    ],
)
def test_every_op_has_devices_and_a_cost(compiled, units, preferred, count):
    third = pytest.approx(1 / 3)
    assert planned(compiled, units) == {
        "ios17.gather": ("MLCPUComputeDevice", 1, third),
        "mul": (preferred, count, third),
        "softmax": (preferred, count, third),
    }


def test_the_structure_names_inputs_and_outputs(compiled):
    main = MLModelStructure.load_from_path(compiled).program.functions["main"]
    assert [i.name for i in main.inputs] == ["x"]
    assert main.block.output_names == ["y"]
    mul = next(op for op in main.block.operations if op.operator_name == "mul")
    assert [b.name for b in mul.inputs["x"].bindings] == ["rows"]
    assert [o.name for o in mul.outputs] == ["twice"]


def test_only_the_default_function_is_planned(tmp_path):
    with milrun.standin.predictions():
        path = ct.utils.compile_model(two_functions(tmp_path), str(tmp_path / "both.mlmodelc"))
        plan = MLComputePlan.load_from_path(path)
        usages = {
            name: [
                plan.get_compute_device_usage_for_mlprogram_operation(op)
                for op in function.block.operations
                if op.operator_name == "add"
            ]
            for name, function in plan.model_structure.program.functions.items()
        }
    assert usages["one"][0] is not None
    assert usages["two"] == [None]


def test_the_devices_of_a_mac():
    with milrun.standin.predictions():
        devices = MLComputeDevice.get_all_compute_devices()
        assert [type(d).__name__ for d in devices][::2] == ["MLCPUComputeDevice", "MLNeuralEngineComputeDevice"]
        assert devices[-1].total_core_count == 16


def test_an_empty_compiled_model_has_no_plan(tmp_path):
    (tmp_path / "foreign.mlmodelc").mkdir()
    with milrun.standin.predictions(), pytest.raises(RuntimeError, match=r"no model\.mil"):
        MLComputePlan.load_from_path(str(tmp_path / "foreign.mlmodelc"))
