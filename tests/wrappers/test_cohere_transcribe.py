"""Cohere Transcribe's components against the class's own modules: same weights, same inputs."""

import pytest
import torch

from tests.gates import FLOAT32_SUMS
from tests.models.cohere_transcribe.tiny import CONFIGS, tiny_model
from wrappers.cached_decoder import ExternalStep, Prefill, StatefulStep, Stateless
from wrappers.cohere_transcribe import CrossKeysValues, Decoder, Encoder

MEL_FRAMES, FRAMES, CACHE, PROMPT = 120, 20, 24, 5
TOKENS = [7, 3, 250, 11, 90, 40, 41, 42, 60, 40, 2, 9]
EXACT = {"rtol": 0, "atol": 0}
CLOSE = FLOAT32_SUMS


@pytest.fixture(scope="module", params=CONFIGS, ids=list(CONFIGS))
def model(request):
    return tiny_model(**CONFIGS[request.param])


def int32(*values):
    return torch.tensor(values, dtype=torch.int32)


def padded_mel(model, valid):
    torch.manual_seed(1)
    mel = torch.randn(1, MEL_FRAMES, model.config.encoder_config.num_mel_bins)
    mel[:, valid:] = 0
    return mel


def class_frames(model, valid):
    """[1, n, D] of the class, its decoder's projection included, and n."""
    mask = torch.arange(MEL_FRAMES)[None] < valid
    encoded = model.model.encoder(padded_mel(model, valid), attention_mask=mask)
    n = int(encoded.attention_mask.sum())
    return model.model.decoder.proj(encoded.last_hidden_state)[:, :n], n


@pytest.mark.parametrize("valid", [1, 7, *range(80, 90), 112, 113, 119, 120])
def test_encoder_equals_the_class(model, valid):
    expected, n = class_frames(model, valid)
    ours, length = Encoder(model, MEL_FRAMES, FRAMES).eval()(padded_mel(model, valid), int32(valid))
    assert length.dtype == torch.int32
    assert length.tolist() == [n] == [-(-valid // 8)]
    assert ours.shape[1] == FRAMES
    torch.testing.assert_close(ours[:, :n], expected, **CLOSE)
    assert not ours[:, n:].any(), "padded frames must be zero"


@pytest.mark.parametrize("valid", [1, 80, 83, 119])
def test_mel_behind_the_length_cannot_act(model, valid):
    encoder, mel = Encoder(model, MEL_FRAMES, FRAMES).eval(), padded_mel(model, valid)
    quiet, _ = encoder(mel, int32(valid))
    mel[:, valid:] = 1e3
    torch.testing.assert_close(encoder(mel, int32(valid))[0], quiet, **EXACT)
    assert not torch.allclose(encoder(mel, int32(valid + 1))[0], quiet)


def heard(model, valid=93):
    """(mel and mask for the class, cross keys and values padded to FRAMES, their valid length)."""
    frames, n = class_frames(model, valid)
    key, value = CrossKeysValues(model)(torch.nn.functional.pad(frames, (0, 0, 0, FRAMES - n)))
    return key, value, int32(n)


def class_outputs(model, tokens, valid=93):
    mask = torch.arange(MEL_FRAMES)[None] < valid
    mel = padded_mel(model, valid)
    return model(mel, attention_mask=mask, decoder_input_ids=torch.tensor([tokens]), use_cache=True)


def test_cross_keys_and_values_equal_the_cache_of_the_class(model):
    key, value, n = heard(model)
    cache = class_outputs(model, TOKENS).past_key_values.cross_attention_cache
    assert key.shape[0] == len(cache.layers) == model.config.num_hidden_layers
    for i, layer in enumerate(cache.layers):
        torch.testing.assert_close(key[i, :, :n], layer.keys[0, :, :n], **CLOSE)
        torch.testing.assert_close(value[i, :, :n], layer.values[0, :, :n], **CLOSE)


def prefilled(model, head="raw", cross=None):
    prefill = Prefill(Decoder(model, head), CACHE, FRAMES, PROMPT).eval()
    return prefill(int32(*TOKENS[:PROMPT])[None], *(cross or heard(model)))


def self_mask(position):
    mask = torch.full((1, 1, 1, CACHE), -1e4)
    mask[..., : position + 1] = 0
    return mask


def external(model, head="raw", cross=None):
    """Logits [U, V] behind the prompt and each token after it, and the cache."""
    cross = cross or heard(model)
    logits, key, value = prefilled(model, head, cross)
    step, rows = ExternalStep(Decoder(model, head), CACHE, FRAMES).eval(), [logits]
    for position in range(PROMPT, len(TOKENS)):
        token = int32(TOKENS[position])[None]
        logits, key, value = step(token, int32(position), self_mask(position), key, value, *cross)
        rows.append(logits)
    return torch.cat(rows), key, value


def stateful(model, head="raw", cross=None):
    cross = cross or heard(model)
    logits, key, value = prefilled(model, head, cross)
    step, rows = StatefulStep(Decoder(model, head), CACHE, FRAMES).eval(), [logits]
    step.key_cache.copy_(key)
    step.value_cache.copy_(value)
    for position in range(PROMPT, len(TOKENS)):
        rows.append(step(int32(TOKENS[position])[None], int32(position), *cross))
    return torch.cat(rows), step.key_cache, step.value_cache


def stateless(model, head="raw", cross=None):
    cross, step = cross or heard(model), Stateless(Decoder(model, head), CACHE, FRAMES).eval()
    rows = []
    for last in range(PROMPT - 1, len(TOKENS)):
        tokens = TOKENS[: last + 1] + [99] * (CACHE - last - 1)  # any id behind the last
        rows.append(step(int32(*tokens)[None], int32(last), *cross))
    return (torch.cat(rows),)


FORMS = [external, stateful, stateless]


@pytest.mark.parametrize("form", FORMS)
def test_logits_equal_the_class(model, form):
    expected = class_outputs(model, TOKENS).logits[0, PROMPT - 1 :]
    torch.testing.assert_close(form(model)[0], expected, **CLOSE)


@pytest.mark.parametrize("form", [external, stateful])
def test_the_cache_is_the_classs_and_zero_behind(model, form):
    _, key, value = form(model)
    cache = class_outputs(model, TOKENS).past_key_values.self_attention_cache
    for i, layer in enumerate(cache.layers):
        torch.testing.assert_close(key[i, :, : len(TOKENS)], layer.keys[0], **CLOSE)
        torch.testing.assert_close(value[i, :, : len(TOKENS)], layer.values[0], **CLOSE)
    assert not key[:, :, len(TOKENS) :].any()
    assert not value[:, :, len(TOKENS) :].any()


@pytest.mark.parametrize("form", FORMS)
def test_log_softmax_head(model, form):
    expected = class_outputs(model, TOKENS).logits[0, PROMPT - 1 :].log_softmax(-1)
    torch.testing.assert_close(form(model, "log-softmax")[0], expected, **CLOSE)


@pytest.mark.parametrize("form", FORMS)
def test_frames_behind_the_length_cannot_act_and_the_length_does(model, form):
    key, value, n = heard(model)
    quiet = form(model, cross=(key, value, n))[0]
    key[:, :, n:], value[:, :, n:] = 30.0, 30.0
    torch.testing.assert_close(form(model, cross=(key, value, n))[0], quiet, **EXACT)
    assert not torch.allclose(form(model, cross=(key, value, n + 1))[0], quiet, atol=1e-2)


@pytest.mark.parametrize("length", [1, FRAMES])
@pytest.mark.parametrize("form", FORMS)
def test_one_frame_and_a_full_window(model, form, length):
    valid = 8 * length if length == 1 else MEL_FRAMES
    frames, n = class_frames(model, valid)
    cross = CrossKeysValues(model)(torch.nn.functional.pad(frames, (0, 0, 0, FRAMES - n)))
    expected = class_outputs(model, TOKENS, valid).logits[0, PROMPT - 1 :]
    torch.testing.assert_close(form(model, cross=(*cross, int32(n)))[0], expected, **CLOSE)


def test_stale_rows_of_a_cache_cannot_act(model):
    """What an earlier, longer utterance left behind the position."""
    cross = heard(model)
    _, key, value = prefilled(model, cross=cross)
    token, position = int32(TOKENS[PROMPT])[None], int32(PROMPT)
    step = ExternalStep(Decoder(model, "raw"), CACHE, FRAMES).eval()
    quiet = step(token, position, self_mask(PROMPT), key, value, *cross)[0]
    key[:, :, PROMPT:], value[:, :, PROMPT:] = 30.0, 30.0
    torch.testing.assert_close(step(token, position, self_mask(PROMPT), key, value, *cross)[0], quiet, **EXACT)
    keeping = StatefulStep(Decoder(model, "raw"), CACHE, FRAMES).eval()
    keeping.key_cache.copy_(key)
    keeping.value_cache.copy_(value)
    torch.testing.assert_close(keeping(token, position, *cross), quiet, **CLOSE)
