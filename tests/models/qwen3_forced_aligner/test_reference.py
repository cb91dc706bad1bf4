"""The reference against the class itself, and what it calls for the packages stage."""

import numpy as np
import pytest

from models.qwen3_forced_aligner.parity.exercise import decision_logits, encoder_forms, exercise
from models.qwen3_forced_aligner.parity.reference import Reference
from parity.ladder.subject import Clip
from tests.models.qwen3_forced_aligner.host import TEXT, clip, host_bundle, planned, sentence, stock
from tests.models.qwen3_forced_aligner.tiny import CONFIGS
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.recording import RecordingRuntime


@pytest.mark.parametrize("name", CONFIGS)
def test_a_run_is_what_the_class_says_and_its_inner_tensors_belong_together(checkpoints, name):
    reference = Reference(checkpoints[name])
    run, expected = reference.run(clip(4.5), TEXT), stock(checkpoints[name], clip(4.5), TEXT)
    np.testing.assert_allclose(run.logits, expected.logits, rtol=0, atol=1e-3)
    assert [(w.text, w.start_s, w.end_s) for w in run.words] == expected.words
    assert len(run.frames) == len(run.audio) == (run.ids == reference.config.audio_token_id).sum() == 4 * 13 + 7
    assert (run.length, run.mel.shape[1]) == (450, 500)
    np.testing.assert_array_equal(run.embeddings[run.ids == reference.config.audio_token_id], run.audio)
    assert len(run.markers) == len(run.logits) == 2 * len(run.words)


def test_runs_in_float32_with_plain_attention(small):
    model = Reference(small).model
    assert model.config._attn_implementation == "eager"
    assert model.config.audio_config._attn_implementation == "eager"
    assert str(model.dtype) == "torch.float32"
    assert not model.training


def test_full_attention_is_one_window(small):
    tower = Reference(small, full_attention=True).model.model.audio_tower
    assert tower.n_window_infer > 100 * 3600
    assert tower.n_window_infer % 100 == 0


@pytest.fixture(scope="module")
def recorded(small, tmp_path_factory):
    plan = planned(small, audio_seconds="2,4,8", sequence_lengths="128,256", encoder="both")
    runtime = RecordingRuntime(EagerRuntime(plan))
    clips = [Clip("a", clip(3.3), sentence(7)), Clip("b", clip(1.2), sentence(2))]
    exercise(plan, host_bundle(tmp_path_factory.mktemp("exercise"), plan), runtime, clips)
    return plan, runtime.calls


def test_exercise_calls_every_function_of_every_component(recorded):
    plan, calls = recorded
    assert encoder_forms(plan) == ("split", "monolithic")
    wanted = {(c.name, f.name) for c in plan.components for f in c.functions}
    assert {(c.component, c.function) for c in calls} == wanted


def test_exercise_fills_each_audio_length_and_pads_it(recorded):
    plan, calls = recorded
    for function in plan.component("audio_transformer").functions:
        frames = function.inputs[0].shape[1]
        lengths = {int(c.inputs["length"][0]) for c in calls if c.function == function.name}
        assert max(lengths) == frames > min(lengths)


def test_exercise_fills_each_prompt(recorded):
    plan, calls = recorded
    for function in plan.component("decoder_prefill").functions:
        of_it = [
            c.inputs["embeddings"] for c in calls if (c.component, c.function) == ("decoder_prefill", function.name)
        ]
        assert all(rows.any(axis=2).all() for rows in of_it)


def test_decision_logits_are_those_of_the_decision(recorded):
    plan, calls = recorded
    eager = EagerRuntime(plan)
    assert {c.component for c in calls if decision_logits(c, eager)} == {"head"}
    for call in calls:
        for logits in decision_logits(call, eager).values():
            np.testing.assert_array_equal(logits.argmax(-1), call.outputs["time_class"])


@pytest.mark.parametrize("tokens", ["32", "32,64,256"])
def test_exercise_calls_prompts_that_are_shorter_than_every_clip(small, tmp_path, tokens):
    plan = planned(small, audio_seconds="2", sequence_lengths=tokens)
    runtime = RecordingRuntime(EagerRuntime(plan))
    exercise(plan, host_bundle(tmp_path, plan), runtime, [Clip("a", clip(7.5), sentence(20))])
    wanted = {(c.name, f.name) for c in plan.components for f in c.functions}
    assert {(c.component, c.function) for c in runtime.calls} == wanted
