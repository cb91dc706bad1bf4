"""milrun knows every op that coremltools can put into an ML Program, with MIL's parameters."""

import pytest
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

from milrun.registry import OPSET_ORDER, find_op

# Not ops of a saved program: constants are read by the loader, symbolic ones exist while converting.
NOT_EXECUTED = {"const", "_const_symbolic"}
# What milrun alone knows: the nested blocks and the declared types of the outputs.
SPECIAL = {"blocks", "output_types"}
VERSIONS = [
    (name, target.name, definition)
    for name, versions in sorted(SSAOpRegistry.core_ops.items())
    for target, definition in versions.items()
    if name not in NOT_EXECUTED and target.name in OPSET_ORDER
]


@pytest.mark.parametrize(("name", "opset", "definition"), VERSIONS, ids=[f"{n}-{o}" for n, o, _ in VERSIONS])
def test_every_op_of_every_opset(name, opset, definition):
    known = find_op(name, opset)
    assert known is not None
    inputs = {key: spec for key, spec in definition.input_spec.input_types.items() if not key.startswith("_")}
    own = {key for key, kind in known.kinds.items() if kind not in SPECIAL}
    assert set(inputs) <= own
    assert known.required & own <= {key for key, spec in inputs.items() if not spec.optional}
