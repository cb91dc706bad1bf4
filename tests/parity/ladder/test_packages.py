"""The packages stage on fakes: a joint with logits, and a decision component that takes their argmax."""

import json
from dataclasses import replace

import numpy as np
import pytest

from parity.ladder.ladder import Status
from parity.ladder.packages import OutputParity, compare_packages
from toolkit.component import Component, Runtime
from toolkit.errors import BundleError, RuntimeFault
from toolkit.runtimes.recording import Call, RecordingRuntime
from toolkit.spec import ComponentSpec, ExportPlan, FunctionSpec, Tensor, TensorInfo

X = Tensor("x", (1, 3), "float32", "logits")
PLAN = ExportPlan(
    components=(
        ComponentSpec(
            "joint", lambda _: None, (FunctionSpec("main", (X,), (Tensor("logits", (1, 3), "float32", ""),)),)
        ),
        ComponentSpec("decision", lambda _: None, (FunctionSpec("main", (X,), (Tensor("token", (1,), "int32", ""),)),)),
    ),
    host={},
    assets={},
    options={},
)
FP16 = {"joint": "fp16", "decision": "fp16"}


class FakeComponent(Component):
    def __init__(self, name, owner):
        self.name, self.function, self._owner = name, "main", owner
        self.inputs = {"x": TensorInfo("float32", owner.shape)}
        self.outputs = {
            "joint": {"logits": TensorInfo("float32", owner.shape)},
            "decision": {"token": TensorInfo("int32", owner.shape[:-1])},
        }[name]
        self.states = {}

    def _predict(self, inputs, state):
        logits = (inputs["x"] + self._owner.errors[self.name]).astype(np.float32)
        return {"logits": logits} if self.name == "joint" else {"token": logits.argmax(-1).astype(np.int32)}


class FakeRuntime(Runtime):
    """Logits off by `error`, decisions taken from logits off by `decision_error`; shape [..., candidates]."""

    name = "fake"

    def __init__(self, error=0.0, components=("joint", "decision"), *, decision_error=None, shape=(1, 3)):
        errors = {"joint": error, "decision": error if decision_error is None else decision_error}
        self.errors = {name: np.asarray(value, np.float32) for name, value in errors.items()}
        self.shape, self._names = shape, components

    def load(self, component, function="main"):
        if component not in self._names:
            raise BundleError(f"no {component}", "Convert it.")
        return FakeComponent(component, self)


def logits_of(call, runtime):
    if call.component != "decision":
        return {}
    return {"token": runtime.load("joint").predict(call.inputs)["logits"]}


def record(*inputs):
    """Calls of one decision each, or of several at once."""
    calls = []
    for x in np.array(inputs, np.float32)[:, None]:
        runtime = RecordingRuntime(FakeRuntime(shape=x.shape))
        for name in ("joint", "decision"):
            runtime.load(name).predict({"x": x})
        calls += runtime.calls
    return calls


def compare(runtime, calls, precision=FP16, hook=logits_of, plan=PLAN) -> dict[str, OutputParity]:
    eager = FakeRuntime(shape=runtime.shape)
    return {p.component: p for p in compare_packages(plan, calls, runtime, eager, precision, hook)}


CLEAR, TIE = [0.0, 1.0, 9.0], [0.0, 9.0, 9.0005]


def test_equal_packages_pass():
    parity = compare(FakeRuntime(), record(CLEAR, TIE))
    assert [p.row().status for p in parity.values()] == [Status.PASSED] * 2
    assert parity["joint"].calls == 2
    assert parity["joint"].entry().psnr_db is None
    assert parity["joint"].entry().passed


def test_worst_call_counts():
    calls = record(CLEAR, [0.0, 0.001, 0.0])
    assert compare(FakeRuntime(0.001), calls)["joint"].metrics.rel_l2 == pytest.approx(3**0.5, rel=1e-3)


def test_pieces_of_a_stream_are_judged_together_so_that_a_silent_one_may_be_noisy():
    joint, decision = PLAN.components
    pieces = replace(joint.functions[0], outputs=(replace(joint.functions[0].outputs[0], piece=True),))
    streamed = replace(PLAN, components=(replace(joint, functions=(pieces,)), decision))
    calls = record([3, 1, -2], [0.01, 0, 0])  # speech, then silence
    assert compare(FakeRuntime(0.002), calls)["joint"].row().status is Status.FAILED
    assert compare(FakeRuntime(0.002), calls, plan=streamed)["joint"].row().status is Status.PASSED
    assert compare(FakeRuntime(0.2), calls, plan=streamed)["joint"].row().status is Status.FAILED


def test_damaged_package_fails():
    parity = compare(FakeRuntime([0, 5, 0]), record(CLEAR))
    assert parity["joint"].row().status is Status.FAILED
    assert not parity["joint"].entry().passed


def test_flip_at_a_near_tie_is_excused_in_fp16_and_shown():
    decision = compare(FakeRuntime([0, 0.001, 0]), record(CLEAR, TIE))["decision"]
    assert (decision.metrics.mismatches, decision.near_ties) == (1, 1)
    assert decision.row().status is Status.PASSED
    assert "1 of 1 flips are near ties" in decision.row().note
    assert "1 of 1 flips are near ties" in decision.entry().gate
    assert decision.entry().mismatches == 1


@pytest.mark.parametrize(
    ("precision", "hook"),
    [({"joint": "fp32", "decision": "fp32"}, logits_of), (FP16, None), (FP16, lambda call, runtime: {})],
)
def test_flip_is_not_excused_in_fp32_or_without_logits(precision, hook):
    decision = compare(FakeRuntime([0, 0.001, 0]), record(TIE), precision, hook)["decision"]
    assert decision.row().status is Status.FAILED


def test_flip_is_not_excused_when_the_bundle_lacks_the_joint():
    runtime = FakeRuntime([0, 0.001, 0], components=("decision",))
    decision = compare(runtime, record(TIE), {"decision": "fp16"})["decision"]
    assert decision.row().status is Status.FAILED


# Three decisions in one call: two near ties, one clear between them.
THREE = [[0.0, 5.0, 5.02], [9.0, 1.0, 0.0], [2.0, 2.01, 0.0]]
TURNS_TIES = [[0.0, 0.01, -0.01], [0.0] * 3, [0.01, 0.0, 0.0]]
TURNS_ALL = [TURNS_TIES[0], [0.0, 20.0, 0.0], TURNS_TIES[2]]


@pytest.mark.parametrize(
    ("logits_error", "decision_error", "flips", "excused"),
    [
        (TURNS_TIES, TURNS_TIES, 2, 2),
        (TURNS_TIES, TURNS_ALL, 3, 2),
        (TURNS_TIES, [TURNS_TIES[0], [0.0] * 3, [0.0] * 3], 1, 1),
        ([[0.0, 0.0, 0.009], [0.0] * 3, [0.0] * 3], TURNS_TIES, 2, 1),
        ([[0.0] * 3] * 3, TURNS_TIES, 2, 0),
    ],
    ids=["by noise", "a clear one beside near ties", "a near tie that stands", "noise below one margin", "no noise"],
)
def test_each_of_several_decisions_is_judged_by_its_own_margin(logits_error, decision_error, flips, excused):
    runtime = FakeRuntime(logits_error, shape=(1, 3, 3), decision_error=decision_error)
    decision = compare(runtime, record(THREE))["decision"]
    assert (decision.metrics.mismatches, decision.near_ties) == (flips, excused)
    assert decision.row().status is (Status.PASSED if flips == excused else Status.FAILED)


def test_damage_that_flips_is_caught_at_the_logits():
    parity = compare(FakeRuntime([0, 20, 0]), record(CLEAR))
    assert parity["joint"].row().status is Status.FAILED


def test_nan_is_a_failed_row_not_a_crash():
    parity = compare(FakeRuntime(np.nan), record(CLEAR))
    assert parity["joint"].row().status is Status.FAILED
    assert "NaN" in parity["joint"].row().note
    assert not parity["joint"].entry().passed


def test_a_function_that_was_never_called_fails():
    calls = [c for c in record(CLEAR) if c.component == "joint"]
    assert compare(FakeRuntime(), calls)["decision"].row().note == "never called on real audio"
    assert compare(FakeRuntime(), calls)["decision"].row().status is Status.FAILED


def test_only_the_components_named_are_compared():
    assert set(compare(FakeRuntime(), record(CLEAR), {"joint": "fp16"})) == {"joint"}


def test_a_missing_output_is_a_failed_row():
    calls = [Call("joint", "main", {"x": np.zeros((1, 3), np.float32)}, {"logits": np.zeros((1, 4), np.float32)})]
    assert "shape [1, 3]" in compare(FakeRuntime(), calls, {"joint": "fp16"})["joint"].row().note


def test_recording_rejects_faulty_inputs():
    with pytest.raises(RuntimeFault):
        RecordingRuntime(FakeRuntime()).load("joint").predict({"x": np.zeros((1, 4), np.float32)})


def test_what_could_not_be_compared_is_written_to_the_manifest_without_numbers():
    entry = compare(FakeRuntime(), [])["joint"].entry()
    assert not entry.passed
    assert entry.max_abs is entry.rel_l2 is entry.psnr_db is None
    json.dumps(entry.model_dump(mode="json"), allow_nan=False)
