"""`infer` as a user runs it: formats, options, and one clear line with the documented exit code for bad input."""

import json
import os
import shutil
import stat
import sys

import numpy as np
import pytest
import soundfile
from transformers import ParakeetForTDT

import infer as command
from tests.command_runner import command_runner
from tests.models.parakeet_tdt.host import ReferenceRuntime, host_bundle, host_constants
from tests.models.parakeet_tdt.tiny import DEMO

RATE = 16000
CLIP = DEMO.parents[1] / "clips" / "ps_cards_001.wav"


@pytest.fixture(scope="module")
def model():
    return ParakeetForTDT.from_pretrained(DEMO).eval()


@pytest.fixture
def run(model, monkeypatch, capsys, tmp_path):
    """Run the command in this process on the demo checkpoint: (exit code, stdout, stderr)."""
    host = host_constants(model, (501, 1501), overlap_s=4.0)
    folder = tmp_path / "bundle"
    folder.mkdir()
    bundle = host_bundle(folder, host)
    (folder / "manifest.json").write_text(bundle.manifest.model_dump_json())
    monkeypatch.setattr("commands.demo.ensure_demo_bundle", lambda model, on_step: folder)
    monkeypatch.setattr("commands.infer_request.open_bundle", lambda path: bundle)
    monkeypatch.setattr("commands.infer_request.open_runtime", lambda *a, **k: ReferenceRuntime(model, host))
    capsys.readouterr()
    return command_runner(command, monkeypatch, capsys)


def written(path, samples, **options):
    soundfile.write(path, np.asarray(samples, np.float32), RATE, **options)
    return path


def text(path, content):
    path.write_text(content)
    return path


def test_a_clip(run):
    assert run(CLIP) == (0, "ten of clubs\n", "")


def test_several_files_as_json(run):
    code, out, _ = run(CLIP, CLIP, "--format", "json")
    assert code == 0
    assert [(entry["file"], entry["text"]) for entry in json.loads(out)] == [(str(CLIP), "ten of clubs")] * 2


def test_json_of_one_file(run):
    result = json.loads(run(CLIP, "--format", "json")[1])
    assert list(result) == ["text", "duration_s", "words", "tokens", "rtfx", "runtime", "model"]
    assert (result["model"], [w["text"] for w in result["words"]]) == ("parakeet-tdt", ["ten", "of", "clubs"])


def test_a_track(run, tmp_path):
    assert run(CLIP, "--track", "1") == (0, "ten of clubs\n", "")
    code, out, err = run(CLIP, "--track", "2")
    assert (code, out) == (2, "")
    assert "has 1 audio track, and no track 2" in err


@pytest.mark.parametrize(("form", "begins"), [("srt", "1\n00:00:00,"), ("vtt", "WEBVTT\n\n00:00:00.")])
def test_subtitles(run, form, begins):
    assert run(CLIP, "--format", form)[1].startswith(begins)


def test_a_textgrid(run):
    code, out, err = run(CLIP, "--format", "textgrid")
    assert (code, err) == (0, "")
    assert [word for word in ("ten", "of", "clubs") if f'text = "{word}"' in out] == ["ten", "of", "clubs"]


def test_output_is_written_whole_and_nothing_beside_it(run, tmp_path):
    target = tmp_path / "out" / "a.txt"
    target.parent.mkdir()
    assert run(CLIP, "--output", target) == (0, "", "")
    assert target.read_text() == "ten of clubs\n"
    assert os.listdir(target.parent) == ["a.txt"]
    assert stat.S_IMODE(target.stat().st_mode) & stat.S_IRUSR


BAD_AUDIO = {
    "text": (lambda p: text(p / "a.wav", "no audio"), "contains text, not audio"),
    "empty": (lambda p: text(p / "a.wav", ""), "empty file"),
    "no_samples": (lambda p: written(p / "a.wav", []), "0 samples"),
    "nan": (lambda p: written(p / "a.wav", [0, np.nan] * 900, subtype="FLOAT"), "900 NaN"),
    "too_short": (lambda p: written(p / "a.wav", np.ones(100)), "shortest usable"),
    "folder": (lambda p: p, "is a folder"),
    "missing": (lambda p: p / "none.wav", "does not exist"),
}


@pytest.mark.parametrize("case", BAD_AUDIO)
def test_bad_audio(run, tmp_path, case):
    make, complaint = BAD_AUDIO[case]
    target = tmp_path / "out.txt"
    code, out, err = run(CLIP, make(tmp_path), "--output", target)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err
    assert not target.exists()


def test_the_audio_is_never_written_over(run, tmp_path):
    clip = shutil.copy(CLIP, tmp_path / "a.wav")
    code, out, err = run(clip, "--output", tmp_path / "bundle" / ".." / "a.wav")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "is one of the audio files" in err
    assert clip.read_bytes() == CLIP.read_bytes()


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is there on macOS")
def test_a_runtime_that_is_not_here_is_refused_before_any_work(run, monkeypatch):
    monkeypatch.setattr(
        "commands.infer_request._demo_bundle", lambda model: pytest.fail("the demo bundle was asked for")
    )
    code, out, err = run(CLIP, "--runtime", "coreml")
    assert (code, out, err.count("\n")) == (3, "", 1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--bundle", "/nowhere/bundle"], "no bundle at /nowhere/bundle"),
        (["--output", "/nowhere/a.txt"], "no folder /nowhere"),
        (["--output", "/"], "it is a folder"),
        (["--model", "wav"], "no model 'wav'"),
        (["--runtime", "tpu"], "tpu"),
        (["--format", "doc"], "doc"),
        (["--max-symbols", "-1"], "--max-symbols"),
        (["--max-symbols", "ten"], "--max-symbols is ten"),
        (["--checkpoint", "demo"], "No such option"),
        (["-", "-"], "standard input (-) can be read only once"),
        ([CLIP, "--format", "textgrid"], "--format textgrid is for one file; 2 were given"),
        (["--text", "ten of clubs"], "parakeet-tdt has no option --text"),
    ],
)
def test_bad_options(run, arguments, complaint):
    code, out, err = run(CLIP, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert complaint in err


def test_silence_and_a_very_short_clip_pass(run, tmp_path):
    assert run(written(tmp_path / "a.wav", np.zeros(RATE)))[0] == 0
    assert run(written(tmp_path / "b.wav", np.zeros(800)))[0] == 0


@pytest.mark.slow
def test_ten_minutes(run, tmp_path):
    clip = soundfile.read(CLIP, dtype="float32")[0]
    code, out, _ = run(written(tmp_path / "a.wav", np.resize(clip, 600 * RATE)), "--format", "json")
    result = json.loads(out)
    assert (code, result["duration_s"]) == (0, 600.0)
    assert result["tokens"][-1]["start_s"] > 595
