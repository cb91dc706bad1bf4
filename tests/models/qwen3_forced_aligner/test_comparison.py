"""The ladder on tiny checkpoints and real clips: green when all is well, and one planted fault at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.qwen3_forced_aligner import MODEL, export, pipeline
from models.qwen3_forced_aligner.pipeline import MarkerOutputs, Pipeline
from parity.ladder.engine import open_subject, run_ladder
from parity.ladder.ladder import Status
from parity.ladder.subject import Clip
from tests.machine import stages_not_run
from tests.models.ladder import damaged_packages, exchanged, ladder_over, rows
from tests.models.qwen3_forced_aligner.host import RATE, clip, host_bundle, planned, sentence
from tests.models.qwen3_forced_aligner.tiny import CONFIGS
from toolkit.corpora.open import open_corpus
from toolkit.export.checkpoint import Checkpoint
from toolkit.runtimes.eager import EagerRuntime
from toolkit.text import forced_words as alignment
from wrappers import qwen3
from wrappers import qwen3_forced_aligner as wrappers


@pytest.fixture(scope="module")
def clips():
    """Two real clips, the first with the times of its words."""
    return [Clip.from_example(e, RATE) for e in open_corpus("demo", 2)]


@pytest.fixture
def run(small, clips, tmp_path):
    """The ladder over the small checkpoint."""

    def ladder(*, checkpoint=small, host=None, plan=None, audio=None, **options):
        plan = plan or planned(checkpoint, audio_seconds="4", sequence_lengths="128")
        bundle = host_bundle(tmp_path / "bundle", plan, host)
        return ladder_over(
            MODEL, plan, bundle, Checkpoint("tiny", "folder", checkpoint), clips if audio is None else audio, **options
        )

    return ladder


@pytest.mark.parametrize("attention", ["windowed", "full"])
def test_all_is_well(run, small, attention):
    plan = planned(small, audio_seconds="4", sequence_lengths="128", encoder="both", audio_attention=attention)
    result = run(plan=plan, packages=True)
    assert result.passed, result.verdict
    assert {s.name for s in result.stages if s.status is Status.SKIPPED} == {"device"}
    task = rows(result, "task")
    for form in ("split", "monolithic"):
        metrics = task[f"boundaries, {form} encoder, from the reference's"].metrics
        assert metrics["boundaries"] == 2 * (5 + 9)
        if form == "split" or attention == "windowed":
            assert metrics["max_ms"] == 0
            assert rows(result, "decode")[f"classes at the markers, {form} encoder"].metrics["flips"] == 0
    truth = task["boundaries, split encoder, from the corpus's"].metrics
    assert truth["aas_ms"] == truth["reference_aas_ms"] > 0
    assert truth["boundaries"] == 2 * 5


@pytest.mark.parametrize("name", CONFIGS)
def test_random_models_of_other_sizes_pass(run, checkpoints, name):
    audio = [Clip("short", clip(0.8), sentence(3))]
    result = run(checkpoint=checkpoints[name], audio=audio, packages=True)
    assert result.passed, result.verdict


def test_packages_of_a_bundle_pass(converted, clips):
    result = run_ladder(open_subject(MODEL, converted, "portable", clips, {}), {})
    assert result.passed, result.verdict
    assert {s.name for s in result.stages if s.status is Status.SKIPPED} == stages_not_run()
    assert rows(result, "decode")["logits, mel to head"].metrics["rel_l2"] > 0


def test_an_encoder_that_the_bundle_lacks_is_shown_as_its_wrapper(run, clips):
    runtime = EagerRuntime(plan := planned_like(run))
    runtime.name = "portable"
    result = run(plan=plan, runtime=runtime)
    assert result.passed, result.verdict
    assert "boundaries, monolithic encoder (eager wrapper), from the reference's" in rows(result, "task")


def test_scaled_mel_blames_features(run, monkeypatch):
    real = Pipeline.features

    def scaled(self, audio):
        mel, length = real(self, audio)
        return mel * np.float32(1.001), length

    monkeypatch.setattr(Pipeline, "features", scaled)
    assert run().blame == "features"


def test_a_lost_frame_blames_features(run, monkeypatch):
    real = Pipeline.features
    monkeypatch.setattr(Pipeline, "features", lambda self, audio: real(self, audio[:-160]))
    assert run().blame == "features"


class NoPositions(wrappers.AudioConv):
    def __init__(self, model):
        super().__init__(model)
        self.positions.zero_()


class NoNorm(wrappers.Head):
    def __init__(self, model):
        super().__init__(model)
        self.norm = torch.nn.Identity()


class NextClass(wrappers.Head):
    def forward(self, hidden):
        best, probability, logits = super().forward(hidden)
        return best + 1, probability, logits


class LengthIgnored(wrappers.AudioTransformer):
    def forward(self, frames, length):
        return super().forward(frames, torch.full_like(length, self.frames))


class WindowsJoined(wrappers.AudioTransformer):
    def __init__(self, model, frames, window):
        super().__init__(model, frames, frames)


@pytest.mark.parametrize(
    ("name", "fault", "where"),
    [
        ("AudioConv", NoPositions, "audio_conv: frames"),
        ("AudioTransformer", LengthIgnored, "audio_transformer"),
        ("AudioTransformer", WindowsJoined, "audio_transformer"),
        ("Head", NoNorm, "head: logits"),
        ("Head", NextClass, "head: time_class"),
    ],
)
def test_faults_of_a_component_blame_wrappers(run, monkeypatch, name, fault, where):
    monkeypatch.setattr(wrappers, name, fault)
    result = run()
    assert result.blame == "wrappers"
    assert f"({where}" in result.verdict


def pairs_next_to_each_other(heads, cos, sin):
    """The other layout of rotary pairs: (0, 1), (2, 3), ..."""
    turned = torch.stack([-heads[..., 1::2], heads[..., ::2]], dim=-1).flatten(-2)
    return heads * cos + turned * sin


@pytest.mark.parametrize(
    "rotate", [pairs_next_to_each_other, lambda heads, cos, sin: RIGHT(heads, sin, cos)], ids=["pairs", "cos and sin"]
)
def test_wrong_rotary_positions_blame_wrappers(run, monkeypatch, rotate):
    monkeypatch.setattr(qwen3, "rotate", rotate)
    result = run()
    assert result.blame == "wrappers"
    assert "(decoder_prefill: hidden" in result.verdict


RIGHT = qwen3.rotate


def test_wrong_angles_of_the_host_blame_wrappers(run, monkeypatch):
    monkeypatch.setattr(pipeline, "rotary_tables", lambda positions, *a: TABLES(positions + 1 + positions % 2, *a))
    assert "(decoder_prefill: hidden" in run().verdict


TABLES = pipeline.rotary_tables


def test_a_prompt_without_its_audio_end_blames_wrappers(run, small):
    prompt = planned_like(run).host["prompt"]
    result = run(host={"prompt": prompt | {"after_audio": []}})
    assert result.blame == "wrappers"
    assert "(prompt: ids" in result.verdict


def planned_like(run):
    """The plan that `run` makes."""
    return planned(run.__kwdefaults__["checkpoint"], audio_seconds="4", sequence_lengths="128")


def test_frames_of_the_last_chunk_that_are_not_trimmed_are_seen(run, monkeypatch):
    monkeypatch.setattr(Pipeline, "_frames", lambda self, mel_frames: -(-mel_frames // 100) * 13)
    assert run().blame in ("wrappers", "decode")


@pytest.mark.parametrize(("name", "scale"), [("audio_transformer", 1.1), ("decoder_prefill", float("nan"))])
def test_damaged_packages_blame_packages(run, name, scale):
    result = run(packages=True, runtime=damaged_packages(planned_like(run), name, scale))
    assert result.blame == "packages"
    assert name in result.verdict


class BestButOne(wrappers.Head):
    """What a runtime says whose argmax takes another class, whatever its logits."""

    def forward(self, hidden):
        _, probability, logits = super().forward(hidden)
        return logits.topk(2, dim=-1).indices[..., 1].to(torch.int32), probability, logits


def test_a_class_that_only_the_runtime_takes_wrongly_blames_decode_and_shows_it(run, small):
    model = export.load_model(small)
    runtime = EagerRuntime(exchanged(planned_like(run), "head", lambda _: BestButOne(model)))
    result = run(runtime=runtime)
    assert result.blame == "decode"
    note = rows(result, "decode")["classes at the markers, split encoder"].note
    assert "two start" in note
    assert "no near tie" in note


def test_times_that_are_not_mended_blame_task(run, monkeypatch):
    monkeypatch.setattr(pipeline, "monotonic", lambda times: times)
    result = run()
    assert result.blame == "task"
    row = rows(result, "task")["times of classes that run backwards"]
    assert row.metrics["differing"] == row.metrics["sequences"] == 9


@pytest.mark.parametrize("short", [1, 3])
def test_another_limit_of_short_runs_out_of_order_blames_task(run, monkeypatch, short):
    """Runs of one and two take a neighbour's time, longer ones are spread."""
    monkeypatch.setattr(alignment, "_SHORT_RUN", short)
    result = run()
    assert result.blame == "task"
    assert rows(result, "task")["times of classes that run backwards"].metrics["differing"] > 0


def test_words_a_class_late_blame_task_in_a_corpus_without_times(run, clips, monkeypatch):
    real = Pipeline.words_with_times

    def late(self, words, outputs):
        return real(self, words, MarkerOutputs(outputs.time_class + 1, outputs.probability, outputs.logits))

    monkeypatch.setattr(Pipeline, "words_with_times", late)
    result = run(audio=[replace(clip, words=()) for clip in clips])
    assert result.blame == "task"
    assert "(words and times of the reference's own classes" in result.verdict


def test_a_wrong_bin_blames_task(run):
    result = run(host={"bin_ms": 160.0})
    assert result.blame == "task"
    assert "share_within_bin" in result.verdict


def test_wrong_confidence_is_seen(run, monkeypatch):
    real = Pipeline.classify

    def doubled(self, hidden):
        outputs = real(self, hidden)
        return MarkerOutputs(outputs.time_class, outputs.probability**2, outputs.logits)

    monkeypatch.setattr(Pipeline, "classify", doubled)
    assert "head: probability" in run().verdict


def skipped(result):
    return {row.output: row.note for row in rows(result, "decode").values() if row.status is Status.SKIPPED}


@pytest.mark.parametrize(
    ("lengths", "audio", "reason"),
    [
        ({}, Clip("long", clip(10.5), sentence(3)), "first 10 s only"),
        ({"audio_attention": "full"}, Clip("long", clip(4.2), sentence(3)), "first 4 s only"),
        ({"sequence_lengths": "64"}, Clip("long", clip(4), sentence(9)), "room for 64"),
        ({}, Clip("long", clip(1), "?"), "nothing but punctuation"),
        ({}, Clip("long", clip(1), sentence(50)), "50 words do not fit"),
    ],
    ids=["classes", "encoder", "prompt", "no words", "many words"],
)
def test_what_the_bundle_refuses_is_skipped_with_the_reason(run, small, clips, lengths, audio, reason):
    plan = planned(small, **{"audio_seconds": "4", "sequence_lengths": "128"} | lengths)
    good = [Clip("short", clip(1.2), sentence(3))]
    result = run(plan=plan, audio=[audio, *good])
    assert result.passed, result.verdict
    assert list(skipped(result)) == ["long"]
    assert reason in skipped(result)["long"]


def test_no_clip_that_can_be_aligned_is_not_green(run):
    result = run(audio=[Clip("silent", clip(1), "")])
    assert not result.passed
