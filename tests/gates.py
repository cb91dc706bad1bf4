"""Assertions by the project's own gates: a test allows what `compare` allows, on any processor.

A tolerance that one machine gave fails on the next: kernels, the order of sums and the last bit of a logarithm differ.
"""

import numpy as np

from toolkit.parity.gates import Gate, mel_gate, wrapper_gate
from toolkit.parity.measures.metrics import compare_arrays

MEL = mel_gate("")
WRAPPER = wrapper_gate("")


def assert_within(gate: Gate, ours, reference):
    """Fail with the gate's breaches; shapes and dtypes must be equal."""
    ours, reference = np.asarray(ours), np.asarray(reference)
    assert (ours.shape, ours.dtype) == (reference.shape, reference.dtype)
    assert gate.breaches(compare_arrays(reference, ours).shown()) == ()
