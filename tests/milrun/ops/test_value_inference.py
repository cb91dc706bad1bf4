"""milrun against coremltools' value_inference, op by op. docs/ops.md names this oracle from the table of examples."""

from collections import Counter

import numpy as np
import pytest
from coremltools.converters.mil.mil import Operation, types
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

from tests.milrun.harness import TARGETS, TOLERANCE
from tests.milrun.ops.inference import executed, inferred, travelling
from tests.milrun.ops.inference_arithmetic import ARITHMETIC
from tests.milrun.ops.inference_differences import DIFFERENT
from tests.milrun.ops.inference_tensors import TENSORS

EXAMPLES = [*ARITHMETIC, *TENSORS]
DIFFERENCES = [(example, opset) for example in DIFFERENT for opset in example.opsets]
RUNS = [(example, opset) for example in EXAMPLES for opset in example.opsets]
# Ops whose value_inference gives nothing to compare with.
EXCEPTIONS = {
    "const": "is the constant itself, which the loader reads",
    "_const_symbolic": "exists while converting, never in a saved program",
    "reverse_sequence": "its value_inference raises NotImplementedError('TODO')",
}


def values(example, opset):
    """What value_inference gives for each output; nothing may be left open."""
    outputs = inferred(example, opset)
    assert all(output.val is not None for output in outputs), "value_inference gives no value"
    found = [(output.val, types.nptype_from_builtin(output.dtype)) for output in outputs]
    # A scalar is a Python number, without a dtype of its own.
    found = [(value if isinstance(value, np.ndarray) else np.asarray(value, dtype), dtype) for value, dtype in found]
    assert [value.dtype for value, _ in found] == [np.dtype(dtype) for _, dtype in found]
    return [value for value, _ in found]


def assert_equal(got, want):
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        assert one.shape == other.shape
        if one.dtype.kind in "biu":
            np.testing.assert_array_equal(one, other)
        else:
            np.testing.assert_allclose(one, other, **TOLERANCE[one.dtype.str[1:]])


def ids(runs):
    return [f"{example.op}-{opset}-{example.label}" for example, opset in runs]


@pytest.mark.parametrize(("example", "opset"), RUNS, ids=ids(RUNS))
def test_milrun_agrees(example, opset):
    want = values(example, opset)
    got = executed(example, opset)
    assert [g.dtype for g in got] == [travelling(w.dtype, opset) for w in want]
    assert_equal(got, want)


@pytest.mark.parametrize(("example", "opset"), DIFFERENCES, ids=ids(DIFFERENCES))
def test_known_difference(example, opset):
    for run, expected in ((values, example.differs.inferred), (executed, example.differs.ours)):
        if isinstance(expected, type):
            with pytest.raises(expected):
                run(example, opset)
        else:
            assert_equal(run(example, opset), [np.asarray(one) for one in expected])


def test_every_definition_with_value_inference_has_an_example():
    definitions = {
        definition
        for name, by_opset in SSAOpRegistry.core_ops.items()
        for definition in by_opset.values()
        if definition.value_inference is not Operation.value_inference and name not in EXCEPTIONS
    }
    assert {SSAOpRegistry.core_ops[e.op][TARGETS[opset]] for e, opset in RUNS} == definitions


def test_no_label_twice():
    twice = Counter((e.op, e.label) for e in [*EXAMPLES, *DIFFERENT])
    assert [key for key, count in twice.items() if count > 1] == []
