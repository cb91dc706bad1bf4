"""The reference against the class itself, and what it calls for the packages stage."""

import json
import shutil

import numpy as np
import pytest

from models.cohere_transcribe import MODEL
from models.cohere_transcribe.parity import PARITY
from models.cohere_transcribe.parity.exercise import STEPS_EXERCISED, decoder_forms, exercise
from models.cohere_transcribe.parity.reference import Reference
from parity.ladder.subject import Clip
from tests.models.audio import clip
from tests.models.bundles import host_bundle
from tests.models.cohere_transcribe.host import CACHE, FORMS, PROMPT, planned, stock
from tests.models.cohere_transcribe.tiny import CONFIGS
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.recording import RecordingRuntime

TOKENS = CACHE - PROMPT + 1


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_is_what_the_class_says_and_its_inner_tensors_belong_together(checkpoints, name):
    run, expected = Reference(checkpoints[name], CACHE).run(clip(2.9)), stock(checkpoints[name], clip(2.9))
    (piece,), (logits,) = run.pieces, expected.logits
    assert piece.tokens.tolist() == expected.tokens[0]
    np.testing.assert_allclose(piece.logits, logits, rtol=0, atol=1e-3)
    assert run.text == expected.text
    assert len(piece.tokens) == TOKENS
    assert (piece.length, len(piece.frames)) == (290, 37)
    assert piece.cross_key.shape == piece.cross_value.shape
    assert piece.cross_key.shape[2] == 37
    assert not piece.mel[piece.length :].any()


def test_teacher_forced_logits_are_those_of_the_free_run(small):
    reference = Reference(small, CACHE)
    (piece,) = reference.run(clip(2)).pieces
    np.testing.assert_allclose(reference.logits(piece, piece.tokens), piece.logits, rtol=0, atol=1e-3)


def test_long_audio_in_pieces(small):
    run, expected = (
        Reference(small, CACHE).run(clip(40), "zh", punctuation=False),
        stock(small, clip(40), "zh", punctuation=False),
    )
    assert [p.tokens.tolist() for p in run.pieces] == expected.tokens
    assert [p.length for p in run.pieces] == expected.lengths
    assert run.text == expected.text


def test_runs_in_float32_with_plain_attention_and_without_noise(small):
    reference = Reference(small, CACHE)
    assert reference.config._attn_implementation == "eager"
    assert str(reference.model.dtype) == "torch.float32"
    assert not reference.model.training
    assert reference.processor.feature_extractor.dither == 0


def test_the_mel_with_dither_alone_has_the_checkpoints(checkpoints, tmp_path):
    shutil.copytree(checkpoints["small"], tmp_path, dirs_exist_ok=True)
    file = tmp_path / "processor_config.json"
    config = json.loads(file.read_text())
    config["feature_extractor"]["dither"] = 1e-3
    file.write_text(json.dumps(config))
    noisy, without = Reference(tmp_path, CACHE), Reference(checkpoints["small"], CACHE)
    (piece,), (plain,) = noisy.run(clip(2)).pieces, without.run(clip(2)).pieces
    np.testing.assert_array_equal(piece.mel, plain.mel)
    np.testing.assert_array_equal(without.dithered_mel(clip(2)), plain.mel[: plain.length])
    assert np.abs(noisy.dithered_mel(clip(2)) - plain.mel[: plain.length]).max() > 0.01


@pytest.fixture(scope="module")
def recorded(small, tmp_path_factory):
    plan = planned(small, audio_seconds="2,5")
    runtime = RecordingRuntime(EagerRuntime(plan))
    clips = [Clip("a", clip(3.3), ""), Clip("b", clip(1.2), "")]
    exercise(plan, host_bundle(tmp_path_factory.mktemp("exercise"), MODEL, plan), runtime, clips)
    return plan, runtime.calls


def test_exercise_calls_every_function_of_every_component(recorded):
    plan, calls = recorded
    assert decoder_forms(plan) == FORMS
    wanted = {(c.name, f.name) for c in plan.components for f in c.functions}
    assert {(c.component, c.function) for c in calls} == wanted
    assert PARITY.decision_logits is None


def test_exercise_fills_each_audio_length_and_pads_it(recorded):
    plan, calls = recorded
    for function in plan.component("encoder").functions:
        lengths = {int(c.inputs["length"][0]) for c in calls if c.function == function.name}
        assert max(lengths) == function.inputs[0].shape[1] > min(lengths)


def test_exercise_steps_through_the_cache_in_every_form(recorded):
    _, calls = recorded
    for name, function in (("stateful", "step"), ("external", "step"), ("stateless", "main")):
        found = [c for c in calls if (c.component, c.function) == (f"decoder_{name}", function)]
        places = [int(c.inputs["position" if function == "step" else "last"][0]) for c in found]
        assert max(places) - min(places) >= STEPS_EXERCISED - 1
