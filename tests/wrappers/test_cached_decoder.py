"""The forms of a cached decoder of no model's architecture: the same logits, wherever the cache is kept."""

import pytest
import torch

from tests.wrappers.toy_decoder import CACHE, FRAMES, PROMPT, ToyDecoder, heard, whole
from wrappers.attention import MASKED
from wrappers.cached_decoder import ExternalStep, Prefill, StatefulStep, Stateless

TOKENS = [1, 16, 3, 8, 8, 0, 2, 11, 5]


def int32(*values):
    return torch.tensor(values, dtype=torch.int32)


def prefilled(cross):
    return Prefill(ToyDecoder(), CACHE, FRAMES, PROMPT)(int32(*TOKENS[:PROMPT])[None], *cross)


def external(cross):
    logits, key, value = prefilled(cross)
    step, rows = ExternalStep(ToyDecoder(), CACHE, FRAMES), [logits]
    for position in range(PROMPT, CACHE):
        mask = torch.full((1, 1, 1, CACHE), MASKED)
        mask[..., : position + 1] = 0
        logits, key, value = step(int32(TOKENS[position])[None], int32(position), mask, key, value, *cross)
        rows.append(logits)
    return torch.cat(rows)


def stateful(cross):
    logits, key, value = prefilled(cross)
    step, rows = StatefulStep(ToyDecoder(), CACHE, FRAMES), [logits]
    step.key_cache.copy_(key)
    step.value_cache.copy_(value)
    for position in range(PROMPT, CACHE):
        rows.append(step(int32(TOKENS[position])[None], int32(position), *cross))
    return torch.cat(rows)


def stateless(cross):
    step, rows = Stateless(ToyDecoder(), CACHE, FRAMES), []
    for last in range(PROMPT - 1, CACHE):
        tokens = TOKENS[: last + 1] + [13] * (CACHE - last - 1)
        rows.append(step(int32(*tokens)[None], int32(last), *cross))
    return torch.cat(rows)


@pytest.mark.parametrize("valid", [1, 4, FRAMES])
@pytest.mark.parametrize("form", [external, stateful, stateless])
def test_every_form_says_what_one_pass_says(form, valid):
    """To the last slot of the cache; padded frames are noise, which must not act."""
    torch.testing.assert_close(form(heard(valid)), whole(TOKENS, valid)[PROMPT - 1 :], rtol=1e-5, atol=1e-5)


def test_a_prefill_leaves_the_rest_of_the_cache_empty():
    _, key, value = prefilled(heard(FRAMES))
    for cache in (key, value):
        assert cache[:, :, :PROMPT].abs().amin(dim=-1).amin() > 0
        assert not cache[:, :, PROMPT:].any()


def test_the_states_have_the_shape_that_the_decoder_says():
    decoder = ToyDecoder()
    layers, key_heads, head_dim = decoder.kept
    states = StatefulStep(decoder, CACHE, FRAMES)
    assert states.key_cache.shape == states.value_cache.shape == (layers, key_heads, CACHE, head_dim)
