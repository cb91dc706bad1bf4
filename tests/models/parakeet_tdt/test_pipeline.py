"""The host side against the reference: `ParakeetForTDT.generate` and `ParakeetProcessor`, token for token."""

import warnings

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, ParakeetFeatureExtractor

from models.parakeet_tdt.pipeline import Pipeline
from tests.gates import MEL, assert_within
from tests.models.parakeet_tdt.host import COMPONENTS, FunctionComponent, ReferenceRuntime, host_bundle, host_constants
from tests.models.parakeet_tdt.tiny import CONFIGS, DEMO, tiny_model
from toolkit.errors import AudioError, BundleError, RuntimeFault, ToolkitError

RATE = 16000


@pytest.fixture
def audio():
    """A second and a quarter whose spectrum changes."""
    time_s = np.arange(int(1.25 * RATE)) / RATE
    rng = np.random.default_rng(0)
    tone = np.sin(2 * np.pi * (200 + 900 * time_s) * time_s) * (np.sin(5 * time_s) > 0)
    return (0.3 * tone + 0.02 * rng.standard_normal(len(time_s))).astype(np.float32)


def opened(folder, model, components=COMPONENTS, host=None, **options):
    host = host or host_constants(model)
    return Pipeline(host_bundle(folder, host, components), ReferenceRuntime(model, host), **options)


def generated(model, audio):
    """The reference's own generate: (tokens, durations) after the start token."""
    config = model.config
    extractor = ParakeetFeatureExtractor(feature_size=config.encoder_config.num_mel_bins)
    features = extractor(audio, sampling_rate=RATE, return_tensors="pt")
    duration_logits = list(range(config.vocab_size, config.vocab_size + len(config.durations)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using the model-agnostic default", UserWarning)  # the class sets it itself
        output = model.generate(
            input_features=features.input_features,
            attention_mask=features.attention_mask,
            decoder_start_token_id=config.blank_token_id,
            suppress_tokens=duration_logits,  # or GenerationMixin's argmax takes a duration's logit for a token
        )
    return output.sequences[0, 1:].tolist(), output.durations[0, 1:].tolist()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CONFIGS)
def test_tokens_and_durations_equal_generate(tmp_path, audio, name, seed):
    model = tiny_model(seed, **CONFIGS[name])
    tokens, durations = generated(model, audio)
    for step in ("split", "decision", "fused"):
        pipeline = opened(tmp_path, model, step=step)
        emissions = pipeline.decode(pipeline.encode(**pipeline.features(audio)))
        assert [e.token_id for e in emissions] == tokens, step
        assert [e.duration for e in emissions] == durations, step
        assert [e.frame for e in emissions] == (np.cumsum(durations) - durations).tolist(), step


def test_a_model_that_never_advances_ends_at_the_class_limit(tmp_path, audio):
    model = stuck_model()
    tokens, _ = generated(model, audio)
    pipeline = opened(tmp_path, model)
    frames = pipeline.encode(**pipeline.features(audio))
    assert len(tokens) == 10 * -(-126 // 8) - 1
    assert [e.token_id for e in pipeline.decode(frames)] == tokens[: 10 * len(frames) - 1]
    with pytest.raises(RuntimeFault, match=r"stays at frame 0 of 16.*--max-symbols"):
        pipeline.transcribe(audio)


@pytest.mark.parametrize("step", ["split", "decision", "fused"])
@pytest.mark.parametrize(("bound", "symbols"), [(3, 3), ("10", 10), (25, 25), ("checkpoint", 10)])
def test_max_symbols_bounds_the_tokens_at_one_frame(tmp_path, audio, step, bound, symbols):
    transcript_tokens = opened(tmp_path, stuck_model(), step=step, max_symbols=bound).transcribe(audio).tokens
    starts = [round(t.start_s / 0.08) for t in transcript_tokens]
    assert starts == [frame for frame in range(16) for _ in range(symbols)]


def test_a_negative_bound_is_refused(tmp_path):
    with pytest.raises(ToolkitError, match="max-symbols"):
        opened(tmp_path, tiny_model(), max_symbols=-1)


def stuck_model():
    """A token of duration 0 wins at every step."""
    model = tiny_model()
    model.joint.head.bias[10] += 1000.0
    model.joint.head.bias[model.config.vocab_size] += 1000.0
    return model


def test_features_equal_the_extractor_on_real_speech(tmp_path, clip):
    extractor = ParakeetFeatureExtractor(feature_size=80)
    expected = extractor(clip, sampling_rate=RATE, return_tensors="pt")
    features = opened(tmp_path, tiny_model()).features(clip)
    assert features["length"] == int(expected.attention_mask.sum())
    assert_within(MEL, features["mel"], expected.input_features[0].numpy())


def test_text_and_token_times_equal_the_processor(tmp_path, clip):
    from transformers import ParakeetForTDT

    model = ParakeetForTDT.from_pretrained(DEMO).eval()
    processor = AutoProcessor.from_pretrained(DEMO)
    tokens, durations = generated(model, clip)
    texts, stamps = processor.decode(
        torch.tensor([tokens]), durations=torch.tensor([durations]), skip_special_tokens=True
    )
    transcript = opened(tmp_path, model).transcribe(clip)
    assert transcript.text == (texts if isinstance(texts, str) else texts[0])
    assert [(t.text, t.start_s, t.end_s) for t in transcript.tokens if t.text] == [
        (s["token"], pytest.approx(s["start"]), pytest.approx(s["end"])) for s in stamps[0]
    ]
    assert " ".join(w.text for w in transcript.words) == transcript.text
    assert all(0 < t.confidence <= 1 for t in transcript.tokens)


@pytest.fixture(params=["ps_tidigits_dhd.2934z", "ps_cards_002"])
def clip(request):
    import soundfile

    return soundfile.read(DEMO.parents[1] / "clips" / f"{request.param}.wav", dtype="float32")[0]


class ClockRuntime(ReferenceRuntime):
    """An encoder whose frames say where they are: the first mel bin at the frame's first row."""

    def _encoder(self, function):
        real = super()._encoder(function)
        factor = self.host["subsampling_factor"]

        def encode(mel, length):
            self.calls.append((function, int(length[0])))
            frames = np.zeros(real.outputs["encoder"].shape, np.float32)
            frames[0, :, 0] = mel[0, ::factor, 0]
            return frames, np.array([-(-int(length[0]) // factor)], np.int32)

        return FunctionComponent("encoder", function, real.inputs, real.outputs, encode)


@pytest.mark.parametrize("length", [2, 8, 101, 102, 301, 302, 500, 501, 502, 503, 509, 510, 900, 1001, 2500, 60000])
@pytest.mark.parametrize("overlap_s", [0.0, 1.0, 4.0])
def test_windows_give_each_frame_of_the_whole_once_and_in_time(tmp_path, length, overlap_s):
    host = host_constants(tiny_model(), overlap_s=overlap_s)
    runtime = ClockRuntime(tiny_model(), host)
    mel = np.repeat(np.arange(length, dtype=np.float32)[:, None], 80, axis=1)
    done = []
    frames = Pipeline(host_bundle(tmp_path, host), runtime).encode(mel, length, lambda *step: done.append(step))
    assert frames[:, 0].tolist() == list(range(0, length, 8))
    assert done == [(i + 1, len(runtime.calls)) for i in range(len(runtime.calls))]


@pytest.mark.parametrize(
    ("length", "function"), [(2, "audio_101"), (101, "audio_101"), (102, "audio_301"), (9999, "audio_501")]
)
def test_the_smallest_window_that_fits_is_used(tmp_path, length, function):
    host = host_constants(tiny_model())
    runtime = ClockRuntime(tiny_model(), host)
    Pipeline(host_bundle(tmp_path, host), runtime).encode(np.zeros((length, 80), np.float32), length)
    assert {name for name, _ in runtime.calls} == {function}


def test_one_encoder_function_can_be_asked_for(tmp_path):
    host = host_constants(tiny_model())
    runtime = ClockRuntime(tiny_model(), host)
    pipeline = Pipeline(host_bundle(tmp_path, host), runtime, encoder_function="audio_101")
    pipeline.encode(np.zeros((400, 80), np.float32), 400)
    assert {name for name, _ in runtime.calls} == {"audio_101"}
    with pytest.raises(BundleError, match="no function 'audio_7'"):
        Pipeline(host_bundle(tmp_path, host), runtime, encoder_function="audio_7")


def test_an_encoder_that_miscounts_its_frames_is_a_fault(tmp_path, audio):
    host = host_constants(tiny_model())
    host["subsampling_factor"] = 4  # the packages' own is 8
    host["encoder_windows"] = [{"function": "audio_501", "mel_frames": 501, "encoder_frames": 63}]

    class Eight(ReferenceRuntime):
        def _encoder(self, function):
            real = super()._encoder(function)
            count = np.array([-(-125 // 8)], np.int32)
            return FunctionComponent(
                "encoder",
                function,
                real.inputs,
                real.outputs,
                lambda mel, length: (np.zeros((1, 63, 16), np.float32), count),
            )

    with pytest.raises(RuntimeFault, match="16 valid frames for 125 of mel, not 32"):
        Pipeline(host_bundle(tmp_path, host), Eight(tiny_model(), host)).transcribe(audio)


@pytest.mark.parametrize(
    ("components", "called"),
    [(COMPONENTS, "FusedStep"), (COMPONENTS[:4], "DecisionStep"), (COMPONENTS[:3], "SplitStep")],
)
def test_auto_takes_the_fastest_form_that_is_there(tmp_path, components, called):
    assert type(opened(tmp_path, tiny_model(), components)._step).__name__ == called


def test_a_bundle_without_a_decoder_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"lacks the components.*Rebuild"):
        opened(tmp_path, tiny_model(), ("encoder", "prediction"))
    with pytest.raises(BundleError, match="fused"):
        opened(tmp_path, tiny_model(), COMPONENTS[:4], step="fused")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"surprise": 1}, "host.surprise"), ({"blank_id": None}, "host.blank_id"), ({"mel": {"n_fft": 512}}, "host.mel")],
)
def test_host_constants_that_the_schema_does_not_know_are_refused(tmp_path, change, complaint):
    with pytest.raises(BundleError, match=complaint):
        opened(tmp_path, tiny_model(), host=host_constants(tiny_model()) | change)


def test_an_unknown_mel_parameter_is_refused(tmp_path):
    host = host_constants(tiny_model())
    host["mel"]["dither"] = 1e-5
    with pytest.raises(BundleError, match=r"host.mel.dither"):
        opened(tmp_path, tiny_model(), host=host)


def test_damaged_host_files_are_refused(tmp_path):
    host = host_constants(tiny_model())
    bundle = host_bundle(tmp_path, host)
    (tmp_path / "features.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match="mel_filters"):
        Pipeline(bundle, ReferenceRuntime(tiny_model(), host))
    host_bundle(tmp_path, host)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BundleError, match="not a tokenizer"):
        Pipeline(bundle, ReferenceRuntime(tiny_model(), host))


def test_silence_and_a_very_short_clip_pass(tmp_path):
    model = tiny_model()
    pipeline = opened(tmp_path, model, max_symbols=2)
    assert pipeline.transcribe(np.zeros(RATE, np.float32)).duration_s == 1.0
    assert pipeline.transcribe(np.full(800, 0.1, np.float32)).duration_s == 0.05


def test_too_short_to_normalise_says_what_would_do(tmp_path):
    with pytest.raises(AudioError, match=r"319 samples.*shortest usable is 320 samples \(0.0200 s\)"):
        opened(tmp_path, tiny_model()).transcribe(np.zeros(319, np.float32))
