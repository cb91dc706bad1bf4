"""The ladder on the demo checkpoint and real clips: green when all is well, and one planted fault at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.parakeet_tdt import MODEL, export
from parity.ladder.ladder import Status
from parity.ladder.subject import Clip
from tests.models.ladder import damaged_packages, exchanged, ladder_over, rows
from tests.models.parakeet_tdt.host import host_bundle
from tests.models.parakeet_tdt.tiny import CONFIGS, DEMO, save_tiny_checkpoint
from toolkit.corpora.open import open_corpus
from toolkit.export.checkpoint import Checkpoint, resolve_checkpoint
from wrappers import parakeet_tdt as wrappers

COMPONENTS = ("encoder", "prediction", "joint", "joint_decision", "decoder_step")


@pytest.fixture(scope="module")
def demo():
    plan = export.plan(DEMO, {"audio_seconds": "5"})
    clips = [Clip(e.id, e.samples(16000), e.text) for e in open_corpus("demo", 2)]
    return plan, clips


def run(demo, tmp_path, *, host=None, component=None, clips=None, checkpoint=None, **options):
    """The ladder over the demo, with a host constant, a wrapper or a runtime exchanged."""
    plan, demo_clips = demo
    plan = exchanged(plan, *component) if component else plan
    bundle = host_bundle(tmp_path, plan.host | (host or {}), COMPONENTS)
    checkpoint = checkpoint or resolve_checkpoint(MODEL, "demo")
    return ladder_over(MODEL, plan, bundle, checkpoint, clips or demo_clips, **options)


def test_all_is_well(demo, tmp_path):
    result = run(demo, tmp_path, packages=True)
    assert result.passed, result.verdict
    assert {s.name for s in result.stages if s.status is Status.SKIPPED} == {"device"}
    assert result.about["clips"] == "2"
    words = rows(result, "task")["words"].metrics
    assert words["wer_percent"] == words["reference_wer_percent"] < 20
    assert rows(result, "decode")["free-running decisions"].metrics["flips"] == 0
    assert len(rows(result, "packages")) == 15


def test_without_packages_the_stage_is_skipped_not_green(demo, tmp_path):
    result = run(demo, tmp_path)
    assert result.passed
    assert "packages" in result.verdict
    assert next(s for s in result.stages if s.name == "packages").status is Status.SKIPPED


def test_mel_without_preemphasis_blames_features(demo, tmp_path):
    mel = demo[0].host["mel"] | {"preemphasis": 0.0}
    assert run(demo, tmp_path, host={"mel": mel}).blame == "features"


class LengthIgnored(torch.nn.Module):
    def __init__(self, model, mel_frames):
        super().__init__()
        self.inner, self.mel_frames = wrappers.Encoder(model, mel_frames), mel_frames

    def forward(self, mel, length):
        frames, _ = self.inner(mel, torch.full_like(length, self.mel_frames))
        return frames, (length + 7) // 8


class LengthOffByOne(torch.nn.Module):
    def __init__(self, model, mel_frames):
        super().__init__()
        self.inner = wrappers.Encoder(model, mel_frames)

    def forward(self, mel, length):
        return self.inner(mel, length + 8)


class SliceShifted(wrappers.Joint):
    def forward(self, encoder_frame, prediction):
        logits = self.head(self.activation(encoder_frame + prediction)).roll(-1, dims=-1)
        return logits[..., : self.vocabulary_size], logits[..., self.vocabulary_size :]


class BlankDropped(wrappers.JointDecision):
    def forward(self, encoder_frame, prediction):
        token_id, probability, duration = super().forward(encoder_frame, prediction)
        return token_id, probability, duration + (token_id == 64).to(torch.int32)


@pytest.mark.parametrize("wrapper", [LengthIgnored, LengthOffByOne])
def test_length_that_does_not_act_blames_wrappers(demo, tmp_path, wrapper):
    model = export.load_model(DEMO)
    frames = demo[0].component("encoder").functions[0].inputs[0].shape[1]
    result = run(demo, tmp_path, component=("encoder", lambda _: wrapper(model, frames)))
    assert result.blame == "wrappers"
    assert "encoder" in result.verdict


@pytest.mark.parametrize(("name", "wrapper"), [("joint", SliceShifted), ("joint_decision", BlankDropped)])
def test_joint_faults_blame_wrappers(demo, tmp_path, name, wrapper):
    model = export.load_model(DEMO)
    result = run(demo, tmp_path, component=(name, lambda _: wrapper(model)))
    assert result.blame == "wrappers"
    assert f"({name}" in result.verdict


def test_blank_fed_to_the_network_blames_decode_and_shows_the_first_divergence(demo, tmp_path):
    result = run(demo, tmp_path, host={"blank_id": 0})
    assert result.blame == "decode"
    note = rows(result, "decode")["free-running decisions"].note
    assert "reference's second" in note
    assert "no near tie" in note


def test_wrong_frame_rate_blames_task(demo, tmp_path):
    result = run(demo, tmp_path, host={"frame_s": 0.16})
    assert result.blame == "task"
    assert "word boundaries" in result.verdict


@pytest.mark.parametrize(("name", "scale"), [("encoder", 1.1), ("joint", float("nan")), ("prediction", 0.9)])
def test_damaged_packages_blame_packages(demo, tmp_path, name, scale):
    result = run(demo, tmp_path, packages=True, runtime=damaged_packages(demo[0], name, scale))
    assert result.blame == "packages"
    assert name in result.verdict


def test_clips_longer_than_the_window_are_left_to_the_task_stage(demo, tmp_path):
    clips = demo[1]
    audio = np.concatenate([clips[0].audio, clips[1].audio])
    long = Clip("long", audio, f"{clips[0].text} {clips[1].text}")
    result = run(demo, tmp_path, clips=[long])
    decode = rows(result, "decode")
    assert decode["1 clips"].status is Status.SKIPPED
    assert "long" in decode["1 clips"].note
    assert "words" in rows(result, "task")


def test_clips_without_transcripts_skip_the_word_error_rate_alone(demo, tmp_path):
    silent = [replace(clip, text="") for clip in demo[1]]
    result = run(demo, tmp_path, clips=silent)
    assert result.passed
    task = rows(result, "task")
    assert [name for name, row in task.items() if row.status is Status.SKIPPED] == ["words"]
    assert task["text, words and times of the reference's own tokens"].metrics["clips"] == 2


@pytest.mark.parametrize("name", CONFIGS)
def test_random_models_of_other_sizes_pass(tmp_path, name):
    checkpoint, files = tmp_path / "checkpoint", tmp_path / "files"
    files.mkdir()
    save_tiny_checkpoint(checkpoint, **CONFIGS[name])
    plan = export.plan(checkpoint, {"audio_seconds": "3,5"})
    clips = [Clip(e.id, e.samples(16000), e.text) for e in open_corpus("demo", 2)]
    result = run((plan, clips), files, packages=True, checkpoint=Checkpoint("tiny", "folder", checkpoint))
    assert result.passed, result.verdict
