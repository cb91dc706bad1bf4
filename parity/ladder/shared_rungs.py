"""Rungs that models share: packages and device, which every model has, and the mel of the models that listen."""

from parity.ladder.gates import nearness_gate
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


def mel_rungs(extractor: str, front_end: str, measured: str, output: str = "mel", only: str = "") -> tuple[Rung, Rung]:
    """The mel beside the extractor's, which informs, and its error beside the extractor's own, which is judged.

    Args:
        extractor: of the reference.
        front_end: ours.
        measured: the worst ratio of the two errors, and where.
        output: name of the first row.
        only: as for `Rung`.
    """
    judged = f"{output}, error beside the reference's"
    return (
        Rung("features", output, extractor, front_end, None, only=only),
        Rung("features", judged, f"{extractor}, in float64", front_end, nearness_gate(measured), only=only),
    )
