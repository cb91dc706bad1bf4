"""Voices from files, recordings and names; what cannot be one; and texts and options that are out of range."""

import numpy as np
import pytest
import soundfile
import torch
from safetensors.numpy import save_file

from models.pocket_tts import MODEL
from models.pocket_tts.pipeline import Pipeline
from tests.gates import float32_sums
from tests.models.audio import clip
from tests.models.bundles import bundle_without_packages
from tests.models.pocket_tts.host import (
    FORMS,
    Stock,
    opened,
    planned,
    referred,
    save_calm_checkpoint,
    say,
)
from tests.models.pocket_tts.tiny import CONFIGS, VOICES
from toolkit.errors import AudioError, BundleError, ToolkitError
from toolkit.runtimes.eager import EagerRuntime
from toolkit.runtimes.recording import RecordingRuntime

TEXT = "Go on."
RATE = 24000
CLOSE = float32_sums(5)  # latents reach 5


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_calm_checkpoint(tmp_path_factory.mktemp("calm") / "checkpoint")


@pytest.fixture(scope="module")
def plan(checkpoint):
    return planned(checkpoint)


@pytest.fixture(scope="module")
def runtime(plan):
    return EagerRuntime(plan)


@pytest.fixture(scope="module")
def stock(checkpoint):
    return Stock(checkpoint)


@pytest.fixture
def make(plan, runtime, tmp_path):
    def made(**options):
        return opened(tmp_path / "bundle", plan, runtime, eos_threshold=-6.0, **options)

    return made


def said(pipeline):
    return say(pipeline, pipeline.chunks(TEXT)[0])


def assert_same_speech(pipeline, other):
    ours, theirs = said(pipeline), said(other)
    np.testing.assert_allclose(ours.latents, theirs.latents, **CLOSE)
    np.testing.assert_allclose(ours.audio, theirs.audio, **CLOSE)


def test_voices_of_the_bundle_by_name_and_the_first_by_default(make):
    assert make().host.voices == tuple(VOICES)
    assert [make(voice=name).voice.length for name in ("", *VOICES)] == [VOICES["anna"], *VOICES.values()]


@pytest.mark.parametrize("shape", [(9, 8), (1, 9, 8)])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_latents_from_a_file(make, tmp_path, shape, dtype):
    latents = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    save_file({"audio_prompt_latents": latents}, tmp_path / "voice.safetensors")
    voice = make(voice=str(tmp_path / "voice.safetensors")).voice
    np.testing.assert_array_equal(voice.latents, latents.reshape(9, 8).astype(np.float32))


@pytest.mark.parametrize("form", FORMS)
def test_the_classs_cache_of_a_voice_speaks_as_its_latents_do(checkpoint, stock, tmp_path, form):
    """With the token in front of the voice, which the prompt then lacks."""
    pipeline = opened(tmp_path / "bundle", planned(checkpoint, form))
    latents, config = torch.from_numpy(pipeline.voice.latents), stock.model.config
    ids = [config.audio_prompt_bos_token_id] + [config.audio_prompt_token_id] * len(latents)
    with torch.no_grad():
        past = stock.model(torch.tensor([ids]), audio_prompt_latents=latents[None], use_cache=True).past_key_values
    sides = {side: torch.cat([getattr(layer, side) for layer in past.layers]).numpy() for side in ("keys", "values")}
    save_file(sides, tmp_path / "voice.safetensors")
    cached = opened(tmp_path / "bundle", planned(checkpoint, form), voice=str(tmp_path / "voice.safetensors"))
    assert (cached.voice.latents, cached.voice.length) == (None, len(ids))
    (prompt,) = cached.chunks(TEXT)
    assert prompt.before_voice == ()
    np.testing.assert_allclose(cached.condition(prompt).keys, pipeline.condition(prompt_of(pipeline)).keys, **CLOSE)
    ours, theirs = say(cached, prompt), say(pipeline, prompt_of(pipeline))
    tolerance = CLOSE if form == "external" else {"rtol": 0, "atol": 2e-2}
    np.testing.assert_allclose(ours.latents, theirs.latents, **tolerance)
    _, audio = stock.generate(TEXT, noise=cached.noise(0), past=past)
    np.testing.assert_allclose(ours.audio, audio, **tolerance)
    run = referred(checkpoint).run(TEXT, cached.voice, cached.noise(0), flow_steps=1, eos_threshold=-4.0)
    np.testing.assert_allclose(ours.latents, run.latents, **tolerance)


def prompt_of(pipeline):
    return pipeline.chunks(TEXT)[0]


@pytest.mark.parametrize("seconds", [0.2, 1.0, 3.3])
def test_a_recording_is_cloned_as_by_the_class(make, stock, tmp_path, seconds):
    """0.2 s, less and more than one call of the encoder; the processor takes the same samples."""
    samples = clip(seconds * 1.5)[: round(seconds * RATE)]
    soundfile.write(tmp_path / "voice.wav", samples, RATE, subtype="FLOAT")
    pipeline = make(voice=str(tmp_path / "voice.wav"))
    expected = stock.inputs(TEXT, audio=samples)["audio_prompt_latents"][0].numpy()
    assert pipeline.voice.latents.shape == expected.shape
    assert len(expected) == -(-(stock_samples(stock, samples)) // pipeline.frame_size)
    np.testing.assert_allclose(pipeline.voice.latents, expected, **CLOSE)
    _, audio = stock.generate(TEXT, noise=pipeline.noise(0), voice={"audio": samples}, eos_threshold=-6.0)
    np.testing.assert_allclose(said(pipeline).audio, audio, rtol=0, atol=1e-3)


def stock_samples(stock, samples):
    return int(stock.processor.feature_extractor(samples, sampling_rate=RATE)["padding_mask"].sum())


def test_a_recording_of_another_rate_and_two_channels(make, tmp_path):
    samples = clip(1.5)
    soundfile.write(tmp_path / "plain.wav", samples, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "two.flac", np.stack([samples, samples], axis=1), 16000, subtype="PCM_24")
    plain, two = (make(voice=str(tmp_path / name)).voice for name in ("plain.wav", "two.flac"))
    np.testing.assert_allclose(two.latents, plain.latents, rtol=0, atol=1e-3)


def refused(error, function, *arguments):
    with pytest.raises(error) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def open_voice(make, name):
    return refused(ToolkitError, lambda: make(voice=str(name)).voice)


@pytest.mark.parametrize("name", ["Anna", "missing.wav", "no/such.safetensors", "anna.safetensors", "x" * 5000, "a\0b"])
def test_an_unknown_voice_is_refused_with_those_there_are(make, name):
    message = open_voice(make, name)
    assert f"no voice '{name}'" in message
    assert "anna, bert" in message


@pytest.mark.parametrize(("kept", "gain", "note"), [(0.2, 1, "0.20 s long"), (1.5, 0, "is silent"), (1.5, 1, "")])
def test_a_recording_that_is_hardly_a_voice_is_noted(make, tmp_path, kept, gain, note):
    soundfile.write(tmp_path / "voice.wav", clip(2)[: round(kept * RATE)] * gain, RATE)
    pipeline = make(voice=str(tmp_path / "voice.wav"))
    next(pipeline.speak(TEXT))
    assert len(pipeline.notes) == bool(note)
    assert all(note in line for line in pipeline.notes)


def test_a_voice_that_is_not_there_is_refused_before_anything_is_loaded(make):
    assert "no voice 'nobody'" in refused(ToolkitError, lambda: make(voice="nobody"))


@pytest.mark.parametrize("name", ["voice.safetensors", "voice.wav", "voice"])
def test_files_that_are_neither_are_refused(make, tmp_path, name):
    (tmp_path / name).write_text("no voice")
    assert name in open_voice(make, tmp_path / name)
    (tmp_path / name).write_bytes(b"")
    assert name in open_voice(make, tmp_path / name)


def test_a_folder_is_no_voice(make, tmp_path):
    for name in ("folder", "folder.safetensors"):
        (tmp_path / name).mkdir()
        assert name in open_voice(make, tmp_path / name)


SHAPES = {
    "latents of another codec": {"audio_prompt_latents": (9, 6)},
    "no latents": {"audio_prompt_latents": (0, 8)},
    "two voices": {"audio_prompt_latents": (2, 9, 8)},
    "one row": {"audio_prompt_latents": (8,)},
    "other names": {"latents": (9, 8)},
    "fewer layers": dict.fromkeys(("keys", "values"), (2, 4, 9, 12)),
    "other heads": dict.fromkeys(("keys", "values"), (3, 2, 9, 12)),
    "other head dim": dict.fromkeys(("keys", "values"), (3, 4, 9, 16)),
    "no positions": dict.fromkeys(("keys", "values"), (3, 4, 0, 12)),
    "keys alone": {"keys": (3, 4, 9, 12)},
    "unequal": {"keys": (3, 4, 9, 12), "values": (3, 4, 8, 12)},
    "nothing": {},
}


@pytest.mark.parametrize("case", SHAPES)
def test_a_voice_of_another_checkpoint_is_refused(make, tmp_path, case):
    arrays = {name: np.ones(shape, np.float32) for name, shape in SHAPES[case].items()}
    save_file(arrays, tmp_path / "voice.safetensors")
    message = open_voice(make, tmp_path / "voice.safetensors")
    assert "is not a voice file of this checkpoint" in message
    for name, shape in SHAPES[case].items():
        assert f"{name} {list(shape)}" in message


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_voice_with_nan_is_refused(make, tmp_path, bad):
    latents = np.ones((9, 8), np.float32)
    latents[3, 2] = bad
    save_file({"audio_prompt_latents": latents}, tmp_path / "voice.safetensors")
    assert "NaN or infinite" in open_voice(make, tmp_path / "voice.safetensors")
    soundfile.write(tmp_path / "voice.wav", np.full(RATE, bad, np.float32), RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite"):
        _ = make(voice=str(tmp_path / "voice.wav")).voice


def test_a_bundle_without_an_encoder_cannot_clone(checkpoint, tmp_path):
    soundfile.write(tmp_path / "voice.wav", clip(1), RATE)
    pipeline = opened(tmp_path / "bundle", planned(checkpoint, codec_encoder=False), voice=str(tmp_path / "voice.wav"))
    message = refused(ToolkitError, lambda: pipeline.voice)
    assert "codec_encoder" in message
    assert "--codec-encoder" in message


def test_a_bundle_without_voices_asks_for_one(plan, runtime, tmp_path):
    message = refused(ToolkitError, opened(tmp_path, plan, runtime, host={"voices": []}).chunks, TEXT)
    assert "has no voice" in message
    assert "--voice" in message


def test_a_bundle_that_lacks_a_component_is_refused(plan, runtime, tmp_path):
    opened(tmp_path, plan, runtime)
    bundle = bundle_without_packages(tmp_path, MODEL, plan.host, ["backbone", "flow"], plan.assets, plan.options)
    with pytest.raises(BundleError, match="lacks text_embedding, voice_projection, codec_decoder"):
        Pipeline(bundle, runtime)


def test_what_the_cache_cannot_hold_is_refused_before_anything_is_run(checkpoint, tmp_path):
    """A voice too long, and a chunk whose frames would not fit; with the slots that are named it goes."""
    plan = planned(checkpoint, cache_slots=128)
    recording = RecordingRuntime(EagerRuntime(plan))
    pipeline = opened(tmp_path / "bundle", plan, recording)
    save_file({"audio_prompt_latents": np.ones((300, 8), np.float32)}, tmp_path / "long.safetensors")
    long = opened(tmp_path / "bundle", plan, recording, voice=str(tmp_path / "long.safetensors"))
    assert pipeline.chunks(TEXT)
    for run in (lambda: list(long.speak(TEXT)), lambda: list(pipeline.speak("word " * 30))):
        message = refused(ToolkitError, run)
        assert "it has 128" in message
        assert "--cache-slots" in message
        assert "shorter voice or shorter sentences" in message
    assert recording.calls == []
    long.load()  # what the voice lacks of room is told with the text's, and the number named is enough
    sufficient = int(refused(ToolkitError, long.chunks, TEXT).split("--cache-slots ")[1].split(",")[0])
    roomy = planned(checkpoint, cache_slots=sufficient)
    assert opened(tmp_path / "roomy", roomy, voice=str(tmp_path / "long.safetensors")).chunks(TEXT)
    slots = int(message.split("--cache-slots ")[1].split(",")[0])
    assert slots % 64 == 0
    assert len(opened(tmp_path / "bundle", planned(checkpoint, cache_slots=slots)).chunks("word " * 30)) == 1
    with pytest.raises(ToolkitError):
        opened(tmp_path / "bundle", planned(checkpoint, cache_slots=slots - 64)).chunks("word " * 30)


def test_ten_thousand_characters_are_said_in_chunks_that_fit(make):
    sentence = "The cat is here, and the dog (which is not small) looks on: what does it see? It sees 3.50 mice! "
    text = (sentence * 110)[:10_000]
    pipeline = make()
    prompts = pipeline.chunks(text)
    assert len(prompts) > 100
    slots = pipeline.host.backbone.slots
    for prompt in prompts:
        assert 1 + pipeline.voice.length + len(prompt.text) + prompt.max_frames <= slots
    assert "".join("".join(p.chunk for p in prompts).split()).startswith("".join(text.split())[:5000])
    unbroken = refused(ToolkitError, pipeline.chunks, "word " * 2000)
    assert "--cache-slots" in unbroken


@pytest.mark.parametrize(
    ("option", "flag"),
    [
        ({"seed": -1}, "--seed"),
        ({"temperature": -0.1}, "--temperature"),
        ({"temperature": float("nan")}, "--temperature"),
        ({"temperature": float("inf")}, "--temperature"),
        ({"flow_steps": 0}, "--flow-steps"),
        ({"flow_steps": -1}, "--flow-steps"),
    ],
)
def test_options_out_of_range_are_refused(make, option, flag):
    assert flag in refused(ToolkitError, lambda: make(**option))


@pytest.mark.parametrize("steps", [0, -1])
def test_no_flow_steps_at_all_are_told_as_such(make, steps):
    assert f"--flow-steps is {steps}. Give 1 or more." in refused(ToolkitError, lambda: make(flow_steps=steps))


def test_a_threshold_that_is_no_number_is_refused(plan, runtime, tmp_path):
    message = refused(ToolkitError, lambda: opened(tmp_path, plan, runtime, eos_threshold=float("nan")))
    assert "--eos-threshold" in message


def test_flow_steps_that_the_bundle_lacks_are_refused(checkpoint, tmp_path):
    plan = planned(checkpoint, flow_steps="1,8")
    message = refused(ToolkitError, lambda: opened(tmp_path, plan, flow_steps=4))
    assert "--flow-steps 4: the bundle's flow supports only 1, 8" in message
    assert "Convert with --flow-steps 4" in message


def test_a_drifting_flow_is_asked_for_one_step_only(tmp_path):
    plan = planned(save_calm_checkpoint(tmp_path / "checkpoint", **CONFIGS["drifting"]))
    assert opened(tmp_path / "bundle", plan, flow_steps=1).flow.steps == 1
    for steps in (0, 4):
        message = refused(ToolkitError, lambda steps=steps: opened(tmp_path / "bundle", plan, flow_steps=steps))
        assert f"--flow-steps {steps}: this checkpoint's flow samples in one call. Give 1." in message


@pytest.mark.parametrize("text", ["", "   ", "...!?", "<audio_prompt> hello", "Go\0 on.", "\x1b[1mGo on."])
def test_a_text_with_nothing_to_say_is_refused_before_anything_is_run(plan, runtime, tmp_path, text):
    recording = RecordingRuntime(runtime)
    refused(ToolkitError, lambda: list(opened(tmp_path, plan, recording).speak(text)))
    assert recording.calls == []
