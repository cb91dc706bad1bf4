"""One thing is wrong at a time: compare fails and blames the right stage and, for packages, the right op."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import compare
import convert
import milrun
from models import all_models, find_model
from parity.ladder.engine import open_subject, run_ladder
from parity.ladder.ladder import QUESTIONS, Status
from parity.ladder.packages import record_calls
from parity.localise.layers import FP16_BOUNDS, localise
from tests.command_runner import command_runner
from tests.damaged_checkpoints import linked_demo
from tests.planted.conftest import OPTIONS
from tests.planted.packages import int8_head, with_stale_joint
from tests.planted.planting import Site
from tests.planted.table import BELOW_THE_GATES, FAULTS, LOADING, table
from tests.real_life import KINDS
from toolkit.errors import BundleError, CheckpointError

DOCS = Path(__file__).resolve().parents[2] / "docs" / "debugging-accuracy.md"


def named(fault):
    return f"{fault.model}: {fault.name}"


@pytest.fixture
def site(bundles, tmp_path, monkeypatch):
    """Model -> where a fault is planted."""
    return lambda model: Site(bundles(model), tmp_path, monkeypatch)


@pytest.fixture
def subject(clips):
    """What is compared, by bundle and number of clips."""

    def make(bundle, count=1, timed=True, sound=None):
        model = find_model(bundle.manifest.model)
        chosen = [clip if timed else replace(clip, words=()) for clip in clips(model.id)[:count]]
        if sound:
            chosen = [replace(clip, audio=sound(clip.audio)) for clip in chosen]
        return open_subject(model, bundle, "portable", chosen, {})

    return make


def op_blamed(subject, component):
    """What the comparison op by op says of the first call of a component."""
    clips = list(subject.clips)
    calls = record_calls(subject.plan, subject.bundle, subject.model, clips)
    call = next(c for c in calls if c.component == component)
    model = milrun.load(*subject.bundle.locate(component, call.function))
    return localise(subject.plan.component(component), call.function, model, call, FP16_BOUNDS).fault


def assert_blamed(blamed, op):
    kind = blamed.missing.kind if blamed.missing else blamed.op.type
    assert (kind, blamed.eager.module) == (op.type, op.module), blamed
    assert blamed.cause == "program"


@pytest.mark.parametrize("model", OPTIONS)
def test_without_a_fault_all_is_well(site, subject, model):
    result = run_ladder(subject(site(model).bundle, 2), {})
    assert result.passed, result.verdict
    assert {s.name for s in result.stages if s.status is Status.SKIPPED} == {"device"}


@pytest.mark.parametrize("sound", KINDS)
@pytest.mark.parametrize("model", ["parakeet-tdt", "cohere-transcribe", "qwen3-forced-aligner"])
def test_without_a_fault_all_is_well_on_audio_of_real_life(site, subject, model, sound):
    result = run_ladder(subject(site(model).bundle, sound=KINDS[sound]), {})
    assert result.passed, result.verdict


def test_a_sound_int8_head_is_well(site, subject):
    result = run_ladder(subject(int8_head(site("parakeet-tdt"))), {})
    assert result.passed, result.verdict


@pytest.mark.parametrize("fault", FAULTS, ids=named)
def test_a_fault_is_blamed(site, subject, fault):
    bundle = fault.plant(site(fault.model))
    result = run_ladder(subject(bundle, fault.clips, fault.timed, fault.sound), {})
    assert result.blame == fault.stage, result.verdict
    assert f"'{fault.stage}' ({fault.where}" in result.verdict
    if fault.op:
        assert_blamed(op_blamed(subject(bundle), fault.where.split(":")[0].split()[0]), fault.op)


@pytest.mark.parametrize("fault", BELOW_THE_GATES, ids=named)
def test_a_fault_below_the_gates_is_found_op_by_op(site, subject, fault):
    assert_blamed(op_blamed(subject(fault.plant(site(fault.model))), fault.where), fault.op)


@pytest.fixture
def run_convert(tmp_path, monkeypatch, capsys):
    """Run the command on a folder up to its first package: (exit code, stderr); no bundle may be left."""
    monkeypatch.setattr("commands.conversion.export_component", lambda *given, **settings: pytest.fail("it converts"))

    def call(model, folder):
        output = tmp_path / "bundle"
        run = command_runner(convert, monkeypatch, capsys)
        code, _, err = run(model, "--checkpoint", folder, "--output", output)
        assert not output.exists()
        return code, err

    return call


@pytest.mark.parametrize("fault", LOADING, ids=named)
def test_a_fault_of_loading_never_becomes_a_bundle(run_convert, fault, tmp_path):
    folder = linked_demo(fault.model, tmp_path)
    fault.plant(folder / fault.part)
    code, err = run_convert(fault.model, folder)
    assert (code, err.count("\n")) == (CheckpointError.exit_code, 1), err


@pytest.mark.parametrize("model", [model.id for model in all_models().values()])
def test_without_a_fault_of_loading_it_converts(run_convert, model, tmp_path):
    code, err = run_convert(model, linked_demo(model, tmp_path))
    assert code == 4  # the stand-in for the first package fails
    assert "it converts" in err


def test_every_model_has_every_fault_of_loading_once():
    assert {fault.model for fault in LOADING} == {model.id for model in all_models().values()}
    assert len({named(fault) for fault in LOADING}) == len(LOADING)


def test_every_stage_and_model_has_faults_and_every_fault_is_run_once():
    (marked,) = (mark for mark in test_a_fault_is_blamed.pytestmark if mark.name == "parametrize")
    assert marked.args[1] is FAULTS
    assert len({named(fault) for fault in (*FAULTS, *BELOW_THE_GATES)}) == len(FAULTS) + len(BELOW_THE_GATES)
    assert {fault.model for fault in FAULTS} == set(OPTIONS)
    assert {fault.stage for fault in FAULTS} == QUESTIONS.keys() - {"device"}  # its two sides are two machines
    assert all((fault.op is not None) == (fault.stage == "packages") for fault in FAULTS)


def test_the_documentation_has_the_table():
    assert table() in DOCS.read_text(encoding="utf-8"), "put in what `python -m tests.planted.table` prints"


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command; (exit code, stdout, stderr)."""
    return command_runner(compare, monkeypatch, capsys)


def test_the_command_fails_and_blames_packages(run, site):
    fault = next(f for f in FAULTS if f.name == "joint of another checkpoint")
    code, out, _ = run("--bundle", fault.plant(site(fault.model)).path, "--num-files", 1)
    assert code == 1
    verdict, step = out.rstrip().splitlines()[-2:]
    assert verdict.startswith("parakeet-tdt: FAILED, the first stage to blame is 'packages' (joint: token_logits"), out
    assert step.strip().startswith("next: uv run compare parakeet-tdt --bundle ")
    assert step.endswith(" --layers joint")


def test_the_command_fails_and_blames_the_host(run, bundles, tmp_path):
    folder = shutil.copytree(bundles("parakeet-tdt").path, tmp_path / "bundle")
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["host"]["frame_s"] /= 2
    file.write_text(json.dumps(manifest))
    code, out, _ = run("--bundle", folder, "--num-files", 1)
    assert code == 1
    verdict, step = out.rstrip().splitlines()[-2:]
    assert verdict.startswith("parakeet-tdt: FAILED, the first stage to blame is 'task' (word boundaries"), out
    assert step.endswith(" --blame")


def test_a_stale_package_is_refused_before_anything_runs(run, site, monkeypatch):
    def never(*arguments, **settings):
        raise AssertionError("something ran")

    monkeypatch.setattr("commands.comparing.open_subject", never)
    folder = with_stale_joint(site("parakeet-tdt"))
    code, out, err = run("--bundle", folder, "--num-files", 1)
    assert (code, out, err.count("\n")) == (BundleError.exit_code, "", 1)
    assert "joint.mlpackage has changed" in err
    rebuild = f"--precision fp16 --target iOS18 --audio-seconds 4 --output {folder} --force`."
    assert err.rstrip().endswith(rebuild)
    assert "`convert parakeet-tdt --checkpoint demo" in err
