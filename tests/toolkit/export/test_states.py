"""Converting wrappers whose buffers are states."""

from dataclasses import replace

import pytest

import milrun
from milrun.package import open_package
from tests.toolkit.stateful import CachedAttention, plan
from toolkit.errors import RuntimeFault, ToolkitError
from toolkit.export.package import export_component

DECODER = plan().component("decoder")


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def package(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    export_component(DECODER, folder, request.param, "iOS18")
    return folder / "decoder.mlpackage", request.param


def test_states_are_float16_at_either_precision(package):
    path, precision = package
    for function in DECODER.functions:
        model = milrun.load(path, function.name)
        assert {n: (t.dtype, t.shape) for n, t in model.states.items()} == {
            t.name: ("float16", t.shape) for t in function.states
        }
        assert list(model.inputs) == ["x", "position"]
        computed = {t.dtype for o in model.function.block.walk() if o.type == "slice_update" for _, t in o.outputs}
        assert computed == {{"fp32": "float32", "fp16": "float16"}[precision]}


def test_states_are_described(package):
    for function in open_package(package[0]).spec.description.functions:
        assert {s.name: s.shortDescription for s in function.state} == {"key_cache": "keys", "value_cache": "values"}


def test_functions_with_states_share_their_weights(package):
    path, precision = package
    weights = sum(p.numel() for p in CachedAttention(1).parameters()) * {"fp32": 4, "fp16": 2}[precision]
    stored = sum(f.stat().st_size for f in path.rglob("weight.bin"))
    assert stored < weights + 64 * 24, "weights are stored more than once"


def test_a_target_without_states_is_refused(tmp_path):
    with pytest.raises(ToolkitError, match="decoder keeps states, which iOS17 does not have"):
        export_component(DECODER, tmp_path, "fp16", "iOS17")


def test_a_buffer_that_is_written_and_no_state_is_refused(tmp_path):
    functions = tuple(replace(f, states=f.states[:1]) for f in DECODER.functions)
    with pytest.raises(RuntimeFault, match="wrapper of prefill writes its buffers value_cache"):
        export_component(replace(DECODER, functions=functions), tmp_path, "fp16", "iOS18")
