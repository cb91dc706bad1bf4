"""The ladder on tiny checkpoints and real clips: green when all is well, and one planted fault at a time."""

import json
import shutil
from dataclasses import replace
from functools import cache
from unittest.mock import patch

import numpy as np
import pytest
import soxr
import torch

from models.pocket_tts import MODEL, backbone, codec, export, pipeline, text, voices
from models.pocket_tts.backbone import Backbone, Cache, Flow, StatefulUtterance, Utterance
from models.pocket_tts.codec import Decoder
from models.pocket_tts.parity.comparison import Comparison
from models.pocket_tts.pipeline import Pipeline
from models.pocket_tts.text import Prompter
from parity.ladder.ladder import Status
from parity.ladder.subject import Clip
from tests.models.audio import RATE, clip
from tests.models.bundles import host_bundle
from tests.models.ladder import ladder_over, rows
from toolkit.errors import ToolkitError
from toolkit.export.checkpoint import Checkpoint
from wrappers import pocket_tts as wrappers
from wrappers import pocket_tts_codec as codec_wrappers
from wrappers import pocket_tts_flow

OPTIONS = {option.name: option.default for option in MODEL.options["convert"]}
SLOTS = 128
ENDS_SOON = -6.5  # about the mean of the logits: speech ends a few frames after the first that may end it


def spoken(name, seconds, text):
    return Clip(name, soxr.resample(clip(seconds), RATE, 24000), text)


ONE = [spoken("one", 1.3, "Hi.")]
TWO = [*ONE, spoken("two", 1.1, "Go, Ann!")]


@pytest.fixture(scope="module")
def ending(checkpoints, tmp_path_factory):
    """Name of a config -> folder of a checkpoint whose speech ends soon."""

    def copy(name):
        folder = tmp_path_factory.mktemp("ending") / name
        shutil.copytree(checkpoints[name], folder)
        file = folder / "generation_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"eos_threshold": ENDS_SOON}))
        return folder

    return cache(copy)


@pytest.fixture
def run(ending, tmp_path):
    """The ladder on the wrappers; the cache is the caller's, in float32, so that no rounding hides a fault."""

    def ladder(clips=ONE, *, name="small", slots=SLOTS, state="external", flow_steps="1"):
        plan = export.plan(ending(name), OPTIONS | {"cache_slots": slots, "state": state})
        bundle, checkpoint = host_bundle(tmp_path / "bundle", MODEL, plan), Checkpoint("tiny", "folder", ending(name))
        return ladder_over(MODEL, plan, bundle, checkpoint, clips, options={"flow_steps": flow_steps})

    return ladder


@pytest.fixture
def soon(run, monkeypatch):
    """The ladder without the run to the cache's end, for faults that show in the first frames."""
    monkeypatch.setattr(Comparison, "_to_the_end", lambda *arguments: None)
    return run


def test_all_is_well(run):
    result = run(TWO, flow_steps="1,2")
    assert result.passed, result.verdict
    skipped = {s.name for s in result.stages if s.status is Status.SKIPPED}
    assert skipped == {"packages", "device"}
    assert set(rows(result, "features")) >= {"voice, ended on a pause", "chunks of text", "ids, voice before text"}
    assert set(rows(result, "wrappers")) >= {
        "backbone prefill: key_out",
        "backbone prefill: value_out",
        "backbone step: hidden",
        "backbone step: eos_logit",
        "flow, 1 steps: latent",
        "flow, 2 steps: latent",
        "flow step: velocity",
        "codec_decoder: audio",
        "codec_encoder: latents",
    }
    found = rows(result, "decode")
    assert set(found) >= {"conditioning cache: keys", "conditioning cache: values", "cloned voice: latents"}
    for steps in ("1 flow steps", "2 flow steps"):
        for what in ("teacher-forced hidden", "teacher-forced eos_logit", "teacher-forced latents"):
            assert f"{what}, {steps}" in found
        for what in ("free-running latents", "free-running PCM", "end of speech", "PCM of the reference's latents"):
            assert f"{what}, {steps}" in found
        assert found[f"end of speech, {steps}"].metrics["flips"] == 0
        assert found[f"free-running latents, {steps}"].metrics["frames"] >= 16
        assert {"log_mel_cosine", "snr_db"} <= set(rows(result, "task")[f"what is heard, {steps}"].metrics)
    (room,) = {name.split(":")[0] for name in found if name.startswith("to the cache's end")}
    assert 70 < int(room.split()[-2]) < SLOTS, "far beyond the codec's window"
    assert rows(result, "task")["intelligibility, STEPS flow steps"].status is Status.SKIPPED


def test_all_is_well_with_states(run):
    result = run(state="stateful")
    assert result.passed, result.verdict


@pytest.mark.parametrize("name", ["deep", "no_voice_bos", "drifting", "large_eps_four_steps", "short_frames"])
def test_other_checkpoints_pass(soon, name):
    result = soon(name=name, slots=384 if name == "short_frames" else SLOTS)
    assert result.passed, result.verdict


def test_flow_steps_that_are_no_numbers_are_refused(soon):
    with pytest.raises(ToolkitError, match="--flow-steps needs numbers"):
        soon(flow_steps="step")


real_condition = Pipeline.condition


def reordered(self, prompt):
    """Text before voice."""
    if self.voice.latents is None:
        return real_condition(self, prompt)
    text = self.backbone.extend(self.backbone.empty(), self.backbone.embed_text((*prompt.before_voice, *prompt.text)))
    return self.backbone.extend(text, self.backbone.embed_voice(self.voice.latents))


real_step, real_stream = Utterance.step, codec.Stream.predict
real_noise, real_frames = pipeline.gaussian_noise, pipeline.frames


def a_position_late(self, latent):
    self.position += latent is None
    return real_step(self, latent)


def always_at_the_start(self, hidden, noise):
    """The host's loop with s fixed at 0."""
    component, latent = self._runtime.load("flow", "step"), noise[None]
    for index in range(self.steps):
        s, t = np.zeros((1, 1), np.float32), np.full((1, 1), (index + 1) / self.steps, np.float32)
        velocity = component.predict({"hidden": hidden[None], "latent": latent, "s": s, "t": t})["velocity"]
        latent = latent + velocity / np.float32(self.steps)
    return latent[0]


def kept(make):
    """One object for all utterances of a pipeline."""

    def get(self, *arguments):
        name = f"_kept_{make.__name__}"
        if name not in self.__dict__:
            setattr(self, name, make(self, *arguments))
        return getattr(self, name)

    return get


real_start = Backbone.start


def stale(self, prefix):
    """An utterance that goes on with the keys and values of the one before."""
    fresh = real_start(self, prefix)
    before = self.__dict__.setdefault("_first", fresh)
    fresh._keys, fresh._values = before._keys, before._values
    return fresh


def shorter_window(self, inputs, frames):
    window, self._codec = self._codec, self._codec.model_copy(update={"window": self._codec.window - 1})
    try:
        return real_stream(self, inputs, frames)
    finally:
        self._codec = window


real_prompt = Prompter._prompt


def without_bos(self, *arguments):
    return replace(real_prompt(self, *arguments), before_voice=())


def never_ending(model, noise, rule):
    return real_frames(model, noise, replace(rule, eos_threshold=float("inf")))


def one_frame_more(model, noise, rule):
    return real_frames(model, noise, replace(rule, frames_after_eos=rule.frames_after_eos + 1))


def one_frame_less(model, noise, rule):
    made = list(real_frames(model, noise, rule))
    return iter(made[:-1])


def without_mean(self, latent):
    self._mean = np.zeros_like(self._mean)
    return real_decode(self, latent)


def without_fade(self, latent):
    self._fade = self._fade[:0]
    return real_decode(self, latent)


real_decode = Decoder.decode


def with_unit_noise(seed, utterance, width, temperature):
    return real_noise(seed, utterance, width, 1.0)


def threshold_of_another(self, prompt):
    return replace(real_rule(self, prompt), eos_threshold=-4.0)


real_rule, real_extend, real_embed = Pipeline.stop_rule, Backbone.extend, Backbone._embed
real_place, real_speak = backbone.position_inputs, Pipeline.speak


def of_seed_0(seed, *arguments):
    return real_noise(0, *arguments)


def of_one_chunk(seed, utterance, *arguments):
    return real_noise(seed, 0, *arguments)


def all_in_the_first_place(self, prefix, embeds):
    """Each call of the prefill at the position of the first."""
    with patch.object(backbone, "position_inputs", lambda _, *arguments: real_place(prefix.length, *arguments)):
        return real_extend(self, prefix, embeds)


def the_first_rows_again(self, component, name, values):
    """Each call embeds what the first did."""
    return real_embed(self, component, name, np.resize(values[: self._constants.prefill_tokens], values.shape))


def without_last_frames(self, text, progress=None):
    """What `infer` writes has silence where a chunk's last frame was."""
    *frames, last = real_speak(self, text, progress)
    ends = {i for i, frame in enumerate(frames) if i + 1 < len(frames) and frames[i + 1][0] == 0}  # then a fade-in
    yield from (frame * (i not in ends) for i, frame in enumerate(frames))
    yield last * 0


def in_one_noise(self, text, progress=None):
    with patch.object(Pipeline, "noise", lambda self, _: real_chunk_noise(self, 0)):
        yield from real_speak(self, text, progress)


real_chunk_noise = Pipeline.noise
LONG, TOLD = "voice longer than a prefill: keys", "speech of several chunks, on the wrappers: PCM"
HOST_FAULTS = {
    "voice_after_text": (Pipeline, "condition", reordered, "wrappers", "backbone prefill: key_out"),
    "position_off_by_one": (Utterance, "step", a_position_late, "wrappers", "backbone step: hidden"),
    "stale_cache": (Backbone, "start", stale, "wrappers", "backbone step: hidden"),
    "codec_not_reset": (Pipeline, "decoder", kept(Pipeline.decoder), "decode", "speech of several chunks, on"),
    "codec_window_off_by_one": (codec.Stream, "predict", shorter_window, "wrappers", "codec_decoder: audio"),
    "no_voice_bos": (Prompter, "_prompt", without_bos, "features", "ids, voice before text"),
    "eos_ignored": (pipeline, "frames", never_ending, "decode", "frames by the reference's logits"),
    "eos_threshold_of_another": (
        Pipeline,
        "stop_rule",
        threshold_of_another,
        "decode",
        "frames by the reference's logits",
    ),
    "one_frame_more": (pipeline, "frames", one_frame_more, "decode", "frames by the reference's logits"),
    "one_frame_less": (pipeline, "frames", one_frame_less, "decode", "frames by the reference's logits"),
    "latent_mean_not_applied": (Decoder, "decode", without_mean, "wrappers", "codec_decoder: audio"),
    "no_fade_in": (Decoder, "decode", without_fade, "wrappers", "codec_decoder: audio"),
    "noise_not_scaled": (pipeline, "gaussian_noise", with_unit_noise, "features", "noise"),
    "seed_ignored": (pipeline, "gaussian_noise", of_seed_0, "features", "noise, scaled by the temperature"),
    "chunk_ignored_by_the_noise": (
        pipeline,
        "gaussian_noise",
        of_one_chunk,
        "features",
        "noise, scaled by the temperature",
    ),
    "frames_at_the_most_times_three": (text, "_TOKENS_A_SECOND", 1, "features", "frames at the most"),
    "keys_and_values_of_a_voice_file_swapped": (
        voices,
        "Cache",
        lambda keys, values: Cache(values, keys),
        "features",
        "voice from a file: keys",
    ),
    "second_prefill_in_the_place_of_the_first": (Backbone, "extend", all_in_the_first_place, "wrappers", LONG),
    "second_prefill_embeds_the_first_again": (Backbone, "_embed", the_first_rows_again, "wrappers", LONG),
    "last_frame_of_each_chunk_silent": (Pipeline, "speak", without_last_frames, "decode", TOLD),
    "one_noise_for_all_chunks": (
        Pipeline,
        "speak",
        in_one_noise,
        "decode",
        TOLD,
    ),
    "not_ended_on_a_pause": (voices, "ended_on_pause", lambda samples, *_: samples, "decode", "cloned voice: latents"),
}


@pytest.mark.parametrize("fault", HOST_FAULTS)
def test_faults_of_the_host_are_blamed(soon, monkeypatch, fault):
    owner, name, planted, stage, where = HOST_FAULTS[fault]
    monkeypatch.setattr(owner, name, planted)
    result = soon(TWO if fault == "stale_cache" else ONE)
    assert result.blame == stage, result.verdict
    assert f"({where}" in result.verdict


def test_a_flow_that_stays_at_its_start_blames_wrappers(soon, monkeypatch):
    monkeypatch.setattr(Flow, "sample", always_at_the_start)
    result = soon(flow_steps="2")
    assert (result.blame, "(flow, 2 steps: latent" in result.verdict) == ("wrappers", True), result.verdict


class PositionOffByOne(wrappers.ExternalStep):
    """In the mask: the newest position is not seen."""

    def forward(self, latent, is_start, position, *rest):
        return super().forward(latent, is_start, position - 1, *rest)


class StatePositionOffByOne(wrappers.StatefulStep):
    """The row behind the one that is masked for."""

    def forward(self, latent, is_start, position, *rest):
        return super().forward(latent, is_start, position + 1, *rest)


class StartIgnored(wrappers.ExternalStep):
    def forward(self, latent, is_start, *rest):
        return super().forward(latent, is_start * 0, *rest)


class PaddingKept(wrappers.Prefill):
    def forward(self, embeds, length, *rest):
        keys, values = super().forward(embeds, length - 1, *rest)
        return keys, values


class AlwaysAtTheStart(pocket_tts_flow.FlowStep):
    def forward(self, hidden, latent, s, t):
        return super().forward(hidden, latent, s * 0, t)


class NarrowWindow(codec_wrappers.SlidingTransformer):
    def forward(self, hidden, past, *rest):
        return super().forward(hidden, torch.clamp(past, max=int(self.needed[0]) - 1), *rest)


WRAPPER_FAULTS = {
    "step_mask": (wrappers, "ExternalStep", PositionOffByOne, {}, "backbone step: hidden"),
    "state_mask": (wrappers, "StatefulStep", StatePositionOffByOne, {"state": "stateful"}, "backbone step: hidden"),
    "start_latent": (wrappers, "ExternalStep", StartIgnored, {}, "backbone step: hidden"),
    "prefill_length": (wrappers, "Prefill", PaddingKept, {}, "backbone prefill: key_out"),
    "flow_time": (pocket_tts_flow, "FlowStep", AlwaysAtTheStart, {"flow_steps": "2"}, "flow, 2 steps: latent"),
    "codec_window": (codec_wrappers, "SlidingTransformer", NarrowWindow, {}, "codec_decoder: audio"),
}


@pytest.mark.parametrize("fault", WRAPPER_FAULTS)
def test_faults_of_a_component_blame_wrappers(soon, monkeypatch, fault):
    module, name, planted, options, where = WRAPPER_FAULTS[fault]
    monkeypatch.setattr(module, name, planted)
    result = soon(**options)
    assert (result.blame, f"({where}" in result.verdict) == ("wrappers", True), result.verdict


def test_a_state_that_is_not_fresh_blames_wrappers(soon, monkeypatch):
    """The second text goes on in the state of the first."""
    make = StatefulUtterance.__init__

    def reused(self, component, *rest):
        make(self, component, *rest)
        self._state = component.__dict__.setdefault("kept", self._state)

    monkeypatch.setattr(StatefulUtterance, "__init__", reused)
    result = soon(TWO, state="stateful")
    assert (result.blame, "(backbone step: hidden" in result.verdict) == ("wrappers", True), result.verdict


def test_a_fault_under_a_rounded_state_is_no_drift(soon, monkeypatch):
    """However soon paths part under rounding, the rule of the end is compared along the reference's own logits."""
    monkeypatch.setattr(pipeline, "frames", never_ending)
    result = soon(state="stateful")
    assert (result.blame, "(frames by the reference's logits" in result.verdict) == ("decode", True), result.verdict
