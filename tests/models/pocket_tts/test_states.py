"""A chunk's cache is its own: voice, then text, then frames; nothing of padding or of another chunk gets in."""

from itertools import zip_longest

import numpy as np
import pytest
import torch

from models.pocket_tts.voices import Voice
from tests.gates import FLOAT32_SUMS
from tests.models.pocket_tts.host import FORMS, Stock, opened, planned, save_calm_checkpoint, say
from toolkit.errors import ToolkitError
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.recording import RecordingRuntime

A, B = "Go on.", "Say that again, all of you."
ENDS = {"eos_threshold": -6.0}  # soon


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_calm_checkpoint(tmp_path_factory.mktemp("calm") / "checkpoint")


@pytest.fixture(scope="module")
def plans(checkpoint):
    plans = {form: planned(checkpoint, form, cache_slots=320) for form in FORMS}
    return {form: (plan, EagerRuntime(plan)) for form, plan in plans.items()}


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def make(plans, form, tmp_path):
    """A pipeline of this form; all of them share a runtime, and so the wrappers' buffers."""

    def made(runtime=None, **options):
        plan, shared = plans[form]
        return opened(tmp_path / "bundle", plan, runtime or shared, **(ENDS | options))

    return made


def spoken(pipeline, text):
    return np.concatenate(list(pipeline.speak(text)))


def test_a_second_text_is_what_it_is_alone(make):
    pipeline = make()
    first, second = spoken(pipeline, A), spoken(pipeline, B)
    np.testing.assert_array_equal(second, spoken(make(), B))
    np.testing.assert_array_equal(spoken(pipeline, A), first)


def test_two_texts_frame_by_frame_are_each_what_it_is_alone(make):
    alone = [spoken(make(), A), spoken(make(voice="bert", seed=3), B)]
    streams = [make().speak(A), make(voice="bert", seed=3).speak(B)]
    together = [[], []]
    for pair in zip_longest(*streams):
        for made, samples in zip(together, pair, strict=True):
            made += [] if samples is None else [samples]
    for ours, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(np.concatenate(ours), expected)
    assert len(alone[0]) != len(alone[1])


def test_a_stream_left_alone_in_the_middle_changes_nothing(make):
    pipeline = make()
    expected = spoken(make(), A)
    abandoned = pipeline.speak(B)
    next(abandoned)
    np.testing.assert_array_equal(spoken(pipeline, A), expected)


def test_the_prefix_of_the_voice_is_computed_once_and_never_changed(make, plans, form):
    recording = RecordingRuntime(plans[form][1], limit=10**6)
    pipeline = make(recording)
    pipeline.load()
    loaded, prompt = len(recording.calls), pipeline.chunks(A)[0]
    prefix = pipeline.prefix(prompt)
    before = prefix.keys.copy(), prefix.values.copy()
    say(pipeline, prompt)
    assert pipeline.prefix(prompt) is prefix
    np.testing.assert_array_equal((prefix.keys, prefix.values), before)
    after = [call.component for call in recording.calls[loaded:]]
    assert "voice_projection" not in after
    assert [c.function for c in recording.calls[loaded:]].count("prefill") == 1


def test_another_voice_is_used_from_then_on(make):
    pipeline, other = make(), make(voice="bert")
    expected = spoken(other, A)
    assert not np.array_equal(spoken(pipeline, A), expected)
    pipeline.set_voice(other.voice)
    np.testing.assert_array_equal(spoken(pipeline, A), expected)


def test_the_cache_is_zero_beyond_what_is_valid_at_every_call(make, plans, form):
    recording = RecordingRuntime(plans[form][1], limit=10**6)
    spoken(make(recording), B)
    calls = [call for call in recording.calls if call.component == "backbone"]
    assert {call.function for call in calls} == {"prefill", "step"}
    for call in calls:
        position = call.inputs["position"].item()
        caches = call.states_before or {name: call.inputs[name] for name in ("key_in", "value_in")}
        for cache in caches.values():
            filled = cache.any(axis=(0, 1, 3))
            assert filled[:position].all()
            assert not filled[position:].any()
        if call.function == "prefill":
            length = call.inputs["length"].item()
            assert not call.inputs["embeds"][:, length:].any()
            for rows in call.outputs.values():
                assert rows.any(axis=(0, 1, 3)).nonzero()[0].tolist() == list(range(length))


def test_positions_follow_each_other_from_voice_to_the_last_frame(make, plans, form):
    recording = RecordingRuntime(plans[form][1], limit=10**6)
    pipeline = make(recording)
    (prompt,) = pipeline.chunks(A)
    frames = len(say(pipeline, prompt).latents)
    calls = [(c.function, c.inputs["position"].item()) for c in recording.calls if c.component == "backbone"]
    voice = 1 + pipeline.voice.length
    start = voice + len(prompt.text)
    steps = [("step", start + i) for i in range(frames)]
    assert calls == [("prefill", 0), ("prefill", voice), *steps]
    starts = [c.inputs["is_start"].item() for c in recording.calls if c.function == "step" and "is_start" in c.inputs]
    assert starts == [1] + [0] * (frames - 1)


def test_the_voice_stands_before_the_text_as_in_the_class(make, checkpoint):
    """The other way round gives another cache, and other speech."""
    pipeline, stock = make(), Stock(checkpoint)
    (prompt,), voice = pipeline.chunks(A), pipeline.voice
    inputs = stock.inputs(prompt.chunk, audio_prompt_latents=voice.latents)
    with torch.no_grad():
        inputs.pop("frames_after_eos")
        layers = stock.model(**inputs, use_cache=True).past_key_values.layers
    cache = pipeline.condition(prompt)
    embeds = [pipeline.backbone.embed_text((*prompt.before_voice, *prompt.text))]
    swapped = pipeline.backbone.extend(
        pipeline.backbone.empty(), np.concatenate([*embeds, pipeline.backbone.embed_voice(voice.latents)])
    )
    for side in ("keys", "values"):
        theirs = torch.cat([getattr(layer, side) for layer in layers]).numpy()[:, :, :-1]
        np.testing.assert_allclose(getattr(cache, side), theirs, **FLOAT32_SUMS)
        assert np.abs(getattr(swapped, side) - theirs).max() > 0.5
    first = [pipeline.backbone.start(prefix).step(None)[0] for prefix in (cache, swapped)]
    assert np.abs(first[0] - first[1]).max() > 0.1


def test_chunks_of_the_prefill_are_seamless(make, plans, form):
    """A voice of several chunks at once, and by single positions."""
    pipeline, rng = make(), np.random.default_rng(0)
    embeds = pipeline.backbone.embed_voice(rng.standard_normal((150, 8)).astype(np.float32))
    assert embeds.shape == (150, 48)
    whole, one = pipeline.backbone.extend(pipeline.backbone.empty(), embeds), pipeline.backbone.empty()
    for row in embeds:
        one = pipeline.backbone.extend(one, row[None])
    for side in ("keys", "values"):
        np.testing.assert_allclose(getattr(one, side), getattr(whole, side), **FLOAT32_SUMS)


def test_a_cache_may_be_filled_to_its_last_slot_and_no_further(make):
    pipeline = make()
    slots = pipeline.host.backbone.slots
    pipeline.set_voice(Voice(latents=np.zeros((slots - 3, 8), np.float32)))
    embeds = pipeline.backbone.embed_voice(pipeline.voice.latents)
    utterance = pipeline.backbone.start(pipeline.backbone.extend(pipeline.backbone.empty(), embeds))
    hidden = [utterance.step(None)[0], *(utterance.step(np.ones(8, np.float32))[0] for _ in range(2))]
    assert np.isfinite(hidden).all()
    assert utterance.position == slots
    with pytest.raises(ToolkitError, match=f"need {slots + 1} positions of the cache, it has {slots}.*--cache-slots"):
        utterance.step(np.ones(8, np.float32))
    with pytest.raises(ToolkitError, match="--cache-slots"):
        pipeline.backbone.extend(pipeline.backbone.empty(), np.zeros((slots + 1, 48), np.float32))
