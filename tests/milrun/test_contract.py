"""Every op function has the parameters and defaults of coremltools' op class of the same opset."""

import inspect
import math
from types import SimpleNamespace

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

from milrun.registry import OPS, OPSET_ORDER, OpFn, find_op

# All that milrun knows; coremltools 9.0 defines no op of iOS26 yet.
TARGETS = {opset: ct.target[opset] for opset in OPSET_ORDER}
# Parameters of ours that the executor fills from the program itself, not from the op's inputs.
SPECIAL_KINDS = {"blocks", "output_types"}
# Inputs that coremltools never writes to a package: attributes of its Python objects.
INTERNAL = {
    "cond": {"_true_fn", "_false_fn", "_existing_blocks"},
    "while_loop": {"_cond", "_body", "_existing_blocks"},
}
# Ops that a package cannot hold: `const` is read by the parser, the symbolic one exists while converting only.
NOT_RUN = {"const", "_const_symbolic"}

# A newer opset's optional parameter that our one function also takes in the older opsets.
NEWER_PARAMETERS = {"gather": {"batch_dims"}, "gather_nd": {"batch_dims"}, "topk": {"output_indices_dtype"}}
# Where coremltools has no `default_inputs` entry: an absent input of this op means our default.
UNWRITTEN_DEFAULTS = {
    ("gather", "batch_dims"): 0,
    ("gather_nd", "batch_dims"): 0,
    ("gru", "reset_after"): False,
    ("make_list", "elem_shape"): [],  # an empty tuple of inputs is not written to the package at all
    ("topk", "output_indices_dtype"): "int32",
}
# Names that only the protobuf has: coremltools' backend writes the state ops of its Core ML dialect under them.
ONLY_IN_PACKAGES = {"coreml_update_state", "write_state"}


def versions():
    """(op, opset, our function, coremltools' class), where either side begins anew."""
    found = []
    for name in sorted({function.name for function in OPS.values()}):
        seen = None
        for opset in TARGETS:
            theirs = SSAOpRegistry.core_ops.get(name, {}).get(TARGETS[opset])
            ours = find_op(name, opset)
            if theirs is not None and ours is not None and (ours, theirs) != seen:
                seen = (ours, theirs)
                found.append(pytest.param(ours, theirs, id=f"{name}-{opset}"))
    return found


def our_defaults(function: OpFn) -> dict[str, object]:
    parameters = inspect.signature(function.call).parameters.values()
    return {
        p.name: p.default
        for p in parameters
        if p.default is not p.empty and function.kinds[p.name] not in SPECIAL_KINDS
    }


def their_defaults(op_class: type) -> dict[str, object]:
    """`default_inputs` of an op whose inputs are all [2, 3, 4, 5] float32."""
    tensor = SimpleNamespace(shape=(2, 3, 4, 5), rank=4, dtype=types.fp32, val=None)
    fake = object.__new__(op_class)
    for name in op_class.input_spec.input_types:
        fake.__dict__[name] = tensor
        fake.__dict__[f"_{name}"] = tensor
    return dict(op_class.default_inputs(fake).items())


@pytest.mark.parametrize(("ours", "theirs"), versions())
def test_parameters_are_those_of_coremltools(ours, theirs):
    expected = set(theirs.input_spec.input_types) - INTERNAL.get(ours.name, set())
    newer = NEWER_PARAMETERS.get(ours.name, set()) - expected
    assert {name for name, kind in ours.kinds.items() if kind not in SPECIAL_KINDS} - newer == expected


@pytest.mark.parametrize(("ours", "theirs"), versions())
def test_required_parameters_are_those_of_coremltools(ours, theirs):
    internal = INTERNAL.get(ours.name, set())
    required = {n for n, t in theirs.input_spec.input_types.items() if not t.optional} - internal
    required -= {name for op_name, name in UNWRITTEN_DEFAULTS if op_name == ours.name}
    assert {n for n in ours.required if ours.kinds[n] not in SPECIAL_KINDS} == required


@pytest.mark.parametrize(("ours", "theirs"), versions())
def test_defaults_are_those_of_coremltools(ours, theirs):
    expected = their_defaults(theirs)
    for name, default in our_defaults(ours).items():
        want = expected.get(name)
        want = UNWRITTEN_DEFAULTS.get((ours.name, name)) if want is None else want
        assert same(default, want), f"{name}: {default!r}, coremltools has {want!r}"


def test_every_op_of_coremltools_is_there():
    missing = {
        f"{name}@{opset}"
        for name, classes in SSAOpRegistry.core_ops.items()
        for opset in TARGETS
        if name not in NOT_RUN and TARGETS[opset] in classes and find_op(name, opset) is None
    }
    assert missing == set()


def test_no_op_is_our_invention():
    assert {function.name for function in OPS.values()} - set(SSAOpRegistry.core_ops) == ONLY_IN_PACKAGES


def same(ours, theirs):
    """Equal, or None standing for a default that depends on the inputs' shape."""
    if ours is None:
        return theirs is None or isinstance(theirs, (list, tuple, range, np.ndarray))
    if isinstance(ours, float) and isinstance(theirs, (float, np.floating)):
        return math.isclose(np.float32(ours), np.float32(theirs), rel_tol=1e-6)
    return ours == theirs
