"""MIL's state ops.

coremltools' builder has `coreml_update_state`; a saved package holds it as `write_state` (no output), followed by a
`read_state` where the result is used (coremltools 9.0, backend/mil/load.py, translate_coreml_update_state_op).
"""

from milrun.registry import Tensor, op
from milrun.state import StateCell


@op(since="iOS18", exact=True)
def read_state(input: StateCell) -> Tensor:
    """The state's value."""
    return input.value


@op(since="iOS18")
def write_state(input: StateCell, data: Tensor) -> tuple[Tensor, ...]:
    """Replace the state's value; yields nothing."""
    input.write(data)
    return ()


@op(since="iOS18", exact=True)
def coreml_update_state(state: StateCell, value: Tensor) -> Tensor:
    """Replace the state's value and yield it."""
    state.write(value)
    return value
