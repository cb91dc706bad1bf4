"""The gates that several models share, each with its reason and the value measured when it was set."""

from collections.abc import Mapping
from dataclasses import replace

from toolkit.spec import Gate

EXACT = Gate("counts, ids and decisions on the reference's own tensors have no tolerance", at_most={"mismatches": 0})


def decisions_gate(measured: str) -> Gate:
    """For decisions, which noise may change near a tie and nowhere else (parity/measures/flips.py)."""
    tie = "the reference's margin is at most twice the largest error of the logits that it was taken from"
    return Gate(f"a decision may differ only where {tie}", {"unexplained": 0}, measured=measured)


def drift_gate(measured: str) -> Gate:
    """For a loop that feeds on its own output, compared with a control (parity/measures/drift.py)."""
    size = "noise of the size of the teacher-forced error"
    reason = f"as far from the reference as the reference is from itself under {size}"
    return Gate(reason, {"times_control": 5}, {"frames": 2}, measured)


def mel_gate(measured: str) -> Gate:
    """For a mel of ours, compared with the reference's feature extractor."""
    reason = "ours sums in float64, the extractor in float32, which shows most where a mel bin is all but silent"
    return Gate(reason, at_most={"max_abs": 1e-3, "rel_l2": 1e-4}, measured=measured)


def nearness_gate(measured: str) -> Gate:
    """For a mel of ours, compared with the extractor's own code in float64 (parity/measures/nearness.py)."""
    ours = "ours rounds to float32 in fewer places than the extractor, so in each mel bin its error is as small"
    spare = "twice that for chance, and twice again for a processor on which the extractor rounds less"
    return Gate(f"{ours}; {spare}", at_most={"times_reference": 4}, measured=measured)


def wrapper_gate(measured: str) -> Gate:
    """For an eager wrapper, compared with the reference's own tensor, on the reference's own inputs."""
    reason = "the same weights in float32 by other operations: only the order of sums differs"
    return Gate(reason, {"rel_l2": 1e-4}, {"psnr_db": 80, "cosine": 0.99999}, measured)


def same_result_gate(measured: str) -> Gate:
    """For the result that the host makes of the reference's own decisions (parity/measures/results.py)."""
    return Gate("the same decisions are the same result, times to a microsecond", {"differing": 0}, measured=measured)


def confidence_gate(measured: str) -> Gate:
    """For confidences of the reference's own decisions (parity/measures/results.py)."""
    reason = "the softmax of the same logits, and means of it: only float32 differs from float64"
    return Gate(reason, {"max_abs": 1e-5}, measured=measured)


def chain_gates(measured: str, **compressed: str) -> Mapping[str, Gate]:
    """For the output of the port's whole chain, compared with the reference's; one gate per precision or compression.

    Args:
        measured: what fp16 packages with whole weights gave.
        compressed: compression -> what packages with such weights gave, where it was measured.
    """
    gates = {
        "fp32": Gate("float32 all the way: only the order of sums differs", {"rel_l2": 1e-3}, {"psnr_db": 60}),
        "fp16": Gate("float16 packages in a row: errors add up", {"rel_l2": 0.03}, {"psnr_db": 35}, measured),
        "int8": Gate("packages with int8 weights in a row", {"rel_l2": 0.05}, {"psnr_db": 30}),
        "palette4": Gate("packages with 4-bit weights in a row", {"rel_l2": 0.25}, {"psnr_db": 18}),
    }
    return gates | {case: replace(gates[case], measured=text) for case, text in compressed.items()}
