"""Inside the packages of a bundle: which functions are looked into, the JSON and the tables; components with states."""

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from parity.localise import command as look
from parity.localise.terminal import layer_of, print_findings
from tests.toolkit import stateful
from toolkit.errors import ToolkitError
from toolkit.model import ModelInfo
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.recording import RecordingRuntime

MODEL = ModelInfo("parrot", "models.parrot", "synthesis", "ParrotForSpeech", "zoo/parrot", "repeats")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return stateful.convert(stateful.plan(), tmp_path_factory.mktemp("inside"), "fp16")


@pytest.fixture
def looked_at(monkeypatch, bundle):
    def looked_at(layers, *, ranges=False, attention=stateful.CachedAttention):
        recording = RecordingRuntime(EagerRuntime(stateful.plan()))
        rng = np.random.default_rng(0)
        decoder = recording.load("decoder", "step")
        state = decoder.make_state()
        for position in range(3):
            x = rng.standard_normal((1, stateful.HEADS * stateful.WIDTH)).astype(np.float32)
            decoder.predict({"x": x, "position": np.array([position], np.int32)}, state)
        total = recording.load("sum")
        total.predict({"x": np.full((2, 3), 30000, np.float32)}, total.make_state())
        monkeypatch.setattr(look, "plan_of_bundle", lambda bundle, model: stateful.plan(attention))
        monkeypatch.setattr(look, "record_calls", lambda *_: recording.calls)
        return look.look_inside(MODEL, bundle, [], layers, ranges)

    return looked_at


def test_one_function_or_all(looked_at):
    assert [(f.component, f.function) for f in looked_at("all").layers] == [("decoder", "step"), ("sum", "main")]
    assert [f.component for f in looked_at("decoder:step").layers] == ["decoder"]
    with pytest.raises(ToolkitError, match="decoder:step, sum:main"):
        looked_at("encoder")


def test_states_are_taken_into_both_sides(looked_at):
    found = looked_at("all")
    assert found.passed, [f.verdict for f in found.layers]


def test_bisection_where_values_are_many(looked_at, monkeypatch):
    monkeypatch.setattr(look, "_HELD_BYTES", 0)
    assert looked_at("decoder").passed


def test_json_and_tables(looked_at):
    found = looked_at("all", ranges=True)
    value = json.loads(look.json_from_findings([found]), parse_constant=pytest.fail)
    assert value["passed"]
    assert {f["component"] for f in value["layers"]} == {"decoder", "sum"}
    assert value["ranges"][1]["component"] == "sum"
    assert "comes near" in {op["risk"] for op in value["ranges"][1]["ops"]}
    file = StringIO()
    print_findings([found], Console(file=file))
    assert "no op is out of bounds" in file.getvalue()
    assert "comes near" in file.getvalue()


def test_bounds_of_compressed_weights_are_those_of_the_gate(bundle):
    entries = tuple(replace_compression(c) for c in bundle.manifest.components)
    compressed = replace(bundle, manifest=bundle.manifest.model_copy(update={"components": entries}))
    assert look.bounds_of(bundle, "sum", 0.03) == look.FP16_BOUNDS
    assert look.bounds_of(compressed, "sum", 0.03).program == 0.03


def replace_compression(entry):
    return entry.model_copy(update={"compression": "int8"})


@pytest.mark.parametrize(
    ("module", "layer"),
    [("encoder.layers.3.norm", "encoder.layers.3"), ("a.b.c", "a.b"), ("", "(itself)"), ("head", "head")],
)
def test_layers_by_their_paths(module, layer):
    assert layer_of(module) == layer
