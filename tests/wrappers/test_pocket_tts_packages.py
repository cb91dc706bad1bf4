"""PocketTTS' backbone and flow as saved packages, on the portable executor, against the wrappers."""

from dataclasses import replace

import numpy as np
import pytest

from models.pocket_tts import export
from parity.measures.arrays import compare_arrays
from tests.models.pocket_tts.tiny import save_tiny_checkpoint
from tests.packages import assert_every_input_acts, assert_padding_cannot_act
from toolkit.export.package import export_component
from toolkit.loops.rope import rotary_tables
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.portable import PortableRuntime

SLOTS, CHUNK, PROMPT, FRAMES = 96, export.PREFILL_TOKENS, 77, 10
LEAST_PSNR_DB = {"fp32": 60, "fp16": 35}
OPTIONS = {"flow_steps": "step,1,4", "cache_slots": SLOTS, "codec_encoder": False, "audio_tokenizer": ""}
# Two key heads for three queries each, and a bias: a head that is laid out wrongly shows. Wide, so that the matrices
# outweigh the masks of a chunk.
SIZES = {
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 10,
    "attention_bias": True,
    "intermediate_size": 700,
}


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """state -> plan of one checkpoint."""
    folder = tmp_path_factory.mktemp("tiny") / "checkpoint"
    save_tiny_checkpoint(folder, **SIZES)
    return {state: export.plan(folder, OPTIONS | {"state": state}) for state in ("stateful", "external")}


@pytest.fixture(scope="module")
def drifting(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drifting") / "checkpoint"
    save_tiny_checkpoint(folder, num_hidden_layers=1, flow_head_config={"flow_type": "drifting"})
    return export.plan(folder, OPTIONS | {"state": "external", "flow_steps": "1"})


def saved(plan, component, folder, precision, *functions):
    """The functions of a component, all where none are named, on the portable runtime."""
    spec = plan.component(component)
    spec = replace(spec, functions=tuple(f for f in spec.functions if not functions or f.name in functions))
    (names,) = (names for names in export_component(spec, folder, precision, "iOS18").values())
    file = folder / f"{component}.mlpackage"
    return PortableRuntime(lambda name, function: (file, names[function]))


@pytest.fixture(scope="module", params=["fp32", "fp16"])
def precision(request):
    return request.param


@pytest.fixture(scope="module")
def backbones(plans, precision, tmp_path_factory):
    """state -> runtime of its package; the caller's cache has the same prefill, so that only its step is converted."""
    folders = {state: tmp_path_factory.mktemp(state) for state in plans}
    functions = {"stateful": (), "external": ("step",)}
    return {s: saved(plan, "backbone", folders[s], precision, *functions[s]) for s, plan in plans.items()}


@pytest.fixture(scope="module")
def flows(plans, drifting, precision, tmp_path_factory):
    """(plan, runtime) of an ordinary flow head and of a drifting one."""
    pairs = {"lsd": plans["external"], "drifting": drifting}
    return {kind: (p, saved(p, "flow", tmp_path_factory.mktemp(kind), precision)) for kind, p in pairs.items()}


def assert_near(ours, theirs, precision, name):
    assert compare_arrays(theirs, ours).psnr_db >= LEAST_PSNR_DB[precision], name


def place(plan, position, length):
    constants = plan.host["backbone"]
    cos, sin = rotary_tables(np.arange(position, position + length), constants["head_dim"], constants["rope_theta"])
    return {"position": np.array([position], np.int32), "cos": cos[None], "sin": sin[None]}


def prefilled(plan, runtime):
    """Keys and values [L, K, C, d] of PROMPT random positions in two chunks."""
    prefill = runtime.load("backbone", "prefill")
    embeds = np.random.default_rng(0).standard_normal((PROMPT, plan.host["backbone"]["width"]), np.float32)
    keys, values = (np.zeros(prefill.inputs[f"{kind}_in"].shape, np.float32) for kind in ("key", "value"))
    for start in range(0, PROMPT, CHUNK):
        part = embeds[start : start + CHUNK]
        inputs = {
            "embeds": np.pad(part, [(0, CHUNK - len(part)), (0, 0)])[None],
            "length": np.array([len(part)], np.int32),
            **place(plan, start, CHUNK),
        }
        new = prefill.predict({**inputs, "key_in": keys, "value_in": values})
        for cache, kind in ((keys, "key"), (values, "value")):
            assert not new[f"{kind}_out"][:, :, len(part) :].any()
            cache[:, :, start : start + len(part)] = new[f"{kind}_out"][:, :, : len(part)]
    return keys, values


def stepped(plan, runtime, keys, values):
    """hidden [n, D] and logits [n] along random latents behind a prefix."""
    step, (keys, values) = runtime.load("backbone", "step"), (keys.copy(), values.copy())
    state = step.make_state(
        {k: v.astype(np.float16) for k, v in (("key_cache", keys), ("value_cache", values))} if step.states else None
    )
    latents = np.random.default_rng(1).standard_normal((FRAMES, 1, len(plan.host["latent_mean"])), np.float32)
    hidden, logits = [], []
    for index, latent in enumerate(latents):
        inputs = {"latent": latent, "is_start": np.array([index == 0], np.float32), **place(plan, PROMPT + index, 1)}
        if not step.states:
            inputs |= {"key_in": keys, "value_in": values}
        outputs = step.predict(inputs, state)
        if not step.states:
            keys[:, :, PROMPT + index] = outputs["key_out"][:, :, 0]
            values[:, :, PROMPT + index] = outputs["value_out"][:, :, 0]
        hidden.append(outputs["hidden"][0])
        logits.append(outputs["eos_logit"].item())
    return np.stack(hidden), np.array(logits)


def test_prefill_is_the_wrappers(plans, backbones, precision):
    plan = plans["stateful"]
    expected = prefilled(plan, EagerRuntime(plan))
    for ours, theirs, name in zip(prefilled(plan, backbones["stateful"]), expected, ("keys", "values"), strict=True):
        assert_near(ours, theirs, precision, name)
        assert not ours[:, :, PROMPT:].any()


@pytest.mark.parametrize("state", ["stateful", "external"])
def test_steps_are_the_wrappers(plans, backbones, precision, state):
    plan, prefix = plans[state], prefilled(plans[state], EagerRuntime(plans[state]))
    expected = stepped(plan, EagerRuntime(plan), *prefix)
    for ours, theirs, name in zip(
        stepped(plan, backbones[state], *prefix), expected, ("hidden", "eos_logit"), strict=True
    ):
        assert_near(ours, theirs, precision, name)


def test_flows_are_the_wrappers(flows, precision):
    for plan, runtime in flows.values():
        eager, rng = EagerRuntime(plan), np.random.default_rng(2)
        for function in plan.component("flow").functions:
            converted = runtime.load("flow", function.name)
            for _ in range(4):
                inputs = {name: rng.standard_normal(i.shape, np.float32) for name, i in converted.inputs.items()}
                inputs |= {
                    name: np.full((1, 1), t, np.float32) for name, t in (("s", 0.25), ("t", 0.5)) if name in inputs
                }
                expected = eager.load("flow", function.name).predict(inputs)
                for name, ours in converted.predict(inputs).items():
                    assert_near(ours, expected[name], precision, f"{function.name} {name}")


def loaded(backbones, flows):
    """Every function that was saved."""
    yield from (backbones["stateful"].load("backbone", name) for name in ("prefill", "step"))
    yield backbones["external"].load("backbone", "step")
    for plan, runtime in flows.values():
        yield from (runtime.load("flow", function.name) for function in plan.component("flow").functions)


def test_every_input_acts(backbones, flows):
    for component in loaded(backbones, flows):
        assert_every_input_acts(component, 50 if "length" in component.inputs else None)


def test_what_pads_a_chunk_cannot_act(backbones):
    for output in ("key_out", "value_out"):
        assert_padding_cannot_act(backbones["stateful"].load("backbone", "prefill"), "embeds", output, 50)


def test_stale_slots_cannot_act(plans, backbones):
    for state, runtime in backbones.items():
        keys, values = prefilled(plans[state], EagerRuntime(plans[state]))
        clean = stepped(plans[state], runtime, keys, values)
        keys[:, :, PROMPT:], values[:, :, PROMPT:] = 30.0, -30.0
        for one, other in zip(clean, stepped(plans[state], runtime, keys, values), strict=True):
            np.testing.assert_array_equal(other, one)


def test_no_value_has_a_rank_over_four(backbones, flows):
    for component in loaded(backbones, flows):
        operations = component.model.function.block.walk()
        ranks = [len(kind.shape) for operation in operations for _, kind in operation.outputs if kind.shape]
        assert max(ranks) <= 4, f"{component.name} ({component.function})"


def stored(runtime, component):
    """Bytes of the weights of a package."""
    file, _ = runtime._locate(component, "step")
    return sum(path.stat().st_size for path in file.rglob("weight.bin"))


def test_weights_are_stored_once(plans, backbones, flows, precision, tmp_path):
    """The functions of a package together against one alone: masks and times are extra."""
    runtimes = {"backbone": backbones["stateful"], "flow": flows["lsd"][1]}
    for component, runtime in runtimes.items():
        alone = stored(saved(plans["stateful"], component, tmp_path, precision, "step"), component)
        assert alone > 20_000
        assert alone < stored(runtime, component) < 1.2 * alone
