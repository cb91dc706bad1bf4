"""An utterance's caches are its own: nothing of another one, before or beside it, and nothing of padding, gets in."""

import numpy as np
import pytest

from models.cohere_transcribe import MODEL
from models.cohere_transcribe.pipeline import EncodedAudio, Pipeline
from tests.models.audio import clip
from tests.models.cohere_transcribe.host import FORMS, forced_logits
from toolkit.export.checkpoint import plan_of_bundle
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.portable import PortableRuntime


@pytest.fixture(scope="module")
def runtimes(converted):
    return {"eager": EagerRuntime(plan_of_bundle(converted, MODEL)), "portable": PortableRuntime(converted.locate)}


@pytest.fixture(params=["eager", "portable"])
def runtime(request, runtimes):
    return runtimes[request.param]


@pytest.fixture(params=FORMS)
def pipeline(request, runtime, converted):
    return Pipeline(converted, runtime, decoder=request.param, max_tokens=6)


def encoded(pipeline, seconds):
    return pipeline.encode(*pipeline.features(clip(seconds)))


def test_two_utterances_step_by_step_are_each_what_it_is_alone(pipeline):
    pieces = [encoded(pipeline, seconds) for seconds in (1.7, 3.1)]
    said = [[40, 41, 42, 43, 44], [60, 50, 60, 70, 60]]
    alone = [forced_logits(pipeline, piece, tokens) for piece, tokens in zip(pieces, said, strict=True)]
    decoders = [pipeline.start(piece) for piece in pieces]
    prompt = np.array(pipeline.prompt, np.int32)
    together = [[decoder.prefill(prompt) for decoder in decoders]]
    for tokens in zip(*said, strict=True):
        together.append([decoder.step(token) for decoder, token in zip(decoders, tokens, strict=True)])
    for utterance in (0, 1):
        np.testing.assert_array_equal([pair[utterance] for pair in together[:-1]], alone[utterance])


def test_a_decoder_begins_afresh_with_each_prompt(pipeline):
    piece = encoded(pipeline, 2)
    decoder, prompt = pipeline.start(piece), np.array(pipeline.prompt, np.int32)

    def run():
        logits = [decoder.prefill(prompt)]
        return np.stack(logits + [decoder.step(token) for token in (40, 41, 42)]), decoder.room

    (first, room), (second, same_room) = run(), run()
    np.testing.assert_array_equal(first, second)
    assert room == same_room == pipeline.host.cache_tokens - len(prompt) - 3


def test_a_second_transcript_is_that_of_a_fresh_pipeline(pipeline, converted):
    pipeline.transcribe(clip(3.7))
    again = pipeline.transcribe(clip(2))
    fresh = Pipeline(converted, pipeline.runtime, decoder=pipeline.decoder_form, max_tokens=6)
    assert again == fresh.transcribe(clip(2))


def test_steps_change_the_state_and_nothing_else_does(pipeline):
    """What was said acts: another token before changes the logits after."""
    piece = encoded(pipeline, 2)
    first, second = (forced_logits(pipeline, piece, tokens) for tokens in ([40, 41, 42, 43], [50, 41, 42, 43]))
    np.testing.assert_array_equal(first[0], second[0])
    assert all(np.abs(a - b).max() > 1e-2 for a, b in zip(first[1:], second[1:], strict=True))


def test_frames_behind_the_length_cannot_act_and_the_length_does(pipeline):
    quiet = encoded(pipeline, 2)
    length = quiet.encoder_length.item()
    loud = {name: getattr(quiet, name).copy() for name in ("cross_key", "cross_value")}
    for values in loud.values():
        values[:, :, length:] = 30.0
    tokens = [40, 41, 42]
    expected = forced_logits(pipeline, quiet, tokens)
    longer = quiet.encoder_length + 1
    changed = EncodedAudio(quiet.encoder, quiet.encoder_length, **loud)
    np.testing.assert_array_equal(forced_logits(pipeline, changed, tokens), expected)
    seen = forced_logits(pipeline, EncodedAudio(quiet.encoder, longer, **loud), tokens)
    assert all(np.abs(seen - expected).max(axis=1) > 1e-2)
