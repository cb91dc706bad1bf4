"""The ground of the toolkit: tensors, gates, and what a model's export module declares, as data."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

Precision = Literal["fp16", "fp32"]
Compression = Literal["none", "int8", "palette4"]
# Where Core ML may run a component, by coremltools' names; NE is the Neural Engine.
ComputeUnits = Literal["ALL", "CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE"]


@dataclass(frozen=True)
class TensorInfo:
    """dtype name (`float32`, `int32`, `float16`) and fixed shape of an input, output or state."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class Tensor:
    """An input, output or state of a component.

    Attributes:
        name: ours, never the tracer's; a state's is that of the wrapper's registered buffer.
        shape: fixed shape.
        dtype: `float32` or `int32`; `float16` for states.
        meaning: what it holds, with its unit; becomes the description in the package.
        example: value for tracing; random (floats) or ones (ints) when left out.
        piece: of a stream, such as a frame of audio: a silent one has no scale of its own, so that parity is measured
            over all pieces together.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "float16", "int32"]
    meaning: str
    example: np.ndarray | None = None
    piece: bool = False

    @property
    def info(self) -> TensorInfo:
        """Its dtype and shape."""
        return TensorInfo(self.dtype, self.shape)


@dataclass(frozen=True)
class Gate:
    """Limits that the numbers of one output have to keep.

    Attributes:
        reason: why these limits.
        at_most: metric -> largest value that passes.
        at_least: metric -> smallest value that passes.
        measured: the value seen when the gate was set.
    """

    reason: str
    at_most: Mapping[str, float] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)
    measured: str = ""

    def breaches(self, metrics: Mapping[str, float]) -> tuple[str, ...]:
        """What is out of bounds, one phrase each; a limit whose metric is missing or NaN is out too."""
        found = [f"{int(n)} non-finite values"] if (n := metrics.get("non_finite", 0)) else []
        for limits, sign, relation in ((self.at_most, 1, "<="), (self.at_least, -1, ">=")):
            for name, limit in limits.items():
                value = metrics.get(name, math.nan)
                if not sign * value <= sign * limit:
                    found.append(f"{name} {value:.5g}, must be {relation} {limit:.6g}")
        return tuple(found)

    def limited_to(self, metrics: Collection[str]) -> "Gate":
        """The same gate with the limits of these metrics alone."""
        kept = [{name: v for name, v in limits.items() if name in metrics} for limits in (self.at_most, self.at_least)]
        return replace(self, at_most=kept[0], at_least=kept[1])

    def __str__(self) -> str:
        low = [f"{name} <= {limit:.6g}" for name, limit in self.at_most.items()]
        return ", ".join([f"{name} >= {limit:.6g}" for name, limit in self.at_least.items()] + low)


# What a package's outputs are measured by: floats by their error, integers (decisions) by the share that differs.
FLOAT_METRICS = ("psnr_db", "cosine", "rel_l2")
INTEGER_METRICS = ("flip_share",)


def package_gate(
    psnr_db: float, rel_l2: float, cosine: float, reason: str, measured: str = "", flips: float = 0.0
) -> Gate:
    """The gate for the outputs of a package, compared with its eager wrapper on real audio.

    Args:
        psnr_db: smallest peak signal-to-noise ratio.
        rel_l2: largest relative L2 error.
        cosine: smallest cosine similarity.
        reason: why these limits.
        measured: the worst value seen when the gate was set.
        flips: for integer outputs, the largest share of elements that may differ.
    """
    return Gate(reason, {"rel_l2": rel_l2, "flip_share": flips}, {"psnr_db": psnr_db, "cosine": cosine}, measured)


FP32_GATE = package_gate(60.0, 1e-3, 0.99999, "float32 package: only the order of sums differs")
FP16_GATE = package_gate(35.0, 0.03, 0.999, "float16 package: every op rounds to 11 bits")
INT8_GATE = package_gate(
    30.0,
    0.1,
    0.995,
    "weights in 8 bits with one scale per channel: a weight is off by at most 1/254 of its channel's largest",
    measured="PSNR 33 dB, rel. L2 0.077, cosine 0.997: the codec's encoder of PocketTTS; recognisers 42 dB, 0.011",
)
PALETTE4_GATE = package_gate(
    18.0,
    0.25,
    0.97,
    "weights in 4 bits, 16 values per 16 channels: a tenth of a layer's output is error, and a few layers add up",
    measured="PSNR 24 dB, rel. L2 0.169, cosine 0.986: worst of the recognisers' demos; PocketTTS' codec is beyond it",
)
COMPRESSED_GATES: Mapping[Compression, Gate] = {"int8": INT8_GATE, "palette4": PALETTE4_GATE}


@dataclass(frozen=True)
class FunctionSpec:
    """One entry point: a module and its fixed shapes; functions of one component may keep the same states.

    The inputs have the names and the order of the parameters of the module's `forward`, or end in its `*states`.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    states: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class ComponentSpec:
    """One component: how to build its module and what its functions are.

    Attributes:
        name: file name of the package without suffix.
        build: makes the eval-mode wrapper module for one function; called anew for each function.
        functions: entry points; several share their weights in one package.
        gates: precision -> gate of packages whose weights are whole; the defaults of DESIGN.md when left out.
        compressed_gates: compression -> gate, whatever the precision.
        compute_units: where Core ML runs it unless told otherwise, with the reason in the model's export module.
        fp32_ops: op types kept in float32 in an fp16 package, with the reason in the model's export module.
    """

    name: str
    build: "Callable[[str], torch.nn.Module]"
    functions: tuple[FunctionSpec, ...]
    gates: Mapping[Precision, Gate] = field(default_factory=lambda: {"fp16": FP16_GATE, "fp32": FP32_GATE})
    fp32_ops: tuple[str, ...] = ()
    compressed_gates: Mapping[Compression, Gate] = field(default_factory=lambda: COMPRESSED_GATES)
    compute_units: ComputeUnits = "ALL"

    def gate(self, precision: Precision, compression: Compression = "none") -> Gate:
        """The limits of a package."""
        return self.gates[precision] if compression == "none" else self.compressed_gates[compression]

    def function(self, name: str) -> FunctionSpec:
        """The function of this name."""
        return next(f for f in self.functions if f.name == name)


@dataclass(frozen=True)
class ExportPlan:
    """Everything that one model's bundle will hold.

    Attributes:
        components: in the order of conversion.
        host: the constants for the pipeline; the model's pipeline module checks them with its own schema.
        assets: file name -> content.
        options: the model's own convert options, as they were resolved.
        notes: what the checkpoint brings that was left out, and why.
    """

    components: tuple[ComponentSpec, ...]
    host: dict[str, Any]
    assets: Mapping[str, bytes]
    options: dict[str, Any]
    notes: tuple[str, ...] = ()

    def component(self, name: str) -> ComponentSpec:
        """The component of this name."""
        return next(c for c in self.components if c.name == name)
