"""Conversion of single components: names, descriptions, precision, targets, and that nothing was folded away."""

import numpy as np
import pytest
import torch

import milrun
from models.parakeet_tdt.export import plan
from tests.models.parakeet_tdt.tiny import CONFIGS, save_tiny_checkpoint
from tests.packages import assert_every_input_acts, assert_padding_cannot_act, random_inputs
from toolkit.bundle.inspect import inspect_package
from toolkit.export.package import export_component
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.portable import PortableRuntime


@pytest.fixture(scope="module", params=["small", "one_layer_no_bias", "wide_128_mels"])
def tiny_plan(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    save_tiny_checkpoint(folder, **CONFIGS[request.param])
    return plan(folder, {"audio_seconds": "1,2"})


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def packages(request, tiny_plan, tmp_path_factory):
    """Every component at one precision: (plan, precision, locate)."""
    folder, where = tmp_path_factory.mktemp("packages"), {}
    for spec in tiny_plan.components:
        for file, functions in export_component(spec, folder, request.param, "iOS18").items():
            where |= {(spec.name, ours): (folder / file, inside) for ours, inside in functions.items()}
    return tiny_plan, request.param, lambda component, function: where[component, function]


def valid(component):
    """A length with some padding behind it, for a component that has one."""
    return component.inputs["mel"].shape[1] - 3 if "length" in component.inputs else None


def components(packages):
    plan, _, locate = packages
    eager, portable = EagerRuntime(plan), PortableRuntime(locate)
    for spec in plan.components:
        for function in spec.functions:
            yield spec, eager.load(spec.name, function.name), portable.load(spec.name, function.name)


def test_packages_equal_their_wrappers(packages):
    limit = {"fp32": 1e-4, "fp16": 3e-2}[packages[1]]
    for _, eager, portable in components(packages):
        inputs = random_inputs(eager, 0, valid(eager))
        expected, got = eager.predict(inputs), portable.predict(inputs)
        assert set(got) == set(expected)
        for name, value in expected.items():
            if value.dtype.kind == "f":
                error = np.linalg.norm(got[name] - value) / np.linalg.norm(value)
                assert error < limit, f"{eager.name}.{name}: rel. L2 {error}"


def test_every_input_influences_an_output(packages):
    for _, _, portable in components(packages):
        assert_every_input_acts(portable, valid(portable))


def test_padding_cannot_change_a_package(packages):
    for spec, _, portable in components(packages):
        if spec.name == "encoder":
            assert_padding_cannot_act(portable, "mel", "encoder", valid(portable))


def test_names_descriptions_and_precision_are_in_the_file(packages):
    plan, precision, locate = packages
    for spec in plan.components:
        for function in spec.functions:
            path, inside = locate(spec.name, function.name)
            model = milrun.load(path, inside)
            assert list(model.inputs) == [t.name for t in function.inputs]
            assert list(model.outputs) == [t.name for t in function.outputs]
            for t in (*function.inputs, *function.outputs):
                declared = {**model.inputs, **model.outputs}[t.name]
                assert (declared.dtype, declared.shape) == (t.dtype, t.shape)
        assert inspect_package(path).precision == precision
        assert {t.name: t.meaning for t in function.inputs}.items() <= described_inputs(path, inside).items()


def described_inputs(path, function):
    from milrun.package import open_package

    description = open_package(path).spec.description
    if description.functions:
        description = next(f for f in description.functions if f.name == function)
    return {feature.name: feature.shortDescription for feature in description.input}


def test_functions_share_their_weights(packages):
    plan, precision, locate = packages
    path, _ = locate("encoder", "audio_1s")
    size = sum(f.stat().st_size for f in path.rglob("weight.bin"))
    module = plan.component("encoder").build("audio_1s")
    width = {"fp32": 4, "fp16": 2}[precision]
    weights = sum(p.numel() for p in module.parameters()) * width
    tables = [
        sum(b.numel() for n, b in plan.component("encoder").build(f).named_buffers() if "relative_keys" in n) * width
        for f in ("audio_1s", "audio_2s")
    ]
    assert size < 1.15 * (weights + sum(tables)) + 64 * 400, "weights are stored more than once"


def test_older_targets_get_a_package_a_length(tiny_plan, tmp_path):
    spec = tiny_plan.component("encoder")
    files = export_component(spec, tmp_path, "fp16", "iOS17")
    assert files == {
        "encoder.audio_1s.mlpackage": {"audio_1s": "main"},
        "encoder.audio_2s.mlpackage": {"audio_2s": "main"},
    }
    for file in files:
        assert milrun.load(tmp_path / file).function.opset == "iOS17"


def test_tracing_leaves_the_default_dtype_and_grad_mode_alone(tiny_plan, tmp_path):
    before = torch.is_grad_enabled(), torch.get_default_dtype()
    export_component(tiny_plan.component("joint"), tmp_path, "fp16", "iOS18")
    assert (torch.is_grad_enabled(), torch.get_default_dtype()) == before


def test_ops_name_the_module_they_came_from(packages):
    _, _, locate = packages
    for component, function, module in (("encoder", "audio_2s", "encoder.0.attention"), ("joint", "main", "head")):
        path, inside = locate(component, function)
        scopes = {o.scope for o in milrun.load(path, inside).function.block.operations if o.type == "linear"}
        assert scopes, component
        assert all(scope for scope in scopes), scopes
        assert any(scope.startswith(module) for scope in scopes), scopes
