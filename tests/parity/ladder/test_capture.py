"""Captures: what is written, how it is replayed, what is refused, and what a changed output looks like."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from models.parakeet_tdt import MODEL
from parity.ladder.capture import bounded, check_capture, differences, read_capture, replay_capture, save_capture
from parity.ladder.engine import run_ladder
from parity.ladder.ladder import Status
from parity.report.json_form import json_from_results
from tests.models.bundles import bundle_without_packages
from tests.parity.toy import converted, subject, toy
from tests.toolkit.stateful import SLOTS, accumulate, decode, embedded
from tests.toolkit.stateful import plan as stateful_plan
from toolkit.bundle.manifest import Manifest
from toolkit.component import Runtime
from toolkit.errors import OutputError, RuntimeFault, ToolkitError
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.recording import Call, RecordingRuntime


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return converted(toy(), tmp_path_factory.mktemp("capture") / "toy")


@pytest.fixture(scope="module")
def file(bundle):
    """A capture as `--save` writes it."""
    path = bundle.path.parent / "capture.safetensors"
    assert run_ladder(subject(toy(), bundle), {}, save=path).passed
    return path


def against(bundle, path):
    capture = read_capture(path)
    check_capture(capture, bundle)
    return run_ladder(subject(toy(), bundle), {}, against=capture)


def device(result):
    return {row.output: row for stage in result.stages if stage.name == "device" for row in stage.rows}


def changed(file, target, tensor=None, value=None, **info):
    """A copy of a capture with one tensor or some of its metadata changed."""
    with safe_open(file, "np") as opened:
        metadata = json.loads(opened.metadata()["capture"])
    tensors = load_file(file)
    if tensor:
        tensors[tensor] = value(tensors[tensor])
    save_file(tensors, target, metadata={"capture": json.dumps(metadata | info)})
    return target


def test_one_file_holds_calls_and_where_they_come_from(bundle, file):
    assert {p.name for p in file.parent.iterdir()} == {"toy", "capture.safetensors"}
    capture = read_capture(file)
    assert (capture.info.model, capture.info.runtime, capture.info.compute_units) == ("toy", "portable", "")
    assert set(capture.info.packages) == {"encoder.mlpackage", "head.mlpackage"}
    assert {"torch", "coremltools", "python"} <= set(capture.info.versions)
    assert capture.info.date.endswith("+00:00")
    assert {(c.component, c.function) for c in capture.calls} == {("encoder", "main"), ("head", "main")}
    assert set(capture.calls[0].inputs) == {"x"}
    assert not capture.info.faults


def test_today_against_itself_is_exact(bundle, file):
    result = against(bundle, file)
    assert result.passed, result.verdict
    rows = device(result)
    assert [row.metrics["max_abs"] for name, row in rows.items() if name != "capture"] == [0, 0]
    assert rows["capture"].note.endswith("same machine, packages, versions")


def test_the_output_that_changed_is_named(bundle, file, tmp_path):
    call = next(i for i, c in enumerate(read_capture(file).calls) if c.component == "head")
    other = changed(file, tmp_path / "c", f"{call}/outputs/logits", lambda v: v + np.float32(0.5))
    result = against(bundle, other)
    assert result.blame == "device"
    assert [name for name, row in device(result).items() if row.status is Status.FAILED] == ["head: logits"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_fails_and_can_be_written(bundle, file, tmp_path, value):
    other = changed(file, tmp_path / "c", "0/outputs/y", lambda v: np.full_like(v, value))
    result = against(bundle, other)
    assert device(result)["encoder: y"].status is Status.FAILED
    json.loads(json_from_results([result]), parse_constant=lambda name: pytest.fail(name))


def test_another_bundle_is_allowed_and_said(bundle, file, tmp_path):
    info = read_capture(file).info
    versions = info.versions | {"torch": "2.6.0"}
    packages = info.packages | {"head.mlpackage": "another"}
    other = changed(file, tmp_path / "c", versions=versions, packages=packages, runtime="coreml", system="macOS 15.1")
    result = against(bundle, other)
    assert result.passed
    note = device(result)["capture"].note
    for part in (
        "coreml on macOS 15.1",
        "torch 2.6.0, here ",
        "another bundle: head.mlpackage differ",
        "runtime coreml",
    ):
        assert part in note


def test_nothing_differs_between_a_run_and_itself(file):
    info = read_capture(file).info
    assert differences(info, info) == []
    assert differences(info, info.model_copy(update={"manifest_sha256": "x"})) == [
        "another manifest of the same packages"
    ]


def refused(bundle, path):
    with pytest.raises(ToolkitError) as raised:
        check_capture(read_capture(path), bundle)
    assert "\n" not in str(raised.value)
    return raised.value.message


def test_captures_that_do_not_fit_are_refused(bundle, file, tmp_path):
    assert "is a capture of cohere" in refused(bundle, changed(file, tmp_path / "a", model="cohere"))
    longer = changed(file, tmp_path / "b", "0/inputs/x", lambda v: np.zeros((9, *v.shape[1:]), v.dtype))
    assert "input 'x' is float32 [9, 48], in the bundle float32 [6, 48]" in refused(bundle, longer)
    calls = [{"component": c.component, "function": "audio_5s"} for c in read_capture(file).info.calls]
    assert "holds calls of encoder (audio_5s), the bundle has main" in refused(
        bundle, changed(file, tmp_path / "c", calls=calls)
    )
    calls = [{"component": "other", "function": "main"} for _ in calls]
    assert "has no call of a component" in refused(bundle, changed(file, tmp_path / "d", calls=calls))


def test_files_that_are_no_captures_are_refused(bundle, file, tmp_path):
    assert "no capture at" in refused(bundle, tmp_path / "nothing")
    (tmp_path / "text").write_text("no tensors")
    save_file({"a": np.zeros(1)}, tmp_path / "weights")
    (tmp_path / "cut").write_bytes(file.read_bytes()[:-100])
    changed(file, tmp_path / "future", schema_version=2)
    changed(file, tmp_path / "stranger", mood="good")
    for name in ("text", "weights", "cut", "future", "stranger"):
        assert "is not a readable capture" in refused(bundle, tmp_path / name)


def test_a_full_disk_leaves_nothing(bundle, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("parity.ladder.capture.save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        save_capture(tmp_path / "c", subject(toy(), bundle), [])
    assert not list(tmp_path.iterdir())


def call(component, size):
    return Call(component, "main", {"x": np.zeros(size, np.float32)}, {})


def test_the_first_call_of_each_function_is_kept_then_as_many_as_fit():
    calls = [call("a", 100), call("a", 100), call("a", 100), call("b", 1000), call("b", 10)]
    assert bounded(calls, 0) == [calls[0], calls[3]]
    assert bounded(calls, 4900) == [calls[0], calls[1], calls[3], calls[4]]
    assert bounded(calls, 1 << 20) == calls


class Faulty(Runtime):
    """The wrappers, but the head yields NaN."""

    name = "portable"

    def __init__(self, inner):
        self._inner = inner

    def load(self, component, function="main"):
        if component == "head":
            raise RuntimeFault("component head (main): output 'logits' holds 48 NaN", "Look.")
        return self._inner.load(component, function)


def test_a_component_that_fails_is_left_out_and_said(bundle, tmp_path):
    sound = subject(toy(), bundle)
    recording = RecordingRuntime(EagerRuntime(toy().plan()))
    toy().port(recording, np.ones((6, 48), np.float32))
    info = save_capture(tmp_path / "c", replace(sound, runtime=Faulty(sound.eager)), recording.calls)
    assert info.faults == {"head (main)": "component head (main): output 'logits' holds 48 NaN"}
    rows = {row.output: row for row in replay_capture(read_capture(tmp_path / "c"), sound, None)}
    assert rows["encoder: y"].status is Status.PASSED
    assert rows["head (main)"].status is Status.SKIPPED
    assert rows["components left out"].note == "the capture has no call of head"


def test_states_are_captured_before_and_after(tmp_path):
    plan = stateful_plan()
    recording = RecordingRuntime(EagerRuntime(plan))
    decode(recording, embedded(SLOTS - 1))
    accumulate(recording, 1.0, 2.0)
    bundle = bundle_without_packages(tmp_path, MODEL, {}, ["sum", "decoder"], [])
    (tmp_path / "manifest.json").write_text(bundle.manifest.model_dump_json())
    names = ("sum", "decoder")
    under_test = SimpleNamespace(
        bundle=bundle,
        plan=plan,
        eager=EagerRuntime(plan),
        runtime=EagerRuntime(plan),
        precision=dict.fromkeys(names, "fp16"),
        compression={},
    )
    save_capture(tmp_path / "c", under_test, recording.calls)
    capture = read_capture(tmp_path / "c")
    for saved, recorded in zip(capture.calls, recording.calls, strict=True):
        for name, value in recorded.states_before.items():
            np.testing.assert_array_equal(saved.states_before[name], value)
            # Replayed from float16 states, where the recorded run went on in float32.
            np.testing.assert_allclose(saved.states_after[name], recorded.states_after[name], atol=1e-3)
    rows = list(replay_capture(capture, under_test, None))
    assert {row.status for row in rows} == {Status.PASSED}
    assert "decoder step: state key_cache" in {row.output for row in rows}


def test_a_bundle_that_has_no_such_component_is_skipped_not_green(bundle, file):
    empty = replace(subject(toy(), bundle), bundle=_without(bundle))
    result = run_ladder(empty, {}, against=read_capture(file))
    assert next(s for s in result.stages if s.name == "device").status is Status.SKIPPED


def _without(bundle):
    manifest: Manifest = bundle.manifest.model_copy(update={"components": ()})
    return replace(bundle, manifest=manifest)
