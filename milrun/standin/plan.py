"""A compute plan in coremltools' own classes, by a simple rule, so that what reads plans can be tested anywhere.

The rule: an op of `CPU_OPS` runs on the CPU; any other on the Neural Engine where the compute units have it, else on
the GPU, else on the CPU. The cost of an op is its share of all elements that the ops of the function put out. It
is no forecast of what Core ML does. As there, a constant has neither device nor cost, nor has an op of a function that
is not the default one, because Core ML's plan takes no name of a function.
"""

import math
from collections.abc import Mapping
from typing import Any

from milrun.program import Block, Const, Function, Operation, Program, TensorType, ValueType
from milrun.registry import find_op

# Among the ops that the Neural Engine's compiler was measured to lack (aneforge, full_mil_vocabulary_sweep.json).
CPU_OPS = frozenset({"lstm", "gru", "rnn", "cumsum", "non_zero", "one_hot", "band_part", "shape", "argsort"})
CPU_OPS |= {"gather", "gather_along_axis", "gather_nd", "scatter", "scatter_along_axis", "scatter_nd"}
CPU_OPS |= {"reduce_argmax", "reduce_argmin", "reduce_prod", "while_loop", "cond"}
CPU, GPU, NEURAL_ENGINE = "CPU", "GPU", "NeuralEngine"
_UNITS = {
    "CPU_ONLY": (CPU,),
    "CPU_AND_GPU": (CPU, GPU),
    "CPU_AND_NE": (CPU, NEURAL_ENGINE),
    "ALL": (CPU, GPU, NEURAL_ENGINE),
}
_CORES = 16  # of the Neural Engine, of every M chip but the Ultras


class DeviceProxy:
    """What stands behind a compute device."""


class CPUProxy(DeviceProxy):
    """What stands behind `MLCPUComputeDevice`."""


class GPUProxy(DeviceProxy):
    """What stands behind `MLGPUComputeDevice`."""


class NeuralEngineProxy(DeviceProxy):
    """What stands behind `MLNeuralEngineComputeDevice`."""

    def get_total_core_count(self) -> int:
        """How many cores it has."""
        return _CORES


class PlanProxy:
    """What stands behind `MLComputePlan`.

    Args:
        model_structure: coremltools' `MLModelStructure`.
        compute_units: by coremltools' name.
        main: the function that is planned.
    """

    def __init__(self, model_structure: Any, compute_units: str, main: Function) -> None:
        self.model_structure, self._units = model_structure, _UNITS[compute_units]
        computed = [op for op in main.block.walk() if op.type != "const"]
        elements = [sum(_elements(declared) for _, declared in op.outputs) for op in computed]
        total = max(sum(elements), 1)
        self._main = main  # keeps the ops whose ids are the keys
        self._costs = {id(op): count / total for op, count in zip(computed, elements, strict=True)}

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> Any:
        """coremltools' `MLComputePlanDeviceUsage` of an op, or None."""
        from coremltools.models.compute_plan import MLComputePlanDeviceUsage

        if id(operation.__proxy__) not in self._costs:
            return None
        on_cpu = operation.__proxy__.type in CPU_OPS
        names = [CPU] if on_cpu else list(self._units)
        known = devices()
        return MLComputePlanDeviceUsage(known[names[-1]], [known[name] for name in names])

    def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> Any:
        """coremltools' `MLComputePlanCost` of an op, or None."""
        from coremltools.models.compute_plan import MLComputePlanCost

        cost = self._costs.get(id(operation.__proxy__))
        return None if cost is None else MLComputePlanCost(cost)


def compute_plan(program: Program, compute_units: str) -> Any:
    """coremltools' `MLComputePlan` of a program's default function."""
    from coremltools.models.compute_plan import MLComputePlan

    main = program.functions[program.default_function]
    return MLComputePlan(PlanProxy(structure(program), compute_units, main))


def devices() -> dict[str, Any]:
    """The devices of a Mac as coremltools' classes, by name."""
    from coremltools.models import compute_device

    return {
        CPU: compute_device.MLCPUComputeDevice(CPUProxy()),
        GPU: compute_device.MLGPUComputeDevice(GPUProxy()),
        NEURAL_ENGINE: compute_device.MLNeuralEngineComputeDevice(NeuralEngineProxy()),
    }


def structure(program: Program) -> Any:
    """coremltools' `MLModelStructure` of a program, all functions of it."""
    from coremltools.models import compute_plan as types

    functions = {name: _function(types, function) for name, function in program.functions.items()}
    return types.MLModelStructure(None, types.MLModelStructureProgram(functions), None)


def _function(types: Any, function: Function) -> Any:
    block = _block(types, function.block, function.opset)
    return types.MLModelStructureProgramFunction(block.inputs, block)


def _block(types: Any, block: Block, opset: str) -> Any:
    operations = [_operation(types, operation, opset) for operation in block.operations]
    inputs = _named(types, dict(block.inputs))
    return types.MLModelStructureProgramBlock(inputs, operations, list(block.outputs))


def _operation(types: Any, operation: Operation, opset: str) -> Any:
    blocks = [_block(types, block, opset) for block in operation.blocks]
    inputs = {name: _argument(types, bindings) for name, bindings in operation.inputs.items()}
    outputs = _named(types, dict(operation.outputs))
    return types.MLModelStructureProgramOperation(inputs, _name(operation, opset), outputs, blocks, operation)


def _name(operation: Operation, opset: str) -> str:
    """As compiled programs spell it: `conv` of the first opset, `ios17.conv` of a later one."""
    known = None if operation.type == "const" else find_op(operation.type, opset)
    return operation.type if known is None or known.since == "iOS15" else f"{known.since.lower()}.{operation.type}"


def _argument(types: Any, bindings: tuple[Any, ...]) -> Any:
    value = types.MLModelStructureProgramValue()
    found = [(None, value) if isinstance(binding, Const) else (binding.name, None) for binding in bindings]
    return types.MLModelStructureProgramArgument([types.MLModelStructureProgramBinding(*pair) for pair in found])


def _named(types: Any, values: Mapping[str, ValueType]) -> list[Any]:
    kind = types.MLModelStructureProgramValueType()
    return [types.MLModelStructureProgramNamedValueType(name, kind) for name in values]


def _elements(declared: ValueType) -> int:
    """How many; 1 for each size that is known only at run time."""
    shape = declared.shape if isinstance(declared, TensorType) else None
    return math.prod(size or 1 for size in shape or ())
