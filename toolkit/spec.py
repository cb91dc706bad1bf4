"""What a model's export module declares: components as data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch

from toolkit.bundle.manifest import Compression, FunctionEntry, Precision, TensorEntry


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

    def entry(self) -> TensorEntry:
        """The manifest's form."""
        return TensorEntry(name=self.name, dtype=self.dtype, shape=self.shape, meaning=self.meaning)


@dataclass(frozen=True)
class Gate:
    """Limits for one output of a package against its eager wrapper, on real audio.

    Attributes:
        psnr_db: smallest peak signal-to-noise ratio.
        rel_l2: largest relative L2 error.
        cosine: smallest cosine similarity.
        reason: why these limits.
        measured: the worst value seen when the gate was set.
        flips: integer outputs: largest share of elements that may differ.
    """

    psnr_db: float
    rel_l2: float
    cosine: float
    reason: str
    measured: str = ""
    flips: float = 0.0


FP32_GATE = Gate(60.0, 1e-3, 0.99999, "float32 package: only the order of sums differs")
FP16_GATE = Gate(35.0, 0.03, 0.999, "float16 package: every op rounds to 11 bits")
INT8_GATE = Gate(
    30.0,
    0.1,
    0.995,
    "weights in 8 bits, a scale a channel: a weight is off by 1/254 of its channel's largest at most",
    measured="PSNR 33 dB, rel. L2 0.077, cosine 0.997: the codec's encoder of PocketTTS; recognisers 42 dB, 0.011",
)
PALETTE4_GATE = Gate(
    18.0,
    0.25,
    0.97,
    "weights in 4 bits, 16 values for 16 channels: a tenth of a layer's output is error, a few such add up",
    measured="PSNR 24 dB, rel. L2 0.169, cosine 0.986: worst of the recognisers' demos; PocketTTS' codec is beyond it",
)
COMPRESSED_GATES: Mapping[Compression, Gate] = {"int8": INT8_GATE, "palette4": PALETTE4_GATE}


@dataclass(frozen=True)
class FunctionSpec:
    """One entry point: a module and its fixed shapes; functions of one component may keep the same states."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    states: tuple[Tensor, ...] = ()

    def entry(self) -> FunctionEntry:
        """The manifest's form."""
        return FunctionEntry(
            name=self.name,
            inputs=tuple(t.entry() for t in self.inputs),
            outputs=tuple(t.entry() for t in self.outputs),
            states=tuple(t.entry() for t in self.states),
        )


@dataclass(frozen=True)
class ComponentSpec:
    """One component: how to build its module and what its functions are.

    Attributes:
        name: file name of the package without suffix.
        build: makes the eval-mode wrapper module for one function; called anew for each function.
        functions: entry points; several share their weights in one package.
        gates: precision -> gate of packages whose weights are whole; the defaults of DESIGN.md when left out.
        compressed_gates: compression -> gate, whatever the precision.
        fp32_ops: op types kept in float32 in an fp16 package, with the reason in the model's export module.
    """

    name: str
    build: Callable[[str], torch.nn.Module]
    functions: tuple[FunctionSpec, ...]
    gates: Mapping[Precision, Gate] = field(default_factory=lambda: {"fp16": FP16_GATE, "fp32": FP32_GATE})
    fp32_ops: tuple[str, ...] = ()
    compressed_gates: Mapping[Compression, Gate] = field(default_factory=lambda: COMPRESSED_GATES)

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
    """

    components: tuple[ComponentSpec, ...]
    host: dict[str, Any]
    assets: Mapping[str, bytes]
    options: dict[str, Any]

    def component(self, name: str) -> ComponentSpec:
        """The component of this name."""
        return next(c for c in self.components if c.name == name)
