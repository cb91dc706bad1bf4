"""The host side on the wrappers against the class and its processor: the same classes and times at every length."""

import numpy as np
import pytest

from models.qwen3_forced_aligner.long_audio import Heard
from models.qwen3_forced_aligner.pipeline import MarkerOutputs, Pipeline
from tests.gates import FLOAT32_SUMS
from tests.models.qwen3_forced_aligner.host import RATE, TEXT, clip, host_bundle, opened, planned, sentence, stock
from tests.models.qwen3_forced_aligner.tiny import CONFIGS
from toolkit.errors import AudioError, BundleError, ToolkitError
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.recording import RecordingRuntime
from toolkit.text.given_words import words_as_given

# Float32 on both sides; logits of the tiny models reach 25. Measured: up to 2e-4.
CLOSE = {"rtol": 0, "atol": 1e-3}
# Under a chunk of a second, at its edges, whole chunks and windows, over the longest encoder.
SECONDS = (0.3, 0.99, 1.0, 1.01, 2.0, 7.99, 8.0, 8.01, 30.0)


def assert_equal_to_the_class(pipeline, checkpoint, audio, text, language=None):
    expected = stock(checkpoint, audio, text, language)
    words = pipeline.words(text, language, len(audio) / RATE)
    outputs = pipeline.marker_outputs(audio, words)
    np.testing.assert_allclose(outputs.logits, expected.logits, **CLOSE)
    np.testing.assert_array_equal(outputs.time_class, expected.logits.argmax(1))
    transcript, end_s = pipeline.align(audio, text, language), len(audio) / RATE
    timed = pipeline.words_with_times(words, outputs)
    assert [(w.text, w.start_s, w.end_s) for w in timed] == expected.words
    given = words_as_given(text, words)
    cut = [
        (part, min(start, end_s), min(end, end_s)) for part, (_, start, end) in zip(given, expected.words, strict=True)
    ]
    assert [(w.text, w.start_s, w.end_s) for w in transcript.words] == cut
    assert (transcript.text, transcript.language, transcript.tokens) == (text.strip(), language, ())
    assert transcript.duration_s == len(audio) / RATE
    return outputs


@pytest.fixture(scope="module")
def pipelines(checkpoints, tmp_path_factory):
    """Name of a config -> pipeline on the wrappers."""
    folder = tmp_path_factory.mktemp("bundles")
    return {name: opened(folder / name, planned(checkpoint)) for name, checkpoint in checkpoints.items()}


@pytest.mark.parametrize("name", CONFIGS)
def test_classes_and_times_equal_the_class_for_every_config(pipelines, checkpoints, name):
    pipeline = pipelines[name]
    audio = clip(min(5.3, pipeline.longest_s - 0.02))
    text = TEXT if len(audio) > 2 * RATE else sentence(8)
    outputs = assert_equal_to_the_class(pipeline, checkpoints[name], audio, text)
    assert len(set(outputs.time_class.tolist())) > 2, "a model that says one time for all words shows nothing"


@pytest.mark.parametrize("seconds", SECONDS)
def test_audio_of_any_length(long_classes, tmp_path, seconds):
    pipeline = opened(tmp_path, planned(long_classes))
    text = sentence(max(1, min(3 * int(seconds + 0.7), 40)))
    assert_equal_to_the_class(pipeline, long_classes, clip(seconds), text)


@pytest.mark.slow
def test_five_minutes(long_classes, tmp_path):
    plan = planned(long_classes, audio_seconds="8,304", sequence_lengths="1024,8192")
    runtime = RecordingRuntime(EagerRuntime(plan))
    pipeline, text = opened(tmp_path, plan, runtime), sentence(60)
    expected = stock(long_classes, clip(300), text, attn_implementation="sdpa")
    outputs = pipeline.marker_outputs(clip(300), pipeline.words(text, None, 300.0))
    np.testing.assert_allclose(outputs.logits, expected.logits, **CLOSE)
    np.testing.assert_array_equal(outputs.time_class, expected.logits.argmax(1))
    functions = {(c.component, c.function) for c in runtime.calls}
    assert {("audio_transformer", "audio_304s"), ("decoder_prefill", "tokens_8192")} <= functions


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("天地玄黄\uff0c宇宙洪荒。", "Chinese"),
        ("L'été — c'est «là»!", "French"),
        ("  one\n\ttwo  ", "English"),
        ("3.14", None),
    ],
)
def test_words_of_other_languages(pipelines, checkpoints, text, language):
    assert_equal_to_the_class(pipelines["small"], checkpoints["small"], clip(2.5), text, language)


def test_a_language_by_its_code(pipelines):
    assert pipelines["small"].align(clip(2), "天地", "zh").language == "Chinese"
    with pytest.raises(ToolkitError, match=r"language 'xx' is not supported.*zh \(Chinese\)"):
        pipelines["small"].align(clip(2), "one", "xx")


def test_more_words_than_one_call_of_the_head_takes(pipelines, checkpoints):
    pipeline, text = pipelines["small"], sentence(100)
    assert pipeline.host.head_positions < 200
    assert_equal_to_the_class(pipeline, checkpoints["small"], clip(9.9), text)


def with_lengths(checkpoint, folder, **lengths):
    return opened(folder, planned(checkpoint, **lengths))


def test_every_audio_length_gives_the_same(small, tmp_path):
    """4.5 s in one call with padding, in one call that fits more tightly, and in several."""
    audio, text = clip(4.5), sentence(20)
    expected = stock(small, audio, text)
    for seconds in ("2", "4", "6", "8", "30"):
        pipeline = with_lengths(small, tmp_path, audio_seconds=seconds)
        outputs = pipeline.marker_outputs(audio, pipeline.words(text, None, 4.5))
        np.testing.assert_allclose(outputs.logits, expected.logits, **CLOSE)
        np.testing.assert_array_equal(outputs.time_class, expected.logits.argmax(1))


def test_every_sequence_length_gives_the_same(small, tmp_path):
    audio, text = clip(4.5), sentence(20)
    expected = stock(small, audio, text)
    for tokens in (192, 256, 1024, 2048):
        pipeline = with_lengths(small, tmp_path, sequence_lengths=str(tokens))
        outputs = pipeline.marker_outputs(audio, pipeline.words(text, None, 4.5))
        np.testing.assert_allclose(outputs.logits, expected.logits, **CLOSE)
        np.testing.assert_array_equal(outputs.time_class, expected.logits.argmax(1))


def test_the_smallest_length_that_fits_is_taken(small, tmp_path):
    runtime = RecordingRuntime(EagerRuntime(plan := planned(small)))
    pipeline = opened(tmp_path, plan, runtime)
    for seconds, words in ((1.5, 3), (3.9, 12), (9.0, 90)):
        pipeline.align(clip(seconds), sentence(words))
    taken = [c.function for c in runtime.calls if c.component == "audio_transformer"]
    assert taken == ["audio_2s", "audio_4s", "audio_8s", "audio_8s"]
    taken = [c.function for c in runtime.calls if c.component == "decoder_prefill"]
    assert taken == ["tokens_128", "tokens_256", "tokens_1024"]


def test_rows_behind_the_prompt_cannot_act(pipelines):
    pipeline = pipelines["small"]
    mel, length = pipeline.features(clip(3))
    frames = pipeline.encode(mel, length)
    prompt = pipeline.prompt(pipeline.words(sentence(9), None, 3.0), len(frames))
    quiet = pipeline.embed(prompt, frames)
    loud = quiet.copy()
    loud[len(prompt.ids) :] = 1e3
    assert len(loud) > len(prompt.ids)
    ours, others = (pipeline.prefill(rows)[: len(prompt.ids)] for rows in (quiet, loud))
    np.testing.assert_array_equal(ours, others)


@pytest.mark.parametrize("form", ["split", "monolithic"])
def test_mel_behind_the_audio_cannot_act(small, tmp_path, form):
    """The whole chunks behind the last valid one; the last one's own padding is zero, as the class has it."""
    pipeline = opened(tmp_path, planned(small, encoder="both"), encoder=form)
    mel, length = pipeline.features(clip(2.5))
    loud = np.concatenate([mel, np.full((len(mel), 100), 30.0, np.float32)], axis=1)
    np.testing.assert_array_equal(pipeline.encode(loud, length), pipeline.encode(mel, length))
    assert len(pipeline.encode(mel, length)) == 26 + 7


def test_monolithic_equals_split_where_windows_do_not_see_each_other(checkpoints, tmp_path):
    for name, checkpoint in checkpoints.items():
        plan = planned(checkpoint, encoder="both")
        split, whole = (opened(tmp_path, plan, encoder=form) for form in ("split", "monolithic"))
        mel, length = split.features(clip(9.3))
        np.testing.assert_allclose(split.encode(mel, length), whole.encode(mel, length), **FLOAT32_SUMS, err_msg=name)


def test_auto_takes_split_before_monolithic(small, tmp_path):
    for encoder, form in (("split", "split"), ("monolithic", "monolithic"), ("both", "split")):
        assert opened(tmp_path, planned(small, encoder=encoder)).encoder_form == form
    with pytest.raises(BundleError, match=r"audio encoder \(monolithic\).*Rebuild"):
        opened(tmp_path, planned(small), encoder="monolithic")


def test_progress_counts_calls_of_the_encoder(small, tmp_path):
    for encoder, calls in (("split", 10 + 2), ("monolithic", 5)):
        seen = []
        pipeline = opened(tmp_path, planned(small, encoder=encoder))
        pipeline.align(clip(9.5), "one", progress=lambda done, of, seen=seen: seen.append((done, of)))
        assert seen == [(k + 1, calls) for k in range(calls)]


def test_load_leaves_nothing_for_align(small, tmp_path):
    class Counting(EagerRuntime):
        def load(self, component, function="main"):
            loaded.add((component, function))
            return super().load(component, function)

    loaded = set()
    pipeline = opened(tmp_path, plan := planned(small), Counting(plan))
    pipeline.load(3 * RATE)
    before = set(loaded)
    pipeline.align(clip(3), sentence(5))
    assert loaded == before
    assert len(before) == len(plan.components), "no other length than the one needed"


def test_load_of_audio_that_no_prompt_holds_twice_leaves_the_refusal_to_align(small, tmp_path):
    opened(tmp_path, planned(small, sequence_lengths="32")).load(3 * RATE)


def test_confidence_is_the_mean_of_both_markers(pipelines):
    outputs = MarkerOutputs(
        np.array([3, 5, 4, 9], np.int32), np.array([0.5, 0.7, 0.2, 0.4], np.float32), np.zeros((4, 2))
    )
    first, second = pipelines["small"].words_with_times(["a", "b"], outputs)
    assert (first.confidence, second.confidence) == pytest.approx((0.6, 0.3))
    assert (first.start_s, first.end_s, second.start_s, second.end_s) == (0.24, 0.4, 0.4, 0.72)


def test_words_are_written_as_they_are_given(pipelines):
    text = "Go-forward, \u201cten\u201d meters: 3.5% off \u2014 don\u2019t! a.b@c.de caf\N{LATIN SMALL LETTER E}\u0301"
    transcript = pipelines["small"].align(clip(3), text)
    assert " ".join(word.text for word in transcript.words) == transcript.text == text


def test_words_behind_the_end_are_cut_there_with_a_note(pipelines, monkeypatch):
    """Classes of 80 ms: 2.00 to 2.40 s, 2.40 to 2.48 s and 4.00 to 4.08 s, in 2.42 s of audio."""
    outputs = MarkerOutputs(np.array([25, 30, 30, 31, 50, 51]), np.ones(6, np.float32), np.zeros((6, 2)))
    monkeypatch.setattr(pipelines["small"], "marker_outputs", lambda *arguments: outputs)
    transcript = pipelines["small"].align(clip(2.42), "one two three.")
    assert [(w.start_s, w.end_s) for w in transcript.words] == [(2.0, 2.4), (2.4, 2.42), (2.42, 2.42)]
    (note,) = transcript.notes
    assert "1 of 3 words were placed behind the end of the audio" in note
    assert "'three.'" in note
    assert not pipelines["small"].align(clip(4.1), "one two three.").notes


def refused(error, function, *arguments, **options):
    with pytest.raises(error) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert caught.value.next_step
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("", "the text is empty"), ("  \n", "the text is empty"), ("?! …", "nothing but punctuation")],
)
def test_a_text_without_words_is_refused(pipelines, text, complaint):
    assert complaint in refused(ToolkitError, pipelines["small"].align, clip(2), text)


def test_more_words_than_can_be_said_are_refused(pipelines):
    message = refused(ToolkitError, pipelines["small"].align, clip(2), sentence(26))
    assert "26 words do not fit 2.0 s" in message
    pipelines["small"].align(clip(2), sentence(25))
    pipelines["small"].align(clip(0.05), "one")


def test_a_prompt_longer_than_the_longest_sequence_is_refused_before_any_work(small, tmp_path):
    runtime = RecordingRuntime(EagerRuntime(plan := planned(small, sequence_lengths="48")))
    message = refused(ToolkitError, opened(tmp_path, plan, runtime).align, clip(4), sentence(6))
    assert "room for 48" in message
    assert "--sequence-lengths" in message
    assert not runtime.calls


def windows_of(pipeline, monkeypatch, seconds):
    """Lengths in seconds of the windows that audio is heard in; nothing is where audio is aligned in one pass."""
    heard = []

    def hear(audio, words):
        heard.append(len(audio) / RATE)
        times = np.arange(2 * len(words)).reshape(-1, 2) * 100.0
        return Heard(times, np.ones(len(words)))

    monkeypatch.setattr(pipeline, "hear", hear)
    pipeline.align(clip(seconds), "one")
    return heard


def test_audio_beyond_the_last_class_is_aligned_in_windows(pipelines, monkeypatch):
    pipeline = pipelines["small"]
    assert (pipeline.longest_s, pipeline.window_s) == (10.0, 4.5)
    assert windows_of(pipeline, monkeypatch, 10.0) == []
    assert windows_of(pipeline, monkeypatch, 10.01)[0] == 4.5


def test_full_attention_aligns_audio_over_its_longest_encoder_in_windows(small, tmp_path, monkeypatch):
    plan = planned(small, audio_seconds="3,5", audio_attention="full", encoder="both")
    pipeline = opened(tmp_path, plan)
    assert (pipeline.longest_s, pipeline.window_s) == (5.0, 2.25)
    assert windows_of(pipeline, monkeypatch, 5.0) == []
    assert windows_of(pipeline, monkeypatch, 5.01)[0] == 2.25
    assert opened(tmp_path, plan, encoder="monolithic").longest_s == 10.0


def test_samples_that_are_no_numbers_are_refused(pipelines):
    audio = clip(1).copy()
    audio[7] = np.nan
    assert "1 NaN" in refused(AudioError, pipelines["small"].align, audio, "one")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"surprise": 1}, "host.surprise"), ({"bin_ms": 0}, "host.bin_ms"), ({"sequences": []}, "host.sequences")],
)
def test_host_constants_that_the_schema_does_not_know_are_refused(small, tmp_path, change, complaint):
    plan = planned(small)
    with pytest.raises(BundleError, match=complaint):
        Pipeline(host_bundle(tmp_path, plan, change), EagerRuntime(plan))
