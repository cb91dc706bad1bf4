"""The packages stage on components with states: real packages, planted faults, and a cache too long to see them in."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from parity.ladder import engine
from parity.ladder.ladder import Ladder, Status
from parity.ladder.packages import compare_packages
from parity.ladder.rungs import LadderPlan
from parity.ladder.shared_rungs import DEVICE
from tests.toolkit.stateful import (
    SLOTS,
    CachedAttention,
    Forgetful,
    Shifted,
    accumulate,
    convert,
    decode,
    embedded,
    plan,
)
from toolkit.component import Component, Runtime
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.portable import PortableRuntime
from toolkit.runtimes.recording import RecordingRuntime
from toolkit.spec import ComponentSpec, ExportPlan, FunctionSpec, Tensor, TensorInfo


@pytest.fixture(scope="module")
def calls():
    runtime = RecordingRuntime(EagerRuntime(plan()))
    decode(runtime, embedded(SLOTS - 1))
    accumulate(runtime, 1.0, 2.0, 0.25)
    return runtime.calls


def packages(attention, folder, precision):
    return PortableRuntime(convert(plan(attention), folder, precision).locate)


def compare(calls, runtime, precision="fp16"):
    found = compare_packages(plan(), calls, runtime, EagerRuntime(plan()), dict.fromkeys(("sum", "decoder"), precision))
    return {(p.component, p.function, p.output): p for p in found}


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_sound_packages_pass(calls, tmp_path, precision):
    parity = compare(calls, packages(CachedAttention, tmp_path, precision), precision)
    failed = {name: p.row() for name, p in parity.items() if p.row().status is not Status.PASSED}
    assert not failed
    states = [name for name in parity if name[2].startswith("state ")]
    assert states == [
        ("sum", "main", "state total"),
        *(("decoder", f, f"state {s}_cache") for f in ("prefill", "step") for s in ("key", "value")),
    ]
    entry = parity["decoder", "step", "state key_cache"].entry()
    assert (entry.output, entry.passed, entry.calls) == ("state key_cache", True, SLOTS - 4)


@pytest.mark.parametrize("attention", [Forgetful, Shifted])
def test_a_package_that_keeps_the_wrong_state_fails(calls, tmp_path, attention):
    parity = compare(calls, packages(attention, tmp_path, "fp16"))
    failed = {name[1:] for name, p in parity.items() if p.row().status is Status.FAILED}
    assert failed == {("prefill", "state key_cache"), ("step", "state key_cache")}


def test_a_state_that_no_call_changed_fails(calls):
    unchanged = [
        replace(c, states_after=c.states_after | {"key_cache": c.states_before["key_cache"]}) for c in calls[:3]
    ]
    parity = compare(unchanged, EagerRuntime(plan()))
    assert parity["decoder", "step", "state key_cache"].row().note == "never written"
    assert parity["decoder", "step", "state value_cache"].row().status is Status.PASSED


def test_a_package_with_other_states_fails_in_every_row(calls):
    renamed = [replace(c, states_before={"cache": next(iter(c.states_before.values()))}) for c in calls]
    parity = compare(renamed, EagerRuntime(plan()))
    assert {p.row().status for p in parity.values()} == {Status.FAILED}
    assert "['cache'] where ['key_cache', 'value_cache']" in parity["decoder", "step", "y"].row().note


def test_the_device_is_held_against_portable_from_the_same_states(calls, monkeypatch):
    monkeypatch.setattr(engine.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(engine, "open_runtime", lambda *_, **__: EagerRuntime(plan(Shifted)))
    precision = dict.fromkeys(("sum", "decoder"), "fp16")
    eager = EagerRuntime(plan())
    sides = {"packages": eager, "runtime": eager, "units": None, "bundle": None, "model": None}
    subject = SimpleNamespace(**sides, plan=plan(), precision=precision, compression={})
    ladder = Ladder("tiny", LadderPlan((DEVICE,)), {})
    engine._device(subject, ladder, calls, SimpleNamespace(decision_logits=None))
    stage = next(s for s in ladder.result().stages if s.name == "device")
    failed = [row.output for row in stage.rows if row.status is Status.FAILED]
    assert failed == ["decoder prefill: state key_cache", "decoder step: state key_cache"]


ROWS, WIDTH = 4096, 2


class LongCache(Component):
    """Writes `x` into one row of a long cache, or loses it."""

    def __init__(self, loses):
        self.name, self.function, self._loses = "cache", "main", loses
        self.inputs = {"x": TensorInfo("float32", (1, WIDTH)), "position": TensorInfo("int32", (1,))}
        self.outputs = {"y": TensorInfo("float32", (1, WIDTH))}
        self.states = {"rows": TensorInfo("float16", (ROWS, WIDTH))}

    def _make_state(self, values):
        return {name: value.copy() for name, value in values.items()}

    def _read_state(self, state):
        return {name: value.copy() for name, value in state.items()}

    def _predict(self, inputs, state):
        if not self._loses:
            state["rows"][inputs["position"]] = inputs["x"]
        return {"y": inputs["x"]}


class LongCacheRuntime(Runtime):
    name = "fake"

    def __init__(self, loses):
        self._component = LongCache(loses)

    def load(self, component, function="main"):
        return self._component


def test_one_lost_row_shows_in_a_long_cache():
    x, y = (Tensor(name, (1, WIDTH), "float32", "") for name in "xy")
    position, rows = Tensor("position", (1,), "int32", ""), Tensor("rows", (ROWS, WIDTH), "float16", "")
    function = FunctionSpec("main", (x, position), (y,), (rows,))
    long_plan = ExportPlan((ComponentSpec("cache", lambda _: None, (function,)),), {}, {}, {})
    recording = RecordingRuntime(LongCacheRuntime(loses=False))
    cache, rng = recording.load("cache"), np.random.default_rng(0)
    state = cache.make_state({"rows": rng.standard_normal((ROWS, WIDTH)).astype(np.float16)})
    cache.predict({"x": np.ones((1, WIDTH), np.float32), "position": np.array([7], np.int32)}, state)
    for loses, status in ((False, Status.PASSED), (True, Status.FAILED)):
        runtime = LongCacheRuntime(loses)
        found = compare_packages(long_plan, recording.calls, runtime, runtime, {"cache": "fp16"})
        shown = [p.row() for p in found]
        assert [(row.output, row.status) for row in shown] == [
            ("cache: y", Status.PASSED),
            ("cache: state rows", status),
        ]
