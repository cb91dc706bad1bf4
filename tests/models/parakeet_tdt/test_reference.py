import numpy as np
import pytest
import torch

from models.parakeet_tdt import MODEL
from models.parakeet_tdt.export import plan
from models.parakeet_tdt.parity.exercise import decision_logits, exercise
from models.parakeet_tdt.parity.reference import Reference, _words
from parity.ladder.subject import Clip
from tests.gates import CONFIDENCE, assert_within
from tests.models.parakeet_tdt.host import host_bundle
from tests.models.parakeet_tdt.tiny import CONFIGS, save_tiny_checkpoint
from toolkit.corpora.open import open_corpus
from toolkit.export.checkpoint import resolve_checkpoint
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.recording import RecordingRuntime


@pytest.fixture(scope="module")
def clip():
    return next(open_corpus("demo", 1)).samples(16000)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny_checkpoint(folder)
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_inner_tensors_reproduce_the_path_that_generate_took(tmp_path, clip, name):
    model = save_tiny_checkpoint(tmp_path, **CONFIGS[name])
    run = Reference(tmp_path).run(clip)
    blank = model.config.blank_token_id
    assert len(run.tokens) > 10
    np.testing.assert_array_equal(run.token_logits.argmax(1), run.tokens)
    raw = run.duration_logits.argmax(1)
    np.testing.assert_array_equal(np.where((run.tokens == blank) & (raw == 0), 1, raw), run.durations)
    assert run.frames.shape == (
        -(-run.length // model.config.encoder_config.subsampling_factor),
        run.predictions.shape[1],
    )
    assert run.positions.max() < len(run.frames)


def test_a_duration_logit_is_never_taken_for_a_token(tmp_path, clip):
    model = save_tiny_checkpoint(tmp_path)
    vocabulary = model.config.vocab_size
    with torch.no_grad():
        model.joint.head.bias[vocabulary + 1] += 1000
    model.save_pretrained(tmp_path)
    run = Reference(tmp_path).run(clip)
    assert run.tokens.max() < vocabulary
    assert set(run.durations) == {1}
    np.testing.assert_array_equal(run.token_logits.argmax(1), run.tokens)


def test_runs_in_float32_with_plain_attention(tiny):
    model = Reference(tiny).model
    assert model.config.encoder_config._attn_implementation == "eager"
    assert model.dtype == torch.float32
    assert not model.training


def test_first_prediction_is_that_of_the_blank(tiny, clip):
    reference = Reference(tiny)
    run = reference.run(clip)
    assert run.spoken[0] == reference.config.blank_token_id
    assert run.fed[0] == 0
    np.testing.assert_array_equal(run.spoken[1:], run.tokens[run.tokens != reference.config.blank_token_id])


@pytest.mark.parametrize("most", [10, 3])
def test_the_longest_run_is_the_classes_own(tmp_path, most):
    model = save_tiny_checkpoint(tmp_path)
    model.config.max_symbols_per_step = most
    model.save_pretrained(tmp_path)
    assert [Reference(tmp_path).max_length(frames) for frames in (401, 400, 8, 1)] == [51 * most, 50 * most, most, most]


def test_confidence_is_the_mean_probability_of_a_words_tokens():
    reference = Reference(resolve_checkpoint(MODEL, "demo").folder)
    run = reference.run(next(open_corpus("demo", 1)).samples(16000))
    best = torch.from_numpy(run.token_logits).double().softmax(-1).amax(-1)
    pieces = reference.processor.tokenizer.convert_ids_to_tokens(run.tokens.tolist())
    groups = []
    for piece, token, probability in zip(pieces, run.tokens, best.tolist(), strict=True):
        if token != reference.config.blank_token_id:
            groups += [[]] if piece.startswith("\u2581") else []
            groups[-1].append(probability)
    means = [sum(group) / len(group) for group in groups]
    assert_within(CONFIDENCE, [word.confidence for word in run.words], means)
    assert max(map(len, groups)) > 1


def test_words_begin_at_a_space():
    tokens = [
        {"token": "t", "start": 0.0, "end": 0.1},
        {"token": "en", "start": 0.1, "end": 0.2},
        {"token": " of", "start": 0.4, "end": 0.5},
        {"token": ".", "start": 0.5, "end": 0.5},
    ]
    assert [(w.text, w.start_s, w.end_s) for w in _words(tokens)] == [("ten", 0.0, 0.2), ("of.", 0.4, 0.5)]
    assert _words([]) == ()


@pytest.fixture(scope="module")
def recorded(tiny, clip, tmp_path_factory):
    tiny_plan = plan(tiny, {"audio_seconds": "1,4"})
    bundle = host_bundle(tmp_path_factory.mktemp("bundle"), tiny_plan.host, components=())
    runtime = RecordingRuntime(EagerRuntime(tiny_plan))
    exercise(tiny_plan, bundle, runtime, [Clip("clip", clip, "")])
    return tiny_plan, runtime.calls


def test_exercise_calls_every_function_of_every_component(recorded):
    tiny_plan, calls = recorded
    wanted = {(c.name, f.name) for c in tiny_plan.components for f in c.functions}
    assert {(c.component, c.function) for c in calls} == wanted


def test_exercise_fills_each_window_and_pads_it(recorded):
    tiny_plan, calls = recorded
    for function in tiny_plan.component("encoder").functions:
        lengths = {int(c.inputs["length"][0]) for c in calls if c.function == function.name}
        assert max(lengths) == function.inputs[0].shape[1]
    assert min(int(c.inputs["length"][0]) for c in calls if c.function == "audio_4s") < 401


def test_decision_logits_are_those_of_the_decision(recorded):
    tiny_plan, calls = recorded
    eager = EagerRuntime(tiny_plan)
    seen = set()
    for call in calls:
        logits = decision_logits(call, eager)
        if logits:
            seen.add(call.component)
            assert logits["token_id"].argmax() == call.outputs["token_id"].item()
            assert logits["duration"].argmax() == call.outputs["duration"].item()
    assert seen == {"joint_decision", "decoder_step"}
