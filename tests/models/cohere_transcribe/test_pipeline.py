"""The host side on the wrappers against the class and its processor: the same tokens in every form of the decoder."""

import numpy as np
import pytest
from transformers import AutoProcessor

from models.cohere_transcribe.pipeline import LANGUAGE_NAMES
from tests.gates import float32_sums
from tests.models.audio import RATE, clip
from tests.models.cohere_transcribe import tiny
from tests.models.cohere_transcribe.host import (
    AT_ONCE,
    FORMS,
    LONG_CACHE,
    NEVER,
    PROMPT,
    forced_logits,
    ids,
    opened,
    planned,
    save_with_end,
    stock,
)
from toolkit.component import Component
from toolkit.corpora.open import open_corpus
from toolkit.errors import AudioError, BundleError, CheckpointError, RuntimeFault, ToolkitError
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.recording import RecordingRuntime

# Float32 on both sides; logits of the tiny models reach 30. With states, the prompt's keys and values are rounded to
# float16 once, by 2**-11 of what is around 1; logits are 30 times as large.
FLOAT32 = float32_sums(30)["atol"]
CLOSE = {"stateful": 30 * 2**-11 + FLOAT32, "external": FLOAT32, "stateless": FLOAT32}


@pytest.fixture(scope="module")
def pipelines(checkpoints, tmp_path_factory):
    """(config, form) -> pipeline on the wrappers; the forms of a config share a runtime."""
    folder, made = tmp_path_factory.mktemp("bundles"), {}
    for name, checkpoint in checkpoints.items():
        plan = planned(checkpoint)
        runtime = EagerRuntime(plan)
        made |= {(name, form): opened(folder / name, plan, runtime, decoder=form) for form in FORMS}
    return made


def encoded(pipeline, audio):
    return pipeline.encode(*pipeline.features(audio))


def assert_equal_to_the_class(pipeline, expected, audio):
    """One piece: logits along the class's tokens, then the tokens themselves."""
    (tokens,), (logits,) = expected.tokens, expected.logits
    piece = encoded(pipeline, audio)
    ours = forced_logits(pipeline, piece, tokens)
    np.testing.assert_allclose(ours, logits, rtol=0, atol=CLOSE[pipeline.decoder_form])
    assert ids(pipeline.decode(piece)) == tokens
    transcript = pipeline.transcribe(audio)
    assert transcript.text == expected.text
    return transcript


@pytest.mark.parametrize("name", tiny.CONFIGS)
def test_tokens_equal_generate_in_every_form(pipelines, checkpoints, name):
    audio = clip(3.3)
    expected = stock(checkpoints[name], audio)
    assert len(set(expected.tokens[0])) > 2, "a model that says one thing only shows nothing"
    for form in FORMS:
        assert_equal_to_the_class(pipelines[name, form], expected, audio)


CLIPS = {e.id: e for e in open_corpus("demo", 8, (".", "other")) if len(e.samples(RATE)) < 4 * RATE}


@pytest.mark.parametrize("name", CLIPS)
def test_real_clips(pipelines, small, name):
    audio = CLIPS[name].samples(RATE)
    expected = stock(small, audio)
    for form in FORMS:
        assert_equal_to_the_class(pipelines["small", form], expected, audio)


@pytest.mark.parametrize("form", FORMS)
def test_no_end_fills_the_cache_past_108_tokens(tmp_path, form):
    checkpoint, audio = save_with_end(tmp_path / "checkpoint", NEVER), clip(2)
    pipeline = opened(tmp_path / "bundle", planned(checkpoint, max_tokens=LONG_CACHE), decoder=form)
    decoded = pipeline.decode(encoded(pipeline, audio))
    assert decoded.stop == "cache_full"
    assert len(decoded.choices) == LONG_CACHE - PROMPT + 1
    assert ids(decoded) == stock(checkpoint, audio, tokens=LONG_CACHE).tokens[0][: LONG_CACHE - PROMPT + 1]


@pytest.mark.parametrize("form", FORMS)
def test_the_end_at_once_is_no_text(tmp_path, form):
    checkpoint = save_with_end(tmp_path / "checkpoint", AT_ONCE)
    pipeline = opened(tmp_path / "bundle", planned(checkpoint), decoder=form)
    transcript = pipeline.transcribe(clip(2))
    assert (transcript.text, transcript.tokens, transcript.words) == ("", (), ())
    (segment,) = transcript.segments
    assert (segment.text, segment.stop) == ("", "eos")
    assert segment.eos_margin > 500
    assert stock(checkpoint, clip(2)).text == ""


@pytest.fixture(scope="module")
def ending(small):
    """(step, bias) where the end wins for the first time on this clip: a step in the middle."""
    expected = stock(small, clip(3.3))
    margins = [float(np.delete(row, 2).max() - row[2]) for row in expected.logits[0]]
    lowest = np.minimum.accumulate(margins)
    step = next(k for k in range(5, len(margins)) if margins[k] < lowest[k - 1] - 0.1)
    return step, margins[step] + 0.05


@pytest.mark.parametrize("form", FORMS)
def test_an_end_in_the_middle(ending, tmp_path, form):
    step, bias = ending
    checkpoint = save_with_end(tmp_path / "checkpoint", bias)
    expected = stock(checkpoint, clip(3.3))
    assert len(expected.tokens[0]) == step + 1
    pipeline = opened(tmp_path / "bundle", planned(checkpoint), decoder=form)
    transcript = assert_equal_to_the_class(pipeline, expected, clip(3.3))
    assert transcript.segments[0].stop == "eos"
    assert len(transcript.tokens) <= step
    assert all(0 < token.confidence <= 1 for token in transcript.tokens)


@pytest.mark.parametrize("form", FORMS)
def test_end_bias_ends_there_too(ending, small, tmp_path, form):
    step, bias = ending
    eos = tiny.tiny_tokenizer().eos_token_id
    expected = stock(small, clip(3.3), sequence_bias={(eos,): bias})
    assert len(expected.tokens[0]) == step + 1
    pipeline = opened(tmp_path / "bundle", planned(small), decoder=form, eos_bias=bias)
    assert ids(pipeline.decode(encoded(pipeline, clip(3.3)))) == expected.tokens[0]


@pytest.mark.parametrize(
    ("form", "settings"),
    [
        ("stateful", {"repetition_penalty": 1.3}),
        ("external", {"no_repeat_ngram": 2}),
        ("stateless", {"repetition_penalty": 1.1, "no_repeat_ngram": 3}),
    ],
)
def test_penalties_equal_those_of_generate(pipelines, small, tmp_path, form, settings):
    audio = clip(3.3)
    theirs = {"no_repeat_ngram_size" if k == "no_repeat_ngram" else k: v for k, v in settings.items()}
    expected = stock(small, audio, **theirs).tokens[0]
    assert expected != stock(small, audio).tokens[0]
    pipeline = opened(tmp_path / "bundle", planned(small), decoder=form, **settings)
    assert ids(pipeline.decode(encoded(pipeline, audio))) == expected


@pytest.mark.parametrize("form", FORMS)
def test_most_tokens(small, tmp_path, form):
    pipeline = opened(tmp_path / "bundle", planned(small), decoder=form, max_tokens=7)
    transcript, expected = pipeline.transcribe(clip(2)), stock(small, clip(2), tokens=7)
    assert transcript.segments[0].stop == "max_tokens"
    assert transcript.text == expected.text
    assert ids(pipeline.decode(encoded(pipeline, clip(2)))) == expected.tokens[0]


@pytest.mark.parametrize("seconds", [4.0, 4.01, 7.99, 8.0])
def test_audio_around_the_windows(pipelines, small, seconds):
    expected = stock(small, clip(seconds), tokens=20)
    pipeline = pipelines["small", "external"]
    piece = encoded(pipeline, clip(seconds))
    assert ids(pipeline.decode(piece))[:20] == expected.tokens[0]
    assert piece.encoder_length.item() == -(-expected.lengths[0] // 8)


@pytest.mark.parametrize("extra", range(9))
def test_lengths_around_multiples_of_the_subsampling(pipelines, small, extra):
    """200 mel frames and up to 8 more: 25, then 26 encoder frames."""
    audio = clip((200 + extra) / 100)
    expected = stock(small, audio, tokens=12)
    assert expected.lengths == [200 + extra]
    for form in FORMS:
        piece = encoded(pipelines["small", form], audio)
        assert piece.encoder_length.item() == (25 if extra == 0 else 26)
        np.testing.assert_allclose(
            forced_logits(pipelines["small", form], piece, expected.tokens[0]),
            expected.logits[0],
            rtol=0,
            atol=CLOSE[form],
        )


@pytest.mark.parametrize("form", FORMS)
def test_every_window_gives_the_same_tokens(small, tmp_path, form):
    plan = planned(small, audio_seconds="3,5,22")
    runtime, audio, found = EagerRuntime(plan), clip(2.9), []
    for function in plan.component("encoder").functions:
        recording = RecordingRuntime(runtime)
        pipeline = opened(tmp_path, plan, recording, decoder=form, encoder_function=function.name)
        found.append(ids(pipeline.decode(encoded(pipeline, audio))))
        assert [c.function for c in recording.calls if c.component == "encoder"] == [function.name]
    assert found[0] == found[1] == found[2] == stock(small, audio).tokens[0]


def test_the_smallest_window_that_holds_the_audio_is_used(small, tmp_path):
    runtime = RecordingRuntime(EagerRuntime(plan := planned(small)))
    pipeline = opened(tmp_path, plan, runtime)
    for seconds in (1, 4.0, 4.01, 8):
        encoded(pipeline, clip(seconds))
    functions = [c.function for c in runtime.calls if c.component == "encoder"]
    assert functions == ["audio_4s", "audio_4s", "audio_8s", "audio_8s"]


def test_mel_behind_the_length_cannot_act(pipelines):
    pipeline = pipelines["small", "external"]
    mel, length = pipeline.features(clip(2.5))
    loud = np.concatenate([mel[:length], np.full((40, mel.shape[1]), 1e3, np.float32)])
    quiet, changed = (vars(pipeline.encode(values, length)) for values in (mel, loud))
    for name in quiet:
        np.testing.assert_array_equal(quiet[name], changed[name], err_msg=name)


@pytest.mark.parametrize("language", tiny.LANGUAGES)
def test_prompts_are_the_processors(pipelines, small, language):
    processor, pipeline = AutoProcessor.from_pretrained(small), pipelines["small", "stateless"]
    prompts = pipeline.host.prompts[language]
    assert list(prompts.punctuated) == processor.get_decoder_prompt_ids(language)
    assert list(prompts.plain) == processor.get_decoder_prompt_ids(language, punctuation=False)
    assert len(prompts.plain) == PROMPT


@pytest.mark.parametrize(
    ("name", "code", "punctuation"), [("German", "de", True), ("ZH", "zh", False), ("vietnamese", "vi", True)]
)
def test_a_language_by_code_or_name_is_what_the_decoder_hears(small, tmp_path, name, code, punctuation):
    pipeline = opened(tmp_path, planned(small), language=name, punctuation=punctuation)
    (expected,) = stock(small, clip(2), code, punctuation=punctuation).tokens
    assert expected != stock(small, clip(2), "en", punctuation=punctuation).tokens[0]
    assert expected != stock(small, clip(2), code, punctuation=not punctuation).tokens[0]
    transcript = pipeline.transcribe(clip(2))
    assert transcript.language == code
    assert [token.id for token in transcript.tokens] == [t for t in expected if t not in pipeline.host.special_ids]


def test_every_language_has_a_name():
    assert sorted(LANGUAGE_NAMES.values()) == list(tiny.LANGUAGES)


def refused(error, function, *arguments, **options):
    with pytest.raises(error) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_language_is_refused_with_those_there_are(small, tmp_path):
    message = refused(ToolkitError, opened, tmp_path, planned(small), language="xx")
    assert "--language 'xx'" in message
    assert "ar, de, el, en" in message


def test_a_language_that_the_tokenizer_lacks_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(tiny, "SPECIALS", tuple(t for t in tiny.SPECIALS if t != "<|ko|>"))
    tiny.save_tiny_checkpoint(tmp_path / "checkpoint")
    plan = planned(tmp_path / "checkpoint")
    assert len(plan.host["prompts"]) == len(tiny.LANGUAGES) - 1
    assert "ja, nl" in refused(ToolkitError, opened, tmp_path / "bundle", plan, language="Korean")


@pytest.mark.parametrize("token", ["<|en|>", *(f"<|{name}|>" for name in tiny.FLAGS)])
def test_a_tokenizer_without_a_token_of_the_prompt_is_refused(monkeypatch, tmp_path, token):
    monkeypatch.setattr(tiny, "SPECIALS", tuple(t for t in tiny.SPECIALS if t != token))
    if token == "<|startoftranscript|>":
        monkeypatch.setitem(tiny.CONFIGS, "small", {"bos_token_id": 0})
    tiny.save_tiny_checkpoint(tmp_path, **tiny.CONFIGS["small"])
    assert "prompt" in refused(CheckpointError, planned, tmp_path)


@pytest.mark.parametrize(
    ("option", "flag"),
    [
        ({"max_tokens": -1}, "--max-tokens"),
        ({"repetition_penalty": 0.0}, "--repetition-penalty"),
        ({"no_repeat_ngram": -1}, "--no-repeat-ngram"),
        ({"eos_bias": float("nan")}, "--eos-bias"),
    ],
)
def test_options_out_of_range_are_refused(small, tmp_path, option, flag):
    assert flag in refused(ToolkitError, opened, tmp_path, planned(small), **option)


def test_auto_takes_the_first_form_that_is_there(small, tmp_path):
    for forms, first in (("stateless,stateful", "stateful"), ("stateless,external", "external")):
        assert opened(tmp_path, planned(small, decoder=forms)).decoder_form == first
    with pytest.raises(BundleError, match=r"decoder \(external\).*Rebuild"):
        opened(tmp_path, planned(small, decoder="stateful"), decoder="external")


class Miscounting(Component):
    """An encoder that says one frame more."""

    def __init__(self, inner):
        self._inner = inner
        self.name, self.function, self.states = inner.name, inner.function, {}
        self.inputs, self.outputs = inner.inputs, inner.outputs

    def _predict(self, inputs, state):
        outputs = self._inner.predict(inputs)
        return outputs | {"encoder_length": outputs["encoder_length"] + 1}


def test_an_encoder_that_miscounts_its_frames_is_a_fault(small, tmp_path):
    class Runtime(EagerRuntime):
        def load(self, component, function="main"):
            loaded = super().load(component, function)
            return Miscounting(loaded) if component == "encoder" else loaded

    plan = planned(small)
    message = refused(RuntimeFault, opened(tmp_path, plan, Runtime(plan)).transcribe, clip(1.25))
    assert "17 valid frames for 125 of mel, not 16" in message


def test_load_leaves_nothing_for_transcribe(small, tmp_path):
    class Counting(EagerRuntime):
        def load(self, component, function="main"):
            self.asked.add((component, function))
            return super().load(component, function)

    plan = planned(small)
    for form, functions in (("stateful", ("prefill", "step")), ("stateless", ("main",))):
        runtime = Counting(plan)
        runtime.asked = set()
        pipeline = opened(tmp_path, plan, runtime, decoder=form, max_tokens=3)
        pipeline.load(3 * RATE)
        loaded = {("encoder", "audio_4s"), ("cross_kv", "main"), *((f"decoder_{form}", f) for f in functions)}
        assert runtime.asked == loaded
        pipeline.transcribe(clip(3))
        assert runtime.asked == loaded


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"surprise": 1}, "host.surprise"), ({"cache_tokens": 0}, "host.cache_tokens"), ({"prompts": 1}, "host.prompts")],
)
def test_host_constants_that_the_schema_does_not_know_are_refused(small, tmp_path, change, complaint):
    with pytest.raises(BundleError, match=complaint):
        opened(tmp_path, planned(small), host=change)


def test_silence_passes_and_what_is_too_short_is_refused(pipelines):
    pipeline = pipelines["small", "external"]
    assert pipeline.transcribe(np.zeros(RATE, np.float32)).duration_s == 1.0
    pipeline.transcribe(clip(0.05))
    with pytest.raises(AudioError, match="shortest usable"):
        pipeline.transcribe(clip(0.01))
