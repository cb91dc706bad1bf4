"""Assertions by the project's own gates: a test allows what `compare` allows, on any processor.

A tolerance that one machine gave fails on the next: kernels, the order of sums and the last bit of a logarithm differ.
"""

import numpy as np

from parity.ladder.gates import Gate, confidence_gate, mel_gate
from parity.measures.arrays import compare_arrays

MEL = mel_gate("")
CONFIDENCE = confidence_gate("")

# Two float32 computations of the same values, which lie around 1, in another order. A sum of K terms rounds K times,
# each time by 2**-24 of it; on its way through a tiny model a value passes a dozen sums of at most 128 terms:
# 12 * 128 * 2**-24 = 9e-5. The gate of the wrappers allows the same share, 1e-4.
FLOAT32_SUMS = {"rtol": 1e-4, "atol": 1e-4}


def float32_sums(largest: float) -> dict[str, float]:
    """The same for values that reach `largest`."""
    return {"rtol": 0, "atol": FLOAT32_SUMS["atol"] * largest}


def assert_same_sums(ours, reference):
    """Fail where two float32 computations differ by more than another order of their sums explains.

    A sum is off by a share of its largest terms, whatever is left of them: so much of the largest value is the limit.
    """
    ours, reference = np.asarray(ours), np.asarray(reference)
    assert (ours.shape, ours.dtype) == (reference.shape, reference.dtype)
    np.testing.assert_allclose(ours, reference, **float32_sums(max(1.0, float(np.abs(reference).max()))))


def assert_within(gate: Gate, ours, reference):
    """Fail with the gate's breaches; shapes and dtypes must be equal."""
    ours, reference = np.asarray(ours), np.asarray(reference)
    assert (ours.shape, ours.dtype) == (reference.shape, reference.dtype)
    assert gate.breaches(compare_arrays(reference, ours).shown()) == ()
