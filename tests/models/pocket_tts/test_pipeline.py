"""The host side on the wrappers against `generate`: the same frames, the same end, the same audio."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from tests.gates import FLOAT32_SUMS, float32_sums
from tests.models.pocket_tts.host import (
    FORMS,
    Stock,
    opened,
    planned,
    referred,
    save_calm_checkpoint,
    say,
    torch_noise,
)
from tests.models.pocket_tts.tiny import CONFIGS
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.recording import RecordingRuntime

TEXT = "Go on."
LONGER = "So do we all go on."
# Of what reaches 5 (latents), 4 (hidden), 5 (logits) and 0.7 (audio). With states, voice and text are rounded to
# float16 once, by 2**-11: eight times that of what reaches 5.
CLOSE = {"external": float32_sums(5), "stateful": {"rtol": 0, "atol": 8 * 5 * 2**-11}}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calm")
    return {name: save_calm_checkpoint(folder / name, **sizes) for name, sizes in CONFIGS.items()}


@pytest.fixture(scope="module")
def references(checkpoints):
    return {name: referred(folder) for name, folder in checkpoints.items()}


@pytest.fixture(scope="module")
def plans(checkpoints):
    """(config, form) -> (plan, runtime)."""
    plans = {(name, form): planned(folder, form) for name, folder in checkpoints.items() for form in FORMS}
    return {key: (plan, EagerRuntime(plan)) for key, plan in plans.items()}


@pytest.fixture
def pipeline_of(plans, tmp_path):
    def make(name="small", form="external", **options):
        return opened(tmp_path / "bundle", *plans[name, form], **options)

    return make


def close(form):
    return CLOSE[form]


def run_of(reference, pipeline, prompt, max_frames=None):
    """The same chunk under the same noise by the class."""
    return reference.run(
        prompt.chunk,
        pipeline.voice,
        pipeline.noise(0),
        flow_steps=pipeline.flow.steps,
        eos_threshold=pipeline._eos_threshold,
        max_frames=max_frames,
    )


def assert_equal(pipeline, prompt, run, form):
    """Cache of voice and text, then frame by frame."""
    cache, ours = pipeline.condition(prompt), say(pipeline, prompt)
    np.testing.assert_allclose(cache.keys, run.keys, **FLOAT32_SUMS)
    np.testing.assert_allclose(cache.values, run.values, **FLOAT32_SUMS)
    assert len(ours.latents) == len(run.latents)
    np.testing.assert_allclose(ours.hidden, run.hidden, **close(form))
    np.testing.assert_allclose(ours.logits, run.eos_logits, **close(form))
    np.testing.assert_allclose(ours.latents, run.latents, **close(form))
    np.testing.assert_allclose(ours.audio, run.audio, **close(form))
    return ours


@pytest.mark.parametrize("name", CONFIGS)
def test_speech_equals_generate_by_the_checkpoints_own_settings(pipeline_of, references, name):
    own = CONFIGS[name].get("generation", {})
    run = None
    for form in FORMS:
        pipeline = pipeline_of(name, form)
        assert pipeline.flow.steps == own.get("num_flow_steps", 1)
        assert pipeline._temperature == own.get("temperature", 0.7)
        (prompt,) = pipeline.chunks(TEXT)
        run = run or run_of(references[name], pipeline, prompt)
        ours = assert_equal(pipeline, prompt, run, form)
        assert (ours.stop == "max_frames") == (len(ours.latents) == prompt.max_frames)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize(
    ("name", "flow_steps"),
    [*((name, 4) for name in CONFIGS if name != "drifting"), ("drifting", 1), ("small", 1), ("deep", 1)],
)
def test_speech_equals_generate(pipeline_of, references, name, flow_steps, temperature):
    run = None
    for form in FORMS:
        pipeline = pipeline_of(name, form, flow_steps=flow_steps, temperature=temperature, seed=5, voice="bert")
        prompt = replace(pipeline.chunks(TEXT)[0], max_frames=24)
        run = run or run_of(references[name], pipeline, prompt, 24)
        assert_equal(pipeline, prompt, run, form)


@pytest.mark.parametrize(("text", "tail"), [(TEXT, 4), (LONGER, 2)])
@pytest.mark.parametrize("form", FORMS)
def test_the_end_of_speech_is_the_classs(pipeline_of, references, form, text, tail):
    """A threshold that a logit in the middle is the first to pass."""
    free = pipeline_of(form=form, eos_threshold=float("inf"))
    (prompt,) = free.chunks(text)
    assert prompt.frames_after_eos == tail
    logits = say(free, prompt).logits
    highest = np.maximum.accumulate(logits)
    least = free.host.min_frames_before_eos
    index = next(i for i in range(least + 6, len(logits)) if logits[i] > highest[i - 1] + 0.1)
    pipeline = pipeline_of(form=form, eos_threshold=float(logits[index] - 0.05))
    ours = assert_equal(pipeline, prompt, run_of(references["small"], pipeline, prompt), form)
    assert (ours.stop, len(ours.latents)) == ("eos", index + 1 + tail)


@pytest.mark.parametrize("form", FORMS)
def test_the_first_frames_cannot_end_it_and_the_next_can(pipeline_of, references, form):
    pipeline = pipeline_of(form=form, eos_threshold=-1e9)
    (prompt,) = pipeline.chunks(TEXT)
    ours = assert_equal(pipeline, prompt, run_of(references["small"], pipeline, prompt), form)
    assert (ours.stop, len(ours.latents)) == ("eos", 6 + 1 + 4)


@pytest.fixture(scope="module")
def stocks(checkpoints):
    """The class without any code of ours."""
    return {name: Stock(checkpoints[name]) for name in ("small", "drifting", "large_eps_four_steps")}


def in_codecs_space(pipeline, latents):
    return latents * np.float32(pipeline.host.latent_std) + np.float32(pipeline.host.latent_mean)


@pytest.mark.parametrize(
    ("name", "steps", "temperature"),
    [("small", 1, 0.0), ("small", 4, 0.7), ("drifting", 1, 0.7), ("large_eps_four_steps", 4, 1.0)],
)
def test_our_reference_is_what_generate_says_with_torchs_own_noise(
    pipeline_of, references, stocks, name, steps, temperature
):
    """Nothing patched: the class draws its noise, and the port and our reference are given the same numbers."""
    pipeline = pipeline_of(name, flow_steps=steps, temperature=temperature)
    (prompt,) = pipeline.chunks(TEXT)
    voice = {"audio_prompt_latents": pipeline.voice.latents}
    latents, audio = stocks[name].generate(TEXT, seed=11, temperature=temperature, num_flow_steps=steps, voice=voice)
    noise = lambda: torch_noise(11, latents.shape[1], temperature)  # noqa: E731
    settings = {"flow_steps": steps, "eos_threshold": pipeline._eos_threshold}
    run = references[name].run(TEXT, pipeline.voice, noise(), **settings)
    ours = say(pipeline, prompt, noise())
    for side in (run, ours):
        np.testing.assert_allclose(in_codecs_space(pipeline, side.latents), latents, **close("external"))
        np.testing.assert_allclose(side.audio, audio, **close("external"))


@pytest.mark.parametrize("form", FORMS)
def test_a_text_of_several_chunks_is_each_of_them_with_noise_of_its_own(pipeline_of, stocks, form):
    text = "One two three, four and five. Is it six or is it seven now? Well, it may be eight! " * 2
    stock, pipeline = stocks["small"], pipeline_of(form=form, eos_threshold=-5.0)
    chunks, calls = stock.processor.split_text(text), []
    assert len(chunks) > 2
    spoken = list(pipeline.speak(text, lambda *done: calls.append(done)))
    voice = {"audio_prompt_latents": pipeline.voice.latents}
    expected = [
        stock.generate(chunk, noise=pipeline.noise(i), eos_threshold=-5.0, voice=voice)[1]
        for i, chunk in enumerate(chunks)
    ]
    np.testing.assert_allclose(np.concatenate(spoken), np.concatenate(expected), **close(form))
    assert {len(frame) for frame in spoken} == {pipeline.frame_size}
    assert calls == [(i + 1, len(chunks)) for i in range(len(chunks))]


def test_streaming_gives_each_frame_before_the_next_is_made_and_equals_offline(plans, references, tmp_path):
    plan, runtime = plans["small", "external"]
    recording = RecordingRuntime(runtime, limit=10**6)
    pipeline = opened(tmp_path / "bundle", plan, recording)
    pipeline.load()
    (prompt,) = pipeline.chunks(TEXT)
    pieces = []
    for samples in pipeline.speak(TEXT):
        pieces.append(samples)
        steps = [call for call in recording.calls if (call.component, call.function) == ("backbone", "step")]
        assert len(steps) == len(pieces)
    offline = run_of(references["small"], pipeline, prompt)
    np.testing.assert_allclose(np.concatenate(pieces), offline.audio, **close("external"))
    latents = in_codecs_space(pipeline, offline.latents)
    plain = references["small"].decode(latents)
    fade = pipeline.host.fade_in_samples
    np.testing.assert_allclose(np.concatenate(pieces)[fade:], plain[fade:], **close("external"))
    assert pieces[0][0] == 0
    assert plain[0] != 0


def test_steps_one_by_one_equal_those_in_one_call(checkpoints, plans, tmp_path):
    fused = planned(checkpoints["small"], flow_steps="1,4,8")
    one, other = opened(tmp_path / "a", *plans["small", "external"]), opened(tmp_path / "b", fused)
    hidden, noise = (np.random.default_rng(i).standard_normal(n, np.float32) for i, n in ((0, 48), (1, 8)))
    latents = []
    for steps in (1, 4, 8):
        flows = [opened(tmp_path / "b", p, flow_steps=steps).flow for p in (plans["small", "external"][0], fused)]
        assert [flow._function for flow in flows] == ["steps_1" if steps == 1 else "step", f"steps_{steps}"]
        by_step, at_once = (flow.sample(hidden, noise) for flow in flows)
        np.testing.assert_allclose(by_step, at_once, **FLOAT32_SUMS)
        latents.append(at_once)
    assert all(np.abs(a - b).max() > 1e-2 for a, b in pairwise(latents))
    assert one.host.flow_functions == ("step", "steps_1")
    assert other.host.flow_functions == ("steps_1", "steps_4", "steps_8")


def test_a_budget_that_ends_a_chunk_is_noted_and_forgotten_with_the_next_text(pipeline_of):
    pipeline = pipeline_of(eos_threshold=float("inf"))
    (prompt,) = pipeline.chunks(TEXT)
    spoken = np.concatenate(list(pipeline.speak(TEXT)))
    seconds = len(spoken) / pipeline.sample_rate
    assert len(spoken) == prompt.max_frames * pipeline.frame_size
    assert pipeline.notes == [f"'{prompt.chunk}' reached its limit of {seconds:.1f} s without an end"]
    pipeline._eos_threshold = -1e9
    list(pipeline.speak(TEXT))
    assert pipeline.notes == []


def test_seeds_and_temperatures_change_what_is_said(pipeline_of):
    def first(**options):
        pipeline = pipeline_of(**options)
        return next(pipeline.frames(pipeline.chunks(TEXT)[0], pipeline.noise(0))).latent

    np.testing.assert_array_equal(first(), first(seed=0, temperature=0.7))
    others = [first(), first(seed=1), first(temperature=0.0), first(temperature=0.3), first(voice="bert")]
    assert len(np.unique(np.stack(others), axis=0)) == len(others)
