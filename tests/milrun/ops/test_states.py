"""State ops: several calls, several states, and what a saved package holds.

Oracle: literal, NumPy.
"""

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types

import milrun
from milrun import InputError


def load(program, folder):
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS18,
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    model.save(str(folder / "state.mlpackage"))
    return milrun.load(folder / "state.mlpackage")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Writes x at a position into one state and adds x to another; yields the cache before and after."""

    @mb.program(
        input_specs=[
            mb.TensorSpec((1, 2), types.fp16),
            mb.TensorSpec((2,), types.int32),
            mb.StateTensorSpec((3, 2), types.fp16),
            mb.StateTensorSpec((1, 2), types.fp16),
        ],
        opset_version=ct.target.iOS18,
    )
    def program(x, position, rows, total):
        before = mb.read_state(input=rows)
        end = mb.add(x=position, y=np.array([1, 2], dtype=np.int32))
        after = mb.coreml_update_state(state=rows, value=mb.slice_update(x=before, update=x, begin=position, end=end))
        summed = mb.coreml_update_state(state=total, value=mb.add(x=mb.read_state(input=total), y=x))
        return mb.identity(x=before), mb.identity(x=after), mb.identity(x=summed)

    return load(program, tmp_path_factory.mktemp("states"))


def call(model, state, value, row):
    inputs = {"x": np.full((1, 2), value, np.float16), "position": np.array([row, 0], dtype=np.int32)}
    return list(model.predict(inputs, state).values())


def test_a_saved_update_is_a_write_and_a_read(cache):
    assert cache.function.op_counts["write_state"] == 2
    assert cache.function.op_counts["read_state"] == 4
    assert "coreml_update_state" not in cache.function.op_counts


def test_states_live_between_calls(cache):
    state = cache.make_state()
    before, after, total = call(cache, state, 1.5, 0)
    assert before.tolist() == [[0, 0]] * 3
    assert after.tolist() == [[1.5, 1.5], [0, 0], [0, 0]]
    before, after, total = call(cache, state, 2.0, 2)
    assert before.tolist() == [[1.5, 1.5], [0, 0], [0, 0]]  # the value that was read is not the one written later
    assert after.tolist() == [[1.5, 1.5], [0, 0], [2, 2]]
    assert total.tolist() == [[3.5, 3.5]]
    np.testing.assert_array_equal(state.read_state("rows"), after)
    assert state.read_state("rows").dtype == np.float16


def test_two_utterances_interleaved(cache):
    one, two = cache.make_state(), cache.make_state()
    call(cache, one, 1.0, 0)
    call(cache, two, 5.0, 1)
    call(cache, one, 1.0, 1)
    assert one.read_state("total").tolist() == [[2, 2]]
    assert two.read_state("total").tolist() == [[5, 5]]
    assert two.read_state("rows").tolist() == [[0, 0], [5, 5], [0, 0]]


def test_a_state_that_is_set_from_outside(cache):
    state = cache.make_state()
    state.write_state("total", np.full((1, 2), 0.1))
    assert call(cache, state, 0.0, 0)[2].tolist() == [[float(np.float16(0.1))] * 2]


def test_states_are_rounded_to_float16(cache):
    state = cache.make_state()
    state.write_state("total", np.full((1, 2), 2048))
    assert call(cache, state, 1.0, 0)[2].tolist() == [[2048, 2048]]


def test_no_state_where_one_is_needed(cache):
    with pytest.raises(InputError, match="make_state"):
        call(cache, None, 1.0, 0)


def test_an_update_that_nothing_reads(tmp_path):
    @mb.program(
        input_specs=[mb.TensorSpec((2,), types.fp16), mb.StateTensorSpec((2,), types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(x, memory):
        result = mb.mul(x=mb.read_state(input=memory), y=np.float16(2))
        mb.coreml_update_state(state=memory, value=x)
        return result

    model = load(program, tmp_path)
    assert model.function.op_counts["read_state"] == 1
    state = model.make_state()
    results = [next(iter(model.predict({"x": np.full(2, n)}, state).values())).tolist() for n in (1, 2, 3)]
    assert results == [[0, 0], [2, 2], [4, 4]]


def test_a_converted_torch_buffer(tmp_path):
    class Accumulate(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("memory", torch.zeros(2, 3))

        def forward(self, x):
            self.memory.mul_(0.5)
            self.memory.add_(x)
            return self.memory * 1.0

    model = ct.convert(
        torch.jit.trace(Accumulate().eval(), torch.zeros(2, 3)),
        inputs=[ct.TensorType("x", (2, 3))],
        outputs=[ct.TensorType("y")],
        states=[ct.StateType(wrapped_type=ct.TensorType(shape=(2, 3)), name="memory")],
        minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True,
    )
    model.save(str(tmp_path / "torch.mlpackage"))
    ours, state, expected = milrun.load(tmp_path / "torch.mlpackage"), None, np.zeros((2, 3), np.float32)
    state = ours.make_state()
    for step in range(1, 4):
        x = np.full((2, 3), step, np.float32)
        expected = expected * 0.5 + x
        np.testing.assert_array_equal(ours.predict({"x": x}, state)["y"], expected)
