"""The rungs that every model has: its packages, and the device that runs them."""

from parity.ladder.rungs import Rung
from toolkit.spec import COMPRESSED_GATES, FLOAT_METRICS, FP16_GATE, FP32_GATE, Gate

_GATES: dict[str, Gate] = {"fp32": FP32_GATE, "fp16": FP16_GATE} | dict(COMPRESSED_GATES)

# A component may declare its own gates (`ComponentSpec.gates`); integers are counted, and may flip at a near tie.
PACKAGES = Rung(
    "packages",
    "{component} {function}: {output}",
    "the eager wrapper, on inputs and states recorded from real audio",
    "the saved package on the portable runtime",
    {case: gate.limited_to(FLOAT_METRICS) for case, gate in _GATES.items()},
)
DEVICE = Rung(
    "device",
    "{component} {function}: {output}",
    "the portable runtime, or the runtime that a capture was taken on",
    "the saved package on Core ML, or on the runtime under test",
    PACKAGES.gate,
    only="on macOS, or against a capture",
)
SHARED = (PACKAGES, DEVICE)
