"""What Core ML plans to run where: its compute plan of one function, op by op.

Core ML plans the default function of a package alone, so that each function is copied into a package of its own first.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.bundle.bundle import Bundle
from toolkit.quiet import coremltools, quiet
from toolkit.spec import ComputeUnits

Device = Literal["CPU", "GPU", "NE"]
_DEVICES: dict[str, Device] = {
    "MLCPUComputeDevice": "CPU",
    "MLGPUComputeDevice": "GPU",
    "MLNeuralEngineComputeDevice": "NE",
}
_MAIN = "main"


@dataclass(frozen=True)
class PlannedOp:
    """One op of a plan.

    Attributes:
        name: its first output.
        type: MIL type, without the opset.
        device: where Core ML prefers to run it.
        supported: where it could run.
        cost: its share of the function, 0..1; None where Core ML gives none.
    """

    name: str
    type: str
    device: Device
    supported: tuple[Device, ...]
    cost: float | None


@dataclass(frozen=True)
class Plan:
    """The plan of one function.

    Attributes:
        component: its name.
        function: entry point.
        units: that were allowed.
        ops: those that run; constants have no device.
    """

    component: str
    function: str
    units: ComputeUnits
    ops: tuple[PlannedOp, ...]

    def share(self, device: Device) -> float:
        """The share of the ops on a device, 0..1."""
        return sum(op.device == device for op in self.ops) / len(self.ops) if self.ops else 0.0


def plan_function(bundle: Bundle, component: str, function: str, units: ComputeUnits) -> Plan:
    """Ask Core ML for the plan of a function.

    Args:
        bundle: an opened bundle.
        component: its name.
        function: entry point.
        units: that are allowed.
    """
    package, inner = bundle.locate(component, function)
    with tempfile.TemporaryDirectory(prefix="speech-coreml-plan-") as scratch:
        alone = _alone(package, inner, Path(scratch))
        ct = coremltools()
        compiled = ct.models.utils.compile_model(str(alone), str(Path(scratch) / "alone.mlmodelc"))
        loaded = ct.models.compute_plan.MLComputePlan.load_from_path(str(compiled), ct.ComputeUnit[units])
        return Plan(component, function, units, tuple(_ops(loaded)))


def _alone(package: Path, function: str, folder: Path) -> Path:
    """The package itself where it has one function, else a copy with this one as `main`."""
    ct = coremltools()
    names = [f.name for f in ct.models.utils.load_spec(str(package)).description.functions]
    if len(names) <= 1:
        return package
    chosen = ct.utils.MultiFunctionDescriptor()
    chosen.add_function(str(package), src_function_name=function, target_function_name=_MAIN)
    chosen.default_function_name = _MAIN
    alone = folder / package.name
    with quiet():
        ct.utils.save_multifunction(chosen, str(alone))
    return alone


def _ops(plan: Any) -> Iterator[PlannedOp]:
    program = plan.model_structure.program
    for op in program.functions[_MAIN].block.operations:
        usage = plan.get_compute_device_usage_for_mlprogram_operation(op)
        if usage is None or not op.outputs:
            continue
        cost = plan.get_estimated_cost_for_mlprogram_operation(op)
        supported = tuple(_device(device) for device in usage.supported_compute_devices)
        kind = op.operator_name.rpartition(".")[2]
        weight = None if cost is None else float(cost.weight)
        yield PlannedOp(op.outputs[0].name, kind, _device(usage.preferred_compute_device), supported, weight)


def _device(device: Any) -> Device:
    return _DEVICES[type(device).__name__]
