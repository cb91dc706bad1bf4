"""The host's side of the cached forms, on the components that a decoder of no model's architecture declares."""

from functools import partial

import numpy as np
import pytest

from tests.wrappers.toy_decoder import CACHE, FRAMES, PROMPT, VOCABULARY, ToyDecoder, heard, whole
from toolkit.errors import ComponentFault
from toolkit.export.cached_decoder import CachedDecoderSpecs, DecoderBuilders, DecoderSizes
from toolkit.loops.cached_decoder import COMPONENTS, DECODERS, StatefulDecoder
from toolkit.runtimes.eager import EagerRuntime
from toolkit.spec import ExportPlan
from wrappers import cached_decoder as wrappers

TOKENS = [1, 16, 3, 8, 8, 0, 2, 11, 5]
# The cache of the stateful form takes the prompt over as float16.
CLOSE = {"stateful": 5e-3, "external": 1e-5, "stateless": 1e-5}


def runtime_with(names=COMPONENTS):
    """Its three components on the eager runtime."""
    builders = DecoderBuilders(
        partial(wrappers.Prefill, ToyDecoder(), CACHE, FRAMES, PROMPT),
        *(
            partial(form, ToyDecoder(), CACHE, FRAMES)
            for form in (wrappers.StatefulStep, wrappers.ExternalStep, wrappers.Stateless)
        ),
    )
    sizes = DecoderSizes(*ToyDecoder().kept, CACHE, FRAMES, PROMPT, VOCABULARY)
    specs = CachedDecoderSpecs(sizes, builders, "raw logits", names)
    return EagerRuntime(ExportPlan(tuple(specs.component(form) for form in COMPONENTS), {}, {}, {}))


@pytest.fixture(scope="module")
def runtime():
    return runtime_with()


def audio(valid):
    names = ("cross_key", "cross_value", "encoder_length")
    return {name: tensor.numpy() for name, tensor in zip(names, heard(valid), strict=True)}


def said(decoder):
    rows = [decoder.prefill(np.array(TOKENS[:PROMPT], np.int32))]
    return np.stack(rows + [decoder.step(token) for token in TOKENS[PROMPT:]])


@pytest.mark.parametrize("valid", [1, 4, FRAMES])
@pytest.mark.parametrize("form", COMPONENTS)
def test_every_form_says_what_one_pass_says(runtime, form, valid):
    ours = said(DECODERS[form](runtime, audio(valid), CACHE))
    np.testing.assert_allclose(ours, whole(TOKENS, valid)[PROMPT - 1 :].numpy(), rtol=0, atol=CLOSE[form])


@pytest.mark.parametrize("form", COMPONENTS)
def test_room_is_what_the_cache_still_takes(runtime, form):
    decoder = DECODERS[form](runtime, audio(FRAMES), CACHE)
    assert decoder.room == CACHE
    decoder.prefill(np.array(TOKENS[:PROMPT], np.int32))
    decoder.step(TOKENS[PROMPT])
    assert decoder.room == CACHE - PROMPT - 1


def test_a_prompt_said_token_by_token_needs_no_prefill(runtime):
    decoder = StatefulDecoder(runtime, audio(4), CACHE)
    decoder.begin()
    rows = np.stack([decoder.step(token) for token in TOKENS])
    np.testing.assert_allclose(rows, whole(TOKENS, 4).numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", COMPONENTS)
def test_a_model_may_name_its_components(form):
    names = {form: f"text_{form}" for form in COMPONENTS}
    runtime = runtime_with(names)
    ours = said(DECODERS[form](runtime, audio(4), CACHE, names))
    np.testing.assert_allclose(ours, whole(TOKENS, 4)[PROMPT - 1 :].numpy(), rtol=0, atol=CLOSE[form])


def test_a_prompt_of_another_length_is_refused(runtime):
    decoder = DECODERS["external"](runtime, audio(4), CACHE)
    with pytest.raises(ComponentFault, match="'tokens' is int32"):
        decoder.prefill(np.array(TOKENS[: PROMPT + 1], np.int32))
