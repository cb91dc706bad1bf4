"""States through every runtime: what a call wrote is there in the next, for its own utterance and function alone."""

import numpy as np
import pytest
import torch

from milrun import standin
from tests.toolkit.runtimes.frameworks import MilrunFramework
from tests.toolkit.stateful import (
    PREFILL,
    SLOTS,
    CachedAttention,
    accumulate,
    convert,
    decode,
    embedded,
    plan,
)
from toolkit.errors import RuntimeFault
from toolkit.runtimes.coreml import CoremlRuntime
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.portable import PortableRuntime
from toolkit.runtimes.recording import RecordingRuntime, replay

NAMES = ["eager", "portable", "coreml", "recording"]


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory):
    bundle = convert(plan(), tmp_path_factory.mktemp("stateful"), "fp32")
    with standin.predictions():
        yield {
            "eager": EagerRuntime(plan()),
            "portable": PortableRuntime(bundle.locate),
            "coreml": CoremlRuntime(bundle, framework=MilrunFramework()),
            "recording": RecordingRuntime(EagerRuntime(plan())),
        }


@pytest.fixture(params=NAMES)
def runtime(request, runtimes):
    return runtimes[request.param]


def summand(value):
    return {"x": np.full((2, 3), value, np.float32)}


def test_a_sum_goes_on(runtime):
    outputs, states = accumulate(runtime, 1.5, 2.0, -4.0)
    assert [o[0, 0] for o in outputs] == [1.5, 3.5, -0.5]
    assert states["total"].dtype == np.float16
    assert (states["total"] == -0.5).all()


def test_prefill_and_steps_are_the_whole_sequence_at_once(runtime):
    tokens = embedded(SLOTS)
    outputs, states = decode(runtime, tokens)
    whole = CachedAttention(SLOTS)
    with torch.no_grad():
        expected = whole(torch.from_numpy(tokens), torch.zeros(1, dtype=torch.int32)).numpy()
    np.testing.assert_allclose(outputs, expected, atol=2e-3)
    np.testing.assert_allclose(states["key_cache"], whole.key_cache.numpy(), atol=2e-3)
    np.testing.assert_allclose(states["value_cache"], whole.value_cache.numpy(), atol=2e-3)


def test_two_utterances_interleaved_are_each_what_it_is_alone(runtime):
    step = runtime.load("decoder", "step")
    rows = [embedded(4, seed) for seed in (1, 2)]

    def call(state, utterance, position):
        inputs = {"x": rows[utterance][position : position + 1], "position": np.array([position], np.int32)}
        return step.predict(inputs, state)["y"]

    alone = []
    for utterance in (0, 1):
        state = step.make_state()
        alone.append([call(state, utterance, position) for position in range(4)])
    states = [step.make_state(), step.make_state()]
    together = [[call(states[u], u, position) for u in (0, 1)] for position in range(4)]
    for utterance in (0, 1):
        np.testing.assert_array_equal([pair[utterance] for pair in together], alone[utterance])


def test_an_output_stays_what_it_was_in_later_calls(runtime):
    component = runtime.load("sum")
    state = component.make_state()
    first = component.predict(summand(1), state)["y"]
    values = component.read_state(state)
    component.predict(summand(1), state)
    assert (first == 1).all()
    assert (values["total"] == 1).all()


def test_given_values_are_copied(runtime):
    component = runtime.load("sum")
    values = {"total": np.full((2, 3), 0.5, np.float16)}
    state = component.make_state(values)
    assert (component.predict(summand(1), state)["y"] == 1.5).all()
    assert (values["total"] == 0.5).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, r"\['total'\] are declared"),
        ({"sum": np.zeros((2, 3), np.float16)}, r"\['total'\] are declared"),
        ({"total": np.zeros((3, 2), np.float16)}, r"declared float16 \[2, 3\]"),
        ({"total": np.zeros((2, 3), np.float32)}, r"declared float16 \[2, 3\]"),
        ({"total": np.full((2, 3), np.nan, np.float16)}, "NaN"),
    ],
    ids=["none", "name", "shape", "dtype", "nan"],
)
def test_wrong_values_are_refused(runtime, values, reason):
    with pytest.raises(RuntimeFault, match=reason):
        runtime.load("sum").make_state(values)


def test_a_component_with_states_needs_one(runtime):
    with pytest.raises(RuntimeFault, match=r"keeps states \['total'\] and was given none"):
        runtime.load("sum").predict(summand(1))
    with pytest.raises(RuntimeFault, match="was given none"):
        runtime.load("sum").read_state(None)


def test_a_state_of_another_function_is_refused(runtime):
    state = runtime.load("decoder", "prefill").make_state()
    inputs = {"x": embedded(1), "position": np.zeros(1, np.int32)}
    with pytest.raises(RuntimeFault, match=r"another component made, decoder \(prefill\)"):
        runtime.load("decoder", "step").predict(inputs, state)


def test_a_state_beyond_float16_is_refused(runtimes):
    with pytest.raises(RuntimeFault, match="state 'total' holds 6 NaN or infinite"):
        accumulate(runtimes["eager"], 6e4, 6e4)


def test_eager_does_not_round_its_states(runtimes):
    small = 2.0**-12  # lost beside 1 in float16
    outputs, _ = accumulate(runtimes["eager"], 1.0, small, small)
    assert outputs[-1][0, 0] == 1 + 2 * small
    outputs, _ = accumulate(runtimes["portable"], 1.0, small, small)
    assert outputs[-1][0, 0] == 1


def test_calls_are_recorded_with_their_states():
    runtime = RecordingRuntime(EagerRuntime(plan()))
    accumulate(runtime, 1.0, 2.0)
    assert [(c.states_before["total"][0, 0], c.states_after["total"][0, 0]) for c in runtime.calls] == [(0, 1), (1, 3)]
    assert runtime.calls[0].states_after["total"].dtype == np.float16


def test_recording_keeps_no_more_than_it_may():
    tokens = embedded(PREFILL + 4)
    everything = RecordingRuntime(EagerRuntime(plan()))
    decode(everything, tokens)
    call = next(c for c in everything.calls if c.function == "step")
    sides = (call.inputs, call.outputs, call.states_before, call.states_after)
    call_bytes = sum(array.nbytes for side in sides for array in side.values())
    for budget, kept in ((3 * call_bytes, 3), (0, 1)):
        runtime = RecordingRuntime(EagerRuntime(plan()), most_bytes=budget)
        decode(runtime, tokens)
        assert [c.function for c in runtime.calls].count("step") == kept


def test_a_replayed_call_starts_from_its_own_states(runtimes):
    recording = RecordingRuntime(EagerRuntime(plan()))
    decode(recording, embedded(SLOTS))
    for call in reversed(recording.calls):
        again = replay(call, runtimes["portable"])
        np.testing.assert_allclose(again.outputs["y"], call.outputs["y"], atol=2e-3)
        np.testing.assert_allclose(again.states_after["key_cache"], call.states_after["key_cache"], atol=2e-3)
