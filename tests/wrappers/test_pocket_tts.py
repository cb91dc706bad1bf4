"""PocketTTS' backbone and flow head against the class: same weights, same voice, text and latents."""

from functools import cache
from itertools import pairwise

import pytest
import torch

from tests.gates import FLOAT32_SUMS
from tests.models.pocket_tts.tiny import CONFIGS, tiny_model, tiny_voice
from toolkit.loops.rope import rotary_tables
from wrappers.pocket_tts import (
    ExternalStep,
    Prefill,
    StatefulStep,
    TextEmbedding,
    VoiceProjection,
)
from wrappers.pocket_tts_flow import FlowStep, FusedFlow

SLOTS, VOICE, TEXT, FRAMES = 48, 13, 9, 12
PROMPT = VOICE + TEXT  # positions before the start of audio
EXACT = {"rtol": 0, "atol": 0}
CLOSE = FLOAT32_SUMS


@pytest.fixture(scope="module", params=CONFIGS, ids=list(CONFIGS))
def model(request):
    return made(request.param)


@cache
def made(name):
    return tiny_model(**CONFIGS[name])


def int32(*values):
    return torch.tensor(values, dtype=torch.int32)


def text_of(model, count=TEXT):
    return torch.arange(count) * 7 % (model.config.vocab_size - 10)


def latents_of(model, frames=FRAMES, seed=3):
    """Normalised latents."""
    return torch.randn(frames, model.config.latent_dim, generator=torch.Generator().manual_seed(seed))


@cache
def said(model):
    """The class over a voice, a text, the start of audio and latents: (hidden [n + 1, D], logits, keys, values)."""
    config = model.config
    ids = [config.audio_prompt_token_id] * VOICE + text_of(model).tolist() + [config.audio_bos_token_id]
    output = model(
        torch.tensor([ids + [config.audio_latent_token_id] * FRAMES]),
        audio_prompt_latents=tiny_voice(VOICE, model)[None],
        audio_latents=latents_of(model)[None],
        use_cache=True,
    )
    layers = output.past_key_values.layers
    keys, values = (torch.cat([getattr(layer, side) for layer in layers]) for side in ("keys", "values"))
    return output.last_hidden_state[0, PROMPT:], output.logits[0, PROMPT:, 0], keys, values


def embeds_of(model):
    """Voice and text [P, D]."""
    voice = VoiceProjection(model)(tiny_voice(VOICE, model)[None])
    return torch.cat([voice, TextEmbedding(model)(text_of(model).int()[None])], dim=1)[0]


def tables(model, position, length=1):
    config = model.config
    theta = config.rope_parameters["rope_theta"]
    pair = rotary_tables(torch.arange(position, position + length).numpy(), config.head_dim, theta)
    return [torch.from_numpy(table)[None] for table in pair]


def empty(model, fill=0.0):
    config = model.config
    shape = (config.num_hidden_layers, config.num_key_value_heads, SLOTS, config.head_dim)
    return torch.full(shape, fill), torch.full(shape, fill)


def prefilled(model, chunk, padding=0.0, stale=0.0):
    """Keys and values [L, K, C, d] of voice and text, taken in by chunks; what came back of each chunk."""
    prefill, embeds, (keys, values), returned = Prefill(model, SLOTS, chunk), embeds_of(model), empty(model, stale), []
    for start in range(0, len(embeds), chunk):
        part = embeds[start : start + chunk]
        padded = torch.full((1, chunk, embeds.shape[1]), padding)
        padded[0, : len(part)] = part
        inputs = (padded, int32(len(part)), int32(start), *tables(model, start, chunk), keys.clone(), values.clone())
        new = prefill(*inputs)
        for kept, rows in zip((keys, values), new, strict=True):
            kept[:, :, start : start + len(part)] = rows[:, :, : len(part)]
        returned.append((len(part), *new))
    return keys, values, returned


def fed(latents):
    """What the steps are given: anything at the start, then the latents."""
    return torch.cat([torch.full((1, latents.shape[1]), 5.0), latents])


def external(model, keys, values, latents):
    """(hidden [n + 1, D], logits [n + 1], keys, values) of the start and the latents behind a prefix."""
    step, rows, logits, (keys, values) = ExternalStep(model, SLOTS), [], [], (keys.clone(), values.clone())
    for index, latent in enumerate(fed(latents)):
        place = PROMPT + index
        start = torch.tensor([float(index == 0)])
        new = step(latent[None], start, int32(place), *tables(model, place), keys, values)
        keys[:, :, place], values[:, :, place] = new[2][:, :, 0], new[3][:, :, 0]
        rows.append(new[0])
        logits.append(new[1][0])
    return torch.cat(rows), torch.cat(logits), keys, values


def stateful(model, keys, values, latents):
    step, rows, logits = StatefulStep(model, SLOTS), [], []
    step.key_cache.copy_(keys)
    step.value_cache.copy_(values)
    for index, latent in enumerate(fed(latents)):
        start = torch.tensor([float(index == 0)])
        new = step(latent[None], start, int32(PROMPT + index), *tables(model, PROMPT + index))
        rows.append(new[0])
        logits.append(new[1][0])
    return torch.cat(rows), torch.cat(logits), step.key_cache, step.value_cache


FORMS = [external, stateful]


def prefix(model, stale=0.0):
    """The class's own keys and values of voice and text, in all slots."""
    pair = empty(model, stale)
    for kept, rows in zip(pair, said(model)[2:], strict=True):
        kept[:, :, :PROMPT] = rows[:, :, :PROMPT]
    return pair


def test_text_and_voice_are_embedded_as_by_the_class(model):
    ids, voice = text_of(model), tiny_voice(VOICE, model)
    torch.testing.assert_close(TextEmbedding(model)(ids.int()[None])[0], model.model.embed_tokens(ids), **EXACT)
    torch.testing.assert_close(VoiceProjection(model)(voice[None])[0], model.model.audio_prompt_proj(voice), **CLOSE)


@pytest.mark.parametrize("chunk", [1, 8, PROMPT, 32])
def test_the_cache_of_voice_and_text_is_the_classs(model, chunk):
    keys, values, _ = prefilled(model, chunk)
    for ours, theirs in zip((keys, values), said(model)[2:], strict=True):
        torch.testing.assert_close(ours[:, :, :PROMPT], theirs[:, :, :PROMPT], **CLOSE)
        assert not ours[:, :, PROMPT:].any()


def test_chunks_give_what_one_position_at_a_time_gives(model):
    alone = prefilled(model, 1)
    for chunk in (5, 8, 32):
        for ours, theirs in zip(prefilled(model, chunk)[:2], alone[:2], strict=True):
            torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize("chunk", [8, 32])
def test_what_pads_a_chunk_cannot_act_and_comes_back_as_zero(model, chunk):
    quiet, loud = prefilled(model, chunk), prefilled(model, chunk, padding=1e3)
    for (length, *rows), (_, *changed) in zip(quiet[2], loud[2], strict=True):
        for one, other in zip(rows, changed, strict=True):
            torch.testing.assert_close(one, other, **EXACT)
            assert not other[:, :, length:].any()
            assert other[:, :, :length].abs().amin(dim=(1, 3)).all()
    assert quiet[2][-1][0] < chunk, "the last chunk has to have padding"


@pytest.mark.parametrize("chunk", [1, 8, 32])
def test_stale_slots_behind_the_position_cannot_act_on_a_chunk(model, chunk):
    for clean, stale in zip(prefilled(model, chunk)[:2], prefilled(model, chunk, stale=30.0)[:2], strict=True):
        torch.testing.assert_close(stale[:, :, :PROMPT], clean[:, :, :PROMPT], **EXACT)


@pytest.mark.parametrize("form", FORMS)
def test_steps_give_the_classs_hidden_states_and_logits(model, form):
    hidden, logits, keys, values = form(model, *prefix(model), latents_of(model))
    expected = said(model)
    torch.testing.assert_close(hidden, expected[0], **CLOSE)
    torch.testing.assert_close(logits, expected[1], **CLOSE)
    for ours, theirs in zip((keys, values), expected[2:], strict=True):
        torch.testing.assert_close(ours[:, :, : PROMPT + FRAMES + 1], theirs, **CLOSE)
        assert not ours[:, :, PROMPT + FRAMES + 1 :].any()


@pytest.mark.parametrize("form", FORMS)
def test_stale_slots_behind_the_position_cannot_act_on_a_step(model, form):
    clean, stale = (form(model, *prefix(model, fill), latents_of(model))[:2] for fill in (0.0, 30.0))
    for one, other in zip(clean, stale, strict=True):
        torch.testing.assert_close(other, one, **EXACT)


@pytest.mark.parametrize("form", FORMS)
def test_every_slot_up_to_the_position_acts(form):
    model = made("small")
    expected = form(model, *prefix(model), latents_of(model, 0))[0]
    for slot in (0, VOICE - 1, VOICE, PROMPT - 1):
        for side in (0, 1):
            changed = prefix(model)
            changed[side][:, :, slot] += 0.5
            assert not torch.allclose(form(model, *changed, latents_of(model, 0))[0], expected, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_a_full_cache_and_an_empty_one(model, form):
    """The last slot may be written; without any prefix the start of audio sees itself alone."""
    config, latents = model.config, latents_of(model, SLOTS - 1 - PROMPT)
    ids = [config.audio_prompt_token_id] * VOICE + text_of(model).tolist() + [config.audio_bos_token_id]
    theirs = model(
        torch.tensor([ids + [config.audio_latent_token_id] * len(latents)]),
        audio_prompt_latents=tiny_voice(VOICE, model)[None],
        audio_latents=latents[None],
    )
    hidden, *_ = form(model, *prefix(model), latents)
    torch.testing.assert_close(hidden[-1], theirs.last_hidden_state[0, -1], **CLOSE)
    alone = model(torch.tensor([[config.audio_bos_token_id]])).last_hidden_state[0]
    torch.testing.assert_close(first_step(model, form, 0, *empty(model)), alone, **CLOSE)


def first_step(model, form, position, keys, values, latent=None, start=1.0):
    """hidden [1, D] of one step."""
    latent = torch.zeros(1, model.config.latent_dim) if latent is None else latent
    inputs = (latent, torch.tensor([start]), int32(position), *tables(model, position))
    if form is external:
        return ExternalStep(model, SLOTS)(*inputs, keys, values)[0]
    step = StatefulStep(model, SLOTS)
    step.key_cache.copy_(keys)
    step.value_cache.copy_(values)
    return step(*inputs)[0]


@pytest.mark.parametrize("form", FORMS)
def test_the_flag_takes_the_learnt_start_latent_and_no_other(model, form):
    pair, latent = prefix(model), latents_of(model, 1)
    started = first_step(model, form, PROMPT, *pair)
    torch.testing.assert_close(first_step(model, form, PROMPT, *pair, latent=latent), started, **EXACT)
    learnt = model.model.bos_latent[None]
    torch.testing.assert_close(first_step(model, form, PROMPT, *pair, latent=learnt, start=0.0), started, **EXACT)
    assert not torch.allclose(first_step(model, form, PROMPT, *pair, latent=latent, start=0.0), started, atol=1e-2)


def conditions(model, count=5):
    return said(model)[0][:count], latents_of(model, count, seed=9)


def times(start, end):
    return torch.tensor([[start]]), torch.tensor([[end]])


@pytest.mark.parametrize(("s", "t"), [(0.0, 1.0), (0.0, 0.25), (0.5, 0.625), (0.9, 1.0)])
@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "drifting"])
def test_velocities_equal_the_class(name, s, t):
    model = made(name)
    step = FlowStep(model)
    for hidden, latent in zip(*conditions(model), strict=True):
        expected = model.flow_head(latent[None], hidden[None], times=list(times(s, t)))
        torch.testing.assert_close(step(hidden[None], latent[None], *times(s, t)), expected, **CLOSE)


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_fused_flows_equal_the_class(model, steps):
    if model.config.flow_head_config.flow_type == "drifting":
        with pytest.raises(ValueError, match="in one call, not in 4"):
            FusedFlow(model, 4)
        steps = 1
    flow = FusedFlow(model, steps)
    for hidden, noise in zip(*conditions(model), strict=True):
        expected = model.sample_latent(hidden[None], noise[None], steps)
        torch.testing.assert_close(flow(hidden[None], noise[None]), expected, **CLOSE)


def test_steps_of_the_flow_give_other_latents():
    """Else one number of steps would do for all."""
    model = made("small")
    (hidden, *_), (noise, *_) = conditions(model)
    found = [FusedFlow(model, steps)(hidden[None], noise[None]) for steps in (1, 4, 8)]
    assert all((one - other).abs().max() > 0.05 for one, other in pairwise(found))
